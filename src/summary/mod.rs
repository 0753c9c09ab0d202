//! Stage 7: facts to figures and a verdict.
//!
//! *In*: a finished [`Record`] and the effective settings. *Out*: a [`Summary`]. The rules are
//! LoadGen's: which moment the minimum duration is measured at, which percentile is judged,
//! how many queries the early-stopping test asks for.

mod rates;
mod verdict;

pub use rates::{LateIssue, ISSUE_DELAY_SHARE};
pub use verdict::{Checks, Reason, Verdict};

use serde::Serialize;

use crate::drive::Ending;
use crate::metrics::early_stopping::{self, OverlatencyVerdict, TailEstimate};
use crate::metrics::percentile::{percentile_of_sorted, LatencySummary};
use crate::plan::effective::EffectiveSettings;
use crate::record::{CompletionError, Record};
use crate::scenario::Scenario;
use crate::units::{Latency, Quantile};

/// What a run showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Which scenario.
    pub scenario: Scenario,
    /// Queries issued.
    pub query_count: u64,
    /// Samples issued.
    pub sample_count: u64,
    /// Samples answered.
    pub completed_count: u64,
    /// From the start to the last answer.
    pub elapsed: Latency,
    /// From the start to the scheduled moment of the last query.
    pub last_scheduled: Latency,
    /// From the start to the issue of the last query.
    pub last_issued: Latency,
    /// From the start to the answer of the last sample issued; `None` when it never came.
    pub last_answered: Option<Latency>,
    /// Answered samples over elapsed time.
    pub samples_per_second: Option<f64>,
    /// Latency of the samples; `None` when none was answered.
    pub latency: Option<LatencySummary>,
    /// Latency of whole queries, where a query has several samples and they were all answered.
    pub query_latency: Option<LatencySummary>,
    /// The percentile that the scenario is judged by, and its latency.
    pub target: (Quantile, Option<Latency>),
    /// The latency bound of a Server run.
    pub latency_bound: Option<Latency>,
    /// Samples over the latency bound.
    pub overlatency_count: Option<u64>,
    /// Where the time went.
    pub stages: Option<StageSummary>,
    /// How late the generator itself was, for Server.
    pub issue_delay: Option<LatencySummary>,
    /// What the early-stopping test says.
    pub early_stopping: EarlyStopping,
    /// SingleStream also estimates the 99th percentile; it is told and not judged.
    pub tail_p99: Option<TailEstimate>,
    /// How the run came to its end.
    pub ending: Ending,
    /// LoadGen's conditions of a valid run.
    pub checks: Checks,
    /// Whether the run kept the rules.
    pub verdict: Verdict,
    /// The first answers that did not fit what was issued.
    pub completion_errors: Vec<CompletionError>,
    /// How many such answers came.
    pub completion_error_count: u64,
}

/// Where the time of the samples went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StageSummary {
    /// Latency less all other stages: waiting, and being handed over.
    pub queue: LatencySummary,
    /// Decoding and resizing, when they were inside the timed region.
    pub preprocess: Option<LatencySummary>,
    /// The inference that carried the sample.
    pub inference: LatencySummary,
    /// Box decoding and NMS.
    pub postprocess: LatencySummary,
}

/// The early-stopping test at 99 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum EarlyStopping {
    /// Offline has no such test.
    NotApplicable,
    /// SingleStream and MultiStream: a conservative estimate of the percentile.
    Tail(TailEstimate),
    /// Server: enough queries within the bound for the share that was over it.
    Overlatency(OverlatencyVerdict),
}

impl EarlyStopping {
    /// The conservative estimate of a closed loop's percentile, when the run sufficed for one.
    pub fn tail_latency(&self) -> Option<Latency> {
        match self {
            Self::Tail(estimate) => estimate.latency(),
            Self::NotApplicable | Self::Overlatency(_) => None,
        }
    }

    /// Whether the run had queries enough.
    pub fn is_met(&self) -> bool {
        match self {
            Self::NotApplicable => true,
            Self::Tail(estimate) => estimate.is_met(),
            Self::Overlatency(verdict) => verdict.is_met(),
        }
    }
}

/// The rules that a run is judged by beyond its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// Whether a failed early-stopping test makes the run invalid, as it does under MLPerf.
    pub early_stopping_required: bool,
    /// Whether the minimum duration and query count are required.
    pub minimums_required: bool,
}

impl Rules {
    /// MLPerf's.
    pub const MLPERF: Self = Self {
        early_stopping_required: true,
        minimums_required: true,
    };
}

