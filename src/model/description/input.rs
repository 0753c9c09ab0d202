//! `[input]`: the tensor that a model takes.

use serde::{Deserialize, Serialize};

use crate::library::preprocessing::{ColorOrder, ElementType, Layout, Preprocessing, Resize};

/// The input tensor and how a picture becomes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "InputKeys", into = "InputKeys")]
pub struct InputDescription {
    /// The tensor's name.
    pub name: String,
    /// What the tensor wants of a picture.
    pub preprocessing: Preprocessing,
}

/// The keys of `[input]`: serde cannot flatten a struct and refuse unknown keys at once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputKeys {
    name: String,
    height: u32,
    width: u32,
    element: ElementType,
    layout: Layout,
    #[serde(default)]
    color: ColorOrder,
    #[serde(default)]
    resize: Resize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mean: Option<[f32; 3]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scale: Option<[f32; 3]>,
}

impl TryFrom<InputKeys> for InputDescription {
    type Error = &'static str;

    fn try_from(keys: InputKeys) -> Result<Self, Self::Error> {
        if keys.height == 0 || keys.width == 0 {
            return Err("`height` and `width` should be above zero");
        }
        if keys.element == ElementType::U8 && (keys.mean.is_some() || keys.scale.is_some()) {
            return Err("`mean` and `scale` have no meaning for an input of `u8`; remove them");
        }
        let scale = keys.scale.unwrap_or([1.0; 3]);
        if scale.iter().any(|scale| !scale.is_normal()) {
            return Err("`scale` divides, so it should be finite and not zero");
        }
        Ok(Self {
            name: keys.name,
            preprocessing: Preprocessing {
                height: keys.height,
                width: keys.width,
                element: keys.element,
                layout: keys.layout,
                color: keys.color,
                resize: keys.resize,
                mean: keys.mean.unwrap_or_default(),
                scale,
            },
        })
    }
}

impl From<InputDescription> for InputKeys {
    fn from(input: InputDescription) -> Self {
        let own = input.preprocessing;
        let float = own.element == ElementType::F32;
        Self {
            name: input.name,
            height: own.height,
            width: own.width,
            element: own.element,
            layout: own.layout,
            color: own.color,
            resize: own.resize,
            mean: float.then_some(own.mean),
            scale: float.then_some(own.scale),
        }
    }
}
