//! Which detection finds which object, picture by picture, over all areas and with 100 detections a picture.
//!
//! The rules are pycocotools' own; the COCO scorer gives sums only, and comparing two sets of detections needs
//! the matches. Precision can be taken over any choice of pictures, repetitions included.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::coco::{check, images};
use super::ground_truth::Annotation;
use super::{AccuracyError, CocoDetection, GroundTruth};

/// `IoU` thresholds from 0.50 to 0.95.
const THRESHOLDS: usize = 10;
/// Detections of a category that count in a picture.
const DETECTIONS_MAX: usize = 100;
/// The largest object that counts, in square pixels.
const AREA_MAX: f64 = 1e10;

fn thresholds() -> [f64; THRESHOLDS] {
    std::array::from_fn(|i| 0.5 + i as f64 * ((0.95 - 0.5) / 9.0))
}

/// What became of a detection at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Correct,
    Wrong,
    /// On a crowd, or of an area that does not count.
    Ignored,
}

/// A detection in the ranking of its category.
#[derive(Debug, Clone, PartialEq)]
struct Ranked {
    /// Position among the pictures.
    picture: usize,
    fates: [Fate; THRESHOLDS],
}

/// An object of the ground truth that counts, and who found it at `IoU` 0.5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    /// Position among the pictures.
    pub picture: usize,
    /// The category's id.
    pub category_id: i64,
    /// x, y, width, height in pixels.
    pub bbox: [f64; 4],
    /// Score of the detection that found it.
    pub found: Option<f64>,
}

/// All matches of one set of detections.
#[derive(Debug, Clone)]
pub struct Matches {
    /// Ids of the pictures, ascending.
    pub image_ids: Vec<i64>,
    /// Ids of the categories, ascending.
    pub category_ids: Vec<i64>,
    /// The objects by category, then picture; the same for every set of detections.
    pub objects: Vec<Object>,
    /// For each category its detections, best first.
    ranking: Vec<Vec<Ranked>>,
    /// For each category the objects in each picture that has any.
    object_counts: Vec<Vec<(usize, u32)>>,
}

impl Matches {
    /// Matches `detections` with the objects of the given images, or of all.
    ///
    /// # Errors
    /// As [`super::score`].
    pub fn new(
        truth: &GroundTruth,
        detections: &[CocoDetection],
        image_ids: Option<&[i64]>,
    ) -> Result<Self, AccuracyError> {
        let image_ids = images(truth, image_ids)?;
        check(truth, detections)?;
        let category_ids: Vec<i64> = truth.categories().map(|(id, _)| id).collect();
        let position: HashMap<i64, usize> = image_ids.iter().copied().zip(0..).collect();
        let mut found: HashMap<(i64, usize), Vec<&CocoDetection>> = HashMap::new();
        for detection in detections {
            if let Some(&picture) = position.get(&detection.image_id) {
                let key = (detection.category_id, picture);
                found.entry(key).or_default().push(detection);
            }
        }
        let annotations = truth.effective_annotations(&image_ids);
        let mut objects: HashMap<(i64, usize), Vec<&Annotation>> = HashMap::new();
        for annotation in &annotations {
            let key = (annotation.category_id, position[&annotation.image_id]);
            objects.entry(key).or_default().push(annotation);
        }
        let mut matches = Self {
            category_ids,
            objects: Vec::new(),
            ranking: Vec::new(),
            object_counts: Vec::new(),
            image_ids,
        };
        for category in 0..matches.category_ids.len() {
            matches.add_category(category, &found, &objects);
        }
        Ok(matches)
    }

    fn add_category(
        &mut self,
        category: usize,
        found: &HashMap<(i64, usize), Vec<&CocoDetection>>,
        objects: &HashMap<(i64, usize), Vec<&Annotation>>,
    ) {
        let mut ranking: Vec<(f64, Ranked)> = Vec::new();
        let mut counts = Vec::new();
        for picture in 0..self.image_ids.len() {
            let key = (self.category_ids[category], picture);
            let objects = objects.get(&key).map_or(&[][..], Vec::as_slice);
            let mut best: Vec<&CocoDetection> = found.get(&key).cloned().unwrap_or_default();
            best.sort_by(|a, b| best_first(a.score, b.score));
            best.truncate(DETECTIONS_MAX);
            let (fates, finders) = match_picture(&best, objects);
            let scores = best.iter().map(|detection| detection.score);
            let ranked = scores
                .zip(fates)
                .map(|(score, fates)| (score, Ranked { picture, fates }));
            ranking.extend(ranked);
            let before = self.objects.len();
            let counted = objects
                .iter()
                .zip(finders)
                .filter(|(object, _)| !is_ignored(object));
            self.objects.extend(counted.map(|(object, finder)| Object {
                picture,
                category_id: key.0,
                bbox: object.bbox,
                found: finder.map(|finder| best[finder].score),
            }));
            if self.objects.len() > before {
                counts.push((picture, (self.objects.len() - before) as u32));
            }
        }
        ranking.sort_by(|a, b| best_first(a.0, b.0));
        self.ranking
            .push(ranking.into_iter().map(|(_, ranked)| ranked).collect());
        self.object_counts.push(counts);
    }

