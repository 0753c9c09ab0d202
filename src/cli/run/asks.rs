//! What is asked: scenario files and flags -> the runs, and what their words come to once measured.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::args::RunArgs;
use super::compat::Compat;
use super::mode;
use crate::cli::failure::{Blame, Failure};
use crate::cli::peak::PeakAsk;
use crate::scenario::{Scenario, TestMode};
use crate::settings::mlperf_conf::ConfReader;
use crate::settings::rounds::Round;
use crate::settings::scenario_file::{Measured, Requirement, ScenarioFile, ScenarioRun};
use crate::settings::test_settings::{split_pair, TestSettings};
use crate::strict_toml::nearest;
use crate::summary::Rules;
use crate::units::Latency;

/// More time for a batch to fill is taken for a mistake.
const BATCH_TIMEOUT_US_MAX: u64 = 60_000_000;

/// Without another word, a Server batch that is not full waits this long.
const BATCH_TIMEOUT_US: u64 = 2_000;

/// A Server latency bound that follows the machine is at least this.
const BOUND_MIN_NS: f64 = 100e6;

/// A warm-up on a machine that was busy for a moment promises too little, and the one query of an
/// Offline run must not be over before its minimum duration.
const OFFLINE_MARGIN: f64 = 1.5;

const LOADGEN_SEARCH: &str = "The mode FindPeakPerformance makes detbench's own search, which \
    confirms its answer; `detbench simulate` makes LoadGen's.";

/// One run, with everything that can be known before the machine was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// How queries arrive.
    pub scenario: Scenario,
    /// What the run is for, where a file or a flag says it: one LoadGen test then. Without it the
    /// scenario is measured, and all pictures are scored once for all scenarios.
    pub mode: Option<TestMode>,
    /// The search that is made in the place of one run, if any.
    pub peak: Option<PeakAsk>,
    /// Settings, still without those of `measured`.
    settings: TestSettings,
    /// Which settings wait for a measurement.
    pub measured: Measured,
    /// What the verdict asks for.
    pub rules: Rules,
    /// Samples in one inference, at most.
    pub batch_size: usize,
    /// How long a batch that is not full waits.
    pub batch_timeout: Latency,
    /// Warnings for the detail log.
    pub warnings: Vec<String>,
}

/// What a machine promises or has shown, for the settings that are words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Samples a second of all instances at their fastest.
    pub promised: f64,
    /// Samples a second of the Offline run before, if there was one.
    pub offline: Option<f64>,
    /// Time of the fastest inference with its post-processing.
    pub fastest: Latency,
    /// Sessions side by side.
    pub instances: usize,
    /// Whether the warm-up showed it; without one it is a guess.
    pub is_known: bool,
}

/// A Server rate so many times what the machine promises is taken for a mistake: its backlog
/// would fill the memory long before the run ends.
const OVERLOAD_MAX: f64 = 100.0;

/// The same where no warm-up was made and the promise is a guess.
const OVERLOAD_MAX_GUESSED: f64 = 10_000.0;

/// All that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// For the run folder's name.
    pub name: String,
    /// What a reader of the report must know about the rules.
    pub notes: Vec<String>,
    /// What LoadGen would have passed over in silence in its files, once each.
    pub file_notes: Vec<String>,
    /// The runs, in order.
    pub asks: Vec<Ask>,
    /// Whose conventions are followed.
    pub compat: Compat,
}

impl Asked {
    /// Whether all pictures are scored once, apart from the scenarios' own tests.
    pub fn scores_apart(&self) -> bool {
        self.asks.iter().any(|ask| ask.mode.is_none())
    }

    /// Whether anything is to be scored.
    pub fn wants_accuracy(&self, benchmark_only: bool) -> bool {
        self.asks.iter().any(|ask| match ask.mode {
            None => !benchmark_only,
            Some(TestMode::AccuracyOnly | TestMode::SubmissionRun) => true,
            Some(TestMode::PerformanceOnly | TestMode::FindPeakPerformance) => false,
        })
    }

