//! The detector for SSD heads whose authors wrote their own post-processing, other than `TFLite`'s op.
//!
//! Regular mode is the family's own procedure, class by class; fast mode is one class-agnostic pass over each anchor's
//! best class with the family's decoding and thresholds. All arithmetic is f32, as in the originals. Results come
//! best first whatever order the original has. After the first call no memory is taken.

use serde::{Deserialize, Serialize};

use super::activation::{sigmoid, softmax};
use super::boxes::Corners;
use super::nms::ranking::{index_of, key};
use super::scan::best_of;
use super::settings::check_iou_threshold;
use super::ssd::{check_pairs, picture_heads, PictureHeads};
use super::{Activation, BoxScales, Detection, Detector, NmsMode, NmsSettings, PostprocessError};
use crate::tensor::TensorView;

/// A family with a procedure of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Procedure {
    /// TF Object Detection API, as inside its graphs of 2018.
    TfodSsd,
    /// `MLPerf`'s PyTorch port of SSD-MobileNet.
    MlperfTorchSsd,
    /// `MLPerf`'s SSD-ResNet34.
    MlperfSsdResnet34,
    /// pytorch-ssd, such as its MobileNetV2-SSD-Lite.
    PytorchSsd,
    /// `HiKapok`'s SSD-VGG16.
    HikapokSsd,
}

/// The order of an anchor's four encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxOrder {
    /// ty, tx, th, tw.
    Yxhw,
    /// tx, ty, tw, th.
    Xywh,
    /// No encodings but the corners themselves: `x_min`, `y_min`, `x_max`, `y_max`.
    Xyxy,
}

/// Whether boxes are cut to the picture, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clip {
    /// Never.
    None,
    /// Before suppression; boxes that lie outside are dropped.
    Before,
    /// Once detections are chosen; those that lie outside are dropped.
    After,
}

/// When a weaker box stays beside a better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Unless the `IoU` is above the threshold: an `IoU` that is NaN keeps.
    UnlessAbove,
    /// If the `IoU` is at most the threshold: NaN drops.
    AtMost,
    /// If the `IoU` is below the threshold: NaN drops.
    Below,
}

/// What a family does besides what [`NmsSettings`] say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FamilyRules {
    /// Order of the encodings.
    pub order: BoxOrder,
    /// Cutting to the picture.
    pub clip: Clip,
    /// When a weaker box stays.
    pub keep: Keep,
    /// Added to the denominator of the `IoU`.
    pub iou_epsilon: f32,
    /// Whether two negative overlaps make a positive intersection (a slip that the published accuracy has).
    pub multiplies_gaps: bool,
    /// Candidates of a class that enter suppression, the best ones; 0 for all.
    pub candidates_per_class: u32,
    /// Boxes with a side of at most this share of the picture are dropped before suppression; negative for none.
    pub side_min: f32,
    /// Of equal scores the higher index comes first.
    pub last_of_equals_first: bool,
}

/// What a model file says against its family's rules; absent keys keep them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // The keys are those of `FamilyRules`.
pub struct RuleOverrides {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<BoxOrder>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iou_epsilon: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiplies_gaps: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates_per_class: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side_min: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_of_equals_first: Option<bool>,
}

impl Procedure {
    /// The rules of the family's published program.
    pub const fn rules(self) -> FamilyRules {
        let plain = FamilyRules {
            order: BoxOrder::Yxhw,
            clip: Clip::None,
            keep: Keep::UnlessAbove,
            iou_epsilon: 0.0,
            multiplies_gaps: false,
            candidates_per_class: 0,
            side_min: -1.0,
            last_of_equals_first: false,
        };
        match self {
            Self::TfodSsd => FamilyRules {
                clip: Clip::Before,
                ..plain
            },
            Self::MlperfTorchSsd => FamilyRules {
                keep: Keep::AtMost,
                iou_epsilon: 1e-5,
                ..plain
            },
            Self::MlperfSsdResnet34 => FamilyRules {
                order: BoxOrder::Xywh,
                keep: Keep::Below,
                multiplies_gaps: true,
                candidates_per_class: 200,
                last_of_equals_first: true,
                ..plain
            },
            Self::PytorchSsd => FamilyRules {
                order: BoxOrder::Xywh,
                keep: Keep::AtMost,
                iou_epsilon: 1e-5,
                candidates_per_class: 200,
                ..plain
            },
            Self::HikapokSsd => FamilyRules {
                clip: Clip::Before,
                candidates_per_class: 400,
                side_min: 0.03,
                ..plain
            },
        }
    }

