//! Whether a file can be read and written again without losing anything.
//!
//! [`super::proto`] drops fields that it does not name, as every reader of the format does. A program that edits a
//! file must not do that in silence, so [`first_unknown_field`] walks the bytes beside the decoder.

/// A message of the format whose fields [`super::proto`] names one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Model,
    OperatorSetId,
    StringStringEntry,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    TensorShape,
    Dimension,
}

/// A field that would be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// The message that has it.
    pub message: &'static str,
    /// Its number.
    pub number: u64,
}

/// What is at a field.
enum Field {
    /// A number, a text, bytes or a message that is carried as bytes.
    Plain,
    /// A message to look into.
    Inner(Message),
}

impl Message {
    const fn name(self) -> &'static str {
        match self {
            Self::Model => "ModelProto",
            Self::OperatorSetId => "OperatorSetIdProto",
            Self::StringStringEntry => "StringStringEntryProto",
            Self::Graph => "GraphProto",
            Self::Node => "NodeProto",
            Self::Attribute => "AttributeProto",
            Self::Tensor => "TensorProto",
            Self::ValueInfo => "ValueInfoProto",
            Self::Type => "TypeProto",
            Self::TensorType => "TypeProto.Tensor",
            Self::TensorShape => "TensorShapeProto",
            Self::Dimension => "TensorShapeProto.Dimension",
        }
    }

    /// `None` for a number that [`super::proto`] does not have.
    fn field(self, number: u64) -> Option<Field> {
        let (inner, plain): (&[(u64, Self)], &[u64]) = match self {
            Self::Model => (
                &[
                    (7, Self::Graph),
                    (8, Self::OperatorSetId),
                    (14, Self::StringStringEntry),
                ],
                &[1, 2, 3, 4, 5, 6, 20, 25, 26],
            ),
            Self::OperatorSetId | Self::StringStringEntry => (&[], &[1, 2]),
            Self::Graph => (
                &[
                    (1, Self::Node),
                    (5, Self::Tensor),
                    (11, Self::ValueInfo),
                    (12, Self::ValueInfo),
                    (13, Self::ValueInfo),
                    (16, Self::StringStringEntry),
                ],
                &[2, 10, 14, 15],
            ),
            Self::Node => (
                &[(5, Self::Attribute), (9, Self::StringStringEntry)],
                &[1, 2, 3, 4, 6, 7, 8, 10],
            ),
            Self::Attribute => (
                &[
                    (5, Self::Tensor),
                    (6, Self::Graph),
                    (10, Self::Tensor),
                    (11, Self::Graph),
                ],
                &[1, 2, 3, 4, 7, 8, 9, 13, 14, 15, 20, 21, 22, 23],
            ),
            Self::Tensor => (
                &[(13, Self::StringStringEntry), (16, Self::StringStringEntry)],
                &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14],
            ),
            Self::ValueInfo => (&[(2, Self::Type), (4, Self::StringStringEntry)], &[1, 3]),
            Self::Type => (&[(1, Self::TensorType)], &[4, 5, 6, 7, 8, 9]),
            Self::TensorType => (&[(2, Self::TensorShape)], &[1]),
            Self::TensorShape => (&[(1, Self::Dimension)], &[]),
            Self::Dimension => (&[], &[1, 2, 3]),
        };
        let found = inner.iter().find(|(own, _)| *own == number);
        found
            .map(|(_, message)| Field::Inner(*message))
            .or_else(|| plain.contains(&number).then_some(Field::Plain))
    }
}

/// The first field of an encoded model that decoding would drop; `None` when everything is kept.
///
/// `file` must decode as a [`super::proto::ModelProto`]: what does not hold together is passed over here, because the
/// decoder says it better.
pub fn first_unknown_field(file: &[u8]) -> Option<UnknownField> {
    walk(file, Message::Model)
}

fn walk(mut bytes: &[u8], message: Message) -> Option<UnknownField> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let (number, wire_type) = (key >> 3, key & 7);
        let Some(field) = message.field(number) else {
            return Some(UnknownField {
                message: message.name(),
                number,
            });
        };
        match wire_type {
            0 => {
                varint(&mut bytes)?;
            }
            1 => bytes = bytes.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (own, rest) = bytes.split_at_checked(length)?;
                if let Field::Inner(inner) = field {
                    let lost = walk(own, inner);
                    if lost.is_some() {
                        return lost;
                    }
                }
                bytes = rest;
            }
            5 => bytes = bytes.get(4..)?,
            _ => return None,
        }
    }
    None
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::model::onnx::proto::{GraphProto, ModelProto, NodeProto};

    fn model() -> ModelProto {
        ModelProto {
            ir_version: 8,
            graph: Some(GraphProto {
                node: vec![NodeProto {
                    name: "a node".to_owned(),
                    ..NodeProto::default()
                }],
                ..GraphProto::default()
            }),
            functions: vec![vec![1, 2, 3]],
            ..ModelProto::default()
        }
    }

    #[test]
    fn what_is_carried_as_bytes_comes_back() {
        let bytes = model().encode_to_vec();
        assert_eq!(first_unknown_field(&bytes), None);
        assert_eq!(ModelProto::decode(bytes.as_slice()).unwrap(), model());
    }

    #[test]
    fn a_field_of_a_later_version_is_found_at_any_depth() {
        let mut outer = model().encode_to_vec();
        // Field 99, a number: 99 << 3 = 792, as a varint of two bytes.
        outer.extend([0x98, 0x06, 1]);
        let unknown = |message| {
            Some(UnknownField {
                message,
                number: 99,
            })
        };
        assert_eq!(first_unknown_field(&outer), unknown("ModelProto"));
        // graph (7) { node (1) { 99: 1 } }
        let inner = [0x3a, 5, 0x0a, 3, 0x98, 0x06, 1];
        assert_eq!(first_unknown_field(&inner), unknown("NodeProto"));
        assert_eq!(
            first_unknown_field(b"\x3a\xff"),
            None,
            "torn: the decoder's"
        );
    }

    #[test]
    fn the_reference_models_are_written_as_they_were_but_for_fields_that_say_their_default() {
        let Ok(data) = std::env::var("DETBENCH_TEST_DATA") else {
            eprintln!("DETBENCH_TEST_DATA is unset: skipped");
            return;
        };
        let folder = std::path::Path::new(&data).join("models");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "onnx") {
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(first_unknown_field(&bytes), None, "{}", path.display());
            let model = ModelProto::decode(bytes.as_slice()).unwrap();
            let again = model.encode_to_vec();
            assert_eq!(ModelProto::decode(again.as_slice()).unwrap(), model);
            let share = again.len() as f64 / bytes.len() as f64;
            assert!(share > 0.995 && share <= 1.0, "{}: {share}", path.display());
        }
    }
}
