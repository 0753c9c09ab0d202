//! TFLite detectors -> ONNX.
//!
//! The file's graph up to the inputs of `TFLite_Detection_PostProcess` becomes an ONNX graph that gives the
//! raw heads; the operator's options, its anchors and the file's label map become the model
//! file. Quantised graphs keep their numbers: `convert` says in which form, `residual` how additions
//! come out as in `LiteRT`.
//!
//! The file is somebody else's: each offset, length and index in it is checked where it is used.

mod convert;
mod error;
mod flatbuffer;
mod flexbuffer;
mod metadata;
mod names;
mod postprocess;
mod residual;
mod schema;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

pub use error::{Fault, ImportError, Reason};
pub use metadata::Metadata;
pub use postprocess::Rules;

use crate::model::onnx::builder::Axis;
use crate::model::onnx::proto::element_type;
use crate::postprocess::Activation;
use convert::{builtin, Converter};
use schema::{Model, Operator};

/// Name of the boxes in the ONNX file.
pub const RAW_BOXES: &str = "raw_boxes";
/// Name of the scores in the ONNX file.
pub const RAW_SCORES: &str = "raw_scores";

/// A converted model.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The ONNX file; the same input gives the same bytes.
    pub onnx: Vec<u8>,
    /// The anchors that the file holds, as (`y_center`, `x_center`, `height`, `width`).
    pub anchors: Option<Vec<[f32; 4]>>,
    /// What the file's own post-processing is told; `None` when it has none.
    pub rules: Option<Rules>,
    /// What the file says of itself.
    pub metadata: Metadata,
    /// What was found and made.
    pub summary: ImportSummary,
}

/// What an import found and made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImportSummary {
    /// Name of the input `[batch, height, width, 3]`, RGB: u8 for quantised models, else f32.
    pub input: &'static str,
    /// Height of the input in pixels.
    pub height: u32,
    /// Width of the input in pixels.
    pub width: u32,
    /// Whether the input is u8.
    pub quantized_input: bool,
    /// How many boxes the network predicts.
    pub anchor_count: u32,
    /// Columns of the score head, background included.
    pub score_columns: u32,
    /// What the file applies to the scores; not part of the ONNX graph.
    pub activation: Activation,
    /// Tensor of the file from which the boxes are taken.
    pub boxes_from: String,
    /// Tensor of the file from which the scores are taken.
    pub scores_from: String,
    /// Operators in the file.
    pub source_operators: usize,
    /// Nodes in the ONNX file by operator.
    pub operators: BTreeMap<String, usize>,
    /// Numbers learned: elements of the weights and biases of all convolutions.
    pub parameters: u64,
}

/// Where the heads are: indexes of tensors.
struct Heads {
    boxes: usize,
    scores: usize,
    anchors: Option<usize>,
    activation: Activation,
    rules: Option<Rules>,
}

/// Converts the file at `path`; with `dequantize`, to f32 throughout.
///
/// # Errors
/// [`ImportError`].
pub fn import(path: &Path, dequantize: bool) -> Result<Imported, ImportError> {
    let located = |fault| ImportError {
        path: path.to_owned(),
        fault,
    };
    let bytes = std::fs::read(path).map_err(|source| located(Fault::Read(source)))?;
    convert_bytes(&bytes, dequantize).map_err(located)
}

