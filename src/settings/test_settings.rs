//! The settings of a test: LoadGen's names, LoadGen's defaults, each a checked value.
//!
//! These are the settings as asked for. What a run does with them, such as the number of samples in the
//! Offline query, is worked out in [`crate::plan`].

use serde::Serialize;

use crate::units::{Quantile, Rate};

/// Queries and samples are numbered with 32 bits, so a test has at most 2^32 of them.
pub const COUNT_MAX: u64 = 1 << 32;

/// More issuing threads are taken for a mistake.
pub const THREADS_MAX: u64 = 256;

/// The longest duration that a setting may ask for: a year, in milliseconds.
pub const DURATION_MS_MAX: u64 = 365 * 24 * 3600 * 1000;

/// Everything LoadGen can be told about a test, except its scenario and mode.
///
/// Names, units and defaults are LoadGen's. Where LoadGen repairs or ignores an impossible value,
/// [`TestSettings::set`] and [`TestSettings::validate`] refuse it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "LoadGen has these switches, each on its own"
)]
pub struct TestSettings {
    /// How long a SingleStream query is thought to take, in nanoseconds; only the number of
    /// prepared queries depends on it.
    pub single_stream_expected_latency_ns: f64,
    /// The percentile that SingleStream reports.
    pub single_stream_target_latency_percentile: Quantile,
    /// How long a MultiStream query is thought to take, in nanoseconds.
    pub multi_stream_expected_latency_ns: f64,
    /// The percentile that MultiStream reports.
    pub multi_stream_target_latency_percentile: Quantile,
    /// Samples in each MultiStream query.
    pub multi_stream_samples_per_query: u64,
    /// Mean rate of Server queries.
    pub server_target_qps: Rate,
    /// The latency that Server's percentile must keep, in nanoseconds.
    pub server_target_latency_ns: u64,
    /// The percentile of Server that must keep the latency.
    pub server_target_latency_percentile: Quantile,
    /// Whether overdue Server queries are issued together.
    pub server_coalesce_queries: bool,
    /// Decimals to which a peak search pins the rate down.
    pub server_find_peak_qps_decimals_of_precision: u64,
    /// By which share a peak search raises the rate until it fails.
    pub server_find_peak_qps_boundary_step_size: f64,
    /// Server stops with an error beyond this many unanswered queries; 0 means no limit.
    pub server_max_async_queries: u64,
    /// Threads that issue Server queries; 0 means the one that runs the test.
    pub server_num_issue_query_threads: u64,
    /// Expected Offline throughput in samples a second; the size of the query depends on it.
    pub offline_expected_qps: Rate,
    /// Whether samples are asked for in whole permutations of the loaded set.
    pub sample_concatenate_permutation: bool,
    /// A valid run lasts at least so long, in milliseconds.
    pub min_duration_ms: u64,
    /// A run is ended with an error after so long, in milliseconds; 0 means never.
    pub max_duration_ms: u64,
    /// A valid run has at least so many queries.
    pub min_query_count: u64,
    /// A run is ended with an error after so many queries; 0 means never.
    pub max_query_count: u64,
    /// Seed of the choice of loaded samples. Of all seeds only the low 32 bits count.
    pub qsl_rng_seed: u64,
    /// Seed of the choice among the loaded samples.
    pub sample_index_rng_seed: u64,
    /// Seed of Server's schedule.
    pub schedule_rng_seed: u64,
    /// Seed of the choice of answers that a performance run logs.
    pub accuracy_log_rng_seed: u64,
    /// Share of the answers that a performance run logs.
    pub accuracy_log_probability: f64,
    /// Expected number of answers that a performance run logs; above 0 it overrides the share.
    pub accuracy_log_sampling_target: u64,
    /// Whether the TEST05 seeds replace the three others and a performance run is forced.
    pub test05: bool,
    /// TEST05's seed in place of `qsl_rng_seed`.
    pub test05_qsl_rng_seed: u64,
    /// TEST05's seed in place of `sample_index_rng_seed`.
    pub test05_sample_index_rng_seed: u64,
    /// TEST05's seed in place of `schedule_rng_seed`.
    pub test05_schedule_rng_seed: u64,
    /// Whether LoadGen would write issue and completion times of each query.
    pub print_timestamps: bool,
    /// Whether a performance run asks for every loaded sample once.
    pub performance_issue_unique: bool,
    /// Whether a performance run asks for one loaded sample over and over.
    pub performance_issue_same: bool,
    /// Which loaded sample that is: its position in the loaded set.
    pub performance_issue_same_index: u64,
    /// Samples that a performance run loads; 0 means as many as the library says.
    pub performance_sample_count_override: u64,
    /// Samples that an accuracy run asks for; 0 means the whole library.
    pub accuracy_sample_count_override: u64,
}

