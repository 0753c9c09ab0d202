//! Two systems measured in turns: who begins, and what the turns say of a ratio.
//!
//! A machine that drifts (a neighbour, a governor, heat) slows both sides of a turn alike, so that their ratio holds. Who begins
//! changes from turn to turn, so that a drift inside the turns cancels as well.

use serde::Serialize;

/// Quartiles of what the turns showed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// A quarter of the turns is below.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// A quarter is above.
    pub high: f64,
}

impl Spread {
    /// Quartiles, between two values in proportion; `None` of nothing. Values that are no numbers are left out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|one| one.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |quarters: usize| {
            let position = (last * quarters) as f64 / 4.0;
            let below = position.floor();
            let (low, high) = (sorted[below as usize], sorted[position.ceil() as usize]);
            low + (high - low) * (position - below)
        };
        Some(Self {
            low: at(1),
            median: at(2),
            high: at(3),
        })
    }
}

/// Who is measured first and who second in a turn, counted from zero: A B, B A, A B, …
pub const fn order(turn: usize) -> [usize; 2] {
    if turn.is_multiple_of(2) {
        [0, 1]
    } else {
        [1, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> [f64; 3] {
        let spread = Spread::of(values.iter().copied()).unwrap();
        [spread.low, spread.median, spread.high]
    }

    #[test]
    #[allow(clippy::float_cmp)] // Quarters of small whole numbers.
    fn quartiles_are_numpys() {
        // numpy.percentile(values, [25, 50, 75]).
        assert_eq!(of(&[3.0]), [3.0; 3]);
        assert_eq!(of(&[2.0, 1.0]), [1.25, 1.5, 1.75]);
        assert_eq!(of(&[5.0, 1.0, 4.0, 2.0, 3.0]), [2.0, 3.0, 4.0]);
        assert_eq!(of(&[1.0, 2.0, 4.0, 8.0]), [1.75, 3.0, 5.0]);
        assert_eq!(of(&[f64::NAN, 1.0, f64::INFINITY]), [1.0; 3]);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_steady_drift_gives_the_true_ratio() {
        // The second system takes half of the time of the first; every measurement is slower than the one before.
        let mut slower = 1.0;
        let ratios = (0..8).map(|turn| {
            let mut times = [0.0; 2];
            for which in order(turn) {
                times[which] = [2.0, 1.0][which] * slower;
                slower *= 1.1;
            }
            times[0] / times[1]
        });
        let spread = Spread::of(ratios).unwrap();
        assert!((spread.median - 2.0).abs() < 0.02, "{spread:?}");
        assert!(spread.low < 2.0 && spread.high > 2.0);
    }
}
