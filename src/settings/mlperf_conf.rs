//! LoadGen's configuration files: the built-in table, `user.conf`, `audit.config`.
//!
//! What LoadGen passes over in silence comes back as a [`Note`] with file and line; a strict
//! reader makes an error of it. What LoadGen refuses is an error here too, and then nothing of
//! the file is applied.

use std::fmt;
use std::path::{Path, PathBuf};

use super::conf_text::{c_integer, ConfText};
use super::test_settings::{SettingError, TestSettings};
use crate::scenario::{Scenario, TestMode};

/// The table that LoadGen 6.0.17 has compiled in, as far as it concerns image models.
pub const BUILT_IN: &str = include_str!("built_in.conf");

/// Which file is read: files differ in what they may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    BuiltIn,
    User,
    Audit,
}

/// How an entry's number becomes a setting.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// 0 is false, all else true.
    Truth,
    /// An integer, times a factor.
    Integer(u64),
    /// A real, times a factor.
    Real(f64),
    /// An integer that stands for a test mode.
    Mode,
}

/// An entry's name, the setting it sets, and its only scenario if it has one.
struct Rule {
    scenario: Option<Scenario>,
    name: &'static str,
    setting: &'static str,
    reading: Reading,
    built_in_only: bool,
}

const fn rule(name: &'static str, setting: &'static str, reading: Reading) -> Rule {
    Rule {
        scenario: None,
        name,
        setting,
        reading,
        built_in_only: false,
    }
}

const fn of(
    scenario: Scenario,
    name: &'static str,
    setting: &'static str,
    reading: Reading,
) -> Rule {
    Rule {
        scenario: Some(scenario),
        name,
        setting,
        reading,
        built_in_only: false,
    }
}

const fn built_in(name: &'static str, setting: &'static str, reading: Reading) -> Rule {
    Rule {
        scenario: None,
        name,
        setting,
        reading,
        built_in_only: true,
    }
}

/// Milliseconds in files are nanoseconds in settings.
const NS_PER_MS: u64 = 1_000_000;

use Reading::{Integer, Mode, Real, Truth};
use Scenario::{MultiStream, Offline, Server, SingleStream};

const RULES: [Rule; 33] = [
    rule("mode", "mode", Mode),
    rule(
        "performance_issue_unique",
        "performance_issue_unique",
        Truth,
    ),
    rule("performance_issue_same", "performance_issue_same", Truth),
    rule(
        "performance_issue_same_index",
        "performance_issue_same_index",
        Integer(1),
    ),
    rule(
        "sample_concatenate_permutation",
        "sample_concatenate_permutation",
        Truth,
    ),
    rule("min_duration", "min_duration_ms", Integer(1)),
    rule("max_duration", "max_duration_ms", Integer(1)),
    rule("min_query_count", "min_query_count", Integer(1)),
    rule("max_query_count", "max_query_count", Integer(1)),
    rule(
        "performance_sample_count_override",
        "performance_sample_count_override",
        Integer(1),
    ),
    rule(
        "accuracy_sample_count_override",
        "accuracy_sample_count_override",
        Integer(1),
    ),
    rule("print_timestamps", "print_timestamps", Truth),
    rule("accuracy_log_rng_seed", "accuracy_log_rng_seed", Integer(1)),
    rule(
        "accuracy_log_sampling_target",
        "accuracy_log_sampling_target",
        Integer(1),
    ),
    of(
        SingleStream,
        "target_latency_percentile",
        "single_stream_target_latency_percentile",
        Real(0.01),
    ),
    of(
        MultiStream,
        "target_latency_percentile",
        "multi_stream_target_latency_percentile",
        Real(0.01),
    ),
    of(
        Server,
        "target_latency_percentile",
        "server_target_latency_percentile",
        Real(0.01),
    ),
    of(
        MultiStream,
        "samples_per_query",
        "multi_stream_samples_per_query",
        Integer(1),
    ),
    of(
        Server,
        "target_latency",
        "server_target_latency_ns",
        Integer(NS_PER_MS),
    ),
    of(
        SingleStream,
        "target_latency",
        "single_stream_expected_latency_ns",
        Real(1e6),
    ),
    of(
        MultiStream,
        "target_latency",
        "multi_stream_expected_latency_ns",
        Real(1e6),
    ),
    of(Server, "target_qps", "server_target_qps", Real(1.0)),
    of(Offline, "target_qps", "offline_expected_qps", Real(1.0)),
    of(Server, "coalesce_queries", "server_coalesce_queries", Truth),
    of(
        Server,
        "max_async_queries",
        "server_max_async_queries",
        Integer(1),
    ),
    built_in("qsl_rng_seed", "qsl_rng_seed", Integer(1)),
    built_in("sample_index_rng_seed", "sample_index_rng_seed", Integer(1)),
    built_in("schedule_rng_seed", "schedule_rng_seed", Integer(1)),
    built_in("test05", "test05", Truth),
    built_in("test05_qsl_rng_seed", "test05_qsl_rng_seed", Integer(1)),
    built_in(
        "test05_sample_index_rng_seed",
        "test05_sample_index_rng_seed",
        Integer(1),
    ),
    built_in(
        "test05_schedule_rng_seed",
        "test05_schedule_rng_seed",
        Integer(1),
    ),
    built_in(
        "accuracy_log_probability",
        "accuracy_log_probability",
        Real(0.01),
    ),
];

