//! The loop that strategies drive: try settings, judge, keep the best, write the history, look whether to end.
//!
//! A strategy asks in the same order whenever it is given the same answers. So a tuning that goes on after an interrupt
//! runs the strategy from the beginning, with the answers of the history where there are any.

use std::collections::{BTreeMap, BTreeSet};

use super::criterion::Criterion;
use super::exit::{Ending, ExitPolicy};
use super::figures::{is_better, Baseline, Figures, Judgement, Speed, Standing};
use super::history::{History, HistoryError};
use super::network::Network;
use super::objective::Objective;
use super::resample::{dp, PictureDifference};
use super::settings::Settings;
use crate::clock::Clock;
use crate::units::{Latency, Timestamp};

/// Makes models and looks at them.
pub trait Evaluator {
    /// Why it cannot.
    type Error;

    /// Differences of class probabilities to the float model, on each of a few calibration pictures.
    ///
    /// # Errors
    /// Whatever keeps it from doing so, an interrupt included.
    fn screen(&mut self, settings: &Settings) -> Result<Vec<PictureDifference>, Self::Error>;

    /// For each integer layer, how far what it makes is from what the float layer makes.
    ///
    /// # Errors
    /// As [`Self::screen`].
    fn layer_errors(&mut self, settings: &Settings) -> Result<BTreeMap<String, f64>, Self::Error>;

    /// All figures. `speed` is that of the structure where it was measured before.
    ///
    /// # Errors
    /// As [`Self::screen`].
    fn evaluate(
        &mut self,
        settings: &Settings,
        speed: Option<Speed>,
    ) -> Result<Figures, Self::Error>;

    /// Puts the model on disk in the place of the one before; it is whole at any moment.
    ///
    /// # Errors
    /// As [`Self::screen`].
    fn keep(&mut self, settings: &Settings, judgement: &Judgement) -> Result<(), Self::Error>;
}

/// What tuning is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ask {
    /// Which models are good enough.
    pub criterion: Criterion,
    /// What is better about a better one.
    pub objective: Objective,
    /// When it ends.
    pub policy: ExitPolicy,
}

/// What happens, for whoever watches.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A number of screenings begins.
    Stage {
        /// What they are for.
        what: &'a str,
        /// How many there will be.
        screenings: usize,
    },
    /// A candidate was looked at.
    Screened {
        /// Its settings.
        settings: &'a Settings,
        /// Its *dp* on the few pictures.
        dp: Option<f64>,
    },
    /// A candidate was dropped early.
    Dropped {
        /// Its settings.
        settings: &'a Settings,
        /// Why.
        why: &'a str,
    },
    /// A model is about to be evaluated.
    Begins {
        /// Its number, from one.
        trial: u32,
        /// Its settings.
        settings: &'a Settings,
    },
    /// A model was evaluated.
    Trial(&'a Trial),
}

/// A trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// From one.
    pub number: u32,
    /// What was tried.
    pub settings: Settings,
    /// What came of it.
    pub standing: Standing,
    /// Whether it is the best so far.
    pub is_best: bool,
    /// Whether its figures come from the history.
    pub is_known: bool,
    /// Time of the whole tuning.
    pub elapsed: Latency,
}

/// Why a strategy does not go on.
#[derive(Debug)]
pub enum Halt<E> {
    /// Tuning has ended.
    Ended(Ending),
    /// A model could not be made or looked at.
    Failed(E),
    /// The history could not be written.
    History(HistoryError),
}

impl<E> From<HistoryError> for Halt<E> {
    fn from(error: HistoryError) -> Self {
        Self::History(error)
    }
}

/// What came of a tuning.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The best trial; `None` when there was none.
    pub best: Option<Trial>,
    /// Trials, those of the history included.
    pub trials: u32,
    /// Why it ended.
    pub ending: Ending,
    /// Time of the whole tuning.
    pub elapsed: Latency,
}

