//! A file that appears under its name only when it is complete, and overwrites nothing unasked.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum NewFileError {
    /// Something would be overwritten.
    #[error("{} exists already; pass --force to replace it or choose another --output", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A folder has that name.
    #[error("{} is a folder; choose another --output", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A file on its way; dropped before [`Self::persist`], it leaves nothing.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    file: NamedTempFile,
    force: bool,
}

impl NewFile {
    /// Claims a place beside `path`.
    ///
    /// # Errors
    /// [`NewFileError`]: `path` is there and `force` is not given, or its folder cannot be written.
    pub fn create(path: &Path, force: bool) -> Result<Self, NewFileError> {
        let path = path.to_owned();
        if path.is_dir() {
            return Err(NewFileError::Folder { path });
        }
        if !force && path.exists() {
            return Err(NewFileError::Exists { path });
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // As any new file, subject to the user's umask; temporary files are private otherwise.
        let permissions = std::fs::Permissions::from_mode(0o666);
        let file = tempfile::Builder::new()
            .prefix(".detbench-new-")
            .permissions(permissions)
            .tempfile_in(folder);
        match file {
            Ok(file) => Ok(Self { path, file, force }),
            Err(source) => Err(NewFileError::Write { path, source }),
        }
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// [`NewFileError::Write`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), NewFileError> {
        self.file
            .write_all(bytes)
            .map_err(|source| NewFileError::Write {
                path: self.path.clone(),
                source,
            })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`NewFileError`]: something has taken the name meanwhile, or the system refuses.
    pub fn persist(self) -> Result<PathBuf, NewFileError> {
        let moved = if self.force {
            self.file.persist(&self.path)
        } else {
            self.file.persist_noclobber(&self.path)
        };
        match moved {
            Ok(_) => Ok(self.path),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(NewFileError::Exists { path: self.path })
            }
            Err(error) => Err(NewFileError::Write {
                path: self.path,
                source: error.error,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_taken_meanwhile_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.onnx");
        let mut late = NewFile::create(&path, false).unwrap();
        late.write(b"late").unwrap();
        std::fs::write(&path, "first").unwrap();
        let error = late.persist().unwrap_err();
        assert!(matches!(error, NewFileError::Exists { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        let mut forced = NewFile::create(&path, true).unwrap();
        forced.write(b"forced").unwrap();
        assert_eq!(forced.persist().unwrap(), path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "forced");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let folder = NewFile::create(dir.path(), true).unwrap_err();
        assert!(matches!(folder, NewFileError::Folder { .. }), "{folder}");
    }
}
