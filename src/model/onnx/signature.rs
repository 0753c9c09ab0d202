//! What an ONNX file takes, gives and is made of, read without ONNX Runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use prost::Message;
use serde::Serialize;

use super::proto::{element_type, DimensionValue, GraphProto, ModelProto, ValueInfoProto};

/// The length of an axis of a graph's input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AxisLength {
    /// Always this.
    Fixed(i64),
    /// Chosen by each run; the name may be empty.
    Dynamic(String),
}

impl AxisLength {
    /// Whether a tensor whose axis is `length` long fits.
    pub fn admits(&self, length: i64) -> bool {
        match self {
            Self::Fixed(own) => *own == length,
            Self::Dynamic(_) => true,
        }
    }
}

impl fmt::Display for AxisLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(length) => write!(f, "{length}"),
            Self::Dynamic(name) if name.is_empty() => write!(f, "?"),
            Self::Dynamic(name) => write!(f, "{name}"),
        }
    }
}

/// A named input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Element type as model files write it: `f32`, `u8`, `i8`, `i32`, `i64`, else `type N`.
    pub element: String,
    /// Its axes, outermost first; `None` when the file does not say.
    pub shape: Option<Vec<AxisLength>>,
}

impl fmt::Display for TensorInfo {
    /// `raw_boxes f32[batch,1917,4]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.element)?;
        let Some(shape) = &self.shape else {
            return write!(f, "[..]");
        };
        let axes: Vec<String> = shape.iter().map(ToString::to_string).collect();
        write!(f, "[{}]", axes.join(","))
    }
}

/// What a graph takes and gives, in the file's order, its constants left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphSignature {
    /// What is fed in.
    pub inputs: Vec<TensorInfo>,
    /// What comes out.
    pub outputs: Vec<TensorInfo>,
}

/// How many layers compute in integers, counted from the graph and not from a label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct IntegerLayers {
    /// `QuantizeLinear`, `DequantizeLinear` and other nodes that exist only in quantised graphs.
    pub quantization_nodes: usize,
    /// All convolutions, in whatever form.
    pub convolutions: usize,
    /// Convolutions whose data and weights are 8-bit integers: `QLinearConv`, `ConvInteger`, or
    /// a `Conv` that reads both through `DequantizeLinear`.
    pub convolutions_quantized: usize,
}

impl IntegerLayers {
    /// Whether the graph computes any convolution in integers.
    pub const fn any(&self) -> bool {
        self.convolutions_quantized > 0
    }
}

/// Everything that can be known of a graph without running it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GraphFacts {
    /// What it takes and gives.
    pub signature: GraphSignature,
    /// How many nodes of each operator it has.
    pub operators: BTreeMap<String, usize>,
    /// What computes in integers.
    pub integer_layers: IntegerLayers,
}

/// Why a model file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such file, no right, a directory.
    #[error("model file {} cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing in it.
    #[error("model file {} is empty; fetch or import it again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Not protobuf, or cut short.
    #[error(
        "model file {} is not an ONNX model or is damaged ({source}); fetch or import it again",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where decoding failed.
        source: prost::DecodeError,
    },
    /// Valid protobuf without a network in it.
    #[error("model file {} holds no graph, so it is not an ONNX model", path.display())]
    NoGraph {
        /// The file.
        path: PathBuf,
    },
}

/// Decodes `bytes`, which came from `path`.
pub fn decode(bytes: &[u8], path: &Path) -> Result<ModelProto, ReadError> {
    let path = || path.to_owned();
    if bytes.is_empty() {
        return Err(ReadError::Empty { path: path() });
    }
    let model = ModelProto::decode(bytes).map_err(|source| ReadError::Corrupt {
        path: path(),
        source,
    })?;
    match &model.graph {
        Some(graph) if !graph.output.is_empty() => Ok(model),
        _ => Err(ReadError::NoGraph { path: path() }),
    }
}

/// Reads and decodes a file.
pub fn read(path: &Path) -> Result<ModelProto, ReadError> {
    let bytes = std::fs::read(path).map_err(|source| ReadError::Io {
        path: path.to_owned(),
        source,
    })?;
    decode(&bytes, path)
}

/// What is known of the graph of `model` (an empty one when it has none).
pub fn facts(model: &ModelProto) -> GraphFacts {
    let empty = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let mut operators = BTreeMap::new();
    for node in &graph.node {
        *operators.entry(node.op_type.clone()).or_insert(0) += 1;
    }
    GraphFacts {
        signature: signature(graph),
        operators,
        integer_layers: integer_layers(graph),
    }
}

fn signature(graph: &GraphProto) -> GraphSignature {
    // Files of IR version 3 and older list their constants among the inputs.
    let constants: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs = graph
        .input
        .iter()
        .filter(|input| !constants.contains(input.name.as_str()));
    GraphSignature {
        inputs: inputs.map(tensor_info).collect(),
        outputs: graph.output.iter().map(tensor_info).collect(),
    }
}

fn tensor_info(value: &ValueInfoProto) -> TensorInfo {
    let tensor = value
        .value_type
        .as_ref()
        .and_then(|value_type| value_type.tensor_type.as_ref());
    let element = match tensor.map_or(0, |tensor| tensor.elem_type) {
        element_type::FLOAT => "f32".to_owned(),
        element_type::UINT8 => "u8".to_owned(),
        element_type::INT8 => "i8".to_owned(),
        element_type::INT32 => "i32".to_owned(),
        element_type::INT64 => "i64".to_owned(),
        other => format!("type {other}"),
    };
    let shape = tensor
        .and_then(|tensor| tensor.shape.as_ref())
        .map(|shape| {
            let axis = |value: &Option<DimensionValue>| match value {
                Some(DimensionValue::Length(length)) if *length >= 0 => AxisLength::Fixed(*length),
                Some(DimensionValue::Symbol(name)) => AxisLength::Dynamic(name.clone()),
                // A negative length is how some writers say "unknown".
                Some(DimensionValue::Length(_)) | None => AxisLength::Dynamic(String::new()),
            };
            shape.dim.iter().map(|dim| axis(&dim.value)).collect()
        });
    TensorInfo {
        name: value.name.clone(),
        element,
        shape,
    }
}

fn integer_layers(graph: &GraphProto) -> IntegerLayers {
    let dequantized: BTreeSet<&str> = graph
        .node
        .iter()
        .filter(|node| node.op_type == "DequantizeLinear")
        .flat_map(|node| node.output.iter().map(String::as_str))
        .collect();
    let mut layers = IntegerLayers::default();
    for node in &graph.node {
        match node.op_type.as_str() {
            "Conv" => {
                layers.convolutions += 1;
                let mut operands = node.input.iter().take(2);
                if node.input.len() >= 2 && operands.all(|name| dequantized.contains(name.as_str()))
                {
                    layers.convolutions_quantized += 1;
                }
            }
            "QLinearConv" | "ConvInteger" => {
                layers.convolutions += 1;
                layers.convolutions_quantized += 1;
                layers.quantization_nodes += 1;
            }
            "QuantizeLinear"
            | "DequantizeLinear"
            | "DynamicQuantizeLinear"
            | "QLinearMatMul"
            | "MatMulInteger" => layers.quantization_nodes += 1,
            _ => {}
        }
    }
    layers
}
