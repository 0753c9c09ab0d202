//! The op against answers that `LiteRT` itself gave (`tests/golden/nms/README.md`).

mod nms_vectors;
mod vectors;

use detbench::postprocess::tflite::{DetectionPostProcess, Input, Options, Output, Quantization};
use detbench::postprocess::BoxScales;
use detbench::tensor::TensorView;
use serde_json::Value;

use self::nms_vectors::{assert_all, Array};

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

#[test]
fn the_op_equals_the_golden_answers_of_litert_bit_for_bit() {
    assert_all(check);
}
