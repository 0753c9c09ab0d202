//! The weights manifest and its shards -> constants.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};
use std::rc::Rc;

use serde::Deserialize;

use super::error::ImportError;
use crate::model::half;

/// Files that hold a list of weights, one after the other.
#[derive(Debug, Deserialize)]
pub(super) struct WeightGroup {
    paths: Vec<String>,
    weights: Vec<WeightEntry>,
}

#[derive(Debug, Deserialize)]
struct WeightEntry {
    name: String,
    shape: Vec<i64>,
    dtype: String,
    quantization: Option<Quantization>,
}

/// How a weight is stored: `value = stored * scale + min`, or as a half-precision float.
#[derive(Debug, Deserialize)]
struct Quantization {
    dtype: String,
    scale: Option<f64>,
    min: Option<f64>,
}

/// A constant of the graph.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) data: ConstantData,
}

/// Its elements, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ConstantData {
    F32(Vec<f32>),
    I32(Vec<i32>),
}

impl Constant {
    /// The elements, when they are floats.
    pub(super) fn floats(&self) -> Option<&[f32]> {
        match &self.data {
            ConstantData::F32(data) => Some(data),
            ConstantData::I32(_) => None,
        }
    }

    /// The elements, when they are integers.
    pub(super) fn integers(&self) -> Option<&[i32]> {
        match &self.data {
            ConstantData::I32(data) => Some(data),
            ConstantData::F32(_) => None,
        }
    }
}

/// Constants by the name of their node.
pub(super) type Weights = HashMap<String, Rc<Constant>>;

#[derive(Debug, Clone, Copy)]
enum Stored {
    F32,
    I32,
    U8,
    U16,
    F16,
}

impl Stored {
    const fn size_bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::U16 | Self::F16 => 2,
            Self::U8 => 1,
        }
    }
}

/// Reads all weights; `model_json` is the file that names them, beside which they lie.
pub(super) fn load(groups: &[WeightGroup], model_json: &Path) -> Result<Weights, ImportError> {
    let mut weights = Weights::new();
    for group in groups {
        let expected = group_size_bytes(group)?;
        let data = read_shards(group, model_json, expected)?;
        let mut rest = data.as_slice();
        for entry in &group.weights {
            let (shape, count) = shape_of(entry)?;
            let stored = stored_as(entry)?;
            let (own, after) = rest.split_at(count * stored.size_bytes());
            rest = after;
            let data = decode(entry, stored, own)?;
            weights.insert(entry.name.clone(), Rc::new(Constant { shape, data }));
        }
    }
    Ok(weights)
}

fn shape_of(entry: &WeightEntry) -> Result<(Vec<usize>, usize), ImportError> {
    let wrong = || ImportError::WeightShape {
        weight: entry.name.clone(),
        shape: entry.shape.clone(),
    };
    let shape: Result<Vec<usize>, _> = entry.shape.iter().map(|&n| usize::try_from(n)).collect();
    let shape = shape.map_err(|_| wrong())?;
    // The bound keeps every later product of lengths and element sizes within usize.
    let count = shape.iter().try_fold(1_usize, |product, &length| {
        product
            .checked_mul(length)
            .filter(|&count| count <= 1 << 40)
    });
    Ok((shape, count.ok_or_else(wrong)?))
}

fn group_size_bytes(group: &WeightGroup) -> Result<u64, ImportError> {
    let mut total = 0_u64;
    for entry in &group.weights {
        let (_, count) = shape_of(entry)?;
        let size = count as u64 * stored_as(entry)?.size_bytes() as u64;
        total = total.saturating_add(size);
    }
    Ok(total)
}

