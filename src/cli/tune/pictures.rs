//! Pictures that models are run on again and again, and running them: a session of one thread on each core.
//!
//! Sessions of one thread give the same bits whatever the number of cores, and no core waits for another one.

use std::path::Path;
use std::thread::available_parallelism;

use crate::cli::failure::{Blame, Failure};
use crate::cli::inference::Inference;
use crate::cli::interrupt::is_interrupted;
use crate::cli::run::Subject;
use crate::library::preprocessing::Preprocessing;
use crate::library::{
    LibraryOptions, ListedPicture, LoadedSamples, PictureEntry, PictureLibrary, SampleLibrary,
};
use crate::postprocess::{Detection, NmsMode};
use crate::runtime::Runtime;
use crate::units::SampleIndex;

/// Pictures prepared at a time where they do not all fit.
const WINDOW: usize = 64;
/// Memory for prepared pictures that are kept from model to model.
const KEPT_BYTES: usize = 512 << 20;

/// Prepared pictures, in one form.
pub struct PictureSet {
    library: PictureLibrary,
    /// Those that are used.
    samples: Vec<SampleIndex>,
    /// All windows, where they fit.
    kept: Option<Vec<LoadedSamples>>,
}

impl PictureSet {
    /// Some pictures of a list, in the form that `preprocessing` gives them.
    pub fn new(
        name: &str,
        listed: Vec<ListedPicture>,
        samples: Vec<SampleIndex>,
        preprocessing: &Preprocessing,
    ) -> Result<Self, Failure> {
        let options = LibraryOptions::default();
        let opened = PictureLibrary::of(name.to_owned(), listed, preprocessing.clone(), options);
        let (library, _) = opened.or_usage()?;
        let mut set = Self {
            library,
            samples,
            kept: None,
        };
        let bytes = preprocessing
            .sample_bytes()
            .saturating_mul(set.samples.len());
        if bytes <= KEPT_BYTES {
            let windows = set.samples.chunks(WINDOW);
            let kept = windows.map(|window| set.load(window));
            set.kept = Some(kept.collect::<Result<_, _>>()?);
        }
        Ok(set)
    }

    fn load(&self, window: &[SampleIndex]) -> Result<LoadedSamples, Failure> {
        self.library.load(window, &|_| {}).or_usage()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// What is known of one.
    pub fn entry(&self, position: usize) -> &PictureEntry {
        &self.library.pictures()[self.samples[position].as_usize()]
    }

    /// The first picture's window, for measuring speed.
    pub fn first_window(&self) -> Result<(LoadedSamples, Vec<SampleIndex>), Failure> {
        let window = &self.samples[..self.samples.len().min(WINDOW)];
        Ok((self.load(window)?, window.to_vec()))
    }
}

/// What a model made of one picture.
pub struct Seen {
    /// Its detections.
    pub detections: Vec<Detection>,
    /// Probabilities of all classes at all anchors, where it has raw heads and they were asked for.
    pub probabilities: Option<Vec<f32>>,
}

/// Runs a model's file on all pictures of a set. `see` gets the position and what the model made of the picture; its
/// results come in the pictures' order.
pub fn run_on<T: Send>(
    onnx: &Path,
    subject: &Subject,
    runtime: &Runtime,
    set: &PictureSet,
    probabilities: impl Fn(usize) -> bool + Sync,
    see: impl Fn(usize, Seen) -> T + Sync,
) -> Result<Vec<T>, Failure> {
    let threads = available_parallelism()
        .map_or(1, std::num::NonZero::get)
        .min(set.len().max(1));
    let mode = subject.reading.raw_heads().map(|_| NmsMode::Regular);
    let detectors = subject.detectors(&[mode]);
    let open = || Inference::open_file(onnx, subject, runtime);
    // ONNX Runtime optimises the graph anew for each session.
    let mut sessions = std::thread::scope(|scope| {
        let opening: Vec<_> = (0..threads).map(|_| scope.spawn(open)).collect();
        let opened = opening.into_iter().map(|one| one.join().expect("no panic"));
        opened.collect::<Result<Vec<Inference>, Failure>>()
    })?;
    let mut all = Vec::with_capacity(set.len());
    for (number, window) in set.samples.chunks(WINDOW).enumerate() {
        let fresh;
        let loaded = if let Some(kept) = &set.kept {
            &kept[number]
        } else {
            fresh = set.load(window)?;
            &fresh
        };
        let begin = number * WINDOW;
        let work = |thread: usize, session: &mut Inference| {
            let mut detector = detectors();
            let mut done = Vec::new();
            for at in (thread..window.len()).step_by(threads) {
                if is_interrupted() {
                    return Err(Failure::environment("interrupted"));
                }
                session.run(loaded.tensor(window[at]))?;
                let wants = mode.is_some() && probabilities(begin + at);
                let seen = Seen {
                    detections: session.detect(detector[0].as_mut())?,
                    probabilities: if wants {
                        Some(session.raw_heads()?.1)
                    } else {
                        None
                    },
                };
                done.push((at, see(begin + at, seen)));
            }
            Ok(done)
        };
        let parts = std::thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> = sessions
                .iter_mut()
                .enumerate()
                .map(|(thread, session)| scope.spawn(move || work(thread, session)))
                .collect();
            let parts = running.into_iter().map(|one| one.join().expect("no panic"));
            parts.collect::<Result<Vec<Vec<(usize, T)>>, Failure>>()
        })?;
        let mut parts: Vec<(usize, T)> = parts.into_iter().flatten().collect();
        parts.sort_by_key(|(at, _)| *at);
        all.extend(parts.into_iter().map(|(_, seen)| seen));
    }
    Ok(all)
}
