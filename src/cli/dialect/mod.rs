//! Command lines of other programs: their words become detbench's own before clap sees them.
//!
//! ```text
//! run --compat intel --model-name ... -> translate -> run --model ... , and what clap has no word for: Told
//! ```

mod data_location;
mod error;
mod intel;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::str::FromStr;

pub use self::data_location::{locate, Located};
pub use self::error::DialectError;
use crate::model::description::Precision;

/// Whose command line is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `launch_benchmark.py` of Intel's model zoo.
    Intel,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::Intel];

    /// Its word for `--compat`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intel => "intel",
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Whose words they were.
    pub dialect: Dialect,
    /// The model's name as it was typed, for the log's name and contents.
    pub model_name: String,
    /// The precision that the graph must have.
    pub precision: Precision,
    /// Whether the name alone says which graph is meant.
    pub names_no_graph: bool,
    /// What was accepted without having a meaning here, a sentence each.
    pub notes: Vec<String>,
}

/// A command line in detbench's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// The words, the program's name first.
    pub arguments: Vec<OsString>,
    /// What they cannot say.
    pub told: Option<Told>,
}

/// Rewrites the words of a dialect; a command line that names none comes back as it is.
///
/// `locate` says what a data location holds.
///
/// # Errors
/// [`DialectError`] for a word that its dialect does not take or that means nothing here.
pub fn translate(
    arguments: Vec<OsString>,
    locate: &dyn Fn(&std::path::Path) -> Result<Located, DialectError>,
) -> Result<Translation, DialectError> {
    let is_run = arguments.get(1).is_some_and(|verb| verb == "run");
    let asks_help = |word: &OsString| word == "--help" || word == "-h";
    if !is_run || !speaks(&arguments, Dialect::Intel) || arguments.iter().any(asks_help) {
        return Ok(Translation {
            arguments,
            told: None,
        });
    }
    let (ours, told) = intel::translate(&arguments[2..], locate)?;
    let verb = arguments.into_iter().take(2);
    Ok(Translation {
        arguments: verb.chain(ours).collect(),
        told: Some(told),
    })
}

/// Whether `--compat NAME` or `--compat=NAME` is among the words.
fn speaks(arguments: &[OsString], dialect: Dialect) -> bool {
    let joined = format!("--compat={dialect}");
    let is_pair = |pair: &[OsString]| {
        pair[0] == "--compat" && pair[1].as_os_str() == OsStr::new(dialect.name())
    };
    arguments.iter().any(|word| *word == *joined) || arguments.windows(2).any(is_pair)
}
