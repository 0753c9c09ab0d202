//! How near the second model is to the first, without labels.

use crate::cli::categories::CommonClasses;
use crate::cli::failure::Failure;
use crate::cli::nearness::{between, Nearness};
use crate::cli::run::measure::Bench;
use crate::cli::run::sample_source::SampleSource;
use crate::library::{LoadedSamples, SampleLibrary};
use crate::quantise::calibrate::CalibrationPictures;
use crate::quantise::QuantiseError;
use crate::tensor::TensorView;
use crate::units::SampleIndex;

/// Pictures that are compared on, at most: more change the figures by less than they differ between pictures.
const COMPARED_MAX: usize = 256;
/// Pictures prepared at a time.
const WINDOW: usize = 32;

/// Compares both models on the benches' pictures, from the first on; `None` on noise, and where they have no class in common.
///
/// # Errors
/// A model that cannot run, a picture that cannot be read.
pub fn near(benches: &[Bench<'_>; 2]) -> Result<Option<Nearness>, Failure> {
    let library = &benches[0].pictures.library;
    let (first, second) = (benches[0].subject, benches[1].subject);
    let labels = (&first.description.labels, &second.description.labels);
    let Some(classes) = CommonClasses::between(labels.0, labels.1) else {
        return Ok(None);
    };
    if library.pictures().is_empty() {
        return Ok(None);
    }
    let pictures = library.pictures();
    let size = |at: usize| (pictures[at].width, pictures[at].height);
    let [mut one, mut other] =
        [0, 1].map(|side: usize| Window::new(&benches[side].pictures.library));
    let near = between(
        [&mut first.clone(), &mut second.clone()],
        &classes,
        benches[0].runtime,
        [&mut one, &mut other],
        &size,
    )?;
    Ok((near.pictures > 0).then_some(near))
}

/// Pictures of a run, a window of them prepared.
struct Window<'a> {
    library: &'a SampleSource,
    loaded: Option<LoadedSamples>,
}

impl<'a> Window<'a> {
    fn new(library: &'a SampleSource) -> Self {
        Self {
            library,
            loaded: None,
        }
    }
}

impl CalibrationPictures for Window<'_> {
    fn count(&self) -> usize {
        self.library.total_count().min(COMPARED_MAX)
    }

    fn tensor(&mut self, index: usize) -> Result<TensorView<'_>, QuantiseError> {
        let of = |at: usize| SampleIndex(u32::try_from(at).expect("at most a few hundred"));
        let held = self.loaded.as_ref();
        if !held.is_some_and(|held| held.contains(of(index))) {
            // The old window goes before the new one comes.
            self.loaded = None;
            let begin = index / WINDOW * WINDOW;
            let wanted: Vec<SampleIndex> = (begin..(begin + WINDOW).min(self.count()))
                .map(of)
                .collect();
            self.loaded = Some(self.library.load(&wanted, &|_| {})?);
        }
        Ok(self.loaded.as_ref().expect("loaded").tensor(of(index)))
    }

    fn name(&self, index: usize) -> String {
        self.library.pictures()[index].file_name.clone()
    }
}
