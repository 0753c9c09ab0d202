//! `TFLite_Detection_PostProcess`, the whole op: options, checks, dequantisation and output slots.
//!
//! The revision is that of `LiteRT` since December 2024 (stable sorts throughout), run on one thread;
//! [`Revision::R2`] restores the order of ties of the runtimes before it. Defects of the
//! original that are not reproduced: with several threads its regular mode loses a class and may overrun a
//! buffer, and its fast mode leaves what an earlier picture wrote in the slots that it does not use (zero here).

use super::activation::Probability;
use super::decode::{suspects, EncodedBoxes};
use super::nms::{Nms, ScoreRows};
use super::settings::check_iou_threshold;
use super::ssd::{check_pairs, describe};
use super::{BoxScales, Detection, NmsMode, NmsSettings, PostprocessError};
use crate::tensor::{TensorData, TensorView};

/// The op's options, with its own types: what is wrong with them is found when the op runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Slots of boxes.
    pub max_detections: i32,
    /// Classes written for each box (fast mode).
    pub max_classes_per_detection: i32,
    /// Detections kept for a class (regular mode).
    pub detections_per_class: i32,
    /// Regular mode instead of fast.
    pub use_regular_nms: bool,
    /// A candidate's score must be at least this.
    pub nms_score_threshold: f32,
    /// A box is suppressed when its `IoU` with a better one is above this.
    pub nms_iou_threshold: f32,
    /// Divisors of the box encodings.
    pub scales: BoxScales,
    /// Classes, background not counted.
    pub num_classes: i32,
}

/// Whose order of equal scores the regular mode has when it merges its classes; nothing else differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Revision {
    /// `LiteRT` since December 2024: the lower class first.
    #[default]
    R3,
    /// `tflite-runtime` 2.14 and its time: the higher class first.
    R2,
}

/// A tensor and how its bytes become numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Input<'a> {
    /// The tensor, f32 or u8.
    pub tensor: TensorView<'a>,
    /// For u8: a number is `(byte - zero_point) * scale`. Not read for f32.
    pub quantization: Quantization,
}

/// Affine quantisation of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantization {
    /// The step.
    pub scale: f32,
    /// The byte that stands for zero.
    pub zero_point: i32,
}

impl Default for Quantization {
    fn default() -> Self {
        Self {
            scale: 1.0,
            zero_point: 0,
        }
    }
}

/// The op's four outputs; slots that the op does not write are zero.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output {
    /// `[slots][y_min, x_min, y_max, x_max]`, not clipped.
    pub boxes: Vec<[f32; 4]>,
    /// From zero, without the background column.
    pub classes: Vec<f32>,
    /// Scores of the classes.
    pub scores: Vec<f32>,
    /// Boxes kept; in fast mode each fills `max_classes_per_detection` slots.
    pub num_detections: f32,
}

/// The op and its scratch space.
#[derive(Debug, Clone)]
pub struct DetectionPostProcess {
    options: Options,
    revision: Revision,
    /// The suppressor, with the number of anchors and classes that it was made for.
    nms: Option<(usize, usize, Nms)>,
    encodings: Vec<f32>,
    scores: Vec<f32>,
    anchors: Vec<f32>,
    suspects: Vec<u32>,
    detections: Vec<Detection>,
}

/// The three inputs as numbers.
struct Numbers<'a> {
    encodings: &'a [f32],
    stride: usize,
    scores: &'a [f32],
    columns: usize,
    anchors: &'a [[f32; 4]],
}

