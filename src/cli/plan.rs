//! `detbench plan`: print what a test would load and issue, touching no model and no picture.

use std::io::{self, Write};

use clap::Args;

use super::test_args::{TestArgs, TestArgsError};
use crate::plan::{AccuracyLogSelection, Generated, LoadableSet, Phase, Plan};
use crate::scenario::Scenario;
use crate::units::{Latency, SampleIndex};

/// Version of the JSON document; it grows when a key changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

/// Samples that are read and written at a time.
const CHUNK: usize = 4096;

/// How many samples the readable plan shows of each phase.
const SHOWN: usize = 12;

/// Print what a test would load, issue and log, touching no model
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// The test.
    #[command(flatten)]
    pub test: TestArgs,
    /// Print one JSON document with every sample and every scheduled time
    #[arg(long)]
    pub json: bool,
}

/// Why the plan could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum PlanCommandError {
    /// The flags make no test.
    #[error(transparent)]
    Test(#[from] TestArgsError),
    /// The output took no more.
    #[error("the plan could not be written: {0}")]
    Write(#[from] io::Error),
}

/// Prints the plan that `args` ask for to `out`, which should be buffered.
///
/// *Complexity*: the JSON document is written as it is generated; its size costs no memory.
///
/// # Errors
/// [`PlanCommandError`] when the settings are impossible or `out` fails.
pub fn print(args: &PlanArgs, out: &mut impl Write) -> Result<(), PlanCommandError> {
    let test = args.test.read()?;
    if args.json {
        write_json(&test.plan, out)?;
    } else {
        for note in &test.notes {
            writeln!(out, "note: {note}")?;
        }
        write_text(&test.plan, args.test.total_samples, out)?;
    }
    out.flush()?;
    Ok(())
}

/// Writes the parts of a JSON list as they come.
struct List<'a, W: Write> {
    out: &'a mut W,
    empty: bool,
}

impl<'a, W: Write> List<'a, W> {
    fn open(out: &'a mut W) -> io::Result<Self> {
        out.write_all(b"[")?;
        Ok(Self { out, empty: true })
    }

    /// The writer, placed where the next element goes.
    fn element(&mut self) -> io::Result<&mut W> {
        if !std::mem::take(&mut self.empty) {
            self.out.write_all(b",")?;
        }
        Ok(self.out)
    }

    fn number(&mut self, number: u64) -> io::Result<()> {
        write!(self.element()?, "{number}")
    }

    fn close(self) -> io::Result<()> {
        self.out.write_all(b"]")
    }
}

fn write_list<W: Write>(out: &mut W, numbers: impl Iterator<Item = u64>) -> io::Result<()> {
    let mut list = List::open(out)?;
    for number in numbers {
        list.number(number)?;
    }
    list.close()
}

fn write_json(plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    let generated: Vec<Generated> = plan.sets().iter().map(|set| plan.generated(set)).collect();
    write!(
        out,
        "{{\"schema_version\":{SCHEMA_VERSION},\"compat\":\"{}\"",
        plan.compat()
    )?;
    write!(out, ",\"scenario\":\"{}\"", plan.effective().scenario)?;
    write!(out, ",\"mode\":\"{}\"", plan.effective().mode)?;
    out.write_all(b",\"loaded_sets\":")?;
    let mut sets = List::open(out)?;
    for set in plan.sets() {
        write_list(
            sets.element()?,
            set.indices.iter().map(|index| u64::from(index.0)),
        )?;
    }
    sets.close()?;
    out.write_all(b",\"generated_query_count\":")?;
    write_list(out, generated.iter().map(|set| set.query_count))?;
    out.write_all(b",\"generated_samples_per_query\":")?;
    write_list(
        out,
        generated.iter().map(|set| set.samples_per_query_reported),
    )?;
    out.write_all(b",\"generated_query_duration_ns\":")?;
    write_list(out, generated.iter().map(|set| set.duration.as_nanos()))?;
    out.write_all(b",\"stream\":")?;
    let mut stream = List::open(out)?;
    for set in plan.sets() {
        for_each_sample(plan, set, |sample| stream.number(u64::from(sample.0)))?;
    }
    stream.close()?;
    let mut lengths: Vec<u64> = generated.iter().map(|set| set.samples_per_query).collect();
    lengths.sort_unstable();
    lengths.dedup();
    out.write_all(b",\"query_lengths\":")?;
    write_list(out, lengths.into_iter())?;
    out.write_all(b",\"schedule_ns\":")?;
    let mut schedules = List::open(out)?;
    for set in plan.sets() {
        let mut queries = plan.queries(set);
        let times = std::iter::from_fn(|| queries.begin_query()).map(Latency::as_nanos);
        write_list(schedules.element()?, times)?;
    }
    schedules.close()?;
    write_accuracy_log(plan, out)?;
    out.write_all(b"}\n")
}

