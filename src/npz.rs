//! `NumPy`'s archives (`.npz`): a zip of `.npy` arrays, as far as raw heads need them.
//!
//! Arrays are little-endian f32 or u8 in C order, of any rank.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::tensor::{TensorBuffer, TensorView};

/// Why an archive is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum NpzError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Not a zip, or one that was cut short.
    #[error("{} is not a complete .npz archive: {source}; write it anew with numpy.savez", path.display())]
    NotAnArchive {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        source: ZipError,
    },
    /// An array is not in the archive.
    #[error("{} has no array `{array}`; it holds {}", path.display(), listed(present))]
    Missing {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// The arrays that are there.
        present: Vec<String>,
    },
    /// An array's bytes end early, go on too long, or are no array at all.
    #[error("array `{array}` in {} is not a complete .npy array", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
    },
    /// An array that is larger than any detector's heads.
    #[error("array `{array}` in {} has {bytes} bytes, but at most {ARRAY_BYTES_MAX} are read; split the batch", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// Its size, as its shape says.
        bytes: usize,
    },
    /// An array of another type or order.
    #[error(
        "array `{array}` in {} has type `{found}`, but should be float32 or uint8, little-endian; convert it with .astype",
        path.display()
    )]
    Type {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
        /// `NumPy`'s name of the type.
        found: String,
    },
    /// An array whose first axis changes fastest.
    #[error(
        "array `{array}` in {} is in Fortran order; save numpy.ascontiguousarray of it",
        path.display()
    )]
    Order {
        /// The file.
        path: PathBuf,
        /// The array.
        array: String,
    },
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// An array of an archive.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Length of each axis, outermost first.
    pub shape: Vec<i64>,
    /// The elements, row-major.
    pub elements: TensorBuffer,
}

impl Array {
    /// The array as a tensor.
    pub fn view(&self) -> TensorView<'_> {
        TensorView {
            shape: &self.shape,
            data: self.elements.data(),
        }
    }
}

/// An archive that is open for reading.
pub struct Npz {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
}

