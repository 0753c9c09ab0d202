//! Anchor boxes of the SSD families, computed as their authors' generators compute them.
//!
//! Every digit counts: the order of operations and the precision follow each generator, and
//! `tests/golden/anchors` holds digests of its own output.

use serde::{Deserialize, Serialize};

/// A published set of anchors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AnchorSpec {
    /// TF Object Detection API `ssd_anchor_generator`, 300x300: 1917 anchors.
    #[serde(rename = "tfod-ssd-300")]
    TfodSsd300,
    /// The same in `MLPerf`'s PyTorch port, which takes a third where TensorFlow takes 0.3333: 1917.
    #[serde(rename = "mlperf-torch-ssd-300")]
    MlperfTorchSsd300,
    /// TF Object Detection API `multiscale_anchor_generator`, FPN levels 3 to 7, 640x640: 51150.
    #[serde(rename = "tfod-fpn-640")]
    TfodFpn640,
    /// `HiKapok`'s `SSD.TensorFlow`, VGG16, 300x300: 8732.
    #[serde(rename = "hikapok-ssd-300")]
    HikapokSsd300,
    /// pytorch-ssd, `MobileNet` v2 `SSDLite` (and `MobileNet` v1), 300x300: 3000.
    #[serde(rename = "pytorch-ssd-mb2-lite-300")]
    PytorchSsdMb2Lite300,
    /// pytorch-ssd, VGG16, 300x300: 8732.
    #[serde(rename = "pytorch-ssd-vgg16-300")]
    PytorchSsdVgg16300,
    /// `MLPerf` SSD-ResNet34, 1200x1200: 15130.
    #[serde(rename = "mlperf-resnet34-1200")]
    MlperfResnet341200,
}

impl AnchorSpec {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::TfodSsd300,
        Self::MlperfTorchSsd300,
        Self::TfodFpn640,
        Self::HikapokSsd300,
        Self::PytorchSsdMb2Lite300,
        Self::PytorchSsdVgg16300,
        Self::MlperfResnet341200,
    ];

    /// How model files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TfodSsd300 => "tfod-ssd-300",
            Self::MlperfTorchSsd300 => "mlperf-torch-ssd-300",
            Self::TfodFpn640 => "tfod-fpn-640",
            Self::HikapokSsd300 => "hikapok-ssd-300",
            Self::PytorchSsdMb2Lite300 => "pytorch-ssd-mb2-lite-300",
            Self::PytorchSsdVgg16300 => "pytorch-ssd-vgg16-300",
            Self::MlperfResnet341200 => "mlperf-resnet34-1200",
        }
    }

    /// The anchors, in the order of the network's rows, as (`y_center`, `x_center`, `height`,
    /// `width`), normalised to the picture.
    pub fn generate(self) -> Vec<[f32; 4]> {
        match self {
            Self::TfodSsd300 => centers(&ssd_300_corners(TFOD_RATIO)),
            Self::MlperfTorchSsd300 => centers(&ssd_300_corners(1.0 / 3.0)),
            Self::TfodFpn640 => centers(&tfod_fpn_corners()),
            Self::HikapokSsd300 => hikapok_ssd(),
            Self::PytorchSsdMb2Lite300 => pytorch_ssd(&MB2_LITE),
            Self::PytorchSsdVgg16300 => pytorch_ssd(&VGG16),
            Self::MlperfResnet341200 => mlperf_resnet34(),
        }
    }
}

/// `TFLite`'s anchor tensor is recomputed from corners in f32, which costs the last digits.
fn centers(corners: &[[f32; 4]]) -> Vec<[f32; 4]> {
    let center = |&[y_min, x_min, y_max, x_max]: &[f32; 4]| {
        let (height, width) = (y_max - y_min, x_max - x_min);
        [y_min + height / 2.0, x_min + width / 2.0, height, width]
    };
    corners.iter().map(center).collect()
}

/// Corners of a box of `height` and `width` around a centre.
fn corners(y: f32, x: f32, height: f32, width: f32) -> [f32; 4] {
    [
        y - 0.5 * height,
        x - 0.5 * width,
        y + 0.5 * height,
        x + 0.5 * width,
    ]
}

