//! The detector for raw SSD heads: box encodings and class scores or logits, anchor by anchor.

use std::ops::RangeInclusive;

use super::activation::{Logit, Probability};
use super::decode::{suspects, EncodedBoxes};
use super::nms::{Nms, ScoreRows};
use super::{Activation, BoxScales, Detection, Detector, NmsMode, NmsSettings, PostprocessError};
use crate::tensor::{TensorData, TensorView};

/// Detections from the raw heads of an SSD-like model.
///
/// Its result is, bit for bit, that of activating every score and then running
/// `TFLite_Detection_PostProcess`; only what can become a detection is activated and decoded.
///
/// *Shape* of its outputs: boxes `[batch, anchors, 4 or more]` f32, each row beginning `(ty, tx, th, tw)`; scores
/// `[batch, anchors, columns]` f32, where a background column, if there is one, comes first.
#[derive(Debug, Clone)]
pub struct SsdDetector {
    anchors: Vec<[f32; 4]>,
    /// The anchors whose boxes must be checked.
    suspects: Vec<u32>,
    scales: BoxScales,
    activation: Activation,
    classes: usize,
    label_offset: usize,
    nms: Nms,
}

impl SsdDetector {
    /// A detector with all the memory it will need.
    ///
    /// `anchors` are `(y_center, x_center, height, width)`, shares of the picture; `classes` does not count the
    /// background, and `background` says whether the score head has a column for it before the first class.
    ///
    /// # Errors
    /// [`PostprocessError::Setting`] for a setting that no run can mean, and
    /// [`PostprocessError::TooManyPairs`] for heads with more than `u32::MAX` pairs.
    #[allow(clippy::too_many_arguments)] // Each is a table of the model file; a struct would repeat that file.
    pub fn new(
        mode: NmsMode,
        anchors: Vec<[f32; 4]>,
        scales: BoxScales,
        nms: NmsSettings,
        activation: Activation,
        classes: usize,
        background: bool,
    ) -> Result<Self, PostprocessError> {
        nms.check(mode)?;
        scales.check()?;
        if classes == 0 {
            return Err(PostprocessError::Setting {
                key: "classes",
                value: 0.0,
                expectation: "at least 1",
            });
        }
        check_pairs(anchors.len(), classes)?;
        Ok(Self {
            suspects: suspects(&anchors).collect(),
            nms: Nms::new(mode, nms, anchors.len(), classes),
            anchors,
            scales,
            activation,
            classes,
            label_offset: usize::from(background),
        })
    }

    /// Numbers in a row of the score head.
    fn columns(&self) -> usize {
        self.classes + self.label_offset
    }
}

/// Refuses heads whose pairs of an anchor and a class do not fit the index of a sort key.
pub(super) fn check_pairs(anchors: usize, classes: usize) -> Result<(), PostprocessError> {
    match anchors.checked_mul(classes) {
        Some(pairs) if u32::try_from(pairs).is_ok() => Ok(()),
        _ => Err(PostprocessError::TooManyPairs { anchors, classes }),
    }
}

impl Detector for SsdDetector {
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
        let boxes = EncodedBoxes {
            encodings,
            stride,
            anchors: &self.anchors,
            scales: self.scales,
        };
        boxes.check(&self.suspects)?;
        let label_offset = self.label_offset;
        match self.activation {
            Activation::None => {
                let scores = ScoreRows {
                    raw,
                    columns,
                    label_offset,
                    map: Probability,
                };
                self.nms.run(&scores, &boxes, detections);
            }
            Activation::Sigmoid => {
                let scores = ScoreRows {
                    raw,
                    columns,
                    label_offset,
                    map: Logit,
                };
                self.nms.run(&scores, &boxes, detections);
            }
            Activation::Softmax => {
                let scores = ScoreRows {
                    raw,
                    columns,
                    label_offset,
                    map: Logit,
                };
                self.nms.run_softmax(&scores, &boxes, detections);
            }
        }
        Ok(())
    }
}

/// One picture's part of both heads.
pub(super) struct PictureHeads<'a> {
    /// Rows of encodings.
    pub encodings: &'a [f32],
    /// Numbers in a row of encodings, four or more.
    pub stride: usize,
    /// Rows of scores, before the activation.
    pub raw: &'a [f32],
}

/// Finds picture `image` in the heads of a batch, boxes before scores.
pub(super) fn picture_heads<'a>(
    outputs: &[TensorView<'a>],
    image: usize,
    anchors: usize,
    columns: usize,
) -> Result<PictureHeads<'a>, PostprocessError> {
    let &[boxes, scores] = outputs else {
        return Err(PostprocessError::TensorCount {
            found: outputs.len(),
            expected: 2,
            roles: "boxes, scores",
        });
    };
    let (encodings, stride) = picture_rows("boxes", boxes, image, anchors, 4..=usize::MAX)?;
    let (raw, _) = picture_rows("scores", scores, image, anchors, columns..=columns)?;
    Ok(PictureHeads {
        encodings,
        stride,
        raw,
    })
}

/// One picture's rows of a head, and the numbers in a row.
fn picture_rows<'a>(
    tensor: &'static str,
    view: TensorView<'a>,
    image: usize,
    anchors: usize,
    widths: RangeInclusive<usize>,
) -> Result<(&'a [f32], usize), PostprocessError> {
    let sizes: Option<[usize; 3]> = match *view.shape {
        [batch, rows, width] => size(batch)
            .zip(size(rows))
            .zip(size(width))
            .map(|((batch, rows), width)| [batch, rows, width]),
        _ => None,
    };
    let (Some([batch, rows, width]), TensorData::F32(data)) = (sizes, view.data) else {
        return Err(head_shape(tensor, view, anchors, &widths));
    };
    let picture = rows.checked_mul(width);
    let whole = picture.and_then(|picture| picture.checked_mul(batch));
    if rows != anchors || !widths.contains(&width) || whole != Some(data.len()) {
        return Err(head_shape(tensor, view, anchors, &widths));
    }
    if image >= batch {
        return Err(PostprocessError::Image {
            tensor,
            image,
            batch,
        });
    }
    let picture = rows * width;
    Ok((&data[image * picture..][..picture], width))
}

fn size(axis: i64) -> Option<usize> {
    usize::try_from(axis).ok()
}

#[cold]
fn head_shape(
    tensor: &'static str,
    view: TensorView<'_>,
    anchors: usize,
    widths: &RangeInclusive<usize>,
) -> PostprocessError {
    let width = widths.start();
    let or_more = if widths.end() > width { " or more" } else { "" };
    PostprocessError::Shape {
        tensor,
        found: describe(view),
        expected: format!("f32 [batch, {anchors}, {width}{or_more}]"),
    }
}

/// A tensor as a sentence names it: `f32 [1, 1917, 4]`, with the element count if that does not fit.
pub(super) fn describe(view: TensorView<'_>) -> String {
    let product = view
        .shape
        .iter()
        .try_fold(1_i64, |product, &axis| product.checked_mul(axis));
    let (kind, shape, len) = (view.data.type_name(), view.shape, view.data.len());
    if product.and_then(size) == Some(len) {
        format!("{kind} {shape:?}")
    } else {
        format!("{kind} {shape:?} of {len} elements")
    }
}
