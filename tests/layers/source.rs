//! Reads Rust source well enough to hold rules about it: which files are modules, which of them
//! are tests, and which paths the rest names. It is no parser: comments, strings and test items
//! are blanked, then `::` paths are read, groups unfolded.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of `src/`, without comments, the contents of strings, and tests.
pub struct Source {
    /// Path from the repository root.
    pub path: PathBuf,
    /// `drive` for `src/drive/set.rs`; `lib` and `main` for the roots.
    pub module: String,
    /// Modules from the crate's root down to the file: 0 for the roots, 2 for `src/drive/set.rs`.
    pub depth: usize,
    /// The code that is left, on the lines where it was.
    pub code: String,
    /// Lines of the file, tests and comments included.
    pub line_count: usize,
    /// It is compiled for tests only.
    pub is_test: bool,
}

/// A path that code names, with groups unfolded: `crate::units::{Latency, Rate}` is two.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// Segments joined by `::`.
    pub path: String,
    /// Line in the file, from one.
    pub line: usize,
    /// Inline modules around it.
    pub inline_depth: usize,
}

/// Every module that is reachable from `src/lib.rs` and `src/main.rs`.
pub fn modules(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    for name in ["lib", "main"] {
        let file = PathBuf::from(format!("src/{name}.rs"));
        visit(root, &file, &[], name, false, &mut found);
    }
    found
}

fn visit(
    root: &Path,
    file: &Path,
    segments: &[String],
    module: &str,
    is_test: bool,
    found: &mut Vec<Source>,
) {
    let text = fs::read_to_string(root.join(file))
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let plain = without_comments_and_strings(&text);
    let (code, tests) = without_tests(&plain);
    let folder = root.join("src").join(segments.join("/"));
    let declared = declared_modules(&code)
        .into_iter()
        .map(|name| (name, is_test));
    let tested = declared_modules(&tests)
        .into_iter()
        .map(|name| (name, true));
    for (name, is_test) in declared.chain(tested) {
        let flat = folder.join(format!("{name}.rs"));
        let nested = folder.join(&name).join("mod.rs");
        let child = if flat.is_file() { flat } else { nested };
        let child = child.strip_prefix(root).expect("it was joined to the root");
        let segments: Vec<_> = segments.iter().cloned().chain([name.clone()]).collect();
        let module = segments[0].clone();
        visit(root, child, &segments, &module, is_test, found);
    }
    found.push(Source {
        path: file.to_owned(),
        module: module.to_owned(),
        depth: segments.len(),
        code,
        line_count: text.lines().count(),
        is_test,
    });
}

/// Names in `mod name;`.
fn declared_modules(code: &str) -> Vec<String> {
    let words: Vec<_> = tokens(code).into_iter().map(|(word, _)| word).collect();
    words
        .windows(3)
        .filter(|three| three[0] == "mod" && three[2] == ";")
        .map(|three| three[1].to_owned())
        .collect()
}

/// The text with comments and the contents of strings and characters as spaces; lines stay.
pub fn without_comments_and_strings(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skipped_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| blank(c)));
            at = end;
        }
    }
    out
}

fn blank(c: char) -> char {
    if c == '\n' {
        '\n'
    } else {
        ' '
    }
}

/// The end of the comment, string or character that begins at `at`; `at` when none does.
fn skipped_end(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    let in_word = at > 0 && is_word(chars[at - 1]);
    match chars[at] {
        '/' if next(1) == '/' => line_end(chars, at),
        '/' if next(1) == '*' => block_comment_end(chars, at),
        '"' => quoted_end(chars, at + 1),
        'r' if !in_word && (next(1) == '"' || next(1) == '#') => raw_string_end(chars, at + 1),
        'b' if !in_word && next(1) == 'r' => raw_string_end(chars, at + 2),
        // A character, not a lifetime: it is closed at once or begins with a backslash.
        '\'' if next(1) == '\\' => {
            let close = chars[at + 3..].iter().position(|&c| c == '\'');
            close.map_or(chars.len(), |offset| at + 3 + offset + 1)
        }
        '\'' if next(2) == '\'' => at + 3,
        _ => at,
    }
}

