//! Cross-layer equalisation, the exact kind: neighbouring layers share out their channel ranges, and what the network
//! computes stays the same on the calibration pictures.
//!
//! A channel between two convolutions is divided by `s` in the first and multiplied by `s` in the second, with
//! `s = sqrt(r1 / r2)` from the greatest weights on both sides. Through a `Relu` that is exact. Through a clip at 6 it is
//! exact for channels that do not reach 6 before or after, and only those are scaled: replacing the clip by a `Relu`, as
//! AIMET does, costs a network of clips more than half of its accuracy.
//!
//! Channels that are always above zero then give what they always have (their least value) to the next layer's bias,
//! where that layer pads nothing.
//!
//! It serves weights with one step for all channels; with a step for each channel it has nothing left to do.

use std::collections::BTreeMap;

use serde::Serialize;

use super::graph::{attribute, int_attribute, is_op, FloatTensor, Graph};
use super::plan::bounds;
use super::statistics::Extent;
use super::QuantiseError;

/// Two convolutions with one tensor between them that nobody else reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    first: usize,
    second: usize,
    /// The tensor between, after its activation.
    pub tensor: String,
    bounds: (f64, f64),
}

/// What was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Equalisation {
    /// Pairs of layers that were looked at.
    pub pairs: usize,
    /// Channels that were scaled.
    pub scaled_channels: usize,
    /// Channels whose least value went into the next bias.
    pub absorbed_channels: usize,
}

/// Rounds over all pairs; a depthwise layer stands in two of them, so one round is not enough.
const ROUNDS: usize = 4;

/// Finds all pairs of a prepared graph.
pub fn pairs(graph: &Graph) -> Vec<Pair> {
    let readers = graph.readers();
    let only = |tensor: &str| match readers.get(tensor).map(Vec::as_slice) {
        Some(&[reader]) if !graph.is_pinned(tensor) => Some(reader),
        _ => None,
    };
    let mut found = Vec::new();
    for (first, node) in graph.nodes.iter().enumerate() {
        if !is_scalable(graph, first) {
            continue;
        }
        let mut tensor = &node.output[0];
        let Some(mut next) = only(tensor) else {
            continue;
        };
        let mut limits = (f64::NEG_INFINITY, f64::INFINITY);
        if let Some(own) = bounds(graph, &graph.nodes[next]) {
            limits = own;
            tensor = &graph.nodes[next].output[0];
            match only(tensor) {
                Some(reader) => next = reader,
                None => continue,
            }
        }
        let passes_scaling = limits.0 == 0.0 || limits.0 == f64::NEG_INFINITY;
        if passes_scaling && is_scalable(graph, next) && graph.nodes[next].input[0] == *tensor {
            found.push(Pair {
                first,
                second: next,
                tensor: tensor.clone(),
                bounds: limits,
            });
        }
    }
    found
}

/// Convolutions with constants, plain or depthwise.
fn is_scalable(graph: &Graph, index: usize) -> bool {
    let node = &graph.nodes[index];
    let constants = [1, 2].map(|at| {
        node.input
            .get(at)
            .is_some_and(|name| graph.is_constant(name))
    });
    let dims = node.input.get(1).and_then(|name| graph.dims(name));
    let groups = int_attribute(node, "group", 1);
    let is_plain = groups == 1;
    let is_depthwise = dims.is_some_and(|dims| {
        dims.len() == 4 && dims[1] == 1 && i64::try_from(dims[0]) == Ok(groups)
    });
    is_op(node, "Conv") && constants == [true, true] && (is_plain || is_depthwise)
}

/// Weights and bias while they are scaled.
struct Layer {
    weights: FloatTensor,
    bias: Vec<f32>,
    is_depthwise: bool,
    pads: bool,
}

impl Layer {
    fn read(graph: &Graph, index: usize) -> Result<Self, QuantiseError> {
        let node = &graph.nodes[index];
        let constant = |at: usize| -> Result<FloatTensor, QuantiseError> {
            graph
                .floats(&node.input[at])?
                .ok_or_else(|| QuantiseError::DamagedConstant {
                    name: node.input[at].clone(),
                })
        };
        let automatic = attribute(node, "auto_pad").is_some_and(|one| one.s.starts_with(b"SAME"));
        let pads = attribute(node, "pads").is_some_and(|one| one.ints.iter().any(|pad| *pad != 0));
        Ok(Self {
            weights: constant(1)?,
            bias: constant(2)?.data,
            is_depthwise: int_attribute(node, "group", 1) > 1,
            pads: pads || automatic,
        })
    }

    /// The elements that make an output channel.
    fn output(&mut self, channel: usize) -> &mut [f32] {
        let each = self.weights.data.len() / self.weights.dims[0];
        &mut self.weights.data[channel * each..(channel + 1) * each]
    }

