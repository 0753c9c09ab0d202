//! What is measured: a model file, the runtime that runs it, and the detectors behind it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{NmsArg, RunArgs};
use crate::cli::detector_args::{ModelArgs, ThresholdArgs};
use crate::cli::failure::{Blame, Failure};
use crate::fetch::cache::sha256_of_file;
use crate::fetch::{default_model_files, Cache, Progress};
use crate::model::description::{ModelDescription, Precision};
use crate::model::onnx::{signature, GraphFacts};
use crate::model::resolve::{resolve, How, ModelRequest, OnnxSource, Resolved};
use crate::model::{precision_of, tfjs, Reading};
use crate::postprocess::{NmsMode, NmsSettings};
use crate::runtime::{locate, LocateError, Runtime, Source};
use crate::sut::pool::DetectorFactory;

/// A model that can be run, and how its outputs are read.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What the model is.
    pub description: ModelDescription,
    /// Its file.
    pub onnx: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    /// What the graph is made of.
    pub facts: GraphFacts,
    /// How the description was found.
    pub source: How,
    /// What the user should know.
    pub notes: Vec<String>,
    /// How its outputs become detections, after the flags.
    pub reading: Reading,
}

/// Which model, what differs from its model file, and which NMS modes.
#[derive(Debug, Clone, Copy)]
pub struct SubjectRequest<'a> {
    /// Which model.
    pub model: &'a ModelArgs,
    /// What differs from its model file.
    pub thresholds: &'a ThresholdArgs,
    /// The modes that will be used, where there is a choice.
    pub nms: NmsArg,
    /// Whether the user named them.
    pub names_mode: bool,
}

impl<'a> From<&'a RunArgs> for SubjectRequest<'a> {
    fn from(args: &'a RunArgs) -> Self {
        Self {
            model: &args.model,
            thresholds: &args.thresholds,
            nms: args.nms(),
            names_mode: args.nms.is_some(),
        }
    }
}

/// Folders in which the files of a named model are looked for.
pub fn search_folders() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("."), PathBuf::from("models")];
    folders.extend(
        Cache::locate()
            .ok()
            .map(|cache| cache.root().join("models")),
    );
    folders
}

impl Subject {
    /// Finds the model that the flags mean; the default one is fetched and imported when needed.
    pub fn prepare(asked: SubjectRequest<'_>, progress: &dyn Progress) -> Result<Self, Failure> {
        let search = search_folders();
        let request = match (&asked.model.model_file, &asked.model.model_config) {
            (None, config) => ModelRequest {
                model: asked.model.model.as_deref(),
                config: config.as_deref(),
                search: &search,
            },
            // The name says what the file is, unless a model file does.
            (Some(file), config) => {
                check_model_file(file)?;
                ModelRequest {
                    model: Some(file),
                    config: config.as_deref().or(asked.model.model.as_deref()),
                    search: &[],
                }
            }
        };
        let resolved = resolve(request).or_usage()?;
        let (onnx, resolved) = match &resolved.onnx {
            OnnxSource::File(path) => (path.clone(), resolved),
            OnnxSource::DefaultTfjs => {
                let onnx = default_onnx(progress)?;
                let file = onnx.to_string_lossy();
                let request = ModelRequest {
                    model: Some(&file),
                    config: Some(&resolved.description.name),
                    search: &[],
                };
                let imported = resolve(request).or_usage()?;
                (
                    onnx.clone(),
                    Resolved {
                        source: How::Named,
                        ..imported
                    },
                )
            }
        };
        let graph = resolved.graph.expect("a file on disk was read");
        let mut reading = Reading::new(&resolved.description, &graph.constants).or_usage()?;
        asked.overlay(&resolved.description.name, &mut reading)?;
        let subject = Self {
            reading,
            description: resolved.description,
            onnx,
            sha256: graph.sha256,
            facts: graph.facts,
            source: resolved.source,
            notes: resolved.notes,
        };
        for mode in subject.modes(asked.nms) {
            subject.reading.detector(mode).or_usage()?;
        }
        Ok(subject)
    }

    /// The NMS modes to run, in their order: those asked for, or `None` where NMS is the graph's own.
    pub fn modes(&self, asked: NmsArg) -> Vec<Option<NmsMode>> {
        match &self.reading {
            Reading::RawHeads { .. } => asked.modes().iter().copied().map(Some).collect(),
            Reading::Detections(_) => vec![None],
        }
    }

    /// `fp32` or `int8`, by the graph's own layers.
    pub fn precision(&self) -> &'static str {
        self.description.precision.name()
    }

    /// Refuses a graph whose layers are not of the precision that was typed behind a flag.
    ///
    /// # Errors
    /// The sentence that says so.
    pub fn check_precision(&self, (asked, flag): (Precision, &str)) -> Result<(), Failure> {
        let found = self.description.precision;
        if found == asked {
            return Ok(());
        }
        let layers = &self.facts.integer_layers;
        Err(Failure::usage(format!(
            "{flag} {asked}: {} computes {} of {} convolutions in integers, so it is {found}; pass the {asked} file, or {flag} {found}",
            self.onnx.display(),
            layers.convolutions_quantized,
            layers.convolutions,
            asked = asked.name(),
            found = found.name(),
        )))
    }

    /// Makes each worker's detectors, one for each mode of [`Self::modes`].
    pub fn detectors(&self, modes: &[Option<NmsMode>]) -> DetectorFactory {
        let (reading, modes) = (self.reading.clone(), modes.to_vec());
        let make = move |&mode: &Option<NmsMode>| {
            let detector = reading.detector(mode);
            detector.expect("tried when the model was prepared")
        };
        Arc::new(move || modes.iter().map(&make).collect())
    }

    /// Least score of a detection, after the flags.
    pub fn score_threshold(&self) -> f32 {
        match &self.reading {
            Reading::RawHeads { raw, .. } => raw.nms.score_threshold,
            Reading::Detections(rules) => rules.score_threshold,
        }
    }

    /// The outputs that the detectors take, in their order.
    pub fn outputs(&self) -> Vec<String> {
        self.description.outputs.tensor_names()
    }

    /// Whether the graph takes several pictures at once.
    pub fn has_batch_axis(&self) -> bool {
        self.description.input.preprocessing.layout.has_batch_axis()
    }
}

