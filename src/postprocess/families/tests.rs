//! The families' procedures, rule by rule.

#![allow(clippy::cast_possible_wrap)] // Lengths of small vectors.

use super::*;
use crate::tensor::TensorData;

const UNIT: BoxScales = BoxScales {
    y: 10.0,
    x: 10.0,
    h: 5.0,
    w: 5.0,
};

/// Detections of anchors given by their corners, with zero encodings.
fn detect(
    mode: NmsMode,
    procedure: Procedure,
    change: impl Fn(&mut FamilyRules, &mut NmsSettings),
    corners: &[[f32; 4]],
    scores: &[f32],
) -> Vec<(u32, f32)> {
    let classes = scores.len() / corners.len();
    let anchors = corners
        .iter()
        .map(|&[y_min, x_min, y_max, x_max]| {
            [
                y_min.midpoint(y_max),
                x_min.midpoint(x_max),
                y_max - y_min,
                x_max - x_min,
            ]
        })
        .collect();
    let heads = FamilyHeads {
        anchors,
        scales: UNIT,
        activation: Activation::None,
        classes,
        background: false,
    };
    let mut rules = procedure.rules();
    let mut nms = NmsSettings {
        score_threshold: 0.25,
        iou_threshold: 0.5,
        max_detections: 100,
        detections_per_class: 100,
        max_classes_per_detection: 1,
    };
    change(&mut rules, &mut nms);
    let mut detector = FamilyDetector::new(mode, procedure, rules, heads, nms).unwrap();
    let rows = corners.len() as i64;
    let encodings = vec![0.0; corners.len() * 4];
    let outputs = [
        TensorView {
            shape: &[1, rows, 4],
            data: TensorData::F32(&encodings),
        },
        TensorView {
            shape: &[1, rows, classes as i64],
            data: TensorData::F32(scores),
        },
    ];
    let mut detections = Vec::new();
    detector.detect(&outputs, 0, &mut detections).unwrap();
    let first = detections.clone();
    detector.detect(&outputs, 0, &mut detections).unwrap();
    assert_eq!(first, detections, "a second call sees nothing of the first");
    detections
        .iter()
        .map(|one| (one.class, one.score))
        .collect()
}

const ALL: [Procedure; 5] = [
    Procedure::TfodSsd,
    Procedure::MlperfTorchSsd,
    Procedure::MlperfSsdResnet34,
    Procedure::PytorchSsd,
    Procedure::HikapokSsd,
];
const LEFT: [f32; 4] = [0.0, 0.0, 0.5, 0.5];
const RIGHT: [f32; 4] = [0.5, 0.5, 1.0, 1.0];

#[test]
fn regular_suppresses_within_a_class_and_fast_across_classes() {
    for procedure in ALL {
        let scores = [0.9, 0.4, 0.3, 0.8, 0.1, 0.7];
        let corners = [LEFT, LEFT, RIGHT];
        let regular = detect(NmsMode::Regular, procedure, |_, _| {}, &corners, &scores);
        assert_eq!(regular, [(0, 0.9), (1, 0.8), (1, 0.7)], "{procedure:?}");
        let fast = detect(NmsMode::Fast, procedure, |_, _| {}, &corners, &scores);
        assert_eq!(fast, [(0, 0.9), (1, 0.7)], "{procedure:?}");
    }
}

#[test]
fn a_score_at_the_threshold_is_no_candidate() {
    for procedure in ALL {
        let found = detect(
            NmsMode::Regular,
            procedure,
            |_, _| {},
            &[LEFT, RIGHT],
            &[0.25, 0.26],
        );
        assert_eq!(found, [(0, 0.26)], "{procedure:?}");
    }
}

#[test]
fn an_overlap_at_the_threshold_suppresses_in_resnet34_alone() {
    // The second box is half of the first: IoU 0.5, all of it exact.
    let half = [0.0, 0.0, 0.5, 0.25];
    for procedure in ALL {
        let found = detect(
            NmsMode::Regular,
            procedure,
            |_, _| {},
            &[LEFT, half],
            &[0.9, 0.8],
        );
        let expected = if procedure == Procedure::MlperfSsdResnet34 {
            1
        } else {
            2
        };
        assert_eq!(found.len(), expected, "{procedure:?}");
    }
}

