//! What both models find in the same pictures: two columns of numbers, and how sure their differences are.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::accuracy::matching::Matches;
use crate::accuracy::voc::{score_class, VocDetection, VocObject, VocScores, VocStyle};
use crate::accuracy::GroundTruth;
use crate::cli::categories::{categories, voc_classes, NoCommonClass};
use crate::cli::failure::{Blame, Failure};
use crate::cli::run::measure::Bench;
use crate::cli::run::score::Found;
use crate::cli::run::truth::{Detections, RunTruth, Scores};
use crate::dataset::voc_name;
use crate::laboratory::bootstrap::{paired, resampled, Difference, Differences, MeanAndCategories};
use crate::model::Labels;
use crate::report::document::AccuracyEntry;

/// Draws of the pictures for the intervals.
const RESAMPLES: u32 = 1_000;
/// The same for a data set so large that its intervals are narrow.
const RESAMPLES_OF_MANY: u32 = 200;
const MANY: usize = 1_000;
const SEED: u64 = 0;

/// Pictures from which on resamples show how much they vary: what is in one picture alone is drawn or not, and its interval is a
/// point.
pub const PICTURES_MIN: usize = 10;

/// The accuracy of two models on the same pictures. Pairs are in the order of the models, differences are second less first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What each found.
    pub models: [AccuracyEntry; 2],
    /// Of the mAP, with the middle 95 % of the resamples; null without objects.
    pub map_difference: Option<Difference>,
    /// The difference as a share of the first model's mAP.
    pub map_relative: Option<f64>,
    /// Categories that have objects, in their order.
    pub per_category: Vec<CategoryEntry>,
    /// Draws of the pictures with repetition, the same for both models.
    pub resamples: u32,
    /// Their seed.
    pub seed: u64,
}

/// One category.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CategoryEntry {
    /// In the ground truth; null in VOC's, which numbers nothing.
    pub id: Option<i64>,
    /// Its name.
    pub name: String,
    /// Objects that count.
    pub object_count: usize,
    /// Pictures that they are in.
    pub picture_count: usize,
    /// Average precision of either model.
    pub ap: [f64; 2],
    /// Their difference.
    #[serde(flatten)]
    pub difference: Difference,
}

impl Comparison {
    /// Whether there are pictures enough for the interval of the mAP to say something.
    pub fn has_interval(&self) -> bool {
        self.models[0].picture_count >= PICTURES_MIN
    }
}

impl CategoryEntry {
    /// Whether its objects are in pictures enough for the interval to say something.
    pub const fn has_interval(&self) -> bool {
        self.picture_count >= PICTURES_MIN
    }

    /// Whether the interval says something and leaves zero out.
    pub fn is_clear(&self) -> bool {
        self.has_interval() && self.difference.is_clear()
    }
}

