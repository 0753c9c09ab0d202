//! `run --compat intel` as somebody types it who knows `launch_benchmark.py`.
//!
//! The test that measures fetches ONNX Runtime and the default model into the usual cache first,
//! and is skipped, saying so, where that cannot be done.

use std::fs;
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
fn a_name_without_a_file_says_both_ways_to_a_run() {
    let built = "detbench generate ssd-vgg16-300 -o ssd-vgg16-300.onnx";
    is_refused(VGG, built);
    is_refused(VGG, "--model-file FILE.onnx");
    let line = VGG.replace("ssd_vgg16", "ssd-mobilenet");
    is_refused(&line, "detbench generate ssd-mobilenet-v1");
    // Nobody builds an int8 model out of random weights.
    let output = run(&VGG.replace("fp32", "int8"));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("--model-file") && !told.contains("detbench generate"),
        "{told}"
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
        "there is no such file or folder",
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
    let output = run("--compat ckk");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("`ckk`") && told.contains("intel, ck, aimet, pytorch-ssd"),
        "{told}"
    );
}

#[test]
fn dummy_data_is_never_mixed_with_pictures() {
    let output = run("--synthetic --images somewhere");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("--synthetic"), "{told}");
}

/// Whether what a run needs is here.
fn is_ready() -> bool {
    let mut setup = Command::new(assert_cmd::cargo::cargo_bin!("detbench"));
    let output = setup.arg("setup").output().unwrap();
    if !output.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

#[test]
fn a_benchmark_ends_in_intels_tail_on_stdout_and_in_its_log() {
    if !is_ready() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let measure = |words: &str| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("detbench"));
        command.args("run --compat intel --mode inference --batch-size 1".split(' '));
        command.args(words.split(' '));
        command.arg("--output-dir").arg(folder.path());
        command.output().unwrap()
    };
    let known = "--model-name ssdlite-mobilenet-v2 --warmup-steps 1 --steps 3 --docker-image x";
    let output = measure(&format!("{known} --precision fp32"));
    let told = String::from_utf8(output.stdout).unwrap();
    // Three queries are far too few for LoadGen, whose verdict does not apply.
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("Dummy data") && !told.contains("VALID"),
        "{told}"
    );
    assert!(
        told.contains("--docker-image x has no meaning here"),
        "{told}"
    );

    let tail: Vec<&str> = told.lines().rev().take(5).collect();
    let number = |line: &str, before: &str, after: &str| -> f64 {
        let number = line
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after));
        number.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
    };
    assert_eq!(
        (tail[4], tail[1]),
        ("Batch size = 1", "Ran inference with batch size 1")
    );
    assert!(number(tail[3], "Throughput: ", " images/sec") > 0.0);
    assert!(number(tail[2], "Latency: ", " ms") > 0.0);
    let log = tail[0]
        .strip_prefix("Log location outside container: ")
        .unwrap();
    assert!(
        log.contains("/benchmark_ssdlite-mobilenet-v2_inference_fp32_"),
        "{log}"
    );
    let kept = fs::read_to_string(log).unwrap();
    assert!(told.ends_with(&kept[kept.find("Batch size = ").unwrap()..]));
    assert!(kept.contains("Dummy data") && kept.ends_with(&format!("{}\n", tail[0])));

    // The graph of the run before, under the other precision.
    let entries = fs::read_dir(folder.path()).unwrap().flatten();
    let record = entries
        .map(|entry| entry.path().join("run.json"))
        .find(|path| path.is_file());
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(record.unwrap()).unwrap()).unwrap();
    assert_eq!(record["runs"][0]["query_count"], 3);
    assert_eq!(record["conditions"]["command_line_of"], "intel");
    let graph = record["conditions"]["model"]["file"].as_str().unwrap();
    let config = "--model-config ssdlite-mobilenet-v2";
    let output = measure(&format!(
        "{known} --precision int8 --in-graph {graph} {config}"
    ));
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("so it is fp32"), "{told}");

    // Other detectors' script says more, and several instances have logs of their own.
    let several = measure(
        "--model-name ssdlite-mobilenet-v2 --precision fp32 --numa-cores-per-instance 1 --warmup-steps 1 --steps 2 \
         --benchmark-only",
    );
    let told = String::from_utf8(several.stdout).unwrap();
    assert_eq!(several.status.code(), Some(0), "{told}");
    let logs = fs::read_dir(folder.path()).unwrap().flatten();
    let logs: Vec<String> = logs
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("ssdlite-mobilenet-v2_fp32_inference_bs1_cores1_"))
        .collect();
    let all = logs
        .iter()
        .find(|name| name.ends_with("_all_instances.log"));
    let all = fs::read_to_string(folder.path().join(all.unwrap())).unwrap();
    let instances = all
        .matches("OMP_NUM_THREADS=1 numactl --localalloc --physcpubind=")
        .count();
    assert_eq!(logs.len(), instances + 1, "{logs:?}");
    // What users add up with awk is the whole rate.
    let rates = all
        .lines()
        .filter_map(|line| line.strip_prefix("Total samples/sec:"));
    let sum: f64 = rates
        .map(|rest| {
            rest.split_whitespace()
                .next()
                .unwrap()
                .parse::<f64>()
                .unwrap()
        })
        .sum();
    let whole = told
        .lines()
        .find_map(|line| line.strip_prefix("Throughput: "))
        .unwrap();
    let whole: f64 = whole.strip_suffix(" images/sec").unwrap().parse().unwrap();
    assert!((sum - whole).abs() < 0.01 * whole, "{sum} {whole}");
}
