//! Pascal VOC average precision, in the three ways in which it is published.
//!
//! All boxes here are as VOC's files hold them: `x_min, y_min, x_max, y_max` in pixels, counted from one, both ends
//! inside the box. Each style shifts them as its original does.

mod names;
mod read;

use std::collections::{BTreeSet, HashMap};

use serde::{Serialize, Serializer};

pub use names::{coco_name, voc_name};
pub use read::{
    parse_annotation, read_annotations, read_detections, read_image_names, write_detections,
    AnnotationProblem,
};

use super::coco::mean;
use crate::postprocess::Detection;

/// Whose arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VocStyle {
    /// The VOC 2007 development kit: f64, one pixel added to sides, a match from 0.5.
    Devkit,
    /// pytorch-ssd's `eval_ssd.py`: f32 boxes, 1e-5 in the denominator, a match above 0.5.
    Ptssd,
    /// HiKapok's `voc_eval.py`: f64, ground truth shifted and detections not, precision guarded against 0/0.
    Hikapok,
}

/// An object of the ground truth.
#[derive(Debug, Clone, PartialEq)]
pub struct VocObject {
    /// The picture's name, without an extension.
    pub image: String,
    /// Its class.
    pub class: String,
    /// As in the file.
    pub corners: [f64; 4],
    /// Neither finding nor missing it counts.
    pub is_difficult: bool,
    /// It goes on outside the picture; of no weight in scoring.
    pub is_truncated: bool,
}

/// A detection.
#[derive(Debug, Clone, PartialEq)]
pub struct VocDetection {
    /// The picture's name, without an extension.
    pub image: String,
    /// Its class.
    pub class: String,
    /// Larger is surer.
    pub score: f64,
    /// As in the file: counted from one.
    pub corners: [f64; 4],
}

impl VocDetection {
    /// A detection in the pixels of its picture, as a style's own program writes it down before it scores: all count pixels
    /// from one, pytorch-ssd in `f32`, and HiKapok's cuts what is behind the point. `None` for a box that has no pixels left then.
    pub fn from_detection(
        detection: &Detection,
        image: &str,
        class: &str,
        (width, height): (u32, u32),
        style: VocStyle,
    ) -> Option<Self> {
        let Detection {
            y_min,
            x_min,
            y_max,
            x_max,
            score,
            ..
        } = *detection;
        let edges = [
            (x_min, width),
            (y_min, height),
            (x_max, width),
            (y_max, height),
        ];
        let corners = match style {
            VocStyle::Devkit => edges.map(|(share, side)| f64::from(share) * f64::from(side) + 1.0),
            VocStyle::Ptssd => edges.map(|(share, side)| f64::from(share * side as f32 + 1.0)),
            VocStyle::Hikapok => {
                edges.map(|(share, side)| f64::from((share * side as f32).trunc()) + 1.0)
            }
        };
        let has_pixels = corners[2] > corners[0] && corners[3] > corners[1];
        (has_pixels || style != VocStyle::Hikapok).then(|| Self {
            image: image.to_owned(),
            class: class.to_owned(),
            score: f64::from(score),
            corners,
        })
    }
}

/// What came of all classes.
#[derive(Debug, Clone, PartialEq)]
pub struct VocScores {
    /// Whose arithmetic it was.
    pub style: VocStyle,
    /// Over which recalls.
    pub points: VocPoints,
    /// The mean over the classes.
    pub map: f64,
    /// In the order of the classes.
    pub per_class: Vec<VocClassScore>,
}

/// Over which recalls precision is averaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VocPoints {
    /// VOC 2007's eleven.
    Eleven,
    /// The whole area under the curve.
    All,
}

impl VocPoints {
    /// The word for it on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eleven => "11",
            Self::All => "all",
        }
    }

    /// A class's value.
    pub const fn of(self, class: &VocClassScore) -> f64 {
        match self {
            Self::Eleven => class.ap_11,
            Self::All => class.ap_all,
        }
    }
}

