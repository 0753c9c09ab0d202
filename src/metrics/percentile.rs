//! Percentiles of a latency list, by two named rules, and the summary that every report prints.
//!
//! Two rules exist because two are in use. `LoadGen` takes the element at index `n * q`, cut to a
//! whole number; statistics books take the smallest element that at least a share `q` of all
//! elements does not exceed ("nearest rank"). They differ by one element when `n * q` is whole:
//! of ten latencies, the nearest-rank median is the fifth and `LoadGen`'s is the sixth.
//! A [`LatencySummary`] follows `LoadGen`, so that its figures equal those of an `MLPerf` log.

use serde::Serialize;

use crate::units::{Latency, Quantile};

/// The index (from zero) of the quantile in a sorted list of `count` elements: `n * q`, truncated.
///
/// The product is formed in `f64`, because `LoadGen` does so and a rounding error there is part
/// of the definition: `100 * 0.29` gives index 28, not 29.
///
/// # Panics
/// When `count` is zero: an empty list has no percentile.
pub fn loadgen_rank(count: usize, quantile: Quantile) -> usize {
    assert!(count > 0, "an empty list has no percentile");
    let index = (count as f64 * quantile.as_share()) as usize;
    // A quantile is below one, but the product of a huge count may round up to it.
    index.min(count - 1)
}

/// The index (from zero) of the quantile in a sorted list of `count` elements by the nearest-rank
/// rule: the smallest element that at least a share `q` of the list does not exceed.
///
/// Computed in whole numbers, so no rounding error can move it.
///
/// # Panics
/// When `count` is zero: an empty list has no percentile.
pub fn nearest_rank(count: usize, quantile: Quantile) -> usize {
    assert!(count > 0, "an empty list has no percentile");
    let rank = (count as u128 * u128::from(quantile.as_ppm())).div_ceil(1_000_000);
    // A quantile is above zero, so the one-based rank is at least one and at most `count`.
    rank as usize - 1
}

/// The figures of one latency list, in nanoseconds, each the exact value of one element
/// (and no estimate from a histogram), except the mean.
///
/// Serialised keys: `count`, `min`, `mean`, `p50`, `p90`, `p95`, `p97`, `p99`, `p99_9`, `max`.
/// Percentiles follow [`loadgen_rank`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LatencySummary {
    /// How many latencies there are.
    pub count: u64,
    /// The shortest.
    pub min: Latency,
    /// The sum divided by the count, cut to whole nanoseconds as `LoadGen` does.
    pub mean: Latency,
    /// The median.
    pub p50: Latency,
    /// The 90th percentile.
    pub p90: Latency,
    /// The 95th percentile.
    pub p95: Latency,
    /// The 97th percentile.
    pub p97: Latency,
    /// The 99th percentile.
    pub p99: Latency,
    /// The 99.9th percentile.
    pub p99_9: Latency,
    /// The longest.
    pub max: Latency,
}

impl LatencySummary {
    /// The summary of latencies that are sorted in ascending order; `None` for an empty list.
    ///
    /// *Complexity*: one pass for the sum.
    ///
    /// # Panics
    /// In debug builds, when the list is not sorted.
    pub fn from_sorted(latencies_ns: &[u64]) -> Option<Self> {
        debug_assert!(latencies_ns.is_sorted(), "latencies in ascending order");
        let (&min, &max) = (latencies_ns.first()?, latencies_ns.last()?);
        Some(Self::from_placed(latencies_ns, min, max))
    }

    /// The summary of latencies whose percentiles stand where sorting would put them.
    fn from_placed(latencies_ns: &[u64], min: u64, max: u64) -> Self {
        let count = latencies_ns.len();
        let sum: u128 = latencies_ns.iter().map(|&ns| u128::from(ns)).sum();
        let at = |quantile| Latency::from_nanos(latencies_ns[loadgen_rank(count, quantile)]);
        Self {
            count: count as u64,
            min: Latency::from_nanos(min),
            // A mean lies between the smallest and the largest u64, so it is one.
            mean: Latency::from_nanos((sum / count as u128) as u64),
            p50: at(Quantile::P50),
            p90: at(Quantile::P90),
            p95: at(Quantile::P95),
            p97: at(Quantile::P97),
            p99: at(Quantile::P99),
            p99_9: at(Quantile::P99_9),
            max: Latency::from_nanos(max),
        }
    }

    /// The six percentiles in ascending order, in nanoseconds.
    pub const fn percentiles_ns(&self) -> [u64; 6] {
        [
            self.p50.as_nanos(),
            self.p90.as_nanos(),
            self.p95.as_nanos(),
            self.p97.as_nanos(),
            self.p99.as_nanos(),
            self.p99_9.as_nanos(),
        ]
    }

    /// Moves each percentile to where sorting would put it, then summarises; `None` for an empty
    /// list.
    ///
    /// *Complexity*: linear, without allocation: each selection works on what lies above the one before.
    pub fn from_unsorted(latencies_ns: &mut [u64]) -> Option<Self> {
        let min = *latencies_ns.iter().min()?;
        let max = *latencies_ns.iter().max()?;
        // What stands before this index is no larger than what stands after it.
        let mut open = 0;
        for quantile in Self::QUANTILES {
            let rank = loadgen_rank(latencies_ns.len(), quantile);
            if rank >= open {
                latencies_ns[open..].select_nth_unstable(rank - open);
                open = rank + 1;
            }
        }
        Some(Self::from_placed(latencies_ns, min, max))
    }

