//! A network that takes bytes and dequantises them at once: the float twin of an imported model, for one.
//!
//! What stands behind the first `DequantizeLinear` is float all the same, so such a network can be quantised. The node itself
//! has to go: a float convolution behind it would be quantised by ONNX Runtime, per tensor, and so it becomes a cast, a
//! difference and a product, which other rules and `--u8-input` know.

use super::graph::{is_op, Graph};
use crate::model::onnx::builder::int;
use crate::model::onnx::proto::{element_type, GraphProto, NodeProto};

/// Whether a node dequantises the network's input with one scale.
pub fn is_entrance(graph: &GraphProto, node: &NodeProto) -> bool {
    let constant = |name: &str| graph.initializer.iter().find(|one| one.name == name);
    let [input, scale, rest @ ..] = node.input.as_slice() else {
        return false;
    };
    let is_one =
        |name: &str| constant(name).is_some_and(|one| one.dims.iter().all(|dim| *dim == 1));
    is_op(node, "DequantizeLinear")
        && graph.input.iter().any(|one| one.name == *input)
        && constant(input).is_none()
        && constant(scale).is_some_and(|one| one.data_type == element_type::FLOAT)
        && is_one(scale)
        && rest.iter().all(|zero| zero.is_empty() || is_one(zero))
}

/// Writes the node that dequantises the input as a cast, a difference and a product; returns how many there were.
pub fn widen(graph: &mut Graph) -> usize {
    let mut count = 0;
    let nodes = std::mem::take(&mut graph.nodes);
    let inputs: Vec<String> = graph.inputs().into_iter().map(str::to_owned).collect();
    for node in nodes {
        match parts(graph, &inputs, &node) {
            None => graph.nodes.push(node),
            Some((scale, zero)) => {
                count += 1;
                let cast = graph.fresh_name(&format!("{}/cast", node.name));
                let to = vec![int("to", i64::from(element_type::FLOAT))];
                let mut last = cast.clone();
                let mut made = vec![NodeProto::making(&cast, "Cast", &[&node.input[0]], to)];
                if zero != 0.0 {
                    let zero = graph.add_floats(&format!("{}/zero", node.name), &[], &[zero]);
                    let name = graph.fresh_name(&format!("{}/centred", node.name));
                    made.push(NodeProto::making(&name, "Sub", &[&last, &zero], vec![]));
                    last = name;
                }
                let scale = graph.add_floats(&format!("{}/scale", node.name), &[], &[scale]);
                let mut product = NodeProto::making(&node.name, "Mul", &[&last, &scale], vec![]);
                product.output.clone_from(&node.output);
                made.push(product);
                graph.nodes.extend(made);
            }
        }
    }
    count
}

/// Scale and zero point of a node that dequantises an input.
fn parts(graph: &Graph, inputs: &[String], node: &NodeProto) -> Option<(f32, f32)> {
    if !is_op(node, "DequantizeLinear") || !inputs.contains(node.input.first()?) {
        return None;
    }
    let scale = graph.floats(node.input.get(1)?).ok()??;
    let &[scale] = scale.data.as_slice() else {
        return None;
    };
    let zero = match node.input.get(2).filter(|name| !name.is_empty()) {
        None => 0.0,
        Some(name) => f32::from(graph.byte(name)?),
    };
    Some((scale, zero))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::model::onnx::builder::{Axis, GraphBuilder};
    use crate::quantise::bytes::byte_input;
    use crate::quantise::plan::{plan, Wishes};
    use crate::quantise::prepare::prepare;
    use crate::quantise::{load, QuantiseError};

    /// Bytes -> floats -> a convolution of one weight, which may be a byte too.
    fn model(is_weight_byte: bool) -> Vec<u8> {
        let mut own = GraphBuilder::new("entrance", &["x", "y"]);
        let axes = [1, 1, 4, 4].map(Axis::Fixed);
        own.typed_input("x", element_type::UINT8, &axes);
        let scale = own.f32_constant("scale", &[], &[0.5]);
        let zero = own.constant("zero", &[], element_type::UINT8, vec![128]);
        let floats = own.node("DequantizeLinear", "floats", &["x", &scale, &zero], vec![]);
        let mut weight = own.f32_constant("weight", &[1, 1, 1, 1], &[2.0]);
        if is_weight_byte {
            let byte = own.constant("byte", &[1, 1, 1, 1], element_type::INT8, vec![4]);
            weight = own.node("DequantizeLinear", "weights", &[&byte, &scale], vec![]);
        }
        let made = own.node("Conv", "conv", &[&floats, &weight], vec![]);
        own.output(&made, "y", &axes);
        own.encode()
    }

    #[test]
    fn an_input_that_is_dequantised_at_once_is_no_quantised_network() {
        let mut graph = load(&model(false)).unwrap();
        let done = prepare(&mut graph).unwrap();
        assert_eq!(done.folded.values().sum::<usize>(), 1);
        let operators: Vec<&str> = graph
            .nodes
            .iter()
            .map(|node| node.op_type.as_str())
            .collect();
        assert_eq!(operators, ["Cast", "Sub", "Mul", "Conv"]);
        // `--u8-input` finds the step that the file had.
        let plan = plan(&graph, &Wishes::default()).unwrap();
        let bytes = byte_input(&graph, &plan, Some((1.0, 0.0))).unwrap();
        assert!((bytes.encoding.scale - 0.5).abs() < 1e-9);
        assert_eq!(bytes.encoding.zero_point, 128);
        assert!(bytes.shift.abs() < 1e-9);
        let written = graph.into_model().encode_to_vec();
        assert!(load(&written).is_ok());
    }

    #[test]
    fn any_other_dequantised_tensor_is_one() {
        let error = load(&model(true)).unwrap_err();
        assert!(
            matches!(&error, QuantiseError::AlreadyQuantised { count: 1, .. }),
            "{error}"
        );
    }
}
