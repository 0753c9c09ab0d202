//! Steps 4 and 5 for a whole network: encodings of all tensors, integers of all layers.

use std::collections::BTreeMap;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::Serialize;

use super::bytes::ByteInput;
use super::calibrate::Observation;
use super::graph::{int_attribute, FloatTensor, Graph};
use super::plan::{Layer, Plan};
use super::ranges::{Encoding, RangeMethod};
use super::weights::{bias_correction, quantise_weights, saturating_channels, QuantisedWeights};
use super::{QuantiseError, Recipe};

/// A tensor's encoding and how it came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorReport {
    /// The tensor.
    pub name: String,
    /// Least element seen.
    pub min: f64,
    /// Greatest element seen.
    pub max: f64,
    /// Lower end of the range that was chosen.
    pub low: f64,
    /// Upper end of the range that was chosen.
    pub high: f64,
    /// Step.
    pub scale: f32,
    /// Level of zero.
    pub zero_point: u8,
    /// Share of elements that are clipped, on the calibration pictures.
    pub clipped_share: f64,
    /// Signal over quantisation noise; none where there is nothing but zeros.
    pub sqnr_db: Option<f64>,
}

/// A convolution's integers.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerConstants {
    /// Length of each axis of the weights.
    pub dims: Vec<usize>,
    /// The weights.
    pub weights: QuantisedWeights,
    /// The bias, corrected.
    pub bias: Vec<f64>,
    /// The step of the input.
    pub input_scale: f32,
}

/// A layer for the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerReport {
    /// The node.
    pub name: String,
    /// The tensor that it makes.
    pub output: String,
    /// Output channels.
    pub channels: usize,
    /// Channels whose weight step was raised so that the bias fits 32 bits.
    pub guarded_channels: usize,
    /// Channels that would saturate on a processor without VNNI.
    pub saturating_channels: usize,
    /// Greatest correction of the bias, in the tensor's units.
    pub bias_correction_max: f64,
}

/// Encodings and integers of a whole network.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// One for each of the plan's groups.
    pub encodings: Vec<Encoding>,
    /// One for each of the plan's layers.
    pub layers: Vec<LayerConstants>,
    /// All tensors that were observed.
    pub tensor_reports: Vec<TensorReport>,
    /// One for each of the plan's layers.
    pub layer_reports: Vec<LayerReport>,
}

/// The range of each observed tensor, by name.
pub type Ranges = BTreeMap<String, (f64, f64)>;

/// Chooses the range of each observed tensor.
pub fn ranges(observations: &BTreeMap<String, Observation>, method: RangeMethod) -> Ranges {
    observations
        .par_iter()
        .map(|(name, observed)| (name.clone(), method.range(&observed.histogram)))
        .collect()
}

/// Chooses all encodings and makes all integers.
///
/// # Errors
/// [`QuantiseError::DamagedConstant`].
///
/// # Panics
/// When a tensor that the plan needs was not observed.
pub fn encode(
    graph: &Graph,
    plan: &Plan,
    observations: &BTreeMap<String, Observation>,
    recipe: &Recipe,
    bytes: Option<&ByteInput>,
) -> Result<Encoded, QuantiseError> {
    let ranges = ranges(observations, recipe.ranges);
    encode_with(graph, plan, observations, &ranges, recipe, bytes)
}

