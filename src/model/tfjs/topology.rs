//! `model.json` -> nodes that know each other by index.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::{ImportError, Reason};
use super::weights::WeightGroup;

/// `model.json` as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModelJson {
    model_topology: TopologyJson,
    pub(super) weights_manifest: Vec<WeightGroup>,
}

#[derive(Debug, Deserialize)]
struct TopologyJson {
    node: Vec<NodeJson>,
}

#[derive(Debug, Deserialize)]
struct NodeJson {
    name: String,
    op: String,
    #[serde(default)]
    input: Vec<String>,
    #[serde(default)]
    attr: Map<String, Value>,
}

/// An output of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InputRef {
    pub(super) node: usize,
    pub(super) output: usize,
}

/// A node of the TensorFlow graph.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) op: String,
    pub(super) inputs: Vec<InputRef>,
    attributes: Map<String, Value>,
}

/// All nodes; each input names one of them.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// For each node, who reads it (each reader once for each input).
    pub(super) readers: Vec<Vec<usize>>,
}

/// Reads `text`, which came from `path`.
pub(super) fn parse(text: &[u8], path: &Path) -> Result<(Graph, Vec<WeightGroup>), ImportError> {
    let model: ModelJson = serde_json::from_slice(text).map_err(|source| {
        if is_layers_model(text) {
            ImportError::LayersModel {
                path: path.to_owned(),
            }
        } else {
            ImportError::Json {
                path: path.to_owned(),
                source,
            }
        }
    })?;
    Ok((link(model.model_topology.node)?, model.weights_manifest))
}

fn is_layers_model(text: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(text) else {
        return false;
    };
    let layers = value.pointer("/modelTopology/model_config").is_some();
    layers || value.get("format").and_then(Value::as_str) == Some("layers-model")
}

fn link(nodes: Vec<NodeJson>) -> Result<Graph, ImportError> {
    let mut index_of = HashMap::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        if index_of.insert(node.name.clone(), index).is_some() {
            return Err(ImportError::DuplicateNode {
                node: node.name.clone(),
            });
        }
    }
    let mut readers = vec![Vec::new(); nodes.len()];
    let mut linked = Vec::with_capacity(nodes.len());
    for (reader, node) in nodes.into_iter().enumerate() {
        let mut inputs = Vec::with_capacity(node.input.len());
        // A leading `^` marks an order without data; a graph without side effects needs none.
        for input in node.input.iter().filter(|input| !input.starts_with('^')) {
            let target = resolve(input, &index_of).ok_or_else(|| ImportError::DanglingInput {
                node: node.name.clone(),
                input: input.clone(),
            })?;
            readers[target.node].push(reader);
            inputs.push(target);
        }
        linked.push(Node {
            name: node.name,
            op: node.op,
            inputs,
            attributes: node.attr,
        });
    }
    Ok(Graph {
        nodes: linked,
        readers,
    })
}

/// `name`, or `name:output`.
fn resolve(input: &str, index_of: &HashMap<String, usize>) -> Option<InputRef> {
    let (name, output) = match input.rsplit_once(':') {
        Some((name, output)) => (name, output.parse().ok()?),
        None => (input, 0),
    };
    let node = *index_of.get(name)?;
    Some(InputRef { node, output })
}

impl Node {
    /// The error that this node cannot be converted for `reason`.
    pub(super) fn unsupported(&self, reason: Reason) -> ImportError {
        ImportError::Unsupported {
            op: self.op.clone(),
            node: self.name.clone(),
            reason,
        }
    }

