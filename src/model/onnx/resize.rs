//! `Resize` nodes that give what TensorFlow's resize operators do.

use super::builder::text;
use super::proto::AttributeProto;
use super::GraphBuilder;

/// Where the pixels of both maps lie on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Centres {
    /// The first pixels' corners.
    Asymmetric,
    /// The centres of the first and of the last pixels.
    AlignCorners,
    /// The borders.
    HalfPixel,
}

impl Centres {
    /// By TensorFlow's two flags; `None` for both at once.
    pub const fn of(align_corners: bool, half_pixel_centers: bool) -> Option<Self> {
        match (align_corners, half_pixel_centers) {
            (false, false) => Some(Self::Asymmetric),
            (true, false) => Some(Self::AlignCorners),
            (false, true) => Some(Self::HalfPixel),
            (true, true) => None,
        }
    }

    fn attributes(self, nearest: bool) -> Vec<AttributeProto> {
        let coordinates = match self {
            Self::Asymmetric => "asymmetric",
            Self::AlignCorners => "align_corners",
            Self::HalfPixel => "half_pixel",
        };
        let mut attributes = vec![
            text("coordinate_transformation_mode", coordinates),
            text("mode", if nearest { "nearest" } else { "linear" }),
        ];
        if nearest {
            // TensorFlow takes the pixel that a position falls into; between centres, the nearer one.
            let rounding = match self {
                Self::Asymmetric => "floor",
                Self::AlignCorners | Self::HalfPixel => "round_prefer_ceil",
            };
            attributes.push(text("nearest_mode", rounding));
        }
        attributes
    }
}

/// Adds a node that resizes `input`, `[batch, channels, height, width]`, from `from` to `to` (height,
/// width), and returns its name; `None` when no factor leads there.
pub fn resize(
    builder: &mut GraphBuilder,
    stem: &str,
    input: &str,
    [from, to]: [[i64; 2]; 2],
    centres: Centres,
    nearest: bool,
) -> Option<String> {
    let (tall, wide) = (factor(from[0], to[0])?, factor(from[1], to[1])?);
    let factors = [1.0, 1.0, tall, wide];
    let factors = builder.f32_constant(&format!("{stem}/factors"), &[4], &factors);
    let attributes = centres.attributes(nearest);
    Some(builder.node("Resize", stem, &[input, "", &factors], attributes))
}

/// A factor whose product with `from`, rounded down in f32 as ONNX Runtime does, is `to`.
fn factor(from: i64, to: i64) -> Option<f32> {
    let plain = (to as f64 / from as f64) as f32;
    let gives = |factor: f32| (from as f32 * factor).floor() as i64;
    [plain, f32::from_bits(plain.to_bits() + 1)]
        .into_iter()
        .find(|&factor| gives(factor) == to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_reached_from_every_other() {
        for from in 1..=640 {
            for to in (1..=640).step_by(7) {
                assert!(factor(from, to).is_some(), "{from} to {to}");
            }
        }
    }
}
