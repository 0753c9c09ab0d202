//! Step 2: which layers become integer, which tensors get an encoding, and what stays in float and why.
//!
//! One quantise-dequantise pair stands at the producer of each such tensor. Operators that only move elements keep
//! the encoding of what they move; a concatenation inside the network has one encoding for all its parts, so that it
//! is a copy. Softmax, box decoding, NMS and concatenations at the end stay in float.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::graph::{attribute, int_attribute, is_op, Graph};
use super::{FirstLayers, QuantiseError};
use crate::model::onnx::proto::NodeProto;

/// A convolution that becomes integer.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its node.
    pub node: usize,
    /// The node's name.
    pub name: String,
    /// The tensor that it reads.
    pub input: String,
    /// The tensor that it makes, after its activation.
    pub output: String,
}

/// A node that stays in float.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The node's name.
    pub name: String,
    /// Its operator.
    pub operator: String,
    /// Why.
    pub reason: String,
}

/// A tensor whose values an encoding must cover.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The tensor.
    pub tensor: String,
    /// What the activation behind it lets through; it is dropped, because the encoding saturates where it would clip.
    pub bounds: (f64, f64),
    /// A range that is known beforehand.
    pub fixed: Option<(f64, f64)>,
}

/// Tensors with one encoding.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Group {
    /// All of them.
    pub members: Vec<String>,
    /// Those whose values are to be covered; the others hold the same elements.
    pub sources: Vec<Source>,
}

/// What becomes integer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// The convolutions, in the graph's order.
    pub layers: Vec<Layer>,
    /// All convolutions and products that stay in float.
    pub kept: Vec<Kept>,
    /// For each node whose activation is dropped: the activation's node.
    pub dropped: BTreeMap<usize, usize>,
    /// Tensors with one encoding each.
    pub groups: Vec<Group>,
    /// Each quantised tensor -> its group.
    pub group_of: BTreeMap<String, usize>,
}

/// What the user wants kept.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Nodes to keep in float, each with the reason.
    pub keep: BTreeMap<String, String>,
    /// What happens to the first layers.
    pub first: FirstLayers,
}

/// Operators that move elements and change none.
const MOVERS: [&str; 9] = [
    "MaxPool",
    "Transpose",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Slice",
    "DepthToSpace",
    "SpaceToDepth",
];

/// Operators besides convolutions that have integer kernels.
const ELEMENTWISE: [&str; 6] = [
    "Add",
    "Mul",
    "Sigmoid",
    "LeakyRelu",
    "AveragePool",
    "GlobalAveragePool",
];

/// Decides.
///
/// # Errors
/// [`QuantiseError::NothingToQuantise`], [`QuantiseError::EverythingKept`], [`QuantiseError::DamagedConstant`].
pub fn plan(graph: &Graph, wishes: &Wishes) -> Result<Plan, QuantiseError> {
    let readers = graph.readers();
    let keep = with_first_layers(graph, &readers, wishes);
    let (integer, kept) = convolutions(graph, &keep)?;
    let convolution_count = graph
        .nodes
        .iter()
        .filter(|node| is_op(node, "Conv"))
        .count();
    if integer.is_empty() {
        let asked = kept.iter().any(|one| keep.contains_key(&one.name));
        return Err(if asked {
            QuantiseError::EverythingKept {
                count: convolution_count,
            }
        } else {
            QuantiseError::NothingToQuantise
        });
    }
    let feeds = feeds_integers(graph, &readers, &integer);
    let mut build = Build {
        graph,
        readers: &readers,
        integer: &integer,
        feeds: &feeds,
        keep: &keep,
        plan: Plan {
            kept,
            ..Plan::default()
        },
        parents: Vec::new(),
        members: Vec::new(),
        sources: BTreeMap::new(),
        index: BTreeMap::new(),
        taken: BTreeSet::new(),
    };
    build.all();
    Ok(build.finish())
}

/// The wishes, with the first layers added.
fn with_first_layers(
    graph: &Graph,
    readers: &BTreeMap<String, Vec<usize>>,
    wishes: &Wishes,
) -> BTreeMap<String, String> {
    let mut keep = wishes.keep.clone();
    let first = graph.nodes.iter().position(|node| is_op(node, "Conv"));
    let (Some(first), true) = (first, wishes.first != FirstLayers::Int8) else {
        return keep;
    };
    let mut add = |index: usize, reason: &str| {
        let name = graph.nodes[index].name.clone();
        keep.entry(name).or_insert_with(|| reason.to_owned());
    };
    add(
        first,
        "the first convolution: in float it is as fast, and the image is not quantised",
    );
    if wishes.first == FirstLayers::BlockFp32 {
        let output = activation(graph, readers, first).map_or(first, |found| found.node);
        let output = &graph.nodes[output].output[0];
        for &next in readers.get(output).into_iter().flatten() {
            if is_depthwise(graph, &graph.nodes[next]) {
                add(next, "the depthwise convolution behind the first: the most sensitive layer, and free beside it");
            }
        }
    }
    keep
}

