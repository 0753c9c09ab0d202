//! Why no model could be found.

use std::path::PathBuf;

use super::super::description::DescriptionError;
use super::super::onnx::ReadError;
use super::super::signature::SignatureError;
use crate::strict_toml::did_you_mean;

/// Why no model could be found.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A name that nothing has.
    #[error("{flag} {name}: no such model or file{}; known models: {}", did_you_mean(nearest.as_deref()), known.join(", "))]
    Unknown {
        /// The flag.
        flag: &'static str,
        /// As written.
        name: String,
        /// The nearest known name.
        nearest: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// The graph cannot be read.
    #[error(transparent)]
    Graph(#[from] ReadError),
    /// The model file cannot be read.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// Graph and model file do not belong together.
    #[error("{}: {source}", path.display())]
    Signature {
        /// The graph's file.
        path: PathBuf,
        /// The difference.
        source: Box<SignatureError>,
    },
    /// Known models that differ fit equally well.
    #[error("{} could be any of {}, which give different results; pass --model-config with one of them", path.display(), names.join(", "))]
    Ambiguous {
        /// The graph's file.
        path: PathBuf,
        /// The models.
        names: Vec<String>,
    },
    /// Nothing describes the graph.
    #[error("{} takes {inputs} and gives {outputs}, which no known model does; write {} or pass --model-config", path.display(), path.with_extension("toml").display())]
    Undescribed {
        /// The graph's file.
        path: PathBuf,
        /// Its inputs.
        inputs: String,
        /// Its outputs.
        outputs: String,
    },
    /// A model of another format.
    #[error("{} is not an ONNX file; convert it first (`detbench import` reads TensorFlow.js directories)", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
    },
    /// A named model whose file is not on this machine.
    #[error("the file of model `{name}` was not found: looked for {} in {}; bring it with --model {name} --model-file FILE.onnx (docs/models.md says how it is made){}", files.join(", "), searched.join(", "), or_generate(*plan))]
    NotHere {
        /// The model.
        name: String,
        /// Its files' names.
        files: Vec<String>,
        /// The folders.
        searched: Vec<String>,
        /// Its layer plan, where one can be built.
        plan: Option<&'static str>,
    },
}

/// The way without a download.
fn or_generate(plan: Option<&str>) -> String {
    plan.map_or_else(String::new, |plan| {
        format!(", or build it with seeded weights, for speed alone: `detbench generate {plan} -o {plan}.onnx` and --model {plan}.onnx")
    })
}
