//! `mlperf_log_trace.json`: every sample as a span, for Chrome's trace viewer and its like.

use std::io::{self, Write};
use std::time::SystemTime;

use crate::plan::{LoadableSet, Plan};
use crate::record::Record;
use crate::report::raw::for_each_sample;
use crate::scenario::Scenario;
use crate::units::{Latency, SampleId};

/// One set of a test, to be traced.
pub struct TracedSet<'a> {
    /// The plan that it belongs to.
    pub plan: &'a Plan,
    /// The set.
    pub set: &'a LoadableSet,
    /// What was recorded of it.
    pub record: &'a Record,
    /// Number of its first sample.
    pub first_sample: SampleId,
    /// Number of its first query.
    pub first_query: u64,
    /// When its first query could leave, counted from the beginning of the test.
    pub began: Latency,
}

/// Writes the spans of `sets`; times are microseconds since the beginning of the test.
///
/// A sample that was never answered has no span.
///
/// # Errors
/// The system's.
pub fn write(
    sets: &[TracedSet<'_>],
    began: SystemTime,
    process: u32,
    out: &mut dyn Write,
) -> io::Result<()> {
    out.write_all(b"{\"traceEvents\":[\n")?;
    for traced in sets {
        write_set(traced, process, out)?;
    }
    let since_epoch = began
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos() as u64;
    writeln!(
        out,
        "{{\"name\":\"LastTrace\"}}\n],\n\"displayTimeUnit\":\"ns\",\n\"otherData\":{{\n\"ts\":{},\n\
         \"version\":\"detbench {}\"\n}}\n}}",
        micros(since_epoch),
        env!("CARGO_PKG_VERSION")
    )
}

fn write_set(traced: &TracedSet<'_>, process: u32, out: &mut dyn Write) -> io::Result<()> {
    let server = traced.plan.effective().scenario == Scenario::Server;
    for_each_sample(traced.plan, traced.set, traced.record, |row| {
        let Some(latency) = row.latency else {
            return Ok(());
        };
        let id = u64::from(traced.first_sample.0) + row.sample;
        let scheduled = (traced.began + row.scheduled).as_nanos();
        let (delay, latency) = (row.issue_delay.as_nanos(), latency.as_nanos());
        if server {
            writeln!(
                out,
                "{{\"name\":\"Latency\",\"ph\": \"C\",\"pid\":{process},\"ts\":{},\"args\":{{ \
                 \"issue_delay\":{delay},\"issue_to_done\":{}}}}},",
                micros(scheduled),
                latency.saturating_sub(delay)
            )?;
        }
        writeln!(
            out,
            "{{\"name\":\"Sample\",\"cat\":\"default\",\"ph\":\"b\",\"pid\":{process},\"id\":{id},\
             \"ts\":{},\"args\":{{\"sample_seq\":{id},\"query_seq\":{},\"sample_idx\":{},\
             \"issue_start_ns\":{delay},\"complete_ns\":{latency}}}}},",
            micros(scheduled),
            traced.first_query + row.query,
            row.index.0
        )?;
        writeln!(
            out,
            "{{\"name\":\"Sample\",\"cat\":\"default\",\"ph\":\"e\", \"pid\":{process},\"id\":{id},\
             \"ts\":{}}},",
            micros(scheduled + latency)
        )
    })
}

fn micros(ns: u64) -> String {
    format!("{}.{:03}", ns / 1_000, ns % 1_000)
}
