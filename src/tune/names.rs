//! Names of operators in a file -> layers of the graph, and what may be tried for each of them.
//!
//! Preparing a network folds nodes into each other, so every name of the original file leads to the node that does
//! its work now.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde::Serialize;

use super::space::{NamePattern, NumberType, OpWish, Space, TensorWish};
use crate::quantise::graph::{is_op, Graph};
use crate::quantise::prepare::Preparation;
use crate::quantise::{Granularity, RangeMethod};
use crate::strict_toml::{did_you_mean, nearest};

/// A regular expression of `op_wise`: it has to match from a name's beginning on, and need not reach its end.
///
/// # Errors
/// What is wrong with it.
pub fn compiled(pattern: &str) -> Result<Regex, regex_lite::Error> {
    Regex::new(&format!("^(?:{pattern})"))
}

/// The names that a network's nodes have and had.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeNames {
    /// Each name of the original and of the prepared graph -> the prepared graph's node that does its work.
    pub nodes: BTreeMap<String, String>,
    /// The nodes for which there is something to choose: convolutions, in the graph's order.
    pub layers: Vec<String>,
}

impl NodeNames {
    /// The names of a prepared network.
    pub fn of(graph: &Graph, preparation: &Preparation) -> Self {
        let mut nodes = preparation.survivors.clone();
        for node in &graph.nodes {
            nodes.insert(node.name.clone(), node.name.clone());
        }
        let layers = graph.nodes.iter().filter(|node| is_op(node, "Conv"));
        Self {
            nodes,
            layers: layers.map(|node| node.name.clone()).collect(),
        }
    }
}

/// Whether a layer computes in integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// That is to be found out.
    #[default]
    Either,
    /// It does.
    Int8,
    /// It does not.
    Fp32,
}

/// What may be tried for a layer. An empty list leaves the choice open.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct LayerChoices {
    /// Integer or float.
    pub precision: Precision,
    /// Ways to choose the range of what it makes.
    pub ranges: Vec<RangeMethod>,
    /// Granularities of its weights.
    pub granularities: Vec<Granularity>,
    /// Greatest level of its weights.
    pub weight_level_max: Option<i8>,
}

/// A space, for the layers of a graph.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resolved {
    /// What may be tried for layers about which `op_wise` says nothing.
    pub others: LayerChoices,
    /// What may be tried for the others, by the prepared graph's names.
    pub layers: BTreeMap<String, LayerChoices>,
    /// What the user should know, one sentence each.
    pub notes: Vec<String>,
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No node has it.
    #[error("`quantization.op_wise.{written}`: no node of the model has that name{}", did_you_mean(nearest.as_deref()))]
    Unknown {
        /// As it was written.
        written: String,
        /// The name that is most like it.
        nearest: Option<String>,
    },
    /// It matches no node.
    #[error("`quantization.op_wise.{written}`: this regular expression matches no node of the model from its name's beginning on")]
    NoMatch {
        /// As it was written.
        written: String,
    },
    /// It is none.
    #[error(
        "`quantization.op_wise.{written}` is no regular expression that can be read: {detail}"
    )]
    Pattern {
        /// As it was written.
        written: String,
        /// What is wrong.
        detail: String,
    },
}

impl Resolved {
    /// What may be tried for a layer.
    pub fn of(&self, layer: &str) -> &LayerChoices {
        self.layers.get(layer).unwrap_or(&self.others)
    }
}

/// Resolves all names of a space. Of two wishes for one layer the later counts where both say something; where it says
/// nothing, the earlier does, and at last what is wished of all.
///
/// # Errors
/// [`NameError`] for the first name that leads nowhere.
pub fn resolve(space: &Space, names: &NodeNames) -> Result<Resolved, NameError> {
    let mut wishes: BTreeMap<&str, OpWish> = BTreeMap::new();
    let mut notes = Vec::new();
    for named in &space.op_wise {
        let meant = meant(&named.written, &named.pattern, names, &mut notes)?;
        let layers: Vec<&str> = meant
            .into_iter()
            .filter(|node| names.layers.iter().any(|layer| layer == node))
            .collect();
        if layers.is_empty() {
            notes.push(format!(
                "`quantization.op_wise.{}` names no convolution: there is nothing to choose for it",
                named.written
            ));
        }
        for layer in layers {
            let wish = wishes
                .entry(layer)
                .or_insert_with(|| space.model_wise.clone());
            lay_over(&mut wish.weight, &named.wish.weight);
            lay_over(&mut wish.activation, &named.wish.activation);
        }
    }
    Ok(Resolved {
        others: choices(&space.model_wise),
        layers: wishes
            .into_iter()
            .map(|(layer, wish)| (layer.to_owned(), choices(&wish)))
            .collect(),
        notes,
    })
}

