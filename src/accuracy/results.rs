//! Detections in pixels, and the file in which COCO's tools exchange them.

use std::io::{BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ground_truth::id;
use super::AccuracyError;
use crate::postprocess::Detection;

/// One detection as a COCO results file holds it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CocoDetection {
    /// The image's id in the ground truth.
    #[serde(deserialize_with = "id")]
    pub image_id: i64,
    /// The category's id in the ground truth.
    #[serde(deserialize_with = "id")]
    pub category_id: i64,
    /// x, y, width, height in pixels of the picture as it was published; not clipped.
    pub bbox: [f64; 4],
    /// Larger is surer.
    pub score: f64,
}

impl CocoDetection {
    /// A detection scaled from shares to the pixels of its picture.
    ///
    /// Edges are scaled in `f64`, and the sizes are differences of scaled edges, as `MLPerf`'s `accuracy-coco.py`
    /// has it.
    pub fn from_detection(
        detection: &Detection,
        image_id: i64,
        category_id: i64,
        (width, height): (u32, u32),
    ) -> Self {
        let x = f64::from(detection.x_min) * f64::from(width);
        let y = f64::from(detection.y_min) * f64::from(height);
        let right = f64::from(detection.x_max) * f64::from(width);
        let bottom = f64::from(detection.y_max) * f64::from(height);
        Self {
            image_id,
            category_id,
            bbox: [x, y, right - x, bottom - y],
            score: f64::from(detection.score),
        }
    }
}

/// Writes a COCO results file: a JSON list, each number with the fewest digits that read back the same.
///
/// # Errors
/// [`AccuracyError::NotANumber`] for what JSON cannot hold, before anything is written; [`AccuracyError::Write`].
pub fn write_results(path: &Path, detections: &[CocoDetection]) -> Result<(), AccuracyError> {
    for (index, detection) in detections.iter().enumerate() {
        let numbers = detection.bbox.iter().map(|&edge| ("bbox", edge));
        for (key, value) in numbers.chain([("score", detection.score)]) {
            if !value.is_finite() {
                return Err(AccuracyError::NotANumber { index, key, value });
            }
        }
    }
    let failed = |source| AccuracyError::Write {
        path: path.to_owned(),
        source,
    };
    let mut file = BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    serde_json::to_writer(&mut file, detections).map_err(|error| failed(error.into()))?;
    file.flush().map_err(failed)
}

/// Reads a COCO results file; other keys than the four of [`CocoDetection`] are passed over.
///
/// # Errors
/// [`AccuracyError::Read`], [`AccuracyError::Json`] with line and column, and [`AccuracyError::NoDetections`].
pub fn read_results(path: &Path) -> Result<Vec<CocoDetection>, AccuracyError> {
    let text = std::fs::read(path).map_err(|source| AccuracyError::Read {
        path: path.to_owned(),
        source,
    })?;
    let detections: Vec<CocoDetection> =
        serde_json::from_slice(&text).map_err(|source| AccuracyError::Json {
            origin: path.display().to_string(),
            expected: "a list of COCO results",
            source,
        })?;
    if detections.is_empty() {
        return Err(AccuracyError::NoDetections {
            path: path.to_owned(),
        });
    }
    Ok(detections)
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Exact equality is what is promised.
mod tests {
    use super::*;

    fn detection(score: f64) -> CocoDetection {
        CocoDetection {
            image_id: 42,
            category_id: 1,
            bbox: [0.1, -3.5, 1e-7, 1.0 / 3.0],
            score,
        }
    }

    #[test]
    fn results_read_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("detections.json");
        let written = [detection(f64::from(0.3_f32)), detection(1.0)];
        write_results(&path, &written).unwrap();
        assert_eq!(read_results(&path).unwrap(), written);
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = r#"[{"image_id":42,"category_id":1,"bbox":[0.1,-3.5,1e-7,0.3333333333333333],"score":0.30000001192092896},"#;
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn a_number_that_json_cannot_hold_is_refused_by_position() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("detections.json");
        let error = write_results(&path, &[detection(0.5), detection(f64::NAN)]).unwrap_err();
        assert!(
            matches!(
                error,
                AccuracyError::NotANumber {
                    index: 1,
                    key: "score",
                    ..
                }
            ),
            "{error}"
        );
        assert!(!path.exists());
    }

    #[test]
    fn boxes_become_pixels_without_clipping() {
        let detection = Detection {
            y_min: -0.25,
            x_min: 0.5,
            y_max: 0.75,
            x_max: 1.25,
            score: 0.5,
            class: 16,
        };
        let pixels = CocoDetection::from_detection(&detection, 9, 17, (640, 480));
        assert_eq!(pixels.bbox, [320.0, -120.0, 480.0, 480.0]);
        assert_eq!(
            (pixels.image_id, pixels.category_id, pixels.score),
            (9, 17, 0.5)
        );
    }
}
