//! Which settings may be tried, as they are wished for.

use serde::Serialize;

use crate::quantise::{Granularity, RangeMethod};

/// How a tensor's elements are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NumberType {
    /// Signed bytes.
    Int8,
    /// Unsigned bytes.
    Uint8,
    /// Floats.
    Fp32,
}

/// Where zero lies in an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// In the middle.
    Symmetric,
    /// Anywhere.
    Asymmetric,
}

/// What is wished of weights or of activations. An empty list leaves the choice open.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct TensorWish {
    /// Number types that are allowed.
    pub types: Vec<NumberType>,
    /// Ways to choose ranges that are allowed.
    pub ranges: Vec<RangeMethod>,
    /// Schemes that are allowed.
    pub schemes: Vec<Scheme>,
    /// Granularities that are allowed.
    pub granularities: Vec<Granularity>,
    /// Bits of a magnitude, without the sign, from 1 to 7: 7 is all of a signed byte, 6 halves the levels for processors
    /// without VNNI. So LPOT counts them.
    pub bits: Option<u8>,
}

/// What is wished of operators.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct OpWish {
    /// Of their weights.
    pub weight: TensorWish,
    /// Of what they make.
    pub activation: TensorWish,
}

/// A wish for the operators of a name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedWish {
    /// The pattern as it was written, for messages.
    pub written: String,
    /// Where it was written, `FILE:LINE`; it is no part of the wish.
    #[serde(skip)]
    pub place: String,
    /// The names of all nodes of the graph that it means.
    pub pattern: NamePattern,
    /// What is wished of them.
    pub wish: OpWish,
}

/// Names of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamePattern {
    /// This one, or, where no node has it, nodes whose name ends in it behind a `/`.
    Literal(String),
    /// Those that this regular expression matches from their beginning on.
    Regex(String),
}

/// Everything that narrows what may be tried.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Space {
    /// For all operators.
    pub model_wise: OpWish,
    /// For single ones; the later wins over the earlier.
    pub op_wise: Vec<NamedWish>,
    /// Numbers of calibration pictures to try, in this order; empty for the one of the command.
    pub calibration_sizes: Vec<usize>,
    /// Whether the first convolution stays in float (LPOT's `first_conv_or_matmul_quantization: false`).
    pub first_convolution_float: Option<bool>,
    /// Whether biases make up for what rounding the weights takes.
    pub bias_correction: Option<bool>,
    /// Whether the model takes bytes.
    pub u8_input: Option<bool>,
    /// Whether the first convolution and the depthwise one behind it stay in float (`fallback: [first_block]`).
    pub first_block_float: Option<bool>,
}
