//! The peak search as a user runs it, on virtual time, against queues whose limits are known otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use assert_cmd::Command;
use serde_json::Value;

/// A finished `simulate`.
struct Run {
    code: i32,
    out: String,
    errors: String,
    files: BTreeMap<String, Vec<u8>>,
}

impl Run {
    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.files[name]).unwrap()
    }

    fn peak(&self) -> Value {
        self.json("peak.json")
    }

    fn log(&self, name: &str) -> &str {
        std::str::from_utf8(&self.files[name]).unwrap()
    }

    /// The first value of a key of the detail log.
    fn detail(&self, key: &str) -> Value {
        let start = format!(":::MLLOG {{\"key\": \"{key}\", ");
        let mut lines = self.log("mlperf_log_detail.txt").lines();
        let line = lines.find(|line| line.starts_with(&start)).unwrap();
        let record: Value = serde_json::from_str(&line[":::MLLOG ".len()..]).unwrap();
        record["value"].clone()
    }
}

fn simulate(flags: &str) -> Run {
    let base = tempfile::tempdir().unwrap();
    let output = Command::cargo_bin("detbench")
        .unwrap()
        .arg("simulate")
        .args(flags.split_whitespace())
        .arg("--output-dir")
        .arg(base.path())
        .env_remove("ORT_DYLIB_PATH")
        .output()
        .unwrap();
    let folder = fs::read_dir(base.path()).unwrap().next();
    let mut files = BTreeMap::new();
    if let Some(folder) = folder {
        for entry in fs::read_dir(folder.unwrap().path()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
        files,
    }
}

/// Two servers of 10 ms each: they answer 200 a second if nothing ever waits.
const TWO_SERVERS: &str = "--scenario Server --total-samples 64 --service fixed:10ms --servers 2";

/// Numbers in (0, 1] from a generator of our own.
struct Toss(u64);

impl Toss {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// The share of a million queries that wait longer than 40 ms for one of two servers of 10 ms: a plain
/// queue, customer by customer, in milliseconds.
fn share_over_50_ms(rate: f64) -> f64 {
    let queries = 1_000_000;
    let mut toss = Toss(88_172_645_463_325_252);
    let (mut arrival, mut free, mut over) = (0.0, [0.0_f64; 2], 0);
    for _ in 0..queries {
        arrival += -toss.next().ln() / rate * 1e3;
        let server = usize::from(free[1] < free[0]);
        let end = free[server].max(arrival) + 10.0;
        free[server] = end;
        over += usize::from(end - arrival > 50.0);
    }
    over as f64 / f64::from(queries)
}

/// The highest whole rate at which at most a hundredth of the queries is over 50 ms.
fn limit_by_scan() -> f64 {
    let rates = (100..200).map(f64::from);
    let kept = rates.take_while(|&rate| share_over_50_ms(rate) <= 0.01);
    kept.last().unwrap()
}

#[test]
fn the_peak_of_two_servers_lies_where_a_scan_of_the_plain_queue_says() {
    let limit = limit_by_scan();
    assert!((140.0..160.0).contains(&limit), "{limit}");
    for seed in 1..=5 {
        let run = simulate(&format!(
            "{TWO_SERVERS} --find-peak --slo p99=50ms --set min_duration_ms=600000 schedule_rng_seed={seed}"
        ));
        assert_eq!(run.code, 0, "{}", run.out);
        let peak = run.peak();
        let (passed, failed) = (
            peak["highest_passed"].as_f64().unwrap(),
            peak["lowest_failed"].as_f64().unwrap(),
        );
        assert_eq!(peak["confirmed"], true);
        // Ten minutes at 150/s tell a share of 1 % to a few hundredths of that, which is about a
        // hundredth of the rate here; a step down below an unconfirmed rate is two hundredths more.
        assert!(
            passed > 0.94 * limit && passed < 1.02 * limit,
            "{passed}, {limit}"
        );
        assert!(
            failed > passed && failed < 1.06 * limit,
            "{failed}, {limit}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_search_and_another_seed_another() {
    let search = |seed: u32| {
        simulate(&format!(
            "{TWO_SERVERS} --find-peak --set min_duration_ms=30000 schedule_rng_seed={seed} --seed 3"
        ))
    };
    let (first, second, other) = (search(4), search(4), search(5));
    assert_eq!(first.files, second.files);
    let queries = |run: &Run| {
        let probes = run.peak()["probes"].as_array().unwrap().clone();
        probes
            .iter()
            .map(|probe| probe["query_count"].clone())
            .collect::<Vec<_>>()
    };
    assert_ne!(queries(&first), queries(&other));
}

#[test]
fn every_probe_has_another_schedule_and_the_confirming_run_has_the_settings_own() {
    let run = simulate(&format!(
        "{TWO_SERVERS} --find-peak --set min_duration_ms=20000 schedule_rng_seed=12345 --json"
    ));
    let document: Value = serde_json::from_str(&run.out).unwrap();
    let peak = &document["runs"][0]["peak"];
    assert_eq!(*peak, run.peak());
    let probes = peak["probes"].as_array().unwrap();
    let seeds = |confirming: bool| -> Vec<u64> {
        let own = probes.iter();
        own.filter(|probe| (probe["purpose"] == "confirm") == confirming)
            .map(|probe| probe["seed"].as_u64().unwrap())
            .collect()
    };
    let low: BTreeSet<u32> = seeds(false).iter().map(|&seed| seed as u32).collect();
    assert_eq!(low.len(), seeds(false).len(), "no schedule twice");
    assert!(!low.contains(&12_345));
    assert!(seeds(true).iter().all(|&seed| seed == 12_345));
    assert_eq!(run.detail("requested_schedule_rng_seed"), 12_345);
    // A repeat is of the same load and makes other queries wait.
    let repeats = probes
        .windows(2)
        .filter(|pair| pair[1]["purpose"] == "repeat");
    for pair in repeats {
        assert_eq!(pair[0]["load"], pair[1]["load"]);
        assert_ne!(pair[0]["latency_ns"], pair[1]["latency_ns"]);
    }
}

#[test]
fn the_logs_are_those_of_a_valid_run_of_full_length_at_the_answer() {
    let run = simulate(&format!(
        "{TWO_SERVERS} --find-peak --set min_duration_ms=120000"
    ));
    let peak = run.peak();
    assert_eq!(run.detail("result_validity"), "VALID");
    assert_eq!(run.detail("early_stopping_met"), true);
    assert_eq!(run.detail("effective_min_duration_ms"), 120_000);
    let rate = run.detail("effective_target_qps").as_f64().unwrap();
    let answer = peak["highest_passed"].as_f64().unwrap();
    assert!((rate / answer - 1.0).abs() < 1e-5, "{rate} {answer}");
    let last = peak["probes"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["purpose"], "confirm");
    let queries = run.detail("result_query_count");
    assert_eq!(last["query_count"], queries);
    let lines = run.log("latencies.csv").lines().count() as u64;
    assert_eq!(Some(lines - 1), queries.as_u64());
    // The run record and the text have the answer too.
    assert_eq!(run.json("run.json")["runs"][0]["peak"], peak);
    assert!(run.out.contains("confirmed at full length"), "{}", run.out);
}

#[test]
fn overload_ends_a_probe_within_seconds() {
    let run = simulate(&format!(
        "{TWO_SERVERS} --find-peak --peak-max 400 --slo p99=50ms --set min_duration_ms=60000 server_target_qps=400"
    ));
    let probes = run.peak()["probes"].as_array().unwrap().clone();
    assert_eq!(probes[0]["load"], 400.0);
    assert_eq!(probes[0]["passed"], false);
    let elapsed = probes[0]["elapsed_ns"].as_u64().unwrap();
    // At twice the capacity the delay grows by half a second a second: 240 queries are late soon.
    assert!(elapsed < 3_000_000_000, "{elapsed} ns of a probe of 60 s");
    // What was outstanding is not answered into the next probe.
    assert!(run
        .log("mlperf_log_detail.txt")
        .contains("\"num_errors\", \"value\": 0"));
}

#[test]
fn one_stall_moves_neither_bracket_nor_answer_far() {
    let calm = simulate(&format!(
        "{TWO_SERVERS} --find-peak --set min_duration_ms=60000"
    ));
    let stalled = simulate(&format!(
        "{TWO_SERVERS} --find-peak --stall 30s:5s --set min_duration_ms=60000"
    ));
    let answer = |run: &Run| run.peak()["highest_passed"].as_f64().unwrap();
    assert_eq!(stalled.code, 0, "{}", stalled.out);
    let share = answer(&stalled) / answer(&calm);
    assert!((0.94..1.06).contains(&share), "{share}");
}

#[test]
fn an_objective_that_no_rate_meets_is_said_so_and_a_criterion_failed() {
    let run = simulate(&format!("{TWO_SERVERS} --find-peak --slo p99=5ms"));
    assert_eq!(run.code, 1);
    assert!(
        run.out.contains("p99 within 5.00 ms cannot be met"),
        "{}",
        run.out
    );
    let peak = run.peak();
    assert_eq!(peak["end"], "none_passed");
    assert_eq!(peak["highest_passed"], Value::Null);
    assert_eq!(run.json("run.json")["runs"][0]["valid"], false);
}

#[test]
fn a_system_without_limit_stops_at_the_upper_bound_and_says_that_it_is_one() {
    let run = simulate(
        "--scenario Server --total-samples 64 --service fixed:1us --find-peak --peak-max 5000",
    );
    assert_eq!(run.code, 0, "{}", run.out);
    let peak = run.peak();
    assert_eq!(peak["end"], "confirmed_at_ceiling");
    assert_eq!(peak["highest_passed"], 5_000.0);
    assert_eq!(peak["lowest_failed"], Value::Null);
    assert!(
        run.out
            .contains("not bounded by p99 within 100 ms below 5000/s"),
        "{}",
        run.out
    );
    // Without the flag the bound is twice what the servers could answer.
    let run = simulate(&format!(
        "{TWO_SERVERS} --find-peak --slo p50=1s --set min_duration_ms=1000"
    ));
    let highest = run.peak()["probes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|probe| probe["load"].as_f64().unwrap())
        .fold(0.0, f64::max);
    assert!(highest <= 400.0, "{highest}");
    assert_eq!(run.peak()["ceiling"], 400.0);
}

#[test]
fn multi_stream_finds_the_largest_query_that_its_servers_answer_in_time() {
    // Two servers answer a query of n pictures in ceil(n / 2) times 10 ms: 18 take 90 ms.
    for (slo, streams) in [("p99=95ms", 18), ("p99=90ms", 18), ("p90=10ms", 2)] {
        let run = simulate(&format!(
            "--scenario MultiStream --total-samples 64 --service fixed:10ms --servers 2 --find-peak --slo {slo}"
        ));
        assert_eq!(run.code, 0, "{}", run.out);
        let peak = run.peak();
        assert_eq!(peak["load"], "multi_stream_samples_per_query");
        assert_eq!(peak["highest_passed"].as_f64(), Some(f64::from(streams)));
        assert_eq!(peak["lowest_failed"].as_f64(), Some(f64::from(streams + 1)));
        assert_eq!(run.detail("effective_samples_per_query"), streams);
        assert_eq!(run.detail("result_validity"), "VALID");
    }
    let run = simulate(
        "--scenario MultiStream --total-samples 64 --service fixed:10ms --find-peak --slo p99=9ms",
    );
    assert_eq!(run.code, 1, "{}", run.out);
}

#[test]
fn flags_that_make_no_search_are_refused_before_a_folder_is_made() {
    for (flags, expected) in [
        ("--scenario Offline --find-peak", "the peak already"),
        ("--scenario SingleStream --find-peak", "no load to raise"),
        ("--scenario MultiStream --find-peak", "--slo"),
        (
            "--scenario Server --find-peak --slo p99:3",
            "is no objective",
        ),
        (
            "--scenario Server --find-peak --slo p99=3ms --slo p9=1ms",
            "multiple times",
        ),
        ("--scenario Server --slo p99=3ms", "--find-peak"),
        ("--scenario Server --find-peak --peak-max 0", "above zero"),
        (
            "--scenario Server --find-peak --peak-precision 90%",
            "share",
        ),
        (
            "--scenario Server --find-peak --mode AccuracyOnly",
            "exclude each other",
        ),
        (
            "--scenario Offline --mode FindPeakPerformance",
            "needs scenario Server",
        ),
    ] {
        let run = simulate(&format!("{flags} --total-samples 8"));
        assert_eq!(run.code, 2, "{flags}: {}", run.errors);
        assert!(run.errors.contains(expected), "{flags}: {}", run.errors);
        assert!(run.files.is_empty(), "{flags}");
    }
}

const LOADGEN: &str = "--mode FindPeakPerformance --set server_target_qps=50 \
    server_target_latency_ns=50000000 server_find_peak_qps_decimals_of_precision=0";

#[test]
fn loadgens_own_search_makes_its_trials_and_reports_the_best() {
    let run = simulate(&format!("{TWO_SERVERS} {LOADGEN}"));
    let detail = run.log("mlperf_log_detail.txt");
    let messages: Vec<&str> = detail
        .lines()
        .filter_map(|line| {
            line.split_once("\"generic_message\", \"value\": \"")?
                .1
                .split('"')
                .next()
        })
        .collect();
    assert_eq!(messages[0], "Starting FindPeakPerformance mode");
    assert!(messages[1].ends_with("base settings field: 50.000000"));
    assert!(messages[2].ends_with("[50.000000, 100.000000)"));
    let last = messages.last().unwrap();
    let found: f64 = last.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(last.contains("Found peak performance field") && (100.0..200.0).contains(&found));
    // The detail log keeps the settings that were asked for, the summary those of the best trial.
    assert_eq!(run.detail("requested_server_target_qps"), 50);
    assert_eq!(run.detail("effective_target_qps"), 50);
    let summary = run.log("mlperf_log_summary.txt");
    assert!(summary.contains("Mode     : FindPeakPerformance"));
    let line = summary
        .lines()
        .find(|line| line.starts_with("target_qps"))
        .unwrap();
    let rate: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((rate / found - 1.0).abs() < 1e-4, "{line}");
    assert_eq!(run.detail("result_perf_constraints_met"), true);
    assert!(detail.matches("\"generated_query_count\"").count() >= 8);
    let again = simulate(&format!("{TWO_SERVERS} {LOADGEN}"));
    assert_eq!(run.files, again.files);
}

#[test]
fn loadgens_own_search_ends_at_a_bad_start_and_at_the_upper_bound() {
    let bad = simulate(&format!("{TWO_SERVERS} {LOADGEN} server_target_qps=300"));
    assert_eq!(bad.code, 1);
    assert!(bad
        .detail("error_runtime")
        .as_str()
        .unwrap()
        .contains("Initial lower bound"));
    assert!(bad
        .log("mlperf_log_summary.txt")
        .contains("1 ERROR encountered"));
    // A hundred queries at once are answered within the bound at any rate.
    let endless = simulate(
        "--scenario Server --total-samples 64 --service fixed:1us --mode FindPeakPerformance --set \
         min_duration_ms=0 server_target_qps=1000",
    );
    assert_eq!(endless.code, 1, "{}", endless.out);
    assert!(endless
        .detail("error_runtime")
        .as_str()
        .unwrap()
        .contains("No rate up to"));
}

#[test]
fn a_search_that_run_cannot_make_is_refused_before_anything_is_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("user.conf");
    fs::write(&conf, "*.Offline.mode = 3\n").unwrap();
    let conf = conf.display().to_string();
    for (flags, expected) in [
        ("--scenario smoke --find-peak".to_owned(), "SingleStream"),
        ("--scenario MultiStream --find-peak".to_owned(), "--slo"),
        ("--sut null --find-peak".to_owned(), "--sut null"),
        (
            "--find-peak --accuracy-only".to_owned(),
            "cannot be used with",
        ),
        (
            "--find-peak --mode SubmissionRun".to_owned(),
            "exclude each other",
        ),
        (
            format!("--scenario Offline --user-conf {conf}"),
            "the peak already",
        ),
    ] {
        let output = Command::cargo_bin("detbench")
            .unwrap()
            .arg("run")
            .args(flags.split_whitespace())
            .arg("--output-dir")
            .arg(folder.path().join("results"))
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags}: {errors}");
        assert!(errors.contains(expected), "{flags}: {errors}");
        assert!(!folder.path().join("results").exists(), "{flags}");
    }
}
