//! The text of LoadGen's configuration files: lines of `MODEL.SCENARIO.NAME = VALUE`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::mlperf_conf::{ConfError, Note, NoteKind};

/// One entry, the last of its key in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub line: usize,
    pub value: String,
}

/// The entries of one file by their whole keys.
#[derive(Debug, Clone)]
pub(super) struct ConfText {
    pub file: PathBuf,
    pub entries: BTreeMap<String, Entry>,
}

impl ConfText {
    /// Reads the text of `file`; what LoadGen passes over in silence goes to `notes`.
    ///
    /// A line is cut at blanks into a key, `=` and a value. `#` begins a comment only as a word of
    /// its own before `=`. Of several values, and of several lines with one key, the last
    /// one wins.
    pub fn parse(file: &Path, text: &str, notes: &mut Vec<Note>) -> Result<Self, ConfError> {
        let mut entries = BTreeMap::new();
        for (n, content) in text.lines().enumerate() {
            let line = n + 1;
            let note = |kind| Note {
                file: file.to_owned(),
                line,
                kind,
            };
            let mut words = content.split(is_blank).filter(|word| !word.is_empty());
            let Some(key) = words.next().filter(|word| *word != "#") else {
                continue;
            };
            match words.next() {
                Some("=") => {}
                None | Some("#") => {
                    notes.push(note(NoteKind::NoEntry {
                        text: key.to_owned(),
                    }));
                    continue;
                }
                Some(_) => {
                    return Err(ConfError::NoEqualsSign {
                        file: file.to_owned(),
                        line,
                        key: key.to_owned(),
                    })
                }
            }
            let mut value = None;
            for word in words {
                if !is_number(word) {
                    return Err(ConfError::NotANumber {
                        file: file.to_owned(),
                        line,
                        key: key.to_owned(),
                        value: word.to_owned(),
                    });
                }
                if let Some(earlier) = value.replace(word) {
                    notes.push(note(NoteKind::SeveralValues {
                        key: key.to_owned(),
                        dropped: earlier.to_owned(),
                    }));
                }
            }
            let Some(value) = value else {
                notes.push(note(NoteKind::NoEntry {
                    text: content.trim_matches(is_blank).to_owned(),
                }));
                continue;
            };
            let entry = Entry {
                line,
                value: value.to_owned(),
            };
            if let Some(earlier) = entries.insert(key.to_owned(), entry) {
                let kind = NoteKind::Repeated {
                    key: key.to_owned(),
                    earlier_line: earlier.line,
                };
                notes.push(note(kind));
            }
        }
        Ok(Self {
            file: file.to_owned(),
            entries,
        })
    }

    /// The entry that holds for `name`: of this model and scenario before any model, and
    /// the right scenario before any scenario.
    pub fn find(&self, model: &str, scenario: &str, name: &str) -> Option<(&str, &Entry)> {
        [
            format!("{model}.{scenario}.{name}"),
            format!("*.{scenario}.{name}"),
            format!("{model}.*.{name}"),
            format!("*.*.{name}"),
        ]
        .iter()
        .find_map(|key| self.entries.get_key_value(key))
        .map(|(key, entry)| (key.as_str(), entry))
    }
}

/// What parts words: C's blanks, and not those of other scripts.
fn is_blank(symbol: char) -> bool {
    matches!(symbol, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// Whether the whole word is a number as C reads it: an integer (also `0x10`, `010`) or a real.
fn is_number(word: &str) -> bool {
    c_integer(word).is_some_and(|(_, rest)| rest.is_empty())
        || word.parse::<f64>().is_ok_and(f64::is_finite)
}

/// The integer at the beginning of the word and what follows it, read as C's `strtoull` with base
/// 0 does, except that a sign is refused.
pub(super) fn c_integer(word: &str) -> Option<(u64, &str)> {
    let hexadecimal = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let (digits, radix) = match hexadecimal {
        Some(digits) => (digits, 16),
        None if word.starts_with('0') => (word, 8),
        None => (word, 10),
    };
    let end = digits
        .find(|c: char| !c.is_digit(radix))
        .unwrap_or(digits.len());
    let value = u64::from_str_radix(&digits[..end], radix).ok()?;
    Some((value, &digits[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Result<ConfText, ConfError>, Vec<Note>) {
        let mut notes = Vec::new();
        let conf = ConfText::parse(Path::new("user.conf"), text, &mut notes);
        (conf, notes)
    }

    #[test]
    fn integers_are_read_as_c_reads_them() {
        for (word, value, rest) in [
            ("12", 12, ""),
            ("0x1F", 31, ""),
            ("010", 8, ""),
            ("0.5", 0, ".5"),
            ("1e3", 1, "e3"),
        ] {
            assert_eq!(c_integer(word), Some((value, rest)));
        }
        assert_eq!(c_integer("-1"), None);
        assert_eq!(c_integer("fast"), None);
    }

    #[test]
    fn the_scenario_outweighs_the_model() {
        let (conf, notes) = parsed("m.*.a = 1\n*.Server.a = 2\n*.*.a = 3\n");
        let conf = conf.unwrap();
        let value = |model, scenario| conf.find(model, scenario, "a").unwrap().1.value.as_str();
        assert_eq!(value("m", "Server"), "2");
        assert_eq!(value("m", "Offline"), "1");
        assert_eq!(value("n", "Offline"), "3");
        assert!(notes.is_empty());
    }

    #[test]
    fn what_loadgen_passes_over_is_noted_with_its_line() {
        let (conf, notes) = parsed("# note\n\n*.*.a=1\n*.*.b =\n*.*.c = 1 2\n*.*.c = 3\n");
        assert_eq!(conf.unwrap().entries.len(), 1);
        assert_eq!(
            notes.iter().map(|note| note.line).collect::<Vec<_>>(),
            [3, 4, 5, 6]
        );
    }

    #[test]
    fn a_comment_after_a_value_and_words_are_errors() {
        for (text, line) in [
            ("*.*.a = 1 # tuned", 1),
            ("\n*.*.a = fast", 2),
            ("a b = 1", 1),
        ] {
            let (conf, _) = parsed(text);
            let message = conf.unwrap_err().to_string();
            assert!(message.contains(&format!("user.conf:{line}:")), "{message}");
        }
    }
}
