//! How far two networks' outputs are apart.

/// Sums of `|p_int8 - p_fp32|` and of `p_fp32` over pictures; their ratio is *dp*.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProbabilityDifference {
    difference: f64,
    reference: f64,
}

impl ProbabilityDifference {
    /// Takes in the class probabilities of all anchors of one picture, the background column left out.
    ///
    /// # Panics
    /// When the lengths differ or do not divide by `columns`.
    pub fn add(&mut self, reference: &[f32], other: &[f32], columns: usize, background: bool) {
        assert_eq!(reference.len(), other.len(), "the same anchors and classes");
        assert!(
            columns > 0 && reference.len().is_multiple_of(columns),
            "whole rows"
        );
        let skip = usize::from(background);
        for (reference, other) in reference
            .chunks_exact(columns)
            .zip(other.chunks_exact(columns))
        {
            for (p, q) in reference[skip..].iter().zip(&other[skip..]) {
                self.difference += f64::from((q - p).abs());
                self.reference += f64::from(*p);
            }
        }
    }

    /// Sum of the differences, and sum of the reference.
    pub const fn sums(self) -> (f64, f64) {
        (self.difference, self.reference)
    }

    /// The ratio; `None` where the reference sees nothing.
    pub fn ratio(self) -> Option<f64> {
        (self.reference > 0.0).then(|| self.difference / self.reference)
    }
}

/// Sums of squares of a signal and of what another network makes otherwise; their ratio is the signal over noise.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SignalOverNoise {
    signal: f64,
    noise: f64,
}

impl SignalOverNoise {
    /// Takes in one output of both networks.
    ///
    /// # Panics
    /// When the lengths differ.
    pub fn add(&mut self, reference: &[f32], other: &[f32]) {
        assert_eq!(reference.len(), other.len(), "the same shape");
        for (a, b) in reference.iter().zip(other) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            self.signal += a * a;
            self.noise += (b - a) * (b - a);
        }
    }

    /// In decibels; `None` where there is no signal, or nothing differs.
    pub fn decibels(self) -> Option<f64> {
        let is_some = self.signal > 0.0 && self.noise > 0.0;
        is_some.then(|| 10.0 * (self.signal / self.noise).log10())
    }
}

/// Largest difference of two outputs over the range of the first.
///
/// # Panics
/// When the lengths differ.
pub fn largest_difference(reference: &[f32], other: &[f32]) -> f64 {
    assert_eq!(reference.len(), other.len(), "the same shape");
    let low = reference.iter().copied().fold(f32::INFINITY, f32::min);
    let high = reference.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let differences = reference
        .iter()
        .zip(other)
        .map(|(a, b)| f64::from(*a) - f64::from(*b));
    let largest = differences.fold(0.0_f64, |most, one| {
        // NaN is a difference too.
        if one.abs() > most || one.is_nan() {
            one.abs()
        } else {
            most
        }
    });
    let range = f64::from(high) - f64::from(low);
    if range > 0.0 {
        largest / range
    } else {
        largest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_background_column_does_not_count() {
        let mut with = ProbabilityDifference::default();
        with.add(&[0.9, 0.1, 0.9, 0.3], &[0.0, 0.2, 0.0, 0.2], 2, true);
        assert!((with.ratio().unwrap() - 0.5).abs() < 1e-6);
        let mut without = ProbabilityDifference::default();
        without.add(&[0.5, 0.5], &[0.0, 1.0], 2, false);
        assert!((without.ratio().unwrap() - 1.0).abs() < 1e-6);
        assert_eq!(ProbabilityDifference::default().ratio(), None);
    }

    #[test]
    fn a_hundredth_of_the_signals_power_is_twenty_decibels() {
        let mut sums = SignalOverNoise::default();
        assert_eq!(sums.decibels(), None);
        sums.add(&[10.0, 0.0], &[10.0, 0.0]);
        assert_eq!(sums.decibels(), None);
        sums.add(&[0.0, 10.0], &[1.0, 11.0]);
        let found = sums.decibels().unwrap();
        assert!((found - 20.0).abs() < 1e-9, "{found}");
    }

    #[test]
    fn differences_are_shares_of_the_range_and_nan_is_one() {
        assert!((largest_difference(&[0.0, 10.0], &[1.0, 10.0]) - 0.1).abs() < 1e-9);
        assert!(largest_difference(&[0.0, 1.0], &[0.0, f32::NAN]).is_nan());
    }
}
