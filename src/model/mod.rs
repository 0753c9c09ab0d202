//! Models: what one is, where its file is, and how foreign ones become ONNX.

pub mod anchors;
pub mod onnx;
pub mod tfjs;
