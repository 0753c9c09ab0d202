//! Files that are there whole or not at all.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::ImportCommandError;

/// A file that appears under its name only when it is complete.
pub(super) struct Pending {
    path: PathBuf,
    file: NamedTempFile,
}

impl Pending {
    pub(super) fn new(path: &Path, force: bool) -> Result<Self, ImportCommandError> {
        let path = path.to_owned();
        if path.is_dir() || (!force && path.exists()) {
            return Err(ImportCommandError::Exists { path });
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // As any new file, subject to the user's umask; temporary files are private otherwise.
        let permissions = std::fs::Permissions::from_mode(0o666);
        let file = tempfile::Builder::new()
            .prefix(".detbench-import-")
            .permissions(permissions)
            .tempfile_in(folder);
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(ImportCommandError::Write { path, source }),
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ImportCommandError> {
        self.file
            .write_all(bytes)
            .map_err(|source| ImportCommandError::Write {
                path: self.path.clone(),
                source,
            })
    }

    pub(super) fn persist(self, force: bool) -> Result<PathBuf, ImportCommandError> {
        let moved = if force {
            self.file.persist(&self.path)
        } else {
            self.file.persist_noclobber(&self.path)
        };
        match moved {
            Ok(_) => Ok(self.path),
            Err(error) => Err(ImportCommandError::Write {
                path: self.path,
                source: error.error,
            }),
        }
    }
}
