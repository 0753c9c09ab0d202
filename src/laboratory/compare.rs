//! Both modes of the op over many pictures: what each finds, what it costs, and where they differ.

use std::collections::HashSet;

use serde::Serialize;

use super::folder::OwnProcedure;
use super::heads::RawHeads;
use super::timing::median_us;
use crate::postprocess::families::{FamilyDetector, FamilyHeads};
use crate::postprocess::tflite::{DetectionPostProcess, Input, Options, Output, Revision};
use crate::postprocess::{Activation, Detection, Detector, NmsMode, NmsSettings, PostprocessError};
use crate::tensor::TensorData;

/// What one mode made of one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What it kept, best first.
    pub detections: Vec<Detection>,
    /// Median of a call.
    pub median_us: f64,
}

/// What there was to suppress in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Candidates {
    /// Anchors with a score that passes: what fast mode walks over.
    pub anchors: u32,
    /// Pairs of an anchor and a class whose score passes: what regular mode walks over.
    pub pairs: u64,
}

/// By what detections are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// The op.
    Op(Revision),
    /// A family's own procedure.
    Family(OwnProcedure),
}

/// Why a picture could not be post-processed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MethodError {
    /// Whatever the op or the procedure refuses.
    #[error(transparent)]
    Postprocess(#[from] PostprocessError),
    /// Only the op reads bytes.
    #[error(
        "array `boxes` is u8, but the procedure of this family takes f32; save the heads as f32"
    )]
    Bytes,
}

/// Runs one mode on a picture.
///
/// # Errors
/// [`MethodError`].
pub fn outcome(
    heads: &RawHeads,
    picture: usize,
    options: Options,
    mode: NmsMode,
    method: Method,
    repeat: u32,
) -> Result<Outcome, MethodError> {
    match method {
        Method::Op(revision) => op_outcome(heads, picture, options, mode, revision, repeat),
        Method::Family(own) => family_outcome(heads, picture, options, mode, own, repeat),
    }
}

fn op_outcome(
    heads: &RawHeads,
    picture: usize,
    options: Options,
    mode: NmsMode,
    revision: Revision,
    repeat: u32,
) -> Result<Outcome, MethodError> {
    let options = Options {
        use_regular_nms: mode == NmsMode::Regular,
        ..options
    };
    let mut op = DetectionPostProcess::new(options).with_revision(revision);
    let mut output = Output::default();
    let median_us = heads.with_picture(picture, |inputs| {
        median_us(|| op.run(inputs, &mut output), repeat)
    })?;
    Ok(Outcome {
        detections: kept(&output, options),
        median_us,
    })
}

fn family_outcome(
    heads: &RawHeads,
    picture: usize,
    options: Options,
    mode: NmsMode,
    own: OwnProcedure,
    repeat: u32,
) -> Result<Outcome, MethodError> {
    let whole = |value: i32| u32::try_from(value).unwrap_or(0);
    let nms = NmsSettings {
        score_threshold: options.nms_score_threshold,
        iou_threshold: options.nms_iou_threshold,
        max_detections: whole(options.max_detections),
        detections_per_class: whole(options.detections_per_class),
        max_classes_per_detection: whole(options.max_classes_per_detection),
    };
    let classes = whole(options.num_classes) as usize;
    heads.with_picture(picture, |inputs| {
        let TensorData::F32(anchors) = inputs[2].tensor.data else {
            return Err(MethodError::Bytes);
        };
        let told = FamilyHeads {
            anchors: anchors.as_chunks().0.to_vec(),
            scales: options.scales,
            // What is on disk went through the activation.
            activation: Activation::None,
            classes,
            background: heads.columns() > classes,
        };
        let mut detector = FamilyDetector::new(mode, own.family, own.rules, told, nms)?;
        let mut detections = Vec::new();
        let outputs = [inputs[0].tensor, inputs[1].tensor];
        let median_us = median_us(|| detector.detect(&outputs, 0, &mut detections), repeat)?;
        Ok(Outcome {
            detections,
            median_us,
        })
    })
}

