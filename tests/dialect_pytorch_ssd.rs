//! `run --compat pytorch-ssd` as somebody types it who knows `eval_ssd.py`.
//!
//! The test that detects is skipped, saying so, where `DETBENCH_TEST_DATA` is not set or what a run needs cannot be
//! fetched.

use std::fs;
use std::path::Path;
use std::process::Command;

fn detbench() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("detbench"))
}

fn refused_in(folder: &Path, words: &str) -> String {
    let mut command = detbench();
    command.args(["run", "--compat", "pytorch-ssd"]);
    command.args(words.split_whitespace());
    command.current_dir(folder);
    command.env("XDG_CACHE_HOME", folder);
    command.env("HOME", folder);
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{words}: {told}");
    assert_eq!(told.lines().count(), 1, "{words}: {told}");
    told
}

/// A data set of VOC with one picture's worth of names.
fn voc(folder: &Path) {
    for part in ["Annotations", "JPEGImages", "ImageSets/Main"] {
        fs::create_dir_all(folder.join("VOC2007").join(part)).unwrap();
    }
    fs::write(
        folder.join("labels.txt"),
        "BACKGROUND\naeroplane\nbicycle\n",
    )
    .unwrap();
}

#[test]
fn weights_of_pytorch_are_refused_with_where_it_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    voc(folder.path());
    let published =
        "--net mb2-ssd-lite --dataset VOC2007 --trained_model models/mb2-ssd-lite-mp-0_686.pth \
                     --label_file labels.txt";
    let told = refused_in(folder.path(), published);
    assert!(told.contains("docs/models.md"), "{told}");
}

#[test]
fn words_that_cannot_be_followed_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    voc(folder.path());
    for (words, expected) in [
        ("--net mb2-ssd-lite", "needs --dataset"),
        (
            "--net mb1-ssd --dataset VOC2007",
            "--trained_model FILE.onnx",
        ),
        (
            "--net mb2-ssd-lite --dataset VOC2007 --nms_method soft",
            "soft NMS",
        ),
        (
            "--net mb2-ssd-lite --dataset VOC2007 --label_file none",
            "cannot be read",
        ),
        ("--net mb2-ssd-lite --dataset nowhere", "nowhere"),
    ] {
        let told = refused_in(folder.path(), words);
        assert!(told.contains(expected), "{words}: {told}");
    }
}

#[test]
fn the_script_ends_in_average_precisions_and_files_that_score_alike() {
    let Ok(data) = std::env::var("DETBENCH_TEST_DATA") else {
        eprintln!("skipped: DETBENCH_TEST_DATA is not set");
        return;
    };
    let setup = detbench().arg("setup").output().unwrap();
    if !setup.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&setup.stderr));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("labels.txt"),
        "BACKGROUND\naeroplane\nperson\ndog\n",
    )
    .unwrap();
    let voc = format!("{data}/voc2012_100");
    let mut command = detbench();
    command.args(
        "run --compat pytorch-ssd --net mb2-ssd-lite --dataset_type voc --use_2007_metric True"
            .split(' '),
    );
    command.args(
        "--label_file labels.txt --eval_dir out --nms_method hard --iou_threshold 0.5".split(' '),
    );
    // A model that is on every machine stands in for the network, whose weights are not.
    command.args("--model ssdlite-mobilenet-v2 --score-threshold 0.05 --warmup 0".split(' '));
    command.args(["--dataset", &voc]).current_dir(&folder);
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    let tail = told.split("Average Precision Per-class:\n").nth(1).unwrap();
    let lines: Vec<&str> = tail.lines().collect();
    let value = |line: &str| {
        line.split(':')
            .nth(1)
            .unwrap()
            .trim()
            .parse::<f64>()
            .unwrap()
    };
    assert!(lines[0].starts_with("aeroplane: 0.") && lines[2].starts_with("dog: 0."));
    let mean = (value(lines[0]) + value(lines[1]) + value(lines[2])) / 3.0;
    assert_eq!(
        lines[4],
        format!("Average Precision Across All Classes:{mean:?}")
    );

    // The files are what `score` reads, and give the same.
    let mut score = detbench();
    score.args([
        "score",
        "--voc",
        &voc,
        "--voc-style",
        "ptssd",
        "--json",
        "--detections",
    ]);
    score.arg(folder.path().join("out"));
    let scores: serde_json::Value =
        serde_json::from_slice(&score.output().unwrap().stdout).unwrap();
    for line in &lines[..3] {
        let class = line.split(':').next().unwrap();
        let found = scores["per_class"].as_array().unwrap();
        let found = found.iter().find(|found| found["class"] == class).unwrap();
        assert_eq!(
            found["ap_11"].as_f64().unwrap().to_bits(),
            value(line).to_bits(),
            "{line}"
        );
    }
    let file = fs::read_to_string(folder.path().join("out/det_test_dog.txt")).unwrap();
    assert_eq!(file.lines().next().unwrap().split(' ').count(), 6, "{file}");
}
