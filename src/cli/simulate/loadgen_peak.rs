//! `simulate --mode FindPeakPerformance`: LoadGen's own search, trial for trial, on virtual time.

use std::time::SystemTime;

use super::peak::promise;
use super::{Run, Shown, SimulateArgs, EPOCH, INTERRUPTED, MODEL, NO_PROCESS};
use crate::cli::failure::{Blame, Failure, Outcome};
use crate::cli::interrupt::is_interrupted;
use crate::cli::test_args::Test;
use crate::clock::Simulated as SimulatedClock;
use crate::drive::{run_set, Control, Stand, Tells, NO_PROGRESS_LIMIT};
use crate::peak::{LoadGenEnd, LoadGenSearch, Trial};
use crate::plan::Plan;
use crate::report::folder::RunFolder;
use crate::report::mlperf::accuracy;
use crate::report::mlperf::peak::{PeakLog, TrialLog};
use crate::report::mlperf::{TestLog, ACCURACY_FILE};
use crate::report::raw;
use crate::summary::{conclude, Rules};
use crate::sut::simulated::{Simulated, Simulation};
use crate::sut::SystemUnderTest;
use crate::units::{Rate, SampleId, Timestamp};

/// LoadGen grows without end; here it ends at this many times what the servers could answer.
const CEILING: f64 = 100.0;

/// A trial that was made.
struct Made<'a> {
    trial: Trial,
    after: Option<String>,
    shown: Shown<'a>,
}

/// Runs a search.
pub(super) fn run(
    args: &SimulateArgs,
    test: &Test,
    simulation: &Simulation,
) -> Result<Outcome, Failure> {
    let clock = SimulatedClock::new();
    let sut_name = Simulated::new(clock.clone(), simulation.clone())
        .name()
        .to_owned();
    let name = format!("{MODEL}-{}-{}", args.test.scenario, test.mode);
    let folder = RunFolder::create(&args.output_dir, &name, SystemTime::now()).or_environment()?;
    let asked = &test.settings;
    let mut search = LoadGenSearch::new(
        asked.server_target_qps.as_per_second(),
        asked.server_find_peak_qps_boundary_step_size,
        asked.server_find_peak_qps_decimals_of_precision,
        CEILING * promise(simulation).samples_per_second,
    );
    // Only the rate differs from trial to trial; which samples are loaded does not depend on it.
    let set = &test.plan.sets()[0];
    let mut made: Vec<Made<'_>> = Vec::new();
    let mut reported = (0, test.plan.clone(), Vec::new());
    while let Some(trial) = search.next_trial() {
        let plan = plan_at(args, test, trial.rate)?;
        let mut sut = Simulated::new(clock.clone(), simulation.clone());
        let mut stand = Stand {
            sut: &mut sut,
            tells: Tells {
                stages: true,
                preprocess: false,
            },
            clock: &clock,
            control: Control {
                interrupted: &INTERRUPTED,
                no_progress_limit: NO_PROGRESS_LIMIT,
            },
            observe: &mut |_| {},
        };
        let (record, ending) = run_set(&plan, set, SampleId(0), &mut stand);
        let ending = ending.or_environment()?;
        let began = record.start().since(Timestamp::ZERO);
        let mut latencies = Vec::new();
        raw::write_csv(&mut latencies, &plan, set, &record).or_environment()?;
        let summary = conclude(record, plan.effective(), ending, Rules::MLPERF);
        let has_passed = summary.checks.latency_bound_kept;
        let generated = plan.generated(set);
        if has_passed || made.is_empty() {
            reported = (made.len(), plan, latencies);
        }
        made.push(Made {
            trial,
            after: search.tell(has_passed),
            shown: Shown {
                set,
                generated,
                began,
                summary,
                answers: Vec::new(),
            },
        });
        if is_interrupted() {
            return Ok(Outcome::Interrupted);
        }
    }
    let end = search
        .end()
        .expect("a search without a next trial has ended");
    let (position, plan, latencies) = reported;
    folder
        .write("latencies.csv", |out| out.write_all(&latencies))
        .or_environment()?;
    write_logs(
        args,
        test,
        &folder,
        &sut_name,
        (&made, position, &plan),
        end,
    )?;
    let mut notes = test.notes.clone();
    notes.push(note(&made, end));
    if args.trace {
        notes.push("--trace: the trials of this search leave no trace.".to_owned());
    }
    let reported = Test {
        plan: plan.clone(),
        notes,
        ..test.clone()
    };
    let run = Run {
        args,
        test: &reported,
        folder: &folder,
        clock: &clock,
        sut_name,
    };
    let shown = &made[position..=position];
    let entry = run.entry(std::slice::from_ref(&shown[0].shown));
    run.write_run(entry.as_ref())?;
    run.report(entry.as_ref(), &[])?;
    let is_valid = entry.is_some_and(|entry| entry.valid == Some(true));
    Ok(if is_valid && !end.is_error() {
        Outcome::Done
    } else {
        Outcome::CriterionFailed
    })
}

fn plan_at(args: &SimulateArgs, test: &Test, rate: f64) -> Result<Plan, Failure> {
    let mut settings = test.settings.clone();
    settings.server_target_qps = Rate::per_second(rate).expect("it grows from one above zero");
    let asked = &args.test;
    Plan::new(
        &settings,
        asked.scenario,
        test.mode,
        asked.total_samples,
        asked.performance_samples.unwrap_or(asked.total_samples),
        asked.compat,
    )
    .or_usage()
}

fn note(made: &[Made<'_>], end: LoadGenEnd) -> String {
    format!(
        "{}; {} trials in LoadGen's manner: each rate once and under the same schedule, judged by its \
         percentile alone. --find-peak searches with more care.",
        end.message().trim_end_matches('.'),
        made.len()
    )
}

fn write_logs(
    args: &SimulateArgs,
    test: &Test,
    folder: &RunFolder,
    sut_name: &str,
    (made, reported, plan): (&[Made<'_>], usize, &Plan),
    end: LoadGenEnd,
) -> Result<(), Failure> {
    let trials: Vec<TrialLog<'_>> = made
        .iter()
        .map(|made| TrialLog {
            before: &made.trial.messages,
            after: made.after.as_deref(),
            loads_set: made.trial.loads_set,
            shares_set: made.trial.shares_set,
            set: made.shown.log(),
        })
        .collect();
    let asked = &args.test;
    PeakLog {
        test: TestLog {
            sut_name,
            library_name: "simulated",
            total_count: asked.total_samples,
            performance_count: asked.performance_samples.unwrap_or(asked.total_samples),
            requested_mode: test.mode,
            requested: &test.settings,
            effective: test.plan.effective(),
            compat: test.plan.compat(),
            began: EPOCH,
            process: NO_PROCESS,
            warnings: &test.warnings,
            sets: &[],
        },
        trials: &trials,
        end,
        reported: trials[reported].set,
        reported_effective: plan.effective(),
    }
    .write(folder)
    .or_environment()?;
    folder
        .write(ACCURACY_FILE, |out| accuracy::write([], out))
        .or_environment()
}