impl Default for TestSettings {
    fn default() -> Self {
        let one_per_second = Rate::per_second(1.0).expect("one is above zero");
        Self {
            single_stream_expected_latency_ns: 1e6,
            single_stream_target_latency_percentile: Quantile::P90,
            multi_stream_expected_latency_ns: 8e6,
            multi_stream_target_latency_percentile: Quantile::P99,
            multi_stream_samples_per_query: 8,
            server_target_qps: one_per_second,
            server_target_latency_ns: 100_000_000,
            server_target_latency_percentile: Quantile::P99,
            server_coalesce_queries: false,
            server_find_peak_qps_decimals_of_precision: 1,
            server_find_peak_qps_boundary_step_size: 1.0,
            server_max_async_queries: 0,
            server_num_issue_query_threads: 0,
            offline_expected_qps: one_per_second,
            sample_concatenate_permutation: false,
            min_duration_ms: 10_000,
            max_duration_ms: 0,
            min_query_count: 100,
            max_query_count: 0,
            qsl_rng_seed: 0,
            sample_index_rng_seed: 0,
            schedule_rng_seed: 0,
            accuracy_log_rng_seed: 0,
            accuracy_log_probability: 0.0,
            accuracy_log_sampling_target: 0,
            test05: false,
            test05_qsl_rng_seed: 0,
            test05_sample_index_rng_seed: 0,
            test05_schedule_rng_seed: 0,
            print_timestamps: false,
            performance_issue_unique: false,
            performance_issue_same: false,
            performance_issue_same_index: 0,
            performance_sample_count_override: 0,
            accuracy_sample_count_override: 0,
        }
    }
}

/// Every key that [`TestSettings::set`] knows, in the order of the fields.
pub const KEYS: [&str; 35] = [
    "single_stream_expected_latency_ns",
    "single_stream_target_latency_percentile",
    "multi_stream_expected_latency_ns",
    "multi_stream_target_latency_percentile",
    "multi_stream_samples_per_query",
    "server_target_qps",
    "server_target_latency_ns",
    "server_target_latency_percentile",
    "server_coalesce_queries",
    "server_find_peak_qps_decimals_of_precision",
    "server_find_peak_qps_boundary_step_size",
    "server_max_async_queries",
    "server_num_issue_query_threads",
    "offline_expected_qps",
    "sample_concatenate_permutation",
    "min_duration_ms",
    "max_duration_ms",
    "min_query_count",
    "max_query_count",
    "qsl_rng_seed",
    "sample_index_rng_seed",
    "schedule_rng_seed",
    "accuracy_log_rng_seed",
    "accuracy_log_probability",
    "accuracy_log_sampling_target",
    "test05",
    "test05_qsl_rng_seed",
    "test05_sample_index_rng_seed",
    "test05_schedule_rng_seed",
    "print_timestamps",
    "performance_issue_unique",
    "performance_issue_same",
    "performance_issue_same_index",
    "performance_sample_count_override",
    "accuracy_sample_count_override",
];

