//! Reading TOML strictly: an unknown key is an error that names file, line and the nearest key.

use serde::de::DeserializeOwned;

/// Why a TOML text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}{}", did_you_mean(nearest.as_deref()))]
pub struct TomlError {
    /// The file as it was named.
    pub file: String,
    /// The line, from one.
    pub line: usize,
    /// What is wrong, in one clause.
    pub message: String,
    /// For an unknown key: the known one that is most like it.
    pub nearest: Option<String>,
}

/// Reads `text`; `file` is its name in errors. `T` should `deny_unknown_fields`.
///
/// # Errors
/// [`TomlError`] for text that is not TOML, a key that `T` does not know, one that is missing, or
/// a value of the wrong kind.
pub fn from_str<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|error| explain(&error, text, file))
}

/// serde says which key is wrong only in words, between backticks.
fn explain(error: &toml::de::Error, text: &str, file: &str) -> TomlError {
    let message = error.message().trim();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (message, nearest) = match quoted.split_first() {
        Some((key, known)) if message.starts_with("unknown field") => {
            let nearest = nearest(key, known.iter().copied());
            (format!("unknown key `{key}`"), nearest)
        }
        Some((key, _)) if message.starts_with("missing field") => {
            let missing = format!("the key `{key}` is missing in the table that begins here");
            (missing, None)
        }
        Some((word, known)) if message.starts_with("unknown variant") => {
            let nearest = nearest(word, known.iter().copied());
            (message.to_owned(), nearest)
        }
        _ => (message.replace('\n', "; "), None),
    };
    TomlError {
        file: file.to_owned(),
        line: error.span().map_or(1, |span| line_at(text, span.start)),
        message,
        nearest: nearest.map(str::to_owned),
    }
}

/// `; did you mean `x`?`, or nothing.
pub fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The line, from one, that holds the byte at `offset`.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
}

/// The first line, from one, that assigns `key` or opens the table of that name; the first line
/// of the text when none does.
pub fn line_of_key(text: &str, key: &str) -> usize {
    let names = |line: &str| {
        let line = line.trim_start().trim_start_matches('[');
        line.strip_prefix(key)
            .is_some_and(|rest| rest.trim_start().starts_with(['=', ']']))
    };
    1 + text.lines().position(names).unwrap_or(0)
}

/// The candidate most like `word`, if any is like it at all.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this likeness a suggestion would puzzle more than help.
    const ALIKE: f64 = 0.65;
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|&(likeness, _)| likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        #[expect(dead_code)]
        batch_size: Option<u32>,
        #[expect(dead_code)]
        title: String,
    }

    fn error_of(text: &str) -> String {
        from_str::<Example>(text, "x.toml").unwrap_err().to_string()
    }

    #[test]
    fn errors_name_file_line_and_the_nearest_key() {
        assert_eq!(
            error_of("title = 'a'\n\nbatch_sise = 3\n"),
            "x.toml:3: unknown key `batch_sise`; did you mean `batch_size`?"
        );
        assert!(error_of("batch_size = 1\n").starts_with("x.toml:1: the key `title` is missing"));
        assert!(error_of("title = 'a'\nbatch_size = 'b'\n").starts_with("x.toml:2: invalid type"));
        assert!(error_of("title = 'a'\n= 2\n").starts_with("x.toml:2: "));
    }

    #[test]
    fn a_key_is_found_by_its_assignment() {
        let text = "a = 1\n  keyed = 2\nkey = 3\n[[table]]\n";
        assert_eq!(line_of_key(text, "table"), 4);
        assert_eq!(line_of_key(text, "key"), 3);
        assert_eq!(line_of_key(text, "none"), 1);
    }
}
