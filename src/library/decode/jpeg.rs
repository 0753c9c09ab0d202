//! JPEG through mozjpeg (libjpeg-turbo's decoder with its defaults, as Pillow uses it).
//!
//! As in Pillow, data that are damaged in the middle but go on to a proper end of the picture are
//! decoded as far as they make sense, with no word from libjpeg; only a file that stops is refused.

use std::any::Any;
use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::panic::{catch_unwind, AssertUnwindSafe};

use mozjpeg::decompress::DecompressStarted;
use mozjpeg::{ColorSpace, Decompress};

use super::{check_size, DecodeError, Picture, PictureFormat};

/// Rows that are decoded between two growths of the output, so that memory follows the data that
/// is really there and not what a damaged header promises.
const ROWS_AT_ONCE: usize = 64;

/// Most pixels that a byte of a whole file can stand for: an 8x8 block of a component costs one bit
/// at least, and the strangest legal sampling (4x1 beside 1x4) has eight of them for 32x32 pixels.
const PIXELS_OF_A_BYTE: u64 = 1024;

pub(super) fn decode_into(bytes: &[u8], picture: &mut Picture) -> Result<(), DecodeError> {
    guarded(bytes, |reader| {
        let decoder = open(reader)?;
        let (width, height) = size(&decoder)?;
        if u64::from(width) * u64::from(height) / PIXELS_OF_A_BYTE > bytes.len() as u64 {
            return Err(ends_early());
        }
        (picture.width, picture.height) = (width, height);
        match decoder.components().len() {
            1 | 3 => {
                let mut rows = decoder.rgb().map_err(|error| damaged(&error))?;
                read_rows(&mut rows, width, 3, height, &mut picture.rgb)?;
                rows.finish().map_err(|error| damaged(&error))
            }
            4 => {
                let mut cmyk = Vec::new();
                let mut rows = decoder
                    .to_colorspace(ColorSpace::JCS_CMYK)
                    .map_err(|error| damaged(&error))?;
                read_rows(&mut rows, width, 4, height, &mut cmyk)?;
                rows.finish().map_err(|error| damaged(&error))?;
                picture
                    .rgb
                    .extend(cmyk.chunks_exact(4).flat_map(cmyk_to_rgb));
                Ok(())
            }
            components => Err(DecodeError::ColorComponents { components }),
        }
    })
}

pub(super) fn read_size(bytes: &[u8]) -> Result<(u32, u32), DecodeError> {
    guarded(bytes, |reader| size(&open(reader)?))
}

/// Runs `work` and turns the decoder's unwinding into an error.
///
/// libjpeg leaves a fatal error through its `error_exit`, which mozjpeg implements with
/// `resume_unwind`: the panic hook is not called and nothing is printed.
fn guarded<T>(
    bytes: &[u8],
    work: impl FnOnce(UntilTheEnd<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let ended_early = Cell::new(false);
    let reader = UntilTheEnd {
        rest: bytes,
        ended_early: &ended_early,
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| work(reader)));
    if ended_early.get() {
        return Err(ends_early());
    }
    outcome.unwrap_or_else(|payload| Err(fatal(payload.as_ref())))
}

/// The bytes of a file, which notes when the decoder asks for more of them.
///
/// libjpeg (and mozjpeg's own reader) would pretend an end-of-image marker there and fill the rest
/// of the picture with grey; an I/O error of any kind but "unexpected end" makes it stop instead.
struct UntilTheEnd<'a> {
    rest: &'a [u8],
    ended_early: &'a Cell<bool>,
}

impl Read for UntilTheEnd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.rest.read(buffer)
    }
}

impl BufRead for UntilTheEnd<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest.is_empty() {
            self.ended_early.set(true);
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(self.rest)
    }

    fn consume(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }
}

fn open<R: BufRead>(reader: R) -> Result<Decompress<R>, DecodeError> {
    Decompress::new_reader(reader).map_err(|error| damaged(&error))
}

fn size<R>(decoder: &Decompress<R>) -> Result<(u32, u32), DecodeError> {
    // JPEG's fields are 16 bits wide.
    let (width, height) = (decoder.width() as u32, decoder.height() as u32);
    check_size(width, height)?;
    Ok((width, height))
}

fn read_rows<R>(
    rows: &mut DecompressStarted<R>,
    width: u32,
    channels: usize,
    height: u32,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let row_bytes = width as usize * channels;
    let mut left = height as usize;
    while left > 0 {
        let count = left.min(ROWS_AT_ONCE);
        let begin = out.len();
        out.resize(begin + count * row_bytes, 0);
        rows.read_scanlines_into(&mut out[begin..])
            .map_err(|error| damaged(&error))?;
        left -= count;
    }
    Ok(())
}

/// Pillow's `cmyk2rgb`: `(255 - K) - (255 - K) * C / 255` with its rounding division.
///
/// The inks are stored inverted, as Adobe does it; Pillow takes every CMYK JPEG so.
fn cmyk_to_rgb(pixel: &[u8]) -> [u8; 3] {
    let white = u32::from(pixel[3]);
    [0, 1, 2].map(|ink| {
        let product = u32::from(255 - pixel[ink]) * white + 128;
        // Never below zero: the quotient is at most `white`.
        (white - (((product >> 8) + product) >> 8)) as u8
    })
}

fn ends_early() -> DecodeError {
    DecodeError::EndsEarly {
        format: PictureFormat::Jpeg,
    }
}

fn damaged(error: &io::Error) -> DecodeError {
    DecodeError::Damaged {
        format: PictureFormat::Jpeg,
        reason: error.to_string(),
    }
}

fn fatal(payload: &(dyn Any + Send)) -> DecodeError {
    let words = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("fatal error");
    DecodeError::Damaged {
        format: PictureFormat::Jpeg,
        reason: words.trim_start_matches("libjpeg fatal error: ").to_owned(),
    }
}