/// A tuning under way.
pub struct Tuning<'a, E: Evaluator> {
    evaluator: &'a mut E,
    history: &'a mut History,
    clock: &'a dyn Clock,
    network: &'a Network,
    ask: Ask,
    is_interrupted: &'a dyn Fn() -> bool,
    tell: &'a mut dyn FnMut(Event<'_>),
    began: Timestamp,
    /// Time of the tuning before this process, which the history knows.
    before: Latency,
    trials: u32,
    tried: BTreeSet<String>,
    best: Option<Trial>,
    /// The settings of the model that is on disk.
    kept: Option<String>,
}

/// The world around a tuning.
pub struct Surroundings<'a> {
    /// Its clock.
    pub clock: &'a dyn Clock,
    /// When it began on that clock.
    pub began: Timestamp,
    /// Whether somebody asked to stop.
    pub is_interrupted: &'a dyn Fn() -> bool,
    /// Who is told what happens.
    pub tell: &'a mut dyn FnMut(Event<'_>),
}

impl<'a, E: Evaluator> Tuning<'a, E> {
    /// Begins, or goes on where the history ends. `before` is the tuning's time before `around.began`.
    pub fn new(
        ask: Ask,
        evaluator: &'a mut E,
        history: &'a mut History,
        network: &'a Network,
        before: Latency,
        around: Surroundings<'a>,
    ) -> Self {
        let Surroundings {
            clock,
            began,
            is_interrupted,
            tell,
        } = around;
        Self {
            evaluator,
            history,
            clock,
            network,
            ask,
            is_interrupted,
            tell,
            began,
            before,
            trials: 0,
            tried: BTreeSet::new(),
            best: None,
            kept: None,
        }
    }

