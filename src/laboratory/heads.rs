//! Raw heads from a file: what the op takes, for one picture or for a batch.

use std::path::{Path, PathBuf};

use crate::npz::{Array, Npz, NpzError};
use crate::postprocess::tflite::{Input, Quantization};
use crate::tensor::{TensorBuffer, TensorData, TensorView};

/// Why heads cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    /// The archive or one of its arrays.
    #[error(transparent)]
    Npz(#[from] NpzError),
    /// An array whose shape does not fit the op or the other arrays.
    #[error("array `{array}` in {} has shape {found:?}, but should have {expected}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The array.
        array: &'static str,
        /// Its shape.
        found: Vec<i64>,
        /// What would do.
        expected: String,
    },
    /// Arrays of two types.
    #[error("array `{array}` in {} is {found}, but the boxes are {expected}; all three are of one type", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The array.
        array: &'static str,
        /// Its type.
        found: &'static str,
        /// The type of the boxes.
        expected: &'static str,
    },
    /// Bytes without a meaning.
    #[error("array `{array}` in {} is u8: say what its bytes mean with --quant-{array} SCALE,ZERO_POINT", path.display())]
    Unquantized {
        /// The file.
        path: PathBuf,
        /// The array.
        array: &'static str,
    },
    /// A meaning without bytes.
    #[error("array `{array}` in {} is f32, so --quant-{array} has no meaning; remove it", path.display())]
    NotQuantized {
        /// The file.
        path: PathBuf,
        /// The array.
        array: &'static str,
    },
}

/// The affine quantisation of each array; `None` for f32.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quantizations {
    /// Of `boxes`.
    pub boxes: Option<Quantization>,
    /// Of `scores`.
    pub scores: Option<Quantization>,
    /// Of `anchors`.
    pub anchors: Option<Quantization>,
}

/// The heads of one picture or of a batch.
///
/// *Shape*: boxes `[N, K]` or `[B, N, K]` with K >= 4, scores `[N, C]` or `[B, N, C]`, anchors `[N, 4]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RawHeads {
    boxes: Array,
    scores: Array,
    anchors: Array,
    quantizations: Quantizations,
    is_batch: bool,
}

impl RawHeads {
    /// Reads the arrays `boxes`, `scores` and `anchors` of an archive.
    ///
    /// # Errors
    /// [`HeadsError`] naming file, array and what was expected.
    pub fn read(path: &Path, quantizations: Quantizations) -> Result<Self, HeadsError> {
        let mut npz = Npz::open(path)?;
        let boxes = npz.array("boxes")?;
        let scores = npz.array("scores")?;
        let anchors = npz.array("anchors")?;
        let heads = Self {
            is_batch: boxes.shape.len() == 3,
            boxes,
            scores,
            anchors,
            quantizations,
        };
        heads.check(path)?;
        Ok(heads)
    }

    /// The heads of one picture, as a model just gave them; `scores` are probabilities.
    ///
    /// # Panics
    /// When the rows of the heads are not as many as there are anchors: a detector checked them.
    pub fn of_picture(boxes: Vec<f32>, scores: Vec<f32>, anchors: &[[f32; 4]]) -> Self {
        let rows = anchors.len();
        let array = |elements: Vec<f32>| {
            let columns = elements.len() / rows.max(1);
            assert_eq!(columns * rows, elements.len(), "a row for each anchor");
            let length = |count: usize| i64::try_from(count).expect("memory holds fewer elements");
            Array {
                shape: vec![length(rows), length(columns)],
                elements: TensorBuffer::F32(elements),
            }
        };
        Self {
            boxes: array(boxes),
            scores: array(scores),
            anchors: array(anchors.as_flattened().to_vec()),
            quantizations: Quantizations::default(),
            is_batch: false,
        }
    }

