//! `detbench run` in LoadGen's test modes: what its logs hold, and that `plan` foretells them.
//!
//! Tests that need ONNX Runtime, the default model and pictures fetch them into the usual cache
//! first, and are skipped, saying so, where that cannot be done.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde_json::Value;

fn detbench() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("detbench"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Real sessions take turns; `None` when what they need cannot be fetched.
fn session() -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    static READY: OnceLock<bool> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_ready = *READY.get_or_init(|| {
        let output = detbench().arg("setup").output().unwrap();
        if !output.status.success() {
            eprintln!("skipped: {}{}", text(&output.stdout), text(&output.stderr));
        }
        output.status.success()
    });
    is_ready.then_some(turn)
}

/// A folder with LoadGen's files in it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        desk.file(
            "user.conf",
            "*.*.min_duration = 300\n*.*.min_query_count = 12\n*.SingleStream.target_latency = 20\n\
             *.Server.target_qps = 30\n*.Server.target_latency = 5000\n*.Offline.target_qps = 90\n",
        );
        desk.file(
            "audit.config",
            "*.*.mode = 2\n*.*.accuracy_log_rng_seed = 720381539243781796\n\
             *.*.accuracy_log_sampling_target = 6\n",
        );
        desk
    }

    fn file(&self, name: &str, content: &str) {
        fs::write(self.0.path().join(name), content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs with `flags`, where `DIR` is this folder; the results are in `name`.
    fn run(&self, name: &str, flags: &str) -> (Output, PathBuf) {
        let results = self.path(name);
        let flags = flags.replace("DIR", &self.0.path().display().to_string());
        let output = detbench()
            .arg("run")
            .arg("--output-dir")
            .arg(&results)
            .args(flags.split_whitespace())
            .output()
            .unwrap();
        let folder = fs::read_dir(&results).map(|mut folders| folders.next().unwrap().unwrap());
        (output, folder.map_or(results, |folder| folder.path()))
    }
}

/// Number in the test, index and hexadecimal data of each logged answer, in their order.
fn logged(folder: &Path) -> Vec<(u64, u64, String)> {
    let log = fs::read_to_string(folder.join("mlperf_log_accuracy.json")).unwrap();
    let entries: Vec<Value> = serde_json::from_str(&log).unwrap();
    let entry = |entry: &Value| {
        let number = |key: &str| entry[key].as_u64().unwrap();
        let data = entry["data"].as_str().unwrap().to_owned();
        (number("seq_id"), number("qsl_idx"), data)
    };
    entries.iter().map(entry).collect()
}

/// The values of a key of the detail log, in their order.
fn values(folder: &Path, key: &str) -> Vec<Value> {
    let log = fs::read_to_string(folder.join("mlperf_log_detail.txt")).unwrap();
    let lines = log.lines().map(|line| {
        let record = line
            .strip_prefix(":::MLLOG ")
            .expect("every line is a record");
        serde_json::from_str::<Value>(record).unwrap()
    });
    lines
        .filter(|record| record["key"] == key)
        .map(|record| record["value"].clone())
        .collect()
}

fn value(folder: &Path, key: &str) -> Value {
    let mut values = values(folder, key);
    assert_eq!(values.len(), 1, "{key}");
    values.remove(0)
}

/// What `plan` says of the same files.
fn plan(desk: &Desk, flags: &str) -> Value {
    let flags = flags.replace("DIR", &desk.0.path().display().to_string());
    let output = detbench()
        .args(["plan", "--json", "--total-samples", "5"])
        .args(flags.split_whitespace())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

#[test]
fn an_audited_performance_run_logs_the_planned_answers_as_the_accuracy_run_gives_them() {
    let Some(_turn) = session() else { return };
    let desk = Desk::new();
    for scenario in ["SingleStream", "MultiStream", "Server", "Offline"] {
        let files = format!("--scenario {scenario} --user-conf DIR/user.conf --round v6.1");
        let nms = "--nms fast --warmup 1";
        let audited = format!("{files} {nms} --audit DIR/audit.config");
        let (_, performance) = desk.run(&format!("{scenario} audit"), &audited);
        let accurate = format!("{files} {nms} --mode AccuracyOnly");
        let (output, accuracy) = desk.run(&format!("{scenario} accuracy"), &accurate);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(
            value(&performance, "effective_test_mode"),
            "PerformanceOnly"
        );
        assert_eq!(value(&accuracy, "effective_test_mode"), "AccuracyOnly");

        let samples = fs::read_to_string(performance.join("latencies.csv")).unwrap();
        let issued = samples.lines().count() as u64 - 1;
        let mut answers = logged(&performance);
        let planned = plan(&desk, &format!("{files} --audit DIR/audit.config"));
        let planned: Vec<(u64, u64)> = planned["accuracy_log"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap()))
            .filter(|(id, _)| *id < issued)
            .collect();
        answers.sort();
        let ids: Vec<(u64, u64)> = answers.iter().map(|(id, index, _)| (*id, *index)).collect();
        assert!(!planned.is_empty(), "{scenario}: nothing to compare");
        assert_eq!(ids, planned, "{scenario}");

        let all = logged(&accuracy);
        let of: BTreeMap<u64, String> = all
            .iter()
            .map(|(_, index, data)| (*index, data.clone()))
            .collect();
        assert_eq!(of.len(), 5, "{scenario}: every picture was asked for");
        let mut ids: Vec<u64> = all.iter().map(|(id, ..)| *id).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..all.len() as u64).collect::<Vec<_>>(), "{scenario}");
        for (_, index, data) in answers {
            assert_eq!(data, of[&index], "{scenario}: picture {index}");
        }
    }
}

