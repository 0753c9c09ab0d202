//! Whether a graph is what its model file says.

use super::description::{
    DescriptionError, DetectionOutputs, ModelDescription, Outputs, Precision,
};
use super::onnx::{AxisLength, FourColumns, GraphSignature, IntegerLayers, TensorInfo};
use crate::library::preprocessing::{ElementType, Layout};

/// How a graph and its model file differ.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// A tensor that the model file names and the graph does not have.
    #[error("the graph has no {role} `{tensor}` ({}), but the model file `{model}` expects {expected}; pass --model-config", has(present))]
    Missing {
        /// The model file's name.
        model: String,
        /// `input` or `output`.
        role: &'static str,
        /// The tensor.
        tensor: String,
        /// What the graph has in that role.
        present: Vec<String>,
        /// Element type and shape.
        expected: String,
    },
    /// A tensor of another type or shape.
    #[error("the graph's {role} is {found}, but the model file `{model}` expects {expected}; pass --model-config")]
    Differs {
        /// The model file's name.
        model: String,
        /// `input` or `output`.
        role: &'static str,
        /// Name, element type and shape.
        found: String,
        /// Element type and shape.
        expected: String,
    },
    /// More inputs than the picture.
    #[error("the graph also takes {}, which the model file `{model}` does not know", extra.join(", "))]
    ExtraInput {
        /// The model file's name.
        model: String,
        /// The other inputs.
        extra: Vec<String>,
    },
    /// The number of anchors, which the heads must have, cannot be told.
    #[error(transparent)]
    Anchors(#[from] DescriptionError),
}

fn has(present: &[String]) -> String {
    if present.is_empty() {
        "it has none".to_owned()
    } else {
        format!("it has {}", present.join(", "))
    }
}

/// Checks names, element types and shapes of the input and of both heads; an axis whose length
/// the graph leaves open fits.
///
/// `constants` are the graph's, which may hold its anchors.
///
/// # Errors
/// [`SignatureError`].
pub fn check_signature(
    description: &ModelDescription,
    signature: &GraphSignature,
    constants: &FourColumns,
) -> Result<(), SignatureError> {
    let own = &description.input.preprocessing;
    let (height, width) = (i64::from(own.height), i64::from(own.width));
    let picture = match own.layout {
        Layout::Nhwc => [height, width, 3],
        Layout::Nchw | Layout::Chw => [3, height, width],
    };
    let element = match own.element {
        ElementType::F32 => "f32",
        ElementType::U8 => "u8",
    };
    let name = &description.input.name;
    let inputs = &signature.inputs;
    if own.layout.has_batch_axis() {
        check(description, "input", inputs, name, element, &picture)?;
    } else {
        check_one(description, inputs, name, element, &picture)?;
    }
    let others = signature.inputs.iter().filter(|input| input.name != *name);
    let extra: Vec<String> = others.map(ToString::to_string).collect();
    if !extra.is_empty() {
        return Err(SignatureError::ExtraInput {
            model: description.name.clone(),
            extra,
        });
    }
    match &description.outputs {
        Outputs::RawHeads(raw) => {
            let anchors = i64::try_from(raw.anchors.load(constants)?.len()).unwrap_or(i64::MAX);
            let columns = i64::from(raw.heads.score_columns());
            for (name, columns) in [(&raw.heads.boxes, 4), (&raw.heads.scores, columns)] {
                let shape = [anchors, columns];
                let outputs = &signature.outputs;
                check(description, "output", outputs, name, "f32", &shape)?;
            }
            Ok(())
        }
        Outputs::Detections(own) => check_detections(description, own, &signature.outputs),
    }
}

