//! Data sets in all their forms, through the program: the same pictures and the same truth, whichever way they are kept.
//!
//! With `DETBENCH_TEST_DATA` the 79 COCO and the 100 VOC pictures make the way through TFRecords; without it only generated ones do.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use detbench::accuracy::voc::VocObject;
use detbench::dataset::convert::{convert, Target};
use detbench::dataset::records::Style;
use detbench::dataset::{Dataset, Request, Truth};
use detbench::library::coco::CocoInstances;
use serde_json::{json, Value};
use tempfile::TempDir;

fn open(path: &Path) -> Dataset {
    try_open(path).unwrap_or_else(|error| panic!("{error}"))
}

fn try_open(path: &Path) -> Result<Dataset, String> {
    let request = Request {
        path,
        annotations: None,
        split: None,
        skip_missing: false,
        threads: NonZeroUsize::new(2).unwrap(),
    };
    Dataset::open(&request).map_err(|error| error.to_string())
}

fn to_records(dataset: &Dataset, out: &Path, shards: u32, style: Style) {
    let target = Target::Records {
        name: "val".to_owned(),
        shards,
        style,
    };
    convert(dataset, &target, out, &mut |_| true).unwrap();
}

fn to_folders(dataset: &Dataset, out: &Path) {
    let name = "val2017".to_owned();
    convert(dataset, &Target::Folders { name }, out, &mut |_| true).unwrap();
}

/// Names, ids and bytes of all pictures.
fn pictures(dataset: &Dataset) -> Vec<(String, i64, Vec<u8>)> {
    let read = |picture: &detbench::library::ListedPicture| {
        let bytes = picture.place.read().unwrap();
        (picture.file_name.clone(), picture.image_id, bytes)
    };
    dataset.pictures.iter().map(read).collect()
}

fn coco(dataset: &Dataset) -> &CocoInstances {
    match &dataset.truth {
        Some(Truth::Coco(instances)) => instances,
        other => panic!("{other:?}"),
    }
}

fn voc(dataset: &Dataset) -> &[VocObject] {
    match &dataset.truth {
        Some(Truth::Voc(objects)) => objects,
        other => panic!("{other:?}"),
    }
}

/// Picture, category, the bits of the corners, crowd, and on which sides of COCO's limits the area lies.
type ScoredBox = (i64, i64, [u64; 4], bool, [bool; 4]);

/// What scoring sees of a box: its picture, category, corners and flags, but not its own id, and its area only as far as COCO's
/// limits tell apart.
fn scored(instances: &CocoInstances) -> Vec<ScoredBox> {
    let mut boxes: Vec<_> = instances
        .annotations
        .iter()
        .map(|found| {
            let area = found.area.unwrap_or(found.bbox[2] * found.bbox[3]);
            let sides = [area < 1024.0, area <= 1024.0, area < 9216.0, area <= 9216.0];
            let bbox = found.bbox.map(f64::to_bits);
            (
                found.image_id,
                found.category_id,
                bbox,
                found.is_crowd,
                sides,
            )
        })
        .collect();
    // Within a picture the order counts, between pictures it does not.
    boxes.sort_by_key(|found| found.0);
    boxes
}

/// Three small pictures and what is in them.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn picture(&self, name: &str, shade: u8) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let picture = image::RgbImage::from_pixel(64, 48, image::Rgb([shade, 0, 7]));
        picture
            .save_with_format(path, image::ImageFormat::Png)
            .unwrap();
    }

    /// COCO's layout; `ids` numbers person and tv.
    fn coco(&self, ids: [i64; 2]) -> PathBuf {
        for id in 1..=3 {
            self.picture(&format!("coco/val2014/COCO_val2014_{id:012}.png"), id as u8);
        }
        let images: Vec<Value> = (1..=3)
            .map(|id| json!({"id": id, "file_name": format!("COCO_val2014_{id:012}.png"), "width": 64, "height": 48}))
            .collect();
        let truth = json!({
            "images": images,
            "categories": [{"id": ids[0], "name": "person"}, {"id": ids[1], "name": "tv"}],
            "annotations": [
                {"id": 7, "image_id": 2, "category_id": ids[0], "bbox": [1.27, 2.5, 30.11, 40.0], "area": 702.105_749_999, "iscrowd": 0},
                {"id": 8, "image_id": 1, "category_id": ids[1], "bbox": [0, 0, 64, 48], "area": 3072, "iscrowd": 1},
                {"id": 9, "image_id": 2, "category_id": ids[1], "bbox": [10, 10, 5.55, 6.66], "area": 20.5, "iscrowd": 0},
            ],
        });
        self.write("coco/annotations/instances_val2014.json", truth.to_string());
        self.path("coco")
    }

    fn voc(&self) -> PathBuf {
        for (name, class) in [("2007_000001", "tvmonitor"), ("2007_000002", "person")] {
            self.picture(&format!("voc/JPEGImages/{name}.png"), 9);
            let xml = format!(
                "<annotation><object><name>{class}</name><difficult>{}</difficult><truncated>1</truncated><bndbox>\
                 <xmin>3</xmin><ymin>1</ymin><xmax>60</xmax><ymax>48</ymax></bndbox></object></annotation>",
                u8::from(class == "person")
            );
            self.write(&format!("voc/Annotations/{name}.xml"), xml);
        }
        self.write("voc/ImageSets/Main/test.txt", "2007_000002\n");
        self.write("voc/ImageSets/Main/dog_test.txt", "2007_000002 -1\n");
        self.path("voc")
    }

    fn detbench(&self, words: &[&str]) -> Output {
        Command::new(assert_cmd::cargo::cargo_bin!("detbench"))
            .current_dir(self.folder.path())
            .args(words)
            .output()
            .unwrap()
    }

    fn refused(&self, words: &[&str]) -> String {
        let output = self.detbench(words);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {told}");
        told
    }
}

