//! Why a dialect's command line cannot be followed.

use std::path::PathBuf;

/// What is wrong with a dialect's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialectError {
    /// A flag lacks its value.
    #[error("{flag} needs a value")]
    NoValue {
        /// The flag.
        flag: String,
    },
    /// A value that the flag does not take.
    #[error("{flag} {value}: {expected}")]
    Value {
        /// The flag.
        flag: String,
        /// What was given.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A flag without which nothing can be said.
    #[error("--compat intel needs {flag}: {expected}")]
    Missing {
        /// The flag.
        flag: &'static str,
        /// What it says.
        expected: &'static str,
    },
    /// A name that no model here has.
    #[error("--model-name {name} with --precision {precision}: there is no file for that name here, so pass --in-graph FILE.onnx")]
    NoGraph {
        /// The name.
        name: String,
        /// The precision.
        precision: &'static str,
    },
    /// A graph of another program.
    #[error("--in-graph {}: a frozen TensorFlow graph cannot be run here; pass the model as ONNX", path.display())]
    FrozenGraph {
        /// The file.
        path: PathBuf,
    },
    /// Accuracy without pictures.
    #[error("--accuracy-only needs --data-location DIR with pictures and their annotations")]
    AccuracyOfDummyData,
    /// One of detbench's own flags that asks for another kind of run.
    #[error("{flag} and --compat intel exclude each other: leave one of them out")]
    Excluded {
        /// The flag.
        flag: &'static str,
    },
    /// A data location that is no data set.
    #[error("--data-location {reason}")]
    DataLocation {
        /// What is there instead, beginning with the location.
        reason: String,
    },
    /// Pictures without ground truth.
    #[error("--accuracy-only: no annotations were found for {}; pass --annotations FILE with COCO's JSON, or lay it in annotations/instances_val2017.json", path.display())]
    NoAnnotations {
        /// The folder.
        path: PathBuf,
    },
}
