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
use crate::model::description::{ModelDescription, Outputs, RawHeads};
use crate::model::onnx::{FourColumns, GraphFacts};
use crate::model::resolve::{resolve, How, ModelRequest, OnnxSource, Resolved};
use crate::model::tfjs;
use crate::postprocess::families::{FamilyDetector, FamilyHeads};
use crate::postprocess::{
    Detector, NmsMode, NmsSettings, PassThroughDetector, PassThroughRules, PostprocessError,
    SsdDetector,
};
use crate::runtime::{locate, LocateError, Runtime, Source};
use crate::sut::pool::DetectorFactory;

/// A model that can be run, and how its outputs are read.
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

/// How a model's outputs become detections.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Ours to decode and to suppress.
    RawHeads {
        /// The heads, with the thresholds and limits that the flags ask for.
        raw: RawHeads,
        /// The boxes that the box head is relative to.
        anchors: Vec<[f32; 4]>,
    },
    /// Detections that the graph made.
    Detections(PassThroughRules),
}

/// A detector that workers copy.
enum ReadyDetector {
    Op(SsdDetector),
    Family(FamilyDetector),
    PassThrough(PassThroughDetector),
}

impl ReadyDetector {
    fn to_boxed(&self) -> Box<dyn Detector> {
        match self {
            Self::Op(detector) => Box::new(detector.clone()),
            Self::Family(detector) => Box::new(detector.clone()),
            Self::PassThrough(detector) => Box::new(detector.clone()),
        }
    }
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
fn search_folders() -> Vec<PathBuf> {
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
        let request = ModelRequest {
            model: asked.model.model.as_deref(),
            config: asked.model.model_config.as_deref(),
            search: &search,
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
        let reading = Reading::new(&resolved.description, &graph.constants, asked)?;
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
            subject.detector(mode).or_usage()?;
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

    /// # Panics
    /// When a mode is given and the graph makes the detections, or none is given and it does not: see [`Self::modes`].
    fn detector(&self, mode: Option<NmsMode>) -> Result<ReadyDetector, PostprocessError> {
        let (raw, anchors) = match (&self.reading, mode) {
            (Reading::Detections(rules), None) => {
                return PassThroughDetector::new(*rules).map(ReadyDetector::PassThrough)
            }
            (Reading::RawHeads { raw, anchors }, Some(_)) => (raw, anchors.clone()),
            _ => panic!("{mode:?} is no mode of {}", self.description.name),
        };
        let mode = mode.expect("matched above");
        let heads = &raw.heads;
        let Some(procedure) = raw.family.procedure() else {
            let detector = SsdDetector::new(
                mode,
                anchors,
                raw.box_scales,
                raw.nms,
                heads.activation,
                heads.classes as usize,
                heads.background,
            );
            return detector.map(ReadyDetector::Op);
        };
        let rules = raw.procedure.apply(procedure.rules());
        let heads = FamilyHeads {
            anchors,
            scales: raw.box_scales,
            activation: heads.activation,
            classes: heads.classes as usize,
            background: heads.background,
        };
        FamilyDetector::new(mode, procedure, rules, heads, raw.nms).map(ReadyDetector::Family)
    }

    /// Makes each worker's detectors, one for each mode of [`Self::modes`].
    pub fn detectors(&self, modes: &[Option<NmsMode>]) -> DetectorFactory {
        let ready: Vec<ReadyDetector> = modes
            .iter()
            .map(|&mode| {
                self.detector(mode)
                    .expect("tried when the model was prepared")
            })
            .collect();
        Arc::new(move || ready.iter().map(ReadyDetector::to_boxed).collect())
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

impl Reading {
    /// The raw heads and their anchors, if the graph gives any.
    pub fn raw_heads(&self) -> Option<(&RawHeads, &[[f32; 4]])> {
        match self {
            Self::RawHeads { raw, anchors } => Some((raw, anchors)),
            Self::Detections(_) => None,
        }
    }

    fn new(
        description: &ModelDescription,
        constants: &FourColumns,
        asked: SubjectRequest<'_>,
    ) -> Result<Self, Failure> {
        match &description.outputs {
            Outputs::RawHeads(raw) => Ok(Self::RawHeads {
                anchors: raw.anchors.load(constants).or_usage()?,
                raw: RawHeads {
                    nms: asked.overlaid(raw.nms),
                    ..raw.clone()
                },
            }),
            Outputs::Detections(own) => {
                if let Some(flag) = asked.flag_for_raw_heads() {
                    return Err(Failure::usage(format!(
                        "{flag} has no meaning for {}: its graph ends in detections, so NMS is its own; remove {flag}",
                        description.name
                    )));
                }
                let mut rules = own.rules(&description.input.preprocessing);
                rules.score_threshold = asked
                    .thresholds
                    .score_threshold
                    .unwrap_or(rules.score_threshold);
                Ok(Self::Detections(rules))
            }
        }
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
        ];
        let given = flags.into_iter().find(|(_, is_given)| *is_given);
        given.map(|(flag, _)| flag)
    }

    /// The model file's thresholds and limits with the flags laid over them.
    fn overlaid(&self, file: NmsSettings) -> NmsSettings {
        let own = self.thresholds;
        NmsSettings {
            score_threshold: own.score_threshold.unwrap_or(file.score_threshold),
            iou_threshold: own.iou_threshold.unwrap_or(file.iou_threshold),
            max_detections: own.max_detections.unwrap_or(file.max_detections),
            detections_per_class: own
                .detections_per_class
                .unwrap_or(file.detections_per_class),
            ..file
        }
    }
}

/// The default model as ONNX: from the cache, else imported from the published files.
///
/// The file's name holds the importer's revision, so that a newer program imports anew.
///
/// # Errors
/// [`Failure`] when it cannot be fetched, imported or written.
pub fn default_onnx(progress: &dyn Progress) -> Result<PathBuf, Failure> {
    let cache = Cache::locate().or_environment()?;
    let folder = cache.root().join("models");
    let name = format!("ssdlite-mobilenet-v2-import{}.onnx", tfjs::REVISION);
    let onnx = folder.join(name);
    let checksum = onnx.with_extension("sha256");
    if fs::read_to_string(&checksum).is_ok_and(|sum| is_intact(&onnx, &sum)) {
        return Ok(onnx);
    }
    let files = default_model_files(&cache, progress).or_environment()?;
    progress.stage("importing the default model");
    let imported = tfjs::import(&files).or_environment()?;
    fs::create_dir_all(&folder).or_environment()?;
    write_whole(&onnx, &imported.onnx).or_environment()?;
    let sum = sha256_of_file(&onnx).or_environment()?;
    write_whole(&checksum, sum.as_bytes()).or_environment()?;
    Ok(onnx)
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
