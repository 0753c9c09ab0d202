//! Raw latencies: a CSV line for each sample, and an HdrHistogram interval log.

use std::io::{self, Write};
use std::time::SystemTime;

use super::decimal::DecimalWriter;
use crate::metrics::histogram::{
    write_interval_log, IntervalLogError, OpenIntervals, TimedLatency,
};
use crate::plan::{LoadableSet, Plan};
use crate::record::Record;
use crate::scenario::Scenario;
use crate::units::{Latency, SampleIndex};

/// Each interval of the histogram log covers this much.
const LOG_INTERVAL: Latency = Latency::from_millis(1_000);

/// Goes through the samples of a record in the order of issue, with what the plan knows of them.
///
/// Which sample was asked for, and when a Server query was scheduled, follow from the seeds: they
/// are generated again instead of having been kept.
pub(super) fn for_each_sample(
    plan: &Plan,
    set: &LoadableSet,
    record: &Record,
    mut visit: impl FnMut(Row) -> io::Result<()>,
) -> io::Result<()> {
    /// Samples of a long query that are generated at a time.
    const PART: usize = 4_096;
    let mut queries = plan.queries(set);
    let mut latencies = record.latencies();
    let mut starts = record.query_starts();
    let mut delays = record.issue_delays();
    let (mut preprocess, mut inference) = (record.preprocess(), record.inference());
    let mut postprocess = record.postprocess();
    let mut samples: Vec<SampleIndex> = Vec::new();
    let mut sample = 0;
    for query in 0..record.query_reach() {
        let Some(scheduled) = queries.begin_query() else {
            break;
        };
        if !record.was_issued(query) {
            sample += queries.samples_per_query();
            continue;
        }
        let scheduled = match plan.effective().scenario {
            Scenario::Server => scheduled,
            Scenario::Offline => Latency::ZERO,
            Scenario::SingleStream | Scenario::MultiStream => starts.next().unwrap_or_default(),
        };
        let issue_delay = delays.next().unwrap_or_default();
        loop {
            samples.clear();
            if queries.read_samples(PART, &mut samples) == 0 {
                break;
            }
            for &index in &samples {
                let Some(latency) = latencies.next() else {
                    return Ok(());
                };
                visit(Row {
                    sample,
                    query,
                    index,
                    scheduled,
                    issue_delay,
                    latency,
                    stages: [preprocess.next(), inference.next(), postprocess.next()],
                })?;
                sample += 1;
            }
        }
    }
    Ok(())
}

/// One sample of a record with what the plan knows of it.
pub(super) struct Row {
    /// Its position in the plan's set.
    pub sample: u64,
    /// Position of its query.
    pub query: u64,
    /// Which sample of the library.
    pub index: SampleIndex,
    /// When its query was scheduled, counted from the start.
    pub scheduled: Latency,
    /// How much later it was issued.
    pub issue_delay: Latency,
    /// Counted from the schedule; `None` when it was never answered.
    pub latency: Option<Latency>,
    stages: [Option<Latency>; 3],
}

/// Writes a line for each sample; a field that was not measured is empty.
///
/// # Errors
/// The system's.
pub fn write_csv(
    out: &mut dyn Write,
    plan: &Plan,
    set: &LoadableSet,
    record: &Record,
) -> io::Result<()> {
    writeln!(
        out,
        "sample_seq,query_seq,sample_idx,scheduled_ns,issue_delay_ns,latency_ns,preprocess_ns,inference_ns,postprocess_ns"
    )?;
    let mut text = DecimalWriter::new(out);
    for_each_sample(plan, set, record, |row| {
        let [preprocess, inference, postprocess] = row.stages;
        text.number(row.sample, b',')?;
        text.number(row.query, b',')?;
        text.number(u64::from(row.index.0), b',')?;
        text.number(row.scheduled.as_nanos(), b',')?;
        text.number(row.issue_delay.as_nanos(), b',')?;
        field(&mut text, row.latency, b',')?;
        field(&mut text, preprocess, b',')?;
        field(&mut text, inference, b',')?;
        field(&mut text, postprocess, b'\n')
    })?;
    text.finish()
}

#[inline]
fn field(text: &mut DecimalWriter<'_>, value: Option<Latency>, then: u8) -> io::Result<()> {
    match value {
        Some(value) => text.number(value.as_nanos(), then),
        None => text.byte(then),
    }
}

/// Writes the latencies as an HdrHistogram log with an interval a second.
///
/// # Errors
/// As [`write_interval_log`].
pub fn write_hlog(
    out: &mut dyn Write,
    plan: &Plan,
    set: &LoadableSet,
    record: &Record,
    started: SystemTime,
) -> Result<(), IntervalLogError> {
    let mut out = out;
    let last = (record.completed_count() > 0).then(|| record.elapsed());
    let offline = plan.effective().scenario == Scenario::Offline;
    write_interval_log(&mut out, started, LOG_INTERVAL, last, |intervals| {
        if offline {
            return feed_burst(record, intervals);
        }
        for_each_sample(plan, set, record, |row| {
            // Queries are scheduled in ascending order, and nothing is answered before that.
            intervals
                .close_before(row.scheduled)
                .map_err(io::Error::other)?;
            if let Some(latency) = row.latency {
                intervals.record(TimedLatency {
                    completed_after: row.scheduled + latency,
                    latency,
                });
            }
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(())
}

/// Offline answers come in any order over the whole run: they are gone through once for each part
/// of it, so that only its intervals are in memory.
fn feed_burst(record: &Record, intervals: &mut OpenIntervals<'_>) -> Result<(), IntervalLogError> {
    /// Intervals of a part.
    const PART: u64 = 64;
    let part = Latency::from_nanos(LOG_INTERVAL.as_nanos() * PART);
    let (mut from, end) = (Latency::ZERO, record.elapsed());
    while from <= end {
        let to = from + part;
        for latency in record.latencies().flatten() {
            if (from..to).contains(&latency) {
                intervals.record(TimedLatency {
                    completed_after: latency,
                    latency,
                });
            }
        }
        intervals.close_before(to)?;
        from = to;
    }
    Ok(())
}
