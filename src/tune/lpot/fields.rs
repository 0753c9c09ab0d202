//! Sections and fields of a file: known keys only, typed values, errors that name file, line and key.

use super::error::{LpotError, LpotFault};
use super::yaml::{Entry, Node, Value};
use crate::strict_toml::nearest;
use crate::tune::criterion::CriterionError;

/// A mapping whose keys were all found to be known.
#[derive(Debug, Clone)]
pub struct Section<'a> {
    file: &'a str,
    path: String,
    line: usize,
    entries: &'a [Entry],
}

/// A key with its value.
#[derive(Debug, Clone)]
pub struct Field<'a> {
    file: &'a str,
    /// The key with those above it, `tuning.strategy.name`.
    pub path: String,
    /// The key itself.
    pub key: &'a str,
    /// Its line, from one.
    pub line: usize,
    node: &'a Node,
}

/// An error of `file` in `line`.
fn fault(file: &str, line: usize, fault: LpotFault) -> LpotError {
    LpotError {
        file: file.to_owned(),
        line,
        fault,
    }
}

impl<'a> Section<'a> {
    /// The whole file.
    ///
    /// # Errors
    /// [`LpotFault::Value`] for a file that is no mapping, [`LpotFault::UnknownKey`].
    pub fn whole(node: &'a Node, file: &'a str, known: &[&str]) -> Result<Self, LpotError> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Nothing => &[],
            Value::Scalar(_) | Value::List(_) => {
                let expected = format!("a mapping of the sections {}", known.join(", "));
                let found = shown(node);
                let path = "the file".to_owned();
                let wrong = LpotFault::Value {
                    path,
                    found,
                    expected,
                };
                return Err(fault(file, node.line, wrong));
            }
        };
        let section = Self {
            file,
            path: String::new(),
            line: node.line,
            entries,
        };
        section.check(known)?;
        Ok(section)
    }

    fn check(&self, known: &[&str]) -> Result<(), LpotError> {
        let unknown = |entry: &&Entry| !known.contains(&entry.key.as_str());
        let Some(entry) = self.entries.iter().find(unknown) else {
            return Ok(());
        };
        let near = nearest(&entry.key, known.iter().copied());
        Err(fault(
            self.file,
            entry.line,
            LpotFault::UnknownKey {
                path: self.below(&entry.key),
                nearest: near.map(str::to_owned),
                known: known.join(", "),
            },
        ))
    }

    fn below(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// All keys, in the order of the file.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + '_ {
        self.entries.iter().map(|entry| Field {
            file: self.file,
            path: self.below(&entry.key),
            key: &entry.key,
            line: entry.line,
            node: &entry.node,
        })
    }

    /// The key of that name, if it is there and set to something.
    pub fn field(&self, key: &str) -> Option<Field<'a>> {
        self.fields()
            .find(|field| field.key == key && field.node.value != Value::Nothing)
    }

    /// The section below that key; one without keys where there is none.
    ///
    /// # Errors
    /// [`LpotFault::Value`] for a value that is no mapping, [`LpotFault::UnknownKey`].
    pub fn section(&self, key: &str, known: &[&str]) -> Result<Self, LpotError> {
        match self.field(key) {
            Some(field) => field.section(known),
            None => Ok(Self {
                file: self.file,
                path: self.below(key),
                line: self.line,
                entries: &[],
            }),
        }
    }

    /// A key that has to be there.
    ///
    /// # Errors
    /// [`LpotFault::Missing`].
    pub fn needed(&self, key: &str) -> Result<Field<'a>, LpotError> {
        let missing = || {
            let path = self.below(key);
            fault(self.file, self.line, LpotFault::Missing { path })
        };
        self.field(key).ok_or_else(missing)
    }

    /// Says no to two keys of which one is meant.
    ///
    /// # Errors
    /// [`LpotFault::Both`].
    pub fn not_both(&self, first: &'static str, second: &'static str) -> Result<(), LpotError> {
        let (Some(a), Some(b)) = (self.field(first), self.field(second)) else {
            return Ok(());
        };
        let path = self.path.clone();
        let both = LpotFault::Both {
            path,
            first,
            second,
        };
        Err(fault(self.file, a.line.max(b.line), both))
    }
}

impl<'a> Field<'a> {
    /// An error about this key.
    pub fn fault(&self, own: LpotFault) -> LpotError {
        fault(self.file, self.line, own)
    }

    /// An error about the value.
    pub fn wrong(&self, expected: impl Into<String>) -> LpotError {
        let line = self.node.line;
        let wrong = LpotFault::Value {
            path: self.path.clone(),
            found: shown(self.node),
            expected: expected.into(),
        };
        fault(self.file, line, wrong)
    }

    /// An error about a loss or a confidence.
    pub fn criterion(&self, error: CriterionError) -> LpotError {
        let path = self.path.clone();
        self.fault(LpotFault::Criterion { path, error })
    }

