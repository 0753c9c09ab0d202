//! What there is to find in a run's pictures, and what was found of it: as COCO scores it, or as VOC does.

use serde_json::{json, Value};

use crate::accuracy::voc::{
    score_all, write_detections, VocDetection, VocObject, VocPoints, VocScores, VocStyle,
};
use crate::accuracy::{
    ck_rounded, score, twelve_lines, write_results, AccuracyError, CocoDetection, CocoScores,
    GroundTruth,
};
use crate::cli::score::voc;
use crate::dataset::voc_name;
use crate::library::PictureEntry;
use crate::report::document::AccuracyEntry;
use std::collections::BTreeSet;
use std::path::Path;

/// The ground truth of a run.
#[derive(Debug)]
pub enum RunTruth {
    /// COCO's.
    Coco(GroundTruth),
    /// VOC's, and how it is scored.
    Voc {
        /// Objects of all pictures.
        objects: Vec<VocObject>,
        /// Whose arithmetic.
        style: VocStyle,
        /// Over which recalls.
        points: VocPoints,
    },
}

/// Detections of all pictures, in the truth's own terms.
#[derive(Debug, Clone)]
pub enum Detections {
    /// COCO's results.
    Coco(Vec<CocoDetection>),
    /// VOC's.
    Voc(Vec<VocDetection>),
}

/// What came of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Scores {
    /// pycocotools' numbers.
    Coco(CocoScores),
    /// VOC's.
    Voc(VocScores),
}

impl RunTruth {
    /// Scores detections on the pictures that were asked for.
    ///
    /// # Errors
    /// A detection that cannot be scored.
    pub fn score(
        &self,
        detections: &Detections,
        asked: &[&PictureEntry],
    ) -> Result<Scores, AccuracyError> {
        match (self, detections) {
            (Self::Coco(truth), Detections::Coco(detections)) => {
                let ids: Vec<i64> = asked.iter().map(|picture| picture.image_id).collect();
                score(truth, detections, Some(&ids)).map(Scores::Coco)
            }
            (
                Self::Voc {
                    objects,
                    style,
                    points,
                },
                Detections::Voc(detections),
            ) => {
                if let Some(index) = detections.iter().position(|one| one.score.is_nan()) {
                    return Err(AccuracyError::NotANumber {
                        index,
                        key: "score",
                        value: f64::NAN,
                    });
                }
                let names: BTreeSet<&str> = asked
                    .iter()
                    .map(|picture| voc_name(&picture.file_name))
                    .collect();
                let objects: Vec<VocObject> = objects
                    .iter()
                    .filter(|object| names.contains(object.image.as_str()))
                    .cloned()
                    .collect();
                Ok(Scores::Voc(score_all(
                    &objects, detections, *style, *points,
                )))
            }
            (Self::Coco(_), Detections::Voc(_)) | (Self::Voc { .. }, Detections::Coco(_)) => {
                panic!("detections were made in the terms of another truth")
            }
        }
    }
}

impl Detections {
    /// What Collective Knowledge's text files make of them; VOC's stay.
    pub fn rounded_as_ck(&self) -> Self {
        match self {
            Self::Coco(all) => Self::Coco(ck_rounded(all)),
            Self::Voc(all) => Self::Voc(all.clone()),
        }
    }

    /// How many.
    pub const fn len(&self) -> usize {
        match self {
            Self::Coco(all) => all.len(),
            Self::Voc(all) => all.len(),
        }
    }

    /// Writes them as `detbench score` reads them.
    ///
    /// # Errors
    /// A number that JSON cannot hold, or the system's.
    pub fn write(&self, path: &Path) -> Result<(), AccuracyError> {
        match self {
            Self::Coco(all) => write_results(path, all),
            Self::Voc(all) => write_detections(path, all),
        }
    }
}

impl Scores {
    /// The one number.
    pub const fn map(&self) -> f64 {
        match self {
            Self::Coco(scores) => scores.stats[0],
            Self::Voc(scores) => scores.map,
        }
    }

    /// What a report's document says.
    pub fn entry(&self, picture_count: usize, detection_count: usize) -> AccuracyEntry {
        let (metric, stats) = match self {
            Self::Coco(scores) => ("coco", scores.stats.to_vec()),
            Self::Voc(scores) => {
                let classes = scores.per_class.iter();
                (
                    "voc",
                    classes.map(|class| scores.points.of(class)).collect(),
                )
            }
        };
        AccuracyEntry {
            metric,
            map: self.map(),
            stats,
            picture_count,
            detection_count,
        }
    }

    /// The numbers as their own tool prints them.
    pub fn text(&self) -> String {
        match self {
            Self::Coco(scores) => twelve_lines(&scores.stats),
            Self::Voc(scores) => voc::text(scores),
        }
    }

    /// A row for each category.
    pub fn rows(&self) -> Vec<Value> {
        match self {
            Self::Coco(scores) => {
                let rows = scores.per_category.iter();
                rows.map(
                    |row| json!({"id": row.id, "name": row.name, "ap": row.ap, "ap50": row.ap50}),
                )
                .collect()
            }
            Self::Voc(scores) => scores.per_class.iter().map(|row| json!(row)).collect(),
        }
    }
}
