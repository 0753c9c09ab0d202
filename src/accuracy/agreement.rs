//! How far one detector's answers are another's, without any labels.

use serde_json::json;

use super::{score, AccuracyError, CocoDetection, GroundTruth};

/// COCO's mAP of `other` with the `reference` detections as ground truth: 1 when they are the same, and what `other`
/// adds below the reference's least score costs little, as it does with labels.
///
/// `image_ids` are all pictures that both have seen. `None` when the reference found nothing.
///
/// # Errors
/// As [`score`].
pub fn agreement(
    reference: &[CocoDetection],
    other: &[CocoDetection],
    image_ids: &[i64],
) -> Result<Option<f64>, AccuracyError> {
    match as_truth(reference, image_ids)? {
        None => Ok(None),
        Some(truth) => Ok(Some(score(&truth, other, None)?.stats[0])),
    }
}

/// The `reference` detections in the place of labels, on all of these pictures; `None` when there are none.
///
/// # Errors
/// As [`agreement`].
pub fn as_truth(
    reference: &[CocoDetection],
    image_ids: &[i64],
) -> Result<Option<GroundTruth>, AccuracyError> {
    if reference.is_empty() {
        return Ok(None);
    }
    let mut categories: Vec<i64> = reference.iter().map(|one| one.category_id).collect();
    categories.sort_unstable();
    categories.dedup();
    let annotations: Vec<_> = reference
        .iter()
        .enumerate()
        .map(|(index, one)| {
            json!({
                "id": index + 1,
                "image_id": one.image_id,
                "category_id": one.category_id,
                "bbox": one.bbox,
                "area": one.bbox[2] * one.bbox[3],
                "iscrowd": 0,
            })
        })
        .collect();
    let document = json!({
        "images": image_ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>(),
        "categories": categories.iter().map(|id| json!({"id": id})).collect::<Vec<_>>(),
        "annotations": annotations,
    });
    document.to_string().parse().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(image_id: i64, x: f64, score: f64) -> CocoDetection {
        CocoDetection {
            image_id,
            category_id: 7,
            bbox: [x, 10.0, 50.0, 40.0],
            score,
        }
    }

    #[test]
    fn the_same_detections_agree_wholly_and_misplaced_ones_do_not() {
        let reference = [detection(1, 0.0, 0.9), detection(2, 100.0, 0.5)];
        let ids = [1, 2, 3];
        let own = agreement(&reference, &reference, &ids).unwrap().unwrap();
        assert!((own - 1.0).abs() < 1e-9, "{own}");
        let moved = [detection(1, 0.0, 0.9), detection(2, 400.0, 0.5)];
        let half = agreement(&reference, &moved, &ids).unwrap().unwrap();
        assert!((0.4..0.6).contains(&half), "{half}");
        let nothing = agreement(&reference, &[], &ids).unwrap().unwrap();
        assert!(nothing.abs() < 1e-9);
        assert_eq!(agreement(&[], &reference, &ids).unwrap(), None);
    }
}