#[test]
fn coco_records_of_either_style_hold_what_the_folder_holds() {
    let desk = Desk::new();
    let folder = open(&desk.coco([1, 72]));
    for (style, shards) in [(Style::Tfod, 1), (Style::Tfod, 3), (Style::Hikapok, 2)] {
        let out = desk.path(&format!("{style:?}{shards}"));
        to_records(&folder, &out, shards, style);
        let records = open(&out);
        assert_eq!(pictures(&records), pictures(&folder));
        assert_eq!(scored(coco(&records)), scored(coco(&folder)));
        // COCO's names get all of COCO's categories.
        assert_eq!(coco(&records).categories.len(), 80);
        let back = desk.path(&format!("back{style:?}{shards}"));
        to_folders(&records, &back);
        assert_eq!(pictures(&open(&back)), pictures(&folder));
        assert_eq!(scored(coco(&open(&back))), scored(coco(&folder)));
    }
}

#[test]
fn voc_records_of_either_style_hold_what_the_folder_holds() {
    let desk = Desk::new();
    let folder = open(&desk.voc());
    assert!(voc(&folder)[1].is_difficult && voc(&folder)[0].is_truncated);
    for style in [Style::Tfod, Style::Hikapok] {
        let out = desk.path(&format!("{style:?}"));
        to_records(&folder, &out, 2, style);
        let records = open(&out);
        assert_eq!(pictures(&records), pictures(&folder));
        assert_eq!(voc(&records), voc(&folder));
        let back = desk.path(&format!("back{style:?}"));
        to_folders(&records, &back);
        assert_eq!(voc(&open(&back)), voc(&folder));
    }
}

#[test]
fn a_plain_folder_becomes_records_without_truth() {
    let desk = Desk::new();
    desk.picture("plain/cat.png", 1);
    desk.picture("plain/dog.png", 2);
    let folder = open(&desk.path("plain"));
    assert_eq!(folder.truth, None);
    to_records(&folder, &desk.path("out"), 1, Style::Tfod);
    let records = open(&desk.path("out"));
    assert_eq!(records.truth, None);
    assert_eq!(pictures(&records), pictures(&folder));
}

#[test]
fn annotations_beside_the_records_take_the_place_of_their_own() {
    let desk = Desk::new();
    let folder = open(&desk.coco([1, 72]));
    let out = desk.path("records");
    to_records(&folder, &out, 1, Style::Hikapok);
    // As Intel's data location has it: COCO's file lies beside the records.
    let json = desk.path("coco/annotations/instances_val2014.json");
    fs::copy(json, out.join("instances_val2017.json")).unwrap();
    let records = open(&out);
    assert_eq!(records.truth, folder.truth);
    assert!(records
        .truth_source
        .unwrap()
        .ends_with("instances_val2017.json"));
}

