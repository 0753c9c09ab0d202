//! The NMS laboratory: raw heads of a detector on disk, run through both modes of the op and compared.
//!
//! Input: heads (probabilities, box encodings, anchors) as `.npz`, and ground truth where there is some.
//! Output: what each mode found, what that is worth, and what it costs. Knows no model and prints nothing.

pub mod bootstrap;
pub mod compare;
pub mod draws;
pub mod folder;
pub mod heads;
pub mod options;
pub mod timing;
pub mod turns;

pub use heads::{HeadsError, Quantizations, RawHeads};
pub use options::{OptionError, Overrides};
