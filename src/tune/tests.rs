//! The whole loop on virtual time, with models whose figures are made up.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::allowed::Allowed;
use super::criterion::{Criterion, Judged, Loss};
use super::exit::{Ending, ExitPolicy};
use super::figures::tests::{figures, BASELINE};
use super::figures::{Figures, Judgement, Speed};
use super::history::tests::conditions;
use super::history::History;
use super::names::Resolved;
use super::network::tests::chain;
use super::objective::Objective;
use super::resample::PictureDifference;
use super::settings::tests::plain;
use super::settings::Settings;
use super::space::Space;
use super::strategies;
use super::strategy::Strategy;
use super::tuning::{Ask, Evaluator, Halt, Outcome, Surroundings, Tuning};
use crate::clock::{Clock, Simulated};
use crate::quantise::RangeMethod;
use crate::units::Latency;

const SECOND: Latency = Latency::from_millis(1_000);
const LAYERS: usize = 8;

/// What was asked of the stand-in, in order.
#[derive(Debug, Clone, PartialEq)]
enum Call {
    Screen(String),
    Errors(String),
    Evaluate {
        settings: String,
        is_speed_known: bool,
    },
    Keep(String),
}

/// Models that are made up: each layer in integers costs `noise`, each in float costs time.
struct StandIn<'a> {
    clock: Simulated,
    calls: Vec<Call>,
    /// Asks to stop within this call.
    interrupt_in: Option<usize>,
    interrupted: &'a Cell<bool>,
    /// What ranges make of the noise.
    ranges: fn(RangeMethod) -> f64,
    /// Lines of the history when a model was kept.
    history: &'a Path,
}

/// Noise of each layer; the third is the worst.
const NOISE: [f64; LAYERS] = [0.02, 0.03, 0.05, 0.01, 0.01, 0.02, 0.005, 0.005];

impl StandIn<'_> {
    fn dp(&self, settings: &Settings) -> f64 {
        let integer = (0..LAYERS).filter(|at| !settings.float_layers.contains(&format!("l{at}")));
        let noise: f64 = integer.map(|at| NOISE[at]).sum();
        noise * (self.ranges)(settings.ranges)
    }

    fn called(&mut self, call: Call, takes: Latency) -> Result<(), &'static str> {
        self.calls.push(call);
        self.clock.advance(takes);
        if self.interrupt_in == Some(self.calls.len()) {
            self.interrupted.set(true);
            return Err("interrupted");
        }
        Ok(())
    }
}

impl Evaluator for StandIn<'_> {
    type Error = &'static str;

    fn screen(&mut self, settings: &Settings) -> Result<Vec<PictureDifference>, &'static str> {
        self.called(Call::Screen(settings.hash()), Latency::from_millis(100))?;
        let picture = |difference| PictureDifference {
            difference,
            reference: 1.0,
        };
        Ok(vec![picture(self.dp(settings)); 4])
    }

    fn layer_errors(&mut self, settings: &Settings) -> Result<BTreeMap<String, f64>, &'static str> {
        self.called(Call::Errors(settings.hash()), SECOND)?;
        Ok((0..LAYERS)
            .map(|at| (format!("l{at}"), NOISE[at]))
            .collect())
    }

    fn evaluate(
        &mut self,
        settings: &Settings,
        speed: Option<Speed>,
    ) -> Result<Figures, &'static str> {
        let call = Call::Evaluate {
            settings: settings.hash(),
            is_speed_known: speed.is_some(),
        };
        self.called(call, SECOND)?;
        let dp = self.dp(settings);
        let inner = settings
            .float_layers
            .iter()
            .filter(|name| *name > &"l1".to_owned());
        let mut own = figures(0.4 - dp / 10.0, dp, 0.5 + 0.1 * inner.count() as f64);
        own.speed = speed.unwrap_or(own.speed);
        Ok(own)
    }

    fn keep(&mut self, settings: &Settings, _: &Judgement) -> Result<(), &'static str> {
        // The model is on disk before the history speaks of it.
        let history = std::fs::read_to_string(self.history).unwrap();
        let is_new = matches!(self.calls.last(), Some(Call::Evaluate { .. }));
        assert!(!is_new || !history.contains(&settings.hash()) || history.contains("screening"));
        self.calls.push(Call::Keep(settings.hash()));
        Ok(())
    }
}

