//! The model file: everything about a model that its ONNX file does not say.
//!
//! TOML, read strictly: an unknown key, a missing key or a value out of range is an error that
//! names the file, the line and the key. `configs/models/` holds those of the known models.

mod error;
mod input;
mod outputs;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use self::error::DescriptionError;
pub use self::input::InputDescription;
pub use self::outputs::{
    Anchors, BoxUnit, DetectionOutputs, Family, Heads, Outputs, RawHeads, ANCHOR_TENSOR,
};
use super::labels::Labels;
use crate::postprocess::families::RuleOverrides;
use crate::postprocess::{BoxScales, NmsSettings};
use crate::strict_toml::{self, line_of_key};

/// What a model is and how it is used.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDescription {
    /// Its name on the command line.
    pub name: String,
    /// Its name for people.
    pub title: String,
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
    pub notes: String,
    /// Whether its weights were learned.
    pub weights: Weights,
    /// Arithmetic operations of one inference of one picture, a multiply-add counted as two, any other
    /// addition, comparison or product as one; `None` where nobody has counted them.
    pub operations: Option<u64>,
    /// The files that hold it; any of them will do.
    pub files: Vec<ModelFile>,
    /// What it takes.
    pub input: InputDescription,
    /// What it gives, and how that becomes detections.
    pub outputs: Outputs,
}

/// The keys of a model file. Which of the last tables it has depends on its family.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelKeys {
    name: String,
    title: String,
    family: FamilyKey,
    precision: Precision,
    dataset: Dataset,
    source: String,
    licence: String,
    labels: Labels,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    notes: String,
    #[serde(default, skip_serializing_if = "Weights::are_trained")]
    weights: Weights,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operations: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files: Vec<ModelFile>,
    input: InputDescription,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detections: Option<DetectionOutputs>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heads: Option<Heads>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    anchors: Option<Anchors>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    box_scales: Option<BoxScales>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nms: Option<NmsSettings>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    procedure: Option<RuleOverrides>,
}

/// `family`: that of the raw heads, or that there are none.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum FamilyKey {
    TfliteSsd,
    TfodSsd,
    MlperfTorchSsd,
    MlperfSsdResnet34,
    PytorchSsd,
    HikapokSsd,
    EndToEnd,
}

impl FamilyKey {
    /// `None` for graphs that end in detections.
    const fn family(self) -> Option<Family> {
        match self {
            Self::TfliteSsd => Some(Family::TfliteSsd),
            Self::TfodSsd => Some(Family::TfodSsd),
            Self::MlperfTorchSsd => Some(Family::MlperfTorchSsd),
            Self::MlperfSsdResnet34 => Some(Family::MlperfSsdResnet34),
            Self::PytorchSsd => Some(Family::PytorchSsd),
            Self::HikapokSsd => Some(Family::HikapokSsd),
            Self::EndToEnd => None,
        }
    }

    const fn of(outputs: &Outputs) -> Self {
        match outputs {
            Outputs::Detections(_) => Self::EndToEnd,
            Outputs::RawHeads(raw) => match raw.family {
                Family::TfliteSsd => Self::TfliteSsd,
                Family::TfodSsd => Self::TfodSsd,
                Family::MlperfTorchSsd => Self::MlperfTorchSsd,
                Family::MlperfSsdResnet34 => Self::MlperfSsdResnet34,
                Family::PytorchSsd => Self::PytorchSsd,
                Family::HikapokSsd => Self::HikapokSsd,
            },
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

/// Where a model's weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// Learned from pictures.
    #[default]
    Trained,
    /// Drawn from a seed: the layers cost what a trained model's cost, but find nothing.
    Synthetic,
}

impl Weights {
    /// The word for it in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trained => "trained",
            Self::Synthetic => "synthetic",
        }
    }

    /// Whether they were learned, so that accuracy means something.
    pub const fn are_trained(&self) -> bool {
        matches!(self, Self::Trained)
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

impl Dataset {
    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coco => "COCO",
            Self::Voc => "Pascal VOC",
        }
    }
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

/// The text of a model file and where it came from, for errors.
#[derive(Clone, Copy)]
struct Origin<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Origin<'_> {
    fn missing(self, table: &'static str, family: &'static str) -> DescriptionError {
        DescriptionError::MissingTable {
            path: self.path.to_owned(),
            line: line_of_key(self.text, "family"),
            table,
            family,
        }
    }

