//! Recorded LoadGen runs, issued again, concluded again and logged again: every figure and every line
//! must come out as LoadGen wrote it.
//!
//! Reads `tests/golden/loadgen/logs` and `loadgen/logs` of every folder named in `DETBENCH_GOLDEN`.

mod vectors;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use detbench::drive::Ending;
use detbench::issue::{IssueRules, Issuer, Step};
use detbench::plan::{Generated, LoadableSet, Plan};
use detbench::record::{Completion, Keep, Record, Stages};
use detbench::report::mlperf::accuracy::{self, AccuracyAnswer};
use detbench::report::mlperf::trace::{self, TracedSet};
use detbench::report::mlperf::{SetLog, TestLog, ACCURACY_FILE, DETAIL_FILE, SUMMARY_FILE};
use detbench::scenario::{Scenario, TestMode};
use detbench::settings::compat::CompatProfile;
use detbench::settings::test_settings::TestSettings;
use detbench::summary::{conclude, Rules, Summary};
use detbench::units::{Latency, SampleId, SampleIndex, Timestamp};
use serde_json::Value;

/// The runs of this repository and of every folder that the user names.
fn runs() -> Vec<PathBuf> {
    let roots = vectors::roots();
    let runs = roots.iter().map(|root| root.entries("loadgen/logs"));
    runs.flatten().collect()
}

/// One line of `samples.csv`.
#[derive(Debug, Clone, Copy)]
struct Row {
    index: u32,
    scheduled: u64,
    issue_delay: u64,
    latency: u64,
}

impl Row {
    fn issued(&self) -> u64 {
        self.scheduled + self.issue_delay
    }

    fn answered(&self) -> u64 {
        self.scheduled + self.latency
    }
}

/// A recorded run with what we make of its description.
struct Recorded {
    folder: PathBuf,
    settings: TestSettings,
    mode: TestMode,
    plan: Plan,
    total: usize,
    performance: usize,
    rows: Vec<Row>,
    detail: Vec<(String, String, bool)>,
}

impl Recorded {
    fn read(folder: &Path) -> Result<Self, String> {
        let text = |name: &str| {
            fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"))
        };
        let case: Value =
            serde_json::from_str(&text("case.json")?).map_err(|error| error.to_string())?;
        let word = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
        let count = |key: &str| case[key].as_u64().unwrap_or_default() as usize;
        let detail = records(&text(DETAIL_FILE)?).ok_or("the detail log has other lines")?;
        let mut settings = TestSettings::default();
        for (key, value) in case["settings"].as_object().ok_or("no settings")? {
            settings
                .set(key, &value.to_string())
                .map_err(|error| error.to_string())?;
        }
        let mut asked = settings.clone();
        if let Some(rate) = peak(&detail) {
            asked.set("server_target_qps", &rate).unwrap();
        }
        let mode = word("mode").parse().map_err(|_| "unknown mode")?;
        let scenario = word("scenario").parse().map_err(|_| "unknown scenario")?;
        let (total, performance) = (count("total"), count("perf"));
        let compat = CompatProfile::V6;
        let plan = Plan::new(&asked, scenario, mode, total, performance, compat)
            .map_err(|error| error.to_string())?;
        let rows = rows(&text("samples.csv")?).ok_or("samples.csv is not as recorded")?;
        let mut recorded = Self {
            rows,
            folder: folder.to_owned(),
            settings,
            mode,
            plan,
            total,
            performance,
            detail,
        };
        recorded.keep_trial_of_peak();
        Ok(recorded)
    }

    /// A peak search reports one of its trials; the others are dropped.
    fn keep_trial_of_peak(&mut self) {
        let Some(found) = peak(&self.detail) else {
            return;
        };
        let mut trials = Vec::new();
        for (key, text, _) in &self.detail {
            if key != "generic_message" {
                continue;
            }
            if let Some((_, rate)) = text.split_once("settings field: ") {
                trials.push(rate.to_owned());
            } else if let Some((_, bounds)) = text.split_once("Checking fields [") {
                let upper = bounds.split_once(", ").unwrap().1;
                trials.push(upper.replace(')', ""));
            } else if let Some((_, rate)) = text.split_once("): ") {
                trials.push(rate.to_owned());
            }
        }
        let trials = trials.iter().map(|rate| rate.trim_end_matches('"'));
        let position = trials.clone().position(|rate| rate == found).unwrap();
        let length = self.rows.len() / trials.count();
        self.rows.drain(..position * length);
        self.rows.truncate(length);
        let first = self.rows[0].scheduled;
        for row in &mut self.rows {
            row.scheduled -= first;
        }
    }

