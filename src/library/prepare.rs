//! Picture in, one sample of the input tensor out.
//!
//! A [`Preprocessor`] belongs to one thread and keeps its buffers: once pictures of a size have
//! been seen, preparing another one allocates nothing of ours.

use super::decode::{decode_into, DecodeError, Picture};
use super::preprocessing::{ColorOrder, ElementType, Layout, Preprocessing};
use super::resize::{Pixels, Resizer};

/// Where one sample goes: a slice of exactly [`Preprocessing::sample_elements`] elements.
#[derive(Debug, PartialEq)]
pub enum SampleMut<'a> {
    /// 32-bit floats.
    F32(&'a mut [f32]),
    /// Bytes.
    U8(&'a mut [u8]),
}

/// Brings pictures to the model's size, type, layout and range.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    preprocessing: Preprocessing,
    resizer: Resizer,
    /// `(value - mean) / scale` for each channel of the input and each byte.
    normalized: [[f32; 256]; 3],
    picture: Picture,
}

impl Preprocessor {
    /// A preprocessor for one thread.
    ///
    /// # Panics
    /// When `preprocessing` does not pass [`Preprocessing::check`].
    pub fn new(preprocessing: &Preprocessing) -> Self {
        assert_eq!(preprocessing.check(), Ok(()), "checked when it was read");
        let mut normalized = [[0.0; 256]; 3];
        for (channel, table) in normalized.iter_mut().enumerate() {
            for (value, entry) in (0_u8..=255).zip(table) {
                *entry = normalize(preprocessing, channel, f32::from(value));
            }
        }
        Self {
            resizer: Resizer::new(
                preprocessing.resize,
                preprocessing.width,
                preprocessing.height,
            ),
            preprocessing: preprocessing.clone(),
            normalized,
            picture: Picture::default(),
        }
    }

    /// What this preprocessor does.
    pub const fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Decodes `file` and prepares it; returns the picture's own width and height in pixels.
    ///
    /// # Errors
    /// As [`super::decode::decode`]; `out` is untouched then.
    ///
    /// # Panics
    /// As [`Self::prepare`].
    pub fn decode_and_prepare(
        &mut self,
        file: &[u8],
        out: SampleMut<'_>,
    ) -> Result<(u32, u32), DecodeError> {
        let mut picture = std::mem::take(&mut self.picture);
        let decoded = decode_into(file, &mut picture);
        if decoded.is_ok() {
            self.prepare(&picture, out);
        }
        let size = (picture.width, picture.height);
        self.picture = picture;
        decoded.map(|()| size)
    }

    /// Resizes, normalises and lays out `picture`.
    ///
    /// With a u8 input TensorFlow's floats are cut toward zero, as its cast does.
    ///
    /// # Panics
    /// When `out` has another type or length than the preprocessing says.
    pub fn prepare(&mut self, picture: &Picture, out: SampleMut<'_>) {
        let Self {
            preprocessing,
            resizer,
            normalized,
            ..
        } = self;
        let pixels = resizer.resize(picture);
        match (preprocessing.element, out) {
            (ElementType::F32, SampleMut::F32(out)) => match pixels {
                Pixels::U8(pixels) => arrange(preprocessing, pixels, out, |channel, value| {
                    normalized[channel][usize::from(value)]
                }),
                Pixels::F32(pixels) => arrange(preprocessing, pixels, out, |channel, value| {
                    normalize(preprocessing, channel, value)
                }),
            },
            (ElementType::U8, SampleMut::U8(out)) => match pixels {
                Pixels::U8(pixels) => arrange(preprocessing, pixels, out, |_, value| value),
                Pixels::F32(pixels) => arrange(preprocessing, pixels, out, |_, value| value as u8),
            },
            (ElementType::F32, SampleMut::U8(_)) | (ElementType::U8, SampleMut::F32(_)) => {
                panic!("the sample's type is the preprocessing's")
            }
        }
    }
}

fn normalize(preprocessing: &Preprocessing, channel: usize, value: f32) -> f32 {
    (value - preprocessing.mean[channel]) / preprocessing.scale[channel]
}

