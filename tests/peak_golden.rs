//! LoadGen's recorded peak searches, made again: the trials must follow from the outcomes of the
//! recorded runs, each planned from the same seeds, and the logs must read the same.
//!
//! Reads `tests/golden/loadgen/logs/log_peak*` and the same of every folder named in `DETBENCH_GOLDEN`.

mod vectors;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use detbench::drive::Ending;
use detbench::issue::{IssueEnd, IssuedQuery};
use detbench::peak::{LoadGenSearch, Trial};
use detbench::plan::Plan;
use detbench::record::{Completion, Keep, Record, Stages};
use detbench::report::mlperf::peak::{PeakLog, TrialLog};
use detbench::report::mlperf::{SetLog, TestLog};
use detbench::scenario::{Scenario, TestMode};
use detbench::settings::compat::CompatProfile;
use detbench::settings::test_settings::TestSettings;
use detbench::summary::{conclude, Rules, Summary};
use detbench::units::{Latency, QuerySample, SampleId, SampleIndex, Timestamp};
use serde_json::Value;

/// What a recording is made of.
const FILES: [&str; 4] = [
    "case.json",
    "samples.csv",
    "mlperf_log_detail.txt",
    "mlperf_log_summary.txt",
];

/// Recorded searches of a Server: those of this repository and of every folder that the user names.
fn searches() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for root in vectors::roots() {
        for folder in root.entries("loadgen/logs") {
            let case = fs::read_to_string(folder.join("case.json")).unwrap_or_default();
            let case: Value = serde_json::from_str(&case).unwrap_or_default();
            if case["mode"] != "FindPeakPerformance" || case["scenario"] != "Server" {
                // Other recordings are other tests' business.
                continue;
            }
            match FILES.iter().find(|file| !folder.join(file).is_file()) {
                Some(file) => root.skip(&folder, &format!("it has no {file}")),
                None => found.push(folder),
            }
        }
    }
    found
}

/// Key and value of each record, as they are written.
fn records(detail: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let rest = line.strip_prefix(":::MLLOG {\"key\": \"")?;
        let (key, rest) = rest.split_once("\", \"value\": ")?;
        let end = rest
            .find(", \"time_ms\": ")
            .or_else(|| rest.find(", \"metadata\": "))?;
        Some((key.to_owned(), rest[..end].to_owned()))
    };
    detail.lines().filter_map(line).collect()
}

/// What depends on the machine and the moment, or on when LoadGen's start was read.
fn is_circumstance(key: &str) -> bool {
    key.starts_with("loadgen_")
        || key.starts_with("logger_")
        || key.starts_with("power_")
        || key.ends_with("_samples_per_sec")
        || matches!(key, "test_datetime" | "get_sut_name_duration_ns")
}

/// A sample of the recording: index, scheduled time, latency.
type Row = (u32, u64, u64);

fn rows(folder: &Path) -> Vec<Row> {
    let text = fs::read_to_string(folder.join("samples.csv")).unwrap();
    let mut rows: Vec<(u64, Row)> = text
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<u64> = line
                .split(',')
                .map(|field| field.parse().unwrap())
                .collect();
            (fields[0], (fields[2] as u32, fields[3], fields[5]))
        })
        .collect();
    rows.sort_unstable();
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The record of a trial's rows, which must be those of its plan.
fn replay(plan: &Plan, rows: &[Row]) -> Record {
    let set = &plan.sets()[0];
    let start = Timestamp::from_nanos(rows[0].1);
    let keep = Keep {
        issue_delay: true,
        ..Keep::default()
    };
    let mut record = Record::new(start, SampleId(0), keep, rows.len(), 1);
    let mut queries = plan.queries(set);
    let mut samples = Vec::new();
    for (number, &(index, scheduled, latency)) in rows.iter().enumerate() {
        let planned = queries.next(&mut samples).expect("as many queries");
        assert_eq!(samples, [SampleIndex(index)], "sample {number}");
        assert_eq!(scheduled - rows[0].1, planned.as_nanos(), "query {number}");
        let at = Timestamp::from_nanos(scheduled);
        let query = IssuedQuery {
            scheduled: at,
            sample_count: 1,
        };
        let id = SampleId(number as u32);
        let sample = QuerySample {
            id,
            index: SampleIndex(index),
        };
        record.issued(&[query], &[sample], at);
        record.completed(&Completion {
            id,
            at: at + Latency::from_nanos(latency),
            stages: Stages::default(),
        });
    }
    assert_eq!(queries.next(&mut samples), None);
    record
}

struct Made {
    trial: Trial,
    after: Option<String>,
    plan: Plan,
    summary: Summary,
}

