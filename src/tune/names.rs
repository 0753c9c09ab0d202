//! Names of operators in a file -> layers of the graph, and what may be tried for each of them.
//!
//! Preparing a network folds nodes into each other, so every name of the original file leads to the node that does
//! its work now.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde::Serialize;

use super::space::{NamePattern, NamedWish, NumberType, OpWish, Space, TensorWish};
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
    #[error("{place}: `quantization.op_wise.{written}`: no node of the model has that name{}", did_you_mean(nearest.as_deref()))]
    Unknown {
        /// File and line.
        place: String,
        /// As it was written.
        written: String,
        /// The name that is most like it.
        nearest: Option<String>,
    },
    /// It matches no node.
    #[error("{place}: `quantization.op_wise.{written}`: this regular expression matches no node of the model from its name's beginning on")]
    NoMatch {
        /// File and line.
        place: String,
        /// As it was written.
        written: String,
    },
    /// It is none.
    #[error(
        "{place}: `quantization.op_wise.{written}` is no regular expression that can be read: {detail}"
    )]
    Pattern {
        /// File and line.
        place: String,
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
        let meant = meant(named, names, &mut notes)?;
        let layers: Vec<&str> = meant
            .into_iter()
            .filter(|node| names.layers.iter().any(|layer| layer == node))
            .collect();
        if layers.is_empty() {
            notes.push(format!(
                "{}: `quantization.op_wise.{}` names no convolution: there is nothing to choose for it",
                named.place, named.written
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

/// The prepared graph's nodes that a wish is for.
fn meant<'a>(
    own: &NamedWish,
    names: &'a NodeNames,
    notes: &mut Vec<String>,
) -> Result<Vec<&'a str>, NameError> {
    let fitting = |fits: &dyn Fn(&str) -> bool| {
        let pairs = names.nodes.iter().filter(|(name, _)| fits(name));
        let mut found: Vec<&str> = pairs.map(|(_, node)| node.as_str()).collect();
        found.sort_unstable();
        found.dedup();
        found
    };
    let (place, written) = (own.place.clone(), own.written.clone());
    let name = match &own.pattern {
        NamePattern::Regex(pattern) => {
            let regex = match compiled(pattern) {
                Ok(regex) => regex,
                Err(error) => {
                    let detail = error.to_string();
                    return Err(NameError::Pattern {
                        place,
                        written,
                        detail,
                    });
                }
            };
            let found = fitting(&|name| regex.is_match(name));
            return if found.is_empty() {
                Err(NameError::NoMatch { place, written })
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
    if !found.is_empty() {
        notes.push(format!(
            "{place}: `quantization.op_wise.{written}` is taken for names that end in it: {}",
            found.join(", ")
        ));
        return Ok(found);
    }
    if let Some(layer) = of_scope(name, names) {
        notes.push(format!(
            "{place}: `quantization.op_wise.{written}` is taken for the one convolution of its scope: {layer}"
        ));
        return Ok(vec![layer]);
    }
    let layers = names.layers.iter().map(String::as_str);
    let all = names.nodes.keys().map(String::as_str);
    let nearest = nearest(name, layers).or_else(|| nearest(name, all));
    Err(NameError::Unknown {
        place,
        written,
        nearest: nearest.map(str::to_owned),
    })
}

/// The convolution whose name begins with all but the last part of `name`, when there is one alone.
///
/// TensorFlow writes `SCOPE/Conv2D`, and what converts its graphs calls the convolution after the last operator that it
/// folded into it, `SCOPE/BatchNorm/…` or `SCOPE/Relu6`.
fn of_scope<'a>(name: &str, names: &'a NodeNames) -> Option<&'a str> {
    let (scope, _) = name.rsplit_once('/')?;
    let inside = |layer: &&String| {
        let rest = layer.strip_prefix(scope);
        rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let mut found = names.layers.iter().filter(inside);
    let first = found.next()?;
    found.next().is_none().then_some(first)
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
                place: "x.yaml:7".to_owned(),
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
        assert_eq!(error.to_string(), "x.yaml:7: `quantization.op_wise.conv[12]`: this regular expression matches no node of the model from its name's beginning on");
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
            ["x.yaml:7: `quantization.op_wise.conv2/Conv2D` is taken for names that end in it: Net/conv2/Conv2D"]
        );
    }

    #[test]
    fn a_name_of_tensorflows_leads_to_the_convolution_of_its_scope_when_there_is_one_alone() {
        let mut own = names();
        own.layers.push("Box/BatchNorm/mul".to_owned());
        own.layers.push("Box_2/BatchNorm/mul".to_owned());
        let found = resolve(&space(&[("Box/Conv2D", false, FLOAT)]), &own).unwrap();
        assert_eq!(
            found.layers.keys().collect::<Vec<_>>(),
            ["Box/BatchNorm/mul"]
        );
        assert_eq!(
            found.notes,
            ["x.yaml:7: `quantization.op_wise.Box/Conv2D` is taken for the one convolution of its scope: Box/BatchNorm/mul"]
        );
        // Two in the scope are not guessed between.
        own.layers.push("Box/Other/mul".to_owned());
        assert!(resolve(&space(&[("Box/Conv2D", false, FLOAT)]), &own).is_err());
        assert!(resolve(&space(&[("Conv2D", false, FLOAT)]), &NodeNames::default()).is_err());
    }

    #[test]
    fn a_name_that_leads_nowhere_is_an_error_and_one_without_a_choice_a_note() {
        let error = resolve(&space(&[("Nets/conv1/Conv2D", false, FLOAT)]), &names()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x.yaml:7: `quantization.op_wise.Nets/conv1/Conv2D`: no node of the model has that name; did you mean `Net/conv1/Conv2D`?"
        );
        let found = resolve(&space(&[("Net/pool1", false, BYTES)]), &names()).unwrap();
        assert!(found.layers.is_empty());
        assert_eq!(
            found.notes,
            ["x.yaml:7: `quantization.op_wise.Net/pool1` names no convolution: there is nothing to choose for it"]
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