#[test]
fn a_split_is_a_list_of_voc_and_a_folder_of_coco() {
    let desk = Desk::new();
    let voc = desk.voc();
    let output = desk.detbench(&["dataset", "show", "voc", "--split", "test", "--json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&shown["picture_count"], &shown["truth"]),
        (&json!(1), &json!("voc"))
    );
    assert_eq!(shown["difficult_count"], 1);
    let told = desk.refused(&["dataset", "show", voc.to_str().unwrap(), "--split", "train"]);
    assert!(told.contains("has no such part; it has test"), "{told}");
    let coco = desk.coco([1, 72]);
    let told = desk.refused(&[
        "dataset",
        "show",
        coco.to_str().unwrap(),
        "--split",
        "../coco",
    ]);
    assert!(told.contains("--split ../coco"), "{told}");
}

#[test]
fn nothing_is_overwritten_and_a_failed_conversion_leaves_nothing() {
    let desk = Desk::new();
    desk.coco([1, 72]);
    desk.write("full/there.txt", "");
    let told = desk.refused(&["dataset", "convert", "coco", "-o", "full"]);
    assert!(told.contains("full: it is there already"), "{told}");
    let told = desk.refused(&["dataset", "convert", "coco", "-o", "out", "--shards", "4"]);
    assert!(told.contains("4 shards for 3 pictures"), "{told}");
    desk.write("coco/val2014/COCO_val2014_000000000003.png", "no picture");
    let told = desk.refused(&["dataset", "convert", "coco", "-o", "out"]);
    assert!(told.contains("COCO_val2014_000000000003.png: "), "{told}");
    let names: Vec<_> = fs::read_dir(desk.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    // A folder that was made beforehand is used while it is empty.
    desk.picture("plain/a.png", 1);
    fs::create_dir(desk.path("empty")).unwrap();
    let output = desk.detbench(&["dataset", "convert", "plain", "-o", "empty"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(desk.path("empty/val-00000-of-00001").is_file());
}

#[test]
fn damaged_records_are_told_with_file_record_and_byte() {
    let desk = Desk::new();
    to_records(
        &open(&desk.coco([1, 72])),
        &desk.path("out"),
        1,
        Style::Tfod,
    );
    let file = desk.path("out/val-00000-of-00001");
    let whole = fs::read(&file).unwrap();
    let second = 16 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut flipped = whole.clone();
    flipped[second + 40] ^= 1;
    for (bytes, said) in [
        (
            flipped.as_slice(),
            format!("the data of record 1 at byte {second} do not fit their checksum"),
        ),
        (&whole[..whole.len() - 1], "it was cut short".to_owned()),
        (&whole[1..], "the length of record 0 at byte 0".to_owned()),
        (
            b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
            "compressed by gzip".to_owned(),
        ),
        (b"", "its records are empty".to_owned()),
    ] {
        fs::write(&file, bytes).unwrap();
        let told = desk.refused(&["dataset", "show", "out"]);
        assert!(told.contains(&said) && told.lines().count() == 1, "{told}");
        let told = desk.refused(&["run", "--dataset", "out", "--accuracy-only"]);
        assert!(told.contains(&said), "{told}");
    }
    fs::remove_file(&file).unwrap();
    fs::write(desk.path("out/val-00001-of-00002"), &whole).unwrap();
    let told = desk.refused(&["dataset", "show", "out"]);
    assert!(told.contains("val-00000-of-00002 are missing"), "{told}");
    let output = desk.detbench(&["dataset", "show", "out", "--skip-missing"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn what_is_no_data_set_is_refused_in_one_sentence() {
    let desk = Desk::new();
    desk.write("empty/readme.txt", "");
    desk.picture("plain/a.png", 1);
    for (words, said) in [
        (
            ["dataset", "show", "none"].as_slice(),
            "none: there is no such file or folder",
        ),
        (
            &["dataset", "show", "empty"],
            "it holds no pictures and no TFRecords",
        ),
        (
            &["run", "--dataset", "none"],
            "none: there is no such file or folder",
        ),
        (
            &["run", "--dataset", "plain", "--accuracy-only"],
            "needs ground truth",
        ),
        (
            &["run", "--dataset", "plain", "--images", "plain"],
            "cannot be used with",
        ),
        (&["run", "--annotations", "a.json"], "required"),
        (&["run", "--library-memory", "lots"], "such as 512MiB"),
        (
            &["score", "--dataset", "plain", "--detections", "dt.json"],
            "without ground truth",
        ),
        (
            &["dataset", "convert", "plain", "-o", "out", "--name", "../a"],
            "letters, digits",
        ),
    ] {
        let told = desk.refused(words);
        assert!(told.contains(said), "{words:?}: {told}");
    }
    let voc = desk.voc();
    for (xml, said) in [
        (
            "<annotation><object></annotation>",
            "is not a VOC annotation: it is not XML",
        ),
        (
            "<!DOCTYPE a [<!ENTITY e \"x\">]><annotation/>",
            "is not a VOC annotation: it is not XML",
        ),
        (
            "<annotation><object><name>dog</name></object></annotation>",
            "has no usable `bndbox`",
        ),
    ] {
        fs::write(voc.join("Annotations/2007_000001.xml"), xml).unwrap();
        let told = desk.refused(&["dataset", "show", "voc"]);
        assert!(
            told.contains("2007_000001.xml") && told.contains(said),
            "{told}"
        );
    }
}

#[test]
fn score_reads_the_truth_of_any_data_set() {
    let desk = Desk::new();
    to_records(
        &open(&desk.coco([1, 72])),
        &desk.path("records"),
        2,
        Style::Hikapok,
    );
    desk.write(
        "dt.json",
        r#"[{"image_id":2,"category_id":1,"bbox":[1.5,2.5,30,40],"score":0.9},{"image_id":2,"category_id":72,"bbox":[10,10,5.5,6.6],"score":0.8}]"#,
    );
    let text = |words: &[&str]| {
        let output = desk.detbench(&[&["score", "--detections", "dt.json"], words].concat());
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let expected = text(&["--annotations", "coco/annotations/instances_val2014.json"]);
    assert!(!expected.starts_with(
        " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = -1"
    ));
    assert_eq!(text(&["--dataset", "coco"]), expected);
    assert_eq!(text(&["--dataset", "records"]), expected);
    to_records(
        &open(&desk.voc()),
        &desk.path("voc records"),
        1,
        Style::Tfod,
    );
    desk.write(
        "dt.json",
        r#"[{"image":"2007_000001","class":"tvmonitor","score":0.5,"bbox":[3,1,60,48]}]"#,
    );
    let expected = text(&["--voc", "voc"]);
    assert!(expected.contains("tvmonitor"));
    assert_eq!(text(&["--dataset", "voc"]), expected);
    assert_eq!(text(&["--dataset", "voc records"]), expected);
}

/// The folder of real data, or a word about its absence.
fn test_data() -> Option<PathBuf> {
    let data = std::env::var_os("DETBENCH_TEST_DATA").map(PathBuf::from);
    if data.is_none() {
        eprintln!("skipped: DETBENCH_TEST_DATA is not set");
    }
    data
}

#[test]
fn the_real_sets_survive_the_way_through_records() {
    let Some(data) = test_data() else {
        return;
    };
    let desk = Desk::new();
    for style in [Style::Tfod, Style::Hikapok] {
        let folder = open(&data.join("coco/cocomini_val2017_79"));
        let out = desk.path(&format!("coco {style:?}"));
        to_records(&folder, &out, 5, style);
        let records = open(&out);
        assert_eq!(pictures(&records), pictures(&folder));
        assert_eq!(scored(coco(&records)), scored(coco(&folder)));
        let folder = open(&data.join("voc2012_100"));
        let out = desk.path(&format!("voc {style:?}"));
        to_records(&folder, &out, 3, style);
        let records = open(&out);
        assert_eq!(pictures(&records), pictures(&folder));
        assert_eq!(voc(&records), voc(&folder));
    }
}

/// Prints each record of a folder as TensorFlow's own reader sees it.
const TENSORFLOW: &str = r#"
import glob, hashlib, json, sys
import tensorflow as tf
for file in sorted(glob.glob(sys.argv[1] + "/*-of-*")):
    for raw in tf.data.TFRecordDataset(file):
        f = tf.train.Example.FromString(raw.numpy()).features.feature
        label = f["image/object/class/label"] if "image/object/class/label" in f else f["image/object/bbox/label"]
        print(json.dumps([f["image/filename"].bytes_list.value[0].decode(),
            hashlib.sha256(f["image/encoded"].bytes_list.value[0]).hexdigest(),
            f["image/width"].int64_list.value[0], list(label.int64_list.value),
            list(f["image/object/bbox/xmin"].float_list.value)]))
"#;

#[test]
fn tensorflows_own_reader_reads_what_is_written() {
    let python =
        std::env::var("DETBENCH_TENSORFLOW_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_it = Command::new(&python)
        .args(["-c", "import tensorflow"])
        .output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {python} has no tensorflow (name one by DETBENCH_TENSORFLOW_PYTHON)");
        return;
    }
    let desk = Desk::new();
    let folder = open(&desk.coco([1, 72]));
    for (style, labels) in [(Style::Tfod, [1, 72]), (Style::Hikapok, [1, 63])] {
        let out = desk.path(&format!("{style:?}"));
        to_records(&folder, &out, 2, style);
        let output = Command::new(&python)
            .args(["-c", TENSORFLOW])
            .arg(&out)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let seen: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let expected: Vec<Value> = pictures(&folder)
            .into_iter()
            .map(|(name, id, bytes)| {
                use sha2::{Digest, Sha256};
                let digest = format!("{:x}", Sha256::digest(bytes));
                let share = |pixels: f64| f64::from((pixels / 64.0) as f32);
                match id {
                    1 => json!([name, digest, 64, [labels[1]], [0.0]]),
                    2 => json!([name, digest, 64, labels, [share(1.27), share(10.0)]]),
                    _ => json!([name, digest, 64, [], []]),
                }
            })
            .collect();
        assert_eq!(
            seen,
            expected,
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
