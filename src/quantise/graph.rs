//! A network that is being changed: constants by name, who makes and who reads each tensor, new names.

use std::collections::{BTreeMap, BTreeSet};

use super::QuantiseError;
use crate::model::onnx::proto::{
    element_type, AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto,
};

/// A constant of f32.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatTensor {
    /// Length of each axis, outermost first.
    pub dims: Vec<usize>,
    /// The elements, row-major.
    pub data: Vec<f32>,
}

/// A graph, its constants apart.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The nodes, each before those that read it.
    pub nodes: Vec<NodeProto>,
    /// Everything else of the file; its graph has no nodes and no constants.
    shell: ModelProto,
    constants: BTreeMap<String, TensorProto>,
    /// The order in which constants are written.
    constant_order: Vec<String>,
    names: BTreeSet<String>,
    /// Tensors that somebody outside the nodes reads: outputs, and what subgraphs capture.
    pinned: BTreeSet<String>,
}

impl Graph {
    /// Takes a model apart.
    ///
    /// # Errors
    /// [`QuantiseError::NoGraph`], [`QuantiseError::ExternalData`].
    pub fn new(mut model: ModelProto) -> Result<Self, QuantiseError> {
        let graph = model.graph.as_mut().ok_or(QuantiseError::NoGraph)?;
        let nodes = std::mem::take(&mut graph.node);
        let initializers = std::mem::take(&mut graph.initializer);
        if let Some(external) = initializers.iter().find(|one| one.data_location == 1) {
            return Err(QuantiseError::ExternalData {
                name: external.name.clone(),
            });
        }
        let constant_order = initializers.iter().map(|one| one.name.clone()).collect();
        let constants: BTreeMap<_, _> = initializers
            .into_iter()
            .map(|one| (one.name.clone(), one))
            .collect();
        let mut names = BTreeSet::new();
        names.extend(constants.keys().cloned());
        names.extend(graph.input.iter().map(|input| input.name.clone()));
        let mut pinned: BTreeSet<_> = graph.output.iter().map(|one| one.name.clone()).collect();
        for node in &nodes {
            names.insert(node.name.clone());
            names.extend(node.output.iter().cloned());
            captured(&node.attribute, &mut pinned);
        }
        // Types of inner tensors would be wrong once those are gone or of bytes; ONNX Runtime infers them.
        graph.value_info.clear();
        Ok(Self {
            nodes,
            shell: model,
            constants,
            constant_order,
            names,
            pinned,
        })
    }

    /// Puts the model together again; constants that nobody reads are left out.
    pub fn into_model(self) -> ModelProto {
        let mut used = self.pinned;
        for node in &self.nodes {
            used.extend(node.input.iter().cloned());
        }
        let mut model = self.shell;
        let graph = model.graph.as_mut().expect("taken apart from one");
        let mut constants = self.constants;
        graph
            .input
            .retain(|input| used.contains(&input.name) || !constants.contains_key(&input.name));
        graph.initializer = self
            .constant_order
            .into_iter()
            .filter(|name| used.contains(name))
            .filter_map(|name| constants.remove(&name))
            .collect();
        graph.node = self.nodes;
        model
    }

    /// What is not nodes and constants.
    pub fn shell(&self) -> &ModelProto {
        &self.shell
    }

    /// As [`Self::shell`], to be changed.
    pub fn shell_mut(&mut self) -> &mut ModelProto {
        &mut self.shell
    }

    /// Inputs that are fed, constants left out.
    pub fn inputs(&self) -> Vec<&str> {
        let inputs = self.graph_shell().input.iter();
        inputs
            .map(|input| input.name.as_str())
            .filter(|name| !self.constants.contains_key(*name))
            .collect()
    }

    fn graph_shell(&self) -> &GraphProto {
        self.shell.graph.as_ref().expect("taken apart from one")
    }

    /// Whether something other than a node reads the tensor.
    pub fn is_pinned(&self, tensor: &str) -> bool {
        self.pinned.contains(tensor)
    }

    /// Whether the tensor is a constant.
    pub fn is_constant(&self, tensor: &str) -> bool {
        self.constants.contains_key(tensor)
    }

    /// Length of each axis of a constant.
    pub fn dims(&self, constant: &str) -> Option<Vec<usize>> {
        let tensor = self.constants.get(constant)?;
        let lengths = tensor
            .dims
            .iter()
            .map(|&length| usize::try_from(length).ok());
        lengths.collect()
    }

