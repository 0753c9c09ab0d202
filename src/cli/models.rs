//! `detbench models`: the known models, what they cost, where their weights come from, and what is on this machine.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::{presets, CellAlignment, Table};
use serde::Serialize;

use super::failure::{Blame, Failure, Outcome};
use super::run::{imported_default, search_folders};
use super::{print_json, print_out};
use crate::fetch::Cache;
use crate::library::preprocessing::ElementType;
use crate::model::description::{
    Anchors, Dataset, InputDescription, ModelDescription, Outputs, Precision, Weights,
};
use crate::model::known;
use crate::model::resolve::{resolve, ModelRequest, OnnxSource};
use crate::postprocess::NmsSettings;

/// The version of the JSON document's form.
const SCHEMA_VERSION: u32 = 1;

/// List the known models, what they cost and where their weights come from, or show one
#[derive(Debug, Clone, Args)]
pub struct ModelsArgs {
    /// Show this model, with how to get its file: a known name, or an ONNX file
    #[arg(value_name = "NAME|FILE.onnx")]
    pub model: Option<String>,
    /// Put one JSON document on stdout and nothing else
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Serialize)]
struct Document {
    schema_version: u32,
    models: Vec<Entry>,
}

/// What a model does.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Task {
    /// Boxes with classes and scores.
    ObjectDetection,
}

/// A model, known or found beside its model file.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    title: String,
    task: Task,
    dataset: Dataset,
    precision: Precision,
    weights: Weights,
    source: String,
    licence: String,
    notes: String,
    input: InputDescription,
    /// `None` for graphs that end in detections.
    anchors: Option<AnchorEntry>,
    /// Thresholds unless a flag says otherwise; `None` for graphs that end in detections.
    nms: Option<NmsSettings>,
    score_threshold: f32,
    /// For one picture, a multiply-add counted as two; `None` where nobody has counted them.
    operations: Option<u64>,
    files: Vec<FileEntry>,
    /// The file that a run by this name takes, if it is here.
    here: Option<PathBuf>,
    /// Whether a run fetches it by itself.
    is_fetched: bool,
    /// Its name for `detbench generate`.
    architecture: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct AnchorEntry {
    /// `None` where only the graph's file tells.
    count: Option<usize>,
    #[serde(flatten)]
    source: Anchors,
}

#[derive(Debug, Serialize)]
struct FileEntry {
    name: String,
    sha256: Vec<String>,
    origin: String,
    here: Option<PathBuf>,
}

/// Runs the verb.
///
/// # Errors
/// [`Failure`] for a name that no model has or a file that cannot be read.
pub fn run(args: &ModelsArgs) -> Result<Outcome, Failure> {
    let folders = search_folders();
    let Some(name) = &args.model else {
        let models = all(&folders);
        if args.json {
            print_json(&document(models))?;
        } else {
            print_out(&table(&models))?;
        }
        return Ok(Outcome::Done);
    };
    let entry = one(name, &folders)?;
    if args.json {
        print_json(&document(vec![entry]))?;
    } else {
        print_out(&details(&entry))?;
    }
    Ok(Outcome::Done)
}

const fn document(models: Vec<Entry>) -> Document {
    Document {
        schema_version: SCHEMA_VERSION,
        models,
    }
}

/// The known models, then those that lie beside their model files.
fn all(folders: &[PathBuf]) -> Vec<Entry> {
    let known = known::descriptions();
    let mut entries: Vec<Entry> = known
        .into_iter()
        .map(|model| Entry::known(model, folders))
        .collect();
    for file in described_files(folders) {
        let is_known = |entry: &Entry| entry.here.as_deref() == Some(file.as_path());
        if entries.iter().any(is_known) {
            continue;
        }
        // A model file that cannot be read is told by the run that asks for it.
        if let Ok(description) = ModelDescription::read(&file.with_extension("toml")) {
            entries.push(Entry::of(description, Some(file)));
        }
    }
    entries
}

/// ONNX files with a model file beside them, folder by folder, sorted.
fn described_files(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let is_described = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == "onnx")
                && path.with_extension("toml").is_file()
        };
        let mut paths: Vec<PathBuf> = paths.filter(is_described).collect();
        paths.sort();
        found.extend(paths);
    }
    found
}

fn one(name: &str, folders: &[PathBuf]) -> Result<Entry, Failure> {
    if let Some(description) = known::find(name) {
        return Ok(Entry::known(description, folders));
    }
    let request = ModelRequest {
        model: Some(name),
        config: None,
        search: folders,
    };
    let resolved = resolve(request).or_usage()?;
    let here = match resolved.onnx {
        OnnxSource::File(path) => Some(path),
        OnnxSource::DefaultTfjs => None,
    };
    Ok(Entry::of(resolved.description, here))
}

