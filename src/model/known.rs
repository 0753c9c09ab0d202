//! The model files that the program carries in itself.

use std::path::Path;

use super::description::ModelDescription;

/// The model that runs when none is named: what [`super::tfjs`] makes of the published
/// TensorFlow.js model.
pub const DEFAULT: &str = "ssdlite-mobilenet-v2";

/// Path in the repository and text of each.
const FILES: &[(&str, &str)] = &[
    (
        "configs/models/ssdlite-mobilenet-v2.toml",
        include_str!("../../configs/models/ssdlite-mobilenet-v2.toml"),
    ),
    (
        "configs/models/ssdlite-mobilenet-v2-int8.toml",
        include_str!("../../configs/models/ssdlite-mobilenet-v2-int8.toml"),
    ),
    (
        "configs/models/ssd-mobilenet-v1.toml",
        include_str!("../../configs/models/ssd-mobilenet-v1.toml"),
    ),
    (
        "configs/models/ssd-mobilenet-v1-int8.toml",
        include_str!("../../configs/models/ssd-mobilenet-v1-int8.toml"),
    ),
    (
        "configs/models/ssd-mobilenet-v1-int8-tflite.toml",
        include_str!("../../configs/models/ssd-mobilenet-v1-int8-tflite.toml"),
    ),
    (
        "configs/models/ssd-mobilenet-v2.toml",
        include_str!("../../configs/models/ssd-mobilenet-v2.toml"),
    ),
    (
        "configs/models/ssd-mobilenet-v2-int8.toml",
        include_str!("../../configs/models/ssd-mobilenet-v2-int8.toml"),
    ),
    (
        "configs/models/ssd-mobilenet-v2-int8-tflite.toml",
        include_str!("../../configs/models/ssd-mobilenet-v2-int8-tflite.toml"),
    ),
    (
        "configs/models/ssd-mobilenet-v1-tfod.toml",
        include_str!("../../configs/models/ssd-mobilenet-v1-tfod.toml"),
    ),
    (
        "configs/models/ssd-mobilenet-v1-zoo12.toml",
        include_str!("../../configs/models/ssd-mobilenet-v1-zoo12.toml"),
    ),
    (
        "configs/models/ssd-mobilenet-v1-tfod-heads.toml",
        include_str!("../../configs/models/ssd-mobilenet-v1-tfod-heads.toml"),
    ),
    (
        "configs/models/ssd-mobilenet-v1-mlperf-torch.toml",
        include_str!("../../configs/models/ssd-mobilenet-v1-mlperf-torch.toml"),
    ),
    (
        "configs/models/ssd-resnet34-1200.toml",
        include_str!("../../configs/models/ssd-resnet34-1200.toml"),
    ),
    (
        "configs/models/ssd-resnet34-1200-heads.toml",
        include_str!("../../configs/models/ssd-resnet34-1200-heads.toml"),
    ),
    (
        "configs/models/mb2-ssd-lite-voc.toml",
        include_str!("../../configs/models/mb2-ssd-lite-voc.toml"),
    ),
    (
        "configs/models/mb2-ssd-lite-voc-heads.toml",
        include_str!("../../configs/models/mb2-ssd-lite-voc-heads.toml"),
    ),
    (
        "configs/models/ssd-vgg16.toml",
        include_str!("../../configs/models/ssd-vgg16.toml"),
    ),
    (
        "configs/models/ssd-vgg16-int8.toml",
        include_str!("../../configs/models/ssd-vgg16-int8.toml"),
    ),
    (
        "configs/models/ssd-vgg16-voc.toml",
        include_str!("../../configs/models/ssd-vgg16-voc.toml"),
    ),
    (
        "configs/models/ssd-resnet50-fpn-640.toml",
        include_str!("../../configs/models/ssd-resnet50-fpn-640.toml"),
    ),
    (
        "configs/models/ssd-resnet50-fpn-640-heads.toml",
        include_str!("../../configs/models/ssd-resnet50-fpn-640-heads.toml"),
    ),
    (
        "configs/models/faster-rcnn-r50-fpn.toml",
        include_str!("../../configs/models/faster-rcnn-r50-fpn.toml"),
    ),
    (
        "configs/models/mask-rcnn-r50-fpn.toml",
        include_str!("../../configs/models/mask-rcnn-r50-fpn.toml"),
    ),
    (
        "configs/models/faster-rcnn-torchvision.toml",
        include_str!("../../configs/models/faster-rcnn-torchvision.toml"),
    ),
];

/// The known models, the default first.
///
/// # Panics
/// When a compiled-in model file is wrong; a test reads them all.
pub fn descriptions() -> Vec<ModelDescription> {
    let parse = |(path, text): &(&str, &str)| match ModelDescription::parse(text, Path::new(path)) {
        Ok(description) => description,
        Err(error) => panic!("a model file in the program is wrong: {error}"),
    };
    FILES.iter().map(parse).collect()
}

/// The published layer plan of a known model, by its name for `detbench generate`: the plan's own weights are drawn,
/// floats, and show what the layers cost.
pub fn architecture(name: &str) -> Option<&'static str> {
    const PLANS: [(&str, &str); 8] = [
        ("ssd-vgg16", "ssd-vgg16-300"),
        ("ssd-vgg16-voc", "ssd-vgg16-300"),
        ("ssd-resnet50-fpn-640", "ssd-resnet50-fpn-640"),
        ("ssd-resnet50-fpn-640-heads", "ssd-resnet50-fpn-640"),
        ("mb2-ssd-lite-voc", "mobilenet-v2-ssd-lite-voc"),
        ("mb2-ssd-lite-voc-heads", "mobilenet-v2-ssd-lite-voc"),
        ("ssd-mobilenet-v2", "ssd-mobilenet-v2"),
        ("ssdlite-mobilenet-v2", "ssdlite-mobilenet-v2"),
    ];
    let is_first = name.starts_with("ssd-mobilenet-v1") && !name.contains("int8");
    let plan = PLANS.iter().find(|(known, _)| *known == name);
    plan.map(|(_, plan)| *plan)
        .or(is_first.then_some("ssd-mobilenet-v1"))
}

/// The known model called `name`.
pub fn find(name: &str) -> Option<ModelDescription> {
    descriptions().into_iter().find(|known| known.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::description::Precision;

    #[test]
    fn every_model_file_reads_and_is_called_as_its_file() {
        let known = descriptions();
        assert_eq!(known[0].name, DEFAULT);
        for ((path, _), description) in FILES.iter().zip(&known) {
            assert_eq!(*path, format!("configs/models/{}.toml", description.name));
            let again = ModelDescription::parse(&description.to_toml(), Path::new(path)).unwrap();
            assert_eq!(again, *description, "{path}");
        }
    }

    #[test]
    fn every_plan_is_one_that_can_be_built() {
        for model in descriptions() {
            let plan = architecture(&model.name);
            let built = plan.map(str::parse::<crate::model::Architecture>);
            assert!(built.is_none_or(|built| built.is_ok()), "{}", model.name);
            let is_float = model.precision == Precision::Fp32;
            assert!(plan.is_none() || is_float, "{}", model.name);
        }
    }

    #[test]
    fn every_model_file_in_the_folder_is_in_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/models");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), FILES.len());
    }
}
