//! What a model gives: raw heads and how they become detections, or detections.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::DescriptionError;
use crate::library::preprocessing::Preprocessing;
use crate::model::anchors::AnchorSpec;
use crate::model::npy;
use crate::model::onnx::FourColumns;
use crate::postprocess::families::RuleOverrides;
use crate::postprocess::{
    Activation, BoxScales, CornerOrder, NmsSettings, PassThroughRules, Procedure,
};

/// What a model gives.
#[derive(Debug, Clone, PartialEq)]
pub enum Outputs {
    /// Encoded boxes and scores of every anchor: post-processing is ours.
    RawHeads(RawHeads),
    /// Detections: post-processing is inside the graph.
    Detections(DetectionOutputs),
}

impl Outputs {
    /// The raw heads, if these are any.
    pub const fn raw_heads(&self) -> Option<&RawHeads> {
        match self {
            Self::RawHeads(heads) => Some(heads),
            Self::Detections(_) => None,
        }
    }

    /// Names of the tensors, in the order in which detectors take them.
    pub fn tensor_names(&self) -> Vec<String> {
        match self {
            Self::RawHeads(raw) => vec![raw.heads.boxes.clone(), raw.heads.scores.clone()],
            Self::Detections(own) => [&own.boxes, &own.classes, &own.scores]
                .into_iter()
                .chain(&own.count)
                .cloned()
                .collect(),
        }
    }
}

/// Raw heads and everything that makes detections of them.
#[derive(Debug, Clone, PartialEq)]
pub struct RawHeads {
    /// Which post-processing they need.
    pub family: Family,
    /// The tensors.
    pub heads: Heads,
    /// The boxes that the box head is relative to.
    pub anchors: Anchors,
    /// Divisors of the box head.
    pub box_scales: BoxScales,
    /// Thresholds and limits unless the user says otherwise.
    pub nms: NmsSettings,
    /// What differs from the published procedure of the family; empty for `tflite-ssd`.
    pub procedure: RuleOverrides,
}

/// Which post-processing raw heads need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// `TFLite_Detection_PostProcess`: boxes (ty, tx, th, tw), scores for each anchor and class.
    TfliteSsd,
    /// TF Object Detection API, as inside its graphs of 2018 (SSD-MobileNet, SSD-ResNet50-FPN).
    TfodSsd,
    /// `MLPerf`'s PyTorch port of SSD-MobileNet.
    MlperfTorchSsd,
    /// `MLPerf`'s SSD-ResNet34: boxes (tx, ty, tw, th).
    MlperfSsdResnet34,
    /// pytorch-ssd, such as MobileNetV2-SSD-Lite: boxes (tx, ty, tw, th).
    PytorchSsd,
    /// `HiKapok`'s SSD-VGG16.
    HikapokSsd,
}

impl Family {
    /// Its name in model files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TfliteSsd => "tflite-ssd",
            Self::TfodSsd => "tfod-ssd",
            Self::MlperfTorchSsd => "mlperf-torch-ssd",
            Self::MlperfSsdResnet34 => "mlperf-ssd-resnet34",
            Self::PytorchSsd => "pytorch-ssd",
            Self::HikapokSsd => "hikapok-ssd",
        }
    }

    /// The procedure of a family that is not the op's.
    pub const fn procedure(self) -> Option<Procedure> {
        match self {
            Self::TfliteSsd => None,
            Self::TfodSsd => Some(Procedure::TfodSsd),
            Self::MlperfTorchSsd => Some(Procedure::MlperfTorchSsd),
            Self::MlperfSsdResnet34 => Some(Procedure::MlperfSsdResnet34),
            Self::PytorchSsd => Some(Procedure::PytorchSsd),
            Self::HikapokSsd => Some(Procedure::HikapokSsd),
        }
    }
}

/// The tensors of a graph that ends in detections, and what their numbers mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectionOutputs {
    /// Name of the boxes: f32 `[batch, slots, 4]`, or `[slots, 4]` of a graph for one picture.
    pub boxes: String,
    /// Name of the class ids: f32 or i64, one for each slot.
    pub classes: String,
    /// Name of the scores: f32, one for each slot.
    pub scores: String,
    /// Name of the number of used slots; absent when every slot is a detection or has score zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<String>,
    /// The order of a box's numbers.
    pub corners: CornerOrder,
    /// What they count.
    pub unit: BoxUnit,
    /// The id by which the graph knows the first class: 1 where it counts a background.
    pub first_class: u32,
    /// Least score of a detection unless the user says otherwise; the graph has one of its own.
    #[serde(default)]
    pub score_threshold: f32,
}

