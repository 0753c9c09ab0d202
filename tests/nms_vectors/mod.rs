//! The vectors of `tests/golden/nms`, and those of folders named in `DETBENCH_GOLDEN`.

use std::path::{Path, PathBuf};

use detbench::tensor::TensorData;
use serde_json::Value;

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

fn folders() -> Vec<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nms");
    let mut folders = vec![ours.join("fast"), ours.join("regular")];
    if let Some(more) = std::env::var_os("DETBENCH_GOLDEN") {
        folders.extend(std::env::split_paths(&more).map(|folder| folder.join("nms")));
    }
    folders.retain(|folder| folder.join("cases.json").is_file());
    folders
}

/// Checks every case that does not depend on the machine's vector width, and asserts that all of them hold.
pub fn assert_all(check: impl Fn(&Value, &[u8]) -> Result<(), String>) {
    let folders = folders();
    assert!(
        folders.len() >= 2,
        "our own vectors are missing: {folders:?}"
    );
    let mut failures = Vec::new();
    let mut passed = 0;
    for folder in folders {
        let text = std::fs::read_to_string(folder.join("cases.json")).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        let binary = std::fs::read(folder.join("cases.bin")).unwrap();
        for case in manifest["cases"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            if case["portable"] == false {
                eprintln!("skipped {name}: its answer depends on the machine's vector width");
                continue;
            }
            match check(case, &binary) {
                Ok(()) => passed += 1,
                Err(reason) => failures.push(format!("{}/{name}: {reason}", folder.display())),
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
