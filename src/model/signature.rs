//! Whether a graph is what its model file says.

use super::description::{DescriptionError, ModelDescription, Precision};
use super::onnx::{AxisLength, GraphSignature, IntegerLayers, TensorInfo};
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
pub fn check_signature(
    description: &ModelDescription,
    signature: &GraphSignature,
) -> Result<(), SignatureError> {
    let own = &description.input.preprocessing;
    let (height, width) = (i64::from(own.height), i64::from(own.width));
    let picture = match own.layout {
        Layout::Nhwc => [height, width, 3],
        Layout::Nchw => [3, height, width],
    };
    let element = match own.element {
        ElementType::F32 => "f32",
        ElementType::U8 => "u8",
    };
    let name = &description.input.name;
    check(
        description,
        "input",
        &signature.inputs,
        name,
        element,
        &picture,
    )?;
    let others = signature.inputs.iter().filter(|input| input.name != *name);
    let extra: Vec<String> = others.map(ToString::to_string).collect();
    if !extra.is_empty() {
        return Err(SignatureError::ExtraInput {
            model: description.name.clone(),
            extra,
        });
    }
    let heads = &description.heads;
    let anchors = i64::try_from(description.anchors.load()?.len()).unwrap_or(i64::MAX);
    let columns = i64::from(heads.score_columns());
    for (name, columns) in [(&heads.boxes, 4), (&heads.scores, columns)] {
        let shape = [anchors, columns];
        check(
            description,
            "output",
            &signature.outputs,
            name,
            "f32",
            &shape,
        )?;
    }
    Ok(())
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
    let Some(tensor) = tensors.iter().find(|tensor| tensor.name == name) else {
        return Err(SignatureError::Missing {
            model: description.name.clone(),
            role,
            tensor: name.to_owned(),
            present: tensors.iter().map(ToString::to_string).collect(),
            expected,
        });
    };
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

/// The precision that a graph really has: int8 when any convolution computes in integers.
pub const fn precision_of(layers: &IntegerLayers) -> Precision {
    if layers.any() {
        Precision::Int8
    } else {
        Precision::Fp32
    }
}
