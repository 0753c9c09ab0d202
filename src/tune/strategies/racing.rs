//! Our own strategy: the recipes that measured best, other ranges, and only then layers in float by their sensitivity.
//!
//! Candidates race on a few calibration pictures by *dp*, which costs a fraction of a second and repeats exactly. Those
//! that are surely no nearer to the float model than one that costs no more are dropped; the others are evaluated.

use std::collections::BTreeSet;

use crate::tune::allowed::Allowed;
use crate::tune::figures::Figures;
use crate::tune::resample::{dp, is_surely_nearer, PictureDifference};
use crate::tune::settings::Settings;
use crate::tune::tuning::{is_met, Evaluator, Event, Halt, Tuning};

/// Runs the strategy.
pub fn run<E: Evaluator>(
    tuning: &mut Tuning<'_, E>,
    allowed: &Allowed<'_>,
    seed: u32,
) -> Result<(), Halt<E::Error>> {
    let first = allowed.first();
    let block = allowed.first_block();
    let in_block = |settings: &Settings| {
        let block = block.as_ref()?;
        Some(settings.with_float(block.iter().map(String::as_str)))
    };
    trials(tuning, [Some(first.clone()), in_block(&first)])?;
    let chosen = best_ranges(tuning, allowed, first, seed)?;
    trials(tuning, [Some(chosen.clone()), in_block(&chosen)])?;
    // Layers in float inside the network make a model slower and larger. They are for models that lose too much.
    if tuning.best().is_some_and(is_met) {
        return Ok(());
    }
    let ranking = sensitivities(tuning, allowed, &chosen)?;
    let mut cheaper = Vec::new();
    for settings in [Some(chosen.clone()), in_block(&chosen)]
        .into_iter()
        .flatten()
    {
        cheaper.push(tuning.screen(&settings)?);
    }
    for settings in fallbacks(allowed, &chosen, &ranking) {
        let pictures = tuning.screen(&settings)?;
        let is_nearer = |one: &Vec<PictureDifference>| is_surely_nearer(&pictures, one, seed);
        if !cheaper.iter().all(is_nearer) {
            tuning.tell(Event::Dropped {
                settings: &settings,
                why: "surely no nearer to the float model than a cheaper one",
            });
            continue;
        }
        cheaper.push(pictures);
        tuning.trial(&settings)?;
        // The next ones cost more.
        if tuning.best().is_some_and(is_met) {
            break;
        }
    }
    Ok(())
}

fn trials<E: Evaluator>(
    tuning: &mut Tuning<'_, E>,
    models: impl IntoIterator<Item = Option<Settings>>,
) -> Result<Vec<Figures>, Halt<E::Error>> {
    let models = models.into_iter().flatten();
    models.map(|settings| tuning.trial(&settings)).collect()
}

/// The model with the ranges that are surely nearer than those to begin with, and nearest of them; otherwise as it is.
fn best_ranges<E: Evaluator>(
    tuning: &mut Tuning<'_, E>,
    allowed: &Allowed<'_>,
    first: Settings,
    seed: u32,
) -> Result<Settings, Halt<E::Error>> {
    let others: Vec<Settings> = allowed.ranges[1..]
        .iter()
        .map(|&ranges| allowed.model(first.calibration_size, ranges, first.weights))
        .collect();
    tuning.tell(Event::Stage {
        what: "ranges",
        screenings: others.len() + 1,
    });
    let begin = tuning.screen(&first)?;
    let mut best = (dp(&begin, None), first);
    for settings in others {
        let pictures = tuning.screen(&settings)?;
        let own = dp(&pictures, None);
        if own < best.0 && is_surely_nearer(&pictures, &begin, seed) {
            best = (own, settings);
        }
    }
    Ok(best.1)
}

/// The layers that may be put into float, the most sensitive one first: each alone is integer, all others are float.
fn sensitivities<'a, E: Evaluator>(
    tuning: &mut Tuning<'_, E>,
    allowed: &Allowed<'a>,
    chosen: &Settings,
) -> Result<Vec<&'a str>, Halt<E::Error>> {
    let layers: Vec<&str> = allowed.open_layers().collect();
    tuning.tell(Event::Stage {
        what: "each layer alone in int8",
        screenings: layers.len(),
    });
    let mut ranking = Vec::with_capacity(layers.len());
    for &layer in &layers {
        let others = allowed.network().names().filter(|name| *name != layer);
        let pictures = tuning.screen(&chosen.with_float(others))?;
        ranking.push((dp(&pictures, None).unwrap_or(0.0), layer));
    }
    // Stable: of equal ones the first in the network comes first.
    ranking.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(ranking.into_iter().map(|(_, layer)| layer).collect())
}

/// Models with the 1, 2, 4, … most sensitive layers in float, joined with what stands between them; each once.
fn fallbacks(allowed: &Allowed<'_>, chosen: &Settings, ranking: &[&str]) -> Vec<Settings> {
    let network = allowed.network();
    let mut models: Vec<Settings> = Vec::new();
    let mut count = 1;
    while count <= ranking.len() {
        let mut float: BTreeSet<String> = chosen.float_layers.clone();
        float.extend(ranking[..count].iter().map(|name| (*name).to_owned()));
        let mut joined = network.joined(&float);
        joined.retain(|name| float.contains(name) || allowed.may_be_float(name));
        let settings = chosen.with_float(joined.iter().map(String::as_str));
        let is_new = models.iter().all(|model| *model != settings);
        if is_new && settings.float_layers.len() < network.len() {
            models.push(settings);
        }
        count *= 2;
    }
    models
}
