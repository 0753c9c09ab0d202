//! What post-processing is asked to do, as the model file and the flags say it.

use serde::{Deserialize, Serialize};

use super::boxes::Corners;
use super::PostprocessError;

/// Which of the two procedures of `TFLite_Detection_PostProcess` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NmsMode {
    /// Non-maximum suppression class by class, then a merge.
    Regular,
    /// One class-agnostic pass over each anchor's best classes.
    Fast,
}

impl NmsMode {
    /// The word for it on the command line and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Fast => "fast",
        }
    }
}

/// What turns the score head into probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// The head holds probabilities already.
    #[default]
    None,
    /// Each logit by itself: `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Over the classes of an anchor.
    Softmax,
}

/// Divisors of the box encodings `(ty, tx, th, tw)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoxScales {
    /// Divides `ty`.
    pub y: f32,
    /// Divides `tx`.
    pub x: f32,
    /// Divides `th`.
    pub h: f32,
    /// Divides `tw`.
    pub w: f32,
}

/// Thresholds and limits, named as the op's options are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NmsSettings {
    /// A candidate's score must be at least this.
    pub score_threshold: f32,
    /// A box is suppressed when its IoU with a better one is above this; in `(0, 1]`.
    pub iou_threshold: f32,
    /// Detections kept for a picture.
    pub max_detections: u32,
    /// Detections kept for a class (regular mode).
    #[serde(default = "hundred")]
    pub detections_per_class: u32,
    /// Classes written for each kept anchor (fast mode).
    #[serde(default = "one")]
    pub max_classes_per_detection: u32,
}

impl BoxScales {
    /// Refuses divisors that make no box.
    ///
    /// # Errors
    /// [`PostprocessError::Setting`] for the first that is not a positive finite number.
    pub fn check(&self) -> Result<(), PostprocessError> {
        let scales = [
            ("scales.y", self.y),
            ("scales.x", self.x),
            ("scales.h", self.h),
            ("scales.w", self.w),
        ];
        for (key, value) in scales {
            if !(value > 0.0 && value.is_finite()) {
                return Err(PostprocessError::Setting {
                    key,
                    value: as_written(value),
                    expectation: "a positive finite number",
                });
            }
        }
        Ok(())
    }
}

impl NmsSettings {
    /// Refuses what no run can mean: a NaN threshold, an IoU threshold outside `(0, 1]`, limits of zero.
    ///
    /// A limit that `mode` does not read is not looked at.
    ///
    /// # Errors
    /// [`PostprocessError::Setting`] for the first such setting.
    pub fn check(&self, mode: NmsMode) -> Result<(), PostprocessError> {
        let refuse = |key, value, expectation| {
            Err(PostprocessError::Setting {
                key,
                value,
                expectation,
            })
        };
        if self.score_threshold.is_nan() {
            return refuse("score_threshold", f64::NAN, "a number");
        }
        check_iou_threshold("iou_threshold", self.iou_threshold)?;
        if self.max_detections == 0 {
            return refuse("max_detections", 0.0, "at least 1");
        }
        match mode {
            NmsMode::Regular if self.detections_per_class == 0 => {
                refuse("detections_per_class", 0.0, "at least 1")
            }
            NmsMode::Fast if self.max_classes_per_detection == 0 => {
                refuse("max_classes_per_detection", 0.0, "at least 1")
            }
            NmsMode::Regular | NmsMode::Fast => Ok(()),
        }
    }
}

/// Refuses an IoU threshold outside `(0, 1]`, NaN included.
pub(super) fn check_iou_threshold(key: &'static str, value: f32) -> Result<(), PostprocessError> {
    if value > 0.0 && value <= 1.0 {
        return Ok(());
    }
    Err(PostprocessError::Setting {
        key,
        value: as_written(value),
        expectation: "above 0 and at most 1",
    })
}

/// The `f64` that prints as the `f32` does: 1.01 and not 1.0099999904632568.
fn as_written(value: f32) -> f64 {
    value
        .to_string()
        .parse()
        .expect("what a float prints is a float")
}

fn hundred() -> u32 {
    100
}

fn one() -> u32 {
    1
}

/// One detected object.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Detection {
    /// Top edge, as a share of the picture's height; not clipped.
    pub y_min: f32,
    /// Left edge, as a share of the picture's width; not clipped.
    pub x_min: f32,
    /// Bottom edge.
    pub y_max: f32,
    /// Right edge.
    pub x_max: f32,
    /// Probability of the class.
    pub score: f32,
    /// Class, from zero, without the background column.
    pub class: u32,
}

impl Detection {
    /// A detection of `class` at `corners`.
    pub(super) const fn new(corners: &Corners, class: u32, score: f32) -> Self {
        let Corners {
            y_min,
            x_min,
            y_max,
            x_max,
        } = *corners;
        Self {
            y_min,
            x_min,
            y_max,
            x_max,
            score,
            class,
        }
    }
}
