//! Damaged files end in an error or in a picture, never in a panic, a message or a huge allocation.

use std::path::Path;
use std::process::Command;

use detbench::library::decode::{decode, read_size, DecodeError, PIXEL_LIMIT};
use proptest::prelude::*;

fn golden(extension: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|found| found == extension) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            files.push((name, std::fs::read(path).unwrap()));
        }
    }
    assert!(files.len() > 10);
    files
}

#[test]
fn a_golden_jpeg_that_is_cut_anywhere_is_refused_as_pillow_refuses_it() {
    for (name, bytes) in golden("jpg") {
        if name == "png_that_is_named.jpg" {
            continue;
        }
        let end = bytes
            .windows(2)
            .rposition(|pair| pair == [0xff, 0xd9])
            .unwrap()
            + 2;
        for length in 0..end {
            assert!(
                decode(&bytes[..length]).is_err(),
                "{name} cut to {length} bytes"
            );
        }
        assert!(decode(&bytes[..end]).is_ok(), "{name}");
    }
}

#[test]
fn a_golden_png_that_is_cut_is_refused_or_whole() {
    for (name, bytes) in golden("png") {
        let whole = decode(&bytes).unwrap();
        for length in 0..bytes.len() {
            if let Ok(picture) = decode(&bytes[..length]) {
                assert_eq!(picture, whole, "{name} cut to {length} bytes");
            }
        }
        let pixels_are_missing = &bytes[..bytes.len() / 2];
        assert!(decode(pixels_are_missing).is_err(), "{name}");
    }
}

/// The file with another size in its header.
fn promising(mut file: Vec<u8>, width: u16, height: u16) -> Vec<u8> {
    if file.starts_with(b"\x89PNG") {
        file[16..20].copy_from_slice(&u32::from(width).to_be_bytes());
        file[20..24].copy_from_slice(&u32::from(height).to_be_bytes());
        let mut sum = flate2::Crc::new();
        sum.update(&file[12..29]);
        file[29..33].copy_from_slice(&sum.sum().to_be_bytes());
    } else {
        let is_frame = |pair: &[u8]| pair == [0xff, 0xc0] || pair == [0xff, 0xc2];
        let frame = file.windows(2).position(is_frame).unwrap();
        file[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        file[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    }
    file
}

#[test]
fn a_golden_picture_above_the_limit_is_refused_by_its_header() {
    for (name, file) in golden("jpg").into_iter().chain(golden("png")) {
        let huge = promising(file, 20_000, 20_000);
        let refused = DecodeError::TooManyPixels {
            width: 20_000,
            height: 20_000,
        };
        assert_eq!(decode(&huge).unwrap_err(), refused, "{name}");
        assert_eq!(read_size(&huge).unwrap_err(), refused, "{name}");
        let message = refused.to_string();
        assert!(message.contains("20000x20000") && message.contains(&PIXEL_LIMIT.to_string()));
    }
}

/// Largest memory this process has had, in KiB.
#[cfg(target_os = "linux")]
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_short_golden_file_that_promises_much_takes_little_memory() {
    let before = peak_kib();
    for (name, file) in golden("jpg").into_iter().chain(golden("png")) {
        assert!(decode(&promising(file, 13_000, 13_000)).is_err(), "{name}");
    }
    // The pictures would take 500 MB each; the other tests of this process run at the same time.
    assert!(peak_kib() - before < 100 * 1024);
}

fn never_too_large(bytes: &[u8]) {
    let size = read_size(bytes);
    if let Ok(picture) = decode(bytes) {
        assert_eq!(Ok((picture.width, picture.height)), size);
        let pixels = picture.width as usize * picture.height as usize;
        assert_eq!(picture.rgb.len(), pixels * 3);
    }
}

#[test]
fn flipped_bits_and_lost_bytes_of_golden_files_never_panic() {
    let files: Vec<_> = golden("jpg").into_iter().chain(golden("png")).collect();
    let damage = (
        0..files.len(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        any::<prop::sample::Index>(),
        0_usize..40,
    );
    // No file of failing cases: looking for its place would print something itself.
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(4000)
    };
    proptest!(config, |((file, flips, at, lost) in damage)| {
        let mut bytes = files[file].1.clone();
        for (position, value) in flips {
            let position = position.index(bytes.len());
            bytes[position] ^= value;
        }
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + lost);
        if lost % 2 == 0 {
            bytes.drain(at..end);
        }
        never_too_large(&bytes);
    });
}

#[test]
fn a_damaged_golden_file_prints_nothing() {
    let names = [
        "a_golden_jpeg_that_is_cut_anywhere_is_refused_as_pillow_refuses_it",
        "flipped_bits_and_lost_bytes_of_golden_files_never_panic",
    ];
    for name in names {
        let run = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .output()
            .unwrap();
        assert!(run.status.success());
        assert_eq!(String::from_utf8_lossy(&run.stderr), "", "{name}");
    }
}
