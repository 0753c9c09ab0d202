//! From the numbers of a score head to probabilities, for as few of them as possible.
//!
//! Every probability that reaches a detection is defined in `f64` and rounded to `f32` once. Sigmoid does
//! not change an order, so the search for candidates works on logits and only survivors are activated.
//! What rounding makes equal must stay equal, though: the saturated end of a sigmoid is full of ties.

use super::scan::best_of;

/// `1 / (1 + exp(-logit))` in `f64`, rounded to `f32`; NaN for NaN.
///
/// Never falls as `logit` rises: between neighbouring `f32` logits the true value moves by far more than
/// `f64` arithmetic errs, except where the `f32` result stands still for many neighbours in a row.
pub fn sigmoid(logit: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32
}

/// Writes the softmax of `logits` to `probabilities`; `exponentials` is scratch space.
///
/// The largest logit is subtracted first; exponentials and their sum, taken from left to right, are `f64`;
/// each quotient is rounded to `f32`. A NaN or `+inf` among the logits makes every probability NaN.
///
/// # Panics
/// When the lengths differ.
pub fn softmax(logits: &[f32], probabilities: &mut [f32], exponentials: &mut Vec<f64>) {
    assert_eq!(logits.len(), probabilities.len());
    let largest = f64::from(best_of(logits));
    exponentials.clear();
    exponentials.extend(
        logits
            .iter()
            .map(|&logit| (f64::from(logit) - largest).exp()),
    );
    let sum: f64 = exponentials.iter().sum();
    for (probability, exponential) in probabilities.iter_mut().zip(exponentials) {
        *probability = (*exponential / sum) as f32;
    }
}

/// How the raw numbers of a head relate to scores; the relation never falls.
pub trait ScoreMap: Copy {
    /// The score of a raw number; NaN for NaN.
    fn score(self, raw: f32) -> f32;

    /// The lowest raw number whose score is at least `score`; NaN, which nothing reaches, when there is none.
    fn lowest_raw(self, score: f32) -> f32;

    /// A raw number below which no score equals that of `raw`.
    fn tie_floor(self, raw: f32) -> f32;
}

/// The raw numbers are scores.
#[derive(Debug, Clone, Copy)]
pub struct Probability;

impl ScoreMap for Probability {
    fn score(self, raw: f32) -> f32 {
        raw
    }

    fn lowest_raw(self, score: f32) -> f32 {
        score
    }

    fn tie_floor(self, raw: f32) -> f32 {
        raw
    }
}

/// The raw numbers are logits whose [`sigmoid`] is the score.
#[derive(Debug, Clone, Copy)]
pub struct Logit;

impl ScoreMap for Logit {
    fn score(self, raw: f32) -> f32 {
        sigmoid(raw)
    }

    fn lowest_raw(self, score: f32) -> f32 {
        // The sigmoid of +inf is 1.
        if score > 1.0 || score.is_nan() {
            return f32::NAN;
        }
        let (mut low, mut high) = (ordinal(f32::NEG_INFINITY), ordinal(f32::INFINITY));
        while low < high {
            let middle = low + (high - low) / 2;
            if sigmoid(from_ordinal(middle)) >= score {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        from_ordinal(low)
    }

    fn tie_floor(self, raw: f32) -> f32 {
        // One step of the logit changes the score by more than an ulp between -80 and 16: at the upper end by
        // 2e-7 where an ulp is 6e-8, at the lower by a factor of e where scores are still normal numbers.
        if raw <= -80.0 {
            f32::NEG_INFINITY
        } else {
            raw.min(16.0) - 1.0
        }
    }
}

/// The position of a number in the order of all `f32` but NaN, from `-inf` up.
fn ordinal(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}

fn from_ordinal(ordinal: u32) -> f32 {
    f32::from_bits(if ordinal >> 31 == 1 {
        ordinal ^ 1 << 31
    } else {
        !ordinal
    })
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Exact equality is what is promised.
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinals_keep_the_order_and_go_both_ways() {
        let values = [
            f32::NEG_INFINITY,
            -3.5,
            -1e-40,
            -0.0,
            0.0,
            1e-40,
            2.0,
            f32::INFINITY,
        ];
        for pair in values.windows(2) {
            assert!(ordinal(pair[0]) < ordinal(pair[1]), "{pair:?}");
        }
        for value in values {
            assert_eq!(from_ordinal(ordinal(value)).to_bits(), value.to_bits());
        }
    }

    #[test]
    fn the_lowest_logit_of_a_score_is_the_lowest() {
        for score in [1e-45, 1e-8, 0.01, 0.3, 0.5, 0.999, 0.999_999_9, 1.0] {
            let lowest = Logit.lowest_raw(score);
            assert!(sigmoid(lowest) >= score);
            assert!(sigmoid(lowest.next_down()) < score, "{score}");
        }
        assert_eq!(Logit.lowest_raw(0.0), f32::NEG_INFINITY);
        assert_eq!(Logit.lowest_raw(-1.0), f32::NEG_INFINITY);
        assert!(Logit.lowest_raw(1.000_000_1).is_nan());
        assert!(Logit.lowest_raw(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_saturates_at_both_ends() {
        assert_eq!(sigmoid(0.0), 0.5);
        assert_eq!(sigmoid(40.0), 1.0);
        assert_eq!(sigmoid(f32::INFINITY), 1.0);
        assert_eq!(sigmoid(-200.0), 0.0);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
        assert!(sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn softmax_of_equal_logits_is_uniform_and_of_nan_is_nan() {
        let mut out = [0.0; 4];
        softmax(&[1000.0; 4], &mut out, &mut Vec::new());
        assert_eq!(out, [0.25; 4]);
        softmax(&[0.0, f32::NAN, 1.0, 2.0], &mut out, &mut Vec::new());
        assert!(out.iter().all(|p| p.is_nan()));
    }

    proptest! {
        #[test]
        fn sigmoid_never_falls(logit in prop_oneof![-110.0f32..40.0, -1e-6f32..1e-6, 14.0f32..18.0]) {
            prop_assert!(sigmoid(logit.next_up()) >= sigmoid(logit));
        }

        #[test]
        fn nothing_below_the_tie_floor_ties(
            logit in prop_oneof![-120.0f32..60.0, 14.0f32..18.0, -81.0f32..-79.0]
        ) {
            let floor = Logit.tie_floor(logit);
            if floor > f32::NEG_INFINITY {
                prop_assert!(sigmoid(floor.next_down()) < sigmoid(logit));
            }
        }
    }
}