impl DetectionPostProcess {
    /// The op with the given options.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            revision: Revision::default(),
            nms: None,
            encodings: Vec::new(),
            scores: Vec::new(),
            anchors: Vec::new(),
            suspects: Vec::new(),
            detections: Vec::new(),
        }
    }

    /// The same op of another revision.
    #[must_use]
    pub fn with_revision(self, revision: Revision) -> Self {
        Self { revision, ..self }
    }

    /// Runs the op on `[box_encodings, class_predictions, anchors]`.
    ///
    /// *Shape*: `[1, anchors, 4 or more]`, `[1, anchors, columns]`, `[anchors, 4]`; all f32 or all u8. `columns` is
    /// `num_classes` or one more, for a background column in front.
    ///
    /// # Errors
    /// Whatever the op refuses: counts, ranks, types and sizes of inputs, limits, the `IoU` threshold, and any
    /// inverted box, whether or not a score passes.
    pub fn run(
        &mut self,
        inputs: &[Input<'_>],
        output: &mut Output,
    ) -> Result<(), PostprocessError> {
        let &[boxes, scores, anchors] = inputs else {
            return Err(PostprocessError::TensorCount {
                found: inputs.len(),
                expected: 3,
                roles: "boxes, scores, anchors",
            });
        };
        let [rows, stride, columns] = sizes(boxes.tensor, scores.tensor, anchors.tensor)?;
        let label_offset = self.label_offset(columns)?;
        let classes = columns - label_offset;
        let settings = self.settings(classes)?;
        check_pairs(rows, classes)?;
        let Self {
            encodings,
            scores: predictions,
            anchors: corners,
            ..
        } = self;
        let numbers = Numbers {
            encodings: numbers("boxes", boxes, encodings)?,
            stride,
            scores: numbers("scores", scores, predictions)?,
            columns,
            anchors: numbers("anchors", anchors, corners)?.as_chunks().0,
        };
        let boxes = EncodedBoxes {
            encodings: numbers.encodings,
            stride: numbers.stride,
            anchors: numbers.anchors,
            scales: self.options.scales,
        };
        self.detections.clear();
        if classes > 0 {
            // The op checks these inside each suppression; without a class there is none.
            check_iou_threshold("nms_iou_threshold", settings.iou_threshold)?;
            self.suspects.clear();
            self.suspects.extend(suspects(numbers.anchors));
            boxes.check(&self.suspects)?;
            let mode = self.options.mode();
            let nms = match &mut self.nms {
                Some((made_for, of, nms)) if (*made_for, *of) == (rows, classes) => nms,
                stale => {
                    let fresh =
                        Nms::new(mode, settings, rows, classes).with_revision(self.revision);
                    &mut stale.insert((rows, classes, fresh)).2
                }
            };
            let scores = ScoreRows {
                raw: numbers.scores,
                columns: numbers.columns,
                label_offset,
                map: Probability,
            };
            nms.run(&scores, &boxes, &mut self.detections);
        }
        self.options.fill(output, &self.detections, classes);
        Ok(())
    }

    /// Columns of `class_predictions` before the first class.
    fn label_offset(&self, columns: usize) -> Result<usize, PostprocessError> {
        let classes = self.options.num_classes;
        usize::try_from(classes)
            .ok()
            .and_then(|classes| columns.checked_sub(classes))
            .filter(|&offset| offset <= 1)
            .ok_or(PostprocessError::Setting {
                key: "num_classes",
                value: f64::from(classes),
                expectation: "the number of score columns, or one less",
            })
    }

    /// The options as settings, once the op would have accepted its limits.
    fn settings(&self, classes: usize) -> Result<NmsSettings, PostprocessError> {
        let options = &self.options;
        let at_least = |key, value: i32, least: i32, expectation| {
            if value < least {
                return Err(PostprocessError::Setting {
                    key,
                    value: f64::from(value),
                    expectation,
                });
            }
            Ok(value.unsigned_abs())
        };
        let max_detections = at_least(
            "max_detections",
            options.max_detections,
            0,
            "zero or positive",
        )?;
        let max_classes = options.max_classes_per_detection;
        let settings = NmsSettings {
            score_threshold: options.nms_score_threshold,
            iou_threshold: options.nms_iou_threshold,
            max_detections,
            detections_per_class: options.detections_per_class.max(0).unsigned_abs(),
            max_classes_per_detection: max_classes.max(0).unsigned_abs(),
        };
        match options.mode() {
            NmsMode::Regular => {
                at_least(
                    "max_classes_per_detection",
                    max_classes,
                    0,
                    "zero or positive",
                )?;
                at_least("max_detections", options.max_detections, 1, "at least 1")?;
                at_least(
                    "detections_per_class",
                    options.detections_per_class,
                    1,
                    "at least 1",
                )?;
            }
            NmsMode::Fast => {
                at_least("max_classes_per_detection", max_classes, 1, "at least 1")?;
                if classes == 0 {
                    return Err(PostprocessError::Setting {
                        key: "num_classes",
                        value: 0.0,
                        expectation: "at least 1 in fast mode",
                    });
                }
            }
        }
        Ok(settings)
    }
}

