//! When a probe is decided before its end.
//!
//! Of each query one fact counts: whether it was over the bound. A query that has waited longer than
//! the bound is over it at once, answered or not, so that overload shows as soon as it exists. Queries
//! count in their order up to the first that is still undecided, so that quick answers do not
//! overtake slow ones.
//!
//! A probe ends early when
//!
//! * more queries are over the bound than the whole probe may have (no chance is involved), or
//! * surely more than twice the share that the percentile tolerates is over the bound, or
//! * surely less than the tolerated share is over *half* of the bound,
//!
//! both by the binomial test of early stopping, used in both directions. What lies between runs to its end
//! and is judged by its percentile.
//!
//! Looking again and again gives chance many chances. So each direction looks only when the count
//! has grown by a quarter, and its `k`-th look (from 0) may err with `DOUBT / ((k + 1) (k + 2))`; these
//! add up to `DOUBT`, however many looks there are.
//!
//! The binomial test takes queries for independent. Those of a queue are not: one busy spell delays
//! many in a row, and a rate just above capacity looks well until its queue has grown. Hence the
//! factors of two, a least span of time before either test, which the rules give, and the run of full
//! length that confirms the answer. (Without the factors, two servers of 10 ms passed at 97 % of their
//! capacity after 5 s, although 3 % of the queries are over 50 ms there in the long run.)

use crate::metrics::early_stopping::{is_surely_beyond, is_surely_within, CONFIDENCE};
use crate::metrics::percentile::loadgen_rank;
use crate::record::{Record, SampleLatency};
use crate::units::{Latency, Quantile, Timestamp};

use super::Slo;

/// The chance that each direction's looks, all together, end a probe wrongly.
const DOUBT: f64 = 1.0 - CONFIDENCE;

/// Surely beyond the tolerance is looked for from this many queries on.
const FIRST_LOOK: u64 = 8;

/// What a probe is watched by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeRules {
    /// The objective.
    pub slo: Slo,
    /// Queries of the whole probe, where they are known beforehand.
    pub query_count: Option<u64>,
    /// No probe passes early before this has passed …
    pub least_pass: Latency,
    /// … and none fails early by the binomial test before this.
    pub least_fail: Latency,
}

/// Why a probe ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SurelyEnded {
    /// Surely below the tolerated share of queries over half of the bound.
    Within,
    /// Surely above twice the tolerated share of queries over the bound.
    Beyond,
    /// More queries are over the bound already than the whole probe may have.
    Exhausted,
}

/// Watches one probe.
#[derive(Debug, Clone)]
pub struct ProbeWatch {
    rules: ProbeRules,
    over_allowed: Option<u64>,
    query_count: u64,
    over_count: u64,
    /// Over half of the bound.
    uncomfortable_count: u64,
    twice_the_share: Option<Quantile>,
    within: Looks,
    beyond: Looks,
}

impl ProbeWatch {
    /// A watch over a probe that has not begun.
    pub fn new(rules: ProbeRules) -> Self {
        // Fewer queries prove nothing, even when none of them is over.
        let first = (DOUBT / 2.0).ln() / rules.slo.quantile.as_share().ln();
        let allowed = |count: u64| {
            let within = loadgen_rank(count.max(1) as usize, rules.slo.quantile) as u64 + 1;
            count.saturating_sub(within)
        };
        Self {
            rules,
            over_allowed: rules.query_count.map(allowed),
            query_count: 0,
            over_count: 0,
            uncomfortable_count: 0,
            twice_the_share: Quantile::from_share(2.0 * rules.slo.quantile.as_share() - 1.0),
            within: Looks::from(first.ceil() as u64),
            beyond: Looks::from(FIRST_LOOK),
        }
    }

    /// Queries that count so far, and how many of them are over the bound.
    pub fn counts(&self) -> (u64, u64) {
        (self.query_count, self.over_count)
    }

    /// Takes in what has happened up to `now`, and says whether the probe is decided.
    pub fn look(&mut self, record: &Record, now: Timestamp) -> Option<SurelyEnded> {
        self.count(record, now);
        if self.over_allowed.is_some_and(|most| self.over_count > most) {
            return Some(SurelyEnded::Exhausted);
        }
        let (count, over) = self.counts();
        let elapsed = now.saturating_since(record.start());
        if elapsed >= self.rules.least_fail {
            let test = self.twice_the_share.zip(self.beyond.at(count));
            if test.is_some_and(|(share, doubt)| is_surely_beyond(count, over, share, doubt)) {
                return Some(SurelyEnded::Beyond);
            }
        }
        if elapsed >= self.rules.least_pass {
            let (quantile, over) = (self.rules.slo.quantile, self.uncomfortable_count);
            let doubt = self.within.at(count);
            if doubt.is_some_and(|doubt| is_surely_within(count, over, quantile, doubt)) {
                return Some(SurelyEnded::Within);
            }
        }
        None
    }

    /// Goes on from query to query until one is undecided.
    fn count(&mut self, record: &Record, now: Timestamp) {
        let size = record.samples_per_query() as usize;
        while self.query_count < record.query_count() {
            let first = self.query_count as usize * size;
            let samples = (first..first + size).map(|position| record.latency_at(position));
            let bound = self.rules.slo.bound;
            let Some(latency) = latency_so_far(samples, bound, now) else {
                break;
            };
            self.query_count += 1;
            self.over_count += u64::from(latency > bound);
            self.uncomfortable_count += u64::from(latency.as_nanos() > bound.as_nanos() / 2);
        }
    }
}

/// The latency of a query, or how long it has waited where that is over the bound already; `None`
/// while it is undecided.
fn latency_so_far(
    samples: impl Iterator<Item = SampleLatency>,
    bound: Latency,
    now: Timestamp,
) -> Option<Latency> {
    let mut is_open = false;
    let mut longest = Latency::ZERO;
    for sample in samples {
        let latency = match sample {
            SampleLatency::Answered(latency) => latency,
            SampleLatency::WaitingSince(begin) => {
                is_open = true;
                now.saturating_since(begin)
            }
        };
        longest = longest.max(latency);
    }
    (!is_open || longest > bound).then_some(longest)
}

/// Looks at geometrically spaced counts, each with its share of the doubt.
#[derive(Debug, Clone)]
struct Looks {
    next: u64,
    made: u32,
}

impl Looks {
    const fn from(first: u64) -> Self {
        Self {
            next: first,
            made: 0,
        }
    }

    /// The doubt of a look at `count`; `None` when the next look is later.
    fn at(&mut self, count: u64) -> Option<f64> {
        if count < self.next {
            return None;
        }
        let look = f64::from(self.made);
        self.made += 1;
        self.next = (count + count / 4).max(count + 1);
        Some(DOUBT / ((look + 1.0) * (look + 2.0)))
    }
}

#[cfg(test)]
mod tests;