    /// Whether encodings are divided by their scales, or multiplied with the reciprocals.
    const fn divides(self) -> bool {
        matches!(self, Self::TfodSsd | Self::MlperfTorchSsd)
    }
}

impl RuleOverrides {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Lays what is set over `rules`.
    pub fn apply(&self, rules: FamilyRules) -> FamilyRules {
        FamilyRules {
            order: self.order.unwrap_or(rules.order),
            clip: self.clip.unwrap_or(rules.clip),
            keep: self.keep.unwrap_or(rules.keep),
            iou_epsilon: self.iou_epsilon.unwrap_or(rules.iou_epsilon),
            multiplies_gaps: self.multiplies_gaps.unwrap_or(rules.multiplies_gaps),
            candidates_per_class: self
                .candidates_per_class
                .unwrap_or(rules.candidates_per_class),
            side_min: self.side_min.unwrap_or(rules.side_min),
            last_of_equals_first: self
                .last_of_equals_first
                .unwrap_or(rules.last_of_equals_first),
        }
    }
}

/// Detections by a family's own procedure.
///
/// *Shape* of its outputs: as [`super::SsdDetector`]'s, in the family's order of encodings. A score must be above the
/// threshold, not at it.
#[derive(Debug, Clone)]
pub struct FamilyDetector {
    mode: NmsMode,
    procedure: Procedure,
    rules: FamilyRules,
    anchors: Vec<[f32; 4]>,
    scales: BoxScales,
    nms: NmsSettings,
    activation: Activation,
    classes: usize,
    label_offset: usize,
    scores: Vec<f32>,
    exponentials: Vec<f64>,
    boxes: Vec<Corners>,
    candidates: Vec<u64>,
    kept: Vec<Corners>,
    sorted: Vec<Detection>,
}

/// What a detector is told about a model's heads.
#[derive(Debug, Clone, PartialEq)]
pub struct FamilyHeads {
    /// (`y_center`, `x_center`, `height`, `width`), shares of the picture.
    pub anchors: Vec<[f32; 4]>,
    /// Divisors of the encodings.
    pub scales: BoxScales,
    /// What turns scores into probabilities.
    pub activation: Activation,
    /// Classes, background not counted.
    pub classes: usize,
    /// Whether the first column of the scores is background.
    pub background: bool,
}

impl FamilyDetector {
    /// A detector for `procedure`, with rules that a model file may have changed.
    ///
    /// # Errors
    /// [`PostprocessError::Setting`] for a setting that no run can mean, [`PostprocessError::TooManyPairs`].
    pub fn new(
        mode: NmsMode,
        procedure: Procedure,
        rules: FamilyRules,
        heads: FamilyHeads,
        nms: NmsSettings,
    ) -> Result<Self, PostprocessError> {
        nms.check(mode)?;
        heads.scales.check()?;
        check_iou_threshold("iou_threshold", nms.iou_threshold)?;
        check_pairs(heads.anchors.len(), heads.classes)?;
        if heads.classes == 0 {
            return Err(PostprocessError::Setting {
                key: "classes",
                value: 0.0,
                expectation: "at least 1",
            });
        }
        Ok(Self {
            mode,
            procedure,
            rules,
            scores: Vec::new(),
            exponentials: Vec::new(),
            boxes: Vec::with_capacity(heads.anchors.len()),
            candidates: Vec::with_capacity(heads.anchors.len()),
            kept: Vec::new(),
            sorted: Vec::new(),
            anchors: heads.anchors,
            scales: heads.scales,
            nms,
            activation: heads.activation,
            classes: heads.classes,
            label_offset: usize::from(heads.background),
        })
    }

    fn columns(&self) -> usize {
        self.classes + self.label_offset
    }

    /// Probabilities of all columns.
    fn activate(&mut self, raw: &[f32]) {
        let columns = self.columns();
        self.scores.clear();
        match self.activation {
            Activation::None => self.scores.extend_from_slice(raw),
            Activation::Sigmoid => self.scores.extend(raw.iter().map(|&logit| sigmoid(logit))),
            Activation::Softmax => {
                self.scores.resize(raw.len(), 0.0);
                let rows = raw
                    .chunks_exact(columns)
                    .zip(self.scores.chunks_exact_mut(columns));
                for (logits, scores) in rows {
                    softmax(logits, scores, &mut self.exponentials);
                }
            }
        }
    }

    fn decode_all(&mut self, encodings: &[f32], stride: usize) {
        let Self {
            procedure,
            rules,
            anchors,
            scales,
            boxes,
            ..
        } = self;
        boxes.clear();
        let rows = encodings.chunks_exact(stride).zip(anchors.iter());
        boxes.extend(rows.map(|(row, anchor)| {
            let corners = decode(*procedure, rules.order, scales, row, anchor);
            if rules.clip == Clip::Before {
                clipped(&corners)
            } else {
                corners
            }
        }));
    }

