//! The model file of an import: what the source says, and for the rest what its family has in common.

use std::path::Path;

use super::Foreign;
use crate::library::preprocessing::{ColorOrder, ElementType, Layout, Preprocessing, Resize};
use crate::model::description::{
    Anchors, Dataset, Family, Heads, InputDescription, ModelFile, Outputs, Precision, RawHeads,
    Weights,
};
use crate::model::{tfjs, tflite, AnchorSpec, Labels, ModelDescription};
use crate::postprocess::families::RuleOverrides;
use crate::postprocess::{Activation, BoxScales, NmsSettings};

/// Published generators agree with each other only to about this.
const ANCHOR_TOLERANCE: f32 = 1e-6;
/// What label maps write where an id has no class.
const NAMELESS: &str = "???";
/// What TF Object Detection subtracts from pixels and divides them by.
const TFOD_NORMALIZATION: [f32; 2] = [127.5, 127.5];

/// The published set of anchors that `rows` are.
pub(super) fn matching_spec(rows: &[[f32; 4]]) -> Option<AnchorSpec> {
    AnchorSpec::ALL.into_iter().find(|spec| {
        let own = spec.generate();
        let pairs = own.iter().flatten().zip(rows.iter().flatten());
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= ANCHOR_TOLERANCE;
        own.len() == rows.len() && pairs.into_iter().all(near)
    })
}

/// The model file of `output`, which was imported from `source`.
pub(super) fn describe(
    output: &Path,
    source: &Path,
    foreign: &Foreign,
    precision: Precision,
    anchors: Anchors,
) -> ModelDescription {
    match foreign {
        Foreign::Tfjs(imported) => of_tfjs(output, source, imported, anchors),
        Foreign::Tflite(imported) => of_tflite(output, source, imported, precision, anchors),
    }
}

/// What both kinds of models have in common.
struct Common<'a> {
    output: &'a Path,
    source: String,
    licence: String,
    notes: String,
    labels: Labels,
    precision: Precision,
}

fn described(common: Common<'_>, input: InputDescription, raw: RawHeads) -> ModelDescription {
    let name = common.output.file_stem().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let file = common.output.file_name().unwrap_or_default();
    ModelDescription {
        title: name.clone(),
        name,
        precision: common.precision,
        dataset: if raw.heads.classes == 20 {
            Dataset::Voc
        } else {
            Dataset::Coco
        },
        source: common.source,
        licence: common.licence,
        labels: common.labels,
        weights: Weights::Trained,
        operations: None,
        notes: common.notes,
        files: vec![ModelFile {
            name: file.to_string_lossy().into_owned(),
            sha256: Vec::new(),
            origin: format!("imported by detbench {}", env!("CARGO_PKG_VERSION")),
        }],
        input,
        outputs: Outputs::RawHeads(raw),
    }
}

fn picture(name: &str, height: u32, width: u32, element: ElementType) -> InputDescription {
    InputDescription {
        name: name.to_owned(),
        preprocessing: Preprocessing {
            height,
            width,
            element,
            layout: Layout::Nhwc,
            color: ColorOrder::Rgb,
            resize: Resize::PillowBilinear,
            mean: [0.0; 3],
            scale: [1.0; 3],
        },
    }
}

/// Names for classes of which nothing is known.
fn usual_labels(classes: u32) -> Labels {
    match classes {
        90 => Labels::Coco91,
        80 => Labels::Coco80,
        _ => Labels::Names(
            (1..=classes)
                .map(|class| format!("class {class}"))
                .collect(),
        ),
    }
}

const USUAL_SCALES: BoxScales = BoxScales {
    y: 10.0,
    x: 10.0,
    h: 5.0,
    w: 5.0,
};

const USUAL_NMS: NmsSettings = NmsSettings {
    score_threshold: 0.3,
    iou_threshold: 0.6,
    max_detections: 100,
    detections_per_class: 100,
    max_classes_per_detection: 1,
};

fn of_tfjs(
    output: &Path,
    source: &Path,
    imported: &tfjs::Imported,
    anchors: Anchors,
) -> ModelDescription {
    let summary = &imported.summary;
    let classes = summary
        .score_columns
        .saturating_sub(u32::from(summary.background));
    let labels = match classes {
        90 => Labels::Coco91,
        _ => usual_labels(classes),
    };
    let origin = source.file_name().unwrap_or_default().to_string_lossy();
    let common = Common {
        output,
        source: format!("TensorFlow.js graph model `{origin}`"),
        licence: "as the TensorFlow.js model's".to_owned(),
        notes: "Written by `detbench import`; box_scales and nms are those usual for the family, not read from the graph.".to_owned(),
        labels,
        precision: Precision::Fp32,
    };
    let input = picture(
        summary.input,
        summary.height,
        summary.width,
        ElementType::F32,
    );
    let raw = RawHeads {
        family: Family::TfliteSsd,
        heads: Heads {
            boxes: tfjs::RAW_BOXES.to_owned(),
            scores: tfjs::RAW_SCORES.to_owned(),
            activation: summary.activation,
            classes,
            background: summary.background,
        },
        anchors,
        box_scales: USUAL_SCALES,
        nms: USUAL_NMS,
        procedure: RuleOverrides::default(),
    };
    described(common, input, raw)
}

