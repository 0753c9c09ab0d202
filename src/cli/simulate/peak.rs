//! `simulate --find-peak`: the search of `run`, on virtual time.

use std::time::SystemTime;

use super::{Run, SimulateArgs, INTERRUPTED, MODEL};
use crate::cli::failure::{Blame, Failure, Outcome};
use crate::cli::interrupt::is_interrupted;
use crate::cli::peak::{closing_entry, PeakAsk, Promise, Quest, Trials, PEAK_FILE};
use crate::cli::test_args::Test;
use crate::clock::Simulated as SimulatedClock;
use crate::drive::{run_set, Control, Ending, Progress, Stand, Tells, NO_PROGRESS_LIMIT};
use crate::plan::Plan;
use crate::record::Record;
use crate::report::document::RunEntry;
use crate::report::folder::RunFolder;
use crate::report::peak::PeakEntry;
use crate::scenario::TestMode;
use crate::settings::test_settings::TestSettings;
use crate::summary::{Rules, Summary};
use crate::sut::simulated::{ServiceTime, Simulated, Simulation};
use crate::sut::SystemUnderTest;
use crate::units::{Latency, SampleId};

/// Runs a search.
pub(super) fn run(
    args: &SimulateArgs,
    ask: &PeakAsk,
    test: Test,
    simulation: &Simulation,
) -> Result<Outcome, Failure> {
    if test.mode != TestMode::PerformanceOnly {
        return Err(Failure::usage(format!(
            "--find-peak and the mode {} exclude each other: leave one of them out",
            test.mode
        )));
    }
    let clock = SimulatedClock::new();
    let name = format!("{MODEL}-{}-peak", args.test.scenario);
    let folder = RunFolder::create(&args.output_dir, &name, SystemTime::now()).or_environment()?;
    let settings = test.settings.clone();
    let mut trials = OnVirtualTime {
        args,
        test,
        simulation,
        clock: &clock,
        folder: &folder,
        entry: None,
    };
    let quest = Quest {
        ask,
        scenario: args.test.scenario,
        settings: &settings,
        rules: Rules::MLPERF,
        promise: promise(simulation),
    };
    let peak = quest.seek(&mut trials)?;
    let confirming = trials.entry.take();
    let entry = confirming.unwrap_or_else(|| RunEntry::new(MODEL, MODEL, None));
    let entry = closing_entry(entry, args.test.scenario, peak);
    let is_confirmed = entry.peak.as_ref().is_some_and(|peak| peak.confirmed);
    let (test, sut) = (&trials.test, trials.sut(0));
    let last = trials.as_run(test, sut.name());
    last.write_run(Some(&entry))?;
    last.report(Some(&entry), &[])?;
    Ok(match is_confirmed {
        _ if is_interrupted() => Outcome::Interrupted,
        true => Outcome::Done,
        false => Outcome::CriterionFailed,
    })
}

/// What the servers could answer if nothing ever waited.
pub(super) fn promise(simulation: &Simulation) -> Promise {
    let fastest = match &simulation.service {
        ServiceTime::Fixed(span) => *span,
        ServiceTime::LogNormal { median, .. } => *median,
        ServiceTime::Recorded(spans) => spans.iter().copied().min().unwrap_or_default(),
    };
    let fastest = fastest.max(Latency::from_nanos(1));
    let side_by_side = (simulation.servers * simulation.batch_size) as f64;
    Promise {
        samples_per_second: side_by_side / fastest.as_secs_f64(),
        fastest,
        is_known: true,
    }
}

struct OnVirtualTime<'a> {
    args: &'a SimulateArgs,
    /// The test that was asked for; after a confirming run, that one.
    test: Test,
    simulation: &'a Simulation,
    clock: &'a SimulatedClock,
    folder: &'a RunFolder,
    entry: Option<RunEntry>,
}

impl OnVirtualTime<'_> {
    /// Servers that have nothing left of the run before, with service times of their own.
    fn sut(&self, number: u32) -> Simulated {
        let simulation = Simulation {
            seed: self.simulation.seed.wrapping_add(number),
            ..self.simulation.clone()
        };
        Simulated::new(self.clock.clone(), simulation)
    }

    fn as_run<'b>(&'b self, test: &'b Test, sut_name: &str) -> Run<'b> {
        Run {
            args: self.args,
            test,
            folder: self.folder,
            clock: self.clock,
            sut_name: sut_name.to_owned(),
        }
    }
}

impl Trials for OnVirtualTime<'_> {
    fn plan(&self, settings: &TestSettings) -> Result<Plan, Failure> {
        let args = &self.args.test;
        Plan::new(
            settings,
            args.scenario,
            TestMode::PerformanceOnly,
            args.total_samples,
            args.performance_samples.unwrap_or(args.total_samples),
            args.compat,
        )
        .or_usage()
    }

    fn probe(
        &mut self,
        plan: &Plan,
        number: u32,
        observe: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<(Record, Ending), Failure> {
        let mut stand = Stand {
            sut: &mut self.sut(number),
            tells: Tells::default(),
            clock: self.clock,
            control: Control {
                interrupted: &INTERRUPTED,
                no_progress_limit: NO_PROGRESS_LIMIT,
            },
            observe,
        };
        let (record, ending) = run_set(plan, &plan.sets()[0], SampleId(0), &mut stand);
        Ok((record, ending.or_environment()?))
    }

    fn confirm(&mut self, settings: &TestSettings) -> Result<Option<Summary>, Failure> {
        let plan = self.plan(settings)?;
        let test = Test {
            settings: settings.clone(),
            plan,
            ..self.test.clone()
        };
        // The seed that was asked for, as in a run without a search.
        let mut sut = self.sut(0);
        let run = self.as_run(&test, sut.name());
        let shown = run.sets(&mut sut)?;
        run.write_logs(&shown)?;
        let entry = run.entry(&shown);
        let summary = shown.last().map(|set| set.summary.clone());
        drop(shown);
        self.test = test;
        self.entry = entry;
        Ok(summary)
    }

    fn pause(&mut self, span: Latency) {
        self.clock.advance(span);
    }

    fn told(&mut self, entry: &PeakEntry) -> Result<(), Failure> {
        self.folder.write_json(PEAK_FILE, entry).or_environment()
    }
}
