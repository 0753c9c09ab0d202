//! Settings that cannot be are refused through every door, before anything runs.

use std::path::Path;
use std::process::Command;

/// Name, value, the line of a file that says the same, and what the message holds.
const IMPOSSIBLE: [(&str, &str, &str, &str, &str); 14] = [
    (
        "Server",
        "server_target_latency_percentile",
        "0",
        "target_latency_percentile = 0",
        "both ends excluded",
    ),
    (
        "Server",
        "server_target_latency_percentile",
        "1",
        "target_latency_percentile = 100",
        "both ends excluded",
    ),
    (
        "SingleStream",
        "single_stream_target_latency_percentile",
        "-0.5",
        "target_latency_percentile = -50",
        "both ends excluded",
    ),
    (
        "Server",
        "server_target_qps",
        "0",
        "target_qps = 0",
        "above 0",
    ),
    (
        "Server",
        "server_target_qps",
        "-5",
        "target_qps = -5",
        "above 0",
    ),
    (
        "Offline",
        "offline_expected_qps",
        "-5",
        "target_qps = -5",
        "above 0",
    ),
    (
        "Server",
        "server_target_qps",
        "nan",
        "target_qps = nan",
        "number",
    ),
    (
        "Offline",
        "offline_expected_qps",
        "inf",
        "target_qps = inf",
        "number",
    ),
    (
        "SingleStream",
        "single_stream_expected_latency_ns",
        "0",
        "target_latency = 0",
        "above 0",
    ),
    (
        "MultiStream",
        "multi_stream_samples_per_query",
        "0",
        "samples_per_query = 0",
        "from 1",
    ),
    (
        "Server",
        "min_duration_ms",
        "-1",
        "min_duration = -1",
        "milliseconds from 0",
    ),
    (
        "Server",
        "max_duration_ms",
        "-1",
        "max_duration = -1",
        "milliseconds from 0",
    ),
    (
        "Server",
        "min_query_count",
        "4294967297",
        "min_query_count = 4294967297",
        "2^32",
    ),
    (
        "MultiStream",
        "min_query_count",
        "4294967296",
        "min_query_count = 4294967296",
        "2^32",
    ),
];

struct Desk(tempfile::TempDir);

impl Desk {
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn results(&self) -> std::path::PathBuf {
        self.0.path().join("results")
    }

    /// Runs one verb with `flags` and expects one sentence that holds `words` and no results.
    fn refused(&self, verb: &[&str], flags: &[&str], words: &[&str]) {
        let output = Command::new(assert_cmd::cargo::cargo_bin!("detbench"))
            .args(verb)
            .args(flags)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{verb:?} {flags:?}: {message}"
        );
        for word in words {
            assert!(
                message.contains(word),
                "{verb:?} {flags:?}: `{word}` not in {message}"
            );
        }
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(
            !Path::new(&self.results()).exists(),
            "nothing is left behind"
        );
    }
}

/// The verbs that take LoadGen's settings; none of them gets as far as a model here.
const VERBS: [&[&str]; 4] = [
    &["plan", "--total-samples", "64"],
    &["simulate", "--total-samples", "64"],
    &["run"],
    &["run", "--sut", "null"],
];

#[test]
fn a_value_that_cannot_be_is_refused_through_every_door() {
    let desk = Desk(tempfile::tempdir().unwrap());
    for (scenario, key, value, line, words) in IMPOSSIBLE {
        let pair = format!("{key}={value}");
        let conf = desk.file("test.conf", &format!("# a comment\n*.{scenario}.{line}\n"));
        let toml = format!("title = 'x'\n[[run]]\nscenario = '{scenario}'\n{key} = {value}\n");
        let toml = desk.file("own.toml", &toml);
        for verb in VERBS {
            // A sum of several settings is found when the plan is made, for which `run` wants its pictures.
            let of_sum = value == "4294967296";
            if of_sum && verb == VERBS[2] {
                continue;
            }
            let asked = ["--scenario", scenario];
            desk.refused(verb, &[&asked[..], &["--set", &pair]].concat(), &[words]);
            for door in ["--user-conf", "--mlperf-conf", "--audit"] {
                let flags = [&asked[..], &[door, &conf]].concat();
                let place = if of_sum { "" } else { "test.conf:2: `*." };
                desk.refused(verb, &flags, &[words, place]);
            }
            if verb[0] == "run" {
                let place = if of_sum { "" } else { "own.toml:4" };
                desk.refused(verb, &["--scenario", &toml], &[words, place]);
            }
        }
    }
}

#[test]
fn settings_that_exclude_each_other_are_refused_through_every_door() {
    let desk = Desk(tempfile::tempdir().unwrap());
    let unique_and_same = desk.file(
        "both.conf",
        "*.*.performance_issue_unique = 1\n*.*.performance_issue_same = 1\n",
    );
    let beyond = desk.file(
        "beyond.conf",
        "*.*.performance_sample_count_override = 3\n*.*.performance_issue_same = 1\n\
         *.*.performance_issue_same_index = 3\n",
    );
    for verb in [VERBS[0], VERBS[1], VERBS[3]] {
        let server = ["--scenario", "Server", "--set"];
        let both = [
            "performance_issue_unique=true",
            "performance_issue_same=true",
        ];
        desk.refused(
            verb,
            &[&server[..], &both].concat(),
            &["exclude each other"],
        );
        let index = [
            "performance_sample_count_override=3",
            "performance_issue_same=true",
            "performance_issue_same_index=3",
        ];
        desk.refused(
            verb,
            &[&server[..], &index].concat(),
            &["has 3 samples", "below that"],
        );
        for door in ["--user-conf", "--mlperf-conf", "--audit"] {
            let flags = ["--scenario", "Server", door];
            desk.refused(
                verb,
                &[&flags[..], &[&unique_and_same]].concat(),
                &["exclude each other"],
            );
            desk.refused(verb, &[&flags[..], &[&beyond]].concat(), &["has 3 samples"]);
        }
    }
}