    /// The elements that read an input channel, each with its output channel.
    fn input(&mut self, channel: usize) -> impl Iterator<Item = (usize, &mut f32)> {
        let kernel = self.weights.dims[2..].iter().product::<usize>();
        let row_length = self.weights.dims[1] * kernel;
        let is_depthwise = self.is_depthwise;
        let rows = self.weights.data.chunks_exact_mut(row_length.max(1));
        rows.enumerate().flat_map(move |(output, row)| {
            let own = match is_depthwise {
                true if output == channel => 0..row_length,
                true => 0..0,
                false => channel * kernel..(channel + 1) * kernel,
            };
            row[own].iter_mut().map(move |value| (output, value))
        })
    }
}

/// Scales and absorbs. `extents` holds each pair's tensor, as the graph makes it now.
///
/// # Errors
/// [`QuantiseError::DamagedConstant`].
pub fn equalise(
    graph: &mut Graph,
    pairs: &[Pair],
    extents: &BTreeMap<String, Extent>,
) -> Result<Equalisation, QuantiseError> {
    let mut layers: BTreeMap<usize, Layer> = BTreeMap::new();
    for index in pairs.iter().flat_map(|pair| [pair.first, pair.second]) {
        layers.insert(index, Layer::read(graph, index)?);
    }
    let mut seen: BTreeMap<&str, (Vec<f32>, Vec<f32>)> = BTreeMap::new();
    for pair in pairs {
        let extent = &extents[&pair.tensor];
        let both = (extent.channel_minima.clone(), extent.channel_maxima.clone());
        seen.insert(&pair.tensor, both);
    }
    let mut done = Equalisation {
        pairs: pairs.len(),
        ..Equalisation::default()
    };
    for round in 0..ROUNDS {
        for pair in pairs {
            let first = layers.remove(&pair.first).expect("read above");
            let second = layers.remove(&pair.second).expect("read above");
            let mut between = Between {
                first,
                second,
                bounds: pair.bounds,
                seen: seen.get_mut(pair.tensor.as_str()).expect("put there above"),
            };
            let scaled = between.scale();
            if round == 0 {
                done.scaled_channels += scaled;
            }
            if round + 1 == ROUNDS {
                done.absorbed_channels += between.absorb();
            }
            layers.insert(pair.first, between.first);
            layers.insert(pair.second, between.second);
        }
    }
    for (index, layer) in layers {
        let stem = format!("{}/equalised", graph.nodes[index].name);
        let weights = graph.add_floats(
            &format!("{stem}/weights"),
            &layer.weights.dims,
            &layer.weights.data,
        );
        let bias = graph.add_floats(&format!("{stem}/bias"), &[layer.bias.len()], &layer.bias);
        graph.nodes[index].input[1] = weights;
        graph.nodes[index].input[2] = bias;
    }
    Ok(done)
}

/// A pair at work.
struct Between<'a> {
    first: Layer,
    second: Layer,
    bounds: (f64, f64),
    /// Least and greatest element of each channel between.
    seen: &'a mut (Vec<f32>, Vec<f32>),
}

impl Between<'_> {
    /// Whether the clip touches a channel.
    fn is_clipped(&self, channel: usize) -> bool {
        f64::from(self.seen.1[channel]) >= self.bounds.1
    }

    fn scale(&mut self) -> usize {
        let channels = self.first.bias.len().min(self.seen.1.len());
        let mut scaled = 0;
        for channel in 0..channels {
            let greatest = |values: &mut dyn Iterator<Item = f32>| {
                values.fold(0.0_f32, |most, value| most.max(value.abs()))
            };
            let r1 = greatest(&mut self.first.output(channel).iter().copied());
            let r2 = greatest(&mut self.second.input(channel).map(|(_, value)| *value));
            if r1 <= 0.0 || r2 <= 0.0 || self.is_clipped(channel) {
                continue;
            }
            let mut by = (r1 / r2).sqrt();
            if self.bounds.1.is_finite() {
                by = by.max(self.seen.1[channel] / self.bounds.1 as f32);
            }
            if !by.is_normal() || (by - 1.0).abs() < 1e-6 {
                continue;
            }
            self.first
                .output(channel)
                .iter_mut()
                .for_each(|value| *value /= by);
            self.first.bias[channel] /= by;
            self.second
                .input(channel)
                .for_each(|(_, value)| *value *= by);
            self.seen.0[channel] /= by;
            self.seen.1[channel] /= by;
            scaled += 1;
        }
        scaled
    }

    fn absorb(&mut self) -> usize {
        if self.second.pads {
            return 0;
        }
        let channels = self.first.bias.len().min(self.seen.0.len());
        let mut absorbed = 0;
        for channel in 0..channels {
            let least = self.seen.0[channel];
            if least <= 0.0 || self.is_clipped(channel) {
                continue;
            }
            self.first.bias[channel] -= least;
            let mut added: BTreeMap<usize, f32> = BTreeMap::new();
            for (output, value) in self.second.input(channel) {
                *added.entry(output).or_default() += *value * least;
            }
            for (output, value) in added {
                self.second.bias[output] += value;
            }
            self.seen.0[channel] = 0.0;
            self.seen.1[channel] -= least;
            absorbed += 1;
        }
        absorbed
    }
}
