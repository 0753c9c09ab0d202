//! Finds the ONNX Runtime library, and fetches it when there is none.
//!
//! The order serves everybody: who names a library gets that one or an error; who has a Python
//! ONNX Runtime downloads nothing; who has pip or npm needs to do nothing.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use thiserror::Error;

use super::{library_version, LibraryError};
use crate::fetch::{artefacts, Artefact, Cache, Clients, Progress};

/// Names a library file of the user's own.
const LIBRARY_VARIABLE: &str = "ORT_DYLIB_PATH";
/// Names a directory with a library.
const DIRECTORY_VARIABLE: &str = "ORT_LIB_LOCATION";
/// The flag of the command line.
const LIBRARY_FLAG: &str = "--ort-lib";
/// The library's file name; a version may follow.
const LIBRARY_NAME: &str = "libonnxruntime.so";

/// Who said where the library is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// `ORT_DYLIB_PATH`.
    LibraryVariable,
    /// `ORT_LIB_LOCATION`.
    DirectoryVariable,
    /// An earlier fetch.
    Cache,
    /// A Python package on this machine.
    Python,
    /// Fetched now, from the Python package index.
    PythonPackageIndex,
    /// Fetched now, from the npm registry.
    NpmRegistry,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => LIBRARY_FLAG,
            Self::LibraryVariable => LIBRARY_VARIABLE,
            Self::DirectoryVariable => DIRECTORY_VARIABLE,
            Self::Cache => "cache",
            Self::Python => "Python's onnxruntime",
            Self::PythonPackageIndex => "Python package index",
            Self::NpmRegistry => "npm registry",
        })
    }
}

/// A place that was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The place.
    pub source: Source,
    /// What came of it.
    pub outcome: String,
    /// Whether something was there that could not be used, which a user may want to hear of even
    /// when a later place serves.
    pub was_there: bool,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.outcome)
    }
}

/// A library that can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The file.
    pub path: PathBuf,
    /// Its version, when it says one.
    pub version: Option<String>,
    /// Who said that it is there.
    pub source: Source,
    /// Its SHA-256 where it is pinned, so that nobody needs to compute it.
    pub sha256: Option<&'static str>,
    /// The places that come before and had something, but nothing usable.
    pub skipped: Vec<Attempt>,
}

/// Why there is no library.
#[derive(Debug, Error)]
pub enum LocateError {
    /// The user named a library, and it cannot be used.
    #[error("{named_by} names an ONNX Runtime library that cannot be used: {source}")]
    Named {
        /// The flag or variable.
        named_by: Source,
        /// What is wrong with it.
        source: LibraryError,
    },
    /// Nothing usable anywhere.
    #[error("{}", not_found_text(attempts))]
    NotFound {
        /// All places, in the order of the search.
        attempts: Vec<Attempt>,
    },
}

fn not_found_text(attempts: &[Attempt]) -> String {
    let package = artefacts::onnx_runtime().map_or("onnxruntime", Artefact::package);
    let list = attempts
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(
            "
  ",
        );
    format!(
        "no usable ONNX Runtime library was found:\n  {list}\n\
         to fetch it by hand: python3 -m pip download --no-deps {package} && unzip -oj onnxruntime-*.whl \
         '*/{LIBRARY_NAME}*' && export {LIBRARY_VARIABLE}=\"$(ls \"$PWD\"/{LIBRARY_NAME}*)\""
    )
}

/// Where to look. Fields can be set one by one; [`Search::from_env`] fills them as users expect.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// A library that the user named: a file, or a directory that holds it.
    pub named: Option<(Source, PathBuf)>,
    /// A directory that may hold the library.
    pub directory: Option<PathBuf>,
    /// The cache of fetched files; without it nothing is fetched.
    pub cache: Option<Cache>,
    /// Where Python, pip and npm are looked for.
    pub clients: Clients,
}

