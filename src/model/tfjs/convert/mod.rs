//! TensorFlow nodes -> ONNX nodes, each through the table in [`handler`].
//!
//! TensorFlow keeps pictures as `[batch, height, width, channels]`, ONNX convolutions want
//! `[batch, channels, height, width]`. A [`Tensor`] therefore remembers its TensorFlow shape
//! and how it really lies; it is transposed only when an operator cannot take it as it lies.
//! Shape arithmetic (`Shape`, `StridedSlice`, `Pack`) is computed here and leaves no nodes.

mod elementwise;
mod reshaping;
mod resize;
mod window;

use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;

use super::error::{ImportError, Reason};
use super::topology::{Graph, Node};
use super::weights::{Constant, Weights};
use super::{RAW_BOXES, RAW_SCORES};
use crate::model::onnx::builder::{ints, Axis};
use crate::model::onnx::GraphBuilder;

/// Name of the graph's input.
pub(super) const PICTURE: &str = "image";
/// Name of the length of the first axis of every input and output.
pub(super) const BATCH: &str = "batch";
/// The largest picture side that is believed; it keeps every product within i64.
const PICTURE_SIDE_MAX: i64 = 16_384;

/// The length of an axis, or an element of a computed shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// The batch, which each run chooses.
    Batch,
    /// A number known at import time.
    Fixed(i64),
}

/// How a tensor lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// In the order of its TensorFlow shape.
    TensorFlow,
    /// Four axes, the last of the TensorFlow shape in second place.
    ChannelsFirst,
}

/// A tensor computed by the ONNX graph.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    /// Its name there.
    pub(super) name: String,
    /// Its TensorFlow shape.
    pub(super) shape: Vec<Extent>,
    /// How it lies.
    pub(super) layout: Layout,
}

/// What a node evaluates to at import time.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Tensor(Tensor),
    Constant(Rc<Constant>),
    /// A computed shape, or one element of it.
    Shape(Vec<Extent>),
}

/// How a constant is written into the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    /// As it is.
    Plain,
    /// For addition to a tensor whose channels come first.
    ChannelsFirst,
    /// `[height, width, in, out]` as `[out, in, height, width]`.
    Kernel,
    /// `[height, width, in, multiplier]` as `[in * multiplier, 1, height, width]`.
    DepthwiseKernel,
}

type Handler = for<'g> fn(&mut Converter<'g>, &'g Node) -> Result<Value, ImportError>;

/// The operators that can be converted.
fn handler(op: &str) -> Option<Handler> {
    Some(match op {
        "Conv2D" => window::convolution,
        "DepthwiseConv2dNative" => window::depthwise_convolution,
        "_FusedConv2D" | "FusedConv2D" => window::fused_convolution,
        "_FusedDepthwiseConv2dNative" | "FusedDepthwiseConv2dNative" => {
            window::fused_depthwise_convolution
        }
        "MaxPool" => window::max_pool,
        "AvgPool" => window::average_pool,
        "Mean" => window::mean,
        "Pad" | "PadV2" => window::pad,
        "FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3" => elementwise::batch_norm,
        "Add" | "AddV2" | "BiasAdd" => elementwise::add,
        "AddN" => elementwise::add_all,
        "Mul" => elementwise::multiply,
        "Sub" => elementwise::subtract,
        "RealDiv" | "Div" => elementwise::divide,
        "Maximum" => elementwise::maximum,
        "Minimum" => elementwise::minimum,
        "Prelu" => elementwise::prelu,
        "ResizeBilinear" => resize::bilinear,
        "ResizeNearestNeighbor" => resize::nearest,
        "Relu" => elementwise::relu,
        "Relu6" => elementwise::relu6,
        "LeakyRelu" => elementwise::leaky_relu,
        "Sigmoid" => elementwise::sigmoid,
        "Tanh" => elementwise::tanh,
        "Softmax" => elementwise::softmax,
        "Cast" => elementwise::cast,
        "Identity" | "StopGradient" | "CheckNumerics" | "Snapshot" => elementwise::identity,
        "Const" => constant,
        "Shape" => reshaping::shape_of,
        "StridedSlice" => reshaping::strided_slice,
        "Pack" => reshaping::pack,
        "Reshape" => reshaping::reshape,
        "Squeeze" => reshaping::squeeze,
        "ExpandDims" => reshaping::expand_dims,
        "ConcatV2" => reshaping::concat,
        "Transpose" => reshaping::transpose,
        _ => return None,
    })
}

