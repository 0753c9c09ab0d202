//! `mlperf_log_summary.txt`: the page that people read.

use std::io::{self, Write};

use super::detail::{Level, LogRecord};
use super::numbers::{fixed, general};
use super::{texts, TestLog};
use crate::metrics::percentile::LatencySummary;
use crate::scenario::Scenario;
use crate::summary::Summary;
use crate::units::Latency;

const RULE: &str = "================================================";

pub(super) fn write(
    test: &TestLog<'_>,
    records: &[LogRecord],
    out: &mut dyn Write,
) -> io::Result<()> {
    if let Some(summary) = test.result() {
        headline(test, summary, out)?;
        verdict(test, summary, out)?;
        writeln!(out)?;
        banner("Additional Stats", out)?;
        additional_stats(summary, out)?;
        writeln!(out)?;
        banner("Test Parameters Used", out)?;
        parameters(test, out)?;
    }
    let count = |level: Level| {
        records
            .iter()
            .filter(|record| record.level == level)
            .count()
    };
    match count(Level::Warning) {
        0 => writeln!(out, "\nNo warnings encountered during test.")?,
        1 => writeln!(out, "\n1 warning encountered. See detailed log.")?,
        n => writeln!(out, "\n{n} warnings encountered. See detailed log.")?,
    }
    match count(Level::Error) {
        0 => writeln!(out, "\nNo errors encountered during test."),
        1 => writeln!(out, "\n1 ERROR encountered. See detailed log."),
        n => writeln!(out, "\n{n} ERRORS encountered. See detailed log."),
    }
}

fn banner(title: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{RULE}\n{title}\n{RULE}")
}

fn headline(test: &TestLog<'_>, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    banner("MLPerf Results Summary", out)?;
    writeln!(out, "SUT name : {}", test.sut_name)?;
    writeln!(out, "Scenario : {}", test.effective.scenario)?;
    writeln!(out, "Mode     : {}", test.effective.mode)?;
    match summary.scenario {
        Scenario::SingleStream | Scenario::MultiStream => writeln!(
            out,
            "{} percentile latency (ns) : {}",
            texts::percentile_label(summary.target.0, test.compat),
            summary.target.1.map_or(0, Latency::as_nanos)
        ),
        Scenario::Server => writeln!(
            out,
            "Completed samples per second    : {}",
            fixed(summary.completed_rate(), 2)
        ),
        Scenario::Offline => {
            writeln!(
                out,
                "Samples per second: {}",
                general(summary.offline_rate())
            )
        }
    }
}

fn verdict(test: &TestLog<'_>, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let checks = summary.checks;
    let yes = |kept: bool| if kept { "Yes" } else { "NO" };
    let valid = summary.is_valid_by_loadgen();
    writeln!(
        out,
        "Result is : {}",
        if valid { "VALID" } else { "INVALID" }
    )?;
    if summary.scenario == Scenario::Server {
        let kept = yes(checks.latency_bound_kept);
        writeln!(out, "  Performance constraints satisfied : {kept}")?;
    }
    let (duration, queries) = (checks.min_duration_met, checks.min_queries_met);
    writeln!(out, "  Min duration satisfied : {}", yes(duration))?;
    writeln!(out, "  Min queries satisfied : {}", yes(queries))?;
    let early_stopping = yes(checks.early_stopping_met);
    writeln!(out, "  Early stopping satisfied: {early_stopping}")?;
    if !valid {
        writeln!(out, "Recommendations:")?;
        if !checks.latency_bound_kept {
            writeln!(out, " * {}", texts::REDUCE_RATE)?;
        }
        if !duration {
            writeln!(out, " * {}", texts::longer_run(summary.scenario))?;
        }
        if !queries {
            writeln!(out, " * {}\n{}", texts::TOO_FEW_QUERIES, texts::SEE_DETAIL)?;
        }
    }
    if summary.scenario != Scenario::Offline {
        let block = texts::early_stopping(summary, test.compat);
        writeln!(out, "Early Stopping Result:\n{block}")?;
    }
    Ok(())
}

