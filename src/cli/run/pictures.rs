//! The pictures of a run: opened once, loaded set by set.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use super::args::{RunArgs, TimedRegion};
use super::sample_source::SampleSource;
use crate::accuracy::GroundTruth;
use crate::cli::failure::{Blame, Failure};
use crate::fetch::{default_pictures, Cache, Progress};
use crate::library::coco::AnnotationSource;
use crate::library::photos::open_photos;
use crate::library::preprocessing::Preprocessing;
use crate::library::{LibraryOptions, LoadedSamples, Note, PictureLibrary, SampleLibrary};
use crate::sut::pool::{Inputs, Recipe};
use crate::units::SampleIndex;

/// Prepared pictures take at most this much memory at a time unless a setting says otherwise; a
/// larger library is loaded set by set, as LoadGen does it.
const LOADED_BYTES_MAX: usize = 1 << 30;

/// So many pictures are decoded at a time when they are only tried.
const CHECKED_AT_A_TIME: usize = 32;

/// The pictures and what is known of them.
pub struct Pictures {
    /// The library.
    pub library: SampleSource,
    /// What the user should know.
    pub notes: Vec<Note>,
    /// That there are fewer pictures than were asked for.
    pub too_few: Option<String>,
    /// The ground truth, where there is one.
    pub ground_truth: Option<GroundTruth>,
    /// Whether these are the default photos, too few for more than a smoke test.
    pub are_photos: bool,
    region: TimedRegion,
    threads: NonZeroUsize,
    loaded: Option<(Vec<SampleIndex>, Inputs)>,
}

impl Pictures {
    /// Opens the pictures that the flags mean; the default photos are fetched when needed.
    pub fn open(
        args: &RunArgs,
        preprocessing: &Preprocessing,
        progress: &dyn Progress,
    ) -> Result<Self, Failure> {
        let threads = args.preproc_threads.and_then(NonZeroUsize::new);
        let threads = threads.unwrap_or(LibraryOptions::default().threads);
        let options = LibraryOptions {
            threads,
            performance_count: Some(performance_count(preprocessing)),
            skip_missing: args.skip_missing,
        };
        let (images, annotations) = (args.images.as_deref(), args.annotations.as_deref());
        let (mut library, notes) = if let Some(seed) = args.synthetic {
            let limit = performance_count(preprocessing);
            let noise = SampleSource::noise(seed, limit, threads, preprocessing)?;
            (noise, Vec::new())
        } else {
            let (library, notes) =
                open_library(images, annotations, preprocessing, options, progress)?;
            (SampleSource::Pictures(library), notes)
        };
        let too_few = library.narrow(args.skip, args.count)?;
        let ground_truth = match library.annotations() {
            None => None,
            Some(AnnotationSource::File(path)) => Some(GroundTruth::read(path).or_usage()?),
            Some(AnnotationSource::BuiltIn { text, .. }) => {
                Some(text.parse::<GroundTruth>().or_usage()?)
            }
        };
        Ok(Self {
            library,
            notes,
            too_few,
            ground_truth,
            are_photos: args.images.is_none() && args.synthetic.is_none(),
            region: args.timed_region,
            threads,
            loaded: None,
        })
    }

    /// Loads a set, unless it is loaded already.
    pub fn load(
        &mut self,
        samples: &[SampleIndex],
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Inputs, Failure> {
        let mut wanted = samples.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        if let Some((held, inputs)) = &self.loaded {
            let has = |index| held.binary_search(index).is_ok();
            if wanted.iter().all(has) {
                return Ok(inputs.clone());
            }
        }
        // The old set goes before the new one comes.
        self.loaded = None;
        let inputs = match self.region {
            TimedRegion::Inference => {
                let samples: LoadedSamples = self.library.load(&wanted, progress).or_usage()?;
                Inputs::Prepared(Arc::new(samples))
            }
            TimedRegion::EndToEnd => {
                // A damaged picture shows here, and not in the middle of the run.
                for part in wanted.chunks(CHECKED_AT_A_TIME) {
                    self.library.load(part, &|_| {}).or_usage()?;
                }
                let files = self.library.load_encoded(&wanted, progress).or_usage()?;
                Inputs::Encoded(Recipe {
                    files: Arc::new(files),
                    preprocessing: self.library.preprocessing().clone(),
                    threads: self.threads.get(),
                })
            }
        };
        self.loaded = Some((wanted, inputs.clone()));
        Ok(inputs)
    }

    /// The ids of all pictures, in the library's order.
    pub fn image_ids(&self) -> Vec<i64> {
        let pictures = self.library.pictures().iter();
        pictures.map(|picture| picture.image_id).collect()
    }
}

/// The pictures of a folder, or the default photos, which are fetched when needed.
///
/// # Errors
/// [`Failure`]: a folder or annotations that cannot be used, photos that cannot be fetched.
pub fn open_library(
    images: Option<&Path>,
    annotations: Option<&Path>,
    preprocessing: &Preprocessing,
    options: LibraryOptions,
    progress: &dyn Progress,
) -> Result<(PictureLibrary, Vec<Note>), Failure> {
    if let Some(folder) = images {
        let annotations = annotations.map(|file| AnnotationSource::File(file.to_owned()));
        return PictureLibrary::open(folder, annotations, preprocessing.clone(), options)
            .or_usage();
    }
    let cache = Cache::locate().or_environment()?;
    let folder = default_pictures(&cache, progress).or_environment()?;
    open_photos(&folder, preprocessing.clone(), options).or_environment()
}

fn performance_count(preprocessing: &Preprocessing) -> NonZeroUsize {
    let count = LOADED_BYTES_MAX / preprocessing.sample_bytes().max(1);
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}
