//! One LoadGen test of a model: its loaded sets one after the other, on warm workers.
//!
//! Most tests have one set. An accuracy test has as many as it takes to go through the library, and a
//! submission run has those and then the one of performance; samples are numbered through.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use crossbeam::channel::{unbounded, Receiver, Sender};

use super::asks::{rough_time, Ask, Pace};
use super::logs;
use super::measure::{blame, instance_of, Bench};
use super::watch::Watch;
use crate::cli::failure::{Blame, Failure};
use crate::cli::interrupt::{is_interrupted, INTERRUPTED};
use crate::clock::Clock;
use crate::drive::{run_set, Control, Ending, Stand, Tells, NO_PROGRESS_LIMIT};
use crate::library::SampleLibrary;
use crate::placement::contention::{Contention, ContentionSnapshot};
use crate::placement::plan::Placement;
use crate::placement::verify::{thread_places, verify, PlacementFinding, ThreadPlace};
use crate::plan::{AccuracyLogSelection, FirstIds, LoadableSet, Phase, Plan};
use crate::postprocess::NmsMode;
use crate::report::folder::RunFolder;
use crate::report::raw;
use crate::scenario::{Scenario, TestMode};
use crate::settings::test_settings::TestSettings;
use crate::summary::{conclude, Summary};
use crate::sut::pool::{Answer, AnswerLog, Assignment, ChosenSamples, Inputs, PoolRun, WarmUp};
use crate::units::{Latency, Timestamp};

/// The workers of a later set are warm.
const NO_WARM_UP: WarmUp = WarmUp {
    inferences: Some(0),
    duration: None,
};

/// What a test is made of and how it is called.
#[derive(Clone, Copy)]
pub struct TestRequest<'a> {
    /// What is asked.
    pub ask: &'a Ask,
    /// With which NMS.
    pub nms: Option<NmsMode>,
    /// What the Offline run before it reached.
    pub offline_rate: Option<f64>,
    /// For the person who waits.
    pub title: &'a str,
    /// Where its files go.
    pub folder: &'a RunFolder,
}

/// A test that has been run.
pub struct Tested {
    /// What was planned.
    pub plan: Plan,
    /// The settings with the machine's pace in the place of words.
    pub settings: TestSettings,
    /// When its first set began.
    pub started: SystemTime,
    /// What each set showed, and when it began after the first.
    pub shown: Vec<(LoadableSet, Latency, Summary)>,
    /// The answers that are logged, in no order.
    pub answers: Vec<Answer>,
    /// Where the instances were to run.
    pub placement: Placement,
    /// Where each thread may run and last ran, after warm-up.
    pub threads: Vec<ThreadPlace>,
    /// How that differs from the plan.
    pub placement_findings: Vec<PlacementFinding>,
    /// Warm-up inferences of each instance.
    pub warm_up_inferences: Vec<u32>,
    /// What else the machine did meanwhile.
    pub contention: Contention,
}

impl Tested {
    /// What the performance part showed, where there was one.
    pub fn performance(&self) -> Option<&Summary> {
        let shown = self.shown.iter().rev();
        shown
            .filter(|(set, ..)| set.phase == Phase::Performance)
            .map(|(.., summary)| summary)
            .next()
    }

    /// The answers of the accuracy part, if it went through all of its sets.
    pub fn accuracy_answers(&self) -> Option<Vec<Answer>> {
        let accuracy = |set: &&LoadableSet| set.phase == Phase::Accuracy;
        let planned = self.plan.sets().iter().filter(accuracy).count();
        let shown = self.shown.iter().map(|(set, ..)| set);
        if planned == 0 || shown.filter(accuracy).count() < planned {
            return None;
        }
        let after = self.plan.first_ids().get(planned).copied();
        let answers = self.answers.iter();
        let answers = answers.filter(|answer| after.is_none_or(|after| answer.id < after.sample));
        Some(answers.cloned().collect())
    }
}

/// What is known of a test once its workers are warm.
struct Warm {
    plan: Plan,
    settings: TestSettings,
    pace: Pace,
    threads: Vec<ThreadPlace>,
    placement_findings: Vec<PlacementFinding>,
    inferences: Vec<u32>,
    first: Vec<FirstIds>,
    selection: AccuracyLogSelection,
    before: ContentionSnapshot,
    started: SystemTime,
    origin: Timestamp,
}

