//! COCO box evaluation: `hotcoco` computes, this makes its input what pycocotools would have made of it.
//!
//! Where `hotcoco` differs or refuses, ids are renumbered before it sees them: images and categories by rank
//! (pycocotools takes any integer, and works in ascending order), annotations by position (negative and repeated ids).
//! Only an annotation id of 0 stays 0: pycocotools takes a match with it for no match, and so does `hotcoco`.

use std::collections::HashMap;

use hotcoco::{Annotation, COCOeval, Category, Dataset, Image, IouType, COCO};

use serde::Serialize;

use super::{AccuracyError, CocoDetection, GroundTruth};

/// The numbers of one evaluation; -1 where there is nothing to measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CocoScores {
    /// pycocotools' `stats`: AP, AP50, AP75, AP small, medium, large, AR with 1, 10, 100 detections, AR small, medium,
    /// large.
    pub stats: [f64; 12],
    /// Ascending by id.
    pub per_category: Vec<CategoryScore>,
}

/// The precision of one category, over all areas and with 100 detections a picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CategoryScore {
    /// The category's id.
    pub id: i64,
    /// Its name in the ground truth.
    pub name: String,
    /// Mean over the `IoU` thresholds 0.50 to 0.95.
    pub ap: f64,
    /// At `IoU` 0.50.
    pub ap50: f64,
}

/// Scores detections as pycocotools does, bit for bit.
///
/// `image_ids` limits the evaluation to these images (repetitions count once); detections on other images of the
/// ground truth are then passed over, as are detections of a category that the ground truth does not list. No detections
/// at all are no error, other than in pycocotools: what there is to find was not found.
///
/// # Errors
/// A NaN score, or an image that the ground truth does not have.
pub fn score(
    ground_truth: &GroundTruth,
    detections: &[CocoDetection],
    image_ids: Option<&[i64]>,
) -> Result<CocoScores, AccuracyError> {
    let images = images(ground_truth, image_ids)?;
    check(ground_truth, detections)?;
    let numbers = Renumbering::new(ground_truth, &images);
    let truth = Dataset {
        images: (0..images.len())
            .map(|id| Image {
                id: id as u64,
                ..Image::default()
            })
            .collect(),
        categories: numbers.categories(ground_truth),
        annotations: numbers.annotations(&ground_truth.effective_annotations(&images)),
        ..Dataset::default()
    };
    let found = Dataset {
        annotations: numbers.detections(detections),
        ..Dataset::default()
    };
    let mut evaluation = COCOeval::new(
        COCO::from_dataset(truth),
        COCO::from_dataset(found),
        IouType::Bbox,
    );
    evaluation.evaluate()?;
    evaluation.accumulate();
    // `summarize` computes the same and prints it.
    evaluation.summarize_lines();
    let stats = evaluation
        .stats()
        .expect("the evaluation has been summarised");
    Ok(CocoScores {
        stats: stats
            .try_into()
            .expect("COCO's box summary has twelve numbers"),
        per_category: per_category(ground_truth, &evaluation),
    })
}

/// The images to evaluate, ascending.
pub(super) fn images(
    truth: &GroundTruth,
    subset: Option<&[i64]>,
) -> Result<Vec<i64>, AccuracyError> {
    let Some(subset) = subset else {
        return Ok(truth.image_ids().to_vec());
    };
    for (index, &image_id) in subset.iter().enumerate() {
        if truth.image_ids().binary_search(&image_id).is_err() {
            return Err(AccuracyError::UnknownSubsetImage { index, image_id });
        }
    }
    let mut images = subset.to_vec();
    images.sort_unstable();
    images.dedup();
    Ok(images)
}

pub(super) fn check(
    truth: &GroundTruth,
    detections: &[CocoDetection],
) -> Result<(), AccuracyError> {
    for (index, detection) in detections.iter().enumerate() {
        let CocoDetection {
            image_id, score, ..
        } = *detection;
        if truth.image_ids().binary_search(&image_id).is_err() {
            return Err(AccuracyError::UnknownImage { index, image_id });
        }
        if score.is_nan() {
            return Err(AccuracyError::NotANumber {
                index,
                key: "score",
                value: score,
            });
        }
    }
    Ok(())
}

