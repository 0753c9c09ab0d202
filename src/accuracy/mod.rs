//! Detections and ground truth to scores.
//!
//! Input: detections in pixels and COCO ground truth. Output: the numbers that pycocotools gives, bit for bit.
//! Knows nothing of load generation, models or runs.

mod agreement;
mod ck;
mod coco;
mod ground_truth;
mod image_ids;
pub mod matching;
mod mlperf_log;
mod results;
mod text;
pub mod voc;

use std::path::PathBuf;

pub use agreement::{agreement, as_truth};
pub use ck::ck_rounded;
pub use coco::{score, CategoryScore, CocoScores};
pub use ground_truth::{Annotation, GroundTruth, ImageFacts};
pub use image_ids::read_image_ids;
pub use mlperf_log::{read_mlperf_log, MlperfLog, MlperfLogError};
pub use results::{read_results, write_results, CocoDetection};
pub use text::twelve_lines;

/// Why there is no score.
#[derive(Debug, thiserror::Error)]
pub enum AccuracyError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A text is not what COCO's layout says; the reason names line and column.
    #[error("{origin} is not {expected}: {source}")]
    Json {
        /// The file's path, or what else the text is.
        origin: String,
        /// What it should hold.
        expected: &'static str,
        /// The reason, with line and column.
        source: serde_json::Error,
    },
    /// A results file without a detection, in which pycocotools finds none to look at either.
    #[error("{} is an empty list; a detector that found nothing scores 0 without being scored", path.display())]
    NoDetections {
        /// The file.
        path: PathBuf,
    },
    /// A line of a list of images is not an id.
    #[error("{}: line {line} holds `{found}`, which is not an image id", path.display())]
    ImageId {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What it holds.
        found: String,
    },
    /// Two images of the ground truth share an id.
    #[error("image id {id} stands twice in the ground truth's `images`; ids must differ")]
    DuplicateImage {
        /// The id.
        id: i64,
    },
    /// A detection lies on an image that the ground truth does not have.
    #[error("detection {index} is on image {image_id}, which the ground truth does not have")]
    UnknownImage {
        /// Position among the detections, from 0.
        index: usize,
        /// Its image.
        image_id: i64,
    },
    /// The images to evaluate hold one that the ground truth does not have.
    #[error("image {image_id} is to be evaluated (entry {index}), but the ground truth does not have it")]
    UnknownSubsetImage {
        /// Position in the list, from 0.
        index: usize,
        /// The id.
        image_id: i64,
    },
    /// A detection's number cannot be ranked or written.
    #[error("`{key}` of detection {index} is {value}, which is not a usable number")]
    NotANumber {
        /// Position among the detections, from 0.
        index: usize,
        /// `score` or `bbox`.
        key: &'static str,
        /// What it is.
        value: f64,
    },
    /// An accuracy log that cannot be scored.
    #[error(transparent)]
    MlperfLog(#[from] MlperfLogError),
    /// A folder without annotations.
    #[error("{} holds no .xml file; give the folder of a VOC data set", folder.display())]
    NoAnnotations {
        /// The folder.
        folder: PathBuf,
    },
    /// An annotation of VOC that cannot be used.
    #[error("{} is not a VOC annotation: {problem}", path.display())]
    VocAnnotation {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: voc::AnnotationProblem,
    },
    /// A line that is no detection.
    #[error("{}, line {line} is not `image score x_min y_min x_max y_max`", path.display())]
    VocDetection {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The scorer refused what was checked before; a defect of ours.
    #[error("the COCO scorer failed: {0}")]
    Scorer(#[from] hotcoco::error::Error),
}
