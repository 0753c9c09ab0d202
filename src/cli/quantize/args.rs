//! The flags of `detbench quantize`, and the recipe that they mean.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::detector_args::RuntimeArgs;
use crate::cli::failure::Failure;
use crate::quantise::weights::{LEVEL_MAX, LEVEL_MAX_REDUCED};
use crate::quantise::{
    BiasForm, FirstLayers, Granularity, Preset, RangeMethod, Recipe, CALIBRATION_SIZE, SEED,
};

const WHAT: &str = "What becomes integer, and how";

/// Quantise a float detector to int8 with calibration pictures
#[derive(Debug, Clone, Args)]
pub struct QuantizeArgs {
    /// A known model or an ONNX file, in float
    #[arg(value_name = "NAME|FILE.onnx")]
    pub model: String,
    /// The ONNX file to write; the model file FILE.toml is written beside it
    #[arg(short, long, value_name = "FILE.onnx")]
    pub output: PathBuf,
    /// Pictures to calibrate with; those that are not used show how near the int8 model is
    #[arg(long, value_name = "DIR")]
    pub calibration: PathBuf,
    /// How many of them calibrate
    #[arg(long, value_name = "N", default_value_t = CALIBRATION_SIZE, value_parser = parse_count)]
    pub calibration_size: usize,
    /// Which of them: the seed of the choice
    #[arg(long, value_name = "N", default_value_t = SEED)]
    pub seed: u32,
    /// The model file that describes an ONNX file
    #[arg(long, value_name = "NAME|FILE.toml")]
    pub model_config: Option<String>,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
    /// Print every tensor and every layer, and not only the worst
    #[arg(long)]
    pub details: bool,
    /// ONNX Runtime.
    #[command(flatten)]
    pub runtime: RuntimeArgs,

    /// Settings to start from; the flags below change single ones
    #[arg(long, value_enum, default_value_t = PresetArg::Default, help_heading = WHAT)]
    pub preset: PresetArg,
    /// How ranges of activations are chosen
    #[arg(long, value_enum, help_heading = WHAT)]
    pub ranges: Option<RangesArg>,
    /// Share of the elements that --ranges percentile keeps
    #[arg(long, value_name = "PERCENT", default_value_t = 99.99, value_parser = parse_percentile, help_heading = WHAT)]
    pub percentile: f64,
    /// Steps of weights
    #[arg(long, value_enum, help_heading = WHAT)]
    pub weights: Option<WeightsArg>,
    /// Levels of weights: 7 bits where the processor has no VNNI and sums of products could saturate
    #[arg(long, value_enum, default_value_t = BitsArg::Auto, help_heading = WHAT)]
    pub weight_bits: BitsArg,
    /// How biases are written
    #[arg(long, value_enum, help_heading = WHAT)]
    pub bias: Option<BiasArg>,
    /// Let biases make up for what rounding the weights takes from channel means
    #[arg(long, value_enum, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on", help_heading = WHAT)]
    pub bias_correction: Option<SwitchArg>,
    /// Equalise channel ranges of neighbouring layers first
    #[arg(long, value_enum, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on", help_heading = WHAT)]
    pub equalise: Option<SwitchArg>,
    /// What happens to the layers next to the image
    #[arg(long, value_enum, help_heading = WHAT)]
    pub first_layers: Option<FirstArg>,
    /// Let the int8 model take the picture's bytes
    #[arg(long, value_enum, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on", help_heading = WHAT)]
    pub u8_input: Option<SwitchArg>,
    /// Layers to keep in float, by name; * stands for any text, ? for one character
    #[arg(long, value_name = "NODE", num_args = 1.., help_heading = WHAT)]
    pub keep_fp32: Vec<String>,
    /// How weights are rounded
    #[arg(long, value_enum, default_value_t = RoundingArg::Nearest, help_heading = WHAT)]
    pub rounding: RoundingArg,
}

/// `--preset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PresetArg {
    /// Least squared error, bias correction, the first two layers in float: what measured best
    Default,
    /// AIMET's W8A8: minmax, one step for all weights of a layer, biases not quantised, inputs quantised
    Aimet,
    /// AIMET's TF-enhanced ranges with the model input in float
    AimetTfEnhanced,
    /// LPOT's: minmax, a step for each channel, everything integer
    Lpot,
    /// onnxruntime.quantization's static QDQ: minmax, a step for each channel, everything integer
    Ort,
    /// The default's, bytes in: the last few per cent of speed
    Fast,
}

/// `--ranges`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RangesArg {
    /// Everything that was seen
    Minmax,
    /// Tails are cut (see --percentile); trims class scores
    Percentile,
    /// Kullback-Leibler divergence; ruins networks that clip at 6
    Entropy,
    /// Least squared error
    Mse,
    /// Least squared error, where what is clipped counts three times
    TfEnhanced,
}

/// `--weights`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WeightsArg {
    /// For each output channel
    PerChannel,
    /// One for a layer
    PerTensor,
}

/// `--weight-bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BitsArg {
    /// 8 with VNNI, 7 without
    Auto,
    /// -63 to 63
    #[value(name = "7")]
    Seven,
    /// -127 to 127
    #[value(name = "8")]
    Eight,
}

/// `--bias`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BiasArg {
    /// 32-bit integers
    Int32,
    /// Floats, which ONNX Runtime turns into 32-bit integers itself
    Fp32,
}