    fn check(&self, path: &Path) -> Result<(), HeadsError> {
        let shape = |array, found: &Array, expected: String| HeadsError::Shape {
            path: path.to_owned(),
            array,
            found: found.shape.clone(),
            expected,
        };
        let (batch, rows) = match *self.boxes.shape {
            [rows, 4..=i64::MAX] => (None, rows),
            [batch, rows, 4..=i64::MAX] => (Some(batch), rows),
            _ => {
                let expected = "[anchors, 4 or more] or [batch, anchors, 4 or more]".to_owned();
                return Err(shape("boxes", &self.boxes, expected));
            }
        };
        let fits = match (self.scores.shape.as_slice(), batch) {
            (axes, None) => axes.len() == 2 && axes[0] == rows,
            (axes, Some(batch)) => axes.len() == 3 && axes[..2] == [batch, rows],
        };
        if !fits {
            let expected = batch.map_or_else(
                || format!("[{rows}, columns], a row for each of the boxes"),
                |batch| format!("[{batch}, {rows}, columns], a row for each of the boxes"),
            );
            return Err(shape("scores", &self.scores, expected));
        }
        if self.anchors.shape != [rows, 4] {
            let expected = format!("[{rows}, 4], a row for each of the boxes");
            return Err(shape("anchors", &self.anchors, expected));
        }
        let kind = self.boxes.view().data.type_name();
        let arrays = [
            ("boxes", &self.boxes, self.quantizations.boxes),
            ("scores", &self.scores, self.quantizations.scores),
            ("anchors", &self.anchors, self.quantizations.anchors),
        ];
        for (array, holds, quantization) in arrays {
            let found = holds.view().data.type_name();
            let path = || path.to_owned();
            if found != kind {
                return Err(HeadsError::Type {
                    path: path(),
                    array,
                    found,
                    expected: kind,
                });
            }
            match (holds.view().data, quantization) {
                (TensorData::U8(_), None) => {
                    return Err(HeadsError::Unquantized {
                        path: path(),
                        array,
                    })
                }
                (TensorData::F32(_), Some(_)) => {
                    return Err(HeadsError::NotQuantized {
                        path: path(),
                        array,
                    })
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the arrays have a batch axis.
    pub fn is_batch(&self) -> bool {
        self.is_batch
    }

    /// How many pictures there are.
    pub fn picture_count(&self) -> usize {
        if self.is_batch {
            self.boxes.shape[0] as usize
        } else {
            1
        }
    }

    /// Rows of the heads.
    pub fn anchor_count(&self) -> usize {
        self.anchors.shape[0] as usize
    }

    /// Columns of the score head, background included.
    pub fn columns(&self) -> usize {
        *self.scores.shape.last().expect("scores have a rank") as usize
    }

    /// Lends the heads of one picture to `use_inputs`, shaped as the op takes them.
    pub fn with_picture<T>(
        &self,
        picture: usize,
        use_inputs: impl FnOnce(&[Input<'_>; 3]) -> T,
    ) -> T {
        let rows = self.anchors.shape[0];
        let of_picture = |array: &Array| [1, rows, *array.shape.last().expect("checked rank")];
        let (boxes_shape, scores_shape) = (of_picture(&self.boxes), of_picture(&self.scores));
        let input = |data, shape, quantization: Option<Quantization>| Input {
            tensor: TensorView { shape, data },
            quantization: quantization.unwrap_or_default(),
        };
        use_inputs(&[
            input(
                part(self.boxes.view().data, picture, self.picture_count()),
                &boxes_shape,
                self.quantizations.boxes,
            ),
            input(
                part(self.scores.view().data, picture, self.picture_count()),
                &scores_shape,
                self.quantizations.scores,
            ),
            input(
                self.anchors.view().data,
                &self.anchors.shape,
                self.quantizations.anchors,
            ),
        ])
    }
}

/// The elements of one picture of `pictures`.
fn part(data: TensorData<'_>, picture: usize, pictures: usize) -> TensorData<'_> {
    let len = data.len() / pictures;
    let range = picture * len..(picture + 1) * len;
    match data {
        TensorData::F32(data) => TensorData::F32(&data[range]),
        TensorData::U8(data) => TensorData::U8(&data[range]),
        TensorData::I64(data) => TensorData::I64(&data[range]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::npz::write_npz;

    fn read(
        boxes: &[i64],
        scores: &[i64],
        anchors: &[i64],
        quantizations: Quantizations,
    ) -> Result<RawHeads, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("raw.npz");
        let numbers: Vec<f32> = (0..1000_u16).map(f32::from).collect();
        let tensor = |shape: &'static [i64]| {
            let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
            TensorView {
                shape,
                data: TensorData::F32(&numbers[..count]),
            }
        };
        let leak = |shape: &[i64]| -> &'static [i64] { Vec::leak(shape.to_vec()) };
        write_npz(
            &path,
            &[
                ("boxes", tensor(leak(boxes))),
                ("scores", tensor(leak(scores))),
                ("anchors", tensor(leak(anchors))),
            ],
        )
        .unwrap();
        RawHeads::read(&path, quantizations).map_err(|error| error.to_string())
    }

    #[test]
    fn a_batch_lends_each_pictures_own_rows() {
        let heads = read(&[2, 3, 4], &[2, 3, 2], &[3, 4], Quantizations::default()).unwrap();
        assert_eq!(
            (heads.picture_count(), heads.anchor_count(), heads.columns()),
            (2, 3, 2)
        );
        heads.with_picture(1, |inputs| {
            assert_eq!(inputs[0].tensor.shape, [1, 3, 4]);
            let TensorData::F32(scores) = inputs[1].tensor.data else {
                panic!("f32 went in");
            };
            assert_eq!(scores, [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        });
    }

    #[test]
    fn arrays_that_do_not_fit_are_refused_by_name() {
        let plain = Quantizations::default();
        let refused = |boxes, scores, anchors| read(boxes, scores, anchors, plain).unwrap_err();
        let error = refused(&[3, 3], &[3, 2], &[3, 4]);
        assert!(
            error.contains("array `boxes`") && error.contains("[3, 3]"),
            "{error}"
        );
        assert!(refused(&[3, 4], &[2, 2], &[3, 4]).contains("array `scores`"));
        assert!(refused(&[2, 3, 4], &[3, 2], &[3, 4]).contains("[2, 3, columns]"));
        assert!(refused(&[3, 4], &[3, 2], &[3, 5]).contains("array `anchors`"));
        let quantized = Quantizations {
            scores: Some(Quantization::default()),
            ..plain
        };
        let error = read(&[3, 4], &[3, 2], &[3, 4], quantized).unwrap_err();
        assert!(error.contains("--quant-scores has no meaning"), "{error}");
    }
}
