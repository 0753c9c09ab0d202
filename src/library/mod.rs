//! The sample library (QSL): pictures and their ground truth, ready for the model.
//!
//! A [`SampleLibrary`] says which samples there are and loads them before anything is timed:
//! either as prepared tensors ([`LoadedSamples`]), or as file bytes ([`EncodedSamples`]) for a
//! timed region that begins with decoding, where each data thread has a [`Preprocessor`].
//!
//! ```text
//! file bytes -> decode -> Picture -> resize -> Pixels -> prepare -> one sample of the input tensor
//! ```
//!
//! This module knows no model beyond its [`preprocessing::Preprocessing`], no clock and no output.

pub mod coco;
pub mod decode;
mod error;
mod loading;
pub mod photos;
mod pictures;
mod place;
mod prepare;
pub mod preprocessing;
pub mod resize;
mod samples;
mod synthetic;

pub use error::{LibraryError, Note, SizeDifference};
pub use pictures::{
    ids_by_name, list_folder, LibraryOptions, ListedPicture, PictureEntry, PictureLibrary,
};
pub use place::Place;
pub use prepare::{Preprocessor, SampleMut};
pub use samples::{EncodedSamples, LoadedSamples};
pub use synthetic::SyntheticLibrary;

use crate::units::SampleIndex;

/// Called with the number of samples done so far, from any thread and not always in order.
pub type Progress<'a> = dyn Fn(usize) + Sync + 'a;

/// Samples that can be loaded.
pub trait SampleLibrary: Send + Sync {
    /// What logs and reports call it.
    fn name(&self) -> &str;

    /// How many samples there are.
    fn total_count(&self) -> usize;

    /// How many of them are in memory at a time in a performance run.
    fn performance_count(&self) -> usize;

    /// Decodes and prepares samples; repeated indices are loaded once.
    ///
    /// # Errors
    /// The error of the first sample, in ascending order, that cannot be loaded.
    ///
    /// # Panics
    /// When an index is not below [`Self::total_count`].
    fn load(
        &self,
        samples: &[SampleIndex],
        progress: &Progress<'_>,
    ) -> Result<LoadedSamples, LibraryError>;

    /// Reads the samples' files without decoding them.
    ///
    /// # Errors
    /// As [`Self::load`], as far as reading goes.
    ///
    /// # Panics
    /// As [`Self::load`].
    fn load_encoded(
        &self,
        samples: &[SampleIndex],
        progress: &Progress<'_>,
    ) -> Result<EncodedSamples, LibraryError>;
}