/// The flattest ratio in TensorFlow's published configurations: not a third.
const TFOD_RATIO: f64 = 0.3333;

/// Boxes of the six feature maps, 3 shapes (height, width) on the first and 6 on the others.
fn ssd_300_corners(flattest: f64) -> Vec<[f32; 4]> {
    const MAPS: [usize; 6] = [19, 10, 5, 3, 2, 1];
    let scale = |layer: usize| {
        if layer == MAPS.len() {
            1.0
        } else {
            0.2 + 0.75 * layer as f64 / 5.0
        }
    };
    let mut anchors = Vec::with_capacity(1917);
    for (layer, &map) in MAPS.iter().enumerate() {
        let own = scale(layer);
        let shapes = if layer == 0 {
            // `reduce_boxes_in_lowest_layer`.
            vec![(0.1, 1.0), (own, 2.0), (own, 0.5)]
        } else {
            let ratios = [1.0, 2.0, 0.5, 3.0, flattest];
            let mut shapes: Vec<_> = ratios.iter().map(|&ratio| (own, ratio)).collect();
            shapes.push(((own * scale(layer + 1)).sqrt(), 1.0));
            shapes
        };
        let stride = 1.0 / map as f32;
        let offset = stride / 2.0;
        for row in 0..map {
            for column in 0..map {
                let y = row as f32 * stride + offset;
                let x = column as f32 * stride + offset;
                for &(scale, ratio) in &shapes {
                    let root = (ratio as f32).sqrt();
                    let scale = scale as f32;
                    anchors.push(corners(y, x, scale / root, scale * root));
                }
            }
        }
    }
    anchors
}

fn tfod_fpn_corners() -> Vec<[f32; 4]> {
    const SIDE: usize = 640;
    let to_share = 1.0 / SIDE as f32;
    let mut anchors = Vec::with_capacity(51_150);
    for level in 3..=7 {
        let stride = (1_usize << level) as f32;
        let map = SIDE >> level;
        let base = 4.0 * stride;
        let mut shapes = Vec::with_capacity(6);
        for ratio in [1.0_f32, 2.0, 0.5] {
            for octave in [1.0, std::f32::consts::SQRT_2] {
                let root = ratio.sqrt();
                shapes.push((octave / root * base, octave * root * base));
            }
        }
        for row in 0..map {
            for column in 0..map {
                let y = row as f32 * stride + stride / 2.0;
                let x = column as f32 * stride + stride / 2.0;
                for &(height, width) in &shapes {
                    anchors.push(corners(y, x, height, width).map(|side| side * to_share));
                }
            }
        }
    }
    anchors
}

fn hikapok_ssd() -> Vec<[f32; 4]> {
    struct Layer {
        map: usize,
        step: f64,
        extra: f64,
        scale: f64,
        ratios: &'static [f64],
    }
    const FEW: &[f64] = &[1.0, 2.0, 0.5];
    const MANY: &[f64] = &[1.0, 2.0, 3.0, 0.5, 0.3333];
    let layer = |map, step, extra, scale, ratios| Layer {
        map,
        step,
        extra,
        scale,
        ratios,
    };
    let layers = [
        layer(38, 8.0, 0.1414, 0.1, FEW),
        layer(19, 16.0, 0.2739, 0.2, MANY),
        layer(10, 32.0, 0.4541, 0.375, MANY),
        layer(5, 64.0, 0.6315, 0.55, MANY),
        layer(3, 100.0, 0.8078, 0.725, FEW),
        layer(1, 300.0, 0.9836, 0.9, FEW),
    ];
    let mut anchors = Vec::with_capacity(8732);
    for layer in layers {
        let center = |index: usize| ((index as f64 + 0.5) * layer.step / 300.0) as f32;
        for row in 0..layer.map {
            for column in 0..layer.map {
                let (y, x) = (center(row), center(column));
                anchors.push([y, x, layer.extra as f32, layer.extra as f32]);
                for ratio in layer.ratios {
                    let root = ratio.sqrt();
                    let (height, width) = (layer.scale / root, layer.scale * root);
                    anchors.push([y, x, height as f32, width as f32]);
                }
            }
        }
    }
    anchors
}