impl Entry {
    fn known(description: ModelDescription, folders: &[PathBuf]) -> Self {
        let is_fetched = description.name == known::DEFAULT;
        let architecture = known::architecture(&description.name);
        let mut entry = Self::of(description, None);
        for file in &mut entry.files {
            let places = folders.iter().map(|folder| folder.join(&file.name));
            file.here = places.into_iter().find(|path| path.is_file());
        }
        entry.here = entry.files.iter().find_map(|file| file.here.clone());
        if is_fetched && entry.here.is_none() {
            let kept = Cache::locate().ok().map(|cache| imported_default(&cache));
            entry.here = kept.filter(|path| path.is_file());
        }
        entry.is_fetched = is_fetched;
        entry.architecture = architecture;
        entry
    }

    fn of(description: ModelDescription, here: Option<PathBuf>) -> Self {
        let (anchors, nms, score_threshold) = match &description.outputs {
            Outputs::RawHeads(raw) => {
                let count = match &raw.anchors {
                    Anchors::Generated(spec) => Some(spec.generate().len()),
                    Anchors::File(_) | Anchors::Tensor(_) => None,
                };
                let entry = AnchorEntry {
                    count,
                    source: raw.anchors.clone(),
                };
                (Some(entry), Some(raw.nms), raw.nms.score_threshold)
            }
            Outputs::Detections(own) => (None, None, own.score_threshold),
        };
        let files = description.files.into_iter().map(|file| FileEntry {
            name: file.name,
            sha256: file.sha256,
            origin: file.origin,
            here: None,
        });
        Self {
            name: description.name,
            title: description.title,
            task: Task::ObjectDetection,
            dataset: description.dataset,
            precision: description.precision,
            weights: description.weights,
            source: description.source,
            licence: description.licence,
            notes: description.notes,
            input: description.input,
            anchors,
            nms,
            score_threshold,
            operations: description.operations,
            files: files.collect(),
            here,
            is_fetched: false,
            architecture: None,
        }
    }

    fn input_text(&self) -> String {
        let own = &self.input.preprocessing;
        let (element, layout) = (word(own.element), word(own.layout));
        format!("{}x{} {element} {layout}", own.width, own.height)
    }

    fn anchors_text(&self) -> String {
        match &self.anchors {
            None => "in the graph".to_owned(),
            Some(anchors) => anchors
                .count
                .map_or_else(|| "in a file".to_owned(), |count| count.to_string()),
        }
    }

    fn nms_text(&self) -> String {
        match &self.nms {
            None => "in the graph".to_owned(),
            Some(nms) => format!(
                "{} / {} / {}",
                nms.score_threshold, nms.iou_threshold, nms.max_detections
            ),
        }
    }

    fn operations_text(&self) -> String {
        self.operations.map_or_else(
            || "-".to_owned(),
            |count| format!("{:.2} G", count as f64 / 1e9),
        )
    }

    /// Where its weights come from, in a word or two.
    const fn weights_text(&self) -> &'static str {
        match (self.weights, self.is_fetched, self.architecture) {
            (Weights::Synthetic, ..) => "synthetic",
            (Weights::Trained, true, _) => "fetched",
            (Weights::Trained, false, Some(_)) => "yours, or generate",
            (Weights::Trained, false, None) => "yours",
        }
    }

    const fn here_text(&self) -> &'static str {
        if self.here.is_some() {
            "yes"
        } else {
            "-"
        }
    }
}

const fn dataset_text(dataset: Dataset) -> &'static str {
    match dataset {
        Dataset::Coco => "COCO",
        Dataset::Voc => "VOC",
    }
}

fn table(models: &[Entry]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "name",
        "precision",
        "task",
        "input",
        "anchors",
        "NMS",
        "operations",
        "weights",
        "here",
    ]);
    for model in models {
        table.add_row([
            model.name.clone(),
            model.precision.name().to_owned(),
            format!("detection, {}", dataset_text(model.dataset)),
            model.input_text(),
            model.anchors_text(),
            model.nms_text(),
            model.operations_text(),
            model.weights_text().to_owned(),
            model.here_text().to_owned(),
        ]);
    }
    for index in [4, 6] {
        let column = table.column_mut(index).expect("the header has nine cells");
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<String> = table
        .to_string()
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    format!(
        "{}\n\nNMS: score threshold / IoU threshold / most detections of a picture. Operations are for one picture, a multiply-add\n\
         counted as two. Weights: `fetched` by the first run; `yours`: a file that you bring; `generate`: seeded weights.\n\
         `detbench models NAME` shows a model and how to get its file; docs/models.md goes from each published file to a run.\n",
        lines.join("\n")
    )
}