    /// What LPOT does and this program does not.
    pub fn refused(&self, remedy: &'static str) -> LpotError {
        let value = match &self.node.value {
            Value::Scalar(text) => one_line(text),
            Value::Nothing | Value::List(_) | Value::Map(_) => "…".to_owned(),
        };
        let path = self.path.clone();
        self.fault(LpotFault::Refused {
            path,
            value,
            remedy,
        })
    }

    /// A section.
    ///
    /// # Errors
    /// [`LpotFault::Value`] for a value that is no mapping, [`LpotFault::UnknownKey`].
    pub fn section(&self, known: &[&str]) -> Result<Section<'a>, LpotError> {
        let section = self.open_section()?;
        section.check(known)?;
        Ok(section)
    }

    /// A section whose keys are names of the user's own.
    ///
    /// # Errors
    /// [`LpotFault::Value`] for a value that is no mapping.
    pub fn open_section(&self) -> Result<Section<'a>, LpotError> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Nothing => &[],
            Value::Scalar(_) | Value::List(_) => return Err(self.wrong("a section of keys")),
        };
        Ok(Section {
            file: self.file,
            path: self.path.clone(),
            line: self.line,
            entries,
        })
    }

    /// Any scalar.
    ///
    /// # Errors
    /// [`LpotFault::Value`].
    pub fn text(&self, expected: &str) -> Result<&'a str, LpotError> {
        match &self.node.value {
            Value::Scalar(text) => Ok(text),
            Value::Nothing | Value::List(_) | Value::Map(_) => Err(self.wrong(expected)),
        }
    }

    /// One of some words.
    ///
    /// # Errors
    /// [`LpotFault::Value`].
    pub fn word(&self, known: &[&'static str]) -> Result<&'static str, LpotError> {
        let expected = || one_of(known);
        let text = self.text(&expected())?;
        let found = known.iter().find(|word| **word == text);
        found.copied().ok_or_else(|| self.wrong(expected()))
    }

    /// YAML's `true` and `false`, in all spellings of `PyYAML`.
    ///
    /// # Errors
    /// [`LpotFault::Value`].
    pub fn flag(&self) -> Result<bool, LpotError> {
        const EXPECTED: &str = "true or false";
        match self.text(EXPECTED)?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err(self.wrong(EXPECTED)),
        }
    }

    /// A whole number from `least` to `most`.
    ///
    /// # Errors
    /// [`LpotFault::Value`].
    pub fn whole(&self, least: u64, most: u64) -> Result<u64, LpotError> {
        let expected = format!("a whole number from {least} to {most}");
        match self.text(&expected)?.parse() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.wrong(expected)),
        }
    }

    /// A finite number.
    ///
    /// # Errors
    /// [`LpotFault::Value`].
    pub fn number(&self, expected: &str) -> Result<f64, LpotError> {
        match self.text(expected)?.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(self.wrong(expected)),
        }
    }

    /// Several scalars: a list, one scalar, or a text with commas between them.
    ///
    /// # Errors
    /// [`LpotFault::Value`], also for none at all.
    pub fn several(&self, expected: &str) -> Result<Vec<&'a str>, LpotError> {
        let found: Vec<&str> = match &self.node.value {
            Value::Scalar(text) => text.split(',').map(str::trim).collect(),
            Value::List(nodes) => {
                let text = |node: &'a Node| match &node.value {
                    Value::Scalar(text) => Ok(text.trim()),
                    Value::Nothing | Value::List(_) | Value::Map(_) => Err(self.wrong(expected)),
                };
                nodes.iter().map(text).collect::<Result<_, _>>()?
            }
            Value::Nothing | Value::Map(_) => return Err(self.wrong(expected)),
        };
        if found.is_empty() || found.iter().any(|one| one.is_empty()) {
            return Err(self.wrong(expected));
        }
        Ok(found)
    }
}

/// `a, b or c`.
pub fn one_of(words: &[&str]) -> String {
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// A text in a message: on one line, and not all of a long one.
pub fn one_line(text: &str) -> String {
    /// What a sentence can hold of a value.
    const LENGTH_MAX: usize = 60;
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= LENGTH_MAX {
        return line;
    }
    line.chars().take(LENGTH_MAX).chain(['…']).collect()
}

/// A value in a message.
fn shown(node: &Node) -> String {
    match &node.value {
        Value::Nothing => "nothing".to_owned(),
        Value::List(nodes) => {
            let scalar = |node: &Node| match &node.value {
                Value::Scalar(text) => Some(text.clone()),
                Value::Nothing | Value::List(_) | Value::Map(_) => None,
            };
            let scalars: Option<Vec<String>> = nodes.iter().map(scalar).collect();
            scalars.map_or_else(
                || "a list".to_owned(),
                |all| format!("the list `[{}]`", one_line(&all.join(", "))),
            )
        }
        Value::Map(_) => "a section of keys".to_owned(),
        Value::Scalar(text) => format!("`{}`", one_line(text)),
    }
}
