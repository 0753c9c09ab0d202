//! `score --voc`, and `score --dataset` of a VOC data set.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use comfy_table::{presets, CellAlignment, Table};
use serde::Serialize;

use super::{Points, ScoreArguments, ScoreError, VocStyleArgument};
use crate::accuracy::voc::{
    read_annotations, read_detections, read_image_names, score_all, VocClassScore, VocObject,
    VocPoints, VocScores, VocStyle,
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

impl From<Points> for VocPoints {
    fn from(argument: Points) -> Self {
        match argument {
            Points::Eleven => Self::Eleven,
            Points::All => Self::All,
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

/// Scores against a VOC folder and writes the answer.
pub fn run(
    arguments: &ScoreArguments,
    folder: &Path,
    out: &mut impl Write,
) -> Result<(), ScoreError> {
    let names = image_names(arguments)?;
    let (images, objects) = read_annotations(folder, names)?;
    conclude(arguments, images, &objects, out)
}

/// Scores against the objects of a data set's pictures and writes the answer.
pub fn run_on(
    arguments: &ScoreArguments,
    mut images: Vec<String>,
    mut objects: Vec<VocObject>,
    out: &mut impl Write,
) -> Result<(), ScoreError> {
    if let Some(names) = image_names(arguments)? {
        let names: BTreeSet<String> = names.into_iter().collect();
        images.retain(|image| names.contains(image));
        objects.retain(|object| names.contains(&object.image));
    }
    conclude(arguments, images, &objects, out)
}

fn image_names(arguments: &ScoreArguments) -> Result<Option<Vec<String>>, ScoreError> {
    let names = arguments.image_ids.as_deref().map(read_image_names);
    Ok(names.transpose()?)
}

fn conclude(
    arguments: &ScoreArguments,
    images: Vec<String>,
    objects: &[VocObject],
    out: &mut impl Write,
) -> Result<(), ScoreError> {
    let path = arguments.detections.as_deref();
    let mut detections = read_detections(path.expect("clap asks for it without a log"))?;
    let images: BTreeSet<String> = images.into_iter().collect();
    // Detections elsewhere are not looked at, as with COCO.
    detections.retain(|detection| images.contains(&detection.image));
    let (style, points) = (arguments.voc_style.into(), arguments.points.into());
    let scores = score_all(objects, &detections, style, points);
    if arguments.json {
        let document = Document {
            schema_version: 1,
            style,
            points: scores.points.name(),
            map: if scores.map.is_nan() {
                MapEntry::NotANumber("NaN")
            } else {
                MapEntry::Number(scores.map)
            },
            per_class: scores.per_class,
        };
        serde_json::to_writer(&mut *out, &document).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    out.write_all(text(&scores).as_bytes())?;
    Ok(())
}

/// A line for each class, and the mean.
pub fn text(scores: &VocScores) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["class", "AP", "objects", "right", "wrong"]);
    for class in &scores.per_class {
        table.add_row([
            class.class.clone(),
            format!("{:.4}", scores.points.of(class)),
            class.object_count.to_string(),
            class.true_positives.to_string(),
            class.false_positives.to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{table}\n\n");
    let _ = writeln!(
        text,
        "mAP ({}, {} points, IoU 0.5): {}",
        scores.style.name(),
        scores.points.name(),
        scores.map
    );
    text
}
