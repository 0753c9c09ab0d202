//! Stage 2: from settings to what a test must load, issue and log, and from which seeds.
//!
//! In: [`TestSettings`], a scenario, a mode and the size of the sample library. Out: a [`Plan`]
//! with the effective settings, the loadable sets in the order of the run, and for each
//! set a lazy [`QueryStream`]. The plan knows no model, no thread, no clock and no file: two plans of
//! the same input are the same.
//!
//! Every rule is LoadGen's, so that a run asks for the same samples at the same times as a run of
//! LoadGen with the same seeds; [`CompatProfile`] says which LoadGen.

pub mod accuracy_log;
pub mod effective;
pub mod sets;
pub mod stream;

use std::sync::OnceLock;

use serde::Serialize;

pub use accuracy_log::AccuracyLogSelection;
pub use effective::EffectiveSettings;
pub use sets::{LoadableSet, Phase};
pub use stream::QueryStream;

use crate::scenario::{Scenario, TestMode};
use crate::schedule::arrivals::{Arrivals, Pace};
use crate::schedule::rng::RandomStream;
use crate::schedule::samples::{OfflineOrder, SetShape, StartRule, Starts};
use crate::settings::compat::CompatProfile;
use crate::settings::test_settings::{SettingError, TestSettings, COUNT_MAX};
use crate::units::{Latency, SampleId};

/// What a test loads and issues.
#[derive(Debug, Clone)]
pub struct Plan {
    effective: EffectiveSettings,
    compat: CompatProfile,
    sets: Vec<LoadableSet>,
    /// What is generated for each of them, once it has been asked for.
    generated: Vec<OnceLock<Generated>>,
}

/// What generation prepares for one loaded set, under the names of LoadGen's detail log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Generated {
    /// Queries prepared: `generated_query_count`.
    pub query_count: u64,
    /// Samples in each of them.
    pub samples_per_query: u64,
    /// What the log gives for `generated_samples_per_query`: the same, except that
    /// [`CompatProfile::V4Gcc10`] logs the setting.
    pub samples_per_query_reported: u64,
    /// The time that one more query would have had: `generated_query_duration`.
    pub duration: Latency,
}

impl Generated {
    /// Samples prepared.
    pub const fn sample_count(&self) -> u64 {
        self.query_count * self.samples_per_query
    }
}

/// The numbers of the first query and the first sample of a set.
///
/// Numbers go on from set to set and from accuracy to performance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct FirstIds {
    /// Number of the first query.
    pub query: u64,
    /// Number of the first sample.
    pub sample: SampleId,
}

/// How much of a set is generated.
#[derive(Debug, Clone, Copy)]
struct SetRule {
    /// Generation covers this span of scheduled time.
    span: Latency,
    /// Minimum number of queries on which the advance permutations depend.
    query_count_min: u64,
    /// Minimum number of queries of the generation itself.
    query_count_min_rounded: u64,
    /// The number of queries grows by whole blocks of this.
    block: Option<u64>,
    samples_per_query: u64,
}

impl Plan {
    /// Works out what `settings` ask for with a library of `total` samples, of which
    /// `performance` fit in memory.
    ///
    /// # Errors
    /// [`PlanError`] when a setting is impossible, alone or with the others, or when the test
    /// would have nothing or more than 2^32 samples to issue.
    pub fn new(
        settings: &TestSettings,
        scenario: Scenario,
        mode: TestMode,
        total: usize,
        performance: usize,
        compat: CompatProfile,
    ) -> Result<Self, PlanError> {
        settings.validate()?;
        let effective = EffectiveSettings::new(settings, scenario, mode, total, performance)?;
        let sets = sets::loadable_sets(&effective, total, compat);
        let plan = Self {
            generated: vec![OnceLock::new(); sets.len()],
            effective,
            compat,
            sets,
        };
        plan.check_sets()?;
        Ok(plan)
    }

    /// The settings as the run applies them.
    pub const fn effective(&self) -> &EffectiveSettings {
        &self.effective
    }

    /// Which LoadGen's streams the plan repeats.
    pub const fn compat(&self) -> CompatProfile {
        self.compat
    }

    /// The sets to load, run and unload, in this order.
    ///
    /// An accuracy run has one after the other until the library is through, a performance run has one, a
    /// submission run has those of accuracy and then that of performance.
    pub fn sets(&self) -> &[LoadableSet] {
        &self.sets
    }