    /// What the rates count: the gaps between samples.
    fn gaps(&self) -> f64 {
        self.rows.len() as f64 - 1.0
    }

    fn scenario(&self) -> Scenario {
        self.plan.effective().scenario
    }

    /// Issues the set by our own rules at the recorded moments, and answers it as recorded.
    fn replay(&self, set: &LoadableSet, first: SampleId, rows: &[Row]) -> Replayed {
        let start = Timestamp::from_nanos(rows[0].scheduled);
        let effective = self.plan.effective();
        let rules = IssueRules::new(effective, set);
        let queries = self.plan.queries(set);
        let generated = self.plan.generated(set);
        let mut issuing = Issuer::new(queries, rules, start, first);
        let keep = Keep {
            schedule: !matches!(self.scenario(), Scenario::Server | Scenario::Offline),
            issue_delay: true,
            ..Keep::default()
        };
        let samples_per_query = match self.scenario() {
            Scenario::Offline => 1,
            _ => generated.samples_per_query as u32,
        };
        let mut record = Record::new(start, first, keep, rows.len(), samples_per_query);
        let mut issued = 0;
        let end = loop {
            let row = rows.get(issued).or(rows.last()).unwrap();
            let now = Timestamp::from_nanos(row.issued());
            match issuing.step(now, outstanding(&rows[..issued], row.issued())) {
                Step::Finished(end) => break end,
                Step::Issue => {
                    for sample in issuing.samples() {
                        let planned = rows.get(issued).map(|row| row.index);
                        assert_eq!(planned, Some(sample.index.0), "sample {issued}");
                        issued += 1;
                    }
                    record.issued(issuing.queries(), issuing.samples(), now);
                }
                step @ (Step::WaitUntil(_) | Step::WaitForCompletion) => {
                    panic!("{step:?} at sample {issued}, which LoadGen issued at {now:?}")
                }
            }
        };
        assert_eq!(issued, rows.len(), "issued as many as LoadGen");
        for (position, row) in rows.iter().enumerate() {
            record.completed(&Completion {
                id: SampleId(first.0 + position as u32),
                at: Timestamp::from_nanos(row.answered()),
                stages: Stages::default(),
            });
        }
        Replayed {
            set: set.clone(),
            generated,
            first,
            record,
            ending: Ending::Complete(end),
        }
    }

    fn replay_all(&self) -> Vec<Replayed> {
        let mut rest = &self.rows[..];
        let sets = self.plan.sets().iter().zip(self.plan.first_ids());
        sets.map(|(set, first)| {
            let planned = self.plan.generated(set).sample_count() as usize;
            let (rows, more) = rest.split_at(planned.min(rest.len()));
            rest = more;
            self.replay(set, first.sample, rows)
        })
        .collect()
    }
}

/// One set of a recorded run.
struct Replayed {
    set: LoadableSet,
    generated: Generated,
    first: SampleId,
    record: Record,
    ending: Ending,
}

impl Replayed {
    fn conclude(self, plan: &Plan) -> (LoadableSet, Generated, Summary) {
        let summary = conclude(self.record, plan.effective(), self.ending, Rules::MLPERF);
        (self.set, self.generated, summary)
    }
}

/// Answers that are still to come at a moment; the moment of issue belongs to the issue.
fn outstanding(issued: &[Row], now: u64) -> u64 {
    issued.iter().filter(|row| row.answered() > now).count() as u64
}

