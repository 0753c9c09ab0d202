//! Builds a graph node by node; the same calls give the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::proto::{
    attribute_kind, element_type, AttributeProto, DimensionProto, DimensionValue, GraphProto,
    ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto,
};

/// File format version of the files written here; ONNX Runtime reads it since 1.10.
const IR_VERSION: i64 = 8;
/// Operator version of the files written here: the first with per-channel `DequantizeLinear`.
pub const OPSET: i64 = 13;

/// An axis of an input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Axis {
    /// A fixed length.
    Fixed(usize),
    /// A named length that each run chooses.
    Symbol(&'static str),
}

/// A graph under construction.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    graph: GraphProto,
    names: BTreeSet<String>,
    /// How far the numbers behind each stem have come.
    counts: BTreeMap<String, usize>,
    reserved: BTreeSet<&'static str>,
}

impl GraphBuilder {
    /// An empty graph whose inputs and outputs will have the names `reserved`, which nothing
    /// else gets.
    pub fn new(name: &str, reserved: &[&'static str]) -> Self {
        let graph = GraphProto {
            name: name.to_owned(),
            ..GraphProto::default()
        };
        Self {
            graph,
            names: BTreeSet::new(),
            counts: BTreeMap::new(),
            reserved: reserved.iter().copied().collect(),
        }
    }

    /// Takes `stem`, or `stem_1`, `stem_2`, … when it is taken already.
    pub fn fresh_name(&mut self, stem: &str) -> String {
        let mut name = stem.to_owned();
        while self.reserved.contains(name.as_str()) || !self.names.insert(name.clone()) {
            // A name is never given back, so what was taken once need not be tried again.
            let count = self.counts.entry(stem.to_owned()).or_insert(0);
            *count += 1;
            name = format!("{stem}_{count}");
        }
        name
    }

    /// Declares the f32 input `name`, which must be reserved.
    pub fn input(&mut self, name: &str, axes: &[Axis]) {
        self.typed_input(name, element_type::FLOAT, axes);
    }

    /// As [`Self::input`], of elements of type `element` (one of [`element_type`]).
    pub fn typed_input(&mut self, name: &str, element: i32, axes: &[Axis]) {
        assert!(self.reserved.contains(name), "{name} is not reserved");
        self.graph.input.push(value(name, element, axes));
    }

    /// Declares the tensor `made` as an f32 output under `name`, which must be reserved.
    ///
    /// # Panics
    /// When no node makes `made`: an input, a constant, or an output that was renamed already.
    pub fn output(&mut self, made: &str, name: &str, axes: &[Axis]) {
        assert!(self.reserved.contains(name), "{name} is not reserved");
        let mut renamed = false;
        for node in &mut self.graph.node {
            for output in node.output.iter_mut().filter(|output| *output == made) {
                name.clone_into(output);
                name.clone_into(&mut node.name);
                renamed = true;
            }
            for input in node.input.iter_mut().filter(|input| *input == made) {
                name.clone_into(input);
            }
        }
        assert!(renamed, "no node makes {made}");
        self.graph
            .output
            .push(value(name, element_type::FLOAT, axes));
    }

    /// Adds an f32 constant and returns its name.
    ///
    /// # Panics
    /// When `dims` and `data` do not fit each other.
    pub fn f32_constant(&mut self, stem: &str, dims: &[usize], data: &[f32]) -> String {
        assert_eq!(
            dims.iter().product::<usize>(),
            data.len(),
            "shape of {stem}"
        );
        let bytes = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(stem, dims, element_type::FLOAT, bytes)
    }

    /// Adds an i64 vector and returns its name.
    pub fn i64_constant(&mut self, stem: &str, data: &[i64]) -> String {
        let bytes = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(stem, &[data.len()], element_type::INT64, bytes)
    }

    /// Adds a constant of type `data_type` (one of [`element_type`]) whose elements are `raw`,
    /// little-endian and row-major, and returns its name.
    pub fn constant(&mut self, stem: &str, dims: &[usize], data_type: i32, raw: Vec<u8>) -> String {
        let name = self.fresh_name(stem);
        self.graph.initializer.push(TensorProto {
            dims: dims
                .iter()
                .map(|&dim| i64::try_from(dim).expect("a length in memory fits i64"))
                .collect(),
            data_type,
            name: name.clone(),
            raw_data: raw,
            ..TensorProto::default()
        });
        name
    }

    /// Adds a node with one output and returns the output's name, which is the node's too.
    pub fn node(
        &mut self,
        op: &str,
        stem: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = self.fresh_name(stem);
        self.graph
            .node
            .push(NodeProto::making(&name, op, inputs, attributes));
        name
    }

    /// The nodes so far, in order.
    pub fn nodes(&self) -> &[NodeProto] {
        &self.graph.node
    }

    /// The constants so far.
    pub fn constants(&self) -> &[TensorProto] {
        &self.graph.initializer
    }

    /// Finishes the graph and encodes the file.
    pub fn encode(self) -> Vec<u8> {
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: OPSET,
            }],
            ..ModelProto::default()
        }
        .encode_to_vec()
    }
}

/// A whole-number attribute.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: value,
        kind: attribute_kind::INT,
        ..AttributeProto::default()
    }
}

/// A word.
pub fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        s: value.as_bytes().to_vec(),
        kind: attribute_kind::STRING,
        ..AttributeProto::default()
    }
}

/// A list of whole numbers.
pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ints: values.to_vec(),
        kind: attribute_kind::INTS,
        ..AttributeProto::default()
    }
}

/// A number.
pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        f: value,
        kind: attribute_kind::FLOAT,
        ..AttributeProto::default()
    }
}

fn value(name: &str, element: i32, axes: &[Axis]) -> ValueInfoProto {
    let dim = axes
        .iter()
        .map(|axis| DimensionProto {
            value: Some(match axis {
                Axis::Fixed(length) => DimensionValue::Length(
                    i64::try_from(*length).expect("a length in memory fits i64"),
                ),
                Axis::Symbol(name) => DimensionValue::Symbol((*name).to_owned()),
            }),
            ..DimensionProto::default()
        })
        .collect();
    ValueInfoProto {
        name: name.to_owned(),
        value_type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: element,
                shape: Some(TensorShapeProto { dim }),
            }),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}