    fn attribute<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ImportError> {
        let Some(value) = self.attributes.get(key) else {
            return Ok(None);
        };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.unsupported(Reason::Attribute { key, expected })),
        }
    }

    /// A required attribute.
    pub(super) fn required<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        value: Option<T>,
    ) -> Result<T, ImportError> {
        value.ok_or_else(|| self.unsupported(Reason::Attribute { key, expected }))
    }

    /// A whole number.
    pub(super) fn int(&self, key: &'static str) -> Result<Option<i64>, ImportError> {
        self.attribute(key, "a whole number", |value| whole(value.get("i")?))
    }

    /// A number.
    pub(super) fn float(&self, key: &'static str) -> Result<Option<f32>, ImportError> {
        self.attribute(key, "a number", |value| {
            Some(value.get("f")?.as_f64()? as f32)
        })
    }

    /// A truth value; an absent one is false.
    pub(super) fn flag(&self, key: &'static str) -> Result<bool, ImportError> {
        let value = self.attribute(key, "true or false", |value| match value.get("b") {
            Some(value) => value.as_bool(),
            None => Some(false),
        })?;
        Ok(value.unwrap_or(false))
    }

    /// A text: base64 in newer files, a list of bytes in older ones.
    pub(super) fn text(&self, key: &'static str) -> Result<Option<String>, ImportError> {
        self.attribute(key, "a text", |value| {
            String::from_utf8(bytes(value.get("s")?)?).ok()
        })
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &'static str) -> Result<Option<Vec<String>>, ImportError> {
        self.attribute(key, "a list of texts", |value| {
            let list = value.get("list")?.get("s")?.as_array()?;
            let text = |item| String::from_utf8(bytes(item)?).ok();
            list.iter().map(text).collect()
        })
    }

    /// A list of whole numbers.
    pub(super) fn ints(&self, key: &'static str) -> Result<Option<Vec<i64>>, ImportError> {
        self.attribute(key, "a list of whole numbers", |value| {
            let list = value.get("list")?;
            // An empty list is written as `"list": {}` by some converters.
            let Some(list) = list.get("i") else {
                return Some(Vec::new());
            };
            list.as_array()?.iter().map(whole).collect()
        })
    }

    /// Whether the element type `key` is f32: 1 in older files, a name in newer ones.
    pub(super) fn is_float(&self, key: &'static str) -> Result<bool, ImportError> {
        let float = self.attribute(key, "an element type", |value| {
            let value = value.get("type")?;
            Some(value.as_i64() == Some(1) || value.as_str() == Some("DT_FLOAT"))
        })?;
        Ok(float.unwrap_or(false))
    }

    /// A shape, `None` for a length that is not known; an unknown rank reads as an absent shape.
    pub(super) fn shape(&self, key: &'static str) -> Result<Option<Vec<Option<i64>>>, ImportError> {
        let shape = self.attribute(key, "a shape", |value| {
            let shape = value.get("shape")?;
            if shape.get("unknownRank").and_then(Value::as_bool) == Some(true) {
                return Some(None);
            }
            let Some(dims) = shape.get("dim") else {
                return Some(Some(Vec::new()));
            };
            let length = |dim: &Value| match dim.get("size") {
                Some(size) => whole(size).map(|size| (size >= 0).then_some(size)),
                None => Some(Some(0)),
            };
            let dims: Option<Vec<_>> = dims.as_array()?.iter().map(length).collect();
            dims.map(Some)
        })?;
        Ok(shape.flatten())
    }
}

/// 64-bit integers are texts in protobuf's JSON.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => base64(text),
        Value::Array(items) => items
            .iter()
            .map(|item| u8::try_from(item.as_u64()?).ok())
            .collect(),
        _ => None,
    }
}

/// Standard base64, padded or not.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    let (mut window, mut bits) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        window = (window << 6 | u32::from(six)) & 0xFFFF;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            decoded.push((window >> bits & 0xFF) as u8);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_from_base64_and_from_lists_of_bytes() {
        for (text, decoded) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmE", "fooba"),
            ("U0FNRQ==", "SAME"),
        ] {
            assert_eq!(base64(text), Some(decoded.as_bytes().to_vec()), "{text}");
        }
        assert_eq!(base64("Z!"), None);
        let list = serde_json::json!([83, 65, 77, 69]);
        assert_eq!(bytes(&list), Some(b"SAME".to_vec()));
        assert_eq!(bytes(&serde_json::json!([256])), None);
    }

    #[test]
    fn an_input_names_a_node_and_an_output() {
        let names = HashMap::from([("a/b".to_owned(), 3)]);
        let found = |node, output| Some(InputRef { node, output });
        assert_eq!(resolve("a/b", &names), found(3, 0));
        assert_eq!(resolve("a/b:2", &names), found(3, 2));
        assert_eq!(resolve("a/b:x", &names), None);
        assert_eq!(resolve("c", &names), None);
    }
}
