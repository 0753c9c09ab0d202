//! The pictures of the calibration folder: those that calibrate, and those that are left to compare on.

use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::available_parallelism;

use crate::cli::failure::{Blame, Failure};
use crate::dataset::{Dataset, Request};
use crate::library::preprocessing::Preprocessing;
use crate::library::{LibraryOptions, LoadedSamples, PictureEntry, PictureLibrary, SampleLibrary};
use crate::quantise::calibrate::CalibrationPictures;
use crate::quantise::sample::choose;
use crate::quantise::QuantiseError;
use crate::tensor::TensorView;
use crate::units::SampleIndex;

/// Pictures prepared at a time: a bound on memory, and with the usual number of pictures each is decoded once.
const WINDOW: usize = 32;
/// Pictures that the models are compared on, at most.
const COMPARED_MAX: usize = 48;

/// The folder.
pub struct CalibrationFolder {
    library: PictureLibrary,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Those that calibrate, ascending.
    pub calibration: Vec<SampleIndex>,
    /// Those that do not, at most [`COMPARED_MAX`].
    pub others: Vec<SampleIndex>,
}

impl CalibrationFolder {
    /// Opens the folder, or a data set's, and chooses.
    pub fn open(
        folder: &Path,
        preprocessing: &Preprocessing,
        size: usize,
        seed: u32,
    ) -> Result<Self, Failure> {
        let (library, mut notes) = library(folder, preprocessing)?;
        let count = library.total_count();
        if count < size {
            notes.push(format!(
                "{} holds {count} pictures, fewer than --calibration-size {size}: all of them calibrate",
                folder.display()
            ));
        }
        let chosen = choose(count, size, seed);
        let index = |at: usize| SampleIndex(u32::try_from(at).expect("a folder of pictures"));
        let left = (0..count).filter(|at| chosen.binary_search(at).is_err());
        let others = left.take(COMPARED_MAX).map(index).collect();
        Ok(Self {
            library,
            notes,
            calibration: chosen.into_iter().map(index).collect(),
            others,
        })
    }

    /// All pictures of the folder.
    pub fn pictures(&self) -> &[PictureEntry] {
        self.library.pictures()
    }

    /// The pictures that calibrate, prepared as they are asked for.
    pub fn calibration(&self) -> Prepared<'_> {
        Prepared::new(&self.library, &self.calibration)
    }

    /// The others, prepared for a model that takes the same pictures in another form.
    pub fn others_for(
        &self,
        preprocessing: &Preprocessing,
        folder: &Path,
    ) -> Result<Others, Failure> {
        Ok(Others {
            library: library(folder, preprocessing)?.0,
            samples: self.others.clone(),
        })
    }

    /// Names of the calibration pictures, in order, for the file's metadata.
    pub fn calibration_names(&self) -> impl Iterator<Item = &str> {
        let pictures = self.library.pictures();
        let names = self.calibration.iter();
        names.map(|index| pictures[index.as_usize()].file_name.as_str())
    }
}

/// The pictures of a folder or a data set in the order of their names, whatever says what is in them: the same pictures
/// are chosen from a folder and from the data set that it belongs to. With notes.
fn library(
    path: &Path,
    preprocessing: &Preprocessing,
) -> Result<(PictureLibrary, Vec<String>), Failure> {
    let request = Request {
        path,
        annotations: None,
        split: None,
        skip_missing: true,
        threads: available_parallelism().unwrap_or(NonZeroUsize::MIN),
    };
    let mut dataset = Dataset::open(&request).or_usage()?;
    dataset
        .pictures
        .sort_by(|a, b| a.file_name.cmp(&b.file_name));
    let opened = PictureLibrary::of(
        dataset.name,
        dataset.pictures,
        preprocessing.clone(),
        LibraryOptions::default(),
    );
    let (library, more) = opened.or_usage()?;
    let mut notes: Vec<String> = dataset.notes.iter().map(ToString::to_string).collect();
    notes.extend(more.iter().map(ToString::to_string));
    Ok((library, notes))
}

/// The pictures to compare on, for one of two models.
pub struct Others {
    library: PictureLibrary,
    samples: Vec<SampleIndex>,
}

impl Others {
    /// The pictures, prepared as they are asked for.
    pub fn prepared(&self) -> Prepared<'_> {
        Prepared::new(&self.library, &self.samples)
    }

    /// Width and height of one.
    pub fn size(&self, position: usize) -> (u32, u32) {
        let picture = &self.library.pictures()[self.samples[position].as_usize()];
        (picture.width, picture.height)
    }
}

/// Prepared pictures, a window of them in memory.
pub struct Prepared<'a> {
    library: &'a PictureLibrary,
    samples: &'a [SampleIndex],
    window: Option<LoadedSamples>,
}

impl<'a> Prepared<'a> {
    fn new(library: &'a PictureLibrary, samples: &'a [SampleIndex]) -> Self {
        Self {
            library,
            samples,
            window: None,
        }
    }
}

impl CalibrationPictures for Prepared<'_> {
    fn count(&self) -> usize {
        self.samples.len()
    }

    fn tensor(&mut self, index: usize) -> Result<TensorView<'_>, QuantiseError> {
        let sample = self.samples[index];
        if !self
            .window
            .as_ref()
            .is_some_and(|window| window.contains(sample))
        {
            // The old window goes before the new one comes.
            self.window = None;
            let begin = index / WINDOW * WINDOW;
            let end = (begin + WINDOW).min(self.samples.len());
            self.window = Some(self.library.load(&self.samples[begin..end], &|_| {})?);
        }
        Ok(self.window.as_ref().expect("loaded").tensor(sample))
    }

    fn name(&self, index: usize) -> String {
        let picture = &self.library.pictures()[self.samples[index].as_usize()];
        picture.file_name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let known = crate::model::known::find("ssdlite-mobilenet-v2").unwrap();
        let folder = CalibrationFolder::open(path, &known.input.preprocessing, 3, 7).unwrap();
        folder.calibration_names().map(str::to_owned).collect()
    }

    #[test]
    fn a_data_set_and_its_folder_of_pictures_give_the_same_pictures() {
        let root = tempfile::tempdir().unwrap();
        let images = root.path().join("images");
        std::fs::create_dir(&images).unwrap();
        let mut listed = Vec::new();
        // The JSON lists them from the last to the first.
        for number in (0..8).rev() {
            let name = format!("{number}.png");
            let picture = image::RgbImage::new(4, 4);
            picture.save(images.join(&name)).unwrap();
            listed.push(
                serde_json::json!({"id": number, "file_name": name, "width": 4, "height": 4}),
            );
        }
        let json = serde_json::json!({"images": listed, "annotations": [], "categories": [{"id": 1, "name": "a"}]});
        std::fs::write(root.path().join("instances.json"), json.to_string()).unwrap();
        let of_folder = names(&images);
        assert_eq!(of_folder.len(), 3);
        assert_eq!(names(root.path()), of_folder);
    }
}