/// Checks names and element types, and that boxes have four numbers; how many slots there are, and whether a graph
/// for one picture has a batch axis, is its own affair.
fn check_detections(
    description: &ModelDescription,
    own: &DetectionOutputs,
    tensors: &[TensorInfo],
) -> Result<(), SignatureError> {
    let numbers: &[&str] = &["f32", "i64"];
    let roles = [
        (
            Some(&own.boxes),
            &["f32"][..],
            "f32[batch,slots,4] or f32[slots,4]",
        ),
        (
            Some(&own.classes),
            numbers,
            "f32 or i64, a number for each slot",
        ),
        (
            Some(&own.scores),
            &["f32"][..],
            "f32, a number for each slot",
        ),
        (
            own.count.as_ref(),
            numbers,
            "f32 or i64, a number for each picture",
        ),
    ];
    for (name, elements, expected) in roles {
        let Some(name) = name else { continue };
        let tensor = find(description, "output", tensors, name, expected)?;
        let is_box = name == &own.boxes;
        let fits = !is_box
            || tensor.shape.as_ref().is_none_or(|axes| {
                matches!(axes.len(), 2 | 3) && axes.last().is_some_and(|axis| axis.admits(4))
            });
        if !fits || !elements.contains(&tensor.element.as_str()) {
            return Err(SignatureError::Differs {
                model: description.name.clone(),
                role: "output",
                found: tensor.to_string(),
                expected: expected.to_owned(),
            });
        }
    }
    Ok(())
}

fn find<'a>(
    description: &ModelDescription,
    role: &'static str,
    tensors: &'a [TensorInfo],
    name: &str,
    expected: &str,
) -> Result<&'a TensorInfo, SignatureError> {
    let found = tensors.iter().find(|tensor| tensor.name == name);
    found.ok_or_else(|| SignatureError::Missing {
        model: description.name.clone(),
        role,
        tensor: name.to_owned(),
        present: tensors.iter().map(ToString::to_string).collect(),
        expected: expected.to_owned(),
    })
}

/// `shape` is that of one picture; the batch comes before it.
fn check(
    description: &ModelDescription,
    role: &'static str,
    tensors: &[TensorInfo],
    name: &str,
    element: &str,
    shape: &[i64],
) -> Result<(), SignatureError> {
    let lengths: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let expected = format!("{element}[batch,{}]", lengths.join(","));
    let tensor = find(description, role, tensors, name, &expected)?;
    let fits = tensor
        .shape
        .as_ref()
        .is_none_or(|axes| match axes.split_first() {
            Some((batch, rest)) => {
                !matches!(batch, AxisLength::Fixed(length) if *length < 1)
                    && rest.len() == shape.len()
                    && rest
                        .iter()
                        .zip(shape)
                        .all(|(axis, &length)| axis.admits(length))
            }
            None => false,
        });
    if fits && tensor.element == element {
        Ok(())
    } else {
        Err(SignatureError::Differs {
            model: description.name.clone(),
            role,
            found: tensor.to_string(),
            expected,
        })
    }
}

/// As [`check`] for the input of a graph that takes one picture, without a batch axis.
fn check_one(
    description: &ModelDescription,
    tensors: &[TensorInfo],
    name: &str,
    element: &str,
    shape: &[i64],
) -> Result<(), SignatureError> {
    let lengths: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let expected = format!("{element}[{}]", lengths.join(","));
    let tensor = find(description, "input", tensors, name, &expected)?;
    let fits = tensor.shape.as_ref().is_none_or(|axes| {
        let mut pairs = axes.iter().zip(shape);
        axes.len() == shape.len() && pairs.all(|(axis, &length)| axis.admits(length))
    });
    if fits && tensor.element == element {
        return Ok(());
    }
    Err(SignatureError::Differs {
        model: description.name.clone(),
        role: "input",
        found: tensor.to_string(),
        expected,
    })
}

/// The precision that a graph really has: int8 when any convolution computes in integers.
pub const fn precision_of(layers: &IntegerLayers) -> Precision {
    if layers.any() {
        Precision::Int8
    } else {
        Precision::Fp32
    }
}
