//! A model as workers see it: tensors in, tensors out.

use std::path::PathBuf;

use thiserror::Error;

use super::OptionError;
use crate::tensor::{TensorData, TensorView};

/// Tensors to tensors. One per worker: it is moved into the worker's thread and never shared.
pub trait Model: Send {
    /// Runs the model on `input`, a batch; the outputs hold until the next run.
    ///
    /// # Errors
    /// [`RunError`] when the input does not fit the model, or the runtime fails.
    fn run(&mut self, input: TensorView<'_>) -> Result<(), RunError>;

    /// Output `index` of the last run, in the order that was asked for when the model was opened.
    ///
    /// # Errors
    /// [`RunError::NothingRun`] before the first successful run.
    ///
    /// # Panics
    /// When `index` is not below [`Model::output_count`].
    fn output(&self, index: usize) -> Result<TensorView<'_>, RunError>;

    /// How many outputs there are.
    fn output_count(&self) -> usize;
}

/// Why a model cannot be opened or run.
#[derive(Debug, Error)]
pub enum RunError {
    /// There is no such file.
    #[error("the model {} does not exist", path.display())]
    ModelMissing {
        /// The model.
        path: PathBuf,
    },
    /// The file is empty.
    #[error("the model {} is empty", path.display())]
    ModelEmpty {
        /// The model.
        path: PathBuf,
    },
    /// ONNX Runtime refuses the file, or the options for it.
    #[error("ONNX Runtime cannot open the model {}: {reason}", path.display())]
    ModelRefused {
        /// The model.
        path: PathBuf,
        /// ONNX Runtime's reason, its first meaningful line.
        reason: String,
    },
    /// We feed one tensor.
    #[error("the model {} has {count} inputs ({}); a detector must have exactly one", path.display(), names.join(", "))]
    InputCount {
        /// The model.
        path: PathBuf,
        /// How many inputs it has.
        count: usize,
        /// Their names.
        names: Vec<String>,
    },
    /// An output that was asked for is not there.
    #[error("the model {} has no output {name}; it has {}", path.display(), available.join(", "))]
    OutputMissing {
        /// The model.
        path: PathBuf,
        /// The name that was asked for.
        name: String,
        /// The outputs that it has.
        available: Vec<String>,
    },
    /// An element type that we do not read or write.
    #[error("the tensor {name} of the model {} holds {element}; only f32, u8 and i64 are known", path.display())]
    ElementUnknown {
        /// The model.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its element type.
        element: String,
    },
    /// The input has another element type than the model wants.
    #[error("the model's input {name} holds {expected}, and {found} was given")]
    ElementMismatch {
        /// The input.
        name: String,
        /// What the model wants.
        expected: String,
        /// What was given.
        found: &'static str,
    },
    /// The input has another shape than the model wants.
    #[error("the model's input {name} has the shape {expected:?} (-1 stands for any length), and {found:?} was given")]
    ShapeMismatch {
        /// The input.
        name: String,
        /// What the model wants.
        expected: Vec<i64>,
        /// What was given.
        found: Vec<i64>,
    },
    /// The model takes one batch size only.
    #[error("the model {} takes batches of {model_batch} only, and {asked} was asked for; export it with a dynamic batch or use --batch-size {model_batch}", path.display())]
    BatchFixed {
        /// The model.
        path: PathBuf,
        /// The batch size in the file.
        model_batch: i64,
        /// The batch size that was asked for.
        asked: usize,
    },
    /// The pins do not match the threads.
    #[error(
        "{pin_count} CPUs are named for {thread_count} intra-op threads; name one for each thread"
    )]
    AffinityCount {
        /// How many CPUs are named.
        pin_count: usize,
        /// How many threads there are.
        thread_count: usize,
    },
    /// An option for ONNX Runtime is wrong.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// An output was asked for, and nothing has run.
    #[error("the model has not run yet")]
    NothingRun,
    /// ONNX Runtime failed.
    #[error("inference failed: {reason}")]
    RunFailed {
        /// ONNX Runtime's reason, its first meaningful line.
        reason: String,
    },
}

/// An output that a [`NullModel`] gives.
#[derive(Debug, Clone, PartialEq)]
pub struct NullOutput {
    /// Length of each axis.
    pub shape: Vec<i64>,
    /// The elements, row-major.
    pub values: Vec<f32>,
}

/// A model that answers the same outputs at once, whatever it is given: it weighs the harness itself.
#[derive(Debug, Clone, PartialEq)]
pub struct NullModel {
    outputs: Vec<NullOutput>,
}

impl NullModel {
    /// A model with these outputs.
    ///
    /// # Panics
    /// When an output's shape does not hold as many elements as it has values.
    pub fn new(outputs: Vec<NullOutput>) -> Self {
        for output in &outputs {
            let count: i64 = output.shape.iter().product();
            assert_eq!(
                usize::try_from(count).ok(),
                Some(output.values.len()),
                "shape of an output"
            );
        }
        Self { outputs }
    }
}

impl Model for NullModel {
    fn run(&mut self, _input: TensorView<'_>) -> Result<(), RunError> {
        Ok(())
    }

    fn output(&self, index: usize) -> Result<TensorView<'_>, RunError> {
        let output = &self.outputs[index];
        Ok(TensorView {
            shape: &output.shape,
            data: TensorData::F32(&output.values),
        })
    }

    fn output_count(&self) -> usize {
        self.outputs.len()
    }
}