    /// The layers.
    pub fn network(&self) -> &'a Network {
        self.network
    }

    /// The best trial so far.
    pub fn best(&self) -> Option<&Trial> {
        self.best.as_ref()
    }

    /// What is asked for.
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// The float model's figures.
    pub fn baseline(&self) -> &Baseline {
        &self.history.baseline
    }

    /// Says what happens.
    pub fn tell(&mut self, event: Event<'_>) {
        (self.tell)(event);
    }

    fn elapsed(&self) -> Latency {
        self.before + self.clock.now().saturating_since(self.began)
    }

    /// Differences to the float model on a few calibration pictures.
    ///
    /// # Errors
    /// [`Halt`], at an interrupt or when the time is over.
    pub fn screen(
        &mut self,
        settings: &Settings,
    ) -> Result<Vec<PictureDifference>, Halt<E::Error>> {
        let known = self.history.screening(settings);
        let pictures = if let Some(known) = known {
            known.found.clone()
        } else {
            self.go_on()?;
            let found = self.evaluator.screen(settings);
            let found = self.unless_interrupted(found)?;
            let elapsed = self.elapsed();
            self.history.add_screening(settings, &found, elapsed)?;
            found
        };
        self.tell(Event::Screened {
            settings,
            dp: dp(&pictures, None),
        });
        Ok(pictures)
    }

    /// How far each integer layer is from the float one.
    ///
    /// # Errors
    /// As [`Self::screen`].
    pub fn layer_errors(
        &mut self,
        settings: &Settings,
    ) -> Result<BTreeMap<String, f64>, Halt<E::Error>> {
        if let Some(known) = self.history.layer_errors(settings) {
            return Ok(known.found.clone());
        }
        self.go_on()?;
        let found = self.evaluator.layer_errors(settings);
        let found = self.unless_interrupted(found)?;
        let elapsed = self.elapsed();
        self.history.add_layer_errors(settings, &found, elapsed)?;
        Ok(found)
    }

    /// Evaluates a model, keeps it when it is the best so far, and writes the history. Settings that were tried in this
    /// tuning are no new trial.
    ///
    /// # Errors
    /// [`Halt`]: the exit policy, an interrupt, a failure.
    pub fn trial(&mut self, settings: &Settings) -> Result<Figures, Halt<E::Error>> {
        let hash = settings.hash();
        let known = self.history.trial(settings).cloned();
        if let (Some(known), true) = (&known, self.tried.contains(&hash)) {
            return Ok(known.found.clone());
        }
        let number = self.trials + 1;
        let is_known = known.is_some();
        let (figures, found_at) = if let Some(known) = known {
            (known.found, Some(known.elapsed))
        } else {
            self.go_on()?;
            self.tell(Event::Begins {
                trial: number,
                settings,
            });
            let speed = self.history.speed(settings);
            let found = self.evaluator.evaluate(settings, speed);
            (self.unless_interrupted(found)?, None)
        };
        self.trials = number;
        self.tried.insert(hash.clone());
        let judgement = self.ask.criterion.judge(&self.history.baseline, &figures);
        let standing = Standing {
            figures: figures.clone(),
            judgement,
        };
        let is_best = self.is_best(&standing);
        if is_best && !is_known {
            self.evaluator
                .keep(settings, &judgement)
                .map_err(Halt::Failed)?;
            self.kept = Some(hash);
        }
        let elapsed = found_at.unwrap_or_else(|| self.elapsed());
        if !is_known {
            self.history
                .add_trial(number, settings, &figures, elapsed)?;
        }
        let trial = Trial {
            number,
            settings: settings.clone(),
            standing,
            is_best,
            is_known,
            elapsed,
        };
        self.tell(Event::Trial(&trial));
        if is_best {
            self.best = Some(trial);
        }
        let is_met = self.best.as_ref().is_some_and(is_met);
        let end = self.ask.policy.after_trial(number, elapsed, is_met);
        match end {
            Some(ending) => Err(Halt::Ended(ending)),
            None => Ok(figures),
        }
    }

    fn is_best(&self, standing: &Standing) -> bool {
        let Ask {
            criterion,
            objective,
            ..
        } = &self.ask;
        let baseline = &self.history.baseline;
        self.best
            .as_ref()
            .is_none_or(|best| is_better(*objective, criterion, baseline, standing, &best.standing))
    }

    /// Before anything new is done: the best of the history is on disk, and nobody has asked to stop.
    fn go_on(&mut self) -> Result<(), Halt<E::Error>> {
        self.settle().map_err(Halt::Failed)?;
        if (self.is_interrupted)() {
            return Err(Halt::Ended(Ending::Interrupted));
        }
        let is_over = self.trials > 0 && self.ask.policy.is_over(self.elapsed());
        if is_over {
            return Err(Halt::Ended(Ending::Timeout));
        }
        Ok(())
    }

    /// Puts the best model on disk unless it is there.
    fn settle(&mut self) -> Result<(), E::Error> {
        if let Some(best) = &self.best {
            let hash = best.settings.hash();
            if self.kept.as_ref() != Some(&hash) {
                self.evaluator
                    .keep(&best.settings, &best.standing.judgement)?;
                self.kept = Some(hash);
            }
        }
        Ok(())
    }

    /// What fails after somebody asked to stop failed because of that.
    fn unless_interrupted<T>(&self, done: Result<T, E::Error>) -> Result<T, Halt<E::Error>> {
        done.map_err(|error| {
            if (self.is_interrupted)() {
                Halt::Ended(Ending::Interrupted)
            } else {
                Halt::Failed(error)
            }
        })
    }

    /// Ends: the best model is on disk when this returns.
    ///
    /// # Errors
    /// What kept the strategy from going on.
    pub fn finish(
        mut self,
        strategy: Result<(), Halt<E::Error>>,
    ) -> Result<Outcome, Halt<E::Error>> {
        let ending = match strategy {
            Ok(()) => Ending::Exhausted,
            Err(Halt::Ended(ending)) => ending,
            Err(failed) => return Err(failed),
        };
        self.settle().map_err(Halt::Failed)?;
        Ok(Outcome {
            elapsed: self.elapsed(),
            best: self.best,
            trials: self.trials,
            ending,
        })
    }
}

/// Whether a trial meets the criterion.
pub fn is_met(trial: &Trial) -> bool {
    trial.standing.judgement.is_met
}