fn constant<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Result<Value, ImportError> {
    match converter.weights.get(&node.name) {
        Some(constant) => Ok(Value::Constant(Rc::clone(constant))),
        None => Err(ImportError::WeightMissing {
            node: node.name.clone(),
        }),
    }
}

/// Converts what is asked for, and what that depends on, once.
pub(super) struct Converter<'g> {
    graph: &'g Graph,
    weights: &'g Weights,
    /// For each node, whether the picture loop or a resize in front of the network may end there.
    before_network: Vec<bool>,
    pub(super) builder: GraphBuilder,
    values: Vec<Option<Value>>,
    /// Tensors that lie in another order too, by name and that order's permutation.
    transposed: HashMap<(String, [i64; 4]), String>,
    /// Constants that were written already.
    written: HashMap<(*const Constant, Form), String>,
    scalars: HashMap<u32, String>,
    /// Height and width of the input, once a node asked for it.
    pub(super) picture: Option<(i64, i64)>,
}

impl<'g> Converter<'g> {
    /// A converter for nodes of `graph`; `after_convolution` says which lie behind the network's
    /// first convolution.
    pub(super) fn new(graph: &'g Graph, weights: &'g Weights, after_convolution: &[bool]) -> Self {
        Self {
            graph,
            weights,
            before_network: after_convolution.iter().map(|after| !after).collect(),
            builder: GraphBuilder::new("detector", &[PICTURE, RAW_BOXES, RAW_SCORES]),
            values: vec![None; graph.nodes.len()],
            transposed: HashMap::new(),
            written: HashMap::new(),
            scalars: HashMap::new(),
            picture: None,
        }
    }

    /// The tensor that node `index` makes. Iterative: a long chain must not exhaust the stack.
    pub(super) fn tensor_of(&mut self, index: usize) -> Result<Tensor, ImportError> {
        let graph = self.graph;
        let mut waiting = vec![false; graph.nodes.len()];
        let mut stack = vec![index];
        while let Some(&current) = stack.last() {
            if self.values[current].is_some() {
                stack.pop();
                continue;
            }
            let node = &graph.nodes[current];
            let picture = self.picture_side(current)?;
            let inputs = if picture.is_some() {
                &[][..]
            } else {
                &node.inputs
            };
            let missing = inputs.iter().map(|input| input.node);
            let missing: Vec<usize> = missing.filter(|&i| self.values[i].is_none()).collect();
            if missing.is_empty() {
                let value = match picture {
                    Some(side) => self.picture(node, side)?,
                    None => match handler(&node.op) {
                        Some(convert) => convert(self, node)?,
                        None => return Err(unknown(node)),
                    },
                };
                self.values[current] = Some(value);
                stack.pop();
            } else if std::mem::replace(&mut waiting[current], true) {
                return Err(ImportError::Cycle {
                    node: node.name.clone(),
                });
            } else if handler(&node.op).is_none() {
                // Reported before its inputs: the first unknown operator seen from the heads.
                return Err(unknown(node));
            } else {
                stack.extend(missing);
            }
        }
        match &self.values[index] {
            Some(Value::Tensor(tensor)) => Ok(tensor.clone()),
            _ => Err(ImportError::NoInput),
        }
    }

