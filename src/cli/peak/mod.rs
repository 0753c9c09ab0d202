//! A peak search around whatever makes the runs: a model on real time or a simulation on virtual time.

pub mod args;

use crate::cli::failure::Failure;
use crate::drive::{Ending, Progress};
use crate::issue::IssueEnd;
use crate::metrics::early_stopping::{min_query_count, passing_needed};
use crate::peak::{
    probe_seed, Load, Probe, ProbeRules, ProbeWatch, Purpose, Search, SearchRules, Slo, SurelyEnded,
};
use crate::plan::Plan;
use crate::record::Record;
use crate::report::document::RunEntry;
use crate::report::peak::{PeakEntry, ProbeEntry};
use crate::scenario::Scenario;
use crate::settings::test_settings::TestSettings;
use crate::summary::{conclude, Rules, Summary};
use crate::units::{Latency, Rate};

pub use self::args::{PeakArgs, PeakAsk};

/// Nothing is tried above this many times what the fastest answers promise. Nothing can pass for long above
/// the promise itself, but a warm-up in a busy moment promises too little.
const CEILING: f64 = 2.0;

/// The same where the promise is a guess.
const CEILING_GUESSED: f64 = 100.0;

/// A rate below this share of the promise hardly ever finds a queue: what fails there always fails.
const FLOOR: f64 = 0.01;

/// A search begins at this share of the promise at least; below it every probe takes its full
/// length and none could fail that the next would not.
const START_LEAST: f64 = 1.0 / 16.0;

/// More samples in a query are taken for a mistake.
const STREAMS_MAX: f64 = 65_536.0;

/// This part of its length a probe waits before the binomial test may fail it, and so long the search
/// pauses before it repeats a load that failed, so that one stall is not met twice.
const PATIENCE: u64 = 4;

/// A closed loop has no queue that could still be growing.
const LEAST_PASS_BOUNDS_CLOSED: u64 = 20;

/// What the system promises before anything was searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promise {
    /// Samples a second, if every answer were as fast as the fastest seen.
    pub samples_per_second: f64,
    /// Time of the fastest answer.
    pub fastest: Latency,
    /// Whether anything was seen.
    pub is_known: bool,
}

/// Makes the runs of a search.
pub trait Trials {
    /// The plan of a run under these settings.
    ///
    /// # Errors
    /// When they make none.
    fn plan(&self, settings: &TestSettings) -> Result<Plan, Failure>;

    /// Makes a probe, which `observe` may end; answers that are outstanding then never reach a later
    /// run. Nothing is written.
    ///
    /// # Errors
    /// When the system under test fails.
    fn probe(
        &mut self,
        plan: &Plan,
        number: u32,
        observe: &mut dyn FnMut(&Progress<'_>),
    ) -> Result<(Record, Ending), Failure>;

    /// Makes a run of full length as any other, files and all; `None` when it was interrupted before
    /// anything was issued.
    ///
    /// # Errors
    /// When the system under test fails or a file cannot be written.
    fn confirm(&mut self, settings: &TestSettings) -> Result<Option<Summary>, Failure>;

    /// Lets time pass in which nothing is issued; an interrupt may cut it short.
    fn pause(&mut self, span: Latency);

    /// Called before a run.
    fn begins(&mut self, _entry: &PeakEntry, _probe: &Probe) {}

    /// Called with everything found so far after each run.
    ///
    /// # Errors
    /// When it cannot be written.
    fn told(&mut self, entry: &PeakEntry) -> Result<(), Failure>;
}

/// What is searched.
#[derive(Debug, Clone, Copy)]
pub struct Quest<'a> {
    /// By the flags.
    pub ask: &'a PeakAsk,
    /// In which scenario: Server or MultiStream.
    pub scenario: Scenario,
    /// Around these settings.
    pub settings: &'a TestSettings,
    /// By which rules a confirming run is judged.
    pub rules: Rules,
    /// What the system promises.
    pub promise: Promise,
}

