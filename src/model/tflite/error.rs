//! Why a TFLite file could not be imported.

use std::path::PathBuf;

use super::flatbuffer::Malformed;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct ImportError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file that the system does not let us read.
    #[error("it cannot be read: {0}")]
    Read(std::io::Error),
    /// Another format.
    #[error(
        "it is no TFLite file (those have `TFL3` at byte 4); pass the .tflite file of a detector"
    )]
    NotTflite,
    /// Bytes that contradict each other, or a file that was cut.
    #[error("the file is damaged: {what} at byte {offset}; fetch it again")]
    Malformed {
        /// What was found.
        what: &'static str,
        /// From the beginning of the file.
        offset: usize,
    },
    /// Options of the post-processing operator that are not understood.
    #[error("the options of {operator} are damaged: {what} at byte {offset} of them; fetch the file again")]
    Options {
        /// The operator.
        operator: &'static str,
        /// What was found.
        what: &'static str,
        /// From the beginning of the options.
        offset: usize,
    },
    /// An option that the post-processing operator cannot do without.
    #[error("the options of {operator} have no `{key}`")]
    OptionMissing {
        /// The operator.
        operator: &'static str,
        /// The option.
        key: &'static str,
    },
    /// More of something than any detector has: a hostile file, or no detector.
    #[error("it has {found} {what}, but at most {most} are believed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many are believed.
        most: usize,
    },
    /// A number that names nothing.
    #[error("{referrer} names {what} {index}, which the file does not have")]
    Dangling {
        /// Who names it.
        referrer: String,
        /// `tensor`, `buffer` or `operator code`.
        what: &'static str,
        /// The number.
        index: i64,
    },
    /// A tensor that two operators make, or that is made from itself.
    #[error("tensor `{tensor}` is made twice or from itself")]
    Order {
        /// The tensor.
        tensor: String,
    },
    /// A tensor of an element type, shape or encoding that is not understood.
    #[error("tensor `{tensor}` is {found}, but {expected} was expected")]
    Tensor {
        /// The tensor.
        tensor: String,
        /// What it is.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// An operator that is not in the table.
    #[error("operator {op} (it makes tensor `{tensor}`) cannot be converted to ONNX yet")]
    UnknownOperator {
        /// The operator.
        op: String,
        /// Its first output.
        tensor: String,
    },
    /// A known operator used in a way that is not understood.
    #[error("operator {op} (it makes tensor `{tensor}`) cannot be converted: {reason}")]
    Unsupported {
        /// The operator.
        op: String,
        /// Its first output.
        tensor: String,
        /// What is not understood.
        reason: Reason,
    },
    /// The graph takes no picture.
    #[error("it takes {found}, but one picture [1,height,width,3] was expected")]
    Input {
        /// What it takes.
        found: String,
    },
    /// No detector's heads.
    #[error("it has neither the operator TFLite_Detection_PostProcess nor one output [1,N,4] and one [1,N,classes]: {found}")]
    NoHeads {
        /// What comes out.
        found: String,
    },
    /// A head that is no list of rows, or both heads are one.
    #[error("the {head} head `{tensor}` is {found}, but {expected} was expected")]
    Head {
        /// `box`, `score` or `anchor`.
        head: &'static str,
        /// The tensor.
        tensor: String,
        /// What it is.
        found: String,
        /// What would do.
        expected: &'static str,
    },
}

/// What about an operator is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Too few inputs or outputs.
    #[error("it has no {role} number {index}")]
    Missing {
        /// `input` or `output`.
        role: &'static str,
        /// From zero.
        index: usize,
    },
    /// An input of another kind.
    #[error("its input number {index} should be {expected}")]
    Input {
        /// From zero.
        index: usize,
        /// What was expected.
        expected: &'static str,
    },
    /// Shapes that do not fit each other.
    #[error("its shapes do not fit: {found}")]
    Shape {
        /// The shapes.
        found: String,
    },
    /// An option out of range.
    #[error("its option `{key}` is {found}")]
    Option {
        /// The option.
        key: &'static str,
        /// Its value.
        found: i64,
    },
    /// A variant of the operator.
    #[error("{what} is not supported")]
    Variant {
        /// The variant.
        what: &'static str,
    },
}

impl From<Malformed> for Fault {
    fn from(wrong: Malformed) -> Self {
        Self::Malformed {
            what: wrong.what,
            offset: wrong.offset,
        }
    }
}
