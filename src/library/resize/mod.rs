//! Straight resizing of RGB pictures, each variant equal byte for byte to its origin.
//!
//! The weights depend on the sizes alone and are kept while the size of the pictures stays.
//! `fast_image_resize` is not used: it rounds its weights to 16 bits, so it is not equal.

mod opencv;
mod pillow;
mod tensorflow;

use super::decode::Picture;
use super::preprocessing::Resize;

/// A resized picture, borrowed from its [`Resizer`] or from the picture itself.
///
/// *Shape*: `[height, width, 3]`, row-major, RGB, 0..=255.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pixels<'a> {
    /// Pillow's and `OpenCV`'s arithmetic ends in bytes.
    U8(&'a [u8]),
    /// TensorFlow's ends in floats that are not whole numbers.
    F32(&'a [f32]),
}

/// Resizes pictures to one size; keeps weights and buffers between pictures.
#[derive(Debug, Clone)]
pub struct Resizer {
    method: Resize,
    to: (u32, u32),
    from: (u32, u32),
    kernel: Kernel,
    bytes: Vec<u8>,
    floats: Vec<f32>,
}

#[derive(Debug, Clone)]
enum Kernel {
    Unset,
    Pillow(pillow::Kernel),
    Opencv(opencv::Kernel),
    Tensorflow(tensorflow::Kernel),
}

impl Resizer {
    /// A resizer to `width` x `height` pixels, both above zero.
    pub const fn new(method: Resize, width: u32, height: u32) -> Self {
        Self {
            method,
            to: (width, height),
            from: (0, 0),
            kernel: Kernel::Unset,
            bytes: Vec::new(),
            floats: Vec::new(),
        }
    }

    /// Resizes `picture`; aspect ratio is not kept.
    ///
    /// *Complexity*: with Pillow's filter every source pixel is read; the others read two taps
    /// for each axis. Nothing is allocated while the size of the pictures stays.
    ///
    /// # Panics
    /// When the picture has no pixels or not as many as its size says.
    pub fn resize<'a>(&'a mut self, picture: &'a Picture) -> Pixels<'a> {
        let from = (picture.width, picture.height);
        let pixels = picture.width as usize * picture.height as usize;
        assert!(pixels > 0, "a picture has pixels");
        assert_eq!(picture.rgb.len(), pixels * 3, "pixels fill the picture");
        if from == self.to && self.method != Resize::TfBilinear {
            return Pixels::U8(&picture.rgb);
        }
        if from != self.from {
            self.kernel = Kernel::new(self.method, from, self.to);
            self.from = from;
        }
        match &mut self.kernel {
            Kernel::Pillow(kernel) => kernel.resize(&picture.rgb, &mut self.bytes),
            Kernel::Opencv(kernel) => kernel.resize(&picture.rgb, &mut self.bytes),
            Kernel::Tensorflow(kernel) => {
                kernel.resize(&picture.rgb, &mut self.floats);
                return Pixels::F32(&self.floats);
            }
            Kernel::Unset => unreachable!("set for this picture's size above"),
        }
        Pixels::U8(&self.bytes)
    }
}

impl Kernel {
    fn new(method: Resize, from: (u32, u32), to: (u32, u32)) -> Self {
        match method {
            Resize::PillowBilinear => Self::Pillow(pillow::Kernel::new(from, to)),
            Resize::OpencvLinear => Self::Opencv(opencv::Kernel::new(from, to)),
            Resize::TfBilinear => Self::Tensorflow(tensorflow::Kernel::new(from, to)),
        }
    }
}