fn stored_as(entry: &WeightEntry) -> Result<Stored, ImportError> {
    let stored = entry
        .quantization
        .as_ref()
        .map_or(entry.dtype.as_str(), |quantization| &quantization.dtype);
    let known = match (entry.dtype.as_str(), &entry.quantization, stored) {
        ("float32", None, _) => Some(Stored::F32),
        ("int32", None, _) => Some(Stored::I32),
        ("bool", None, _) | ("float32" | "int32", Some(_), "uint8") => Some(Stored::U8),
        ("float32" | "int32", Some(_), "uint16") => Some(Stored::U16),
        ("float32", Some(_), "float16") => Some(Stored::F16),
        _ => None,
    };
    known.ok_or_else(|| ImportError::WeightType {
        weight: entry.name.clone(),
        dtype: stored.to_owned(),
    })
}

/// Checks the files' sizes before it reads them, so that a wrong manifest costs no memory.
fn read_shards(
    group: &WeightGroup,
    model_json: &Path,
    expected: u64,
) -> Result<Vec<u8>, ImportError> {
    let directory = model_json.parent().unwrap_or(Path::new(""));
    let mut files = Vec::with_capacity(group.paths.len());
    let mut found = 0_u64;
    for shard in &group.paths {
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(shard).components().all(inside) {
            return Err(ImportError::ShardOutside {
                path: model_json.to_owned(),
                shard: shard.clone(),
            });
        }
        let path = directory.join(shard);
        let failed = |source| ImportError::Read {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(failed)?;
        found = found.saturating_add(file.metadata().map_err(failed)?.len());
        files.push((path, file));
    }
    let sizes_differ = |found| ImportError::ShardSizes {
        path: model_json.to_owned(),
        expected,
        found,
    };
    if found != expected {
        return Err(sizes_differ(found));
    }
    let mut data = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    for (path, file) in files {
        let read = file.take(expected).read_to_end(&mut data);
        read.map_err(|source| ImportError::Read { path, source })?;
    }
    if data.len() as u64 == expected {
        Ok(data)
    } else {
        Err(sizes_differ(data.len() as u64))
    }
}

fn decode(entry: &WeightEntry, stored: Stored, bytes: &[u8]) -> Result<ConstantData, ImportError> {
    let words = || bytes.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]);
    let halves = || {
        bytes
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
    };
    Ok(match stored {
        Stored::F32 => ConstantData::F32(words().map(f32::from_le_bytes).collect()),
        Stored::I32 => ConstantData::I32(words().map(i32::from_le_bytes).collect()),
        Stored::F16 => ConstantData::F32(halves().map(half::to_f32).collect()),
        Stored::U8 => expand(entry, bytes.iter().map(|&byte| f64::from(byte)))?,
        Stored::U16 => expand(entry, halves().map(f64::from))?,
    })
}

