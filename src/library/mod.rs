//! The sample library (QSL): pictures and their ground truth, ready for the model.

pub mod decode;
pub mod preprocessing;
pub mod resize;
