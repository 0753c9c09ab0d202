//! When tuning ends, besides the end of the strategy.

use serde::Serialize;

use crate::units::Latency;

/// Trials unless another number is asked for: LPOT's.
pub const MAX_TRIALS: u32 = 100;

/// When tuning ends, besides the end of the strategy; looked at after each trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ExitPolicy {
    /// Zero: at the first model that meets the criterion (LPOT's rule and default). Otherwise after this time.
    /// `None`: not by time, and not at the first.
    pub timeout: Option<Latency>,
    /// After so many trials.
    pub max_trials: u32,
    /// After the first trial, whatever its accuracy.
    pub performance_only: bool,
}

impl Default for ExitPolicy {
    fn default() -> Self {
        Self {
            timeout: None,
            max_trials: MAX_TRIALS,
            performance_only: false,
        }
    }
}

/// Why tuning ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The strategy has nothing left to try.
    Exhausted,
    /// The first model met the criterion, and the timeout is zero.
    FirstMet,
    /// The time is over.
    Timeout,
    /// That many trials were allowed.
    MaxTrials,
    /// One trial was asked for.
    PerformanceOnly,
    /// Somebody stopped it.
    Interrupted,
}

impl ExitPolicy {
    /// Whether tuning ends after a trial: `trials` were made in `elapsed`, and `is_met` says whether any of them meets
    /// the criterion.
    pub fn after_trial(&self, trials: u32, elapsed: Latency, is_met: bool) -> Option<Ending> {
        if self.performance_only {
            return Some(Ending::PerformanceOnly);
        }
        if is_met && self.timeout == Some(Latency::ZERO) {
            return Some(Ending::FirstMet);
        }
        if self.is_over(elapsed) {
            return Some(Ending::Timeout);
        }
        (trials >= self.max_trials).then_some(Ending::MaxTrials)
    }

    /// Whether the time is over.
    pub fn is_over(&self, elapsed: Latency) -> bool {
        let limit = self.timeout.filter(|limit| *limit > Latency::ZERO);
        limit.is_some_and(|limit| elapsed >= limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_of_zero_ends_at_the_first_that_is_good_enough_and_never_by_time() {
        let policy = ExitPolicy {
            timeout: Some(Latency::ZERO),
            ..ExitPolicy::default()
        };
        let hour = Latency::from_millis(3_600_000);
        assert_eq!(policy.after_trial(1, hour, false), None);
        assert_eq!(policy.after_trial(2, hour, true), Some(Ending::FirstMet));
    }

    #[test]
    fn a_timeout_goes_on_when_the_criterion_is_met_and_ends_when_the_time_is_over() {
        let second = Latency::from_millis(1_000);
        let policy = ExitPolicy {
            timeout: Some(second),
            ..ExitPolicy::default()
        };
        assert_eq!(policy.after_trial(1, Latency::from_millis(999), true), None);
        assert_eq!(policy.after_trial(1, second, false), Some(Ending::Timeout));
    }

    #[test]
    fn the_number_of_trials_ends_it_and_performance_only_after_the_first() {
        let mut policy = ExitPolicy {
            max_trials: 3,
            ..ExitPolicy::default()
        };
        assert_eq!(policy.after_trial(2, Latency::ZERO, true), None);
        assert_eq!(
            policy.after_trial(3, Latency::ZERO, false),
            Some(Ending::MaxTrials)
        );
        policy.performance_only = true;
        assert_eq!(
            policy.after_trial(1, Latency::ZERO, false),
            Some(Ending::PerformanceOnly)
        );
    }
}
