//! `--model` and `--model-config` -> a model description and an ONNX file.
//!
//! A file alone is described, in this order, by the model file beside it, by its sha256, by its
//! name, by its tensors. Known models that agree in everything that changes results count as
//! one; only a real disagreement is an error.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::description::{DescriptionError, ModelDescription, ANCHOR_TENSOR};
use super::known;
use super::onnx::signature::{decode, facts};
use super::onnx::{four_columns, FourColumns, GraphFacts, ReadError};
use super::signature::{check_signature, precision_of, SignatureError};
use crate::strict_toml::{did_you_mean, nearest};

/// What the user said.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelRequest<'a> {
    /// `--model`: a known name or an ONNX file.
    pub model: Option<&'a str>,
    /// `--model-config`: a known name or a TOML file.
    pub config: Option<&'a str>,
    /// Folders in which the files of a named model are looked for, in this order.
    pub search: &'a [PathBuf],
}

/// A model that can be run.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What it is; its precision is the graph's when the graph is at hand.
    pub description: ModelDescription,
    /// How the description was found.
    pub source: How,
    /// What the user should know about it, a sentence each.
    pub notes: Vec<String>,
    /// Where the graph is.
    pub onnx: OnnxSource,
    /// The graph; `None` when it is yet to be fetched.
    pub graph: Option<GraphOnDisk>,
}

/// Where a model's graph comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnnxSource {
    /// A file on this machine.
    File(PathBuf),
    /// The default model, to be fetched and imported.
    DefaultTfjs,
}

/// A graph that was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GraphOnDisk {
    /// sha256 of the file, in lower-case hexadecimal.
    pub sha256: String,
    /// What is known of it.
    pub facts: GraphFacts,
    /// Its constants of four columns, among which may be its anchors.
    #[serde(skip)]
    pub constants: FourColumns,
}

/// How a description was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// A known model, named by the user (or the default).
    Named,
    /// The user's own model file.
    Config(PathBuf),
    /// The model file beside the graph.
    Beside(PathBuf),
    /// A known model whose file has this sha256.
    Hash,
    /// A known model whose file has this name.
    FileName,
    /// A known model whose tensors have these names, types and shapes.
    Tensors,
}

/// Why no model could be found.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A name that nothing has.
    #[error("{flag} {name}: no such model or file{}; known models: {}", did_you_mean(nearest.as_deref()), known.join(", "))]
    Unknown {
        /// The flag.
        flag: &'static str,
        /// As written.
        name: String,
        /// The nearest known name.
        nearest: Option<String>,
        /// All known names.
        known: Vec<String>,
    },
    /// The graph cannot be read.
    #[error(transparent)]
    Graph(#[from] ReadError),
    /// The model file cannot be read.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// Graph and model file do not belong together.
    #[error("{}: {source}", path.display())]
    Signature {
        /// The graph's file.
        path: PathBuf,
        /// The difference.
        source: Box<SignatureError>,
    },
    /// Known models that differ fit equally well.
    #[error("{} could be any of {}, which give different results; pass --model-config with one of them", path.display(), names.join(", "))]
    Ambiguous {
        /// The graph's file.
        path: PathBuf,
        /// The models.
        names: Vec<String>,
    },
    /// Nothing describes the graph.
    #[error("{} takes {inputs} and gives {outputs}, which no known model does; write {} or pass --model-config", path.display(), path.with_extension("toml").display())]
    Undescribed {
        /// The graph's file.
        path: PathBuf,
        /// Its inputs.
        inputs: String,
        /// Its outputs.
        outputs: String,
    },
    /// A model of another format.
    #[error("{} is not an ONNX file; convert it first (`detbench import` reads TensorFlow.js directories)", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
    },
    /// A named model whose file is not on this machine.
    #[error("the file of model `{name}` was not found: looked for {} in {}; pass --model FILE.onnx", files.join(", "), searched.join(", "))]
    NotHere {
        /// The model.
        name: String,
        /// Its files' names.
        files: Vec<String>,
        /// The folders.
        searched: Vec<String>,
    },
}