/// As [`import`], of a file's contents.
///
/// # Errors
/// [`Fault`].
pub fn convert_bytes(bytes: &[u8], dequantize: bool) -> Result<Imported, Fault> {
    let model = Model::parse(bytes)?;
    let heads = find_heads(&model)?;
    let mut converter = Converter::new(&model, dequantize)?;
    converter.convert_for(&[heads.boxes, heads.scores])?;
    let boxes = list(&converter, heads.boxes, "box", "[1,N,4]")?;
    let scores = list(
        &converter,
        heads.scores,
        "score",
        "[1,N,classes], N as of the boxes",
    )?;
    let [rows, columns] = scores;
    if boxes != [rows, 4] {
        return Err(head_shape(
            &model,
            "box",
            heads.boxes,
            "[1,N,4], N as of the scores",
        ));
    }
    let name = |index| converter.computed(index).map(|tensor| &tensor.name);
    if name(heads.boxes) == name(heads.scores) {
        return Err(head_shape(
            &model,
            "score",
            heads.scores,
            "another tensor than the boxes",
        ));
    }
    if let Some(rules) = &heads.rules {
        let classes = i64::from(rules.classes);
        if columns != classes && columns != classes + 1 {
            let expected = "as wide as the classes of its post-processing, or one more";
            return Err(head_shape(&model, "score", heads.scores, expected));
        }
    }
    let anchors = match heads.anchors {
        Some(index) => Some(anchor_rows(&model, index, rows)?),
        None => None,
    };
    expose(&mut converter, heads.boxes, RAW_BOXES, boxes);
    expose(&mut converter, heads.scores, RAW_SCORES, scores);

    let [height, width] = converter.picture;
    let quantized_input = converter.picture_encoding.is_some();
    let builder = converter.builder;
    let mut operators = BTreeMap::new();
    for node in builder.nodes() {
        *operators.entry(node.op_type.clone()).or_insert(0) += 1;
    }
    let learned = builder.constants().iter().filter(|constant| {
        let element = match constant.data_type {
            element_type::FLOAT => !constant.dims.is_empty(),
            element_type::INT8 | element_type::INT32 => true,
            _ => false,
        };
        element && !constant.name.ends_with("/scale") && !constant.name.ends_with("/zero")
    });
    let as_u32 = |length: i64| u32::try_from(length).unwrap_or(u32::MAX);
    let summary = ImportSummary {
        input: convert::PICTURE,
        height,
        width,
        quantized_input,
        anchor_count: as_u32(rows),
        score_columns: as_u32(columns),
        activation: heads.activation,
        boxes_from: model.tensor(heads.boxes)?.name,
        scores_from: model.tensor(heads.scores)?.name,
        source_operators: model.operator_count(),
        operators,
        parameters: learned
            .map(|constant| constant.dims.iter().product::<i64>().unsigned_abs())
            .sum(),
    };
    Ok(Imported {
        onnx: builder.encode(),
        anchors,
        rules: heads.rules,
        metadata: metadata::read(&model),
        summary,
    })
}

/// The operator that makes each tensor, for walks back from the heads.
fn maker<'m>(model: &Model<'m>, tensor: usize) -> Result<Option<Operator<'m>>, Fault> {
    for index in (0..model.operator_count()).rev() {
        let op = model.operator(index)?;
        if op
            .outputs
            .iter()
            .any(|&output| usize::try_from(output) == Ok(tensor))
        {
            return Ok(Some(op));
        }
    }
    Ok(None)
}

fn find_heads(model: &Model<'_>) -> Result<Heads, Fault> {
    for index in (0..model.operator_count()).rev() {
        let op = model.operator(index)?;
        if op.code != builtin::CUSTOM || op.custom.as_deref() != Some(postprocess::NAME) {
            continue;
        }
        let (scores, activation) = before_activation(model, op.input(1)?)?;
        return Ok(Heads {
            boxes: stored(model, op.input(0)?)?,
            scores,
            anchors: Some(op.input(2)?),
            activation,
            rules: Some(postprocess::rules(op.custom_options)?),
        });
    }
    heads_by_shape(model)
}

/// The outputs `[1, N, 4]` and `[1, N, classes]` of a graph without post-processing.
fn heads_by_shape(model: &Model<'_>) -> Result<Heads, Fault> {
    let outputs = model.outputs();
    let mut found = Vec::new();
    let mut lists = Vec::new();
    for &output in &outputs {
        let index = usize::try_from(output).unwrap_or(usize::MAX);
        let facts = model.tensor(index)?;
        found.push(format!("`{}` {:?}", facts.name, facts.shape));
        if let [1, rows, columns] = facts.shape[..] {
            lists.push((index, rows, columns));
        }
    }
    let (boxes, scores) = match lists[..] {
        [(boxes, n, 4), (scores, m, columns)] if n == m && columns != 4 => (boxes, scores),
        [(scores, m, columns), (boxes, n, 4)] if n == m && columns != 4 => (boxes, scores),
        _ => {
            found.truncate(8);
            return Err(Fault::NoHeads {
                found: format!("it has {}", found.join(", ")),
            });
        }
    };
    let (scores, activation) = before_activation(model, scores)?;
    Ok(Heads {
        boxes: stored(model, boxes)?,
        scores,
        anchors: None,
        activation,
        rules: None,
    })
}

