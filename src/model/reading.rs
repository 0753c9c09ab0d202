//! From a model's outputs to a detector.

use super::description::{DescriptionError, ModelDescription, Outputs, RawHeads};
use super::onnx::FourColumns;
use crate::postprocess::families::{FamilyDetector, FamilyHeads};
use crate::postprocess::{
    Detector, NmsMode, PassThroughDetector, PassThroughRules, PostprocessError, SsdDetector,
};

/// How a model's outputs become detections.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Ours to decode and to suppress.
    RawHeads {
        /// The heads, with thresholds and limits that may differ from the model file's.
        raw: RawHeads,
        /// The boxes that the box head is relative to.
        anchors: Vec<[f32; 4]>,
    },
    /// Detections that the graph made.
    Detections(PassThroughRules),
}

impl Reading {
    /// Asks for all that COCO's figures look at, whatever the model file cuts: scores from 0.01 on, and at least a hundred
    /// detections a picture. Two models that are compared by their detections need it: a short list says how its end
    /// was cut, not what was found.
    pub fn ask_for_all(&mut self) {
        const SCORE_MIN: f32 = 0.01;
        const DETECTIONS: u32 = 100;
        match self {
            Self::RawHeads { raw, .. } => {
                raw.nms.score_threshold = SCORE_MIN;
                raw.nms.max_detections = raw.nms.max_detections.max(DETECTIONS);
            }
            Self::Detections(rules) => rules.score_threshold = SCORE_MIN,
        }
    }

    /// As the model file says, for a graph with these constants.
    ///
    /// # Errors
    /// [`DescriptionError`] for anchors that cannot be had.
    pub fn new(
        description: &ModelDescription,
        constants: &FourColumns,
    ) -> Result<Self, DescriptionError> {
        Ok(match &description.outputs {
            Outputs::RawHeads(raw) => Self::RawHeads {
                anchors: raw.anchors.load(constants)?,
                raw: raw.clone(),
            },
            Outputs::Detections(own) => {
                Self::Detections(own.rules(&description.input.preprocessing))
            }
        })
    }

    /// The raw heads and their anchors, if the graph gives any.
    pub fn raw_heads(&self) -> Option<(&RawHeads, &[[f32; 4]])> {
        match self {
            Self::RawHeads { raw, anchors } => Some((raw, anchors)),
            Self::Detections(_) => None,
        }
    }

    /// A detector; `mode` is `None` where NMS is the graph's own, and only there.
    ///
    /// # Errors
    /// [`PostprocessError`] for settings that no run can mean.
    ///
    /// # Panics
    /// When there is a mode and no choice, or the other way round.
    pub fn detector(&self, mode: Option<NmsMode>) -> Result<Box<dyn Detector>, PostprocessError> {
        match (self, mode) {
            (Self::Detections(rules), None) => Ok(Box::new(PassThroughDetector::new(*rules)?)),
            (Self::RawHeads { raw, anchors }, Some(mode)) => of_heads(raw, anchors.clone(), mode),
            _ => panic!("{mode:?} is no way to read these outputs"),
        }
    }
}

fn of_heads(
    raw: &RawHeads,
    anchors: Vec<[f32; 4]>,
    mode: NmsMode,
) -> Result<Box<dyn Detector>, PostprocessError> {
    let heads = &raw.heads;
    let classes = heads.classes as usize;
    let Some(procedure) = raw.family.procedure() else {
        let (scales, nms, activation) = (raw.box_scales, raw.nms, heads.activation);
        let op = SsdDetector::new(
            mode,
            anchors,
            scales,
            nms,
            activation,
            classes,
            heads.background,
        )?;
        return Ok(Box::new(op));
    };
    let rules = raw.procedure.apply(procedure.rules());
    let told = FamilyHeads {
        anchors,
        scales: raw.box_scales,
        activation: heads.activation,
        classes,
        background: heads.background,
    };
    let detector = FamilyDetector::new(mode, procedure, rules, told, raw.nms)?;
    Ok(Box::new(detector))
}
