//! From a plan to the rules of issuing.

use super::{IssueRules, Pacing};
use crate::plan::{EffectiveSettings, LoadableSet, Phase};
use crate::scenario::Scenario;

impl IssueRules {
    /// The rules for one of a plan's sets.
    pub fn new(settings: &EffectiveSettings, set: &LoadableSet) -> Self {
        let pacing = match settings.scenario {
            Scenario::SingleStream | Scenario::MultiStream => Pacing::Closed,
            Scenario::Server => Pacing::Open {
                coalesce: settings.server_coalesce_queries,
                outstanding_max: Some(settings.max_async_queries).filter(|&bound| bound > 0),
            },
            Scenario::Offline => Pacing::Burst,
        };
        Self {
            pacing,
            query_count_min: settings.min_query_count,
            target_duration: settings.target_duration,
            query_count_max: settings.max_query_count,
            duration_max: settings.max_duration,
            accuracy: set.phase == Phase::Accuracy,
        }
    }
}
