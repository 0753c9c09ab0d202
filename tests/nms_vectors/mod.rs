//! The vectors of `tests/golden/nms`, and those of folders named in `DETBENCH_GOLDEN`.

use detbench::tensor::TensorData;
use serde_json::Value;

use crate::vectors;

/// An array of a `cases.bin`; 8-bit signed and other types become `I64`, which the op refuses as it should.
pub enum Array {
    /// float32
    F32(Vec<f32>),
    /// uint8
    U8(Vec<u8>),
    /// Whatever else, as zeros.
    Other(Vec<i64>),
}

impl Array {
    /// The array and its shape.
    pub fn read(binary: &[u8], entry: &Value) -> (Self, Vec<i64>) {
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

    /// The numbers of a float32 array.
    pub fn floats(binary: &[u8], entry: &Value) -> Vec<f32> {
        match Self::read(binary, entry).0 {
            Self::F32(floats) => floats,
            _ => panic!("expected answers are float32"),
        }
    }

    /// As a tensor's elements.
    pub fn data(&self) -> TensorData<'_> {
        match self {
            Self::F32(data) => TensorData::F32(data),
            Self::U8(data) => TensorData::U8(data),
            Self::Other(data) => TensorData::I64(data),
        }
    }
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

/// Checks every case that does not depend on the machine's vector width, and asserts that all of them hold.
pub fn assert_all(check: impl Fn(&Value, &[u8]) -> Result<(), String>) {
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
