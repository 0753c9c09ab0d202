//! A folder of raw heads: one archive a picture, and `heads.json`, which says what they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::description::RawHeads;
use crate::model::Labels;
use crate::postprocess::families::{FamilyRules, Procedure};
use crate::postprocess::tflite::Options;
use crate::postprocess::{BoxScales, NmsSettings};

/// The name of the file that describes the others.
pub const MANIFEST: &str = "heads.json";

/// The form of [`MANIFEST`].
const SCHEMA_VERSION: u32 = 1;

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The description cannot be read.
    #[error("{} cannot be read: {source}; the laboratory takes a folder that `run --save-raw` wrote", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The description is not one.
    #[error("{} does not describe raw heads: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A description of another version.
    #[error("{} has schema_version {found}, but this program reads {SCHEMA_VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The description cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What a folder of raw heads holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RawFolder {
    schema_version: u32,
    /// The model's name.
    pub model: String,
    /// What its classes are called.
    pub labels: Labels,
    /// How many classes, background left out.
    pub classes: u32,
    /// Thresholds and limits of the model file and the flags.
    pub nms: NmsSettings,
    /// Divisors of the boxes.
    pub box_scales: BoxScales,
    /// The procedure of a model that is not made for the op.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procedure: Option<OwnProcedure>,
    /// The pictures, in the order of the library.
    pub pictures: Vec<RawPicture>,
}

/// A family's own post-processing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OwnProcedure {
    /// Whose.
    pub family: Procedure,
    /// Its rules, with those of the model file.
    pub rules: FamilyRules,
}

/// One picture and its archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawPicture {
    /// The archive, beside [`MANIFEST`].
    pub file: PathBuf,
    /// The picture.
    pub picture: PathBuf,
    /// Its id in the annotations.
    pub image_id: i64,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
}

impl RawFolder {
    /// The description of a model without pictures yet.
    pub fn new(model: &str, labels: &Labels, raw: &RawHeads) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            model: model.to_owned(),
            labels: labels.clone(),
            classes: raw.heads.classes,
            nms: raw.nms,
            box_scales: raw.box_scales,
            procedure: raw.family.procedure().map(|family| OwnProcedure {
                family,
                rules: raw.procedure.apply(family.rules()),
            }),
            pictures: Vec::new(),
        }
    }

    /// Reads the description of `folder`.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn read(folder: &Path) -> Result<Self, FolderError> {
        let path = folder.join(MANIFEST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(source) => return Err(FolderError::Read { path, source }),
        };
        let read: Self = match serde_json::from_slice(&text) {
            Ok(read) => read,
            Err(source) => return Err(FolderError::Json { path, source }),
        };
        if read.schema_version != SCHEMA_VERSION {
            let found = read.schema_version;
            return Err(FolderError::Version { path, found });
        }
        Ok(read)
    }

    /// Writes the description to `folder`.
    ///
    /// # Errors
    /// [`FolderError::Write`].
    pub fn write(&self, folder: &Path) -> Result<(), FolderError> {
        let path = folder.join(MANIFEST);
        let text = serde_json::to_vec_pretty(self).expect("keys are strings");
        fs::write(&path, text).map_err(|source| FolderError::Write { path, source })
    }

    /// The op's options as the model file has them.
    pub fn options(&self) -> Options {
        let whole = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let NmsSettings {
            score_threshold,
            iou_threshold,
            max_detections,
            detections_per_class,
            max_classes_per_detection,
        } = self.nms;
        Options {
            max_detections: whole(max_detections),
            max_classes_per_detection: whole(max_classes_per_detection),
            detections_per_class: whole(detections_per_class),
            use_regular_nms: false,
            nms_score_threshold: score_threshold,
            nms_iou_threshold: iou_threshold,
            scales: self.box_scales,
            num_classes: whole(self.classes),
        }
    }
}
