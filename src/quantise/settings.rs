//! What a quantisation does: presets and single settings.

use std::collections::BTreeMap;

use serde::Serialize;

use super::RangeMethod;

/// How finely weights are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// A step for each output channel.
    PerChannel,
    /// One step.
    PerTensor,
}

/// What happens to the layers next to the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirstLayers {
    /// Integer as all others: the image is quantised.
    #[default]
    Int8,
    /// The first convolution in float: the image is not quantised.
    ConvFp32,
    /// The first convolution and the depthwise one behind it in float.
    BlockFp32,
}

/// How biases are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BiasForm {
    /// 32-bit integers.
    Int32,
    /// As they are; ONNX Runtime makes 32-bit integers of them where it makes integer kernels.
    Fp32,
}

/// Settings by a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Least squared error, bias correction, the first two layers in float: what measured best.
    Default,
    /// AIMET's W8A8: minmax, weights per tensor, bias not quantised, model inputs quantised.
    Aimet,
    /// AIMET's `tf_enhanced` with model inputs left in float.
    AimetTfEnhanced,
    /// LPOT's (Neural Compressor 1.x): minmax, weights per channel, everything integer.
    Lpot,
    /// `onnxruntime.quantization`'s static QDQ: minmax, weights per channel, everything integer.
    Ort,
    /// The default's, bytes in.
    Fast,
}

/// What one layer has other than the whole model.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct LayerRecipe {
    /// The range of what it makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranges: Option<RangeMethod>,
    /// Steps of its weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Granularity>,
    /// Greatest level of its weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_level_max: Option<i8>,
}

/// Everything that decides a quantised model besides the float model and the pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipe {
    /// What it started from.
    pub preset: Preset,
    /// Ranges of activations.
    pub ranges: RangeMethod,
    /// Steps of weights.
    pub weights: Granularity,
    /// Greatest level of a weight: 127, or 63 for processors without VNNI.
    pub weight_level_max: i8,
    /// Biases.
    pub bias: BiasForm,
    /// Whether biases make up for what rounding the weights takes from channel means.
    pub bias_correction: bool,
    /// Whether channel ranges of neighbouring layers are made equal first.
    pub equalise: bool,
    /// The first layers.
    pub first_layers: FirstLayers,
    /// Whether the quantised model takes bytes.
    pub u8_input: bool,
    /// Layers to keep in float, by name or pattern.
    pub keep_fp32: Vec<String>,
    /// Layers with settings of their own, by the names of the prepared network.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<String, LayerRecipe>,
    /// Calibration pictures asked for.
    pub calibration_size: usize,
    /// Which of the pictures they are.
    pub seed: u32,
}

/// Calibration pictures unless something else is asked for: 8 were enough in experiments, 80 no better.
pub const CALIBRATION_SIZE: usize = 32;
/// The seed unless another is given: LPOT's.
pub const SEED: u32 = 1978;

impl Recipe {
    /// A preset's settings.
    pub fn of(preset: Preset) -> Self {
        let (ranges, corrected) = match preset {
            Preset::Default | Preset::Fast => (RangeMethod::Mse, true),
            Preset::AimetTfEnhanced => (RangeMethod::TfEnhanced, false),
            Preset::Aimet | Preset::Lpot | Preset::Ort => (RangeMethod::Minmax, false),
        };
        let is_aimet = matches!(preset, Preset::Aimet | Preset::AimetTfEnhanced);
        Self {
            preset,
            ranges,
            weights: if is_aimet {
                Granularity::PerTensor
            } else {
                Granularity::PerChannel
            },
            weight_level_max: super::weights::LEVEL_MAX,
            bias: if is_aimet {
                BiasForm::Fp32
            } else {
                BiasForm::Int32
            },
            bias_correction: corrected,
            equalise: false,
            first_layers: match preset {
                Preset::Default | Preset::Fast => FirstLayers::BlockFp32,
                Preset::AimetTfEnhanced => FirstLayers::ConvFp32,
                Preset::Aimet | Preset::Lpot | Preset::Ort => FirstLayers::Int8,
            },
            u8_input: preset == Preset::Fast,
            keep_fp32: Vec::new(),
            layers: BTreeMap::new(),
            calibration_size: CALIBRATION_SIZE,
            seed: SEED,
        }
    }
}
