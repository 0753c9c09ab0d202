//! The twelve numbers as pycocotools prints them.

use std::fmt::Write;

/// Kind, `IoU` thresholds, area range and detections a picture of each of the twelve numbers.
const ROWS: [(Kind, &str, &str, u32); 12] = [
    (Kind::Precision, "0.50:0.95", "all", 100),
    (Kind::Precision, "0.50", "all", 100),
    (Kind::Precision, "0.75", "all", 100),
    (Kind::Precision, "0.50:0.95", "small", 100),
    (Kind::Precision, "0.50:0.95", "medium", 100),
    (Kind::Precision, "0.50:0.95", "large", 100),
    (Kind::Recall, "0.50:0.95", "all", 1),
    (Kind::Recall, "0.50:0.95", "all", 10),
    (Kind::Recall, "0.50:0.95", "all", 100),
    (Kind::Recall, "0.50:0.95", "small", 100),
    (Kind::Recall, "0.50:0.95", "medium", 100),
    (Kind::Recall, "0.50:0.95", "large", 100),
];

#[derive(Clone, Copy)]
enum Kind {
    Precision,
    Recall,
}

impl Kind {
    const fn titles(self) -> (&'static str, &'static str) {
        match self {
            Self::Precision => ("Average Precision", "(AP)"),
            Self::Recall => ("Average Recall", "(AR)"),
        }
    }
}

/// The summary of `COCOeval.summarize()`: twelve lines, each ended by a line feed.
pub fn twelve_lines(stats: &[f64; 12]) -> String {
    let mut lines = String::with_capacity(12 * 82);
    for ((kind, iou, area, max_detections), value) in ROWS.iter().zip(stats) {
        let (title, short) = kind.titles();
        writeln!(
            lines,
            " {title:<18} {short} @[ IoU={iou:<9} | area={area:>6} | maxDets={max_detections:>3} ] = {value:.3}"
        )
        .expect("writing to a string cannot fail");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by pycocotools 2.0.11 for these twelve numbers.
    #[test]
    fn golden_lines_of_pycocotools_are_repeated() {
        let stats = [
            0.0625, 0.1875, 0.3125, -1.0, 0.4375, 1.0, 0.2795, 0.5, 0.8125, 0.99949, 0.0, 0.5625,
        ];
        let expected = include_str!("../../tests/golden/coco/twelve_lines.txt");
        assert_eq!(twelve_lines(&stats), expected);
    }
}
