//! `score --voc`: detections against a Pascal VOC folder.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use comfy_table::{presets, CellAlignment, Table};
use serde::Serialize;

use super::{Points, ScoreArguments, ScoreError, VocStyleArgument};
use crate::accuracy::voc::{
    mean_average_precision, read_annotations, read_detections, read_image_names, score_class,
    VocClassScore, VocDetection, VocObject, VocStyle, CLASSES,
};

impl From<VocStyleArgument> for VocStyle {
    fn from(argument: VocStyleArgument) -> Self {
        match argument {
            VocStyleArgument::Devkit => Self::Devkit,
            VocStyleArgument::Ptssd => Self::Ptssd,
            VocStyleArgument::Hikapok => Self::Hikapok,
        }
    }
}

#[derive(Serialize)]
struct Document {
    schema_version: u32,
    style: VocStyle,
    points: &'static str,
    map: MapEntry,
    per_class: Vec<VocClassScore>,
}

/// A mean that may not be a number.
#[derive(Serialize)]
#[serde(untagged)]
enum MapEntry {
    Number(f64),
    NotANumber(&'static str),
}

/// Scores and writes the answer.
pub fn run(
    arguments: &ScoreArguments,
    folder: &Path,
    out: &mut impl Write,
) -> Result<(), ScoreError> {
    let names = arguments
        .image_ids
        .as_deref()
        .map(read_image_names)
        .transpose()?;
    let (images, objects) = read_annotations(folder, names)?;
    let path = arguments.detections.as_deref();
    let mut detections = read_detections(path.expect("clap asks for it without a log"))?;
    let images: BTreeSet<String> = images.into_iter().collect();
    // Detections elsewhere are not looked at, as with COCO.
    detections.retain(|detection| images.contains(&detection.image));
    let style = VocStyle::from(arguments.voc_style);
    let per_class: Vec<VocClassScore> = classes(&objects, &detections)
        .iter()
        .map(|class| score_class(class, &objects, &detections, style))
        .collect();
    let of_class = |class: &VocClassScore| match arguments.points {
        Points::Eleven => class.ap_11,
        Points::All => class.ap_all,
    };
    let values: Vec<f64> = per_class.iter().map(of_class).collect();
    let map = mean_average_precision(&values, style);
    let points = match arguments.points {
        Points::Eleven => "11",
        Points::All => "all",
    };
    if arguments.json {
        let document = Document {
            schema_version: 1,
            style,
            points,
            map: if map.is_nan() {
                MapEntry::NotANumber("NaN")
            } else {
                MapEntry::Number(map)
            },
            per_class,
        };
        serde_json::to_writer(&mut *out, &document).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["class", "AP", "objects", "right", "wrong"]);
    for (class, value) in per_class.iter().zip(&values) {
        table.add_row([
            class.class.clone(),
            format!("{value:.4}"),
            class.object_count.to_string(),
            class.true_positives.to_string(),
            class.false_positives.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(
        out,
        "{table}\n\nmAP ({}, {points} points, IoU 0.5): {map}",
        style.name()
    )?;
    Ok(())
}

/// VOC's twenty classes, unless there are others: then those of the ground truth and the detections by name.
fn classes(objects: &[VocObject], detections: &[VocDetection]) -> Vec<String> {
    let of_objects = objects.iter().map(|object| object.class.as_str());
    let present: BTreeSet<&str> = of_objects
        .chain(detections.iter().map(|detection| detection.class.as_str()))
        .collect();
    if present.iter().all(|class| CLASSES.contains(class)) {
        CLASSES.map(str::to_owned).into()
    } else {
        present.into_iter().map(str::to_owned).collect()
    }
}
