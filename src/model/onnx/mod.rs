//! ONNX files: read, built and written without ONNX Runtime.

pub mod builder;
pub mod lossless;
pub mod proto;
pub mod resize;
pub mod rows;
pub mod signature;

pub use builder::{Axis, GraphBuilder};
pub use rows::{four_columns, FourColumns};
pub use signature::{AxisLength, GraphFacts, GraphSignature, IntegerLayers, ReadError, TensorInfo};
