//! The detector for graphs that already end in detections: those of the TF Object Detection API, `MLPerf`'s
//! SSD-ResNet34, Faster R-CNN and Mask R-CNN exports.

use serde::{Deserialize, Serialize};

use super::nms::ranking::{index_of, key};
use super::ssd::describe;
use super::{Detection, Detector, PostprocessError};
use crate::tensor::{TensorData, TensorView};

/// The order of a box's four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CornerOrder {
    /// `y_min, x_min, y_max, x_max`, TensorFlow's.
    Yxyx,
    /// `x_min, y_min, x_max, y_max`, PyTorch's.
    Xyxy,
}

/// How the outputs of an end-to-end graph are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PassThroughRules {
    /// The order of a box's numbers.
    pub corners: CornerOrder,
    /// What a box's numbers are divided by, `[height, width]`: the input's size where they are its pixels, 1 where
    /// they are shares of the picture.
    pub box_unit: [f32; 2],
    /// The id by which the graph knows the first class: 1 where it counts a background.
    pub first_class: u32,
    /// Least score of a detection.
    pub score_threshold: f32,
    /// Whether an output tells how many slots are used.
    pub has_count: bool,
}

/// Hands on what the graph's own post-processing found, best first.
///
/// *Shape* of its outputs, in this order: boxes f32 `[batch, slots, 4]`; classes `[batch, slots]`, f32 or i64; scores
/// f32 `[batch, slots]`; and, where the rules say so, the number of detections f32 or i64 `[batch]` or `[batch, 1]`.
/// Slots beyond that number hold whatever an earlier picture left there and are not read. Without that output, slots
/// with a score of zero are padding. A graph for one picture may leave the batch axis out: `[slots, 4]`, `[slots]`.
#[derive(Debug, Clone)]
pub struct PassThroughDetector {
    rules: PassThroughRules,
    order: Vec<u64>,
    found: Vec<Detection>,
}

impl PassThroughDetector {
    /// A detector that reads outputs by `rules`.
    ///
    /// # Errors
    /// [`PostprocessError::Setting`] for a NaN threshold and a unit that is not above zero.
    pub fn new(rules: PassThroughRules) -> Result<Self, PostprocessError> {
        let refuse = |key, value: f32, expectation| {
            Err(PostprocessError::Setting {
                key,
                value: f64::from(value),
                expectation,
            })
        };
        if rules.score_threshold.is_nan() {
            return refuse("score_threshold", f32::NAN, "a number");
        }
        match rules
            .box_unit
            .iter()
            .find(|unit| !(unit.is_normal() && **unit > 0.0))
        {
            Some(&unit) => refuse("box_unit", unit, "a finite number above 0"),
            None => Ok(Self {
                rules,
                order: Vec::new(),
                found: Vec::new(),
            }),
        }
    }

    /// The detection in a slot; `None` when it is padding or too weak.
    fn read(&self, numbers: [f32; 4], score: f32, class: impl Fn() -> Option<u32>) -> Slot {
        let is_padding = !self.rules.has_count && score <= 0.0;
        let is_weak = score.is_nan() || score < self.rules.score_threshold;
        if is_padding || is_weak {
            return Slot::Empty;
        }
        let Some(class) = class().and_then(|class| class.checked_sub(self.rules.first_class))
        else {
            return Slot::NoClass;
        };
        let [y_min, x_min, y_max, x_max] = match self.rules.corners {
            CornerOrder::Yxyx => numbers,
            CornerOrder::Xyxy => [numbers[1], numbers[0], numbers[3], numbers[2]],
        };
        let [height, width] = self.rules.box_unit;
        Slot::Detection(Detection {
            y_min: y_min / height,
            x_min: x_min / width,
            y_max: y_max / height,
            x_max: x_max / width,
            score,
            class,
        })
    }

    /// Graphs give their detections best first, but for some: `MLPerf`'s SSD-ResNet34 sorts within a class only.
    fn sort(&mut self, detections: &mut Vec<Detection>) {
        if detections.is_sorted_by(|a, b| a.score >= b.score) {
            return;
        }
        let keys = (0..).zip(detections.iter());
        self.order.clear();
        self.order
            .extend(keys.map(|(index, one)| key(one.score, index)));
        self.order.sort_unstable();
        self.found.clear();
        self.found.extend(
            self.order
                .iter()
                .map(|&key| detections[index_of(key) as usize]),
        );
        detections.clear();
        detections.extend_from_slice(&self.found);
    }
}

/// What a slot holds.
enum Slot {
    Empty,
    NoClass,
    Detection(Detection),
}

