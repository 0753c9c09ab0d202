//! `detbench simulate`: a whole test against a simulated system on virtual time.
//!
//! The same plan, issue loop, record, conclusions and logs as a real run; only the clock and the
//! system differ. Files carry the time of the virtual clock, which begins at the Unix epoch, so that
//! the same flags give the same bytes. Nothing of ONNX Runtime, a model, pictures or the network is
//! touched.

mod answers;
mod args;
mod loadgen_peak;
mod peak;

use std::time::SystemTime;

use serde_json::json;

pub use self::args::SimulateArgs;

use self::answers::Noted;
use super::failure::{Blame, Failure, Outcome};
use super::interrupt::{is_interrupted, INTERRUPTED};
use super::test_args::Test;
use super::{print_json, print_out};
use crate::clock::Simulated as SimulatedClock;
use crate::drive::{run_set, Control, Stand, Tells, NO_PROGRESS_LIMIT};
use crate::plan::{AccuracyLogSelection, FirstIds, Generated, LoadableSet, Phase};
use crate::record::Record;
use crate::report::document::{Document, RunEntry, SCHEMA_VERSION};
use crate::report::folder::RunFolder;
use crate::report::mlperf::accuracy::{self, AccuracyAnswer};
use crate::report::mlperf::trace::{self, TracedSet};
use crate::report::mlperf::{SetLog, TestLog, ACCURACY_FILE, TRACE_FILE};
use crate::report::{raw, table};
use crate::scenario::TestMode;
use crate::summary::{conclude, Rules, Summary};
use crate::sut::simulated::Simulated;
use crate::sut::SystemUnderTest;
use crate::units::{Latency, Timestamp};

/// When every simulated test begins, and whose process it is: nobody's.
const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;
const NO_PROCESS: u32 = 0;

/// What `run.json` calls the model of a simulated run.
const MODEL: &str = "simulated";

/// Runs the verb.
///
/// # Errors
/// [`Failure`] for flags that make no test, and when the run folder cannot be written.
pub fn run(args: &SimulateArgs) -> Result<Outcome, Failure> {
    let mut test = args.test.read().or_usage()?;
    let threads = test.plan.effective().issue_threads();
    if threads > 1 {
        test.notes.push(format!(
            "virtual time has one issuing loop: `server_num_issue_query_threads` = {threads} changes \
             nothing here"
        ));
    }
    let simulation = args.simulation().or_usage()?;
    if let Some(ask) = args.peak.ask(args.test.scenario)? {
        return peak::run(args, &ask, test, &simulation);
    }
    if test.mode == TestMode::FindPeakPerformance {
        return loadgen_peak::run(args, &test, &simulation);
    }
    let clock = SimulatedClock::new();
    let mut sut = Simulated::new(clock.clone(), simulation);
    let name = format!("{MODEL}-{}", test.plan.effective().scenario);
    let folder = RunFolder::create(&args.output_dir, &name, SystemTime::now()).or_environment()?;

    let simulated = Run {
        args,
        test: &test,
        folder: &folder,
        clock: &clock,
        sut_name: sut.name().to_owned(),
    };
    let shown = simulated.sets(&mut sut)?;
    simulated.write_logs(&shown)?;
    let entry = simulated.entry(&shown);
    simulated.write_run(entry.as_ref())?;
    simulated.report(entry.as_ref(), &shown)?;
    Ok(match &entry {
        _ if is_interrupted() => Outcome::Interrupted,
        Some(entry) if entry.valid == Some(false) => Outcome::CriterionFailed,
        _ if shown.iter().any(|set| set.summary.outstanding() > 0) => Outcome::CriterionFailed,
        _ => Outcome::Done,
    })
}

/// One simulated test.
struct Run<'a> {
    args: &'a SimulateArgs,
    test: &'a Test,
    folder: &'a RunFolder,
    clock: &'a SimulatedClock,
    sut_name: String,
}

/// What one set showed.
struct Shown<'a> {
    set: &'a LoadableSet,
    generated: Generated,
    began: Latency,
    summary: Summary,
    answers: Vec<AccuracyAnswer>,
}

impl Shown<'_> {
    fn log(&self) -> SetLog<'_> {
        SetLog {
            set: self.set,
            generated: self.generated,
            began: self.began,
            summary: &self.summary,
        }
    }
}