fn rows(csv: &str) -> Option<Vec<Row>> {
    let row = |line: &str| {
        let fields = line.split(',').map(|field| field.parse().ok());
        let fields: Vec<u64> = fields.collect::<Option<_>>()?;
        let &[sample, _, index, scheduled, issue_delay, latency, ..] = &fields[..] else {
            return None;
        };
        let row = Row {
            index: index as u32,
            scheduled,
            issue_delay,
            latency,
        };
        Some((sample, row))
    };
    let rows = csv.lines().skip(1).map(row);
    let mut rows: Vec<(u64, Row)> = rows.collect::<Option<_>>()?;
    rows.sort_by_key(|(sample, _)| *sample);
    Some(rows.into_iter().map(|(_, row)| row).collect())
}

/// Key, value as it is written, and whether it is an error, of each line.
fn records(detail: &str) -> Option<Vec<(String, String, bool)>> {
    let line = |line: &str| {
        let rest = line.strip_prefix(":::MLLOG {\"key\": \"")?;
        let (key, rest) = rest.split_once("\", \"value\": ")?;
        // Lines of our copies are cut down to key, value and whether they are errors.
        let end = rest
            .find(", \"time_ms\": ")
            .or_else(|| rest.find(", \"metadata\": "))?;
        let is_error = rest.contains("\"is_error\": true");
        Some((key.to_owned(), rest[..end].to_owned(), is_error))
    };
    detail.lines().map(line).collect()
}

/// The rate that a recorded peak search found.
fn peak(detail: &[(String, String, bool)]) -> Option<String> {
    detail.iter().find_map(|(_, value, _)| {
        let (_, rate) = value.split_once("Found peak performance field: ")?;
        Some(rate.trim_end_matches('"').to_owned())
    })
}

/// Facts of the recording machine and moment.
fn is_circumstance(key: &str) -> bool {
    key.starts_with("loadgen_")
        || key.starts_with("logger_")
        || key.starts_with("power_")
        || matches!(key, "test_datetime" | "get_sut_name_duration_ns")
}

/// How far before its first query, from which the recording counts, LoadGen's start may lie, in
/// nanoseconds.
const START_GAP: f64 = 2_000.0;

/// Whether two texts agree: to the letter, except for what is counted from the start, which may
/// differ by [`START_GAP`] and the rounding to six digits. `gaps` is the rates' numerator.
fn agree(name: &str, ours: &str, theirs: &str, gaps: f64) -> bool {
    let number = |text: &str| -> Option<f64> {
        let digits = text.trim_end_matches('"').rsplit([' ', ':']).next()?;
        digits.parse().ok()
    };
    if ours == theirs {
        return true;
    }
    let Some((ours, theirs)) = number(ours).zip(number(theirs)) else {
        return false;
    };
    match name {
        "result_qps_with_loadgen_overhead"
        | "result_scheduled_samples_per_sec"
        | "result_completed_samples_per_sec"
        | "QPS w/ loadgen overhead"
        | "Scheduled samples per second"
        | "Completed samples per second" => {
            let (ours, theirs) = (gaps / ours * 1e9, gaps / theirs * 1e9);
            (ours - theirs).abs() <= START_GAP + 1e-5 * theirs
        }
        "error_runtime" => (ours - theirs).abs() <= START_GAP,
        _ => false,
    }
}

#[test]
fn golden_logs_come_out_as_loadgen_wrote_them() {
    let mut compared = 0;
    for folder in runs() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let recorded = match Recorded::read(&folder) {
            Ok(recorded) => recorded,
            Err(why) => {
                eprintln!("skipped {}: {why}", folder.display());
                continue;
            }
        };
        compare(&name, &recorded);
        compared += 1;
    }
    assert!(compared >= 27, "only {compared} runs were compared");
}

fn compare(name: &str, recorded: &Recorded) {
    let sets: Vec<(LoadableSet, Generated, Summary)> = recorded
        .replay_all()
        .into_iter()
        .map(|replayed| replayed.conclude(&recorded.plan))
        .collect();
    let sets: Vec<SetLog<'_>> = sets
        .iter()
        .map(|(set, generated, summary)| SetLog {
            set,
            generated: *generated,
            began: Latency::ZERO,
            summary,
        })
        .collect();
    let test = TestLog {
        sut_name: "PySUT",
        library_name: "PyQSL",
        total_count: recorded.total,
        performance_count: recorded.performance,
        requested_mode: recorded.mode,
        requested: &recorded.settings,
        effective: recorded.plan.effective(),
        compat: CompatProfile::V6,
        began: SystemTime::UNIX_EPOCH,
        process: 1,
        warnings: &[],
        sets: &sets,
    };
    compare_detail(name, recorded, &test);
    compare_summary(name, recorded, &test);
}

