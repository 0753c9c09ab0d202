//! Raw latencies: a CSV line for each sample, and an HdrHistogram interval log.

use std::io::{self, Write};
use std::time::SystemTime;

use super::decimal::{Column, DecimalWriter};
use super::folder::{FolderError, RunFolder};
use crate::metrics::histogram::{
    write_interval_log, IntervalLogError, OpenIntervals, TimedLatency,
};
use crate::plan::{LoadableSet, Plan};
use crate::record::Record;
use crate::scenario::Scenario;
use crate::units::{Latency, SampleIndex};

/// The latency of every sample.
pub const CSV_FILE: &str = "latencies.csv";

/// Their histogram, second by second.
pub const HLOG_FILE: &str = "latencies.hlog";

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

/// Writes the latency of every sample as CSV, and their histogram second by second as an
/// HdrHistogram log, in one go: to generate the queries again is what costs most of it.
///
/// # Errors
/// [`FolderError::Write`].
pub fn write_files(
    folder: &RunFolder,
    plan: &Plan,
    set: &LoadableSet,
    record: &Record,
    started: SystemTime,
) -> Result<(), FolderError> {
    folder.write(CSV_FILE, |csv| {
        let both = |hlog: &mut dyn Write| {
            write_both(csv, hlog, plan, set, record, started).map_err(|error| match error {
                IntervalLogError::Io(error) => error,
                other => io::Error::other(other),
            })
        };
        folder.write(HLOG_FILE, both).map_err(io::Error::other)
    })
}

fn write_both(
    csv: &mut dyn Write,
    hlog: &mut dyn Write,
    plan: &Plan,
    set: &LoadableSet,
    record: &Record,
    started: SystemTime,
) -> Result<(), IntervalLogError> {
    let mut hlog = hlog;
    if record.completed_count() == 0 {
        write_csv(csv, plan, set, record)?;
        write_interval_log(&mut hlog, started, LOG_INTERVAL, None, |_| Ok(()))?;
        return Ok(());
    }
    let offline = plan.effective().scenario == Scenario::Offline;
    let last = Some(record.elapsed());
    let mut lines = Lines::begin(csv)?;
    write_interval_log(&mut hlog, started, LOG_INTERVAL, last, |intervals| {
        for_each_sample(plan, set, record, |row| {
            lines.line(&row)?;
            if offline {
                return Ok(());
            }
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
        lines.text.finish()?;
        if offline {
            feed_burst(record, intervals)?;
        }
        Ok(())
    })?;
    Ok(())
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
    let mut lines = Lines::begin(out)?;
    for_each_sample(plan, set, record, |row| lines.line(&row))?;
    lines.text.finish()
}

/// The CSV under way.
struct Lines<'a> {
    text: DecimalWriter<'a>,
    columns: [Column; 9],
}

impl<'a> Lines<'a> {
    fn begin(out: &'a mut dyn Write) -> io::Result<Self> {
        out.write_all(
            b"sample_seq,query_seq,sample_idx,scheduled_ns,issue_delay_ns,latency_ns,\
              preprocess_ns,inference_ns,postprocess_ns\n",
        )?;
        Ok(Self {
            text: DecimalWriter::new(out),
            columns: Default::default(),
        })
    }

    #[inline]
    fn line(&mut self, row: &Row) -> io::Result<()> {
        let Self { text, columns } = self;
        let [sample, query, index, scheduled, delay, latency, made, inferred, processed] = columns;
        let [preprocess, inference, postprocess] = row.stages;
        text.begin_line()?;
        text.number(sample, row.sample, b',');
        text.number(query, row.query, b',');
        text.number(index, u64::from(row.index.0), b',');
        text.number(scheduled, row.scheduled.as_nanos(), b',');
        text.number(delay, row.issue_delay.as_nanos(), b',');
        field(text, latency, row.latency, b',');
        field(text, made, preprocess, b',');
        field(text, inferred, inference, b',');
        field(text, processed, postprocess, b'\n');
        Ok(())
    }
}

#[inline]
fn field(text: &mut DecimalWriter<'_>, column: &mut Column, value: Option<Latency>, then: u8) {
    match value {
        Some(value) => text.number(column, value.as_nanos(), then),
        None => text.byte(then),
    }
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