/// Finds what the user means.
pub fn resolve(request: ModelRequest<'_>) -> Result<Resolved, ResolveError> {
    let known = known::descriptions();
    let given = request.config.map(|config| from_config(config, &known));
    let given = given.transpose()?;
    match request.model {
        Some(model) if is_file(model) => resolve_file(Path::new(model), given, &known),
        name => resolve_name(name, given, request.search, &known),
    }
}

/// Whether an argument means a file rather than a known name.
fn is_file(argument: &str) -> bool {
    let path = Path::new(argument);
    argument.contains(['/', '\\']) || path.extension().is_some() || path.is_file()
}

fn named<'a>(
    flag: &'static str,
    name: &str,
    known: &'a [ModelDescription],
) -> Result<&'a ModelDescription, ResolveError> {
    let found = known.iter().find(|description| description.name == name);
    found.ok_or_else(|| {
        let names = known.iter().map(|description| description.name.as_str());
        ResolveError::Unknown {
            flag,
            name: name.to_owned(),
            nearest: nearest(name, names.clone()).map(str::to_owned),
            known: names.map(str::to_owned).collect(),
        }
    })
}

fn from_config(
    config: &str,
    known: &[ModelDescription],
) -> Result<(ModelDescription, How), ResolveError> {
    if is_file(config) {
        let path = PathBuf::from(config);
        let description = ModelDescription::read(&path)?;
        Ok((description, How::Config(path)))
    } else {
        let description = named("--model-config", config, known)?;
        Ok((description.clone(), How::Named))
    }
}

fn resolve_file(
    path: &Path,
    given: Option<(ModelDescription, How)>,
    known: &[ModelDescription],
) -> Result<Resolved, ResolveError> {
    let other = ["tflite", "pb", "json", "toml", "tar", "gz", "zip"];
    let extension = path.extension().and_then(|extension| extension.to_str());
    if extension.is_some_and(|extension| other.contains(&extension)) {
        return Err(ResolveError::OtherFormat {
            path: path.to_owned(),
        });
    }
    let graph = read_graph(path)?;
    let mut notes = Vec::new();
    let (description, source) = match given {
        Some(given) => given,
        None => describe(path, &graph, known, &mut notes)?,
    };
    finish(description, source, path, graph, notes)
}

fn resolve_name(
    name: Option<&str>,
    given: Option<(ModelDescription, How)>,
    search: &[PathBuf],
    known: &[ModelDescription],
) -> Result<Resolved, ResolveError> {
    // A configuration alone names its own files.
    let owner = match (name, &given) {
        (None, Some((description, _))) => description.clone(),
        (name, _) => named("--model", name.unwrap_or(known::DEFAULT), known)?.clone(),
    };
    let mut folders = Vec::new();
    if let Some((_, How::Config(config))) = &given {
        folders.extend(config.parent().map(Path::to_owned));
    }
    folders.extend(search.iter().cloned());
    let (description, source) = given.unwrap_or_else(|| (owner.clone(), How::Named));
    let places = folders.iter().flat_map(|folder| {
        let files = owner.files.iter();
        files.map(move |file| (folder.join(&file.name), file))
    });
    let found = places.into_iter().find(|(path, _)| path.is_file());
    if let Some((path, file)) = found {
        let graph = read_graph(&path)?;
        let mut notes = Vec::new();
        if !file.sha256.is_empty() && !hash_is_listed(&file.sha256, &graph.sha256) {
            notes.push(format!(
                "{} has sha256 {}, which is not one that the model `{}` lists: it may give other results",
                path.display(),
                graph.sha256,
                owner.name
            ));
        }
        return finish(description, source, &path, graph, notes);
    }
    if owner.name == known::DEFAULT {
        return Ok(Resolved {
            description,
            source,
            notes: Vec::new(),
            onnx: OnnxSource::DefaultTfjs,
            graph: None,
        });
    }
    Err(ResolveError::NotHere {
        name: owner.name,
        files: owner.files.into_iter().map(|file| file.name).collect(),
        searched: folders
            .iter()
            .map(|folder| folder.display().to_string())
            .collect(),
    })
}

