//! Models: what one is, where its file is, and how foreign ones become ONNX.
//!
//! A model is an ONNX file and a [`ModelDescription`]; [`resolve()`] finds both from what the user
//! says. Nothing here runs a model.

pub mod anchors;
pub mod architecture;
pub mod description;
pub mod half;
pub mod known;
pub mod labels;
pub mod npy;
pub mod onnx;
pub mod reading;
pub mod resolve;
pub mod signature;
pub mod tfjs;
pub mod tflite;
pub mod variant;

pub use anchors::AnchorSpec;
pub use architecture::Architecture;
pub use description::ModelDescription;
pub use labels::Labels;
pub use reading::Reading;
pub use resolve::{resolve, How, ModelRequest, OnnxSource, ResolveError, Resolved};
pub use signature::{check_signature, precision_of, SignatureError};
