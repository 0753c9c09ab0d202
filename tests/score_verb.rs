//! `detbench score` as a user meets it: what it accepts as pycocotools does, what it refuses, and accuracy logs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{json, Value};
use tempfile::TempDir;

struct Desk {
    folder: TempDir,
}

impl Desk {
    /// Two pictures with a dog each, the second without detections as yet.
    fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        desk.truth(&json!([
            {"id": 1, "image_id": 1, "category_id": 18, "bbox": [0, 0, 50, 50], "area": 2500, "iscrowd": 0},
            {"id": 2, "image_id": 2, "category_id": 18, "bbox": [10, 20, 50, 50], "area": 2500, "iscrowd": 0},
        ]));
        desk
    }

    fn truth(&self, annotations: &Value) {
        let truth = json!({
            "images": [{"id": 1, "width": 100, "height": 80}, {"id": 2, "width": 100, "height": 80}],
            "categories": [{"id": 18, "name": "dog"}],
            "annotations": annotations,
        });
        self.file("gt.json", &truth.to_string());
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn score(&self, detections: &str, flags: &[&str]) -> Command {
        let detections = self.file("dt.json", detections);
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("detbench"));
        command
            .arg("score")
            .arg("--annotations")
            .arg(self.folder.path().join("gt.json"));
        command.arg("--detections").arg(detections).args(flags);
        command
    }

    fn stats(&self, detections: &Value, flags: &[&str]) -> Vec<f64> {
        stats(self.score(&detections.to_string(), flags).arg("--json"))
    }

    fn refused(&self, detections: &str, flags: &[&str]) -> String {
        let output = self.score(detections, flags).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(output.stdout.is_empty(), "{message}");
        assert_eq!(message.matches("error:").count(), 1, "{message}");
        message
    }
}

fn stats(command: &mut Command) -> Vec<f64> {
    let output = command.output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema_version"], 1);
    let stats = document["stats"].as_array().unwrap();
    stats.iter().map(|one| one.as_f64().unwrap()).collect()
}

fn hit(image: i64, x: f64, y: f64, score: f64) -> Value {
    json!({"image_id": image, "category_id": 18, "bbox": [x, y, 50, 50], "score": score})
}

#[test]
fn what_pycocotools_accepts_is_accepted() {
    let desk = Desk::new();
    let good = json!([hit(1, 0.0, 0.0, 0.9), hit(2, 10.0, 20.0, 0.8)]);
    let perfect = desk.stats(&good, &[]);
    assert!(perfect[0] > 0.999);
    // Scores are an order and nothing else.
    let far = json!([hit(1, 0.0, 0.0, 900.0), hit(2, 10.0, 20.0, -8.0)]);
    assert_eq!(desk.stats(&far, &[]), perfect);
    // A negative size overlaps nothing.
    let mut odd = good.clone();
    odd.as_array_mut()
        .unwrap()
        .push(json!({"image_id": 1, "category_id": 18, "bbox": [50, 50, -50, -50], "score": 0.1}));
    assert_eq!(desk.stats(&odd, &[]), perfect);
    // Ids of annotations may be negative.
    desk.truth(&json!([
        {"id": -1, "image_id": 1, "category_id": 18, "bbox": [0, 0, 50, 50], "area": 2500, "iscrowd": 0},
        {"id": -2, "image_id": 2, "category_id": 18, "bbox": [10, 20, 50, 50], "area": 2500, "iscrowd": 0},
    ]));
    assert_eq!(desk.stats(&good, &[]), perfect);
    // Of a repeated id the last annotation counts, once for each time the id stands there.
    desk.truth(&json!([
        {"id": 7, "image_id": 1, "category_id": 18, "bbox": [0, 0, 50, 50], "area": 2500, "iscrowd": 0},
        {"id": 7, "image_id": 2, "category_id": 18, "bbox": [10, 20, 50, 50], "area": 2500, "iscrowd": 0},
    ]));
    let half = desk.stats(&json!([hit(2, 10.0, 20.0, 0.8)]), &[]);
    assert!((half[8] - 0.5).abs() < 1e-9, "{half:?}");
}