/// What the numbers of a box count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoxUnit {
    /// Shares of the picture.
    Share,
    /// Pixels of the input tensor.
    Pixel,
}

impl DetectionOutputs {
    /// How the outputs are read, for a model that takes pictures by `preprocessing`.
    pub fn rules(&self, preprocessing: &Preprocessing) -> PassThroughRules {
        PassThroughRules {
            corners: self.corners,
            box_unit: match self.unit {
                BoxUnit::Share => [1.0; 2],
                BoxUnit::Pixel => [preprocessing.height as f32, preprocessing.width as f32],
            },
            first_class: self.first_class,
            score_threshold: self.score_threshold,
            has_count: self.count.is_some(),
        }
    }
}

/// The tensors of raw heads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heads {
    /// Name of the boxes: f32 `[batch, anchors, 4]`.
    pub boxes: String,
    /// Name of the scores: f32 `[batch, anchors, classes]`, one more with background.
    pub scores: String,
    /// What turns the scores into probabilities.
    pub activation: Activation,
    /// How many classes, background left out.
    pub classes: u32,
    /// Whether the first column of the scores is background.
    pub background: bool,
}

impl Heads {
    /// Columns of the score head.
    pub fn score_columns(&self) -> u32 {
        self.classes.saturating_add(u32::from(self.background))
    }
}

/// Where the anchors come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AnchorKeys", into = "AnchorKeys")]
pub enum Anchors {
    /// Computed.
    Generated(AnchorSpec),
    /// Read from a .npy file of f32 `[anchors, 4]` (`y_center`, `x_center`, `height`, `width`); a
    /// relative path counts from the model file's folder.
    File(PathBuf),
    /// A constant of the graph, f32 `[anchors, 4]` in that order.
    Tensor(String),
}

/// Graphs that keep their anchors mostly call them so; they are preferred to what the model file says, because
/// generators differ in the last digits.
pub const ANCHOR_TENSOR: &str = "anchors";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorKeys {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generator: Option<AnchorSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tensor: Option<String>,
}

impl TryFrom<AnchorKeys> for Anchors {
    type Error = &'static str;

    fn try_from(keys: AnchorKeys) -> Result<Self, Self::Error> {
        match (keys.generator, keys.file, keys.tensor) {
            (Some(spec), None, None) => Ok(Self::Generated(spec)),
            (None, Some(file), None) => Ok(Self::File(file)),
            (None, None, Some(tensor)) => Ok(Self::Tensor(tensor)),
            _ => Err("give one of `generator`, `file` and `tensor`"),
        }
    }
}

impl From<Anchors> for AnchorKeys {
    fn from(anchors: Anchors) -> Self {
        let mut keys = Self {
            generator: None,
            file: None,
            tensor: None,
        };
        match anchors {
            Anchors::Generated(spec) => keys.generator = Some(spec),
            Anchors::File(file) => keys.file = Some(file),
            Anchors::Tensor(tensor) => keys.tensor = Some(tensor),
        }
        keys
    }
}

impl Anchors {
    /// The anchors as (`y_center`, `x_center`, `height`, `width`), for a graph with these constants.
    ///
    /// # Errors
    /// [`DescriptionError`]: a file that cannot be read, a constant that the graph does not have.
    pub fn load(&self, constants: &FourColumns) -> Result<Vec<[f32; 4]>, DescriptionError> {
        if let (Some(stored), false) = (
            constants.get(ANCHOR_TENSOR),
            matches!(self, Self::Tensor(_)),
        ) {
            return Ok(stored.clone());
        }
        match self {
            Self::Generated(spec) => Ok(spec.generate()),
            Self::File(path) => {
                let bytes = std::fs::read(path).map_err(|source| DescriptionError::Read {
                    path: path.clone(),
                    source,
                })?;
                npy::read_rows(&bytes).map_err(|source| DescriptionError::AnchorFile {
                    path: path.clone(),
                    source,
                })
            }
            Self::Tensor(name) => {
                let found = constants.get(name).cloned();
                found.ok_or_else(|| DescriptionError::AnchorTensor { name: name.clone() })
            }
        }
    }
}
