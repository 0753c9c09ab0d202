//! How a verb ends, and the exit code that scripts see.

use std::error::Error;
use std::fmt;

/// How a verb ended without a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done, and valid where there is a verdict: exit code 0.
    Done,
    /// A criterion was not met (INVALID, accuracy): exit code 1.
    CriterionFailed,
    /// Ctrl-C; what was measured is on disk: exit code 130.
    Interrupted,
}

impl Outcome {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::CriterionFailed => 1,
            Self::Interrupted => 130,
        }
    }
}

/// Why a verb could not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Usage,
    Environment,
}

impl Failure {
    /// Wrong usage or input: exit code 2.
    pub fn usage(error: impl fmt::Display) -> Self {
        Self {
            kind: Kind::Usage,
            message: error.to_string(),
        }
    }

    /// Something that this machine lacks or refuses: exit code 3.
    pub fn environment(error: impl fmt::Display) -> Self {
        Self {
            kind: Kind::Environment,
            message: error.to_string(),
        }
    }

    /// The exit code.
    pub const fn code(&self) -> u8 {
        match self.kind {
            Kind::Usage => 2,
            Kind::Environment => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Says of a result whose fault its error is.
pub trait Blame<T> {
    /// The user's: a flag, a file, a value.
    ///
    /// # Errors
    /// The error, as exit code 2.
    fn or_usage(self) -> Result<T, Failure>;

    /// The machine's: a library, a download, a disk.
    ///
    /// # Errors
    /// The error, as exit code 3.
    fn or_environment(self) -> Result<T, Failure>;
}

impl<T, E: Error> Blame<T> for Result<T, E> {
    fn or_usage(self) -> Result<T, Failure> {
        self.map_err(Failure::usage)
    }

    fn or_environment(self) -> Result<T, Failure> {
        self.map_err(Failure::environment)
    }
}
