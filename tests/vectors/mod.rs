//! Where recorded vectors are: this repository's, and those of the folders named in
//! `DETBENCH_GOLDEN` (separated as in `PATH`, each laid out like `tests/golden`).
//!
//! A user's folder may lack anything and hold anything: what is not there or not understood is
//! skipped by name. What this repository holds must be understood.

#![allow(dead_code, reason = "each test uses what it needs")]

use std::path::{Path, PathBuf};

/// One of the folders that may hold vectors.
#[derive(Debug, Clone)]
pub struct Root {
    /// The folder.
    pub path: PathBuf,
    /// Whether it is this repository's.
    pub is_own: bool,
}

/// This repository's folder, then the user's, each named on stderr.
pub fn roots() -> Vec<Root> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let more = std::env::var_os("DETBENCH_GOLDEN").unwrap_or_default();
    let more = std::env::split_paths(&more).filter(|path| !path.as_os_str().is_empty());
    let mut roots = vec![Root {
        path: own,
        is_own: true,
    }];
    for path in more {
        eprintln!("DETBENCH_GOLDEN: {}", path.display());
        let is_own = false;
        roots.push(Root { path, is_own });
    }
    roots
}

impl Root {
    /// The entries of a sub-folder by name; none where it is not there, which is said.
    pub fn entries(&self, folder: &str) -> Vec<PathBuf> {
        let folder = self.path.join(folder);
        let Ok(entries) = std::fs::read_dir(&folder) else {
            self.skip(&folder, "it is not there");
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        // Beside our own vectors stands what explains them.
        let is_text = |path: &PathBuf| {
            path.extension()
                .is_some_and(|end| end == "md" || end == "txt")
        };
        paths.retain(|path| !(self.is_own && is_text(path)));
        paths.sort();
        paths
    }

    /// Says that something of a user's is passed over.
    ///
    /// # Panics
    /// When it is this repository's own.
    pub fn skip(&self, path: &Path, why: &str) {
        assert!(!self.is_own, "{}: {why}", path.display());
        eprintln!("skipped {}: {why}", path.display());
    }
}