impl Options {
    /// The mode that `use_regular_nms` chooses.
    pub const fn mode(&self) -> NmsMode {
        if self.use_regular_nms {
            NmsMode::Regular
        } else {
            NmsMode::Fast
        }
    }

    /// Writes detections to their slots; all limits are known to be sound.
    fn fill(&self, output: &mut Output, detections: &[Detection], classes: usize) {
        let each = self.max_classes_per_detection.unsigned_abs() as usize;
        // A regular run with `max_classes_per_detection` 0 has no slots to write to.
        let slots = self.max_detections.unsigned_abs() as usize * each;
        output.boxes.clear();
        output.boxes.resize(slots, [0.0; 4]);
        output.classes.clear();
        output.classes.resize(slots, 0.0);
        output.scores.clear();
        output.scores.resize(slots, 0.0);
        let written = match self.mode() {
            NmsMode::Regular => 1,
            NmsMode::Fast => classes.min(each),
        };
        output.num_detections = (detections.len() / written) as f32;
        let first_slots = match self.mode() {
            NmsMode::Regular => (0..slots).step_by(1),
            NmsMode::Fast => (0..slots).step_by(each),
        };
        for (first, kept) in first_slots.zip(detections.chunks(written)) {
            for (slot, detection) in (first..).zip(kept) {
                let Detection {
                    y_min,
                    x_min,
                    y_max,
                    x_max,
                    score,
                    class,
                } = *detection;
                output.boxes[slot] = [y_min, x_min, y_max, x_max];
                output.classes[slot] = class as f32;
                output.scores[slot] = score;
            }
        }
    }
}

/// Rows, numbers in a row of boxes, and columns of scores.
fn sizes(
    boxes: TensorView<'_>,
    scores: TensorView<'_>,
    anchors: TensorView<'_>,
) -> Result<[usize; 3], PostprocessError> {
    let shape = |tensor, view, expected: String| PostprocessError::Shape {
        tensor,
        found: describe(view),
        expected,
    };
    let Some([1, rows, stride @ 4..=usize::MAX]) = sizes_of(boxes) else {
        return Err(shape("boxes", boxes, "[1, anchors, 4 or more]".into()));
    };
    let columns = match sizes_of(scores) {
        Some([1, of, columns]) if of == rows => columns,
        _ => return Err(shape("scores", scores, format!("[1, {rows}, columns]"))),
    };
    if sizes_of(anchors) != Some([rows, 4]) {
        return Err(shape("anchors", anchors, format!("[{rows}, 4]")));
    }
    let kind = boxes.data.type_name();
    for (tensor, view) in [("scores", scores), ("anchors", anchors)] {
        if view.data.type_name() != kind {
            return Err(shape(tensor, view, format!("{kind}, as the boxes are")));
        }
    }
    Ok([rows, stride, columns])
}

/// The axes of a tensor of a given rank, if they describe its elements.
fn sizes_of<const RANK: usize>(view: TensorView<'_>) -> Option<[usize; RANK]> {
    let axes: [i64; RANK] = view.shape.try_into().ok()?;
    let mut sizes = [0; RANK];
    for (size, axis) in sizes.iter_mut().zip(axes) {
        *size = usize::try_from(axis).ok()?;
    }
    let product = sizes
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))?;
    (product == view.data.len()).then_some(sizes)
}

