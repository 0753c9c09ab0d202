//! SSD on `MobileNet` v1 and v2, 300x300: the TF Object Detection API's plans and pytorch-ssd's.

use super::heads::Level;
use super::network::{Activation, Aim, Feature, Network, Padding, Window};

/// Anchors at a position of each map of the TF Object Detection API: 1917 in all.
const TFOD_SHAPES: [usize; 6] = [3, 6, 6, 6, 6, 6];

/// Anchors at a position of each map of pytorch-ssd: 3000 in all.
const PYTORCH_SHAPES: usize = 6;

/// Channels of the 1x1 and of the last convolution of each pair of extra layers.
const TFOD_EXTRAS: [(usize, usize); 4] = [(256, 512), (128, 256), (128, 256), (64, 128)];

/// Inner and outer channels of pytorch-ssd's extra blocks.
const PYTORCH_EXTRAS: [(usize, usize); 4] = [(256, 512), (128, 256), (128, 256), (64, 64)];

/// Channels and stride of `MobileNet` v1's separable convolutions.
const V1: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

/// Expansion, channels, blocks and first stride of `MobileNet` v2's stages.
const V2: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// The block of v2 whose expanded map is the first that the heads look at.
const V2_TAPPED: usize = 13;

/// How the extra layers shrink their maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shrinking {
    /// By a convolution.
    Dense,
    /// By a depthwise one and one of 1x1.
    Separable,
}

/// The maps of SSD-MobileNet v1.
pub fn v1(net: &mut Network, picture: &Feature) -> Vec<Level> {
    let stem = |part: String| format!("MobilenetV1/{part}");
    let first = stem("Conv2d_0".to_owned());
    let mut x = net.conv(
        &first,
        picture,
        32,
        Window::same(3).by(2),
        Activation::Relu6,
    );
    let mut maps = Vec::with_capacity(TFOD_SHAPES.len());
    for (number, (channels, stride)) in V1.into_iter().enumerate() {
        let number = number + 1;
        let window = Window::same(3).by(stride);
        let name = stem(format!("Conv2d_{number}_depthwise"));
        x = net.depthwise(&name, &x, window, Activation::Relu6);
        let name = stem(format!("Conv2d_{number}_pointwise"));
        x = net.conv(&name, &x, channels, Window::same(1), Activation::Relu6);
        if matches!(number, 11 | 13) {
            maps.push(x.clone());
        }
    }
    tfod_extras(net, &mut maps, Shrinking::Dense);
    tfod_levels(maps)
}

/// The maps of SSD-MobileNet v2 and of `SSDLite`.
pub fn v2(net: &mut Network, picture: &Feature) -> Vec<Level> {
    let mut maps = v2_backbone(net, picture, Padding::Same).to_vec();
    tfod_extras(net, &mut maps, Shrinking::Separable);
    tfod_levels(maps)
}

/// The maps of pytorch-ssd's MobileNetV2-SSD-Lite.
pub fn pytorch_v2(net: &mut Network, picture: &Feature) -> Vec<Level> {
    let padding = Padding::Each(1);
    let mut maps = v2_backbone(net, picture, padding).to_vec();
    for (number, (inner, outer)) in PYTORCH_EXTRAS.into_iter().enumerate() {
        let stem = format!("extras/{number}");
        let below = maps.last().expect("the backbone gives two").clone();
        let block = Block {
            expanded: Some(inner),
            channels: outer,
            stride: 2,
            padding,
        };
        maps.push(inverted_residual(net, &stem, &below, block).1);
    }
    let level = |feature| Level {
        feature,
        shapes: PYTORCH_SHAPES,
    };
    maps.into_iter().map(level).collect()
}

fn tfod_levels(maps: Vec<Feature>) -> Vec<Level> {
    let levels = maps.into_iter().zip(TFOD_SHAPES);
    levels
        .map(|(feature, shapes)| Level { feature, shapes })
        .collect()
}

fn tfod_extras(net: &mut Network, maps: &mut Vec<Feature>, shrinking: Shrinking) {
    for (number, (inner, outer)) in TFOD_EXTRAS.into_iter().enumerate() {
        let stem = |part: &str| format!("extra_{}_{part}", number + 2);
        let below = maps.last().expect("the backbone gives two").clone();
        let x = net.conv(
            &stem("1x1"),
            &below,
            inner,
            Window::same(1),
            Activation::Relu6,
        );
        let window = Window::same(3).by(2);
        maps.push(match shrinking {
            Shrinking::Dense => net.conv(&stem("3x3_s2"), &x, outer, window, Activation::Relu6),
            Shrinking::Separable => {
                let x = net.depthwise(&stem("3x3_s2_depthwise"), &x, window, Activation::Relu6);
                net.conv(
                    &stem("3x3_s2"),
                    &x,
                    outer,
                    Window::same(1),
                    Activation::Relu6,
                )
            }
        });
    }
}

/// The expanded map of block 13 and the last map of `MobileNet` v2.
fn v2_backbone(net: &mut Network, picture: &Feature, padding: Padding) -> [Feature; 2] {
    let window = Window::same(3).by(2).padded(padding);
    let mut x = net.conv("MobilenetV2/Conv", picture, 32, window, Activation::Relu6);
    let mut tapped = None;
    let mut number = 0;
    for (expansion, channels, blocks, first_stride) in V2 {
        for position in 0..blocks {
            let expanded = expansion * x.channels;
            let block = Block {
                expanded: (expansion > 1).then_some(expanded),
                channels,
                stride: if position == 0 { first_stride } else { 1 },
                padding,
            };
            let stem = format!("MobilenetV2/expanded_conv_{number}");
            let (inner, made) = inverted_residual(net, &stem, &x, block);
            if number == V2_TAPPED {
                tapped = Some(inner);
            }
            x = made;
            number += 1;
        }
    }
    let last = net.conv(
        "MobilenetV2/Conv_1",
        &x,
        1280,
        Window::same(1),
        Activation::Relu6,
    );
    [tapped.expect("the plan has more blocks"), last]
}

/// A linear bottleneck of `MobileNet` v2.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// Channels of the depthwise convolution, where a convolution makes them.
    expanded: Option<usize>,
    channels: usize,
    stride: usize,
    padding: Padding,
}

/// The expanded map and the block's own.
fn inverted_residual(
    net: &mut Network,
    stem: &str,
    input: &Feature,
    block: Block,
) -> (Feature, Feature) {
    let name = |part: &str| format!("{stem}/{part}");
    let expanded = match block.expanded {
        Some(channels) => net.conv(
            &name("expand"),
            input,
            channels,
            Window::same(1),
            Activation::Relu6,
        ),
        None => input.clone(),
    };
    let window = Window::same(3).by(block.stride).padded(block.padding);
    let x = net.depthwise(&name("depthwise"), &expanded, window, Activation::Relu6);
    let is_residual = block.stride == 1 && input.channels == block.channels;
    let aim = Aim {
        // A chain of blocks grows slowly when each adds less than there is.
        variance: if is_residual { 0.5 } else { 1.0 },
        ..Aim::before(Activation::Linear, block.channels)
    };
    let filters = net.filters(&name("project"), &x, 1, aim);
    let made = net.apply(
        &name("project"),
        &x,
        &filters,
        Window::same(1),
        Activation::Linear,
    );
    if is_residual {
        let sum = net.add(&name("add"), input, &made, Activation::Linear);
        (expanded, sum)
    } else {
        (expanded, made)
    }
}
