//! `detbench nms` as a user meets it: documents, refusals, and the laboratory on a small made-up folder.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use detbench::laboratory::folder::{RawFolder, RawPicture};
use detbench::model::description::{Anchors, Family, Heads, RawHeads};
use detbench::model::Labels;
use detbench::npz::write_npz;
use detbench::postprocess::families::RuleOverrides;
use detbench::postprocess::{Activation, BoxScales, NmsSettings};
use detbench::tensor::{TensorData, TensorView};
use serde_json::Value;

fn nms(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("detbench").unwrap();
    command.arg("nms").args(arguments);
    command
}

fn json(command: &mut Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The words of a refusal, which has exit code 2 and nothing on stdout.
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{command:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// Two anchors on the same place and one elsewhere; a dog and a cat on the first two.
fn write(path: &Path, batch: Option<i64>) {
    let pictures = usize::try_from(batch.unwrap_or(1)).unwrap();
    let boxes = [0.0; 12].repeat(pictures);
    let scores = [0.0, 0.9, 0.1, 0.0, 0.2, 0.8, 0.0, 0.1, 0.4].repeat(pictures);
    let anchors = [
        0.25, 0.25, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 0.5, 0.5,
    ];
    let rows: Vec<i64> = batch.into_iter().chain([3]).collect();
    let (boxes_shape, scores_shape) = ([&rows[..], &[4]].concat(), [&rows[..], &[3]].concat());
    let view = |shape, data| TensorView {
        shape,
        data: TensorData::F32(data),
    };
    let arrays = [
        ("boxes", view(&boxes_shape, &boxes)),
        ("scores", view(&scores_shape, &scores)),
        ("anchors", view(&[3, 4], &anchors)),
    ];
    write_npz(path, &arrays).unwrap();
}

fn file(folder: &tempfile::TempDir, batch: Option<i64>) -> String {
    let path = folder.path().join("raw.npz");
    write(&path, batch);
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_document_has_an_entry_for_each_mode_and_slot() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(&folder, None);
    let document = json(
        nms(&[
            "--input",
            &file,
            "--set",
            "max_detections=4",
            "--repeat",
            "3",
        ])
        .args(["--nms", "both"]),
    );
    assert_eq!(document["schema_version"], 1);
    let (regular, fast) = (&document["results"][0], &document["results"][1]);
    assert_eq!(regular["nms"], "regular");
    assert_eq!(regular["num_detections"], 3);
    assert_eq!(regular["slots"], serde_json::json!([0, 1, 2, 3]));
    assert_eq!(regular["classes"], serde_json::json!([0, 1, 1, 0]));
    assert_eq!(regular["scores"], serde_json::json!([0.9, 0.8, 0.4, 0.0]));
    assert_eq!(regular["boxes"][2], serde_json::json!([0.5, 0.5, 1.0, 1.0]));
    assert_eq!(fast["num_detections"], 2);
    assert_eq!(fast["slots"], serde_json::json!([0, 1]));
    assert!(fast["median_us"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_batch_has_a_list_of_results_for_each_picture() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(&folder, Some(2));
    let document = json(&mut nms(&["--input", &file, "--nms", "fast"]));
    let pictures = document["results"].as_array().unwrap();
    assert_eq!(pictures.len(), 2);
    assert_eq!(pictures[0], pictures[1]);
    assert_eq!(pictures[1][0]["num_detections"], 2);
}

#[test]
fn what_is_wrong_is_named_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = file(&folder, None);
    let with = |arguments: &[&str]| refused(nms(&["--input", &file]).args(arguments));
    assert!(with(&["--set", "nms_iou_threshold=1.01"]).contains("`nms_iou_threshold` is 1.01"));
    assert!(with(&["--set", "num_classes=7"]).contains("num_classes"));
    assert!(with(&["--set", "iou=1"]).contains("unknown option `iou`"));
    assert!(with(&["--quant-scores", "0.5,3"]).contains("array `scores`"));
    assert!(with(&["--repeat", "0"]).contains("--repeat"));
    assert!(with(&["--sweep", "max_detections=1,x"]).contains("`max_detections` is `x`"));
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert!(with(&[]).contains("not a complete .npz archive"));
    assert!(refused(&mut nms(&["--input", "/nowhere.npz"])).contains("/nowhere.npz"));
    let empty = folder.path().to_str().unwrap();
    assert!(refused(&mut nms(&["--input", empty])).contains("heads.json"));
}

/// An archive of floats (or bytes) in the given shapes.
fn shaped(path: &Path, arrays: &[Shaped<'_>]) {
    let floats = vec![0.5_f32; 1_000];
    let bytes = vec![7_u8; 1_000];
    let views: Vec<(&str, TensorView<'_>)> = arrays
        .iter()
        .map(|&(name, shape, are_bytes)| {
            let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
            let data = if are_bytes {
                TensorData::U8(&bytes[..count])
            } else {
                TensorData::F32(&floats[..count])
            };
            (name, TensorView { shape, data })
        })
        .collect();
    write_npz(path, &views).unwrap();
}

type Shaped<'a> = (&'a str, &'a [i64], bool);

fn floats<'a>(boxes: &'a [i64], scores: &'a [i64], anchors: &'a [i64]) -> [Shaped<'a>; 3] {
    [
        ("boxes", boxes, false),
        ("scores", scores, false),
        ("anchors", anchors, false),
    ]
}

#[test]
fn arrays_that_do_not_fit_the_op_are_refused_by_file_array_and_expectation() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.npz");
    let with = |arrays: &[Shaped<'_>], arguments: &[&str]| {
        shaped(&path, arrays);
        refused(nms(&["--input"]).arg(&path).args(arguments))
    };
    for (arrays, words) in [
        (
            floats(&[3, 3], &[3, 3], &[3, 4]),
            &["array `boxes`", "[3, 3]", "4 or more"][..],
        ),
        (floats(&[12], &[3, 3], &[3, 4]), &["array `boxes`", "[12]"]),
        (
            floats(&[3, 4], &[2, 3], &[3, 4]),
            &["array `scores`", "[2, 3]", "[3, columns]"],
        ),
        (
            floats(&[3, 4], &[3, 3], &[2, 4]),
            &["array `anchors`", "[2, 4]", "[3, 4]"],
        ),
        (
            floats(&[2, 3, 4], &[1, 3, 3], &[3, 4]),
            &["array `scores`", "[2, 3, columns]"],
        ),
    ] {
        let message = with(&arrays, &[]);
        for word in [words, &["odd.npz"]].concat() {
            assert!(message.contains(word), "`{word}` not in {message}");
        }
    }
    let message = with(
        &[("boxes", &[3, 4], false), ("anchors", &[3, 4], false)],
        &[],
    );
    assert!(
        message.contains("has no array `scores`; it holds boxes, anchors"),
        "{message}"
    );
    let mixed: [Shaped<'_>; 3] = [
        ("boxes", &[3, 4], false),
        ("scores", &[3, 3], true),
        ("anchors", &[3, 4], false),
    ];
    assert!(with(&mixed, &[]).contains("array `scores`"));
    let bytes: [Shaped<'_>; 3] = [
        ("boxes", &[3, 4], true),
        ("scores", &[3, 3], true),
        ("anchors", &[3, 4], true),
    ];
    assert!(with(&bytes, &[]).contains("--quant-boxes SCALE,ZERO_POINT"));
    let fitting = floats(&[3, 4], &[3, 3], &[3, 4]);
    for (set, words) in [
        (
            "nms_score_threshold=nan",
            &["nms_score_threshold", "nan", "a number"][..],
        ),
        (
            "nms_iou_threshold=0",
            &["nms_iou_threshold", "above 0 and at most 1"],
        ),
        ("nms_iou_threshold=-0.5", &["nms_iou_threshold"]),
        ("nms_iou_threshold=nan", &["nms_iou_threshold"]),
        ("num_classes=1", &["num_classes"]),
        ("num_classes=4", &["num_classes"]),
        ("max_detections=-1", &["max_detections"]),
        ("detections_per_class=0", &["detections_per_class"]),
        (
            "max_classes_per_detection=0",
            &["max_classes_per_detection"],
        ),
    ] {
        let message = with(&fitting, &["--set", set]);
        for word in words {
            assert!(message.contains(word), "{set}: `{word}` not in {message}");
        }
    }
    // A height below zero makes a box that ends before it begins.
    let anchors = [0.5, 0.5, -0.5, 0.5];
    let heads = [0.0; 4];
    let scores = [0.1, 0.9];
    let view = |shape, data| TensorView {
        shape,
        data: TensorData::F32(data),
    };
    let arrays = [
        ("boxes", view(&[1, 4][..], &heads[..])),
        ("scores", view(&[1, 2], &scores)),
        ("anchors", view(&[1, 4], &anchors)),
    ];
    write_npz(&path, &arrays).unwrap();
    let message = refused(nms(&["--input"]).arg(&path));
    assert!(
        message.contains("odd.npz") && message.contains("anchor 0 is inverted"),
        "{message}"
    );
}

/// A folder as `run --save-raw` writes it, and its ground truth: a dog and a cat on one place.
fn laboratory(folder: &Path) -> PathBuf {
    let nms = NmsSettings {
        score_threshold: 0.3,
        iou_threshold: 0.6,
        max_detections: 10,
        detections_per_class: 10,
        max_classes_per_detection: 1,
    };
    let scales = BoxScales {
        y: 10.0,
        x: 10.0,
        h: 5.0,
        w: 5.0,
    };
    let labels = Labels::Names(vec!["dog".to_owned(), "cat".to_owned()]);
    let raw = RawHeads {
        family: Family::TfliteSsd,
        heads: Heads {
            boxes: "boxes".to_owned(),
            scores: "scores".to_owned(),
            activation: Activation::Sigmoid,
            classes: 2,
            background: true,
        },
        anchors: Anchors::Tensor("anchors".to_owned()),
        box_scales: scales,
        nms,
        procedure: RuleOverrides::default(),
    };
    let mut described = RawFolder::new("made-up", &labels, &raw);
    // Descending ids: the laboratory must not mix pictures up.
    for image_id in [9, 5] {
        let name = format!("{image_id}.npz");
        write(&folder.join(&name), None);
        let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures/rgb_8.png");
        described.pictures.push(RawPicture {
            file: name.into(),
            picture,
            image_id,
            width: 200,
            height: 100,
        });
    }
    described.write(folder).unwrap();
    let truth = serde_json::json!({
        "images": [{"id": 5}, {"id": 9}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 2, "bbox": [0, 0, 100, 50], "area": 5000, "iscrowd": 0},
            {"id": 2, "image_id": 9, "category_id": 1, "bbox": [0, 0, 100, 50], "area": 5000, "iscrowd": 0},
            {"id": 3, "image_id": 5, "category_id": 2, "bbox": [0, 0, 100, 50], "area": 5000, "iscrowd": 0},
        ],
    });
    let path = folder.join("truth.json");
    std::fs::write(&path, truth.to_string()).unwrap();
    path
}

#[test]
fn the_laboratory_tells_what_each_mode_found_and_lost_on_a_golden_picture() {
    let folder = tempfile::tempdir().unwrap();
    let truth = laboratory(folder.path());
    let drawn = folder.path().join("drawn");
    let document = json(
        nms(&[
            "--resamples",
            "50",
            "--worst",
            "1",
            "--repeat",
            "1",
            "--input",
        ])
        .arg(folder.path())
        .arg("--annotations")
        .arg(&truth)
        .arg("--draw")
        .arg(&drawn),
    );
    let setting = &document["settings"][0];
    let objects = &setting["objects"];
    assert_eq!(objects["both"], 2);
    assert_eq!(objects["only_regular"].as_array().unwrap().len(), 1);
    assert_eq!(objects["only_regular"][0]["image_id"], 9);
    assert_eq!(objects["only_regular"][0]["category_id"], 1);
    assert_eq!(objects["only_fast"], serde_json::json!([]));
    let difference = setting["map_difference"]["estimate"].as_f64().unwrap();
    let stat = |mode: usize| setting["modes"][mode]["stats"][0].as_f64().unwrap();
    assert!((difference - (stat(0) - stat(1))).abs() < 1e-12);
    assert!(difference > 0.1);
    assert_eq!(
        document["pictures_that_differ_most"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(std::fs::read_dir(drawn).unwrap().count(), 1);
}

#[test]
fn a_sweep_has_a_setting_for_each_value_on_a_golden_picture() {
    let folder = tempfile::tempdir().unwrap();
    let truth = laboratory(folder.path());
    let sweep = "nms_score_threshold=0.05,0.85,0.95";
    let document = json(
        nms(&[
            "--resamples",
            "5",
            "--repeat",
            "1",
            "--sweep",
            sweep,
            "--input",
        ])
        .arg(folder.path())
        .arg("--annotations")
        .arg(&truth),
    );
    let settings = document["settings"].as_array().unwrap();
    let counts: Vec<&Value> = settings
        .iter()
        .map(|one| &one["modes"][0]["detection_count"])
        .collect();
    // Of six pairs a picture two lie on a better one of their class.
    assert_eq!(counts, [8, 2, 0]);
    let text = nms(&["--sweep", sweep, "--resamples", "5", "--input"])
        .arg(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("== nms_score_threshold=0.85 =="), "{text}");
    assert!(text.contains("no ground truth"), "{text}");
}
