//! What a model file declares, and ONNX Runtime's reasons in one line.

use std::path::Path;

use ort::session::builder::GraphOptimizationLevel;
use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

use super::load::with_sources;
use super::{RunError, Runtime};

/// An input or output as the model file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its element type, in Rust's spelling: `f32`, `u8`, `i64`.
    pub element: String,
    /// Length of each axis; -1 where the file leaves it open.
    pub shape: Vec<i64>,
}

/// The inputs and outputs of a model file, in the file's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphInfo {
    /// The inputs.
    pub inputs: Vec<TensorInfo>,
    /// The outputs.
    pub outputs: Vec<TensorInfo>,
}

/// Says what the model at `path` takes and gives, without running it.
///
/// # Errors
/// [`RunError`] when the file is no model that ONNX Runtime opens.
pub fn inspect(runtime: &Runtime, path: &Path) -> Result<GraphInfo, RunError> {
    check_file(path)?;
    let open = || -> ort::Result<Session> {
        Session::builder(runtime.environment())?
            .with_log_level(runtime.log_level())?
            .with_intra_threads(1)?
            .with_optimization_level(GraphOptimizationLevel::Disable)?
            .commit_from_file(path)
    };
    open()
        .map(|session| graph_info(&session))
        .map_err(|error| refused(path, &error))
}

pub(super) fn check_file(path: &Path) -> Result<(), RunError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(RunError::ModelMissing {
            path: path.to_path_buf(),
        }),
        Err(error) => Err(RunError::ModelRefused {
            path: path.to_path_buf(),
            reason: error.to_string(),
        }),
        Ok(meta) if meta.is_dir() => Err(RunError::ModelRefused {
            path: path.to_path_buf(),
            reason: "it is a directory".to_owned(),
        }),
        Ok(meta) if meta.len() == 0 => Err(RunError::ModelEmpty {
            path: path.to_path_buf(),
        }),
        Ok(_) => Ok(()),
    }
}

pub(super) fn graph_info(session: &Session) -> GraphInfo {
    let tensors = |outlets: &[Outlet]| outlets.iter().map(tensor_info).collect();
    GraphInfo {
        inputs: tensors(session.inputs()),
        outputs: tensors(session.outputs()),
    }
}

fn tensor_info(outlet: &Outlet) -> TensorInfo {
    let (element, shape) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => (element_name(*ty), shape.to_vec()),
        ValueType::Sequence(_) => ("sequence".to_owned(), Vec::new()),
        ValueType::Map { .. } => ("map".to_owned(), Vec::new()),
        ValueType::Optional(_) => ("optional".to_owned(), Vec::new()),
    };
    TensorInfo {
        name: outlet.name().to_owned(),
        element,
        shape,
    }
}

fn element_name(element: TensorElementType) -> String {
    match element {
        TensorElementType::Float32 => "f32".to_owned(),
        TensorElementType::Float64 => "f64".to_owned(),
        TensorElementType::Float16 => "f16".to_owned(),
        TensorElementType::Uint8 => "u8".to_owned(),
        TensorElementType::Int8 => "i8".to_owned(),
        TensorElementType::Int32 => "i32".to_owned(),
        TensorElementType::Int64 => "i64".to_owned(),
        TensorElementType::Bool => "bool".to_owned(),
        TensorElementType::String => "string".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

pub(super) fn refused(path: &Path, error: &ort::Error) -> RunError {
    let text = with_sources(error);
    // "Load model from FILE failed:reason": the file is named already.
    let reason = text
        .split_once("failed:")
        .map_or(text.as_str(), |(_, reason)| reason);
    RunError::ModelRefused {
        path: path.to_path_buf(),
        reason: first_line(reason),
    }
}

pub(super) fn failed(error: &ort::Error) -> RunError {
    RunError::RunFailed {
        reason: first_line(&with_sources(error)),
    }
}

/// The first line that says something, without ONNX Runtime's source positions.
fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let line = line.unwrap_or("no reason given");
    if line.contains(".cc:") {
        after_position(line).to_owned()
    } else {
        line.to_owned()
    }
}

/// `/src/model.cc:42 Function(args) reason` without its beginning, when it has that form.
fn after_position(line: &str) -> &str {
    line.split_once(") ").map_or(line, |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::first_line;

    #[test]
    fn a_reason_is_one_line_without_source_positions() {
        for (text, reason) in [
            ("Protobuf parsing failed.\n", "Protobuf parsing failed."),
            ("\n  first\nsecond", "first"),
            (
                "/src/graph.cc:42 Resolve(const Options&) Node has no output",
                "Node has no output",
            ),
            ("", "no reason given"),
        ] {
            assert_eq!(first_line(text), reason);
        }
    }
}
