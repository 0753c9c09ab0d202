//! `--u8-input`: a network that takes the picture's bytes, which are its first encoding already.

use std::collections::BTreeMap;

use super::graph::{attribute, is_op, Graph};
use super::plan::Plan;
use super::ranges::Encoding;
use super::QuantiseError;

/// What takes the place of everything between the input and the first convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct ByteInput {
    /// The network's input.
    pub input: String,
    /// The tensor that the first convolution reads.
    pub tensor: String,
    /// How its bytes stand for numbers.
    pub encoding: Encoding,
    /// What the encoding leaves out of every element, because zero must be a level: it goes into the bias.
    pub shift: f64,
    /// The nodes between, in order: those that move elements stay, the others go.
    pub between: Vec<usize>,
    /// The first convolution, when it stays in float.
    pub float_reader: Option<FloatReader>,
}

/// A float convolution that reads what the picture's bytes stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatReader {
    /// Its node.
    pub node: usize,
    /// Its bias with the shift in it.
    pub bias: Vec<f32>,
}

/// Follows the network's input to the first convolution through `Cast`, `Transpose` and sums and products
/// with one number.
///
/// `normalise` is what happens to a byte before it reaches the network, `(scale, shift)`, the same for all channels.
///
/// # Errors
/// [`QuantiseError::BytesRefused`].
pub fn byte_input(
    graph: &Graph,
    plan: &Plan,
    normalise: Option<(f64, f64)>,
) -> Result<ByteInput, QuantiseError> {
    let refuse = |reason| QuantiseError::BytesRefused { reason };
    let (mut scale, mut shift) = normalise.ok_or_else(|| {
        refuse("mean and scale differ between the channels, so bytes have no common step")
    })?;
    let inputs = graph.inputs();
    let &[input] = inputs.as_slice() else {
        return Err(refuse("the network has several inputs"));
    };
    let readers = graph.readers();
    let mut tensor = input.to_owned();
    let mut between = Vec::new();
    let reader = loop {
        let Some(&[next]) = readers.get(&tensor).map(Vec::as_slice) else {
            return Err(refuse("several operators read the picture"));
        };
        let node = &graph.nodes[next];
        if plan.layers.iter().any(|layer| layer.node == next) {
            break None;
        }
        if is_op(node, "Conv") && node.input[0] == tensor {
            break Some(next);
        }
        let number = |is_second: bool| {
            let name = node.input.get(usize::from(is_second))?;
            let constant = graph.floats(name).ok()??;
            (constant.data.len() == 1).then(|| f64::from(constant.data[0]))
        };
        let is_first = node.input[0] == tensor;
        let found = number(is_first);
        match (node.op_type.as_str(), found) {
            ("Mul", Some(by)) => (scale, shift) = (scale * by, shift * by),
            ("Div", Some(by)) if is_first => (scale, shift) = (scale / by, shift / by),
            ("Add", Some(by)) => shift += by,
            ("Sub", Some(by)) if is_first => shift -= by,
            ("Cast", _) if attribute(node, "to").is_some_and(|to| to.i == 1) => {}
            ("Transpose", _) => {}
            _ => {
                return Err(refuse(
                    "the first operator must be a convolution, with nothing but a cast, a transposition and sums and products with one number before it",
                ))
            }
        }
        if graph.is_pinned(&node.output[0]) {
            return Err(refuse("the normalised picture is an output"));
        }
        between.push(next);
        tensor.clone_from(&node.output[0]);
    };
    if !(scale > 0.0 && shift.is_finite()) {
        return Err(refuse("the picture is not scaled by a positive number"));
    }
    let zero_point = (-shift / scale).round_ties_even().clamp(0.0, 255.0);
    let left_out = shift + scale * zero_point;
    let float_reader = match reader {
        None => None,
        Some(node) => Some(FloatReader {
            node,
            bias: shifted_bias(graph, node, left_out)
                .ok_or_else(|| refuse("the first convolution's weights are no f32 constants"))?,
        }),
    };
    Ok(ByteInput {
        input: input.to_owned(),
        tensor,
        encoding: Encoding {
            scale: scale as f32,
            zero_point: zero_point as u8,
        },
        shift: left_out,
        between,
        float_reader,
    })
}

/// The bias of a convolution all of whose input elements are to be greater by `shift`; `None` without f32 constants.
fn shifted_bias(graph: &Graph, node: usize, shift: f64) -> Option<Vec<f32>> {
    let constant = |position: usize| {
        let name = graph.nodes[node].input.get(position)?;
        graph.floats(name).ok()?
    };
    let (weights, bias) = (constant(1)?, constant(2)?);
    let each = weights.data.len().checked_div(*weights.dims.first()?)?;
    let sums = weights.data.chunks_exact(each.max(1));
    let sums = sums.map(|own| own.iter().map(|value| f64::from(*value)).sum::<f64>());
    let both = bias.data.iter().zip(sums);
    Some(
        both.map(|(bias, sum)| (f64::from(*bias) + shift * sum) as f32)
            .collect(),
    )
}

impl ByteInput {
    /// For each node between, whether it goes.
    pub fn removed(&self, graph: &Graph) -> BTreeMap<usize, bool> {
        let goes = |&index: &usize| (index, !is_op(&graph.nodes[index], "Transpose"));
        self.between.iter().map(goes).collect()
    }
}
