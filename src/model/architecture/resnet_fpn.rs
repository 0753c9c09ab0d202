//! SSD-ResNet50-FPN, 640x640 (`RetinaNet`), as the TF Object Detection API has it.
//!
//! ResNet-50 v1 with the stride in the last unit of a block, feature pyramid levels 3 to 7 of 256
//! channels. The maps of levels 3 to 5 are taken before the stride.

use super::heads::Level;
use super::network::{Activation, Aim, Feature, Network, Padding, Window};

/// Anchors at a position: 51150 in all.
const SHAPES: usize = 6;

/// Channels of the pyramid.
const DEPTH: usize = 256;

/// Units and inner channels of each block; the outer ones are four times as many.
const BLOCKS: [(usize, usize); 4] = [(3, 64), (4, 128), (6, 256), (3, 512)];

/// The maps that the heads look at.
pub fn levels(net: &mut Network, picture: &Feature) -> Vec<Level> {
    let blocks = backbone(net, picture);
    let [_, third, fourth, fifth] = &blocks;
    // Without an activation behind it, this map gets the spread that the others have behind theirs.
    let top = project(
        net,
        "fpn/projection_3",
        fifth,
        Activation::Relu6.variance_after(),
    );
    let middle = top_down(net, 2, fourth, &top);
    let bottom = top_down(net, 1, third, &middle);
    let mut maps = Vec::with_capacity(5);
    for (level, sum) in [(1, &bottom), (2, &middle)] {
        let stem = format!("fpn/smoothing_{level}");
        maps.push(net.conv(&stem, sum, DEPTH, Window::same(3), Activation::Relu6));
    }
    maps.push(top);
    for level in [5, 6] {
        let stem = format!("fpn/bottom_up_block{level}");
        let below = maps.last().expect("level 5 is there").clone();
        maps.push(net.conv(
            &stem,
            &below,
            DEPTH,
            Window::same(3).by(2),
            Activation::Relu6,
        ));
    }
    let level = |feature| Level {
        feature,
        shapes: SHAPES,
    };
    maps.into_iter().map(level).collect()
}

fn project(net: &mut Network, stem: &str, input: &Feature, variance: f64) -> Feature {
    let aim = Aim {
        variance,
        ..Aim::before(Activation::Linear, DEPTH)
    };
    let filters = net.filters(stem, input, 1, aim);
    net.apply(stem, input, &filters, Window::same(1), Activation::Linear)
}

/// The map of a block with what lies above it added.
fn top_down(net: &mut Network, level: usize, block: &Feature, above: &Feature) -> Feature {
    let residual = project(net, &format!("fpn/projection_{level}"), block, 1.0);
    let above = net.upsample(&format!("fpn/upsampling_{level}"), above);
    net.add(
        &format!("fpn/sum_{level}"),
        &residual,
        &above,
        Activation::Linear,
    )
}

/// The maps of the four blocks, before their strides.
fn backbone(net: &mut Network, picture: &Feature) -> [Feature; 4] {
    let window = Window::same(7).by(2).padded(Padding::Each(3));
    let x = net.conv("resnet_v1_50/conv1", picture, 64, window, Activation::Relu6);
    let mut x = net.max_pool("resnet_v1_50/pool1", &x, Window::same(3).by(2));
    let mut number = 0;
    BLOCKS.map(|(units, inner)| {
        number += 1;
        for unit in 1..=units {
            let stem = format!("resnet_v1_50/block{number}/unit_{unit}");
            x = bottleneck(net, &stem, &x, inner);
        }
        let whole = x.clone();
        if number < BLOCKS.len() {
            x = net.max_pool(
                &format!("resnet_v1_50/block{number}/subsample"),
                &x,
                Window::same(1).by(2),
            );
        }
        whole
    })
}

/// `relu(shortcut + branch)`, the shortcut a convolution where the channels change.
fn bottleneck(net: &mut Network, stem: &str, input: &Feature, inner: usize) -> Feature {
    let outer = 4 * inner;
    let name = |part: &str| format!("{stem}/{part}");
    let shortcut = if input.channels == outer {
        input.clone()
    } else {
        let aim = Aim {
            variance: 0.5,
            ..Aim::before(Activation::Linear, outer)
        };
        let filters = net.filters(&name("shortcut"), input, 1, aim);
        net.apply(
            &name("shortcut"),
            input,
            &filters,
            Window::same(1),
            Activation::Linear,
        )
    };
    let x = net.conv(
        &name("conv1"),
        input,
        inner,
        Window::same(1),
        Activation::Relu6,
    );
    let x = net.conv(
        &name("conv2"),
        &x,
        inner,
        Window::same(3),
        Activation::Relu6,
    );
    // Together with the shortcut: mean 0 and variance 1, as before any other activation.
    let aim = Aim {
        mean: &|_| -shortcut.mean,
        variance: 1.0 - shortcut.variance,
        ..Aim::before(Activation::Linear, outer)
    };
    let filters = net.filters(&name("conv3"), &x, 1, aim);
    let branch = net.apply(
        &name("conv3"),
        &x,
        &filters,
        Window::same(1),
        Activation::Linear,
    );
    net.add(&name("sum"), &shortcut, &branch, Activation::Relu)
}
