//! PNG, with the samples widened and narrowed as Pillow does it.
//!
//! The raw samples are converted here and not by the decoder's own transformations, because those
//! round 16-bit samples and refuse palette indices that Pillow takes as black.

use std::io::{self, Cursor};

use png::{BitDepth, ColorType, Decoder, DecodingError, Info};

use super::{check_size, DecodeError, Picture, PictureFormat};

/// Deflate turns a byte into at most this many, so a shorter file cannot hold what it promises.
const EXPANSION_MAX: u64 = 1032;

pub(super) fn decode_into(bytes: &[u8], picture: &mut Picture) -> Result<(), DecodeError> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    let info = decoder.read_header_info().map_err(failed)?;
    let (width, height) = size(info)?;
    if info.raw_bytes() as u64 / EXPANSION_MAX > bytes.len() as u64 {
        return Err(ends_early());
    }
    let mut reader = decoder.read_info().map_err(failed)?;
    let length = reader.output_buffer_size().ok_or_else(too_large)?;
    let mut raw = vec![0; length];
    let frame = reader.next_frame(&mut raw).map_err(failed)?;
    if (frame.width, frame.height) != (width, height) {
        return Err(damaged("the first frame does not fill the picture"));
    }
    let samples = Samples {
        color: frame.color_type,
        depth: frame.bit_depth,
        palette: reader.info().palette.as_deref().unwrap_or(&[]),
    };
    (picture.width, picture.height) = (width, height);
    picture
        .rgb
        .reserve_exact(width as usize * height as usize * 3);
    for row in raw.chunks_exact(frame.line_size) {
        samples.append_row(row, width as usize, &mut picture.rgb);
    }
    Ok(())
}

pub(super) fn read_size(bytes: &[u8]) -> Result<(u32, u32), DecodeError> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    size(decoder.read_header_info().map_err(failed)?)
}

fn size(info: &Info<'_>) -> Result<(u32, u32), DecodeError> {
    check_size(info.width, info.height)?;
    Ok((info.width, info.height))
}

/// How a row's bytes are to be read.
struct Samples<'a> {
    color: ColorType,
    depth: BitDepth,
    palette: &'a [u8],
}

impl Samples<'_> {
    /// Appends `width` RGB pixels. Alpha and `tRNS` are dropped, as `convert("RGB")` drops them.
    fn append_row(&self, row: &[u8], width: usize, rgb: &mut Vec<u8>) {
        let wide = self.depth == BitDepth::Sixteen;
        match self.color {
            ColorType::Grayscale if wide => {
                // Pillow's I;16 clips to 255; every other 16-bit kind keeps the high byte.
                let grey = |pair: &[u8]| if pair[0] == 0 { pair[1] } else { 255 };
                rgb.extend(row.chunks_exact(2).flat_map(|pair| [grey(pair); 3]));
            }
            ColorType::Grayscale => {
                let bits = self.depth as usize;
                let white = u8::MAX >> (8 - bits);
                let unpacked = unpack(row, bits, width);
                rgb.extend(unpacked.flat_map(|sample| [sample * (255 / white); 3]));
            }
            ColorType::Indexed => {
                let indices = unpack(row, self.depth as usize, width);
                rgb.extend(indices.flat_map(|index| self.color_of(index)));
            }
            ColorType::GrayscaleAlpha => {
                let pixels = row.chunks_exact(if wide { 4 } else { 2 });
                rgb.extend(pixels.flat_map(|pixel| [pixel[0]; 3]));
            }
            ColorType::Rgb if !wide => rgb.extend_from_slice(row),
            ColorType::Rgb | ColorType::Rgba => {
                let step = 1 + usize::from(wide);
                let pixels = row.chunks_exact(self.color.samples() * step);
                rgb.extend(pixels.flat_map(|pixel| [pixel[0], pixel[step], pixel[2 * step]]));
            }
        }
    }

    /// A colour of the palette; black beyond its end.
    fn color_of(&self, index: u8) -> [u8; 3] {
        let begin = usize::from(index) * 3;
        self.palette
            .get(begin..begin + 3)
            .map_or([0; 3], |color| [color[0], color[1], color[2]])
    }
}

/// The first `width` samples of `bits` bits (1, 2, 4 or 8), the high bits of a byte first.
fn unpack(row: &[u8], bits: usize, width: usize) -> impl Iterator<Item = u8> + '_ {
    let mask = u8::MAX >> (8 - bits);
    (0..width).map(move |x| {
        let bit = x * bits;
        row[bit / 8] >> (8 - bits - bit % 8) & mask
    })
}

fn failed(error: DecodingError) -> DecodeError {
    match error {
        DecodingError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            ends_early()
        }
        DecodingError::LimitsExceeded => too_large(),
        DecodingError::IoError(_) | DecodingError::Format(_) | DecodingError::Parameter(_) => {
            damaged(&error.to_string())
        }
    }
}

fn ends_early() -> DecodeError {
    DecodeError::EndsEarly {
        format: PictureFormat::Png,
    }
}

fn too_large() -> DecodeError {
    damaged("a row or a text chunk is too large")
}

fn damaged(reason: &str) -> DecodeError {
    DecodeError::Damaged {
        format: PictureFormat::Png,
        reason: reason.to_owned(),
    }
}
