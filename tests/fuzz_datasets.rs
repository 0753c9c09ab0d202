//! The fuzz targets' bodies for data sets: on whole files, on damaged ones, on hostile ones, and on any bytes.
//!
//! `cargo fuzz run tfrecord` (in `fuzz/`, with a nightly compiler; `voc_xml` and `coco_json` too) goes on where this ends.
//! `PROPTEST_CASES` sets the number of cases.

mod fuzzed;

use std::fmt::Write as _;

use detbench::dataset::records::{encode, Labelled, RecordObject, Style};
use detbench::dataset::tfrecord::RecordWriter;
use detbench::library::decode::PictureFormat;
use proptest::prelude::*;

/// Two records, of both styles and both data sets.
fn record_file() -> Vec<u8> {
    let object = |label: i64, name: &str| RecordObject {
        corners: [0.25, 0.125, 0.75, 1.0],
        label: Some(label),
        name: Some(name.to_owned()),
        is_crowd: label == 1,
        area: Some(7.5),
        is_difficult: false,
        is_truncated: true,
    };
    let objects = [object(1, "person"), object(18, "dog")];
    let mut writer = RecordWriter::new(Vec::new());
    for (style, is_voc) in [(Style::Tfod, false), (Style::Hikapok, true)] {
        let record = encode(
            &Labelled {
                file_name: "000000000139.jpg",
                image_id: 139,
                size: (640, 426),
                format: PictureFormat::Jpeg,
                encoded: b"\xff\xd8\xff and so on",
                objects: Some(&objects),
                is_voc,
            },
            style,
        );
        writer.write(&record).unwrap();
    }
    writer.finish().unwrap()
}

const XML: &str = "<annotation><filename>a.jpg</filename><size><width>500</width><height>281</height></size>
    <object><name>dog</name><truncated>0</truncated><difficult>1</difficult><bndbox><xmin>104</xmin><ymin>78.5</ymin>
    <xmax>375</xmax><ymax>183</ymax></bndbox><part><name>head</name></part></object></annotation>";

const JSON: &str = r#"{"info": {"year": 2017}, "images": [{"id": 1, "file_name": "a.jpg", "width": 4, "height": 3}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0.5, 1, 1], "iscrowd": 0, "area": 1.5,
    "segmentation": [[1, 2, 3]]}], "categories": [{"id": 3, "name": "car"}]}"#;

/// A file with a few of its bytes replaced and a piece of it doubled or lost.
fn damaged(file: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let index = any::<prop::sample::Index>;
    let span = (index(), index(), any::<bool>(), any::<bool>());
    (flips, span).prop_map(move |(flips, (from, to, cuts, doubles))| {
        let mut bytes = file.clone();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cuts {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let piece: Vec<u8> = bytes.drain(from.min(to)..from.max(to)).collect();
            if doubles {
                bytes.extend_from_slice(&piece);
                bytes.extend_from_slice(&piece);
            }
        }
        bytes
    })
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: ProptestConfig::default().cases.max(2_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

#[test]
fn any_record_file_comes_to_pictures_or_one_sentence() {
    let whole = record_file();
    fuzzed::tfrecord(&whole);
    // Behind right checksums the message itself is damaged.
    let data = whole[12..whole.len() / 2].to_vec();
    let bytes = prop_oneof![2 => damaged(whole), 3 => damaged(data), 1 => any_bytes()];
    proptest!(config(), |(bytes in bytes)| fuzzed::tfrecord(&bytes));
}

#[test]
fn any_voc_annotation_comes_to_objects_or_one_sentence() {
    fuzzed::voc_xml(XML.as_bytes());
    let bytes = prop_oneof![3 => damaged(XML.into()), 1 => any_bytes()];
    proptest!(config(), |(bytes in bytes)| fuzzed::voc_xml(&bytes));
}

#[test]
fn any_coco_json_comes_to_instances_or_one_sentence() {
    fuzzed::coco_json(JSON.as_bytes());
    let bytes = prop_oneof![3 => damaged(JSON.into()), 1 => any_bytes()];
    proptest!(config(), |(bytes in bytes)| fuzzed::coco_json(&bytes));
}

#[test]
fn entity_bombs_and_deep_nesting_end_soon() {
    let mut bomb = String::from("<!DOCTYPE a [<!ENTITY e0 \"boom\">");
    for level in 1..40 {
        let last = format!("&e{};", level - 1).repeat(10);
        let _ = write!(bomb, "<!ENTITY e{level} \"{last}\">");
    }
    bomb.push_str("]><annotation><object><name>&e39;</name></object></annotation>");
    fuzzed::voc_xml(bomb.as_bytes());
    fuzzed::voc_xml("<a>".repeat(200_000).as_bytes());
    let closed = format!("{}{}", "<a>".repeat(200_000), "</a>".repeat(200_000));
    fuzzed::voc_xml(closed.as_bytes());
    fuzzed::coco_json("[".repeat(200_000).as_bytes());
    let deep = |value: &str| JSON.replace("2017", value).replace("[[1, 2, 3]]", value);
    fuzzed::coco_json(deep(&"[".repeat(200_000)).as_bytes());
    fuzzed::coco_json(deep(&format!("{}{}", "[".repeat(200_000), "]".repeat(200_000))).as_bytes());
    fuzzed::coco_json(deep(&r#"{"a":"#.repeat(200_000)).as_bytes());
}