impl Quest<'_> {
    /// Searches to the end, or to an interrupt, which leaves the entry's `end` empty.
    ///
    /// # Errors
    /// Those of `trials`.
    pub fn seek(&self, trials: &mut dyn Trials) -> Result<PeakEntry, Failure> {
        let slo = self.ask.objective(self.scenario, self.settings);
        let rules = self.search_rules(slo);
        let mut search = Search::new(rules);
        let mut entry = PeakEntry::new(slo, &rules);
        while let Some(probe) = search.next_probe() {
            if probe.purpose == Purpose::Repeat {
                trials.pause(self.patience());
            }
            trials.begins(&entry, &probe);
            let made = match probe.purpose {
                Purpose::Confirm => self.confirm(trials, slo, &probe)?,
                _ => self.probe(trials, slo, &probe)?,
            };
            let Some(made) = made else { break };
            search.tell(made.passed);
            entry.probes.push(made);
            entry.update(search.answer());
            trials.told(&entry)?;
        }
        entry.update(search.answer());
        trials.told(&entry)?;
        Ok(entry)
    }

    fn load(&self) -> Load {
        match self.scenario {
            Scenario::MultiStream => Load::Streams,
            _ => Load::Rate,
        }
    }

    fn search_rules(&self, slo: Slo) -> SearchRules {
        let margin = if self.promise.is_known {
            CEILING
        } else {
            CEILING_GUESSED
        };
        let promised = self.promise.samples_per_second;
        let (wanted, least, ceiling, floor) = match self.load() {
            Load::Rate => {
                let ceiling = self.ask.load_max.unwrap_or(margin * promised);
                let wanted = self.settings.server_target_qps.as_per_second();
                (wanted, START_LEAST * promised, ceiling, FLOOR * promised)
            }
            Load::Streams => {
                // What could be answered within the bound.
                let most = (margin * promised * slo.bound.as_secs_f64()).ceil();
                let ceiling = self.ask.load_max.unwrap_or(most).clamp(1.0, STREAMS_MAX);
                let wanted = self.settings.multi_stream_samples_per_query as f64;
                (wanted, 1.0, ceiling, 1.0)
            }
        };
        let start = wanted.max(least).min(ceiling);
        SearchRules {
            load: self.load(),
            start,
            floor: floor.min(start),
            ceiling,
            precision: self.ask.precision,
        }
    }

    /// The settings of a run of full length at a load. Where early stopping judges it, it gets the
    /// queries that the test needs at least: with fewer no load could be confirmed.
    fn settings_at(&self, slo: Slo, load: f64) -> TestSettings {
        let mut settings = self.settings.clone();
        if self.rules.early_stopping_required {
            let enough = min_query_count(slo.quantile);
            settings.min_query_count = settings.min_query_count.max(enough);
        }
        match self.load() {
            Load::Rate => {
                settings.server_target_qps = Rate::per_second(load).expect("loads are above zero");
                settings.server_target_latency_ns = slo.bound.as_nanos();
                settings.server_target_latency_percentile = slo.quantile;
            }
            Load::Streams => {
                settings.multi_stream_samples_per_query = load as u64;
                settings.multi_stream_target_latency_percentile = slo.quantile;
                // Half of the shortest a query can take, so that the plan does not run out.
                let shortest = (load / self.promise.samples_per_second)
                    .max(self.promise.fastest.as_secs_f64());
                settings.multi_stream_expected_latency_ns = (0.5e9 * shortest).max(1.0);
            }
        }
        settings
    }

    /// The settings of a probe: shorter, and under a schedule of its own.
    fn settings_of_probe(&self, slo: Slo, probe: &Probe) -> (TestSettings, u64) {
        let mut settings = self.settings_at(slo, probe.load);
        settings.min_duration_ms = self.probe_duration_ms();
        // With fewer queries no percentile is proven, even if none of them is slow. A slow rate does
        // not get to so many in time, and is judged by the percentile of those it has.
        let mut enough = passing_needed(slo.quantile, 0);
        if self.load() == Load::Rate {
            enough = enough.min((probe.load * self.ask.probe.as_secs_f64()).ceil() as u64);
        }
        settings.min_query_count = self.settings.min_query_count.min(enough);
        settings.max_duration_ms = 0;
        settings.max_query_count = 0;
        settings.accuracy_log_probability = 0.0;
        settings.accuracy_log_sampling_target = 0;
        let own = match self.load() {
            Load::Rate => [
                &mut settings.schedule_rng_seed,
                &mut settings.test05_schedule_rng_seed,
            ],
            Load::Streams => [
                &mut settings.sample_index_rng_seed,
                &mut settings.test05_sample_index_rng_seed,
            ],
        };
        for seed in own {
            *seed = probe_seed(*seed, probe.number);
        }
        let seed = self.seed_in_use(&settings);
        (settings, seed)
    }

    fn probe_duration_ms(&self) -> u64 {
        let longest = self.ask.probe.as_nanos().div_ceil(1_000_000);
        self.settings.min_duration_ms.min(longest)
    }

    fn patience(&self) -> Latency {
        Latency::from_millis(self.probe_duration_ms() / PATIENCE)
    }

    fn seed_in_use(&self, settings: &TestSettings) -> u64 {
        match (self.load(), settings.test05) {
            (Load::Rate, false) => settings.schedule_rng_seed,
            (Load::Rate, true) => settings.test05_schedule_rng_seed,
            (Load::Streams, false) => settings.sample_index_rng_seed,
            (Load::Streams, true) => settings.test05_sample_index_rng_seed,
        }
    }

    fn probe_rules(&self, slo: Slo, plan: &Plan) -> ProbeRules {
        let bounds = |count: f64| Latency::from_nanos((slo.bound.as_nanos() as f64 * count) as u64);
        let (query_count, least_pass) = match self.load() {
            // A rate that exceeds capacity by half of the precision lets the delay grow by that share
            // of the time, so that it reaches the bound after this long.
            Load::Rate => {
                let generated = plan.generated(&plan.sets()[0]).query_count;
                (Some(generated), bounds(2.0 / self.ask.precision))
            }
            // How many queries a closed loop gets to is not known beforehand.
            Load::Streams => (None, bounds(LEAST_PASS_BOUNDS_CLOSED as f64)),
        };
        ProbeRules {
            slo,
            query_count,
            least_pass,
            least_fail: self.patience(),
        }
    }

    /// `None` when it was interrupted.
    fn probe(
        &self,
        trials: &mut dyn Trials,
        slo: Slo,
        probe: &Probe,
    ) -> Result<Option<ProbeEntry>, Failure> {
        let (settings, seed) = self.settings_of_probe(slo, probe);
        let plan = trials.plan(&settings)?;
        let mut watch = ProbeWatch::new(self.probe_rules(slo, &plan));
        let mut ended = None;
        let mut observe = |progress: &Progress<'_>| {
            ended = watch.look(progress.record, progress.now);
            if ended.is_some() {
                progress.end_run();
            }
        };
        let (record, ending) = trials.probe(&plan, probe.number, &mut observe)?;
        if ending == Ending::Interrupted {
            return Ok(None);
        }
        let (_, overlatency_count) = watch.counts();
        let summary = conclude(record, plan.effective(), ending, self.rules);
        let is_kept = summary.target.1.is_some_and(|latency| latency <= slo.bound);
        let (passed, ended) = match (ending, ended) {
            (Ending::Decided, Some(SurelyEnded::Within)) => (true, "surely_within"),
            (Ending::Decided, Some(SurelyEnded::Beyond)) => (false, "surely_beyond"),
            (Ending::Decided, _) => (false, "allowance_exhausted"),
            (Ending::NoProgress { .. }, _) => (false, "no_progress"),
            (Ending::Complete(IssueEnd::OutstandingMax { .. }), _) => (false, "outstanding_max"),
            (Ending::Complete(_) | Ending::Interrupted, _) => (is_kept, "complete"),
        };
        Ok(Some(ProbeEntry {
            overlatency_count: Some(overlatency_count),
            ..entry_of(probe, seed, &summary, passed, ended)
        }))
    }

    /// `None` when it was interrupted.
    fn confirm(
        &self,
        trials: &mut dyn Trials,
        slo: Slo,
        probe: &Probe,
    ) -> Result<Option<ProbeEntry>, Failure> {
        let settings = self.settings_at(slo, probe.load);
        let summary = trials.confirm(&settings)?;
        let Some(summary) = summary.filter(|summary| summary.ending != Ending::Interrupted) else {
            return Ok(None);
        };
        let mut reasons: Vec<String> = summary
            .verdict
            .reasons()
            .iter()
            .map(ToString::to_string)
            .collect();
        if self.load() == Load::Streams {
            reasons.extend(broken_by_queries(&summary, slo, self.rules));
        }
        let seed = self.seed_in_use(&settings);
        let entry = entry_of(probe, seed, &summary, reasons.is_empty(), "complete");
        Ok(Some(ProbeEntry { reasons, ..entry }))
    }
}

