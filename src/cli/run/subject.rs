//! What is measured: a model file, the runtime that runs it, and the detectors behind it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::RunArgs;
use crate::cli::failure::{Blame, Failure};
use crate::fetch::cache::sha256_of_file;
use crate::fetch::{default_model_files, Cache, Progress};
use crate::model::description::ModelDescription;
use crate::model::onnx::GraphFacts;
use crate::model::resolve::{resolve, How, ModelRequest, OnnxSource, Resolved};
use crate::model::tfjs;
use crate::postprocess::families::{FamilyDetector, FamilyHeads};
use crate::postprocess::{Detector, NmsMode, NmsSettings, PostprocessError, SsdDetector};
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
    /// Thresholds and limits after the flags.
    pub nms: NmsSettings,
    anchors: Vec<[f32; 4]>,
}

/// A detector that workers copy.
enum ReadyDetector {
    Op(SsdDetector),
    Family(FamilyDetector),
}

impl ReadyDetector {
    fn to_boxed(&self) -> Box<dyn Detector> {
        match self {
            Self::Op(detector) => Box::new(detector.clone()),
            Self::Family(detector) => Box::new(detector.clone()),
        }
    }
}

/// Which model, and what differs from its model file.
#[derive(Debug, Clone, Copy)]
pub struct SubjectRequest<'a> {
    /// `--model`.
    pub model: Option<&'a str>,
    /// `--model-config`.
    pub config: Option<&'a str>,
    /// The modes that will be used.
    pub modes: &'a [NmsMode],
    /// `--score-threshold`.
    pub score_threshold: Option<f32>,
    /// `--iou-threshold`.
    pub iou_threshold: Option<f32>,
    /// `--max-detections`.
    pub max_detections: Option<u32>,
    /// `--detections-per-class`.
    pub detections_per_class: Option<u32>,
}

impl<'a> From<&'a RunArgs> for SubjectRequest<'a> {
    fn from(args: &'a RunArgs) -> Self {
        Self {
            model: args.model.as_deref(),
            config: args.model_config.as_deref(),
            modes: args.nms.modes(),
            score_threshold: args.score_threshold,
            iou_threshold: args.iou_threshold,
            max_detections: args.max_detections,
            detections_per_class: args.detections_per_class,
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
            model: asked.model,
            config: asked.config,
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
        let anchors = resolved.description.anchors.load().or_usage()?;
        let subject = Self {
            nms: thresholds(resolved.description.nms, asked),
            description: resolved.description,
            onnx,
            sha256: graph.sha256,
            facts: graph.facts,
            source: resolved.source,
            notes: resolved.notes,
            anchors,
        };
        for &mode in asked.modes {
            subject.detector(mode).or_usage()?;
        }
        Ok(subject)
    }

    /// `fp32` or `int8`, by the graph's own layers.
    pub fn precision(&self) -> &'static str {
        self.description.precision.name()
    }

    fn detector(&self, mode: NmsMode) -> Result<ReadyDetector, PostprocessError> {
        let heads = &self.description.heads;
        let Some(procedure) = self.description.family.procedure() else {
            let detector = SsdDetector::new(
                mode,
                self.anchors.clone(),
                self.description.box_scales,
                self.nms,
                heads.activation,
                heads.classes as usize,
                heads.background,
            );
            return detector.map(ReadyDetector::Op);
        };
        let rules = self.description.procedure.apply(procedure.rules());
        let heads = FamilyHeads {
            anchors: self.anchors.clone(),
            scales: self.description.box_scales,
            activation: heads.activation,
            classes: heads.classes as usize,
            background: heads.background,
        };
        FamilyDetector::new(mode, procedure, rules, heads, self.nms).map(ReadyDetector::Family)
    }

    /// The boxes that the box head is relative to.
    pub fn anchors(&self) -> &[[f32; 4]] {
        &self.anchors
    }

    /// Makes each worker's detectors, one for each mode.
    pub fn detectors(&self, modes: &[NmsMode]) -> DetectorFactory {
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
        let heads = &self.description.heads;
        vec![heads.boxes.clone(), heads.scores.clone()]
    }
}

fn thresholds(mut nms: NmsSettings, asked: SubjectRequest<'_>) -> NmsSettings {
    if let Some(score) = asked.score_threshold {
        nms.score_threshold = score;
    }
    if let Some(iou) = asked.iou_threshold {
        nms.iou_threshold = iou;
    }
    if let Some(count) = asked.max_detections {
        nms.max_detections = count;
    }
    if let Some(count) = asked.detections_per_class {
        nms.detections_per_class = count;
    }
    nms
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
