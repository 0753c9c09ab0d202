//! Feature maps of another size.

use super::{misfit, Activation, Converted, Converter, Layout, Tensor};
use crate::model::onnx::resize::{self, Centres};
use crate::model::tflite::error::{Fault, Reason};
use crate::model::tflite::schema::Operator;

/// The largest side of a feature map that is believed.
const SIDE_MAX: i64 = 1 << 16;

pub(super) fn bilinear(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let centres = centres(op, [2, 3])?;
    resize(converter, op, centres, false)
}

pub(super) fn nearest(converter: &mut Converter<'_>, op: &Operator<'_>) -> Converted {
    let centres = centres(op, [0, 1])?;
    resize(converter, op, centres, true)
}

fn centres(op: &Operator<'_>, [align, half]: [usize; 2]) -> Result<Centres, Fault> {
    let found = Centres::of(op.option_byte(align)? != 0, op.option_byte(half)? != 0);
    found.ok_or_else(|| {
        op.unsupported(Reason::Variant {
            what: "aligned corners with half-pixel centres",
        })
    })
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
    // Bytes are picked as they are; means need numbers.
    let input = if nearest {
        converter.laid(&tensor, Layout::ChannelsFirst)
    } else {
        converter.float(&tensor, Layout::ChannelsFirst)
    };
    let stem = format!("{}/Resize", op.makes);
    let sizes = [[height, width], size];
    let builder = &mut converter.builder;
    let name = resize::resize(builder, &stem, &input, sizes, centres, nearest)
        .ok_or_else(|| misfit(op, format!("{:?} to {size:?}", tensor.shape)))?;
    let made = Tensor {
        name,
        shape: vec![1, size[0], size[1], channels],
        layout: Layout::ChannelsFirst,
        encoding: tensor.encoding.filter(|_| nearest),
        copies: Vec::new(),
    };
    converter.finish_moved(op, made, Activation::None)
}
