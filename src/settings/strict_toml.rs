//! Reading TOML strictly: an unknown key is an error that names file, line and the nearest key.

use serde::de::DeserializeOwned;

/// Why a TOML text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {message}{}", match nearest {
    Some(nearest) => format!("; did you mean `{nearest}`?"),
    None => String::new(),
})]
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
    toml::from_str(text).map_err(|error| {
        let message = error.message();
        let mut lines = message
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let mut quoted = message.split('`').skip(1).step_by(2);
        let nearest = message
            .starts_with("unknown ")
            .then(|| quoted.next())
            .flatten()
            .and_then(|key| nearest(key, quoted));
        let short = lines.next().unwrap_or("cannot be read");
        TomlError {
            file: file.to_owned(),
            line: error.span().map_or(1, |span| line_at(text, span.start)),
            message: if short.starts_with("missing field") {
                format!("{short}, which must be given")
            } else {
                short.split(", expected").next().unwrap_or(short).to_owned()
            },
            nearest,
        }
    })
}

/// The line, from one, that holds the byte at `offset`.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
}

/// The first line, from one, that assigns `key`; the first line of the text when none does.
pub fn line_of_key(text: &str, key: &str) -> usize {
    let assigns = |line: &str| {
        line.trim_start()
            .strip_prefix(key)
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    1 + text.lines().position(assigns).unwrap_or(0)
}

/// The candidate most like `word`, if any is like it at all.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    /// Below this likeness a suggestion would puzzle more than help.
    const ALIKE: f64 = 0.6;
    candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|&(likeness, _)| likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
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
            "x.toml, line 3: unknown field `batch_sise`; did you mean `batch_size`?"
        );
        assert!(error_of("batch_size = 1\n").starts_with("x.toml, line 1: missing field `title`"));
        assert!(
            error_of("title = 'a'\nbatch_size = 'b'\n").starts_with("x.toml, line 2: invalid type")
        );
        assert!(error_of("title = 'a'\n= 2\n").starts_with("x.toml, line 2: "));
    }

    #[test]
    fn a_key_is_found_by_its_assignment() {
        let text = "a = 1\n  keyed = 2\nkey = 3\n";
        assert_eq!(line_of_key(text, "key"), 3);
        assert_eq!(line_of_key(text, "none"), 1);
    }
}
