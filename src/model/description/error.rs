//! What can be wrong with a model file.

use std::path::PathBuf;

use super::super::npy::NpyError;
use crate::strict_toml::TomlError;

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
    /// Not TOML, an unknown key, a missing one, or a value that cannot stand there.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// A table that the family needs.
    #[error("{}:{line}: the table `[{table}]` is missing, which a model of family `{family}` needs", path.display())]
    MissingTable {
        /// The file.
        path: PathBuf,
        /// The line that names the family, from one.
        line: usize,
        /// The table.
        table: &'static str,
        /// The family.
        family: &'static str,
    },
    /// A table that means nothing to the family.
    #[error("{}:{line}: the table `[{table}]` has no meaning for a model of family `{family}`; remove it", path.display())]
    NeedlessTable {
        /// The file.
        path: PathBuf,
        /// Its line, from one.
        line: usize,
        /// The table.
        table: &'static str,
        /// The family.
        family: &'static str,
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
    /// Anchors that the graph was said to hold.
    #[error("the model file takes its anchors from the graph's constant `{name}`, but the graph has no f32 constant [anchors, 4] of that name")]
    AnchorTensor {
        /// The constant.
        name: String,
    },
}
