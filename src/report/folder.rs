//! The run folder: made before anything is measured, never overwritten, never half-written.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use tempfile::NamedTempFile;

/// Why the run folder could not be made or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder cannot be made.
    #[error("the run folder {} cannot be made: {source}; pass --output-dir with a folder that can be written", path.display())]
    Make {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file in it cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A folder of one run's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes `<base>/<UTC time>-<name>/`; a second run within the same second gets a number.
    ///
    /// # Errors
    /// [`FolderError::Make`] when `base` cannot be made or written.
    pub fn create(base: &Path, name: &str, now: SystemTime) -> Result<Self, FolderError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FolderError::Make { path, source }
        };
        fs::create_dir_all(base).map_err(failed(base))?;
        let stem = format!("{}-{}", utc_stamp(now), safe(name));
        for attempt in 1_u32.. {
            let folder = match attempt {
                1 => base.join(&stem),
                number => base.join(format!("{stem}-{number}")),
            };
            match fs::create_dir(&folder) {
                Ok(()) => {
                    let folder = Self { path: folder };
                    folder.check_writable()?;
                    return Ok(folder);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&folder)(error)),
            }
        }
        unreachable!("some number is free")
    }

    fn check_writable(&self) -> Result<(), FolderError> {
        NamedTempFile::new_in(&self.path)
            .map(drop)
            .map_err(|source| FolderError::Make {
                path: self.path.clone(),
                source,
            })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it, made if need be.
    ///
    /// # Errors
    /// [`FolderError::Make`].
    pub fn sub(&self, name: &str) -> Result<Self, FolderError> {
        let path = self.path.join(safe(name));
        fs::create_dir_all(&path).map_err(|source| FolderError::Make {
            path: path.clone(),
            source,
        })?;
        Ok(Self { path })
    }

    /// Writes a file whole: under another name first, so that a reader never sees a part of it.
    ///
    /// # Errors
    /// [`FolderError::Write`]; what was there before is still there then.
    pub fn write(
        &self,
        name: &str,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), FolderError> {
        let path = self.path.join(name);
        let attempt = || {
            let mut out = io::BufWriter::new(NamedTempFile::new_in(&self.path)?);
            fill(&mut out)?;
            let whole = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            readable_by_all(whole.as_file())?;
            whole.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        attempt().map_err(|source| FolderError::Write {
            path: path.clone(),
            source,
        })
    }

    /// Writes a value as indented JSON with a line's end; all of it or nothing.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), FolderError> {
        self.write(name, |out| {
            serde_json::to_writer_pretty(&mut *out, value)?;
            out.write_all(b"\n")
        })
    }
}

/// Temporary files are private; results are ordinary files.
fn readable_by_all(file: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

/// A name for a folder out of any text.
fn safe(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c,
            _ => '_',
        })
        .collect()
}

/// `2026-11-22T00:45:00Z`.
pub fn utc_iso(now: SystemTime) -> String {
    humantime::format_rfc3339_seconds(now).to_string()
}

/// `20261122T004500Z`.
pub fn utc_stamp(now: SystemTime) -> String {
    utc_iso(now).replace(['-', ':'], "")
}

/// `20261122_004500`, as Intel's log files are named.
pub fn utc_underscored(now: SystemTime) -> String {
    utc_stamp(now).replace('T', "_").replace('Z', "")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_written_as_each_reader_expects() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_399);
        assert_eq!(utc_iso(now), "2000-02-28T23:59:59Z");
        assert_eq!(utc_stamp(now), "20000228T235959Z");
        assert_eq!(utc_underscored(now), "20000228_235959");
    }

    #[test]
    fn two_runs_in_one_second_get_two_folders_and_nothing_is_overwritten() {
        let base = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH;
        let first = RunFolder::create(base.path(), "a model/x", now).unwrap();
        let second = RunFolder::create(base.path(), "a model/x", now).unwrap();
        assert_ne!(first, second);
        assert!(first.path().ends_with("19700101T000000Z-a_model_x"));
        first.write("run.json", |out| out.write_all(b"{}")).unwrap();
        let failed = first.write("run.json", |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        let kept = fs::read_to_string(first.path().join("run.json")).unwrap();
        assert_eq!(kept, "{}");
        assert_eq!(fs::read_dir(first.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_base_that_is_a_file_is_refused_with_what_to_do() {
        let base = tempfile::NamedTempFile::new().unwrap();
        let error = RunFolder::create(base.path(), "x", SystemTime::UNIX_EPOCH).unwrap_err();
        assert!(error.to_string().contains("--output-dir"), "{error}");
    }
}