/// Undoes affine quantisation in f64, as TensorFlow.js does in JavaScript numbers.
fn expand(
    entry: &WeightEntry,
    stored: impl Iterator<Item = f64>,
) -> Result<ConstantData, ImportError> {
    let Some(quantization) = &entry.quantization else {
        // A bool: nobody computes with it, but its node may stand in the graph.
        return Ok(ConstantData::I32(
            stored.map(|value| value as i32).collect(),
        ));
    };
    let required = |value: Option<f64>, key| {
        value.ok_or_else(|| ImportError::WeightQuantization {
            weight: entry.name.clone(),
            key,
        })
    };
    let scale = required(quantization.scale, "scale")?;
    let min = required(quantization.min, "min")?;
    let values = stored.map(|value| value * scale + min);
    Ok(if entry.dtype == "int32" {
        ConstantData::I32(values.map(|value| value.round() as i32).collect())
    } else {
        ConstantData::F32(values.map(|value| value as f32).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(json: &str) -> WeightGroup {
        serde_json::from_str(json).expect("a manifest of the test")
    }

    fn load_one(weight: &str, bytes: &[u8]) -> Result<ConstantData, ImportError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), bytes).unwrap();
        let group = group(&format!(r#"{{"paths":["a"],"weights":[{weight}]}}"#));
        let weights = load(&[group], &dir.path().join("model.json"))?;
        Ok(weights["w"].data.clone())
    }

    #[test]
    fn every_stored_type_is_read_as_the_manifest_describes_it() {
        for (weight, bytes, expected) in [
            (
                r#"{"name":"w","shape":[2],"dtype":"float32"}"#,
                [1.5_f32, -2.0].map(f32::to_le_bytes).concat(),
                ConstantData::F32(vec![1.5, -2.0]),
            ),
            (
                r#"{"name":"w","shape":[],"dtype":"int32"}"#,
                (-7_i32).to_le_bytes().to_vec(),
                ConstantData::I32(vec![-7]),
            ),
            (
                r#"{"name":"w","shape":[2],"dtype":"bool"}"#,
                vec![0, 1],
                ConstantData::I32(vec![0, 1]),
            ),
            (
                r#"{"name":"w","shape":[3],"dtype":"float32","quantization":{"dtype":"uint8","scale":0.5,"min":-1}}"#,
                vec![0, 2, 255],
                ConstantData::F32(vec![-1.0, 0.0, 126.5]),
            ),
            (
                r#"{"name":"w","shape":[1],"dtype":"int32","quantization":{"dtype":"uint16","scale":0.5,"min":0.25}}"#,
                vec![3, 1],
                ConstantData::I32(vec![130]),
            ),
            (
                r#"{"name":"w","shape":[4],"dtype":"float32","quantization":{"dtype":"float16"}}"#,
                [0x3C00_u16, 0xC100, 0x0001, 0x7BFF]
                    .map(u16::to_le_bytes)
                    .concat(),
                ConstantData::F32(vec![1.0, -2.5, 5.960_464_5e-8, 65504.0]),
            ),
        ] {
            assert_eq!(load_one(weight, &bytes).unwrap(), expected, "{weight}");
        }
    }

    #[test]
    fn a_manifest_that_does_not_fit_its_files_is_refused() {
        let f32_of = |shape: &str| format!(r#"{{"name":"w","shape":{shape},"dtype":"float32"}}"#);
        let refused = |weight: &str, bytes: &[u8]| load_one(weight, bytes).unwrap_err();
        for (weight, bytes) in [
            (f32_of("[2]"), 7),
            (f32_of("[2]"), 9),
            (f32_of("[1099511627776]"), 8),
        ] {
            let error = refused(&weight, &vec![0; bytes]);
            assert!(matches!(error, ImportError::ShardSizes { .. }), "{error}");
        }
        for shape in ["[-1]", "[4294967296,4294967296,4294967296]"] {
            let error = refused(&f32_of(shape), &[]);
            assert!(matches!(error, ImportError::WeightShape { .. }), "{error}");
        }
        let error = refused(r#"{"name":"w","shape":[],"dtype":"complex64"}"#, &[]);
        assert!(error.to_string().contains("`complex64`"), "{error}");
        let unscaled =
            r#"{"name":"w","shape":[1],"dtype":"float32","quantization":{"dtype":"uint8"}}"#;
        let error = refused(unscaled, &[0]);
        assert!(error.to_string().contains("no `scale`"), "{error}");
    }

    #[test]
    fn shards_are_one_stream_and_stay_inside_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let model_json = dir.path().join("model.json");
        // The weight straddles the two files.
        let bytes = 1.5_f32.to_le_bytes();
        std::fs::write(dir.path().join("a"), &bytes[..3]).unwrap();
        std::fs::write(dir.path().join("b"), &bytes[3..]).unwrap();
        let weights = r#"[{"name":"w","shape":[],"dtype":"float32"}]"#;
        let manifest = |paths: &str| group(&format!(r#"{{"paths":{paths},"weights":{weights}}}"#));
        let loaded = load(&[manifest(r#"["a","b"]"#)], &model_json).unwrap();
        assert_eq!(loaded["w"].floats(), Some([1.5].as_slice()));
        let missing = load(&[manifest(r#"["a","c"]"#)], &model_json).unwrap_err();
        assert!(matches!(missing, ImportError::Read { .. }), "{missing}");
        for outside in [r#"["../a"]"#, r#"["/etc/hostname"]"#] {
            let error = load(&[manifest(outside)], &model_json).unwrap_err();
            assert!(matches!(error, ImportError::ShardOutside { .. }), "{error}");
        }
    }
}
