//! How sure a difference of precision is: the pictures are drawn anew, both sides on the same draw.

use serde::Serialize;

use super::draws::Draws;
use crate::accuracy::matching::Matches;

/// A difference and where 95 % of the resamples lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// First less second, on the pictures as they are.
    pub estimate: f64,
    /// 2.5 % of the resamples are below.
    pub low: f64,
    /// 2.5 % are above.
    pub high: f64,
}

impl Difference {
    /// Whether the interval leaves zero out.
    pub fn is_clear(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// The differences between two sets of detections on the same pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Differences {
    /// Of the mean average precision; `None` without objects.
    pub map: Option<Difference>,
    /// Of the average precision of each category, in the order of the categories; `None` without objects.
    pub per_category: Vec<Option<Difference>>,
}

/// Percentile intervals from `resamples` draws of the pictures with repetition.
///
/// # Panics
/// When the two are not of the same pictures and categories, or when `resamples` is zero.
pub fn paired(first: &Matches, second: &Matches, resamples: u32, seed: u64) -> Differences {
    assert_eq!(first.image_ids, second.image_ids);
    assert_eq!(first.category_ids, second.category_ids);
    resampled(first.image_ids.len(), resamples, seed, |weights| {
        differences(first, second, weights)
    })
}

/// The difference of the means, and that of each category; `None` without objects.
pub type MeanAndCategories = (Option<f64>, Vec<Option<f64>>);

/// The same for any figure: `differences` gives it when each picture counts so many times, always for the same categories.
///
/// # Panics
/// When `resamples` is zero.
pub fn resampled(
    pictures: usize,
    resamples: u32,
    seed: u64,
    differences: impl Fn(&[u32]) -> MeanAndCategories + Sync,
) -> Differences {
    assert!(resamples > 0, "an interval needs resamples");
    let as_is = differences(&vec![1; pictures]);
    let mut map = Vec::new();
    let mut per_category = vec![Vec::new(); as_is.1.len()];
    let draws = Draws::new(pictures, resamples as usize, seed);
    for (of_all, by_category) in draws.figures(&differences) {
        map.extend(of_all);
        for (kept, difference) in per_category.iter_mut().zip(by_category) {
            kept.extend(difference);
        }
    }
    Differences {
        map: as_is.0.map(|estimate| interval(estimate, &mut map)),
        per_category: as_is
            .1
            .into_iter()
            .zip(&mut per_category)
            .map(|(estimate, drawn)| Some(interval(estimate?, drawn)))
            .collect(),
    }
}

/// The difference of the means over categories, and that of each category.
fn differences(first: &Matches, second: &Matches, weights: &[u32]) -> MeanAndCategories {
    let categories = 0..first.category_ids.len();
    let by_category: Vec<Option<f64>> = categories
        .map(|category| {
            let first = first.average_precision(category, weights)?;
            Some(first - second.average_precision(category, weights)?)
        })
        .collect();
    let present: Vec<f64> = by_category.iter().flatten().copied().collect();
    let mean = present.iter().sum::<f64>() / present.len() as f64;
    ((!present.is_empty()).then_some(mean), by_category)
}

/// The middle 95 % of `drawn`; a category that no draw met keeps its estimate.
fn interval(estimate: f64, drawn: &mut [f64]) -> Difference {
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (share * drawn.len() as f64) as usize;
        drawn
            .get(index.min(drawn.len().saturating_sub(1)))
            .copied()
            .unwrap_or(estimate)
    };
    Difference {
        estimate,
        low: at(0.025),
        high: at(0.975),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::CocoDetection;

    fn matches(found_in: impl Fn(i64) -> bool) -> Matches {
        let images: Vec<_> = (0..40).map(|id| serde_json::json!({"id": id})).collect();
        let objects: Vec<_> = (0..40)
            .map(|id| {
                serde_json::json!({"id": id + 1, "image_id": id, "category_id": 1,
                    "bbox": [0, 0, 10, 10], "area": 100})
            })
            .collect();
        let truth = serde_json::json!({"images": images, "annotations": objects,
            "categories": [{"id": 1}, {"id": 2}]});
        let detections: Vec<CocoDetection> = (0..40)
            .filter(|&id| found_in(id))
            .map(|image_id| CocoDetection {
                image_id,
                category_id: 1,
                bbox: [0.0, 0.0, 10.0, 10.0],
                score: 0.5,
            })
            .collect();
        Matches::new(&truth.to_string().parse().unwrap(), &detections, None).unwrap()
    }

    #[test]
    fn a_clear_difference_is_clear_and_none_is_none() {
        let (all, most, other) = (
            matches(|_| true),
            matches(|id| id % 4 > 0),
            matches(|id| id > 9),
        );
        let difference = paired(&all, &most, 200, 1).map.unwrap();
        assert!(
            difference.is_clear() && difference.low < difference.estimate,
            "{difference:?}"
        );
        assert!(difference.high > difference.estimate, "{difference:?}");
        // As many found, but other ones.
        assert!(!paired(&most, &other, 200, 1).map.unwrap().is_clear());
        let same = paired(&all, &all, 50, 1);
        let zero = Difference {
            estimate: 0.0,
            low: 0.0,
            high: 0.0,
        };
        assert_eq!(same.per_category, [Some(zero), None]);
    }

    #[test]
    fn a_resample_has_as_many_pictures_as_there_are_and_every_figure_sees_the_same_draw() {
        let seen = std::sync::Mutex::new(Vec::new());
        let found = resampled(7, 20, 3, |weights| {
            seen.lock().unwrap().push(weights.to_vec());
            (Some(f64::from(weights[0])), vec![None, Some(2.0)])
        });
        let seen = seen.into_inner().unwrap();
        assert_eq!(seen.len(), 21);
        assert!(seen.iter().all(|weights| weights.iter().sum::<u32>() == 7));
        assert_eq!(seen[0], [1; 7]);
        assert!(seen[1..].iter().any(|weights| *weights != seen[0]));
        // The bounds are those of the draws: 2.5 % of twenty is the first, 97.5 % the last.
        let mut drawn: Vec<u32> = seen[1..].iter().map(|weights| weights[0]).collect();
        drawn.sort_unstable();
        let bounds = [drawn[0], drawn[19]].map(f64::from);
        let map = found.map.unwrap();
        assert_eq!(([map.low, map.high], found.per_category[0]), (bounds, None));
    }

    #[test]
    fn one_seed_gives_one_interval() {
        let (all, most) = (matches(|_| true), matches(|id| id % 4 > 0));
        assert_eq!(paired(&all, &most, 100, 7), paired(&all, &most, 100, 7));
        assert_ne!(paired(&all, &most, 100, 7), paired(&all, &most, 100, 8));
    }
}
