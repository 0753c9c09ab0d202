//! How sure a figure over pictures is: the pictures are drawn anew, many times.

use crate::laboratory::draws::Draws;

/// Resamples of an interval.
pub const RESAMPLES: usize = 400;

/// Differences and references of probabilities on one picture, summed over all anchors and classes.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct PictureDifference {
    /// Sum of `|p_int8 - p_fp32|`.
    pub difference: f64,
    /// Sum of `p_fp32`.
    pub reference: f64,
}

/// *dp* over pictures that count `weights` times; `None` where the reference sees nothing.
pub fn dp(pictures: &[PictureDifference], weights: Option<&[u32]>) -> Option<f64> {
    let (mut difference, mut reference) = (0.0, 0.0);
    for (at, picture) in pictures.iter().enumerate() {
        let times = weights.map_or(1.0, |weights| f64::from(weights[at]));
        difference += times * picture.difference;
        reference += times * picture.reference;
    }
    (reference > 0.0).then(|| difference / reference)
}

/// How sure a candidate has to be worse, or better, for an early decision.
pub const EARLY_CONFIDENCE: f64 = 0.95;

/// Whether `one` has a smaller *dp* than `other` on the same pictures, with [`EARLY_CONFIDENCE`].
pub fn is_surely_nearer(one: &[PictureDifference], other: &[PictureDifference], seed: u32) -> bool {
    assert_eq!(one.len(), other.len(), "the same pictures");
    if one.is_empty() {
        return false;
    }
    let nearer = Draws::new(one.len(), RESAMPLES, u64::from(seed)).figures(|weights| {
        let (one, other) = (dp(one, Some(weights))?, dp(other, Some(weights))?);
        Some(f64::from(u8::from(one < other)))
    });
    let count: f64 = nearer.iter().flatten().sum();
    count >= EARLY_CONFIDENCE * nearer.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(differences: &[f64]) -> Vec<PictureDifference> {
        let picture = |&difference: &f64| PictureDifference {
            difference,
            reference: 1.0,
        };
        differences.iter().map(picture).collect()
    }

    #[test]
    fn dp_is_the_ratio_of_sums_and_not_the_mean_of_ratios() {
        let mut own = pictures(&[0.1, 0.3]);
        own[1].reference = 3.0;
        assert_eq!(dp(&own, None), Some(0.4 / 4.0));
        assert_eq!(dp(&own, Some(&[2, 0])), Some(0.1));
        assert_eq!(dp(&[], None), None);
    }

    #[test]
    fn only_what_is_nearer_on_nearly_every_draw_is_surely_nearer() {
        let near = pictures(&[0.10, 0.11, 0.09, 0.12]);
        let far = pictures(&[0.20, 0.21, 0.19, 0.22]);
        let mixed = pictures(&[0.05, 0.05, 0.18, 0.15]);
        assert!(is_surely_nearer(&near, &far, 1));
        assert!(!is_surely_nearer(&far, &near, 1));
        assert!(!is_surely_nearer(&near, &mixed, 1));
        assert!(!is_surely_nearer(&mixed, &near, 1));
        assert!(!is_surely_nearer(&near, &near, 1));
    }
}