/// Samples come in the order of their ids, so that the list is sorted by itself.
fn write_accuracy_log(plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    out.write_all(b",\"accuracy_log\":")?;
    let mut selection = AccuracyLogSelection::new(plan);
    let mut entries = List::open(out)?;
    let mut id = 0_u64;
    for set in plan.sets() {
        selection.begin_set(set);
        for_each_sample(plan, set, |sample| {
            if selection.keeps_next() {
                write!(entries.element()?, "[{id},{}]", sample.0)?;
            }
            id += 1;
            Ok(())
        })?;
    }
    entries.close()
}

/// Calls `visit` with every generated sample of `set` in the order of ids.
fn for_each_sample(
    plan: &Plan,
    set: &LoadableSet,
    mut visit: impl FnMut(SampleIndex) -> io::Result<()>,
) -> io::Result<()> {
    let mut queries = plan.queries(set);
    let mut chunk = Vec::with_capacity(CHUNK);
    while queries.begin_query().is_some() {
        while queries.read_samples(CHUNK, &mut chunk) > 0 {
            for sample in chunk.drain(..) {
                visit(sample)?;
            }
        }
    }
    Ok(())
}

fn write_text(plan: &Plan, total: usize, out: &mut impl Write) -> io::Result<()> {
    let effective = plan.effective();
    let rate = effective.target_rate.as_per_second();
    writeln!(out, "{} {}", effective.scenario, effective.mode)?;
    let mut row = |name: &str, value: String| writeln!(out, "  {name:<22}{value}");
    row("streams of", format!("LoadGen {}", plan.compat()))?;
    row(
        "library",
        format!(
            "{total} samples, {} loaded at a time",
            effective.performance_sample_count
        ),
    )?;
    row("samples per query", effective.samples_per_query.to_string())?;
    match effective.scenario {
        Scenario::Server => {
            row("target rate", format!("{rate} queries/s"))?;
            row(
                "latency limit",
                format!(
                    "{} at {}",
                    effective.target_latency, effective.target_quantile
                ),
            )?;
        }
        Scenario::Offline => row("expected rate", format!("{rate} samples/s"))?,
        Scenario::SingleStream | Scenario::MultiStream => {
            row("expected rate", format!("{rate} queries/s"))?;
            row("reported percentile", effective.target_quantile.to_string())?;
        }
    }
    row("minimum duration", effective.min_duration.to_string())?;
    row("minimum queries", effective.min_query_count.to_string())?;
    row("minimum samples", effective.min_sample_count.to_string())?;
    for phase in [Phase::Accuracy, Phase::Performance] {
        write_phase(plan, phase, out)?;
    }
    Ok(())
}

/// Totals of one phase, if the test has it.
fn write_phase(plan: &Plan, phase: Phase, out: &mut impl Write) -> io::Result<()> {
    let sets: Vec<&LoadableSet> = plan
        .sets()
        .iter()
        .filter(|set| set.phase == phase)
        .collect();
    let Some(first) = sets.first() else {
        return Ok(());
    };
    let generated: Vec<Generated> = sets.iter().map(|set| plan.generated(set)).collect();
    let queries: u64 = generated.iter().map(|set| set.query_count).sum();
    let samples: u64 = generated.iter().map(Generated::sample_count).sum();
    let name = match phase {
        Phase::Accuracy => "accuracy",
        Phase::Performance => "performance",
    };
    writeln!(out, "{name}")?;
    let mut row = |name: &str, value: String| writeln!(out, "  {name:<22}{value}");
    row("loaded sets", sets.len().to_string())?;
    row("prepared queries", queries.to_string())?;
    row("prepared samples", samples.to_string())?;
    row(
        "expected duration",
        expected_duration(plan, phase, &generated).to_string(),
    )?;
    let mut start = Vec::new();
    let mut stream = plan.queries(first);
    while start.len() < SHOWN && stream.begin_query().is_some() {
        stream.read_samples(SHOWN - start.len(), &mut start);
    }
    let listed: Vec<String> = start.iter().map(|index| index.0.to_string()).collect();
    let more = if samples > start.len() as u64 {
        " ..."
    } else {
        ""
    };
    row("first samples", format!("{}{more}", listed.join(" ")))
}

