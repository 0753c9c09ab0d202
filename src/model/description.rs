//! The model file: everything about a model that its ONNX file does not say.
//!
//! TOML, read strictly: an unknown key, a missing key or a value out of range is an error that
//! names the file, the line and the key. `configs/models/` holds those of the known models.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::anchors::AnchorSpec;
use super::labels::Labels;
use super::npy::{self, NpyError};
use crate::library::preprocessing::{ColorOrder, ElementType, Layout, Preprocessing, Resize};
use crate::postprocess::families::RuleOverrides;
use crate::postprocess::{Activation, BoxScales, NmsSettings, Procedure};

/// What a model is and how it is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDescription {
    /// Its name on the command line.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// Which post-processing its heads need.
    pub family: Family,
    /// The arithmetic of its layers, as its author says; the graph tells the truth
    /// ([`super::onnx::IntegerLayers`]).
    pub precision: Precision,
    /// The data set whose classes it knows.
    pub dataset: Dataset,
    /// Where the model comes from.
    pub source: String,
    /// Under which terms.
    pub licence: String,
    /// What its classes are called.
    pub labels: Labels,
    /// What else one should know.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// The files that hold it; any of them will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ModelFile>,
    /// What it takes.
    pub input: InputDescription,
    /// What it gives.
    pub heads: Heads,
    /// The boxes that its box head is relative to.
    pub anchors: Anchors,
    /// Divisors of the box head.
    pub box_scales: BoxScales,
    /// Thresholds and limits unless the user says otherwise.
    pub nms: NmsSettings,
    /// What differs from the published procedure of the family; empty for `tflite-ssd`.
    #[serde(default, skip_serializing_if = "RuleOverrides::is_empty")]
    pub procedure: RuleOverrides,
}

/// Which post-processing a model needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// `TFLite_Detection_PostProcess`: boxes (ty, tx, th, tw), scores for each anchor and class.
    TfliteSsd,
    /// TF Object Detection API, as inside its graphs of 2018 (SSD-MobileNet, SSD-ResNet50-FPN).
    TfodSsd,
    /// `MLPerf`'s PyTorch port of SSD-MobileNet.
    MlperfTorchSsd,
    /// `MLPerf`'s SSD-ResNet34: boxes (tx, ty, tw, th).
    MlperfSsdResnet34,
    /// pytorch-ssd, such as MobileNetV2-SSD-Lite: boxes (tx, ty, tw, th).
    PytorchSsd,
    /// `HiKapok`'s SSD-VGG16.
    HikapokSsd,
}

impl Family {
    /// The procedure of a family that is not the op's.
    pub const fn procedure(self) -> Option<Procedure> {
        match self {
            Self::TfliteSsd => None,
            Self::TfodSsd => Some(Procedure::TfodSsd),
            Self::MlperfTorchSsd => Some(Procedure::MlperfTorchSsd),
            Self::MlperfSsdResnet34 => Some(Procedure::MlperfSsdResnet34),
            Self::PytorchSsd => Some(Procedure::PytorchSsd),
            Self::HikapokSsd => Some(Procedure::HikapokSsd),
        }
    }
}

/// The arithmetic of a model's convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    Fp32,
    /// 8-bit integers.
    Int8,
}

impl Precision {
    /// The word for it in files and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Int8 => "int8",
        }
    }
}

/// A data set that models are trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dataset {
    /// Common Objects in Context.
    Coco,
    /// Pascal Visual Object Classes.
    Voc,
}

/// A file that holds a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Its usual name, without a folder.
    pub name: String,
    /// sha256 of the contents that are known to be this model, in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sha256: Vec<String>,
    /// How it was made or where it can be had.
    pub origin: String,
}

/// The input tensor and how a picture becomes one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "InputKeys", into = "InputKeys")]
pub struct InputDescription {
    /// The tensor's name.
    pub name: String,
    /// What the tensor wants of a picture.
    pub preprocessing: Preprocessing,
}

/// The keys of `[input]`: serde cannot flatten a struct and refuse unknown keys at once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputKeys {
    name: String,
    height: u32,
    width: u32,
    element: ElementType,
    layout: Layout,
    #[serde(default)]
    color: ColorOrder,
    #[serde(default)]
    resize: Resize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mean: Option<[f32; 3]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scale: Option<[f32; 3]>,
}

impl TryFrom<InputKeys> for InputDescription {
    type Error = &'static str;

