//! The cache: a directory per artefact, complete or absent, never half written.
//!
//! Files are staged in a temporary directory beside their final place, verified, and moved there
//! by one rename. Concurrent processes cannot break each other: who comes second finds the place
//! taken by equal files and drops its own.

use std::ffi::OsString;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::artefacts::{Artefact, PinnedFile};
use super::FetchError;

/// The list of verified files in an artefact's directory; written before the directory is moved in place.
const MARKER: &str = "VERIFIED";
/// Temporary directories carry this prefix.
const STAGING_PREFIX: &str = ".staging-";
/// A staging directory of this age belongs to a process that was killed.
const STAGING_AGE_MAX: Duration = Duration::from_hours(24);
/// Two processes that repair the same artefact meet at most this often.
const PUBLISH_ATTEMPTS: usize = 5;

/// The directory that holds everything fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// What the cache holds of an artefact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheState {
    /// Every file is there.
    Complete,
    /// The artefact was never fetched.
    Missing,
    /// A file is absent, or is not the pinned one.
    Damaged {
        /// The offending file.
        file: PathBuf,
    },
}

impl Cache {
    /// The user's cache: `DETBENCH_CACHE`, else `$XDG_CACHE_HOME/detbench`, else `~/.cache/detbench`.
    ///
    /// Nothing is created before something is fetched.
    ///
    /// # Errors
    /// [`FetchError::NoCacheDirectory`] when none of the three variables is set.
    pub fn locate() -> Result<Self, FetchError> {
        Self::choose(|name| std::env::var_os(name))
    }

