//! Loading many samples on threads of their own, before anything is timed.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};

use super::prepare::{Preprocessor, SampleMut};
use super::preprocessing::Preprocessing;
use super::samples::{EncodedSamples, LoadedSamples};
use super::{LibraryError, Progress};
use crate::units::SampleIndex;

/// Prepares `samples` with one preprocessor for each thread.
///
/// `prepare` writes one sample and returns its picture's width and height. When several fail, the
/// error of the first in ascending order is returned, whatever the threads did.
pub(super) fn load(
    preprocessing: &Preprocessing,
    samples: &[SampleIndex],
    threads: NonZeroUsize,
    progress: &Progress<'_>,
    prepare: impl Fn(&mut Preprocessor, SampleIndex, SampleMut<'_>) -> Result<(u32, u32), LibraryError>
        + Sync,
) -> Result<LoadedSamples, LibraryError> {
    let mut loaded = LoadedSamples::zeroed(preprocessing, samples)?;
    let done = AtomicUsize::new(0);
    let places = loaded.places();
    let failed = on_threads(threads, || {
        places
            .into_par_iter()
            .map_init(
                || Preprocessor::new(preprocessing),
                |preprocessor, place| {
                    *place.size = prepare(preprocessor, place.index, place.sample)?;
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                    Ok(())
                },
            )
            .find_map_first(Result::err)
    })?;
    failed.map_or(Ok(loaded), Err)
}

/// Gets the files of `samples`; `read` returns the bytes of one.
pub(super) fn load_encoded(
    samples: &[SampleIndex],
    threads: NonZeroUsize,
    progress: &Progress<'_>,
    read: impl Fn(SampleIndex) -> Result<Vec<u8>, LibraryError> + Sync,
) -> Result<EncodedSamples, LibraryError> {
    let mut indices = samples.to_vec();
    indices.sort_unstable();
    indices.dedup();
    let done = AtomicUsize::new(0);
    let files = on_threads(threads, || {
        indices
            .par_iter()
            .map(|&index| {
                let file = read(index);
                progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                file
            })
            .collect::<Vec<_>>()
    })?;
    let files = files.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(EncodedSamples::new(&indices, files))
}

/// Runs `work` in a pool of `threads`, which have all ended when this returns: none is left to
/// disturb a measurement.
pub(super) fn on_threads<T: Send>(
    threads: NonZeroUsize,
    work: impl FnOnce() -> T + Send,
) -> Result<T, LibraryError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.get())
        .thread_name(|number| format!("load-{number}"))
        .build_scoped(rayon::ThreadBuilder::run, |pool| pool.install(work))
        .map_err(|source| LibraryError::Threads {
            threads: threads.get(),
            source,
        })
}
