//! Where the network ends and the graph's own post-processing begins.
//!
//! Found by structure, not by name. The score head feeds the last activation (`Sigmoid`,
//! `Softmax`) that no convolution follows; the box head is what the `Exp` of the box decoder
//! comes from, through nothing but scaling and rearranging.

use std::collections::BTreeSet;

use super::error::ImportError;
use super::topology::Graph;
use super::weights::{Constant, Weights};
use crate::postprocess::Activation;

/// Operators that only scale, rearrange or rename.
const REARRANGING: [&str; 13] = [
    "Cast",
    "ExpandDims",
    "Identity",
    "Mul",
    "RealDiv",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "StridedSlice",
    "Transpose",
    "Unpack",
    "Div",
];

/// What lies before and behind the convolutions.
#[derive(Debug)]
pub(super) struct Regions {
    /// For each node, whether a convolution is among its ancestors, itself included.
    pub(super) after_convolution: Vec<bool>,
    /// For each node, whether a convolution is among its descendants, itself included.
    before_convolution: Vec<bool>,
}

/// Where the heads are.
#[derive(Debug)]
pub(super) struct Heads {
    /// Nodes from which the boxes may be taken, the one nearest to the convolutions first.
    pub(super) boxes: Vec<usize>,
    /// The same for the scores.
    pub(super) scores: Vec<usize>,
    /// What the graph applies to the scores.
    pub(super) activation: Activation,
    /// Whether the graph drops the first class after the activation.
    pub(super) background: bool,
}

/// Divides the graph.
pub(super) fn regions(graph: &Graph) -> Regions {
    let convolutions: Vec<usize> = (0..graph.nodes.len())
        .filter(|&index| {
            let op = graph.nodes[index].op.as_str();
            op.contains("Conv2D") || op.contains("Conv2d")
        })
        .collect();
    let forward = |index: usize| graph.readers[index].clone();
    let backward = |index: usize| graph.nodes[index].inputs.iter().map(|i| i.node).collect();
    Regions {
        after_convolution: reached(graph, &convolutions, forward),
        before_convolution: reached(graph, &convolutions, backward),
    }
}

fn reached(graph: &Graph, from: &[usize], next: impl Fn(usize) -> Vec<usize>) -> Vec<bool> {
    let mut seen = vec![false; graph.nodes.len()];
    let mut stack = from.to_vec();
    while let Some(index) = stack.pop() {
        if !std::mem::replace(&mut seen[index], true) {
            stack.extend(next(index));
        }
    }
    seen
}

/// Finds both heads.
pub(super) fn find(
    graph: &Graph,
    weights: &Weights,
    regions: &Regions,
) -> Result<Heads, ImportError> {
    let behind_network = |ops: &[&str]| -> Vec<usize> {
        let wanted = |&index: &usize| {
            regions.after_convolution[index]
                && !regions.before_convolution[index]
                && ops.contains(&graph.nodes[index].op.as_str())
        };
        (0..graph.nodes.len()).filter(wanted).collect()
    };
    let activations = behind_network(&["Sigmoid", "Softmax"]);
    let scores = single_chain(
        graph,
        regions,
        &activations,
        "score",
        "a Sigmoid or Softmax that no convolution follows",
    )?;
    let exponentials = behind_network(&["Exp"]);
    let boxes = single_chain(
        graph,
        regions,
        &exponentials,
        "box",
        "the Exp of a box decoder behind the last convolution",
    )?;
    let softmax = graph.nodes[activations[0]].op == "Softmax";
    Ok(Heads {
        boxes,
        scores,
        activation: if softmax {
            Activation::Softmax
        } else {
            Activation::Sigmoid
        },
        background: drops_first_class(graph, weights, &activations),
    })
}

