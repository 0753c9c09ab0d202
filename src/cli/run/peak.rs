//! `run --find-peak`: the highest load that a model on this machine sustains.
//!
//! A probe is a run on workers that are warm already and leaves no file of its own. When it ends with
//! answers outstanding, the workers finish the inference that they are at and drop the rest: each run
//! has channels of its own, so that none of its answers reaches the next. A confirming run is a
//! run as any other.

use std::time::SystemTime;

use super::asks::{Ask, Pace};
use super::measure::{blame, layout, Bench, Conditions, Measured};
use super::sets::{pace, TestRequest};
use super::watch::Watch;
use crate::cli::failure::{Blame, Failure};
use crate::cli::interrupt::{is_interrupted, INTERRUPTED};
use crate::cli::peak::{closing_entry, PeakAsk, Promise, Quest, Trials, PEAK_FILE};
use crate::cli::print_err;
use crate::clock::Clock;
use crate::drive::{run_set, Control, Ending, Progress, Stand, NO_PROGRESS_LIMIT};
use crate::peak::{Probe, Purpose};
use crate::placement::contention::ContentionSnapshot;
use crate::placement::plan::Placement;
use crate::placement::verify::{thread_places, verify};
use crate::plan::{LoadableSet, Plan};
use crate::record::Record;
use crate::report::document::RunEntry;
use crate::report::folder::utc_iso;
use crate::report::peak::PeakEntry;
use crate::settings::test_settings::TestSettings;
use crate::summary::Summary;
use crate::sut::pool::{Assignment, Inputs, WarmUp};
use crate::units::{Latency, SampleId};

/// The workers of a probe are warm; one inference shows that they have come back.
const SHORT_WARM_UP: WarmUp = WarmUp {
    inferences: Some(1),
    duration: None,
};

/// A pause wakes this often to see an interrupt.
const PAUSE_STEP: Latency = Latency::from_millis(100);

impl Bench<'_> {
    /// Searches the peak, and gives the confirming run with the search in its entry; `None` when it was
    /// interrupted before anything was issued.
    ///
    /// # Errors
    /// When the workers fail, the settings make no test on this machine, or a file cannot be
    /// written.
    pub fn find_peak(
        &mut self,
        request: TestRequest<'_>,
        peak: &PeakAsk,
    ) -> Result<Option<Measured>, Failure> {
        let ask = request.ask;
        let placement = self.seating.place(ask.scenario)?;
        let draft = self.plan(ask.settings(), ask.scenario, ask.test_mode())?;
        let set = draft.sets()[0].clone();
        let inputs = self.load(&set)?;
        if is_interrupted() {
            return Ok(None);
        }
        self.pool(&placement, ask.batch_size)?;
        let before = ContentionSnapshot::take();
        let started = SystemTime::now();
        let mut trials = OnMachine {
            bench: self,
            request,
            set,
            inputs,
            confirming: None,
            shown: 0,
            label: String::new(),
        };
        let Some((pace, warm_up_inferences)) = trials.warm_up()? else {
            return Ok(None);
        };
        let settings = ask.settle(&pace);
        let quest = Quest {
            ask: peak,
            scenario: ask.scenario,
            settings: &settings,
            rules: ask.rules,
            promise: Promise {
                samples_per_second: pace.promised,
                fastest: pace.fastest,
                is_known: pace.is_known,
            },
        };
        let found = quest.seek(&mut trials)?;
        let confirming = trials.confirming.take();
        let contention = ContentionSnapshot::take().since(&before);
        let without = |placement: Placement| -> Result<Measured, Failure> {
            let threads = thread_places().unwrap_or_default();
            let settings = self.plan(&settings, ask.scenario, ask.test_mode())?;
            let name = &self.subject.description.name;
            let mut entry = RunEntry::new(name, self.subject.precision(), request.nms);
            entry.weights = Some(self.subject.description.weights.name());
            entry.layout = Some(layout(&placement, ask));
            Ok(Measured {
                entry,
                summary: None,
                found: None,
                conditions: Conditions {
                    started_at: utc_iso(started),
                    mode: ask.test_mode(),
                    settings: settings.effective().clone(),
                    placement_findings: verify(&placement, &threads, super::measure::instance_of),
                    placement,
                    threads,
                    warm_up_inferences,
                    contention,
                },
            })
        };
        let mut measured = match confirming {
            Some(measured) => measured,
            None => without(placement)?,
        };
        measured.entry = closing_entry(measured.entry, ask.scenario, found);
        Ok(Some(measured))
    }
}

