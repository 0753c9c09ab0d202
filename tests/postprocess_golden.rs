//! The op against answers that `LiteRT` itself gave (`tests/golden/nms/README.md`).

mod vectors;

use detbench::postprocess::tflite::{DetectionPostProcess, Input, Options, Output, Quantization};
use detbench::postprocess::BoxScales;
use detbench::tensor::{TensorData, TensorView};
use serde_json::Value;

/// An array of a `cases.bin`; 8-bit signed and other types become `I64`, which the op refuses as it should.
enum Array {
    F32(Vec<f32>),
    U8(Vec<u8>),
    Other(Vec<i64>),
}

impl Array {
    fn read(binary: &[u8], entry: &Value) -> (Self, Vec<i64>) {
        let shape: Vec<i64> = entry["shape"]
            .as_array()
            .unwrap()
            .iter()
            .map(|axis| axis.as_i64().unwrap())
            .collect();
        let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
        let bytes = &binary[usize::try_from(entry["off"].as_u64().unwrap()).unwrap()..];
        let array = match entry["dtype"].as_str().unwrap() {
            "float32" => Self::F32(
                bytes.as_chunks().0[..count]
                    .iter()
                    .map(|&bytes| f32::from_le_bytes(bytes))
                    .collect(),
            ),
            "uint8" => Self::U8(bytes[..count].to_vec()),
            _ => Self::Other(vec![0; count]),
        };
        (array, shape)
    }

    fn floats(binary: &[u8], entry: &Value) -> Vec<f32> {
        match Self::read(binary, entry).0 {
            Self::F32(floats) => floats,
            _ => panic!("expected answers are float32"),
        }
    }

    fn data(&self) -> TensorData<'_> {
        match self {
            Self::F32(data) => TensorData::F32(data),
            Self::U8(data) => TensorData::U8(data),
            Self::Other(data) => TensorData::I64(data),
        }
    }
}

/// The flexbuffer map's integers and floats; an absent key reads as zero.
fn options(params: &Value) -> Options {
    let int = |key: &str| i32::try_from(params[key].as_i64().unwrap_or(0)).unwrap();
    let float = |key: &str| params[key].as_f64().unwrap_or(0.0) as f32;
    Options {
        max_detections: int("max_detections"),
        max_classes_per_detection: int("max_classes_per_detection"),
        detections_per_class: params["detections_per_class"]
            .as_i64()
            .map_or(100, |value| i32::try_from(value).unwrap()),
        use_regular_nms: params["use_regular_nms"].as_bool().unwrap_or(false),
        nms_score_threshold: float("nms_score_threshold"),
        nms_iou_threshold: float("nms_iou_threshold"),
        scales: BoxScales {
            y: float("y_scale"),
            x: float("x_scale"),
            h: float("h_scale"),
            w: float("w_scale"),
        },
        num_classes: int("num_classes"),
    }
}

fn quantization(pair: &Value) -> Quantization {
    if pair.is_null() {
        return Quantization::default();
    }
    Quantization {
        scale: pair[0].as_f64().unwrap() as f32,
        zero_point: i32::try_from(pair[1].as_i64().unwrap()).unwrap(),
    }
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn check(case: &Value, binary: &[u8]) -> Result<(), String> {
    let inputs = &case["inputs"];
    let read = |key: &str, quant: &str, batched: bool| {
        let (array, mut shape) = Array::read(binary, &inputs[key]);
        if batched && shape.len() == 2 {
            shape.insert(0, 1);
        }
        (array, shape, quantization(&case["quant"][quant]))
    };
    let arrays = [
        read("box_encodings", "box", true),
        read("class_predictions", "cls", true),
        read("anchors", "anc", false),
    ];
    let inputs: Vec<Input<'_>> = arrays
        .iter()
        .map(|(array, shape, quantization)| Input {
            tensor: TensorView {
                shape,
                data: array.data(),
            },
            quantization: *quantization,
        })
        .collect();
    let mut op = DetectionPostProcess::new(options(&case["params"]));
    let mut output = Output::default();
    let expect = &case["expect"];
    // The second run must not see the first.
    for _ in 0..2 {
        let result = op.run(&inputs, &mut output);
        if expect["status"] == "error" {
            return if result.is_err() {
                Ok(())
            } else {
                Err("the op fails here".into())
            };
        }
        result.map_err(|error| error.to_string())?;
        compare(&output, expect, binary)?;
    }
    Ok(())
}

fn compare(output: &Output, expect: &Value, binary: &[u8]) -> Result<(), String> {
    let num_detections = expect["num_detections"].as_f64().unwrap() as f32;
    if !same(output.num_detections, num_detections) {
        return Err(format!(
            "{} detections, expected {num_detections}",
            output.num_detections
        ));
    }
    if output.scores.len() as u64 != expect["total_slots"].as_u64().unwrap() {
        return Err(format!("{} slots", output.scores.len()));
    }
    let boxes = Array::floats(binary, &expect["boxes"]);
    let classes = Array::floats(binary, &expect["classes"]);
    let scores = Array::floats(binary, &expect["scores"]);
    for (row, slot) in expect["slots"].as_array().unwrap().iter().enumerate() {
        let slot = usize::try_from(slot.as_u64().unwrap()).unwrap();
        let expected: Vec<f32> = boxes[row * 4..][..4]
            .iter()
            .copied()
            .chain([classes[row], scores[row]])
            .collect();
        let found: Vec<f32> = output.boxes[slot]
            .iter()
            .copied()
            .chain([output.classes[slot], output.scores[slot]])
            .collect();
        if !found.iter().zip(&expected).all(|(&a, &b)| same(a, b)) {
            return Err(format!(
                "slot {slot} holds {found:?}, expected {expected:?}"
            ));
        }
    }
    Ok(())
}

/// Name, description and data of every set of cases; what is none is skipped by name.
fn sets() -> Vec<(String, Value, Vec<u8>)> {
    let mut sets = Vec::new();
    for root in vectors::roots() {
        let folders = ["nms", "nms/fast", "nms/regular"].map(|folder| root.path.join(folder));
        let mut folders = folders.to_vec();
        folders.retain(|folder| folder.join("cases.json").is_file());
        if folders.is_empty() {
            root.skip(&root.path.join("nms"), "it has no cases.json");
        }
        for folder in folders {
            let text = std::fs::read_to_string(folder.join("cases.json")).unwrap_or_default();
            let manifest: Value = serde_json::from_str(&text).unwrap_or_default();
            match std::fs::read(folder.join("cases.bin")) {
                Ok(binary) if manifest["cases"].is_array() => {
                    sets.push((folder.display().to_string(), manifest, binary));
                }
                _ => root.skip(&folder, "no cases.json with its cases.bin"),
            }
        }
    }
    sets
}

#[test]
fn the_op_equals_the_golden_answers_of_litert_bit_for_bit() {
    let mut failures = Vec::new();
    let mut passed = 0;
    for (folder, manifest, binary) in sets() {
        for case in manifest["cases"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            if case["portable"] == false {
                eprintln!("skipped {name}: its answer depends on the machine's vector width");
                continue;
            }
            match check(case, &binary) {
                Ok(()) => passed += 1,
                Err(reason) => failures.push(format!("{folder}/{name}: {reason}")),
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{passed} cases pass, these do not:\n{}",
        failures.join("\n")
    );
    assert!(passed >= 20);
}
