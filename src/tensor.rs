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

/// An owned run of elements that tensors are built in and lent from.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorBuffer {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// Unsigned bytes.
    U8(Vec<u8>),
}

impl TensorBuffer {
    /// `len` zeros of the type of `like`; `None` for types that no input has.
    pub fn zeros_like(like: &TensorData<'_>, len: usize) -> Option<Self> {
        match like {
            TensorData::F32(_) => Some(Self::F32(vec![0.0; len])),
            TensorData::U8(_) => Some(Self::U8(vec![0; len])),
            TensorData::I64(_) => None,
        }
    }

    /// Copies `data` to the elements from `at` on.
    ///
    /// # Panics
    /// When the types differ or the elements do not fit: one library makes all samples alike.
    pub fn copy_in(&mut self, at: usize, data: &TensorData<'_>) {
        match (self, data) {
            (Self::F32(into), TensorData::F32(from)) => {
                into[at..at + from.len()].copy_from_slice(from);
            }
            (Self::U8(into), TensorData::U8(from)) => {
                into[at..at + from.len()].copy_from_slice(from);
            }
            _ => panic!("samples of one library have one element type"),
        }
    }

    /// The first `len` elements.
    pub fn prefix(&self, len: usize) -> TensorData<'_> {
        match self {
            Self::F32(elements) => TensorData::F32(&elements[..len]),
            Self::U8(elements) => TensorData::U8(&elements[..len]),
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(elements) => elements.len(),
            Self::U8(elements) => elements.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All elements.
    pub fn data(&self) -> TensorData<'_> {
        self.prefix(self.len())
    }
}
