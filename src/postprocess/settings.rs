//! What post-processing is asked to do, as the model file and the flags say it.

use serde::{Deserialize, Serialize};

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
