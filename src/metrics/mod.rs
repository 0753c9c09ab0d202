//! Pure maths on latencies: percentiles, early stopping, histograms.
//!
//! Input: plain slices of nanoseconds. Output: figures. This module knows nothing of queries,
//! scenarios, threads, clocks or files; of ours it depends on [`crate::units`] alone. It is the
//! one place where a bare `u64` may stand for nanoseconds, because sorting a hundred million of
//! them is its daily work.
//!
//! | file | answers |
//! |---|---|
//! | [`percentile`] | which element of a sorted list is the 99th percentile, by which rule |
//! | [`early_stopping`] | does a run of `n` queries prove a percentile with 99 % confidence |
//! | [`histogram`] | what do latencies look like while a run goes on, and afterwards in other tools |

pub mod early_stopping;
#[cfg(test)]
mod golden;
pub mod histogram;
pub mod percentile;

pub use early_stopping::{OverlatencyVerdict, TailEstimate};
pub use histogram::{write_interval_log, IntervalLogError, LatencyHistogram};
pub use percentile::{loadgen_rank, nearest_rank, LatencySummary};
