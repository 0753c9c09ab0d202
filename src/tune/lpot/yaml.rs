//! YAML text -> a tree whose every key and value knows its line.
//!
//! The parser crate makes events; what a scalar means is left to the key that it belongs to. Keys that stand
//! twice, tags and several documents are errors. Aliases are copies, so their number has a limit.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput};

use super::error::{LpotError, LpotFault};

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The line, from one.
    pub line: usize,
    /// What it is.
    pub value: Value,
}

/// What a value is before a key gives it a type.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Nothing,
    /// Any other scalar.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the file.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The key's line, from one.
    pub line: usize,
    /// What it is set to.
    pub node: Node,
}

/// Collections in each other; LPOT's own go seven deep.
const DEPTH_MAX: usize = 40;
/// Values of a file, copies by aliases included.
const NODES_MAX: usize = 20_000;

/// Reads one document; `file` is its name in errors.
///
/// # Errors
/// [`LpotError`] for what is no YAML, and for keys that stand twice, tags and several documents.
pub fn read(text: &str, file: &str) -> Result<Node, LpotError> {
    let mut text = Cow::Borrowed(text);
    let mut mended = 0;
    loop {
        let mut reader = Reader {
            parser: Parser::new_from_str(&text),
            anchors: BTreeMap::new(),
            nodes: 0,
        };
        let (line, fault) = match reader.document() {
            Ok(node) => return Ok(node),
            Err(fault) => fault,
        };
        match with_deeper_bracket(&text, line, &fault) {
            Some(other) if mended < MENDED_MAX => {
                text = Cow::Owned(other);
                mended += 1;
            }
            _ => {
                return Err(LpotError {
                    file: file.to_owned(),
                    line: line.max(1),
                    fault,
                })
            }
        }
    }
}

/// Closing brackets of a file that may be too shallow.
const MENDED_MAX: usize = 50;

/// The text with a closing bracket moved to the right, where that is what is wrong.
///
/// The standard wants a bracket that closes on a line of its own deeper than the key that it belongs to. `PyYAML` does not
/// care, and LPOT's examples have it below the key. Only its column changes.
fn with_deeper_bracket(text: &str, line: usize, fault: &LpotFault) -> Option<String> {
    /// Deeper than any key.
    const INDENT: &str =
        "                                                                                ";
    let is_indentation = matches!(
        fault,
        LpotFault::Syntax { detail } if detail == "invalid indentation"
    );
    let before: usize = text
        .split_inclusive('\n')
        .take(line.checked_sub(1)?)
        .map(str::len)
        .sum();
    let (above, rest) = text.split_at(before);
    let is_bracket = rest.trim_start_matches(' ').starts_with(['}', ']']);
    let is_new = !rest.starts_with(INDENT);
    (is_indentation && is_bracket && is_new).then(|| [above, INDENT, rest].concat())
}

type Fault = (usize, LpotFault);

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => Err(syntax(&error)),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    fn document(&mut self) -> Result<Node, Fault> {
        let mut found = None;
        loop {
            let (event, line) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) if found.is_some() => {
                    return Err((line, LpotFault::SeveralDocuments));
                }
                Event::Nothing
                | Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd => {}
                other => found = Some(self.node(other, line, 0)?),
            }
        }
        Ok(found.unwrap_or(Node {
            line: 1,
            value: Value::Nothing,
        }))
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Node, Fault> {
        self.nodes += 1;
        if self.nodes > NODES_MAX || depth > DEPTH_MAX {
            return Err((line, LpotFault::TooLarge));
        }
        let (anchor, tag, value) = match event {
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err((line, LpotFault::AliasInItself));
                };
                self.nodes += count(node);
                // Errors in the copy show the line that was written.
                return Ok(node.clone());
            }
            Event::Scalar(text, style, anchor, tag) => (anchor, tag, scalar(&text, style)),
            Event::SequenceStart(anchor, tag) => {
                let list = self.list(depth)?;
                (anchor, tag, Value::List(list))
            }
            Event::MappingStart(anchor, tag) => {
                let map = self.map(depth)?;
                (anchor, tag, Value::Map(map))
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => (0, None, Value::Nothing),
        };
        if let Some(tag) = tag {
            let name = format!("{}{}", tag.handle, tag.suffix);
            return Err((line, LpotFault::Tag { name }));
        }
        let node = Node { line, value };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(list),
                (event, line) => list.push(self.node(event, line, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Fault> {
        let mut own: Vec<Entry> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                break;
            }
            let is_plain = matches!(&event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let key = match self.node(event, line, depth + 1)?.value {
                Value::Scalar(key) if !key.contains(char::is_control) => key,
                Value::Scalar(_) | Value::Nothing | Value::List(_) | Value::Map(_) => {
                    return Err((line, LpotFault::KeyIsNoText));
                }
            };
            let (event, value_line) = self.next()?;
            let mut node = self.node(event, value_line, depth + 1)?;
            if node.value == Value::Nothing {
                node.line = line;
            }
            if is_plain && key == "<<" {
                merged.push(node);
                continue;
            }
            if let Some(first) = own.iter().find(|entry| entry.key == key) {
                let first = first.line;
                return Err((line, LpotFault::KeyTwice { key, first }));
            }
            own.push(Entry { key, line, node });
        }
        for node in merged {
            merge(&mut own, node)?;
        }
        Ok(own)
    }
}

