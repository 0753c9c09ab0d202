//! One performance run: workers, warm-up, the run itself, and its files.

use std::time::SystemTime;

use super::asks::{rough_time, Ask, Pace};
use super::logs;
use super::pictures::Pictures;
use super::seating::{seats, Seating};
use super::subject::Subject;
use super::watch::{loading_bar, Watch};
use crate::cli::failure::{Blame, Failure};
use crate::cli::interrupt::{is_interrupted, INTERRUPTED};
use crate::clock::Monotonic;
use crate::drive::{run_set, Control, Stand, Tells, NO_PROGRESS_LIMIT};
use crate::placement::contention::{Contention, ContentionSnapshot};
use crate::placement::plan::Placement;
use crate::placement::verify::{thread_places, verify, PlacementFinding, ThreadPlace};
use crate::plan::{LoadableSet, Plan};
use crate::postprocess::NmsMode;
use crate::report::document::{LayoutEntry, RunEntry};
use crate::report::folder::RunFolder;
use crate::report::{intel, raw};
use crate::runtime::Runtime;
use crate::scenario::{Scenario, TestMode};
use crate::settings::compat::CompatProfile;
use crate::settings::test_settings::TestSettings;
use crate::summary::{conclude, Summary};
use crate::sut::pool::{Assignment, Inputs, Pool, PoolRun, WarmUp};
use crate::sut::SutError;
use crate::units::{Latency, SampleId};

/// What every run of a command shares.
pub struct Bench<'a> {
    /// What is measured.
    pub subject: &'a Subject,
    /// The library that runs it.
    pub runtime: &'a Runtime,
    /// The machine.
    pub seating: &'a Seating,
    /// The pictures.
    pub pictures: Pictures,
    /// The run's clock.
    pub clock: Monotonic,
    /// Warm-up of each instance and NMS mode.
    pub warm_up: WarmUp,
    /// Whether each performance run leaves a trace.
    pub trace: bool,
    pool: Option<(PoolKey, Pool)>,
}

/// Workers are kept from run to run while these stay the same.
#[derive(Debug, Clone, PartialEq)]
struct PoolKey {
    placement: Placement,
    batch_size: usize,
}

/// What one performance run left.
pub struct Measured {
    /// Its entry in the document.
    pub entry: RunEntry,
    /// Its figures.
    pub summary: Summary,
    /// What `run.json` keeps besides.
    pub conditions: Conditions,
}

/// The conditions of a run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Conditions {
    /// When it began.
    pub started_at: String,
    /// The settings as they were applied.
    pub settings: crate::plan::EffectiveSettings,
    /// Where the instances were to run.
    pub placement: Placement,
    /// Where each thread of the process may run and last ran, after warm-up.
    pub threads: Vec<ThreadPlace>,
    /// How that differs from the plan.
    pub placement_findings: Vec<PlacementFinding>,
    /// Warm-up inferences of each instance.
    pub warm_up_inferences: Vec<u32>,
    /// What else the machine did meanwhile.
    pub contention: Contention,
}

impl<'a> Bench<'a> {
    /// A bench without workers yet.
    pub fn new(
        subject: &'a Subject,
        runtime: &'a Runtime,
        seating: &'a Seating,
        pictures: Pictures,
        clock: Monotonic,
        warm_up: WarmUp,
    ) -> Self {
        Self {
            subject,
            runtime,
            seating,
            pictures,
            clock,
            warm_up,
            trace: false,
            pool: None,
        }
    }

    /// The workers of a placement, started unless they sit there already.
    pub fn pool(&mut self, placement: &Placement, batch_size: usize) -> Result<(), Failure> {
        let key = PoolKey {
            placement: placement.clone(),
            batch_size,
        };
        if self.pool.as_ref().is_some_and(|(held, _)| *held == key) {
            return Ok(());
        }
        // The old sessions go before the new ones come.
        self.pool = None;
        let factory = self
            .seating
            .factory(placement, batch_size, self.subject, self.runtime);
        let name = format!("detbench {}", self.subject.description.name);
        let pool = Pool::start(name, &seats(placement), &factory, self.clock).map_err(blame)?;
        self.pool = Some((key, pool));
        Ok(())
    }

    /// Loads a set's pictures, with a bar on a terminal.
    pub fn load(&mut self, set: &LoadableSet) -> Result<Inputs, Failure> {
        let bar = loading_bar(set.distinct().len());
        let inputs = self
            .pictures
            .load(set.distinct(), &|done| bar.set_position(done as u64));
        bar.finish_and_clear();
        inputs
    }

