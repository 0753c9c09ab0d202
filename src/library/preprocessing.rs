//! What a model wants of a picture, as its model file says it.

use serde::{Deserialize, Serialize};

/// The element type of the input tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// 32-bit floats: `(pixel - mean) / scale` for each channel.
    F32,
    /// The pixels' bytes as they are; mean and scale must be absent.
    U8,
}

/// The order of the axes of the input tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `[batch, height, width, 3]`.
    Nhwc,
    /// `[batch, 3, height, width]`.
    Nchw,
}

/// The order of the colour channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red (Caffe's habit).
    Bgr,
}

/// How a picture is brought to the model's size; aspect ratio is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Pillow's `BILINEAR` (antialiased, 8 bit, horizontal pass first), as Pillow 12.1 does it.
    #[default]
    PillowBilinear,
    /// OpenCV's `INTER_LINEAR` (two taps, 11-bit fixed point, half-pixel centres).
    OpencvLinear,
    /// TensorFlow 1's `resize_bilinear` (two taps, float, no half-pixel centres, corners not aligned).
    TfBilinear,
}

/// Everything between a decoded RGB picture and one sample of the input tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Height of the input in pixels.
    pub height: u32,
    /// Width of the input in pixels.
    pub width: u32,
    /// Element type of the input.
    pub element: ElementType,
    /// Axis order of the input.
    pub layout: Layout,
    /// Channel order of the input.
    #[serde(default)]
    pub color: ColorOrder,
    /// Resampling.
    #[serde(default)]
    pub resize: Resize,
    /// Subtracted from each pixel value (0..=255), in the input's channel order.
    #[serde(default)]
    pub mean: [f32; 3],
    /// Divides after the subtraction, in the input's channel order.
    #[serde(default = "ones")]
    pub scale: [f32; 3],
}

fn ones() -> [f32; 3] {
    [1.0; 3]
}
