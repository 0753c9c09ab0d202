//! Early stopping: how many queries prove a percentile with 99 % confidence.
//!
//! A run shows `t` overlatency queries and `h` others. Were the true share of queries within the
//! bound only `p`, so few slow ones would be luck; the run counts when that luck has a chance of at
//! most 1 %:
//!
//! ```text
//! h(t) = least h with P[Binomial(h + t, 1 - p) <= t] <= 0.01
//! ```
//!
//! *Source*: the `MLPerf` inference rules on early stopping (confidence 0.99, tolerance 0). `LoadGen`
//! evaluates the condition through an incomplete beta series; here the binomial tail is summed
//! directly from its largest term, which is positive throughout and therefore accurate to about
//! twelve digits. Neighbouring `h` differ in the fifth digit or earlier at `10^8` queries.

use serde::Serialize;

use crate::units::{Latency, Quantile};

/// The confidence that the rules ask for.
pub const CONFIDENCE: f64 = 0.99;

/// The queries a tail estimate needs at least: those of one overlatency query, `h(1) + 1`.
///
/// 64 for the 90th percentile, 662 for the 99th.
pub fn min_query_count(quantile: Quantile) -> u64 {
    passing_needed(quantile, 1) + 1
}

/// `h(t)`: how many queries must meet the bound so that `overlatency` slow ones are forgiven.
///
/// *Complexity*: a few tens of binomial tails, each some standard deviations long; below a
/// millisecond for millions of queries.
pub fn passing_needed(quantile: Quantile, overlatency: u64) -> u64 {
    let slow_share = slow_share(quantile);
    // With t / (1 - p) queries t slow ones are just what is expected, so this many never suffice.
    let mut too_few = overlatency;
    let mut step = ((overlatency + 1) as f64 / slow_share) as u64 + 1;
    let mut enough = too_few + step;
    while !proves(enough, overlatency, quantile) {
        too_few = enough;
        step *= 2;
        enough += step;
    }
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        if proves(middle, overlatency, quantile) {
            enough = middle;
        } else {
            too_few = middle;
        }
    }
    enough - overlatency
}

/// The largest `t` with `query_count >= h(t) + t`: how many slow queries a run of this size may
/// have and still prove the percentile; `None` when not even a run without slow ones would do.
///
/// *Complexity*: as [`passing_needed`]; `10^8` queries take a few milliseconds.
pub fn overlatency_allowed(quantile: Quantile, query_count: u64) -> Option<u64> {
    // More queries only help, so `query_count >= h(t) + t` says exactly that this count proves `t`.
    if !proves(query_count, 0, quantile) {
        return None;
    }
    let (mut allowed, mut refused) = (0, query_count);
    while refused - allowed > 1 {
        let middle = allowed + (refused - allowed) / 2;
        if proves(query_count, middle, quantile) {
            allowed = middle;
        } else {
            refused = middle;
        }
    }
    Some(allowed)
}

/// What the slowest latencies of a closed-loop run prove about a percentile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TailEstimate {
    /// The run is long enough.
    Met {
        /// Queries needed for any estimate; see [`min_query_count`].
        queries_needed: u64,
        /// Queries above the estimate, which are set aside.
        discarded: u64,
        /// With 99 % confidence the percentile is not above this.
        latency: Latency,
    },
    /// The run is too short for any estimate.
    TooFew {
        /// Queries that were processed.
        queries: u64,
        /// Queries needed for any estimate; see [`min_query_count`].
        queries_needed: u64,
    },
}

impl TailEstimate {
    /// The estimate from latencies (ns) in ascending order, one a query.
    ///
    /// `SingleStream` asks for its target percentile and, for information, for the 99th;
    /// `MultiStream` asks for its target percentile of per-query latencies.
    pub fn from_sorted(latencies_ns: &[u64], quantile: Quantile) -> Self {
        debug_assert!(latencies_ns.is_sorted(), "latencies in ascending order");
        let queries = latencies_ns.len() as u64;
        let queries_needed = min_query_count(quantile);
        match overlatency_allowed(quantile, queries) {
            Some(allowed) if allowed >= 1 => Self::Met {
                queries_needed,
                discarded: allowed - 1,
                latency: Latency::from_nanos(latencies_ns[latencies_ns.len() - allowed as usize]),
            },
            _ => Self::TooFew {
                queries,
                queries_needed,
            },
        }
    }

    /// Whether the run is long enough.
    pub const fn is_met(&self) -> bool {
        matches!(self, Self::Met { .. })
    }

    /// The estimate, when there is one.
    pub const fn latency(&self) -> Option<Latency> {
        match self {
            Self::Met { latency, .. } => Some(*latency),
            Self::TooFew { .. } => None,
        }
    }
}

/// Whether a run with a fixed latency bound (Server) proves its percentile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OverlatencyVerdict {
    /// The percentile is proven.
    Met,
    /// It is not proven yet.
    NotMet {
        /// So many more queries would prove it, if every one of them met the bound.
        queries_missing: u64,
    },
}