impl TestSettings {
    /// Sets the setting called `key` to what `value` says.
    ///
    /// Booleans are `true` and `false`, integers decimal, reals as Rust reads them, percentiles
    /// shares such as `0.99`.
    ///
    /// # Errors
    /// [`SettingError::UnknownKey`] offers the nearest key; [`SettingError::Value`] says what the
    /// key takes. The settings are then unchanged.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        let text = Text { key, value };
        match key {
            "single_stream_expected_latency_ns" => {
                self.single_stream_expected_latency_ns = text.nanoseconds()?;
            }
            "single_stream_target_latency_percentile" => {
                self.single_stream_target_latency_percentile = text.quantile()?;
            }
            "multi_stream_expected_latency_ns" => {
                self.multi_stream_expected_latency_ns = text.nanoseconds()?;
            }
            "multi_stream_target_latency_percentile" => {
                self.multi_stream_target_latency_percentile = text.quantile()?;
            }
            "multi_stream_samples_per_query" => {
                self.multi_stream_samples_per_query = text.count_above_zero()?;
            }
            "server_target_qps" => self.server_target_qps = text.rate()?,
            "server_target_latency_ns" => self.server_target_latency_ns = text.whole()?,
            "server_target_latency_percentile" => {
                self.server_target_latency_percentile = text.quantile()?;
            }
            "server_coalesce_queries" => self.server_coalesce_queries = text.truth()?,
            "offline_expected_qps" => self.offline_expected_qps = text.rate()?,
            "sample_concatenate_permutation" => {
                self.sample_concatenate_permutation = text.truth()?;
            }
            "min_duration_ms" => self.min_duration_ms = text.duration()?,
            "max_duration_ms" => self.max_duration_ms = text.duration()?,
            "min_query_count" => self.min_query_count = text.count()?,
            "max_query_count" => self.max_query_count = text.count()?,
            "accuracy_log_probability" => self.accuracy_log_probability = text.share()?,
            "accuracy_log_sampling_target" => self.accuracy_log_sampling_target = text.count()?,
            "test05" => self.test05 = text.truth()?,
            "print_timestamps" => self.print_timestamps = text.truth()?,
            "performance_issue_unique" => self.performance_issue_unique = text.truth()?,
            "performance_issue_same" => self.performance_issue_same = text.truth()?,
            "performance_issue_same_index" => self.performance_issue_same_index = text.count()?,
            "performance_sample_count_override" => {
                self.performance_sample_count_override = text.count()?;
            }
            "accuracy_sample_count_override" => {
                self.accuracy_sample_count_override = text.count()?;
            }
            _ => return self.set_seed_or_search(text),
        }
        Ok(())
    }

    /// The rest of [`TestSettings::set`]: seeds, and what only a peak search or the threads of a
    /// Server run use.
    fn set_seed_or_search(&mut self, text: Text<'_>) -> Result<(), SettingError> {
        match text.key {
            "qsl_rng_seed" => self.qsl_rng_seed = text.whole()?,
            "sample_index_rng_seed" => self.sample_index_rng_seed = text.whole()?,
            "schedule_rng_seed" => self.schedule_rng_seed = text.whole()?,
            "accuracy_log_rng_seed" => self.accuracy_log_rng_seed = text.whole()?,
            "test05_qsl_rng_seed" => self.test05_qsl_rng_seed = text.whole()?,
            "test05_sample_index_rng_seed" => self.test05_sample_index_rng_seed = text.whole()?,
            "test05_schedule_rng_seed" => self.test05_schedule_rng_seed = text.whole()?,
            "server_find_peak_qps_decimals_of_precision" => {
                self.server_find_peak_qps_decimals_of_precision = text.decimals()?;
            }
            "server_find_peak_qps_boundary_step_size" => {
                self.server_find_peak_qps_boundary_step_size = text.step()?;
            }
            "server_max_async_queries" => self.server_max_async_queries = text.count()?,
            "server_num_issue_query_threads" => {
                self.server_num_issue_query_threads = text.thread_count()?;
            }
            key => {
                return Err(SettingError::UnknownKey {
                    key: key.to_owned(),
                    nearest: nearest_key(key),
                })
            }
        }
        Ok(())
    }

    /// Checks what single values cannot show, and single values that were not set by
    /// [`TestSettings::set`].
    ///
    /// # Errors
    /// [`SettingError::Conflict`] for two settings that exclude each other,
    /// [`SettingError::Value`] for a value that the key does not take.
    pub fn validate(&self) -> Result<(), SettingError> {
        if self.performance_issue_unique && self.performance_issue_same {
            return Err(SettingError::Conflict {
                first: "performance_issue_unique",
                second: "performance_issue_same",
            });
        }
        // Counts, durations and reals are public fields: those set in code pass the same checks
        // as those set as text. Rates and quantiles cannot be wrong by construction.
        let reals = [
            (
                "single_stream_expected_latency_ns",
                self.single_stream_expected_latency_ns,
            ),
            (
                "multi_stream_expected_latency_ns",
                self.multi_stream_expected_latency_ns,
            ),
            (
                "server_find_peak_qps_boundary_step_size",
                self.server_find_peak_qps_boundary_step_size,
            ),
            ("accuracy_log_probability", self.accuracy_log_probability),
        ];
        let wholes = [
            (
                "multi_stream_samples_per_query",
                self.multi_stream_samples_per_query,
            ),
            (
                "server_find_peak_qps_decimals_of_precision",
                self.server_find_peak_qps_decimals_of_precision,
            ),
            ("server_max_async_queries", self.server_max_async_queries),
            (
                "server_num_issue_query_threads",
                self.server_num_issue_query_threads,
            ),
            ("min_duration_ms", self.min_duration_ms),
            ("max_duration_ms", self.max_duration_ms),
            ("min_query_count", self.min_query_count),
            ("max_query_count", self.max_query_count),
            (
                "accuracy_log_sampling_target",
                self.accuracy_log_sampling_target,
            ),
            (
                "performance_issue_same_index",
                self.performance_issue_same_index,
            ),
            (
                "performance_sample_count_override",
                self.performance_sample_count_override,
            ),
            (
                "accuracy_sample_count_override",
                self.accuracy_sample_count_override,
            ),
        ];
        let mut scratch = self.clone();
        for (key, value) in reals {
            scratch.set(key, &value.to_string())?;
        }
        for (key, value) in wholes {
            scratch.set(key, &value.to_string())?;
        }
        Ok(())
    }
}

