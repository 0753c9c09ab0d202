//! `run --model-to-eval` and two models side by side.
//!
//! The tests that measure are skipped, saying so, where `DETBENCH_TEST_DATA` is not set or ONNX Runtime cannot be had.

mod child;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::child::{interrupt, pause, wait_until};
use serde_json::Value;
use tempfile::TempDir;

fn detbench() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("detbench"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The real data; the guard keeps two measurements from slowing each other down.
struct Data {
    root: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

fn data() -> Option<Data> {
    static TURN: Mutex<()> = Mutex::new(());
    let Ok(root) = std::env::var("DETBENCH_TEST_DATA") else {
        eprintln!("skipped: DETBENCH_TEST_DATA is not set");
        return None;
    };
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let output = detbench().arg("setup").output().unwrap();
    if !output.status.success() {
        eprintln!("skipped: {}", text(&output.stderr));
        return None;
    }
    Some(Data {
        root: root.into(),
        _turn: turn,
    })
}

impl Data {
    fn model(&self, name: &str) -> String {
        let path = self.root.join("models").join(name);
        path.to_str().unwrap().to_owned()
    }

    fn fp32(&self) -> String {
        self.model("ssdlite_mobilenet_v2_coco_fp32.onnx")
    }

    fn int8(&self) -> String {
        self.model("ssdlite_mobilenet_v2_coco_int8_qdq.onnx")
    }

    fn pictures(&self) -> String {
        let path = self.root.join("coco/cocomini_val2017_79/images");
        path.to_str().unwrap().to_owned()
    }

    fn annotations(&self) -> String {
        let path = self.root.join("coco/cocomini_val2017_79/instances.json");
        path.to_str().unwrap().to_owned()
    }
}

fn run(folder: &Path) -> Command {
    let mut command = detbench();
    command.args(["run", "--warmup", "1", "--output-dir"]);
    command.arg(folder.join("results")).current_dir(folder);
    command
}

fn document(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one document of JSON")
}

fn run_folder(folder: &Path) -> PathBuf {
    let mut folders = fs::read_dir(folder.join("results")).unwrap();
    folders.next().unwrap().unwrap().path()
}

fn in_folder(folder: &Path) -> Value {
    let text = fs::read(run_folder(folder).join("both.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn pair(value: &Value) -> [f64; 2] {
    [0, 1].map(|side: usize| value[side].as_f64().unwrap())
}

#[test]
fn the_two_variants_have_the_published_accuracy_and_an_interval_of_their_difference() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    // The order of the files does not matter: what they compute in decides.
    let mut command = run(folder.path());
    command.args(["--model", &data.int8(), "--model", &data.fp32()]);
    command.args(["--model-to-eval", "both", "--score-threshold", "0.01"]);
    command.args([
        "--images",
        &data.pictures(),
        "--annotations",
        &data.annotations(),
    ]);
    command.args(["--scenario", "SingleStream", "--duration", "300ms"]);
    command.args(["--set", "min_query_count=12", "--json"]);
    let found = document(&command.output().unwrap());
    assert_eq!(
        found,
        in_folder(folder.path()),
        "the file is what was printed"
    );
    assert_eq!(
        (&found["schema_version"], &found["complete"]),
        (&1.into(), &true.into())
    );

    let expected = data.root.join("coco/expected_cocomini_val2017_79.json");
    let expected: Value = serde_json::from_slice(&fs::read(expected).unwrap()).unwrap();
    let models = ["fp32", "int8_qdq"];
    for (side, name) in models.iter().enumerate() {
        let stats = &expected[format!("ssdlite_mobilenet_v2_coco_{name}/regular")]["stats"];
        let own = &found["accuracy"]["models"][side]["stats"];
        for (expected, own) in stats
            .as_array()
            .unwrap()
            .iter()
            .zip(own.as_array().unwrap())
        {
            let (expected, own) = (expected.as_f64().unwrap(), own.as_f64().unwrap());
            assert!(
                (expected - own).abs() < 1e-3,
                "{name}: {own} and {expected}"
            );
        }
        assert_eq!(found["models"][side]["label"], name[..4]);
    }
    let accuracy = &found["accuracy"];
    let maps = [0, 1].map(|side: usize| accuracy["models"][side]["map"].as_f64().unwrap());
    let difference = &accuracy["map_difference"];
    let [low, estimate, high] =
        ["low", "estimate", "high"].map(|key| difference[key].as_f64().unwrap());
    assert!(
        (estimate - (maps[1] - maps[0])).abs() < 1e-9,
        "{difference}"
    );
    assert!(
        low < estimate && estimate < high && high - low < 0.08,
        "{difference}"
    );
    for row in accuracy["per_category"].as_array().unwrap() {
        let [first, second] = pair(&row["ap"]);
        assert!((row["estimate"].as_f64().unwrap() - (second - first)).abs() < 1e-9);
    }
    // A laboratory in Python saw .92, .20, 28.3 and 18.0 dB for this file on more pictures.
    let near = |key: &str| found["nearness"][key].as_f64().unwrap();
    assert!(
        (0.88..0.97).contains(&near("agreement")),
        "{}",
        found["nearness"]
    );
    assert!(
        (25.0..32.0).contains(&near("scores_sqnr_db")),
        "{}",
        found["nearness"]
    );
    assert!(
        (16.0..20.0).contains(&near("boxes_sqnr_db")),
        "{}",
        found["nearness"]
    );
    assert!((0.15..0.25).contains(&near("dp")), "{}", found["nearness"]);

    let measured = &found["performance"][0];
    let turns = measured["turns"].as_array().unwrap();
    assert_eq!((turns.len(), &measured["planned_turns"]), (6, &6.into()));
    for side in [0, 1] {
        let whole = &measured["models"][side];
        let each = turns
            .iter()
            .map(|turn| turn[side]["query_count"].as_u64().unwrap());
        assert_eq!(whole["query_count"].as_u64().unwrap(), each.sum::<u64>());
    }
    let lines = fs::read_to_string(run_folder(folder.path()).join("latencies-SingleStream.csv"));
    let queries: u64 = [0, 1]
        .map(|side: usize| measured["models"][side]["query_count"].as_u64().unwrap())
        .iter()
        .sum();
    assert_eq!(lines.unwrap().lines().count() as u64, queries + 1);
    assert!(run_folder(folder.path())
        .join("int8/detections.json")
        .is_file());
}

#[test]
fn people_read_a_table_and_aimets_line() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    // The variant of a file is looked for beside it.
    fs::copy(data.fp32(), folder.path().join("own.onnx")).unwrap();
    fs::copy(data.int8(), folder.path().join("own-int8.onnx")).unwrap();
    let mut command = run(folder.path());
    command.args([
        "--model",
        "own.onnx",
        "--model-to-eval",
        "both",
        "--count",
        "12",
    ]);
    command.args([
        "--images",
        &data.pictures(),
        "--annotations",
        &data.annotations(),
    ]);
    command.args(["--duration", "120ms", "--set", "min_query_count=6"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    for words in [
        "SingleStream p99",
        "Offline images/s",
        "Server p50",
        "  NMS p50",
        "FP32 mAP: 0.",
        "   INT8 mAP: 0.",
        "95 % interval",
        "AP by category: ",
        "Without labels, on 12 pictures: agreement 0.",
        ", dp 0.",
        "results in ",
    ] {
        assert!(told.contains(words), "`{words}` not in {told}");
    }
}

#[test]
fn one_variant_is_an_ordinary_run_of_it() {
    let Some(data) = data() else { return };
    for which in ["fp32", "int8"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = run(folder.path());
        command.args([
            "--model",
            &data.fp32(),
            "--model",
            &data.int8(),
            "--model-to-eval",
            which,
        ]);
        command.args([
            "--images",
            &data.pictures(),
            "--count",
            "3",
            "--nms",
            "fast",
            "--json",
        ]);
        command.args(["--scenario", "SingleStream", "--duration", "50ms", "--set"]);
        command.arg("min_query_count=3");
        let output = command.output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).expect("one document");
        assert_eq!(found["runs"][0]["precision"], which);
        assert!(run_folder(folder.path()).join("run.json").is_file());
    }
}

#[test]
fn models_that_know_other_classes_are_scored_on_those_in_common() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("few.onnx");
    fs::copy(data.int8(), &other).unwrap();
    let toml = fs::read_to_string("configs/models/ssdlite-mobilenet-v2-int8.toml").unwrap();
    let names = (1..=90).map(|id| match id {
        1 => "\"person\"".to_owned(),
        3 => "\"car\"".to_owned(),
        _ => format!("\"thing {id}\""),
    });
    let names = format!("labels = [{}]", names.collect::<Vec<_>>().join(", "));
    let toml = toml.replace("labels = \"coco-91\"", &names);
    let toml = toml.replace("ssdlite-mobilenet-v2-int8", "few-classes");
    fs::write(other.with_extension("toml"), toml).unwrap();
    let mut command = run(folder.path());
    command.args(["--model", &data.fp32(), "--model", other.to_str().unwrap()]);
    command.args([
        "--images",
        &data.pictures(),
        "--annotations",
        &data.annotations(),
    ]);
    command.args(["--accuracy-only", "--json"]);
    let found = document(&command.output().unwrap());
    let labels = [0, 1].map(|side: usize| found["models"][side]["label"].as_str().unwrap());
    assert_eq!(labels, ["ssdlite-mobilenet-v2", "few-classes"]);
    let rows = found["accuracy"]["per_category"].as_array().unwrap();
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["person", "car"]);
    let aps = [0, 1].map(|row: usize| pair(&rows[row]["ap"])[0]);
    let map = found["accuracy"]["models"][0]["map"].as_f64().unwrap();
    assert!((map - f64::midpoint(aps[0], aps[1])).abs() < 1e-9);
    let note = found["notes"].to_string();
    assert!(
        note.contains("over the 2 categories that both models know"),
        "{note}"
    );
    // The heads are as wide, but their columns do not mean the same.
    assert!(found["nearness"]["dp"].is_null());
    assert!(found["nearness"]["agreement"].as_f64().unwrap() > 0.5);
}

#[test]
fn synthetic_weights_have_no_accuracy_but_a_nearness() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    for seed in ["1", "2"] {
        let output = detbench()
            .args(["generate", "ssdlite-mobilenet-v2", "--seed", seed, "-o"])
            .arg(folder.path().join(format!("seed{seed}.onnx")))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let mut command = run(folder.path());
    command.args([
        "--model",
        "seed1.onnx",
        "--model",
        "seed2.onnx",
        "--count",
        "3",
    ]);
    command.args([
        "--images",
        &data.pictures(),
        "--annotations",
        &data.annotations(),
    ]);
    command.args([
        "--scenario",
        "Offline",
        "--duration",
        "60ms",
        "--set",
        "min_query_count=3",
    ]);
    let told = command.output().unwrap();
    assert!(told.status.success(), "{}", text(&told.stderr));
    let found = in_folder(folder.path());
    assert!(found["accuracy"].is_null() && found["nearness"]["dp"].is_number());
    let told = text(&told.stdout);
    for words in [
        "seed1",
        "seed2",
        "there is no accuracy",
        "how faithful the arithmetic is",
    ] {
        assert!(told.contains(words), "`{words}` not in {told}");
    }
    assert!(!told.contains("mAP: "), "{told}");
}

#[test]
fn an_interrupt_keeps_the_turns_that_were_finished() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = run(folder.path());
    command.args(["--model", &data.fp32(), "--model", &data.int8()]);
    command.args(["--images", &data.pictures(), "--count", "4"]);
    // The first scenario is over at once, the second one lasts.
    let first = scenario(&folder, "first", "Offline", 60);
    let second = scenario(&folder, "second", "SingleStream", 120_000);
    command.args(["--scenario", &first, "--scenario", &second]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let results = folder.path().join("results");
    wait_until("the first scenario", || {
        let mut folders = fs::read_dir(&results).into_iter().flatten().flatten();
        folders.any(|one| one.path().join("latencies-Offline.csv").is_file())
    });
    pause(Duration::from_secs(3));
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let told = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(130),
        "{told}{}",
        text(&output.stderr)
    );
    assert!(
        told.contains("The run is incomplete: it was interrupted."),
        "{told}"
    );
    let found = in_folder(folder.path());
    assert_eq!(
        (&found["complete"], &found["nearness"]),
        (&false.into(), &Value::Null)
    );
    assert_eq!(found["performance"][0]["scenario"], "Offline");
    if let Some(cut) = found["performance"].get(1) {
        let turns = cut["turns"].as_array().unwrap();
        assert!((turns.len() as u64) < cut["planned_turns"].as_u64().unwrap());
    }
}

