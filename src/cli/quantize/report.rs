//! What `detbench quantize` says: one JSON document, or text.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::evaluation::Nearness;
use crate::quantise::encode::{LayerReport, TensorReport};
use crate::quantise::equalise::Equalisation;
use crate::quantise::fusion::Fusion;
use crate::quantise::plan::Kept;
use crate::quantise::Recipe;

/// Tensors and layers that the text names unless all are asked for.
const SHOWN: usize = 8;

/// Sizes of both files.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sizes {
    /// The float file.
    pub fp32: u64,
    /// The quantised file.
    pub int8: u64,
}

/// Whether sums of products saturate where the processor has no VNNI.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Saturation {
    /// Whether this processor has VNNI; `None` where the question does not arise.
    pub vnni_here: Option<bool>,
    /// Layers with at least one channel that can saturate.
    pub layers_at_risk: usize,
    /// Channels that can saturate.
    pub channels_at_risk: usize,
    /// All output channels of integer layers.
    pub channels: usize,
}

/// What was done.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of this document's form.
    pub schema_version: u32,
    /// The float model.
    pub model: PathBuf,
    /// The quantised file.
    pub output: PathBuf,
    /// All settings.
    pub recipe: Recipe,
    /// Calibration pictures used.
    pub calibration_pictures: usize,
    /// Convolutions on bytes.
    pub layers_int8: usize,
    /// Convolutions and products in float.
    pub layers_fp32: usize,
    /// Difference of class probabilities.
    pub dp: Option<f64>,
    /// Agreement of detections.
    pub agreement: Option<f64>,
    /// Pictures on which `dp` and `agreement` were taken; none of them calibrated.
    pub compared_pictures: usize,
    /// Sizes of both files.
    pub size_bytes: Sizes,
    /// The whole command but for the comparison.
    pub seconds: f64,
    /// What was folded before.
    pub folded: std::collections::BTreeMap<&'static str, usize>,
    /// What equalisation did, where it was asked for.
    pub equalisation: Option<Equalisation>,
    /// What ONNX Runtime makes of the file.
    pub fusion: Fusion,
    /// What stays in float, and why.
    pub kept_fp32: Vec<Kept>,
    /// Without VNNI.
    pub saturation: Saturation,
    /// Integer layers.
    pub layers: Vec<LayerReport>,
    /// Quantised tensors.
    pub tensors: Vec<TensorReport>,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Report {
    /// Puts in what the comparison found.
    pub fn compared(&mut self, nearness: Nearness) {
        self.dp = nearness.dp;
        self.agreement = nearness.agreement;
        self.compared_pictures = nearness.pictures;
    }

    /// The text for people.
    pub fn text(&self, details: bool) -> String {
        let mut out = String::new();
        self.write(&mut out, details)
            .expect("a string takes everything");
        out
    }

    fn write(&self, out: &mut String, details: bool) -> std::fmt::Result {
        let recipe = &self.recipe;
        writeln!(out, "model        {}", self.model.display())?;
        writeln!(
            out,
            "recipe       ranges {}, weights {}, bias {}{}{}{}",
            recipe.ranges.name(),
            word(&recipe.weights),
            word(&recipe.bias),
            if recipe.bias_correction {
                " corrected"
            } else {
                ""
            },
            if recipe.equalise { ", equalised" } else { "" },
            if recipe.u8_input { ", bytes in" } else { "" },
        )?;
        writeln!(
            out,
            "calibrated   on {} pictures, seed {}",
            self.calibration_pictures, recipe.seed
        )?;
        let folded: Vec<String> = self
            .folded
            .iter()
            .map(|(rule, count)| format!("{count} {rule}"))
            .collect();
        if !folded.is_empty() {
            writeln!(out, "folded       {}", folded.join(", "))?;
        }
        if let Some(done) = self.equalisation {
            writeln!(
                out,
                "equalised    {} channels of {} pairs of layers, {} absorbed",
                done.scaled_channels, done.pairs, done.absorbed_channels
            )?;
        }
        writeln!(
            out,
            "layers       {} int8, {} fp32",
            self.layers_int8, self.layers_fp32
        )?;
        for kept in &self.kept_fp32 {
            writeln!(
                out,
                "  fp32       {} ({}): {}",
                kept.name, kept.operator, kept.reason
            )?;
        }
        let fusion = &self.fusion;
        writeln!(
            out,
            "ONNX Runtime {} integer convolutions and {} integer sums; {} convolutions in float, {} QuantizeLinear, {} DequantizeLinear",
            fusion.integer_convolutions,
            fusion.integer_sums,
            fusion.float_convolutions,
            fusion.quantise_nodes,
            fusion.dequantise_nodes
        )?;
        self.write_tensors(out, details)?;
        self.write_saturation(out)?;
        let ratio = self.size_bytes.fp32 as f64 / self.size_bytes.int8.max(1) as f64;
        writeln!(
            out,
            "size         {:.1} -> {:.1} MB ({ratio:.1}x smaller)",
            megabytes(self.size_bytes.fp32),
            megabytes(self.size_bytes.int8)
        )?;
        if self.compared_pictures == 0 {
            writeln!(out, "compared     not at all: no pictures were left")?;
        } else {
            let number =
                |value: Option<f64>| value.map_or("none".to_owned(), |value| format!("{value:.4}"));
            writeln!(
                out,
                "compared     dp {} (0 is equal), agreement {} (1 is equal), on {} pictures that did not calibrate",
                number(self.dp),
                number(self.agreement),
                self.compared_pictures
            )?;
        }
        for note in &self.notes {
            writeln!(out, "note         {note}")?;
        }
        writeln!(
            out,
            "took         {:.1} s without the comparison",
            self.seconds
        )?;
        writeln!(out, "wrote        {}", self.output.display())?;
        writeln!(
            out,
            "wrote        {}",
            self.output.with_extension("toml").display()
        )
    }

    fn write_tensors(&self, out: &mut String, details: bool) -> std::fmt::Result {
        let mut shown: Vec<&TensorReport> = self.tensors.iter().collect();
        let count = if details {
            shown.len()
        } else {
            SHOWN.min(shown.len())
        };
        if !details {
            let noise = |tensor: &TensorReport| tensor.sqnr_db.unwrap_or(f64::INFINITY);
            shown.sort_by(|a, b| noise(a).total_cmp(&noise(b)));
        }
        let title = if details {
            "tensors     "
        } else {
            "noisiest    "
        };
        writeln!(
            out,
            "{title} {count} of {}: range seen -> range kept, scale, zero point, clipped, SQNR",
            shown.len()
        )?;
        for tensor in &shown[..count] {
            let noise = tensor
                .sqnr_db
                .map_or("-".to_owned(), |own| format!("{own:.1} dB"));
            writeln!(
                out,
                "  [{:.4}, {:.4}] -> [{:.4}, {:.4}]  {:.6e}  {:>3}  {:.3} %  {noise}  {}",
                tensor.min,
                tensor.max,
                tensor.low,
                tensor.high,
                tensor.scale,
                tensor.zero_point,
                tensor.clipped_share * 100.0,
                tensor.name
            )?;
        }
        if !details {
            return Ok(());
        }
        writeln!(out, "layers       output channels, guarded, saturating without VNNI, greatest bias correction")?;
        for layer in &self.layers {
            writeln!(
                out,
                "  {:>5} {:>4} {:>5}  {:.3e}  {}",
                layer.channels,
                layer.guarded_channels,
                layer.saturating_channels,
                layer.bias_correction_max,
                layer.name
            )?;
        }
        Ok(())
    }

    fn write_saturation(&self, out: &mut String) -> std::fmt::Result {
        let own = &self.saturation;
        let here = match own.vnni_here {
            Some(true) => "this processor has VNNI, where nothing saturates",
            Some(false) => "THIS PROCESSOR HAS NONE",
            None => "not an x86 processor, where nothing saturates",
        };
        if own.channels_at_risk == 0 {
            writeln!(out, "saturation   none on any processor")
        } else {
            writeln!(
                out,
                "saturation   {} of {} channels in {} layers can saturate on x86 processors without VNNI (--weight-bits 7 prevents it); {here}",
                own.channels_at_risk, own.channels, own.layers_at_risk
            )
        }
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A setting's name as the files write it.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
