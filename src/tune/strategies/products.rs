//! A choice for each layer by itself: drawn, or all in order.

use crate::quantise::LayerRecipe;
use crate::schedule::rng::{BoundedDraw, RandomStream};
use crate::tune::allowed::Allowed;
use crate::tune::tuning::{Evaluator, Halt, Tuning};

/// So many draws in a row without a new model say that there are no more.
const BARREN_DRAWS: u32 = 1_000;

/// The choices of each layer, in the network's order.
fn choices(allowed: &Allowed<'_>) -> Vec<Vec<Option<LayerRecipe>>> {
    let names = allowed.network().names();
    names.map(|name| allowed.choices(name)).collect()
}

/// Draws each layer's choice, all alike likely, and the number of pictures, until the tuning ends.
pub fn random<E: Evaluator>(
    tuning: &mut Tuning<'_, E>,
    allowed: &Allowed<'_>,
    seed: u32,
) -> Result<(), Halt<E::Error>> {
    let choices = choices(allowed);
    let mut random = RandomStream::new(u64::from(seed), BoundedDraw::MultiplyShift);
    let mut draw = |count: usize| {
        let bound = u32::try_from(count).expect("choices are few");
        random.below(bound) as usize
    };
    let mut drawn = std::collections::BTreeSet::new();
    let mut barren = 0;
    while barren < BARREN_DRAWS {
        let size = allowed.calibration_sizes[draw(allowed.calibration_sizes.len())];
        let chosen: Vec<_> = choices.iter().map(|own| own[draw(own.len())]).collect();
        barren += 1;
        if let Some(settings) = allowed.chosen(size, &chosen) {
            if drawn.insert(settings.hash()) {
                tuning.trial(&settings)?;
                barren = 0;
            }
        }
    }
    Ok(())
}

/// All choices of all layers; the last layer changes first, the number of pictures last.
pub fn exhaustive<E: Evaluator>(
    tuning: &mut Tuning<'_, E>,
    allowed: &Allowed<'_>,
) -> Result<(), Halt<E::Error>> {
    let choices = choices(allowed);
    for &size in &allowed.calibration_sizes {
        let mut at = vec![0; choices.len()];
        loop {
            let chosen: Vec<_> = choices.iter().zip(&at).map(|(own, &at)| own[at]).collect();
            if let Some(settings) = allowed.chosen(size, &chosen) {
                tuning.trial(&settings)?;
            }
            if !advance(&mut at, &choices) {
                break;
            }
        }
    }
    Ok(())
}

/// Counts on; false behind the last.
fn advance(at: &mut [usize], choices: &[Vec<Option<LayerRecipe>>]) -> bool {
    for (place, own) in at.iter_mut().zip(choices).rev() {
        *place += 1;
        if *place < own.len() {
            return true;
        }
        *place = 0;
    }
    false
}
