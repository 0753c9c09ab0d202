//! Graphs that end in detections, `detect`, `--save-raw` and the laboratory from pictures, through the binary and
//! with models of a few operators (`tests/golden/onnx`), whose answers are known without running them.
//!
//! They need ONNX Runtime, which `detbench setup` fetches; where that cannot be done they are skipped, saying so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::{json, Value};
use tempfile::TempDir;

const TFOD: &str = r#"
name = "small-tfod"
title = "A made-up detector"
family = "end-to-end"
precision = "fp32"
dataset = "coco"
source = "tests"
licence = "as this program's"
labels = "coco-91"

[input]
name = "image_tensor"
height = 5
width = 6
element = "u8"
layout = "nhwc"

[detections]
boxes = "all_boxes"
classes = "all_classes"
scores = "scores"
count = "all_counts"
corners = "yxyx"
unit = "share"
first_class = 1
"#;

const RCNN: &str = r#"
name = "small-rcnn"
title = "A made-up detector"
family = "end-to-end"
precision = "fp32"
dataset = "coco"
source = "tests"
licence = "as this program's"
labels = "coco-80"

[input]
name = "pixels"
height = 4
width = 8
element = "f32"
layout = "chw"
scale = [255.0, 255.0, 255.0]

[detections]
boxes = "boxes"
classes = "labels"
scores = "scores"
corners = "xyxy"
unit = "pixel"
first_class = 1
"#;

const HEADS: &str = r#"
name = "small-ssd"
title = "A made-up detector"
family = "tflite-ssd"
precision = "fp32"
dataset = "coco"
source = "tests"
licence = "as this program's"
labels = ["dog", "cat"]

[input]
name = "pixels"
height = 4
width = 4
element = "f32"
layout = "nhwc"

[heads]
boxes = "raw_boxes"
scores = "raw_scores"
activation = "none"
classes = 2
background = true

[anchors]
tensor = "anchors"

[box_scales]
y = 10.0
x = 10.0
h = 5.0
w = 5.0

[nms]
score_threshold = 0.15
iou_threshold = 0.6
max_detections = 10
"#;

fn detbench() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("detbench"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether there is an ONNX Runtime to run models with.
fn has_runtime() -> bool {
    static READY: OnceLock<bool> = OnceLock::new();
    *READY.get_or_init(|| {
        let output = detbench().arg("setup").output().unwrap();
        if !output.status.success() {
            eprintln!("skipped: {}{}", text(&output.stdout), text(&output.stderr));
        }
        output.status.success()
    })
}

/// A model with its model file beside it, and labelled pictures.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new(graph: &str, model_file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx");
        fs::copy(golden.join(graph), folder.path().join("own.onnx")).unwrap();
        fs::write(folder.path().join("own.toml"), model_file).unwrap();
        let desk = Self { folder };
        desk.picture("pictures/1.png", 204);
        desk.picture("pictures/2.png", 51);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn model(&self) -> PathBuf {
        self.path("own.onnx")
    }

    /// A picture of one colour, 40 x 20.
    fn picture(&self, name: &str, grey: u8) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut encoder = png::Encoder::new(fs::File::create(&path).unwrap(), 40, 20);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[grey; 40 * 20 * 3]).unwrap();
        writer.finish().unwrap();
        path
    }

    /// Ground truth: a box of `category` on each picture.
    fn truth(&self, category: (i64, &str), bbox: [f64; 4]) -> PathBuf {
        let annotation = |image: i64| {
            json!({"id": image, "image_id": image, "category_id": category.0, "bbox": bbox,
                "area": bbox[2] * bbox[3], "iscrowd": 0})
        };
        let image = |id: i64| json!({"id": id, "file_name": format!("{id}.png"), "width": 40, "height": 20});
        let truth = json!({
            "images": [image(1), image(2)],
            "categories": [{"id": category.0, "name": category.1}],
            "annotations": [annotation(1), annotation(2)],
        });
        let path = self.path("truth.json");
        fs::write(&path, truth.to_string()).unwrap();
        path
    }

    fn run(&self) -> Command {
        let mut command = detbench();
        command
            .args(["run", "--json", "--model"])
            .arg(self.model())
            .arg("--images")
            .arg(self.path("pictures"))
            .arg("--output-dir")
            .arg(self.path("results"));
        command
    }

    fn run_folder(&self) -> PathBuf {
        let mut folders = fs::read_dir(self.path("results")).unwrap();
        folders.next().expect("a run folder").unwrap().path()
    }
}

