//! Step 6: a float network, encodings and integers -> a network with `QuantizeLinear` and `DequantizeLinear`.
//!
//! One pair at the producer of each quantised tensor, integer weights and biases behind a `DequantizeLinear` of their
//! own. ONNX Runtime makes integer kernels of what stands between.
//!
//! A convolution that stays in float must not read a `DequantizeLinear` with one scale for all: ONNX Runtime would take
//! it for one whose weights somebody forgot to quantise, and do that itself, per tensor (`WeightBiasQuantization`). It
//! gets a `DequantizeLinear` of its own with the same scale written once for each channel, which means the same and is left alone.

use std::collections::{BTreeMap, BTreeSet};

use super::bytes::ByteInput;
use super::encode::{Encoded, LayerConstants};
use super::graph::{int_attribute, is_op, Graph};
use super::plan::Plan;
use super::ranges::Encoding;
use super::weights::quantise_bias;
use super::{BiasForm, Recipe};
use crate::model::onnx::builder::int;
use crate::model::onnx::proto::{element_type, AttributeProto, NodeProto};

/// Rewrites `graph` with integers.
pub fn insert(
    mut graph: Graph,
    plan: &Plan,
    encoded: &Encoded,
    recipe: &Recipe,
    bytes: Option<&ByteInput>,
) -> Graph {
    let nodes = graph.nodes.clone();
    let mut writer = Writer {
        dropped: plan.dropped.values().copied().collect(),
        pairs: BTreeMap::new(),
        out: Vec::with_capacity(nodes.len() * 3),
        old: &nodes,
        plan,
        encoded,
        bias: recipe.bias,
        bytes,
        graph: &mut graph,
    };
    let mut skipped = BTreeMap::new();
    if let Some(bytes) = bytes {
        skipped = bytes.removed(writer.graph);
        writer.take_bytes(bytes);
    } else {
        let inputs: Vec<String> = writer
            .graph
            .inputs()
            .into_iter()
            .map(str::to_owned)
            .collect();
        for input in inputs {
            if let Some(&group) = plan.group_of.get(&input) {
                writer.pair(&input, &input, group, None);
            }
        }
    }
    for index in 0..nodes.len() {
        if !skipped.contains_key(&index) && !writer.dropped.contains(&index) {
            writer.node(index);
        }
    }
    let out = writer.out;
    graph.nodes = out;
    graph
}

/// Writes the new list of nodes.
struct Writer<'a> {
    graph: &'a mut Graph,
    old: &'a [NodeProto],
    plan: &'a Plan,
    encoded: &'a Encoded,
    bias: BiasForm,
    bytes: Option<&'a ByteInput>,
    /// Activations that are not written.
    dropped: BTreeSet<usize>,
    /// Each quantised tensor -> its bytes, and the floats behind them.
    pairs: BTreeMap<String, Pair>,
    out: Vec<NodeProto>,
}

/// A tensor between its quantisation and its way back.
struct Pair {
    bytes: String,
    floats: String,
}

