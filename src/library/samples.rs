//! Loaded samples: prepared tensors, or file bytes for runs that time decoding too.
//!
//! Both are immutable once made, are shared between threads in an `Arc`, and lend without a lock.

use super::prepare::SampleMut;
use super::preprocessing::{ElementType, Preprocessing};
use super::LibraryError;
use crate::tensor::{TensorData, TensorView};
use crate::units::SampleIndex;

/// Prepared samples, one behind the other in one allocation.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedSamples {
    shape: Vec<i64>,
    sample_elements: usize,
    elements: Elements,
    slots: Slots,
    sizes: Vec<(u32, u32)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Elements {
    F32(Vec<f32>),
    U8(Vec<u8>),
}

impl LoadedSamples {
    /// Room for `samples`, all zero; the pages are touched first by whoever fills them.
    pub(super) fn zeroed(
        preprocessing: &Preprocessing,
        samples: &[SampleIndex],
    ) -> Result<Self, LibraryError> {
        let slots = Slots::new(samples);
        let refused = || LibraryError::Memory {
            samples: slots.indices.len(),
            bytes: slots
                .indices
                .len()
                .saturating_mul(preprocessing.sample_bytes()),
        };
        let sample_elements = preprocessing.sample_elements();
        let count = slots
            .indices
            .len()
            .checked_mul(sample_elements)
            .ok_or_else(refused)?;
        let elements = match preprocessing.element {
            ElementType::F32 if fits::<f32>(count) => Elements::F32(vec![0.0; count]),
            ElementType::U8 if fits::<u8>(count) => Elements::U8(vec![0; count]),
            ElementType::F32 | ElementType::U8 => return Err(refused()),
        };
        Ok(Self {
            shape: preprocessing.sample_shape(),
            sample_elements,
            elements,
            sizes: vec![(0, 0); slots.indices.len()],
            slots,
        })
    }

    /// The place of each sample and of its size, for filling in any order.
    pub(super) fn places(&mut self) -> Vec<Place<'_>> {
        let samples: Vec<SampleMut<'_>> = match &mut self.elements {
            Elements::F32(all) => {
                let chunks = all.chunks_exact_mut(self.sample_elements);
                chunks.map(SampleMut::F32).collect()
            }
            Elements::U8(all) => {
                let chunks = all.chunks_exact_mut(self.sample_elements);
                chunks.map(SampleMut::U8).collect()
            }
        };
        let indices = self.slots.indices.iter();
        let places = indices.zip(samples).zip(&mut self.sizes);
        places
            .map(|((&index, sample), size)| Place {
                index,
                sample,
                size,
            })
            .collect()
    }

    /// The shape of one sample, its batch axis being 1 where it has one.
    pub fn sample_shape(&self) -> &[i64] {
        &self.shape
    }

    /// The prepared tensor of a loaded sample.
    ///
    /// *Shape*: `[1, height, width, 3]`, `[1, 3, height, width]` or `[3, height, width]`, as the model wants it.
    ///
    /// # Panics
    /// When the sample was not loaded.
    pub fn tensor(&self, index: SampleIndex) -> TensorView<'_> {
        let begin = self.slots.of(index) * self.sample_elements;
        let range = begin..begin + self.sample_elements;
        TensorView {
            shape: &self.shape,
            data: match &self.elements {
                Elements::F32(all) => TensorData::F32(&all[range]),
                Elements::U8(all) => TensorData::U8(&all[range]),
            },
        }
    }

    /// Width and height of the picture before it was resized, in pixels.
    ///
    /// # Panics
    /// When the sample was not loaded.
    pub fn picture_size(&self, index: SampleIndex) -> (u32, u32) {
        self.sizes[self.slots.of(index)]
    }

    /// Whether a sample is here.
    pub fn contains(&self, index: SampleIndex) -> bool {
        self.slots.find(index).is_some()
    }

    /// The loaded samples, ascending.
    pub fn indices(&self) -> &[SampleIndex] {
        &self.slots.indices
    }

    /// Bytes of all tensors together.
    pub fn size_bytes(&self) -> usize {
        match &self.elements {
            Elements::F32(all) => size_of_val(all.as_slice()),
            Elements::U8(all) => all.len(),
        }
    }
}

/// Where one sample is to be written.
pub(super) struct Place<'a> {
    pub(super) index: SampleIndex,
    pub(super) sample: SampleMut<'a>,
    pub(super) size: &'a mut (u32, u32),
}

/// The bytes of picture files, for timed regions that begin with decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedSamples {
    files: Vec<Vec<u8>>,
    slots: Slots,
}

impl EncodedSamples {
    /// The files of `samples`, which are in ascending order and without repetition.
    pub(super) fn new(samples: &[SampleIndex], files: Vec<Vec<u8>>) -> Self {
        let slots = Slots::new(samples);
        assert_eq!(slots.indices.len(), files.len(), "a file for each sample");
        Self { files, slots }
    }

    /// The file of a loaded sample, for [`super::Preprocessor::decode_and_prepare`].
    ///
    /// # Panics
    /// When the sample was not loaded.
    pub fn file(&self, index: SampleIndex) -> &[u8] {
        &self.files[self.slots.of(index)]
    }

    /// The loaded samples, ascending.
    pub fn indices(&self) -> &[SampleIndex] {
        &self.slots.indices
    }

    /// Bytes of all files together.
    pub fn size_bytes(&self) -> usize {
        self.files.iter().map(Vec::len).sum()
    }
}

/// Which sample lies where: the loaded indices without repetition, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slots {
    indices: Vec<SampleIndex>,
    /// Slot of each index from the first to the last one loaded.
    by_index: Vec<Option<u32>>,
}

impl Slots {
    fn new(samples: &[SampleIndex]) -> Self {
        let mut indices = samples.to_vec();
        indices.sort_unstable();
        indices.dedup();
        let last = indices.last().map_or(0, |index| index.as_usize() + 1);
        let mut by_index = vec![None; last];
        for (slot, index) in (0..).zip(&indices) {
            by_index[index.as_usize()] = Some(slot);
        }
        Self { indices, by_index }
    }

    fn find(&self, index: SampleIndex) -> Option<usize> {
        let slot = self.by_index.get(index.as_usize()).copied().flatten();
        slot.map(|slot| slot as usize)
    }

    fn of(&self, index: SampleIndex) -> usize {
        self.find(index)
            .unwrap_or_else(|| panic!("sample {} was not loaded", index.0))
    }
}

/// Whether the memory for `count` elements is given.
///
/// `vec![0; n]`, which takes untouched zero pages, would end the process instead of asking.
fn fits<T>(count: usize) -> bool {
    Vec::<T>::new().try_reserve_exact(count).is_ok()
}
