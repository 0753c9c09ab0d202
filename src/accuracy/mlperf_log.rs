//! `MLPerf`'s accuracy log: what each sample was answered, as hexadecimal floats.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{AccuracyError, CocoDetection, ImageFacts};
use crate::postprocess::Detection;

/// Floats of a detection: index, `y_min`, `x_min`, `y_max`, `x_max`, score, label.
const RECORD: usize = 7;

/// Why an accuracy log cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum MlperfLogError {
    /// Data that are no hexadecimal floats, or no whole records of them.
    #[error("{}: the data of entry {entry} are not hexadecimal float32 in records of {RECORD}", path.display())]
    Data {
        /// The log.
        path: PathBuf,
        /// Position, from 0.
        entry: usize,
    },
    /// A record that belongs to another sample.
    #[error("{}: entry {entry} answers sample {sample}, but its data name sample {named}", path.display())]
    Disagreement {
        /// The log.
        path: PathBuf,
        /// Position, from 0.
        entry: usize,
        /// The sample of the entry.
        sample: u64,
        /// The sample of its data.
        named: f32,
    },
    /// A sample that is no image.
    #[error(
        "{}: entry {entry} answers sample {sample}, but there are {images} images; give the annotations that were run",
        path.display()
    )]
    Sample {
        /// The log.
        path: PathBuf,
        /// Position, from 0.
        entry: usize,
        /// The sample.
        sample: u64,
        /// How many images there are.
        images: usize,
    },
    /// An image of unknown size.
    #[error(
        "the annotations do not say the width and height of image {image_id}, which its boxes need"
    )]
    Size {
        /// The image.
        image_id: i64,
    },
}

#[derive(Deserialize)]
struct Entry {
    qsl_idx: u64,
    data: String,
}

/// What a log holds.
#[derive(Debug, Clone, PartialEq)]
pub struct MlperfLog {
    /// The detections in pixels, in the order of the log.
    pub detections: Vec<CocoDetection>,
    /// The images that were answered, ascending.
    pub image_ids: Vec<i64>,
}

/// Reads a log; sample `n` is the `n`-th of `images`.
///
/// Of a sample that is logged twice the first answer counts; an answer of fewer than seven floats is an image without
/// detections. Boxes become pixels in f64, as with numpy 1. `labels` gives the category of a label.
///
/// # Errors
/// [`AccuracyError`] naming the log and the entry.
pub fn read_mlperf_log(
    path: &Path,
    images: &[ImageFacts],
    labels: impl Fn(i64) -> Option<i64>,
) -> Result<MlperfLog, AccuracyError> {
    let text = std::fs::read(path).map_err(|source| AccuracyError::Read {
        path: path.to_owned(),
        source,
    })?;
    let entries: Vec<Entry> =
        serde_json::from_slice(&text).map_err(|source| AccuracyError::Json {
            origin: path.display().to_string(),
            expected: "an accuracy log of LoadGen",
            source,
        })?;
    let mut seen = BTreeSet::new();
    let mut detections = Vec::new();
    let mut image_ids = BTreeSet::new();
    for (position, entry) in entries.iter().enumerate() {
        if !seen.insert(entry.qsl_idx) {
            continue;
        }
        let image = usize::try_from(entry.qsl_idx)
            .ok()
            .and_then(|index| images.get(index))
            .ok_or_else(|| MlperfLogError::Sample {
                path: path.to_owned(),
                entry: position,
                sample: entry.qsl_idx,
                images: images.len(),
            })?;
        image_ids.insert(image.id);
        let floats = floats(&entry.data).ok_or_else(|| MlperfLogError::Data {
            path: path.to_owned(),
            entry: position,
        })?;
        if floats.len() < RECORD {
            continue;
        }
        let (records, rest) = floats.as_chunks::<RECORD>();
        if !rest.is_empty() {
            let (path, entry) = (path.to_owned(), position);
            return Err(MlperfLogError::Data { path, entry }.into());
        }
        if image.width == 0 || image.height == 0 {
            return Err(MlperfLogError::Size { image_id: image.id }.into());
        }
        for &[index, y_min, x_min, y_max, x_max, score, label] in records {
            if index as u64 != entry.qsl_idx {
                return Err(MlperfLogError::Disagreement {
                    path: path.to_owned(),
                    entry: position,
                    sample: entry.qsl_idx,
                    named: index,
                }
                .into());
            }
            let Some(category_id) = labels(label as i64) else {
                continue;
            };
            let detection = Detection {
                y_min,
                x_min,
                y_max,
                x_max,
                score,
                class: 0,
            };
            let size = (image.width, image.height);
            detections.push(CocoDetection::from_detection(
                &detection,
                image.id,
                category_id,
                size,
            ));
        }
    }
    Ok(MlperfLog {
        detections,
        image_ids: image_ids.into_iter().collect(),
    })
}

/// Little-endian floats from hexadecimal digits.
fn floats(hex: &str) -> Option<Vec<f32>> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| Some(digit.to_digit(16)? as u8))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    let (words, odd) = bytes.as_chunks::<4>();
    (rest.is_empty() && odd.is_empty())
        .then(|| words.iter().copied().map(f32::from_le_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(floats: &[f32]) -> String {
        let bytes = floats.iter().flat_map(|value| value.to_le_bytes());
        let digits = bytes.flat_map(|byte| [byte >> 4, byte & 15]);
        digits
            .map(|digit| char::from_digit(digit.into(), 16).expect("below 16"))
            .collect()
    }

    fn read(entries: &[(u64, String)]) -> Result<MlperfLog, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mlperf_log_accuracy.json");
        let entries: Vec<_> = entries
            .iter()
            .map(|(index, data)| serde_json::json!({"seq_id": 0, "qsl_idx": index, "data": data}))
            .collect();
        std::fs::write(&path, serde_json::to_string(&entries).unwrap()).unwrap();
        let images: Vec<ImageFacts> = [30, 20, 10]
            .map(|id| ImageFacts {
                id,
                file_name: String::new(),
                width: 200,
                height: 100,
            })
            .into();
        read_mlperf_log(&path, &images, |label| (label != 7).then_some(label))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn records_become_pixels_of_the_sample_th_image() {
        let found = hex(&[
            1.0, 0.25, 0.5, 0.75, 1.0, 0.5, 3.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.25, 7.0,
        ]);
        let again = hex(&[1.0, 0.0, 0.0, 1.0, 1.0, 0.5, 3.0]);
        let log = read(&[(1, found), (2, String::new()), (1, again), (0, hex(&[0.0]))]).unwrap();
        assert_eq!(log.image_ids, [10, 20, 30]);
        let detection = CocoDetection {
            image_id: 20,
            category_id: 3,
            bbox: [100.0, 25.0, 100.0, 50.0],
            score: 0.5,
        };
        assert_eq!(log.detections, [detection]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_entry() {
        let good = hex(&[0.0, 0.0, 0.0, 1.0, 1.0, 0.5, 3.0]);
        assert!(read(&[(0, good.clone()), (3, good.clone())])
            .unwrap_err()
            .contains("entry 1 answers sample 3"));
        assert!(read(&[(1, good.clone())])
            .unwrap_err()
            .contains("name sample 0"));
        assert!(read(&[(0, good[1..].to_owned())])
            .unwrap_err()
            .contains("entry 0"));
        assert!(read(&[(0, format!("{good}00000000"))])
            .unwrap_err()
            .contains("records of 7"));
        assert!(read(&[(0, "é".repeat(8))]).is_err());
    }
}
