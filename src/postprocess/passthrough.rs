//! The detector for graphs that already end in detections, such as `TFLite_Detection_PostProcess` inside the graph
//! or the SSD graphs of `MLPerf`.

use super::ssd::describe;
use super::{Detection, Detector, PostprocessError};
use crate::tensor::{TensorData, TensorView};

/// Hands on what the graph's own post-processing found.
///
/// *Shape* of its outputs, in this order, all f32 (class ids may be i64): boxes `[batch, slots, 4]` as
/// `y_min, x_min, y_max, x_max`, normalised; classes `[batch, slots]`; scores `[batch, slots]`; number of detections
/// `[batch]` or `[batch, 1]`. Slots beyond that number hold whatever an earlier picture left there and are not read.
#[derive(Debug, Clone, Copy)]
pub struct PassThroughDetector {
    label_offset: u32,
    score_threshold: f32,
}

impl PassThroughDetector {
    /// A detector for class ids that start at `label_offset` (1 where the graph counts a background), keeping the
    /// detections whose score is at least `score_threshold`.
    ///
    /// # Errors
    /// [`PostprocessError::Setting`] for a NaN threshold.
    pub fn new(label_offset: u32, score_threshold: f32) -> Result<Self, PostprocessError> {
        if score_threshold.is_nan() {
            return Err(PostprocessError::Setting {
                key: "score_threshold",
                value: f64::NAN,
                expectation: "a number",
            });
        }
        Ok(Self {
            label_offset,
            score_threshold,
        })
    }
}

impl Detector for PassThroughDetector {
    fn detect(
        &mut self,
        outputs: &[TensorView<'_>],
        image: usize,
        detections: &mut Vec<Detection>,
    ) -> Result<(), PostprocessError> {
        let &[boxes, classes, scores, count] = outputs else {
            return Err(PostprocessError::TensorCount {
                found: outputs.len(),
                expected: 4,
                roles: "boxes, classes, scores, number of detections",
            });
        };
        let [batch, slots] =
            batch_and_slots(boxes).ok_or_else(|| shape("boxes", boxes, "f32 [batch, slots, 4]"))?;
        if image >= batch {
            return Err(PostprocessError::Image {
                tensor: "boxes",
                image,
                batch,
            });
        }
        let expected = "one entry for each slot of the boxes";
        let corners = floats(boxes, batch * slots * 4)
            .ok_or_else(|| shape("boxes", boxes, "f32 [batch, slots, 4]"))?;
        let scores =
            floats(scores, batch * slots).ok_or_else(|| shape("scores", scores, expected))?;
        if classes.data.len() != batch * slots {
            return Err(shape("classes", classes, expected));
        }
        let kept = floats(count, batch)
            .and_then(|counts| usable_count(counts[image], slots))
            .ok_or_else(|| shape("count", count, "f32 [batch], each from 0 to the slots"))?;
        detections.clear();
        let slots = image * slots..image * slots + kept;
        let rows = corners.as_chunks().0[slots.clone()]
            .iter()
            .zip(&scores[slots.clone()]);
        for (slot, (&[y_min, x_min, y_max, x_max], &score)) in slots.zip(rows) {
            let class = class_id(classes.data, slot)
                .and_then(|class| class.checked_sub(self.label_offset))
                .ok_or_else(|| {
                    shape("classes", classes, "whole numbers from the label offset up")
                })?;
            if score >= self.score_threshold {
                detections.push(Detection {
                    y_min,
                    x_min,
                    y_max,
                    x_max,
                    score,
                    class,
                });
            }
        }
        Ok(())
    }
}

/// Pictures, and slots of each, if the shape of the boxes describes its elements.
fn batch_and_slots(boxes: TensorView<'_>) -> Option<[usize; 2]> {
    let &[batch, slots, 4] = boxes.shape else {
        return None;
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

fn usable_count(count: f32, slots: usize) -> Option<usize> {
    (count >= 0.0 && count <= slots as f32 && count.fract() == 0.0).then_some(count as usize)
}

/// A class id as graphs write it: a whole float, or an integer.
fn class_id(classes: TensorData<'_>, slot: usize) -> Option<u32> {
    match classes {
        // Above 2^24 a float no longer counts in ones.
        TensorData::F32(data) => {
            let class = data[slot];
            ((0.0..16_777_216.0).contains(&class) && class.fract() == 0.0).then_some(class as u32)
        }
        TensorData::I64(data) => u32::try_from(data[slot]).ok(),
        TensorData::U8(data) => Some(u32::from(data[slot])),
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

    fn outputs<'a>(classes: TensorData<'a>, count: &'a [f32]) -> [TensorView<'a>; 4] {
        let boxes = &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 9.0, 9.0, 9.0, 9.0];
        [
            TensorView {
                shape: &[1, 3, 4],
                data: TensorData::F32(boxes),
            },
            TensorView {
                shape: &[1, 3],
                data: classes,
            },
            TensorView {
                shape: &[1, 3],
                data: TensorData::F32(&[0.9, 0.2, 0.8]),
            },
            TensorView {
                shape: &[1],
                data: TensorData::F32(count),
            },
        ]
    }

    #[test]
    fn slots_beyond_the_count_are_not_read() {
        let mut detections = vec![Detection::default(); 5];
        for classes in [
            TensorData::F32(&[1.0, 17.0, f32::NAN]),
            TensorData::I64(&[1, 17, -1]),
        ] {
            let mut detector = PassThroughDetector::new(1, 0.0).unwrap();
            detector
                .detect(&outputs(classes, &[2.0]), 0, &mut detections)
                .unwrap();
            let found: Vec<u32> = detections.iter().map(|detection| detection.class).collect();
            assert_eq!(found, [0, 16]);
            let mut detector = PassThroughDetector::new(1, 0.3).unwrap();
            detector
                .detect(&outputs(classes, &[2.0]), 0, &mut detections)
                .unwrap();
            assert_eq!(detections.len(), 1);
        }
    }

    #[test]
    fn counts_and_classes_that_make_no_sense_are_refused() {
        let mut detections = Vec::new();
        let mut refused = |label_offset, classes, count: &[f32], image| {
            let mut detector = PassThroughDetector::new(label_offset, 0.0).unwrap();
            detector
                .detect(&outputs(classes, count), image, &mut detections)
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
        for (label_offset, classes) in [
            (2, good),
            (0, TensorData::F32(&[0.5; 3])),
            (0, TensorData::I64(&[1, 2])),
        ] {
            let error = refused(label_offset, classes, &[2.0], 0);
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
}
