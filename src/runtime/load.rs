//! Loads the library and makes the process's one environment.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ort::logging::LogLevel;

use super::{library_version, LibraryError, Located};
use crate::fetch::cache::sha256_of_file;

/// So many of ONNX Runtime's messages are kept until somebody takes them; the oldest go first.
const MESSAGE_COUNT_MAX: usize = 256;

/// The process's runtime. It is never unloaded: ONNX Runtime allows one environment per process.
static LOADED: OnceLock<Runtime> = OnceLock::new();
/// Held while loading, so that two threads do not both try.
static LOADING: Mutex<()> = Mutex::new(());

/// A message of ONNX Runtime itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeMessage {
    /// `verbose`, `info`, `warning`, `error` or `fatal`.
    pub level: &'static str,
    /// One line or several.
    pub text: String,
}

/// ONNX Runtime, loaded. A clone is another handle to the same.
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    environment: ort::environment::Environment,
    located: Located,
    sha256: OnceLock<String>,
    messages: Arc<Mutex<VecDeque<RuntimeMessage>>>,
    is_verbose: bool,
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("located", &self.inner.located)
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// Loads the library and makes the environment, without telemetry.
    ///
    /// ONNX Runtime prints nothing: its errors are kept for [`Runtime::take_messages`], its warnings
    /// too when `is_verbose`. A second call gives the runtime that the first one loaded.
    ///
    /// # Errors
    /// [`LibraryError`]: the file cannot serve, or another library is loaded already.
    pub fn load(located: &Located, is_verbose: bool) -> Result<Self, LibraryError> {
        let _alone = lock(&LOADING);
        if let Some(runtime) = LOADED.get() {
            return if runtime.path() == located.path {
                Ok(runtime.clone())
            } else {
                Err(LibraryError::AnotherIsLoaded {
                    path: located.path.clone(),
                    loaded: runtime.path().to_path_buf(),
                })
            };
        }
        let runtime = Self::load_first(located, is_verbose)?;
        Ok(LOADED.get_or_init(|| runtime).clone())
    }

    fn load_first(located: &Located, is_verbose: bool) -> Result<Self, LibraryError> {
        super::telemetry::ensure_disabled();
        // Again, for the file may have changed since it was located, and a wrong one ends the process.
        library_version(&located.path)?;
        let refused = |error: &dyn std::error::Error| LibraryError::Refused {
            path: located.path.clone(),
            reason: with_sources(error),
        };
        // The crate takes a relative path as relative to the executable.
        let path = std::path::absolute(&located.path).map_err(|error| refused(&error))?;
        let messages = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&messages);
        let environment = ort::init_from(&path)
            .map_err(|error| refused(&error))?
            .with_name("detbench")
            .with_telemetry(false)
            .with_logger(Arc::new(move |level, _category, _id, place, text| {
                keep(&kept, level, is_verbose, place, text);
            }))
            .build()
            .map_err(|error| refused(&error))?;
        // The crate creates an environment with a logger at the most talkative level.
        environment.set_log_level(log_level(is_verbose));
        let located = located.clone();
        let sha256 = OnceLock::new();
        Ok(Self {
            inner: Arc::new(Inner {
                environment,
                located,
                sha256,
                messages,
                is_verbose,
            }),
        })
    }

    /// ONNX Runtime's version, `unknown` when the library does not say.
    pub fn version(&self) -> &str {
        self.inner.located.version.as_deref().unwrap_or("unknown")
    }

    /// What ONNX Runtime says about its build: commit, flags.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }

    /// The library's file.
    pub fn path(&self) -> &Path {
        &self.inner.located.path
    }

    /// How the library was found.
    pub fn located(&self) -> &Located {
        &self.inner.located
    }

    /// The library's SHA-256: the pinned one for a library from the cache, computed once for others
    /// (30 MB, a tenth of a second or two).
    ///
    /// # Errors
    /// The system's, when the file can no longer be read.
    pub fn sha256(&self) -> io::Result<&str> {
        if let Some(pinned) = self.inner.located.sha256 {
            return Ok(pinned);
        }
        if self.inner.sha256.get().is_none() {
            let computed = sha256_of_file(self.path())?;
            return Ok(self.inner.sha256.get_or_init(|| computed));
        }
        Ok(self.inner.sha256.get().map_or("", String::as_str))
    }

    /// The messages that ONNX Runtime gave since the last call, oldest first.
    pub fn take_messages(&self) -> Vec<RuntimeMessage> {
        lock(&self.inner.messages).drain(..).collect()
    }

    pub(super) fn environment(&self) -> &ort::environment::Environment {
        &self.inner.environment
    }

    pub(super) fn log_level(&self) -> LogLevel {
        log_level(self.inner.is_verbose)
    }
}

fn log_level(is_verbose: bool) -> LogLevel {
    if is_verbose {
        LogLevel::Warning
    } else {
        LogLevel::Error
    }
}

fn keep(
    messages: &Mutex<VecDeque<RuntimeMessage>>,
    level: LogLevel,
    is_verbose: bool,
    place: &str,
    text: &str,
) {
    if level < log_level(is_verbose) {
        return;
    }
    let level = match level {
        LogLevel::Verbose => "verbose",
        LogLevel::Info => "info",
        LogLevel::Warning => "warning",
        LogLevel::Error => "error",
        LogLevel::Fatal => "fatal",
    };
    let mut messages = lock(messages);
    if messages.len() == MESSAGE_COUNT_MAX {
        messages.pop_front();
    }
    messages.push_back(RuntimeMessage {
        level,
        text: format!("{text} ({place})"),
    });
}

/// A thread that panicked while it pushed a message leaves the list whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error's text and those of its sources, on one line.
pub(super) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