/// Settings and mode while files are applied to them, and what was noted on the way.
#[derive(Debug, Clone)]
pub struct ConfReader {
    model: String,
    scenario: Scenario,
    strict: bool,
    user_file: Option<PathBuf>,
    has_table: bool,
    /// The settings so far.
    pub settings: TestSettings,
    /// The mode that a file asked for, if one did.
    pub mode: Option<TestMode>,
    /// What LoadGen would have passed over in silence.
    pub notes: Vec<Note>,
}

impl ConfReader {
    /// A reader for `model` (its name in the files, such as `retinanet`) and `scenario`, that
    /// begins with LoadGen's defaults. A strict one makes an error of the first note.
    pub fn new(model: &str, scenario: Scenario, strict: bool) -> Self {
        Self {
            model: model.to_owned(),
            scenario,
            strict,
            user_file: None,
            has_table: false,
            settings: TestSettings::default(),
            mode: None,
            notes: Vec::new(),
        }
    }

    /// Applies LoadGen's built-in table.
    ///
    /// # Errors
    /// Never for the table as it is.
    pub fn apply_built_in(&mut self) -> Result<(), ConfError> {
        self.apply_table(Path::new("built-in mlperf.conf"), BUILT_IN)
    }

    /// Applies the text of another `mlperf.conf` in place of the built-in table; it may set what only
    /// that table may.
    ///
    /// # Errors
    /// [`ConfError`] with file and line. The settings then keep what they had before the file.
    pub fn apply_table(&mut self, file: &Path, text: &str) -> Result<(), ConfError> {
        self.has_table = true;
        let model = self.model.clone();
        self.apply(file, text, &model, Kind::BuiltIn)
    }

    /// Applies the text of a user's file; the first one applies the built-in table
    /// before it, unless a table was applied.
    ///
    /// # Errors
    /// [`ConfError`] with file and line. The settings then keep what they had before the file.
    pub fn apply_user(&mut self, file: &Path, text: &str) -> Result<(), ConfError> {
        if let Some(first) = self.user_file.replace(file.to_owned()) {
            let kind = NoteKind::SecondUserFile { first };
            self.note(Note {
                file: file.to_owned(),
                line: 1,
                kind,
            })?;
        } else if !self.has_table {
            self.apply_built_in()?;
        }
        let model = self.model.clone();
        self.apply(file, text, &model, Kind::User)
    }

    /// Applies the text of `audit.config`, of which only entries for any model hold.
    ///
    /// # Errors
    /// [`ConfError`] with file and line. The settings then keep what they had before the file.
    pub fn apply_audit(&mut self, file: &Path, text: &str) -> Result<(), ConfError> {
        self.apply(file, text, "*", Kind::Audit)
    }

    fn note(&mut self, note: Note) -> Result<(), ConfError> {
        if self.strict {
            return Err(ConfError::Strict(note));
        }
        self.notes.push(note);
        Ok(())
    }

