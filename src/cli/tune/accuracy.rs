//! What a model finds on the pictures of the evaluation, against ground truth and against the float model.

use std::path::Path;

use super::pictures::{run_on, PictureSet, Seen};
use crate::accuracy::matching::Matches;
use crate::accuracy::{as_truth, score, CocoDetection, GroundTruth};
use crate::cli::categories::categories;
use crate::cli::failure::{Blame, Failure};
use crate::cli::run::Subject;
use crate::laboratory::draws::Draws;
use crate::model::description::Heads;
use crate::postprocess::Detection;
use crate::quantise::compare::ProbabilityDifference;
use crate::runtime::Runtime;
use crate::tune::figures::Quantiles;
use crate::tune::resample::{dp, PictureDifference, RESAMPLES};

/// The float model's detections from here on count as if they were labels.
const REFERENCE_SCORE_MIN: f64 = 0.3;
/// Pictures on which probabilities are compared, at most: the float model's are kept in memory.
const DP_PICTURES_MAX: usize = 128;

/// Ground truth, and which of the model's classes are which of its categories.
pub struct Truth {
    /// The labels.
    pub labels: GroundTruth,
    /// The category of each class.
    pub categories: Vec<Option<i64>>,
}

impl Truth {
    /// Joins labels and classes.
    pub fn new(labels: GroundTruth, subject: &Subject) -> Result<Self, Failure> {
        let classes = &subject.description.labels;
        let categories = categories(classes, &labels)
            .map_err(|error| Failure::usage(format!("{}: {error}", subject.description.name)))?;
        Ok(Self { labels, categories })
    }
}

/// The float model on the pictures, to which all others are compared.
pub struct Reference {
    /// Its mAP, where there is ground truth.
    pub map: Option<f64>,
    ids: Vec<i64>,
    image_ids: Vec<i64>,
    /// Its strong detections in the place of labels; `None` when there are none.
    truth: Option<GroundTruth>,
    /// For the first pictures.
    probabilities: Vec<Vec<f32>>,
    draws: Draws,
    /// Draws of the pictures with probabilities.
    dp_draws: Draws,
    /// Its mAP on each draw.
    maps: Vec<Option<f64>>,
}

/// What a model found.
pub struct Accuracy {
    pub map: Option<f64>,
    pub agreement: Option<f64>,
    pub dp: Option<f64>,
    pub map_change: Quantiles,
    pub agreement_change: Quantiles,
    pub dp_change: Quantiles,
}

/// What is kept of one picture.
struct Found {
    detections: Vec<Detection>,
    probabilities: Option<Vec<f32>>,
    difference: Option<PictureDifference>,
}

impl Reference {
    /// Runs the float model.
    pub fn new(
        subject: &Subject,
        runtime: &Runtime,
        set: &PictureSet,
        truth: Option<&Truth>,
        seed: u32,
    ) -> Result<Self, Failure> {
        let keep = |_, seen: Seen| Found {
            detections: seen.detections,
            probabilities: seen.probabilities,
            difference: None,
        };
        let wanted = |position| position < DP_PICTURES_MAX;
        let found = run_on(&subject.onnx, subject, runtime, set, wanted, keep)?;
        // Names need not hold numbers, nor different ones: the position is an id that fits all.
        let ids: Vec<i64> = (1_i64..).take(set.len()).collect();
        let image_ids = (0..set.len()).map(|at| set.entry(at).image_id).collect();
        let mut own = Self {
            map: None,
            truth: None,
            probabilities: Vec::new(),
            draws: Draws::new(set.len(), RESAMPLES, u64::from(seed)),
            dp_draws: Draws::new(set.len().min(DP_PICTURES_MAX), RESAMPLES, u64::from(seed)),
            maps: Vec::new(),
            ids,
            image_ids,
        };
        let mut strong = own.by_position(&found, set);
        strong.retain(|one| one.score >= REFERENCE_SCORE_MIN);
        own.truth = as_truth(&strong, &own.ids).or_environment()?;
        if let Some(truth) = truth {
            let labelled = own.labelled(&found, set, truth);
            (own.map, own.maps) = own.map(&labelled, truth)?;
        }
        let probabilities = found.into_iter().map_while(|one| one.probabilities);
        own.probabilities = probabilities.collect();
        Ok(own)
    }

