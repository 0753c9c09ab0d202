//! `detbench generate`: a published layer plan -> an ONNX file with drawn weights and the model file beside it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::new_file::{NewFile, NewFileError};
use crate::model::architecture::{Generated, OtherDataset};
use crate::model::description::{Anchors, Dataset, ModelFile, Weights};
use crate::model::{Architecture, ModelDescription};

/// Build a published architecture with seeded weights.
#[derive(Debug, Clone, Args)]
pub struct GenerateArgs {
    /// One of ssd-vgg16-300, ssd-resnet50-fpn-640, mobilenet-v2-ssd-lite-voc, ssd-mobilenet-v1, ssd-mobilenet-v2
    /// and ssdlite-mobilenet-v2
    #[arg(value_name = "ARCHITECTURE")]
    pub architecture: Architecture,
    /// Whose classes it has, where it is published for several: ssd-vgg16-300 for coco (default) and voc
    #[arg(long, value_enum)]
    pub dataset: Option<DatasetArg>,
    /// What the weights are drawn from: the same seed gives the same file
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The ONNX file to write; the model file FILE.toml is written beside it
    #[arg(short, long, value_name = "FILE.onnx")]
    pub output: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
}

/// `--dataset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DatasetArg {
    /// COCO's 80 classes.
    Coco,
    /// Pascal VOC's 20 classes.
    Voc,
}

impl From<DatasetArg> for Dataset {
    fn from(argument: DatasetArg) -> Self {
        match argument {
            DatasetArg::Coco => Self::Coco,
            DatasetArg::Voc => Self::Voc,
        }
    }
}

/// Why nothing was generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// An output name that ONNX Runtime's users would not recognise.
    #[error("--output {}: the name should end in .onnx", path.display())]
    Extension {
        /// The output.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] NewFileError),
    /// The plan has no such classes.
    #[error(transparent)]
    Dataset(#[from] OtherDataset),
    /// Nobody reads what is printed.
    #[error("stdout cannot be written: {0}")]
    Print(std::io::Error),
}

/// What was written, as `--json` prints it.
#[derive(Debug, Serialize)]
pub struct GenerateReport {
    /// Version of this document's form.
    pub schema_version: u32,
    /// The plan.
    pub architecture: Architecture,
    /// The data set whose classes it has.
    pub dataset: Dataset,
    /// What the weights were drawn from.
    pub seed: u64,
    /// Always synthetic.
    pub weights: Weights,
    /// The files written.
    pub written: Vec<PathBuf>,
    /// Size of the ONNX file.
    pub onnx_size_bytes: usize,
    /// Weights and biases; shared ones count once.
    pub parameters: u64,
    /// Operations for one picture, a multiply-add counted as two.
    pub operations: u64,
    /// Multiply-adds of its convolutions for one picture.
    pub multiply_adds: u64,
    /// How the anchors are described in the model file.
    pub anchors: Anchors,
    /// How many they are.
    pub anchor_count: usize,
    /// Columns of the score head, background included.
    pub score_columns: u32,
    /// How many nodes of each operator the graph has.
    pub operators: BTreeMap<String, usize>,
}

/// Generates and prints to `out` what was done.
///
/// # Errors
/// [`GenerateError`]; then no file is left.
pub fn run(args: &GenerateArgs, out: &mut dyn Write) -> Result<GenerateReport, GenerateError> {
    let path = &args.output;
    if path.extension().is_none_or(|extension| extension != "onnx") {
        return Err(GenerateError::Extension { path: path.clone() });
    }
    let mut onnx = NewFile::create(path, args.force)?;
    let mut toml = NewFile::create(&path.with_extension("toml"), args.force)?;
    let dataset = args.dataset.map(Dataset::from);
    let generated = args.architecture.generate(dataset, args.seed)?;
    let description = described(args, &generated);
    onnx.write(&generated.onnx)?;
    toml.write(description.to_toml().as_bytes())?;
    let written = vec![toml.persist()?, onnx.persist()?];
    let raw = description.outputs.raw_heads();
    let raw = raw.expect("all plans end in raw heads");
    let report = GenerateReport {
        schema_version: 1,
        architecture: args.architecture,
        dataset: description.dataset,
        seed: args.seed,
        weights: description.weights,
        written,
        onnx_size_bytes: generated.onnx.len(),
        parameters: generated.cost.parameters,
        operations: generated.cost.operations(),
        multiply_adds: generated.cost.multiply_adds,
        anchors: raw.anchors.clone(),
        anchor_count: generated.anchor_count,
        score_columns: raw.heads.score_columns(),
        operators: generated.operators,
    };
    let printed = if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        print(&report, &description, out)
    };
    printed.map_err(GenerateError::Print)?;
    Ok(report)
}

/// The model file, with the file that holds the graph.
fn described(args: &GenerateArgs, generated: &Generated) -> ModelDescription {
    let name = args.output.file_name().unwrap_or_default();
    let origin = format!(
        "generated by detbench {}: `detbench generate {} --seed {}`",
        env!("CARGO_PKG_VERSION"),
        args.architecture,
        args.seed
    );
    ModelDescription {
        files: vec![ModelFile {
            name: name.to_string_lossy().into_owned(),
            sha256: Vec::new(),
            origin,
        }],
        ..generated.description.clone()
    }
}

fn print(
    report: &GenerateReport,
    description: &ModelDescription,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let nodes: usize = report.operators.values().sum();
    let operators: Vec<String> = report
        .operators
        .iter()
        .map(|(op, count)| format!("{count} {op}"))
        .collect();
    let side = &description.input.preprocessing;
    writeln!(
        out,
        "generated  {}: {}",
        description.name, description.title
    )?;
    writeln!(
        out,
        "graph      {nodes} ONNX nodes: {}",
        operators.join(", ")
    )?;
    writeln!(
        out,
        "parameters {:.2} M, {} bytes of ONNX",
        report.parameters as f64 / 1e6,
        report.onnx_size_bytes
    )?;
    writeln!(
        out,
        "operations {} for a picture of {}x{}; {} of them in multiply-adds, each counted as two",
        giga(report.operations),
        side.width,
        side.height,
        giga(2 * report.multiply_adds)
    )?;
    writeln!(
        out,
        "heads      {} anchors, {} score columns",
        report.anchor_count, report.score_columns
    )?;
    for path in &report.written {
        writeln!(out, "wrote      {}", path.display())?;
    }
    writeln!(
        out,
        "note: the weights are random numbers. Latency and throughput are those of this architecture; what it finds means nothing, so there is no accuracy."
    )
}

/// `2.49 G`.
fn giga(operations: u64) -> String {
    format!("{:.2} G", operations as f64 / 1e9)
}
