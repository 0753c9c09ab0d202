//! Post-training quantisation: a float network and pictures -> a network with integer layers, in the form that
//! ONNX Runtime runs fast.
//!
//! ```text
//! load -> prepare -> plan -> calibrate -> encode -> insert -> verify
//! file    Graph      Plan    Observations  Encoded   Graph     Fusion
//! ```
//!
//! Each step is a function of what stands to its left and of the [`Recipe`], so that another recipe on the same
//! pictures begins behind the calibration. Calibration runs a [`crate::runtime::Model`] that the caller opened; the other
//! steps run nothing. This module prints nothing and knows no command line, no labels and no detections.

pub mod bytes;
pub mod calibrate;
pub mod compare;
pub mod encode;
pub mod entrance;
pub mod equalise;
mod error;
pub mod fusion;
pub mod graph;
pub mod insert;
pub mod keep;
pub mod order;
pub mod plan;
pub mod prepare;
pub mod ranges;
pub mod sample;
pub mod settings;
pub mod statistics;
pub mod weights;

pub use self::error::QuantiseError;
pub use self::ranges::{Encoding, RangeMethod};
pub use self::settings::{
    BiasForm, FirstLayers, Granularity, LayerRecipe, Preset, Recipe, CALIBRATION_SIZE, SEED,
};

use prost::Message;

use self::entrance::is_entrance;
use self::graph::Graph;
use crate::model::onnx::lossless::{first_unknown_field, UnknownField};
use crate::model::onnx::proto::{DimensionValue, ModelProto};

/// The oldest operator set with scales per channel.
const OPSET_MIN: i64 = 13;

/// Takes a float model apart, or says why it cannot be quantised.
///
/// # Errors
/// [`QuantiseError`]: integers already, an old operator set, dynamic shapes, several inputs, data elsewhere.
///
/// # Panics
/// When `file` is no ONNX file; the caller has read it before.
pub fn load(file: &[u8]) -> Result<Graph, QuantiseError> {
    if let Some(UnknownField { message, number }) = first_unknown_field(file) {
        return Err(QuantiseError::UnknownField { message, number });
    }
    let model = ModelProto::decode(file).expect("the file was read before");
    check(&model)?;
    Graph::new(model)
}

fn check(model: &ModelProto) -> Result<(), QuantiseError> {
    let graph = model.graph.as_ref().ok_or(QuantiseError::NoGraph)?;
    let integer = |op: &str| {
        op.starts_with("QLinear")
            || op.ends_with("Integer")
            || [
                "QuantizeLinear",
                "DequantizeLinear",
                "DynamicQuantizeLinear",
            ]
            .contains(&op)
    };
    let quantised = graph
        .node
        .iter()
        .filter(|node| integer(&node.op_type) && !is_entrance(graph, node));
    if let Some(first) = quantised.clone().next() {
        return Err(QuantiseError::AlreadyQuantised {
            count: quantised
                .filter(|node| node.op_type == first.op_type)
                .count(),
            operator: first.op_type.clone(),
        });
    }
    let onnx = model.opset_import.iter();
    let mut onnx = onnx.filter(|set| set.domain.is_empty() || set.domain == "ai.onnx");
    let found = onnx.next().map_or(0, |set| set.version);
    if found < OPSET_MIN {
        return Err(QuantiseError::OperatorSet {
            found,
            needed: OPSET_MIN,
        });
    }
    let constants: Vec<&str> = graph
        .initializer
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let fed: Vec<_> = graph
        .input
        .iter()
        .filter(|input| !constants.contains(&input.name.as_str()))
        .collect();
    let [input] = fed.as_slice() else {
        return Err(QuantiseError::InputCount { count: fed.len() });
    };
    let tensor = input
        .value_type
        .as_ref()
        .and_then(|own| own.tensor_type.as_ref());
    let axes = tensor
        .and_then(|own| own.shape.as_ref())
        .map_or(&[][..], |shape| &shape.dim);
    for (axis, dimension) in axes.iter().enumerate() {
        let is_fixed =
            matches!(dimension.value, Some(DimensionValue::Length(length)) if length > 0);
        // Four axes begin with the batch, which calibration sets to one.
        let is_batch = axis == 0 && axes.len() == 4;
        if !is_fixed && !is_batch {
            return Err(QuantiseError::DynamicShape {
                input: input.name.clone(),
                axis,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small whole numbers are exact")]
mod tests;
