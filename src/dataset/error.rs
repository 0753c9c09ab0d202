//! Why a data set cannot be used, and what is worth saying of one that can.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::records::PictureProblem;
use super::tfrecord::TfRecordError;
use crate::accuracy::AccuracyError;
use crate::library::coco::CocoError;
use crate::library::{LibraryError, Note};

/// Why a data set cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// Nothing of the usual forms is there.
    #[error(
        "{}: {found}; give a folder of JPEG or PNG files, a COCO folder (val2017, annotations/instances_val2017.json), \
         a VOC folder (Annotations, JPEGImages), or TFRecords",
        path.display()
    )]
    NoDataset {
        /// The path asked for.
        path: PathBuf,
        /// What is there instead.
        found: &'static str,
    },
    /// Several are there, and which is meant was not said.
    #[error("{}: it holds {}; pass --split with one of them", path.display(), found.join(", "))]
    Several {
        /// The path asked for.
        path: PathBuf,
        /// Their names.
        found: Vec<String>,
    },
    /// The part asked for is not there.
    #[error("--split {split}: {} has no such part; it has {}", path.display(), found.join(", "))]
    NoSplit {
        /// The path asked for.
        path: PathBuf,
        /// The part asked for.
        split: String,
        /// What is there.
        found: Vec<String>,
    },
    /// Shards of a set are not there.
    #[error(
        "{}: of its shards {} are missing; fetch them or pass --skip-missing to go on without them",
        path.display(), missing.join(", ")
    )]
    MissingShards {
        /// The folder.
        path: PathBuf,
        /// File names.
        missing: Vec<String>,
    },
    /// A record is no labelled picture.
    #[error("{}: record {record} at byte {offset} {problem}", file.display())]
    Record {
        /// The file.
        file: PathBuf,
        /// Its position, from zero.
        record: u64,
        /// Its first byte.
        offset: u64,
        /// What is wrong.
        problem: PictureProblem,
    },
    /// Two records hold the same picture.
    #[error("{}: two of its records hold the picture {picture}; each picture may be there once", path.display())]
    PictureTwice {
        /// The first file of the data set.
        path: PathBuf,
        /// Its id or name.
        picture: String,
    },
    /// A picture that the annotations do not name.
    #[error("{annotations}: it does not name the picture {picture} of the records; give the annotations of this data set")]
    NotAnnotated {
        /// The annotations.
        annotations: String,
        /// Its name.
        picture: String,
    },
    /// Pictures that VOC's annotations or lists name are not there.
    #[error(
        "{}: of its {total} pictures {} are not in JPEGImages, such as {first}; fetch them or pass --skip-missing to go \
         on without them",
        root.display(), missing
    )]
    MissingPictures {
        /// The VOC folder.
        root: PathBuf,
        /// How many are not there.
        missing: usize,
        /// One of them.
        first: String,
        /// How many there should be.
        total: usize,
    },
    /// The records cannot be read.
    #[error(transparent)]
    Records(#[from] TfRecordError),
    /// The pictures cannot be listed.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// COCO's JSON cannot be used.
    #[error(transparent)]
    Coco(#[from] CocoError),
    /// VOC's annotations cannot be used.
    #[error(transparent)]
    Voc(#[from] AccuracyError),
    /// A folder cannot be looked into.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Something a person should know about a data set that was opened all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatasetNote {
    /// Of a folder of pictures.
    Pictures(Note),
    /// Shards that are not there were left out.
    SkippedShards {
        /// File names.
        missing: Vec<String>,
    },
    /// Pictures that VOC names are not there and were left out.
    SkippedPictures {
        /// How many.
        count: usize,
    },
    /// COCO's classes were numbered 1 to 80 without gaps.
    EightyClasses,
    /// The records tell neither crowds nor areas.
    NoCrowds,
    /// Annotations name more pictures than the records hold.
    FewerPictures {
        /// How many are not in the records.
        count: usize,
    },
}

impl fmt::Display for DatasetNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pictures(note) => note.fmt(f),
            Self::SkippedShards { missing } => write!(
                f,
                "{} shards are missing and were skipped: {}",
                missing.len(),
                missing.join(", ")
            ),
            Self::SkippedPictures { count } => {
                write!(f, "{count} pictures of the VOC folder are missing and were skipped")
            }
            Self::EightyClasses => f.write_str(
                "The records number COCO's classes from 1 to 80 without gaps; they were given COCO's ids by name",
            ),
            Self::NoCrowds => f.write_str(
                "These records tell neither crowds nor areas of masks, so scores differ a little from those with COCO's \
                 own JSON; pass --annotations FILE for them",
            ),
            Self::FewerPictures { count } => write!(
                f,
                "{count} pictures of the annotations are not in the records and take no part"
            ),
        }
    }
}