/// How long the phase takes if the settings are right about the system: Server follows its
/// schedule, Offline goes at its expected rate, a performance run of the others ends at its minimum
/// and an accuracy run when all is asked for.
fn expected_duration(plan: &Plan, phase: Phase, generated: &[Generated]) -> Latency {
    let effective = plan.effective();
    let rate = effective.target_rate.as_per_second();
    match (effective.scenario, phase) {
        (Scenario::Offline, _) => {
            let samples: u64 = generated.iter().map(Generated::sample_count).sum();
            Latency::from_secs_f64(samples as f64 / rate)
        }
        (Scenario::SingleStream | Scenario::MultiStream, Phase::Performance) => {
            let minimum = Latency::from_secs_f64(effective.min_query_count as f64 / rate);
            minimum.max(effective.target_duration)
        }
        (Scenario::Server, _)
        | (Scenario::SingleStream | Scenario::MultiStream, Phase::Accuracy) => generated
            .iter()
            .fold(Latency::ZERO, |sum, set| sum + set.duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        plan: PlanArgs,
    }

    fn printed(arguments: &str) -> Result<String, PlanCommandError> {
        let words = std::iter::once("plan").chain(arguments.split_whitespace());
        let mut out = Vec::new();
        print(
            &Cli::try_parse_from(words).expect("arguments").plan,
            &mut out,
        )?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn one_set_flag_takes_several_settings_and_the_last_one_wins() {
        let cli = Cli::try_parse_from([
            "plan",
            "--scenario",
            "Server",
            "--total-samples",
            "9",
            "--round",
            "v6.1",
            "--set",
            "min_query_count=7",
            "min_duration_ms=5",
            "--set",
            "min_query_count=8",
            "qsl_rng_seed=3",
        ])
        .unwrap();
        let settings = cli.plan.test.read().unwrap().settings;
        assert_eq!((settings.min_query_count, settings.min_duration_ms), (8, 5));
        assert_eq!(settings.qsl_rng_seed, 3);
        assert_eq!(settings.schedule_rng_seed, 16_159_082_839_903_944_936);
    }

    #[test]
    fn the_readable_plan_names_totals_and_duration() {
        let text = printed(
            "--scenario SingleStream --total-samples 64 --performance-samples 16 \
             --mode SubmissionRun --set min_duration_ms=0 min_query_count=300",
        );
        insta::assert_snapshot!(text.unwrap(), @r"
        SingleStream SubmissionRun
          streams of            LoadGen v6
          library               64 samples, 16 loaded at a time
          samples per query     1
          expected rate         1000 queries/s
          reported percentile   p90
          minimum duration      0 ns
          minimum queries       300
          minimum samples       300
        accuracy
          loaded sets           4
          prepared queries      64
          prepared samples      64
          expected duration     64.0 ms
          first samples         27 20 51 60 34 18 56 21 4 24 53 8 ...
        performance
          loaded sets           1
          prepared queries      300
          prepared samples      300
          expected duration     300 ms
          first samples         11 7 4 7 13 5 15 10 10 2 9 6 ...
        ");
    }

    #[test]
    fn the_json_plan_is_one_document() {
        let text = printed(
            "--scenario Server --total-samples 3 --performance-samples 2 --mode SubmissionRun \
             --set min_duration_ms=0 min_query_count=4 accuracy_log_probability=1 --json",
        );
        insta::assert_snapshot!(text.unwrap(), @r#"{"schema_version":1,"compat":"v6","scenario":"Server","mode":"SubmissionRun","loaded_sets":[[2,1],[0],[0,1]],"generated_query_count":[2,1,4],"generated_samples_per_query":[1,1,1],"generated_query_duration_ns":[2758164601,898560388,6588673992],"stream":[2,1,0,1,1,1,1],"query_lengths":[1],"schedule_ns":[[0,898560388],[0],[0,898560388,2758164601,4709709937]],"accuracy_log":[[0,2],[1,1],[2,0],[3,1],[4,1],[5,1],[6,1]]}"#);
    }

    #[test]
    fn an_impossible_plan_says_which_setting_to_change() {
        for (arguments, expected) in [
            ("--set min_query_cuont=1", "did you mean `min_query_count`"),
            (
                "--set server_target_qps=0",
                "`server_target_qps` cannot be `0`",
            ),
            ("--set min_query_count", "KEY=VALUE"),
            ("--round v9", "`v9`"),
            (
                "--set performance_issue_same=true performance_issue_same_index=9",
                "below that",
            ),
            (
                "--set min_query_count=0 min_duration_ms=0",
                "ask for no query",
            ),
            ("--set server_target_qps=1e9", "at most 2^32"),
        ] {
            let arguments = format!("--scenario Server --total-samples 9 {arguments}");
            let error = printed(&arguments).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
