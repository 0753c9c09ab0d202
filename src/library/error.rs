//! What can go wrong with a sample library, and what is worth saying although nothing did.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::coco::CocoError;
use super::decode::DecodeError;
use super::place::Place;
use super::preprocessing::PreprocessingError;

/// Names that a message lists before it only counts.
const LISTED: usize = 5;

/// Why a library cannot be opened or loaded.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The pictures' folder is absent or not a folder.
    #[error("{}: {source}; give the folder that holds the pictures", folder.display())]
    Folder {
        /// The folder asked for.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A picture's file cannot be read.
    #[error("{place}: {source}")]
    Read {
        /// The picture.
        place: Place,
        /// What the system said.
        source: io::Error,
    },
    /// A picture's file cannot be decoded.
    #[error("{place}: {source}")]
    Decode {
        /// The picture.
        place: Place,
        /// What the decoder said.
        source: DecodeError,
    },
    /// The annotations cannot be used.
    #[error(transparent)]
    Annotations(#[from] CocoError),
    /// There is nothing to measure.
    #[error("{}: no JPEG or PNG pictures in this folder; fetch some or give another", folder.display())]
    NoPictures {
        /// The folder asked for.
        folder: PathBuf,
    },
    /// The annotations name pictures that are not there.
    #[error(
        "{annotations}: {} of its {total} pictures are not in {}: {}; fetch them or pass \
         --skip-missing to go on without them",
        missing.len(), folder.display(), Listed(missing)
    )]
    MissingPictures {
        /// Where the annotations came from.
        annotations: String,
        /// The pictures' folder.
        folder: PathBuf,
        /// Every missing file name, in the annotations' order.
        missing: Vec<String>,
        /// Pictures that the annotations name.
        total: usize,
    },
    /// The model's preprocessing cannot be carried out.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
    /// The prepared samples do not fit.
    #[error(
        "{samples} prepared samples need {bytes} bytes, which this machine does not give; load \
         fewer (performance_count)"
    )]
    Memory {
        /// How many samples were asked for.
        samples: usize,
        /// Bytes for all of them.
        bytes: usize,
    },
    /// Noise pictures of no size or above the limit of pixels.
    #[error(
        "synthetic pictures of {width}x{height} cannot be made; both sides must be above 0 and \
         their product at most {}",
        super::decode::PIXEL_LIMIT
    )]
    SyntheticSize {
        /// Width asked for.
        width: u32,
        /// Height asked for.
        height: u32,
    },
    /// The threads for loading cannot be started.
    #[error("{threads} threads for loading cannot be started: {source}; allow more or ask fewer")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the pool said.
        source: rayon::ThreadPoolBuildError,
    },
}

/// Something a person should know about a library that was opened all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Pictures of the annotations that were left out as `skip_missing` allows.
    SkippedMissing {
        /// Their file names, in the annotations' order.
        missing: Vec<String>,
    },
    /// Pictures in the folder that the annotations do not name; they take no part.
    NotAnnotated {
        /// Their file names, sorted.
        pictures: Vec<String>,
    },
    /// Pictures whose real size is not the one in the annotations; boxes may be off.
    SizeDiffers {
        /// File name, size in the annotations and real size.
        pictures: Vec<SizeDifference>,
    },
    /// Annotations of pictures or categories that the file does not define; they do not count.
    DanglingAnnotations {
        /// How many.
        count: usize,
    },
    /// Files whose extension names another format than their content; decoded by content.
    WrongExtension {
        /// Their file names.
        pictures: Vec<String>,
    },
}

/// A picture whose file does not have the size that its annotations give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizeDifference {
    /// The picture.
    pub file_name: String,
    /// Width and height in the annotations.
    pub annotated: (u32, u32),
    /// Width and height in the file's header.
    pub real: (u32, u32),
}

impl fmt::Display for SizeDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((width, height), (real_width, real_height)) = (self.annotated, self.real);
        write!(
            f,
            "{} ({width}x{height} in the annotations, {real_width}x{real_height} in the file)",
            self.file_name
        )
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SkippedMissing { missing } => write!(
                f,
                "{} pictures of the annotations are missing and were skipped: {}",
                missing.len(),
                Listed(missing)
            ),
            Self::NotAnnotated { pictures } => write!(
                f,
                "{} pictures in the folder are not in the annotations and take no part: {}",
                pictures.len(),
                Listed(pictures)
            ),
            Self::SizeDiffers { pictures } => write!(
                f,
                "{} pictures are not of the size that the annotations give, their boxes may be \
                 off: {}",
                pictures.len(),
                Listed(pictures)
            ),
            Self::DanglingAnnotations { count } => write!(
                f,
                "{count} annotations belong to a picture or category that the file does not \
                 define; they do not count"
            ),
            Self::WrongExtension { pictures } => write!(
                f,
                "{} pictures are of another format than their extension says, they are read by \
                 content: {}",
                pictures.len(),
                Listed(pictures)
            ),
        }
    }
}

/// The first few of a list, and how many more there are.
struct Listed<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, entry) in self.0.iter().take(LISTED).enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{entry}")?;
        }
        match self.0.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