#[test]
fn equal_scores_keep_the_lower_index_but_in_resnet34() {
    let found = |procedure| {
        let one = |_: &mut FamilyRules, nms: &mut NmsSettings| nms.max_detections = 1;
        detect(NmsMode::Regular, procedure, one, &[LEFT], &[0.5, 0.5])[0].0
    };
    assert_eq!(found(Procedure::TfodSsd), 0);
    assert_eq!(found(Procedure::MlperfSsdResnet34), 1);
}

#[test]
fn small_boxes_are_dropped_by_hikapok_and_boxes_outside_by_the_object_detection_api() {
    let sliver = [0.1, 0.1, 0.12, 0.9];
    let found = |procedure, corners| {
        detect(NmsMode::Regular, procedure, |_, _| {}, &[corners], &[0.9]).len()
    };
    assert_eq!(found(Procedure::HikapokSsd, sliver), 0);
    assert_eq!(found(Procedure::TfodSsd, sliver), 1);
    let outside = [1.1, 0.2, 1.5, 0.8];
    assert_eq!(found(Procedure::TfodSsd, outside), 0);
    assert_eq!(found(Procedure::PytorchSsd, outside), 1);
    let after = |rules: &mut FamilyRules, _: &mut NmsSettings| rules.clip = Clip::After;
    let kept = detect(
        NmsMode::Regular,
        Procedure::TfodSsd,
        after,
        &[outside, LEFT],
        &[0.9, 0.8],
    );
    assert_eq!(kept, [(0, 0.8)]);
}

#[test]
fn resnet34_multiplies_gaps() {
    // Two boxes apart on both axes: 0.6 * 0.6 would be their intersection.
    let (near, far) = ([0.0, 0.0, 0.2, 0.2], [0.8, 0.8, 1.0, 1.0]);
    let found = |procedure| {
        let low = |_: &mut FamilyRules, nms: &mut NmsSettings| nms.iou_threshold = 0.01;
        detect(NmsMode::Regular, procedure, low, &[near, far], &[0.9, 0.8]).len()
    };
    // The union is then negative and so is the overlap: both stay, as they do in the original.
    assert_eq!(found(Procedure::MlperfSsdResnet34), 2);
    let (near, far) = ([0.0, 0.0, 0.45, 0.45], [0.55, 0.55, 1.0, 1.0]);
    let low = |rules: &mut FamilyRules, nms: &mut NmsSettings| {
        rules.multiplies_gaps = true;
        nms.iou_threshold = 0.01;
    };
    let found = detect(
        NmsMode::Regular,
        Procedure::MlperfSsdResnet34,
        low,
        &[near, far],
        &[0.9, 0.8],
    );
    assert_eq!(found.len(), 1);
    let clamped = |rules: &mut FamilyRules, nms: &mut NmsSettings| {
        rules.multiplies_gaps = false;
        nms.iou_threshold = 0.01;
    };
    let found = detect(
        NmsMode::Regular,
        Procedure::MlperfSsdResnet34,
        clamped,
        &[near, far],
        &[0.9, 0.8],
    );
    assert_eq!(found.len(), 2);
}

#[test]
fn only_so_many_candidates_of_a_class_enter() {
    let one = |rules: &mut FamilyRules, _: &mut NmsSettings| rules.candidates_per_class = 1;
    let found = detect(
        NmsMode::Regular,
        Procedure::PytorchSsd,
        one,
        &[LEFT, RIGHT],
        &[0.8, 0.9],
    );
    assert_eq!(found, [(0, 0.9)]);
}

#[test]
fn encodings_in_the_order_of_x_first_are_read_so() {
    let anchor = [0.5, 0.5, 0.2, 0.4];
    let y_first = decode(
        Procedure::PytorchSsd,
        BoxOrder::Yxhw,
        &UNIT,
        &[1.0, 2.0, 3.0, 4.0],
        &anchor,
    );
    let x_first = decode(
        Procedure::PytorchSsd,
        BoxOrder::Xywh,
        &UNIT,
        &[2.0, 1.0, 4.0, 3.0],
        &anchor,
    );
    assert_eq!(y_first, x_first);
}
