//! `detbench nms`: the op on raw heads from a file, and the laboratory that compares its two modes.

mod answer;
mod drawing;
mod laboratory;
mod report;
mod source;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::detector_args::{ModelArgs, RuntimeArgs};
use super::failure::{Blame, Failure};
use super::run::args::NmsArg;
use crate::laboratory::{Overrides, Quantizations};
use crate::postprocess::tflite::{Quantization, Revision};

const OP: &str = "The op";
const LABORATORY: &str = "The laboratory: both modes on many pictures";

/// Run `TFLite_Detection_PostProcess` on raw heads, or compare its modes over many pictures
///
/// One .npz file is answered slot by slot. --model, a folder written by `run --save-raw`, --annotations, --sweep or
/// --draw starts the laboratory: what each mode finds, what that is worth, and what it costs. Only --model needs ONNX
/// Runtime.
#[derive(Debug, Clone, Args)]
pub struct NmsArgs {
    /// A .npz file with the arrays boxes `[N,4]` or `[B,N,4]`, scores `[N,C]` or `[B,N,C]` (probabilities) and
    /// anchors `[N,4]`; or a folder written by `run --save-raw`
    #[arg(long, value_name = "FILE.npz|DIR", required_unless_present_any = ["model", "model_config", "images"], conflicts_with_all = ["model", "model_config"])]
    pub input: Option<PathBuf>,
    /// Which model to run on the pictures of --images, instead of --input.
    #[command(flatten)]
    pub model: ModelArgs,
    /// ONNX Runtime.
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    /// One document of JSON on stdout and nothing else; a batch gives a list of results for each picture
    #[arg(long)]
    pub json: bool,

    /// Regular or fast NMS, or both
    #[arg(long, value_enum, default_value_t = NmsArg::Both, help_heading = OP)]
    pub nms: NmsArg,
    /// Options of the op by its own names, such as `nms_score_threshold=0.3 max_detections=100`; may be repeated.
    /// Without them those of MLPerf's SSD-MobileNet, and `num_classes` is the columns of the scores less one
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., help_heading = OP)]
    pub set: Vec<String>,
    /// What the bytes of u8 boxes mean: `(byte - ZERO_POINT) x SCALE`
    #[arg(long, value_name = "SCALE,ZERO_POINT", value_parser = parse_quantization, allow_hyphen_values = true, help_heading = OP)]
    pub quant_boxes: Option<Quantization>,
    /// What the bytes of u8 scores mean
    #[arg(long, value_name = "SCALE,ZERO_POINT", value_parser = parse_quantization, allow_hyphen_values = true, help_heading = OP)]
    pub quant_scores: Option<Quantization>,
    /// What the bytes of u8 anchors mean
    #[arg(long, value_name = "SCALE,ZERO_POINT", value_parser = parse_quantization, allow_hyphen_values = true, help_heading = OP)]
    pub quant_anchors: Option<Quantization>,
    /// Time so many calls for each picture and give the median in microseconds
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=10_000_000), help_heading = OP)]
    pub repeat: Option<u32>,
    /// Whose order of equal scores: r3 (`LiteRT` since December 2024) or r2 (before)
    #[arg(long, value_enum, default_value_t = RevisionArg::R3, help_heading = OP)]
    pub tflite_revision: RevisionArg,

    /// Ground truth of the pictures, COCO JSON
    #[arg(long, value_name = "FILE", help_heading = LABORATORY)]
    pub annotations: Option<PathBuf>,
    /// Compare the modes at several values of an option, such as `nms_score_threshold=0.01,0.05,0.3`
    #[arg(long, value_name = "KEY=V1,V2,…", help_heading = LABORATORY)]
    pub sweep: Option<String>,
    /// Draw the pictures on which the modes differ most, as PNG into this folder
    #[arg(long, value_name = "DIR", help_heading = LABORATORY)]
    pub draw: Option<PathBuf>,
    /// The folder of the pictures [default: where `run --save-raw` found them; with --model the photos that setup
    /// fetches]
    #[arg(long, value_name = "DIR", help_heading = LABORATORY)]
    pub images: Option<PathBuf>,
    /// How many pictures to list and draw
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = LABORATORY)]
    pub worst: usize,
    /// Resamples of the pictures for the intervals
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = LABORATORY)]
    pub resamples: u32,
    /// Seed of the resamples
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = LABORATORY)]
    pub seed: u64,
}

/// `--tflite-revision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RevisionArg {
    /// The higher class first.
    R2,
    /// The lower class first.
    R3,
}

impl From<RevisionArg> for Revision {
    fn from(argument: RevisionArg) -> Self {
        match argument {
            RevisionArg::R2 => Self::R2,
            RevisionArg::R3 => Self::R3,
        }
    }
}

impl NmsArgs {
    fn quantizations(&self) -> Quantizations {
        Quantizations {
            boxes: self.quant_boxes,
            scores: self.quant_scores,
            anchors: self.quant_anchors,
        }
    }

    /// The file that is answered slot by slot; `None` for the laboratory.
    fn single_file(&self) -> Option<&Path> {
        let input = self.input.as_deref()?;
        let is_laboratory = input.is_dir()
            || self.annotations.is_some()
            || self.sweep.is_some()
            || self.draw.is_some();
        (!is_laboratory).then_some(input)
    }
}

/// Runs the verb and writes its answer to `out`.
///
/// # Errors
/// [`Failure`] for flags, files and options that the op refuses (exit code 2).
pub fn run(args: &NmsArgs, out: &mut impl Write) -> Result<(), Failure> {
    let overrides = Overrides::parse(&args.set).or_usage()?;
    match args.single_file() {
        Some(input) => answer::run(args, input, &overrides, out),
        None => laboratory::run(args, &overrides, out),
    }
}

fn parse_quantization(text: &str) -> Result<Quantization, String> {
    let pair = text.split_once(',').and_then(|(scale, zero_point)| {
        let scale: f64 = scale.trim().parse().ok()?;
        let zero_point = zero_point.trim().parse().ok()?;
        scale.is_finite().then_some(Quantization {
            scale: scale as f32,
            zero_point,
        })
    });
    pair.ok_or_else(|| "give SCALE,ZERO_POINT, such as 0.00390625,128".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        nms: NmsArgs,
    }

    #[test]
    fn pictures_alone_are_enough_for_the_default_model_and_nothing_is_not() {
        assert!(Cli::try_parse_from(["nms", "--images", "DIR"]).is_ok());
        assert!(Cli::try_parse_from(["nms", "--model", "NAME"]).is_ok());
        assert!(Cli::try_parse_from(["nms", "--input", "heads.npz", "--images", "DIR"]).is_ok());
        assert!(Cli::try_parse_from(["nms"]).is_err());
        assert!(Cli::try_parse_from(["nms", "--input", "heads.npz", "--model", "NAME"]).is_err());
    }

    #[test]
    fn a_quantisation_is_a_scale_and_a_zero_point() {
        let quantization = parse_quantization("0.5,-3").unwrap();
        assert_eq!(
            (quantization.scale.to_bits(), quantization.zero_point),
            (0.5_f32.to_bits(), -3)
        );
        for text in ["", "0.5", "0.5,1.5", "nan,1", "x,1"] {
            assert!(parse_quantization(text).is_err(), "{text}");
        }
    }
}
