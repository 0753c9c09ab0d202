//! `mlperf_log_detail.txt`: one JSON record a line, behind `:::MLLOG`.

use std::io::{self, Write};
use std::time::SystemTime;

use super::numbers::general;
use super::texts::{self, EndMessage};
use super::{settings, SetLog, TestLog};
use crate::metrics::percentile::LatencySummary;
use crate::plan::Phase;
use crate::report::folder::utc_iso;
use crate::scenario::{Scenario, TestMode};
use crate::summary::Summary;
use crate::units::Latency;

/// A value of the detail log.
#[derive(Debug, Clone, PartialEq)]
pub enum LogValue {
    /// Quoted text.
    Text(String),
    /// A whole number.
    Whole(u64),
    /// A number in the `%g` style; one that is not finite is written as text.
    Real(f64),
    /// `true` or `false`.
    Truth(bool),
    /// Sample indices.
    Indices(Vec<u32>),
    /// An object without entries.
    Empty,
}

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A fact.
    Note,
    /// `is_warning`.
    Warning,
    /// `is_error`.
    Error,
}

/// One line of the detail log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// Its key; readers take the first of a repeated key.
    pub key: String,
    /// Its value.
    pub value: LogValue,
    /// When, counted from the beginning of the test.
    pub at: Latency,
    /// What it is for.
    pub level: Level,
}

/// The percentiles that every result names.
const PERCENTILES: [&str; 6] = ["50.00", "90.00", "95.00", "97.00", "99.00", "99.90"];

/// Counters of LoadGen's asynchronous logger, which has no counterpart here.
const LOGGER_COUNTERS: [&str; 6] = [
    "logger_swap_request_slots_retry_count",
    "logger_swap_request_slots_retry_retry_count",
    "logger_swap_request_slots_retry_reencounter_count",
    "logger_start_reading_entries_retry_count",
    "logger_tls_total_log_cas_fail_count",
    "logger_tls_total_swap_buffers_slot_retry_count",
];

/// Collects records, each at the present moment.
#[derive(Default)]
pub(super) struct Journal {
    records: Vec<LogRecord>,
    now: Latency,
}

impl Journal {
    /// The records that follow are of this moment.
    pub(super) fn at(&mut self, now: Latency) {
        self.now = now;
    }

    pub(super) fn into_records(self) -> Vec<LogRecord> {
        self.records
    }

    fn add(&mut self, key: impl Into<String>, value: LogValue, level: Level) {
        self.records.push(LogRecord {
            key: key.into(),
            value,
            at: self.now,
            level,
        });
    }

    pub(super) fn text(&mut self, key: impl Into<String>, text: impl Into<String>) {
        self.add(key, LogValue::Text(text.into()), Level::Note);
    }

    pub(super) fn whole(&mut self, key: impl Into<String>, number: u64) {
        self.add(key, LogValue::Whole(number), Level::Note);
    }

    pub(super) fn real(&mut self, key: impl Into<String>, number: f64) {
        self.add(key, LogValue::Real(number), Level::Note);
    }

    pub(super) fn truth(&mut self, key: impl Into<String>, truth: bool) {
        self.add(key, LogValue::Truth(truth), Level::Note);
    }

    pub(super) fn error(&mut self, text: impl Into<String>) {
        let text = LogValue::Text(text.into());
        self.add("error_runtime", text, Level::Error);
    }

    fn error_count(&self) -> u64 {
        let errors = self.records.iter();
        errors.filter(|record| record.level == Level::Error).count() as u64
    }
}

/// All records of a test.
pub(super) fn records(test: &TestLog<'_>) -> Vec<LogRecord> {
    let mut journal = Journal::default();
    identity(&mut journal, test);
    settings::requested(&mut journal, test);
    settings::effective(&mut journal, test);
    let mut phase = None;
    for run in test.sets {
        journal.now = run.began;
        if phase.replace(run.set.phase) != Some(run.set.phase) {
            journal.text("generic_message", starting(test, run.set.phase));
        }
        set(&mut journal, test, run);
    }
    if let Some(summary) = test.result() {
        result(&mut journal, test, summary);
    }
    journal.records
}