    /// How long measuring takes at least, for people.
    pub fn expectation(&self, mode_count: usize) -> String {
        let least = |ask: &Ask| Latency::from_millis(ask.settings.min_duration_ms);
        let measured = || {
            let asks = self.asks.iter();
            asks.filter(|ask| ask.test_mode() != TestMode::AccuracyOnly)
        };
        let runs = measured().map(|ask| {
            let time = rough_time(least(ask));
            match ask.peak {
                Some(_) => format!("{} {time} after the probes of a peak search", ask.scenario),
                // LoadGen's least number of samples takes minutes whatever the duration, so it is named.
                None if ask.scenario == Scenario::Offline => format!(
                    "{} {time} and {} pictures",
                    ask.scenario, ask.settings.min_query_count
                ),
                None => format!("{} {time}", ask.scenario),
            }
        });
        let runs = runs.collect::<Vec<_>>().join(", ");
        if runs.is_empty() {
            return "every picture once in each scenario's test, whatever the durations".to_owned();
        }
        let total: u64 = measured().map(|ask| least(ask).as_nanos()).sum();
        let total = rough_time(Latency::from_nanos(total.saturating_mul(mode_count as u64)));
        let modes = if mode_count > 1 {
            ", with each NMS mode"
        } else {
            ""
        };
        format!(
            "at least {total} of measuring ({runs}{modes}), besides loading, warm-up and accuracy"
        )
    }

    /// Reads the scenario files that the flags name and lays the flags over them.
    pub fn read(args: &RunArgs) -> Result<Self, Failure> {
        let mut asked = Self {
            name: String::new(),
            notes: Vec::new(),
            file_notes: Vec::new(),
            asks: Vec::new(),
            compat: Compat::read(&args.compat)?,
        };
        for name in &args.scenario {
            let file = scenario_file(name)?;
            if !asked.name.is_empty() {
                asked.name.push('+');
            }
            asked.name.push_str(&file.name);
            // Files of LoadGen's own take the place of what the note tells of.
            if !args.conf.has_settings() {
                asked.notes.extend(file.note.clone());
            }
            for run in &file.runs {
                let ask = Ask::new(run, file.early_stopping, args, &mut asked.file_notes)?;
                asked.asks.push(ask);
            }
        }
        asked.file_notes.extend(args.conf.passed_over());
        let mut told = BTreeSet::new();
        asked.file_notes.retain(|note| told.insert(note.clone()));
        Ok(asked)
    }
}

/// A time as people plan with it: `4 s`, `10 min`, `2.5 h`.
pub fn rough_time(span: Latency) -> String {
    let seconds = span.as_secs_f64();
    match seconds {
        0.0..1.0 => span.to_string(),
        1.0..120.0 => format!("{seconds:.0} s"),
        120.0..7_200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3_600.0),
    }
}

fn scenario_file(name: &str) -> Result<ScenarioFile, Failure> {
    if let Some(file) = ScenarioFile::shipped(name) {
        return Ok(file);
    }
    let path = Path::new(name);
    let is_file = path
        .extension()
        .is_some_and(|extension| extension == "toml")
        || path.is_file();
    if is_file {
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("scenario file {name} cannot be read: {error}"))
        })?;
        let stem = path
            .file_stem()
            .map_or(name.into(), |stem| stem.to_string_lossy());
        return ScenarioFile::parse(&text, name, &stem).or_usage();
    }
    let known = Scenario::ALL.map(Scenario::name);
    let candidates = known.into_iter().chain(ScenarioFile::shipped_names());
    let hint = nearest(name, candidates).map_or_else(String::new, |nearest| {
        format!("; did you mean `{nearest}`?")
    });
    Err(Failure::usage(format!(
        "there is no scenario `{name}`; known are {}, smoke, or a file ending in .toml{hint}",
        known.join(", ")
    )))
}