    /// Warms the workers up for an assignment.
    pub fn begin(&mut self, assignment: &Assignment) -> Result<PoolRun<'_>, Failure> {
        let (_, pool) = self.pool.as_mut().expect("the pool was started");
        pool.begin(assignment).map_err(blame)
    }

    /// Whether decoding and resizing are timed.
    pub fn tells(inputs: &Inputs) -> Tells {
        Tells {
            stages: true,
            preprocess: matches!(inputs, Inputs::Encoded(_)),
        }
    }

    /// A plan over this bench's pictures.
    pub fn plan(
        &self,
        settings: &TestSettings,
        scenario: Scenario,
        mode: TestMode,
    ) -> Result<Plan, Failure> {
        use crate::library::SampleLibrary;
        let library = &self.pictures.library;
        Plan::new(
            settings,
            scenario,
            mode,
            library.total_count(),
            library.performance_count(),
            CompatProfile::V6,
        )
        .or_usage()
    }

    /// Makes one performance run and writes its files into `folder`; `None` when it was
    /// interrupted before anything was issued.
    pub fn measure(
        &mut self,
        ask: &Ask,
        mode: NmsMode,
        offline_rate: Option<f64>,
        title: &str,
        folder: &RunFolder,
    ) -> Result<Option<Measured>, Failure> {
        let placement = self.seating.place(ask.scenario)?;
        let draft = self.plan(ask.settings(), ask.scenario, TestMode::PerformanceOnly)?;
        let set = draft.sets()[0].clone();
        let inputs = self.load(&set)?;
        if is_interrupted() {
            return Ok(None);
        }
        self.pool(&placement, ask.batch_size)?;
        let assignment = Assignment {
            inputs: inputs.clone(),
            detectors: self.subject.detectors(&[mode]),
            batch_size: ask.batch_size,
            batch_timeout: ask.batch_timeout,
            warm_up: self.warm_up,
            warm_up_sample: set.indices[0],
            answers: None,
            interrupted: &INTERRUPTED,
        };
        let clock = self.clock;
        let desks = draft.effective().issue_threads() as usize;
        let mut run = {
            let (_, pool) = self.pool.as_mut().expect("started above");
            pool.begin_with_desks(&assignment, desks).map_err(blame)?
        };
        if is_interrupted() {
            return Ok(None);
        }
        let pace = pace(&run, ask, offline_rate);
        let settings = ask.settle(&pace);
        ask.check_rate(&settings, &pace)?;
        let warm_up_inferences = run.warm_ups().iter().map(|one| one.inferences).collect();
        let threads = thread_places().unwrap_or_default();
        let placement_findings = verify(&placement, &threads, instance_of);

        // `self` is lent to the run; the library's counts are all the plan needs of it.
        let plan = replan(&draft, &settings, &self.pictures)?;
        let set = &plan.sets()[0];
        let planned = plan.generated(set).sample_count();
        let title = format!("{title}, about {}", rough_time(expected(&plan, set, &pace)));
        let mut watch = Watch::new(&title, plan.effective(), planned);
        let before = ContentionSnapshot::take();
        let started = SystemTime::now();
        let (record, ending) = run_set(
            &plan,
            set,
            SampleId(0),
            &mut Stand {
                sut: &mut run,
                tells: Self::tells(&inputs),
                clock: &clock,
                control: Control {
                    interrupted: &INTERRUPTED,
                    no_progress_limit: NO_PROGRESS_LIMIT,
                },
                observe: &mut |progress| watch.observe(progress),
            },
        );
        let contention = ContentionSnapshot::take().since(&before);
        watch.finish();
        drop(run);
        raw::write_files(folder, &plan, set, &record, started).or_environment()?;
        if self.trace {
            logs::write_trace(folder, &plan, set, &record, started)?;
        }
        let ending = ending.map_err(blame)?;
        let summary = conclude(record, plan.effective(), ending, ask.rules);
        let shown = [(set, Latency::ZERO, &summary)];
        let request = logs::Request {
            settings: &settings,
            warnings: &ask.warnings,
        };
        logs::write(folder, self, &plan, request, started, &shown, Vec::new())?;
        let mut entry = RunEntry::new(
            &self.subject.description.name,
            self.subject.precision(),
            Some(mode),
        )
        .with_summary(&summary, plan.effective(), ask.rules);
        entry.layout = Some(layout(&placement, ask));
        folder
            .write(&intel::file_name(&entry, started), |out| {
                intel::write_tail(out, &entry)
            })
            .or_environment()?;
        Ok(Some(Measured {
            conditions: Conditions {
                started_at: crate::report::folder::utc_iso(started),
                settings: plan.effective().clone(),
                placement,
                threads,
                placement_findings,
                warm_up_inferences,
                contention,
            },
            entry,
            summary,
        }))
    }
}

fn replan(draft: &Plan, settings: &TestSettings, pictures: &Pictures) -> Result<Plan, Failure> {
    use crate::library::SampleLibrary;
    let effective = draft.effective();
    Plan::new(
        settings,
        effective.scenario,
        effective.mode,
        pictures.library.total_count(),
        pictures.library.performance_count(),
        draft.compat(),
    )
    .or_usage()
}

/// What the warm-up promises.
fn pace(run: &PoolRun<'_>, ask: &Ask, offline: Option<f64>) -> Pace {
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

fn layout(placement: &Placement, ask: &Ask) -> LayoutEntry {
    let first = placement.instances.first();
    LayoutEntry {
        instances: placement.instances.len(),
        intra_threads: first.map_or(0, |instance| instance.intra_threads),
        inter_threads: first.map_or(0, |instance| instance.inter_threads),
        batch_size: ask.batch_size,
        batch_timeout_us: ask.batch_timeout.as_nanos() / 1_000,
    }
}

/// A worker's threads carry its name: threads inherit the name of the one that makes them.
fn instance_of(thread: &ThreadPlace) -> Option<usize> {
    thread.name.strip_prefix("detbench-w")?.parse().ok()
}

/// A model that cannot be opened is the user's file; everything else is the machine's doing.
pub fn blame(error: SutError) -> Failure {
    match error {
        SutError::Start { ref reason, .. } => Failure::usage(reason),
        other => Failure::environment(other),
    }
}
