//! Architectures: published layer plans -> ONNX files with drawn weights.
//!
//! In: the name of a plan, a data set whose classes it is to have, a seed. Out: the bytes of an ONNX file and
//! the model file that describes it. What a layer costs does not depend on its weights, so
//! latency and throughput can be measured without a download; what such a model finds means nothing. Nothing here
//! runs a model.

mod describe;
mod draws;
mod heads;
mod mobilenet;
mod network;
mod resnet_fpn;
mod vgg;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use self::heads::{Rows, ScoreSpread};
pub use self::network::Cost;
use self::network::Network;
use super::anchors::AnchorSpec;
use super::description::{Dataset, ModelDescription};
use crate::strict_toml::nearest;

/// Names of the tensors of a generated graph.
const INPUT: &str = "image";
const RAW_BOXES: &str = "raw_boxes";
const RAW_SCORES: &str = "raw_scores";

/// A published layer plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "&'static str")]
pub enum Architecture {
    /// `HiKapok`'s SSD-VGG16, which Intel measures: 8732 anchors.
    SsdVgg16,
    /// TF Object Detection API, SSD-ResNet50-FPN (`RetinaNet`): 51150 anchors.
    SsdResnet50Fpn,
    /// pytorch-ssd's MobileNetV2-SSD-Lite for Pascal VOC: 3000 anchors.
    MobilenetV2SsdLiteVoc,
    /// TF Object Detection API, SSD-MobileNet v1: 1917 anchors.
    SsdMobilenetV1,
    /// TF Object Detection API, SSD-MobileNet v2: 1917 anchors.
    SsdMobilenetV2,
    /// TF Object Detection API, SSDLite-MobileNet v2: 1917 anchors.
    SsdliteMobilenetV2,
}

