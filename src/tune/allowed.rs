//! What strategies may try: the space's wishes over the layers of a network.

use std::collections::BTreeSet;

use super::names::{LayerChoices, Precision, Resolved};
use super::network::Network;
use super::settings::Settings;
use super::space::Space;
use crate::quantise::{Granularity, LayerRecipe, RangeMethod};

/// Ranges to choose from where nothing is wished, the one that measured best first. `entropy` has to be named: it ruins
/// networks that clip at 6.
const RANGES: [RangeMethod; 5] = [
    RangeMethod::Mse,
    RangeMethod::TfEnhanced,
    RangeMethod::Minmax,
    RangeMethod::Percentile(99.99),
    RangeMethod::Percentile(99.999),
];

/// Steps of weights to choose from where nothing is wished.
const GRANULARITIES: [Granularity; 2] = [Granularity::PerChannel, Granularity::PerTensor];

/// Why a space has nothing in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    /// No layer may be integer.
    #[error("everything is wished in fp32: there is nothing to tune")]
    EverythingFloat,
    /// Ranges that need more pictures.
    #[error("{method} ranges need at least {needed} calibration pictures, and there are {found}")]
    TooFewPictures {
        /// The method.
        method: &'static str,
        /// How many it needs.
        needed: usize,
        /// How many there are.
        found: usize,
    },
}

/// What strategies may try.
#[derive(Debug, Clone, PartialEq)]
pub struct Allowed<'a> {
    network: &'a Network,
    resolved: &'a Resolved,
    base: Settings,
    /// Numbers of calibration pictures.
    pub calibration_sizes: Vec<usize>,
    /// Ranges for the whole model, the first one first.
    pub ranges: Vec<RangeMethod>,
    /// Steps of weights for the whole model.
    pub granularities: Vec<Granularity>,
    /// Layers that stay in float.
    forced: BTreeSet<String>,
    /// Whether it is open what becomes of the first layers.
    may_change_first: bool,
}

impl<'a> Allowed<'a> {
    /// Lays the wishes over `base`, which has what nobody wishes otherwise. `pictures` is how many there are to calibrate
    /// with.
    ///
    /// # Errors
    /// [`SpaceError`].
    pub fn new(
        space: &Space,
        resolved: &'a Resolved,
        network: &'a Network,
        base: Settings,
        pictures: usize,
    ) -> Result<Self, SpaceError> {
        let others = &resolved.others;
        let fits = |ranges: &RangeMethod| ranges.pictures_min() <= pictures;
        let ranges: Vec<RangeMethod> = if others.ranges.is_empty() {
            RANGES.into_iter().filter(fits).collect()
        } else {
            others.ranges.clone()
        };
        let wished = resolved.layers.values().flat_map(|own| &own.ranges);
        if let Some(unfit) = ranges.iter().chain(wished).find(|own| !fits(own)) {
            return Err(SpaceError::TooFewPictures {
                method: unfit.name(),
                needed: unfit.pictures_min(),
                found: pictures,
            });
        }
        let granularities = or(&others.granularities, &GRANULARITIES);
        let mut forced: BTreeSet<String> = network
            .names()
            .filter(|name| resolved.of(name).precision == Precision::Fp32)
            .map(str::to_owned)
            .collect();
        let first = network.first_block();
        if space.first_block_float == Some(true) {
            forced.extend(first.iter().map(|name| (*name).to_owned()));
        } else if space.first_convolution_float == Some(true) {
            forced.extend(first.first().map(|name| (*name).to_owned()));
        }
        let mut base = base;
        base.u8_input = space.u8_input.unwrap_or(base.u8_input);
        base.bias_correction = space.bias_correction.unwrap_or(base.bias_correction);
        base.weight_level_max = others
            .weight_level_max
            .map_or(base.weight_level_max, |own| own.min(base.weight_level_max));
        if network.names().all(|name| forced.contains(name)) {
            return Err(SpaceError::EverythingFloat);
        }
        let mut calibration_sizes = or(&space.calibration_sizes, &[base.calibration_size]);
        for size in &mut calibration_sizes {
            *size = (*size).min(pictures);
        }
        calibration_sizes.dedup();
        let is_said = space.first_block_float.is_some() || space.first_convolution_float.is_some();
        Ok(Self {
            may_change_first: !is_said,
            network,
            resolved,
            base,
            calibration_sizes,
            ranges,
            granularities,
            forced,
        })
    }

