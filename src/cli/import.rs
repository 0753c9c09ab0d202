//! `detbench import`: a foreign model -> an ONNX file and the model file beside it.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::library::preprocessing::{ColorOrder, ElementType, Layout, Preprocessing, Resize};
use crate::model::description::{
    Anchors, Dataset, Family, Heads, InputDescription, ModelFile, Outputs, Precision, RawHeads,
    Weights,
};
use crate::model::onnx::signature::{decode, facts};
use crate::model::onnx::{GraphFacts, ReadError};
use crate::model::tfjs::{self, ImportError, ImportSummary, Imported};
use crate::model::{npy, AnchorSpec, Labels, ModelDescription};
use crate::postprocess::families::RuleOverrides;
use crate::postprocess::{BoxScales, NmsSettings};

/// Published generators agree with each other only to about this.
const ANCHOR_TOLERANCE: f32 = 1e-6;

/// Convert a TensorFlow.js detector to ONNX.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// Directory of the TensorFlow.js graph model (it holds model.json and its weight files).
    #[arg(value_name = "DIR")]
    pub source: PathBuf,
    /// The ONNX file to write; the model file FILE.toml is written beside it.
    #[arg(short, long, value_name = "FILE.onnx")]
    pub output: PathBuf,
    /// Replace files that exist.
    #[arg(long)]
    pub force: bool,
    /// Print one JSON document instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportCommandError {
    /// A source of another format.
    #[error("cannot import {}: only directories of TensorFlow.js graph models (model.json and weight files) can be imported", path.display())]
    Format {
        /// The source.
        path: PathBuf,
    },
    /// An output name that ONNX Runtime's users would not recognise.
    #[error("--output {}: the name should end in .onnx", path.display())]
    Extension {
        /// The output.
        path: PathBuf,
    },
    /// Something would be overwritten.
    #[error("{} exists already; pass --force to replace it or choose another --output", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The output cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The model is not understood.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The importer wrote what it cannot read: our own bug, reported as such.
    #[error("the imported model cannot be read back: {0}")]
    ReadBack(#[from] ReadError),
}

/// What was written, as `--json` prints it.
#[derive(Debug, Serialize)]
pub struct ImportReport {
    /// Version of this document's form.
    pub schema_version: u32,
    /// The model imported.
    pub source: PathBuf,
    /// The files written.
    pub written: Vec<PathBuf>,
    /// Size of the ONNX file.
    pub onnx_size_bytes: usize,
    /// How the anchors are described in the model file.
    pub anchors: Anchors,
    /// What was found and made.
    #[serde(flatten)]
    pub summary: ImportSummary,
    /// What the ONNX file takes and gives, and its operators.
    pub graph: GraphFacts,
}

/// Imports and prints to `out` what was done.
pub fn run(args: &ImportArgs, out: &mut dyn Write) -> Result<ImportReport, ImportCommandError> {
    // The output first: an import that cannot be kept need not be made.
    if args
        .output
        .extension()
        .is_none_or(|extension| extension != "onnx")
    {
        return Err(ImportCommandError::Extension {
            path: args.output.clone(),
        });
    }
    let mut onnx = Pending::new(&args.output, args.force)?;
    let mut toml = Pending::new(&args.output.with_extension("toml"), args.force)?;
    let mut pending_anchors = None;
    let foreign = ["tflite", "pb", "onnx", "h5", "keras", "pt", "pth"];
    let extension = args.source.extension().and_then(|e| e.to_str());
    if !args.source.is_dir() && extension.is_some_and(|e| foreign.contains(&e)) {
        return Err(ImportCommandError::Format {
            path: args.source.clone(),
        });
    }
    let imported = tfjs::import(&args.source)?;
    let spec = imported.anchors.as_deref().and_then(matching_spec);
    let anchors = match (spec, &imported.anchors) {
        (Some(spec), _) => Anchors::Generated(spec),
        (None, Some(rows)) => {
            let path = args.output.with_extension("anchors.npy");
            let mut file = Pending::new(&path, args.force)?;
            file.write(&npy::write_rows(rows))?;
            pending_anchors = Some(file);
            Anchors::File(PathBuf::from(path.file_name().unwrap_or_default()))
        }
        // The graph holds none, so the family's usual ones are the best guess.
        (None, None) => Anchors::Generated(AnchorSpec::TfodSsd300),
    };
    let description = describe(&args.output, &args.source, &imported, anchors.clone());
    onnx.write(&imported.onnx)?;
    toml.write(description.to_toml().as_bytes())?;
    let mut written = Vec::new();
    for file in pending_anchors.into_iter().chain([toml, onnx]) {
        written.push(file.persist(args.force)?);
    }
    let report = ImportReport {
        schema_version: 1,
        source: args.source.clone(),
        written,
        onnx_size_bytes: imported.onnx.len(),
        anchors,
        summary: imported.summary,
        graph: facts(&decode(&imported.onnx, &args.output)?),
    };
    let printed = if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        print(&report, out)
    };
    printed.map_err(|source| ImportCommandError::Write {
        path: PathBuf::from("stdout"),
        source,
    })?;
    Ok(report)
}

