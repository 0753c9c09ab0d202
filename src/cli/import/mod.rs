//! `detbench import`: a foreign model -> an ONNX file and the model file beside it.

mod describe;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::cli::new_file::{NewFile, NewFileError};
use crate::model::description::{Anchors, DescriptionError, Precision};
use crate::model::onnx::signature::{decode, facts};
use crate::model::onnx::{GraphFacts, ReadError};
use crate::model::{npy, tfjs, tflite, AnchorSpec, ModelDescription};
use describe::{describe, matching_spec};

/// Convert a TFLite or TensorFlow.js detector to ONNX.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// A .tflite file, or the directory of a TensorFlow.js graph model (model.json and its weight files).
    #[arg(value_name = "FILE.tflite|DIR")]
    pub source: PathBuf,
    /// The ONNX file to write; the model file FILE.toml is written beside it.
    #[arg(short, long, value_name = "FILE.onnx")]
    pub output: PathBuf,
    /// Write the float twin of a quantised model.
    #[arg(long)]
    pub dequantize: bool,
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
    #[error("cannot import {}: only .tflite files and directories of TensorFlow.js graph models (model.json and weight files) can be imported", path.display())]
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
    /// A file cannot be written, or would be overwritten.
    #[error(transparent)]
    File(#[from] NewFileError),
    /// A flag that has no meaning for the source.
    #[error("--dequantize: {} is a TensorFlow.js model, whose graph is float already; leave the flag out", path.display())]
    FloatAlready {
        /// The source.
        path: PathBuf,
    },
    /// The TensorFlow.js model is not understood.
    #[error(transparent)]
    Tfjs(#[from] tfjs::ImportError),
    /// The TFLite file is not understood.
    #[error(transparent)]
    Tflite(#[from] tflite::ImportError),
    /// What the source says of post-processing is what no run can mean.
    #[error("{} holds post-processing that no model file can say: {error}", path.display())]
    Rules {
        /// The source.
        path: PathBuf,
        /// What is wrong, with the key of the model file.
        error: DescriptionError,
    },
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

/// What was found and made, by the kind of source.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ImportSummary {
    /// A TensorFlow.js model.
    Tfjs(tfjs::ImportSummary),
    /// A TFLite file.
    Tflite(tflite::ImportSummary),
}

/// A converted model.
enum Foreign {
    Tfjs(tfjs::Imported),
    Tflite(tflite::Imported),
}

impl Foreign {
    fn read(args: &ImportArgs) -> Result<Self, ImportCommandError> {
        let path = &args.source;
        let extension = path.extension().and_then(|e| e.to_str());
        if !path.is_dir() && (extension == Some("tflite") || begins_as_tflite(path)) {
            return Ok(Self::Tflite(tflite::import(path, args.dequantize)?));
        }
        let foreign = ["pb", "onnx", "h5", "keras", "pt", "pth"];
        if !path.is_dir() && extension.is_some_and(|e| foreign.contains(&e)) {
            return Err(ImportCommandError::Format { path: path.clone() });
        }
        let imported = tfjs::import(path)?;
        if args.dequantize {
            return Err(ImportCommandError::FloatAlready { path: path.clone() });
        }
        Ok(Self::Tfjs(imported))
    }

    fn onnx(&self) -> &[u8] {
        match self {
            Self::Tfjs(imported) => &imported.onnx,
            Self::Tflite(imported) => &imported.onnx,
        }
    }

    fn anchors(&self) -> Option<&[[f32; 4]]> {
        match self {
            Self::Tfjs(imported) => imported.anchors.as_deref(),
            Self::Tflite(imported) => imported.anchors.as_deref(),
        }
    }

    fn summary(self) -> ImportSummary {
        match self {
            Self::Tfjs(imported) => ImportSummary::Tfjs(imported.summary),
            Self::Tflite(imported) => ImportSummary::Tflite(imported.summary),
        }
    }
}

/// Whether the file has the mark of TFLite files; those are also called `.lite` and `.bin`.
fn begins_as_tflite(path: &Path) -> bool {
    let mut head = [0; 8];
    let file = std::fs::File::open(path);
    file.and_then(|mut file| file.read_exact(&mut head)).is_ok() && head.ends_with(b"TFL3")
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
    let mut onnx = NewFile::create(&args.output, args.force)?;
    let mut toml = NewFile::create(&args.output.with_extension("toml"), args.force)?;
    let mut pending_anchors = None;
    let foreign = Foreign::read(args)?;
    let spec = foreign.anchors().and_then(matching_spec);
    let anchors = match (spec, foreign.anchors()) {
        (Some(spec), _) => Anchors::Generated(spec),
        (None, Some(rows)) => {
            let path = args.output.with_extension("anchors.npy");
            let mut file = NewFile::create(&path, args.force)?;
            file.write(&npy::write_rows(rows))?;
            pending_anchors = Some(file);
            Anchors::File(PathBuf::from(path.file_name().unwrap_or_default()))
        }
        // The graph holds none, so the family's usual ones are the best guess.
        (None, None) => Anchors::Generated(AnchorSpec::TfodSsd300),
    };
    let graph = facts(&decode(foreign.onnx(), &args.output)?);
    let precision = if graph.integer_layers.any() {
        Precision::Int8
    } else {
        Precision::Fp32
    };
    let description = describe(
        &args.output,
        &args.source,
        &foreign,
        precision,
        anchors.clone(),
    );
    let text = description.to_toml();
    let toml_path = args.output.with_extension("toml");
    ModelDescription::parse(&text, &toml_path).map_err(|error| ImportCommandError::Rules {
        path: args.source.clone(),
        error,
    })?;
    onnx.write(foreign.onnx())?;
    toml.write(text.as_bytes())?;
    let mut written = Vec::new();
    for file in pending_anchors.into_iter().chain([toml, onnx]) {
        written.push(file.persist()?);
    }
    let report = ImportReport {
        schema_version: 1,
        source: args.source.clone(),
        written,
        onnx_size_bytes: foreign.onnx().len(),
        anchors,
        summary: foreign.summary(),
        graph,
    };
    let printed = if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        print(&report, out)
    };
    printed.map_err(|source| NewFileError::Write {
        path: PathBuf::from("stdout"),
        source,
    })?;
    Ok(report)
}

fn print(report: &ImportReport, out: &mut dyn Write) -> std::io::Result<()> {
    let (steps, parameters, heads, pixels) = match &report.summary {
        ImportSummary::Tfjs(own) => (
            format!("{} TensorFlow nodes", own.source_nodes),
            own.parameters,
            [("node", &own.boxes_from), ("node", &own.scores_from)],
            "RGB, 0..=255",
        ),
        ImportSummary::Tflite(own) => (
            format!("{} TFLite operators", own.source_operators),
            own.parameters,
            [("tensor", &own.boxes_from), ("tensor", &own.scores_from)],
            if own.quantized_input {
                "RGB, 0..=255"
            } else {
                "RGB, normalised as the model file says"
            },
        ),
    };
    let nodes: usize = report.graph.operators.values().sum();
    let operators: Vec<String> = report
        .graph
        .operators
        .iter()
        .map(|(op, count)| format!("{count} {op}"))
        .collect();
    writeln!(out, "imported   {}", report.source.display())?;
    writeln!(
        out,
        "graph      {nodes} ONNX nodes from {steps}: {}",
        operators.join(", ")
    )?;
    writeln!(out, "parameters {parameters}")?;
    let layers = &report.graph.integer_layers;
    if layers.any() {
        writeln!(
            out,
            "precision  int8: {} of {} convolutions",
            layers.convolutions_quantized, layers.convolutions
        )?;
    }
    for input in &report.graph.signature.inputs {
        writeln!(out, "input      {input} ({pixels})")?;
    }
    for output in &report.graph.signature.outputs {
        let ((kind, from), what) = if output.name == tfjs::RAW_BOXES {
            (heads[0], "before decoding")
        } else {
            (heads[1], "before the activation")
        };
        writeln!(out, "output     {output} ({kind} `{from}`, {what})")?;
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
            dequantize: false,
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
            matches!(folder, ImportCommandError::File(NewFileError::Write { .. })),
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
    fn a_file_of_another_format_is_refused_with_what_can_be_imported() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("own.onnx");
        for (name, contents, words) in [
            (
                "frozen.pb",
                "graph",
                "only .tflite files and directories of TensorFlow.js",
            ),
            (
                "detect.tflite",
                "not one",
                "detect.tflite: it is no TFLite file",
            ),
            ("detect.lite", "\u{1c}\0\0\0TFL3", "the file is damaged"),
        ] {
            let source = dir.path().join(name);
            std::fs::write(&source, contents).unwrap();
            let error = refused(&args(&source, &output)).to_string();
            assert!(error.contains(words), "{error}");
        }
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
        assert!(matches!(
            refused(&json),
            ImportCommandError::File(NewFileError::Exists { .. })
        ));
        json.force = true;
        let mut out = Vec::new();
        run(&json, &mut out).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(document["schema_version"], 1);
        assert_eq!(document["anchor_count"], 1917);
    }
}