    /// Average precision (0.50 to 0.95) of a category when each picture counts `weights[picture]` times; `None`
    /// without an object.
    pub fn average_precision(&self, category: usize, weights: &[u32]) -> Option<f64> {
        let counts = self.object_counts[category].iter();
        let objects: u32 = counts
            .map(|&(picture, count)| count * weights[picture])
            .sum();
        if objects == 0 {
            return None;
        }
        let mut precisions = Vec::new();
        let mut sum = 0.0;
        for threshold in 0..THRESHOLDS {
            self.precision_at_hits(category, threshold, weights, &mut precisions);
            sum += mean_over_recalls(&mut precisions, objects);
        }
        Some(sum / THRESHOLDS as f64)
    }

    /// Precision after each correct detection.
    fn precision_at_hits(
        &self,
        category: usize,
        threshold: usize,
        weights: &[u32],
        precisions: &mut Vec<f64>,
    ) {
        precisions.clear();
        let (mut correct, mut wrong) = (0.0, 0.0);
        for ranked in &self.ranking[category] {
            let times = weights[ranked.picture];
            match ranked.fates[threshold] {
                Fate::Ignored => {}
                Fate::Wrong => wrong += f64::from(times),
                Fate::Correct => {
                    for _ in 0..times {
                        correct += 1.0;
                        precisions.push(correct / (wrong + correct + f64::EPSILON));
                    }
                }
            }
        }
    }

    /// Mean average precision over the categories that have an object.
    pub fn mean_average_precision(&self, weights: &[u32]) -> Option<f64> {
        let categories = 0..self.category_ids.len();
        let (mut sum, mut count) = (0.0, 0_u32);
        for precision in categories.filter_map(|category| self.average_precision(category, weights))
        {
            sum += precision;
            count += 1;
        }
        (count > 0).then(|| sum / f64::from(count))
    }
}

/// The mean of the interpolated precision at the recalls 0, 0.01, …, 1.
///
/// Recall rises at a correct detection and nowhere else, so the precision there is all that is needed.
fn mean_over_recalls(precisions: &mut [f64], objects: u32) -> f64 {
    const RECALLS: u32 = 101;
    for i in (1..precisions.len()).rev() {
        precisions[i - 1] = precisions[i - 1].max(precisions[i]);
    }
    let mut hit = 0;
    let mut sum = 0.0;
    for step in 0..RECALLS {
        let wanted = if step == RECALLS - 1 {
            1.0
        } else {
            f64::from(step) * 0.01
        };
        while hit < precisions.len() && ((hit + 1) as f64 / f64::from(objects)) < wanted {
            hit += 1;
        }
        sum += precisions.get(hit).copied().unwrap_or(0.0);
    }
    sum / f64::from(RECALLS)
}

/// Descending; -0.0 and 0.0 are equal, and NaN was refused.
fn best_first(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or(Ordering::Equal)
}

fn area(annotation: &Annotation) -> f64 {
    let [_, _, width, height] = annotation.bbox;
    annotation.area.unwrap_or(width * height)
}

fn is_ignored(annotation: &Annotation) -> bool {
    annotation.iscrowd || !(0.0..=AREA_MAX).contains(&area(annotation))
}

/// The fates of one picture's detections (best first) of one category, and for each object the detection that has
/// found it at the first threshold.
fn match_picture(
    detections: &[&CocoDetection],
    objects: &[&Annotation],
) -> (Vec<[Fate; THRESHOLDS]>, Vec<Option<usize>>) {
    let mut order: Vec<usize> = (0..objects.len()).collect();
    order.sort_by_key(|&object| is_ignored(objects[object]));
    let mut fates = vec![[Fate::Wrong; THRESHOLDS]; detections.len()];
    let mut finders = vec![None; objects.len()];
    for (threshold, &least) in thresholds().iter().enumerate() {
        let mut taken: Vec<Option<usize>> = vec![None; objects.len()];
        for (index, detection) in detections.iter().enumerate() {
            let found = best_object(detection, objects, &order, &taken, least);
            fates[index][threshold] = match found {
                // A match with the annotation id 0 is none to pycocotools.
                Some(object) if is_ignored(objects[object]) => Fate::Ignored,
                Some(object) if objects[object].id != 0 => Fate::Correct,
                None if !(0.0..=AREA_MAX).contains(&(detection.bbox[2] * detection.bbox[3])) => {
                    Fate::Ignored
                }
                Some(_) | None => Fate::Wrong,
            };
            if let Some(object) = found {
                taken[object] = Some(index);
            }
        }
        if threshold == 0 {
            finders.clone_from(&taken);
        }
    }
    (fates, finders)
}