/// A tuning of the made-up models.
struct Trial {
    ask: Ask,
    strategy: Strategy,
    seed: u32,
    interrupt_in: Option<usize>,
    ranges: fn(RangeMethod) -> f64,
    space: Space,
    history: PathBuf,
}

fn ask(loss: f64) -> Ask {
    Ask {
        criterion: Criterion {
            loss: Loss::Absolute(loss),
            ..Criterion::default()
        },
        objective: Objective::LatencyP50,
        policy: ExitPolicy::default(),
    }
}

fn of(history: &Path, loss: f64) -> Trial {
    Trial {
        ask: ask(loss),
        strategy: Strategy::Detbench,
        seed: 1978,
        interrupt_in: None,
        ranges: |_| 1.0,
        space: Space::default(),
        history: history.to_owned(),
    }
}

impl Trial {
    fn run(&self) -> (Outcome, Vec<Call>) {
        let clock = Simulated::new();
        let interrupted = Cell::new(false);
        let network = chain(LAYERS);
        let resolved = Resolved::default();
        let allowed = Allowed::new(&self.space, &resolved, &network, plain(), 32).unwrap();
        let mut history = if self.history.exists() {
            History::resume(&self.history, &conditions()).unwrap()
        } else {
            History::create(&self.history, false, conditions(), BASELINE, Latency::ZERO).unwrap()
        };
        let mut evaluator = StandIn {
            clock: clock.clone(),
            calls: Vec::new(),
            interrupt_in: self.interrupt_in,
            interrupted: &interrupted,
            ranges: self.ranges,
            history: &self.history,
        };
        let before = history.elapsed;
        let around = Surroundings {
            clock: &clock,
            began: clock.now(),
            is_interrupted: &|| interrupted.get(),
            tell: &mut |_| {},
        };
        let mut tuning = Tuning::new(
            self.ask,
            &mut evaluator,
            &mut history,
            &network,
            before,
            around,
        );
        let done = strategies::run(self.strategy, &mut tuning, &allowed, self.seed);
        let outcome = tuning.finish(done).unwrap();
        (outcome, evaluator.calls)
    }
}

fn best(outcome: &Outcome) -> &Settings {
    &outcome.best.as_ref().unwrap().settings
}

fn evaluations(calls: &[Call]) -> usize {
    calls
        .iter()
        .filter(|call| matches!(call, Call::Evaluate { .. }))
        .count()
}

#[test]
fn a_criterion_that_the_recipes_meet_ends_without_looking_at_layers() {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, calls) = of(&dir.path().join("h"), 0.015).run();
    assert_eq!(outcome.ending, Ending::Exhausted);
    // All in integers, and with the first block in float, which costs the same and is nearer.
    assert_eq!(outcome.trials, 2);
    assert_eq!(
        best(&outcome).float_layers.iter().collect::<Vec<_>>(),
        ["l0", "l1"]
    );
    // Five ranges were looked at.
    assert_eq!(
        calls
            .iter()
            .filter(|call| matches!(call, Call::Screen(_)))
            .count(),
        5
    );
    assert!(outcome.best.unwrap().standing.judgement.is_met);
}

#[test]
fn a_stricter_criterion_puts_the_most_sensitive_layers_into_float_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, _) = of(&dir.path().join("h"), 0.006).run();
    let best = outcome.best.unwrap();
    assert!(best.standing.judgement.is_met);
    // The two worst layers, and the first, which stands between the image and one of them.
    assert_eq!(
        best.settings.float_layers.iter().collect::<Vec<_>>(),
        ["l0", "l1", "l2"]
    );
    assert_eq!(outcome.ending, Ending::Exhausted);
}