fn additional_stats(summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let figures = match summary.scenario {
        Scenario::SingleStream => {
            let (with, without) = (
                fixed(summary.rate_with_overhead(), 2),
                fixed(summary.rate_without_overhead(), 2),
            );
            writeln!(out, "QPS w/ loadgen overhead         : {with}")?;
            writeln!(out, "QPS w/o loadgen overhead        : {without}\n")?;
            summary.latency
        }
        Scenario::MultiStream => {
            writeln!(out, "Per-query latency:  ")?;
            summary.query_latency.or(summary.latency)
        }
        Scenario::Server => {
            let scheduled = fixed(summary.scheduled_rate(), 2);
            writeln!(out, "Scheduled samples per second : {scheduled}")?;
            summary.latency
        }
        Scenario::Offline => summary.latency,
    };
    let of = |pick: fn(&LatencySummary) -> Latency| {
        figures
            .as_ref()
            .map_or(0, |figures| pick(figures).as_nanos())
    };
    writeln!(out, "Min latency (ns)                : {}", of(|f| f.min))?;
    writeln!(out, "Max latency (ns)                : {}", of(|f| f.max))?;
    writeln!(out, "Mean latency (ns)               : {}", of(|f| f.mean))?;
    let names = ["50.00", "90.00", "95.00", "97.00", "99.00", "99.90"];
    let percentiles = figures.map_or([0; 6], |figures| figures.percentiles_ns());
    for (name, ns) in names.into_iter().zip(percentiles) {
        writeln!(out, "{name} percentile latency (ns)   : {ns}")?;
    }
    Ok(())
}

fn parameters(test: &TestLog<'_>, out: &mut dyn Write) -> io::Result<()> {
    let applied = test.effective;
    let ms = |span: Latency| span.as_nanos() / 1_000_000;
    let bit = u8::from;
    writeln!(out, "samples_per_query : {}", applied.samples_per_query)?;
    let rate = general(applied.target_rate.as_per_second());
    writeln!(out, "target_qps : {rate}")?;
    let bound = applied.target_latency.as_nanos();
    writeln!(out, "target_latency (ns): {bound}")?;
    writeln!(out, "max_async_queries : {}", applied.max_async_queries)?;
    writeln!(out, "min_duration (ms): {}", ms(applied.min_duration))?;
    let longest = applied.max_duration.map_or(0, ms);
    writeln!(out, "max_duration (ms): {longest}")?;
    writeln!(out, "min_query_count : {}", applied.min_query_count)?;
    let most = applied.max_query_count.unwrap_or(0);
    writeln!(out, "max_query_count : {most}")?;
    writeln!(out, "qsl_rng_seed : {}", applied.seeds.qsl)?;
    let sample_index = applied.seeds.sample_index;
    writeln!(out, "sample_index_rng_seed : {sample_index}")?;
    writeln!(out, "schedule_rng_seed : {}", applied.seeds.schedule)?;
    writeln!(out, "accuracy_log_rng_seed : {}", applied.accuracy_log_seed)?;
    let share = general(applied.accuracy_log_probability);
    writeln!(out, "accuracy_log_probability : {share}")?;
    let target = applied.accuracy_log_sampling_target;
    writeln!(out, "accuracy_log_sampling_target : {target}")?;
    writeln!(out, "print_timestamps : {}", bit(applied.print_timestamps))?;
    let unique = bit(applied.performance_issue_unique);
    writeln!(out, "performance_issue_unique : {unique}")?;
    let same = bit(applied.performance_issue_same);
    writeln!(out, "performance_issue_same : {same}")?;
    let same_index = applied.performance_issue_same_index;
    writeln!(out, "performance_issue_same_index : {same_index}")?;
    let performance = applied.performance_sample_count;
    writeln!(out, "performance_sample_count : {performance}")?;
    let accuracy = applied.accuracy_sample_count;
    writeln!(out, "accuracy_sample_count : {accuracy}")?;
    if applied.sample_concatenate_permutation {
        writeln!(
            out,
            "WARNING: sample_concatenate_permutation was set to true. \nGenerated samples per \
             query might be different as the one in the setting.\nCheck the generated_samples_per_query \
             line in the detailed log for the real\nsamples_per_query value"
        )?;
    }
    Ok(())
}