fn of_tflite(
    output: &Path,
    source: &Path,
    imported: &tflite::Imported,
    precision: Precision,
    anchors: Anchors,
) -> ModelDescription {
    let summary = &imported.summary;
    let metadata = &imported.metadata;
    let classes = classes(imported);
    let mut notes = vec!["Written by `detbench import`.".to_owned()];
    let (box_scales, nms) = if let Some(rules) = &imported.rules {
        notes.push(format!(
            "The file's own post-processing is {} NMS with these thresholds.",
            rules.mode.name()
        ));
        (rules.box_scales, rules.nms)
    } else {
        notes.push("The file has no post-processing: anchors, box_scales and nms are those usual for the family.".to_owned());
        (USUAL_SCALES, USUAL_NMS)
    };
    let mut input = picture(
        summary.input,
        summary.height,
        summary.width,
        ElementType::U8,
    );
    if !summary.quantized_input {
        let [mean, scale] = metadata.normalization.unwrap_or(TFOD_NORMALIZATION);
        let own = &mut input.preprocessing;
        own.element = ElementType::F32;
        (own.mean, own.scale) = ([mean; 3], [scale; 3]);
        if metadata.normalization.is_none() {
            notes.push(
                "The file does not say how pixels are normalised; (x - 127.5) / 127.5 is assumed."
                    .to_owned(),
            );
        }
    }
    let labels = metadata
        .labels
        .as_deref()
        .and_then(|lines| labels(lines, classes));
    let origin = source.file_name().unwrap_or_default().to_string_lossy();
    let title = metadata.title.as_deref();
    let common = Common {
        output,
        source: match title {
            Some(title) => format!("TFLite model `{origin}`: {title}"),
            None => format!("TFLite model `{origin}`"),
        },
        licence: metadata
            .licence
            .clone()
            .unwrap_or_else(|| "as the TFLite file's".to_owned()),
        notes: notes.join(" "),
        labels: labels.unwrap_or_else(|| usual_labels(classes)),
        precision,
    };
    let raw = RawHeads {
        family: Family::TfliteSsd,
        heads: Heads {
            boxes: tflite::RAW_BOXES.to_owned(),
            scores: tflite::RAW_SCORES.to_owned(),
            activation: summary.activation,
            classes,
            background: classes != summary.score_columns,
        },
        anchors,
        box_scales,
        nms,
        procedure: RuleOverrides::default(),
    };
    described(common, input, raw)
}

/// Classes without background: what the file says, else what the number of columns is known for.
fn classes(imported: &tflite::Imported) -> u32 {
    let columns = imported.summary.score_columns;
    match &imported.rules {
        Some(rules) => rules.classes,
        None => match (columns, imported.summary.activation) {
            (21 | 81 | 91, _) | (_, Activation::Softmax) => columns.saturating_sub(1),
            _ => columns,
        },
    }
}

/// A label map with or without a line for the background; `None` when it is for other classes.
fn labels(lines: &[String], classes: u32) -> Option<Labels> {
    let count = usize::try_from(classes).ok()?;
    let lines = match lines.len().checked_sub(count)? {
        0 => lines,
        1 => &lines[1..],
        _ => return None,
    };
    let is_coco = |labels: &Labels| {
        let named =
            |(class, line): (u32, &String)| labels.name(class).unwrap_or(NAMELESS) == line.as_str();
        labels.class_count() == count && (0..).zip(lines).all(named)
    };
    let known = [Labels::Coco91, Labels::Coco80];
    let names = || Labels::Names(lines.to_vec());
    Some(known.into_iter().find(is_coco).unwrap_or_else(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_map_is_known_with_and_without_its_background() {
        let coco: Vec<String> = (0..90)
            .map(|class| Labels::Coco91.name(class).unwrap_or(NAMELESS).to_owned())
            .collect();
        assert_eq!(labels(&coco, 90), Some(Labels::Coco91));
        let with_background = [vec!["background".to_owned()], coco.clone()].concat();
        assert_eq!(labels(&with_background, 90), Some(Labels::Coco91));
        assert_eq!(labels(&coco, 20), None);
        let own = ["a", "b"].map(str::to_owned);
        assert_eq!(labels(&own, 2), Some(Labels::Names(own.to_vec())));
    }
}