fn compare_detail(name: &str, recorded: &Recorded, test: &TestLog<'_>) {
    let mut out = Vec::new();
    test.write_detail(&mut out).unwrap();
    let ours = records(&String::from_utf8(out).unwrap()).expect("records");
    let is_search = recorded.mode == TestMode::FindPeakPerformance;
    // A copy may lack the settings, and a search tells of all its trials.
    let has_settings = recorded
        .detail
        .iter()
        .any(|(key, _, _)| key.starts_with("requested_"));
    let counts = |key: &str| {
        let of_search = key.starts_with("result_") || key.starts_with("early_");
        let setting = key.starts_with("requested_") || key.starts_with("effective_");
        !is_circumstance(key) && (of_search || !is_search) && (has_settings || !setting)
    };
    let keep = |list: &[(String, String, bool)]| -> Vec<(String, String, bool)> {
        let list = list.iter().filter(|(key, _, _)| counts(key));
        list.cloned().collect()
    };
    let (ours, theirs) = (keep(&ours), keep(&recorded.detail));
    let keys = |list: &[(String, String, bool)]| -> Vec<String> {
        list.iter().map(|(key, _, _)| key.clone()).collect()
    };
    assert_eq!(keys(&ours), keys(&theirs), "{name}: keys");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!(
            agree(&ours.0, &ours.1, &theirs.1, recorded.gaps()) && ours.2 == theirs.2,
            "{name}: {ours:?}, LoadGen has {theirs:?}"
        );
    }
}

fn compare_summary(name: &str, recorded: &Recorded, test: &TestLog<'_>) {
    let Ok(theirs) = fs::read_to_string(recorded.folder.join(SUMMARY_FILE)) else {
        eprintln!("{name}: no {SUMMARY_FILE}");
        return;
    };
    let mut out = Vec::new();
    test.write_summary(&mut out).unwrap();
    let ours = String::from_utf8(out).unwrap();
    let is_search = recorded.mode == TestMode::FindPeakPerformance;
    let until = |text: &str| match text.find("\nNo warnings") {
        Some(end) if is_search => text[..end].to_owned(),
        _ => text.to_owned(),
    };
    let (ours, theirs) = (until(&ours), until(&theirs));
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{name}");
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        let label = theirs.split(" :").next().unwrap().trim_end();
        assert!(
            agree(label, ours, theirs, recorded.gaps()),
            "{name}: `{ours}`, LoadGen has `{theirs}`"
        );
    }
    if let (Some(a), Some(b)) = (ours.chars().next_back(), theirs.chars().next_back()) {
        assert_eq!(a, b, "{name}: the end of the file");
    }
}

#[test]
fn golden_accuracy_logs_are_written_byte_for_byte() {
    let mut compared = 0;
    for folder in runs() {
        let Ok(theirs) = fs::read_to_string(folder.join(ACCURACY_FILE)) else {
            continue;
        };
        let Ok(entries) = serde_json::from_str::<Vec<Value>>(&theirs) else {
            eprintln!("skipped {}: the accuracy log is no list", folder.display());
            continue;
        };
        let answers = entries.iter().map(|entry| {
            let number = |key: &str| entry[key].as_u64().unwrap() as u32;
            let hex = entry["data"].as_str().unwrap();
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            AccuracyAnswer {
                id: SampleId(number("seq_id")),
                index: SampleIndex(number("qsl_idx")),
                data: (0..hex.len()).step_by(2).map(byte).collect(),
            }
        });
        let mut ours = Vec::new();
        accuracy::write(answers, &mut ours).unwrap();
        assert_eq!(String::from_utf8(ours).unwrap(), theirs, "{folder:?}");
        compared += 1;
    }
    assert!(compared >= 5);
}