impl Detector for PassThroughDetector {
    fn detect(
        &mut self,
        outputs: &[TensorView<'_>],
        image: usize,
        detections: &mut Vec<Detection>,
    ) -> Result<(), PostprocessError> {
        let (boxes, classes, scores, count) = match (outputs, self.rules.has_count) {
            (&[boxes, classes, scores, count], true) => (boxes, classes, scores, Some(count)),
            (&[boxes, classes, scores], false) => (boxes, classes, scores, None),
            (_, has_count) => {
                return Err(PostprocessError::TensorCount {
                    found: outputs.len(),
                    expected: if has_count { 4 } else { 3 },
                    roles: "boxes, classes, scores and, where the graph counts them, the number of detections",
                })
            }
        };
        let box_shape = "f32 [batch, slots, 4] or [slots, 4]";
        let [batch, slots] =
            batch_and_slots(boxes).ok_or_else(|| shape("boxes", boxes, box_shape))?;
        if image >= batch {
            return Err(PostprocessError::Image {
                tensor: "boxes",
                image,
                batch,
            });
        }
        let expected = "one entry for each slot of the boxes";
        let corners =
            floats(boxes, batch * slots * 4).ok_or_else(|| shape("boxes", boxes, box_shape))?;
        let scores =
            floats(scores, batch * slots).ok_or_else(|| shape("scores", scores, expected))?;
        if classes.data.len() != batch * slots {
            return Err(shape("classes", classes, expected));
        }
        let kept = match count {
            None => slots,
            Some(count) => usable_count(count, image, batch, slots).ok_or_else(|| {
                shape(
                    "count",
                    count,
                    "[batch], each a whole number from 0 to the slots",
                )
            })?,
        };
        detections.clear();
        let used = image * slots..image * slots + kept;
        let rows = corners.as_chunks().0[used.clone()]
            .iter()
            .zip(&scores[used.clone()]);
        for (slot, (&numbers, &score)) in used.zip(rows) {
            match self.read(numbers, score, || class_id(classes.data, slot)) {
                Slot::Empty => {}
                Slot::Detection(detection) => detections.push(detection),
                Slot::NoClass => {
                    return Err(shape(
                        "classes",
                        classes,
                        "whole numbers from the first class up",
                    ))
                }
            }
        }
        self.sort(detections);
        Ok(())
    }
}

/// Pictures, and slots of each, if the shape of the boxes describes its elements.
fn batch_and_slots(boxes: TensorView<'_>) -> Option<[usize; 2]> {
    let (batch, slots) = match *boxes.shape {
        [batch, slots, 4] => (batch, slots),
        [slots, 4] => (1, slots),
        _ => return None,
    };
    let (batch, slots) = (usize::try_from(batch).ok()?, usize::try_from(slots).ok()?);
    let len = batch.checked_mul(slots)?.checked_mul(4)?;
    (len == boxes.data.len()).then_some([batch, slots])
}

/// The floats of a tensor, if it has `len` of them.
fn floats(view: TensorView<'_>, len: usize) -> Option<&[f32]> {
    match view.data {
        TensorData::F32(data) if data.len() == len => Some(data),
        TensorData::F32(_) | TensorData::U8(_) | TensorData::I64(_) => None,
    }
}

/// How many slots of `image` are used, if the output says so for each picture.
fn usable_count(count: TensorView<'_>, image: usize, batch: usize, slots: usize) -> Option<usize> {
    if count.data.len() != batch {
        return None;
    }
    let used = class_id(count.data, image)? as usize;
    (used <= slots).then_some(used)
}

/// A class id, or a count, as graphs write it: a whole float, or an integer.
fn class_id(numbers: TensorData<'_>, index: usize) -> Option<u32> {
    match numbers {
        // Above 2^24 a float no longer counts in ones.
        TensorData::F32(data) => {
            let number = data[index];
            ((0.0..16_777_216.0).contains(&number) && number.fract() == 0.0)
                .then_some(number as u32)
        }
        TensorData::I64(data) => u32::try_from(data[index]).ok(),
        TensorData::U8(data) => Some(u32::from(data[index])),
    }
}

#[cold]
fn shape(tensor: &'static str, view: TensorView<'_>, expected: &str) -> PostprocessError {
    PostprocessError::Shape {
        tensor,
        found: describe(view),
        expected: expected.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: PassThroughRules = PassThroughRules {
        corners: CornerOrder::Yxyx,
        box_unit: [1.0; 2],
        first_class: 1,
        score_threshold: 0.0,
        has_count: true,
    };

    const BOXES: &[f32] = &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 9.0, 9.0, 9.0, 9.0];

    fn view<'a>(shape: &'a [i64], data: TensorData<'a>) -> TensorView<'a> {
        TensorView { shape, data }
    }

    fn outputs<'a>(classes: TensorData<'a>, count: TensorData<'a>) -> [TensorView<'a>; 4] {
        [
            view(&[1, 3, 4], TensorData::F32(BOXES)),
            view(&[1, 3], classes),
            view(&[1, 3], TensorData::F32(&[0.9, 0.2, 0.8])),
            view(&[1], count),
        ]
    }

