//! The pictures of a run: opened once, loaded set by set.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use super::args::{RunArgs, TimedRegion};
use super::sample_source::SampleSource;
use super::truth::RunTruth;
use crate::accuracy::GroundTruth;
use crate::cli::failure::{Blame, Failure};
use crate::cli::ground_truth::ground_truth;
use crate::cli::score::voc_flag;
use crate::dataset::{Dataset, Request, Truth};
use crate::fetch::{default_pictures, Cache, Progress};
use crate::library::coco::AnnotationSource;
use crate::library::photos::{open_photos, photos_annotations, PHOTOS_ANNOTATIONS};
use crate::library::preprocessing::Preprocessing;
use crate::library::{LibraryOptions, LoadedSamples, Note, PictureLibrary, SampleLibrary};
use crate::sut::pool::{Inputs, Recipe};
use crate::units::SampleIndex;

/// So many pictures are decoded at a time when they are only tried.
const CHECKED_AT_A_TIME: usize = 32;

/// The pictures and what is known of them.
pub struct Pictures {
    /// The library.
    pub library: SampleSource,
    /// What the user should know.
    pub notes: Vec<String>,
    /// The ground truth, where there is one.
    pub ground_truth: Option<RunTruth>,
    /// Where it came from.
    pub truth_source: Option<String>,
    /// In which form the pictures are kept.
    pub form: &'static str,
    /// Whether these are the default photos, too few for more than a smoke test.
    pub are_photos: bool,
    region: TimedRegion,
    threads: NonZeroUsize,
    loaded: Option<(Vec<SampleIndex>, Inputs)>,
}

/// The data set that the flags name, with ground truth where `--accuracy-only` is to score what was found apart from the
/// scenarios' own tests; `None` for noise and the default photos.
///
/// # Errors
/// [`Failure`]: it cannot be found or read, or has no ground truth.
pub fn named_for(args: &RunArgs, scores_apart: bool) -> Result<Option<Dataset>, Failure> {
    let needs_truth = args.accuracy_only && scores_apart;
    if needs_truth && args.images.is_some() && args.annotations.is_none() {
        return Err(Failure::usage(
            "--accuracy-only needs ground truth: pass --annotations FILE with --images",
        ));
    }
    let named = named(args)?;
    if needs_truth {
        refuse_without_truth(named.as_ref())?;
    }
    Ok(named)
}

/// The data set that the flags name; `None` for noise and the default photos.
///
/// # Errors
/// [`Failure`]: it cannot be found or read.
fn named(args: &RunArgs) -> Result<Option<Dataset>, Failure> {
    let annotations = args.annotations.as_deref();
    let mut dataset = match (&args.images, &args.dataset) {
        (Some(folder), _) => Dataset::of_folder(folder, annotations, args.skip_missing),
        (None, Some(path)) => Dataset::open(&Request {
            path,
            annotations,
            split: args.split.as_deref(),
            skip_missing: args.skip_missing,
            threads: threads(args),
        }),
        (None, None) => return Ok(None),
    }
    .or_usage()?;
    check_skip(args, dataset.pictures.len())?;
    dataset.pictures.drain(..args.skip);
    dataset.pictures.truncate(args.count.unwrap_or(usize::MAX));
    Ok(Some(dataset))
}

/// Refuses to leave out all pictures.
fn check_skip(args: &RunArgs, total: usize) -> Result<(), Failure> {
    if args.skip < total || args.skip == 0 {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--skip {}: there are only {total} pictures",
        args.skip
    )))
}

/// Refuses a data set that says nothing of what is in its pictures.
///
/// # Errors
/// [`Failure`].
fn refuse_without_truth(named: Option<&Dataset>) -> Result<(), Failure> {
    match named {
        Some(dataset) if dataset.truth.is_none() => Err(Failure::usage(format!(
            "--accuracy-only needs ground truth, and {} is {} without any: pass --annotations FILE",
            dataset.name,
            dataset.form.describe()
        ))),
        _ => Ok(()),
    }
}

fn threads(args: &RunArgs) -> NonZeroUsize {
    let threads = args.preproc_threads.and_then(NonZeroUsize::new);
    threads.unwrap_or(LibraryOptions::default().threads)
}