/// The sample events of a trace by kind and sample, without process and origin.
fn events(trace: &str) -> BTreeMap<(String, u64), Value> {
    let mut origin = None;
    let mut counters = 0;
    let mut events = BTreeMap::new();
    for line in trace.lines() {
        if !line.starts_with("{\"name\":\"Sample\"") && !line.starts_with("{\"name\":\"Latency\"") {
            continue;
        }
        let mut event: Value = serde_json::from_str(line.trim_end_matches(',')).unwrap();
        event.as_object_mut().unwrap().remove("pid");
        let ns = (event["ts"].as_f64().unwrap() * 1_000.0).round() as i64;
        event["ts"] = Value::from(ns - *origin.get_or_insert(ns));
        let kind = event["ph"].as_str().unwrap().to_owned();
        let id = event["id"].as_u64().unwrap_or_else(|| {
            counters += 1;
            counters - 1
        });
        events.insert((kind, id), event);
    }
    events
}

#[test]
fn golden_traces_have_the_same_samples_at_the_same_times() {
    let mut compared = 0;
    for folder in runs() {
        let Ok(theirs) = fs::read_to_string(folder.join("mlperf_log_trace.json")) else {
            continue;
        };
        let Ok(recorded) = Recorded::read(&folder) else {
            continue;
        };
        if theirs.is_empty() || recorded.plan.sets().len() > 1 {
            continue;
        }
        let replayed = recorded.replay_all();
        let traced = TracedSet {
            plan: &recorded.plan,
            set: &replayed[0].set,
            record: &replayed[0].record,
            first_sample: replayed[0].first,
            first_query: 0,
            began: Latency::ZERO,
        };
        let mut ours = Vec::new();
        trace::write(&[traced], SystemTime::UNIX_EPOCH, 1, &mut ours).unwrap();
        let ours = String::from_utf8(ours).unwrap();
        let whole: Value = serde_json::from_str(&ours).unwrap();
        assert!(whole["traceEvents"].as_array().unwrap().len() > 1);
        assert_eq!(events(&ours), events(&theirs), "{folder:?}");
        compared += 1;
    }
    assert!(compared >= 2);
}

#[test]
fn golden_detail_lines_have_the_layout_of_loadgen() {
    let shape = |line: &str| -> Vec<String> {
        let (head, tail) = line.split_once(", \"time_ms\": ").unwrap();
        let key = head.split_once(", \"value\": ").unwrap().0.to_owned();
        let (time, rest) = tail.split_once(", ").unwrap();
        assert_eq!(time.split_once('.').unwrap().1.len(), 6, "{line}");
        let rest: Value = serde_json::from_str(&format!("{{{rest}")).unwrap();
        let metadata = rest["metadata"].as_object().unwrap();
        let names = |object: &serde_json::Map<String, Value>| {
            object.keys().cloned().collect::<Vec<_>>().join(" ")
        };
        vec![
            key,
            names(rest.as_object().unwrap()),
            names(metadata),
            rest["namespace"].to_string(),
            rest["event_type"].to_string(),
        ]
    };
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/loadgen/logs/log_ss_few_queries");
    let recorded = Recorded::read(&folder).unwrap();
    let (set, generated, summary) = recorded.replay_all().remove(0).conclude(&recorded.plan);
    let sets = [SetLog {
        set: &set,
        generated,
        began: Latency::ZERO,
        summary: &summary,
    }];
    let test = TestLog {
        sut_name: "PySUT",
        library_name: "PyQSL",
        total_count: recorded.total,
        performance_count: recorded.performance,
        requested_mode: recorded.mode,
        requested: &recorded.settings,
        effective: recorded.plan.effective(),
        compat: CompatProfile::V6,
        began: SystemTime::UNIX_EPOCH,
        process: 1,
        warnings: &[],
        sets: &sets,
    };
    let mut ours = Vec::new();
    test.write_detail(&mut ours).unwrap();
    let ours = String::from_utf8(ours).unwrap();
    assert!(ours.starts_with(":::MLLOG {\"key\": \"loadgen_version\", \"value\": \"detbench "));
    let theirs = fs::read_to_string(folder.join(DETAIL_FILE)).unwrap();
    let shapes = |text: &str| -> Vec<Vec<String>> {
        let own = |line: &&str| !line.contains("\"loadgen_");
        text.lines().filter(own).map(shape).collect()
    };
    assert_eq!(shapes(&ours), shapes(&theirs));
}