    #[test]
    fn slots_beyond_the_count_are_not_read() {
        let mut detections = vec![Detection::default(); 5];
        for (classes, count) in [
            (
                TensorData::F32(&[1.0, 17.0, f32::NAN]),
                TensorData::F32(&[2.0]),
            ),
            (TensorData::I64(&[1, 17, -1]), TensorData::I64(&[2])),
        ] {
            let mut detector = PassThroughDetector::new(RULES).unwrap();
            detector
                .detect(&outputs(classes, count), 0, &mut detections)
                .unwrap();
            let found: Vec<u32> = detections.iter().map(|detection| detection.class).collect();
            assert_eq!(found, [0, 16]);
            let strict = PassThroughRules {
                score_threshold: 0.3,
                ..RULES
            };
            let mut detector = PassThroughDetector::new(strict).unwrap();
            detector
                .detect(&outputs(classes, count), 0, &mut detections)
                .unwrap();
            assert_eq!(detections.len(), 1);
        }
    }

    #[test]
    fn pixels_without_a_batch_axis_or_a_count_become_shares_best_first() {
        let rules = PassThroughRules {
            corners: CornerOrder::Xyxy,
            box_unit: [200.0, 400.0],
            has_count: false,
            ..RULES
        };
        let mut detector = PassThroughDetector::new(rules).unwrap();
        let outputs = [
            view(
                &[3, 4],
                TensorData::F32(&[
                    40.0, 20.0, 200.0, 100.0, 0.0, 0.0, 400.0, 200.0, 0.0, 0.0, 0.0, 0.0,
                ]),
            ),
            view(&[3], TensorData::I64(&[1, 80, 0])),
            view(&[3], TensorData::F32(&[0.5, 0.75, 0.0])),
        ];
        let mut detections = Vec::new();
        detector.detect(&outputs, 0, &mut detections).unwrap();
        let of = |edges: [f32; 4], score, class| Detection {
            y_min: edges[0],
            x_min: edges[1],
            y_max: edges[2],
            x_max: edges[3],
            score,
            class,
        };
        assert_eq!(
            detections,
            [
                of([0.0, 0.0, 1.0, 1.0], 0.75, 79),
                of([0.1, 0.1, 0.5, 0.5], 0.5, 0)
            ]
        );
        let none = [
            view(&[0, 4], TensorData::F32(&[])),
            view(&[0], TensorData::I64(&[])),
            view(&[0], TensorData::F32(&[])),
        ];
        detector.detect(&none, 0, &mut detections).unwrap();
        assert_eq!(detections, []);
    }

    #[test]
    fn each_picture_of_a_batch_has_its_own_slots() {
        let mut detector = PassThroughDetector::new(RULES).unwrap();
        let outputs = [
            view(&[2, 1, 4], TensorData::F32(&BOXES[..8])),
            view(&[2, 1], TensorData::F32(&[1.0, 2.0])),
            view(&[2, 1], TensorData::F32(&[0.5, 0.25])),
            view(&[2], TensorData::F32(&[0.0, 1.0])),
        ];
        let mut detections = Vec::new();
        detector.detect(&outputs, 0, &mut detections).unwrap();
        assert_eq!(detections, []);
        detector.detect(&outputs, 1, &mut detections).unwrap();
        assert_eq!(
            (detections[0].class, detections[0].x_max.to_bits()),
            (1, 0.7_f32.to_bits())
        );
    }

    #[test]
    fn counts_and_classes_that_make_no_sense_are_refused() {
        let mut detections = Vec::new();
        let mut refused = |first_class, classes, count: &[f32], image| {
            let rules = PassThroughRules {
                first_class,
                ..RULES
            };
            let mut detector = PassThroughDetector::new(rules).unwrap();
            detector
                .detect(
                    &outputs(classes, TensorData::F32(count)),
                    image,
                    &mut detections,
                )
                .unwrap_err()
        };
        let good = TensorData::F32(&[1.0, 2.0, 3.0]);
        for count in [4.0, -1.0, 0.5, f32::NAN] {
            assert!(matches!(
                refused(0, good, &[count], 0),
                PostprocessError::Shape {
                    tensor: "count",
                    ..
                }
            ));
        }
        for (first_class, classes) in [
            (2, good),
            (0, TensorData::F32(&[0.5; 3])),
            (0, TensorData::I64(&[1, 2])),
        ] {
            let error = refused(first_class, classes, &[2.0], 0);
            assert!(
                matches!(
                    error,
                    PostprocessError::Shape {
                        tensor: "classes",
                        ..
                    }
                ),
                "{error}"
            );
        }
        assert!(matches!(
            refused(0, good, &[1.0], 1),
            PostprocessError::Image {
                image: 1,
                batch: 1,
                ..
            }
        ));
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        let nan = PassThroughRules {
            score_threshold: f32::NAN,
            ..RULES
        };
        assert!(PassThroughDetector::new(nan).is_err());
        let flat = PassThroughRules {
            box_unit: [0.0, 1.0],
            ..RULES
        };
        assert!(PassThroughDetector::new(flat).is_err());
    }
}