/// A file that appears under its name only when it is complete.
struct Pending {
    path: PathBuf,
    file: NamedTempFile,
}

impl Pending {
    fn new(path: &Path, force: bool) -> Result<Self, ImportCommandError> {
        let path = path.to_owned();
        if path.is_dir() || (!force && path.exists()) {
            return Err(ImportCommandError::Exists { path });
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // As any new file, subject to the user's umask; temporary files are private otherwise.
        let permissions = std::fs::Permissions::from_mode(0o666);
        let file = tempfile::Builder::new()
            .prefix(".detbench-import-")
            .permissions(permissions)
            .tempfile_in(folder);
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(ImportCommandError::Write { path, source }),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ImportCommandError> {
        self.file
            .write_all(bytes)
            .map_err(|source| ImportCommandError::Write {
                path: self.path.clone(),
                source,
            })
    }

    fn persist(self, force: bool) -> Result<PathBuf, ImportCommandError> {
        let moved = if force {
            self.file.persist(&self.path)
        } else {
            self.file.persist_noclobber(&self.path)
        };
        match moved {
            Ok(_) => Ok(self.path),
            Err(error) => Err(ImportCommandError::Write {
                path: self.path,
                source: error.error,
            }),
        }
    }
}

/// The published set of anchors that `rows` are.
fn matching_spec(rows: &[[f32; 4]]) -> Option<AnchorSpec> {
    AnchorSpec::ALL.into_iter().find(|spec| {
        let own = spec.generate();
        let pairs = own.iter().flatten().zip(rows.iter().flatten());
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= ANCHOR_TOLERANCE;
        own.len() == rows.len() && pairs.into_iter().all(near)
    })
}

/// The model file: what the graph shows, and for the rest what its family has in common.
fn describe(
    output: &Path,
    source: &Path,
    imported: &Imported,
    anchors: Anchors,
) -> ModelDescription {
    let summary = &imported.summary;
    let name = output.file_stem().unwrap_or_default().to_string_lossy();
    let classes = summary
        .score_columns
        .saturating_sub(u32::from(summary.background));
    let coco = classes == 90;
    let labels = if coco {
        Labels::Coco91
    } else {
        Labels::Names(
            (1..=classes)
                .map(|class| format!("class {class}"))
                .collect(),
        )
    };
    let origin = source.file_name().unwrap_or_default().to_string_lossy();
    ModelDescription {
        name: name.clone().into_owned(),
        title: name.into_owned(),
        precision: Precision::Fp32,
        dataset: if classes == 20 { Dataset::Voc } else { Dataset::Coco },
        source: format!("TensorFlow.js graph model `{origin}`"),
        licence: "as the TensorFlow.js model's".to_owned(),
        labels,
        weights: Weights::Trained,
        operations: None,
        notes: "Written by `detbench import`; box_scales and nms are those usual for the family, not read from the graph.".to_owned(),
        files: vec![ModelFile {
            name: output.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256: Vec::new(),
            origin: format!("imported by detbench {}", env!("CARGO_PKG_VERSION")),
        }],
        input: InputDescription {
            name: summary.input.to_owned(),
            preprocessing: Preprocessing {
                height: summary.height,
                width: summary.width,
                element: ElementType::F32,
                layout: Layout::Nhwc,
                color: ColorOrder::Rgb,
                resize: Resize::PillowBilinear,
                mean: [0.0; 3],
                scale: [1.0; 3],
            },
        },
        outputs: Outputs::RawHeads(RawHeads {
        family: Family::TfliteSsd,
        heads: Heads {
            boxes: tfjs::RAW_BOXES.to_owned(),
            scores: tfjs::RAW_SCORES.to_owned(),
            activation: summary.activation,
            classes,
            background: summary.background,
        },
        anchors,
        box_scales: BoxScales {
            y: 10.0,
            x: 10.0,
            h: 5.0,
            w: 5.0,
        },
        nms: NmsSettings {
            score_threshold: 0.3,
            iou_threshold: 0.6,
            max_detections: 100,
            detections_per_class: 100,
            max_classes_per_detection: 1,
        },
        procedure: RuleOverrides::default(),
        }),
    }
}

fn print(report: &ImportReport, out: &mut dyn Write) -> std::io::Result<()> {
    let summary = &report.summary;
    let made: usize = summary.operators.values().sum();
    let operators: Vec<String> = summary
        .operators
        .iter()
        .map(|(op, count)| format!("{count} {op}"))
        .collect();
    writeln!(out, "imported   {}", report.source.display())?;
    writeln!(
        out,
        "graph      {made} ONNX nodes from {} TensorFlow nodes: {}",
        summary.source_nodes,
        operators.join(", ")
    )?;
    writeln!(out, "parameters {}", summary.parameters)?;
    for input in &report.graph.signature.inputs {
        writeln!(out, "input      {input} (RGB, 0..=255)")?;
    }
    for output in &report.graph.signature.outputs {
        let (node, what) = if output.name == tfjs::RAW_BOXES {
            (&summary.boxes_from, "before decoding")
        } else {
            (&summary.scores_from, "before the activation")
        };
        writeln!(out, "output     {output} (node `{node}`, {what})")?;
    }
    match &report.anchors {
        Anchors::Generated(spec) => writeln!(out, "anchors    {}", spec.name())?,
        Anchors::File(path) => writeln!(out, "anchors    {}", path.display())?,
        Anchors::Tensor(name) => writeln!(out, "anchors    constant `{name}` of the graph")?,
    }
    for path in &report.written {
        writeln!(out, "wrote      {}", path.display())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{resolve, How, ModelRequest};

    fn args(source: &Path, output: &Path) -> ImportArgs {
        ImportArgs {
            source: source.to_owned(),
            output: output.to_owned(),
            force: false,
            json: false,
        }
    }

    fn refused(args: &ImportArgs) -> ImportCommandError {
        let mut out = Vec::new();
        let error = run(args, &mut out).unwrap_err();
        assert!(out.is_empty(), "an error prints nothing");
        error
    }

    #[test]
    fn the_output_is_checked_before_the_model_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("no-such-model");
        let output = dir.path().join("own.onnx");
        std::fs::write(&output, "mine").unwrap();
        let exists = refused(&args(&source, &output)).to_string();
        assert!(
            exists.contains("own.onnx exists already; pass --force"),
            "{exists}"
        );
        std::fs::remove_file(&output).unwrap();
        std::fs::write(dir.path().join("own.toml"), "mine").unwrap();
        let exists = refused(&args(&source, &output)).to_string();
        assert!(exists.contains("own.toml exists already"), "{exists}");
        let folder = refused(&args(&source, &dir.path().join("none/own.onnx")));
        assert!(
            matches!(folder, ImportCommandError::Write { .. }),
            "{folder}"
        );
        let extension = refused(&args(&source, &dir.path().join("own")));
        assert!(
            matches!(extension, ImportCommandError::Extension { .. }),
            "{extension}"
        );
        let other = dir.path().join("other.onnx");
        let missing = refused(&args(&source, &other)).to_string();
        assert!(missing.contains("it has no model.json"), "{missing}");
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 1, "a failed import leaves no file");
    }

    #[test]
    fn a_tflite_file_is_refused_with_what_can_be_imported() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("detect.tflite");
        std::fs::write(&source, "TFL3").unwrap();
        let error = refused(&args(&source, &dir.path().join("own.onnx"))).to_string();
        assert!(
            error.contains("cannot import") && error.contains("TensorFlow.js"),
            "{error}"
        );
    }

    #[test]
    fn an_imported_model_can_be_run_by_its_file_alone() {
        let Ok(data) = std::env::var("DETBENCH_TEST_DATA") else {
            eprintln!("DETBENCH_TEST_DATA is unset: skipped");
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(&data).join("source_models/tfjs_coco_ssd");
        let output = dir.path().join("own.onnx");
        let mut out = Vec::new();
        run(&args(&source, &output), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("anchors    tfod-ssd-300"), "{text}");
        assert!(text.contains("raw_scores f32[batch,1917,91]"), "{text}");
        let resolved = resolve(ModelRequest {
            model: output.to_str(),
            ..ModelRequest::default()
        })
        .unwrap();
        assert_eq!(resolved.source, How::Beside(dir.path().join("own.toml")));
        let default = crate::model::known::find(crate::model::known::DEFAULT).unwrap();
        assert!(resolved.description.gives_same_results(&default));

        let mut json = ImportArgs {
            json: true,
            ..args(&source, &output)
        };
        assert!(matches!(refused(&json), ImportCommandError::Exists { .. }));
        json.force = true;
        let mut out = Vec::new();
        run(&json, &mut out).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(document["schema_version"], 1);
        assert_eq!(document["anchor_count"], 1917);
    }
}
