//! Post-processing takes no memory after its first call. Alone in its file: the counting allocator sees the whole
//! process.

#![allow(clippy::cast_possible_wrap)] // Sizes of the heads.

use std::alloc::System;
use std::collections::BTreeSet;

use detbench::model::description::Outputs;
use detbench::model::known;
use detbench::model::onnx::FourColumns;
use detbench::model::Reading;
use detbench::postprocess::{Detection, NmsMode};
use detbench::tensor::{TensorData, TensorView};
use stats_alloc::{Region, StatsAlloc, INSTRUMENTED_SYSTEM};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Numbers from -3 to 3, the same in every run.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 * 6.0 - 3.0
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn no_familys_detector_allocates_after_its_first_pictures() {
    let mut seen = BTreeSet::new();
    for model in known::descriptions() {
        // One model of each family will do.
        let family = model.outputs.raw_heads().map(|raw| raw.family.name());
        if family.is_some_and(|family| !seen.insert(family)) {
            continue;
        }
        let reading = Reading::new(&model, &FourColumns::new()).unwrap();
        match &model.outputs {
            Outputs::RawHeads(_) => {
                for mode in [NmsMode::Regular, NmsMode::Fast] {
                    heads(&model.name, &reading, mode);
                }
            }
            Outputs::Detections(own) => detections(&model.name, &reading, own.count.is_some()),
        }
    }
}

/// Two pictures of raw heads, over and over: the first round may allocate.
fn heads(name: &str, reading: &Reading, mode: NmsMode) {
    let (raw, anchors) = reading.raw_heads().unwrap();
    let columns = raw.heads.score_columns() as usize;
    let (rows, wide) = (anchors.len() as i64, columns as i64);
    let shapes = ([1, rows, 4], [1, rows, wide]);
    let pictures = [1, 2].map(|seed| {
        let mut scores = numbers(anchors.len() * columns, seed);
        // Logits of an SSD: most of them hopeless, a few sure.
        for score in &mut scores {
            *score = *score * 3.0 - 4.0;
        }
        (numbers(anchors.len() * 4, seed + 9), scores)
    });
    let mut detector = reading.detector(Some(mode)).unwrap();
    // The worker gives room for a thousand; more is only needed by families without a cap.
    let mut found: Vec<Detection> = Vec::with_capacity(anchors.len() * columns);
    let mut round = || {
        for (boxes, scores) in &pictures {
            let outputs = [
                TensorView {
                    shape: &shapes.0,
                    data: TensorData::F32(boxes),
                },
                TensorView {
                    shape: &shapes.1,
                    data: TensorData::F32(scores),
                },
            ];
            detector.detect(&outputs, 0, &mut found).unwrap();
        }
    };
    round();
    assert_quiet(name, Some(mode), round);
    assert!(!found.is_empty(), "{name}: nothing was found");
}

fn detections(name: &str, reading: &Reading, has_count: bool) {
    let boxes = numbers(4 * 100, 1);
    let classes: Vec<f32> = (0..100_u8).map(|slot| f32::from(slot % 80 + 1)).collect();
    // In no order: they have to be sorted.
    let scores: Vec<f32> = numbers(100, 5).iter().map(|one| one / 6.0 + 0.5).collect();
    let view = |shape, data| TensorView {
        shape,
        data: TensorData::F32(data),
    };
    let all = [
        view(&[1, 100, 4], &boxes),
        view(&[1, 100], &classes),
        view(&[1, 100], &scores),
        view(&[1], &[100.0]),
    ];
    let outputs = &all[..if has_count { 4 } else { 3 }];
    let mut detector = reading.detector(None).unwrap();
    let mut found = Vec::with_capacity(1_024);
    let mut round = || detector.detect(outputs, 0, &mut found).unwrap();
    round();
    assert_quiet(name, None, round);
    assert!(found.len() > 50, "{name}");
}

fn assert_quiet(name: &str, mode: Option<NmsMode>, mut round: impl FnMut()) {
    let region = Region::new(ALLOCATOR);
    round();
    let change = region.change();
    assert_eq!(
        change.allocations + change.reallocations,
        0,
        "{name}, {mode:?}: {change:?}"
    );
}