    /// The layers.
    pub fn network(&self) -> &'a Network {
        self.network
    }

    /// The model with these settings for all layers that have no wishes of their own.
    pub fn model(
        &self,
        calibration_size: usize,
        ranges: RangeMethod,
        weights: Granularity,
    ) -> Settings {
        let mut settings = Settings {
            calibration_size,
            ranges,
            weights,
            ..self.base.clone()
        };
        for (name, own) in &self.resolved.layers {
            let recipe = LayerRecipe {
                ranges: unless(&own.ranges, ranges),
                weights: unless(&own.granularities, weights),
                weight_level_max: own
                    .weight_level_max
                    .filter(|level| *level < settings.weight_level_max),
            };
            if recipe != LayerRecipe::default() {
                settings.layers.insert(name.clone(), recipe);
            }
        }
        settings.with_float(self.forced.iter().map(String::as_str))
    }

    /// The model to begin with: the first of everything.
    pub fn first(&self) -> Settings {
        let granularity = if self.granularities.contains(&Granularity::PerChannel) {
            Granularity::PerChannel
        } else {
            Granularity::PerTensor
        };
        self.model(self.calibration_sizes[0], self.ranges[0], granularity)
    }

    /// All settings for the whole model: numbers of pictures outermost, then steps of weights, then ranges.
    pub fn models(&self) -> Vec<Settings> {
        let mut all = Vec::new();
        for &size in &self.calibration_sizes {
            for &weights in &self.granularities {
                for &ranges in &self.ranges {
                    all.push(self.model(size, ranges, weights));
                }
            }
        }
        all
    }

    /// The layers with the first block, where it is open what becomes of it.
    pub fn first_block(&self) -> Option<BTreeSet<String>> {
        let block = self.network.first_block();
        let is_open = self.may_change_first && block.iter().all(|name| self.may_be_float(name));
        let is_all = block.len() >= self.network.len();
        (is_open && !is_all).then(|| block.into_iter().map(str::to_owned).collect())
    }

    /// Whether a layer may be put into float.
    pub fn may_be_float(&self, layer: &str) -> bool {
        self.resolved.of(layer).precision != Precision::Int8
    }

    /// Layers for which it is open whether they are integer, in the network's order.
    pub fn open_layers(&self) -> impl DoubleEndedIterator<Item = &'a str> + '_ {
        let names = self.network.names();
        names.filter(|name| self.may_be_float(name) && !self.forced.contains(*name))
    }

    /// What may be chosen for one layer of a model: `None` is float.
    pub fn choices(&self, layer: &str) -> Vec<Option<LayerRecipe>> {
        let own = self.resolved.of(layer);
        if self.forced.contains(layer) {
            return vec![None];
        }
        let LayerChoices {
            ranges,
            granularities,
            weight_level_max,
            ..
        } = own;
        let mut all = Vec::new();
        for weights in or(granularities, &self.granularities) {
            for ranges in or(ranges, &self.ranges) {
                all.push(Some(LayerRecipe {
                    ranges: Some(ranges),
                    weights: Some(weights),
                    weight_level_max: *weight_level_max,
                }));
            }
        }
        if self.may_be_float(layer) {
            all.push(None);
        }
        all
    }

    /// The model with one choice for each layer, in the network's order. `None` when no layer would be integer.
    pub fn chosen(
        &self,
        calibration_size: usize,
        choices: &[Option<LayerRecipe>],
    ) -> Option<Settings> {
        let mut settings = Settings {
            calibration_size,
            ..self.first()
        };
        let (common, steps) = (settings.ranges, settings.weights);
        settings.layers.clear();
        for (name, choice) in self.network.names().zip(choices) {
            match choice {
                None => {
                    settings.float_layers.insert(name.to_owned());
                }
                Some(own) => {
                    let recipe = LayerRecipe {
                        ranges: own.ranges.filter(|ranges| *ranges != common),
                        weights: own.weights.filter(|weights| *weights != steps),
                        ..*own
                    };
                    if recipe != LayerRecipe::default() {
                        settings.layers.insert(name.to_owned(), recipe);
                    }
                }
            }
        }
        (settings.float_layers.len() < self.network.len()).then_some(settings)
    }
}

fn or<T: Clone>(wished: &[T], otherwise: &[T]) -> Vec<T> {
    if wished.is_empty() {
        otherwise.to_vec()
    } else {
        wished.to_vec()
    }
}