/// The known key that is nearest to `key`, unless they have little in common.
fn nearest_key(key: &str) -> Option<&'static str> {
    KEYS.into_iter()
        .map(|known| (strsim::jaro_winkler(known, key), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// A value still to be read, with the key it is for.
#[derive(Debug, Clone, Copy)]
struct Text<'a> {
    key: &'a str,
    value: &'a str,
}

impl Text<'_> {
    fn read<T>(
        self,
        expected: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, SettingError> {
        read(self.value.trim()).ok_or_else(|| SettingError::Value {
            key: self.key.to_owned(),
            value: self.value.to_owned(),
            expected,
        })
    }

    fn truth(self) -> Result<bool, SettingError> {
        self.read("true or false", |text| text.parse().ok())
    }

    fn whole(self) -> Result<u64, SettingError> {
        self.read("a whole number from 0 to 2^64 - 1", |text| {
            text.parse().ok()
        })
    }

    fn count(self) -> Result<u64, SettingError> {
        self.read("a whole number from 0 to 2^32", |text| {
            text.parse().ok().filter(|&count| count <= COUNT_MAX)
        })
    }

    fn thread_count(self) -> Result<u64, SettingError> {
        self.read("a whole number from 0 to 256", |text| {
            text.parse().ok().filter(|&count| count <= THREADS_MAX)
        })
    }

    fn count_above_zero(self) -> Result<u64, SettingError> {
        self.read("a whole number from 1 to 2^32", |text| {
            text.parse()
                .ok()
                .filter(|count| (1..=COUNT_MAX).contains(count))
        })
    }

    fn decimals(self) -> Result<u64, SettingError> {
        self.read("a whole number from 0 to 9", |text| {
            text.parse().ok().filter(|&n| n <= 9)
        })
    }

    fn duration(self) -> Result<u64, SettingError> {
        self.read(
            "whole milliseconds from 0 to a year (31536000000)",
            |text| text.parse().ok().filter(|&ms| ms <= DURATION_MS_MAX),
        )
    }

    fn rate(self) -> Result<Rate, SettingError> {
        self.read("a finite number above 0", |text| {
            text.parse().ok().and_then(Rate::per_second)
        })
    }

    fn nanoseconds(self) -> Result<f64, SettingError> {
        self.read("finite nanoseconds above 0", |text| {
            finite(text).filter(|&ns| ns > 0.0)
        })
    }

    fn step(self) -> Result<f64, SettingError> {
        self.read("a finite number above 0", |text| {
            finite(text).filter(|&step| step > 0.0)
        })
    }

    fn share(self) -> Result<f64, SettingError> {
        self.read("a number from 0 to 1", |text| {
            finite(text).filter(|share| (0.0..=1.0).contains(share))
        })
    }

    fn quantile(self) -> Result<Quantile, SettingError> {
        self.read(
            "a share between 0 and 1, such as 0.99, both ends excluded",
            |text| text.parse().ok().and_then(Quantile::from_share),
        )
    }
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// No setting has this name.
    #[error("there is no setting `{key}`{}", match nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => String::from("; LoadGen's names are used, such as `min_query_count`"),
    })]
    UnknownKey {
        /// The name as given.
        key: String,
        /// The known name that is most like it.
        nearest: Option<&'static str>,
    },
    /// The setting does not take this value.
    #[error("setting `{key}` cannot be `{value}`: give {expected}")]
    Value {
        /// The setting's name.
        key: String,
        /// The value as given.
        value: String,
        /// What the setting takes.
        expected: &'static str,
    },
    /// Two settings exclude each other.
    #[error("settings `{first}` and `{second}` exclude each other: leave one of them out")]
    Conflict {
        /// One of them.
        first: &'static str,
        /// The other one.
        second: &'static str,
    },
    /// Text that should have been `KEY=VALUE`.
    #[error("`{text}` is not a setting: give KEY=VALUE, such as min_query_count=300")]
    NotAPair {
        /// The text as given.
        text: String,
    },
    /// No MLPerf Inference round has this name.
    #[error("there is no round `{name}`: the seeds of rounds {first} to {last} are known")]
    UnknownRound {
        /// The name as given.
        name: String,
        /// The first known round.
        first: &'static str,
        /// The last known round.
        last: &'static str,
    },
}