/// The chain that all of `starts` come from, its far end first.
fn single_chain(
    graph: &Graph,
    regions: &Regions,
    starts: &[usize],
    head: &'static str,
    looked_for: &'static str,
) -> Result<Vec<usize>, ImportError> {
    let mut chains: Vec<Vec<usize>> = Vec::new();
    for &start in starts {
        let chain = chain_to(graph, regions, start);
        if chains.iter().all(|known| known.first() != chain.first()) {
            chains.push(chain);
        }
    }
    match chains.len() {
        0 => Err(ImportError::HeadNotFound { head, looked_for }),
        1 => Ok(chains.remove(0)),
        _ => Err(ImportError::HeadAmbiguous {
            head,
            nodes: chains
                .iter()
                .filter_map(|chain| chain.first())
                .map(|&index| graph.nodes[index].name.clone())
                .collect(),
        }),
    }
}

/// Walks from `start` towards the network while only rearranging operators are met; the far end
/// comes first, `start` itself is left out.
fn chain_to(graph: &Graph, regions: &Regions, start: usize) -> Vec<usize> {
    let mut chain = Vec::new();
    let mut seen = BTreeSet::from([start]);
    let mut current = start;
    loop {
        let inputs = graph.nodes[current].inputs.iter().map(|input| input.node);
        let mut inputs = inputs.filter(|&input| regions.after_convolution[input]);
        // An operator that joins two results of the network is not mere rearranging.
        let (Some(next), None) = (inputs.next(), inputs.next()) else {
            break;
        };
        if !seen.insert(next) {
            break;
        }
        chain.push(next);
        if !REARRANGING.contains(&graph.nodes[next].op.as_str()) {
            break;
        }
        current = next;
    }
    chain.reverse();
    chain
}

/// Whether a reader of an activation slices the first of the last axis away.
fn drops_first_class(graph: &Graph, weights: &Weights, activations: &[usize]) -> bool {
    activations.iter().any(|&activation| {
        graph.readers[activation].iter().any(|&reader| {
            let node = &graph.nodes[reader];
            let slices = matches!(node.op.as_str(), "Slice" | "StridedSlice");
            let begin = node
                .inputs
                .get(1)
                .map(|input| &graph.nodes[input.node].name);
            let begin = begin.and_then(|name| weights.get(name)?.integers()?.last().copied());
            slices && begin == Some(1)
        })
    })
}

/// The anchors that the graph's decoder holds for `count` boxes, as (`y_center`, `x_center`,
/// `height`, `width`); `None` unless there is exactly one constant of their shape.
pub(super) fn anchors(graph: &Graph, weights: &Weights, count: usize) -> Option<Vec<[f32; 4]>> {
    let mut candidates = (0..graph.nodes.len()).filter(|&index| {
        let node = &graph.nodes[index];
        let shape = weights.get(&node.name).map(|constant| &constant.shape[..]);
        node.op == "Const" && matches!(shape, Some([n, 4] | [1, n, 4]) if *n == count)
    });
    let (index, None) = (candidates.next()?, candidates.next()) else {
        return None;
    };
    let constant: &Constant = weights.get(&graph.nodes[index].name)?;
    let rows = constant.floats()?.chunks_exact(4);
    let rows = rows.map(|row| [row[0], row[1], row[2], row[3]]);
    Some(if are_corners(graph, index) {
        rows.map(centered).collect()
    } else {
        rows.collect()
    })
}

/// Corners to centre and size in f32, as the graph itself does it.
fn centered([y_min, x_min, y_max, x_max]: [f32; 4]) -> [f32; 4] {
    let (height, width) = (y_max - y_min, x_max - x_min);
    [y_min + height * 0.5, x_min + width * 0.5, height, width]
}

/// Whether the decoder takes differences between the columns of the constant: only corners need
/// that.
fn are_corners(graph: &Graph, constant: usize) -> bool {
    let mut stack = vec![constant];
    let mut seen = vec![false; graph.nodes.len()];
    while let Some(index) = stack.pop() {
        if std::mem::replace(&mut seen[index], true) {
            continue;
        }
        for &reader in &graph.readers[index] {
            let node = &graph.nodes[reader];
            let splits = matches!(graph.nodes[index].op.as_str(), "Unpack" | "Split");
            if splits && node.op == "Sub" && node.inputs.iter().all(|input| input.node == index) {
                return true;
            }
            if node.op == "Tile" || node.op == "Unpack" || REARRANGING.contains(&node.op.as_str()) {
                stack.push(reader);
            }
        }
    }
    false
}