    /// Refuses tables that the family does not read.
    fn refuse(
        self,
        family: &'static str,
        tables: &[(&'static str, bool)],
    ) -> Result<(), DescriptionError> {
        match tables.iter().find(|(_, is_there)| *is_there) {
            None => Ok(()),
            Some((table, _)) => Err(DescriptionError::NeedlessTable {
                path: self.path.to_owned(),
                line: line_of_key(self.text, table),
                table,
                family,
            }),
        }
    }
}

impl ModelKeys {
    fn outputs(&mut self, origin: Origin<'_>) -> Result<Outputs, DescriptionError> {
        let Some(family) = self.family.family() else {
            let name = "end-to-end";
            let needless = [
                ("heads", self.heads.is_some()),
                ("anchors", self.anchors.is_some()),
                ("box_scales", self.box_scales.is_some()),
                ("nms", self.nms.is_some()),
                ("procedure", self.procedure.is_some()),
            ];
            origin.refuse(name, &needless)?;
            let detections = self.detections.take();
            return detections
                .map(Outputs::Detections)
                .ok_or_else(|| origin.missing("detections", name));
        };
        let name = family.name();
        origin.refuse(name, &[("detections", self.detections.is_some())])?;
        if family == Family::TfliteSsd {
            // That family is the op as it is.
            origin.refuse(name, &[("procedure", self.procedure.is_some())])?;
        }
        let missing = |table| origin.missing(table, name);
        Ok(Outputs::RawHeads(RawHeads {
            family,
            heads: self.heads.take().ok_or_else(|| missing("heads"))?,
            anchors: self.anchors.take().ok_or_else(|| missing("anchors"))?,
            box_scales: self
                .box_scales
                .take()
                .ok_or_else(|| missing("box_scales"))?,
            nms: self.nms.take().ok_or_else(|| missing("nms"))?,
            procedure: self.procedure.take().unwrap_or_default(),
        }))
    }
}

impl From<&ModelDescription> for ModelKeys {
    fn from(model: &ModelDescription) -> Self {
        let family = FamilyKey::of(&model.outputs);
        let (raw, detections) = match model.outputs.clone() {
            Outputs::RawHeads(raw) => (Some(raw), None),
            Outputs::Detections(detections) => (None, Some(detections)),
        };
        let raw = raw.as_ref();
        Self {
            name: model.name.clone(),
            title: model.title.clone(),
            family,
            precision: model.precision,
            dataset: model.dataset,
            source: model.source.clone(),
            licence: model.licence.clone(),
            labels: model.labels.clone(),
            notes: model.notes.clone(),
            weights: model.weights,
            operations: model.operations,
            files: model.files.clone(),
            input: model.input.clone(),
            detections,
            heads: raw.map(|raw| raw.heads.clone()),
            anchors: raw.map(|raw| raw.anchors.clone()),
            box_scales: raw.map(|raw| raw.box_scales),
            nms: raw.map(|raw| raw.nms),
            procedure: raw
                .map(|raw| raw.procedure)
                .filter(|procedure| !procedure.is_empty()),
        }
    }
}

impl ModelDescription {
    /// Reads the model file at `path`; relative anchor files count from its folder.
    ///
    /// # Errors
    /// [`DescriptionError`].
    pub fn read(path: &Path) -> Result<Self, DescriptionError> {
        let text = std::fs::read_to_string(path).map_err(|source| DescriptionError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// As [`Self::read`], of a text that came from `path`.
    ///
    /// # Errors
    /// [`DescriptionError`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, DescriptionError> {
        let mut keys: ModelKeys = strict_toml::from_str(text, &path.to_string_lossy())?;
        let origin = Origin { text, path };
        let mut outputs = keys.outputs(origin)?;
        if let (Outputs::RawHeads(raw), Some(folder)) = (&mut outputs, path.parent()) {
            if let Anchors::File(file) = &mut raw.anchors {
                *file = folder.join(&*file);
            }
        }
        let description = Self {
            name: keys.name,
            title: keys.title,
            precision: keys.precision,
            dataset: keys.dataset,
            source: keys.source,
            licence: keys.licence,
            labels: keys.labels,
            notes: keys.notes,
            weights: keys.weights,
            operations: keys.operations,
            files: keys.files,
            input: keys.input,
            outputs,
        };
        description.check(origin)?;
        Ok(description)
    }

    /// The model file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(&ModelKeys::from(self)).expect("every field has a form in TOML")
    }

    /// Whether everything that changes results is the same: the pictures fed, the outputs read,
    /// the boxes decoded, the detections kept and the classes named.
    pub fn gives_same_results(&self, other: &Self) -> bool {
        self.dataset == other.dataset
            && self.input == other.input
            && self.outputs == other.outputs
            && self.labels == other.labels
    }

    fn check(&self, origin: Origin<'_>) -> Result<(), DescriptionError> {
        let hex = |hash: &String| hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        let wrong_hash = self
            .files
            .iter()
            .flat_map(|file| &file.sha256)
            .find(|hash| !hex(hash));
        let mut rules = vec![
            (
                !self.name.is_empty() && !self.name.contains(['/', '\\']),
                "name",
                format!("`{}`", self.name),
                "a word without slashes",
            ),
            (
                wrong_hash.is_none(),
                "sha256",
                format!("{:?}", wrong_hash.cloned().unwrap_or_default()),
                "64 hexadecimal digits",
            ),
            (
                self.operations != Some(0),
                "operations",
                "0".to_owned(),
                "above 0, or absent where they are not known",
            ),
        ];
        match &self.outputs {
            Outputs::RawHeads(raw) => rules.extend(raw.rules(&self.labels)),
            Outputs::Detections(own) => rules.push((
                own.score_threshold.is_finite(),
                "score_threshold",
                own.score_threshold.to_string(),
                "a finite number",
            )),
        }
        match rules.into_iter().find(|(holds, ..)| !holds) {
            None => Ok(()),
            Some((_, key, found, expected)) => Err(DescriptionError::Range {
                path: origin.path.to_owned(),
                line: line_of_key(origin.text, key),
                key,
                found,
                expected,
            }),
        }
    }
}

/// Whether a rule holds, the key that it is about, that key's value, and what would do.
type Rule = (bool, &'static str, String, &'static str);

impl RawHeads {
    fn rules(&self, labels: &Labels) -> Vec<Rule> {
        let nms = &self.nms;
        let scales = &self.box_scales;
        let scales_sane = [scales.y, scales.x, scales.h, scales.w]
            .iter()
            .all(|scale| scale.is_normal() && *scale > 0.0);
        let labels = labels.class_count();
        vec![
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
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::npy;
    use crate::model::onnx::FourColumns;

    const TEXT: &str = include_str!("../../configs/models/ssdlite-mobilenet-v2.toml");

    fn parse(text: &str) -> Result<ModelDescription, DescriptionError> {
        ModelDescription::parse(text, Path::new("models/own.toml"))
    }

    fn raw(model: &ModelDescription) -> &RawHeads {
        model.outputs.raw_heads().unwrap()
    }

    #[test]
    fn a_model_file_reads_into_the_types_that_the_stages_use() {
        let model = parse(TEXT).unwrap();
        assert_eq!(model.input.name, "image");
        assert_eq!(
            model.input.preprocessing.scale.map(f32::to_bits),
            [1.0_f32.to_bits(); 3]
        );
        assert_eq!(raw(&model).heads.score_columns(), 91);
        assert_eq!(
            raw(&model).anchors.load(&FourColumns::new()).unwrap().len(),
            1917
        );
        assert_eq!(raw(&model).nms.score_threshold.to_bits(), 0.3_f32.to_bits());
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
                "give one of `generator`, `file` and `tensor`",
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
            ("\"coco-91\"", "\"coco-81\"", "`labels`"),
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
    fn weights_are_trained_and_operations_unknown_unless_the_file_says_otherwise() {
        let lines = TEXT.lines().filter(|line| !line.starts_with("operations"));
        let bare: Vec<&str> = lines.collect();
        let bare = bare.join("\n");
        let plain = parse(&bare).unwrap();
        assert_eq!(plain.weights, Weights::Trained);
        assert_eq!(plain.operations, None);
        let head = |keys: &str| bare.replacen("labels =", &format!("{keys}\nlabels ="), 1);
        let told = parse(&head("weights = \"synthetic\"\noperations = 2_490_000_000")).unwrap();
        assert_eq!(told.weights, Weights::Synthetic);
        assert_eq!(told.operations, Some(2_490_000_000));
        let again = parse(&told.to_toml()).unwrap();
        assert_eq!(again, told);
        let trained = parse(&head("weights = \"trained\"")).unwrap();
        assert!(!trained.to_toml().contains("weights"));
        for (keys, expected) in [
            ("weights = \"sythetic\"", "`sythetic`"),
            (
                "operations = 0 #",
                "`operations` is 0, but should be above 0",
            ),
            ("operations = -1", "-1"),
            ("operations = 2.5", "floating point"),
        ] {
            let error = parse(&head(keys)).unwrap_err().to_string();
            assert!(error.contains(expected), "{keys}: {error}");
        }
    }

    #[test]
    fn an_anchor_file_counts_from_the_model_files_folder() {
        let dir = tempfile::tempdir().unwrap();
        let text = TEXT.replace("generator = \"tfod-ssd-300\"", "file = \"own.npy\"");
        let path = dir.path().join("own.toml");
        std::fs::write(&path, text).unwrap();
        let model = ModelDescription::read(&path).unwrap();
        let missing = raw(&model)
            .anchors
            .load(&FourColumns::new())
            .unwrap_err()
            .to_string();
        assert!(missing.contains("own.npy cannot be read"), "{missing}");
        let rows = vec![[0.5, 0.5, 1.0, 1.0]];
        std::fs::write(dir.path().join("own.npy"), npy::write_rows(&rows)).unwrap();
        assert_eq!(raw(&model).anchors.load(&FourColumns::new()).unwrap(), rows);
    }
}
