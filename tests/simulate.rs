//! `detbench simulate` as a user runs it: whole tests on virtual time, and their files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

/// Runs `simulate` and gives its exit code, its standard output and the files of its run folder.
fn simulate(flags: &str) -> (i32, String, BTreeMap<String, Vec<u8>>) {
    let base = tempfile::tempdir().unwrap();
    let output = Command::cargo_bin("detbench")
        .unwrap()
        .arg("simulate")
        .args(flags.split_whitespace())
        .arg("--output-dir")
        .arg(base.path())
        // Neither a library nor a network is needed.
        .env_remove("ORT_DYLIB_PATH")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let folder = fs::read_dir(base.path()).unwrap().next();
    let files = folder.map_or_else(BTreeMap::new, |folder| files_of(&folder.unwrap().path()));
    (output.status.code().unwrap(), text + &errors, files)
}

fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn text<'a>(files: &'a BTreeMap<String, Vec<u8>>, name: &str) -> &'a str {
    std::str::from_utf8(&files[name]).unwrap()
}

/// The records of a detail log under their keys; of a repeated key the first counts.
fn detail(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for line in text(files, "mlperf_log_detail.txt").lines() {
        let record: Value = serde_json::from_str(line.strip_prefix(":::MLLOG ").unwrap()).unwrap();
        let key = record["key"].as_str().unwrap().to_owned();
        values.entry(key).or_insert(record["value"].clone());
    }
    values
}

const TEN_MINUTES: &str = "--scenario Server --total-samples 300 --performance-samples 64 \
    --round v6.1 --set min_duration_ms=600000 server_target_qps=150 \
    --service lognormal:8ms:0.4 --servers 4 --seed 7";

#[test]
fn a_ten_minute_test_gives_the_same_bytes_again_and_other_bytes_for_another_seed() {
    let (code, output, first) = simulate(&format!("{TEN_MINUTES} --trace"));
    assert_eq!(code, 0, "{output}");
    let (_, _, second) = simulate(&format!("{TEN_MINUTES} --trace"));
    assert_eq!(
        first.keys().collect::<Vec<_>>(),
        second.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &first {
        assert!(second[name] == *bytes, "{name} differs");
    }
    let (_, _, other) = simulate(&TEN_MINUTES.replace("--seed 7", "--seed 8"));
    assert_ne!(other["latencies.csv"], first["latencies.csv"]);
}

#[test]
fn a_simulated_run_says_so_in_its_logs_and_in_its_document() {
    let (_, output, files) = simulate(TEN_MINUTES);
    assert!(output.contains("virtual time"));
    let run: Value = serde_json::from_slice(&files["run.json"]).unwrap();
    assert_eq!(run["simulated"], true);
    assert_eq!(run["complete"], true);
    assert!(run["sut_name"].as_str().unwrap().starts_with("simulated"));
    let detail = detail(&files);
    assert_eq!(detail["sut_name"], run["sut_name"]);
    assert!(detail["loadgen_version"]
        .as_str()
        .unwrap()
        .starts_with("detbench "));
    assert_eq!(detail["result_validity"], "VALID");
    // Ten minutes at 150 a second, whatever the arrivals: 5 standard deviations are 1500.
    let queries = detail["result_query_count"].as_u64().unwrap();
    assert!(queries.abs_diff(90_000) < 1_500, "{queries}");
    let summary = text(&files, "mlperf_log_summary.txt");
    assert!(summary.contains("SUT name : simulated"));
    assert!(summary.contains("Result is : VALID"));
    assert_eq!(files["mlperf_log_accuracy.json"], b"[\n]\n");
}

#[test]
fn a_submission_run_logs_every_answer_of_the_accuracy_part() {
    let (_, output, files) = simulate(
        "--scenario MultiStream --mode SubmissionRun --total-samples 50 --performance-samples 16 \
         --set min_duration_ms=0 min_query_count=10 multi_stream_samples_per_query=4",
    );
    let entries: Vec<Value> = serde_json::from_slice(&files["mlperf_log_accuracy.json"]).unwrap();
    let mut indices: Vec<u64> = entries
        .iter()
        .map(|entry| entry["qsl_idx"].as_u64().unwrap())
        .collect();
    indices.sort_unstable();
    indices.dedup();
    assert_eq!(indices, (0..50).collect::<Vec<u64>>(), "{output}");
    let detail = text(&files, "mlperf_log_detail.txt");
    assert!(detail.contains("Starting accuracy mode"));
    assert!(detail.contains("Starting performance mode"));
    assert_eq!(detail.matches("\"loaded_qsl_set\"").count(), 5);
}

#[test]
fn sampled_answers_of_a_performance_run_are_those_of_the_plan() {
    let test = "--scenario SingleStream --total-samples 64 --performance-samples 16 --set \
        min_duration_ms=0 min_query_count=200 accuracy_log_sampling_target=20 \
        accuracy_log_rng_seed=720381539243781796";
    let (_, _, files) = simulate(test);
    let entries: Vec<Value> = serde_json::from_slice(&files["mlperf_log_accuracy.json"]).unwrap();
    let logged: Vec<[u64; 2]> = entries
        .iter()
        .map(|entry| ["seq_id", "qsl_idx"].map(|key| entry[key].as_u64().unwrap()))
        .collect();
    let plan = Command::cargo_bin("detbench")
        .unwrap()
        .arg("plan")
        .args(test.split_whitespace())
        .arg("--json")
        .output()
        .unwrap();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let planned: Vec<[u64; 2]> = serde_json::from_value(plan["accuracy_log"].clone()).unwrap();
    assert!(!logged.is_empty());
    assert_eq!(logged, planned);
}

#[test]
fn a_lost_answer_ends_in_a_reasoned_invalid_and_a_second_one_is_an_error() {
    let (code, output, files) = simulate(
        "--scenario Server --total-samples 64 --set min_duration_ms=2000 server_target_qps=500 \
         --service fixed:1ms --lose 17 --duplicate 40,41",
    );
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("1 samples were never answered"), "{output}");
    let detail = detail(&files);
    assert_eq!(detail["result_validity"], "INVALID");
    assert_eq!(detail["num_errors"], 3);
    assert!(text(&files, "mlperf_log_summary.txt")
        .ends_with("\n3 ERRORS encountered. See detailed log.\n"));
}