/// Finds the library, and fetches it into the user's cache when there is none.
///
/// `ort_lib` is the value of `--ort-lib`.
///
/// # Errors
/// [`LocateError`]: a named library is unusable, or nothing was found and nothing could be fetched.
pub fn locate(ort_lib: Option<&Path>, progress: &dyn Progress) -> Result<Located, LocateError> {
    Search::from_env(ort_lib).find_or_fetch(progress)
}

/// As [`locate`], but only looks: nothing is fetched and nothing is written.
///
/// # Errors
/// [`LocateError`], as [`locate`].
pub fn check(ort_lib: Option<&Path>) -> Result<Located, LocateError> {
    Search::from_env(ort_lib).find()
}

impl Search {
    /// The search that the flag and the environment ask for.
    pub fn from_env(ort_lib: Option<&Path>) -> Self {
        let variable = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            named: ort_lib
                .map(|path| (Source::Flag, path.to_path_buf()))
                .or_else(|| variable(LIBRARY_VARIABLE).map(|path| (Source::LibraryVariable, path))),
            directory: variable(DIRECTORY_VARIABLE),
            cache: Cache::locate().ok(),
            clients: Clients::from_env(),
        }
    }

    /// Looks in all places, in order, and fetches nothing.
    ///
    /// # Errors
    /// [`LocateError`].
    pub fn find(&self) -> Result<Located, LocateError> {
        let mut attempts = Vec::new();
        self.look(&mut attempts)?
            .ok_or(LocateError::NotFound { attempts })
    }

    /// Looks in all places, in order, then fetches.
    ///
    /// # Errors
    /// [`LocateError`].
    pub fn find_or_fetch(&self, progress: &dyn Progress) -> Result<Located, LocateError> {
        let mut attempts = Vec::new();
        if let Some(located) = self.look(&mut attempts)? {
            return Ok(located);
        }
        let Some(cache) = &self.cache else {
            attempts.push(Attempt {
                source: Source::PythonPackageIndex,
                outcome: "nowhere to keep it; set DETBENCH_CACHE to a directory".to_owned(),
                was_there: false,
            });
            return Err(LocateError::NotFound { attempts });
        };
        for (source, artefact) in [
            (Source::PythonPackageIndex, artefacts::onnx_runtime()),
            (Source::NpmRegistry, artefacts::onnx_runtime_npm()),
        ] {
            let outcome = artefact.and_then(|artefact| {
                artefact
                    .obtain(cache, &self.clients, progress)
                    .map(|directory| (artefact, directory))
            });
            match outcome {
                Ok((artefact, directory)) => {
                    return pinned(artefact, &directory, source, unusable(&attempts));
                }
                Err(error) => attempts.push(Attempt {
                    source,
                    outcome: error.to_string(),
                    was_there: false,
                }),
            }
        }
        Err(LocateError::NotFound { attempts })
    }

    /// The places that need no network. What was tried in vain is added to `attempts`.
    fn look(&self, attempts: &mut Vec<Attempt>) -> Result<Option<Located>, LocateError> {
        if let Some((source, path)) = &self.named {
            return examine(path, *source)
                .map(Some)
                .map_err(|error| LocateError::Named {
                    named_by: *source,
                    source: error,
                });
        }
        let mut note = |source, outcome: String, was_there| {
            attempts.push(Attempt {
                source,
                outcome,
                was_there,
            });
        };
        let mut found = None;
        match &self.directory {
            None => note(Source::DirectoryVariable, "not set".to_owned(), false),
            Some(directory) => match examine(directory, Source::DirectoryVariable) {
                Ok(located) => found = Some(located),
                Err(error) => note(Source::DirectoryVariable, error.to_string(), true),
            },
        }
        if found.is_none() {
            match self.cached() {
                Ok(located) => found = Some(located),
                Err(outcome) => note(Source::Cache, outcome, false),
            }
        }
        if found.is_none() {
            match self.python_package() {
                None => note(Source::Python, "not installed".to_owned(), false),
                Some(directory) => match examine(&directory.join("capi"), Source::Python) {
                    Ok(located) => found = Some(located),
                    Err(error) => note(Source::Python, error.to_string(), true),
                },
            }
        }
        Ok(found.map(|located| Located {
            skipped: std::mem::take(attempts),
            ..located
        }))
    }

    fn cached(&self) -> Result<Located, String> {
        let cache = self
            .cache
            .as_ref()
            .ok_or("no directory for it; set DETBENCH_CACHE")?;
        [artefacts::onnx_runtime(), artefacts::onnx_runtime_npm()]
            .into_iter()
            .flatten()
            .find_map(|artefact| {
                let directory = artefact.cached(cache)?;
                pinned(artefact, &directory, Source::Cache, Vec::new()).ok()
            })
            .ok_or_else(|| format!("nothing in {}", cache.root().display()))
    }

    /// The directory of the Python package, found without importing it: an import takes seconds.
    fn python_package(&self) -> Option<PathBuf> {
        const QUESTION: &str = "import importlib.util as u; s = u.find_spec('onnxruntime'); \
             print(s.submodule_search_locations[0] if s and s.submodule_search_locations else '')";
        ["python3", "python"].iter().find_map(|python| {
            let answer = self
                .clients
                .command(&[python, "-c", QUESTION])
                .stderr(Stdio::null())
                .output()
                .ok()
                .filter(|output| output.status.success())?;
            let directory = String::from_utf8(answer.stdout).ok()?;
            let directory = directory.trim_end();
            (!directory.is_empty()).then(|| PathBuf::from(directory))
        })
    }
}

