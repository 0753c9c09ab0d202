//! Step 1: a float network -> an equal one in which every convolution holds all that is constant around it.
//!
//! Encodings belong to tensors that exist when the network runs. ONNX Runtime folds most of this when it loads a
//! model, but after the ranges were taken it would be too late, and some of it (a constant behind a residual sum) it
//! does not fold at all: each such sum would be requantised twice.
//!
//! Computed in f64, stored in f32.

use std::collections::BTreeMap;

use super::entrance::widen;
use super::graph::{attribute, is_op, FloatTensor, Graph};
use super::QuantiseError;
use crate::model::onnx::proto::{AttributeProto, NodeProto};

/// What was folded, and under which names the folded nodes live on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preparation {
    /// How often each rule was applied.
    pub folded: BTreeMap<&'static str, usize>,
    /// Every name of a node of the original file -> the node that does its work now.
    pub survivors: BTreeMap<String, String>,
}

impl Preparation {
    fn count(&mut self, rule: &'static str) {
        *self.folded.entry(rule).or_default() += 1;
    }
}

/// Folds until nothing changes.
///
/// # Errors
/// [`QuantiseError::DamagedConstant`].
pub fn prepare(graph: &mut Graph) -> Result<Preparation, QuantiseError> {
    let mut done = Preparation::default();
    name_nodes(graph);
    let original: Vec<String> = graph.nodes.iter().map(|node| node.name.clone()).collect();
    let mut heirs: BTreeMap<String, String> = BTreeMap::new();
    lift_constants(graph, &mut done);
    for _ in 0..widen(graph) {
        done.count("DequantizeLinear of the input into Cast, Sub and Mul");
    }
    drop_identities(graph, &mut done);
    fold_pads(graph, &mut done, &mut heirs);
    fold_into_convolutions(graph, &mut done, &mut heirs)?;
    add_biases(graph)?;
    let present: Vec<&str> = graph.nodes.iter().map(|node| node.name.as_str()).collect();
    for name in original {
        let mut last = name.clone();
        while let Some(heir) = heirs.get(&last) {
            last.clone_from(heir);
        }
        if present.contains(&last.as_str()) {
            done.survivors.insert(name, last);
        }
    }
    Ok(done)
}

/// Every node gets a name of its own, for reports and `--keep-fp32`.
fn name_nodes(graph: &mut Graph) {
    let mut seen = std::collections::BTreeSet::new();
    for index in 0..graph.nodes.len() {
        let own = graph.nodes[index].name.clone();
        if own.is_empty() || !seen.insert(own) {
            let stem = graph.nodes[index].output.first().cloned();
            let name = graph.fresh_name(&format!("{}/node", stem.unwrap_or_default()));
            seen.insert(name.clone());
            graph.nodes[index].name = name;
        }
    }
}

/// `Constant` nodes become constants of the graph.
fn lift_constants(graph: &mut Graph, done: &mut Preparation) {
    let nodes = std::mem::take(&mut graph.nodes);
    for node in nodes {
        let tensor = attribute(&node, "value").and_then(|one| one.t.clone());
        match (tensor, node.output.first()) {
            (Some(mut tensor), Some(output))
                if is_op(&node, "Constant") && !graph.is_pinned(output) =>
            {
                tensor.name.clone_from(output);
                graph.put_constant(tensor);
                done.count("Constant node");
            }
            _ => graph.nodes.push(node),
        }
    }
}

/// Nodes that pass their input on.
fn drop_identities(graph: &mut Graph, done: &mut Preparation) {
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    let nodes = std::mem::take(&mut graph.nodes);
    for mut node in nodes {
        for input in &mut node.input {
            if let Some(source) = sources.get(input) {
                input.clone_from(source);
            }
        }
        let passes =
            is_op(&node, "Identity") || (is_op(&node, "Dropout") && node.output.len() == 1);
        match (node.input.first(), node.output.first()) {
            (Some(input), Some(output)) if passes && !graph.is_pinned(output) => {
                sources.insert(output.clone(), input.clone());
                done.count("Identity");
            }
            _ => graph.nodes.push(node),
        }
    }
}