impl Bench<'_> {
    /// Runs a test set by set; `None` when it was interrupted before anything was issued.
    ///
    /// # Errors
    /// When the workers fail, the settings make no test on this machine, or a file cannot be
    /// written.
    pub fn run_test(&mut self, request: TestRequest<'_>) -> Result<Option<Tested>, Failure> {
        let ask = request.ask;
        let placement = self.seating.place(ask.scenario)?;
        let draft = self.plan(ask.settings(), ask.scenario, ask.test_mode())?;
        let library = &self.pictures.library;
        let counts = (library.total_count(), library.performance_count());
        let (sender, receiver) = unbounded();
        let mut warm: Option<Warm> = None;
        let mut shown = Vec::new();
        for (position, set) in draft.sets().iter().enumerate() {
            let inputs = self.load(set)?;
            if is_interrupted() {
                break;
            }
            self.pool(&placement, ask.batch_size)?;
            let chosen = Arc::default();
            let assignment = Assignment {
                inputs: inputs.clone(),
                detectors: self.subject.detectors(&[request.nms]),
                batch_size: ask.batch_size,
                batch_timeout: ask.batch_timeout,
                warm_up: match position {
                    0 => self.warm_up,
                    _ => NO_WARM_UP,
                },
                warm_up_sample: set.indices[0],
                answers: answer_log(&draft, set, &sender, &chosen),
                interrupted: &INTERRUPTED,
            };
            let (clock, trace) = (self.clock, self.trace);
            let issue_threads = draft.effective().issue_threads() as usize;
            let mut run = self.begin(&assignment, issue_threads)?;
            if is_interrupted() {
                break;
            }
            let warm = match &mut warm {
                Some(warm) => warm,
                cold => {
                    let pace = pace(&run, ask, request.offline_rate);
                    let settings = ask.settle(&pace);
                    ask.check_rate(&settings, &pace)?;
                    let plan = replan(&draft, &settings, counts)?;
                    let threads = thread_places().unwrap_or_default();
                    cold.insert(Warm {
                        pace,
                        placement_findings: verify(&placement, &threads, instance_of),
                        threads,
                        inferences: run.warm_ups().iter().map(|one| one.inferences).collect(),
                        first: plan.first_ids(),
                        selection: AccuracyLogSelection::new(&plan),
                        settings,
                        plan,
                        before: ContentionSnapshot::take(),
                        started: SystemTime::now(),
                        origin: clock.now(),
                    })
                }
            };
            warm.choose(set, position, &chosen);
            let (began, summary) =
                warm.run_set(position, &mut run, &inputs, &clock, trace, request)?;
            drop(run);
            let ending = summary.ending;
            shown.push((set.clone(), began, summary));
            if ending == Ending::Interrupted {
                break;
            }
        }
        drop(sender);
        Ok(warm.map(|warm| warm.finish(placement, shown, &receiver)))
    }
}

/// The plan with the machine's pace in the place of words; its sets are the draft's.
fn replan(
    draft: &Plan,
    settings: &TestSettings,
    (total, performance): (usize, usize),
) -> Result<Plan, Failure> {
    let effective = draft.effective();
    let (scenario, mode) = (effective.scenario, effective.mode);
    Plan::new(settings, scenario, mode, total, performance, draft.compat()).or_usage()
}

/// Which answers of a set are wanted; `chosen` is filled in once the plan is known.
fn answer_log(
    draft: &Plan,
    set: &LoadableSet,
    sender: &Sender<Answer>,
    chosen: &Arc<OnceLock<ChosenSamples>>,
) -> Option<AnswerLog> {
    match set.phase {
        Phase::Accuracy => Some(AnswerLog::of_all(sender.clone())),
        Phase::Performance => AccuracyLogSelection::new(draft)
            .keeps_some()
            .then(|| AnswerLog::of_chosen(sender.clone(), Arc::clone(chosen))),
    }
}

impl Warm {
    /// Says which samples of a set are logged, where not all or none are.
    fn choose(&mut self, set: &LoadableSet, position: usize, chosen: &OnceLock<ChosenSamples>) {
        if !self.selection.keeps_some() {
            return;
        }
        self.selection.begin_set(set);
        let count = self.plan.generated(set).sample_count();
        let first = self.first[position].sample;
        let kept = (0..count).map(|_| self.selection.keeps_next());
        let fresh = chosen.set(ChosenSamples::new(first, kept));
        fresh.expect("each set has a choice of its own");
    }