/// As [`encode`], with ranges that were chosen before.
///
/// # Errors
/// [`QuantiseError::DamagedConstant`].
///
/// # Panics
/// When a tensor that the plan needs was not observed or has no range.
pub fn encode_with(
    graph: &Graph,
    plan: &Plan,
    observations: &BTreeMap<String, Observation>,
    ranges: &Ranges,
    recipe: &Recipe,
    bytes: Option<&ByteInput>,
) -> Result<Encoded, QuantiseError> {
    let own_ranges: BTreeMap<&str, RangeMethod> = plan
        .layers
        .iter()
        .filter_map(|layer| {
            let own = recipe.layers.get(&layer.name)?.ranges?;
            Some((layer.output.as_str(), own))
        })
        .collect();
    let mut tensor_reports = Vec::new();
    let mut encodings = Vec::with_capacity(plan.groups.len());
    for group in &plan.groups {
        let own = bytes.filter(|bytes| group.members.contains(&bytes.tensor));
        let mut whole = (0.0_f64, 0.0_f64);
        for source in &group.sources {
            let range = match source.fixed {
                Some(fixed) => fixed,
                None => match own_ranges.get(source.tensor.as_str()) {
                    Some(method) => method.range(&observations[&source.tensor].histogram),
                    None => ranges[&source.tensor],
                },
            };
            whole.0 = whole.0.min(range.0.max(source.bounds.0));
            whole.1 = whole.1.max(range.1.min(source.bounds.1));
        }
        let encoding = own.map_or_else(|| Encoding::of_range(whole), |bytes| bytes.encoding);
        for source in &group.sources {
            let observed = &observations[&source.tensor];
            tensor_reports.push(report(&source.tensor, observed, whole, encoding));
        }
        encodings.push(encoding);
    }
    let mut layers = Vec::with_capacity(plan.layers.len());
    let mut layer_reports = Vec::with_capacity(plan.layers.len());
    for layer in &plan.layers {
        let encoding = encodings[plan.group_of[&layer.input]];
        let (constants, report) = constants(graph, layer, encoding, observations, recipe, bytes)?;
        layers.push(constants);
        layer_reports.push(report);
    }
    Ok(Encoded {
        encodings,
        layers,
        tensor_reports,
        layer_reports,
    })
}

fn report(
    name: &str,
    observed: &Observation,
    range: (f64, f64),
    encoding: Encoding,
) -> TensorReport {
    let extreme = |values: &[f32], of: fn(f32, f32) -> f32, start: f32| {
        f64::from(values.iter().copied().fold(start, of))
    };
    TensorReport {
        name: name.to_owned(),
        min: extreme(&observed.extent.minima, f32::min, f32::INFINITY),
        max: extreme(&observed.extent.maxima, f32::max, f32::NEG_INFINITY),
        low: range.0,
        high: range.1,
        scale: encoding.scale,
        zero_point: encoding.zero_point,
        clipped_share: encoding.clipped_share(&observed.histogram),
        sqnr_db: encoding.sqnr_db(&observed.histogram),
    }
}

fn constants(
    graph: &Graph,
    layer: &Layer,
    input: Encoding,
    observations: &BTreeMap<String, Observation>,
    recipe: &Recipe,
    bytes: Option<&ByteInput>,
) -> Result<(LayerConstants, LayerReport), QuantiseError> {
    let node = &graph.nodes[layer.node];
    let float = |position: usize| -> Result<FloatTensor, QuantiseError> {
        Ok(graph
            .floats(&node.input[position])?
            .expect("a layer has f32 constants"))
    };
    let (weights, bias) = (float(1)?, float(2)?);
    let channels = weights.dims[0];
    let mut bias: Vec<f64> = bias.data.iter().map(|value| f64::from(*value)).collect();
    if let Some(bytes) = bytes.filter(|bytes| bytes.tensor == layer.input) {
        // What the bytes' encoding leaves out of every input element.
        let each = weights.data.len() / channels;
        for (bias, own) in bias.iter_mut().zip(weights.data.chunks_exact(each)) {
            *bias += bytes.shift * own.iter().map(|value| f64::from(*value)).sum::<f64>();
        }
    }
    let own = recipe.layers.get(&layer.name);
    let quantised = quantise_weights(
        &weights,
        &bias,
        input.scale,
        own.and_then(|own| own.weights).unwrap_or(recipe.weights),
        own.and_then(|own| own.weight_level_max)
            .unwrap_or(recipe.weight_level_max),
    );
    let mut greatest = 0.0_f64;
    if recipe.bias_correction {
        let groups = usize::try_from(int_attribute(node, "group", 1)).unwrap_or(1);
        let means = observations[&layer.input].extent.channel_means();
        if means.len() == weights.dims[1] * groups {
            let correction = bias_correction(&weights, &quantised, &means, groups);
            for (bias, correction) in bias.iter_mut().zip(correction) {
                greatest = greatest.max(correction.abs());
                *bias += correction;
            }
        }
    }
    let report = LayerReport {
        name: layer.name.clone(),
        output: layer.output.clone(),
        channels,
        guarded_channels: quantised.guarded,
        saturating_channels: saturating_channels(&quantised, channels),
        bias_correction_max: greatest,
    };
    let constants = LayerConstants {
        dims: weights.dims,
        weights: quantised,
        bias,
        input_scale: input.scale,
    };
    Ok((constants, report))
}