/// A feature map of pytorch-ssd's priors; sizes in pixels of 300.
struct Prior {
    map: usize,
    shrinkage: f64,
    size_min: f64,
    size_max: f64,
    ratios: &'static [f64],
}

const fn prior(
    map: usize,
    shrinkage: f64,
    size_min: f64,
    size_max: f64,
    ratios: &'static [f64],
) -> Prior {
    Prior {
        map,
        shrinkage,
        size_min,
        size_max,
        ratios,
    }
}

const MB2_LITE: [Prior; 6] = [
    prior(19, 16.0, 60.0, 105.0, &[2.0, 3.0]),
    prior(10, 32.0, 105.0, 150.0, &[2.0, 3.0]),
    prior(5, 64.0, 150.0, 195.0, &[2.0, 3.0]),
    prior(3, 100.0, 195.0, 240.0, &[2.0, 3.0]),
    prior(2, 150.0, 240.0, 285.0, &[2.0, 3.0]),
    prior(1, 300.0, 285.0, 330.0, &[2.0, 3.0]),
];

const VGG16: [Prior; 6] = [
    prior(38, 8.0, 30.0, 60.0, &[2.0]),
    prior(19, 16.0, 60.0, 111.0, &[2.0, 3.0]),
    prior(10, 32.0, 111.0, 162.0, &[2.0, 3.0]),
    prior(5, 64.0, 162.0, 213.0, &[2.0, 3.0]),
    prior(3, 100.0, 213.0, 264.0, &[2.0]),
    prior(1, 300.0, 264.0, 315.0, &[2.0]),
];

fn pytorch_ssd(layers: &[Prior]) -> Vec<[f32; 4]> {
    let mut anchors = Vec::new();
    for layer in layers {
        let grid = 300.0 / layer.shrinkage;
        let side = layer.size_min / 300.0;
        let between = (layer.size_max * layer.size_min).sqrt() / 300.0;
        let mut shapes = vec![(side, side), (between, between)];
        for ratio in layer.ratios {
            let root = ratio.sqrt();
            // (height, width): the wide shape first.
            shapes.push((side / root, side * root));
            shapes.push((side * root, side / root));
        }
        for row in 0..layer.map {
            for column in 0..layer.map {
                let y = (row as f64 + 0.5) / grid;
                let x = (column as f64 + 0.5) / grid;
                for &(height, width) in &shapes {
                    anchors.push([y, x, height, width].map(clamped));
                }
            }
        }
    }
    anchors
}

/// Into the picture, and only then to f32.
fn clamped(share: f64) -> f32 {
    share.clamp(0.0, 1.0) as f32
}