    fn try_from(keys: InputKeys) -> Result<Self, Self::Error> {
        if keys.height == 0 || keys.width == 0 {
            return Err("`height` and `width` should be above zero");
        }
        if keys.element == ElementType::U8 && (keys.mean.is_some() || keys.scale.is_some()) {
            return Err("`mean` and `scale` have no meaning for an input of `u8`; remove them");
        }
        let scale = keys.scale.unwrap_or([1.0; 3]);
        if scale.iter().any(|scale| !scale.is_normal()) {
            return Err("`scale` divides, so it should be finite and not zero");
        }
        Ok(Self {
            name: keys.name,
            preprocessing: Preprocessing {
                height: keys.height,
                width: keys.width,
                element: keys.element,
                layout: keys.layout,
                color: keys.color,
                resize: keys.resize,
                mean: keys.mean.unwrap_or_default(),
                scale,
            },
        })
    }
}

impl From<InputDescription> for InputKeys {
    fn from(input: InputDescription) -> Self {
        let own = input.preprocessing;
        let float = own.element == ElementType::F32;
        Self {
            name: input.name,
            height: own.height,
            width: own.width,
            element: own.element,
            layout: own.layout,
            color: own.color,
            resize: own.resize,
            mean: float.then_some(own.mean),
            scale: float.then_some(own.scale),
        }
    }
}

/// The output tensors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heads {
    /// Name of the boxes: f32 `[batch, anchors, 4]`.
    pub boxes: String,
    /// Name of the scores: f32 `[batch, anchors, classes]`, one more with background.
    pub scores: String,
    /// What turns the scores into probabilities.
    pub activation: Activation,
    /// How many classes, background left out.
    pub classes: u32,
    /// Whether the first column of the scores is background.
    pub background: bool,
}

impl Heads {
    /// Columns of the score head.
    pub fn score_columns(&self) -> u32 {
        self.classes.saturating_add(u32::from(self.background))
    }
}

/// Where the anchors come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "AnchorKeys", into = "AnchorKeys")]
pub enum Anchors {
    /// Computed.
    Generated(AnchorSpec),
    /// Read from a .npy file of f32 `[anchors, 4]` (`y_center`, `x_center`, `height`, `width`); a
    /// relative path counts from the model file's folder.
    File(PathBuf),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnchorKeys {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    generator: Option<AnchorSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

impl TryFrom<AnchorKeys> for Anchors {
    type Error = &'static str;

    fn try_from(keys: AnchorKeys) -> Result<Self, Self::Error> {
        match (keys.generator, keys.file) {
            (Some(spec), None) => Ok(Self::Generated(spec)),
            (None, Some(file)) => Ok(Self::File(file)),
            _ => Err("give either `generator` or `file`"),
        }
    }
}

impl From<Anchors> for AnchorKeys {
    fn from(anchors: Anchors) -> Self {
        match anchors {
            Anchors::Generated(spec) => Self {
                generator: Some(spec),
                file: None,
            },
            Anchors::File(file) => Self {
                generator: None,
                file: Some(file),
            },
        }
    }
}

impl Anchors {
    /// The anchors as (`y_center`, `x_center`, `height`, `width`).
    pub fn load(&self) -> Result<Vec<[f32; 4]>, DescriptionError> {
        match self {
            Self::Generated(spec) => Ok(spec.generate()),
            Self::File(path) => {
                let bytes = std::fs::read(path).map_err(|source| DescriptionError::Read {
                    path: path.clone(),
                    source,
                })?;
                npy::read_rows(&bytes).map_err(|source| DescriptionError::AnchorFile {
                    path: path.clone(),
                    source,
                })
            }
        }
    }
}

/// Why a model file is refused.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// It, or its anchors, cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key that means nothing.
    #[error("{}:{line}: unknown key `{key}`{}", path.display(), did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// From one.
        line: usize,
        /// As written.
        key: String,
        /// The nearest key that exists there.
        nearest: Option<String>,
    },
    /// A key that must be there.
    #[error("{}:{line}: the key `{key}` is missing in the table that begins here", path.display())]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// From one.
        line: usize,
        /// The key.
        key: String,
    },
    /// Not TOML, or a value that cannot stand there.
    #[error("{}:{line}: {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// From one.
        line: usize,
        /// What the parser says is wrong.
        problem: String,
    },
    /// A value that TOML allows, but the key does not.
    #[error("{}:{line}: `{key}` is {found}, but should be {expected}", path.display())]
    Range {
        /// The file.
        path: PathBuf,
        /// From one; the table's line when the key's is not known.
        line: usize,
        /// The key.
        key: &'static str,
        /// The value.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// An anchor file that is not one.
    #[error("anchors cannot be read from {}: {source}", path.display())]
    AnchorFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: NpyError,
    },
}