/// What a command answers; a run that is too short for its rules ends with code 1.
fn document(command: &mut Command) -> Value {
    let output: Output = command.output().unwrap();
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{command:?}: {}",
        text(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a command that must fail with code 2 and one sentence that holds `words`.
fn refused(command: &mut Command, words: &[&str]) {
    let output = command.output().unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{command:?}: {message}");
    for word in words {
        assert!(message.contains(word), "`{word}` not in: {message}");
    }
    assert_eq!(message.matches("error:").count(), 1, "{message}");
}

#[test]
fn a_graph_that_ends_in_detections_has_one_entry_a_scenario_and_no_mode() {
    if !has_runtime() {
        return;
    }
    let desk = Desk::new("tfod_detections.onnx", TFOD);
    let truth = desk.truth((18, "dog"), [10.0, 0.0, 20.0, 10.0]);
    let report = document(
        desk.run()
            .args(["--scenario", "SingleStream", "--scenario", "Offline"])
            .args(["--duration", "100ms", "--set", "min_query_count=5"])
            .arg("--annotations")
            .arg(truth),
    );
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2, "{report}");
    for run in runs {
        assert_eq!(run["nms"], Value::Null);
        // The only dog of each picture is found, whatever its score.
        assert!(
            (run["accuracy"]["map"].as_f64().unwrap() - 1.0).abs() < 1e-9,
            "{run}"
        );
        // The slot beyond the count is not read: two detections a picture, of which the persons are not scored.
        assert_eq!(run["accuracy"]["detection_count"], 4);
    }
    let folder = desk.run_folder();
    assert!(folder.join("detections.json").is_file());
    assert!(folder.join("accuracy/mlperf_log_accuracy.json").is_file());
    assert!(folder.join("Offline").is_dir());
}

#[test]
fn the_accuracy_log_of_a_run_scores_as_the_run_itself_did() {
    if !has_runtime() {
        return;
    }
    let desk = Desk::new("tfod_detections.onnx", TFOD);
    // The box lies beside the detection: some thresholds of the IoU hold, others do not.
    let truth = desk.truth((18, "dog"), [12.0, 1.0, 20.0, 10.0]);
    let report = document(
        desk.run()
            .arg("--accuracy-only")
            .arg("--annotations")
            .arg(&truth),
    );
    let log = desk.run_folder().join("accuracy/mlperf_log_accuracy.json");
    let mut score = detbench();
    score.args(["score", "--json", "--annotations"]).arg(&truth);
    let scored = document(score.arg("--mlperf-log").arg(log));
    assert_eq!(report["runs"][0]["accuracy"]["stats"], scored["stats"]);
    let map = scored["stats"][0].as_f64().unwrap();
    assert!((0.1..0.9).contains(&map), "{map}");
}

#[test]
fn the_outputs_are_found_by_name_and_pixels_become_shares() {
    if !has_runtime() {
        return;
    }
    let desk = Desk::new("rcnn_detections.onnx", RCNN);
    let report = document(
        detbench()
            .arg("detect")
            .args([desk.path("pictures/1.png"), desk.path("pictures/2.png")])
            .arg("--model")
            .arg(desk.model())
            .arg("--draw")
            .arg(desk.path("drawn")),
    );
    assert_eq!(report["nms"], Value::Null);
    let bright = report["pictures"][0]["detections"].as_array().unwrap();
    assert_eq!(bright.len(), 2);
    assert_eq!(bright[0]["label"], "bicycle");
    assert!((bright[0]["score"].as_f64().unwrap() - 0.8).abs() < 1e-6);
    assert_eq!(bright[0]["box"], json!([0.0, 0.0, 1.0, 0.5]));
    assert_eq!(bright[1]["label"], "stop sign");
    assert_eq!(bright[1]["bbox"], json!([10.0, 5.0, 10.0, 10.0]));
    let dark = report["pictures"][1]["detections"].as_array().unwrap();
    assert_eq!(dark.len(), 1);
    assert_eq!(fs::read_dir(desk.path("drawn")).unwrap().count(), 2);
}

#[test]
fn a_graph_for_one_picture_at_a_time_is_measured_too_but_not_in_batches() {
    if !has_runtime() {
        return;
    }
    let desk = Desk::new("rcnn_detections.onnx", RCNN);
    let offline = [
        "--scenario",
        "Offline",
        "--benchmark-only",
        "--duration",
        "50ms",
    ];
    let report = document(desk.run().args(offline));
    assert_eq!(report["runs"].as_array().unwrap().len(), 1);
    refused(
        desk.run().args(offline).args(["--batch-size", "2"]),
        &["takes batches of 1 only", "--batch-size 1"],
    );
}

#[test]
fn flags_about_nms_are_refused_where_the_graph_does_it() {
    let desk = Desk::new("tfod_detections.onnx", TFOD);
    for flag in [
        "--nms=fast",
        "--iou-threshold=0.5",
        "--max-detections=7",
        "--detections-per-class=3",
    ] {
        let name = flag.split('=').next().unwrap();
        let words = [name, "small-tfod", "ends in detections", "remove"];
        refused(desk.run().arg(flag), &words);
        let mut detect = detbench();
        detect.arg("detect").arg(desk.path("pictures/1.png"));
        refused(detect.arg("--model").arg(desk.model()).arg(flag), &words);
    }
    refused(
        desk.run().arg("--save-raw").arg(desk.path("raw")),
        &["small-tfod", "no raw heads"],
    );
    let mut laboratory = detbench();
    laboratory.args(["nms", "--model"]).arg(desk.model());
    laboratory.arg("--images").arg(desk.path("pictures"));
    refused(&mut laboratory, &["small-tfod", "no raw heads"]);
}

#[test]
fn a_model_file_that_does_not_fit_the_graph_is_refused_by_tensor() {
    for (from, to, words) in [
        (
            "\"all_boxes\"",
            "\"boxes\"",
            &["no output `boxes`", "all_counts"][..],
        ),
        (
            "\"all_boxes\"",
            "\"scores\"",
            &["scores f32[batch,3]", "slots,4"],
        ),
        (
            "[detections]",
            "[detection]",
            &["own.toml:", "unknown key `detection`", "`detections`"],
        ),
        (
            "\"end-to-end\"",
            "\"tfod-ssd\"",
            &["own.toml:", "`[detections]` has no meaning", "tfod-ssd"],
        ),
        (
            "corners = \"yxyx\"",
            "corners = \"yx\"",
            &["own.toml:", "`yx`"],
        ),
        (
            "unit = \"share\"\n",
            "",
            &["own.toml:", "the key `unit` is missing"],
        ),
    ] {
        let text = TFOD.replacen(from, to, 1);
        assert_ne!(text, TFOD, "{from}");
        let desk = Desk::new("tfod_detections.onnx", &text);
        refused(&mut desk.run(), words);
    }
    let cut = TFOD.split("[detections]").next().unwrap();
    let desk = Desk::new("tfod_detections.onnx", cut);
    refused(
        &mut desk.run(),
        &[
            "own.toml:4: the table `[detections]` is missing",
            "end-to-end",
        ],
    );
}

#[test]
fn anchors_in_the_graph_are_preferred_to_those_of_the_model_file() {
    if !has_runtime() {
        return;
    }
    let other = HEADS.replace("tensor = \"anchors\"", "generator = \"tfod-ssd-300\"");
    for model_file in [HEADS, &other] {
        let desk = Desk::new("ssd_heads.onnx", model_file);
        let report = document(
            detbench()
                .arg("detect")
                .arg(desk.picture("white.png", 255))
                .arg("--model")
                .arg(desk.model()),
        );
        let found = report["pictures"][0]["detections"].as_array().unwrap();
        assert_eq!(found[0]["label"], "dog");
        assert_eq!(found[0]["box"], json!([0.0, 0.0, 0.5, 0.5]));
        assert_eq!(found.len(), 3, "{report}");
    }
    let absent = HEADS.replace("tensor = \"anchors\"", "tensor = \"priors\"");
    let desk = Desk::new("ssd_heads.onnx", &absent);
    refused(&mut desk.run(), &["constant `priors`"]);
}

#[test]
fn saved_heads_and_the_model_itself_give_the_laboratory_the_same_answer() {
    if !has_runtime() {
        return;
    }
    let desk = Desk::new("ssd_heads.onnx", HEADS);
    let truth = desk.truth((7, "cat"), [0.0, 0.0, 20.0, 10.0]);
    let raw = desk.path("raw");
    document(
        desk.run()
            .arg("--accuracy-only")
            .arg("--annotations")
            .arg(&truth)
            .arg("--save-raw")
            .arg(&raw),
    );
    assert!(raw.join("heads.json").is_file() && raw.join("1.npz").is_file());
    let laboratory = |arguments: &[&Path]| {
        let mut command = detbench();
        command.args([
            "nms",
            "--json",
            "--repeat",
            "1",
            "--resamples",
            "20",
            "--annotations",
        ]);
        command.arg(&truth).args(arguments);
        let mut answer = document(&mut command);
        // Times differ from call to call.
        for setting in answer["settings"].as_array_mut().unwrap() {
            for mode in setting["modes"].as_array_mut().unwrap() {
                mode["us_p50"] = Value::Null;
                mode["us_p90"] = Value::Null;
            }
            for picture in setting["pictures"].as_array_mut().unwrap() {
                picture["median_us"] = Value::Null;
            }
        }
        answer["settings"].clone()
    };
    let images = desk.path("pictures");
    let from_folder = laboratory(&[Path::new("--input"), &raw]);
    let model = desk.model();
    let from_model = laboratory(&[Path::new("--model"), &model, Path::new("--images"), &images]);
    assert_eq!(from_folder, from_model);
    // The cats lie under dogs: only class-by-class suppression keeps them.
    let objects = &from_model[0]["objects"];
    assert_eq!(
        objects["only_regular"].as_array().unwrap().len(),
        2,
        "{objects}"
    );
    // One archive is what the op takes, as probabilities.
    let mut one = detbench();
    one.args([
        "nms",
        "--json",
        "--nms",
        "regular",
        "--set",
        "nms_score_threshold=0.15",
        "--input",
    ]);
    let one = document(one.arg(raw.join("1.npz")));
    assert_eq!(one["results"][0]["num_detections"], 3, "{one}");
}

#[test]
fn a_family_that_is_not_the_ops_goes_through_its_own_procedure_in_the_laboratory() {
    if !has_runtime() {
        return;
    }
    let text = HEADS
        .replace("tflite-ssd", "pytorch-ssd")
        .replace("score_threshold = 0.15", "score_threshold = 0.8");
    let desk = Desk::new("ssd_heads.onnx", &text);
    desk.picture("pictures/1.png", 255);
    let mut command = detbench();
    command.args(["nms", "--json", "--repeat", "1", "--model"]);
    command
        .arg(desk.model())
        .arg("--images")
        .arg(desk.path("pictures"));
    let answer = document(&mut command);
    // A score of 0.8 at a threshold of 0.8 passes the op, but not this family.
    let counts =
        |mode: usize| answer["settings"][0]["pictures"][0]["detection_counts"][mode].clone();
    assert_eq!((counts(0), counts(1)), (json!(1), json!(1)), "{answer}");
    let mut revision = detbench();
    revision
        .args(["nms", "--tflite-revision", "r2", "--model"])
        .arg(desk.model());
    refused(
        revision.arg("--images").arg(desk.path("pictures")),
        &["--tflite-revision", "small-ssd"],
    );
}
