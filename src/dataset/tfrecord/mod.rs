//! TFRecord files: records one behind the other, each with checksums, whatever is inside.
//!
//! ```text
//! u64 length | u32 checksum of the length | length bytes of data | u32 checksum of the data
//! ```
//!
//! All numbers are little-endian. A checksum is the CRC-32C of the bytes, rotated and moved by a constant
//! so that a file of files does not look like its own sum. *Source*: TensorFlow's documentation of the
//! format (`core/lib/io/record_writer.h`).

pub mod example;
mod read;
mod write;

pub use read::{Record, RecordReader, TfRecordError};
pub use write::RecordWriter;

/// Bytes of a record's length and its checksum.
const HEADER_BYTES: u64 = 12;

/// Bytes of the data's checksum.
const FOOTER_BYTES: u64 = 4;

/// No record is longer: protocol buffers end at 2 GiB.
const DATA_BYTES_MAX: u64 = i32::MAX as u64;

/// The constant of the mask.
const MASK_DELTA: u32 = 0xA282_EAD8;

/// The masked CRC-32C of some bytes.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(MASK_DELTA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_published_examples() {
        // RFC 3720, B.4: 32 bytes of zeros, of ones, and 0 to 31.
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c::crc32c(&[0xFF; 32]), 0x62A8_AB43);
        let counting: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c::crc32c(&counting), 0x46DD_794E);
        // The mask by hand: rotated to the right by 15, then the constant added.
        let crc: u32 = 0x8A91_36AA;
        let rotated = (crc / (1 << 15)) + (crc % (1 << 15)) * (1 << 17);
        assert_eq!(masked_crc(&[0; 32]), rotated.wrapping_add(0xA282_EAD8));
    }
}