fn mlperf_resnet34() -> Vec<[f32; 4]> {
    const MAPS: [usize; 6] = [50, 25, 13, 7, 3, 3];
    const SIZES: [f64; 7] = [84.0, 180.0, 396.0, 612.0, 828.0, 1044.0, 1260.0];
    const RATIOS: [&[f64]; 6] = [
        &[2.0],
        &[2.0, 3.0],
        &[2.0, 3.0],
        &[2.0, 3.0],
        &[2.0],
        &[2.0],
    ];
    let mut anchors = Vec::with_capacity(15_130);
    for (layer, &map) in MAPS.iter().enumerate() {
        let side = SIZES[layer] / 1200.0;
        let between = (side * (SIZES[layer + 1] / 1200.0)).sqrt();
        let mut shapes = vec![(side, side), (between, between)];
        for ratio in RATIOS[layer] {
            let root = ratio.sqrt();
            shapes.push((side / root, side * root));
            shapes.push((side * root, side / root));
        }
        // The grid is 1200 divided by the whole step, in whole numbers.
        let grid = (1200 / (1200 / map)) as f64;
        // Unlike everywhere else, all cells of one shape come before the next shape.
        for (height, width) in shapes {
            for row in 0..map {
                for column in 0..map {
                    let y = (row as f64 + 0.5) / grid;
                    let x = (column as f64 + 0.5) / grid;
                    anchors.push([y, x, height, width].map(clamped));
                }
            }
        }
    }
    anchors
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    const GOLDEN: &str = include_str!("../../tests/golden/anchors/anchors_expected.json");

    fn hex(anchors: &[[f32; 4]]) -> String {
        let mut hasher = Sha256::new();
        for value in anchors.iter().flatten() {
            hasher.update(value.to_le_bytes());
        }
        format!("{:x}", hasher.finalize())
    }

    /// (y, x, h, w) to (x, y, w, h), as the `PyTorch` families store their rows.
    fn x_first(anchors: &[[f32; 4]]) -> Vec<[f32; 4]> {
        anchors.iter().map(|&[y, x, h, w]| [x, y, w, h]).collect()
    }

    #[test]
    fn golden_anchors_of_every_family_are_equal_bit_by_bit() {
        for golden in golden_sums() {
            compare(&golden);
        }
    }

    /// The sums and digests of this repository, and those of the folders in `DETBENCH_GOLDEN`.
    fn golden_sums() -> Vec<serde_json::Value> {
        let own: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
        assert!(own.as_object().is_some_and(|sums| sums.len() >= 8));
        let mut sums = vec![own];
        let more = std::env::var_os("DETBENCH_GOLDEN").unwrap_or_default();
        for folder in std::env::split_paths(&more) {
            let file = folder.join("anchors_expected.json");
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            match serde_json::from_str(&text) {
                Ok(golden) => {
                    eprintln!("DETBENCH_GOLDEN: {}", file.display());
                    sums.push(golden);
                }
                Err(_) => eprintln!("skipped {}: it is not there or no JSON", file.display()),
            }
        }
        sums
    }

    fn compare(golden: &serde_json::Value) {
        for (key, anchors) in [
            (
                "tf_ssd_mobilenet_300 corners (ymin,xmin,ymax,xmax)",
                ssd_300_corners(TFOD_RATIO),
            ),
            (
                "MLPerf pytorch port (1/3 instead of 0.3333) corners",
                ssd_300_corners(1.0 / 3.0),
            ),
            (
                "tf_ssd_mobilenet_300 center (yc,xc,h,w) as TFLite anchor tensor",
                AnchorSpec::TfodSsd300.generate(),
            ),
            ("tf_fpn_640 corners normalised", tfod_fpn_corners()),
            (
                "tf_fpn_640 center normalised",
                AnchorSpec::TfodFpn640.generate(),
            ),
            (
                "hikapok_ssd_vgg16_300 (yc,xc,h,w)",
                AnchorSpec::HikapokSsd300.generate(),
            ),
            (
                "pytorch_ssd_vgg16_300 (xc,yc,w,h) clamped",
                x_first(&AnchorSpec::PytorchSsdVgg16300.generate()),
            ),
            (
                "pytorch_mb2_ssd_lite_300 (xc,yc,w,h) clamped",
                x_first(&AnchorSpec::PytorchSsdMb2Lite300.generate()),
            ),
            (
                "mlperf_ssd_r34_1200 (xc,yc,w,h) clamped",
                x_first(&AnchorSpec::MlperfResnet341200.generate()),
            ),
        ] {
            let Some(expected) = golden.get(key) else {
                eprintln!("skipped anchors of {key}: not in the file");
                continue;
            };
            assert_eq!(expected["n"], anchors.len(), "{key}");
            let sum: f64 = anchors
                .iter()
                .flatten()
                .map(|&value| f64::from(value))
                .sum();
            let difference = (sum - expected["sum"].as_f64().unwrap()).abs();
            assert!(difference < 1e-3, "{key}: the sum is off by {difference}");
            assert_eq!(expected["sha256"], hex(&anchors), "{key}");
        }
    }

    #[test]
    fn the_name_in_a_model_file_is_the_name_of_the_specification() {
        for spec in AnchorSpec::ALL {
            let written = serde_json::to_value(spec).unwrap();
            assert_eq!(written, spec.name());
        }
    }
}