impl OverlatencyVerdict {
    /// The verdict for `overlatency` queries above the bound among `query_count`.
    ///
    /// # Panics
    /// When more queries are slow than there are queries.
    pub fn new(query_count: u64, overlatency: u64, quantile: Quantile) -> Self {
        assert!(overlatency <= query_count, "slow queries are queries");
        let needed = passing_needed(quantile, overlatency) + overlatency;
        match needed.checked_sub(query_count) {
            None | Some(0) => Self::Met,
            Some(queries_missing) => Self::NotMet { queries_missing },
        }
    }

    /// Whether the percentile is proven.
    pub const fn is_met(&self) -> bool {
        matches!(self, Self::Met)
    }
}

/// Whether so few slow queries among `query_count` prove, but for a chance of `doubt`, that fewer
/// queries are slow than the percentile tolerates.
///
/// ```text
/// P[Binomial(query_count, 1 - p) <= overlatency] <= doubt
/// ```
pub fn is_surely_within(
    query_count: u64,
    overlatency: u64,
    quantile: Quantile,
    doubt: f64,
) -> bool {
    let slow_share = slow_share(quantile);
    // At or above the mean the tail holds about half of all chance. Below it the terms shrink
    // from `overlatency` downwards, which the sum relies on.
    if overlatency as f64 >= (query_count as f64 * slow_share).ceil() {
        return false;
    }
    lower_tail(overlatency, query_count, slow_share) <= doubt
}

/// The other side of [`is_surely_within`]: whether so many slow queries prove, but for a chance of
/// `doubt`, that more queries are slow than the percentile tolerates.
///
/// ```text
/// P[Binomial(query_count, 1 - p) >= overlatency] <= doubt
/// ```
pub fn is_surely_beyond(
    query_count: u64,
    overlatency: u64,
    quantile: Quantile,
    doubt: f64,
) -> bool {
    let fast_share = quantile.as_share();
    let Some(fast) = query_count.checked_sub(overlatency) else {
        return true;
    };
    // At least so many slow ones are at most so many fast ones: the lower tail of those.
    if overlatency == 0 || fast as f64 >= (query_count as f64 * fast_share).ceil() {
        return false;
    }
    lower_tail(fast, query_count, fast_share) <= doubt
}

/// Whether `query_count` queries with `overlatency` slow ones prove the percentile.
fn proves(query_count: u64, overlatency: u64, quantile: Quantile) -> bool {
    is_surely_within(query_count, overlatency, quantile, 1.0 - CONFIDENCE)
}

/// The share of slow queries that the percentile tolerates, `1 - p`.
fn slow_share(quantile: Quantile) -> f64 {
    f64::from(1_000_000 - quantile.as_ppm()) / 1e6
}

/// `P[Binomial(n, q) <= k]` for `k` below the mean, summed from the largest term downwards.
fn lower_tail(k: u64, n: u64, q: f64) -> f64 {
    let odds = (1.0 - q) / q;
    let mut relative_term = 1.0;
    let mut relative_sum = 1.0;
    for successes in (1..=k).rev() {
        relative_term *= successes as f64 / (n - successes + 1) as f64 * odds;
        relative_sum += relative_term;
        if relative_term < relative_sum * 1e-17 {
            break;
        }
    }
    binomial_term(k, n, q) * relative_sum
}

/// `P[Binomial(n, q) = k]` for `k < n`, without the cancellation that log-gamma suffers at large `n`.
///
/// *Source*: C. Loader, "Fast and accurate computation of binomial probabilities" (2000): Stirling's
/// formula with its error term, and the deviance of `k` from its mean.
fn binomial_term(k: u64, n: u64, q: f64) -> f64 {
    debug_assert!(k < n);
    let count = n as f64;
    if k == 0 {
        return (count * (-q).ln_1p()).exp();
    }
    let (hits, misses) = (k as f64, (n - k) as f64);
    let log_term = stirling_error(n)
        - stirling_error(k)
        - stirling_error(n - k)
        - deviance(hits, count * q)
        - deviance(misses, count * (1.0 - q));
    let spread = 2.0 * std::f64::consts::PI * hits * misses / count;
    log_term.exp() / spread.sqrt()
}

/// `ln(n!)` less Stirling's approximation `ln(sqrt(2 pi n) (n / e)^n)`, for `n >= 1`.
fn stirling_error(n: u64) -> f64 {
    let x = n as f64;
    if n < 16 {
        // The series below needs a large n; small factorials are exact.
        let factorial: f64 = (1..=n).map(|factor| factor as f64).product();
        return factorial.ln() - 0.5 * (2.0 * std::f64::consts::PI * x).ln() - x * x.ln() + x;
    }
    let square = x * x;
    (1.0 / 12.0
        - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / 1188.0 / square) / square) / square)
            / square)
        / x
}

/// `x ln(x / mean) + mean - x`, also where `x` is so near to `mean` that the difference cancels.
fn deviance(x: f64, mean: f64) -> f64 {
    let v = (x - mean) / (x + mean);
    if v.abs() >= 0.1 {
        return x * (x / mean).ln() + mean - x;
    }
    // ln(x / mean) = 2 atanh(v); the leading terms of its series cancel against `mean - x`.
    let mut sum = (x - mean) * v;
    let mut power = 2.0 * x * v;
    for denominator in (3..).step_by(2) {
        power *= v * v;
        let next = sum + power / f64::from(denominator);
        if next.to_bits() == sum.to_bits() {
            break;
        }
        sum = next;
    }
    sum
}

#[cfg(test)]
mod tests;