pub(super) fn identity(journal: &mut Journal, test: &TestLog<'_>) {
    let version = env!("CARGO_PKG_VERSION");
    let profile = test.compat.name();
    journal.text(
        "loadgen_version",
        format!("detbench {version} @ compatibility profile {profile}"),
    );
    // Facts of a LoadGen build; this is none.
    for key in [
        "loadgen_build_date_local",
        "loadgen_build_date_utc",
        "loadgen_git_commit_date",
        "loadgen_git_log_message",
        "loadgen_git_status_message",
    ] {
        journal.text(key, "");
    }
    journal.add("loadgen_file_sha1", LogValue::Empty, Level::Note);
    journal.text("test_datetime", utc_iso(test.began));
    journal.text("sut_name", test.sut_name);
    journal.whole("get_sut_name_duration_ns", 0);
    journal.text("qsl_name", test.library_name);
    journal.whole("qsl_reported_total_count", test.total_count as u64);
    journal.whole(
        "qsl_reported_performance_count",
        test.performance_count as u64,
    );
    let test05 = test.requested.test05.then_some(TEST05_WARNING);
    for warning in test.warnings.iter().map(String::as_str).chain(test05) {
        let value = LogValue::Text(warning.to_owned());
        journal.add("warning_generic_message", value, Level::Warning);
    }
}

/// LoadGen's words.
const TEST05_WARNING: &str = "Test05 flag detected Overriding random seeds";