/// Why two models cannot be scored on the same ground truth.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotComparable {
    /// One of them.
    #[error("{model}: {source}")]
    Stranger {
        /// Which.
        model: String,
        /// What it lacks.
        source: NoCommonClass,
    },
    /// They know different categories of it.
    #[error("{first} and {second} have no class in common that the ground truth has, so there is no accuracy to compare")]
    Apart {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// VOC's numbers are means over all classes.
    #[error("{first} and {second} know different classes of this VOC data set, and VOC's mAP is a mean over all of them; score each alone, or give a data set in COCO's form")]
    VocClasses {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
}

/// Leaves in both benches' ground truth what both models know, and says so if that is not everything.
///
/// # Errors
/// [`NotComparable`].
pub fn narrow(benches: &mut [Bench<'_>; 2]) -> Result<Option<String>, NotComparable> {
    let names = [0, 1].map(|side: usize| benches[side].subject.description.name.clone());
    let labels = [0, 1].map(|side: usize| benches[side].subject.description.labels.clone());
    let [first, second] = names.clone();
    let stranger = |side: usize| {
        let model = names[side].clone();
        |source| NotComparable::Stranger { model, source }
    };
    match &benches[0].pictures.ground_truth {
        None => Ok(None),
        Some(RunTruth::Voc { objects, .. }) => {
            let of = |side: usize| voc_known(&labels[side], objects).map_err(stranger(side));
            if of(0)? == of(1)? {
                Ok(None)
            } else {
                Err(NotComparable::VocClasses { first, second })
            }
        }
        Some(RunTruth::Coco(truth)) => {
            let of = |side: usize| known(&labels[side], truth).map_err(stranger(side));
            let known = [of(0)?, of(1)?];
            if known[0] == known[1] {
                return Ok(None);
            }
            let common: BTreeSet<i64> = known[0].intersection(&known[1]).copied().collect();
            if common.is_empty() {
                return Err(NotComparable::Apart { first, second });
            }
            let note = format!(
                "Accuracy is over the {} categories that both models know; {first} knows {} of this ground truth's, {second} {}.",
                common.len(),
                known[0].len(),
                known[1].len()
            );
            for bench in benches {
                if let Some(RunTruth::Coco(truth)) = &mut bench.pictures.ground_truth {
                    *truth = truth.of_categories(&common);
                }
            }
            Ok(Some(note))
        }
    }
}

/// The categories of the ground truth that a model knows.
fn known(labels: &Labels, truth: &GroundTruth) -> Result<BTreeSet<i64>, NoCommonClass> {
    let of_truth: BTreeSet<i64> = truth.categories().map(|(id, _)| id).collect();
    let classes = categories(labels, truth)?.into_iter().flatten();
    Ok(classes.filter(|id| of_truth.contains(id)).collect())
}

fn voc_known(labels: &Labels, objects: &[VocObject]) -> Result<BTreeSet<String>, NoCommonClass> {
    Ok(voc_classes(labels, objects)?
        .into_iter()
        .flatten()
        .collect())
}

/// Compares what the two found.
///
/// # Errors
/// A detection that cannot be matched.
pub fn compare(bench: &Bench<'_>, found: &[Found; 2]) -> Result<Comparison, Failure> {
    let pictures = bench.pictures.library.pictures();
    let resamples = if pictures.len() > MANY {
        RESAMPLES_OF_MANY
    } else {
        RESAMPLES
    };
    let truth = bench.pictures.ground_truth.as_ref();
    let truth = truth.expect("both were scored");
    let [first, second] = found;
    let rows = match (
        truth,
        (&first.detections, &second.detections),
        (&first.scores, &second.scores),
    ) {
        (
            RunTruth::Coco(truth),
            (Detections::Coco(one), Detections::Coco(other)),
            (Scores::Coco(_), Scores::Coco(_)),
        ) => {
            let ids: Vec<i64> = pictures.iter().map(|picture| picture.image_id).collect();
            let of = |detections| Matches::new(truth, detections, Some(&ids)).or_usage();
            coco(truth, [&of(one)?, &of(other)?], resamples)
        }
        (
            RunTruth::Voc { objects, style, .. },
            (Detections::Voc(one), Detections::Voc(other)),
            (Scores::Voc(scores), Scores::Voc(_)),
        ) => {
            let names: Vec<&str> = pictures
                .iter()
                .map(|one| voc_name(&one.file_name))
                .collect();
            let pictures = VocPictures::new(&names, objects, [one, other], *style);
            pictures.compare(scores, resamples)
        }
        _ => panic!("both models were scored on the same ground truth"),
    };
    let maps = [first.entry.map, second.entry.map];
    Ok(Comparison {
        models: [first.entry.clone(), second.entry.clone()],
        map_difference: rows.0,
        map_relative: relative(maps),
        per_category: rows.1,
        resamples,
        seed: SEED,
    })
}

/// The change as a share of the first; `None` where that is nothing, or a number is missing.
pub fn relative([first, second]: [f64; 2]) -> Option<f64> {
    (first > 0.0 && second >= 0.0).then(|| (second - first) / first)
}

type Rows = (Option<Difference>, Vec<CategoryEntry>);

fn coco(truth: &GroundTruth, [first, second]: [&Matches; 2], resamples: u32) -> Rows {
    let Differences { map, per_category } = paired(second, first, resamples, SEED);
    let names: BTreeMap<i64, &str> = truth.categories().collect();
    let once = vec![1; first.image_ids.len()];
    let mut places: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for object in &first.objects {
        let own = places.entry(object.category_id).or_default();
        own.push(object.picture);
    }
    let rows = first.category_ids.iter().enumerate().zip(per_category);
    let rows = rows.filter_map(|((category, id), difference)| {
        let name = names.get(id).copied().unwrap_or_default();
        let places = places.get(id)?;
        Some(CategoryEntry {
            id: Some(*id),
            name: if name.is_empty() {
                id.to_string()
            } else {
                name.to_owned()
            },
            object_count: places.len(),
            picture_count: places.iter().collect::<BTreeSet<_>>().len(),
            ap: [
                first.average_precision(category, &once)?,
                second.average_precision(category, &once)?,
            ],
            difference: difference?,
        })
    });
    (map, rows.collect())
}

/// Objects and both models' detections by picture, to be drawn anew.
struct VocPictures<'a> {
    names: &'a [&'a str],
    objects: Vec<Vec<&'a VocObject>>,
    detections: [Vec<Vec<&'a VocDetection>>; 2],
    style: VocStyle,
}

impl<'a> VocPictures<'a> {
    fn new(
        names: &'a [&'a str],
        objects: &'a [VocObject],
        detections: [&'a [VocDetection]; 2],
        style: VocStyle,
    ) -> Self {
        Self {
            objects: by_picture(names, objects, |one| &one.image),
            detections: detections.map(|own| by_picture(names, own, |one| &one.image)),
            names,
            style,
        }
    }

    /// The difference of the means over the classes that have objects, and of each class.
    fn compare(&self, scores: &VocScores, resamples: u32) -> Rows {
        let classes: Vec<&str> = scores
            .per_class
            .iter()
            .map(|one| one.class.as_str())
            .collect();
        let points = scores.points;
        let of_draw = |weights: &[u32]| -> Vec<Option<[f64; 2]>> {
            let (objects, detections) = self.draw(weights);
            let class = |class: &&str| {
                let both = detections
                    .each_ref()
                    .map(|own| score_class(class, &objects, own, self.style));
                (both[0].object_count > 0).then(|| both.map(|one| points.of(&one)))
            };
            classes.iter().map(class).collect()
        };
        let differences = |weights: &[u32]| -> MeanAndCategories {
            let rows = of_draw(weights).into_iter();
            let rows: Vec<Option<f64>> = rows
                .map(|aps| aps.map(|[first, second]| second - first))
                .collect();
            let present: Vec<f64> = rows.iter().flatten().copied().collect();
            let mean = present.iter().sum::<f64>() / present.len() as f64;
            ((!present.is_empty()).then_some(mean), rows)
        };
        let Differences { map, per_category } =
            resampled(self.names.len(), resamples, SEED, differences);
        let aps = of_draw(&vec![1; self.names.len()]);
        let rows = scores.per_class.iter().zip(aps).zip(per_category);
        let rows = rows.filter_map(|((class, ap), difference)| {
            let counts = |object: &&&VocObject| object.class == class.class && !object.is_difficult;
            let has_some = |own: &&Vec<&VocObject>| own.iter().any(|object| counts(&object));
            Some(CategoryEntry {
                id: None,
                name: class.class.clone(),
                object_count: class.object_count as usize,
                picture_count: self.objects.iter().filter(has_some).count(),
                ap: ap?,
                difference: difference?,
            })
        });
        (map, rows.collect())
    }

    /// Objects and detections of a draw; a picture that is drawn twice is two pictures.
    fn draw(&self, weights: &[u32]) -> (Vec<VocObject>, [Vec<VocDetection>; 2]) {
        let mut objects = Vec::new();
        let mut detections = [Vec::new(), Vec::new()];
        for (picture, &times) in weights.iter().enumerate() {
            for time in 0..times {
                let image = format!("{}#{time}", self.names[picture]);
                objects.extend(self.objects[picture].iter().map(|&one| VocObject {
                    image: image.clone(),
                    ..one.clone()
                }));
                for (drawn, own) in detections.iter_mut().zip(&self.detections) {
                    drawn.extend(own[picture].iter().map(|&one| VocDetection {
                        image: image.clone(),
                        ..one.clone()
                    }));
                }
            }
        }
        (objects, detections)
    }
}

fn by_picture<'a, T>(names: &[&str], all: &'a [T], image: impl Fn(&T) -> &str) -> Vec<Vec<&'a T>> {
    let positions: BTreeMap<&str, usize> = names.iter().copied().zip(0..).collect();
    let mut sorted = vec![Vec::new(); names.len()];
    for one in all {
        if let Some(&position) = positions.get(image(one)) {
            sorted[position].push(one);
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accuracy::voc::{score_all, VocPoints};
    use crate::accuracy::CocoDetection;

    fn object(image: &str, class: &str) -> VocObject {
        VocObject {
            image: image.to_owned(),
            class: class.to_owned(),
            corners: [10.0, 10.0, 50.0, 50.0],
            is_difficult: false,
            is_truncated: false,
        }
    }

    fn detection(image: &str, class: &str) -> VocDetection {
        VocDetection {
            image: image.to_owned(),
            class: class.to_owned(),
            score: 0.5,
            corners: [10.0, 10.0, 50.0, 50.0],
        }
    }

    #[test]
    fn voc_is_resampled_by_pictures_and_classes_keep_their_names() {
        let names = ["a", "b", "c", "d"];
        let objects: Vec<VocObject> = names.iter().map(|name| object(name, "dog")).collect();
        let all: Vec<VocDetection> = names.iter().map(|name| detection(name, "dog")).collect();
        let half = &all[..2];
        let scores = score_all(&objects, &all, VocStyle::Devkit, VocPoints::All);
        let pictures = VocPictures::new(&names, &objects, [&all, half], VocStyle::Devkit);
        let (map, rows) = pictures.compare(&scores, 100);
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].name.as_str(), rows[0].object_count), ("dog", 4));
        assert_eq!(rows[0].picture_count, 4);
        assert!((rows[0].ap[0] - 1.0).abs() < 1e-12 && (rows[0].ap[1] - 0.5).abs() < 1e-12);
        let map = map.unwrap();
        assert!((map.estimate + 0.5).abs() < 1e-12, "{map:?}");
        assert!(map.low < -0.5 && map.high > -0.5, "{map:?}");
        // A draw scores as a data set that has the picture so many times.
        let (drawn, [found, _]) = pictures.draw(&[2, 0, 1, 0]);
        assert_eq!((drawn.len(), found.len()), (3, 3));
        let names: BTreeSet<&str> = drawn.iter().map(|one| one.image.as_str()).collect();
        assert_eq!(names, ["a#0", "a#1", "c#0"].into());
    }

    #[test]
    fn coco_rows_have_both_precisions_and_their_difference() {
        let images: Vec<_> = (0..8).map(|id| serde_json::json!({"id": id})).collect();
        let objects: Vec<_> = (0..8)
            .map(|id| {
                serde_json::json!({"id": id + 1, "image_id": id, "category_id": 3,
                "bbox": [0, 0, 10, 10], "area": 100})
            })
            .collect();
        let truth = serde_json::json!({"images": images, "annotations": objects,
            "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]});
        let truth: GroundTruth = truth.to_string().parse().unwrap();
        let found = |count: i64| -> Vec<CocoDetection> {
            let found = (0..count).map(|image_id| CocoDetection {
                image_id,
                category_id: 3,
                bbox: [0.0, 0.0, 10.0, 10.0],
                score: 0.5,
            });
            found.collect()
        };
        let of = |count| Matches::new(&truth, &found(count), None).unwrap();
        let (map, rows) = coco(&truth, [&of(8), &of(4)], 50);
        assert_eq!(
            (rows.len(), rows[0].id, rows[0].name.as_str()),
            (1, Some(3), "car")
        );
        assert_eq!((rows[0].object_count, rows[0].picture_count), (8, 8));
        // It leaves zero out, but eight pictures are too few to say so.
        assert!(rows[0].difference.is_clear() && !rows[0].is_clear());
        let difference = rows[0].ap[1] - rows[0].ap[0];
        assert!((rows[0].difference.estimate - difference).abs() < 1e-12);
        assert!(difference < -0.4 && map.unwrap().high < 0.0);
    }

    #[test]
    fn a_share_of_nothing_is_none() {
        assert!((relative([0.4, 0.3]).unwrap() + 0.25).abs() < 1e-12);
        for maps in [[0.0, 0.3], [-1.0, -1.0], [f64::NAN, 0.2]] {
            assert_eq!(relative(maps), None);
        }
    }
}