fn scenario(folder: &TempDir, name: &str, scenario: &str, duration_ms: u32) -> String {
    let path = folder.path().join(format!("{name}.toml"));
    let expected = match scenario {
        "Offline" => "offline_expected_qps = \"measured\"",
        _ => "single_stream_expected_latency_ns = \"measured\"",
    };
    let text = format!(
        "title = \"{name}\"\n[[run]]\nscenario = \"{scenario}\"\nmin_duration_ms = {duration_ms}\nmin_query_count = 1\n{expected}\n"
    );
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What is wrong is told in one line, before a run folder is made and without a network.
fn is_refused(words: &str, expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.onnx", "b.onnx"] {
        fs::write(folder.path().join(name), "no graph").unwrap();
    }
    let mut command = run(folder.path());
    command.args(words.split_whitespace());
    command.env("XDG_CACHE_HOME", folder.path());
    command.env("HOME", folder.path());
    let output = command.output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words}: {told}");
    for expected in expected {
        assert!(
            told.contains(expected),
            "{words}: `{expected}` not in {told}"
        );
    }
    assert_eq!(told.lines().count(), 1, "{words}: {told}");
    assert!(!folder.path().join("results").exists(), "{words}");
}

#[test]
fn what_makes_no_comparison_is_refused_in_one_sentence() {
    const TWO: &str = "--model a.onnx --model b.onnx";
    for (words, expected) in [
        (
            "--model a --model b --model c",
            &["given 3 times", "side by side"][..],
        ),
        ("--model a.onnx --model a.onnx", &["the same model"]),
        ("--model a.onnx --model ./a.onnx", &["the same model"]),
        (
            "--model-to-eval both --sut null",
            &["--model-to-eval needs a model"],
        ),
        (
            &format!("{TWO} --find-peak"),
            &["--find-peak is for one model"],
        ),
        (
            &format!("{TWO} --save-raw raw"),
            &["--save-raw is for one model"],
        ),
        (&format!("{TWO} --trace"), &["--trace is for one model"]),
        (
            &format!("{TWO} --nms both"),
            &["--nms both", "--nms regular"],
        ),
        (
            &format!("{TWO} --mode SubmissionRun"),
            &["the mode SubmissionRun is for one"],
        ),
        (
            &format!("{TWO} --mode FindPeakPerformance --scenario Server"),
            &["highest load"],
        ),
        (
            &format!("{TWO} --compat ck"),
            &["--compat ck reports on one model"],
        ),
        (
            &format!("{TWO} --model-file a.onnx"),
            &["--model-file and two models"],
        ),
        (
            "--model ssd-vgg16 --model-file a.onnx --model-to-eval int8",
            &["--model-file and --model-to-eval"],
        ),
        (
            &format!("{TWO} --model-to-eval int8"),
            &["--model a.onnx: the file cannot be read"],
        ),
        ("--model a.onnx --model-to-eval both", &["a.onnx"]),
        (
            "--model ssd-mobilenet-v9 --model-to-eval both",
            &["ssd-mobilenet-v9: no such model"],
        ),
        (
            "--model ssd-resnet34-1200 --model-to-eval both",
            &[
                "has no int8 variant here",
                "detbench quantize ssd-resnet34-1200 -o ssd-resnet34-1200-int8.onnx",
            ],
        ),
        (
            "--model-to-eval int8",
            &[
                "ssdlite-mobilenet-v2 has no int8 variant here",
                "detbench quantize",
            ],
        ),
    ] {
        is_refused(words, expected);
    }
}

#[test]
fn the_same_graph_under_two_names_is_no_comparison() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::copy(data.fp32(), folder.path().join("copy.onnx")).unwrap();
    let mut command = run(folder.path());
    command.args(["--model", &data.fp32(), "--model", "copy.onnx"]);
    let output = command.output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("are the same graph (sha256 "), "{told}");
}