/// The prepared graph's nodes that a pattern means.
fn meant<'a>(
    written: &str,
    pattern: &NamePattern,
    names: &'a NodeNames,
    notes: &mut Vec<String>,
) -> Result<Vec<&'a str>, NameError> {
    let fitting = |fits: &dyn Fn(&str) -> bool| {
        let nodes = names.nodes.iter().filter(|(name, _)| fits(name));
        let mut nodes: Vec<&str> = nodes.map(|(_, node)| node.as_str()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    };
    let name = match pattern {
        NamePattern::Regex(pattern) => {
            let regex = compiled(pattern).map_err(|error| NameError::Pattern {
                written: written.to_owned(),
                detail: error.to_string(),
            })?;
            let found = fitting(&|name| regex.is_match(name));
            let written = written.to_owned();
            return if found.is_empty() {
                Err(NameError::NoMatch { written })
            } else {
                Ok(found)
            };
        }
        NamePattern::Literal(name) => name,
    };
    if let Some(node) = names.nodes.get(name) {
        return Ok(vec![node.as_str()]);
    }
    let end = format!("/{name}");
    let found = fitting(&|own| own.ends_with(&end));
    if found.is_empty() {
        let all = names.nodes.keys().map(String::as_str);
        return Err(NameError::Unknown {
            written: written.to_owned(),
            nearest: nearest(name, all).map(str::to_owned),
        });
    }
    notes.push(format!(
        "`quantization.op_wise.{written}` is taken for names that end in it: {}",
        found.join(", ")
    ));
    Ok(found)
}

fn lay_over(below: &mut TensorWish, above: &TensorWish) {
    fn list<T: Clone>(below: &mut Vec<T>, above: &[T]) {
        if !above.is_empty() {
            *below = above.to_vec();
        }
    }
    list(&mut below.types, &above.types);
    list(&mut below.ranges, &above.ranges);
    list(&mut below.schemes, &above.schemes);
    list(&mut below.granularities, &above.granularities);
    below.bits = above.bits.or(below.bits);
}

/// What a wish leaves to choose from.
fn choices(wish: &OpWish) -> LayerChoices {
    let is_float = |types: &[NumberType]| types == [NumberType::Fp32];
    let may_be_float = |types: &[NumberType]| types.is_empty() || types.contains(&NumberType::Fp32);
    let precision = if is_float(&wish.activation.types) || is_float(&wish.weight.types) {
        Precision::Fp32
    } else if may_be_float(&wish.activation.types) {
        Precision::Either
    } else {
        Precision::Int8
    };
    LayerChoices {
        precision,
        ranges: wish.activation.ranges.clone(),
        granularities: wish.weight.granularities.clone(),
        weight_level_max: wish.weight.bits.map(level_max),
    }
}

/// The greatest number of so many bits: 127 of 7.
fn level_max(bits: u8) -> i8 {
    i8::try_from((1_u16 << bits.clamp(1, 7)) - 1).expect("at most seven bits")
}

#[cfg(test)]
mod tests {
    use super::super::space::NamedWish;
    use super::*;

    fn names() -> NodeNames {
        let pairs = [
            ("Net/conv1/Conv2D", "Net/conv1/Conv2D"),
            ("Net/conv1/BiasAdd", "Net/conv1/Conv2D"),
            ("Net/conv2/Conv2D", "Net/conv2/Conv2D"),
            ("Net/other/conv2/depthwise", "Net/other/conv2/depthwise"),
            ("Net/pool1", "Net/pool1"),
        ];
        NodeNames {
            nodes: pairs
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .into_iter()
                .collect(),
            layers: [
                "Net/conv1/Conv2D",
                "Net/conv2/Conv2D",
                "Net/other/conv2/depthwise",
            ]
            .map(str::to_owned)
            .to_vec(),
        }
    }

    fn space(entries: &[(&str, bool, &[NumberType])]) -> Space {
        let named = |(written, is_regex, types): &(&str, bool, &[NumberType])| {
            let text = (*written).to_owned();
            let mut wish = OpWish::default();
            wish.activation.types = types.to_vec();
            NamedWish {
                written: text.clone(),
                pattern: if *is_regex {
                    NamePattern::Regex(text)
                } else {
                    NamePattern::Literal(text)
                },
                wish,
            }
        };
        Space {
            op_wise: entries.iter().map(named).collect(),
            ..Space::default()
        }
    }

