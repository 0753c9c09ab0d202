//! `TFLite_Detection_PostProcess`, the custom operator that ends a detector: its options.

use super::error::Fault;
use super::flexbuffer;
use crate::postprocess::{BoxScales, NmsMode, NmsSettings};

/// The operator's name.
pub(super) const NAME: &str = "TFLite_Detection_PostProcess";

/// What the operator is told: what a model file says of post-processing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// Divisors of the box head.
    pub box_scales: BoxScales,
    /// Thresholds and limits.
    pub nms: NmsSettings,
    /// Regular or fast suppression.
    pub mode: NmsMode,
    /// Classes, background left out.
    pub classes: u32,
}

/// Reads the options of the operator. What may be left out has the operator's own default.
pub(super) fn rules(options: &[u8]) -> Result<Rules, Fault> {
    let map = flexbuffer::numbers(options).map_err(|wrong| Fault::Options {
        operator: NAME,
        what: wrong.what,
        offset: wrong.offset,
    })?;
    let required = |key| {
        map.get(key).copied().ok_or(Fault::OptionMissing {
            operator: NAME,
            key,
        })
    };
    // A cast saturates; the model file's own checks refuse what no run can mean.
    let count = |value: f64| value as u32;
    let or = |key, default: f64| map.get(key).copied().unwrap_or(default);
    Ok(Rules {
        box_scales: BoxScales {
            y: required("y_scale")? as f32,
            x: required("x_scale")? as f32,
            h: required("h_scale")? as f32,
            w: required("w_scale")? as f32,
        },
        nms: NmsSettings {
            score_threshold: required("nms_score_threshold")? as f32,
            iou_threshold: required("nms_iou_threshold")? as f32,
            max_detections: count(required("max_detections")?),
            // Fast files often say zero: only regular NMS reads it.
            detections_per_class: match count(or("detections_per_class", 0.0)) {
                0 => 100,
                some => some,
            },
            max_classes_per_detection: count(required("max_classes_per_detection")?),
        },
        mode: if or("use_regular_nms", 0.0) == 0.0 {
            NmsMode::Fast
        } else {
            NmsMode::Regular
        },
        classes: count(required("num_classes")?),
    })
}
