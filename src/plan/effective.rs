//! What the settings come to for one scenario, mode and library.

use serde::Serialize;

use super::PlanError;
use crate::scenario::{Scenario, TestMode};
use crate::settings::rounds::Seeds;
use crate::settings::test_settings::{TestSettings, COUNT_MAX};
use crate::units::{Latency, Quantile, Rate};

/// Offline prepares this much more than its expected rate and duration need.
const OFFLINE_SLACK: f64 = 1.1;

/// SingleStream in whole permutations prepares this much more than rate and duration need.
const PERMUTATION_SLACK: f64 = 2.0;

/// The settings as a run applies them: LoadGen's `effective_*`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "LoadGen has these switches, each on its own"
)]
pub struct EffectiveSettings {
    /// How queries arrive.
    pub scenario: Scenario,
    /// What the test is for; TEST05 makes it a performance run.
    pub mode: TestMode,
    /// Samples in a query. SingleStream and Server have 1, MultiStream has the setting, Offline
    /// has one query with what the expected rate needs for the minimum duration, 10 % more, but
    /// at least the minimum number of queries (with unique samples: exactly a set).
    pub samples_per_query: u64,
    /// Queries a second that are expected (Single- and MultiStream, from the expected latency) or
    /// asked for (Server); Offline: the expected samples a second.
    pub target_rate: Rate,
    /// The latency that Server must keep; zero elsewhere.
    pub target_latency: Latency,
    /// The percentile that is reported, and that must keep the latency. Offline: always the 99th.
    pub target_quantile: Quantile,
    /// LoadGen's `max_async_queries` as logged: Server's setting (0 means no limit), elsewhere 1.
    pub max_async_queries: u64,
    /// A run goes on until this has passed; zero for Offline, whose one query cannot go on.
    pub target_duration: Latency,
    /// A valid performance run lasts at least so long.
    pub min_duration: Latency,
    /// A run is ended with an error after this, if at all.
    pub max_duration: Option<Latency>,
    /// A valid performance run has at least so many queries; Offline: 1.
    pub min_query_count: u64,
    /// A run is ended with an error after so many queries, if at all.
    pub max_query_count: Option<u64>,
    /// A valid performance run has at least so many samples.
    pub min_sample_count: u64,
    /// The seeds of the run, those of TEST05 where it is asked for.
    pub seeds: Seeds,
    /// Seed of the choice of answers that a performance run logs.
    pub accuracy_log_seed: u64,
    /// Share of the answers that a performance run logs.
    pub accuracy_log_probability: f64,
    /// Expected number of answers that a performance run logs; above 0 it overrides the share.
    pub accuracy_log_sampling_target: u64,
    /// Whether overdue Server queries are issued together.
    pub server_coalesce_queries: bool,
    /// Threads that issue Server queries; 0 means the one that runs the test.
    pub server_num_issue_query_threads: u64,
    /// LoadGen's setting of this name; it changes nothing that is issued.
    pub print_timestamps: bool,
    /// Whether every start in the set is used once.
    pub performance_issue_unique: bool,
    /// Whether one sample of the set is asked for over and over.
    pub performance_issue_same: bool,
    /// Which one: its position in the loaded set.
    pub performance_issue_same_index: u64,
    /// Samples that are loaded at a time.
    pub performance_sample_count: usize,
    /// Samples that an accuracy run asks for.
    pub accuracy_sample_count: usize,
    /// Whether samples are asked for in whole permutations of the loaded set.
    pub sample_concatenate_permutation: bool,
}

impl EffectiveSettings {
    /// Applies the rules of `scenario` and `mode` to `settings`.
    pub(super) fn new(
        settings: &TestSettings,
        scenario: Scenario,
        mode: TestMode,
        total: usize,
        performance: usize,
    ) -> Result<Self, PlanError> {
        let mode = if settings.test05 {
            TestMode::PerformanceOnly
        } else {
            mode
        };
        check_request(settings, scenario, mode, total)?;
        let target_rate = target_rate(settings, scenario)?;
        let performance_sample_count =
            count_or(settings.performance_sample_count_override, performance);
        if performance_sample_count == 0 {
            return Err(PlanError::NoPerformanceSamples);
        }
        let samples_per_query = match scenario {
            Scenario::SingleStream | Scenario::Server => 1,
            Scenario::MultiStream => settings.multi_stream_samples_per_query,
            Scenario::Offline if settings.performance_issue_unique => {
                performance_sample_count as u64
            }
            Scenario::Offline => settings
                .min_query_count
                .max((OFFLINE_SLACK * seconds(settings) * target_rate.as_per_second()) as u64),
        };
        let min_query_count = min_query_count(settings, scenario, target_rate, performance);
        // Refused here, so that no later step has to reckon with numbers beyond all counting.
        let most = samples_per_query.max(min_query_count);
        if most > COUNT_MAX {
            return Err(PlanError::TooManySamples { count: most as f64 });
        }
        let min_duration = Latency::from_millis(settings.min_duration_ms);
        let server = scenario == Scenario::Server;
        let offline = scenario == Scenario::Offline;
        Ok(Self {
            scenario,
            mode,
            samples_per_query,
            target_rate,
            target_latency: Latency::from_nanos(if server {
                settings.server_target_latency_ns
            } else {
                0
            }),
            target_quantile: match scenario {
                Scenario::SingleStream => settings.single_stream_target_latency_percentile,
                Scenario::MultiStream => settings.multi_stream_target_latency_percentile,
                Scenario::Server => settings.server_target_latency_percentile,
                Scenario::Offline => Quantile::P99,
            },
            max_async_queries: if server {
                settings.server_max_async_queries
            } else {
                1
            },
            target_duration: if offline { Latency::ZERO } else { min_duration },
            min_duration,
            max_duration: above_zero(settings.max_duration_ms).map(Latency::from_millis),
            min_query_count,
            max_query_count: above_zero(settings.max_query_count),
            min_sample_count: min_query_count.saturating_mul(samples_per_query),
            seeds: seeds(settings),
            accuracy_log_seed: settings.accuracy_log_rng_seed,
            accuracy_log_probability: settings.accuracy_log_probability,
            accuracy_log_sampling_target: settings.accuracy_log_sampling_target,
            server_coalesce_queries: settings.server_coalesce_queries,
            server_num_issue_query_threads: settings.server_num_issue_query_threads,
            print_timestamps: settings.print_timestamps,
            performance_issue_unique: settings.performance_issue_unique,
            performance_issue_same: settings.performance_issue_same,
            performance_issue_same_index: settings.performance_issue_same_index,
            performance_sample_count,
            accuracy_sample_count: count_or(settings.accuracy_sample_count_override, total),
            sample_concatenate_permutation: settings.sample_concatenate_permutation,
        })
    }