    /// The queries of one of [`Plan::sets`], from the first.
    ///
    /// All random streams start again from their seeds with every set.
    pub fn queries(&self, set: &LoadableSet) -> QueryStream {
        let effective = &self.effective;
        let rule = self.rule(set);
        let shape = self.shape(set, &rule);
        let sample_stream = self.stream_from(effective.seeds.sample_index);
        let arrivals = self.arrivals(&rule);
        if effective.scenario == Scenario::Offline {
            let order = if effective.performance_issue_same {
                OfflineOrder::same(set.indices[effective.performance_issue_same_index as usize])
            } else if effective.sample_concatenate_permutation {
                OfflineOrder::permuted(set.indices.clone(), &shape, sample_stream)
            } else {
                OfflineOrder::in_turn(set.indices.clone())
            };
            return QueryStream::offline(arrivals, order, rule.samples_per_query);
        }
        let starts = Starts::new(self.start_rule(set), &shape, sample_stream);
        QueryStream::windows(
            arrivals,
            starts,
            set.indices.clone(),
            rule.samples_per_query,
        )
    }

    /// What [`Plan::queries`] will give for `set`, without choosing samples.
    ///
    /// *Complexity*: one step a query, for Server with two random words and a logarithm; the answer
    /// is kept for the next time.
    pub fn generated(&self, set: &LoadableSet) -> Generated {
        let position = self.sets.iter().position(|own| own == set);
        match position.map(|position| &self.generated[position]) {
            Some(kept) => *kept.get_or_init(|| self.generate(set)),
            None => self.generate(set),
        }
    }

    fn generate(&self, set: &LoadableSet) -> Generated {
        let rule = self.rule(set);
        let mut arrivals = self.arrivals(&rule);
        arrivals.by_ref().for_each(drop);
        Generated {
            query_count: arrivals.query_count(),
            samples_per_query: rule.samples_per_query,
            samples_per_query_reported: if self.compat.reports_configured_samples_per_query() {
                self.effective.samples_per_query
            } else {
                rule.samples_per_query
            },
            duration: arrivals.duration(),
        }
    }

    /// The first numbers of each of [`Plan::sets`].
    ///
    /// *Complexity*: that of [`Plan::generated`] for every set but the last.
    pub fn first_ids(&self) -> Vec<FirstIds> {
        let mut next = FirstIds::default();
        let mut first = Vec::with_capacity(self.sets.len());
        for (n, set) in self.sets.iter().enumerate() {
            first.push(next);
            if n + 1 < self.sets.len() {
                let generated = self.generated(set);
                next.query += generated.query_count;
                let samples = u64::from(next.sample.0) + generated.sample_count();
                next.sample = SampleId(u32::try_from(samples).expect("checked with the plan"));
            }
        }
        first
    }

    fn stream_from(&self, seed: u64) -> RandomStream {
        RandomStream::new(seed, self.compat.bounded_draw())
    }

    /// How much is generated for `set`.
    ///
    /// Server covers the target duration, the other scenarios twice that, because their pace is
    /// only an expectation. Accuracy and unique runs go through the set once, whatever the
    /// durations. Whole permutations round the number of queries (Offline: of samples) up to a
    /// multiple of the set.
    fn rule(&self, set: &LoadableSet) -> SetRule {
        let effective = &self.effective;
        let accuracy = set.phase == Phase::Accuracy;
        let offline = effective.scenario == Scenario::Offline;
        let length = set.indices.len() as u64;
        let mut samples_per_query = effective.samples_per_query;
        if accuracy && offline {
            samples_per_query = set.dist_end as u64;
        }
        let (span, query_count_min) = if accuracy || effective.performance_issue_unique {
            (Latency::ZERO, length / samples_per_query)
        } else if effective.scenario == Scenario::Server {
            (effective.target_duration, effective.min_query_count)
        } else {
            (
                effective.target_duration + effective.target_duration,
                effective.min_query_count,
            )
        };
        let whole_permutations = effective.sample_concatenate_permutation && !accuracy;
        let mut query_count_min_rounded = query_count_min;
        if whole_permutations && offline {
            samples_per_query = samples_per_query.next_multiple_of(length);
        } else if whole_permutations {
            query_count_min_rounded = query_count_min.next_multiple_of(length);
        }
        SetRule {
            span,
            query_count_min,
            query_count_min_rounded,
            block: (effective.sample_concatenate_permutation && !offline).then_some(length),
            samples_per_query,
        }
    }

    fn shape(&self, set: &LoadableSet, rule: &SetRule) -> SetShape {
        SetShape {
            length: set.indices.len() as u32,
            dist_end: set.dist_end as u32,
            stride: self.effective.stride() as u32,
            query_count_min: rule.query_count_min,
            accuracy: set.phase == Phase::Accuracy,
        }
    }