/// Our ids to the ranks that the scorer is given.
struct Renumbering {
    images: HashMap<i64, u64>,
    categories: HashMap<i64, u64>,
}

impl Renumbering {
    fn new(truth: &GroundTruth, images: &[i64]) -> Self {
        Self {
            images: images.iter().copied().zip(0..).collect(),
            categories: truth.categories().map(|(id, _)| id).zip(0..).collect(),
        }
    }

    fn categories(&self, truth: &GroundTruth) -> Vec<Category> {
        let named = |(id, name): (i64, &str)| Category {
            id: self.categories[&id],
            // The scorer complains on the terminal about categories without a name.
            name: if name.is_empty() {
                id.to_string()
            } else {
                name.into()
            },
            ..Category::default()
        };
        truth.categories().map(named).collect()
    }

    fn annotations(&self, annotations: &[super::ground_truth::Annotation]) -> Vec<Annotation> {
        let renumber =
            |(position, annotation): (u64, &super::ground_truth::Annotation)| Annotation {
                id: if annotation.id == 0 { 0 } else { position },
                image_id: self.images[&annotation.image_id],
                category_id: self.categories[&annotation.category_id],
                bbox: Some(annotation.bbox),
                area: Some(
                    annotation
                        .area
                        .unwrap_or(annotation.bbox[2] * annotation.bbox[3]),
                ),
                iscrowd: annotation.iscrowd,
                ..Annotation::default()
            };
        (1..).zip(annotations).map(renumber).collect()
    }

    fn detections(&self, detections: &[CocoDetection]) -> Vec<Annotation> {
        let renumber = |(position, detection): (u64, &CocoDetection)| {
            Some(Annotation {
                id: position,
                image_id: *self.images.get(&detection.image_id)?,
                category_id: *self.categories.get(&detection.category_id)?,
                bbox: Some(detection.bbox),
                area: Some(detection.bbox[2] * detection.bbox[3]),
                score: Some(detection.score),
                ..Annotation::default()
            })
        };
        (1..).zip(detections).filter_map(renumber).collect()
    }
}

fn per_category(truth: &GroundTruth, evaluation: &COCOeval) -> Vec<CategoryScore> {
    let accumulated = evaluation
        .accumulated()
        .expect("the evaluation has been accumulated");
    let (shape, params) = (accumulated.shape, &evaluation.params);
    let (area, limit) = (params.all_area_idx(), params.max_det_idx());
    let precision = |thresholds: usize, category: usize| {
        let cells = (0..thresholds).flat_map(|t| (0..shape.r).map(move |r| (t, r)));
        let values: Vec<f64> = cells
            .map(|(t, r)| {
                accumulated.precision[accumulated.precision_idx(t, r, category, area, limit)]
            })
            .filter(|&value| value > -1.0)
            .collect();
        mean(&values)
    };
    truth
        .categories()
        .enumerate()
        .map(|(k, (id, name))| CategoryScore {
            id,
            name: name.into(),
            ap: precision(shape.t, k),
            ap50: precision(1, k),
        })
        .collect()
}

/// numpy's mean, -1 for nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return -1.0;
    }
    pairwise_sum(values) / values.len() as f64
}

/// The sum in numpy's order: eight running sums in blocks of up to 128, halves of longer stretches.
fn pairwise_sum(values: &[f64]) -> f64 {
    const BLOCK: usize = 128;
    if values.len() > BLOCK {
        let half = values.len() / 2;
        let (left, right) = values.split_at(half - half % 8);
        return pairwise_sum(left) + pairwise_sum(right);
    }
    let (eights, tail) = values.as_chunks::<8>();
    let Some((first, rest)) = eights.split_first() else {
        return values.iter().sum();
    };
    let mut sums = *first;
    for eight in rest {
        for (sum, value) in sums.iter_mut().zip(eight) {
            *sum += value;
        }
    }
    let head =
        ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    tail.iter().fold(head, |sum, value| sum + value)
}
