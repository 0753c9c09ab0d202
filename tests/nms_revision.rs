//! The order of equal scores in the two revisions of the op, against a merge class by class as the op does it.

use detbench::postprocess::tflite::{
    DetectionPostProcess, Input, Options, Output, Quantization, Revision,
};
use detbench::postprocess::BoxScales;
use detbench::tensor::{TensorData, TensorView};
use proptest::prelude::*;

const ANCHORS: usize = 6;
const CLASSES: usize = 4;
const THRESHOLD: f32 = 0.25;
const WANTED: usize = 9;

/// Classes and scores of the slots; no two boxes overlap, so nothing is suppressed.
fn slots(revision: Revision, scores: &[f32]) -> Vec<(u32, usize, f32)> {
    let anchors: Vec<f32> = (0..ANCHORS)
        .flat_map(|anchor| [anchor as f32, 0.0, 0.5, 0.5])
        .collect();
    let options = Options {
        max_detections: 9,
        max_classes_per_detection: 1,
        detections_per_class: 100,
        use_regular_nms: true,
        nms_score_threshold: THRESHOLD,
        nms_iou_threshold: 0.5,
        scales: BoxScales {
            y: 1.0,
            x: 1.0,
            h: 1.0,
            w: 1.0,
        },
        num_classes: 4,
    };
    let input = |shape, data| Input {
        tensor: TensorView {
            shape,
            data: TensorData::F32(data),
        },
        quantization: Quantization::default(),
    };
    let encodings = [0.0; ANCHORS * 4];
    let inputs = [
        input(&[1, 6, 4], &encodings),
        input(&[1, 6, 4], scores),
        input(&[6, 4], &anchors),
    ];
    let mut output = Output::default();
    let mut op = DetectionPostProcess::new(options).with_revision(revision);
    op.run(&inputs, &mut output).unwrap();
    let kept = 0..output.num_detections as usize;
    kept.map(|slot| {
        let anchor = (output.boxes[slot][0] + 0.25).round() as usize;
        (output.classes[slot] as u32, anchor, output.scores[slot])
    })
    .collect()
}

/// Class by class: the class's own list is merged into what was kept, then cut.
fn reference(revision: Revision, scores: &[f32]) -> Vec<(u32, usize, f32)> {
    let mut kept: Vec<(u32, usize, f32)> = Vec::new();
    for class in 0..CLASSES {
        let mut own: Vec<(u32, usize, f32)> = (0..ANCHORS)
            .map(|anchor| (class as u32, anchor, scores[anchor * CLASSES + class]))
            .filter(|&(_, _, score)| score >= THRESHOLD)
            .collect();
        own.sort_by(|a, b| b.2.total_cmp(&a.2));
        let mut merged = Vec::new();
        let (mut old, mut new) = (kept.into_iter().peekable(), own.into_iter().peekable());
        loop {
            let takes_new = match (old.peek(), new.peek()) {
                (None, None) => break,
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (Some(old), Some(new)) => match revision {
                    Revision::R3 => new.2 > old.2,
                    Revision::R2 => new.2 >= old.2,
                },
            };
            merged.extend(if takes_new { new.next() } else { old.next() });
        }
        merged.truncate(WANTED);
        kept = merged;
    }
    kept
}

proptest! {
    #[test]
    fn both_revisions_merge_as_the_op_does(
        levels in prop::collection::vec(0..6_u8, ANCHORS * CLASSES)
    ) {
        let scores: Vec<f32> = levels.iter().map(|&level| f32::from(level) / 8.0).collect();
        for revision in [Revision::R3, Revision::R2] {
            prop_assert_eq!(slots(revision, &scores), reference(revision, &scores));
        }
    }
}

#[test]
fn the_revisions_differ_in_ties_alone() {
    let mut scores = [0.0; ANCHORS * CLASSES];
    (scores[1], scores[CLASSES + 3]) = (0.5, 0.5);
    assert_eq!(slots(Revision::R3, &scores), [(1, 0, 0.5), (3, 1, 0.5)]);
    assert_eq!(slots(Revision::R2, &scores), [(3, 1, 0.5), (1, 0, 0.5)]);
    scores[1] = 0.625;
    assert_eq!(slots(Revision::R3, &scores), slots(Revision::R2, &scores));
}