/// `; did you mean `x`?`, or nothing.
pub(super) fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The candidate that is most like `word`, when one is at all like it.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    /// Below this similarity a proposal confuses more than it helps.
    const SIMILARITY_MIN: f64 = 0.7;
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|&(similarity, _)| similarity >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

impl ModelDescription {
    /// Reads the model file at `path`; relative anchor files count from its folder.
    pub fn read(path: &Path) -> Result<Self, DescriptionError> {
        let text = std::fs::read_to_string(path).map_err(|source| DescriptionError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// As [`Self::read`], of a text that came from `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, DescriptionError> {
        let mut description: Self =
            toml::from_str(text).map_err(|error| explain(&error, text, path))?;
        description.check(text, path)?;
        if let (Anchors::File(file), Some(folder)) = (&mut description.anchors, path.parent()) {
            *file = folder.join(&*file);
        }
        Ok(description)
    }

    /// The model file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field has a form in TOML")
    }

    /// Whether everything that changes results is the same: the pictures fed, the heads read,
    /// the boxes decoded, the detections kept and the classes named.
    pub fn gives_same_results(&self, other: &Self) -> bool {
        self.family == other.family
            && self.dataset == other.dataset
            && self.input == other.input
            && self.heads == other.heads
            && self.anchors == other.anchors
            && self.box_scales == other.box_scales
            && self.nms == other.nms
            && self.procedure == other.procedure
            && self.labels == other.labels
    }