#[test]
fn a_criterion_that_nothing_meets_leaves_the_nearest_model() {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, calls) = of(&dir.path().join("h"), -0.1).run();
    let best = outcome.best.unwrap();
    assert!(!best.standing.judgement.is_met);
    assert!(best.settings.float_layers.len() > 2);
    let kept = Call::Keep(best.settings.hash());
    assert_eq!(
        calls
            .iter()
            .rev()
            .find(|call| matches!(call, Call::Keep(_))),
        Some(&kept)
    );
}

#[test]
fn ranges_that_are_surely_nearer_are_taken_and_speed_is_measured_once_for_a_structure() {
    let dir = tempfile::tempdir().unwrap();
    let trial = Trial {
        ranges: |ranges| match ranges {
            RangeMethod::TfEnhanced => 0.5,
            _ => 1.0,
        },
        ..of(&dir.path().join("h"), 0.03)
    };
    let (outcome, calls) = trial.run();
    assert_eq!(best(&outcome).ranges, RangeMethod::TfEnhanced);
    assert_eq!(outcome.trials, 4);
    let known: Vec<bool> = calls
        .iter()
        .filter_map(|call| match call {
            Call::Evaluate { is_speed_known, .. } => Some(*is_speed_known),
            _ => None,
        })
        .collect();
    assert_eq!(known, [false, false, true, true]);
}

#[test]
fn a_timeout_of_zero_ends_at_the_first_model_that_meets_the_criterion() {
    let dir = tempfile::tempdir().unwrap();
    let mut trial = of(&dir.path().join("h"), 0.02);
    trial.ask.policy.timeout = Some(Latency::ZERO);
    let (outcome, calls) = trial.run();
    assert_eq!((outcome.ending, outcome.trials), (Ending::FirstMet, 1));
    assert_eq!(calls.len(), 2, "{calls:?}");
    let mut strict = of(&dir.path().join("strict"), 0.011);
    strict.ask.policy.timeout = Some(Latency::ZERO);
    let (outcome, _) = strict.run();
    assert_eq!((outcome.ending, outcome.trials), (Ending::FirstMet, 2));
}

#[test]
fn a_timeout_ends_after_the_trial_or_the_screening_in_which_the_time_ran_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut trial = of(&dir.path().join("h"), 0.0);
    trial.ask.policy.timeout = Some(Latency::from_millis(2_000));
    let (outcome, _) = trial.run();
    assert_eq!((outcome.ending, outcome.trials), (Ending::Timeout, 2));
    let mut trial = of(&dir.path().join("longer"), 0.0);
    trial.ask.policy.timeout = Some(Latency::from_millis(2_250));
    let (outcome, calls) = trial.run();
    assert_eq!((outcome.ending, outcome.trials), (Ending::Timeout, 2));
    assert_eq!(
        calls
            .iter()
            .filter(|call| matches!(call, Call::Screen(_)))
            .count(),
        3
    );
    assert_eq!(outcome.elapsed, Latency::from_millis(2_300));
}

#[test]
fn the_number_of_trials_and_performance_only_end_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut trial = of(&dir.path().join("h"), 0.0);
    trial.strategy = Strategy::Basic;
    trial.ask.policy.max_trials = 7;
    let (outcome, calls) = trial.run();
    assert_eq!((outcome.ending, outcome.trials), (Ending::MaxTrials, 7));
    assert_eq!(evaluations(&calls), 7);
    let mut trial = of(&dir.path().join("p"), 0.0);
    trial.ask.policy.performance_only = true;
    let (outcome, _) = trial.run();
    assert_eq!(
        (outcome.ending, outcome.trials),
        (Ending::PerformanceOnly, 1)
    );
    assert!(outcome.best.is_some());
}