fn read_graph(path: &Path) -> Result<GraphOnDisk, ReadError> {
    let bytes = std::fs::read(path).map_err(|source| ReadError::Io {
        path: path.to_owned(),
        source,
    })?;
    let model = decode(&bytes, path)?;
    Ok(GraphOnDisk {
        sha256: format!("{:x}", Sha256::digest(&bytes)),
        facts: facts(&model),
        constants: four_columns(&model),
    })
}

fn hash_is_listed(listed: &[String], hash: &str) -> bool {
    listed.iter().any(|own| own.eq_ignore_ascii_case(hash))
}

/// Finds the description of a file that came alone.
fn describe(
    path: &Path,
    graph: &GraphOnDisk,
    known: &[ModelDescription],
    notes: &mut Vec<String>,
) -> Result<(ModelDescription, How), ResolveError> {
    let beside = path.with_extension("toml");
    if beside.is_file() {
        return Ok((ModelDescription::read(&beside)?, How::Beside(beside)));
    }
    let file_name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let has_hash = |description: &&ModelDescription| {
        let mut files = description.files.iter();
        files.any(|file| hash_is_listed(&file.sha256, &graph.sha256))
    };
    let has_name = |description: &&ModelDescription| {
        let mut files = description.files.iter();
        files.any(|file| file.name == file_name)
    };
    let has_tensors = |description: &&ModelDescription| {
        check_signature(description, &graph.facts.signature, &graph.constants).is_ok()
    };
    let by_hash: Vec<_> = known.iter().filter(has_hash).collect();
    let by_name: Vec<_> = known.iter().filter(has_name).collect();
    for (candidates, how) in [(by_hash, How::Hash), (by_name, How::FileName)] {
        if let Some(description) = agreed(path, graph, &candidates, notes)? {
            return Ok((description.clone(), how));
        }
    }
    let by_tensors: Vec<_> = known.iter().filter(has_tensors).collect();
    let Some(description) = agreed(path, graph, &by_tensors, notes)? else {
        let list = |tensors: &[super::onnx::TensorInfo]| {
            let texts: Vec<String> = tensors.iter().map(ToString::to_string).collect();
            texts.join(", ")
        };
        return Err(ResolveError::Undescribed {
            path: path.to_owned(),
            inputs: list(&graph.facts.signature.inputs),
            outputs: list(&graph.facts.signature.outputs),
        });
    };
    notes.push(format!(
        "{} is not a known file; its tensors are those of `{}`, so it is used in the same way",
        path.display(),
        description.name
    ));
    let mut description = description.clone();
    // It is used like that model, but it is not that model.
    if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
        stem.clone_into(&mut description.name);
        stem.clone_into(&mut description.title);
    }
    description.files.clear();
    Ok((description, How::Tensors))
}

/// The one that all `candidates` amount to, the graph's own precision preferred.
fn agreed<'a>(
    path: &Path,
    graph: &GraphOnDisk,
    candidates: &[&'a ModelDescription],
    notes: &mut Vec<String>,
) -> Result<Option<&'a ModelDescription>, ResolveError> {
    let Some(&first) = candidates.first() else {
        return Ok(None);
    };
    let names = || {
        candidates
            .iter()
            .map(|candidate| candidate.name.clone())
            .collect()
    };
    if !candidates
        .iter()
        .all(|other| first.gives_same_results(other))
    {
        return Err(ResolveError::Ambiguous {
            path: path.to_owned(),
            names: names(),
        });
    }
    let precision = precision_of(&graph.facts.integer_layers);
    let same = candidates
        .iter()
        .find(|candidate| candidate.precision == precision);
    let taken = same.copied().unwrap_or(first);
    if candidates.len() > 1 {
        let names: Vec<String> = names();
        notes.push(format!(
            "the known models {} agree in everything that changes results; `{}` was taken",
            names.join(", "),
            taken.name
        ));
    }
    Ok(Some(taken))
}