    /// Runs a model that is compared with it; `set` holds the same pictures, in that model's form.
    pub fn compare(
        &self,
        onnx: &Path,
        subject: &Subject,
        runtime: &Runtime,
        set: &PictureSet,
        truth: Option<&Truth>,
    ) -> Result<Accuracy, Failure> {
        let heads = subject
            .reading
            .raw_heads()
            .map(|(raw, _)| raw.heads.clone());
        let see = |position: usize, seen: Seen| {
            let reference = self.probabilities.get(position);
            let pair = reference.zip(seen.probabilities.as_ref());
            let difference = pair.zip(heads.as_ref());
            Found {
                detections: seen.detections,
                probabilities: None,
                difference: difference
                    .map(|((float, own), heads)| difference_of(float, own, heads)),
            }
        };
        let wanted = |position| position < self.probabilities.len();
        let found = run_on(onnx, subject, runtime, set, wanted, see)?;
        let mut own = Accuracy {
            map: None,
            agreement: None,
            dp: None,
            map_change: Quantiles::default(),
            agreement_change: Quantiles::default(),
            dp_change: Quantiles::default(),
        };
        if let Some(truth) = truth {
            let (map, maps) = self.map(&self.labelled(&found, set, truth), truth)?;
            own.map = map;
            own.map_change = changes(&maps, &self.maps);
        }
        if let Some(truth) = &self.truth {
            let detections = self.by_position(&found, set);
            own.agreement = Some(score(truth, &detections, None).or_environment()?.stats[0]);
            let matches = Matches::new(truth, &detections, None).or_environment()?;
            let drawn = self
                .draws
                .figures(|weights| matches.mean_average_precision(weights));
            own.agreement_change = from_one(&drawn);
        }
        let differences: Vec<PictureDifference> =
            found.iter().map_while(|one| one.difference).collect();
        if !differences.is_empty() {
            let nearness = |weights: &[u32]| Some(1.0 - dp(&differences, Some(weights))?);
            own.dp_change = from_one(&self.dp_draws.figures(nearness));
        }
        own.dp = dp(&differences, None);
        Ok(own)
    }

    /// mAP against the labels, on all pictures and on each draw.
    fn map(
        &self,
        detections: &[CocoDetection],
        truth: &Truth,
    ) -> Result<(Option<f64>, Vec<Option<f64>>), Failure> {
        let ids = Some(self.image_ids.as_slice());
        let map = score(&truth.labels, detections, ids).or_usage()?.stats[0];
        let matches = Matches::new(&truth.labels, detections, ids).or_usage()?;
        // The scorer has the pictures in the order of their ids, and each once.
        let maps = if matches.image_ids.len() == self.image_ids.len() {
            self.draws
                .figures(|weights| matches.mean_average_precision(weights))
        } else {
            Vec::new()
        };
        Ok(((map >= 0.0).then_some(map), maps))
    }

    fn by_position(&self, found: &[Found], set: &PictureSet) -> Vec<CocoDetection> {
        detections(found, set, |at, class| {
            Some((self.ids[at], i64::from(class) + 1))
        })
    }

    fn labelled(&self, found: &[Found], set: &PictureSet, truth: &Truth) -> Vec<CocoDetection> {
        detections(found, set, |at, class| {
            let category = truth.categories.get(class as usize).copied().flatten()?;
            Some((self.image_ids[at], category))
        })
    }
}

/// Detections of all pictures under the ids and categories that `named` gives them.
fn detections(
    found: &[Found],
    set: &PictureSet,
    named: impl Fn(usize, u32) -> Option<(i64, i64)>,
) -> Vec<CocoDetection> {
    let mut all = Vec::new();
    for (at, one) in found.iter().enumerate() {
        let entry = set.entry(at);
        let size = (entry.width, entry.height);
        all.extend(one.detections.iter().filter_map(|detection| {
            let (id, category) = named(at, detection.class)?;
            Some(CocoDetection::from_detection(detection, id, category, size))
        }));
    }
    all
}

/// The sums of one picture.
pub fn difference_of(float: &[f32], own: &[f32], heads: &Heads) -> PictureDifference {
    let mut sums = ProbabilityDifference::default();
    sums.add(float, own, heads.score_columns() as usize, heads.background);
    let (difference, reference) = sums.sums();
    PictureDifference {
        difference,
        reference,
    }
}

/// Figures less those of the float model on the same draws.
fn changes(own: &[Option<f64>], float: &[Option<f64>]) -> Quantiles {
    let pairs = own.iter().zip(float);
    Quantiles::of(
        pairs
            .filter_map(|(own, float)| Some((*own)? - (*float)?))
            .collect(),
    )
}

/// Figures less 1.
fn from_one(own: &[Option<f64>]) -> Quantiles {
    Quantiles::of(own.iter().flatten().map(|figure| figure - 1.0).collect())
}