#[test]
fn a_submission_run_is_one_test_whose_numbers_go_on_from_accuracy_to_performance() {
    let Some(_turn) = session() else { return };
    let desk = Desk::new();
    desk.file(
        "own.conf",
        "*.*.mode = 0\n*.*.min_duration = 300\n*.*.min_query_count = 12\n",
    );
    let flags = "--scenario SingleStream --user-conf DIR/own.conf --nms regular --warmup 1 \
                 --set performance_sample_count_override=2 accuracy_log_probability=1 \
                 single_stream_expected_latency_ns=2e7 --trace --compat v5 --json";
    let (output, folder) = desk.run("submission", flags);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let runs = document["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1, "{document}");
    assert_eq!(runs[0]["accuracy"]["picture_count"], 5);
    assert!(runs[0]["latency_ns"]["p90"].as_u64() > Some(0));
    assert_eq!(value(&folder, "requested_test_mode"), "SubmissionRun");
    let messages = values(&folder, "generic_message");
    assert_eq!(
        messages[..2],
        ["Starting accuracy mode", "Starting performance mode"]
    );
    let version = value(&folder, "loadgen_version");
    assert!(
        version.as_str().unwrap().ends_with("profile v5"),
        "{version}"
    );

    let flags = "--scenario SingleStream --user-conf DIR/own.conf --compat v5 \
                 --set performance_sample_count_override=2 accuracy_log_probability=1 \
                 single_stream_expected_latency_ns=2e7";
    let planned = plan(&desk, flags);
    assert_eq!(
        planned["loaded_sets"],
        Value::from(values(&folder, "loaded_qsl_set"))
    );
    let samples = fs::read_to_string(folder.join("latencies.csv")).unwrap();
    let issued = 5 + samples.lines().count() as u64 - 1;
    let ids: Vec<Value> = logged(&folder)
        .iter()
        .map(|(id, index, _)| serde_json::json!([id, index]))
        .collect();
    let planned = planned["accuracy_log"].as_array().unwrap().iter();
    let planned: Vec<Value> = planned
        .filter(|pair| pair[0].as_u64().unwrap() < issued)
        .cloned()
        .collect();
    assert_eq!(ids, planned, "one instance answers in the order of issue");
    let trace = fs::read_to_string(folder.join("mlperf_log_trace.json")).unwrap();
    assert!(
        trace.contains("\"sample_seq\":5,\"query_seq\":5"),
        "{trace}"
    );
}

#[test]
fn one_sample_over_and_over_and_every_sample_once_are_measured() {
    let Some(_turn) = session() else { return };
    let desk = Desk::new();
    desk.file(
        "same.config",
        "*.*.mode = 2\n*.*.performance_issue_same = 1\n*.*.performance_issue_same_index = 3\n\
         *.*.performance_issue_unique = 0\n",
    );
    desk.file(
        "unique.config",
        "*.*.mode = 2\n*.*.performance_issue_unique = 1\n",
    );
    let common = "--scenario SingleStream --user-conf DIR/user.conf --nms fast --warmup 1";
    for (audit, distinct) in [("same", 1), ("unique", 5)] {
        let (_, folder) = desk.run(audit, &format!("{common} --audit DIR/{audit}.config"));
        assert_eq!(value(&folder, "effective_test_mode"), "PerformanceOnly");
        assert_eq!(values(&folder, "warning_generic_message").len(), 1);
        let samples = fs::read_to_string(folder.join("latencies.csv")).unwrap();
        let mut lines = samples.lines();
        let column = lines
            .next()
            .unwrap()
            .split(',')
            .position(|name| name == "sample_idx");
        let mut indices: Vec<&str> = lines
            .map(|line| line.split(',').nth(column.expect("a column")).unwrap())
            .collect();
        if audit == "same" {
            assert!(indices.len() >= 12, "{}", indices.len());
            let loaded = value(&folder, "loaded_qsl_set");
            assert_eq!(indices[0], loaded[3].to_string());
        }
        indices.sort_unstable();
        indices.dedup();
        assert_eq!(indices.len(), distinct, "{audit}");
    }
}

#[test]
fn the_null_system_takes_profiles_and_audits_and_logs_who_was_asked() {
    let desk = Desk::new();
    let flags = "--sut null --scenario Offline --user-conf DIR/user.conf --audit DIR/audit.config \
                 --round v6.0 --compat v4-gcc10 --set performance_sample_count_override=1024";
    let (output, folder) = desk.run("null", flags);
    assert!(
        text(&output.stdout).contains("500 ms"),
        "{}",
        text(&output.stdout)
    );
    let version = value(&folder, "loadgen_version");
    assert!(version.as_str().unwrap().ends_with("profile v4-gcc10"));
    let run: Value = serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap();
    assert_eq!(run["compat"], "v4-gcc10");
    let answers = logged(&folder);
    let flags = "--scenario Offline --user-conf DIR/user.conf --audit DIR/audit.config --round v6.0 \
                 --compat v4-gcc10 --set min_duration_ms=500 performance_sample_count_override=1024";
    let flags = flags.replace("DIR", &desk.0.path().display().to_string());
    let output = detbench()
        .args(["plan", "--json", "--total-samples", "5000"])
        .args(flags.split_whitespace())
        .output()
        .unwrap();
    let planned: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ids: Vec<Value> = answers
        .iter()
        .map(|(id, index, _)| serde_json::json!([id, index]))
        .collect();
    assert_eq!(Value::from(ids), planned["accuracy_log"]);
    assert!(answers.iter().all(|(.., data)| data.is_empty()));
}

#[test]
fn test05_replaces_the_seeds_forces_performance_and_says_so() {
    let desk = Desk::new();
    let flags =
        "--sut null --scenario SingleStream --set min_query_count=10 test05=true --round v6.1 \
                 --duration 5ms";
    let (_, folder) = desk.run("test05", flags);
    for key in ["requested", "effective"] {
        let of = |name: &str| value(&folder, &format!("{key}_{name}"));
        assert_eq!(of("test_mode"), "PerformanceOnly");
        assert_eq!(of("qsl_rng_seed"), 7_975_553_102_935_885_558_u64);
        assert_eq!(of("sample_index_rng_seed"), 11_403_566_307_062_068_064_u64);
        assert_eq!(of("schedule_rng_seed"), 15_816_800_565_822_761_601_u64);
    }
    let warning = value(&folder, "warning_generic_message");
    assert_eq!(warning, "Test05 flag detected Overriding random seeds");
}

#[test]
fn what_the_null_system_has_not_is_refused() {
    let desk = Desk::new();
    for (flags, expected) in [
        ("--model ssdlite-mobilenet-v2", "--model needs a model"),
        ("--nms fast", "--nms needs a model"),
        ("--images DIR", "--images needs a model"),
        ("--instances 2", "--instances needs a model"),
        ("--accuracy-only", "--accuracy-only needs a model"),
        ("--mode AccuracyOnly", "has no mode AccuracyOnly"),
        ("--mode SubmissionRun", "has no mode SubmissionRun"),
        ("--compat v5 --compat v6", "are both LoadGen profiles"),
        ("--compat v7", "known are v6, v5, v4-gcc10"),
        (
            "--mode PerformanceOnly --accuracy-only",
            "exclude each other",
        ),
    ] {
        let (output, folder) = desk.run("refused", &format!("--sut null {flags}"));
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags}: {message}");
        assert!(message.contains(expected), "{flags}: {message}");
        assert_eq!(message.matches("error:").count(), 1, "{message}");
        assert!(!folder.exists(), "nothing is left behind");
    }
}

#[expect(clippy::disallowed_methods, reason = "another process needs real time")]
#[test]
fn an_interrupted_null_run_is_kept_and_said_to_be_incomplete() {
    let desk = Desk::new();
    let child = detbench()
        .args(["run", "--sut", "null", "--scenario", "Server", "--json"])
        .args(["--duration", "60s", "--target-qps", "500", "--output-dir"])
        .arg(desk.path("interrupted"))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let kill = format!("kill -INT {}", child.id());
    assert!(Command::new("sh")
        .args(["-c", &kill])
        .status()
        .unwrap()
        .success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["complete"], false);
    assert!(document["runs"][0]["sample_count"].as_u64() > Some(10));
    let folder = fs::read_dir(desk.path("interrupted"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert!(folder.path().join("mlperf_log_detail.txt").is_file());
}
