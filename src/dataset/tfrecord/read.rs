//! Reading records one after the other, each checked, in one buffer.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::{masked_crc, DATA_BYTES_MAX, FOOTER_BYTES, HEADER_BYTES};

/// The first bytes of a gzip file, in which some programs wrap their records.
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// Bytes read ahead for a record's header; its data mostly bypass this.
const READ_AHEAD: usize = 64 * 1024;

/// Why a file's records cannot be read. Records count from zero, bytes from the file's first.
#[derive(Debug, thiserror::Error)]
pub enum TfRecordError {
    /// The file cannot be read.
    #[error("{}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file ends before the record does.
    #[error(
        "{}: record {record} at byte {offset} needs {needed} bytes, but the file has only {left} more; it was cut \
         short, so copy or make it again",
        file.display()
    )]
    EndsEarly {
        /// The file.
        file: PathBuf,
        /// The record.
        record: u64,
        /// Where it begins.
        offset: u64,
        /// Bytes from there to its end, as far as is known.
        needed: u64,
        /// Bytes from there to the file's end.
        left: u64,
    },
    /// The length's checksum is another one.
    #[error(
        "{}: the length of record {record} at byte {offset} does not fit its checksum; the file is damaged or no \
         TFRecord, so copy or make it again",
        file.display()
    )]
    LengthChecksum {
        /// The file.
        file: PathBuf,
        /// The record.
        record: u64,
        /// Where it begins.
        offset: u64,
    },
    /// The data's checksum is another one.
    #[error(
        "{}: the data of record {record} at byte {offset} do not fit their checksum; the file is damaged, so copy or \
         make it again",
        file.display()
    )]
    DataChecksum {
        /// The file.
        file: PathBuf,
        /// The record.
        record: u64,
        /// Where it begins.
        offset: u64,
    },
    /// Longer than any message may be.
    #[error(
        "{}: record {record} at byte {offset} has {length} bytes of data; at most {DATA_BYTES_MAX} are read",
        file.display()
    )]
    TooLong {
        /// The file.
        file: PathBuf,
        /// The record.
        record: u64,
        /// Where it begins.
        offset: u64,
        /// What it says of itself.
        length: u64,
    },
    /// The file is compressed.
    #[error("{}: it is compressed by gzip; unpack it first (`gunzip`)", file.display())]
    Compressed {
        /// The file.
        file: PathBuf,
    },
}

/// A record whose checksums were right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its position among the file's records, from zero.
    pub number: u64,
    /// Its first byte in the file.
    pub offset: u64,
    /// What it holds.
    pub data: &'a [u8],
}

impl Record<'_> {
    /// The first byte of its data in the file.
    pub const fn data_offset(&self) -> u64 {
        self.offset + HEADER_BYTES
    }
}

/// Reads a file's records in order; each replaces the one before it in memory.
#[derive(Debug)]
pub struct RecordReader<R> {
    input: R,
    file: PathBuf,
    size_bytes: u64,
    offset: u64,
    number: u64,
    /// As long as the longest record so far, its checksum included.
    buffer: Vec<u8>,
}

impl RecordReader<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`TfRecordError::Read`].
    pub fn open(path: &Path) -> Result<Self, TfRecordError> {
        let opened = File::open(path).and_then(|file| {
            let size_bytes = file.metadata()?.len();
            Ok((BufReader::with_capacity(READ_AHEAD, file), size_bytes))
        });
        let (input, size_bytes) = opened.map_err(|source| TfRecordError::Read {
            file: path.to_owned(),
            source,
        })?;
        Ok(Self::new(input, size_bytes, path))
    }
}

impl<R: Read> RecordReader<R> {
    /// Reads from `input`, which has `size_bytes` and is called `file` in messages.
    pub fn new(input: R, size_bytes: u64, file: &Path) -> Self {
        Self {
            input,
            file: file.to_owned(),
            size_bytes,
            offset: 0,
            number: 0,
            buffer: Vec::new(),
        }
    }