/// `Pad` with zeros on the spatial axes -> `Conv` becomes the convolution's own padding.
fn fold_pads(graph: &mut Graph, done: &mut Preparation, heirs: &mut BTreeMap<String, String>) {
    let readers = graph.readers();
    let mut gone = vec![false; graph.nodes.len()];
    for (index, is_gone) in gone.iter_mut().enumerate() {
        let pad = &graph.nodes[index];
        let Some((spatial, reader)) =
            zero_padding(graph, pad).zip(only_reader(graph, &readers, pad))
        else {
            continue;
        };
        let conv = &graph.nodes[reader];
        let automatic =
            attribute(conv, "auto_pad").is_some_and(|one| !one.s.is_empty() && one.s != b"NOTSET");
        if !is_op(conv, "Conv") || automatic || conv.input[0] != pad.output[0] {
            continue;
        }
        let own = attribute(conv, "pads").map(|one| one.ints.clone());
        let own = own.unwrap_or_else(|| vec![0; spatial.len()]);
        if own.len() != spatial.len() {
            continue;
        }
        let pads: Vec<i64> = own.iter().zip(&spatial).map(|(a, b)| a + b).collect();
        let (source, pad_name) = (pad.input[0].clone(), pad.name.clone());
        let conv = &mut graph.nodes[reader];
        conv.attribute.retain(|one| one.name != "pads");
        conv.attribute
            .push(crate::model::onnx::builder::ints("pads", &pads));
        conv.input[0] = source;
        heirs.insert(pad_name, conv.name.clone());
        *is_gone = true;
        done.count("Pad into Conv");
    }
    remove(graph, &gone);
}

/// The padding of the spatial axes, begins then ends, when a node pads those alone and with zeros.
fn zero_padding(graph: &Graph, node: &NodeProto) -> Option<Vec<i64>> {
    if !is_op(node, "Pad") || node.input.len() > 3 {
        return None;
    }
    let mode = attribute(node, "mode").map(|one| one.s.as_slice());
    if mode.is_some_and(|mode| mode != b"constant") {
        return None;
    }
    if let Some(value) = node.input.get(2).filter(|name| !name.is_empty()) {
        let value = graph.floats(value).ok()??;
        if value.data.iter().any(|value| *value != 0.0) {
            return None;
        }
    }
    let pads = graph.integers(node.input.get(1)?)?;
    let rank = pads.len() / 2;
    let (begins, ends) = pads.split_at(rank);
    let is_plain = rank >= 3 && pads.iter().all(|pad| *pad >= 0);
    let is_spatial = is_plain && begins[..2].iter().chain(&ends[..2]).all(|pad| *pad == 0);
    is_spatial.then(|| [&begins[2..], &ends[2..]].concat())
}

/// The node that alone reads what `node` makes, when nothing else does.
fn only_reader(
    graph: &Graph,
    readers: &BTreeMap<String, Vec<usize>>,
    node: &NodeProto,
) -> Option<usize> {
    let [output] = node.output.as_slice() else {
        return None;
    };
    let [reader] = readers.get(output)?.as_slice() else {
        return None;
    };
    (!graph.is_pinned(output)).then_some(*reader)
}