fn line_end(chars: &[char], at: usize) -> usize {
    let end = chars[at..].iter().position(|&c| c == '\n');
    end.map_or(chars.len(), |offset| at + offset)
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `at` is behind the `r`; when no string follows (a raw identifier), nothing is skipped.
fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at..].iter().take_while(|&&c| c == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return at;
    }
    let mut close = vec!['"'];
    close.extend(std::iter::repeat_n('#', hashes));
    let body = at + hashes + 1;
    chars[body..]
        .windows(close.len())
        .position(|window| window == close)
        .map_or(chars.len(), |offset| body + offset + close.len())
}

/// Splits plain code into what is always compiled and what stands under `#[cfg(test)]`; each
/// keeps its lines.
pub fn without_tests(plain: &str) -> (String, String) {
    let mut code = plain.to_owned();
    let mut tests: String = plain.chars().map(blank).collect();
    let mut from = 0;
    while let Some(offset) = code[from..].find("#[cfg(test)]") {
        let start = from + offset;
        let end = start + item_length(&code[start..]);
        let item = code[start..end].to_owned();
        let spaces: String = item.chars().map(blank).collect();
        // Blanks are as long in bytes as what they replace only in ASCII; the rest is comments
        // and strings, which are blank already.
        assert_eq!(spaces.len(), item.len(), "code outside strings is ASCII");
        code.replace_range(start..end, &spaces);
        tests.replace_range(start..end, &item);
        from = end;
    }
    (code, tests)
}

/// Bytes up to the end of the first item: its `;` or its closing brace.
fn item_length(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Words, `::` and single signs, each with its line.
pub fn tokens(code: &str) -> Vec<(&str, usize)> {
    let mut out = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while let Some(c) = code[at..].chars().next() {
        let rest = &code[at..];
        let length = if is_word(c) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            c.len_utf8()
        };
        if c == '\n' {
            line += 1;
        }
        if !c.is_whitespace() {
            out.push((&code[at..at + length], line));
        }
        at += length;
    }
    out
}

/// Every path of two segments or more.
pub fn named_paths(code: &str) -> Vec<Named> {
    let tokens = tokens(code);
    let mut out = Vec::new();
    // One entry for each open brace: whether an inline module opened it.
    let mut braces = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (word, _) = tokens[at];
        let starts_path = word.chars().all(is_word)
            && tokens.get(at + 1).is_some_and(|next| next.0 == "::")
            && (at == 0 || tokens[at - 1].0 != "::");
        if starts_path {
            let inline_depth = braces.iter().filter(|&&is_module| is_module).count();
            at = read_path(&tokens, at, "", inline_depth, &mut out);
            continue;
        }
        match word {
            "{" => braces.push(at >= 2 && tokens[at - 2].0 == "mod"),
            "}" => {
                braces.pop();
            }
            _ => {}
        }
        at += 1;
    }
    out
}

/// Reads one path of a use tree from `at` and returns where it ends.
fn read_path(
    tokens: &[(&str, usize)],
    mut at: usize,
    prefix: &str,
    inline_depth: usize,
    out: &mut Vec<Named>,
) -> usize {
    let mut path = prefix.to_owned();
    let line = tokens[at].1;
    loop {
        let (word, _) = tokens[at];
        if word == "{" {
            return read_group(tokens, at + 1, &path, inline_depth, out);
        }
        if word != "self" || path.is_empty() {
            if !path.is_empty() {
                path.push_str("::");
            }
            path.push_str(word);
        }
        let goes_on = tokens.get(at + 1).is_some_and(|next| next.0 == "::")
            && tokens
                .get(at + 2)
                .is_some_and(|next| next.0 == "{" || next.0 == "*" || next.0.chars().all(is_word));
        if !goes_on {
            out.push(Named {
                path,
                line,
                inline_depth,
            });
            return at + 1;
        }
        at += 2;
    }
}

fn read_group(
    tokens: &[(&str, usize)],
    mut at: usize,
    prefix: &str,
    inline_depth: usize,
    out: &mut Vec<Named>,
) -> usize {
    while at < tokens.len() {
        match tokens[at].0 {
            "}" => return at + 1,
            "," => at += 1,
            "as" => at += 2,
            _ => at = read_path(tokens, at, prefix, inline_depth, out),
        }
    }
    at
}
