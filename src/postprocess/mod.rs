//! Tensors to detections: box decoding and non-maximum suppression.
//!
//! Knows nothing of load generation, threads, clocks or files.

pub mod activation;
pub mod boxes;
pub mod decode;
pub mod families;
pub mod nms;
pub mod partial_sort;
pub mod passthrough;
pub mod scan;
pub mod settings;
pub mod ssd;
pub mod tflite;

pub use families::{FamilyDetector, Procedure};
pub use passthrough::{CornerOrder, PassThroughDetector, PassThroughRules};
pub use settings::{Activation, BoxScales, Detection, NmsMode, NmsSettings};
pub use ssd::SsdDetector;

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
    /// A setting has a value that no run can mean.
    #[error("post-processing setting `{key}` is {value}, but must be {expectation}")]
    Setting {
        /// The setting's name, as in the model file.
        key: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        expectation: &'static str,
    },
    /// A decoded box ends before it begins.
    #[error(
        "the box of anchor {anchor} is inverted ([y_min, x_min, y_max, x_max] = {corners:?}); \
         anchors need a height and a width that are not negative"
    )]
    InvertedBox {
        /// The anchor's row.
        anchor: u32,
        /// `[y_min, x_min, y_max, x_max]`.
        corners: [f32; 4],
    },
    /// The heads hold more pairs of an anchor and a class than can be numbered.
    #[error(
        "{anchors} anchors with {classes} classes are more than {} pairs",
        u32::MAX
    )]
    TooManyPairs {
        /// Rows of the heads.
        anchors: usize,
        /// Classes, background not counted.
        classes: usize,
    },
    /// The batch does not hold the picture asked for.
    #[error("picture {image} was asked for, but output `{tensor}` holds {batch}")]
    Image {
        /// The tensor's role.
        tensor: &'static str,
        /// Index of the picture.
        image: usize,
        /// Pictures in the batch.
        batch: usize,
    },
    /// The op or the detector takes another number of tensors.
    #[error("{found} output tensors came, but {expected} are expected ({roles})")]
    TensorCount {
        /// How many came.
        found: usize,
        /// How many there should be.
        expected: usize,
        /// What they are for.
        roles: &'static str,
    },
}