fn unusable(attempts: &[Attempt]) -> Vec<Attempt> {
    attempts
        .iter()
        .filter(|attempt| attempt.was_there)
        .cloned()
        .collect()
}

/// A library of an artefact, whose version and sum are known.
fn pinned(
    artefact: &Artefact,
    directory: &Path,
    source: Source,
    skipped: Vec<Attempt>,
) -> Result<Located, LocateError> {
    let file = artefact.files[0];
    let path = directory.join(file.name);
    let version = library_version(&path).map_err(|error| LocateError::Named {
        named_by: source,
        source: error,
    })?;
    Ok(Located {
        path,
        version,
        source,
        sha256: Some(file.sha256),
        skipped,
    })
}

/// Looks at a file, or at the library in a directory.
fn examine(path: &Path, source: Source) -> Result<Located, LibraryError> {
    let path = if path.is_dir() {
        in_directory(path)?
    } else {
        path.to_path_buf()
    };
    let version = library_version(&path)?;
    Ok(Located {
        path,
        version,
        source,
        sha256: None,
        skipped: Vec::new(),
    })
}

/// The library in `directory` or its `lib`: the plain name first, else the highest name.
fn in_directory(directory: &Path) -> Result<PathBuf, LibraryError> {
    [directory.to_path_buf(), directory.join("lib")]
        .iter()
        .find_map(|place| {
            let is_library = |path: &PathBuf| {
                let name = path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned());
                name.is_some_and(|name| {
                    name == LIBRARY_NAME || name.starts_with(&format!("{LIBRARY_NAME}."))
                })
            };
            let mut libraries: Vec<PathBuf> = fs::read_dir(place)
                .ok()?
                .flatten()
                .map(|entry| entry.path())
                .filter(is_library)
                .collect();
            libraries.sort();
            let plain = libraries
                .iter()
                .position(|path| path.ends_with(LIBRARY_NAME));
            match plain {
                Some(position) => Some(libraries.swap_remove(position)),
                None => libraries.pop(),
            }
        })
        .ok_or_else(|| LibraryError::NoneInDirectory {
            directory: directory.to_path_buf(),
        })
}

#[cfg(test)]
mod tests {
    use super::super::library_file::samples::library;
    use super::*;
    use crate::fetch::Silent;