    const FLOAT: &[NumberType] = &[NumberType::Fp32];
    const BYTES: &[NumberType] = &[NumberType::Uint8];

    #[test]
    fn a_name_of_the_original_graph_leads_to_the_node_that_it_was_folded_into() {
        let found = resolve(&space(&[("Net/conv1/BiasAdd", false, FLOAT)]), &names()).unwrap();
        assert_eq!(found.of("Net/conv1/Conv2D").precision, Precision::Fp32);
        assert_eq!(found.of("Net/conv2/Conv2D").precision, Precision::Either);
        assert_eq!(found.notes, [""; 0]);
    }

    #[test]
    fn a_regular_expression_is_held_at_the_beginning_and_open_at_the_end() {
        let found = resolve(&space(&[("Net/conv[12]", true, FLOAT)]), &names()).unwrap();
        assert_eq!(
            found.layers.keys().collect::<Vec<_>>(),
            ["Net/conv1/Conv2D", "Net/conv2/Conv2D"]
        );
        // The alternatives are held together.
        let found = resolve(&space(&[("x|Net/conv1", true, FLOAT)]), &names()).unwrap();
        assert_eq!(found.layers.len(), 1);
        let error = resolve(&space(&[("conv[12]", true, FLOAT)]), &names()).unwrap_err();
        assert_eq!(error.to_string(), "`quantization.op_wise.conv[12]`: this regular expression matches no node of the model from its name's beginning on");
    }

    #[test]
    fn the_end_of_a_name_serves_where_no_whole_name_does_and_is_said() {
        let found = resolve(&space(&[("conv2/Conv2D", false, FLOAT)]), &names()).unwrap();
        assert_eq!(
            found.layers.keys().collect::<Vec<_>>(),
            ["Net/conv2/Conv2D"]
        );
        assert_eq!(
            found.notes,
            ["`quantization.op_wise.conv2/Conv2D` is taken for names that end in it: Net/conv2/Conv2D"]
        );
    }

    #[test]
    fn a_name_that_leads_nowhere_is_an_error_and_one_without_a_choice_a_note() {
        let error = resolve(&space(&[("Net/conv1/Conv2d", false, FLOAT)]), &names()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`quantization.op_wise.Net/conv1/Conv2d`: no node of the model has that name; did you mean `Net/conv1/Conv2D`?"
        );
        let found = resolve(&space(&[("Net/pool1", false, BYTES)]), &names()).unwrap();
        assert!(found.layers.is_empty());
        assert_eq!(
            found.notes,
            ["`quantization.op_wise.Net/pool1` names no convolution: there is nothing to choose for it"]
        );
    }

    #[test]
    fn the_later_wish_wins_where_it_says_something() {
        let mut own = space(&[
            ("Net/.*", true, FLOAT),
            ("Net/conv2/Conv2D", false, BYTES),
            ("Net/conv2/Conv2D", false, &[]),
        ]);
        own.model_wise.activation.ranges = vec![RangeMethod::Mse];
        own.model_wise.weight.bits = Some(6);
        own.op_wise[1].wish.activation.ranges = vec![RangeMethod::Minmax];
        let found = resolve(&own, &names()).unwrap();
        assert_eq!(found.of("Net/conv1/Conv2D").precision, Precision::Fp32);
        assert_eq!(found.of("Net/conv1/Conv2D").ranges, [RangeMethod::Mse]);
        assert_eq!(found.of("Net/conv2/Conv2D").precision, Precision::Int8);
        assert_eq!(found.of("Net/conv2/Conv2D").ranges, [RangeMethod::Minmax]);
        assert_eq!(found.of("Net/conv2/Conv2D").weight_level_max, Some(63));
        assert_eq!(found.others.weight_level_max, Some(63));
    }

    #[test]
    fn floats_on_either_side_make_a_layer_of_floats() {
        let precision = |activation: &[NumberType], weight: &[NumberType]| {
            let mut wish = OpWish::default();
            wish.activation.types = activation.to_vec();
            wish.weight.types = weight.to_vec();
            choices(&wish).precision
        };
        let both = [NumberType::Uint8, NumberType::Fp32];
        assert_eq!(precision(FLOAT, &[]), Precision::Fp32);
        assert_eq!(precision(&both, FLOAT), Precision::Fp32);
        assert_eq!(precision(&both, &[NumberType::Int8]), Precision::Either);
        assert_eq!(precision(BYTES, &[]), Precision::Int8);
        assert_eq!(precision(&[], &[]), Precision::Either);
    }
}