/// Scores VOC's twenty classes, or, when the objects or detections have others, those they have, by name.
pub fn score_all(
    objects: &[VocObject],
    detections: &[VocDetection],
    style: VocStyle,
    points: VocPoints,
) -> VocScores {
    let of_objects = objects.iter().map(|object| object.class.as_str());
    let present: BTreeSet<&str> = of_objects
        .chain(detections.iter().map(|detection| detection.class.as_str()))
        .collect();
    let classes: Vec<&str> = if present.iter().all(|class| CLASSES.contains(class)) {
        CLASSES.into()
    } else {
        present.into_iter().collect()
    };
    let score = |class: &&str| score_class(class, objects, detections, style);
    let per_class: Vec<VocClassScore> = classes.iter().map(score).collect();
    let values: Vec<f64> = per_class.iter().map(|class| points.of(class)).collect();
    VocScores {
        style,
        points,
        map: mean_average_precision(&values, style),
        per_class,
    }
}

/// What came of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VocClassScore {
    /// The class.
    pub class: String,
    /// Objects that count.
    pub object_count: u32,
    /// Detections that found one.
    pub true_positives: u32,
    /// Detections that found none.
    pub false_positives: u32,
    /// Over the recalls 0, 0.1, …, 1.
    #[serde(serialize_with = "number_or_nan")]
    pub ap_11: f64,
    /// The area under the curve.
    #[serde(serialize_with = "number_or_nan")]
    pub ap_all: f64,
}

/// JSON has no NaN.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference.
fn number_or_nan<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_nan() {
        serializer.serialize_str("NaN")
    } else {
        serializer.serialize_f64(*value)
    }
}

/// The twenty classes in the order of VOC's own lists.
pub const CLASSES: [&str; 20] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

/// A detection finds an object when they overlap so much.
const LEAST_IOU: f64 = 0.5;

/// Scores one class; detections of equal score keep their order.
pub fn score_class(
    class: &str,
    objects: &[VocObject],
    detections: &[VocDetection],
    style: VocStyle,
) -> VocClassScore {
    score_class_above(class, objects, detections, style, LEAST_IOU)
}

/// As [`score_class`], for another least overlap of a detection with what it found.
pub fn score_class_above(
    class: &str,
    objects: &[VocObject],
    detections: &[VocDetection],
    style: VocStyle,
    least_iou: f64,
) -> VocClassScore {
    let objects: Vec<&VocObject> = objects.iter().filter(|one| one.class == class).collect();
    let mut found: Vec<&VocDetection> =
        detections.iter().filter(|one| one.class == class).collect();
    found.sort_by(|a, b| {
        b.score
            .partial_cmp(&a.score)
            .expect("NaN scores were refused")
    });
    let object_count = objects.iter().filter(|object| !object.is_difficult).count() as u32;
    let mut taken = vec![false; objects.len()];
    let (mut right, mut wrong) = (0_u32, 0_u32);
    let (mut recall, mut precision) = (Vec::new(), Vec::new());
    let mut by_image: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, object) in objects.iter().enumerate() {
        by_image
            .entry(object.image.as_str())
            .or_default()
            .push(index);
    }
    for detection in &found {
        let here = by_image.get(detection.image.as_str());
        let here = here.map_or(&[][..], Vec::as_slice);
        match style.best(detection, &objects, here, least_iou) {
            Some(best) if objects[best].is_difficult => {}
            Some(best) if !taken[best] => {
                taken[best] = true;
                right += 1;
            }
            Some(_) | None => wrong += 1,
        }
        recall.push(f64::from(right) / f64::from(object_count));
        precision.push(style.precision(right, wrong));
    }
    let is_unknown = found.is_empty() && style == VocStyle::Hikapok;
    VocClassScore {
        class: class.to_owned(),
        object_count,
        true_positives: right,
        false_positives: wrong,
        ap_11: if is_unknown {
            -1.0
        } else {
            style.eleven_points(&recall, &precision)
        },
        ap_all: if is_unknown {
            -1.0
        } else {
            style.all_points(&recall, &precision)
        },
    }
}

/// The mean over classes, in their order; pytorch-ssd adds one after the other, the others as numpy does.
pub fn mean_average_precision(values: &[f64], style: VocStyle) -> f64 {
    match style {
        VocStyle::Ptssd => values.iter().sum::<f64>() / values.len() as f64,
        VocStyle::Devkit | VocStyle::Hikapok => mean(values),
    }
}