fn finish(
    mut description: ModelDescription,
    source: How,
    path: &Path,
    graph: GraphOnDisk,
    mut notes: Vec<String>,
) -> Result<Resolved, ResolveError> {
    check_signature(&description, &graph.facts.signature, &graph.constants).map_err(|source| {
        ResolveError::Signature {
            path: path.to_owned(),
            source: Box::new(source),
        }
    })?;
    if description.outputs.raw_heads().is_some() && graph.constants.contains_key(ANCHOR_TENSOR) {
        notes.push(format!(
            "the anchors are the graph's own constant `{ANCHOR_TENSOR}`"
        ));
    }
    let layers = &graph.facts.integer_layers;
    let precision = precision_of(layers);
    if precision != description.precision {
        notes.push(format!(
            "the model file says {}, but {} of the graph's {} convolutions compute in integers: it is reported as {}",
            description.precision.name(),
            layers.convolutions_quantized,
            layers.convolutions,
            precision.name()
        ));
        description.precision = precision;
    }
    Ok(Resolved {
        description,
        source,
        notes,
        onnx: OnnxSource::File(path.to_owned()),
        graph: Some(graph),
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::model::description::{Outputs, Precision};
    use crate::model::onnx::builder::{Axis, GraphBuilder};
    use crate::model::onnx::proto::{element_type, ModelProto, NodeProto};

    /// A graph with the tensors of the SSD-MobileNet family and one convolution.
    fn family_member(anchors: usize, element: i32, quantized: bool) -> ModelProto {
        const NAMES: [&str; 3] = ["image", "raw_boxes", "raw_scores"];
        let mut builder = GraphBuilder::new("test", &NAMES);
        let fixed = |lengths: &[usize]| -> Vec<Axis> {
            lengths.iter().map(|&length| Axis::Fixed(length)).collect()
        };
        builder.input("image", &fixed(&[1, 300, 300, 3]));
        let boxes = builder.node("Conv", "conv", &["x", "w"], Vec::new());
        builder.output(&boxes, "raw_boxes", &fixed(&[1, anchors, 4]));
        let scores = builder.node("Identity", "scores", &["raw_boxes"], Vec::new());
        builder.output(&scores, "raw_scores", &fixed(&[1, anchors, 91]));
        let mut model = ModelProto::decode(&builder.encode()[..]).unwrap();
        let graph = model.graph.as_mut().unwrap();
        if element == element_type::UINT8 {
            let input = &mut graph.input[0];
            "normalized_input_image_tensor".clone_into(&mut input.name);
            let tensor = input.value_type.as_mut().unwrap().tensor_type.as_mut();
            tensor.unwrap().elem_type = element;
        }
        if quantized {
            for name in ["x", "w"] {
                graph.node.push(NodeProto {
                    op_type: "DequantizeLinear".to_owned(),
                    output: vec![name.to_owned()],
                    ..NodeProto::default()
                });
            }
        }
        model
    }

    fn write(path: &Path, model: &ModelProto) {
        std::fs::write(path, model.encode_to_vec()).unwrap();
    }

    fn resolve_path(path: &Path) -> Result<Resolved, ResolveError> {
        resolve(ModelRequest {
            model: path.to_str(),
            ..ModelRequest::default()
        })
    }

    #[test]
    fn nothing_named_means_the_default_model() {
        let resolved = resolve(ModelRequest::default()).unwrap();
        assert_eq!(resolved.onnx, OnnxSource::DefaultTfjs);
        assert_eq!(resolved.source, How::Named);
        assert_eq!(resolved.description.name, known::DEFAULT);
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest_and_all_names() {
        for (request, flag) in [
            (
                ModelRequest {
                    model: Some("ssd-mobilnet-v1"),
                    ..ModelRequest::default()
                },
                "--model ",
            ),
            (
                ModelRequest {
                    config: Some("ssd-mobilnet-v1"),
                    ..ModelRequest::default()
                },
                "--model-config ",
            ),
        ] {
            let error = resolve(request).unwrap_err().to_string();
            assert!(error.starts_with(flag), "{error}");
            assert!(
                error.contains("did you mean `ssd-mobilenet-v1`?"),
                "{error}"
            );
            assert!(error.contains("ssdlite-mobilenet-v2-int8"), "{error}");
        }
    }

    #[test]
    fn a_named_model_is_looked_for_in_the_given_folders() {
        let dir = tempfile::tempdir().unwrap();
        let search = [dir.path().to_owned()];
        let request = ModelRequest {
            model: Some("ssd-mobilenet-v1"),
            config: None,
            search: &search,
        };
        let missing = resolve(request).unwrap_err().to_string();
        assert!(
            missing.contains("ssd_mobilenet_v1_coco_fp32_dequantized.onnx"),
            "{missing}"
        );
        let path = dir
            .path()
            .join("ssd_mobilenet_v1_coco_fp32_dequantized.onnx");
        write(&path, &family_member(1917, element_type::UINT8, false));
        let resolved = resolve(request).unwrap();
        assert_eq!(resolved.onnx, OnnxSource::File(path));
        // It has the name but not the contents.
        assert!(
            resolved.notes[0].contains("is not one that"),
            "{:?}",
            resolved.notes
        );
    }

    #[test]
    fn a_file_is_described_by_its_neighbour_before_its_name_and_its_tensors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.onnx");
        write(&path, &family_member(1917, element_type::UINT8, false));
        let by_tensors = resolve_path(&path).unwrap();
        assert_eq!(by_tensors.source, How::Tensors);
        assert_eq!(by_tensors.description.name, "own");
        assert!(by_tensors
            .notes
            .iter()
            .any(|note| note.contains("agree in everything")));

        let known_name = dir.path().join("ssd_mobilenet_v2_coco_int8_qdq_ort.onnx");
        write(&known_name, &family_member(1917, element_type::UINT8, true));
        let by_name = resolve_path(&known_name).unwrap();
        assert_eq!(by_name.source, How::FileName);
        assert_eq!(by_name.description.name, "ssd-mobilenet-v2-int8");

        let mut own = known::find("ssd-mobilenet-v1").unwrap();
        "mine".clone_into(&mut own.name);
        let beside = dir.path().join("own.toml");
        std::fs::write(&beside, own.to_toml()).unwrap();
        let resolved = resolve_path(&path).unwrap();
        assert_eq!(resolved.source, How::Beside(beside));
        assert_eq!(resolved.description, own);
    }

    #[test]
    fn int8_is_what_the_graph_computes_and_not_what_a_label_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ssd_mobilenet_v1_coco_int8_qdq_ort.onnx");
        write(&path, &family_member(1917, element_type::UINT8, false));
        let resolved = resolve_path(&path).unwrap();
        assert_eq!(resolved.description.precision, Precision::Fp32);
        assert!(
            resolved.notes[0].contains("0 of the graph's 1 convolutions"),
            "{:?}",
            resolved.notes
        );
        // Weights alone in int8 leave the arithmetic in floats.
        let mut model = family_member(1917, element_type::UINT8, true);
        model
            .graph
            .as_mut()
            .unwrap()
            .node
            .retain(|node| node.output != ["x"]);
        assert!(!facts(&model).integer_layers.any());
    }

    #[test]
    fn known_models_that_differ_are_not_chosen_between() {
        let first = known::find("ssd-mobilenet-v1").unwrap();
        let mut other = first.clone();
        "other".clone_into(&mut other.name);
        let Outputs::RawHeads(raw) = &mut other.outputs else {
            panic!("an SSD has raw heads");
        };
        raw.nms.iou_threshold = 0.5;
        let model = family_member(1917, element_type::UINT8, false);
        let graph = GraphOnDisk {
            sha256: String::new(),
            facts: facts(&model),
            constants: FourColumns::new(),
        };
        let mut notes = Vec::new();
        let known = [first, other];
        let error = describe(Path::new("own.onnx"), &graph, &known, &mut notes).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("ssd-mobilenet-v1, other") && text.contains("--model-config"),
            "{text}"
        );
    }

    #[test]
    fn a_graph_that_is_not_what_the_model_file_says_is_refused_by_tensor() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.onnx");
        write(&path, &family_member(100, element_type::FLOAT, false));
        let undescribed = resolve_path(&path).unwrap_err().to_string();
        assert!(
            undescribed.contains("raw_boxes f32[1,100,4]"),
            "{undescribed}"
        );
        let with = |config| {
            let request = ModelRequest {
                model: path.to_str(),
                config: Some(config),
                search: &[],
            };
            resolve(request).unwrap_err().to_string()
        };
        let boxes = with("ssdlite-mobilenet-v2");
        assert!(
            boxes.contains("output is raw_boxes f32[1,100,4], but the model file `ssdlite-mobilenet-v2` expects f32[batch,1917,4]"),
            "{boxes}"
        );
        let input = with("ssd-mobilenet-v1");
        assert!(
            input.contains(
                "no input `normalized_input_image_tensor` (it has image f32[1,300,300,3])"
            ),
            "{input}"
        );
    }

    #[test]
    fn a_missing_empty_or_damaged_file_is_one_clear_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.onnx");
        let error = || resolve_path(&path).unwrap_err().to_string();
        assert!(error().contains("cannot be read"), "{}", error());
        std::fs::write(&path, []).unwrap();
        assert!(error().contains("is empty"), "{}", error());
        std::fs::write(&path, "<html>not found</html>").unwrap();
        assert!(
            error().contains("is not an ONNX model or is damaged"),
            "{}",
            error()
        );
        let tflite = resolve_path(Path::new("a/b.tflite"))
            .unwrap_err()
            .to_string();
        assert!(tflite.contains("is not an ONNX file"), "{tflite}");
    }

    #[test]
    fn no_damaged_graph_makes_the_reader_panic() {
        let bytes = family_member(1917, element_type::UINT8, true).encode_to_vec();
        let read = |bytes: &[u8]| decode(bytes, Path::new("x")).map(|model| facts(&model));
        for length in 0..bytes.len() {
            let _ = read(&bytes[..length]);
        }
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                let _ = read(&damaged);
            }
        }
    }

    #[test]
    fn the_published_files_are_known_by_hash_and_are_what_they_say() {
        let Ok(data) = std::env::var("DETBENCH_TEST_DATA") else {
            eprintln!("DETBENCH_TEST_DATA is unset: skipped");
            return;
        };
        let folder = Path::new(&data).join("models");
        for (file, name, convolutions) in [
            (
                "ssdlite_mobilenet_v2_coco_fp32.onnx",
                "ssdlite-mobilenet-v2",
                (0, 88),
            ),
            (
                "ssdlite_mobilenet_v2_coco_int8_qdq.onnx",
                "ssdlite-mobilenet-v2-int8",
                (88, 88),
            ),
            (
                "ssd_mobilenet_v1_coco_fp32_dequantized.onnx",
                "ssd-mobilenet-v1",
                (0, 47),
            ),
            (
                "ssd_mobilenet_v1_coco_int8_qdq_ort.onnx",
                "ssd-mobilenet-v1-int8",
                (47, 47),
            ),
            (
                "ssd_mobilenet_v1_coco_quant_qdq_from_tflite.onnx",
                "ssd-mobilenet-v1-int8-tflite",
                (47, 47),
            ),
            (
                "ssd_mobilenet_v2_coco_int8_qdq_ort.onnx",
                "ssd-mobilenet-v2-int8",
                (72, 72),
            ),
            (
                "ssd_mobilenet_v2_coco_quant_qdq_from_tflite.onnx",
                "ssd-mobilenet-v2-int8-tflite",
                (72, 72),
            ),
        ] {
            let resolved = resolve_path(&folder.join(file)).unwrap();
            assert_eq!(resolved.source, How::Hash, "{file}");
            assert_eq!(resolved.description.name, name);
            assert_eq!(resolved.notes, Vec::<String>::new(), "{file}");
            let layers = resolved.graph.unwrap().facts.integer_layers;
            assert_eq!(
                (layers.convolutions_quantized, layers.convolutions),
                convolutions,
                "{file}"
            );
        }
    }
}