impl Npz {
    /// Opens an archive.
    ///
    /// # Errors
    /// [`NpzError::Read`], [`NpzError::NotAnArchive`].
    pub fn open(path: &Path) -> Result<Self, NpzError> {
        let read = |source| NpzError::Read {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(read)?;
        // A folder opens, but does not seek to an end that makes sense.
        if file.metadata().map_err(read)?.is_dir() {
            return Err(read(io::ErrorKind::IsADirectory.into()));
        }
        file.rewind().map_err(read)?;
        let archive =
            ZipArchive::new(BufReader::new(file)).map_err(|source| NpzError::NotAnArchive {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self {
            path: path.to_owned(),
            archive,
        })
    }

    /// Reads the array called `name`.
    ///
    /// # Errors
    /// [`NpzError`] naming file and array.
    pub fn array(&mut self, name: &str) -> Result<Array, NpzError> {
        let Self { path, archive } = self;
        let malformed = || NpzError::Malformed {
            path: path.clone(),
            array: name.to_owned(),
        };
        let present: Vec<String> = archive
            .file_names()
            .filter_map(Result::ok)
            .map(|entry| entry.strip_suffix(".npy").unwrap_or(&entry).to_owned())
            .collect();
        let mut entry = match archive.by_name(&format!("{name}.npy")) {
            Ok(entry) => entry,
            Err(ZipError::FileNotFound) => {
                return Err(NpzError::Missing {
                    path: path.clone(),
                    array: name.to_owned(),
                    present,
                })
            }
            Err(source) => {
                return Err(NpzError::NotAnArchive {
                    path: path.clone(),
                    source,
                })
            }
        };
        let header = Header::read(&mut entry).ok_or_else(malformed)?;
        if header.is_fortran {
            return Err(NpzError::Order {
                path: path.clone(),
                array: name.to_owned(),
            });
        }
        let count = header
            .shape
            .iter()
            .try_fold(1_usize, |count, &axis| {
                count.checked_mul(usize::try_from(axis).ok()?)
            })
            .ok_or_else(malformed)?;
        let unpacked = entry.size();
        let size_bytes = |each: usize| {
            let bytes = count.checked_mul(each).ok_or_else(malformed)?;
            if bytes > ARRAY_BYTES_MAX {
                return Err(NpzError::TooLarge {
                    path: path.clone(),
                    array: name.to_owned(),
                    bytes,
                });
            }
            // A shape that the archive itself belies takes no memory.
            if bytes as u64 > unpacked {
                return Err(malformed());
            }
            Ok(bytes)
        };
        let elements = match header.descr.as_str() {
            "<f4" => {
                let bytes = exactly(&mut entry, size_bytes(4)?).ok_or_else(malformed)?;
                let (numbers, _) = bytes.as_chunks();
                TensorBuffer::F32(numbers.iter().copied().map(f32::from_le_bytes).collect())
            }
            "|u1" => TensorBuffer::U8(exactly(&mut entry, size_bytes(1)?).ok_or_else(malformed)?),
            other => {
                return Err(NpzError::Type {
                    path: path.clone(),
                    array: name.to_owned(),
                    found: other.to_owned(),
                })
            }
        };
        Ok(Array {
            shape: header.shape,
            elements,
        })
    }
}

/// All that is left of `entry`, if it is `len` bytes and its checksum holds.
fn exactly(entry: &mut impl Read, len: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than announced is asked for, so that a longer entry is noticed.
    entry
        .take((len as u64).saturating_add(1))
        .read_to_end(&mut bytes)
        .ok()?;
    (bytes.len() == len).then_some(bytes)
}

/// Larger arrays are refused before anything is read: a few kilobytes of a packed file can stand for any number of
/// bytes. A batch of 50 pictures with 51 150 anchors and 91 columns fits.
const ARRAY_BYTES_MAX: usize = 1 << 30;

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header that is believed; `NumPy`'s own limit is 10 000.
const HEADER_BYTES_MAX: u32 = 65_536;

struct Header {
    descr: String,
    is_fortran: bool,
    shape: Vec<i64>,
}

impl Header {
    fn read(entry: &mut impl Read) -> Option<Self> {
        let mut start = [0; 8];
        entry.read_exact(&mut start).ok()?;
        let length = match start {
            [magic @ .., 1, _] if magic == *MAGIC => {
                let mut length = [0; 2];
                entry.read_exact(&mut length).ok()?;
                u32::from(u16::from_le_bytes(length))
            }
            [magic @ .., 2 | 3, _] if magic == *MAGIC => {
                let mut length = [0; 4];
                entry.read_exact(&mut length).ok()?;
                u32::from_le_bytes(length)
            }
            _ => return None,
        };
        if length > HEADER_BYTES_MAX {
            return None;
        }
        let mut text = vec![0; length as usize];
        entry.read_exact(&mut text).ok()?;
        Self::parse(&String::from_utf8(text).ok()?)
    }

    /// A Python dict with three keys; spaces carry no meaning.
    fn parse(text: &str) -> Option<Self> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (_, rest) = text.split_once("'descr':")?;
        let descr = match rest.strip_prefix('\'') {
            Some(rest) => rest.split_once('\'')?.0.to_owned(),
            // A record type; the error quotes it.
            None => rest.split_once(",'fortran")?.0.to_owned(),
        };
        let (_, rest) = text.split_once("'shape':(")?;
        let axes = rest.split_once(')')?.0;
        let shape = axes
            .split(',')
            .filter(|axis| !axis.is_empty())
            .map(|axis| axis.parse().ok())
            .collect::<Option<Vec<i64>>>()?;
        let is_fortran = text.contains("'fortran_order':True");
        // Along a single axis both orders are one.
        let has_order = shape.iter().filter(|&&axis| axis != 1).count() > 1;
        Some(Self {
            descr,
            is_fortran: is_fortran && has_order,
            shape,
        })
    }
}

/// Writes an archive of the given arrays, uncompressed as `numpy.savez` does.
///
/// # Errors
/// [`NpzError::Write`].
pub fn write_npz(path: &Path, arrays: &[(&str, TensorView<'_>)]) -> Result<(), NpzError> {
    let failed = |source| NpzError::Write {
        path: path.to_owned(),
        source,
    };
    let mut zip = ZipWriter::new(io::BufWriter::new(File::create(path).map_err(failed)?));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, tensor) in arrays {
        zip.start_file(format!("{name}.npy"), options)
            .map_err(|error| failed(error.into()))?;
        zip.write_all(&npy(*tensor)).map_err(failed)?;
    }
    let mut file = zip.finish().map_err(|error| failed(error.into()))?;
    file.flush().map_err(failed)
}

/// A tensor as the bytes of a `.npy` file.
fn npy(tensor: TensorView<'_>) -> Vec<u8> {
    use crate::tensor::TensorData;
    let (descr, data): (&str, Vec<u8>) = match tensor.data {
        TensorData::F32(data) => ("<f4", data.iter().flat_map(|v| v.to_le_bytes()).collect()),
        TensorData::U8(data) => ("|u1", data.to_vec()),
        TensorData::I64(data) => ("<i8", data.iter().flat_map(|v| v.to_le_bytes()).collect()),
    };
    let lengths: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
    let mut axes = lengths.join(", ");
    if lengths.len() == 1 {
        // A tuple of one, as Python writes it.
        axes.push(',');
    }
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({axes}), }}");
    // The data begin at a multiple of 64; a line feed ends the header.
    let used = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(used.next_multiple_of(64) - used));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    let length = u16::try_from(header.len()).expect("the header is one short line");
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::TensorData;

    const FLOATS: TensorView<'_> = TensorView {
        shape: &[1, 2, 3],
        data: TensorData::F32(&[0.0, -1.5, f32::INFINITY, 1e-40, 5.0, 6.0]),
    };
    const BYTES: TensorView<'_> = TensorView {
        shape: &[4],
        data: TensorData::U8(&[0, 1, 254, 255]),
    };

    fn archive(folder: &tempfile::TempDir) -> PathBuf {
        let path = folder.path().join("raw.npz");
        write_npz(&path, &[("floats", FLOATS), ("bytes", BYTES)]).unwrap();
        path
    }

    #[test]
    fn arrays_survive_writing_and_reading() {
        let folder = tempfile::tempdir().unwrap();
        let mut npz = Npz::open(&archive(&folder)).unwrap();
        assert_eq!(npz.array("floats").unwrap().view(), FLOATS);
        assert_eq!(npz.array("bytes").unwrap().view(), BYTES);
        let error = npz.array("scores").err().unwrap().to_string();
        assert!(
            error.ends_with("has no array `scores`; it holds floats, bytes"),
            "{error}"
        );
    }

    #[test]
    fn an_archive_that_was_cut_short_is_refused_wherever_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = archive(&folder);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let read = Npz::open(&path).and_then(|mut npz| npz.array("bytes"));
            assert!(read.is_err(), "{length} of {} bytes", whole.len());
        }
    }

    /// An archive with one packed array of zeros whose header says `shape`.
    fn packed(folder: &tempfile::TempDir, shape: &str) -> PathBuf {
        let path = folder.path().join("packed.npz");
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        let options =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        archive.start_file("boxes.npy", options).unwrap();
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n");
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        let head = [&MAGIC[..], &[1, 0], &length, header.as_bytes()].concat();
        archive.write_all(&head).unwrap();
        archive.write_all(&vec![0; 1 << 20]).unwrap();
        archive.finish().unwrap();
        path
    }

    #[test]
    fn a_shape_beyond_the_archives_own_bytes_or_beyond_reason_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |shape: &str| {
            let path = packed(&folder, shape);
            let mut npz = Npz::open(&path).unwrap();
            npz.array("boxes").err().unwrap().to_string()
        };
        for shape in ["(100000000, 1)", "(4611686018427387904, 4)", "(-1, 4)"] {
            let error = refused(shape);
            assert!(
                error.contains("not a complete .npy array"),
                "{shape}: {error}"
            );
        }
        let error = refused("(134217728, 4)");
        assert!(error.contains("2147483648 bytes"), "{error}");
    }

    #[test]
    fn headers_of_numpy_are_understood() {
        let header =
            Header::parse("{'descr': '<f4', 'fortran_order': False, 'shape': (), }\n").unwrap();
        assert_eq!((header.descr.as_str(), header.shape.len()), ("<f4", 0));
        let header =
            Header::parse("{'descr': '|u1', 'fortran_order': True, 'shape': (3, 1), }").unwrap();
        assert_eq!((header.is_fortran, header.shape), (false, vec![3, 1]));
        let header =
            Header::parse("{'descr': '<f8', 'fortran_order': True, 'shape': (3, 2)}").unwrap();
        assert_eq!((header.descr.as_str(), header.is_fortran), ("<f8", true));
        assert!(Header::parse("{'descr': '<f8', 'shape': (x,)}").is_none());
    }
}