impl VocStyle {
    /// The word for it on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Devkit => "devkit",
            Self::Ptssd => "ptssd",
            Self::Hikapok => "hikapok",
        }
    }

    /// Of the objects in its picture (`here`), the one that a detection overlaps most, if that is enough; the first one of
    /// equals, whether or not it was found already.
    fn best(
        self,
        detection: &VocDetection,
        objects: &[&VocObject],
        here: &[usize],
        least: f64,
    ) -> Option<usize> {
        let mut best = None;
        let mut most = f64::NEG_INFINITY;
        for &index in here {
            let overlap = self.iou(&objects[index].corners, &detection.corners);
            if overlap > most {
                (most, best) = (overlap, Some(index));
            }
        }
        let is_enough = match self {
            Self::Devkit => most >= least,
            Self::Ptssd | Self::Hikapok => most > least,
        };
        best.filter(|_| is_enough)
    }

    fn iou(self, object: &[f64; 4], found: &[f64; 4]) -> f64 {
        match self {
            Self::Devkit => {
                let area = |[x_min, y_min, x_max, y_max]: &[f64; 4]| {
                    (x_max - x_min + 1.0) * (y_max - y_min + 1.0)
                };
                let width = object[2].min(found[2]) - object[0].max(found[0]) + 1.0;
                let height = object[3].min(found[3]) - object[1].max(found[1]) + 1.0;
                if width <= 0.0 || height <= 0.0 {
                    // The original then leaves the overlap as it was, below every match.
                    return f64::NEG_INFINITY;
                }
                let shared = width * height;
                shared / (area(found) + area(object) - shared)
            }
            Self::Hikapok => {
                let object = object.map(|edge| edge - 1.0);
                let area =
                    |[x_min, y_min, x_max, y_max]: [f64; 4]| (x_max - x_min) * (y_max - y_min);
                let width = (object[2].min(found[2]) - object[0].max(found[0])).max(0.0);
                let height = (object[3].min(found[3]) - object[1].max(found[1])).max(0.0);
                let shared = width * height;
                shared / (area(*found) + area(object) - shared)
            }
            Self::Ptssd => {
                let shift = |corners: &[f64; 4]| corners.map(|edge| edge as f32 - 1.0);
                let (object, found) = (shift(object), shift(found));
                let side = |side: f32| side.max(0.0);
                let area = |[x_min, y_min, x_max, y_max]: [f32; 4]| {
                    side(x_max - x_min) * side(y_max - y_min)
                };
                let width = side(object[2].min(found[2]) - object[0].max(found[0]));
                let height = side(object[3].min(found[3]) - object[1].max(found[1]));
                let shared = width * height;
                f64::from(shared / (area(found) + area(object) - shared + 1e-5))
            }
        }
    }

    fn precision(self, right: u32, wrong: u32) -> f64 {
        let (right, all) = (f64::from(right), f64::from(right + wrong));
        match self {
            Self::Hikapok => right / all.max(f64::EPSILON),
            Self::Devkit | Self::Ptssd => right / all,
        }
    }

    /// The larger of two; MATLAB passes over NaN where numpy keeps it.
    fn larger(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Ptssd | Self::Hikapok if a.is_nan() || b.is_nan() => f64::NAN,
            Self::Devkit | Self::Ptssd | Self::Hikapok => a.max(b),
        }
    }

    fn eleven_points(self, recall: &[f64], precision: &[f64]) -> f64 {
        let mut sum = 0.0;
        for step in 0..11_u32 {
            // 3 * 0.1 is above 0.3: a recall of exactly 3/10 does not reach it.
            let least = f64::from(step) * 0.1;
            let reached = recall
                .iter()
                .zip(precision)
                .filter(|&(&recall, _)| recall >= least);
            let best = reached
                .map(|(_, &precision)| precision)
                .reduce(|a, b| self.larger(a, b));
            sum += best.unwrap_or(0.0) / 11.0;
        }
        sum
    }

    #[allow(clippy::float_cmp)] // The curve is summed where recall changes at all.
    fn all_points(self, recall: &[f64], precision: &[f64]) -> f64 {
        let recall: Vec<f64> = [0.0].iter().chain(recall).chain(&[1.0]).copied().collect();
        let mut precision: Vec<f64> = [0.0]
            .iter()
            .chain(precision)
            .chain(&[0.0])
            .copied()
            .collect();
        for i in (1..precision.len()).rev() {
            precision[i - 1] = self.larger(precision[i - 1], precision[i]);
        }
        (1..recall.len())
            .filter(|&i| recall[i] != recall[i - 1])
            .map(|i| (recall[i] - recall[i - 1]) * precision[i])
            .sum()
    }
}
