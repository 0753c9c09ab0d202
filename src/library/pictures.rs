//! Pictures from files as a sample library: those of a folder, with or without COCO annotations, or
//! a list that somebody else made.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::coco::{read_instances, AnnotationSource, CocoInstances};
use super::decode::{read_size, DecodeError, PictureFormat};
use super::loading::{load, load_encoded, on_threads};
use super::place::Place;
use super::preprocessing::Preprocessing;
use super::{
    EncodedSamples, LibraryError, LoadedSamples, Note, Progress, SampleLibrary, SizeDifference,
};
use crate::units::SampleIndex;

/// Bytes read of each file for its header; the whole file follows where they do not suffice.
const HEADER_BYTES: u64 = 64 * 1024;

/// What may be said about opening a library besides where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryOptions {
    /// Threads that read and decode before the measurement.
    pub threads: NonZeroUsize,
    /// Samples that fit in memory at a time; all of them when absent. Never above their number.
    pub performance_count: Option<NonZeroUsize>,
    /// Go on when the annotations name pictures that are not there.
    pub skip_missing: bool,
}

impl Default for LibraryOptions {
    /// All processors, all samples, nothing skipped.
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            performance_count: None,
            skip_missing: false,
        }
    }
}

/// A picture before its file was looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPicture {
    /// Its name, as the ground truth writes it.
    pub file_name: String,
    /// Where its bytes are.
    pub place: Place,
    /// What the ground truth calls it.
    pub image_id: i64,
    /// Width and height in pixels as the ground truth says it, if it does.
    pub size: Option<(u32, u32)>,
}

/// A picture of a [`PictureLibrary`]; its position is its [`SampleIndex`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureEntry {
    /// Name relative to the folder, as the annotations write it.
    pub file_name: String,
    /// Where its bytes are.
    pub place: Place,
    /// The id in the annotations; without them the number in the file's name, or position + 1.
    pub image_id: i64,
    /// Width in pixels as the annotations say it, else as the file does.
    pub width: u32,
    /// Height in pixels as the annotations say it, else as the file does.
    pub height: u32,
}

/// Pictures from a folder.
#[derive(Debug)]
pub struct PictureLibrary {
    name: String,
    pictures: Vec<PictureEntry>,
    annotations: Option<AnnotationSource>,
    preprocessing: Preprocessing,
    options: LibraryOptions,
}

impl PictureLibrary {
    /// Opens the pictures in `folder`, in the order of the annotations' `images` list, or, without
    /// annotations, sorted by name. Every file's header is read, so broken files show here.
    ///
    /// # Errors
    /// See [`LibraryError`]. Whatever is worth saying without being an error is in the notes.
    pub fn open(
        folder: &Path,
        annotations: Option<AnnotationSource>,
        preprocessing: Preprocessing,
        options: LibraryOptions,
    ) -> Result<(Self, Vec<Note>), LibraryError> {
        preprocessing.check()?;
        let instances = annotations.as_ref().map(read_instances).transpose()?;
        let truth = annotations.as_ref().zip(instances.as_ref());
        let (wanted, mut notes) = list_folder(folder, truth, options.skip_missing)?;
        let name = folder.file_name().unwrap_or(folder.as_os_str());
        let name = name.to_string_lossy().into_owned();
        let (mut library, more) = Self::of(name, wanted, preprocessing, options)?;
        library.annotations = annotations;
        notes.extend(more);
        Ok((library, notes))
    }

    /// The pictures of a list, in its order. Every picture's header is read, so broken ones show here.
    ///
    /// # Errors
    /// See [`LibraryError`].
    pub fn of(
        name: String,
        wanted: Vec<ListedPicture>,
        preprocessing: Preprocessing,
        options: LibraryOptions,
    ) -> Result<(Self, Vec<Note>), LibraryError> {
        preprocessing.check()?;
        let (pictures, notes) = with_sizes(wanted, &options)?;
        let library = Self {
            name,
            pictures,
            annotations: None,
            preprocessing,
            options,
        };
        Ok((library, notes))
    }

    /// Leaves only `count` pictures after the first `skip`; fewer where there are not so many.
    pub fn narrow(&mut self, skip: usize, count: usize) {
        self.pictures.drain(..skip.min(self.pictures.len()));
        self.pictures.truncate(count);
    }

    /// Changes how many samples fit in memory at a time.
    pub const fn set_performance_count(&mut self, count: NonZeroUsize) {
        self.options.performance_count = Some(count);
    }

    /// The pictures; a sample's index is its position.
    pub fn pictures(&self) -> &[PictureEntry] {
        &self.pictures
    }

    /// Where the ground truth is; without it no accuracy can be computed.
    pub const fn annotations(&self) -> Option<&AnnotationSource> {
        self.annotations.as_ref()
    }