/// What a final `DEQUANTIZE` reads: the graph's own one is written in its place.
fn stored(model: &Model<'_>, tensor: usize) -> Result<usize, Fault> {
    match maker(model, tensor)? {
        Some(op) if op.code == builtin::DEQUANTIZE => op.input(0),
        _ => Ok(tensor),
    }
}

/// The logits that a final activation reads, and which one it is.
fn before_activation(model: &Model<'_>, scores: usize) -> Result<(usize, Activation), Fault> {
    let mut tensor = stored(model, scores)?;
    let Some(mut op) = maker(model, tensor)? else {
        return Ok((tensor, Activation::None));
    };
    // Signed graphs move the probabilities to another encoding.
    if op.code == builtin::QUANTIZE {
        let before = stored(model, op.input(0)?)?;
        match maker(model, before)? {
            Some(next) if matches!(next.code, builtin::LOGISTIC | builtin::SOFTMAX) => {
                (tensor, op) = (before, next);
            }
            _ => return Ok((tensor, Activation::None)),
        }
    }
    match op.code {
        builtin::LOGISTIC => Ok((stored(model, op.input(0)?)?, Activation::Sigmoid)),
        builtin::SOFTMAX if (op.option_f32(0, 0.0)? - 1.0).abs() < f32::EPSILON => {
            Ok((stored(model, op.input(0)?)?, Activation::Softmax))
        }
        _ => Ok((tensor, Activation::None)),
    }
}

/// Rows and columns of head `index`, which is `[1, rows, columns]` or `[1, rows, 1, columns]`.
fn list(
    converter: &Converter<'_>,
    index: usize,
    head: &'static str,
    expected: &'static str,
) -> Result<[i64; 2], Fault> {
    let tensor = converter.computed(index);
    match tensor.map(|tensor| &tensor.shape[..]) {
        Some(&([1, rows, columns] | [1, rows, 1, columns])) => Ok([rows, columns]),
        _ => Err(head_shape(converter.model, head, index, expected)),
    }
}

fn head_shape(
    model: &Model<'_>,
    head: &'static str,
    index: usize,
    expected: &'static str,
) -> Fault {
    match model.tensor(index) {
        Ok(facts) => Fault::Head {
            head,
            tensor: facts.name,
            found: format!("{} {:?}", facts.kind.name(), facts.shape),
            expected,
        },
        Err(fault) => fault,
    }
}

/// The anchors of the post-processing operator: a constant `[rows, 4]`.
fn anchor_rows(model: &Model<'_>, index: usize, rows: i64) -> Result<Vec<[f32; 4]>, Fault> {
    let facts = model.tensor(index)?;
    let values = convert::real_values(&facts).filter(|_| facts.shape == [rows, 4]);
    let Some(values) = values else {
        let expected = "a constant [N,4] of numbers, N as of the boxes";
        return Err(head_shape(model, "anchor", index, expected));
    };
    Ok(values.as_chunks().0.to_vec())
}

/// Makes head `index` an output under `name`, as f32 `[batch, rows, columns]`.
fn expose(
    converter: &mut Converter<'_>,
    index: usize,
    name: &'static str,
    [rows, columns]: [i64; 2],
) {
    let tensor = converter
        .computed(index)
        .expect("its shape was looked at")
        .clone();
    let shape = vec![1, rows, columns];
    let ready = tensor.shape == shape && tensor.name != convert::PICTURE;
    let tensor = if ready {
        tensor
    } else {
        converter.reshape_to(name, &tensor, shape)
    };
    let made = converter.float(&tensor, convert::Layout::Tflite);
    let axes = [
        Axis::Symbol(convert::BATCH),
        Axis::Fixed(rows as usize),
        Axis::Fixed(columns as usize),
    ];
    converter.builder.output(&made, name, &axes);
}