/// The first that is allowed, unless the model's own is.
fn unless<T: PartialEq + Copy>(allowed: &[T], own: T) -> Option<T> {
    if allowed.is_empty() || allowed.contains(&own) {
        None
    } else {
        allowed.first().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::tune::network::tests::chain;
    use crate::tune::settings::tests::plain;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn without_wishes_everything_is_open_but_entropy() {
        let network = chain(5);
        let resolved = Resolved::default();
        let own = Allowed::new(&Space::default(), &resolved, &network, plain(), 32).unwrap();
        assert_eq!(own.first(), plain());
        assert_eq!(own.first_block(), Some(set(&["l0", "l1"])));
        assert_eq!(own.open_layers().count(), 5);
        assert_eq!(own.models().len(), 10);
        assert!(!own.ranges.contains(&RangeMethod::Entropy));
        // Three pictures show no tail.
        let few = Allowed::new(&Space::default(), &resolved, &network, plain(), 3).unwrap();
        assert_eq!(few.ranges.len(), 3);
        assert_eq!(few.first().calibration_size, 3);
    }

    #[test]
    fn wishes_for_single_layers_win_over_those_for_all_and_fp32_is_not_tried_in_integers() {
        let network = chain(5);
        let wish = |precision, ranges: &[RangeMethod]| LayerChoices {
            precision,
            ranges: ranges.to_vec(),
            ..LayerChoices::default()
        };
        let resolved = Resolved {
            others: wish(
                Precision::Int8,
                &[RangeMethod::Minmax, RangeMethod::Entropy],
            ),
            layers: BTreeMap::from([
                ("l1".to_owned(), wish(Precision::Fp32, &[])),
                (
                    "l2".to_owned(),
                    wish(Precision::Either, &[RangeMethod::Mse]),
                ),
            ]),
            notes: Vec::new(),
        };
        let own = Allowed::new(&Space::default(), &resolved, &network, plain(), 32).unwrap();
        let first = own.first();
        assert_eq!(first.ranges, RangeMethod::Minmax);
        assert_eq!(first.float_layers, set(&["l1"]));
        assert_eq!(first.layers["l2"].ranges, Some(RangeMethod::Mse));
        assert_eq!(own.open_layers().collect::<Vec<_>>(), ["l2"]);
        assert_eq!(own.first_block(), None);
        assert_eq!(own.choices("l1"), [None]);
        // Two steps of weights, one range, or float.
        assert_eq!(own.choices("l2").len(), 3);
        assert_eq!(own.choices("l4").len(), 4);
    }

    #[test]
    fn what_is_said_of_the_first_layers_is_not_tried_otherwise_and_something_has_to_be_integer() {
        let network = chain(3);
        let resolved = Resolved::default();
        let said = |space: Space| {
            let own = Allowed::new(&space, &resolved, &network, plain(), 32).unwrap();
            (own.first().float_layers, own.first_block())
        };
        let block = Space {
            first_block_float: Some(true),
            ..Space::default()
        };
        assert_eq!(said(block), (set(&["l0", "l1"]), None));
        let first = Space {
            first_convolution_float: Some(true),
            ..Space::default()
        };
        assert_eq!(said(first), (set(&["l0"]), None));
        let integer = Space {
            first_convolution_float: Some(false),
            ..Space::default()
        };
        assert_eq!(said(integer), (set(&[]), None));
        let float = Resolved {
            others: LayerChoices {
                precision: Precision::Fp32,
                ..LayerChoices::default()
            },
            ..Resolved::default()
        };
        let error = Allowed::new(&Space::default(), &float, &network, plain(), 32).unwrap_err();
        assert_eq!(error, SpaceError::EverythingFloat);
    }

    #[test]
    fn a_choice_for_each_layer_is_written_as_what_differs_from_the_model() {
        let network = chain(3);
        let resolved = Resolved::default();
        let own = Allowed::new(&Space::default(), &resolved, &network, plain(), 32).unwrap();
        let recipe = |ranges| {
            Some(LayerRecipe {
                ranges: Some(ranges),
                weights: Some(Granularity::PerChannel),
                weight_level_max: None,
            })
        };
        let same = [recipe(RangeMethod::Mse); 3];
        assert_eq!(own.chosen(32, &same), Some(plain()));
        let mixed = [recipe(RangeMethod::Mse), None, recipe(RangeMethod::Minmax)];
        let settings = own.chosen(32, &mixed).unwrap();
        assert_eq!(settings.float_layers, set(&["l1"]));
        assert_eq!(settings.layers.len(), 1);
        assert_eq!(own.chosen(32, &[None; 3]), None);
    }
}
