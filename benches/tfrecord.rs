//! How fast TFRecords are read: `cargo bench --bench tfrecord [-- MEGABYTES]`.
//!
//! Writes that much (256 MB unless told) as records of pictures of 160 kB of noise into a temporary file, reads it
//! once so that it lies in the system's cache, and then reads it on one thread in three ways, turn by turn: the bytes
//! alone, checked records, and checked records taken apart into picture and boxes, which is what opening a data set does.

use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::Path;

use detbench::clock::{Clock, Monotonic};
use detbench::dataset::records::{encode, Labelled, RecordObject, RecordPicture, Style};
use detbench::dataset::tfrecord::{RecordReader, RecordWriter};
use detbench::library::decode::PictureFormat;

/// The mean size of a picture of COCO val2017.
const PICTURE_BYTES: usize = 160_000;

const TURNS: usize = 7;

/// Reads a file and gives a count of what it read.
type Way = fn(&Path) -> u64;

fn main() {
    let megabytes = std::env::args()
        .skip(1)
        .find_map(|word| word.parse::<u64>().ok());
    let size = megabytes.unwrap_or(256) * 1_000_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("val-00000-of-00001");
    write(&path, size);
    let ways: [(&str, Way); 3] = [
        ("bytes alone", bytes),
        ("checked records", records),
        ("records as pictures", pictures),
    ];
    let mut seconds = vec![Vec::new(); ways.len()];
    let clock = Monotonic::new();
    let mut read = 0;
    bytes(&path);
    for _ in 0..TURNS {
        for ((_, way), seconds) in ways.iter().zip(&mut seconds) {
            let begun = clock.now();
            read = way(&path);
            seconds.push(clock.now().saturating_since(begun).as_nanos() as f64 / 1e9);
        }
    }
    println!(
        "{:.0} MB, one thread, {TURNS} turns: MB/s median (best)",
        size as f64 / 1e6
    );
    for ((name, _), seconds) in ways.iter().zip(&mut seconds) {
        seconds.sort_by(f64::total_cmp);
        let rate = |seconds: f64| size as f64 / 1e6 / seconds;
        println!(
            "{name:20} {:8.0} ({:.0})",
            rate(seconds[TURNS / 2]),
            rate(seconds[0])
        );
    }
    println!("{read} records");
}

fn write(path: &Path, size: u64) {
    let mut noise = vec![0_u8; PICTURE_BYTES];
    let mut state = 1_u64;
    for byte in &mut noise {
        // Knuth's MMIX generator; its high bits are noise enough.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    let object = RecordObject {
        corners: [0.25, 0.25, 0.5, 0.5],
        label: Some(1),
        name: Some("person".to_owned()),
        is_crowd: false,
        area: Some(1000.0),
        is_difficult: false,
        is_truncated: false,
    };
    let objects = vec![object; 7];
    let file = File::create(path).expect("a file in a temporary folder");
    let mut writer = RecordWriter::new(BufWriter::new(file));
    let mut written = 0;
    while written < size {
        let data = encode(
            &Labelled {
                file_name: "000000000139.jpg",
                image_id: 139,
                size: (640, 480),
                format: PictureFormat::Jpeg,
                encoded: &noise,
                objects: Some(&objects),
                is_voc: false,
            },
            Style::Tfod,
        );
        writer.write(&data).expect("room for the file");
        written += data.len() as u64 + 16;
    }
    writer.finish().expect("room for the file");
}

/// As fast as it can be: the system's copy.
fn bytes(path: &Path) -> u64 {
    let mut file = File::open(path).expect("the file just written");
    let mut buffer = vec![0; PICTURE_BYTES];
    let mut total = 0;
    loop {
        match file.read(&mut buffer).expect("a readable file") {
            0 => return total,
            count => total += count as u64,
        }
    }
}

fn records(path: &Path) -> u64 {
    let mut reader = RecordReader::open(path).expect("the file just written");
    let mut count = 0;
    while reader.next_record().expect("whole records").is_some() {
        count += 1;
    }
    count
}

fn pictures(path: &Path) -> u64 {
    let mut reader = RecordReader::open(path).expect("the file just written");
    let (mut count, mut boxes) = (0, 0);
    while let Some(record) = reader.next_record().expect("whole records") {
        let picture = RecordPicture::parse(record.data).expect("a picture");
        boxes += picture.objects.map_or(0, |objects| objects.len());
        count += 1;
    }
    assert_eq!(boxes, 7 * count as usize);
    count
}