/// A name that no plan has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture `{name}`{}; known are {}", hint(*.nearest), names())]
pub struct UnknownArchitecture {
    /// The name.
    pub name: String,
    /// The one that was perhaps meant.
    pub nearest: Option<&'static str>,
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn names() -> String {
    Architecture::ALL.map(Architecture::name).join(", ")
}

/// A plan and a data set that do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} is published for {} only; leave --dataset out", architecture.name(), architecture.datasets()[0].name())]
pub struct OtherDataset {
    /// The plan.
    pub architecture: Architecture,
}

/// A generated model.
#[derive(Debug, Clone)]
pub struct Generated {
    /// The ONNX file.
    pub onnx: Vec<u8>,
    /// The model file without the name of the ONNX file.
    pub description: ModelDescription,
    /// How many anchors it has.
    pub anchor_count: usize,
    /// What it costs.
    pub cost: Cost,
    /// How many nodes of each operator the graph has.
    pub operators: BTreeMap<String, usize>,
}

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::SsdVgg16,
        Self::SsdResnet50Fpn,
        Self::MobilenetV2SsdLiteVoc,
        Self::SsdMobilenetV1,
        Self::SsdMobilenetV2,
        Self::SsdliteMobilenetV2,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SsdVgg16 => "ssd-vgg16-300",
            Self::SsdResnet50Fpn => "ssd-resnet50-fpn-640",
            Self::MobilenetV2SsdLiteVoc => "mobilenet-v2-ssd-lite-voc",
            Self::SsdMobilenetV1 => "ssd-mobilenet-v1",
            Self::SsdMobilenetV2 => "ssd-mobilenet-v2",
            Self::SsdliteMobilenetV2 => "ssdlite-mobilenet-v2",
        }
    }

    /// The data sets that it is published for, the usual one first.
    pub const fn datasets(self) -> &'static [Dataset] {
        match self {
            Self::SsdVgg16 => &[Dataset::Coco, Dataset::Voc],
            Self::MobilenetV2SsdLiteVoc => &[Dataset::Voc],
            Self::SsdResnet50Fpn
            | Self::SsdMobilenetV1
            | Self::SsdMobilenetV2
            | Self::SsdliteMobilenetV2 => &[Dataset::Coco],
        }
    }

    /// Its anchors.
    pub const fn anchors(self) -> AnchorSpec {
        match self {
            Self::SsdVgg16 => AnchorSpec::HikapokSsd300,
            Self::SsdResnet50Fpn => AnchorSpec::TfodFpn640,
            Self::MobilenetV2SsdLiteVoc => AnchorSpec::PytorchSsdMb2Lite300,
            Self::SsdMobilenetV1 | Self::SsdMobilenetV2 | Self::SsdliteMobilenetV2 => {
                AnchorSpec::TfodSsd300
            }
        }
    }

    /// Draws the weights from `seed` and builds the graph, for the classes of `dataset` (the
    /// usual one when `None`).
    ///
    /// *Complexity*: the bytes of the file are held twice while it is encoded.
    ///
    /// # Errors
    /// [`OtherDataset`].
    pub fn generate(self, dataset: Option<Dataset>, seed: u64) -> Result<Generated, OtherDataset> {
        let dataset = dataset.unwrap_or(self.datasets()[0]);
        if !self.datasets().contains(&dataset) {
            return Err(OtherDataset { architecture: self });
        }
        let mut description = describe::describe(self, dataset, seed);
        let raw = description
            .outputs
            .raw_heads()
            .expect("all plans end in raw heads");
        let columns = raw.heads.score_columns() as usize;
        let anchor_count = self.anchors().generate().len();
        let reserved = [INPUT, RAW_BOXES, RAW_SCORES];
        let mut net = Network::new(self.name(), seed, &reserved);
        let rows = self.layers(&mut net, self.score_spread(columns));
        net.output(RAW_BOXES, &rows.boxes, [anchor_count, 4]);
        net.output(RAW_SCORES, &rows.scores, [anchor_count, columns]);
        let cost = net.cost();
        description.operations = Some(cost.operations());
        Ok(Generated {
            operators: net.operators(),
            onnx: net.encode(),
            description,
            anchor_count,
            cost,
        })
    }

    fn layers(self, net: &mut Network, spread: ScoreSpread) -> Rows {
        use heads::{plain, separable, shared_towers};
        use network::Padding;
        /// Mean square of a picture's values, from -1 to 1 and as levels around their mean.
        const SHARES: f64 = 0.3;
        const LEVELS: f64 = 70.0 * 70.0;
        match self {
            Self::SsdVgg16 => {
                let picture = net.picture_nchw(INPUT, 300, LEVELS);
                let levels = vgg::levels(net, picture);
                plain(net, &levels, spread, 3)
            }
            Self::SsdResnet50Fpn => {
                let picture = net.picture_nhwc(INPUT, 640, LEVELS);
                let levels = resnet_fpn::levels(net, &picture);
                shared_towers(net, &levels, spread)
            }
            Self::MobilenetV2SsdLiteVoc => {
                let picture = net.picture_nchw(INPUT, 300, SHARES);
                let levels = mobilenet::pytorch_v2(net, &picture);
                let (separable_ones, last) = levels.split_at(levels.len() - 1);
                let mut rows = separable(net, separable_ones, spread, Padding::Each(1));
                rows.extend(plain(net, last, spread, 1));
                rows
            }
            Self::SsdMobilenetV1 => {
                let picture = net.picture_nhwc(INPUT, 300, SHARES);
                let levels = mobilenet::v1(net, &picture);
                plain(net, &levels, spread, 1)
            }
            Self::SsdMobilenetV2 => {
                let picture = net.picture_nhwc(INPUT, 300, SHARES);
                let levels = mobilenet::v2(net, &picture);
                plain(net, &levels, spread, 3)
            }
            Self::SsdliteMobilenetV2 => {
                let picture = net.picture_nhwc(INPUT, 300, SHARES);
                let levels = mobilenet::v2(net, &picture);
                separable(net, &levels, spread, Padding::Same)
            }
        }
    }

    /// How the score logits are spread. Chosen on COCO pictures, so that as many pairs of anchor and class
    /// pass 0.01 and 0.3 as in the trained SSDLite-MobileNet v2, by share; on the many anchors of the
    /// pyramid a third of that. docs/generate.md has the counts.
    const fn score_spread(self, columns: usize) -> ScoreSpread {
        let (mean, deviation) = match self {
            Self::SsdVgg16 => (-9.0, 1.26),
            Self::SsdResnet50Fpn => (-12.05, 2.9),
            Self::MobilenetV2SsdLiteVoc => (-10.2, 2.2),
            Self::SsdMobilenetV1 | Self::SsdMobilenetV2 | Self::SsdliteMobilenetV2 => (-10.2, 2.85),
        };
        ScoreSpread {
            columns,
            mean,
            deviation,
        }
    }
}

impl From<Architecture> for &'static str {
    fn from(architecture: Architecture) -> Self {
        architecture.name()
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = UnknownArchitecture;

    fn from_str(text: &str) -> Result<Self, UnknownArchitecture> {
        let found = Self::ALL.into_iter().find(|known| known.name() == text);
        found.ok_or_else(|| UnknownArchitecture {
            name: text.to_owned(),
            nearest: nearest(text, Self::ALL.map(Self::name)),
        })
    }
}
