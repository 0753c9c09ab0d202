//! Why an LPOT file cannot be read.

use crate::strict_toml::did_you_mean;
use crate::tune::criterion::CriterionError;
use crate::tune::strategy::StrategyError;

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{file}:{line}: {fault}")]
pub struct LpotError {
    /// The file as it was named.
    pub file: String,
    /// The line, from one.
    pub line: usize,
    /// What is wrong.
    pub fault: LpotFault,
}

/// What is wrong; each message says what would help.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LpotFault {
    /// The parser's own words.
    #[error("this is no YAML: {detail}")]
    Syntax {
        /// What it met.
        detail: String,
    },
    /// A tab where the depth is counted.
    #[error("a tab indents this line: YAML takes spaces only")]
    Tab,
    /// A key twice in one mapping.
    #[error("the key `{key}` stands here and in line {first}: keep one of them")]
    KeyTwice {
        /// The key.
        key: String,
        /// Where it stood first.
        first: usize,
    },
    /// A key that is a list, a mapping or nothing.
    #[error("a key must be a word on one line, not a list or a mapping")]
    KeyIsNoText,
    /// A tag, `!!` and a name.
    #[error("the tag `{name}` has no meaning here: remove it")]
    Tag {
        /// The tag.
        name: String,
    },
    /// Two documents.
    #[error("a second document begins here: keep one in a file")]
    SeveralDocuments,
    /// A value that contains itself.
    #[error("an alias stands for a value that it is part of")]
    AliasInItself,
    /// A merge of a scalar.
    #[error("`<<` takes a mapping to merge")]
    MergeOfNoMap,
    /// Aliases of aliases, or brackets without end.
    #[error("the file nests too deep or holds too many values for a configuration")]
    TooLarge,
    /// A key that nobody knows.
    #[error("unknown key `{path}`{}", hint(nearest.as_deref(), known))]
    UnknownKey {
        /// The key with those above it.
        path: String,
        /// The known key that is most like it.
        nearest: Option<String>,
        /// All known keys of that section.
        known: String,
    },
    /// A value that the key does not take.
    #[error("`{path}` is {found}, and should be {expected}")]
    Value {
        /// The key with those above it.
        path: String,
        /// What stands there.
        found: String,
        /// What it takes.
        expected: String,
    },
    /// A key that is needed.
    #[error("`{path}` is missing in the section that begins here")]
    Missing {
        /// The key with those above it.
        path: String,
    },
    /// Two keys of which one is meant.
    #[error("`{path}` has both `{first}` and `{second}`: keep one of them")]
    Both {
        /// The section.
        path: String,
        /// One key.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// What LPOT does and this program does not.
    #[error("`{path}: {value}` is refused: {remedy}")]
    Refused {
        /// The key with those above it.
        path: String,
        /// What it is set to.
        value: String,
        /// Why, and what to write instead.
        remedy: &'static str,
    },
    /// A strategy that is not to be had.
    #[error("`tuning.strategy.name`: {0}")]
    Strategy(StrategyError),
    /// A loss or a confidence that makes no sense.
    #[error("`{path}`: {error}")]
    Criterion {
        /// The key with those above it.
        path: String,
        /// Why.
        error: CriterionError,
    },
    /// A pattern that is none.
    #[error("`quantization.op_wise.{key}` is no regular expression that can be read: {detail}")]
    Pattern {
        /// The key.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// The nearest key, or where none is near, all of them.
fn hint(nearest: Option<&str>, known: &str) -> String {
    match nearest {
        Some(_) => did_you_mean(nearest),
        None => format!("; known here: {known}"),
    }
}
