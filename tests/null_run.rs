//! `detbench run --sut null`: the harness by itself.

use std::fs;

use assert_cmd::Command;
use serde_json::Value;

/// Runs with a cache and a proxy that do not exist, so that whoever reaches for one fails.
fn run(flags: &str) -> (i32, Value, tempfile::TempDir) {
    let base = tempfile::tempdir().unwrap();
    let output = Command::cargo_bin("detbench")
        .unwrap()
        .args(["run", "--sut", "null", "--json", "--output-dir"])
        .arg(base.path())
        .args(flags.split_whitespace())
        .env("HOME", "/nonexistent")
        .env("XDG_CACHE_HOME", "/nonexistent")
        .env("DETBENCH_CACHE", "/nonexistent")
        .env("ORT_DYLIB_PATH", "/nonexistent/libonnxruntime.so")
        .env("http_proxy", "http://127.0.0.1:9")
        .env("https_proxy", "http://127.0.0.1:9")
        .output()
        .unwrap();
    let document = serde_json::from_slice(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let document = document.unwrap_or_else(|error| panic!("{error}: {errors}"));
    (output.status.code().unwrap(), document, base)
}

#[test]
fn the_null_system_needs_nothing_and_has_one_entry_a_scenario_without_nms() {
    let (code, document, base) = run("--duration 100ms");
    assert_eq!(code, 0, "{document}");
    assert_eq!(document["complete"], true);
    let runs = document["runs"].as_array().unwrap();
    let scenarios: Vec<&str> = runs
        .iter()
        .map(|run| run["scenario"].as_str().unwrap())
        .collect();
    assert_eq!(scenarios, ["SingleStream", "Offline", "Server"]);
    let folder = fs::read_dir(base.path()).unwrap().next().unwrap().unwrap();
    for run in runs {
        assert_eq!(run["nms"], Value::Null);
        assert_eq!(run["valid"], true);
        let own = folder.path().join(run["folder"].as_str().unwrap());
        let summary = fs::read_to_string(own.join("mlperf_log_summary.txt")).unwrap();
        assert!(summary.contains("SUT name : null"));
        assert!(own.join("latencies.hlog").is_file());
    }
}

#[test]
fn server_queries_leave_from_as_many_threads_as_asked_and_spin_as_long_as_asked() {
    let flags = "--scenario Server --duration 100ms --spin-us 0 \
                 --set server_num_issue_query_threads=2 server_target_qps=5000";
    let (code, document, base) = run(flags);
    assert_eq!(code, 0, "{document}");
    let run = &document["runs"][0];
    assert!(run["issue_delay_ns"]["p99"].as_u64().is_some());
    let folder = fs::read_dir(base.path()).unwrap().next().unwrap().unwrap();
    let file = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let lines = file("latencies.csv").lines().count() as u64;
    assert_eq!(lines, run["query_count"].as_u64().unwrap() + 1);
    let kept: Value = serde_json::from_str(&file("run.json")).unwrap();
    assert_eq!(kept["spin_us"], 0);
}

#[test]
fn a_spin_or_a_number_of_threads_beyond_reason_is_refused() {
    for flags in [
        "--spin-us 10001",
        "--spin-us -1",
        "--set server_num_issue_query_threads=257",
    ] {
        let output = Command::cargo_bin("detbench")
            .unwrap()
            .args(["run", "--sut", "null"])
            .args(flags.split_whitespace())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags}");
    }
}

#[test]
fn settings_by_name_and_configuration_files_hold_for_the_null_system_too() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("user.conf");
    fs::write(&conf, "*.SingleStream.target_latency = 0.001\n").unwrap();
    let flags = format!(
        "--scenario SingleStream --round v6.1 --user-conf {} --conf-model retinanet \
         --set min_duration_ms=0 min_query_count=700",
        conf.display()
    );
    let (code, document, base) = run(&flags);
    assert_eq!(code, 0, "{document}");
    assert_eq!(document["runs"][0]["query_count"], 700);
    let folder = fs::read_dir(base.path()).unwrap().next().unwrap().unwrap();
    let detail = fs::read_to_string(folder.path().join("mlperf_log_detail.txt")).unwrap();
    for expected in [
        "\"key\": \"requested_single_stream_expected_latency_ns\", \"value\": 1000,",
        "\"key\": \"effective_qsl_rng_seed\", \"value\": 2085463073848966840,",
        "\"key\": \"effective_performance_sample_count\", \"value\": 64,",
    ] {
        assert!(detail.contains(expected), "{expected}");
    }
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let results = tempfile::tempdir().unwrap();
    for verb in [
        "run --sut null --scenario SingleStream --duration 1ms",
        "run --sut null --scenario SingleStream --duration 1ms --json",
        "simulate --scenario Server --total-samples 8 --set min_duration_ms=0 min_query_count=500 server_target_qps=9",
        "simulate --scenario Server --total-samples 8 --set min_duration_ms=0 min_query_count=500 server_target_qps=9 --json",
    ] {
        for both in [false, true] {
            let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_detbench"))
                .args(verb.split_whitespace())
                .arg("--output-dir")
                .arg(results.path())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            drop(child.stdout.take());
            if both {
                drop(child.stderr.take());
            }
            let output = child.wait_with_output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{verb}: {errors}");
            assert!(!errors.contains("panicked"), "{verb}: {errors}");
        }
    }
}