fn starting(test: &TestLog<'_>, phase: Phase) -> &'static str {
    match phase {
        Phase::Accuracy => "Starting accuracy mode",
        Phase::Performance if test.effective.mode == TestMode::FindPeakPerformance => {
            "Starting FindPeakPerformance mode"
        }
        Phase::Performance => "Starting performance mode",
    }
}

fn set(journal: &mut Journal, test: &TestLog<'_>, run: &SetLog<'_>) {
    loaded_set(journal, run);
    issued_set(journal, test, run);
}

pub(super) fn loaded_set(journal: &mut Journal, run: &SetLog<'_>) {
    let indices = run.set.indices.iter().map(|index| index.0).collect();
    journal.add("loaded_qsl_set", LogValue::Indices(indices), Level::Note);
}

/// What follows the loading of a set: what was generated for it, and how issuing it went.
pub(super) fn issued_set(journal: &mut Journal, test: &TestLog<'_>, run: &SetLog<'_>) {
    journal.whole("generated_query_count", run.generated.query_count);
    journal.whole(
        "generated_samples_per_query",
        run.generated.samples_per_query_reported,
    );
    journal.whole(
        "generated_query_duration",
        run.generated.duration.as_nanos(),
    );
    let summary = run.summary;
    journal.now = run.began + summary.last_issued;
    match texts::end_message(summary, run.set.phase == Phase::Accuracy) {
        None => {}
        Some(EndMessage::Note(message)) => journal.text("generic_message", message),
        Some(EndMessage::Error(message)) => journal.error(message),
    }
    journal.now = run.began + summary.elapsed;
    for error in &summary.completion_errors {
        journal.error(error.to_string());
    }
    let more = summary.completion_error_count - summary.completion_errors.len() as u64;
    if more > 0 {
        journal.error(format!("{more} more completions did not fit"));
    }
    for counter in LOGGER_COUNTERS {
        journal.whole(counter, 0);
    }
    let began = test.began + run.began.to_std();
    journal.text("power_begin", power_time(began));
    journal.text("power_end", power_time(began + summary.elapsed.to_std()));
}

pub(super) fn result(journal: &mut Journal, test: &TestLog<'_>, summary: &Summary) {
    let checks = summary.checks;
    let server = summary.scenario == Scenario::Server;
    let validity = if summary.is_valid_by_loadgen() {
        "VALID"
    } else {
        "INVALID"
    };
    journal.text("result_validity", validity);
    if server {
        journal.truth("result_perf_constraints_met", checks.latency_bound_kept);
    }
    journal.truth("result_min_duration_met", checks.min_duration_met);
    journal.truth("result_min_queries_met", checks.min_queries_met);
    journal.truth("early_stopping_met", checks.early_stopping_met);
    if !summary.is_valid_by_loadgen() {
        journal.text("result_invalid_reason", invalid_reason(summary));
    }
    let early_stopping = texts::early_stopping(summary, test.compat);
    journal.text("early_stopping_result", early_stopping.replace('\n', " "));
    journal.whole("result_query_count", summary.query_count);
    if server {
        journal.whole(
            "result_overlatency_query_count",
            summary.overlatency_count.unwrap_or(0),
        );
    }
    result_of_scenario(journal, summary);
    latencies(journal, "latency_ns", summary.latency);
    let errors = journal.error_count();
    journal.whole("num_errors", errors);
}

fn invalid_reason(summary: &Summary) -> String {
    let checks = summary.checks;
    let mut text = String::new();
    if !checks.latency_bound_kept {
        text.push_str(texts::REDUCE_RATE);
        text.push(' ');
    }
    if !checks.min_duration_met {
        text.push_str(texts::longer_run(summary.scenario));
        text.push(' ');
    }
    if !checks.min_queries_met {
        text.push_str(texts::TOO_FEW_QUERIES);
    }
    text
}

fn result_of_scenario(journal: &mut Journal, summary: &Summary) {
    let tail = |estimate: Option<Latency>| estimate.map_or(0, Latency::as_nanos);
    match summary.scenario {
        Scenario::SingleStream => {
            journal.real(
                "result_qps_with_loadgen_overhead",
                summary.rate_with_overhead(),
            );
            journal.real(
                "result_qps_without_loadgen_overhead",
                summary.rate_without_overhead(),
            );
            journal.whole(
                "early_stopping_latency_ss",
                tail(summary.early_stopping.tail_latency()),
            );
            let p99 = summary.tail_p99.and_then(|tail| tail.latency());
            journal.whole("early_stopping_latency_ms", tail(p99));
        }
        Scenario::MultiStream => {
            let queries = summary.query_latency.or(summary.latency);
            latencies_named(journal, "query_latency_ns", "per_query_latency_ns", queries);
            journal.whole(
                "early_stopping_latency_ms",
                tail(summary.early_stopping.tail_latency()),
            );
        }
        Scenario::Server => {
            journal.real("result_scheduled_samples_per_sec", summary.scheduled_rate());
            journal.real("result_completed_samples_per_sec", summary.completed_rate());
        }
        Scenario::Offline => {
            journal.real("result_samples_per_second", summary.offline_rate());
        }
    }
}

fn latencies(journal: &mut Journal, name: &str, figures: Option<LatencySummary>) {
    latencies_named(journal, name, name, figures);
}

fn latencies_named(
    journal: &mut Journal,
    name: &str,
    percentile_name: &str,
    figures: Option<LatencySummary>,
) {
    let of = |pick: fn(&LatencySummary) -> Latency| {
        figures
            .as_ref()
            .map_or(0, |figures| pick(figures).as_nanos())
    };
    journal.whole(format!("result_min_{name}"), of(|f| f.min));
    journal.whole(format!("result_max_{name}"), of(|f| f.max));
    journal.whole(format!("result_mean_{name}"), of(|f| f.mean));
    let percentiles = figures.map_or([0; 6], |figures| figures.percentiles_ns());
    for (label, ns) in PERCENTILES.into_iter().zip(percentiles) {
        journal.whole(format!("result_{label}_percentile_{percentile_name}"), ns);
    }
}

/// `11-22-2026 01:02:03.004`, UTC.
fn power_time(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_millis(at).to_string();
    let (date, time) = text.split_once('T').expect("RFC 3339 has a T");
    let (year, day) = date.split_once('-').expect("RFC 3339 has a year");
    format!("{day}-{year} {}", time.trim_end_matches('Z'))
}

/// Writes the records, each a line.
pub(super) fn write(records: &[LogRecord], process: u32, out: &mut dyn Write) -> io::Result<()> {
    for (number, record) in records.iter().enumerate() {
        write!(
            out,
            ":::MLLOG {{\"key\": {}, \"value\": ",
            quoted(&record.key)
        )?;
        write_value(&record.value, out)?;
        writeln!(
            out,
            ", \"time_ms\": {}.{:06}, \"namespace\": \"mlperf::logging\", \"event_type\": \
             \"POINT_IN_TIME\", \"metadata\": {{\"is_error\": {}, \"is_warning\": {}, \"file\": \
             \"detbench\", \"line_no\": {}, \"pid\": {process}, \"tid\": {process}}}}}",
            record.at.as_nanos() / 1_000_000,
            record.at.as_nanos() % 1_000_000,
            record.level == Level::Error,
            record.level == Level::Warning,
            number + 1,
        )?;
    }
    Ok(())
}

fn write_value(value: &LogValue, out: &mut dyn Write) -> io::Result<()> {
    match value {
        LogValue::Text(text) => out.write_all(quoted(text).as_bytes()),
        LogValue::Whole(number) => write!(out, "{number}"),
        LogValue::Real(number) if number.is_nan() => out.write_all(b"\"NaN\""),
        LogValue::Real(number) if number.is_infinite() => {
            let sign = if *number < 0.0 { "-" } else { "" };
            write!(out, "\"{sign}Infinity\"")
        }
        LogValue::Real(number) => out.write_all(general(*number).as_bytes()),
        LogValue::Truth(truth) => write!(out, "{truth}"),
        LogValue::Indices(indices) => {
            out.write_all(b"[")?;
            for (position, index) in indices.iter().enumerate() {
                let comma = if position == 0 { "" } else { "," };
                write!(out, "{comma}{index}")?;
            }
            out.write_all(b"]")
        }
        LogValue::Empty => out.write_all(b"{}"),
    }
}

/// A JSON string. LoadGen does not escape; a name with a quote would break its line, so we do.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::units::Quantile;

    #[test]
    fn power_times_are_us_dates_with_milliseconds() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(951_782_399_004);
        assert_eq!(power_time(at), "02-28-2000 23:59:59.004");
    }

    #[test]
    fn every_line_is_json_whatever_the_names_and_figures() {
        let mut journal = Journal::default();
        journal.text("sut_name", "a \"quoted\"\nname");
        journal.real("rate", f64::INFINITY);
        journal.now = Latency::from_nanos(1_504_689_185);
        journal.error("no");
        let mut out = Vec::new();
        write(&journal.records, 7, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let records: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line.strip_prefix(":::MLLOG ").unwrap()).unwrap())
            .collect();
        assert_eq!(records[0]["value"], "a \"quoted\"\nname");
        assert_eq!(records[1]["value"], "Infinity");
        assert_eq!(records[2]["metadata"]["is_error"], true);
        assert!(text.contains("\"time_ms\": 1504.689185, "));
    }

    #[test]
    fn the_percentile_names_are_those_of_the_figures() {
        let shares = [
            Quantile::P50,
            Quantile::P90,
            Quantile::P95,
            Quantile::P97,
            Quantile::P99,
            Quantile::P99_9,
        ];
        for (name, quantile) in PERCENTILES.into_iter().zip(shares) {
            assert_eq!(name, format!("{:.2}", quantile.as_share() * 100.0));
        }
    }
}
