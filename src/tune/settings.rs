//! What makes one model of a tuning different from another.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::quantise::{FirstLayers, Granularity, LayerRecipe, Preset, RangeMethod, Recipe};

/// What makes one model of a tuning different from another; equal settings give equal files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Calibration pictures.
    pub calibration_size: usize,
    /// Which of the pictures they are.
    pub seed: u32,
    /// Ranges of activations.
    pub ranges: RangeMethod,
    /// Steps of weights.
    pub weights: Granularity,
    /// Greatest level of a weight.
    pub weight_level_max: i8,
    /// Whether biases make up for what rounding the weights takes from channel means.
    pub bias_correction: bool,
    /// Whether the model takes bytes.
    pub u8_input: bool,
    /// Layers with settings of their own.
    pub layers: BTreeMap<String, LayerRecipe>,
    /// Layers in float.
    pub float_layers: BTreeSet<String>,
}

impl Settings {
    /// The same model with these layers in float besides.
    #[must_use]
    pub fn with_float<'a>(&self, layers: impl IntoIterator<Item = &'a str>) -> Self {
        let mut own = self.clone();
        own.float_layers
            .extend(layers.into_iter().map(str::to_owned));
        own.layers
            .retain(|name, _| !own.float_layers.contains(name));
        own
    }

    /// The same model with other ranges.
    #[must_use]
    pub fn with_ranges(&self, ranges: RangeMethod) -> Self {
        Self {
            ranges,
            ..self.clone()
        }
    }

    /// What names these settings in the history.
    pub fn hash(&self) -> String {
        let text = serde_json::to_string(self).expect("settings are JSON");
        short_hash(&text)
    }

    /// What names all models that the engine runs by the same kernels: those with the same layers in float, whatever
    /// their scales. They have one speed, which is measured once.
    pub fn structure(&self) -> String {
        let own: Vec<_> = self
            .layers
            .iter()
            .filter_map(|(name, own)| own.weights.map(|weights| (name, weights)))
            .collect();
        let parts = (&self.float_layers, self.u8_input, self.weights, own);
        short_hash(&serde_json::to_string(&parts).expect("settings are JSON"))
    }

    /// What quantisation is told.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            ranges: self.ranges,
            weights: self.weights,
            weight_level_max: self.weight_level_max,
            bias_correction: self.bias_correction,
            first_layers: FirstLayers::Int8,
            u8_input: self.u8_input,
            keep_fp32: self.float_layers.iter().cloned().collect(),
            layers: self.layers.clone(),
            calibration_size: self.calibration_size,
            seed: self.seed,
            ..Recipe::of(Preset::Default)
        }
    }

    /// A few words for the table of trials; `network_layers` is how many layers there are.
    pub fn words(&self, network_layers: usize) -> String {
        let ranges = match self.ranges {
            RangeMethod::Percentile(share) => format!("p{share}"),
            other => other.name().to_owned(),
        };
        let float = self.float_layers.len();
        let float = match float {
            0 => "all int8".to_owned(),
            1..=2 => {
                let names: Vec<&str> = self.float_layers.iter().map(|name| tail(name)).collect();
                format!("fp32: {}", names.join(", "))
            }
            _ => format!("{float} of {network_layers} fp32"),
        };
        let is_per_tensor = self.weights == Granularity::PerTensor;
        let words = [
            Some(ranges),
            is_per_tensor.then(|| "per tensor".to_owned()),
            (!self.bias_correction).then(|| "biases as they are".to_owned()),
            self.u8_input.then(|| "bytes in".to_owned()),
            (!self.layers.is_empty()).then(|| format!("{} layers of their own", self.layers.len())),
            Some(float),
        ];
        words.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// The end of a node's long name.
fn tail(name: &str) -> &str {
    const LONGEST: usize = 50;
    let parts: Vec<usize> = name.match_indices('/').map(|(at, _)| at + 1).collect();
    let short = parts.iter().find(|&&at| name.len() - at <= LONGEST);
    short.map_or(name, |&at| &name[at..])
}

fn short_hash(text: &str) -> String {
    let mut hash = format!("{:x}", Sha256::digest(text.as_bytes()));
    hash.truncate(16);
    hash
}

#[cfg(test)]
pub(in crate::tune) mod tests {
    use super::*;

    /// Settings to start from.
    pub fn plain() -> Settings {
        Settings {
            calibration_size: 32,
            seed: 1978,
            ranges: RangeMethod::Mse,
            weights: Granularity::PerChannel,
            weight_level_max: 127,
            bias_correction: true,
            u8_input: false,
            layers: BTreeMap::new(),
            float_layers: BTreeSet::new(),
        }
    }

    #[test]
    fn the_order_in_which_layers_were_put_into_float_does_not_matter() {
        let one = plain().with_float(["b", "a"]);
        let other = plain().with_float(["a"]).with_float(["b"]);
        assert_eq!(one.hash(), other.hash());
        assert_ne!(one.hash(), plain().hash());
    }

    #[test]
    fn other_ranges_are_another_model_of_the_same_structure_and_other_layers_in_float_are_not() {
        let other = plain().with_ranges(RangeMethod::Minmax);
        assert_ne!(plain().hash(), other.hash());
        assert_eq!(plain().structure(), other.structure());
        assert_ne!(plain().structure(), plain().with_float(["a"]).structure());
    }

    #[test]
    fn a_layer_in_float_has_no_settings_of_its_own() {
        let mut own = plain();
        let minmax = LayerRecipe {
            ranges: Some(RangeMethod::Minmax),
            ..LayerRecipe::default()
        };
        own.layers.insert("a".into(), minmax);
        let float = own.with_float(["a"]);
        assert!(float.layers.is_empty());
        assert_eq!(float.hash(), plain().with_float(["a"]).hash());
    }
}
