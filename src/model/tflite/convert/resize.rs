//! Feature maps of another size.

use super::{misfit, Activation, Converted, Converter, Layout, Tensor};
use crate::model::onnx::builder::text;
use crate::model::tflite::error::{Fault, Reason};
use crate::model::tflite::schema::Operator;

/// The largest side of a feature map that is believed.
const SIDE_MAX: i64 = 1 << 16;

pub(super) fn bilinear(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let centres = Centres::of(op, [2, 3])?;
    resize(converter, op, centres, false)
}

pub(super) fn nearest(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let centres = Centres::of(op, [0, 1])?;
    resize(converter, op, centres, true)
}

/// Where the pixels of both maps lie on each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Centres {
    /// The first pixels' corners.
    Asymmetric,
    /// The centres of the first and of the last pixels.
    AlignCorners,
    /// The borders.
    HalfPixel,
}

impl Centres {
    fn of(op: &Operator<'_>, [align, half]: [usize; 2]) -> Result<Self, Fault> {
        match (op.option_byte(align)? != 0, op.option_byte(half)? != 0) {
            (false, false) => Ok(Self::Asymmetric),
            (true, false) => Ok(Self::AlignCorners),
            (false, true) => Ok(Self::HalfPixel),
            (true, true) => Err(op.unsupported(Reason::Variant {
                what: "aligned corners with half-pixel centres",
            })),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Asymmetric => "asymmetric",
            Self::AlignCorners => "align_corners",
            Self::HalfPixel => "half_pixel",
        }
    }
}

fn resize(
    converter: &mut Converter<'_>,
    op: &Operator<'_>,
    centres: Centres,
    nearest: bool,
) -> Converted {
    let (tensor, [height, width, channels]) = converter.feature_map(op, 0)?;
    let sane = |side: i64| (1..=SIDE_MAX).contains(&side);
    let size = match converter.integers(op, 1)?[..] {
        [height, width] if sane(height) && sane(width) => [height, width],
        _ => {
            return Err(op.unsupported(Reason::Input {
                index: 1,
                expected: "the constant height and width of the result",
            }))
        }
    };
    let factors = [factor(height, size[0]), factor(width, size[1])];
    let [Some(tall), Some(wide)] = factors else {
        return Err(misfit(op, format!("{:?} to {size:?}", tensor.shape)));
    };
    // Bytes are picked as they are; means need numbers.
    let input = if nearest {
        converter.laid(&tensor, Layout::ChannelsFirst)
    } else {
        converter.float(&tensor, Layout::ChannelsFirst)
    };
    let builder = &mut converter.builder;
    let factors = [1.0, 1.0, tall, wide];
    let factors = builder.f32_constant(&format!("{}/factors", op.makes), &[4], &factors);
    let mut attributes = vec![
        text("coordinate_transformation_mode", centres.name()),
        text("mode", if nearest { "nearest" } else { "linear" }),
    ];
    if nearest {
        // TFLite takes the pixel that a position falls into; between centres, the nearer one.
        let rounding = match centres {
            Centres::Asymmetric => "floor",
            Centres::AlignCorners | Centres::HalfPixel => "round_prefer_ceil",
        };
        attributes.push(text("nearest_mode", rounding));
    }
    let stem = format!("{}/Resize", op.makes);
    let name = builder.node("Resize", &stem, &[&input, "", &factors], attributes);
    let made = Tensor {
        name,
        shape: vec![1, size[0], size[1], channels],
        layout: Layout::ChannelsFirst,
        encoding: tensor.encoding.filter(|_| nearest),
        copies: Vec::new(),
    };
    converter.finish_moved(op, made, Activation::None)
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