    /// Height and width when node `index` is where pictures enter the network: a placeholder of
    /// a fixed size, a resize to one, or the end of a loop over pictures.
    fn picture_side(&self, index: usize) -> Result<Option<(i64, i64)>, ImportError> {
        let node = &self.graph.nodes[index];
        if !self.before_network[index] {
            return Ok(None);
        }
        let fixed = match node.op.as_str() {
            "Placeholder" => match node.shape("shape")?.as_deref() {
                Some([_, height, width, Some(3)]) => height.zip(*width),
                _ => None,
            },
            "TensorArrayGatherV3" | "TensorListStack" => {
                match node.shape("element_shape")?.as_deref() {
                    Some([height, width, Some(3)]) => height.zip(*width),
                    _ => None,
                }
            }
            "ResizeBilinear" => self.resize_target(node),
            _ => return Ok(None),
        };
        match fixed {
            Some((height, width))
                if (1..=PICTURE_SIDE_MAX).contains(&height)
                    && (1..=PICTURE_SIDE_MAX).contains(&width) =>
            {
                Ok(Some((height, width)))
            }
            _ => Err(node.unsupported(Reason::PictureSize)),
        }
    }

    fn resize_target(&self, node: &Node) -> Option<(i64, i64)> {
        let size = &self.graph.nodes[node.inputs.get(1)?.node];
        match self.weights.get(&size.name)?.as_ref().integers()? {
            &[height, width] => Some((i64::from(height), i64::from(width))),
            _ => None,
        }
    }

    fn picture(&mut self, node: &Node, side: (i64, i64)) -> Result<Value, ImportError> {
        match self.picture {
            None => {
                let axes = [
                    Axis::Symbol(BATCH),
                    Axis::Fixed(side.0 as usize),
                    Axis::Fixed(side.1 as usize),
                    Axis::Fixed(3),
                ];
                self.builder.input(PICTURE, &axes);
                self.picture = Some(side);
            }
            Some(known) if known == side => {}
            Some(_) => {
                return Err(node.unsupported(Reason::Variant {
                    what: "a second picture input of another size",
                }))
            }
        }
        Ok(Value::Tensor(Tensor {
            name: PICTURE.to_owned(),
            shape: vec![
                Extent::Batch,
                Extent::Fixed(side.0),
                Extent::Fixed(side.1),
                Extent::Fixed(3),
            ],
            layout: Layout::TensorFlow,
        }))
    }

    /// Input number `index` of `node`, which was converted before it.
    fn input(&self, node: &Node, index: usize) -> Result<Value, ImportError> {
        let Some(input) = node.inputs.get(index) else {
            return Err(node.unsupported(Reason::MissingInput { index }));
        };
        if input.output != 0 {
            let output = input.output;
            let source = &self.graph.nodes[input.node];
            return Err(source.unsupported(Reason::Output { index: output }));
        }
        let value = self.values[input.node].as_ref();
        Ok(value.expect("inputs are converted first").clone())
    }

    /// Input number `index`, which must be computed from the picture.
    fn tensor(&self, node: &Node, index: usize) -> Result<Tensor, ImportError> {
        match self.input(node, index)? {
            Value::Tensor(tensor) => Ok(tensor),
            _ => Err(node.unsupported(Reason::Input {
                index,
                expected: "computed from the picture",
            })),
        }
    }

    /// Input number `index`, which must be computed from the picture and have four axes.
    fn feature_map(&self, node: &Node, index: usize) -> Result<(Tensor, [i64; 3]), ImportError> {
        let tensor = self.tensor(node, index)?;
        match tensor.shape[..] {
            [Extent::Batch, Extent::Fixed(height), Extent::Fixed(width), Extent::Fixed(channels)] => {
                Ok((tensor, [height, width, channels]))
            }
            _ => Err(node.unsupported(Reason::Shape {
                found: describe(&tensor.shape),
            })),
        }
    }

    /// Input number `index`, which must be a constant of floats.
    fn floats(&self, node: &Node, index: usize) -> Result<Rc<Constant>, ImportError> {
        match self.input(node, index)? {
            Value::Constant(constant) if constant.floats().is_some() => Ok(constant),
            _ => Err(node.unsupported(Reason::Input {
                index,
                expected: "a constant of floats",
            })),
        }
    }

    /// Input number `index`, which must be integers known now.
    fn integers(&self, node: &Node, index: usize) -> Result<Vec<Extent>, ImportError> {
        let value = self.input(node, index)?;
        shape_items(&value).ok_or_else(|| {
            node.unsupported(Reason::Input {
                index,
                expected: "whole numbers known at import time",
            })
        })
    }

