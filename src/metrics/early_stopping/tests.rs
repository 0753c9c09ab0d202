use super::*;

fn share(share: f64) -> Quantile {
    Quantile::from_share(share).unwrap()
}

/// Whole numbers of any size, base 2^32, least digit first: only what the reference needs.
#[derive(Clone, PartialEq)]
struct Big(Vec<u32>);

impl Big {
    fn one() -> Self {
        Self(vec![1])
    }

    fn times(mut self, factor: u64) -> Self {
        let mut carry = 0u128;
        for digit in &mut self.0 {
            carry += u128::from(*digit) * u128::from(factor);
            *digit = carry as u32;
            carry >>= 32;
        }
        while carry > 0 {
            self.0.push(carry as u32);
            carry >>= 32;
        }
        self
    }

    fn divided_exactly(mut self, divisor: u64) -> Self {
        let mut rest = 0u128;
        for digit in self.0.iter_mut().rev() {
            rest = rest << 32 | u128::from(*digit);
            *digit = (rest / u128::from(divisor)) as u32;
            rest %= u128::from(divisor);
        }
        assert_eq!(rest, 0);
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    fn plus(mut self, other: &Self) -> Self {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        let mut carry = 0u64;
        for (index, digit) in self.0.iter_mut().enumerate() {
            carry += u64::from(*digit) + u64::from(*other.0.get(index).unwrap_or(&0));
            *digit = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
        self
    }

    fn at_most(&self, other: &Self) -> bool {
        let key = |big: &Self| (big.0.len(), big.0.iter().rev().copied().collect::<Vec<_>>());
        key(self) <= key(other)
    }
}

/// `P[Binomial(n, (1000 - pass) / 1000) <= t] <= 1 / 100`, in whole numbers.
fn proves_exactly(n: u64, t: u64, pass_per_mille: u64) -> bool {
    let slow = 1000 - pass_per_mille;
    // The term of k is C(n, k) slow^k pass^(n - k); the total is 1000^n.
    let mut term = (0..n).fold(Big::one(), |big, _| big.times(pass_per_mille));
    let mut sum = term.clone();
    for k in 1..=t.min(n) {
        term = term
            .times(slow)
            .times(n - k + 1)
            .divided_exactly(k)
            .divided_exactly(pass_per_mille);
        sum = sum.plus(&term);
    }
    let total = (0..n).fold(Big::one(), |big, _| big.times(1000));
    sum.times(100).at_most(&total)
}

#[test]
fn the_threshold_equals_exact_arithmetic() {
    for (per_mille, most) in [(500, 40), (900, 12), (950, 8), (970, 5), (990, 1), (100, 6)] {
        let quantile = share(per_mille as f64 / 1000.0);
        for t in 0..=most {
            let h = passing_needed(quantile, t);
            assert!(proves_exactly(h + t, t, per_mille), "p={per_mille} t={t}");
            assert!(
                !proves_exactly(h + t - 1, t, per_mille),
                "p={per_mille} t={t}: {h} is not the least"
            );
        }
    }
}

#[test]
fn the_allowed_overlatency_is_the_inverse_of_the_threshold() {
    for quantile in [Quantile::P50, Quantile::P90, Quantile::P99, Quantile::P99_9] {
        let least = passing_needed(quantile, 0);
        assert_eq!(overlatency_allowed(quantile, least - 1), None);
        assert_eq!(overlatency_allowed(quantile, least), Some(0));
        for t in [1, 2, 17, 300, 40_000] {
            let needed = passing_needed(quantile, t) + t;
            assert_eq!(overlatency_allowed(quantile, needed), Some(t));
            assert_eq!(overlatency_allowed(quantile, needed - 1), Some(t - 1));
        }
    }
    assert_eq!(overlatency_allowed(Quantile::P99, 0), None);
}

#[test]
fn the_published_minimum_counts_hold() {
    assert_eq!(min_query_count(Quantile::P90), 64);
    assert_eq!(min_query_count(Quantile::P99), 662);
}

#[test]
fn a_run_one_query_short_of_the_minimum_has_no_estimate() {
    let latencies: Vec<u64> = (1..=64).collect();
    assert_eq!(
        TailEstimate::from_sorted(&latencies[..63], Quantile::P90),
        TailEstimate::TooFew {
            queries: 63,
            queries_needed: 64
        }
    );
    assert_eq!(
        TailEstimate::from_sorted(&latencies, Quantile::P90),
        TailEstimate::Met {
            queries_needed: 64,
            discarded: 0,
            latency: Latency::from_nanos(64)
        },
        "with one slow query allowed the estimate is the maximum"
    );
    assert!(!TailEstimate::from_sorted(&[], Quantile::P90).is_met());
}

#[test]
fn the_second_slow_query_is_discarded_from_81_queries_on() {
    let latencies: Vec<u64> = (1..=945).collect();
    let estimate = |count: usize| TailEstimate::from_sorted(&latencies[..count], Quantile::P90);
    assert_eq!(estimate(80).latency(), Some(Latency::from_nanos(80)));
    assert_eq!(estimate(81).latency(), Some(Latency::from_nanos(80)));
    let TailEstimate::Met { discarded, .. } = estimate(945) else {
        panic!("945 queries are enough")
    };
    assert_eq!(discarded, 72);
}

#[test]
fn a_server_run_learns_how_many_queries_it_lacks() {
    // Figures of recorded LoadGen runs.
    for (queries, slow, missing) in [(600, 4, 557), (300, 0, 159)] {
        assert_eq!(
            OverlatencyVerdict::new(queries, slow, Quantile::P99),
            OverlatencyVerdict::NotMet {
                queries_missing: missing
            }
        );
    }
    assert!(OverlatencyVerdict::new(459, 0, Quantile::P99).is_met());
    assert!(!OverlatencyVerdict::new(458, 0, Quantile::P99).is_met());
    assert!(OverlatencyVerdict::new(1157, 4, Quantile::P99).is_met());
}

#[test]
fn a_hundred_million_queries_agree_with_the_normal_approximation() {
    // At this size the binomial is normal to within its continuity and skewness corrections.
    let n = 1e8;
    for quantile in [Quantile::P50, Quantile::P90, Quantile::P99, Quantile::P99_9] {
        let q = slow_share(quantile);
        let z = -2.326_347_874_040_840_8_f64;
        let sigma = (n * q * (1.0 - q)).sqrt();
        let expected = n * q + z * sigma + (1.0 - 2.0 * q) * (z * z - 1.0) / 6.0 - 0.5;
        let allowed = overlatency_allowed(quantile, 100_000_000).unwrap() as f64;
        assert!(
            (allowed - expected).abs() < 1.0,
            "{quantile}: {allowed} against {expected}"
        );
    }
}

#[test]
fn an_extreme_percentile_still_ends() {
    assert_eq!(passing_needed(share(0.999_999), 0), 4_605_168);
    assert_eq!(passing_needed(share(0.000_001), 0), 1);
    assert!(overlatency_allowed(share(0.000_001), 1_000_000).is_some());
}

#[test]
fn golden_large_thresholds_hold() {
    // Beyond the recorded table: LoadGen's own answers for long runs.
    for (t, h) in [
        (2702, 279_778),
        (5000, 511_615),
        (10_000, 1_013_394),
        (20_000, 2_012_982),
    ] {
        assert_eq!(passing_needed(Quantile::P99, t), h);
    }
}

/// Both directions against the sum of all terms, built up query by query.
#[test]
fn both_directions_hold_exactly_where_the_sum_of_the_terms_says_so() {
    for quantile in [Quantile::P90, Quantile::P99, share(0.999)] {
        let slow = 1.0 - quantile.as_share();
        let mut chances = vec![1.0_f64];
        for count in 1..=900_u64 {
            let mut next = vec![0.0; chances.len() + 1];
            for (over, chance) in chances.iter().enumerate() {
                next[over] += chance * (1.0 - slow);
                next[over + 1] += chance * slow;
            }
            chances = next;
            if count % 53 != 0 {
                continue;
            }
            for over in 0..=count.min(120) {
                let at_most: f64 = chances[..=over as usize].iter().sum();
                let at_least: f64 = chances[over as usize..].iter().sum();
                for doubt in [0.01, 0.001, 1e-5] {
                    let near = |chance: f64| (chance / doubt - 1.0).abs() < 1e-6;
                    if !near(at_most) {
                        let sure = is_surely_within(count, over, quantile, doubt);
                        assert_eq!(sure, at_most <= doubt, "{over} of {count}, {quantile}");
                    }
                    if !near(at_least) {
                        let sure = is_surely_beyond(count, over, quantile, doubt);
                        assert_eq!(sure, at_least <= doubt, "{over} of {count}, {quantile}");
                    }
                }
            }
        }
    }
}
