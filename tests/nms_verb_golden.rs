//! `detbench nms` on files, against answers that `LiteRT` itself gave (`tests/golden/nms/README.md`).

mod vectors;

use std::path::Path;

use assert_cmd::Command;
use detbench::npz::write_npz;
use detbench::tensor::{TensorData, TensorView};
use serde_json::Value;

/// An array of a `cases.bin` and its shape.
enum Array {
    F32(Vec<f32>),
    U8(Vec<u8>),
    I64(Vec<i64>),
}

fn array(binary: &[u8], entry: &Value) -> (Array, Vec<i64>) {
    let axes = entry["shape"].as_array().unwrap();
    let shape: Vec<i64> = axes.iter().map(|axis| axis.as_i64().unwrap()).collect();
    let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
    let bytes = &binary[usize::try_from(entry["off"].as_u64().unwrap()).unwrap()..];
    let array = match entry["dtype"].as_str().unwrap() {
        "float32" => {
            let numbers = bytes.as_chunks().0[..count].iter();
            Array::F32(numbers.map(|&bytes| f32::from_le_bytes(bytes)).collect())
        }
        "uint8" => Array::U8(bytes[..count].to_vec()),
        // A type that neither the op nor the file reader takes.
        _ => Array::I64(vec![0; count]),
    };
    (array, shape)
}

fn floats(binary: &[u8], entry: &Value) -> Vec<f32> {
    match array(binary, entry).0 {
        Array::F32(numbers) => numbers,
        Array::U8(_) | Array::I64(_) => panic!("answers are float32"),
    }
}

fn data(array: &Array) -> TensorData<'_> {
    match array {
        Array::F32(data) => TensorData::F32(data),
        Array::U8(data) => TensorData::U8(data),
        Array::I64(data) => TensorData::I64(data),
    }
}

/// The command line that asks for a case.
fn command(case: &Value, binary: &[u8], folder: &Path) -> Command {
    let file = folder.join("case.npz");
    let inputs = [
        ("boxes", "box_encodings", "box"),
        ("scores", "class_predictions", "cls"),
        ("anchors", "anchors", "anc"),
    ];
    let arrays = inputs.map(|(_, key, _)| array(binary, &case["inputs"][key]));
    let entries: Vec<(&str, TensorView<'_>)> = inputs
        .iter()
        .zip(&arrays)
        .map(|((name, ..), (array, shape))| {
            let data = data(array);
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
    let boxes = floats(binary, &expect["boxes"]);
    let classes = floats(binary, &expect["classes"]);
    let scores = floats(binary, &expect["scores"]);
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
fn the_verb_gives_the_golden_answers_slot_by_slot() {
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