fn details(model: &Entry) -> String {
    let mut text = String::new();
    let mut row = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:<11} {value}");
    };
    row("name", &model.name);
    row("title", &model.title);
    row(
        "task",
        &format!(
            "object detection, the classes of {}",
            dataset_text(model.dataset)
        ),
    );
    row("precision", model.precision.name());
    row("input", &input_details(model));
    row("anchors", &model.anchors_text());
    let nms = match &model.nms {
        None => format!("in the graph; score threshold {}", model.score_threshold),
        Some(nms) => format!(
            "score threshold {}, IoU threshold {}, at most {} detections a picture, {} a class",
            nms.score_threshold, nms.iou_threshold, nms.max_detections, nms.detections_per_class
        ),
    };
    row("NMS", &nms);
    row("operations", &model.operations_text());
    row("weights", model.weights_text());
    row("source", &model.source);
    row("licence", &model.licence);
    if !model.notes.is_empty() {
        row("notes", &model.notes);
    }
    for file in &model.files {
        row("file", &format!("{}: {}", file.name, file.origin));
        for sum in &file.sha256 {
            row("", &format!("sha256 {sum}"));
        }
    }
    let here = model.here.as_deref().map(Path::display);
    let here = here.map_or_else(|| "no file of it".to_owned(), |path| path.to_string());
    row("here", &here);
    text.push_str(&ways(model));
    text
}

fn input_details(model: &Entry) -> String {
    let own = &model.input.preprocessing;
    let normalisation = match own.element {
        ElementType::U8 => "normalised in the graph".to_owned(),
        ElementType::F32 => format!("mean {:?}, scale {:?}", own.mean, own.scale),
    };
    format!(
        "`{}`, {}, {}, resize {}, {normalisation}",
        model.input.name,
        model.input_text(),
        word(own.color),
        word(own.resize),
    )
}

/// A value as model files write it.
fn word(value: impl Serialize) -> String {
    let value = serde_json::to_value(value).expect("a closed set of words");
    value.as_str().unwrap_or_default().to_owned()
}

/// How to come to a run.
fn ways(model: &Entry) -> String {
    let name = &model.name;
    let mut text = "\nTo run it:\n".to_owned();
    let by_name = known::find(name).is_some();
    match &model.here {
        Some(path) if !by_name => {
            let _ = writeln!(text, "  detbench run --model {}", path.display());
            return text;
        }
        Some(_) => {
            let _ = writeln!(text, "  detbench run --model {name}");
        }
        None if model.is_fetched => {
            let _ = writeln!(
                text,
                "  detbench run --model {name}\n      (fetches and imports it the first time)"
            );
        }
        None => {
            let first = model
                .files
                .first()
                .map_or("FILE.onnx", |file| file.name.as_str());
            let _ = writeln!(
                text,
                "  detbench run --model {name} --model-file {first}\n      with the file that you bring (docs/models.md), or lay it in this folder, in models/ or in the cache"
            );
        }
    }
    if let Some(plan) = model.architecture {
        let _ = writeln!(
            text,
            "  detbench generate {plan} -o {plan}.onnx && detbench run --model {plan}.onnx --benchmark-only\n      the published network with seeded weights: what it costs, not what it finds"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_model_is_listed_with_its_anchors() {
        let models = all(&[]);
        assert_eq!(models.len(), known::descriptions().len());
        let count = |name: &str| {
            let model = models.iter().find(|model| model.name == name).unwrap();
            model.anchors.as_ref().and_then(|anchors| anchors.count)
        };
        assert_eq!(count("ssd-vgg16"), Some(8732));
        assert_eq!(count("ssd-resnet50-fpn-640-heads"), Some(51150));
        assert_eq!(count("mb2-ssd-lite-voc"), Some(3000));
        assert_eq!(count("ssd-mobilenet-v1"), Some(1917));
        assert_eq!(count("faster-rcnn-torchvision"), None);
        let text = table(&models);
        assert!(
            models.iter().all(|model| text.contains(&model.name)),
            "{text}"
        );
    }

    #[test]
    fn a_file_in_a_search_folder_is_here() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ssd300_vgg16_coco.onnx");
        fs::write(&file, b"").unwrap();
        let entry = one("ssd-vgg16", &[folder.path().to_owned()]).unwrap();
        assert_eq!(entry.here, Some(file));
        let text = details(&entry);
        assert!(text.contains("detbench run --model ssd-vgg16\n"), "{text}");
        let entry = one("ssd-vgg16", &[]).unwrap();
        let text = details(&entry);
        assert!(
            text.contains("--model-file ssd300_vgg16_coco.onnx"),
            "{text}"
        );
        assert!(text.contains("detbench generate ssd-vgg16-300"), "{text}");
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let told = one("ssd-vgg61", &[]).unwrap_err().to_string();
        assert!(told.contains("did you mean `ssd-vgg16"), "{told}");
    }
}
