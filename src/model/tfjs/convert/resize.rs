//! Feature maps of another size, behind the network's first convolution.

use super::{describe, Converter, Extent, Layout, Tensor, Value};
use crate::model::onnx::resize::{self, Centres};
use crate::model::tfjs::error::{ImportError, Reason};
use crate::model::tfjs::topology::Node;

/// The largest side of a feature map that is believed.
const SIDE_MAX: i64 = 1 << 16;

type Converted = Result<Value, ImportError>;

pub(super) fn bilinear<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    resized(converter, node, false)
}

pub(super) fn nearest<'g>(converter: &mut Converter<'g>, node: &'g Node) -> Converted {
    resized(converter, node, true)
}

fn resized<'g>(converter: &mut Converter<'g>, node: &'g Node, nearest: bool) -> Converted {
    let (tensor, [height, width, channels]) = converter.feature_map(node, 0)?;
    let sane = |side: i64| (1..=SIDE_MAX).contains(&side);
    let size = match converter.fixed_integers(node, 1)?[..] {
        [height, width] if sane(height) && sane(width) => [height, width],
        _ => {
            return Err(node.unsupported(Reason::Input {
                index: 1,
                expected: "the height and width of the result",
            }))
        }
    };
    let centres = Centres::of(
        node.flag("align_corners")?,
        node.flag("half_pixel_centers")?,
    );
    let centres = centres.ok_or_else(|| {
        node.unsupported(Reason::Variant {
            what: "aligned corners with half-pixel centres",
        })
    })?;
    let input = converter.channels_first(&tensor);
    let sizes = [[height, width], size];
    let builder = &mut converter.builder;
    let name = resize::resize(builder, &node.name, &input, sizes, centres, nearest);
    let name = name.ok_or_else(|| {
        node.unsupported(Reason::Shape {
            found: format!("{} to {size:?}", describe(&tensor.shape)),
        })
    })?;
    let [height, width] = size;
    Ok(Value::Tensor(Tensor {
        name,
        shape: vec![
            tensor.shape[0],
            Extent::Fixed(height),
            Extent::Fixed(width),
            Extent::Fixed(channels),
        ],
        layout: Layout::ChannelsFirst,
    }))
}
