//! Where a picture's bytes are: a file, or a stretch of one.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a picture's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// They are a file.
    File(PathBuf),
    /// They are a stretch of a file that holds many, such as a TFRecord.
    Part {
        /// The file.
        file: Arc<Path>,
        /// Their first byte.
        offset: u64,
        /// How many.
        length: u64,
    },
}

impl Place {
    /// The file that holds them.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Part { file, .. } => file,
        }
    }

    /// How many they are.
    ///
    /// # Errors
    /// The system's.
    pub fn size_bytes(&self) -> io::Result<u64> {
        match self {
            Self::File(path) => std::fs::metadata(path).map(|facts| facts.len()),
            Self::Part { length, .. } => Ok(*length),
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` when the file has become shorter.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::File(path) => std::fs::read(path),
            Self::Part {
                file,
                offset,
                length,
            } => {
                let bytes = read_part(file, *offset, *length)?;
                if bytes.len() as u64 == *length {
                    Ok(bytes)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                }
            }
        }
    }

    /// The first `count` of them, or all if there are fewer.
    ///
    /// # Errors
    /// The system's.
    pub fn read_start(&self, count: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::File(path) => read_part(path, 0, count),
            Self::Part {
                file,
                offset,
                length,
            } => read_part(file, *offset, count.min(*length)),
        }
    }
}

fn read_part(path: &Path, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    if offset > 0 {
        file.seek(SeekFrom::Start(offset))?;
    }
    // Grows with what is there, whatever `length` says.
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Part { file, offset, .. } => {
                write!(f, "{}, the picture at byte {offset}", file.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_as_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("val-00000-of-00001");
        std::fs::write(&path, b"0123456789").unwrap();
        let part = |offset, length| Place::Part {
            file: path.as_path().into(),
            offset,
            length,
        };
        assert_eq!(part(2, 5).read().unwrap(), b"23456");
        assert_eq!(part(2, 5).size_bytes().unwrap(), 5);
        assert_eq!(Place::File(path.clone()).size_bytes().unwrap(), 10);
        assert_eq!(part(2, 5).read_start(3).unwrap(), b"234");
        assert_eq!(part(2, 5).read_start(9).unwrap(), b"23456");
        assert_eq!(Place::File(path.clone()).read_start(4).unwrap(), b"0123");
        let error = part(8, 5).read().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(part(8, 5).to_string().ends_with("the picture at byte 8"));
    }
}
