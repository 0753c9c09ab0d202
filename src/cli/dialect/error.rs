//! Why a dialect's command line cannot be followed.

use std::path::PathBuf;

use super::Dialect;
use crate::model::variant::VariantError;
use crate::strict_toml::did_you_mean;

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
        /// The flag, or the setting's key.
        flag: String,
        /// What was given.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// A flag without which nothing can be said.
    #[error("--compat {dialect} needs {flag}: {expected}")]
    Missing {
        /// Whose words they are.
        dialect: Dialect,
        /// The flag.
        flag: &'static str,
        /// What it says.
        expected: &'static str,
    },
    /// A setting that the dialect does not have.
    #[error("--env.{key}: CK's program reads no such setting{}", did_you_mean(nearest.as_deref()))]
    UnknownSetting {
        /// The key.
        key: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
    /// A name that no model here has.
    #[error("--model-name {name} with --precision {precision}: there is no file for that name here, so pass --in-graph FILE.onnx")]
    NoGraph {
        /// The name.
        name: String,
        /// The precision.
        precision: &'static str,
    },
    /// A name whose model is not known, only other ones of the same program.
    #[error("{flag} {name}: known are {known}; for another network pass --model FILE.onnx with its model file FILE.toml beside it")]
    UnknownNet {
        /// The flag.
        flag: &'static str,
        /// The name.
        name: String,
        /// Those that are known.
        known: &'static str,
    },
    /// A graph of another program.
    #[error("{flag} {}: {}", path.display(), remedy(path))]
    OtherGraph {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Accuracy without pictures.
    #[error("--accuracy-only needs --data-location DIR with pictures and their annotations")]
    AccuracyOfDummyData,
    /// One of detbench's own flags that asks for another kind of run.
    #[error("{flag} and --compat {dialect} exclude each other: leave one of them out")]
    Excluded {
        /// The flag.
        flag: &'static str,
        /// Whose words they are.
        dialect: Dialect,
    },
    /// A file that cannot be read.
    #[error("{flag} {}: the file cannot be read", path.display())]
    Unreadable {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// No graph that has the precision asked for.
    #[error(transparent)]
    Variant(#[from] VariantError),
}

/// How a graph of another program becomes one that runs here.
fn remedy(path: &std::path::Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("tflite") => format!(
            "convert it with `detbench import {} -o {stem}.onnx` and pass --model {stem}.onnx",
            path.display()
        ),
        Some("pb" | "pbtxt" | "meta" | "ckpt") => {
            "a frozen TensorFlow graph or checkpoint cannot be run here; docs/models.md says how it becomes an ONNX file"
                .to_owned()
        }
        Some("pth" | "pt" | "bin") => {
            "PyTorch weights cannot be run here; docs/models.md says how they become an ONNX file"
                .to_owned()
        }
        _ => "this is no ONNX file; docs/models.md says how models become one".to_owned(),
    }
}