    /// The f32 constant of that name; `None` when there is none or it holds other elements.
    ///
    /// # Errors
    /// [`QuantiseError::DamagedConstant`].
    pub fn floats(&self, constant: &str) -> Result<Option<FloatTensor>, QuantiseError> {
        let Some(tensor) = self.constants.get(constant) else {
            return Ok(None);
        };
        if tensor.data_type != element_type::FLOAT {
            return Ok(None);
        }
        let damaged = || QuantiseError::DamagedConstant {
            name: constant.to_owned(),
        };
        let dims = self.dims(constant).ok_or_else(damaged)?;
        let data = if tensor.raw_data.is_empty() {
            tensor.float_data.clone()
        } else {
            let (words, rest) = tensor.raw_data.as_chunks();
            if !rest.is_empty() {
                return Err(damaged());
            }
            words.iter().map(|&word| f32::from_le_bytes(word)).collect()
        };
        if data.len() != dims.iter().product::<usize>() {
            return Err(damaged());
        }
        Ok(Some(FloatTensor { dims, data }))
    }

    /// The elements of an i64 constant.
    pub fn integers(&self, constant: &str) -> Option<Vec<i64>> {
        let tensor = self.constants.get(constant)?;
        if tensor.data_type != element_type::INT64 {
            return None;
        }
        if tensor.raw_data.is_empty() {
            return Some(tensor.int64_data.clone());
        }
        let (words, rest) = tensor.raw_data.as_chunks();
        let values = words.iter().map(|&word| i64::from_le_bytes(word)).collect();
        rest.is_empty().then_some(values)
    }

    /// The only element of a constant of bytes, signed or not.
    pub fn byte(&self, constant: &str) -> Option<i16> {
        let tensor = self.constants.get(constant)?;
        let element = match (tensor.raw_data.as_slice(), tensor.int32_data.as_slice()) {
            (&[byte], []) => byte,
            ([], &[level]) => level.to_le_bytes()[0],
            _ => return None,
        };
        match tensor.data_type {
            element_type::UINT8 => Some(i16::from(element)),
            element_type::INT8 => Some(i16::from(i8::from_le_bytes([element]))),
            _ => None,
        }
    }

    /// Takes the name `stem`, or `stem_1`, `stem_2`, … when it is taken already.
    pub fn fresh_name(&mut self, stem: &str) -> String {
        let mut name = stem.to_owned();
        let mut count = 0_usize;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{stem}_{count}");
        }
        name
    }

    /// Adds a constant and returns its name.
    ///
    /// # Panics
    /// When `raw` does not fill `dims`.
    pub fn add_constant(
        &mut self,
        stem: &str,
        dims: &[usize],
        element: i32,
        raw: Vec<u8>,
    ) -> String {
        let width = match element {
            element_type::INT8 | element_type::UINT8 => 1,
            _ => 4,
        };
        let count: usize = dims.iter().product();
        assert_eq!(raw.len(), count * width, "elements of {stem}");
        let name = self.fresh_name(stem);
        let tensor = TensorProto {
            name: name.clone(),
            dims: dims
                .iter()
                .map(|&length| i64::try_from(length).expect("a length in memory fits i64"))
                .collect(),
            data_type: element,
            raw_data: raw,
            ..TensorProto::default()
        };
        self.put_constant(tensor);
        name
    }

    /// Adds an f32 constant and returns its name.
    pub fn add_floats(&mut self, stem: &str, dims: &[usize], data: &[f32]) -> String {
        let raw = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.add_constant(stem, dims, element_type::FLOAT, raw)
    }

    /// Adds a constant under its own name, which nobody else has.
    pub fn put_constant(&mut self, tensor: TensorProto) {
        self.names.insert(tensor.name.clone());
        self.constant_order.push(tensor.name.clone());
        self.constants.insert(tensor.name.clone(), tensor);
    }

    /// For each tensor, the nodes that read it, ascending; a node that reads it twice stands there twice.
    pub fn readers(&self) -> BTreeMap<String, Vec<usize>> {
        let mut readers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for input in node.input.iter().filter(|input| !input.is_empty()) {
                readers.entry(input.clone()).or_default().push(index);
            }
        }
        readers
    }

    /// For each tensor that a node makes, that node.
    pub fn makers(&self) -> BTreeMap<String, usize> {
        let mut makers = BTreeMap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                makers.insert(output.clone(), index);
            }
        }
        makers
    }
}

/// Names that subgraphs read; which of them are their own does not matter, for one too many only saves a folding.
fn captured(attributes: &[AttributeProto], pinned: &mut BTreeSet<String>) {
    let graphs = attributes
        .iter()
        .flat_map(|one| one.g.iter().chain(&one.graphs));
    for graph in graphs {
        pinned.extend(graph.output.iter().map(|output| output.name.clone()));
        for node in &graph.node {
            pinned.extend(node.input.iter().cloned());
            captured(&node.attribute, pinned);
        }
    }
}

/// The attribute of that name.
pub fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|one| one.name == name)
}

/// A whole-number attribute, or `default` without one.
pub fn int_attribute(node: &NodeProto, name: &str, default: i64) -> i64 {
    attribute(node, name).map_or(default, |one| one.i)
}

/// Whether the node is ONNX's own operator `op`.
pub fn is_op(node: &NodeProto, op: &str) -> bool {
    node.op_type == op && (node.domain.is_empty() || node.domain == "ai.onnx")
}
