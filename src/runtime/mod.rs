//! ONNX Runtime: found or fetched, loaded, and run. The only place that names the `ort` crate.
//!
//! In: a library file ([`locate`]) and a model file. Out: tensors ([`Model`]).
//! This module must not know what a tensor means: no boxes, no scenarios, no queries.
//!
//! One process loads one library and makes one environment; sessions are made from it, one per worker.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

mod library_file;
pub mod load;
pub mod locate;
pub mod model;
pub mod options;
pub mod session;
pub mod telemetry;

pub use library_file::{library_version, MINOR_VERSION_MIN};
pub use load::{Runtime, RuntimeMessage};
pub use locate::{check, locate, Attempt, LocateError, Located, Search, Source};
pub use model::{Model, NullModel, NullOutput, RunError};
pub use options::{OptionError, RuntimeOption};
pub use session::{inspect, GraphInfo, OnnxModel, SessionOptions, TensorInfo};
pub use telemetry::disable_telemetry;

/// Why a file cannot serve as the ONNX Runtime library.
#[derive(Debug, Error)]
pub enum LibraryError {
    /// There is no such file.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// The directory holds no library of that name.
    #[error("the directory {} holds no libonnxruntime.so", directory.display())]
    NoneInDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// The file ends before its own header says so.
    #[error("{} is cut short; copy or fetch it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// The system does not let it be read, or its header is damaged.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Not a shared library of this operating system: a text file, an executable, another system's library.
    #[error("{} is not a Linux shared library", path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
    },
    /// Built for another processor.
    #[error("{} is built for {found}, and this machine is {needed}", path.display())]
    WrongArchitecture {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: &'static str,
        /// What this program is built for.
        needed: &'static str,
    },
    /// A shared library without ONNX Runtime's entry point.
    #[error("{} is a library, but not ONNX Runtime: it has no OrtGetApiBase", path.display())]
    NotOnnxRuntime {
        /// The file.
        path: PathBuf,
    },
    /// Too old for the interface that we use.
    #[error("{} is ONNX Runtime {found}, and 1.{needed} or newer is needed", path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The oldest minor version that serves.
        needed: u32,
    },
    /// The system's loader or ONNX Runtime itself refuses.
    #[error("{} cannot be loaded: {reason}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// The loader's reason.
        reason: String,
    },
    /// One process can hold one ONNX Runtime only.
    #[error("{} cannot be loaded: this process already runs {}", path.display(), loaded.display())]
    AnotherIsLoaded {
        /// The file.
        path: PathBuf,
        /// The library that is in use.
        loaded: PathBuf,
    },
}