impl SubjectRequest<'_> {
    /// The first flag that asks something of NMS that only raw heads can give.
    fn flag_for_raw_heads(&self) -> Option<&'static str> {
        let own = self.thresholds;
        let flags = [
            ("--nms", self.names_mode),
            ("--iou-threshold", own.iou_threshold.is_some()),
            ("--max-detections", own.max_detections.is_some()),
            ("--detections-per-class", own.detections_per_class.is_some()),
            (
                "--max-classes-per-detection",
                own.max_classes_per_detection.is_some(),
            ),
            ("--box-scales", own.box_scales.is_some()),
        ];
        let given = flags.into_iter().find(|(_, is_given)| *is_given);
        given.map(|(flag, _)| flag)
    }

    /// Lays the flags over the model file's thresholds and limits.
    fn overlay(&self, model: &str, reading: &mut Reading) -> Result<(), Failure> {
        let own = self.thresholds;
        match reading {
            Reading::RawHeads { raw, .. } => {
                let file = raw.nms;
                raw.nms = NmsSettings {
                    score_threshold: own.score_threshold.unwrap_or(file.score_threshold),
                    iou_threshold: own.iou_threshold.unwrap_or(file.iou_threshold),
                    max_detections: own.max_detections.unwrap_or(file.max_detections),
                    detections_per_class: own
                        .detections_per_class
                        .unwrap_or(file.detections_per_class),
                    max_classes_per_detection: own
                        .max_classes_per_detection
                        .unwrap_or(file.max_classes_per_detection),
                };
                if let Some(changes) = own.box_scales {
                    raw.box_scales = changes.apply(raw.box_scales);
                }
                Ok(())
            }
            Reading::Detections(rules) => {
                rules.score_threshold = own.score_threshold.unwrap_or(rules.score_threshold);
                match self.flag_for_raw_heads() {
                    None => Ok(()),
                    Some(flag) => Err(Failure::usage(format!(
                        "{flag} has no meaning for {model}: its graph ends in detections, so NMS is its own; remove {flag}"
                    ))),
                }
            }
        }
    }
}

/// The arithmetic of a graph's layers; `None` for a file that cannot be read.
pub fn precision_of_graph(path: &Path) -> Option<Precision> {
    let graph = signature::read(path).ok()?;
    Some(precision_of(&signature::facts(&graph).integer_layers))
}

/// Refuses what is no path of a file.
fn check_model_file(file: &str) -> Result<(), Failure> {
    if Path::new(file).is_file() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--model-file {file}: there is no such file"
    )))
}

/// The default model as ONNX: from the cache, else imported from the published files.
///
/// The file's name holds the importer's revision, so that a newer program imports anew.
///
/// # Errors
/// [`Failure`] when it cannot be fetched, imported or written.
pub fn default_onnx(progress: &dyn Progress) -> Result<PathBuf, Failure> {
    let cache = Cache::locate().or_environment()?;
    let onnx = imported_default(&cache);
    let checksum = onnx.with_extension("sha256");
    if fs::read_to_string(&checksum).is_ok_and(|sum| is_intact(&onnx, &sum)) {
        return Ok(onnx);
    }
    let folder = cache.root().join("models");
    let files = default_model_files(&cache, progress).or_environment()?;
    progress.stage("importing the default model");
    let imported = tfjs::import(&files).or_environment()?;
    fs::create_dir_all(&folder).or_environment()?;
    write_whole(&onnx, &imported.onnx).or_environment()?;
    let sum = sha256_of_file(&onnx).or_environment()?;
    write_whole(&checksum, sum.as_bytes()).or_environment()?;
    Ok(onnx)
}

/// Where the default model is kept once it was imported.
pub fn imported_default(cache: &Cache) -> PathBuf {
    let name = format!("ssdlite-mobilenet-v2-import{}.onnx", tfjs::REVISION);
    cache.root().join("models").join(name)
}

/// A file that a crash or a full disk cut short is imported again.
fn is_intact(onnx: &Path, sum: &str) -> bool {
    sha256_of_file(onnx).is_ok_and(|found| found == sum.trim())
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Finds or fetches ONNX Runtime and loads it.
pub fn load_runtime(named: Option<&Path>, progress: &dyn Progress) -> Result<Runtime, Failure> {
    let located = locate(named, progress).map_err(|error| match &error {
        LocateError::Named {
            named_by: Source::Flag,
            ..
        } => Failure::usage(&error),
        _ => Failure::environment(&error),
    })?;
    Runtime::load(&located, false).or_environment()
}