#[test]
fn a_stall_is_charged_to_every_query_scheduled_during_it() {
    let quiet = "--scenario Server --total-samples 64 --set min_duration_ms=10000 \
        server_target_qps=100 --service fixed:1ms";
    let (_, _, calm) = simulate(quiet);
    let (_, _, stalled) = simulate(&format!("{quiet} --stall 5s:1s"));
    let late = |files: &BTreeMap<String, Vec<u8>>| {
        let lines = text(files, "latencies.csv").lines().skip(1);
        let latency = |line: &str| line.split(',').nth(5).unwrap().parse::<u64>().unwrap();
        lines.filter(|line| latency(line) > 100_000_000).count()
    };
    assert_eq!(late(&calm), 0);
    // A second at 100 queries a second, less the last tenth of it.
    assert!(late(&stalled) > 60, "{}", late(&stalled));
}

#[test]
fn flags_that_make_no_sense_are_refused_before_a_folder_is_made() {
    for (flags, expected) in [
        ("--servers 0", "whole number from 1"),
        ("--service slow", "fixed:TIME"),
        ("--service recorded:/nowhere/times", "cannot be read"),
        ("--set server_target_qps=0", "finite number above 0"),
    ] {
        let (code, output, files) =
            simulate(&format!("--scenario Server --total-samples 8 {flags}"));
        assert_eq!(code, 2, "{flags}: {output}");
        assert!(output.contains(expected), "{flags}: {output}");
        assert!(files.is_empty(), "{flags}");
    }
}

#[test]
fn several_issuing_threads_change_nothing_on_virtual_time_and_a_note_says_so() {
    let flags = "--scenario Server --total-samples 8 --set min_query_count=100 min_duration_ms=0";
    let (_, _, one) = simulate(flags);
    let (_, output, three) = simulate(&format!("{flags} server_num_issue_query_threads=3"));
    assert!(
        output.contains("virtual time has one issuing loop"),
        "{output}"
    );
    assert_eq!(one["latencies.csv"], three["latencies.csv"]);
}

#[test]
fn a_run_whose_queries_left_late_says_so_in_text_and_json() {
    let flags = "--scenario Server --total-samples 8 --servers 64 --service fixed:1ms \
        --set min_query_count=1000 min_duration_ms=0 server_target_qps=40";
    for (cost, is_late) in [("1ms", false), ("20ms", true)] {
        let (_, output, files) = simulate(&format!("{flags} --issue-cost {cost}"));
        assert_eq!(
            output.contains("over 10 % of the latency bound"),
            is_late,
            "{output}"
        );
        let document = text(&files, "run.json");
        assert_eq!(document.contains("queries left late"), is_late);
    }
}