    /// What is done to each picture.
    pub const fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    fn read(&self, index: SampleIndex) -> Result<(&Place, Vec<u8>), LibraryError> {
        let place = &self.pictures[index.as_usize()].place;
        place
            .read()
            .map(|file| (place, file))
            .map_err(|source| read_error(place, source))
    }
}

impl SampleLibrary for PictureLibrary {
    fn name(&self) -> &str {
        &self.name
    }

    fn total_count(&self) -> usize {
        self.pictures.len()
    }

    fn performance_count(&self) -> usize {
        let limit = self
            .options
            .performance_count
            .map_or(usize::MAX, NonZeroUsize::get);
        self.pictures.len().min(limit)
    }

    fn load(
        &self,
        samples: &[SampleIndex],
        progress: &Progress<'_>,
    ) -> Result<LoadedSamples, LibraryError> {
        let threads = self.options.threads;
        load(
            &self.preprocessing,
            samples,
            threads,
            progress,
            |preprocessor, index, out| {
                let (place, file) = self.read(index)?;
                preprocessor
                    .decode_and_prepare(&file, out)
                    .map_err(|source| decode_error(place, source))
            },
        )
    }

    fn load_encoded(
        &self,
        samples: &[SampleIndex],
        progress: &Progress<'_>,
    ) -> Result<EncodedSamples, LibraryError> {
        load_encoded(samples, self.options.threads, progress, |index| {
            self.read(index).map(|(_, file)| file)
        })
    }
}

/// The pictures of a folder in the order of the annotations' `images` list, or, without annotations,
/// sorted by name; and what is worth saying about them. No file is opened.
///
/// # Errors
/// [`LibraryError::Folder`], [`LibraryError::NoPictures`] and, unless `skip_missing`, [`LibraryError::MissingPictures`].
pub fn list_folder(
    folder: &Path,
    annotations: Option<(&AnnotationSource, &CocoInstances)>,
    skip_missing: bool,
) -> Result<(Vec<ListedPicture>, Vec<Note>), LibraryError> {
    let found = pictures_in(folder)?;
    let mut notes = Vec::new();
    let wanted = match annotations {
        Some((source, instances)) => {
            let wanted = annotated(folder, instances, source, skip_missing, &mut notes)?;
            notes.extend(not_annotated(&found, instances));
            notes.extend(dangling(instances));
            wanted
        }
        None => by_name(folder, &found),
    };
    if wanted.is_empty() {
        return Err(LibraryError::NoPictures {
            folder: folder.to_owned(),
        });
    }
    Ok((wanted, notes))
}

/// Names of the JPEG and PNG files right in `folder`, sorted.
///
/// Hidden files are passed over: some systems leave a `._a.jpg` beside each `a.jpg`.
fn pictures_in(folder: &Path) -> Result<BTreeSet<String>, LibraryError> {
    let failed = |source| LibraryError::Folder {
        folder: folder.to_owned(),
        source,
    };
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if extension_format(&name).is_some() && !name.starts_with('.') {
            names.insert(name);
        }
    }
    Ok(names)
}

/// The format that a file's name promises.
fn extension_format(name: &str) -> Option<PictureFormat> {
    let extension = Path::new(name).extension()?.to_str()?;
    match extension.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => Some(PictureFormat::Jpeg),
        "png" => Some(PictureFormat::Png),
        _ => None,
    }
}

fn annotated(
    folder: &Path,
    instances: &CocoInstances,
    source: &AnnotationSource,
    skip_missing: bool,
    notes: &mut Vec<Note>,
) -> Result<Vec<ListedPicture>, LibraryError> {
    let here = |name: &str| folder.join(name).is_file();
    let (present, missing): (Vec<_>, Vec<_>) = instances
        .images
        .iter()
        .partition(|image| here(&image.file_name));
    if !missing.is_empty() {
        let missing = missing
            .iter()
            .map(|image| image.file_name.clone())
            .collect();
        if !skip_missing {
            return Err(LibraryError::MissingPictures {
                annotations: source.to_string(),
                folder: folder.to_owned(),
                missing,
                total: instances.images.len(),
            });
        }
        notes.push(Note::SkippedMissing { missing });
    }
    let wanted = present.into_iter().map(|image| ListedPicture {
        file_name: image.file_name.clone(),
        place: Place::File(folder.join(&image.file_name)),
        image_id: image.id,
        size: image.size,
    });
    Ok(wanted.collect())
}

fn not_annotated(found: &BTreeSet<String>, instances: &CocoInstances) -> Option<Note> {
    let images = instances.images.iter();
    let named: BTreeSet<_> = images.map(|image| image.file_name.as_str()).collect();
    let extra = found.iter().filter(|name| !named.contains(name.as_str()));
    let pictures: Vec<_> = extra.cloned().collect();
    (!pictures.is_empty()).then_some(Note::NotAnnotated { pictures })
}