#[test]
fn wherever_it_is_interrupted_it_ends_with_the_same_model_and_does_nothing_twice() {
    for strategy in [Strategy::Detbench, Strategy::Mse, Strategy::Random] {
        let dir = tempfile::tempdir().unwrap();
        let whole = dir.path().join("whole");
        let of = |history: &Path| {
            let mut trial = of(history, 0.004);
            trial.strategy = strategy;
            trial.ask.policy.max_trials = 25;
            trial
        };
        let (expected, calls) = of(&whole).run();
        let work = calls
            .iter()
            .filter(|call| !matches!(call, Call::Keep(_)))
            .count();
        for at in 1..=calls.len() {
            let part = dir.path().join(format!("part-{at}"));
            let interrupted = Trial {
                interrupt_in: Some(at),
                ..of(&part)
            };
            let (outcome, first) = interrupted.run();
            if matches!(calls[at - 1], Call::Keep(_)) {
                // Keeping is not interrupted.
                continue;
            }
            assert_eq!(outcome.ending, Ending::Interrupted, "{strategy:?} {at}");
            // What is best then is on disk then.
            if let Some(best) = &outcome.best {
                let kept = Call::Keep(best.settings.hash());
                assert_eq!(
                    first
                        .iter()
                        .rev()
                        .find(|call| matches!(call, Call::Keep(_))),
                    Some(&kept)
                );
            }
            let (resumed, second) = of(&part).run();
            assert_eq!(best(&resumed), best(&expected), "{strategy:?} {at}");
            assert_eq!(resumed.trials, expected.trials);
            assert_eq!(resumed.ending, expected.ending);
            let kept = Call::Keep(best(&resumed).hash());
            assert!(second.contains(&kept) || first.contains(&kept));
            // The call that was interrupted is made again, and no other.
            let both = first
                .iter()
                .chain(&second)
                .filter(|call| !matches!(call, Call::Keep(_)));
            assert_eq!(both.count(), work + 1, "{strategy:?} {at}");
        }
    }
}

#[test]
fn a_changed_criterion_is_put_to_the_old_trials_and_the_best_of_them_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h");
    let (strict, _) = of(&path, 0.006).run();
    assert!(best(&strict).float_layers.len() > 2);
    let (lax, calls) = of(&path, 0.015).run();
    assert_eq!(best(&lax).float_layers.len(), 2);
    assert_eq!(calls, [Call::Keep(best(&lax).hash())]);
    // Other figures of the same trials.
    let mut by_dp = of(&path, 0.2);
    by_dp.ask.criterion.judged = Judged::Dp;
    let (outcome, calls) = by_dp.run();
    assert!(outcome.best.unwrap().standing.judgement.is_met);
    assert_eq!(evaluations(&calls), 0);
}

#[test]
fn repeating_with_the_same_seed_gives_the_same_history_and_another_seed_other_draws() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, seed: u32| {
        let path = dir.path().join(name);
        let mut trial = of(&path, -1.0);
        trial.strategy = Strategy::Random;
        trial.seed = seed;
        trial.ask.policy.max_trials = 9;
        trial.run();
        std::fs::read_to_string(&path).unwrap()
    };
    assert_eq!(run("a", 1), run("b", 1));
    assert_ne!(run("c", 1), run("d", 2));
}

