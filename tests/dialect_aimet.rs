//! `run --compat aimet` as somebody types it who knows the quanteval scripts of AIMET's model zoo.
//!
//! The tests that detect are skipped, saying so, where `DETBENCH_TEST_DATA` is not set or what a run needs cannot be
//! fetched.

use std::process::{Command, Output};

fn detbench() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("detbench"))
}

fn is_refused(words: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = detbench();
    command.args(["run", "--compat", "aimet"]);
    command.args(words.split_whitespace());
    command.current_dir(&folder);
    command.env("XDG_CACHE_HOME", folder.path());
    command.env("HOME", folder.path());
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{words}: {told}");
    assert!(told.contains(expected), "{words}: {told}");
    assert_eq!(told.lines().count(), 1, "{words}: {told}");
}

/// Where the data are, if a run is possible.
fn data() -> Option<String> {
    let Ok(data) = std::env::var("DETBENCH_TEST_DATA") else {
        eprintln!("skipped: DETBENCH_TEST_DATA is not set");
        return None;
    };
    let output = detbench().arg("setup").output().unwrap();
    if !output.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(data)
}

/// What came out: on stdout when it went well, else on stderr.
fn evaluates(words: &[&str]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = detbench();
    command.args(["run", "--compat", "aimet", "--warmup", "0"]);
    command.args(words);
    command.current_dir(&folder);
    let output = command.output().unwrap();
    let told = if output.status.success() {
        &output.stdout
    } else {
        &output.stderr
    };
    let told = String::from_utf8_lossy(told).into_owned();
    (output, told)
}

#[test]
fn what_cannot_be_is_refused_in_one_sentence() {
    is_refused("--model-to-eval int8", "needs --dataset-path");
    is_refused("--dataset-path none --model-to-eval int8", "none");
    is_refused(
        "--dataset-path none --model-to-eval fp16",
        "give fp32 or int8",
    );
    is_refused("--dataset-path none --default-output-bw 4", "8 bits");
}

#[test]
fn each_variant_of_a_model_is_scored_and_said() {
    let Some(data) = data() else { return };
    let coco = format!("{data}/coco/cocomini_val2017_79");
    let annotations = format!("{coco}/instances.json");
    let fp32 = format!("{data}/models/ssdlite_mobilenet_v2_coco_fp32.onnx");
    let int8 = format!("{data}/models/ssdlite_mobilenet_v2_coco_int8_qdq.onnx");
    let common = [
        "--dataset-path",
        &coco,
        "--annotation-json-file",
        &annotations,
        "--eval-num-examples",
        "4",
        "--model",
        &fp32,
        "--model",
        &int8,
        "--model-to-eval",
    ];
    for (which, heading, own, other) in [
        ("fp32", "original model evaluating", &fp32, "int8"),
        ("int8", "quantized model evaluating", &int8, "fp32"),
    ] {
        let (output, told) = evaluates(&[&common[..], &[which]].concat());
        assert_eq!(output.status.code(), Some(0), "{told}");
        let tail: Vec<&str> = told.trim_end().lines().rev().take(13).collect();
        assert_eq!(tail[12], heading, "{told}");
        assert!(
            tail[11].starts_with(" Average Precision  (AP) @[ IoU=0.50:0.95"),
            "{told}"
        );
        assert!(told.contains(&format!("({which})")), "{told}");
        // The other precision under its name is an error, never a label.
        let line = [
            "--dataset-path",
            &coco,
            "--model",
            own,
            "--model-to-eval",
            other,
        ];
        let (output, told) = evaluates(&line);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(&format!("so it is {which}")), "{told}");
    }
}

#[test]
fn on_voc_it_ends_in_the_scripts_summary() {
    let Some(data) = data() else { return };
    let voc = format!("{data}/voc2012_100");
    let (output, told) = evaluates(&[
        "--model-config",
        "ssd_mobilenetv2_w8a8",
        "--dataset-path",
        &voc,
        "--model",
        "ssdlite-mobilenet-v2",
        "--model-to-eval",
        "fp32",
        "--use-cuda",
        "False",
        "--count",
        "12",
    ]);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("Average Precision Per Class:"), "{told}");
    let summary = "## Evaluation Summary ##\nOriginal Model on FP32 device | mAP: 0.";
    assert!(told.contains(summary), "{told}");
}