#[test]
fn golden_peak_searches_make_the_same_trials_and_the_same_logs() {
    let mut compared = 0;
    for folder in searches() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        compare(&name, &folder);
        compared += 1;
    }
    assert!(compared >= 2, "only {compared} searches were compared");
}

fn compare(name: &str, folder: &Path) {
    let case = fs::read_to_string(folder.join("case.json")).unwrap();
    let case: Value = serde_json::from_str(&case).unwrap();
    let mut settings = TestSettings::default();
    for (key, value) in case["settings"].as_object().unwrap() {
        settings.set(key, &value.to_string()).unwrap();
    }
    let count = |key: &str| case[key].as_u64().unwrap() as usize;
    let (total, performance) = (count("total"), count("perf"));
    let plan_of = |settings: &TestSettings| {
        let (scenario, mode) = (Scenario::Server, TestMode::FindPeakPerformance);
        Plan::new(
            settings,
            scenario,
            mode,
            total,
            performance,
            CompatProfile::V6,
        )
        .unwrap()
    };
    let base = plan_of(&settings);
    let mut rest = &rows(folder)[..];
    let mut search = LoadGenSearch::new(
        settings.server_target_qps.as_per_second(),
        settings.server_find_peak_qps_boundary_step_size,
        settings.server_find_peak_qps_decimals_of_precision,
        1e9,
    );
    let mut made: Vec<Made> = Vec::new();
    let mut reported = 0;
    while let Some(trial) = search.next_trial() {
        let mut own = settings.clone();
        own.set("server_target_qps", &trial.rate.to_string())
            .unwrap();
        let plan = plan_of(&own);
        let generated = plan.generated(&plan.sets()[0]).query_count as usize;
        assert!(
            rest.len() >= generated,
            "{name}: {} has no runs left",
            trial.rate
        );
        let (rows, more) = rest.split_at(generated);
        rest = more;
        let record = replay(&plan, rows);
        let ending = Ending::Complete(IssueEnd::Exhausted);
        let summary = conclude(record, plan.effective(), ending, Rules::MLPERF);
        let has_passed = summary.checks.latency_bound_kept;
        if has_passed {
            reported = made.len();
        }
        made.push(Made {
            trial,
            after: search.tell(has_passed),
            plan,
            summary,
        });
    }
    assert!(
        rest.is_empty(),
        "{name}: {} samples of no trial",
        rest.len()
    );
    let trials: Vec<TrialLog<'_>> = made
        .iter()
        .map(|made| TrialLog {
            before: &made.trial.messages,
            after: made.after.as_deref(),
            loads_set: made.trial.loads_set,
            shares_set: made.trial.shares_set,
            set: SetLog {
                set: &made.plan.sets()[0],
                generated: made.plan.generated(&made.plan.sets()[0]),
                began: Latency::ZERO,
                summary: &made.summary,
            },
        })
        .collect();
    let log = PeakLog {
        test: TestLog {
            sut_name: "PySUT",
            library_name: "PyQSL",
            total_count: total,
            performance_count: performance,
            requested_mode: TestMode::FindPeakPerformance,
            requested: &settings,
            effective: base.effective(),
            compat: CompatProfile::V6,
            began: SystemTime::UNIX_EPOCH,
            process: 1,
            warnings: &[],
            sets: &[],
        },
        trials: &trials,
        end: search.end().unwrap(),
        reported: trials[reported].set,
        reported_effective: made[reported].plan.effective(),
    };
    let theirs = fs::read_to_string(folder.join("mlperf_log_detail.txt")).unwrap();
    compare_logs(name, folder, &log, &theirs);
}

fn compare_logs(name: &str, folder: &Path, log: &PeakLog<'_>, theirs: &str) {
    let mut ours = Vec::new();
    log.write_detail(&mut ours).unwrap();
    let theirs = records(theirs);
    // A copy may lack the settings.
    let has_settings = theirs.iter().any(|(key, _)| key.starts_with("requested_"));
    let counts = |key: &str| {
        let is_setting = key.starts_with("requested_") || key.starts_with("effective_");
        !is_circumstance(key) && (has_settings || !is_setting)
    };
    let keep = |records: Vec<(String, String)>| -> Vec<(String, String)> {
        records.into_iter().filter(|(key, _)| counts(key)).collect()
    };
    let ours = keep(records(&String::from_utf8(ours).unwrap()));
    let theirs = keep(theirs);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "{name}");
    }
    assert_eq!(ours.len(), theirs.len(), "{name}");

    let mut ours = Vec::new();
    log.write_summary(&mut ours).unwrap();
    let ours = String::from_utf8(ours).unwrap();
    let theirs = fs::read_to_string(folder.join("mlperf_log_summary.txt")).unwrap();
    // The two rates differ by the time between LoadGen's start and its first query.
    let steady = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.contains("per second"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(steady(&ours), steady(&theirs), "{name}");
}
