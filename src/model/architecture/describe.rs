//! The model file of a generated architecture: that of the published model, with what differs.

use super::{Architecture, INPUT, RAW_BOXES, RAW_SCORES};
use crate::model::description::{Anchors, Dataset, ModelDescription, Outputs, Weights};
use crate::model::{known, Labels};

impl Architecture {
    /// The known model whose reading (preprocessing, anchors, post-processing) it has.
    const fn published(self) -> &'static str {
        match self {
            Self::SsdVgg16 => "ssd-vgg16-voc",
            Self::SsdResnet50Fpn => "ssd-resnet50-fpn-640-heads",
            Self::MobilenetV2SsdLiteVoc => "mb2-ssd-lite-voc-heads",
            Self::SsdMobilenetV1 | Self::SsdMobilenetV2 | Self::SsdliteMobilenetV2 => {
                "ssdlite-mobilenet-v2"
            }
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::SsdVgg16 => "SSD-VGG16 300x300",
            Self::SsdResnet50Fpn => "SSD-ResNet50-FPN 640x640",
            Self::MobilenetV2SsdLiteVoc => "MobileNetV2-SSD-Lite 300x300",
            Self::SsdMobilenetV1 => "SSD-MobileNet v1 300x300",
            Self::SsdMobilenetV2 => "SSD-MobileNet v2 300x300",
            Self::SsdliteMobilenetV2 => "SSDLite-MobileNet v2 300x300",
        }
    }

    const fn plan(self) -> &'static str {
        match self {
            Self::SsdVgg16 => "HiKapok's SSD.TensorFlow",
            Self::MobilenetV2SsdLiteVoc => "pytorch-ssd",
            Self::SsdResnet50Fpn
            | Self::SsdMobilenetV1
            | Self::SsdMobilenetV2
            | Self::SsdliteMobilenetV2 => "the TensorFlow Object Detection API",
        }
    }
}

/// The model file, without the ONNX file's name and the operations.
pub fn describe(architecture: Architecture, dataset: Dataset, seed: u64) -> ModelDescription {
    let published = known::find(architecture.published()).expect("a test reads them all");
    let mut own = ModelDescription {
        name: format!("{architecture}-synthetic"),
        title: format!(
            "{}, {} classes, weights drawn from seed {seed}",
            architecture.title(),
            dataset.name()
        ),
        source: format!("the layer plan of {}", architecture.plan()),
        licence: "none: the weights are random numbers".to_owned(),
        notes: "The weights were never trained: what this model finds means nothing. Batch normalisation is folded into the convolutions.".to_owned(),
        weights: Weights::Synthetic,
        files: Vec::new(),
        dataset,
        ..published
    };
    INPUT.clone_into(&mut own.input.name);
    // These have the normalisation to -1..1 inside their published graphs; here it is done before.
    if matches!(
        architecture,
        Architecture::SsdMobilenetV1
            | Architecture::SsdMobilenetV2
            | Architecture::SsdliteMobilenetV2
    ) {
        own.input.preprocessing.mean = [127.5; 3];
        own.input.preprocessing.scale = [127.5; 3];
    }
    if let Outputs::RawHeads(raw) = &mut own.outputs {
        raw.anchors = Anchors::Generated(architecture.anchors());
        RAW_BOXES.clone_into(&mut raw.heads.boxes);
        RAW_SCORES.clone_into(&mut raw.heads.scores);
        if dataset == Dataset::Coco && matches!(own.labels, Labels::Names(_)) {
            own.labels = Labels::Coco80;
            raw.heads.classes = 80;
        }
    }
    own
}