/// The object that a detection is matched with; `order` has those that count first.
fn best_object(
    detection: &CocoDetection,
    objects: &[&Annotation],
    order: &[usize],
    taken: &[Option<usize>],
    least: f64,
) -> Option<usize> {
    let mut best = least.min(1.0 - 1e-10);
    let mut found: Option<usize> = None;
    for &object in order {
        if taken[object].is_some() && !objects[object].iscrowd {
            continue;
        }
        if found.is_some_and(|found| !is_ignored(objects[found])) && is_ignored(objects[object]) {
            break;
        }
        let overlap = iou(
            &detection.bbox,
            &objects[object].bbox,
            objects[object].iscrowd,
        );
        if overlap >= best {
            best = overlap;
            found = Some(object);
        }
    }
    found
}

/// Intersection over union; over the detection's own area on a crowd.
fn iou(detection: &[f64; 4], object: &[f64; 4], is_crowd: bool) -> f64 {
    let [dx, dy, dw, dh] = *detection;
    let [gx, gy, gw, gh] = *object;
    let width = (dx + dw).min(gx + gw) - dx.max(gx);
    let height = (dy + dh).min(gy + gh) - dy.max(gy);
    if width <= 0.0 || height <= 0.0 {
        return 0.0;
    }
    let shared = width * height;
    let whole = if is_crowd {
        dw * dh
    } else {
        dw * dh + gw * gh - shared
    };
    shared / whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::score;
    use proptest::prelude::*;

    fn truth(boxes: &[(i64, i64, [i32; 4], bool)]) -> GroundTruth {
        let annotations: Vec<serde_json::Value> = (1..)
            .zip(boxes)
            .map(|(id, (image, category, bbox, crowd))| {
                serde_json::json!({"id": id, "image_id": image, "category_id": category, "bbox": bbox,
                    "area": bbox[2] * bbox[3], "iscrowd": i32::from(*crowd)})
            })
            .collect();
        let file = serde_json::json!({
            "images": [{"id": 1}, {"id": 2}, {"id": 3}],
            "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
            "annotations": annotations,
        });
        file.to_string().parse().unwrap()
    }

    fn any_box() -> impl Strategy<Value = [i32; 4]> {
        (0..4, 0..4, 1..6, 1..6).prop_map(|(x, y, w, h)| [x * 5, y * 5, w * 8, h * 8])
    }

    proptest! {
        #[test]
        fn precision_is_that_of_the_coco_scorer(
            objects in prop::collection::vec((1..4_i64, 1..3_i64, any_box(), prop::bool::weighted(0.1)), 0..25),
            found in prop::collection::vec((1..4_i64, 1..3_i64, any_box(), 0..8_i32), 0..40),
        ) {
            let truth = truth(&objects);
            let detections: Vec<CocoDetection> = found
                .iter()
                .map(|&(image_id, category_id, bbox, score)| CocoDetection {
                    image_id,
                    category_id,
                    bbox: bbox.map(f64::from),
                    score: f64::from(score) / 8.0,
                })
                .collect();
            let matches = Matches::new(&truth, &detections, None).unwrap();
            let scores = score(&truth, &detections, None).unwrap();
            for (category, expected) in scores.per_category.iter().enumerate() {
                let ours = matches.average_precision(category, &[1; 3]).unwrap_or(-1.0);
                prop_assert!((ours - expected.ap).abs() < 1e-12, "{} {}", ours, expected.ap);
            }
            let ours = matches.mean_average_precision(&[1; 3]).unwrap_or(-1.0);
            prop_assert!((ours - scores.stats[0]).abs() < 1e-12);
        }
    }

    #[test]
    fn an_object_knows_who_found_it() {
        let truth = truth(&[
            (1, 1, [0, 0, 10, 10], false),
            (1, 1, [50, 50, 10, 10], false),
        ]);
        let detection = CocoDetection {
            image_id: 1,
            category_id: 1,
            bbox: [0.0, 0.0, 10.0, 9.0],
            score: 0.75,
        };
        let matches = Matches::new(&truth, &[detection], None).unwrap();
        let found: Vec<Option<f64>> = matches.objects.iter().map(|object| object.found).collect();
        assert_eq!(found, [Some(0.75), None]);
    }

    #[test]
    fn a_picture_that_counts_twice_is_two_pictures() {
        let truth = truth(&[(1, 1, [0, 0, 10, 10], false), (2, 1, [0, 0, 10, 10], false)]);
        let detection = CocoDetection {
            image_id: 1,
            category_id: 1,
            bbox: [0.0, 0.0, 10.0, 10.0],
            score: 0.75,
        };
        let matches = Matches::new(&truth, &[detection], None).unwrap();
        let at = |weights: &[u32]| matches.average_precision(0, weights).unwrap();
        assert!((at(&[1, 1, 0]) - 51.0 / 101.0).abs() < 1e-12);
        assert!((at(&[2, 1, 0]) - 67.0 / 101.0).abs() < 1e-12);
        assert!((at(&[3, 0, 0]) - 1.0).abs() < 1e-12);
        assert_eq!(matches.average_precision(0, &[0, 0, 5]), None);
    }
}
