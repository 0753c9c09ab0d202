//! LPOT's `basic` and `mse`: settings for the whole model, then single layers in float, judged by full evaluations.
//!
//! Both take many trials. With `--timeout 0`, LPOT's default, they end at the first model that meets the criterion.

use crate::tune::allowed::Allowed;
use crate::tune::figures::Figures;
use crate::tune::settings::Settings;
use crate::tune::tuning::{Evaluator, Halt, Tuning};

/// In which order layers are put into float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By what the model's figure is when the layer alone is in float.
    ByAccuracy,
    /// By the squared error of what the layer makes.
    ByError,
}

/// Runs the strategy.
pub fn run<E: Evaluator>(
    tuning: &mut Tuning<'_, E>,
    allowed: &Allowed<'_>,
    order: Order,
) -> Result<(), Halt<E::Error>> {
    for settings in allowed.models() {
        tuning.trial(&settings)?;
    }
    let best = tuning.best().expect("there is at least one model");
    let (best, figures) = (best.settings.clone(), best.standing.figures.clone());
    let layers = match order {
        Order::ByAccuracy => by_accuracy(tuning, allowed, &best)?,
        Order::ByError => by_error(tuning, allowed, &best)?,
    };
    // Once keeping what helps, once keeping all.
    let (mut settings, mut figure) = (best.clone(), badness(tuning, &figures));
    for layer in &layers {
        let candidate = settings.with_float([layer.as_str()]);
        let Some(found) = trial(tuning, allowed, &candidate)? else {
            break;
        };
        if found < figure {
            (settings, figure) = (candidate, found);
        }
    }
    let mut settings = best;
    for layer in &layers {
        settings = settings.with_float([layer.as_str()]);
        if trial(tuning, allowed, &settings)?.is_none() {
            break;
        }
    }
    Ok(())
}

/// Tries a model unless all of it would be float; the less the result, the better.
fn trial<E: Evaluator>(
    tuning: &mut Tuning<'_, E>,
    allowed: &Allowed<'_>,
    settings: &Settings,
) -> Result<Option<f64>, Halt<E::Error>> {
    if settings.float_layers.len() >= allowed.network().len() {
        return Ok(None);
    }
    let figures = tuning.trial(settings)?;
    Ok(Some(badness(tuning, &figures)))
}

/// The judged figure, turned so that less is better.
fn badness<E: Evaluator>(tuning: &Tuning<'_, E>, figures: &Figures) -> f64 {
    let criterion = &tuning.ask().criterion;
    match criterion.judged.of(figures) {
        None => f64::INFINITY,
        Some(figure) if criterion.higher_is_better => -figure,
        Some(figure) => figure,
    }
}

/// Each layer alone in float, from the last to the first; best first.
fn by_accuracy<E: Evaluator>(
    tuning: &mut Tuning<'_, E>,
    allowed: &Allowed<'_>,
    best: &Settings,
) -> Result<Vec<String>, Halt<E::Error>> {
    let mut found = Vec::new();
    for layer in allowed.open_layers().rev() {
        let candidate = best.with_float([layer]);
        if let Some(badness) = trial(tuning, allowed, &candidate)? {
            found.push((badness, layer.to_owned()));
        }
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(found.into_iter().map(|(_, layer)| layer).collect())
}

/// Greatest error first.
fn by_error<E: Evaluator>(
    tuning: &mut Tuning<'_, E>,
    allowed: &Allowed<'_>,
    best: &Settings,
) -> Result<Vec<String>, Halt<E::Error>> {
    let errors = tuning.layer_errors(best)?;
    let mut found: Vec<(f64, &str)> = allowed
        .open_layers()
        .filter_map(|layer| Some((*errors.get(layer)?, layer)))
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(found
        .into_iter()
        .map(|(_, layer)| layer.to_owned())
        .collect())
}
