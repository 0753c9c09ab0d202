//! Tensors to detections: box decoding and non-maximum suppression.
//!
//! Knows nothing of load generation, threads, clocks or files.

pub mod settings;

pub use settings::{Activation, BoxScales, Detection, NmsMode, NmsSettings};

use crate::tensor::TensorView;

/// Turns the output tensors of one inference into detections, picture by picture.
pub trait Detector: Send {
    /// Replaces the contents of `detections` with those of picture `image` of the batch,
    /// best first; allocates nothing once `detections` has its capacity.
    ///
    /// *Shape*: each of `outputs` has the batch as its outermost axis, in the order in which
    /// the detector was told its heads (boxes, then scores, for the SSD families).
    ///
    /// # Errors
    /// When a shape or type is not what the model file says, or the op itself would fail.
    fn detect(
        &mut self,
        outputs: &[TensorView<'_>],
        image: usize,
        detections: &mut Vec<Detection>,
    ) -> Result<(), PostprocessError>;
}

/// Why post-processing of a picture failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PostprocessError {
    /// A tensor's shape or type does not fit.
    #[error("output `{tensor}` is {found}, but the model file expects {expected}")]
    Shape {
        /// The tensor's role (`boxes`, `scores`, `anchors`).
        tensor: &'static str,
        /// What came.
        found: String,
        /// What was expected.
        expected: String,
    },
}