/// Splits `KEY=VALUE`.
///
/// # Errors
/// [`SettingError::NotAPair`] when there is no `=` or nothing before it.
pub fn split_pair(text: &str) -> Result<(&str, &str), SettingError> {
    text.split_once('=')
        .map(|(key, value)| (key.trim(), value.trim()))
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| SettingError::NotAPair {
            text: text.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(key: &str, value: &str) -> String {
        let mut settings = TestSettings::default();
        let error = settings.set(key, value).unwrap_err();
        assert_eq!(
            settings,
            TestSettings::default(),
            "{key} changed although it was refused"
        );
        error.to_string()
    }

    #[test]
    fn every_key_takes_the_value_it_has_and_names_a_field() {
        let defaults = TestSettings::default();
        let fields = serde_json::to_value(&defaults).unwrap();
        let fields = fields.as_object().unwrap();
        assert_eq!(fields.len(), KEYS.len());
        for key in KEYS {
            let value = match &fields[key] {
                // A quantile is serialised in parts per million.
                number if key.ends_with("percentile") => {
                    (number.as_f64().unwrap() / 1e6).to_string()
                }
                value => value.to_string(),
            };
            let mut settings = defaults.clone();
            settings.set(key, &value).unwrap();
            assert_eq!(settings, defaults, "{key}");
        }
    }

    #[test]
    fn a_set_value_reaches_its_own_field() {
        for (n, key) in KEYS.into_iter().enumerate() {
            let value = match key {
                "test05" | "print_timestamps" => "true".to_owned(),
                _ if key.ends_with("percentile") || key.ends_with("probability") => {
                    "0.5".to_owned()
                }
                _ if key.ends_with("precision") || key.ends_with("threads") => "7".to_owned(),
                _ if key.ends_with("unique") || key.ends_with("same") => "true".to_owned(),
                _ if key.ends_with("queries") && key.contains("coalesce") => "true".to_owned(),
                _ if key.ends_with("permutation") => "true".to_owned(),
                _ => (1000 + n).to_string(),
            };
            let mut settings = TestSettings::default();
            settings
                .set(key, &value)
                .unwrap_or_else(|error| panic!("{error}"));
            let before = serde_json::to_value(TestSettings::default()).unwrap();
            let after = serde_json::to_value(&settings).unwrap();
            for other in KEYS {
                assert_eq!(
                    before[other] == after[other],
                    other != key,
                    "{key} and {other}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_key_offers_the_nearest() {
        assert_eq!(
            refused("min_query_cuont", "1"),
            "there is no setting `min_query_cuont`; did you mean `min_query_count`?"
        );
        assert!(!refused("zzz", "1").contains("did you mean"));
    }

    #[test]
    fn impossible_values_are_refused_with_key_value_and_expectation() {
        for (key, value) in [
            ("server_target_qps", "0"),
            ("server_target_qps", "-1"),
            ("server_target_qps", "NaN"),
            ("offline_expected_qps", "inf"),
            ("server_target_latency_percentile", "0"),
            ("server_target_latency_percentile", "1"),
            ("single_stream_target_latency_percentile", "99"),
            ("multi_stream_target_latency_percentile", "-0.5"),
            ("min_duration_ms", "-1"),
            ("max_duration_ms", "99999999999999"),
            ("min_query_count", "4294967297"),
            ("multi_stream_samples_per_query", "0"),
            ("single_stream_expected_latency_ns", "0"),
            ("accuracy_log_probability", "1.5"),
            ("server_coalesce_queries", "1"),
            ("qsl_rng_seed", "18446744073709551616"),
            ("server_find_peak_qps_boundary_step_size", "0"),
        ] {
            let message = refused(key, value);
            assert!(
                message.contains(&format!("`{key}` cannot be `{value}`: give ")),
                "{message}"
            );
        }
    }

    #[test]
    fn values_set_in_code_are_checked_too() {
        let mut settings = TestSettings::default();
        settings.validate().unwrap();
        settings.single_stream_expected_latency_ns = f64::NAN;
        assert!(matches!(
            settings.validate(),
            Err(SettingError::Value { .. })
        ));
        settings = TestSettings {
            min_query_count: COUNT_MAX + 1,
            ..TestSettings::default()
        };
        assert!(settings
            .validate()
            .unwrap_err()
            .to_string()
            .contains("min_query_count"));
    }

    #[test]
    fn unique_and_same_exclude_each_other() {
        let settings = TestSettings {
            performance_issue_unique: true,
            performance_issue_same: true,
            ..TestSettings::default()
        };
        assert!(matches!(
            settings.validate(),
            Err(SettingError::Conflict { .. })
        ));
    }

    #[test]
    fn pairs_split_at_the_first_equals_sign() {
        assert_eq!(split_pair("a = b=c").unwrap(), ("a", "b=c"));
        assert!(split_pair("a").is_err() && split_pair("=b").is_err());
    }
}
