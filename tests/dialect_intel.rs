//! `run --compat intel` as somebody types it who knows `launch_benchmark.py`: what is refused
//! before a model is opened. What is measured is Intel's tail, tried where a runtime is.

use std::process::{Command, Output};

fn run(line: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("detbench"));
    command.arg("run").args(line.split_whitespace());
    command.current_dir(&folder);
    // Nothing may be found or fetched.
    command.env("XDG_CACHE_HOME", folder.path());
    command.env("HOME", folder.path());
    command.output().unwrap()
}

#[track_caller]
fn is_refused(line: &str, expected: &str) {
    let output = run(line);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{line}: {told}");
    assert!(told.contains(expected), "{line}: {told}");
    assert_eq!(told.lines().count(), 1, "{line}: {told}");
}

const VGG: &str = "--compat intel --model-name ssd_vgg16 --precision fp32 --mode inference";

#[test]
fn a_name_without_a_file_asks_for_a_graph() {
    is_refused(VGG, "--in-graph FILE.onnx");
    is_refused(
        "--compat=intel --model-name ssd-mobilenet --precision fp32 --mode inference --benchmark-only",
        "--in-graph FILE.onnx",
    );
}

#[test]
fn words_that_cannot_be_followed_are_refused_in_one_sentence() {
    is_refused(&format!("{VGG} --precision bfloat16"), "give fp32 or int8");
    is_refused(&format!("{VGG} --in-graph f.pb"), "frozen TensorFlow graph");
    is_refused(
        &format!("{VGG} --in-graph f.onnx --accuracy-only"),
        "--data-location",
    );
    is_refused(
        &format!("{VGG} --in-graph f.onnx --data-location none"),
        "no such folder",
    );
}

#[test]
fn without_the_word_intels_flags_are_unknown() {
    let output = run("--model-name ssd_vgg16");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("--model-name"), "{told}");
}

#[test]
fn a_dialect_that_is_not_known_is_refused_with_those_that_are() {
    let output = run("--compat ck");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("`ck`") && told.contains("intel"), "{told}");
}

#[test]
fn dummy_data_is_never_mixed_with_pictures() {
    let output = run("--synthetic --images somewhere");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("--synthetic"), "{told}");
}
