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