impl Ask {
    fn new(
        run: &ScenarioRun,
        stopping: Requirement,
        args: &RunArgs,
        notes: &mut Vec<String>,
    ) -> Result<Self, Failure> {
        let batch_size = args.batch_size.or(run.batch_size).unwrap_or(1);
        let timeout_us = args
            .batch_timeout_us
            .or(run.batch_timeout_us)
            .unwrap_or(BATCH_TIMEOUT_US);
        if timeout_us > BATCH_TIMEOUT_US_MAX {
            return Err(Failure::usage(format!(
                "--batch-timeout-us {timeout_us}: give at most {BATCH_TIMEOUT_US_MAX}"
            )));
        }
        let waits = run.scenario == Scenario::Server && batch_size > 1;
        let mut ask = Self {
            scenario: run.scenario,
            mode: None,
            peak: None,
            settings: run.settings.clone(),
            measured: run.measured,
            rules: Rules {
                early_stopping_required: stopping == Requirement::Required,
                ..Rules::MLPERF
            },
            batch_size,
            batch_timeout: Latency::from_micros(if waits { timeout_us } else { 0 }),
            warnings: Vec::new(),
        };
        let of_files = ask.apply_files(args, notes)?;
        ask.overlay(args)?;
        let of_audit = ask.apply_audit(args, notes)?;
        ask.mode = mode::decide(args, of_files, of_audit)?;
        ask.apply_peak(args, notes)?;
        ask.settings.validate().or_usage()?;
        Ok(ask)
    }

    /// A search is a performance test; LoadGen's mode for it makes ours, which says so.
    fn apply_peak(&mut self, args: &RunArgs, notes: &mut Vec<String>) -> Result<(), Failure> {
        match self.mode {
            Some(TestMode::FindPeakPerformance) => {
                self.peak = Some(args.peak.demand(self.scenario)?);
                self.mode = Some(TestMode::PerformanceOnly);
                notes.push(LOADGEN_SEARCH.to_owned());
            }
            Some(mode @ (TestMode::AccuracyOnly | TestMode::SubmissionRun))
                if args.peak.find_peak =>
            {
                return Err(Failure::usage(format!(
                    "--find-peak and the mode {mode} exclude each other: leave one of them out"
                )));
            }
            Some(_) | None => self.peak = args.peak.ask(self.scenario)?,
        }
        Ok(())
    }

    /// The same run with other settings, which wait for no measurement.
    pub fn with_settings(&self, settings: TestSettings) -> Self {
        Self {
            settings,
            measured: Measured::default(),
            peak: None,
            ..self.clone()
        }
    }

    /// What the scenario's own test is for.
    pub fn test_mode(&self) -> TestMode {
        self.mode.unwrap_or(TestMode::PerformanceOnly)
    }

    /// LoadGen's configuration files take the place of the scenario's own settings and words, and
    /// with them come the full rules; a round only gives its seeds. Gives the files' mode.
    fn apply_files(
        &mut self,
        args: &RunArgs,
        notes: &mut Vec<String>,
    ) -> Result<Option<TestMode>, Failure> {
        let mut mode = None;
        if args.conf.has_settings() {
            let reader = args.conf.reader(self.scenario).or_usage()?;
            mode = reader.mode;
            notes.extend(reader.notes.iter().map(ToString::to_string));
            self.settings = reader.settings;
            self.measured = Measured::default();
            self.rules = Rules::MLPERF;
        }
        if let Some(round) = &args.round {
            Round::find(round).or_usage()?.apply(&mut self.settings);
        }
        Ok(mode)
    }

