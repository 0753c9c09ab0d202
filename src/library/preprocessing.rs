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
    /// `[3, height, width]`: graphs that take one picture at a time, such as Faster R-CNN's.
    Chw,
}

impl Layout {
    /// Whether several pictures can go in at once.
    pub const fn has_batch_axis(self) -> bool {
        match self {
            Self::Nhwc | Self::Nchw => true,
            Self::Chw => false,
        }
    }
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
    /// `OpenCV`'s `INTER_LINEAR` (two taps, 11-bit fixed point, half-pixel centres).
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

/// A preprocessing that cannot be carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PreprocessingError {
    /// `width` or `height` is zero or absurd.
    #[error("preprocessing: the input is {width}x{height}; both sides must be 1 to {SIDE_LIMIT}")]
    Size {
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
    },
    /// Bytes are passed on as they are, so there is nothing to subtract from.
    #[error("preprocessing: {key} is given for a u8 input; remove it, or use element = \"f32\"")]
    BytesAreNotNormalized {
        /// `mean` or `scale`.
        key: &'static str,
    },
    /// Division by zero, or a number that is not finite.
    #[error("preprocessing: {key} holds {value}; it must be finite{nonzero}", nonzero = if *key == "scale" { " and not zero" } else { "" })]
    Number {
        /// `mean` or `scale`.
        key: &'static str,
        /// The offending number.
        value: f32,
    },
}

/// Longest side of an input tensor; detectors use 300 to 1333.
pub const SIDE_LIMIT: u32 = 16_384;

impl Preprocessing {
    /// Refuses what cannot be carried out.
    ///
    /// # Errors
    /// See [`PreprocessingError`].
    pub fn check(&self) -> Result<(), PreprocessingError> {
        let (width, height) = (self.width, self.height);
        if !(1..=SIDE_LIMIT).contains(&width) || !(1..=SIDE_LIMIT).contains(&height) {
            return Err(PreprocessingError::Size { width, height });
        }
        let unusable = |value: &&f32| !value.is_finite();
        if let Some(&value) = self.mean.iter().find(unusable) {
            return Err(PreprocessingError::Number { key: "mean", value });
        }
        let unusable = |value: &&f32| !value.is_finite() || **value == 0.0;
        if let Some(&value) = self.scale.iter().find(unusable) {
            return Err(PreprocessingError::Number {
                key: "scale",
                value,
            });
        }
        if self.element == ElementType::U8 {
            let differs = |values: [f32; 3], plain: f32| {
                values
                    .iter()
                    .any(|value| value.to_bits() != plain.to_bits())
            };
            let given = [
                ("mean", differs(self.mean, 0.0)),
                ("scale", differs(self.scale, 1.0)),
            ];
            if let Some(&(key, _)) = given.iter().find(|(_, given)| *given) {
                return Err(PreprocessingError::BytesAreNotNormalized { key });
            }
        }
        Ok(())
    }

    /// *Shape* of a tensor of one sample: `[1, height, width, 3]`, `[1, 3, height, width]` or `[3, height, width]`.
    pub fn sample_shape(&self) -> Vec<i64> {
        let (height, width) = (i64::from(self.height), i64::from(self.width));
        match self.layout {
            Layout::Nhwc => vec![1, height, width, 3],
            Layout::Nchw => vec![1, 3, height, width],
            Layout::Chw => vec![3, height, width],
        }
    }

    /// Elements of one sample.
    pub const fn sample_elements(&self) -> usize {
        self.height as usize * self.width as usize * 3
    }

    /// Bytes of one sample.
    pub const fn sample_bytes(&self) -> usize {
        match self.element {
            ElementType::F32 => self.sample_elements() * size_of::<f32>(),
            ElementType::U8 => self.sample_elements(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats() -> Preprocessing {
        Preprocessing {
            height: 20,
            width: 30,
            element: ElementType::F32,
            layout: Layout::Nhwc,
            color: ColorOrder::Rgb,
            resize: Resize::PillowBilinear,
            mean: [127.5; 3],
            scale: [127.5; 3],
        }
    }

    #[test]
    fn what_cannot_be_carried_out_is_refused_by_name() {
        assert_eq!(floats().check(), Ok(()));
        let flat = Preprocessing {
            height: 0,
            ..floats()
        };
        assert!(flat.check().unwrap_err().to_string().contains("30x0"));
        let divides_by_zero = Preprocessing {
            scale: [1.0, 0.0, 1.0],
            ..floats()
        };
        let message = divides_by_zero.check().unwrap_err().to_string();
        assert!(
            message.contains("scale holds 0; it must be finite and not zero"),
            "{message}"
        );
        let bytes = Preprocessing {
            element: ElementType::U8,
            ..floats()
        };
        let message = bytes.check().unwrap_err().to_string();
        assert!(
            message.contains("mean is given for a u8 input"),
            "{message}"
        );
    }

    #[test]
    fn the_shape_follows_the_layout() {
        assert_eq!(floats().sample_shape(), [1, 20, 30, 3]);
        let planes = Preprocessing {
            layout: Layout::Nchw,
            ..floats()
        };
        assert_eq!(planes.sample_shape(), [1, 3, 20, 30]);
        let alone = Preprocessing {
            layout: Layout::Chw,
            ..floats()
        };
        assert_eq!(alone.sample_shape(), [3, 20, 30]);
        assert_eq!(planes.sample_bytes(), 20 * 30 * 3 * 4);
    }
}
