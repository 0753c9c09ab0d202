//! `detbench nms` on files, against answers that `LiteRT` itself gave (`tests/golden/nms/README.md`).

mod nms_vectors;
mod vectors;

use std::path::Path;

use assert_cmd::Command;
use detbench::npz::write_npz;
use detbench::tensor::TensorView;
use serde_json::Value;

use self::nms_vectors::{assert_all, Array};

/// The command line that asks for a case.
fn command(case: &Value, binary: &[u8], folder: &Path) -> Command {
    let file = folder.join("case.npz");
    let inputs = [
        ("boxes", "box_encodings", "box"),
        ("scores", "class_predictions", "cls"),
        ("anchors", "anchors", "anc"),
    ];
    let arrays = inputs.map(|(_, key, _)| Array::read(binary, &case["inputs"][key]));
    let entries: Vec<(&str, TensorView<'_>)> = inputs
        .iter()
        .zip(&arrays)
        .map(|((name, ..), (array, shape))| {
            let data = array.data();
            (*name, TensorView { shape, data })
        })
        .collect();
    write_npz(&file, &entries).unwrap();
    let params = case["params"].as_object().unwrap();
    let mode = if params["use_regular_nms"] == true {
        "regular"
    } else {
        "fast"
    };
    let mut command = Command::cargo_bin("detbench").unwrap();
    command
        .args(["nms", "--json", "--nms", mode, "--input"])
        .arg(&file);
    command.arg("--set");
    for (key, value) in params {
        // An absent key reads as zero, but for detections_per_class.
        match value {
            _ if key == "use_regular_nms" => {}
            Value::Null if key == "detections_per_class" => {}
            Value::Null => drop(command.arg(format!("{key}=0"))),
            value => drop(command.arg(format!("{key}={value}"))),
        }
    }
    if case["quant"]["type"] == "u8" {
        for (name, _, key) in inputs {
            let pair = &case["quant"][key];
            command.arg(format!("--quant-{name}={},{}", pair[0], pair[1]));
        }
    }
    command
}

/// A number as the verb writes it.
fn number(value: &Value) -> f32 {
    match value {
        Value::String(word) => word.parse().unwrap(),
        value => value.as_f64().unwrap() as f32,
    }
}

fn same(found: &Value, expected: f32) -> bool {
    let found = number(found);
    found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan())
}

fn check(case: &Value, binary: &[u8]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let output = command(case, binary, folder.path()).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let expect = &case["expect"];
    if expect["status"] == "error" {
        let is_refused = output.status.code() == Some(2) && output.stdout.is_empty();
        return if is_refused {
            Ok(())
        } else {
            Err("the op fails here".into())
        };
    }
    if !output.status.success() {
        return Err(words);
    }
    let document: Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    let result = &document["results"][0];
    if result["num_detections"].as_f64() != expect["num_detections"].as_f64() {
        return Err(format!("{} detections", result["num_detections"]));
    }
    if result["slots"] != expect["slots"] {
        return Err(format!(
            "slots {}, expected {}",
            result["slots"], expect["slots"]
        ));
    }
    let boxes = Array::floats(binary, &expect["boxes"]);
    let classes = Array::floats(binary, &expect["classes"]);
    let scores = Array::floats(binary, &expect["scores"]);
    for row in 0..scores.len() {
        let corners = (0..4).all(|edge| same(&result["boxes"][row][edge], boxes[row * 4 + edge]));
        let is_same = corners
            && same(&result["classes"][row], classes[row])
            && same(&result["scores"][row], scores[row]);
        if !is_same {
            return Err(format!("slot {} differs", result["slots"][row]));
        }
    }
    Ok(())
}

#[test]
fn the_verb_gives_the_golden_answers_slot_by_slot() {
    assert_all(check);
}
