//! Which samples are in memory together.

use std::sync::Arc;

use serde::Serialize;

use super::EffectiveSettings;
use crate::scenario::{Scenario, TestMode};
use crate::schedule::rng::RandomStream;
use crate::settings::compat::CompatProfile;
use crate::units::SampleIndex;

/// What a loaded set is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Phase {
    /// Every sample once, every answer logged.
    Accuracy,
    /// Latency and throughput; answers logged by chance.
    Performance,
}

/// Samples that are loaded together, in loaded order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadableSet {
    /// What the set is run for.
    pub phase: Phase,
    /// The samples, padding included; the same sample may stand here twice.
    pub indices: Arc<[SampleIndex]>,
    /// Number of samples before the padding. Queries start below it.
    pub dist_end: usize,
}

impl LoadableSet {
    /// The samples before the padding: each of them once.
    pub fn distinct(&self) -> &[SampleIndex] {
        &self.indices[..self.dist_end]
    }
}

/// The sets of the run in their order.
pub(super) fn loadable_sets(
    effective: &EffectiveSettings,
    total: usize,
    compat: CompatProfile,
) -> Vec<LoadableSet> {
    let accuracy = || {
        let groups = permuted_groups(effective, effective.accuracy_sample_count, total, compat);
        into_sets(groups, Phase::Accuracy)
    };
    let performance = || {
        let mut groups =
            permuted_groups(effective, effective.performance_sample_count, total, compat);
        groups.truncate(1);
        into_sets(groups, Phase::Performance)
    };
    match effective.mode {
        TestMode::AccuracyOnly => accuracy(),
        TestMode::PerformanceOnly | TestMode::FindPeakPerformance => performance(),
        TestMode::SubmissionRun => [accuracy(), performance()].concat(),
    }
}

/// A permutation of the first `count` samples of the library (in older profiles of all of
/// them), cut into groups of the performance count, each with its length before padding.
fn permuted_groups(
    effective: &EffectiveSettings,
    count: usize,
    total: usize,
    compat: CompatProfile,
) -> Vec<(Vec<SampleIndex>, usize)> {
    let permuted_count = if compat.permutes_whole_library() {
        total
    } else {
        count.min(total)
    };
    let mut permuted: Vec<SampleIndex> = (0..permuted_count as u32).map(SampleIndex).collect();
    RandomStream::new(effective.seeds.qsl, compat.bounded_draw()).shuffle(&mut permuted);
    permuted
        .chunks(effective.performance_sample_count)
        .map(|group| (pad(group, effective), group.len()))
        .collect()
}

/// MultiStream appends the beginning of the group to its end, so that a query may start at every
/// sample; a group shorter than the padding goes on with what was just appended.
fn pad(group: &[SampleIndex], effective: &EffectiveSettings) -> Vec<SampleIndex> {
    let mut padded = group.to_vec();
    if effective.scenario == Scenario::MultiStream {
        let padding = effective.samples_per_query as usize - 1;
        padded.reserve_exact(padding);
        for i in 0..padding {
            padded.push(padded[i]);
        }
    }
    padded
}

fn into_sets(groups: Vec<(Vec<SampleIndex>, usize)>, phase: Phase) -> Vec<LoadableSet> {
    groups
        .into_iter()
        .map(|(indices, dist_end)| LoadableSet {
            phase,
            indices: indices.into(),
            dist_end,
        })
        .collect()
}