    /// The cache at `root`, which need not exist.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The cache's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn choose(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, FetchError> {
        let named = |name| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        named("DETBENCH_CACHE")
            .or_else(|| {
                // The XDG specification says that relative paths are to be ignored.
                named("XDG_CACHE_HOME")
                    .filter(|path| path.is_absolute())
                    .map(|path| path.join("detbench"))
            })
            .or_else(|| named("HOME").map(|path| path.join(".cache").join("detbench")))
            .map(Self::at)
            .ok_or(FetchError::NoCacheDirectory)
    }

    /// Where `artefact` is or would be.
    pub fn directory(&self, artefact: &Artefact) -> PathBuf {
        self.root.join(artefact.directory)
    }

    /// Whether `artefact` is there, by its marker and its files' sizes: no file is read in full.
    pub fn state(&self, artefact: &Artefact) -> CacheState {
        let directory = self.directory(artefact);
        let marker = directory.join(MARKER);
        let Ok(found) = fs::read_to_string(&marker) else {
            return if directory.exists() {
                CacheState::Damaged { file: marker }
            } else {
                CacheState::Missing
            };
        };
        if found != marker_text(artefact.files) {
            return CacheState::Damaged { file: marker };
        }
        artefact
            .files
            .iter()
            .map(|file| (directory.join(file.name), file.size_bytes))
            .find(|(path, size)| {
                !fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == *size)
            })
            .map_or(CacheState::Complete, |(file, _)| CacheState::Damaged {
                file,
            })
    }

    /// As [`Cache::state`], and every file's SHA-256 is computed anew.
    pub fn state_in_full(&self, artefact: &Artefact) -> CacheState {
        let directory = self.directory(artefact);
        match self.state(artefact) {
            CacheState::Complete => artefact
                .files
                .iter()
                .map(|file| (directory.join(file.name), file.sha256))
                .find(|(path, pinned)| !sha256_of_file(path).is_ok_and(|sum| sum == *pinned))
                .map_or(CacheState::Complete, |(file, _)| CacheState::Damaged {
                    file,
                }),
            other => other,
        }
    }

    /// Removes what is there of `artefact`, as a whole, so that it is fetched anew.
    ///
    /// # Errors
    /// [`FetchError::CacheAccess`] when the cache cannot be written.
    pub fn discard(&self, artefact: &Artefact) -> Result<(), FetchError> {
        let directory = self.directory(artefact);
        if !directory.exists() {
            return Ok(());
        }
        let trash = self.stage()?;
        fs::rename(&directory, trash.path().join("discarded"))
            .map_err(|source| FetchError::access("remove", &directory, source))
    }

    /// A temporary directory on the cache's file system, gone when it is dropped.
    pub(super) fn stage(&self) -> Result<TempDir, FetchError> {
        fs::create_dir_all(&self.root)
            .map_err(|source| FetchError::access("create", &self.root, source))?;
        self.sweep();
        tempfile::Builder::new()
            .prefix(STAGING_PREFIX)
            .tempdir_in(&self.root)
            .map_err(|source| {
                FetchError::access("create a temporary directory in", &self.root, source)
            })
    }

    /// Moves `staged`, a directory that holds `artefact`'s files and nothing else, to its place.
    ///
    /// # Errors
    /// [`FetchError::WrongSum`] when a file is not the pinned one: nothing is moved then.
    pub(super) fn publish(
        &self,
        artefact: &Artefact,
        staged: &Path,
    ) -> Result<PathBuf, FetchError> {
        for file in artefact.files {
            let path = staged.join(file.name);
            let found = sha256_of_file(&path)
                .map_err(|source| FetchError::access("read", &path, source))?;
            if found != file.sha256 {
                return Err(FetchError::WrongSum {
                    what: file.name.to_owned(),
                    found,
                    expected: file.sha256,
                });
            }
        }
        let marker = staged.join(MARKER);
        fs::write(&marker, marker_text(artefact.files))
            .map_err(|source| FetchError::access("write", &marker, source))?;
        self.move_in_place(artefact, staged)
    }

    fn move_in_place(&self, artefact: &Artefact, staged: &Path) -> Result<PathBuf, FetchError> {
        let target = self.directory(artefact);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)
                .map_err(|source| FetchError::access("create", parent, source))?;
        }
        let mut attempts = 0;
        loop {
            attempts += 1;
            match fs::rename(staged, &target) {
                Ok(()) => return Ok(target),
                Err(_) if self.state(artefact) == CacheState::Complete => return Ok(target),
                Err(source) if attempts == PUBLISH_ATTEMPTS => {
                    return Err(FetchError::access("replace", &target, source));
                }
                // A damaged artefact is in the way: it leaves as a whole, so that no reader sees a mixture.
                Err(_) => {
                    let trash = self.stage()?;
                    let _ = fs::rename(&target, trash.path().join("replaced"));
                }
            }
        }
    }

    /// Removes what killed processes left. Failure is harmless: the next fetch tries again.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let is_staging = entry
                .file_name()
                .to_string_lossy()
                .starts_with(STAGING_PREFIX);
            let is_old = entry
                .metadata()
                .and_then(|meta| meta.modified())
                .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > STAGING_AGE_MAX));
            if is_staging && is_old {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// `sha256  size  name`, a line per file.
fn marker_text(files: &[PinnedFile]) -> String {
    files.iter().fold(String::new(), |mut text, file| {
        let _ = writeln!(text, "{}  {}  {}", file.sha256, file.size_bytes, file.name);
        text
    })
}

/// The SHA-256 of a file's content, 64 lower-case hexadecimal digits.
///
/// # Errors
/// The system's, when the file cannot be read.
pub fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .fold(String::with_capacity(64), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::artefacts::samples::{HELLO, HELLO_TEXT};

    fn staged_with(cache: &Cache, content: &str) -> TempDir {
        let staging = cache.stage().unwrap();
        fs::create_dir(staging.path().join("files")).unwrap();
        fs::write(staging.path().join("files").join("hello.txt"), content).unwrap();
        staging
    }

    fn publish(cache: &Cache, content: &str) -> Result<PathBuf, FetchError> {
        let staging = staged_with(cache, content);
        cache.publish(&HELLO, &staging.path().join("files"))
    }

    #[test]
    fn the_cache_is_where_the_first_variable_that_is_set_says() {
        let choose = |set: &[(&str, &str)]| {
            Cache::choose(|name| {
                set.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| value.into())
            })
        };
        let all = [
            ("DETBENCH_CACHE", "/a"),
            ("XDG_CACHE_HOME", "/b"),
            ("HOME", "/c"),
        ];
        assert_eq!(choose(&all).unwrap().root(), Path::new("/a"));
        assert_eq!(choose(&all[1..]).unwrap().root(), Path::new("/b/detbench"));
        assert_eq!(
            choose(&all[2..]).unwrap().root(),
            Path::new("/c/.cache/detbench")
        );
        assert!(matches!(choose(&[]), Err(FetchError::NoCacheDirectory)));
        let empty = [
            ("DETBENCH_CACHE", ""),
            ("XDG_CACHE_HOME", "relative"),
            ("HOME", "/c"),
        ];
        assert_eq!(
            choose(&empty).unwrap().root(),
            Path::new("/c/.cache/detbench")
        );
    }

    #[test]
    fn a_published_artefact_is_complete_and_nothing_else_is_left() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path());
        assert_eq!(cache.state(&HELLO), CacheState::Missing);
        let place = publish(&cache, HELLO_TEXT).unwrap();
        assert_eq!(cache.state_in_full(&HELLO), CacheState::Complete);
        assert_eq!(
            fs::read_to_string(place.join("hello.txt")).unwrap(),
            HELLO_TEXT
        );
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_with_another_sum_is_refused_and_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path());
        let error = publish(&cache, "hello, worle\n").unwrap_err();
        assert!(matches!(error, FetchError::WrongSum { .. }), "{error}");
        assert_eq!(cache.state(&HELLO), CacheState::Missing);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_cheap_check_sees_a_lost_byte_and_the_full_one_a_changed_byte() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path());
        let file = publish(&cache, HELLO_TEXT).unwrap().join("hello.txt");
        fs::write(&file, HELLO_TEXT.replace('h', "j")).unwrap();
        assert_eq!(cache.state(&HELLO), CacheState::Complete);
        assert_eq!(
            cache.state_in_full(&HELLO),
            CacheState::Damaged { file: file.clone() }
        );
        fs::write(&file, "short").unwrap();
        assert_eq!(cache.state(&HELLO), CacheState::Damaged { file });
    }

    #[test]
    fn a_damaged_artefact_is_replaced_as_a_whole() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path());
        let file = publish(&cache, HELLO_TEXT).unwrap().join("hello.txt");
        fs::write(&file, "short").unwrap();
        publish(&cache, HELLO_TEXT).unwrap();
        assert_eq!(cache.state_in_full(&HELLO), CacheState::Complete);
        cache.discard(&HELLO).unwrap();
        assert_eq!(cache.state(&HELLO), CacheState::Missing);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn many_publishers_at_once_all_succeed_and_leave_one_artefact() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::at(home.path());
        std::thread::scope(|scope| {
            let publishers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| publish(&cache, HELLO_TEXT).unwrap()))
                .collect();
            for publisher in publishers {
                assert_eq!(publisher.join().unwrap(), cache.directory(&HELLO));
            }
        });
        assert_eq!(cache.state_in_full(&HELLO), CacheState::Complete);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_an_error_that_names_it() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Cache::at(file.join("below"))
            .stage()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("file/below") && error.contains("DETBENCH_CACHE"),
            "{error}"
        );
    }
}