    /// Whether a box may enter suppression.
    fn enters(&self, corners: &Corners) -> bool {
        let is_inside = self.rules.clip != Clip::Before || corners.area() > 0.0;
        let sides = [corners.y_max - corners.y_min, corners.x_max - corners.x_min];
        is_inside
            && sides
                .iter()
                .all(|&side| self.rules.side_min < 0.0 || side > self.rules.side_min)
    }

    /// The score of a class at an anchor.
    fn score(&self, anchor: usize, class: usize) -> f32 {
        self.scores[anchor * self.columns() + self.label_offset + class]
    }

    /// Walks `self.candidates` best first; at most `limit` of `class_of`'s answers join `detections`.
    fn walk(
        &mut self,
        limit: usize,
        class_of: impl Fn(&Self, usize) -> u32,
        detections: &mut Vec<Detection>,
    ) {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.sort_unstable();
        let mut kept = std::mem::take(&mut self.kept);
        kept.clear();
        for &candidate in &candidates {
            if kept.len() == limit {
                break;
            }
            let anchor = self.anchor_of(index_of(candidate));
            let corners = self.boxes[anchor];
            if kept.iter().all(|better| self.stays(better, &corners)) {
                kept.push(corners);
                let class = class_of(self, anchor);
                let score = self.score(anchor, class as usize);
                detections.push(Detection::new(&corners, class, score));
            }
        }
        self.candidates = candidates;
        self.kept = kept;
    }

    /// The index that stands for an anchor among equal scores, and back.
    fn anchor_of(&self, index: u32) -> usize {
        if self.rules.last_of_equals_first {
            self.anchors.len() - 1 - index as usize
        } else {
            index as usize
        }
    }

    /// Leaves only the best candidates, as many as enter.
    fn cut_candidates(&mut self) {
        let most = self.rules.candidates_per_class as usize;
        if most > 0 && self.candidates.len() > most {
            self.candidates.select_nth_unstable(most);
            self.candidates.truncate(most);
        }
    }

    fn add_candidate(&mut self, anchor: usize, score: f32) {
        if score > self.nms.score_threshold && self.enters(&self.boxes[anchor]) {
            let index = self.anchor_of(anchor as u32) as u32;
            self.candidates.push(key(score, index));
        }
    }

    fn suppress_classes(&mut self, detections: &mut Vec<Detection>) {
        for class in 0..self.classes {
            self.candidates.clear();
            for anchor in 0..self.anchors.len() {
                self.add_candidate(anchor, self.score(anchor, class));
            }
            self.cut_candidates();
            let limit = self.nms.detections_per_class as usize;
            self.walk(limit, |_, _| class as u32, detections);
        }
    }

    fn suppress_anchors(&mut self, detections: &mut Vec<Detection>) {
        self.candidates.clear();
        for anchor in 0..self.anchors.len() {
            let class = self.best_class(anchor);
            self.add_candidate(anchor, self.score(anchor, class as usize));
        }
        let limit = self.nms.max_detections as usize;
        self.walk(limit, Self::best_class, detections);
    }

    /// The lowest class of the best score; 0 when there is nothing but NaN.
    #[allow(clippy::float_cmp)] // The best is one of the row's own numbers.
    fn best_class(&self, anchor: usize) -> u32 {
        let columns = self.columns();
        let row = &self.scores[anchor * columns + self.label_offset..][..self.classes];
        let best = best_of(row);
        row.iter().position(|&score| score == best).unwrap_or(0) as u32
    }

    /// Whether `corners` may stand beside a better box.
    fn stays(&self, better: &Corners, corners: &Corners) -> bool {
        let overlap = self.iou(better, corners);
        let threshold = self.nms.iou_threshold;
        match self.rules.keep {
            Keep::UnlessAbove => overlap.is_nan() || overlap <= threshold,
            Keep::AtMost => overlap <= threshold,
            Keep::Below => overlap < threshold,
        }
    }

    fn iou(&self, a: &Corners, b: &Corners) -> f32 {
        let height = a.y_max.min(b.y_max) - a.y_min.max(b.y_min);
        let width = a.x_max.min(b.x_max) - a.x_min.max(b.x_min);
        let (area_a, area_b) = match self.rules.keep {
            Keep::UnlessAbove => {
                // TensorFlow's kernel: a box without area overlaps nothing.
                if a.area() <= 0.0 || b.area() <= 0.0 {
                    return 0.0;
                }
                (a.area(), b.area())
            }
            Keep::AtMost => (clamped_area(a), clamped_area(b)),
            Keep::Below => (a.area(), b.area()),
        };
        let shared = if self.rules.multiplies_gaps {
            width * height
        } else {
            width.max(0.0) * height.max(0.0)
        };
        shared / (area_a + area_b - shared + self.rules.iou_epsilon)
    }

