//! Box encodings and anchors to corners, computed only for the anchors that somebody asks for.

use super::boxes::Corners;
use super::{BoxScales, PostprocessError};

/// One picture's box head beside its anchors.
///
/// *Shape*: `encodings` is `[anchors, stride]`, each row beginning `(ty, tx, th, tw)`;
/// anchors are `(y_center, x_center, height, width)`.
#[derive(Debug, Clone, Copy)]
pub struct EncodedBoxes<'a> {
    /// The rows of the box head.
    pub encodings: &'a [f32],
    /// Floats in a row, at least four; those after the fourth are not read.
    pub stride: usize,
    /// One for each row.
    pub anchors: &'a [[f32; 4]],
    /// Divisors of the encodings.
    pub scales: BoxScales,
}

impl EncodedBoxes<'_> {
    /// The corners of one anchor's box.
    ///
    /// Centres and half sizes are computed in `f64` from left to right and rounded to `f32` once,
    /// the corners are then differences and sums in `f32`, which is what the op does.
    pub fn decode(&self, anchor: usize) -> Corners {
        let row = &self.encodings[anchor * self.stride..][..4];
        let [ty, tx, th, tw] = [row[0], row[1], row[2], row[3]].map(f64::from);
        let [ay, ax, ah, aw] = self.anchors[anchor].map(f64::from);
        let scales = &self.scales;
        let y_center = (ty / f64::from(scales.y) * ah + ay) as f32;
        let x_center = (tx / f64::from(scales.x) * aw + ax) as f32;
        let half_height = (0.5 * (th / f64::from(scales.h)).exp() * ah) as f32;
        let half_width = (0.5 * (tw / f64::from(scales.w)).exp() * aw) as f32;
        Corners {
            y_min: y_center - half_height,
            x_min: x_center - half_width,
            y_max: y_center + half_height,
            x_max: x_center + half_width,
        }
    }

    /// Refuses inverted boxes among `suspects`, as the op does with all boxes before it looks at a score.
    ///
    /// # Errors
    /// [`PostprocessError::InvertedBox`] for the first one.
    pub fn check(&self, suspects: &[u32]) -> Result<(), PostprocessError> {
        for &anchor in suspects {
            let corners = self.decode(anchor as usize);
            if corners.is_inverted() {
                return Err(PostprocessError::InvertedBox {
                    anchor,
                    corners: corners.to_array(),
                });
            }
        }
        Ok(())
    }
}

/// The anchors whose boxes could be inverted: those of negative height or width.
///
/// Half a side is `0.5 * exp(..) * side` and `exp` is never negative, so with a side that is zero,
/// positive or NaN the half is never below zero, and `center - half <= center + half` (or NaN) holds
/// whatever the encodings are. Checking these anchors alone is therefore checking all boxes.
pub fn suspects(anchors: &[[f32; 4]]) -> impl Iterator<Item = u32> + '_ {
    let negative = |&(_, anchor): &(usize, &[f32; 4])| anchor[2] < 0.0 || anchor[3] < 0.0;
    anchors
        .iter()
        .enumerate()
        .filter(negative)
        .map(|(index, _)| index as u32)
}

/// Decoded boxes, remembered for the length of a call.
///
/// The regular mode meets an anchor once for each class that it passes in; two calls of `exp` are
/// worth remembering then.
#[derive(Debug, Clone, Default)]
pub struct DecodedBoxes {
    corners: Vec<Corners>,
    /// The call in which `corners` of the anchor was written; 0 = never.
    written: Vec<u32>,
    call: u32,
}

impl DecodedBoxes {
    /// Forgets everything and makes room for `anchors`.
    pub fn begin(&mut self, anchors: usize) {
        self.corners.resize(anchors, Corners::default());
        if self.written.len() != anchors || self.call == u32::MAX {
            self.written.clear();
            self.written.resize(anchors, 0);
            self.call = 0;
        }
        self.call += 1;
    }

    /// The corners of one anchor's box.
    pub fn get(&mut self, boxes: &EncodedBoxes<'_>, anchor: usize) -> Corners {
        if self.written[anchor] != self.call {
            self.corners[anchor] = boxes.decode(anchor);
            self.written[anchor] = self.call;
        }
        self.corners[anchor]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALES: BoxScales = BoxScales {
        y: 10.0,
        x: 10.0,
        h: 5.0,
        w: 5.0,
    };

    #[test]
    fn a_zero_encoding_gives_the_anchor_itself() {
        let boxes = EncodedBoxes {
            encodings: &[0.0; 5],
            stride: 5,
            anchors: &[[0.5, 0.25, 0.5, 0.25]],
            scales: SCALES,
        };
        assert_eq!(boxes.decode(0).to_array(), [0.25, 0.125, 0.75, 0.375]);
    }

    #[test]
    fn only_anchors_with_a_negative_side_are_suspects() {
        let anchors = [
            [0.5, 0.5, 1.0, 1.0],
            [0.5, 0.5, -1.0, 1.0],
            [-0.5, -0.5, 0.0, f32::NAN],
            [0.5, 0.5, 1.0, -1e-30],
        ];
        assert_eq!(suspects(&anchors).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn whatever_the_encoding_a_box_that_is_no_suspect_is_not_inverted() {
        let extremes = [
            0.0,
            -0.0,
            1.0,
            -7.5,
            1e30,
            -1e30,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            3e38,
        ];
        for side in [0.0, -0.0, 1e-38, 0.1, 1e38, f32::INFINITY, f32::NAN] {
            for center in extremes {
                for t in extremes {
                    for th in extremes {
                        let boxes = EncodedBoxes {
                            encodings: &[t, t, th, th],
                            stride: 4,
                            anchors: &[[center, center, side, side]],
                            scales: SCALES,
                        };
                        let corners = boxes.decode(0);
                        assert!(!corners.is_inverted(), "{corners:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_negative_anchor_whose_box_is_inverted_is_refused_by_name() {
        let boxes = EncodedBoxes {
            encodings: &[0.0; 4],
            stride: 4,
            anchors: &[[0.5, 0.5, -0.5, 0.5]],
            scales: SCALES,
        };
        let error = boxes.check(&[0]).unwrap_err();
        assert!(
            matches!(error, PostprocessError::InvertedBox { anchor: 0, .. }),
            "{error}"
        );
    }

    #[test]
    fn boxes_of_the_last_call_are_forgotten() {
        let anchors = [[0.5, 0.5, 1.0, 1.0]];
        let at = |encodings: &'static [f32; 4]| EncodedBoxes {
            encodings,
            stride: 4,
            anchors: &anchors,
            scales: SCALES,
        };
        let mut decoded = DecodedBoxes::default();
        decoded.begin(1);
        let first = decoded.get(&at(&[0.0; 4]), 0);
        decoded.begin(1);
        let second = decoded.get(&at(&[5.0, 0.0, 0.0, 0.0]), 0);
        assert_eq!(first.y_min, 0.0);
        assert_eq!(second.y_min, 0.5);
    }
}
