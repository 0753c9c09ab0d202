//! Which layers stand directly behind which.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{int_attribute, is_op, Graph};
use super::plan::Plan;

/// A layer among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node's name.
    pub name: String,
    /// Positions of the layers whose output it reads, with only operators in between that are no layers.
    pub before: Vec<usize>,
    /// Whether it also reads the network's input in that way.
    pub reads_input: bool,
    /// Whether each of its channels reads one channel.
    pub is_depthwise: bool,
}

/// The places of a plan's layers, in its order.
pub fn places(graph: &Graph, plan: &Plan) -> Vec<Place> {
    let makers = graph.makers();
    let inputs = graph.inputs();
    let position: BTreeMap<usize, usize> = plan
        .layers
        .iter()
        .enumerate()
        .map(|(position, layer)| (layer.node, position))
        .collect();
    let place = |layer: &super::plan::Layer| {
        let mut before = BTreeSet::new();
        let mut reads_input = false;
        let mut seen = BTreeSet::new();
        let mut open = vec![layer.input.as_str()];
        while let Some(tensor) = open.pop() {
            if !seen.insert(tensor) {
                continue;
            }
            reads_input |= inputs.contains(&tensor);
            let Some(maker) = makers.get(tensor) else {
                continue;
            };
            match position.get(maker) {
                Some(own) => {
                    before.insert(*own);
                }
                None => open.extend(graph.nodes[*maker].input.iter().map(String::as_str)),
            }
        }
        let node = &graph.nodes[layer.node];
        let groups = int_attribute(node, "group", 1);
        let dims = graph.dims(&node.input[1]).unwrap_or_default();
        Place {
            name: layer.name.clone(),
            before: before.into_iter().collect(),
            reads_input,
            is_depthwise: is_op(node, "Conv") && groups > 1 && dims.get(1) == Some(&1),
        }
    };
    plan.layers.iter().map(place).collect()
}
