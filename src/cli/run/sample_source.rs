//! Where a run's samples come from: a folder of pictures, or seeded noise on request.

use std::num::NonZeroUsize;

use crate::cli::failure::{Blame, Failure};
use crate::library::preprocessing::Preprocessing;
use crate::library::{
    EncodedSamples, LibraryError, LoadedSamples, PictureEntry, PictureLibrary, Progress,
    SampleLibrary, SyntheticLibrary,
};
use crate::units::SampleIndex;

/// So many pictures of noise are made, or fewer where they are large.
const NOISE_COUNT: NonZeroUsize = NonZeroUsize::new(64).expect("64 is above zero");

/// The library of a run.
#[derive(Debug)]
pub enum SampleSource {
    /// Pictures from files.
    Pictures(PictureLibrary),
    /// Dummy data.
    Noise(SyntheticLibrary),
}

impl SampleSource {
    /// Noise of the size that the model takes, at most `limit` pictures.
    pub fn noise(
        seed: u64,
        limit: NonZeroUsize,
        threads: NonZeroUsize,
        preprocessing: &Preprocessing,
    ) -> Result<Self, Failure> {
        let size = (preprocessing.width, preprocessing.height);
        let count = NOISE_COUNT.min(limit);
        SyntheticLibrary::new(seed, count, size, threads, preprocessing.clone())
            .map(Self::Noise)
            .or_usage()
    }

    /// The pictures by index; noise has no entries.
    pub fn pictures(&self) -> &[PictureEntry] {
        match self {
            Self::Pictures(library) => library.pictures(),
            Self::Noise(_) => &[],
        }
    }

    /// What is done to each picture.
    pub fn preprocessing(&self) -> &Preprocessing {
        match self {
            Self::Pictures(library) => library.preprocessing(),
            Self::Noise(library) => library.preprocessing(),
        }
    }

    /// What a reader of the figures must know of dummy data.
    pub fn dummy_note(&self) -> Option<String> {
        let Self::Noise(library) = self else {
            return None;
        };
        Some(format!(
            "Dummy data: {} pictures of noise from seed {} stand in for photographs; they show what inference costs, and post-processing finds nothing as it would on photographs.",
            library.total_count(),
            library.seed()
        ))
    }

    fn library(&self) -> &dyn SampleLibrary {
        match self {
            Self::Pictures(library) => library,
            Self::Noise(library) => library,
        }
    }
}

impl SampleLibrary for SampleSource {
    fn name(&self) -> &str {
        self.library().name()
    }

    fn total_count(&self) -> usize {
        self.library().total_count()
    }

    fn performance_count(&self) -> usize {
        self.library().performance_count()
    }

    fn load(
        &self,
        samples: &[SampleIndex],
        progress: &Progress<'_>,
    ) -> Result<LoadedSamples, LibraryError> {
        self.library().load(samples, progress)
    }

    fn load_encoded(
        &self,
        samples: &[SampleIndex],
        progress: &Progress<'_>,
    ) -> Result<EncodedSamples, LibraryError> {
        self.library().load_encoded(samples, progress)
    }
}