fn is_depthwise(graph: &Graph, node: &NodeProto) -> bool {
    let dims = node.input.get(1).and_then(|name| graph.dims(name));
    let groups = int_attribute(node, "group", 1);
    is_op(node, "Conv")
        && groups > 1
        && dims.is_some_and(|dims| dims.get(1) == Some(&1) && i64::try_from(dims[0]) == Ok(groups))
}

/// The convolutions that can be integer, and why the others cannot.
fn convolutions(
    graph: &Graph,
    keep: &BTreeMap<String, String>,
) -> Result<(BTreeSet<usize>, Vec<Kept>), QuantiseError> {
    let mut integer = BTreeSet::new();
    let mut kept = Vec::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        let is_product = ["ConvTranspose", "Gemm", "MatMul"]
            .iter()
            .any(|op| is_op(node, op));
        let reason = if is_op(node, "Conv") {
            match keep.get(&node.name) {
                Some(reason) => Some(reason.clone()),
                None => unfit(graph, node)?.map(str::to_owned),
            }
        } else if is_product {
            Some("only convolutions are made integer".to_owned())
        } else {
            continue;
        };
        match reason {
            None => {
                integer.insert(index);
            }
            Some(reason) => kept.push(Kept {
                name: node.name.clone(),
                operator: node.op_type.clone(),
                reason,
            }),
        }
    }
    Ok((integer, kept))
}

/// Why a convolution cannot be integer.
fn unfit(graph: &Graph, node: &NodeProto) -> Result<Option<&'static str>, QuantiseError> {
    let weights = node
        .input
        .get(1)
        .map(|name| graph.floats(name))
        .transpose()?;
    let Some(weights) = weights.flatten() else {
        return Ok(Some("its weights are not an f32 constant"));
    };
    let bias = node
        .input
        .get(2)
        .map(|name| graph.floats(name))
        .transpose()?;
    if bias.flatten().is_none() {
        return Ok(Some("its bias is not an f32 constant"));
    }
    if weights.dims.len() != 4 {
        return Ok(Some("it is not two-dimensional"));
    }
    if weights.data.iter().any(|value| !value.is_finite()) {
        return Ok(Some("its weights are not all finite"));
    }
    Ok(None)
}

/// Tensors that reach an integer convolution through operators that could keep them in integers.
fn feeds_integers(
    graph: &Graph,
    readers: &BTreeMap<String, Vec<usize>>,
    integer: &BTreeSet<usize>,
) -> BTreeSet<String> {
    let mut feeds: BTreeSet<String> = BTreeSet::new();
    for (index, node) in graph.nodes.iter().enumerate().rev() {
        let passes_on = is_mover(graph, node)
            || is_one_of(node, &ELEMENTWISE)
            || is_op(node, "Concat")
            || bounds(graph, node).is_some();
        let reaches = passes_on && node.output.iter().any(|output| feeds.contains(output));
        if integer.contains(&index) {
            feeds.insert(node.input[0].clone());
        } else if reaches {
            let inputs = node
                .input
                .iter()
                .filter(|input| readers.contains_key(*input));
            feeds.extend(inputs.cloned());
        }
    }
    feeds
}

fn is_one_of(node: &NodeProto, operators: &[&str]) -> bool {
    operators.iter().any(|op| is_op(node, op))
}

fn is_mover(graph: &Graph, node: &NodeProto) -> bool {
    if is_op(node, "Resize") {
        let mode = attribute(node, "mode").map_or(&b"nearest"[..], |one| &one.s);
        return mode == b"nearest";
    }
    let moves = is_one_of(node, &MOVERS) && node.output.len() == 1;
    moves
        && node
            .input
            .iter()
            .skip(1)
            .all(|input| input.is_empty() || graph.is_constant(input))
}

/// An activation that alone reads what a node makes.
struct Following {
    node: usize,
    bounds: (f64, f64),
}

fn activation(
    graph: &Graph,
    readers: &BTreeMap<String, Vec<usize>>,
    node: usize,
) -> Option<Following> {
    let output = &graph.nodes[node].output[0];
    let &[next] = readers.get(output)?.as_slice() else {
        return None;
    };
    if graph.is_pinned(output) {
        return None;
    }
    let bounds = bounds(graph, &graph.nodes[next])?;
    Some(Following { node: next, bounds })
}

/// What a `Relu` or a `Clip` by constants lets through.
pub fn bounds(graph: &Graph, node: &NodeProto) -> Option<(f64, f64)> {
    if is_op(node, "Relu") {
        return Some((0.0, f64::INFINITY));
    }
    if !is_op(node, "Clip") {
        return None;
    }
    let bound = |position: usize, open: f64| match node.input.get(position) {
        None => Some(open),
        Some(name) if name.is_empty() => Some(open),
        Some(name) => {
            let constant = graph.floats(name).ok()??;
            constant.data.first().map(|value| f64::from(*value))
        }
    };
    let low = bound(1, f64::NEG_INFINITY)?;
    let high = bound(2, f64::INFINITY)?;
    // An encoding holds zero, so a clip that leaves it out cannot be dropped.
    (low <= 0.0 && high >= 0.0).then_some((low, high))
}

