//! Constants of four columns, among which a graph may keep its anchors.

use std::collections::BTreeMap;

use super::proto::{element_type, ModelProto, TensorProto};

/// The f32 constants of shape `[rows, 4]` of a graph, by name.
pub type FourColumns = BTreeMap<String, Vec<[f32; 4]>>;

/// Reads them from the initializers and `Constant` nodes of `model`; one that lies in another file, or whose elements
/// do not fill its shape, is left out.
pub fn four_columns(model: &ModelProto) -> FourColumns {
    let Some(graph) = &model.graph else {
        return FourColumns::new();
    };
    let initializers = graph
        .initializer
        .iter()
        .map(|tensor| (tensor.name.as_str(), tensor));
    let constants = graph
        .node
        .iter()
        .filter(|node| node.op_type == "Constant")
        .filter_map(|node| {
            let tensor = node.attribute.iter().find_map(|one| one.t.as_ref())?;
            Some((node.output.first()?.as_str(), tensor))
        });
    initializers
        .chain(constants)
        .filter_map(|(name, tensor)| Some((name.to_owned(), rows(tensor)?)))
        .collect()
}

fn rows(tensor: &TensorProto) -> Option<Vec<[f32; 4]>> {
    let &[count, 4] = tensor.dims.as_slice() else {
        return None;
    };
    if tensor.data_type != element_type::FLOAT || count < 1 {
        return None;
    }
    let elements: Vec<f32> = if tensor.raw_data.is_empty() {
        tensor.float_data.clone()
    } else {
        let (words, rest) = tensor.raw_data.as_chunks();
        if !rest.is_empty() {
            return None;
        }
        words.iter().map(|&word| f32::from_le_bytes(word)).collect()
    };
    let (rows, rest) = elements.as_chunks();
    (rest.is_empty() && usize::try_from(count) == Ok(rows.len())).then(|| rows.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::proto::GraphProto;

    #[test]
    fn only_whole_float_constants_of_four_columns_are_read() {
        let tensor = |name: &str, dims: &[i64], data_type: i32, floats: &[f32]| TensorProto {
            name: name.to_owned(),
            dims: dims.to_vec(),
            data_type,
            float_data: floats.to_vec(),
            ..TensorProto::default()
        };
        let eight: Vec<f32> = (0..8_u8).map(f32::from).collect();
        let mut raw = tensor("raw", &[2, 4], element_type::FLOAT, &[]);
        raw.raw_data = eight.iter().flat_map(|one| one.to_le_bytes()).collect();
        let mut torn = raw.clone();
        "torn".clone_into(&mut torn.name);
        torn.raw_data.pop();
        let graph = GraphProto {
            initializer: vec![
                tensor("plain", &[2, 4], element_type::FLOAT, &eight),
                raw,
                torn,
                tensor("short", &[3, 4], element_type::FLOAT, &eight),
                tensor("wide", &[1, 8], element_type::FLOAT, &eight),
                tensor("bytes", &[2, 4], element_type::UINT8, &eight),
                tensor("none", &[-1, 4], element_type::FLOAT, &eight),
            ],
            ..GraphProto::default()
        };
        let model = ModelProto {
            graph: Some(graph),
            ..ModelProto::default()
        };
        let found = four_columns(&model);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["plain", "raw"]);
        assert_eq!(found["plain"], [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]);
        assert_eq!(found["raw"], found["plain"]);
    }
}