    /// As [`Self::integers`], without the batch among them.
    fn fixed_integers(&self, node: &Node, index: usize) -> Result<Vec<i64>, ImportError> {
        let fixed = |extent: &Extent| match extent {
            Extent::Fixed(value) => Some(*value),
            Extent::Batch => None,
        };
        let items = self.integers(node, index)?;
        let items: Option<Vec<i64>> = items.iter().map(fixed).collect();
        items.ok_or_else(|| {
            node.unsupported(Reason::Input {
                index,
                expected: "constant whole numbers",
            })
        })
    }

    /// `tensor`'s name with its channels first.
    fn channels_first(&mut self, tensor: &Tensor) -> String {
        match tensor.layout {
            Layout::ChannelsFirst => tensor.name.clone(),
            Layout::TensorFlow => self.transposed(&tensor.name, "nchw", [0, 3, 1, 2]),
        }
    }

    /// `tensor`'s name in the order of its TensorFlow shape.
    pub(super) fn tensorflow_order(&mut self, tensor: &Tensor) -> String {
        match tensor.layout {
            Layout::TensorFlow => tensor.name.clone(),
            Layout::ChannelsFirst => self.transposed(&tensor.name, "nhwc", [0, 2, 3, 1]),
        }
    }

    fn transposed(&mut self, name: &str, suffix: &str, perm: [i64; 4]) -> String {
        let key = (name.to_owned(), perm);
        if let Some(known) = self.transposed.get(&key) {
            return known.clone();
        }
        let stem = format!("{name}/{suffix}");
        let made = self
            .builder
            .node("Transpose", &stem, &[name], vec![ints("perm", &perm)]);
        self.transposed.insert(key, made.clone());
        made
    }

    /// A constant without axes, shared by all who need the same number.
    fn scalar(&mut self, value: f32) -> String {
        if let Some(known) = self.scalars.get(&value.to_bits()) {
            return known.clone();
        }
        let name = self
            .builder
            .f32_constant(&format!("scalar/{value}"), &[], &[value]);
        self.scalars.insert(value.to_bits(), name.clone());
        name
    }

    /// Writes `constant` in `form` under the name of the node it came from, once.
    fn write_constant(
        &mut self,
        stem: &str,
        constant: &Rc<Constant>,
        form: Form,
        layout: impl FnOnce(&Constant) -> (Vec<usize>, Vec<f32>),
    ) -> String {
        let key = (Rc::as_ptr(constant), form);
        if let Some(known) = self.written.get(&key) {
            return known.clone();
        }
        let (dims, data) = layout(constant);
        let name = self.builder.f32_constant(stem, &dims, &data);
        self.written.insert(key, name.clone());
        name
    }

    /// The name of the node behind input number `index`.
    fn source_name(&self, node: &Node, index: usize) -> &'g str {
        &self.graph.nodes[node.inputs[index].node].name
    }
}

fn unknown(node: &Node) -> ImportError {
    ImportError::UnknownOperator {
        op: node.op.clone(),
        node: node.name.clone(),
    }
}

/// Integers as elements of a shape.
fn shape_items(value: &Value) -> Option<Vec<Extent>> {
    match value {
        Value::Shape(items) => Some(items.clone()),
        Value::Constant(constant) => {
            let integers = constant.integers()?;
            let fixed = |&value: &i32| Extent::Fixed(i64::from(value));
            // A shape has a handful of axes; anything longer is no shape.
            (integers.len() <= reshaping::SHAPE_ITEMS_MAX)
                .then(|| integers.iter().map(fixed).collect())
        }
        Value::Tensor(_) => None,
    }
}

/// `[batch,19,19,3]`.
pub(super) fn describe(shape: &[Extent]) -> String {
    let mut text = String::from("[");
    for (index, extent) in shape.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let written = match extent {
            Extent::Batch => write!(text, "{comma}{BATCH}"),
            Extent::Fixed(length) => write!(text, "{comma}{length}"),
        };
        written.expect("a String takes all");
    }
    text.push(']');
    text
}