/// `--first-layers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FirstArg {
    /// Integer as all others
    Int8,
    /// The first convolution in float
    ConvFp32,
    /// The first convolution and the depthwise one behind it in float
    BlockFp32,
}

/// A setting that presets turn on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SwitchArg {
    /// On
    On,
    /// Off
    Off,
}

/// `--rounding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoundingArg {
    /// To the nearest level
    Nearest,
    /// Learned (refused: it gains nothing with 8 bits)
    #[value(name = "adaround", hide = true)]
    AdaRound,
}

const ADAROUND: &str = "--rounding adaround is not offered: with 8 bits and a step for each channel, bias correction leaves \
    learned rounding little to gain, and keeping two layers in float gains as much for nothing, while learning takes from minutes to \
    hours; it is a method for 4 bits. Use --rounding nearest";

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("a number of pictures is a whole number above zero".to_owned()),
    }
}

fn parse_percentile(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 50.0 && share <= 100.0 => Ok(share),
        _ => Err("a percentile is above 50 and at most 100, such as 99.99".to_owned()),
    }
}

impl SwitchArg {
    const fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

impl QuantizeArgs {
    /// The preset with the single settings laid over it.
    ///
    /// # Errors
    /// Settings that contradict each other, or that are refused.
    pub fn recipe(&self, has_vnni: bool) -> Result<Recipe, Failure> {
        if self.rounding == RoundingArg::AdaRound {
            return Err(Failure::usage(ADAROUND));
        }
        let mut recipe = Recipe::of(match self.preset {
            PresetArg::Default => Preset::Default,
            PresetArg::Aimet => Preset::Aimet,
            PresetArg::AimetTfEnhanced => Preset::AimetTfEnhanced,
            PresetArg::Lpot => Preset::Lpot,
            PresetArg::Ort => Preset::Ort,
            PresetArg::Fast => Preset::Fast,
        });
        recipe.calibration_size = self.calibration_size;
        recipe.seed = self.seed;
        recipe.keep_fp32.clone_from(&self.keep_fp32);
        if let Some(ranges) = self.ranges {
            recipe.ranges = match ranges {
                RangesArg::Minmax => RangeMethod::Minmax,
                RangesArg::Percentile => RangeMethod::Percentile(self.percentile),
                RangesArg::Entropy => RangeMethod::Entropy,
                RangesArg::Mse => RangeMethod::Mse,
                RangesArg::TfEnhanced => RangeMethod::TfEnhanced,
            };
        }
        match self.weights {
            None => {}
            Some(WeightsArg::PerChannel) => recipe.weights = Granularity::PerChannel,
            Some(WeightsArg::PerTensor) => recipe.weights = Granularity::PerTensor,
        }
        let is_reduced = match self.weight_bits {
            BitsArg::Seven => true,
            BitsArg::Eight => false,
            BitsArg::Auto => !has_vnni,
        };
        recipe.weight_level_max = if is_reduced {
            LEVEL_MAX_REDUCED
        } else {
            LEVEL_MAX
        };
        let or = |switch: Option<SwitchArg>, preset: bool| switch.map_or(preset, SwitchArg::is_on);
        recipe.bias_correction = or(self.bias_correction, recipe.bias_correction);
        recipe.equalise = or(self.equalise, recipe.equalise);
        recipe.u8_input = or(self.u8_input, recipe.u8_input);
        let first = self.first_layers.map(|first| match first {
            FirstArg::Int8 => FirstLayers::Int8,
            FirstArg::ConvFp32 => FirstLayers::ConvFp32,
            FirstArg::BlockFp32 => FirstLayers::BlockFp32,
        });
        recipe.first_layers = first.unwrap_or(recipe.first_layers);
        match self.bias {
            None => {}
            Some(BiasArg::Int32) => recipe.bias = BiasForm::Int32,
            Some(BiasArg::Fp32) => recipe.bias = BiasForm::Fp32,
        }
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: QuantizeArgs,
    }

    fn recipe(flags: &str) -> Result<Recipe, String> {
        let line = format!("x m.onnx -o o.onnx --calibration d {flags}");
        let line =
            Line::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        line.args.recipe(true).map_err(|error| error.to_string())
    }

    #[test]
    fn single_flags_win_over_the_preset_and_leave_the_others() {
        assert_eq!(recipe("").unwrap(), Recipe::of(Preset::Default));
        let own = recipe("--preset ort --ranges mse --bias-correction --keep-fp32 a b").unwrap();
        assert_eq!(own.ranges, RangeMethod::Mse);
        assert!(own.bias_correction);
        assert_eq!(own.keep_fp32, ["a", "b"]);
        assert!(!recipe("--bias-correction=off").unwrap().bias_correction);
        let bytes = recipe("--u8-input --first-layers int8").unwrap();
        assert!(bytes.u8_input);
        assert_eq!(bytes.first_layers, FirstLayers::Int8);
        let fast = recipe("--preset fast").unwrap();
        assert_eq!(fast.first_layers, FirstLayers::BlockFp32);
        let percentile = recipe("--ranges percentile --percentile 99.9").unwrap();
        assert_eq!(percentile.ranges, RangeMethod::Percentile(99.9));
        assert_eq!(recipe("--weight-bits 7").unwrap().weight_level_max, 63);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        let error = recipe("--rounding adaround").unwrap_err();
        assert!(error.contains("4 bits"), "{error}");
        assert!(recipe("--percentile 20").is_err());
        assert!(recipe("--calibration-size 0").is_err());
    }
}
