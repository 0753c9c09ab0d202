//! What the dialects' readers share: flags in their parts, truth values, notes.

use std::ffi::{OsStr, OsString};

use super::DialectError;

/// Words of a command line that are detbench's own, and what was said of the others.
#[derive(Debug, Default)]
pub struct Own {
    /// The words, in their order.
    pub words: Vec<OsString>,
    /// What was accepted without a meaning here.
    pub notes: Vec<String>,
}

impl Own {
    /// Notes that words have no meaning here.
    pub fn note(&mut self, words: &str, why: &str) {
        self.notes
            .push(format!("{words} has no meaning here: {why}."));
    }

    /// Whether detbench's own flag is among the words.
    pub fn has(&self, flag: &str) -> bool {
        let joined = format!("{flag}=");
        let is_it = |word: &OsString| {
            let text = word.to_string_lossy();
            text == flag || text.starts_with(&joined)
        };
        self.words.iter().any(is_it)
    }

    /// Refuses flags of detbench that ask for another kind of run.
    pub fn refuse(
        &self,
        dialect: super::Dialect,
        flags: &[&'static str],
    ) -> Result<(), DialectError> {
        match flags.iter().find(|flag| self.has(flag)) {
            None => Ok(()),
            Some(&flag) => Err(DialectError::Excluded { flag, dialect }),
        }
    }
}

/// Flags of ours that have no meaning where a script of somebody else scores pictures and closes in its own words.
pub const BESIDE_SCORING: [&str; 5] = [
    "--find-peak",
    "--sut",
    "--json",
    "--synthetic",
    "--benchmark-only",
];

/// `--flag` and the value that hangs on it by `=`; `None` for a word that is no flag.
pub fn flag_parts(word: &OsStr) -> Option<(&str, Option<String>)> {
    let text = word.to_str().filter(|text| text.starts_with("--"))?;
    Some(match text.split_once('=') {
        Some((flag, value)) => (flag, Some(value.to_owned())),
        None => (text, None),
    })
}

/// The next word as a value; `-1` is one, `--flag` is not.
pub fn value_of(flag: &str, next: Option<&OsString>) -> Result<String, DialectError> {
    let value = next.and_then(|next| next.to_str());
    let value = value.filter(|value| !value.starts_with("--"));
    value
        .map(str::to_owned)
        .ok_or_else(|| DialectError::NoValue {
            flag: flag.to_owned(),
        })
}

/// Python's and the shell's words for yes and no.
pub fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "y" | "t" | "on" => Some(true),
        "0" | "false" | "no" | "n" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// A whole number from `least` on.
pub fn number(
    flag: &str,
    value: &str,
    least: u64,
    expected: &'static str,
) -> Result<u64, DialectError> {
    value
        .parse()
        .ok()
        .filter(|number| *number >= least)
        .ok_or_else(|| wrong(flag, value, expected))
}

/// A value that the flag does not take.
pub fn wrong(flag: &str, value: &str, expected: &'static str) -> DialectError {
    DialectError::Value {
        flag: flag.to_owned(),
        value: value.to_owned(),
        expected,
    }
}
