//! Step 7: whether ONNX Runtime made integer kernels of what was meant to be integer, and of nothing else.

use std::collections::BTreeMap;

use serde::Serialize;

use super::plan::Plan;
use super::QuantiseError;
use crate::model::onnx::proto::ModelProto;

/// Operators of a graph as ONNX Runtime optimised it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fusion {
    /// Convolutions on bytes.
    pub integer_convolutions: usize,
    /// Sums on bytes.
    pub integer_sums: usize,
    /// Convolutions on floats.
    pub float_convolutions: usize,
    /// Nodes that make bytes of floats.
    pub quantise_nodes: usize,
    /// Nodes that make floats of bytes.
    pub dequantise_nodes: usize,
}

/// Counts in the graph that ONNX Runtime wrote.
///
/// # Errors
/// [`QuantiseError::NotFused`], [`QuantiseError::FusedTooMany`].
pub fn verify(optimised: &ModelProto, plan: &Plan) -> Result<Fusion, QuantiseError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let nodes = optimised.graph.iter().flat_map(|graph| &graph.node);
    for node in nodes.clone() {
        *counts.entry(node.op_type.as_str()).or_default() += 1;
    }
    let of = |op: &str| counts.get(op).copied().unwrap_or(0);
    let fusion = Fusion {
        integer_convolutions: of("QLinearConv"),
        integer_sums: of("QLinearAdd"),
        float_convolutions: of("Conv") + of("FusedConv"),
        quantise_nodes: of("QuantizeLinear"),
        dequantise_nodes: of("DequantizeLinear"),
    };
    let planned = plan.layers.len();
    if fusion.integer_convolutions > planned {
        return Err(QuantiseError::FusedTooMany {
            planned,
            found: fusion.integer_convolutions,
        });
    }
    if fusion.integer_convolutions < planned {
        let float: Vec<&str> = nodes
            .filter(|node| node.op_type == "Conv" || node.op_type == "FusedConv")
            .map(|node| node.name.as_str())
            .collect();
        // A fused node has the name of the convolution at the beginning of its own.
        let missing = plan
            .layers
            .iter()
            .filter(|layer| float.iter().any(|name| name.starts_with(&layer.name)));
        return Err(QuantiseError::NotFused {
            planned,
            missing: missing.map(|layer| layer.name.clone()).collect(),
        });
    }
    Ok(fusion)
}