    /// The audit file wins over everything, as in LoadGen. Gives its mode.
    fn apply_audit(
        &mut self,
        args: &RunArgs,
        notes: &mut Vec<String>,
    ) -> Result<Option<TestMode>, Failure> {
        let mut reader = ConfReader::new("*", self.scenario, args.conf.strict);
        reader.settings = self.settings.clone();
        if let Some(warning) = args.conf.apply_audit(&mut reader).or_usage()? {
            notes.extend(reader.notes.iter().map(ToString::to_string));
            self.settings = reader.settings;
            self.warnings.push(warning.to_owned());
        }
        Ok(reader.mode)
    }

    fn overlay(&mut self, args: &RunArgs) -> Result<(), Failure> {
        if let Some(seed) = args.seed {
            for key in ["qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed"] {
                self.set(key, &seed.to_string())?;
            }
        }
        if let Some(span) = args.duration {
            let ms = span.0.as_nanos().div_ceil(1_000_000);
            self.set("min_duration_ms", &ms.to_string())?;
        }
        match args.target_qps.as_deref() {
            None => {}
            Some("auto") => {
                self.measured.server_rate = true;
                self.measured.offline_rate = true;
            }
            Some(rate) => {
                self.set("server_target_qps", rate)?;
                self.set("offline_expected_qps", rate)?;
            }
        }
        for pair in &args.set {
            let (key, value) = split_pair(pair).or_usage()?;
            self.set(key, value)?;
        }
        Ok(())
    }

    /// Sets a setting, which then no longer waits for a measurement.
    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        self.settings.set(key, value).or_usage()?;
        match key {
            "offline_expected_qps" => self.measured.offline_rate = false,
            "server_target_qps" => self.measured.server_rate = false,
            "server_target_latency_ns" => self.measured.server_bound = false,
            "single_stream_expected_latency_ns" | "multi_stream_expected_latency_ns" => {
                self.measured.expected_latency = false;
            }
            _ => {}
        }
        Ok(())
    }

    /// The settings as far as they are known before anything was measured.
    pub fn settings(&self) -> &TestSettings {
        &self.settings
    }

    /// Refuses a Server rate that is out of all proportion to the machine.
    pub fn check_rate(&self, settings: &TestSettings, pace: &Pace) -> Result<(), Failure> {
        let (asked, promised) = (settings.server_target_qps.as_per_second(), pace.promised);
        let limit = if pace.is_known {
            OVERLOAD_MAX
        } else {
            OVERLOAD_MAX_GUESSED
        };
        if self.scenario == Scenario::Server && asked > limit * promised {
            return Err(Failure::usage(format!(
                "a Server rate of {asked}/s is more than {limit} times the {promised:.0}/s that this machine may reach; lower --target-qps"
            )));
        }
        Ok(())
    }

    /// The settings with the machine's pace in the place of words.
    pub fn settle(&self, pace: &Pace) -> TestSettings {
        let mut settings = self.settings.clone();
        let rate = pace.offline.unwrap_or(pace.promised);
        let mut set = |key: &str, value: f64| {
            settings
                .set(key, &value.to_string())
                .expect("a measured pace is a positive number");
        };
        if self.measured.offline_rate {
            set("offline_expected_qps", OFFLINE_MARGIN * pace.promised);
        }
        if self.measured.server_rate {
            set("server_target_qps", rate / 2.0);
        }
        if self.measured.server_bound {
            let service_ns = 1e9 * pace.instances as f64 / rate;
            set(
                "server_target_latency_ns",
                (10.0 * service_ns).max(BOUND_MIN_NS).round(),
            );
        }
        if self.measured.expected_latency {
            // Half of the fastest: a query faster than any seen so far must not use up the plan.
            let fastest = pace.fastest.as_nanos() as f64 / 2.0;
            let rounds = self
                .settings
                .multi_stream_samples_per_query
                .div_ceil((pace.instances * self.batch_size) as u64);
            set("single_stream_expected_latency_ns", fastest);
            set("multi_stream_expected_latency_ns", fastest * rounds as f64);
        }
        settings
    }
}