impl Run<'_> {
    /// Runs the sets one after the other.
    fn sets(&self, sut: &mut Simulated) -> Result<Vec<Shown<'_>>, Failure> {
        let plan = &self.test.plan;
        let mut selection = AccuracyLogSelection::new(plan);
        let mut shown = Vec::new();
        for (set, first) in plan.sets().iter().zip(plan.first_ids()) {
            let generated = plan.generated(set);
            let mut noted = Noted::new(sut, &mut selection, set, generated, first.sample);
            let mut stand = Stand {
                sut: &mut noted,
                tells: Tells {
                    stages: true,
                    preprocess: false,
                },
                clock: self.clock,
                control: Control {
                    interrupted: &INTERRUPTED,
                    no_progress_limit: NO_PROGRESS_LIMIT,
                },
                observe: &mut |_| {},
            };
            let (record, ending) = run_set(plan, set, first.sample, &mut stand);
            let answers = noted.answers;
            let ending = ending.or_environment()?;
            let began = record.start().since(Timestamp::ZERO);
            if set.phase == Phase::Performance {
                self.write_raw(set, first, began, &record)?;
            }
            let summary = conclude(record, plan.effective(), ending, Rules::MLPERF);
            shown.push(Shown {
                set,
                generated,
                began,
                summary,
                answers,
            });
        }
        Ok(shown)
    }

    fn write_raw(
        &self,
        set: &LoadableSet,
        first: FirstIds,
        began: Latency,
        record: &Record,
    ) -> Result<(), Failure> {
        let plan = &self.test.plan;
        self.folder
            .write("latencies.csv", |out| {
                raw::write_csv(out, plan, set, record)
            })
            .or_environment()?;
        if !self.args.trace {
            return Ok(());
        }
        let traced = TracedSet {
            plan,
            set,
            record,
            first_sample: first.sample,
            first_query: first.query,
            began,
        };
        self.folder
            .write(TRACE_FILE, |out| {
                trace::write(&[traced], EPOCH, NO_PROCESS, out)
            })
            .or_environment()
    }

    fn write_logs(&self, shown: &[Shown<'_>]) -> Result<(), Failure> {
        let args = &self.args.test;
        let sets: Vec<SetLog<'_>> = shown.iter().map(Shown::log).collect();
        TestLog {
            sut_name: &self.sut_name,
            library_name: "simulated",
            total_count: args.total_samples,
            performance_count: args.performance_samples.unwrap_or(args.total_samples),
            requested_mode: self.test.mode,
            requested: &self.test.settings,
            effective: self.test.plan.effective(),
            compat: self.test.plan.compat(),
            began: EPOCH,
            process: NO_PROCESS,
            warnings: &self.test.warnings,
            sets: &sets,
        }
        .write(self.folder)
        .or_environment()?;
        let answers = shown.iter().flat_map(|set| set.answers.iter().cloned());
        self.folder
            .write(ACCURACY_FILE, |out| accuracy::write(answers, out))
            .or_environment()
    }

    /// The entry of the performance part, if there was one.
    fn entry(&self, shown: &[Shown<'_>]) -> Option<RunEntry> {
        let last = shown.last()?;
        (last.set.phase == Phase::Performance).then(|| {
            let effective = self.test.plan.effective();
            let mut entry = RunEntry::new(MODEL, MODEL, None).with_summary(
                &last.summary,
                effective,
                Rules::MLPERF,
            );
            entry.folder = Some(".".to_owned());
            entry
        })
    }

    fn write_run(&self, entry: Option<&RunEntry>) -> Result<(), Failure> {
        let args = self.args;
        let document = json!({
            "schema_version": SCHEMA_VERSION,
            "simulated": true,
            "complete": !is_interrupted(),
            "sut_name": self.sut_name,
            "detbench_version": env!("CARGO_PKG_VERSION"),
            "compat": self.test.plan.compat().name(),
            "simulation": {
                "service": format!("{:?}", args.service),
                "servers": args.servers,
                "batch_size": args.sim_batch_size,
                "issue_cost_ns": args.issue_cost.map_or(0, |cost| cost.0.as_nanos()),
                "stall": args.stall.map(|stall| format!("{stall:?}")),
                "lost_samples": args.lose,
                "duplicated_samples": args.duplicate,
                "seed": args.seed,
            },
            "settings": self.test.plan.effective(),
            "requested_settings": self.test.settings,
            "notes": self.test.notes,
            "runs": entry.into_iter().collect::<Vec<_>>(),
        });
        self.folder
            .write_json("run.json", &document)
            .or_environment()
    }

    fn report(&self, entry: Option<&RunEntry>, shown: &[Shown<'_>]) -> Result<(), Failure> {
        if self.args.json {
            let document = Document {
                schema_version: SCHEMA_VERSION,
                complete: !is_interrupted(),
                runs: entry.cloned().into_iter().collect(),
            };
            return print_json(&document);
        }
        let mut lines = vec![format!(
            "{} on virtual time; nothing was measured\n",
            self.sut_name
        )];
        if let Some(entry) = entry {
            lines.push(table::runs(std::slice::from_ref(entry)));
            let peak = entry.peak.iter();
            lines.extend(peak.map(|peak| peak.text("Peak").trim_end().to_owned()));
            lines.extend(entry.notes.iter().map(|note| format!("note: {note}.")));
            let reasons = entry.invalid_reasons.iter();
            lines.extend(reasons.map(|reason| format!("INVALID: {reason}.")));
        } else {
            let samples: u64 = shown.iter().map(|set| set.summary.completed_count).sum();
            lines.push(format!(
                "{samples} samples answered in {} sets",
                shown.len()
            ));
        }
        lines.extend(self.test.notes.iter().map(|note| format!("note: {note}")));
        lines.push(format!("results in {}\n", self.folder.path().display()));
        print_out(&lines.join("\n"))
    }
}