/// The slots that hold detections, best first.
fn kept(output: &Output, options: Options) -> Vec<Detection> {
    let count = output.num_detections as usize;
    let each = options.max_classes_per_detection.unsigned_abs() as usize;
    let classes = options.num_classes.unsigned_abs() as usize;
    let (step, written) = match options.mode() {
        NmsMode::Regular => (1, 1),
        NmsMode::Fast => (each, each.min(classes)),
    };
    let slots = (0..count).flat_map(|kept| (kept * step..).take(written));
    slots
        .filter(|&slot| slot < output.scores.len())
        .map(|slot| {
            let [y_min, x_min, y_max, x_max] = output.boxes[slot];
            Detection {
                y_min,
                x_min,
                y_max,
                x_max,
                score: output.scores[slot],
                class: output.classes[slot] as u32,
            }
        })
        .collect()
}

/// Counts the candidates of a picture.
///
/// The op lets a score at the threshold pass, the families' own procedures do not.
pub fn candidates(
    heads: &RawHeads,
    picture: usize,
    options: Options,
    method: Method,
) -> Candidates {
    let threshold = options.nms_score_threshold;
    let passes = |score: f32| match method {
        Method::Op(_) => score >= threshold,
        Method::Family(_) => score > threshold,
    };
    heads.with_picture(picture, |inputs| {
        let scores = &inputs[1];
        let columns = heads.columns().max(1);
        let classes = usize::try_from(options.num_classes).unwrap_or(0);
        let offset = columns.saturating_sub(classes);
        let mut counted = Candidates {
            anchors: 0,
            pairs: 0,
        };
        for row in 0..heads.anchor_count() {
            let columns = row * columns + offset..(row + 1) * columns;
            let passing = columns
                .filter(|&index| passes(number(scores, index)))
                .count();
            counted.pairs += passing as u64;
            counted.anchors += u32::from(passing > 0);
        }
        counted
    })
}

fn number(input: &Input<'_>, index: usize) -> f32 {
    match input.tensor.data {
        TensorData::F32(data) => data[index],
        TensorData::U8(data) => {
            (f32::from(data[index]) - input.quantization.zero_point as f32)
                * input.quantization.scale
        }
        TensorData::I64(data) => data[index] as f32,
    }
}

/// Where two lists of detections of one picture differ.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PictureDifference {
    /// Only in the first.
    pub only_first: Vec<Detection>,
    /// Only in the second.
    pub only_second: Vec<Detection>,
    /// In both.
    pub both: Vec<Detection>,
}

impl PictureDifference {
    /// Compares by box and class, bit for bit: both modes decode the same boxes.
    pub fn new(first: &[Detection], second: &[Detection]) -> Self {
        let key = |detection: &Detection| {
            let Detection {
                y_min,
                x_min,
                y_max,
                x_max,
                class,
                ..
            } = *detection;
            ([y_min, x_min, y_max, x_max].map(f32::to_bits), class)
        };
        let in_first: HashSet<_> = first.iter().map(key).collect();
        let in_second: HashSet<_> = second.iter().map(key).collect();
        let (both, only_first) = first
            .iter()
            .partition(|&found| in_second.contains(&key(found)));
        let only_second = second
            .iter()
            .filter(|&found| !in_first.contains(&key(found)));
        Self {
            only_first,
            only_second: only_second.copied().collect(),
            both,
        }
    }

    /// How much: the scores of all detections that only one of the two has, added up.
    pub fn weight(&self) -> f64 {
        let alone = self.only_first.iter().chain(&self.only_second);
        alone.map(|detection| f64::from(detection.score)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_differ_by_the_scores_that_one_mode_lacks() {
        let found = |x_min: f32, class, score| Detection {
            x_min,
            score,
            class,
            ..Detection::default()
        };
        let first = [found(0.0, 1, 0.9), found(0.5, 2, 0.5), found(0.5, 3, 0.25)];
        let second = [
            found(0.0, 1, 0.9),
            found(0.5, 2, 0.5),
            found(0.75, 2, 0.125),
        ];
        let difference = PictureDifference::new(&first, &second);
        assert_eq!(difference.only_first, [first[2]]);
        assert_eq!(difference.only_second, [second[2]]);
        assert_eq!(difference.both, first[..2]);
        assert!((difference.weight() - 0.375).abs() < 1e-12);
    }
}
