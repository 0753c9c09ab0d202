//! Seeded noise pictures, for explicit use only: they show what a detector costs, not what it finds.
//!
//! Noise compresses badly and holds no objects, so neither decoding nor post-processing behaves as
//! on photographs; a run on it must say so.

use std::num::NonZeroUsize;

use super::decode::{check_size, Picture};
use super::loading::{load, load_encoded};
use super::preprocessing::Preprocessing;
use super::{EncodedSamples, LibraryError, LoadedSamples, Progress, SampleLibrary};
use crate::units::SampleIndex;

/// A library of `count` noise pictures, each of which depends on the seed and its index alone.
#[derive(Debug, Clone)]
pub struct SyntheticLibrary {
    seed: u64,
    count: NonZeroUsize,
    width: u32,
    height: u32,
    threads: NonZeroUsize,
    preprocessing: Preprocessing,
}

impl SyntheticLibrary {
    /// `count` pictures of `width` x `height` pixels, prepared by `threads` threads.
    ///
    /// # Errors
    /// [`LibraryError::Preprocessing`] and [`LibraryError::SyntheticSize`].
    pub fn new(
        seed: u64,
        count: NonZeroUsize,
        (width, height): (u32, u32),
        threads: NonZeroUsize,
        preprocessing: Preprocessing,
    ) -> Result<Self, LibraryError> {
        preprocessing.check()?;
        if width == 0 || height == 0 || check_size(width, height).is_err() {
            return Err(LibraryError::SyntheticSize { width, height });
        }
        Ok(Self {
            seed,
            count,
            width,
            height,
            threads,
            preprocessing,
        })
    }

    /// What the noise comes from.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// What is done to each picture.
    pub const fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// The picture of a sample: bytes of splitmix64, low byte first.
    pub fn picture(&self, index: SampleIndex) -> Picture {
        let bytes = self.width as usize * self.height as usize * 3;
        let mut rgb = Vec::with_capacity(bytes + 8);
        let mut state = mix(self.seed ^ mix(u64::from(index.0)));
        while rgb.len() < bytes {
            state = state.wrapping_add(GOLDEN_GAMMA);
            rgb.extend_from_slice(&mix(state).to_le_bytes());
        }
        rgb.truncate(bytes);
        Picture {
            width: self.width,
            height: self.height,
            rgb,
        }
    }

    /// The picture as a PNG file, for timed regions that begin with decoding.
    fn file(&self, index: SampleIndex) -> Vec<u8> {
        let picture = self.picture(index);
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, picture.width, picture.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::Fastest);
        let written = encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&picture.rgb));
        written.expect("a vector takes any bytes and the sizes agree");
        file
    }
}

/// Sebastiano Vigna's splitmix64 (2015): the increment of its counter.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of splitmix64.
const fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

impl SampleLibrary for SyntheticLibrary {
    fn name(&self) -> &'static str {
        "synthetic"
    }

    fn total_count(&self) -> usize {
        self.count.get()
    }

    fn performance_count(&self) -> usize {
        self.count.get()
    }

    fn load(
        &self,
        samples: &[SampleIndex],
        progress: &Progress<'_>,
    ) -> Result<LoadedSamples, LibraryError> {
        let preprocessing = &self.preprocessing;
        load(
            preprocessing,
            samples,
            self.threads,
            progress,
            |preprocessor, index, out| {
                preprocessor.prepare(&self.picture(index), out);
                Ok((self.width, self.height))
            },
        )
    }

    fn load_encoded(
        &self,
        samples: &[SampleIndex],
        progress: &Progress<'_>,
    ) -> Result<EncodedSamples, LibraryError> {
        load_encoded(
            samples,
            self.threads,
            progress,
            |index| Ok(self.file(index)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode::decode;
    use super::super::preprocessing::{ColorOrder, ElementType, Layout, Resize};
    use super::*;

    fn library(seed: u64) -> SyntheticLibrary {
        let preprocessing = Preprocessing {
            height: 5,
            width: 6,
            element: ElementType::U8,
            layout: Layout::Nhwc,
            color: ColorOrder::Rgb,
            resize: Resize::PillowBilinear,
            mean: [0.0; 3],
            scale: [1.0; 3],
        };
        let two = NonZeroUsize::new(2).unwrap();
        SyntheticLibrary::new(seed, two, (13, 7), two, preprocessing).unwrap()
    }

    #[test]
    fn splitmix64_matches_its_published_first_outputs() {
        // Outputs for seed 0 of the reference implementation.
        assert_eq!(mix(GOLDEN_GAMMA), 0xE220_A839_7B1D_CDAF);
        assert_eq!(mix(GOLDEN_GAMMA.wrapping_mul(2)), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn a_picture_depends_on_seed_and_index_alone() {
        let (zero, one) = (SampleIndex(0), SampleIndex(1));
        assert_eq!(library(3).picture(one), library(3).picture(one));
        assert_ne!(library(3).picture(one), library(3).picture(zero));
        assert_ne!(library(3).picture(one), library(4).picture(one));
    }

    #[test]
    fn encoded_and_prepared_samples_are_the_same_pictures() {
        let library = library(9);
        let samples = [SampleIndex(1), SampleIndex(0), SampleIndex(1)];
        let loaded = library.load(&samples, &|_| ()).unwrap();
        let encoded = library.load_encoded(&samples, &|_| ()).unwrap();
        assert_eq!(loaded.indices(), encoded.indices());
        let picture = decode(encoded.file(SampleIndex(1))).unwrap();
        assert_eq!(picture, library.picture(SampleIndex(1)));
        let mut out = vec![0; 90];
        let mut preprocessor = super::super::Preprocessor::new(&library.preprocessing);
        preprocessor.prepare(&picture, super::super::SampleMut::U8(&mut out));
        assert_eq!(
            loaded.tensor(SampleIndex(1)).data,
            crate::tensor::TensorData::U8(&out)
        );
    }
}
