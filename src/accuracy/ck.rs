//! The roundings of Collective Knowledge's text files, for its published digits.

use super::CocoDetection;

/// What a detection is after CK has written it as text and read it back: corners with two decimals, the score
/// with three, sides from the rounded corners with two. Detections of category 0 are dropped there.
pub fn ck_rounded(detections: &[CocoDetection]) -> Vec<CocoDetection> {
    detections
        .iter()
        .filter(|detection| detection.category_id != 0)
        .map(|detection| {
            let [x, y, width, height] = detection.bbox;
            // CK prints f32 corners.
            let corner = |edge: f64| rounded::<2>(f64::from(edge as f32));
            let (left, top) = (corner(x), corner(y));
            let (right, bottom) = (corner(x + width), corner(y + height));
            CocoDetection {
                bbox: [
                    left,
                    top,
                    rounded::<2>(right - left),
                    rounded::<2>(bottom - top),
                ],
                score: rounded::<3>(f64::from(detection.score as f32)),
                ..*detection
            }
        })
        .collect()
}

/// The nearest number of so many decimals, by the exact binary value, halves to even: what C and Python print.
fn rounded<const DECIMALS: usize>(value: f64) -> f64 {
    format!("{value:.DECIMALS$}")
        .parse()
        .expect("a printed number is a number")
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Decimals are compared with their own literals.
mod tests {
    use super::*;

    #[test]
    fn corners_have_two_decimals_and_scores_three() {
        let detection = |category_id| CocoDetection {
            image_id: 1,
            category_id,
            bbox: [10.125, 20.375, 5.004, 1e-9],
            score: 0.123_456,
        };
        let rounded = ck_rounded(&[detection(0), detection(3)]);
        assert_eq!(rounded.len(), 1);
        // Both eighths are exact in binary, so their halves go to the even digit.
        assert_eq!(rounded[0].bbox, [10.12, 20.38, 5.01, 0.0]);
        assert_eq!(rounded[0].score, 0.123);
    }
}
