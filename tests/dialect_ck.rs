//! `run --compat ck` as somebody types it who knows Collective Knowledge's object-detection programs.
//!
//! The tests that detect fetch ONNX Runtime, the default model and pictures into the usual cache first, and are
//! skipped, saying so, where that cannot be done.

use std::fs;
use std::process::{Command, Output};

fn detbench() -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("detbench"));
    for key in ["USE_NMS", "CK_BATCH_COUNT", "CK_BATCH_SIZE"] {
        command.env_remove(key);
    }
    command
}

/// Where nothing may be found or fetched.
fn refused(words: &str, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = detbench();
    command.args(["run", "--compat", "ck"]);
    command.args(words.split_whitespace());
    command.current_dir(&folder);
    command.env("XDG_CACHE_HOME", folder.path());
    command.env("HOME", folder.path());
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{words}: {told}");
    assert_eq!(told.lines().count(), 1, "{words}: {told}");
    told
}

fn is_ready() -> bool {
    let output = detbench().arg("setup").output().unwrap();
    if !output.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

fn detects(words: &str, variables: &[(&str, &str)]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = detbench();
    command.args("run --compat ck --model ssdlite-mobilenet-v2 --warmup 0".split(' '));
    command.args(words.split_whitespace());
    command.arg("--output-dir").arg(folder.path());
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stdout.clone()).unwrap();
    (output, told)
}

#[test]
fn unknown_settings_are_refused_with_the_nearest() {
    let told = refused("--env.USE_NSM=fast", &[]);
    assert!(told.contains("did you mean `USE_NMS`?"), "{told}");
    let told = refused("--env.NMS_SCORE_TRESHOLD=0.3", &[]);
    assert!(
        told.contains("did you mean `NMS_SCORE_THRESHOLD`?"),
        "{told}"
    );
}

#[test]
fn values_that_a_setting_does_not_take_are_refused_wherever_they_come_from() {
    assert!(refused("--env.USE_NMS=quick", &[]).contains("regular, fast or no"));
    assert!(refused("", &[("USE_NMS", "quick")]).contains("regular, fast or no"));
    assert!(refused("", &[("CK_BATCH_COUNT", "many")]).contains("whole number"));
}

#[test]
fn the_default_model_is_cks_and_asks_for_its_file() {
    let told = refused("program:object-detection-tflite", &[]);
    assert!(told.contains("`ssd-mobilenet-v1`"), "{told}");
    assert!(told.contains("--model-file FILE.onnx"), "{told}");
    assert!(
        told.contains("detbench generate ssd-mobilenet-v1"),
        "{told}"
    );
}

#[test]
fn the_published_command_ends_in_cks_summary() {
    if !is_ready() {
        return;
    }
    let (output, told) = detects(
        "program:object-detection-tflite --env.USE_NMS=regular --repetitions=1 --env.CK_BATCH_SIZE=1 \
         --env.CK_BATCH_COUNT=3 --env.CK_METRIC_TYPE=COCO --record --record_repo=local",
        &[],
    );
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("pictures  3 of "), "{told}");
    assert!(told.contains("--record has no meaning here"), "{told}");
    let tail: Vec<&str> = told.lines().rev().take(9).collect();
    for (line, begins) in tail.iter().rev().zip([
        "Summary:",
        "-------------------------------",
        "Graph loaded in ",
        "All images loaded in ",
        "Average image load time: ",
        "All images detected in ",
        "Average detection time: ",
        "mAP: 0.",
        "Recall: 0.",
    ]) {
        assert!(line.starts_with(begins), "{line} for {begins}: {told}");
    }
}

#[test]
fn the_environment_is_read_and_words_win_over_it() {
    if !is_ready() {
        return;
    }
    let variables = [("USE_NMS", "fast"), ("CK_BATCH_COUNT", "4")];
    let custom =
        "--env.CUSTOM_MODEL_SETTINGS=yes --env.NMS_SCORE_THRESHOLD=0.5 --env.CK_SKIP_IMAGES=1";
    let (_, told) = detects(&format!("{custom} --env.CK_BATCH_COUNT=2"), &variables);
    assert!(told.contains("pictures  2 of "), "{told}");
    assert!(told.contains("score threshold 0.5"), "{told}");
    assert!(told.contains("accuracy only  fast"), "{told}");
    // More than there are is no error, but said.
    let (output, told) = detects("--env.CK_BATCH_COUNT=5000", &[]);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("5000 pictures were asked for"), "{told}");
}

#[test]
fn scores_are_those_of_cks_rounded_texts() {
    let Ok(data) = std::env::var("DETBENCH_TEST_DATA") else {
        eprintln!("skipped: DETBENCH_TEST_DATA is not set");
        return;
    };
    if !is_ready() {
        return;
    }
    let coco = format!("{data}/coco/cocomini_val2017_79");
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        let mut command = detbench();
        command.args(words);
        command.args(["--output-dir", folder.path().to_str().unwrap()]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let settings = [
        "--dataset",
        &coco,
        "--warmup",
        "0",
        "--score-threshold",
        "0.05",
    ];
    let last = |told: &str, key: &str| {
        let line = told.lines().rev().find(|line| line.starts_with(key));
        line.unwrap_or_else(|| panic!("{told}")).to_owned()
    };
    let model = ["--model", "ssdlite-mobilenet-v2", "--count", "30"];
    let own = ["run", "--accuracy-only", "--nms", "regular"];
    let plain = run(&[&own[..], &model, &settings].concat());
    let rounded = run(&[&["run", "--compat", "ck"][..], &model, &settings].concat());
    let results = plain
        .lines()
        .find_map(|line| line.strip_prefix("results in "));
    let detections = format!("{}/detections.json", results.unwrap());
    let ids: Vec<i64> = serde_json::from_slice::<serde_json::Value>(
        &fs::read(format!("{coco}/instances.json")).unwrap(),
    )
    .unwrap()["images"]
        .as_array()
        .unwrap()
        .iter()
        .take(30)
        .map(|image| image["id"].as_i64().unwrap())
        .collect();
    let id_file = folder.path().join("ids.json");
    fs::write(&id_file, serde_json::to_vec(&ids).unwrap()).unwrap();
    let mut score = detbench();
    score.args([
        "score",
        "--ck-rounding",
        "--json",
        "--detections",
        &detections,
    ]);
    score.args(["--annotations", &format!("{coco}/instances.json")]);
    score.arg("--image-ids").arg(&id_file);
    let expected: serde_json::Value =
        serde_json::from_slice(&score.output().unwrap().stdout).unwrap();
    let expected = format!("mAP: {:?}", expected["stats"][0].as_f64().unwrap());
    assert_eq!(last(&rounded, "mAP: "), expected);
}