impl Pictures {
    /// Opens the pictures of a data set, or those that the flags mean without one; the default photos are fetched when needed.
    ///
    /// # Errors
    /// [`Failure`]: pictures that cannot be read, or of which not one fits in the library's memory.
    pub fn open(
        args: &RunArgs,
        named: Option<Dataset>,
        preprocessing: &Preprocessing,
        progress: &dyn Progress,
    ) -> Result<Self, Failure> {
        let limit = performance_count(args.library_memory, preprocessing)?;
        let options = LibraryOptions {
            threads: threads(args),
            performance_count: Some(limit),
            skip_missing: args.skip_missing,
        };
        let mut pictures = match (named, args.synthetic) {
            (Some(dataset), _) => Self::of(args, dataset, preprocessing, options)?,
            (None, Some(seed)) => {
                let asked = args.count.and_then(NonZeroUsize::new);
                let limit = asked.map_or(limit, |asked| asked.min(limit));
                let noise = SampleSource::noise(seed, limit, options.threads, preprocessing)?;
                Self::new(args, noise, "noise")
            }
            (None, None) => {
                let (mut library, notes) =
                    open_library(None, None, preprocessing, options, progress)?;
                check_skip(args, library.total_count())?;
                library.narrow(args.skip, args.count.unwrap_or(usize::MAX));
                let mut pictures = Self::new(args, SampleSource::Pictures(library), "photos");
                pictures.notes = notes.iter().map(Note::to_string).collect();
                let truth = PHOTOS_ANNOTATIONS.parse::<GroundTruth>().or_usage()?;
                pictures.ground_truth = Some(RunTruth::Coco(truth));
                pictures.truth_source = Some(photos_annotations().to_string());
                pictures.are_photos = true;
                pictures
            }
        };
        let left = pictures.library.total_count();
        if let Some(asked) = args.count.filter(|asked| *asked > left) {
            pictures.notes.push(format!(
                "{asked} pictures were asked for (--count), but there are only {left}."
            ));
        }
        if args.timed_region == TimedRegion::EndToEnd {
            pictures.fit_files(args.library_memory)?;
        }
        Ok(pictures)
    }

    fn new(args: &RunArgs, library: SampleSource, form: &'static str) -> Self {
        Self {
            library,
            notes: Vec::new(),
            ground_truth: None,
            truth_source: None,
            form,
            are_photos: false,
            region: args.timed_region,
            threads: threads(args),
            loaded: None,
        }
    }

    fn of(
        args: &RunArgs,
        dataset: Dataset,
        preprocessing: &Preprocessing,
        options: LibraryOptions,
    ) -> Result<Self, Failure> {
        let Dataset {
            name,
            form,
            pictures,
            truth,
            truth_source,
            notes,
        } = dataset;
        let opened = PictureLibrary::of(name, pictures, preprocessing.clone(), options);
        let (library, more) = opened.or_usage()?;
        let mut opened = Self::new(args, SampleSource::Pictures(library), form.describe());
        opened.notes = notes.iter().map(ToString::to_string).collect();
        opened.notes.extend(more.iter().map(Note::to_string));
        opened.ground_truth = match truth {
            None => None,
            Some(Truth::Coco(instances)) => {
                Some(RunTruth::Coco(ground_truth(instances).or_usage()?))
            }
            Some(Truth::Voc(objects)) => Some(RunTruth::Voc {
                objects,
                style: args.voc_style.into(),
                points: args.points.into(),
            }),
        };
        opened.truth_source = truth_source;
        let is_voc = matches!(opened.ground_truth, Some(RunTruth::Voc { .. }));
        if let (false, Some(flag)) = (is_voc, voc_flag(args.voc_style, args.points)) {
            opened.notes.push(format!(
                "{flag} says how Pascal VOC is scored, which this data set is not; it changes nothing"
            ));
        }
        Ok(opened)
    }

    /// In a timed region that begins with decoding the files themselves are loaded: as many as fit when they are the largest.
    fn fit_files(&mut self, memory: usize) -> Result<(), Failure> {
        let SampleSource::Pictures(library) = &mut self.library else {
            return Ok(());
        };
        let sizes = library.pictures().iter().map(|picture| {
            let size = picture.place.size_bytes();
            size.map_err(|error| Failure::usage(format!("{}: {error}", picture.place)))
        });
        let mut sizes = sizes.collect::<Result<Vec<u64>, _>>()?;
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = memory as u64;
        let mut fits = |size: u64| {
            let rest = left.checked_sub(size);
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let count = sizes.iter().take_while(|size| fits(**size)).count();
        let count = NonZeroUsize::new(count).ok_or_else(|| too_little(memory, sizes[0]))?;
        library.set_performance_count(count);
        Ok(())
    }

    /// Keeps at most so many in memory at a time; noise was made for its memory.
    fn limit(&mut self, count: NonZeroUsize) {
        if let SampleSource::Pictures(library) = &mut self.library {
            library.set_performance_count(count);
        }
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

/// Lets two models' runs be of the same pictures: as many in memory as of the model for which fewer fit.
pub fn keep_as_many(both: &mut [Pictures; 2]) {
    let counts = both.each_ref().map(|own| own.library.performance_count());
    if let Some(count) = NonZeroUsize::new(counts[0].min(counts[1])) {
        for own in both {
            own.limit(count);
        }
    }
}

/// How many prepared pictures fit.
fn performance_count(
    memory: usize,
    preprocessing: &Preprocessing,
) -> Result<NonZeroUsize, Failure> {
    let each = preprocessing.sample_bytes().max(1);
    NonZeroUsize::new(memory / each).ok_or_else(|| too_little(memory, each as u64))
}

fn too_little(memory: usize, each: u64) -> Failure {
    Failure::usage(format!(
        "--library-memory of {memory} bytes holds no picture: one takes {each} bytes here, so give more"
    ))
}
