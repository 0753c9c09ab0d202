//! The pictures of the calibration folder: those that calibrate, and those that are left to compare on.

use std::path::Path;

use crate::cli::failure::{Blame, Failure};
use crate::library::preprocessing::Preprocessing;
use crate::library::{LibraryOptions, LoadedSamples, PictureLibrary, SampleLibrary};
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
    /// Opens the folder and chooses.
    pub fn open(
        folder: &Path,
        preprocessing: &Preprocessing,
        size: usize,
        seed: u32,
    ) -> Result<Self, Failure> {
        let options = LibraryOptions::default();
        let opened = PictureLibrary::open(folder, None, preprocessing.clone(), options);
        let (library, notes) = opened.or_usage()?;
        let mut notes: Vec<String> = notes.iter().map(ToString::to_string).collect();
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
        let options = LibraryOptions::default();
        let opened = PictureLibrary::open(folder, None, preprocessing.clone(), options);
        Ok(Others {
            library: opened.or_usage()?.0,
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
