//! `--model` and `--model-config` -> a model description and an ONNX file.
//!
//! A file alone is described, in this order, by the model file beside it, by its sha256, by its
//! name, by its tensors. Known models that agree in everything that changes results count as
//! one; only a real disagreement is an error.

mod error;

use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

pub use self::error::ResolveError;
use super::description::{ModelDescription, ANCHOR_TENSOR};
use super::known;
use super::onnx::signature::{decode, facts};
use super::onnx::{four_columns, FourColumns, GraphFacts, ReadError};
use super::signature::{check_signature, precision_of};
use crate::strict_toml::nearest;

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
pub fn is_file(argument: &str) -> bool {
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
        plan: known::architecture(&owner.name),
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
mod tests;
