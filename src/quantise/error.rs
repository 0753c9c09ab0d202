//! Why a model cannot be quantised.

use crate::runtime::RunError;

/// Why a model cannot be quantised; each message says what would help.
#[derive(Debug, thiserror::Error)]
pub enum QuantiseError {
    /// The file has no network.
    #[error("the model holds no graph")]
    NoGraph,
    /// The file would lose something if it were written again.
    #[error("the model has field {number} of {message}, which this program does not know and would lose: export it with ONNX IR version 11 or older")]
    UnknownField {
        /// The message of the format.
        message: &'static str,
        /// The field's number.
        number: u64,
    },
    /// Integers already.
    #[error("the model is quantised already: it has {count} {operator} nodes; quantise the float model that it was made from")]
    AlreadyQuantised {
        /// How many.
        count: usize,
        /// Of which operator.
        operator: String,
    },
    /// Too old for scales per channel.
    #[error("the model uses operator set {found}, and scales per channel need {needed}: convert it with onnx.version_converter or export it again")]
    OperatorSet {
        /// The model's.
        found: i64,
        /// The oldest that serves.
        needed: i64,
    },
    /// Weights in another file.
    #[error("the constant `{name}` lies in another file; save the model as one file first (onnx.save with save_as_external_data=False)")]
    ExternalData {
        /// The constant.
        name: String,
    },
    /// A constant whose elements do not fill its shape.
    #[error("the constant `{name}` is damaged: its elements do not fill its shape; export the model again")]
    DamagedConstant {
        /// The constant.
        name: String,
    },
    /// An input whose size is left open.
    #[error("axis {axis} of the input `{input}` is dynamic: ranges and layouts need fixed shapes; export the model with a fixed height, width and channel count (the batch may stay open)")]
    DynamicShape {
        /// The input.
        input: String,
        /// The axis, from zero on.
        axis: usize,
    },
    /// Not one input.
    #[error("the model has {count} inputs; a detector must have exactly one")]
    InputCount {
        /// How many it has.
        count: usize,
    },
    /// Nothing that could be made integer.
    #[error(
        "the model has no convolution with constant f32 weights, so there is nothing to quantise"
    )]
    NothingToQuantise,
    /// Everything is to stay in float.
    #[error(
        "every one of the {count} convolutions would stay in float; keep fewer with --keep-fp32"
    )]
    EverythingKept {
        /// How many there are.
        count: usize,
    },
    /// A name that no layer has.
    #[error("--keep-fp32 {pattern}: no layer has that name{}", nearest.as_ref().map_or_else(String::new, |name| format!("; did you mean {name}?")))]
    UnknownLayer {
        /// What was given.
        pattern: String,
        /// The layer that looks most like it.
        nearest: Option<String>,
    },
    /// Preparing changed what the network computes: our own bug, or a network at the edge of f32.
    #[error("folding constants changed the output `{output}` by {difference:e} of its range, more than {limit:e}; please report the model")]
    PreparationChanged {
        /// The output.
        output: String,
        /// Largest difference over the range.
        difference: f64,
        /// What is allowed.
        limit: f64,
    },
    /// Equalising changed what the network computes.
    #[error("equalisation changed the output `{output}` by {difference:e} of its range, more than {limit:e}, so it is refused; leave out --equalise")]
    EqualisationChanged {
        /// The output.
        output: String,
        /// Largest difference over the range.
        difference: f64,
        /// What is allowed.
        limit: f64,
    },
    /// A number that is none.
    #[error("the tensor `{tensor}` holds NaN or infinity on the picture {picture}: the float model overflows there; repair it or leave the picture out")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// The picture.
        picture: String,
    },
    /// An inner tensor that is no f32 tensor.
    #[error("the tensor `{tensor}` holds {element} and not f32")]
    NotFloat {
        /// The tensor.
        tensor: String,
        /// What it holds.
        element: &'static str,
    },
    /// No calibration at all.
    #[error("there are no pictures to calibrate with")]
    NoPictures,
    /// A picture that cannot be read.
    #[error(transparent)]
    Picture(#[from] crate::library::LibraryError),
    /// Too few for a method that cuts tails.
    #[error("--ranges {method} needs at least {needed} calibration pictures, and there are {found}: add pictures or use --ranges minmax")]
    TooFewPictures {
        /// The method.
        method: &'static str,
        /// How many it needs.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// The input cannot be bytes.
    #[error("--u8-input: {reason}")]
    BytesRefused {
        /// Why.
        reason: &'static str,
    },
    /// ONNX Runtime did not make integer kernels of all layers.
    #[error("ONNX Runtime left {} of {planned} int8 layers in float, {}; keep them with --keep-fp32 or report the model", missing.len(), missing.join(", "))]
    NotFused {
        /// How many were meant to be integer.
        planned: usize,
        /// Those that are not.
        missing: Vec<String>,
    },
    /// ONNX Runtime made integers of layers that were to stay in float.
    #[error("ONNX Runtime made {found} integer layers where {planned} were planned: it quantised layers that were to stay in float")]
    FusedTooMany {
        /// How many were meant to be integer.
        planned: usize,
        /// How many are.
        found: usize,
    },
    /// ONNX Runtime failed.
    #[error(transparent)]
    Run(#[from] RunError),
}