    /// Threads that issue: Server's setting, where none means the one that runs the test; the
    /// other scenarios have one loop.
    pub fn issue_threads(&self) -> u32 {
        match self.scenario {
            Scenario::Server => self.server_num_issue_query_threads.max(1) as u32,
            Scenario::SingleStream | Scenario::MultiStream | Scenario::Offline => 1,
        }
    }

    /// Distance between the starts of queries that do not overlap.
    pub(super) const fn stride(&self) -> u64 {
        match self.scenario {
            Scenario::MultiStream => self.samples_per_query,
            Scenario::SingleStream | Scenario::Server | Scenario::Offline => 1,
        }
    }

    /// Whole nanoseconds from one expected query to the next.
    pub(super) fn period(&self) -> Latency {
        Latency::from_nanos((1e9 * (1.0 / self.target_rate.as_per_second())) as u64)
    }
}

fn check_request(
    settings: &TestSettings,
    scenario: Scenario,
    mode: TestMode,
    total: usize,
) -> Result<(), PlanError> {
    if total == 0 {
        return Err(PlanError::EmptyLibrary);
    }
    if u32::try_from(total).is_err() {
        return Err(PlanError::LibraryTooLarge { total });
    }
    if mode == TestMode::FindPeakPerformance && scenario != Scenario::Server {
        return Err(PlanError::PeakNeedsServer { scenario });
    }
    if scenario == Scenario::MultiStream {
        if settings.performance_issue_unique && settings.sample_concatenate_permutation {
            return Err(PlanError::UniquePermutations);
        }
        // The set is padded with the samples of a query, and positions in it have 32 bits.
        let padded = total as u64 + settings.multi_stream_samples_per_query;
        if u32::try_from(padded).is_err() {
            return Err(PlanError::TooManySamples {
                count: padded as f64,
            });
        }
        // Checked before the padding takes memory.
        let count = settings
            .min_query_count
            .saturating_mul(settings.multi_stream_samples_per_query);
        if count > COUNT_MAX {
            return Err(PlanError::TooManySamples {
                count: count as f64,
            });
        }
    }
    Ok(())
}

fn target_rate(settings: &TestSettings, scenario: Scenario) -> Result<Rate, PlanError> {
    let of_latency =
        |key, ns: f64| Rate::per_second(1e9 / ns).ok_or(PlanError::NoRate { key, value: ns });
    match scenario {
        Scenario::SingleStream => of_latency(
            "single_stream_expected_latency_ns",
            settings.single_stream_expected_latency_ns,
        ),
        Scenario::MultiStream => of_latency(
            "multi_stream_expected_latency_ns",
            settings.multi_stream_expected_latency_ns,
        ),
        Scenario::Server => Ok(settings.server_target_qps),
        Scenario::Offline => Ok(settings.offline_expected_qps),
    }
}

/// The setting, except that Offline has one query and that SingleStream in whole permutations
/// prepares twice what the duration needs and ends on a multiple of the library's performance
/// count, adding a whole one when it already is a multiple.
fn min_query_count(
    settings: &TestSettings,
    scenario: Scenario,
    target_rate: Rate,
    performance: usize,
) -> u64 {
    match scenario {
        Scenario::Offline => 1,
        Scenario::SingleStream if settings.sample_concatenate_permutation && performance > 0 => {
            let paced = PERMUTATION_SLACK * seconds(settings) * target_rate.as_per_second();
            let count = settings.min_query_count.max(paced as u64);
            let performance = performance as u64;
            count.saturating_add(performance - count % performance)
        }
        Scenario::SingleStream | Scenario::MultiStream | Scenario::Server => {
            settings.min_query_count
        }
    }
}

fn seeds(settings: &TestSettings) -> Seeds {
    if settings.test05 {
        Seeds {
            qsl: settings.test05_qsl_rng_seed,
            sample_index: settings.test05_sample_index_rng_seed,
            schedule: settings.test05_schedule_rng_seed,
        }
    } else {
        Seeds {
            qsl: settings.qsl_rng_seed,
            sample_index: settings.sample_index_rng_seed,
            schedule: settings.schedule_rng_seed,
        }
    }
}

fn seconds(settings: &TestSettings) -> f64 {
    settings.min_duration_ms as f64 / 1000.0
}

fn count_or(setting: u64, default: usize) -> usize {
    above_zero(setting).map_or(default, |count| {
        usize::try_from(count).unwrap_or(usize::MAX)
    })
}

/// LoadGen writes "not limited" as 0.
fn above_zero(setting: u64) -> Option<u64> {
    (setting > 0).then_some(setting)
}