/// MultiStream has no bound of its own to be judged by: the search's objective is applied here, to
/// the estimate of early stopping where that is required.
fn broken_by_queries(summary: &Summary, slo: Slo, rules: Rules) -> Option<String> {
    let estimate = summary.early_stopping.tail_latency();
    let latency = match estimate {
        Some(estimate) if rules.early_stopping_required => estimate,
        _ => summary.target.1.unwrap_or(Latency::ZERO),
    };
    (latency > slo.bound).then(|| {
        format!(
            "{} latency of queries {latency} is over the objective's bound of {}",
            slo.quantile, slo.bound
        )
    })
}

fn entry_of(
    probe: &Probe,
    seed: u64,
    summary: &Summary,
    passed: bool,
    ended: &'static str,
) -> ProbeEntry {
    ProbeEntry {
        number: probe.number,
        purpose: probe.purpose.name(),
        load: probe.load,
        seed,
        query_count: summary.query_count,
        overlatency_count: summary.overlatency_count,
        latency_ns: summary.target.1,
        elapsed_ns: summary.elapsed,
        passed,
        ended,
        reasons: Vec::new(),
    }
}

/// The file in the run folder that has the search, written anew after every run of it.
pub const PEAK_FILE: &str = "peak.json";

/// The entry of a search: that of its last confirming run, or one without performance, with the search
/// and its verdict in it.
pub fn closing_entry(mut entry: RunEntry, scenario: Scenario, peak: PeakEntry) -> RunEntry {
    entry.scenario = Some(scenario);
    if !peak.confirmed {
        entry.valid = Some(false);
        entry.invalid_reasons.insert(0, peak.answer());
    }
    entry.peak = Some(peak);
    entry
}