impl Writer<'_> {
    fn node(&mut self, index: usize) {
        let mut node = self.old[index].clone();
        let layer = self
            .plan
            .layers
            .iter()
            .position(|layer| layer.node == index);
        self.redirect(&mut node);
        let of_bytes = self.bytes.and_then(|own| own.float_reader.as_ref());
        if let Some(own) = of_bytes.filter(|own| own.node == index) {
            let stem = format!("{}/bias/shifted", node.name);
            node.input[2] = self.graph.add_floats(&stem, &[own.bias.len()], &own.bias);
        }
        if let Some(layer) = layer {
            let constants = &self.encoded.layers[layer];
            (node.input[1], node.input[2]) = self.constants(&node.name, constants, &node.input[2]);
        }
        if let Some(&dropped) = self.plan.dropped.get(&index) {
            node.output[0].clone_from(&self.old[dropped].output[0]);
        }
        let mut quantised = Vec::new();
        for output in &mut node.output {
            if let Some(&group) = self.plan.group_of.get(output) {
                let made = output.clone();
                // Whoever reads an output of the network finds it under its name, behind the pair.
                let floats = self.graph.is_pinned(&made).then(|| made.clone());
                if floats.is_some() {
                    *output = self.graph.fresh_name(&format!("{made}/exact"));
                }
                quantised.push((made, output.clone(), group, floats));
            }
        }
        self.out.push(node);
        for (made, source, group, floats) in quantised {
            self.pair(&made, &source, group, floats);
        }
    }

    /// Lets a node read the floats behind the pairs.
    fn redirect(&mut self, node: &mut NodeProto) {
        let stays_float = ["Conv", "ConvTranspose", "Gemm"]
            .iter()
            .any(|op| is_op(node, op));
        let is_layer = self.plan.layers.iter().any(|layer| layer.name == node.name);
        for position in 0..node.input.len() {
            let Some(pair) = self.pairs.get(&node.input[position]) else {
                continue;
            };
            let floats = pair.floats.clone();
            // Bytes in front of a float convolution have their floats by channel already.
            let is_shared = self.plan.group_of.contains_key(&node.input[position]);
            node.input[position] = if stays_float && !is_layer && position == 0 && is_shared {
                let tensor = node.input[position].clone();
                self.guarded(&tensor, node).unwrap_or(floats)
            } else {
                floats
            };
        }
    }

    /// A `DequantizeLinear` with a scale for each channel, all the same; `None` when the channels are not known.
    fn guarded(&mut self, tensor: &str, reader: &NodeProto) -> Option<String> {
        let encoding = self.encoded.encodings[self.plan.group_of[tensor]];
        let bytes = self.pairs[tensor].bytes.clone();
        self.channelwise(&bytes, encoding, reader)
    }

    /// The floats of `bytes` for one reader, by a scale for each of its channels.
    fn channelwise(
        &mut self,
        bytes: &str,
        encoding: Encoding,
        reader: &NodeProto,
    ) -> Option<String> {
        let dims = self.graph.dims(reader.input.get(1)?)?;
        let groups = usize::try_from(int_attribute(reader, "group", 1)).ok()?;
        let channels = match reader.op_type.as_str() {
            "Conv" => dims.get(1)? * groups,
            "Gemm" if int_attribute(reader, "transB", 0) == 1 => *dims.get(1)?,
            _ => *dims.first()?,
        };
        let Encoding { scale, zero_point } = encoding;
        let stem = format!("{}/guarded", reader.name);
        let scales = self.graph.add_floats(
            &format!("{stem}/scale"),
            &[channels],
            &vec![scale; channels],
        );
        let zeros = self.graph.add_constant(
            &format!("{stem}/zero_point"),
            &[channels],
            element_type::UINT8,
            vec![zero_point; channels],
        );
        Some(self.push(
            "DequantizeLinear",
            &stem,
            &[bytes, &scales, &zeros],
            vec![int("axis", 1)],
        ))
    }

    /// Quantises `source`, which holds what `tensor` held, and dequantises it, under the name `floats` if there is one.
    fn pair(&mut self, tensor: &str, source: &str, group: usize, floats: Option<String>) {
        let (scale, zero) = self.encoding(tensor, group);
        let bytes = self.push(
            "QuantizeLinear",
            &format!("{tensor}/quantized"),
            &[source, &scale, &zero],
            vec![],
        );
        self.way_back(tensor, bytes, &scale, &zero, floats);
    }

    fn encoding(&mut self, tensor: &str, group: usize) -> (String, String) {
        let Encoding { scale, zero_point } = self.encoded.encodings[group];
        let scale = self
            .graph
            .add_floats(&format!("{tensor}/scale"), &[], &[scale]);
        let stem = format!("{tensor}/zero_point");
        let zero = self
            .graph
            .add_constant(&stem, &[], element_type::UINT8, vec![zero_point]);
        (scale, zero)
    }

    fn way_back(
        &mut self,
        tensor: &str,
        bytes: String,
        scale: &str,
        zero: &str,
        floats: Option<String>,
    ) {
        let stem = format!("{tensor}/dequantized");
        let own = self.push("DequantizeLinear", &stem, &[&bytes, scale, zero], vec![]);
        let floats = match floats {
            None => own,
            Some(name) => {
                let node = self.out.last_mut().expect("pushed just now");
                node.output[0].clone_from(&name);
                name
            }
        };
        self.pairs.insert(tensor.to_owned(), Pair { bytes, floats });
    }

    /// The picture's bytes are moved where floats were moved, and dequantised in front of the first convolution.
    fn take_bytes(&mut self, own: &ByteInput) {
        let mut bytes = own.input.clone();
        for &index in &own.between {
            let mut node = self.old[index].clone();
            if is_op(&node, "Transpose") {
                node.input[0].clone_from(&bytes);
                bytes = self.graph.fresh_name(&format!("{}/bytes", node.output[0]));
                node.output[0].clone_from(&bytes);
                self.out.push(node);
            }
        }
        if let Some(reader) = &own.float_reader {
            let floats = self
                .channelwise(&bytes, own.encoding, &self.old[reader.node])
                .expect("a convolution's weights have a shape");
            let pair = Pair { bytes, floats };
            self.pairs.insert(own.tensor.clone(), pair);
        } else {
            let group = self.plan.group_of[&own.tensor];
            let (scale, zero) = self.encoding(&own.tensor, group);
            self.way_back(&own.tensor, bytes, &scale, &zero, None);
        }
        let graph = self
            .graph
            .shell_mut()
            .graph
            .as_mut()
            .expect("taken apart from one");
        for input in &mut graph.input {
            let tensor = input
                .value_type
                .as_mut()
                .and_then(|own| own.tensor_type.as_mut());
            if let (true, Some(tensor)) = (input.name == own.input, tensor) {
                tensor.elem_type = element_type::UINT8;
            }
        }
    }

    /// Weights and bias behind their ways back.
    fn constants(&mut self, node: &str, own: &LayerConstants, bias: &str) -> (String, String) {
        let weights = &own.weights;
        let shape: Vec<usize> = if weights.scales.len() == 1 && own.dims[0] != 1 {
            Vec::new()
        } else {
            vec![weights.scales.len()]
        };
        let stem = format!("{node}/weights");
        let raw = weights
            .levels
            .iter()
            .map(|level| level.to_le_bytes()[0])
            .collect();
        let levels = self.graph.add_constant(
            &format!("{stem}/quantized"),
            &own.dims,
            element_type::INT8,
            raw,
        );
        let scales = self
            .graph
            .add_floats(&format!("{stem}/scale"), &shape, &weights.scales);
        let zeros = vec![0; weights.scales.len()];
        let zeros = self.graph.add_constant(
            &format!("{stem}/zero_point"),
            &shape,
            element_type::INT8,
            zeros,
        );
        let axis = if shape.is_empty() {
            vec![]
        } else {
            vec![int("axis", 0)]
        };
        let weights_name = self.push(
            "DequantizeLinear",
            &format!("{stem}/dequantized"),
            &[&levels, &scales, &zeros],
            axis,
        );
        let bias = match self.bias {
            BiasForm::Int32 => self.integer_bias(node, own),
            BiasForm::Fp32 => {
                let data: Vec<f32> = own.bias.iter().map(|value| *value as f32).collect();
                let is_new = self
                    .graph
                    .floats(bias)
                    .ok()
                    .flatten()
                    .is_none_or(|old| old.data != data);
                if is_new {
                    self.graph
                        .add_floats(&format!("{node}/bias/corrected"), &[data.len()], &data)
                } else {
                    bias.to_owned()
                }
            }
        };
        (weights_name, bias)
    }

    fn integer_bias(&mut self, node: &str, own: &LayerConstants) -> String {
        let (levels, scales) = quantise_bias(&own.bias, own.input_scale, &own.weights);
        let stem = format!("{node}/bias");
        let count = [levels.len()];
        let raw = levels
            .iter()
            .flat_map(|level| level.to_le_bytes())
            .collect();
        let levels = self.graph.add_constant(
            &format!("{stem}/quantized"),
            &count,
            element_type::INT32,
            raw,
        );
        let is_scalar = own.weights.scales.len() == 1 && own.dims[0] != 1;
        let (shape, scales): (&[usize], &[f32]) = if is_scalar {
            (&[], &scales[..1])
        } else {
            (&count, &scales)
        };
        let zeros = vec![0; scales.len() * 4];
        let scales = self
            .graph
            .add_floats(&format!("{stem}/scale"), shape, scales);
        let zeros = self.graph.add_constant(
            &format!("{stem}/zero_point"),
            shape,
            element_type::INT32,
            zeros,
        );
        let axis = if is_scalar {
            vec![]
        } else {
            vec![int("axis", 0)]
        };
        self.push(
            "DequantizeLinear",
            &format!("{stem}/dequantized"),
            &[&levels, &scales, &zeros],
            axis,
        )
    }

    /// Adds a node with one output and returns the output's name, which is the node's too.
    fn push(
        &mut self,
        op: &str,
        stem: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = self.graph.fresh_name(stem);
        self.out
            .push(NodeProto::making(&name, op, inputs, attributes));
        name
    }
}