fn dangling(instances: &CocoInstances) -> Option<Note> {
    let images: BTreeSet<_> = instances.images.iter().map(|image| image.id).collect();
    let categories = instances.categories.iter();
    let categories: BTreeSet<_> = categories.map(|category| category.id).collect();
    let boxes = instances.annotations.iter();
    let dangling = boxes.filter(|found| {
        !images.contains(&found.image_id) || !categories.contains(&found.category_id)
    });
    let count = dangling.count();
    (count > 0).then_some(Note::DanglingAnnotations { count })
}

/// Without annotations, the ids are those of [`ids_by_name`].
fn by_name(folder: &Path, found: &BTreeSet<String>) -> Vec<ListedPicture> {
    let names: Vec<&str> = found.iter().map(String::as_str).collect();
    let ids = ids_by_name(&names);
    let wanted = names.into_iter().zip(ids);
    wanted
        .map(|(name, image_id)| ListedPicture {
            file_name: name.to_owned(),
            place: Place::File(folder.join(name)),
            image_id,
            size: None,
        })
        .collect()
}

/// COCO's own file names carry the picture's id; where not all names do, or two carry the same one, ids
/// count from one.
pub fn ids_by_name(names: &[&str]) -> Vec<i64> {
    let numbers: Option<Vec<i64>> = names.iter().map(|name| number_in(name)).collect();
    let distinct = |ids: &Vec<i64>| ids.iter().collect::<BTreeSet<_>>().len() == ids.len();
    numbers
        .filter(distinct)
        .unwrap_or_else(|| (1..).take(names.len()).collect())
}

/// The id in `000000000139.jpg` or `COCO_val2014_000000000139.jpg`.
fn number_in(name: &str) -> Option<i64> {
    let stem = Path::new(name).file_stem()?.to_str()?;
    let digits = stem.rsplit('_').next()?;
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

/// Reads every picture's header and notes what does not fit.
fn with_sizes(
    wanted: Vec<ListedPicture>,
    options: &LibraryOptions,
) -> Result<(Vec<PictureEntry>, Vec<Note>), LibraryError> {
    let headers = on_threads(options.threads, || {
        let places = wanted.par_iter().map(|picture| &picture.place);
        places.map(read_header).collect::<Vec<_>>()
    })?;
    let mut pictures = Vec::with_capacity(wanted.len());
    let (mut differing, mut misnamed) = (Vec::new(), Vec::new());
    for (picture, header) in wanted.into_iter().zip(headers) {
        let (real, format) = header?;
        let size = picture.size.unwrap_or(real);
        if size != real {
            differing.push(SizeDifference {
                file_name: picture.file_name.clone(),
                annotated: size,
                real,
            });
        }
        if extension_format(&picture.file_name).is_some_and(|named| named != format) {
            misnamed.push(picture.file_name.clone());
        }
        pictures.push(PictureEntry {
            file_name: picture.file_name,
            place: picture.place,
            image_id: picture.image_id,
            width: size.0,
            height: size.1,
        });
    }
    let mut notes = Vec::new();
    if !differing.is_empty() {
        notes.push(Note::SizeDiffers {
            pictures: differing,
        });
    }
    if !misnamed.is_empty() {
        notes.push(Note::WrongExtension { pictures: misnamed });
    }
    Ok((pictures, notes))
}

/// Width and height, and what kind of file it really is.
fn read_header(place: &Place) -> Result<((u32, u32), PictureFormat), LibraryError> {
    let failed = |source| read_error(place, source);
    let mut bytes = place.read_start(HEADER_BYTES).map_err(failed)?;
    let mut size = read_size(&bytes);
    if matches!(size, Err(DecodeError::EndsEarly { .. })) {
        bytes = place.read().map_err(failed)?;
        size = read_size(&bytes);
    }
    let size = size.map_err(|source| decode_error(place, source))?;
    let format = PictureFormat::of(&bytes).expect("a size was read from it");
    Ok((size, format))
}

fn read_error(place: &Place, source: io::Error) -> LibraryError {
    LibraryError::Read {
        place: place.clone(),
        source,
    }
}

fn decode_error(place: &Place, source: DecodeError) -> LibraryError {
    LibraryError::Decode {
        place: place.clone(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_cocos_style_carry_the_id() {
        assert_eq!(number_in("000000000139.jpg"), Some(139));
        assert_eq!(number_in("COCO_val2014_000000000042.jpg"), Some(42));
        assert_eq!(number_in("2008_000003.jpg"), Some(3));
        assert_eq!(number_in("chelsea.png"), None);
        assert_eq!(number_in("a_.png"), None);
        assert_eq!(number_in("99999999999999999999.jpg"), None);
    }

    #[test]
    fn without_distinct_numbers_ids_count_from_one() {
        let ids = ids_by_name;
        assert_eq!(ids(&["7.jpg", "9.jpg"]), [7, 9]);
        assert_eq!(ids(&["7.jpg", "cat.jpg"]), [1, 2]);
        assert_eq!(ids(&["2007_1.jpg", "2008_1.jpg"]), [1, 2]);
    }
}
