//! Data sets: pictures and their ground truth, in whichever of the usual forms they are kept.
//!
//! ```text
//! a path -> locate -> COCO folder | VOC folder | TFRecords | plain folder -> Dataset { pictures, truth, notes }
//! ```
//!
//! Input: a path. Output: a [`Dataset`], whose pictures a library loads and whose truth scores what was found; or,
//! for [`convert`], the same data set in another form. Knows no model, no run and no terminal.

mod coco_folder;
pub mod convert;
mod error;
pub mod locate;
pub mod records;
pub mod tfrecord;
mod voc_folder;

use std::num::NonZeroUsize;
use std::path::Path;

pub use error::{DatasetError, DatasetNote};
pub use locate::{locate, Located};

use crate::accuracy::voc::VocObject;
use crate::library::coco::CocoInstances;
use crate::library::ListedPicture;

/// Which data set is meant.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// A folder, or a file of records.
    pub path: &'a Path,
    /// COCO's JSON in the place of what lies at the usual places or in the records.
    pub annotations: Option<&'a Path>,
    /// Which part: `val2014`, VOC's `test`, or the first word of the records' names.
    pub split: Option<&'a str>,
    /// Go on when pictures or shards are not there.
    pub skip_missing: bool,
    /// Threads that read records.
    pub threads: NonZeroUsize,
}

/// In which form a data set is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A folder of pictures, and nothing said of them.
    Plain,
    /// A folder of pictures and COCO's JSON.
    CocoFolder,
    /// `Annotations`, `JPEGImages` and `ImageSets`.
    VocFolder,
    /// TFRecords.
    Records,
}

impl Form {
    /// For people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Plain => "a folder of pictures",
            Self::CocoFolder => "a folder of pictures with COCO's JSON",
            Self::VocFolder => "a Pascal VOC folder",
            Self::Records => "TFRecords",
        }
    }
}

/// What there is to find.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// Boxes, categories by id, crowds and areas: scored as COCO is.
    Coco(CocoInstances),
    /// Boxes in pixels counted from one, classes by name, difficult ones among them: scored as VOC is. Pictures are named
    /// as [`voc_name`] does.
    Voc(Vec<VocObject>),
}

/// A data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// What reports call it.
    pub name: String,
    /// How it is kept.
    pub form: Form,
    /// In the order of the data set.
    pub pictures: Vec<ListedPicture>,
    /// What there is to find in them, where anything says it.
    pub truth: Option<Truth>,
    /// Where the truth came from, for reports.
    pub truth_source: Option<String>,
    /// What is worth saying.
    pub notes: Vec<DatasetNote>,
}

impl Dataset {
    /// A folder of pictures, and COCO's JSON for it if there is one.
    ///
    /// # Errors
    /// [`DatasetError`].
    pub fn of_folder(
        images: &Path,
        annotations: Option<&Path>,
        skip_missing: bool,
    ) -> Result<Self, DatasetError> {
        coco_folder::open(images, annotations, skip_missing)
    }

    /// Opens a data set in whatever form it is kept. Records are read from end to end; of pictures in files only the
    /// names are looked at.
    ///
    /// # Errors
    /// [`DatasetError`].
    pub fn open(request: &Request<'_>) -> Result<Self, DatasetError> {
        match locate(request.path, request.split)? {
            Located::Pictures {
                images,
                annotations,
            } => {
                let annotations = request.annotations.map(Path::to_owned).or(annotations);
                coco_folder::open(&images, annotations.as_deref(), request.skip_missing)
            }
            Located::Voc { root } => match request.annotations {
                None => voc_folder::open(&root, request),
                Some(annotations) => {
                    let images = root.join(voc_folder::PICTURES);
                    coco_folder::open(&images, Some(annotations), request.skip_missing)
                }
            },
            Located::Records {
                name,
                files,
                missing,
                annotations,
            } => {
                if !missing.is_empty() && !request.skip_missing {
                    return Err(DatasetError::MissingShards {
                        path: request.path.to_owned(),
                        missing,
                    });
                }
                let annotations = request.annotations.map(Path::to_owned).or(annotations);
                let mut dataset = records::open(name, &files, annotations.as_deref(), request)?;
                if !missing.is_empty() {
                    dataset.notes.push(DatasetNote::SkippedShards { missing });
                }
                Ok(dataset)
            }
        }
    }
}

/// What VOC calls a picture: its file's name without extension.
pub fn voc_name(file_name: &str) -> &str {
    let stem = Path::new(file_name).file_stem();
    stem.and_then(|stem| stem.to_str()).unwrap_or(file_name)
}
