//! TensorFlow.js graph models -> ONNX.
//!
//! A detector exported from the TensorFlow Object Detection API carries a loop that resizes
//! pictures in front and a box decoder behind. Both are cut off: the ONNX file takes pictures of
//! the right size and gives the raw heads, so that post-processing can be measured by itself.

mod convert;
mod cut;
mod error;
mod topology;
mod weights;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

pub use error::{ImportError, Reason};

use crate::model::onnx::builder::Axis;
use crate::model::onnx::proto::element_type;
use crate::postprocess::Activation;
use convert::{describe, Converter, Extent, Tensor};

/// Name of the boxes in the ONNX file.
pub const RAW_BOXES: &str = "raw_boxes";
/// Name of the scores in the ONNX file.
pub const RAW_SCORES: &str = "raw_scores";

/// A converted model.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The ONNX file; the same input gives the same bytes.
    pub onnx: Vec<u8>,
    /// The anchors that the model's decoder holds, as (`y_center`, `x_center`, `height`, `width`).
    pub anchors: Option<Vec<[f32; 4]>>,
    /// What was found and made.
    pub summary: ImportSummary,
}

/// What an import found and made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImportSummary {
    /// Name of the input: f32 `[batch, height, width, 3]`, RGB, 0..=255.
    pub input: &'static str,
    /// Height of the input in pixels.
    pub height: u32,
    /// Width of the input in pixels.
    pub width: u32,
    /// How many boxes the network predicts.
    pub anchor_count: u32,
    /// Columns of the score head, background included.
    pub score_columns: u32,
    /// Whether the graph treats the first score column as background.
    pub background: bool,
    /// What the graph applies to the scores; not part of the ONNX file.
    pub activation: Activation,
    /// Node in the source from which the boxes are taken.
    pub boxes_from: String,
    /// Node in the source from which the scores are taken.
    pub scores_from: String,
    /// Nodes in the source.
    pub source_nodes: usize,
    /// Nodes in the ONNX file by operator.
    pub operators: BTreeMap<String, usize>,
    /// Numbers learned: elements of all f32 constants in the ONNX file.
    pub parameters: u64,
}

/// Converts the model in directory `dir` (or the `model.json` itself).
pub fn import(dir: &Path) -> Result<Imported, ImportError> {
    let model_json = if dir.extension().is_some_and(|extension| extension == "json") {
        dir.to_owned()
    } else {
        dir.join("model.json")
    };
    let text = std::fs::read(&model_json).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            ImportError::NoModelJson {
                path: dir.to_owned(),
            }
        }
        _ => ImportError::Read {
            path: model_json.clone(),
            source,
        },
    })?;
    let (graph, groups) = topology::parse(&text, &model_json)?;
    let weights = weights::load(&groups, &model_json)?;
    let regions = cut::regions(&graph);
    let heads = cut::find(&graph, &weights, &regions)?;
    let mut converter = Converter::new(&graph, &weights, &regions.after_convolution);

    let is_boxes = |[_, columns]: [i64; 2]| columns == 4;
    let (boxes_node, boxes) = first_list(&mut converter, &heads.boxes, "box", is_boxes)?;
    let [n, _] = boxes.sides;
    let is_scores = |[rows, _]: [i64; 2]| rows == n;
    let (scores_node, scores) = first_list(&mut converter, &heads.scores, "score", is_scores)?;
    let [_, columns] = scores.sides;
    if boxes.tensor.name == scores.tensor.name {
        return Err(ImportError::HeadsAreOne {
            node: graph.nodes[boxes_node].name.clone(),
        });
    }
    expose(&mut converter, RAW_BOXES, &boxes);
    expose(&mut converter, RAW_SCORES, &scores);
    let (height, width) = converter.picture.ok_or(ImportError::NoInput)?;

    let as_u32 = |length: i64| u32::try_from(length).unwrap_or(u32::MAX);
    let anchors = usize::try_from(n)
        .ok()
        .and_then(|n| cut::anchors(&graph, &weights, n));
    let builder = converter.builder;
    let mut operators = BTreeMap::new();
    for node in builder.nodes() {
        *operators.entry(node.op_type.clone()).or_insert(0) += 1;
    }
    let floats = builder
        .constants()
        .iter()
        .filter(|c| c.data_type == element_type::FLOAT);
    let summary = ImportSummary {
        input: convert::PICTURE,
        height: as_u32(height),
        width: as_u32(width),
        anchor_count: as_u32(n),
        score_columns: as_u32(columns),
        background: heads.background,
        activation: heads.activation,
        boxes_from: graph.nodes[boxes_node].name.clone(),
        scores_from: graph.nodes[scores_node].name.clone(),
        source_nodes: graph.nodes.len(),
        operators,
        parameters: floats.map(|c| c.raw_data.len() as u64 / 4).sum(),
    };
    Ok(Imported {
        onnx: builder.encode(),
        anchors,
        summary,
    })
}

/// A tensor that is a list of rows for each picture.
struct RowList {
    tensor: Tensor,
    /// Rows and columns.
    sides: [i64; 2],
}

/// The first of `chain` that is `[batch, rows, columns]` or `[batch, rows, 1, columns]` and whose
/// rows and columns are `wanted`.
fn first_list(
    converter: &mut Converter<'_>,
    chain: &[usize],
    head: &'static str,
    wanted: impl Fn([i64; 2]) -> bool,
) -> Result<(usize, RowList), ImportError> {
    let mut last = None;
    for &index in chain {
        let tensor = converter.tensor_of(index)?;
        let sides = match tensor.shape[..] {
            [Extent::Batch, Extent::Fixed(rows), Extent::Fixed(columns)]
            | [Extent::Batch, Extent::Fixed(rows), Extent::Fixed(1), Extent::Fixed(columns)]
                if wanted([rows, columns]) =>
            {
                [rows, columns]
            }
            _ => {
                last = Some(tensor);
                continue;
            }
        };
        return Ok((index, RowList { tensor, sides }));
    }
    match last {
        Some(tensor) => Err(ImportError::HeadShape {
            head,
            found: describe(&tensor.shape),
        }),
        None => Err(ImportError::NoInput),
    }
}

/// Makes `list` an output under `name`, as `[batch, rows, columns]`.
fn expose(converter: &mut Converter<'_>, name: &'static str, list: &RowList) {
    let [rows, columns] = list.sides;
    let shape = vec![Extent::Batch, Extent::Fixed(rows), Extent::Fixed(columns)];
    let ready = list.tensor.shape == shape && list.tensor.name != convert::PICTURE;
    let made = if ready {
        list.tensor.name.clone()
    } else {
        converter.reshape_to(name, &list.tensor, shape).name
    };
    let axes = [
        Axis::Symbol(convert::BATCH),
        Axis::Fixed(rows as usize),
        Axis::Fixed(columns as usize),
    ];
    converter.builder.output(&made, name, &axes);
}

#[cfg(test)]
mod tests;
