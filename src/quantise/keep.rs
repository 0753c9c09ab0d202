//! Which layers `--keep-fp32` means.

use std::collections::BTreeMap;

use super::graph::{is_op, Graph};
use super::prepare::Preparation;
use super::QuantiseError;
use crate::strict_toml::nearest;

/// The nodes that the patterns mean, each with the reason for the report.
///
/// A pattern is a node's name, in the original file or the prepared one, with `*` for any text and `?` for one
/// character. Where no whole name fits, a name's end behind a `/` does.
///
/// # Errors
/// [`QuantiseError::UnknownLayer`] for a pattern without a layer.
pub fn kept_nodes(
    graph: &Graph,
    preparation: &Preparation,
    patterns: &[String],
) -> Result<BTreeMap<String, String>, QuantiseError> {
    let layers: Vec<&str> = graph
        .nodes
        .iter()
        .filter(|node| ["Conv", "Add", "Mul"].iter().any(|op| is_op(node, op)))
        .map(|node| node.name.as_str())
        .collect();
    let of_old = preparation.survivors.iter();
    let of_old = of_old.map(|(old, new)| (old.as_str(), new.as_str()));
    let names: Vec<(&str, &str)> = layers
        .iter()
        .map(|name| (*name, *name))
        .chain(of_old)
        .filter(|(_, new)| layers.contains(new))
        .collect();
    let mut kept = BTreeMap::new();
    for pattern in patterns {
        let whole = |(name, _): &&(&str, &str)| fits(pattern.as_bytes(), name.as_bytes());
        let end = |(name, _): &&(&str, &str)| {
            let mut ends = name.match_indices('/').map(|(at, _)| &name[at + 1..]);
            ends.any(|end| fits(pattern.as_bytes(), end.as_bytes()))
        };
        let mut found: Vec<&str> = names.iter().filter(whole).map(|(_, new)| *new).collect();
        if found.is_empty() {
            found = names.iter().filter(end).map(|(_, new)| *new).collect();
        }
        if found.is_empty() {
            let convolutions = graph.nodes.iter().filter(|node| is_op(node, "Conv"));
            let names = convolutions.map(|node| node.name.as_str());
            return Err(QuantiseError::UnknownLayer {
                pattern: pattern.clone(),
                nearest: nearest(pattern, names).map(str::to_owned),
            });
        }
        for name in found {
            kept.insert(name.to_owned(), format!("--keep-fp32 {pattern}"));
        }
    }
    Ok(kept)
}

/// Whether `text` has the form of `pattern`: `*` is any text, `?` one character.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when the text behind the last `*` does not fit.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, t));
            p += 1;
        } else if pattern
            .get(p)
            .is_some_and(|own| *own == b'?' || *own == text[t])
        {
            p += 1;
            t += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            (p, t) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|own| *own == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text_and_question_marks_for_one_character() {
        for (pattern, text, expected) in [
            ("conv1", "conv1", true),
            ("conv1", "conv11", false),
            ("conv*", "conv11", true),
            ("*conv*", "a/conv/b", true),
            ("conv?", "conv1", true),
            ("conv?", "conv", false),
            ("*1*1", "a1b2c1", true),
            ("*1*1", "a1b2c2", false),
            ("*", "", true),
            ("", "a", false),
        ] {
            assert_eq!(
                fits(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
