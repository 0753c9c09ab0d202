//! The layers of a network as strategies see them: names, order, neighbours.

use std::collections::BTreeSet;

use crate::quantise::order::Place;

/// The layers that can be integer, in the network's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    layers: Vec<Place>,
    /// For each layer those that read it.
    behind: Vec<Vec<usize>>,
}

impl Network {
    /// Of their places.
    pub fn new(layers: Vec<Place>) -> Self {
        let mut behind = vec![Vec::new(); layers.len()];
        for (at, layer) in layers.iter().enumerate() {
            for &before in &layer.before {
                behind[before].push(at);
            }
        }
        Self { layers, behind }
    }

    /// Their names.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.layers.iter().map(|layer| layer.name.as_str())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// The first layer, and the depthwise ones that read it.
    pub fn first_block(&self) -> Vec<&str> {
        let Some(first) = self.layers.first() else {
            return Vec::new();
        };
        let depthwise = self.behind[0].iter().map(|&at| &self.layers[at]);
        let depthwise = depthwise.filter(|layer| layer.is_depthwise);
        let names = std::iter::once(first).chain(depthwise);
        names.map(|layer| layer.name.as_str()).collect()
    }

    /// Adds the layers that are cheaper in float than in integers when `float` are: those that stand between layers in
    /// float on all sides, or between the image and layers in float. Each would only convert to bytes and back.
    pub fn joined(&self, float: &BTreeSet<String>) -> BTreeSet<String> {
        let mut all = float.clone();
        loop {
            let is_float = |at: &usize| all.contains(&self.layers[*at].name);
            let lonely = self.layers.iter().enumerate().find(|(at, layer)| {
                let behind = &self.behind[*at];
                !all.contains(&layer.name)
                    && (layer.reads_input || !layer.before.is_empty())
                    && layer.before.iter().all(is_float)
                    && !behind.is_empty()
                    && behind.iter().all(is_float)
            });
            match lonely {
                None => return all,
                Some((_, layer)) => all.insert(layer.name.clone()),
            };
        }
    }
}

#[cfg(test)]
pub(in crate::tune) mod tests {
    use super::*;

    /// A chain of layers `l0`, `l1`, …, of which the second is depthwise; `l3` also reads `l1`.
    pub fn chain(count: usize) -> Network {
        let place = |at: usize| Place {
            name: format!("l{at}"),
            before: match at {
                0 => Vec::new(),
                3 => vec![1, 2],
                _ => vec![at - 1],
            },
            reads_input: at == 0,
            is_depthwise: at == 1,
        };
        Network::new((0..count).map(place).collect())
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_first_block_is_the_first_layer_and_the_depthwise_one_behind_it() {
        assert_eq!(chain(4).first_block(), ["l0", "l1"]);
        assert_eq!(chain(1).first_block(), ["l0"]);
        assert!(Network::new(Vec::new()).first_block().is_empty());
    }

    #[test]
    fn what_stands_between_layers_in_float_becomes_float() {
        let network = chain(8);
        assert_eq!(
            network.joined(&set(&["l4", "l6"])),
            set(&["l4", "l5", "l6"])
        );
        // Between the image and a layer in float.
        assert_eq!(network.joined(&set(&["l1"])), set(&["l0", "l1"]));
        // A branch in integers keeps its source.
        assert_eq!(network.joined(&set(&["l2"])), set(&["l2"]));
        assert_eq!(network.joined(&set(&["l4"])), set(&["l4"]));
        // Between two on both of its sides, and between the image and one of these.
        assert_eq!(
            network.joined(&set(&["l1", "l3"])),
            set(&["l0", "l1", "l2", "l3"])
        );
        // The last has nobody behind it.
        assert_eq!(network.joined(&set(&["l6"])), set(&["l6"]));
    }
}