    fn run_set(
        &self,
        position: usize,
        run: &mut PoolRun<'_>,
        inputs: &Inputs,
        clock: &dyn Clock,
        trace: bool,
        request: TestRequest<'_>,
    ) -> Result<(Latency, Summary), Failure> {
        let plan = &self.plan;
        let (set, first) = (&plan.sets()[position], self.first[position]);
        let title = self.title(position, request.title);
        let planned = plan.generated(set).sample_count();
        let mut watch = Watch::new(&title, plan.effective(), planned);
        if set.phase == Phase::Accuracy {
            watch = watch.over_samples();
        }
        let mut stand = Stand {
            sut: run,
            tells: match set.phase {
                Phase::Accuracy => Tells::default(),
                Phase::Performance => Bench::tells(inputs),
            },
            clock,
            control: Control {
                interrupted: &INTERRUPTED,
                no_progress_limit: NO_PROGRESS_LIMIT,
            },
            observe: &mut |progress| watch.observe(progress),
        };
        let (record, ending) = run_set(plan, set, first.sample, &mut stand);
        watch.finish();
        let began = record.start().since(self.origin);
        if set.phase == Phase::Performance {
            raw::write_files(request.folder, plan, set, &record, self.started).or_environment()?;
            if trace {
                let at = (first, began);
                logs::write_trace(request.folder, plan, set, &record, at, self.started)?;
            }
        }
        match (ending.map_err(blame)?, set.phase) {
            (Ending::NoProgress { outstanding, .. }, Phase::Accuracy) => Err(Failure::environment(
                format!("{outstanding} samples of the accuracy run were never answered"),
            )),
            (ending, _) => {
                let summary = conclude(record, plan.effective(), ending, request.ask.rules);
                Ok((began, summary))
            }
        }
    }

    fn title(&self, position: usize, title: &str) -> String {
        let sets = self.plan.sets();
        let set = &sets[position];
        let phase = match set.phase {
            Phase::Accuracy => {
                let count = sets
                    .iter()
                    .filter(|set| set.phase == Phase::Accuracy)
                    .count();
                format!(" accuracy {}/{count}", position + 1)
            }
            Phase::Performance if self.plan.effective().mode == TestMode::SubmissionRun => {
                " performance".to_owned()
            }
            Phase::Performance => String::new(),
        };
        let expected = rough_time(expected(&self.plan, set, &self.pace));
        format!("{title}{phase}, about {expected}")
    }

    fn finish(
        self,
        placement: Placement,
        shown: Vec<(LoadableSet, Latency, Summary)>,
        answers: &Receiver<Answer>,
    ) -> Tested {
        Tested {
            contention: ContentionSnapshot::take().since(&self.before),
            plan: self.plan,
            settings: self.settings,
            started: self.started,
            shown,
            answers: answers.try_iter().collect(),
            placement,
            threads: self.threads,
            placement_findings: self.placement_findings,
            warm_up_inferences: self.inferences,
        }
    }
}

/// What the warm-up promises.
pub(super) fn pace(run: &PoolRun<'_>, ask: &Ask, offline: Option<f64>) -> Pace {
    /// Stands in where the warm-up was switched off.
    const UNKNOWN: Latency = Latency::from_millis(20);
    let times: Vec<Latency> = run
        .warm_ups()
        .iter()
        .map(|report| report.fastest.unwrap_or(UNKNOWN))
        .collect();
    let rate = |time: &Latency| ask.batch_size as f64 / time.as_secs_f64().max(1e-9);
    Pace {
        promised: times.iter().map(rate).sum(),
        offline,
        fastest: times.iter().copied().min().unwrap_or(UNKNOWN),
        instances: times.len(),
        is_known: run.warm_ups().iter().all(|report| report.fastest.is_some()),
    }
}

/// How long a run is going to take, by what the warm-up promises.
fn expected(plan: &Plan, set: &LoadableSet, pace: &Pace) -> Latency {
    let settings = plan.effective();
    let samples = |count: u64| count as f64 / pace.offline.unwrap_or(pace.promised);
    let seconds = match settings.scenario {
        Scenario::Offline => samples(plan.generated(set).sample_count()),
        _ if set.phase == Phase::Accuracy => samples(plan.generated(set).sample_count()),
        Scenario::Server => {
            let generated = plan.generated(set);
            let scheduled = generated.query_count as f64 / settings.target_rate.as_per_second();
            scheduled.max(samples(generated.sample_count()))
        }
        Scenario::SingleStream | Scenario::MultiStream => {
            let least = settings.min_query_count * settings.samples_per_query;
            settings.min_duration.as_secs_f64().max(samples(least))
        }
    };
    Latency::from_nanos((seconds * 1e9) as u64)
}
