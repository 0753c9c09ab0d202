//! Reads what a shared library says about itself, without loading it.
//!
//! Loading a file that is no library of this machine, or an ONNX Runtime that is too old, can end the
//! process without a word (seen with 1.22.1). So the file's header and its table of dynamic names
//! are read first; they are small, whatever the library's size.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::LibraryError;

/// The oldest minor version of ONNX Runtime 1 whose interface we use; from the `ort` crate's API feature.
pub const MINOR_VERSION_MIN: u32 = ort::MINOR_VERSION;

/// The function that every ONNX Runtime exports.
const ENTRY_POINT: &[u8] = b"OrtGetApiBase";
/// ONNX Runtime's symbols carry this version prefix.
const SYMBOL_VERSION_PREFIX: &str = "VERS_";
/// No table of dynamic names is longer; a damaged header may claim it.
const NAMES_SIZE_MAX: u64 = 64 << 20;

/// Looks at the library at `path` and gives its version, `None` when it does not say.
///
/// # Errors
/// [`LibraryError`]: not there, no shared library, of another architecture, not ONNX Runtime, too old.
pub fn library_version(path: &Path) -> Result<Option<String>, LibraryError> {
    let unreadable = |source| LibraryError::Unreadable {
        path: path.to_path_buf(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LibraryError::NotFound {
                path: path.to_path_buf(),
            });
        }
        Err(error) => return Err(unreadable(error)),
    };
    let mut header = [0; Header::SIZE];
    let header = match file.read_exact_at(&mut header, 0) {
        Ok(()) => Header::parse(&header, path)?,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(LibraryError::NotALibrary {
                path: path.to_path_buf(),
            });
        }
        Err(error) => return Err(unreadable(error)),
    };
    let names = dynamic_names(&file, &header)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => LibraryError::Truncated {
                path: path.to_path_buf(),
            },
            _ => unreadable(error),
        })?
        .ok_or_else(|| LibraryError::NotALibrary {
            path: path.to_path_buf(),
        })?;
    let mut names = names.split(|byte| *byte == 0);
    if !names.clone().any(|name| name == ENTRY_POINT) {
        return Err(LibraryError::NotOnnxRuntime {
            path: path.to_path_buf(),
        });
    }
    let version = names
        .find_map(|name| {
            version_text(
                std::str::from_utf8(name)
                    .ok()?
                    .strip_prefix(SYMBOL_VERSION_PREFIX)?,
            )
        })
        .or_else(|| version_text(path.file_name()?.to_str()?.split_once(".so.")?.1));
    match version.as_deref().and_then(major_and_minor) {
        Some((1, minor)) if minor < MINOR_VERSION_MIN => Err(LibraryError::TooOld {
            path: path.to_path_buf(),
            found: version.unwrap_or_default(),
            needed: MINOR_VERSION_MIN,
        }),
        _ => Ok(version),
    }
}

/// `text`, when it reads as a version with two numbers at least.
fn version_text(text: &str) -> Option<String> {
    major_and_minor(text).map(|_| text.to_owned())
}

fn major_and_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// The fields of a 64-bit little-endian ELF header that lead to the dynamic names.
struct Header {
    segments_at: u64,
    segment_size: u16,
    segment_count: u16,
}

impl Header {
    const SIZE: usize = 64;

    fn parse(bytes: &[u8; Self::SIZE], path: &Path) -> Result<Self, LibraryError> {
        const CLASS_64: u8 = 2;
        const LITTLE_ENDIAN: u8 = 1;
        const SHARED_OBJECT: u16 = 3;
        if !bytes.starts_with(b"\x7fELF") {
            return Err(LibraryError::NotALibrary {
                path: path.to_path_buf(),
            });
        }
        let (class, order) = (bytes[4], bytes[5]);
        let found = match (class, order) {
            (CLASS_64, LITTLE_ENDIAN) => machine_name(u16_at(bytes, 18)),
            (CLASS_64, _) => "a big-endian machine",
            _ => "a 32-bit machine",
        };
        if found != std::env::consts::ARCH {
            return Err(LibraryError::WrongArchitecture {
                path: path.to_path_buf(),
                found,
                needed: std::env::consts::ARCH,
            });
        }
        if u16_at(bytes, 16) != SHARED_OBJECT {
            return Err(LibraryError::NotALibrary {
                path: path.to_path_buf(),
            });
        }
        Ok(Self {
            segments_at: u64_at(bytes, 32),
            segment_size: u16_at(bytes, 54),
            segment_count: u16_at(bytes, 56),
        })
    }
}

/// Names as in [`std::env::consts::ARCH`].
fn machine_name(machine: u16) -> &'static str {
    match machine {
        3 => "x86",
        21 => "powerpc64",
        22 => "s390x",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        _ => "another machine",
    }
}

/// A stretch of the file and the address where it is loaded.
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// The names of what the library exports and imports, NUL-terminated; `None` when it has no such table.
fn dynamic_names(file: &File, header: &Header) -> io::Result<Option<Vec<u8>>> {
    const LOADED: u32 = 1;
    const DYNAMIC: u32 = 2;
    const NAMES_ADDRESS: u64 = 5;
    const NAMES_SIZE: u64 = 10;
    let segments = segments(file, header)?;
    let length = file.metadata()?.len();
    if segments
        .iter()
        .any(|segment| segment.offset.saturating_add(segment.size) > length)
    {
        // The system's loader would map what is not there, and the process would end on first touch.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let Some(dynamic) = segments.iter().find(|segment| segment.kind == DYNAMIC) else {
        return Ok(None);
    };
    let entries = read_at(file, dynamic.offset, dynamic.size)?;
    let value = |tag| {
        entries
            .chunks_exact(16)
            .find(|entry| u64_at(entry, 0) == tag)
            .map(|entry| u64_at(entry, 8))
    };
    let (Some(address), Some(size)) = (value(NAMES_ADDRESS), value(NAMES_SIZE)) else {
        return Ok(None);
    };
    let holder = segments
        .iter()
        .filter(|segment| segment.kind == LOADED)
        .find(|segment| {
            address
                .checked_sub(segment.address)
                .is_some_and(|at| at < segment.size)
        });
    holder
        .map(|segment| {
            read_at(
                file,
                segment.offset.saturating_add(address - segment.address),
                size,
            )
        })
        .transpose()
}

