//! What the tests of a command share, and one test with its figures and files.

use super::asks::Ask;
use super::logs;
use super::pictures::Pictures;
use super::score::{score_one, Found};
use super::seating::{seats, Seating};
use super::sets::TestRequest;
use super::subject::Subject;
use super::verdict_on_nms::Spent;
use super::voc_files::Line;
use super::watch::loading_bar;
use crate::cli::failure::{Blame, Failure};
use crate::clock::{Clock, Monotonic};
use crate::drive::Tells;
use crate::placement::contention::Contention;
use crate::placement::plan::Placement;
use crate::placement::verify::{PlacementFinding, ThreadPlace};
use crate::plan::{LoadableSet, Plan};
use crate::report::document::{LayoutEntry, RunEntry};
use crate::report::intel;
use crate::runtime::Runtime;
use crate::scenario::{Scenario, TestMode};
use crate::settings::compat::CompatProfile;
use crate::settings::test_settings::TestSettings;
use crate::summary::Summary;
use crate::sut::pool::{Assignment, Inputs, Pool, PoolRun, WarmUp};
use crate::sut::SutError;

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
    /// Which LoadGen's random streams are repeated.
    pub profile: CompatProfile,
    /// Whether detections are scored as Collective Knowledge's text files hold them.
    pub rounds_as_ck: bool,
    /// The classes of which the accuracy run keeps its detections as lines of pytorch-ssd's files.
    pub voc_classes: Vec<String>,
    /// Those lines.
    pub voc_lines: Vec<Line>,
    /// Where time went besides measuring.
    pub spent: Spent,
    pool: Option<(PoolKey, Pool)>,
}

/// Workers are kept from run to run while these stay the same.
#[derive(Debug, Clone, PartialEq)]
struct PoolKey {
    placement: Placement,
    batch_size: usize,
}

/// What one test left.
pub struct Measured {
    /// Its entry in the document.
    pub entry: RunEntry,
    /// Its figures, where it has a performance part.
    pub summary: Option<Summary>,
    /// What it found, where it has an accuracy part and there is ground truth.
    pub found: Option<Found>,
    /// What `run.json` keeps besides.
    pub conditions: Conditions,
}

/// The conditions of a run.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Conditions {
    /// When it began.
    pub started_at: String,
    /// What it was for, as asked.
    pub mode: TestMode,
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
            profile: CompatProfile::default(),
            rounds_as_ck: false,
            voc_classes: Vec::new(),
            voc_lines: Vec::new(),
            spent: Spent::default(),
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
        let begun = self.clock.now();
        let pool = Pool::start(name, &seats(placement), &factory, self.clock).map_err(blame)?;
        self.spent.graph = self.clock.now().saturating_since(begun);
        self.pool = Some((key, pool));
        Ok(())
    }

    /// Loads a set's pictures, with a bar on a terminal.
    pub fn load(&mut self, set: &LoadableSet) -> Result<Inputs, Failure> {
        let bar = loading_bar(set.distinct().len());
        let begun = self.clock.now();
        let inputs = self
            .pictures
            .load(set.distinct(), &|done| bar.set_position(done as u64));
        bar.finish_and_clear();
        self.spent.pictures += self.clock.now().saturating_since(begun);
        inputs
    }

    /// Warms the workers up for an assignment; each of `issue_threads` gets a desk.
    pub fn begin(
        &mut self,
        assignment: &Assignment,
        issue_threads: usize,
    ) -> Result<PoolRun<'_>, Failure> {
        let (_, pool) = self.pool.as_mut().expect("the pool was started");
        pool.begin_with_desks(assignment, issue_threads)
            .map_err(blame)
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
            self.profile,
        )
        .or_usage()
    }

    /// Runs one test and writes its files; `None` when it was interrupted before anything was
    /// issued.
    pub fn measure(&mut self, request: TestRequest<'_>) -> Result<Option<Measured>, Failure> {
        let Some(tested) = self.run_test(request)? else {
            return Ok(None);
        };
        let (ask, nms, folder) = (request.ask, request.nms, request.folder);
        let (plan, started) = (&tested.plan, tested.started);
        let labels = &self.subject.description.labels;
        let logged = logs::answers_of(0, &tested.answers, labels);
        let shown: Vec<_> = tested
            .shown
            .iter()
            .map(|(set, began, summary)| (set, *began, summary))
            .collect();
        let asked = logs::Request {
            settings: &tested.settings,
            mode: ask.test_mode(),
            warnings: &ask.warnings,
        };
        logs::write(folder, self, plan, asked, started, &shown, logged)?;
        let found = match tested.accuracy_answers() {
            Some(answers) if self.pictures.ground_truth.is_some() => {
                Some(score_one(self, nms, answers, folder)?)
            }
            _ => None,
        };
        let name = &self.subject.description.name;
        let mut entry = RunEntry::new(name, self.subject.precision(), nms);
        entry.weights = Some(self.subject.description.weights.name());
        entry.layout = Some(layout(&tested.placement, ask));
        if let Some(summary) = tested.performance() {
            entry = entry.with_summary(summary, plan.effective(), ask.rules);
            folder
                .write(&intel::file_name(&entry, started), |out| {
                    intel::write_tail(out, &entry)
                })
                .or_environment()?;
        }
        entry.scenario = Some(ask.scenario);
        entry.accuracy = found.as_ref().map(|found| found.entry.clone());
        Ok(Some(Measured {
            entry,
            summary: tested.performance().cloned(),
            found,
            conditions: Conditions {
                started_at: crate::report::folder::utc_iso(started),
                mode: ask.test_mode(),
                settings: tested.plan.effective().clone(),
                placement: tested.placement,
                threads: tested.threads,
                placement_findings: tested.placement_findings,
                warm_up_inferences: tested.warm_up_inferences,
                contention: tested.contention,
            },
        }))
    }
}

pub(super) fn layout(placement: &Placement, ask: &Ask) -> LayoutEntry {
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
pub(super) fn instance_of(thread: &ThreadPlace) -> Option<usize> {
    thread.name.strip_prefix("detbench-w")?.parse().ok()
}

/// A model that cannot be opened is the user's file; everything else is the machine's doing.
pub fn blame(error: SutError) -> Failure {
    match error {
        SutError::Start { ref reason, .. } => Failure::usage(reason),
        other => Failure::environment(other),
    }
}
