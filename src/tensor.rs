//! Borrowed tensors: what the library lends to the runtime, and the runtime to post-processing.
//!
//! Row-major, dense. This module depends on nothing of ours.

/// The elements of a borrowed tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TensorData<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// Unsigned bytes.
    U8(&'a [u8]),
    /// 64-bit integers (class ids of end-to-end graphs).
    I64(&'a [i64]),
}

impl TensorData<'_> {
    /// How many elements there are.
    pub const fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::U8(data) => data.len(),
            Self::I64(data) => data.len(),
        }
    }

    /// Whether there are no elements.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type as it is written in model files: `f32`, `u8`, `i64`.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::F32(_) => "f32",
            Self::U8(_) => "u8",
            Self::I64(_) => "i64",
        }
    }
}

/// A borrowed, dense, row-major tensor; the shape's product is the number of elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorView<'a> {
    /// Length of each axis, outermost first.
    pub shape: &'a [i64],
    /// The elements.
    pub data: TensorData<'a>,
}