    /// Brings detections into their final order and number.
    fn conclude(&mut self, detections: &mut Vec<Detection>) {
        let last = detections.len().saturating_sub(1) as u32;
        let is_reversed = self.rules.last_of_equals_first;
        let position = |index: u32| if is_reversed { last - index } else { index };
        self.candidates.clear();
        let scores = (0..).zip(detections.iter().map(|detection| detection.score));
        self.candidates
            .extend(scores.map(|(index, score)| key(score, position(index))));
        self.candidates.sort_unstable();
        self.candidates.truncate(self.nms.max_detections as usize);
        self.sorted.clear();
        let order = self.candidates.iter().map(|&key| position(index_of(key)));
        self.sorted
            .extend(order.map(|index| detections[index as usize]));
        if self.rules.clip == Clip::After {
            for detection in &mut self.sorted {
                let Detection {
                    y_min,
                    x_min,
                    y_max,
                    x_max,
                    ..
                } = *detection;
                let [y_min, x_min, y_max, x_max] = [y_min, x_min, y_max, x_max].map(within);
                *detection = Detection {
                    y_min,
                    x_min,
                    y_max,
                    x_max,
                    ..*detection
                };
            }
            self.sorted
                .retain(|one| (one.y_max - one.y_min) * (one.x_max - one.x_min) > 0.0);
        }
        detections.clear();
        detections.extend_from_slice(&self.sorted);
    }
}

impl Detector for FamilyDetector {
    fn detect(
        &mut self,
        outputs: &[TensorView<'_>],
        image: usize,
        detections: &mut Vec<Detection>,
    ) -> Result<(), PostprocessError> {
        let (anchors, columns) = (self.anchors.len(), self.columns());
        let PictureHeads {
            encodings,
            stride,
            raw,
        } = picture_heads(outputs, image, anchors, columns)?;
        detections.clear();
        self.activate(raw);
        self.decode_all(encodings, stride);
        match self.mode {
            NmsMode::Regular => self.suppress_classes(detections),
            NmsMode::Fast => self.suppress_anchors(detections),
        }
        self.conclude(detections);
        Ok(())
    }
}

/// The box of an anchor, step by step as the family computes it.
fn decode(
    procedure: Procedure,
    order: BoxOrder,
    scales: &BoxScales,
    row: &[f32],
    anchor: &[f32; 4],
) -> Corners {
    let [dy, dx, log_height, log_width] = match order {
        BoxOrder::Yxhw => [row[0], row[1], row[2], row[3]],
        BoxOrder::Xywh => [row[1], row[0], row[3], row[2]],
        BoxOrder::Xyxy => {
            return Corners {
                y_min: row[1],
                x_min: row[0],
                y_max: row[3],
                x_max: row[2],
            }
        }
    };
    let [anchor_y, anchor_x, anchor_height, anchor_width] = *anchor;
    let unscale = |encoding: f32, scale: f32| {
        if procedure.divides() {
            encoding / scale
        } else {
            encoding * (1.0 / scale)
        }
    };
    let y_center = unscale(dy, scales.y) * anchor_height + anchor_y;
    let x_center = unscale(dx, scales.x) * anchor_width + anchor_x;
    let height = unscale(log_height, scales.h).exp() * anchor_height;
    let width = unscale(log_width, scales.w).exp() * anchor_width;
    Corners {
        y_min: y_center - height / 2.0,
        x_min: x_center - width / 2.0,
        y_max: y_center + height / 2.0,
        x_max: x_center + width / 2.0,
    }
}

fn within(edge: f32) -> f32 {
    edge.clamp(0.0, 1.0)
}

fn clipped(corners: &Corners) -> Corners {
    Corners {
        y_min: within(corners.y_min),
        x_min: within(corners.x_min),
        y_max: within(corners.y_max),
        x_max: within(corners.x_max),
    }
}

/// The area where inverted sides count as none.
fn clamped_area(corners: &Corners) -> f32 {
    (corners.y_max - corners.y_min).max(0.0) * (corners.x_max - corners.x_min).max(0.0)
}

#[cfg(test)]
#[allow(clippy::cast_possible_wrap)] // Lengths of small vectors.
mod tests;
