//! A data set in another form: TFRecords, or folders in the layout in which it is published.
//!
//! Pictures are copied byte for byte. Everything is written into a folder aside, which is renamed when all of it is there: the
//! output is whole or absent.

mod folders;

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::records::shard::Shard;
use super::records::{encode, Labelled, Labeller, RecordObject, Style};
use super::tfrecord::RecordWriter;
use super::{Dataset, Truth};
use crate::library::decode::{read_size, DecodeError, PictureFormat};
use crate::library::{ListedPicture, Place};

/// What a data set becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// TFRecords `NAME-00000-of-00005`.
    Records {
        /// What the files are called.
        name: String,
        /// How many there are.
        shards: u32,
        /// Whose keys they have.
        style: Style,
    },
    /// COCO's folders, or VOC's for a VOC data set.
    Folders {
        /// The folder of the pictures (COCO), or the list in `ImageSets/Main` (VOC).
        name: String,
    },
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Pictures.
    pub pictures: usize,
    /// Boxes.
    pub objects: usize,
    /// Files of records, or pictures.
    pub files: usize,
    /// Bytes of pictures and records.
    pub size_bytes: u64,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// There is something at the place of the output.
    #[error("{}: it is there already and is not overwritten; remove it or give another place", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A picture cannot be read.
    #[error("{place}: {source}")]
    Read {
        /// Where it is.
        place: Place,
        /// What the system said.
        source: io::Error,
    },
    /// A picture that is none.
    #[error("{place}: {source}")]
    Picture {
        /// Where it is.
        place: Place,
        /// What the decoder said.
        source: DecodeError,
    },
    /// A name that leads out of the folder, or that a picture before has.
    #[error("the picture {file_name:?} cannot be written under that name; it must be a path inside the folder, and once")]
    FileName {
        /// The name.
        file_name: String,
    },
    /// A box that no reader takes.
    #[error("a box of the picture {file_name} lies far outside it, at {share} of its size; mend the annotations")]
    Outside {
        /// The picture.
        file_name: String,
        /// The corner's share as text.
        share: String,
    },
    /// More shards than pictures.
    #[error("{shards} shards for {pictures} pictures; every shard needs one, so give at most {pictures}")]
    Shards {
        /// Asked for.
        shards: u32,
        /// There are.
        pictures: usize,
    },
    /// The caller did not want more.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

/// Shares beyond this are no boxes; the reader has the same limit.
const SHARE_MAX: f32 = 2.0;

/// Writes a data set to `out`, which must not be there or be an empty folder. `go_on` is told how many pictures are done and says
/// whether to go on.
///
/// # Errors
/// [`ConvertError`]; then nothing is at `out`.
pub fn convert(
    dataset: &Dataset,
    target: &Target,
    out: &Path,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Written, ConvertError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ConvertError::Write { path, source }
    };
    let is_free = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(out).is_err(),
    };
    if !is_free {
        return Err(ConvertError::Exists {
            path: out.to_owned(),
        });
    }
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(failed(parent))?;
    // The mode of any new folder: what the user's mask leaves of it.
    let aside = tempfile::Builder::new()
        .prefix(".detbench-convert-")
        .permissions(fs::Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(failed(parent))?;
    let mut job = Job {
        dataset,
        root: aside.path(),
        go_on,
        written: Written {
            pictures: 0,
            objects: 0,
            files: 0,
            size_bytes: 0,
        },
    };
    match target {
        Target::Records {
            name,
            shards,
            style,
        } => job.records(name, *shards, *style)?,
        Target::Folders { name } => job.folders(name)?,
    }
    let written = job.written;
    fs::rename(aside.path(), out).map_err(failed(out))?;
    // What it stood for is now at `out`.
    let _ = aside.keep();
    Ok(written)
}

/// A conversion on its way.
struct Job<'a> {
    dataset: &'a Dataset,
    root: &'a Path,
    go_on: &'a mut dyn FnMut(usize) -> bool,
    written: Written,
}

/// A picture's file, its size and what kind it is.
struct Loaded {
    bytes: Vec<u8>,
    size: (u32, u32),
    format: PictureFormat,
}

impl Job<'_> {
    /// Shards hold stretches of equal length, so the pictures keep their order.
    fn records(&mut self, name: &str, shards: u32, style: Style) -> Result<(), ConvertError> {
        let pictures = &self.dataset.pictures;
        let (count, shard_count) = (pictures.len(), shards as usize);
        if shard_count > count {
            return Err(ConvertError::Shards {
                shards,
                pictures: count,
            });
        }
        let labeller = self
            .dataset
            .truth
            .as_ref()
            .map(|truth| Labeller::new(truth, style));
        let is_voc = matches!(self.dataset.truth, Some(Truth::Voc(_)));
        for number in 0..shards {
            let path = self.root.join(Shard::file_name(name, number, shards));
            let failed = |source| ConvertError::Write {
                path: path.clone(),
                source,
            };
            let file = File::create_new(&path).map_err(failed)?;
            let mut writer = RecordWriter::new(BufWriter::new(file));
            let begin = number as usize * count / shard_count;
            let end = (number as usize + 1) * count / shard_count;
            for picture in &pictures[begin..end] {
                let loaded = load(picture)?;
                let objects = labeller
                    .as_ref()
                    .map(|all| all.objects_of(picture, loaded.size));
                check_corners(picture, objects.as_deref().unwrap_or_default())?;
                let data = encode(
                    &Labelled {
                        file_name: &picture.file_name,
                        image_id: picture.image_id,
                        size: loaded.size,
                        format: loaded.format,
                        encoded: &loaded.bytes,
                        objects: objects.as_deref(),
                        is_voc,
                    },
                    style,
                );
                writer.write(&data).map_err(failed)?;
                self.done(objects.map_or(0, |objects| objects.len()), data.len())?;
            }
            let file = writer.finish().map_err(failed)?;
            let file = file
                .into_inner()
                .map_err(|error| failed(error.into_error()))?;
            file.sync_all().map_err(failed)?;
            self.written.files += 1;
        }
        Ok(())
    }

    /// Counts a picture and asks whether to go on.
    fn done(&mut self, objects: usize, bytes: usize) -> Result<(), ConvertError> {
        self.written.pictures += 1;
        self.written.objects += objects;
        self.written.size_bytes += bytes as u64;
        if (self.go_on)(self.written.pictures) {
            Ok(())
        } else {
            Err(ConvertError::Interrupted)
        }
    }
}

fn load(picture: &ListedPicture) -> Result<Loaded, ConvertError> {
    let place = &picture.place;
    let bytes = place.read().map_err(|source| ConvertError::Read {
        place: place.clone(),
        source,
    })?;
    let real = read_size(&bytes).map_err(|source| ConvertError::Picture {
        place: place.clone(),
        source,
    })?;
    let format = PictureFormat::of(&bytes).expect("a size was read from it");
    Ok(Loaded {
        size: picture.size.unwrap_or(real),
        bytes,
        format,
    })
}

fn check_corners(picture: &ListedPicture, objects: &[RecordObject]) -> Result<(), ConvertError> {
    let mut corners = objects.iter().flat_map(|object| object.corners);
    match corners.find(|share| !(-SHARE_MAX..=SHARE_MAX).contains(share)) {
        None => Ok(()),
        Some(share) => Err(ConvertError::Outside {
            file_name: picture.file_name.clone(),
            share: share.to_string(),
        }),
    }
}