/// Turns the facts of a run into its summary.
pub fn conclude(
    record: Record,
    settings: &EffectiveSettings,
    ending: Ending,
    rules: Rules,
) -> Summary {
    let stages = stage_summary(&record);
    // Offline's one query leaves at the start; how late its first sample was tells nothing.
    let server = settings.scenario == Scenario::Server;
    let issue_delay = server.then(|| column(record.issue_delays())).flatten();
    let query_latency = query_latencies(&record);
    let sorted_queries = query_latency.as_deref();
    let (query_count, sample_count) = (record.query_count(), record.sample_count());
    let completed_count = record.completed_count();
    let elapsed = record.elapsed();
    let (last_scheduled, last_issued) = (record.last_scheduled(), record.last_issued());
    let last_answered = last_answered(&record);
    let (completion_errors, completion_error_count) = record.completion_errors();
    let completion_errors = completion_errors.to_vec();
    let sorted = record.into_sorted_latencies();

    let judged = sorted_queries.unwrap_or(&sorted);
    let bound = (settings.scenario == Scenario::Server).then_some(settings.target_latency);
    let over = bound.map(|bound| {
        let within = sorted.partition_point(|&ns| ns <= bound.as_nanos());
        (sorted.len() - within) as u64
    });
    let mut summary = Summary {
        scenario: settings.scenario,
        query_count,
        sample_count,
        completed_count,
        elapsed,
        last_scheduled,
        last_issued,
        last_answered,
        samples_per_second: (elapsed > Latency::ZERO && completed_count > 0)
            .then(|| completed_count as f64 / elapsed.as_secs_f64()),
        latency: LatencySummary::from_sorted(&sorted),
        query_latency: sorted_queries.and_then(LatencySummary::from_sorted),
        target: (
            settings.target_quantile,
            percentile_of_sorted(judged, settings.target_quantile),
        ),
        latency_bound: bound,
        overlatency_count: over,
        stages,
        issue_delay,
        early_stopping: early_stopping(settings, judged, over),
        tail_p99: (settings.scenario == Scenario::SingleStream)
            .then(|| TailEstimate::from_sorted(&sorted, Quantile::P99)),
        ending,
        checks: Checks::default(),
        verdict: Verdict::Valid,
        completion_errors,
        completion_error_count,
    };
    summary.checks = Checks::of(&summary, settings);
    summary.verdict = verdict::judge(&summary, settings, ending, rules);
    summary
}

/// The sample issued last belongs to the query issued last, whose scheduled time is kept.
fn last_answered(record: &Record) -> Option<Latency> {
    let latency = record.last_latency()?;
    Some(record.last_scheduled() + latency)
}

fn early_stopping(
    settings: &EffectiveSettings,
    sorted: &[u64],
    over: Option<u64>,
) -> EarlyStopping {
    let quantile = settings.target_quantile;
    match settings.scenario {
        Scenario::Offline => EarlyStopping::NotApplicable,
        Scenario::SingleStream | Scenario::MultiStream => {
            EarlyStopping::Tail(TailEstimate::from_sorted(sorted, quantile))
        }
        Scenario::Server => EarlyStopping::Overlatency(early_stopping::OverlatencyVerdict::new(
            sorted.len() as u64,
            over.unwrap_or(0),
            quantile,
        )),
    }
}

/// The latency of each query of a MultiStream run (its last answer), sorted; `None` for other
/// scenarios. A query that lost an answer has no latency.
fn query_latencies(record: &Record) -> Option<Vec<u64>> {
    let size = record.samples_per_query() as usize;
    if size <= 1 || !record.keep().schedule {
        return None;
    }
    let mut queries = Vec::with_capacity(record.query_count() as usize);
    let mut latencies = record.latencies();
    while latencies.len() > 0 {
        let (mut longest, mut is_whole) = (0, true);
        // Every answer is taken, also behind a missing one: the next query begins after them.
        for latency in latencies.by_ref().take(size) {
            is_whole &= latency.is_some();
            longest = longest.max(latency.map_or(0, Latency::as_nanos));
        }
        if is_whole {
            queries.push(longest);
        }
    }
    queries.sort_unstable();
    Some(queries)
}

fn stage_summary(record: &Record) -> Option<StageSummary> {
    if !record.keep().stages {
        return None;
    }
    let has_preprocess = record.keep().preprocess;
    let mut preprocess = record.preprocess();
    let mut queue = Vec::with_capacity(record.completed_count() as usize);
    let mut spent = [Vec::new(), Vec::new(), Vec::new()];
    let times = record.inference().zip(record.postprocess());
    for (latency, (inference, postprocess)) in record.latencies().zip(times) {
        let made = preprocess.next().unwrap_or(Latency::ZERO);
        let Some(latency) = latency else { continue };
        queue.push((latency - inference - postprocess - made).as_nanos());
        spent[0].push(inference.as_nanos());
        spent[1].push(postprocess.as_nanos());
        if has_preprocess {
            spent[2].push(made.as_nanos());
        }
    }
    let [mut inference, mut postprocess, mut made] = spent;
    Some(StageSummary {
        queue: LatencySummary::from_unsorted(&mut queue)?,
        preprocess: LatencySummary::from_unsorted(&mut made),
        inference: LatencySummary::from_unsorted(&mut inference)?,
        postprocess: LatencySummary::from_unsorted(&mut postprocess)?,
    })
}

fn column(values: impl Iterator<Item = Latency>) -> Option<LatencySummary> {
    let mut values: Vec<u64> = values.map(Latency::as_nanos).collect();
    LatencySummary::from_unsorted(&mut values)
}

#[cfg(test)]
mod tests;
