//! The rates that LoadGen reports, by its definitions.
//!
//! A rate of `n` samples counts the `n - 1` gaps between the first and the last, except Offline's.
//! Where no time passed the quotient is not finite, as in LoadGen; writers guard it.

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