#[test]
fn random_and_exhaustive_end_when_there_is_nothing_left() {
    let dir = tempfile::tempdir().unwrap();
    let space = Space {
        model_wise: super::space::OpWish {
            weight: super::space::TensorWish {
                granularities: vec![crate::quantise::Granularity::PerChannel],
                ..Default::default()
            },
            activation: super::space::TensorWish {
                ranges: vec![RangeMethod::Minmax],
                ..Default::default()
            },
        },
        ..Space::default()
    };
    for strategy in [Strategy::Exhaustive, Strategy::Random] {
        let path = dir.path().join(strategy.name());
        let names = super::names::NodeNames {
            layers: (0..LAYERS).map(|at| format!("l{at}")).collect(),
            ..Default::default()
        };
        let resolved = super::names::resolve(&space, &names).unwrap();
        let network = chain(LAYERS);
        let allowed = Allowed::new(&space, &resolved, &network, plain(), 32).unwrap();
        // Integer or float for each of the layers, but not float for all.
        assert!(allowed.choices("l3").len() == 2);
        let clock = Simulated::new();
        let interrupted = Cell::new(false);
        let mut history =
            History::create(&path, false, conditions(), BASELINE, Latency::ZERO).unwrap();
        let mut evaluator = StandIn {
            clock: clock.clone(),
            calls: Vec::new(),
            interrupt_in: None,
            interrupted: &interrupted,
            ranges: |_| 1.0,
            history: &path,
        };
        let around = Surroundings {
            clock: &clock,
            began: clock.now(),
            is_interrupted: &|| false,
            tell: &mut |_| {},
        };
        let mut ask = ask(-1.0);
        ask.policy.max_trials = 10_000;
        let mut tuning = Tuning::new(
            ask,
            &mut evaluator,
            &mut history,
            &network,
            Latency::ZERO,
            around,
        );
        let done = strategies::run(strategy, &mut tuning, &allowed, 1);
        let outcome = tuning.finish(done).unwrap();
        assert_eq!((outcome.ending, outcome.trials), (Ending::Exhausted, 255));
    }
}

#[test]
fn basic_tries_each_layer_from_the_last_to_the_first_and_keeps_what_helps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("h");
    let mut trial = of(&path, -1.0);
    trial.strategy = Strategy::Basic;
    let (outcome, _) = trial.run();
    let history = std::fs::read_to_string(&path).unwrap();
    let single: Vec<String> = history
        .lines()
        .filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let float = line["settings"]["float_layers"].as_array()?.clone();
            (float.len() == 1).then(|| float[0].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(single, ["l7", "l6", "l5", "l4", "l3", "l2", "l1", "l0"]);
    // Ten for the model, eight for single layers, six more of the accumulation but not the whole network in float.
    assert_eq!(outcome.ending, Ending::Exhausted);
    assert_eq!(outcome.trials, 10 + 8 + 6);
    assert_eq!(best(&outcome).float_layers.len(), LAYERS - 1);
}

#[test]
fn a_failure_that_is_no_interrupt_is_a_failure() {
    struct Broken;
    impl Evaluator for Broken {
        type Error = &'static str;
        fn screen(&mut self, _: &Settings) -> Result<Vec<PictureDifference>, &'static str> {
            Err("screen")
        }
        fn layer_errors(&mut self, _: &Settings) -> Result<BTreeMap<String, f64>, &'static str> {
            Err("errors")
        }
        fn evaluate(&mut self, _: &Settings, _: Option<Speed>) -> Result<Figures, &'static str> {
            Err("evaluate")
        }
        fn keep(&mut self, _: &Settings, _: &Judgement) -> Result<(), &'static str> {
            Err("keep")
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let clock = Simulated::new();
    let network = chain(LAYERS);
    let mut history = History::create(
        &dir.path().join("h"),
        false,
        conditions(),
        BASELINE,
        Latency::ZERO,
    )
    .unwrap();
    let around = Surroundings {
        clock: &clock,
        began: clock.now(),
        is_interrupted: &|| false,
        tell: &mut |_| {},
    };
    let mut broken = Broken;
    let mut tuning = Tuning::new(
        ask(0.0),
        &mut broken,
        &mut history,
        &network,
        Latency::ZERO,
        around,
    );
    let done = tuning.trial(&plain()).map(|_| ());
    let error = tuning.finish(done).unwrap_err();
    assert!(matches!(error, Halt::Failed("evaluate")), "{error:?}");
}