/// Writes `pixels` (`[height, width, 3]`, RGB) in the input's layout and channel order.
///
/// `element` gets the position of the channel in the input.
fn arrange<From: Copy, To>(
    preprocessing: &Preprocessing,
    pixels: &[From],
    out: &mut [To],
    element: impl Fn(usize, From) -> To,
) {
    assert_eq!(out.len(), preprocessing.sample_elements(), "one sample");
    let order = match preprocessing.color {
        ColorOrder::Rgb => [0, 1, 2],
        ColorOrder::Bgr => [2, 1, 0],
    };
    match preprocessing.layout {
        Layout::Nhwc => {
            for (out, pixel) in out.chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
                for channel in 0..3 {
                    out[channel] = element(channel, pixel[order[channel]]);
                }
            }
        }
        Layout::Nchw | Layout::Chw => {
            let plane = out.len() / 3;
            for (channel, out) in out.chunks_exact_mut(plane).enumerate() {
                for (out, pixel) in out.iter_mut().zip(pixels.chunks_exact(3)) {
                    *out = element(channel, pixel[order[channel]]);
                }
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the expected numbers are exact")]
mod tests {
    use super::super::preprocessing::Resize;
    use super::*;

    fn two_pixels() -> Picture {
        Picture {
            width: 2,
            height: 1,
            rgb: vec![10, 20, 30, 40, 50, 60],
        }
    }

    fn preprocessing(layout: Layout, color: ColorOrder) -> Preprocessing {
        Preprocessing {
            height: 1,
            width: 2,
            element: ElementType::F32,
            layout,
            color,
            resize: Resize::PillowBilinear,
            mean: [1.0, 2.0, 3.0],
            scale: [1.0, 2.0, 4.0],
        }
    }

    fn prepared(layout: Layout, color: ColorOrder) -> [f32; 6] {
        let mut out = [0.0; 6];
        Preprocessor::new(&preprocessing(layout, color))
            .prepare(&two_pixels(), SampleMut::F32(&mut out));
        out
    }

    #[test]
    fn mean_and_scale_belong_to_the_channels_of_the_input() {
        let rgb = prepared(Layout::Nhwc, ColorOrder::Rgb);
        assert_eq!(rgb, [9.0, 9.0, 6.75, 39.0, 24.0, 14.25]);
        let bgr = prepared(Layout::Nhwc, ColorOrder::Bgr);
        assert_eq!(bgr, [29.0, 9.0, 1.75, 59.0, 24.0, 9.25]);
    }

    #[test]
    fn planes_hold_one_channel_each() {
        let rgb = prepared(Layout::Nchw, ColorOrder::Rgb);
        assert_eq!(rgb, [9.0, 39.0, 9.0, 24.0, 6.75, 14.25]);
        let bgr = prepared(Layout::Nchw, ColorOrder::Bgr);
        assert_eq!(bgr, [29.0, 59.0, 9.0, 24.0, 1.75, 9.25]);
    }

    #[test]
    fn normalising_to_minus_one_and_one_equals_the_scripts_double_arithmetic() {
        // The published scripts compute (pixel / 255 - 0.5) * 2 in f64 and store f32.
        let halves = Preprocessing {
            mean: [127.5; 3],
            scale: [127.5; 3],
            ..preprocessing(Layout::Nhwc, ColorOrder::Rgb)
        };
        for (pixel, value) in (0_u8..=255).zip(Preprocessor::new(&halves).normalized[0]) {
            let expected = ((f64::from(pixel) / 255.0 - 0.5) * 2.0) as f32;
            assert_eq!(value.to_bits(), expected.to_bits(), "pixel {pixel}");
        }
    }

    #[test]
    fn bytes_pass_unchanged() {
        let bytes = Preprocessing {
            element: ElementType::U8,
            mean: [0.0; 3],
            scale: [1.0; 3],
            ..preprocessing(Layout::Nhwc, ColorOrder::Rgb)
        };
        let mut out = [0; 6];
        Preprocessor::new(&bytes).prepare(&two_pixels(), SampleMut::U8(&mut out));
        assert_eq!(out, [10, 20, 30, 40, 50, 60]);
    }

    #[test]
    fn a_broken_file_leaves_the_sample_and_the_preprocessor_usable_for_a_golden_picture() {
        let mut preprocessor = Preprocessor::new(&preprocessing(Layout::Nhwc, ColorOrder::Rgb));
        let mut out = [7.0; 6];
        let broken = preprocessor.decode_and_prepare(b"\xff\xd8\xff\xe0", SampleMut::F32(&mut out));
        assert!(broken.is_err());
        assert_eq!(out, [7.0; 6]);
        let file = include_bytes!("../../tests/golden/pictures/one_pixel.png");
        let size = preprocessor.decode_and_prepare(file, SampleMut::F32(&mut out));
        assert_eq!(size, Ok((1, 1)));
        assert_eq!(out[..3], out[3..]);
    }
}