/// The numbers of an input: itself, or dequantised into `buffer`.
fn numbers<'a>(
    tensor: &'static str,
    input: Input<'a>,
    buffer: &'a mut Vec<f32>,
) -> Result<&'a [f32], PostprocessError> {
    match input.tensor.data {
        TensorData::F32(data) => Ok(data),
        TensorData::U8(data) => {
            let Quantization { scale, zero_point } = input.quantization;
            let zero_point = zero_point as f32;
            buffer.clear();
            buffer.extend(
                data.iter()
                    .map(|&byte| (f32::from(byte) - zero_point) * scale),
            );
            Ok(buffer)
        }
        TensorData::I64(_) => Err(PostprocessError::Shape {
            tensor,
            found: describe(input.tensor),
            expected: "f32 or u8".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options {
        max_detections: 2,
        max_classes_per_detection: 2,
        detections_per_class: 100,
        use_regular_nms: false,
        nms_score_threshold: 0.5,
        nms_iou_threshold: 0.6,
        scales: BoxScales {
            y: 10.0,
            x: 10.0,
            h: 5.0,
            w: 5.0,
        },
        num_classes: 3,
    };
    const BOXES: TensorView<'_> = TensorView {
        shape: &[1, 2, 4],
        data: TensorData::F32(&[0.0; 8]),
    };
    const SCORES: TensorView<'_> = TensorView {
        shape: &[1, 2, 4],
        data: TensorData::F32(&[0.0, 0.1, 0.9, 0.2, 0.0, 0.1, 0.2, 0.3]),
    };
    const ANCHORS: TensorView<'_> = TensorView {
        shape: &[2, 4],
        data: TensorData::F32(&[0.5, 0.5, 1.0, 1.0, 0.2, 0.2, 0.1, 0.1]),
    };

    fn run(options: Options, tensors: &[TensorView<'_>]) -> Result<Output, PostprocessError> {
        let inputs: Vec<Input<'_>> = tensors
            .iter()
            .map(|&tensor| Input {
                tensor,
                quantization: Quantization::default(),
            })
            .collect();
        let mut output = Output::default();
        DetectionPostProcess::new(options).run(&inputs, &mut output)?;
        Ok(output)
    }

    #[test]
    fn each_kept_anchor_fills_its_slots_and_the_rest_are_zero() {
        let output = run(OPTIONS, &[BOXES, SCORES, ANCHORS]).unwrap();
        assert_eq!(output.num_detections.to_bits(), 1.0_f32.to_bits());
        assert_eq!(output.scores, [0.9, 0.2, 0.0, 0.0]);
        assert_eq!(output.classes, [1.0, 2.0, 0.0, 0.0]);
        let whole = [0.0, 0.0, 1.0, 1.0];
        assert_eq!(output.boxes, [whole, whole, [0.0; 4], [0.0; 4]]);
    }

    #[test]
    fn options_that_the_op_refuses_are_refused_by_name() {
        let refused = |options| match run(options, &[BOXES, SCORES, ANCHORS]) {
            Err(PostprocessError::Setting { key, .. }) => key,
            other => panic!("{other:?}"),
        };
        let regular = Options {
            use_regular_nms: true,
            ..OPTIONS
        };
        assert_eq!(
            refused(Options {
                num_classes: 2,
                ..OPTIONS
            }),
            "num_classes"
        );
        assert_eq!(
            refused(Options {
                num_classes: 5,
                ..OPTIONS
            }),
            "num_classes"
        );
        assert_eq!(
            refused(Options {
                num_classes: -1,
                ..OPTIONS
            }),
            "num_classes"
        );
        assert_eq!(
            refused(Options {
                max_detections: -1,
                ..OPTIONS
            }),
            "max_detections"
        );
        assert_eq!(
            refused(Options {
                max_detections: 0,
                ..regular
            }),
            "max_detections"
        );
        assert_eq!(
            refused(Options {
                detections_per_class: 0,
                ..regular
            }),
            "detections_per_class"
        );
        let no_classes = Options {
            max_classes_per_detection: 0,
            ..OPTIONS
        };
        assert_eq!(refused(no_classes), "max_classes_per_detection");
        for nms_iou_threshold in [0.0, -1.0, 1.01, f32::NAN] {
            assert_eq!(
                refused(Options {
                    nms_iou_threshold,
                    ..regular
                }),
                "nms_iou_threshold"
            );
        }
        assert!(run(
            Options {
                nms_iou_threshold: 1.0,
                ..OPTIONS
            },
            &[BOXES, SCORES, ANCHORS]
        )
        .is_ok());
        assert!(run(
            Options {
                max_detections: 0,
                ..OPTIONS
            },
            &[BOXES, SCORES, ANCHORS]
        )
        .is_ok());
    }

    #[test]
    fn without_anchors_there_are_no_detections_but_the_threshold_is_checked() {
        let nothing = TensorData::F32(&[]);
        let tensors = [
            TensorView {
                shape: &[1, 0, 4],
                data: nothing,
            },
            TensorView {
                shape: &[1, 0, 4],
                data: nothing,
            },
            TensorView {
                shape: &[0, 4],
                data: nothing,
            },
        ];
        for use_regular_nms in [false, true] {
            let options = Options {
                use_regular_nms,
                ..OPTIONS
            };
            let output = run(options, &tensors).unwrap();
            assert_eq!(output.num_detections.to_bits(), 0.0_f32.to_bits());
            assert!(run(
                Options {
                    nms_iou_threshold: 0.0,
                    ..options
                },
                &tensors
            )
            .is_err());
        }
    }

    #[test]
    fn no_classes_are_no_detections_in_regular_mode_and_an_error_in_fast_mode() {
        let scores = TensorView {
            shape: &[1, 2, 1],
            data: TensorData::F32(&[0.9; 2]),
        };
        let regular = Options {
            use_regular_nms: true,
            num_classes: 0,
            ..OPTIONS
        };
        let output = run(regular, &[BOXES, scores, ANCHORS]).unwrap();
        assert_eq!(output.scores, [0.0; 4]);
        let fast = Options {
            num_classes: 0,
            ..OPTIONS
        };
        assert!(run(fast, &[BOXES, scores, ANCHORS]).is_err());
    }

    #[test]
    fn inputs_of_another_count_rank_size_or_type_are_refused() {
        let refused = |tensors: &[TensorView<'_>]| run(OPTIONS, tensors).unwrap_err().to_string();
        let count = refused(&[BOXES, SCORES]);
        assert_eq!(
            count,
            "2 output tensors came, but 3 are expected (boxes, scores, anchors)"
        );
        let two_pictures = TensorView {
            shape: &[2, 1, 4],
            data: BOXES.data,
        };
        assert!(refused(&[two_pictures, SCORES, ANCHORS]).contains("[1, anchors, 4 or more]"));
        let narrow = TensorView {
            shape: &[1, 2, 3],
            data: TensorData::F32(&[0.0; 6]),
        };
        assert!(refused(&[narrow, SCORES, ANCHORS]).contains("[1, 2, 3]"));
        let flat = TensorView {
            shape: &[8],
            data: ANCHORS.data,
        };
        assert!(refused(&[BOXES, SCORES, flat]).contains("`anchors` is f32 [8]"));
        let bytes = TensorView {
            shape: &[2, 4],
            data: TensorData::U8(&[0; 8]),
        };
        assert!(refused(&[BOXES, SCORES, bytes]).contains("f32, as the boxes are"));
        let wide = |shape| TensorView {
            shape,
            data: TensorData::I64(&[0; 8]),
        };
        let integers = [wide(&[1, 2, 4]), wide(&[1, 2, 4]), wide(&[2, 4])];
        assert!(refused(&integers).contains("expects f32 or u8"));
    }
}