const UNBOUNDED: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// The plan while it grows.
struct Build<'a> {
    graph: &'a Graph,
    readers: &'a BTreeMap<String, Vec<usize>>,
    integer: &'a BTreeSet<usize>,
    feeds: &'a BTreeSet<String>,
    keep: &'a BTreeMap<String, String>,
    plan: Plan,
    /// Groups as a forest over the tensors.
    parents: Vec<usize>,
    members: Vec<String>,
    sources: BTreeMap<usize, Source>,
    index: BTreeMap<String, usize>,
    /// Activations that are dropped.
    taken: BTreeSet<usize>,
}

impl Build<'_> {
    fn all(&mut self) {
        for input in self.graph.inputs() {
            if self.is_read_by_integers(input) {
                self.own(input, UNBOUNDED, None);
            }
        }
        for index in 0..self.graph.nodes.len() {
            if !self.taken.contains(&index) {
                self.visit(index);
            }
        }
    }

    fn visit(&mut self, index: usize) {
        let graph = self.graph;
        let node = &graph.nodes[index];
        if self.integer.contains(&index) {
            let (output, bounds) = self.with_activation(index);
            self.plan.layers.push(Layer {
                node: index,
                name: node.name.clone(),
                input: node.input[0].clone(),
                output: output.clone(),
            });
            self.own(&output, bounds, None);
            return;
        }
        let Some(output) = node.output.first() else {
            return;
        };
        if is_mover(graph, node) && self.has(&node.input[0]) && !graph.is_pinned(output) {
            self.share(output, &node.input[0]);
        } else if is_op(node, "Concat") && self.wants_concat(node) {
            self.own(output, UNBOUNDED, None);
            for input in &node.input {
                self.join(input, output);
            }
            // Its values are those of its parts.
            self.sources.remove(&self.index[output]);
        } else if is_one_of(node, &ELEMENTWISE) && self.wants_elementwise(node) {
            let (output, bounds) = self.with_activation(index);
            let fixed = is_op(node, "Sigmoid").then_some((0.0, 255.0 / 256.0));
            self.own(&output, bounds, fixed);
        } else {
            for output in &node.output {
                if self.is_read_by_integers(output) {
                    self.own(output, UNBOUNDED, None);
                }
            }
        }
    }

    /// What a node makes, after the activation behind it, which is dropped.
    fn with_activation(&mut self, index: usize) -> (String, (f64, f64)) {
        match activation(self.graph, self.readers, index) {
            None => (self.graph.nodes[index].output[0].clone(), UNBOUNDED),
            Some(found) => {
                self.plan.dropped.insert(index, found.node);
                self.taken.insert(found.node);
                let output = self.graph.nodes[found.node].output[0].clone();
                (output, found.bounds)
            }
        }
    }

    fn wants_concat(&self, node: &NodeProto) -> bool {
        let all = node.input.iter().all(|input| self.has(input));
        all && !self.graph.is_pinned(&node.output[0]) && self.feeds.contains(&node.output[0])
    }

    fn wants_elementwise(&self, node: &NodeProto) -> bool {
        let all = node.input.iter().all(|input| self.has(input));
        all && self.feeds.contains(&node.output[0]) && !self.keep.contains_key(&node.name)
    }

    fn is_read_by_integers(&self, tensor: &str) -> bool {
        let readers = self.readers.get(tensor).into_iter().flatten();
        let mut reading = readers.filter(|index| self.integer.contains(*index));
        reading.any(|index| self.graph.nodes[*index].input[0] == tensor)
    }

    fn has(&self, tensor: &str) -> bool {
        self.index.contains_key(tensor)
    }

    fn add(&mut self, tensor: &str) -> usize {
        let index = self.parents.len();
        self.parents.push(index);
        self.members.push(tensor.to_owned());
        self.index.insert(tensor.to_owned(), index);
        index
    }

    fn own(&mut self, tensor: &str, bounds: (f64, f64), fixed: Option<(f64, f64)>) {
        let index = self.add(tensor);
        let tensor = tensor.to_owned();
        self.sources.insert(
            index,
            Source {
                tensor,
                bounds,
                fixed,
            },
        );
    }

    fn share(&mut self, tensor: &str, with: &str) {
        self.add(tensor);
        self.join(tensor, with);
    }

    fn root(&self, mut index: usize) -> usize {
        while self.parents[index] != index {
            index = self.parents[index];
        }
        index
    }

    fn join(&mut self, a: &str, b: &str) {
        let (a, b) = (self.root(self.index[a]), self.root(self.index[b]));
        self.parents[a.max(b)] = a.min(b);
    }

    fn finish(self) -> Plan {
        let mut plan = self.plan;
        let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
        for (index, tensor) in self.members.iter().enumerate() {
            let mut root = index;
            while self.parents[root] != root {
                root = self.parents[root];
            }
            let number = *numbers.entry(root).or_insert_with(|| {
                plan.groups.push(Group::default());
                plan.groups.len() - 1
            });
            let group = &mut plan.groups[number];
            group.members.push(tensor.clone());
            group.sources.extend(self.sources.get(&index).cloned());
            plan.group_of.insert(tensor.clone(), number);
        }
        plan
    }
}
