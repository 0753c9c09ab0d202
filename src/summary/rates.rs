//! The rates that LoadGen reports, by its definitions.
//!
//! A rate of `n` samples counts the `n - 1` gaps between the first and the last, except Offline's.
//! Where no time passed the quotient is not finite, as in LoadGen; writers guard it.

use std::fmt;

use super::Summary;
use crate::drive::Ending;
use crate::units::Latency;

impl Summary {
    /// SingleStream: queries a second, what passes between answer and next issue included.
    pub fn rate_with_overhead(&self) -> f64 {
        self.gaps_per_second(self.last_issued)
    }

    /// SingleStream: queries a second if one followed the other at once.
    pub fn rate_without_overhead(&self) -> f64 {
        1.0 / seconds(self.latency.map_or(Latency::ZERO, |latency| latency.mean))
    }

    /// Server: the rate that was asked for, as the seed made it.
    pub fn scheduled_rate(&self) -> f64 {
        self.gaps_per_second(self.last_scheduled)
    }

    /// Server: the rate that was answered, up to the answer of the query issued last.
    pub fn completed_rate(&self) -> f64 {
        self.gaps_per_second(self.last_answered.unwrap_or(self.elapsed))
    }

    /// Offline: samples over the longest latency.
    pub fn offline_rate(&self) -> f64 {
        let longest = self.latency.map_or(Latency::ZERO, |latency| latency.max);
        self.sample_count as f64 / seconds(longest)
    }

    /// Whether LoadGen would call the run valid. It has no relaxed rules, and a run that
    /// came to no end of its own is not valid.
    pub fn is_valid_by_loadgen(&self) -> bool {
        self.checks.all_hold() && matches!(self.ending, Ending::Complete(_))
    }

    /// Samples that were issued and never answered.
    pub const fn outstanding(&self) -> u64 {
        self.sample_count - self.completed_count
    }

    fn gaps_per_second(&self, span: Latency) -> f64 {
        self.sample_count.saturating_sub(1) as f64 / seconds(span)
    }
}

fn seconds(span: Latency) -> f64 {
    span.as_nanos() as f64 / 1e9
}

/// The generator's own lateness may take this share of the latency bound before a run says so.
pub const ISSUE_DELAY_SHARE: f64 = 0.1;

/// Queries of a Server run left so late that its latencies tell of the generator too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateIssue {
    /// The 99th percentile of the issue delay.
    pub delay_p99: Latency,
    /// The latency bound.
    pub bound: Latency,
}

impl fmt::Display for LateIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "queries left late: the p99 issue delay of {} is over {:.0} % of the latency bound of \
             {}, and latencies include it; leave a core to the load generator",
            self.delay_p99,
            ISSUE_DELAY_SHARE * 100.0,
            self.bound
        )
    }
}

impl Summary {
    /// Whether the generator was late by more than [`ISSUE_DELAY_SHARE`] of the latency bound.
    pub fn late_issue(&self) -> Option<LateIssue> {
        let (bound, delay) = (self.latency_bound?, self.issue_delay?);
        let allowed = bound.as_nanos() as f64 * ISSUE_DELAY_SHARE;
        (delay.p99.as_nanos() as f64 > allowed).then_some(LateIssue {
            delay_p99: delay.p99,
            bound,
        })
    }
}