fn segments(file: &File, header: &Header) -> io::Result<Vec<Segment>> {
    const SEGMENT_SIZE: u16 = 56;
    if header.segment_size < SEGMENT_SIZE {
        return Ok(Vec::new());
    }
    let size = u64::from(header.segment_size) * u64::from(header.segment_count);
    let table = read_at(file, header.segments_at, size)?;
    let segment = |bytes: &[u8]| Segment {
        kind: u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        offset: u64_at(bytes, 8),
        address: u64_at(bytes, 16),
        size: u64_at(bytes, 32),
    };
    Ok(table
        .chunks_exact(usize::from(header.segment_size))
        .map(segment)
        .collect())
}

fn read_at(file: &File, offset: u64, size: u64) -> io::Result<Vec<u8>> {
    if size > NAMES_SIZE_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its header is damaged",
        ));
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
pub(super) mod samples {
    /// A shared library of this machine that holds nothing but `names` in its dynamic table.
    pub fn library(names: &[&str]) -> Vec<u8> {
        let machine: u16 = if cfg!(target_arch = "aarch64") {
            183
        } else {
            62
        };
        let names: Vec<u8> = names
            .iter()
            .flat_map(|name| [name.as_bytes(), &[0]].concat())
            .collect();
        let names_at = 64 + 2 * 56 + 3 * 16;
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend(3u16.to_le_bytes());
        file.extend(machine.to_le_bytes());
        file.resize(32, 0);
        file.extend(64u64.to_le_bytes());
        file.resize(54, 0);
        file.extend(56u16.to_le_bytes());
        file.extend(2u16.to_le_bytes());
        file.resize(64, 0);
        let address = 0x1000;
        let whole = (names_at + names.len()) as u64;
        for (kind, offset, at, size) in [(1u32, 0u64, address, whole), (2, 176, 0, 48)] {
            file.extend(kind.to_le_bytes());
            file.extend([0; 4]);
            for field in [offset, at, 0, size, size, 8] {
                file.extend(field.to_le_bytes());
            }
        }
        for (tag, value) in [
            (5u64, address + names_at as u64),
            (10, names.len() as u64),
            (0, 0),
        ] {
            file.extend(tag.to_le_bytes());
            file.extend(value.to_le_bytes());
        }
        file.extend(names);
        file
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::samples::library;
    use super::*;

    fn look_at(content: &[u8]) -> Result<Option<String>, LibraryError> {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("libonnxruntime.so");
        fs::write(&path, content).unwrap();
        library_version(&path)
    }

    #[test]
    fn the_version_is_read_from_the_symbols() {
        let content = library(&["", "OrtGetApiBase", "GLIBC_2.2.5", "VERS_1.31.1"]);
        assert_eq!(look_at(&content).unwrap().as_deref(), Some("1.31.1"));
    }

    #[test]
    fn without_versioned_symbols_the_file_name_tells() {
        let scratch = tempfile::tempdir().unwrap();
        for (name, version) in [
            ("libonnxruntime.so.1.29.0", Some("1.29.0")),
            ("libonnxruntime.so.1", None),
            ("libonnxruntime.so", None),
        ] {
            let path = scratch.path().join(name);
            fs::write(&path, library(&["OrtGetApiBase"])).unwrap();
            assert_eq!(
                library_version(&path).unwrap().as_deref(),
                version,
                "{name}"
            );
        }
    }

    #[test]
    fn an_old_runtime_is_refused_with_both_versions() {
        let error = look_at(&library(&["OrtGetApiBase", "VERS_1.22.1"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("1.22.1") && error.contains("1.24"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_usable_library_is_refused_by_its_kind() {
        let good = library(&["OrtGetApiBase"]);
        let patched = |at: usize, byte: u8| {
            let mut content = good.clone();
            content[at] = byte;
            content
        };
        let kind = |content: &[u8]| look_at(content).unwrap_err();
        assert!(matches!(kind(b""), LibraryError::NotALibrary { .. }));
        assert!(matches!(
            kind(b"GROUP ( libonnxruntime.so.1 )"),
            LibraryError::NotALibrary { .. }
        ));
        assert!(matches!(
            kind(&[b'x'; 100]),
            LibraryError::NotALibrary { .. }
        ));
        assert!(
            matches!(kind(&patched(16, 2)), LibraryError::NotALibrary { .. }),
            "an executable"
        );
        assert!(matches!(
            kind(&patched(18, 243)),
            LibraryError::WrongArchitecture {
                found: "riscv64",
                ..
            }
        ));
        assert!(matches!(
            kind(&patched(4, 1)),
            LibraryError::WrongArchitecture { .. }
        ));
        assert!(matches!(
            kind(&library(&["main"])),
            LibraryError::NotOnnxRuntime { .. }
        ));
        assert!(matches!(kind(&good[..100]), LibraryError::Truncated { .. }));
        assert!(matches!(
            kind(&good[..good.len() - 1]),
            LibraryError::Truncated { .. }
        ));
        assert!(matches!(
            library_version(Path::new("/nowhere/libonnxruntime.so")),
            Err(LibraryError::NotFound { .. })
        ));
    }
}
