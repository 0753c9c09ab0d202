//! VOC's average precision against independent figures (`tests/golden/voc/README.md`).

mod vectors;

use detbench::accuracy::voc::{
    read_annotations, score_class, VocDetection, VocObject, VocStyle, CLASSES,
};
use serde_json::Value;

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn corners(value: &Value) -> [f64; 4] {
    std::array::from_fn(|edge| value[edge].as_f64().unwrap())
}

#[allow(clippy::float_cmp)] // The marks for an unknown value are exact.
fn same(found: f64, expected: &Value) -> bool {
    match expected {
        Value::String(_) => found.is_nan(),
        // Both are what "no detections" may score.
        Value::Null => [-1.0_f64, 0.0]
            .iter()
            .any(|none| none.to_bits() == found.to_bits()),
        number => found.to_bits() == number.as_f64().unwrap().to_bits(),
    }
}

fn check(set: &Value, failures: &mut Vec<String>) -> usize {
    let objects: Vec<VocObject> = set["gts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| VocObject {
            image: text(&object["image"]),
            class: text(&object["class"]),
            corners: corners(&object["bbox"]),
            is_difficult: object["difficult"] != 0,
            is_truncated: false,
        })
        .collect();
    let detections: Vec<VocDetection> = set["dets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|detection| VocDetection {
            image: text(&detection["image"]),
            class: text(&detection["class"]),
            score: detection["score"].as_f64().unwrap(),
            corners: corners(&detection["bbox"]),
        })
        .collect();
    let mut compared = 0;
    for style in [VocStyle::Devkit, VocStyle::Ptssd, VocStyle::Hikapok] {
        for (class, expected) in set["expect"][style.name()].as_object().unwrap() {
            let found = score_class(class, &objects, &detections, style);
            let counts = [
                (found.object_count, "npos"),
                (found.true_positives, "tp"),
                (found.false_positives, "fp"),
            ];
            let counted = counts.iter().all(|(count, key)| expected[key] == *count);
            if !counted
                || !same(found.ap_11, &expected["ap11"])
                || !same(found.ap_all, &expected["ap_all"])
            {
                let (set, style) = (&set["name"], style.name());
                failures.push(format!(
                    "{set} {style} {class}: {found:?}, expected {expected}"
                ));
            }
            compared += 1;
        }
    }
    compared
}

/// The sets of every folder; what is none is skipped by name.
fn sets() -> Vec<Value> {
    let mut sets = Vec::new();
    for root in vectors::roots() {
        for path in root.entries("voc") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let set: Value = serde_json::from_str(&text).unwrap_or_default();
            if set["dets"].is_array() && set["gts"].is_array() && set["expect"].is_object() {
                sets.push(set);
            } else {
                eprintln!("skipped {}: no set with its expectation", path.display());
            }
        }
    }
    sets
}

#[test]
fn every_style_gives_its_golden_figures_bit_for_bit() {
    let mut failures = Vec::new();
    let mut compared = 0;
    for set in sets() {
        compared += check(&set, &mut failures);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(compared >= 12, "{compared}");
}

#[test]
fn on_real_annotations_the_objects_themselves_are_a_perfect_answer() {
    let Ok(data) = std::env::var("DETBENCH_TEST_DATA") else {
        eprintln!("DETBENCH_TEST_DATA is unset: skipped");
        return;
    };
    let folder = std::path::PathBuf::from(data).join("voc2012_100");
    let (images, objects) = read_annotations(&folder, None).unwrap();
    assert_eq!(images.len(), 100);
    let plain = objects.iter().filter(|object| !object.is_difficult);
    assert_eq!(plain.count(), 235);
    let as_found = |object: &VocObject| VocDetection {
        image: object.image.clone(),
        class: object.class.clone(),
        score: 1.0,
        corners: object.corners,
    };
    let detections: Vec<VocDetection> = objects.iter().map(as_found).collect();
    let mut counted = 0;
    for class in CLASSES {
        for style in [VocStyle::Devkit, VocStyle::Hikapok] {
            let score = score_class(class, &objects, &detections, style);
            let of_class = objects
                .iter()
                .filter(|object| object.class == class && !object.is_difficult);
            assert_eq!(score.object_count as usize, of_class.count(), "{class}");
            assert_eq!(
                score.true_positives, score.object_count,
                "{class}, {style:?}"
            );
            assert_eq!(score.false_positives, 0, "{class}, {style:?}");
            if score.object_count > 0 {
                assert!(
                    (score.ap_all - 1.0).abs() < 1e-12,
                    "{class}: {}",
                    score.ap_all
                );
                assert!(
                    (score.ap_11 - 1.0).abs() < 1e-12,
                    "{class}: {}",
                    score.ap_11
                );
            }
            counted += score.object_count;
        }
    }
    assert_eq!(counted, 2 * 235);
}