/// The runs of a search on the workers of a bench.
struct OnMachine<'b, 'a, 'r> {
    bench: &'b mut Bench<'a>,
    request: TestRequest<'r>,
    set: LoadableSet,
    inputs: Inputs,
    /// The last run of full length.
    confirming: Option<Measured>,
    /// Probes of which the person who waits was told.
    shown: usize,
    /// What the run at hand is.
    label: String,
}

impl OnMachine<'_, '_, '_> {
    fn assignment(&self, warm_up: WarmUp) -> Assignment {
        let ask = self.request.ask;
        Assignment {
            inputs: self.inputs.clone(),
            detectors: self.bench.subject.detectors(&[self.request.nms]),
            batch_size: ask.batch_size,
            batch_timeout: ask.batch_timeout,
            warm_up,
            warm_up_sample: self.set.indices[0],
            answers: None,
            interrupted: &INTERRUPTED,
        }
    }

    /// What the workers promise, and how many inferences each made; `None` when interrupted.
    fn warm_up(&mut self) -> Result<Option<(Pace, Vec<u32>)>, Failure> {
        let assignment = self.assignment(self.bench.warm_up);
        let run = self.bench.begin(&assignment, 1)?;
        if is_interrupted() {
            return Ok(None);
        }
        let inferences = run.warm_ups().iter().map(|one| one.inferences).collect();
        let pace = pace(&run, self.request.ask, self.request.offline_rate);
        Ok(Some((pace, inferences)))
    }
}

impl Trials for OnMachine<'_, '_, '_> {
    fn plan(&self, settings: &TestSettings) -> Result<Plan, Failure> {
        let ask: &Ask = self.request.ask;
        self.bench.plan(settings, ask.scenario, ask.test_mode())
    }

    fn probe(
        &mut self,
        plan: &Plan,
        _number: u32,
        observe: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<(Record, Ending), Failure> {
        let assignment = self.assignment(SHORT_WARM_UP);
        let clock = self.bench.clock;
        let set = &plan.sets()[0];
        let planned = plan.generated(set).sample_count();
        let mut watch = Watch::new(&self.label, plan.effective(), planned);
        let tells = Bench::tells(&self.inputs);
        let issue_threads = plan.effective().issue_threads() as usize;
        let mut run = self.bench.begin(&assignment, issue_threads)?;
        let mut stand = Stand {
            sut: &mut run,
            tells,
            clock: &clock,
            control: Control {
                interrupted: &INTERRUPTED,
                no_progress_limit: NO_PROGRESS_LIMIT,
            },
            observe: &mut |progress| {
                watch.observe(progress);
                observe(progress);
            },
        };
        let (record, ending) = run_set(plan, set, SampleId(0), &mut stand);
        watch.finish();
        Ok((record, ending.map_err(blame)?))
    }

    fn confirm(&mut self, settings: &TestSettings) -> Result<Option<Summary>, Failure> {
        let ask = self.request.ask.with_settings(settings.clone());
        let measured = self.bench.measure(TestRequest {
            ask: &ask,
            title: &self.label,
            ..self.request
        })?;
        let Some(measured) = measured else {
            return Ok(None);
        };
        let summary = measured.summary.clone();
        self.confirming = Some(measured);
        Ok(summary)
    }

    fn pause(&mut self, span: Latency) {
        let clock = self.bench.clock;
        let end = clock.now() + span;
        while clock.now() < end && !is_interrupted() {
            clock.sleep_until(end.min(clock.now() + PAUSE_STEP));
        }
    }

    fn begins(&mut self, entry: &PeakEntry, probe: &Probe) {
        let load = entry.load_text(probe.load);
        let what = match probe.purpose {
            Purpose::Confirm => "confirming",
            _ => "probing",
        };
        self.label = format!("{} {what} {load}", self.request.title);
    }

    fn told(&mut self, entry: &PeakEntry) -> Result<(), Failure> {
        for probe in &entry.probes[self.shown..] {
            print_err(&format!("  {}", entry.line(probe)));
        }
        self.shown = entry.probes.len();
        self.request
            .folder
            .write_json(PEAK_FILE, entry)
            .or_environment()
    }
}
