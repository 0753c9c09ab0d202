//! LPOT's configuration file (YAML, LPOT 1.x) -> what tuning is asked for.
//!
//! Every key that LPOT documents for post-training quantisation is read, with its types. A key that nobody knows, a
//! value that the key does not take, and a setting that would make another model than the one that is asked for are errors with
//! the line. A key that has no meaning here becomes a note. What the file leaves out has LPOT's default.
//! The module reads text and prints nothing.

mod dataset;
mod error;
mod evaluation;
mod fields;
mod own;
mod quantization;
mod tuning;
mod wishes;
mod yaml;

use std::fmt;
use std::path::PathBuf;

pub use self::dataset::Dataset;
pub use self::error::{LpotError, LpotFault};
pub use self::evaluation::Performance;
use self::fields::{Field, Section};
use super::criterion::Criterion;
use super::exit::ExitPolicy;
use super::objective::Objective;
use super::space::Space;
use super::strategy::Strategy;

/// Calibration pictures unless the file says another number: LPOT's.
pub const SAMPLING_SIZE: usize = 100;

/// What a file asks for; what it leaves out has LPOT's default.
#[derive(Debug, Clone, PartialEq)]
pub struct LpotRequest {
    /// `model.name`, LPOT's own name for the model.
    pub model_name: Option<String>,
    /// What may be tried.
    pub space: Space,
    /// In which order.
    pub strategy: Strategy,
    /// Which models are good enough.
    pub criterion: Criterion,
    /// What is made small.
    pub objective: Objective,
    /// When it ends.
    pub exit: ExitPolicy,
    /// Seed of all choices.
    pub seed: u32,
    /// Where history and models go.
    pub workspace: Option<PathBuf>,
    /// A history to go on from.
    pub resume: Option<PathBuf>,
    /// Pictures to calibrate with.
    pub calibration: Option<Dataset>,
    /// Pictures and ground truth to score on.
    pub evaluation: Option<Dataset>,
    /// How speed is measured.
    pub performance: Performance,
    /// Keys that do something else here than with LPOT, or nothing; in the order of the file.
    pub notes: Vec<Note>,
}

/// What the user should know about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The file as it was named.
    pub file: String,
    /// The line, from one.
    pub line: usize,
    /// The key with those above it.
    pub path: String,
    /// What becomes of it, in one clause.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            path,
            text,
        } = self;
        write!(f, "{file}:{line}: `{path}`: {text}")
    }
}

/// Notes while a file is read.
#[derive(Debug)]
struct Notes<'a> {
    file: &'a str,
    found: Vec<Note>,
}

impl Notes<'_> {
    fn add(&mut self, field: &Field<'_>, text: impl Into<String>) {
        self.found.push(Note {
            file: self.file.to_owned(),
            line: field.line,
            path: field.path.clone(),
            text: text.into(),
        });
    }

    /// The same for each of the keys that is there.
    fn add_each(&mut self, section: &Section<'_>, keys: &[&str], text: &str) {
        for key in keys {
            if let Some(field) = section.field(key) {
                self.add(&field, text);
            }
        }
    }
}

const SECTIONS: [&str; 9] = [
    "version",
    "model",
    "device",
    "quantization",
    "tuning",
    "evaluation",
    "pruning",
    "graph_optimization",
    "detbench",
];

/// Reads a file's text; `file` is its name in errors and notes.
///
/// # Errors
/// [`LpotError`], which names the line.
pub fn read(text: &str, file: &str) -> Result<LpotRequest, LpotError> {
    let tree = yaml::read(text, file)?;
    let whole = Section::whole(&tree, file, &SECTIONS)?;
    let mut notes = Notes {
        file,
        found: Vec::new(),
    };
    notes.add_each(
        &whole,
        &["version"],
        "files of LPOT 1.x are read, whatever it says",
    );
    let model_name = model(&whole, &mut notes)?;
    if let Some(device) = whole.field("device") {
        if device.word(&["cpu", "gpu"])? == "gpu" {
            return Err(
                device.refused("models run on the CPU here; write `device: cpu` or leave it out")
            );
        }
    }
    if let Some(pruning) = whole.field("pruning") {
        return Err(pruning.refused("nothing is pruned here; remove the section"));
    }
    if let Some(other) = whole.field("graph_optimization") {
        return Err(other.refused("there is no conversion to bf16 here; remove the section"));
    }
    let mut quantization = quantization::read(&whole, &mut notes)?;
    let mut tuning = tuning::read(&whole, &mut notes)?;
    let evaluation = evaluation::read(&whole, &mut notes)?;
    own::read(
        &whole,
        &mut quantization.space,
        &mut tuning.criterion,
        &mut notes,
    )?;
    notes.found.sort_by_key(|note| note.line);
    Ok(LpotRequest {
        model_name,
        space: quantization.space,
        strategy: tuning.strategy,
        criterion: tuning.criterion,
        objective: tuning.objective,
        exit: tuning.exit,
        seed: tuning.seed,
        workspace: tuning.workspace,
        resume: tuning.resume,
        calibration: quantization.calibration,
        evaluation: evaluation.dataset,
        performance: evaluation.performance,
        notes: notes.found,
    })
}

fn model(whole: &Section<'_>, notes: &mut Notes<'_>) -> Result<Option<String>, LpotError> {
    let section = whole.section("model", &["name", "framework", "inputs", "outputs"])?;
    let name = section.field("name");
    let name = name.map(|field| field.text("a name")).transpose()?;
    if let Some(framework) = section.field("framework") {
        framework.text("a framework's name")?;
        notes.add(
            &framework,
            "nothing to choose: the model is an ONNX file and runs in ONNX Runtime",
        );
    }
    for key in ["inputs", "outputs"] {
        if let Some(field) = section.field(key) {
            field.several("names of tensors")?;
            notes.add(
                &field,
                "the file that describes the model names its tensors",
            );
        }
    }
    Ok(name.map(str::to_owned))
}

#[cfg(test)]
mod tests;
