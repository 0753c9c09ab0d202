//! The strategies: each asks for trials in its order until it has nothing left to ask for.

mod basic;

mod products;
mod racing;

use super::allowed::Allowed;
use super::strategy::Strategy;
use super::tuning::{Evaluator, Halt, Tuning};

/// Runs a strategy to its end, or to the end of the tuning.
///
/// # Errors
/// [`Halt`], which is how most tunings end.
pub fn run<E: Evaluator>(
    strategy: Strategy,
    tuning: &mut Tuning<'_, E>,
    allowed: &Allowed<'_>,
    seed: u32,
) -> Result<(), Halt<E::Error>> {
    match strategy {
        Strategy::Detbench => racing::run(tuning, allowed, seed),
        Strategy::Basic => basic::run(tuning, allowed, basic::Order::ByAccuracy),
        Strategy::Mse => basic::run(tuning, allowed, basic::Order::ByError),
        Strategy::Random => products::random(tuning, allowed, seed),
        Strategy::Exhaustive => products::exhaustive(tuning, allowed),
    }
}