/// Puts a merged mapping's entries behind a mapping's own, which win.
fn merge(own: &mut Vec<Entry>, node: Node) -> Result<(), Fault> {
    match node.value {
        Value::Map(entries) => {
            for entry in entries {
                if own.iter().all(|one| one.key != entry.key) {
                    own.push(entry);
                }
            }
            Ok(())
        }
        Value::List(nodes) => nodes.into_iter().try_for_each(|node| merge(own, node)),
        Value::Nothing | Value::Scalar(_) => Err((node.line, LpotFault::MergeOfNoMap)),
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::Nothing | Value::Scalar(_) => 0,
        Value::List(nodes) => nodes.iter().map(count).sum(),
        Value::Map(entries) => entries.iter().map(|entry| count(&entry.node)).sum(),
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let is_plain = style == ScalarStyle::Plain;
    if is_plain && ["", "~", "null", "Null", "NULL"].contains(&text) {
        Value::Nothing
    } else {
        Value::Scalar(text.to_owned())
    }
}

fn syntax(error: &ScanError) -> Fault {
    let detail = error.info();
    let fault = if detail.contains("tab") {
        LpotFault::Tab
    } else {
        // One line, whatever the parser quotes.
        let detail = detail.split_whitespace().collect::<Vec<_>>().join(" ");
        LpotFault::Syntax { detail }
    };
    (error.marker().line(), fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        read(text, "x.yaml").unwrap_err().to_string()
    }

    fn keys(node: &Node) -> Vec<(&str, usize)> {
        match &node.value {
            Value::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.as_str(), entry.line))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_key_knows_its_line() {
        let node = read("# about\na: 1\n\nb:\n  c: [1,\n    2]\n'd e': ~\n", "x").unwrap();
        assert_eq!(keys(&node), [("a", 2), ("b", 4), ("d e", 7)]);
        let Value::Map(entries) = node.value else {
            panic!("a map");
        };
        assert_eq!(entries[2].node.value, Value::Nothing);
        assert_eq!(entries[2].node.line, 7);
    }

    #[test]
    fn what_is_no_yaml_is_an_error_with_its_line() {
        for (text, expected) in [
            ("a: 1\nb:\n\tc: 2\n", "x.yaml:3: a tab indents this line: YAML takes spaces only"),
            ("a: 1\nb: 2\na: 3\n", "x.yaml:3: the key `a` stands here and in line 1: keep one of them"),
            ("a: !!python/tuple [1]\n", "x.yaml:1: the tag `tag:yaml.org,2002:python/tuple` has no meaning here: remove it"),
            ("a: 1\n---\nb: 2\n", "x.yaml:2: a second document begins here: keep one in a file"),
            ("[1]: 2\n", "x.yaml:1: a key must be a word on one line, not a list or a mapping"),
            ("a: b: c\n", "x.yaml:1: this is no YAML: mapping values are not allowed in this context"),
            ("a: \"x\n", "x.yaml:1: this is no YAML: while scanning a quoted scalar, found unexpected end of stream"),
            ("a: *x\n", "x.yaml:1: this is no YAML: while parsing node, found unknown anchor"),
            ("a: &x [1, *x]\n", "x.yaml:1: an alias stands for a value that it is part of"),
            ("a: &x 1\n<<: *x\n", "x.yaml:1: `<<` takes a mapping to merge"),
        ] {
            assert_eq!(error_of(text), expected);
        }
        let deep = "[".repeat(60);
        assert_eq!(
            error_of(&deep),
            "x.yaml:1: the file nests too deep or holds too many values for a configuration"
        );
    }

    #[test]
    fn a_closing_bracket_may_stand_below_its_key() {
        let text = "q:\n  a: {\n    'b': [\n      1\n    ],\n  }\n  c: 2\n";
        let node = read(text, "x").unwrap();
        let Value::Map(entries) = &node.value else {
            panic!("a map");
        };
        assert_eq!(keys(&entries[0].node), [("a", 2), ("c", 7)]);
        assert!(error_of("q:\n  a: {\n  'b': 1,\n  }\n")
            .starts_with("x.yaml:3: this is no YAML: invalid indentation"));
    }

    #[test]
    fn aliases_are_copies_and_cannot_grow_without_end() {
        let node = read("a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\n", "x").unwrap();
        let Value::Map(entries) = &node.value else {
            panic!("a map");
        };
        // A merged key shows the line that was written.
        assert_eq!(keys(&entries[1].node), [("q", 4), ("p", 1)]);
        let mut lines = vec!["a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]".to_owned()];
        for level in 1..12 {
            let copies = vec![format!("*a{}", level - 1); 10].join(", ");
            lines.push(format!("a{level}: &a{level} [{copies}]"));
        }
        assert!(error_of(&lines.join("\n")).contains("too many values"));
    }
}
