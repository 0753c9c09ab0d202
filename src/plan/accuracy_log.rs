//! Which answers are kept in the accuracy log.
//!
//! Accuracy mode keeps all. A performance run keeps a share, spread by chance, so that its answers
//! can be compared with those of the accuracy run. Each sample has a number in `[0, 1)` from a stream with a
//! seed of its own; a setting's seed shifts all numbers around the circle, and a sample
//! is kept when its shifted number is within the share.

use super::{EffectiveSettings, LoadableSet, Phase, Plan};
use crate::scenario::Scenario;
use crate::schedule::rng::{BoundedDraw, RandomStream};

/// The seed of the samples' numbers: the default of the C++ engine, which no setting changes.
const SAMPLE_NUMBER_SEED: u64 = 5489;

/// The choice of answers to log, asked once for every generated sample in the order of ids.
///
/// One value serves the whole test: the numbers go on from set to set, and samples that are generated
/// but never issued use up theirs.
#[derive(Debug, Clone)]
pub struct AccuracyLogSelection {
    numbers: RandomStream,
    offset: f64,
    share: f64,
    keeps_all: bool,
}

impl AccuracyLogSelection {
    /// The choice for a test, before its first set.
    pub fn new(plan: &Plan) -> Self {
        let effective = plan.effective();
        // Only reals are drawn here, so that the form of the bounded draw does not matter.
        let draw = BoundedDraw::MultiplyShift;
        Self {
            numbers: RandomStream::new(SAMPLE_NUMBER_SEED, draw),
            offset: RandomStream::new(effective.accuracy_log_seed, draw).unit_real(),
            share: share(effective),
            keeps_all: false,
        }
    }

    /// Goes to `set`, whose samples come next.
    pub fn begin_set(&mut self, set: &LoadableSet) {
        self.keeps_all = set.phase == Phase::Accuracy;
    }

    /// Whether any answer of a performance run is logged at all. (With a share of zero one in
    /// 2^53 still would be; no run is so long.)
    pub fn keeps_some(&self) -> bool {
        self.share > 0.0
    }

    /// Whether the answer to the next sample is logged.
    #[inline]
    pub fn keeps_next(&mut self) -> bool {
        let shifted = self.numbers.unit_real() + self.offset;
        let number = if shifted < 1.0 {
            shifted
        } else {
            shifted - 1.0
        };
        self.keeps_all || number <= self.share
    }
}

/// The share of answers that a performance run keeps: the setting, or what gives the sampling
/// target if the run has as many samples as its settings let expect.
fn share(effective: &EffectiveSettings) -> f64 {
    let target = effective.accuracy_log_sampling_target;
    if target == 0 {
        return effective.accuracy_log_probability;
    }
    let min_duration_ms = (effective.min_duration.as_nanos() / 1_000_000) as f64;
    let paced = (effective.target_rate.as_per_second() * min_duration_ms / 1000.0) as u64;
    let paced = match effective.scenario {
        Scenario::Offline => paced,
        Scenario::SingleStream | Scenario::MultiStream | Scenario::Server => {
            paced.saturating_mul(effective.samples_per_query)
        }
    };
    target as f64 / paced.max(effective.min_sample_count) as f64
}
