//! SSD-VGG16, 300x300, as `HiKapok`'s `SSD.TensorFlow` has it and Intel measures it.
//!
//! VGG16 up to `conv5_3`, its dense layers as a dilated and a 1x1 convolution, four pairs of extra
//! layers, and heads of 3x3 on six maps, the first of which is normalised and scaled by 20. No batch normalisation.

use super::heads::Level;
use super::network::{Activation, Feature, Network, Padding, Window};

/// Anchors at a position of each map: 8732 in all.
const SHAPES: [usize; 6] = [4, 6, 6, 6, 4, 4];

/// Convolutions and channels of each block.
const BLOCKS: [(usize, usize); 5] = [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)];

/// Channels of the 1x1 and of the 3x3 convolution, and how the latter moves.
const EXTRAS: [(usize, usize, Window); 4] = [
    (256, 512, Window::same(3).by(2)),
    (128, 256, Window::same(3).by(2)),
    (128, 256, Window::same(3).padded(Padding::Each(0))),
    (128, 256, Window::same(3).padded(Padding::Each(0))),
];

/// The maps that the heads look at.
pub fn levels(net: &mut Network, picture: Feature) -> Vec<Level> {
    let mut maps = Vec::with_capacity(SHAPES.len());
    let mut x = picture;
    for (block, &(layers, channels)) in BLOCKS.iter().enumerate() {
        let block = block + 1;
        for layer in 1..=layers {
            let stem = format!("conv{block}/conv{block}_{layer}");
            x = net.conv(&stem, &x, channels, Window::same(3), Activation::Relu);
        }
        if block == 4 {
            maps.push(net.l2_normalize("conv4_3_scale", &x, 20.0));
        }
        let pool = match block {
            5 => Window::same(3),
            _ => Window::same(2).by(2),
        };
        x = net.max_pool(&format!("pool{block}"), &x, pool);
    }
    let dilated = Window {
        dilation: 6,
        ..Window::same(3)
    };
    x = net.conv("fc6", &x, 1024, dilated, Activation::Relu);
    x = net.conv("fc7", &x, 1024, Window::same(1), Activation::Relu);
    maps.push(x.clone());
    for (number, (inner, outer, window)) in EXTRAS.into_iter().enumerate() {
        let block = number + 8;
        let stem = |layer: u8| format!("additional_layers/conv{block}/conv{block}_{layer}");
        x = net.conv(&stem(1), &x, inner, Window::same(1), Activation::Relu);
        x = net.conv(&stem(2), &x, outer, window, Activation::Relu);
        maps.push(x.clone());
    }
    let levels = maps.into_iter().zip(SHAPES);
    levels
        .map(|(feature, shapes)| Level { feature, shapes })
        .collect()
}