#[test]
fn detections_outside_the_image_ids_are_dropped() {
    let desk = Desk::new();
    let stray = json!([hit(1, 0.0, 0.0, 0.5), hit(2, 70.0, 70.0, 0.9)]);
    assert!(desk.stats(&stray, &[])[0] < 0.5);
    for text in ["1\n", "[1]"] {
        let ids = desk.file("ids", text);
        let flags = ["--image-ids", ids.to_str().unwrap()];
        assert!(desk.stats(&stray, &flags)[0] > 0.999, "{text:?}");
    }
}

#[test]
fn what_cannot_be_scored_is_refused_by_file_and_index() {
    let desk = Desk::new();
    let good = hit(1, 0.0, 0.0, 0.9).to_string();
    for (detections, words) in [
        ("[]".to_owned(), &["dt.json", "empty"][..]),
        (String::new(), &["dt.json"]),
        ("{}".to_owned(), &["dt.json"]),
        (
            format!("[{good}, {}]", hit(3, 0.0, 0.0, 0.9)),
            &["detection 1", "image 3"],
        ),
        (
            format!("[{good}, {}]", good.replace("0.9", "NaN")),
            &["dt.json", "line 1"],
        ),
        (
            format!("[{good}, {}]", good.replace("0.9", "1e999")),
            &["dt.json"],
        ),
        (
            format!("[{}]", good.replace("[0.0,0.0,50,50]", "[0,0,50]")),
            &["dt.json"],
        ),
        (
            format!("[{}]", good.replace("\"score\"", "\"scor\"")),
            &["dt.json", "score"],
        ),
    ] {
        let message = desk.refused(&detections, &[]);
        for word in words {
            assert!(
                message.contains(word),
                "{detections}: `{word}` not in {message}"
            );
        }
    }
    let ids = desk.file("ids", "1\nx\n");
    assert!(desk
        .refused(
            &format!("[{good}]"),
            &["--image-ids", ids.to_str().unwrap()]
        )
        .contains("ids"));
    assert!(desk
        .refused(&format!("[{good}]"), &["--image-ids", "/nowhere"])
        .contains("/nowhere"));
    for flags in [["--voc-style", "devkit"], ["--points", "all"]] {
        let message = desk.refused(&format!("[{good}]"), &flags);
        assert!(message.contains(flags[0]) && message.contains("COCO's"));
    }
    desk.file("gt.json", "{\"images\": [");
    assert!(desk.refused(&format!("[{good}]"), &[]).contains("gt.json"));
}

#[test]
fn the_roundings_of_collective_knowledge_end_with_its_two_figures() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/coco/rand25.json");
    let set: Value = serde_json::from_slice(&fs::read(golden).unwrap()).unwrap();
    let desk = Desk::new();
    desk.file("gt.json", &set["gt"].to_string());
    let detections = set["dt"].to_string();
    let output = desk
        .score(&detections, &["--ck-rounding"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 14, "{text}");
    // What CK's text files make of the same detections, written and read back.
    let decimals =
        |value: f64, digits: usize| -> f64 { format!("{value:.digits$}").parse().unwrap() };
    let rounded: Vec<Value> = set["dt"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let number = |value: &Value| value.as_f64().unwrap();
            let [x, y, w, h] = [0, 1, 2, 3].map(|edge| number(&one["bbox"][edge]));
            let corner = |edge: f64| decimals(f64::from(edge as f32), 2);
            let (left, top, right, bottom) = (corner(x), corner(y), corner(x + w), corner(y + h));
            json!({
                "image_id": one["image_id"],
                "category_id": one["category_id"],
                "bbox": [left, top, decimals(right - left, 2), decimals(bottom - top, 2)],
                "score": decimals(f64::from(number(&one["score"]) as f32), 3),
            })
        })
        .collect();
    let expected = desk.stats(&Value::from(rounded), &[]);
    assert_eq!(lines[12], format!("mAP: {:?}", expected[0]));
    assert_eq!(lines[13], format!("Recall: {:?}", expected[8]));
}