    fn library_in(directory: &Path, name: &str, version: &str) -> PathBuf {
        fs::create_dir_all(directory).unwrap();
        let path = directory.join(name);
        fs::write(
            &path,
            library(&["OrtGetApiBase", &format!("VERS_{version}")]),
        )
        .unwrap();
        path
    }

    /// A search on a machine that has nothing, not even Python.
    fn bare(home: &Path) -> Search {
        Search {
            cache: Some(Cache::at(home.join("cache"))),
            clients: Clients::on_path(home.join("bin")),
            ..Search::default()
        }
    }

    #[test]
    fn a_named_library_that_cannot_be_used_is_an_error_and_never_skipped() {
        let home = tempfile::tempdir().unwrap();
        let good = library_in(&home.path().join("good"), "libonnxruntime.so", "1.30.0");
        for source in [Source::Flag, Source::LibraryVariable] {
            let search = Search {
                named: Some((source, home.path().join("absent.so"))),
                directory: good.parent().map(Path::to_path_buf),
                ..bare(home.path())
            };
            let error = search.find_or_fetch(&Silent).unwrap_err();
            assert!(matches!(error, LocateError::Named { named_by, .. } if named_by == source));
            let text = error.to_string();
            assert!(
                text.contains(&source.to_string()) && text.contains("absent.so"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_named_directory_means_the_library_in_it() {
        let home = tempfile::tempdir().unwrap();
        let path = library_in(
            &home.path().join("ort/lib"),
            "libonnxruntime.so.1.30.0",
            "1.30.0",
        );
        let search = Search {
            named: Some((Source::Flag, home.path().join("ort"))),
            ..bare(home.path())
        };
        let located = search.find().unwrap();
        assert_eq!(
            (located.path, located.version.as_deref()),
            (path, Some("1.30.0"))
        );
    }

    #[test]
    fn a_python_package_that_is_too_old_is_skipped_with_a_note() {
        let home = tempfile::tempdir().unwrap();
        let package = home.path().join("site/onnxruntime");
        library_in(&package.join("capi"), "libonnxruntime.so.1.22.1", "1.22.1");
        let bin = home.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let script = format!("#!/bin/sh\necho '{}'\n", package.display());
        let install = "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", install, "sh", &script])
            .arg(bin.join("python3"))
            .status();
        assert!(status.unwrap().success());
        let LocateError::NotFound { attempts } = bare(home.path()).find().unwrap_err() else {
            panic!("nothing was named");
        };
        assert!(attempts
            .iter()
            .any(|a| a.source == Source::Python && a.outcome.contains("1.22.1")));
        library_in(&package.join("capi"), "libonnxruntime.so.1.22.1", "1.24.0");
        let located = bare(home.path()).find().unwrap();
        assert_eq!(
            (located.source, located.version.as_deref()),
            (Source::Python, Some("1.24.0"))
        );
        assert_eq!(
            located.skipped.len(),
            2,
            "the variable and the cache come before"
        );
    }

    #[test]
    fn on_a_bare_machine_one_error_lists_every_attempt_and_a_line_to_copy() {
        let home = tempfile::tempdir().unwrap();
        let text = bare(home.path())
            .find_or_fetch(&Silent)
            .unwrap_err()
            .to_string();
        for word in [
            "ORT_LIB_LOCATION: not set",
            "cache: nothing in",
            "Python's onnxruntime: not installed",
            "Python package index: cannot fetch onnxruntime==1.31.1",
            "npm registry: cannot fetch onnxruntime-node@1.30.0",
            "python3 -m pip download --no-deps onnxruntime==1.31.1",
        ] {
            assert!(text.contains(word), "{word} not in: {text}");
        }
        assert!(!home
            .path()
            .join("cache")
            .read_dir()
            .is_ok_and(|mut left| left.next().is_some()));
    }

    #[test]
    fn only_looking_writes_nothing() {
        let home = tempfile::tempdir().unwrap();
        bare(home.path()).find().unwrap_err();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }
}