    fn check(&self, text: &str, path: &Path) -> Result<(), DescriptionError> {
        let nms = &self.nms;
        let scales = &self.box_scales;
        let scales_sane = [scales.y, scales.x, scales.h, scales.w]
            .iter()
            .all(|scale| scale.is_normal() && *scale > 0.0);
        let labels = self.labels.class_count();
        let hex = |hash: &String| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        let hashes = || self.files.iter().flat_map(|file| &file.sha256);
        let rules = [
            (
                !self.name.is_empty() && !self.name.contains(['/', '\\']),
                "name",
                format!("`{}`", self.name),
                "a word without slashes",
            ),
            (
                nms.iou_threshold > 0.0 && nms.iou_threshold <= 1.0,
                "iou_threshold",
                nms.iou_threshold.to_string(),
                "above 0 and at most 1",
            ),
            (
                nms.score_threshold.is_finite(),
                "score_threshold",
                nms.score_threshold.to_string(),
                "a finite number",
            ),
            (
                nms.max_detections > 0 && nms.detections_per_class > 0,
                "max_detections",
                format!(
                    "{} ({} per class)",
                    nms.max_detections, nms.detections_per_class
                ),
                "at least 1, for a picture and for a class",
            ),
            (
                nms.max_classes_per_detection > 0,
                "max_classes_per_detection",
                nms.max_classes_per_detection.to_string(),
                "at least 1",
            ),
            (
                scales_sane,
                "box_scales",
                format!("{scales:?}"),
                "four numbers above 0",
            ),
            (
                self.heads.classes > 0,
                "classes",
                self.heads.classes.to_string(),
                "at least 1",
            ),
            (
                u32::try_from(labels) == Ok(self.heads.classes),
                "labels",
                format!("for {labels} classes"),
                "for as many classes as `heads.classes` says",
            ),
            (
                self.family.procedure().is_some() || self.procedure.is_empty(),
                "procedure",
                "there".to_owned(),
                "absent: `tflite-ssd` is the op as it is",
            ),
            (
                hashes().all(hex),
                "sha256",
                format!(
                    "{:?}",
                    hashes()
                        .find(|hash| !hex(hash))
                        .cloned()
                        .unwrap_or_default()
                ),
                "64 hexadecimal digits",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            None => Ok(()),
            Some((_, key, found, expected)) => Err(DescriptionError::Range {
                path: path.to_owned(),
                line: line_of_key(text, key),
                key,
                found,
                expected,
            }),
        }
    }
}

/// The first line that sets `key` or opens the table of that name.
fn line_of_key(text: &str, key: &str) -> usize {
    let names = |line: &str| {
        let line = line.trim_start().trim_start_matches('[');
        line.strip_prefix(key)
            .is_some_and(|rest| rest.trim_start().starts_with(['=', ']']))
    };
    text.lines().position(names).map_or(1, |index| index + 1)
}

/// serde says which key is wrong only in words, between backticks.
fn explain(error: &toml::de::Error, text: &str, path: &Path) -> DescriptionError {
    let path = path.to_owned();
    let start = error.span().unwrap_or_default().start;
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let message = error.message();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((key, known)) if message.starts_with("unknown field") => {
            DescriptionError::UnknownKey {
                path,
                line,
                key: (*key).to_owned(),
                nearest: nearest(key, known.iter().copied()).map(str::to_owned),
            }
        }
        Some((key, _)) if message.starts_with("missing field") => DescriptionError::MissingKey {
            path,
            line,
            key: (*key).to_owned(),
        },
        _ => DescriptionError::Value {
            path,
            line,
            problem: message.trim().replace('\n', "; "),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../configs/models/ssdlite-mobilenet-v2.toml");

    fn parse(text: &str) -> Result<ModelDescription, DescriptionError> {
        ModelDescription::parse(text, Path::new("models/own.toml"))
    }

    #[test]
    fn a_model_file_reads_into_the_types_that_the_stages_use() {
        let model = parse(TEXT).unwrap();
        assert_eq!(model.input.name, "image");
        assert_eq!(
            model.input.preprocessing.scale.map(f32::to_bits),
            [1.0_f32.to_bits(); 3]
        );
        assert_eq!(model.heads.score_columns(), 91);
        assert_eq!(model.anchors.load().unwrap().len(), 1917);
        assert_eq!(model.nms.score_threshold.to_bits(), 0.3_f32.to_bits());
    }

    #[test]
    fn what_is_wrong_is_named_with_file_line_and_key() {
        for (from, to, expected) in [
            (
                "iou_threshold =",
                "iou_treshold =",
                "unknown key `iou_treshold`; did you mean `iou_threshold`?",
            ),
            (
                "layout =",
                "layuot =",
                "unknown key `layuot`; did you mean `layout`?",
            ),
            ("licence =", "zzz =", "unknown key `zzz`"),
            ("y = 10.0\n", "", "the key `y` is missing"),
            ("name = \"image\"\n", "", "the key `name` is missing"),
            ("title =", "title", "expected"),
            ("\"sigmoid\"", "\"sigmod\"", "`sigmod`"),
            ("\"tfod-ssd-300\"", "\"tfod-ssd-301\"", "`tfod-ssd-301`"),
            (
                "generator = \"tfod-ssd-300\"",
                "",
                "give either `generator` or `file`",
            ),
            ("\"f32\"", "\"u8\"", "`mean` and `scale` have no meaning"),
            (
                "scale = [1.0, 1.0, 1.0]",
                "scale = [0.0, 1.0, 1.0]",
                "`scale` divides",
            ),
            ("height = 300", "height = 0", "above zero"),
            (
                "iou_threshold = 0.6",
                "iou_threshold = 1.5",
                "`iou_threshold` is 1.5, but should be above 0 and at most 1",
            ),
            ("max_detections = 100", "max_detections = -1", "-1"),
            ("\"coco-91\"", "[\"cat\"]", "`labels` is for 1 classes"),
            (
                "\"coco-91\"",
                "\"coco-80\"",
                "\"coco-91\" or a list of names",
            ),
            ("sha256 = [\"", "sha256 = [\"x", "64 hexadecimal digits"),
        ] {
            let text = TEXT.replacen(from, to, 1);
            assert_ne!(text, TEXT, "{from}");
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
            // The line of the change, or that of the table around it.
            let changed = TEXT[..TEXT.find(from).unwrap()].matches('\n').count() + 1;
            let start = error.strip_prefix("models/own.toml:").expect("file first");
            let line: usize = start.split(':').next().unwrap().parse().unwrap();
            assert!(
                line <= changed && changed - line <= 8,
                "{to}: line {changed}: {error}"
            );
        }
    }

    #[test]
    fn an_anchor_file_counts_from_the_model_files_folder() {
        let dir = tempfile::tempdir().unwrap();
        let text = TEXT.replace("generator = \"tfod-ssd-300\"", "file = \"own.npy\"");
        let path = dir.path().join("own.toml");
        std::fs::write(&path, text).unwrap();
        let model = ModelDescription::read(&path).unwrap();
        let missing = model.anchors.load().unwrap_err().to_string();
        assert!(missing.contains("own.npy cannot be read"), "{missing}");
        let rows = vec![[0.5, 0.5, 1.0, 1.0]];
        std::fs::write(dir.path().join("own.npy"), npy::write_rows(&rows)).unwrap();
        assert_eq!(model.anchors.load().unwrap(), rows);
    }
}