    fn apply(&mut self, file: &Path, text: &str, model: &str, kind: Kind) -> Result<(), ConfError> {
        let mut notes = Vec::new();
        let conf = ConfText::parse(file, text, &mut notes)?;
        note_without_effect(&conf, kind, &mut notes);
        let (mut settings, mut mode) = (self.settings.clone(), self.mode);
        for rule in RULES
            .iter()
            .filter(|rule| kind == Kind::BuiltIn || !rule.built_in_only)
        {
            let scenario = rule.scenario.unwrap_or(self.scenario).name();
            let Some((key, entry)) = conf.find(model, scenario, rule.name) else {
                continue;
            };
            let at = |cause| ConfError::Setting {
                file: file.to_owned(),
                line: entry.line,
                key: key.to_owned(),
                cause,
            };
            if let Some(read) = read_otherwise(rule, &entry.value) {
                let kind = NoteKind::ReadAs {
                    key: key.to_owned(),
                    value: entry.value.clone(),
                    read,
                };
                notes.push(Note {
                    file: file.to_owned(),
                    line: entry.line,
                    kind,
                });
            }
            if matches!(rule.reading, Mode) {
                mode = Some(mode_of(key, &entry.value).map_err(at)?);
            } else {
                settings
                    .set(rule.setting, &setting_text(rule, &entry.value))
                    .map_err(|cause| at(told_as_written(rule, &entry.value, cause)))?;
            }
        }
        notes.sort_by_key(|note| note.line);
        for note in notes {
            self.note(note)?;
        }
        (self.settings, self.mode) = (settings, mode);
        Ok(())
    }
}

/// Notes the entries that no rule looks up, and those that only the built-in table may have.
fn note_without_effect(conf: &ConfText, kind: Kind, notes: &mut Vec<Note>) {
    for (key, entry) in &conf.entries {
        let mut parts = key.splitn(3, '.');
        let (Some(_model), Some(scenario), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            let kind = NoteKind::UnknownKey { key: key.clone() };
            notes.push(Note {
                file: conf.file.clone(),
                line: entry.line,
                kind,
            });
            continue;
        };
        let known = scenario == "*" || Scenario::ALL.iter().any(|known| known.name() == scenario);
        let rule = RULES.iter().find(|rule| {
            let fits = rule
                .scenario
                .is_none_or(|only| scenario == "*" || only.name() == scenario);
            known && rule.name == name && fits
        });
        let kind = match rule {
            None => NoteKind::UnknownKey { key: key.clone() },
            Some(rule) if rule.built_in_only && kind != Kind::BuiltIn => {
                NoteKind::BuiltInOnly { key: key.clone() }
            }
            Some(_) => continue,
        };
        notes.push(Note {
            file: conf.file.clone(),
            line: entry.line,
            kind,
        });
    }
}

/// What LoadGen makes of an integer's text where that is not what it looks like.
fn read_otherwise(rule: &Rule, value: &str) -> Option<u64> {
    if matches!(rule.reading, Real(_)) {
        return None;
    }
    let (read, rest) = c_integer(value)?;
    let hexadecimal = value.starts_with("0x") || value.starts_with("0X");
    let plain = value.parse() == Ok(read) || (hexadecimal && rest.is_empty());
    (!plain).then_some(read)
}

/// The number in the setting's unit, as [`TestSettings::set`] reads it.
fn setting_text(rule: &Rule, value: &str) -> String {
    let integer = c_integer(value).map(|(integer, _)| integer);
    match rule.reading {
        Truth => integer.map(|integer| (integer != 0).to_string()),
        Integer(factor) => integer.map(|integer| integer.saturating_mul(factor).to_string()),
        Real(factor) => {
            let real = value
                .parse::<f64>()
                .ok()
                .or(integer.map(|integer| integer as f64));
            real.map(|real| (real * factor).to_string())
        }
        Mode => None,
    }
    .unwrap_or_else(|| value.to_owned())
}

