//! Command lines of other programs: their words become detbench's own before clap sees them.
//!
//! ```text
//! run --compat intel --model-name ... -> translate -> run --model ... , and what clap has no word for: Told
//! ```

mod aimet;
mod ck;
mod error;
mod intel;
mod pytorch_ssd;
mod words;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use self::error::DialectError;
pub use self::intel::Tail;
pub use self::pytorch_ssd::VocEvaluation;
use crate::model::description::Precision;

/// Whose command line is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `launch_benchmark.py` of Intel's model zoo.
    Intel,
    /// Collective Knowledge's object-detection programs.
    Ck,
    /// The quanteval scripts of AIMET's model zoo.
    Aimet,
    /// `eval_ssd.py` of pytorch-ssd.
    PytorchSsd,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Intel, Self::Ck, Self::Aimet, Self::PytorchSsd];

    /// Its word for `--compat`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intel => "intel",
            Self::Ck => "ck",
            Self::Aimet => "aimet",
            Self::PytorchSsd => "pytorch-ssd",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that is no dialect's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownDialect;

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(text: &str) -> Result<Self, UnknownDialect> {
        let mut all = Self::ALL.into_iter();
        all.find(|dialect| dialect.name() == text)
            .ok_or(UnknownDialect)
    }
}

/// What a dialect's command line says that no flag of detbench does.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Whose words they were.
    pub dialect: Dialect,
    /// The model's name as it was typed, for the log's name and contents.
    pub model_name: String,
    /// The precision that the graph must have, and the flag that says so.
    pub precision: Option<(Precision, &'static str)>,
    /// The flag whose name alone says which graph is meant, and the one that would say it by file.
    pub named_by: Option<(&'static str, &'static str)>,
    /// How the run ends.
    pub ending: Ending,
    /// What was accepted without having a meaning here, a sentence each.
    pub notes: Vec<String>,
}

/// How a run ends in the way of its dialect.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// `launch_benchmark.py`'s tail, in a log file too.
    Intel(Tail),
    /// Collective Knowledge's summary, of scores rounded as in its text files.
    Ck,
    /// A quanteval script's: its heading and COCO's twelve lines, or on VOC the same as pytorch-ssd, with a summary line.
    Quanteval(&'static str, VocEvaluation),
    /// pytorch-ssd's files of detections and average precisions.
    Voc(VocEvaluation),
}

/// A command line in detbench's own words.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    /// The words, the program's name first.
    pub arguments: Vec<OsString>,
    /// What they cannot say.
    pub told: Option<Told>,
}

/// What a translation asks of the machine.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The environment's variable of a name.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The arithmetic of a graph's layers; `None` for a file that cannot be read.
    pub precision: &'a dyn Fn(&Path) -> Option<Precision>,
    /// The lines of a text file; `None` when it cannot be read.
    pub lines: &'a dyn Fn(&Path) -> Option<Vec<String>>,
    /// Whether a path is a folder of Pascal VOC.
    pub is_voc: &'a dyn Fn(&Path) -> bool,
    /// Folders in which the files of a named model are looked for.
    pub models: &'a [PathBuf],
    /// How many instances of so many cores (or a `socket`) this machine holds; `None` when it holds none.
    pub instances: &'a dyn Fn(&str) -> Option<usize>,
}

/// Rewrites the words of a dialect; a command line that names none comes back as it is.
///
/// # Errors
/// [`DialectError`] for a word that its dialect does not take or that means nothing here.
pub fn translate(
    arguments: Vec<OsString>,
    around: Surroundings<'_>,
) -> Result<Translation, DialectError> {
    let is_run = arguments.get(1).is_some_and(|verb| verb == "run");
    let asks_help = |word: &OsString| word == "--help" || word == "-h";
    let spoken = Dialect::ALL
        .into_iter()
        .find(|dialect| speaks(&arguments, *dialect));
    let Some(dialect) = spoken.filter(|_| is_run && !arguments.iter().any(asks_help)) else {
        return Ok(Translation {
            arguments,
            told: None,
        });
    };
    let words = &arguments[2..];
    let (ours, told) = match dialect {
        Dialect::Intel => intel::translate(words, around)?,
        Dialect::Ck => ck::translate(words, around)?,
        Dialect::Aimet => aimet::translate(words, around)?,
        Dialect::PytorchSsd => pytorch_ssd::translate(words, around)?,
    };
    let verb = arguments.into_iter().take(2);
    Ok(Translation {
        arguments: verb.chain(ours).collect(),
        told: Some(told),
    })
}

/// VOC scored by pytorch-ssd's arithmetic, which AIMET's script took over.
fn voc_rules(evaluation: &VocEvaluation, own: &words::Own) -> Vec<OsString> {
    let points = if evaluation.eleven_points {
        "11"
    } else {
        "all"
    };
    let rules = [("--voc-style", "ptssd"), ("--points", points)];
    let unsaid = rules.into_iter().filter(|(flag, _)| !own.has(flag));
    unsaid
        .map(|(flag, value)| format!("{flag}={value}").into())
        .collect()
}

/// Accuracy alone.
fn accuracy_words(own: &words::Own) -> Vec<OsString> {
    let unsaid = !own.has("--accuracy-only");
    unsaid
        .then(|| OsString::from("--accuracy-only"))
        .into_iter()
        .collect()
}

/// Whether `--compat NAME` or `--compat=NAME` is among the words.
fn speaks(arguments: &[OsString], dialect: Dialect) -> bool {
    let joined = format!("--compat={dialect}");
    let is_pair = |pair: &[OsString]| {
        pair[0] == "--compat" && pair[1].as_os_str() == OsStr::new(dialect.name())
    };
    arguments.iter().any(|word| *word == *joined) || arguments.windows(2).any(is_pair)
}

#[cfg(test)]
pub(super) mod tests_around {
    //! Surroundings for the dialects' tests.

    use super::*;

    /// No variable is set; graphs are what their names say.
    pub fn around() -> Surroundings<'static> {
        Surroundings {
            variable: &|_| None,
            precision: &|path| match path.to_str()? {
                name if name.contains("int8") => Some(Precision::Int8),
                name if name.contains("fp32") => Some(Precision::Fp32),
                _ => None,
            },
            lines: &|_| None,
            is_voc: &|path| path == Path::new("voc"),
            models: &[],
            instances: &|cores| Some(28 / cores.parse::<usize>().unwrap_or(28)),
        }
    }

    /// The words as text.
    pub fn texts(words: &[OsString]) -> Vec<String> {
        let text = |word: &OsString| word.to_str().unwrap().to_owned();
        words.iter().map(text).collect()
    }
}