    /// The percentiles that are reported, ascending.
    const QUANTILES: [Quantile; 6] = [
        Quantile::P50,
        Quantile::P90,
        Quantile::P95,
        Quantile::P97,
        Quantile::P99,
        Quantile::P99_9,
    ];
}

/// The element of a sorted list at `LoadGen`'s rank; `None` for an empty list.
pub fn percentile_of_sorted(latencies_ns: &[u64], quantile: Quantile) -> Option<Latency> {
    let count = latencies_ns.len();
    (count > 0).then(|| Latency::from_nanos(latencies_ns[loadgen_rank(count, quantile)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(share: f64) -> Quantile {
        Quantile::from_share(share).unwrap()
    }

    #[test]
    fn loadgen_takes_the_element_after_a_whole_rank() {
        // Examples of the load generator's definition, not of ours.
        assert_eq!(loadgen_rank(1000, Quantile::P99), 990);
        assert_eq!(loadgen_rank(10, Quantile::P90), 9);
        assert_eq!(loadgen_rank(10, Quantile::P50), 5);
        assert_eq!(loadgen_rank(1, Quantile::P99_9), 0);
        assert_eq!(loadgen_rank(100, share(0.29)), 28, "rounding is part of it");
    }

    #[test]
    fn a_percentage_of_a_file_picks_the_element_that_loadgens_product_picks() {
        // Every percentage with two decimals from 50 to 99.99, as `text * 0.01`.
        for hundredths in 5_000..10_000_u32 {
            let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
            let product = text.parse::<f64>().unwrap() * 0.01;
            let quantile = share(product);
            for count in (1..=400).chain((500..=20_000).step_by(125)) {
                let expected = (count as f64 * product) as usize;
                assert_eq!(loadgen_rank(count, quantile), expected, "{text} of {count}");
            }
        }
        // 57 is one of those where the product is not the share.
        assert_eq!(loadgen_rank(100, share(57.0 * 0.01)), 57);
        assert_eq!(loadgen_rank(100, share(0.57)), 56);
    }

    #[test]
    fn nearest_rank_takes_the_element_of_a_whole_rank() {
        // The worked example of the textbook rule: 15, 20, 35, 40, 50.
        let list = [15, 20, 35, 40, 50];
        for (quantile, expected) in [(0.05, 15), (0.30, 20), (0.40, 20), (0.50, 35)] {
            assert_eq!(list[nearest_rank(5, share(quantile))], expected);
        }
        assert_eq!(nearest_rank(100, share(0.29)), 28);
        assert_eq!(nearest_rank(10, Quantile::P50), 4);
    }

    #[test]
    fn a_summary_holds_elements_and_an_integer_mean() {
        let mut list: Vec<u64> = (1..=1000).rev().collect();
        let summary = LatencySummary::from_unsorted(&mut list).unwrap();
        let ns = Latency::from_nanos;
        assert_eq!(
            summary,
            LatencySummary {
                count: 1000,
                min: ns(1),
                mean: ns(500),
                p50: ns(501),
                p90: ns(901),
                p95: ns(951),
                p97: ns(971),
                p99: ns(991),
                p99_9: ns(1000),
                max: ns(1000),
            }
        );
        assert_eq!(LatencySummary::from_sorted(&[]), None);
        assert_eq!(percentile_of_sorted(&[], Quantile::P50), None);
        list.sort_unstable();
        assert_eq!(percentile_of_sorted(&list, Quantile::P50), Some(ns(501)));
    }

    #[test]
    fn a_sum_beyond_64_bits_still_has_a_mean() {
        let summary = LatencySummary::from_sorted(&[u64::MAX - 1, u64::MAX]).unwrap();
        assert_eq!(summary.mean.as_nanos(), u64::MAX - 1);
    }

    #[test]
    fn the_serialised_keys_are_the_published_ones() {
        let summary = LatencySummary::from_sorted(&[7]).unwrap();
        assert_eq!(
            serde_json::to_string(&summary).unwrap(),
            r#"{"count":1,"min":7,"mean":7,"p50":7,"p90":7,"p95":7,"p97":7,"p99":7,"p99_9":7,"max":7}"#
        );
    }

    proptest! {
        #[test]
        fn selecting_gives_the_summary_of_the_sorted_list(
            mut list in prop::collection::vec(0..50_u64, 0..400), scale in 1..1_000_000_u64
        ) {
            for ns in &mut list {
                *ns *= scale;
            }
            let mut sorted = list.clone();
            sorted.sort_unstable();
            let selected = LatencySummary::from_unsorted(&mut list);
            prop_assert_eq!(selected, LatencySummary::from_sorted(&sorted));
        }

        #[test]
        fn nearest_rank_is_the_smallest_that_covers_the_share(
            count in 1usize..5000, ppm in 1u32..=999_999
        ) {
            let quantile = share(f64::from(ppm) / 1e6);
            let covered = |index: usize| (index as u64 + 1) * 1_000_000 >= count as u64 * u64::from(ppm);
            let rank = nearest_rank(count, quantile);
            prop_assert!(rank < count && covered(rank));
            prop_assert!(rank == 0 || !covered(rank - 1));
            // The two rules never lie more than one element apart.
            let loadgen = loadgen_rank(count, quantile);
            prop_assert!(loadgen == rank || loadgen == rank + 1);
        }
    }
}