/// The cause with the file's own number, and with what that may be in the file's unit.
fn told_as_written(rule: &Rule, written: &str, cause: SettingError) -> SettingError {
    let SettingError::Value { key, expected, .. } = cause else {
        return cause;
    };
    let expected = match rule.name {
        "target_latency_percentile" => {
            "a percentage between 0 and 100, such as 99, both ends excluded"
        }
        "accuracy_log_probability" => "a percentage from 0 to 100",
        "target_latency" if rule.scenario == Some(Server) => "whole milliseconds",
        "target_latency" => "finite milliseconds above 0",
        _ if matches!(rule.reading, Truth) => "0 or 1",
        _ => expected,
    };
    SettingError::Value {
        key,
        value: written.to_owned(),
        expected,
    }
}

fn mode_of(key: &str, value: &str) -> Result<TestMode, SettingError> {
    c_integer(value)
        .and_then(|(integer, _)| TestMode::ALL.get(usize::try_from(integer).ok()?).copied())
        .ok_or_else(|| SettingError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            expected: "0 (submission), 1 (accuracy), 2 (performance) or 3 (peak search)",
        })
}

/// Something that LoadGen would have passed over in silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is there.
    pub kind: NoteKind,
}

/// What was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoteKind {
    /// The line has no entry: `a=b` without blanks, or a key without value.
    NoEntry {
        /// What stands there.
        text: String,
    },
    /// More than one value; the last one holds.
    SeveralValues {
        /// The entry's key.
        key: String,
        /// A value that does not hold.
        dropped: String,
    },
    /// The key stands in the file twice; the last one holds.
    Repeated {
        /// The key.
        key: String,
        /// The line of the one that does not hold.
        earlier_line: usize,
    },
    /// Nothing looks this key up.
    UnknownKey {
        /// The key.
        key: String,
    },
    /// Only the built-in table may set this.
    BuiltInOnly {
        /// The key.
        key: String,
    },
    /// The integer is another one than the text seems to say: `0.5` is 0 and `010` is 8.
    ReadAs {
        /// The entry's key.
        key: String,
        /// Its text.
        value: String,
        /// The integer that holds.
        read: u64,
    },
    /// A user's file was read before; LoadGen logs an error that fails the checks of accuracy runs.
    SecondUserFile {
        /// The first one.
        first: PathBuf,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file.display(), self.line)?;
        match &self.kind {
            NoteKind::NoEntry { text } => {
                write!(
                    f,
                    "`{text}` is no entry: write KEY = VALUE with blanks around `=`"
                )
            }
            NoteKind::SeveralValues { key, dropped } => {
                write!(
                    f,
                    "`{key}` has several values and `{dropped}` is dropped: keep one"
                )
            }
            NoteKind::Repeated { key, earlier_line } => {
                write!(f, "`{key}` replaces line {earlier_line}: keep one of them")
            }
            NoteKind::UnknownKey { key } => {
                write!(f, "nothing reads `{key}`: check its name and scenario")
            }
            NoteKind::BuiltInOnly { key } => {
                write!(f, "`{key}` holds in the built-in table only: remove it")
            }
            NoteKind::ReadAs { key, value, read } => {
                write!(
                    f,
                    "`{key}` is read as {read}, not as `{value}`: write a plain integer"
                )
            }
            NoteKind::SecondUserFile { first } => {
                write!(
                    f,
                    "{} was read before it: use one user file",
                    first.display()
                )
            }
        }
    }
}

/// A file that cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfError {
    /// The word after the key is not `=`.
    #[error("{}:{line}: `{key}` is not followed by `=`: write KEY = VALUE", file.display())]
    NoEqualsSign {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The entry's key.
        key: String,
    },
    /// A value, or what follows one, is not a number.
    #[error(
        "{}:{line}: `{key}` cannot be `{value}`: give one number and no comment after it",
        file.display()
    )]
    NotANumber {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The entry's key.
        key: String,
        /// The word that is not a number.
        value: String,
    },
    /// The setting does not take the number.
    #[error("{}:{line}: `{key}`: {cause}", file.display())]
    Setting {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The entry's key.
        key: String,
        /// What the setting takes.
        cause: SettingError,
    },
    /// A strict reader met something that LoadGen passes over in silence.
    #[error("{0}")]
    Strict(Note),
}

#[cfg(test)]
mod tests;
