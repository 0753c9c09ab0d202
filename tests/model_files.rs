//! Every model file that ships: its anchors are the published ones, and its detectors can be built.

use std::collections::BTreeSet;

use detbench::model::description::{Anchors, Outputs};
use detbench::model::known;
use detbench::model::onnx::FourColumns;
use detbench::model::{AnchorSpec, Reading};
use detbench::postprocess::NmsMode;
use serde_json::Value;
use sha2::{Digest, Sha256};

const GOLDEN: &str = include_str!("golden/anchors/anchors_expected.json");

#[test]
fn every_shipped_model_builds_its_detectors_in_every_mode() {
    let mut families = BTreeSet::new();
    let mut ends_in_detections = 0;
    for model in known::descriptions() {
        let reading = Reading::new(&model, &FourColumns::new()).unwrap();
        let modes = match &model.outputs {
            Outputs::RawHeads(raw) => {
                families.insert(raw.family.name());
                vec![Some(NmsMode::Regular), Some(NmsMode::Fast)]
            }
            Outputs::Detections(_) => {
                ends_in_detections += 1;
                vec![None]
            }
        };
        for mode in modes {
            if let Err(error) = reading.detector(mode) {
                panic!("{}, {mode:?}: {error}", model.name);
            }
        }
        assert!(!model.files.is_empty(), "{} names no file", model.name);
    }
    assert_eq!(families.len(), 6, "{families:?}");
    assert!(ends_in_detections >= 6);
}

#[test]
fn the_anchors_of_every_shipped_model_are_the_published_ones() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let sets = golden.as_object().unwrap().values();
    let digests: BTreeSet<&str> = sets.filter_map(|set| set["sha256"].as_str()).collect();
    for model in known::descriptions() {
        let Some(raw) = model.outputs.raw_heads() else {
            continue;
        };
        let anchors = raw.anchors.load(&FourColumns::new()).unwrap();
        if raw.anchors == Anchors::Generated(AnchorSpec::MlperfTorchSsd300) {
            // Its digest is of corners, which the generator's own test compares.
            assert_eq!(anchors.len(), 1917);
            continue;
        }
        // PyTorch's families store x before y.
        let x_first: Vec<[f32; 4]> = anchors.iter().map(|&[y, x, h, w]| [x, y, w, h]).collect();
        let is_published = |rows: &[[f32; 4]]| digests.contains(digest(rows).as_str());
        assert!(
            is_published(&anchors) || is_published(&x_first),
            "{}",
            model.name
        );
    }
}

fn digest(rows: &[[f32; 4]]) -> String {
    let mut hasher = Sha256::new();
    for value in rows.iter().flatten() {
        hasher.update(value.to_le_bytes());
    }
    format!("{:x}", hasher.finalize())
}