/// An affine map of each output channel, `y = scale x + shift`; one element stands for all channels.
struct Affine {
    rule: &'static str,
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl Affine {
    #[expect(clippy::float_cmp, reason = "a sum's scale is written as 1")]
    fn only_shifts(&self) -> bool {
        self.scale.iter().all(|scale| *scale == 1.0)
    }
}

/// A convolution's constants while things are folded into it.
struct Folded {
    weights: FloatTensor,
    /// In f64 as long as something may still be folded in.
    values: Vec<f64>,
    bias: Vec<f64>,
    is_changed: bool,
}

fn fold_into_convolutions(
    graph: &mut Graph,
    done: &mut Preparation,
    heirs: &mut BTreeMap<String, String>,
) -> Result<(), QuantiseError> {
    let readers = graph.readers();
    let mut gone = vec![false; graph.nodes.len()];
    for index in 0..graph.nodes.len() {
        let Some(mut folded) = constants_of(graph, &graph.nodes[index])? else {
            continue;
        };
        while let Some(next) = only_reader(graph, &readers, &graph.nodes[index]) {
            let made = graph.nodes[index].output[0].clone();
            let channels = folded.bias.len();
            let Some(affine) = affine(graph, &graph.nodes[next], &made, channels)? else {
                break;
            };
            folded.apply(&affine);
            done.count(affine.rule);
            take_over(graph, index, next, &mut gone, heirs);
        }
        fold_behind_sum(graph, &readers, index, &mut folded, &mut gone, done, heirs)?;
        if folded.is_changed {
            write_back(graph, index, &folded);
        }
    }
    remove(graph, &gone);
    Ok(())
}

/// `index` makes what `next` made, and `next` goes.
fn take_over(
    graph: &mut Graph,
    index: usize,
    next: usize,
    gone: &mut [bool],
    heirs: &mut BTreeMap<String, String>,
) {
    let output = graph.nodes[next].output[0].clone();
    let heir = graph.nodes[index].name.clone();
    heirs.insert(graph.nodes[next].name.clone(), heir);
    graph.nodes[index].output[0] = output;
    gone[next] = true;
}

/// `Conv -> Add(residual) -> Add(c)`: the constant moves into the convolution.
fn fold_behind_sum(
    graph: &mut Graph,
    readers: &BTreeMap<String, Vec<usize>>,
    index: usize,
    folded: &mut Folded,
    gone: &mut [bool],
    done: &mut Preparation,
    heirs: &mut BTreeMap<String, String>,
) -> Result<(), QuantiseError> {
    let Some(sum) = only_reader(graph, readers, &graph.nodes[index]) else {
        return Ok(());
    };
    if !is_op(&graph.nodes[sum], "Add")
        || graph.nodes[sum]
            .input
            .iter()
            .any(|one| graph.is_constant(one))
    {
        return Ok(());
    }
    while let Some(next) = only_reader(graph, readers, &graph.nodes[sum]) {
        let made = graph.nodes[sum].output[0].clone();
        let channels = folded.bias.len();
        let found = affine(graph, &graph.nodes[next], &made, channels)?;
        let Some(affine) = found.filter(Affine::only_shifts) else {
            break;
        };
        folded.apply(&affine);
        done.count("Add behind a sum");
        take_over(graph, sum, next, gone, heirs);
    }
    Ok(())
}

/// The weights and bias of a convolution whose both are f32 constants.
fn constants_of(graph: &Graph, node: &NodeProto) -> Result<Option<Folded>, QuantiseError> {
    if !is_op(node, "Conv") {
        return Ok(None);
    }
    let Some(weights) = node
        .input
        .get(1)
        .map(|name| graph.floats(name))
        .transpose()?
        .flatten()
    else {
        return Ok(None);
    };
    let Some(&channels) = weights.dims.first() else {
        return Ok(None);
    };
    let bias = match node.input.get(2).filter(|name| !name.is_empty()) {
        None => vec![0.0; channels],
        Some(name) => match graph.floats(name)? {
            Some(bias) if bias.data.len() == channels => {
                bias.data.iter().map(|value| f64::from(*value)).collect()
            }
            _ => return Ok(None),
        },
    };
    Ok(Some(Folded {
        values: weights.data.iter().map(|value| f64::from(*value)).collect(),
        weights,
        bias,
        is_changed: false,
    }))
}

impl Folded {
    fn apply(&mut self, affine: &Affine) {
        let channels = self.bias.len();
        let each = self.values.len() / channels.max(1);
        for channel in 0..channels {
            let of = |values: &[f64]| values[channel.min(values.len() - 1)];
            let (scale, shift) = (of(&affine.scale), of(&affine.shift));
            for value in &mut self.values[channel * each..(channel + 1) * each] {
                *value *= scale;
            }
            self.bias[channel] = self.bias[channel] * scale + shift;
        }
        self.is_changed = true;
    }
}

fn write_back(graph: &mut Graph, index: usize, folded: &Folded) {
    let stem = graph.nodes[index].name.clone();
    let data: Vec<f32> = folded.values.iter().map(|value| *value as f32).collect();
    let weights = graph.add_floats(&format!("{stem}/weights"), &folded.weights.dims, &data);
    let data: Vec<f32> = folded.bias.iter().map(|value| *value as f32).collect();
    let bias = graph.add_floats(&format!("{stem}/bias"), &[data.len()], &data);
    let node = &mut graph.nodes[index];
    node.input[1] = weights;
    node.input.truncate(2);
    node.input.push(bias);
}

/// What `node` does to `made`, when that is an affine map of each channel by constants.
fn affine(
    graph: &Graph,
    node: &NodeProto,
    made: &str,
    channels: usize,
) -> Result<Option<Affine>, QuantiseError> {
    if is_op(node, "BatchNormalization") {
        return normalization(graph, node, channels);
    }
    let [first, second] = node.input.as_slice() else {
        return Ok(None);
    };
    let (constant, is_second) = if first == made {
        (second, true)
    } else {
        (first, false)
    };
    let Some(constant) = graph.floats(constant)? else {
        return Ok(None);
    };
    let Some(values) = per_channel(&constant, channels) else {
        return Ok(None);
    };
    let (one, zero) = (vec![1.0], vec![0.0]);
    let (rule, scale, shift) = match node.op_type.as_str() {
        "Mul" => ("Mul into Conv", values, zero),
        "Div" if is_second => (
            "Div into Conv",
            values.iter().map(|value| 1.0 / value).collect(),
            zero,
        ),
        "Add" => ("Add into Conv", one, values),
        "Sub" if is_second => (
            "Sub into Conv",
            one,
            values.iter().map(|value| -value).collect(),
        ),
        _ => return Ok(None),
    };
    let is_finite = scale
        .iter()
        .chain(&shift)
        .all(|value: &f64| value.is_finite());
    Ok((is_finite && node.domain.is_empty()).then_some(Affine { rule, scale, shift }))
}

/// A constant of one element, `[C, 1, 1]` or `[1, C, 1, 1]` as one number or one for each channel.
fn per_channel(constant: &FloatTensor, channels: usize) -> Option<Vec<f64>> {
    let values: Vec<f64> = constant
        .data
        .iter()
        .map(|value| f64::from(*value))
        .collect();
    if values.len() == 1 && constant.dims.len() <= 4 {
        return Some(values);
    }
    let is_axis_one = match constant.dims.as_slice() {
        &[of, 1, 1] | &[1, of, 1, 1] => of == channels,
        _ => false,
    };
    is_axis_one.then_some(values)
}

fn normalization(
    graph: &Graph,
    node: &NodeProto,
    channels: usize,
) -> Result<Option<Affine>, QuantiseError> {
    let mut four = Vec::new();
    for name in node.input.iter().skip(1) {
        match graph.floats(name)? {
            Some(constant) if constant.data.len() == channels => four.push(constant.data),
            _ => return Ok(None),
        }
    }
    let [gamma, beta, mean, variance] = four.as_slice() else {
        return Ok(None);
    };
    if node.output.iter().skip(1).any(|output| !output.is_empty()) {
        return Ok(None);
    }
    let epsilon = f64::from(attribute(node, "epsilon").map_or(1e-5, |one: &AttributeProto| one.f));
    let mut scale = Vec::with_capacity(channels);
    let mut shift = Vec::with_capacity(channels);
    for channel in 0..channels {
        let at = |values: &[f32]| f64::from(values[channel]);
        let factor = at(gamma) / (at(variance) + epsilon).sqrt();
        scale.push(factor);
        shift.push(at(beta) - at(mean) * factor);
    }
    Ok(Some(Affine {
        rule: "BatchNormalization into Conv",
        scale,
        shift,
    }))
}

/// A convolution without bias gets one of zeros: all that follows can count on it.
fn add_biases(graph: &mut Graph) -> Result<(), QuantiseError> {
    for index in 0..graph.nodes.len() {
        let node = &graph.nodes[index];
        let has_bias = node.input.get(2).is_some_and(|name| !name.is_empty());
        if has_bias {
            continue;
        }
        if let Some(folded) = constants_of(graph, node)? {
            let stem = format!("{}/bias", node.name);
            let bias = graph.add_floats(&stem, &[folded.bias.len()], &vec![0.0; folded.bias.len()]);
            let node = &mut graph.nodes[index];
            node.input.truncate(2);
            node.input.push(bias);
        }
    }
    Ok(())
}

fn remove(graph: &mut Graph, gone: &[bool]) {
    let mut gone = gone.iter();
    graph
        .nodes
        .retain(|_| !gone.next().expect("one for each node"));
}