    /// Which rule places the queries in `set`; the flags win over the mode, as in LoadGen.
    fn start_rule(&self, set: &LoadableSet) -> StartRule {
        let effective = &self.effective;
        if effective.performance_issue_unique {
            StartRule::Unique
        } else if effective.performance_issue_same {
            StartRule::Same(effective.performance_issue_same_index as u32)
        } else if effective.sample_concatenate_permutation
            && effective.scenario != Scenario::MultiStream
        {
            StartRule::Permutations
        } else if set.phase == Phase::Accuracy {
            StartRule::EachOnce
        } else {
            StartRule::Random
        }
    }

    fn arrivals(&self, rule: &SetRule) -> Arrivals {
        let effective = &self.effective;
        let pace = if effective.scenario == Scenario::Server {
            Pace::Poisson {
                stream: Box::new(self.stream_from(effective.seeds.schedule)),
                rate: effective.target_rate,
            }
        } else {
            Pace::Fixed(effective.period())
        };
        Arrivals::new(pace, rule.span, rule.query_count_min_rounded, rule.block)
    }

    /// Refuses what would run out of the set, never end, or outgrow the numbering.
    fn check_sets(&self) -> Result<(), PlanError> {
        let effective = &self.effective;
        let mut sample_count = 0.0;
        for set in &self.sets {
            if effective.performance_issue_same
                && effective.performance_issue_same_index >= set.dist_end as u64
            {
                return Err(PlanError::SameIndexOutside {
                    index: effective.performance_issue_same_index,
                    set_size: set.dist_end,
                });
            }
            let rule = self.rule(set);
            let query_count = self.expected_query_count(&rule);
            let set_sample_count = query_count * rule.samples_per_query as f64;
            if set_sample_count == 0.0 {
                return Err(PlanError::NothingToIssue);
            }
            sample_count += set_sample_count;
        }
        if sample_count > COUNT_MAX as f64 {
            return Err(PlanError::TooManySamples {
                count: sample_count,
            });
        }
        Ok(())
    }

    /// How many queries the rule gives; for Server a bound that a seed in a million may miss.
    fn expected_query_count(&self, rule: &SetRule) -> f64 {
        let span = rule.span.as_nanos() as f64;
        let paced = if span == 0.0 {
            0.0
        } else if self.effective.scenario == Scenario::Server {
            // Gaps are cut to whole nanoseconds, which shortens their mean at absurd rates.
            let gap_mean_inverse = (self.effective.target_rate.as_per_second() / 1e9).exp_m1();
            let mean = span * gap_mean_inverse;
            1.0 + mean + 5.0 * mean.sqrt()
        } else {
            // A period of no nanosecond never gets to the end of the span: infinitely many.
            1.0 + (span / self.effective.period().as_nanos() as f64).ceil()
        };
        let block = rule.block.unwrap_or(1) as f64;
        let minimum = rule.query_count_min_rounded as f64;
        minimum + ((paced - minimum).max(0.0) / block).ceil() * block
    }
}

/// A test that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A setting is impossible whatever the scenario.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The library has no sample.
    #[error("the sample library is empty: it needs at least one sample")]
    EmptyLibrary,
    /// The library is larger than sample indices can say.
    #[error("the sample library has {total} samples: at most 4294967295 can be numbered")]
    LibraryTooLarge {
        /// Samples in the library.
        total: usize,
    },
    /// The library has no performance samples and no setting replaces their number.
    #[error("a run may load no sample: set `performance_sample_count_override` above 0")]
    NoPerformanceSamples,
    /// Only Server has a rate to search.
    #[error("mode FindPeakPerformance needs scenario Server, not {scenario}")]
    PeakNeedsServer {
        /// The scenario asked for.
        scenario: Scenario,
    },
    /// The expected latency has no rate.
    #[error("setting `{key}` is {value} ns: no rate of queries corresponds to it")]
    NoRate {
        /// The setting's name.
        key: &'static str,
        /// Its value in nanoseconds.
        value: f64,
    },
    /// The one sample to issue is not in the set.
    #[error(
        "setting `performance_issue_same_index` is {index}, but a loaded set has {set_size} \
         samples: give an index below that"
    )]
    SameIndexOutside {
        /// The index asked for, from zero.
        index: u64,
        /// Samples in the smallest set.
        set_size: usize,
    },
    /// Whole permutations ask for more MultiStream queries than there are unique ones.
    #[error(
        "settings `performance_issue_unique` and `sample_concatenate_permutation` exclude each \
         other in MultiStream: leave one of them out"
    )]
    UniquePermutations,
    /// The settings give no query.
    #[error(
        "the settings ask for no query: raise `min_query_count` or `min_duration_ms`, or let \
         a run load fewer samples than the library has"
    )]
    NothingToIssue,
    /// Samples are numbered with 32 bits.
    #[error(
        "the settings ask for {count:.0} samples and a test has at most 2^32: lower the duration, \
         the expected rate, the query count or the samples per query"
    )]
    TooManySamples {
        /// The number asked for, about.
        count: f64,
    },
}