    /// The next record; `None` at the end of the file.
    ///
    /// # Errors
    /// [`TfRecordError`]; nothing sensible follows one.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, TfRecordError> {
        let left = self.size_bytes - self.offset;
        if left == 0 {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES as usize];
        if left < HEADER_BYTES {
            return Err(self.ends_early(HEADER_BYTES));
        }
        self.input
            .read_exact(&mut header)
            .map_err(|source| self.read_error(source))?;
        let [l0, l1, l2, l3, l4, l5, l6, l7, c0, c1, c2, c3] = header;
        let length_bytes = [l0, l1, l2, l3, l4, l5, l6, l7];
        if masked_crc(&length_bytes) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(if self.number == 0 && header.starts_with(&GZIP) {
                TfRecordError::Compressed {
                    file: self.file.clone(),
                }
            } else {
                TfRecordError::LengthChecksum {
                    file: self.file.clone(),
                    record: self.number,
                    offset: self.offset,
                }
            });
        }
        let length = u64::from_le_bytes(length_bytes);
        if length > DATA_BYTES_MAX {
            return Err(TfRecordError::TooLong {
                file: self.file.clone(),
                record: self.number,
                offset: self.offset,
                length,
            });
        }
        // No memory is taken for what the file does not have.
        let needed = HEADER_BYTES + length + FOOTER_BYTES;
        if left < needed {
            return Err(self.ends_early(needed));
        }
        self.take(length, needed).map(Some)
    }

    fn take(&mut self, length: u64, needed: u64) -> Result<Record<'_>, TfRecordError> {
        let length = usize::try_from(length).expect("it is at most i32::MAX");
        let whole = length + FOOTER_BYTES as usize;
        if self.buffer.len() < whole {
            self.buffer.resize(whole, 0);
        }
        if let Err(source) = self.input.read_exact(&mut self.buffer[..whole]) {
            return Err(self.read_error(source));
        }
        let (data, footer) = self.buffer[..whole].split_at(length);
        let sum = u32::from_le_bytes(footer.try_into().expect("a checksum has four bytes"));
        if masked_crc(data) != sum {
            return Err(TfRecordError::DataChecksum {
                file: self.file.clone(),
                record: self.number,
                offset: self.offset,
            });
        }
        let record = Record {
            number: self.number,
            offset: self.offset,
            data,
        };
        self.offset += needed;
        self.number += 1;
        Ok(record)
    }

    fn ends_early(&self, needed: u64) -> TfRecordError {
        TfRecordError::EndsEarly {
            file: self.file.clone(),
            record: self.number,
            offset: self.offset,
            needed,
            left: self.size_bytes - self.offset,
        }
    }

    fn read_error(&self, source: io::Error) -> TfRecordError {
        TfRecordError::Read {
            file: self.file.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::RecordWriter;
    use super::*;

    /// The data of all records, or the first error's text.
    fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let mut reader = RecordReader::new(bytes, bytes.len() as u64, Path::new("val"));
        let mut found = Vec::new();
        loop {
            match reader.next_record() {
                Ok(Some(record)) => found.push(record.data.to_vec()),
                Ok(None) => return Ok(found),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn written(records: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = RecordWriter::new(&mut out);
        for record in records {
            writer.write(record).unwrap();
        }
        out
    }

    #[test]
    fn records_read_back_as_they_were_written() {
        let long = vec![7; 100_000];
        let records: [&[u8]; 4] = [b"abc", b"", &long, b"d"];
        assert_eq!(read(&written(&records)).unwrap(), records);
        assert_eq!(read(b"").unwrap(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_record_of_tensorflow_is_laid_out_as_here() {
        // One record, `foo`, as `tf.io.TFRecordWriter` writes it.
        let file = [
            3, 0, 0, 0, 0, 0, 0, 0, 0xb0, 0x99, 0x49, 0x0e, b'f', b'o', b'o', 0x61, 0x8a, 0xbe,
            0xfe,
        ];
        assert_eq!(written(&[b"foo"]), file);
    }

    #[test]
    fn damage_is_told_with_record_and_byte() {
        let whole = written(&[b"abc", b"defgh"]);
        let with = |at: usize, flip: u8| {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            read(&bytes).unwrap_err()
        };
        let told = with(19, 1);
        assert!(
            told.starts_with("val: the length of record 1 at byte 19"),
            "{told}"
        );
        let told = with(8, 1);
        assert!(
            told.starts_with("val: the length of record 0 at byte 0"),
            "{told}"
        );
        for at in [31, 35, 36, 39] {
            let told = with(at, 0x80);
            assert!(
                told.starts_with("val: the data of record 1 at byte 19"),
                "{told}"
            );
        }
        for left in 1..whole.len() - 19 {
            let told = read(&whole[..19 + left]).unwrap_err();
            let expected = format!("the file has only {left} more;");
            assert!(
                told.starts_with("val: record 1 at byte 19 needs ") && told.contains(&expected),
                "{told}"
            );
        }
    }

    #[test]
    fn a_length_beyond_the_file_or_any_message_takes_no_memory() {
        let header = |length: u64| {
            let bytes = length.to_le_bytes();
            [bytes.as_slice(), &masked_crc(&bytes).to_le_bytes()].concat()
        };
        let told = read(&header(1 << 30)).unwrap_err();
        assert!(told.contains("needs 1073741840 bytes"), "{told}");
        for length in [1 << 31, u64::MAX, u64::MAX - 15] {
            let told = read(&header(length)).unwrap_err();
            assert!(told.contains("at most 2147483647"), "{told}");
        }
        let told = read(&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap_err();
        assert!(told.contains("gzip"), "{told}");
    }
}
