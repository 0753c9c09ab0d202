//! Which load to probe next: grow or shrink to a bracket, bisect it, confirm its lower end.
//!
//! A load fails only when two probes in a row fail at it, each under another schedule, so that one
//! busy moment of the machine decides nothing; that a load passed by luck shows in the confirming
//! run, which counts at once. A load that is not confirmed becomes the lowest that failed, and the
//! next confirmation is tried a step below it, each time twice as far.

/// No search makes more runs than this.
pub const PROBES_MAX: u32 = 64;

/// No search makes more confirming runs than this.
pub const CONFIRMATIONS_MAX: u32 = 6;

/// By how much the load grows until it fails.
const GROWTH: f64 = 2.0;

/// By how much it shrinks until it passes: faster, since slow rates take long.
const SHRINKAGE: f64 = 4.0;

/// What is raised until the objective breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Server's queries a second.
    Rate,
    /// Samples in each query of MultiStream, whole.
    Streams,
}

/// Where a search looks and how closely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchRules {
    /// What is raised.
    pub load: Load,
    /// The first load.
    pub start: f64,
    /// The least load; when it fails, the objective cannot be met.
    pub floor: f64,
    /// The largest load; when it passes, the objective is no bound below it.
    pub ceiling: f64,
    /// A rate's bracket is narrow enough at this share of its upper end. Streams are pinned down to
    /// one.
    pub precision: f64,
}

/// Why a run is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// No load has failed yet.
    Grow,
    /// No load has passed yet.
    Shrink,
    /// Between the highest that passed and the lowest that failed.
    Bisect,
    /// The same load failed once; a second schedule decides.
    Repeat,
    /// The answer, at full length and under the settings' own schedule.
    Confirm,
}

impl Purpose {
    /// A word for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grow => "grow",
            Self::Shrink => "shrink",
            Self::Bisect => "bisect",
            Self::Repeat => "repeat",
            Self::Confirm => "confirm",
        }
    }
}

/// One run of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probe {
    /// From 1.
    pub number: u32,
    /// The load.
    pub load: f64,
    /// Why.
    pub purpose: Purpose,
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The answer was confirmed, and a load above it failed.
    Confirmed,
    /// The answer was confirmed and is the largest load that was allowed.
    ConfirmedAtCeiling,
    /// Not even the least load passed.
    NonePassed,
    /// Too many confirming runs failed.
    NotConfirmed,
    /// Too many runs were made.
    TooManyProbes,
}

impl End {
    /// Whether there is an answer to rely on.
    pub const fn is_confirmed(self) -> bool {
        matches!(self, Self::Confirmed | Self::ConfirmedAtCeiling)
    }
}

/// What a search knows; before its end, so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// The highest load that passed below the lowest that failed; when the end is confirmed, the
    /// confirmed one.
    pub highest_passed: Option<f64>,
    /// The lowest load that failed.
    pub lowest_failed: Option<f64>,
    /// How it ended; `None` before that.
    pub end: Option<End>,
}

/// The search as a state machine: ask for the [`Search::next_probe`], [`Search::tell`] how it went.
#[derive(Debug, Clone)]
pub struct Search {
    rules: SearchRules,
    /// Loads that passed, all below `failed`; the last is the highest.
    passed: Vec<f64>,
    failed: Option<f64>,
    /// Failed once, to be repeated.
    doubted: Option<f64>,
    /// To be confirmed next, after a confirmation failed.
    stepped_down: Option<f64>,
    current: Option<Probe>,
    probes: u32,
    confirmations: u32,
    end: Option<End>,
}

impl Search {
    /// A search that has made no probe.
    ///
    /// # Panics
    /// When the bounds are out of order or not above zero, or the precision is not in (0, 1).
    pub fn new(rules: SearchRules) -> Self {
        assert!(rules.floor > 0.0 && rules.floor <= rules.start && rules.start <= rules.ceiling);
        assert!(rules.precision > 0.0 && rules.precision < 1.0);
        Self {
            rules,
            passed: Vec::new(),
            failed: None,
            doubted: None,
            stepped_down: None,
            current: None,
            probes: 0,
            confirmations: 0,
            end: None,
        }
    }

    /// The next run to make; `None` when the search has ended.
    ///
    /// # Panics
    /// When the outcome of the last one was not told.
    pub fn next_probe(&mut self) -> Option<Probe> {
        assert!(self.current.is_none(), "the last probe has an outcome");
        if self.end.is_some() {
            return None;
        }
        let Some((load, purpose)) = self.choose() else {
            self.end = Some(End::NonePassed);
            return None;
        };
        if self.probes == PROBES_MAX {
            self.end = Some(End::TooManyProbes);
            return None;
        }
        self.probes += 1;
        let probe = Probe {
            number: self.probes,
            load,
            purpose,
        };
        self.current = Some(probe);
        Some(probe)
    }

    fn choose(&self) -> Option<(f64, Purpose)> {
        let rules = &self.rules;
        if let Some(load) = self.doubted {
            return Some((load, Purpose::Repeat));
        }
        if let Some(load) = self.stepped_down {
            return Some((load, Purpose::Confirm));
        }
        match (self.passed.last().copied(), self.failed) {
            (None, None) => Some((rules.start, Purpose::Grow)),
            (Some(passed), None) if passed >= rules.ceiling => Some((passed, Purpose::Confirm)),
            (Some(passed), None) => Some(((passed * GROWTH).min(rules.ceiling), Purpose::Grow)),
            (None, Some(failed)) if failed <= rules.floor => None,
            (None, Some(failed)) => {
                let less = self.whole(failed / SHRINKAGE);
                Some((less.max(rules.floor), Purpose::Shrink))
            }
            (Some(passed), Some(failed)) if self.is_narrow(passed, failed) => {
                Some((passed, Purpose::Confirm))
            }
            (Some(passed), Some(failed)) => {
                let middle = self.whole(passed + (failed - passed) / 2.0);
                Some((middle, Purpose::Bisect))
            }
        }
    }

    fn whole(&self, load: f64) -> f64 {
        match self.rules.load {
            Load::Rate => load,
            Load::Streams => load.floor(),
        }
    }

    fn is_narrow(&self, passed: f64, failed: f64) -> bool {
        match self.rules.load {
            Load::Rate => failed - passed <= self.rules.precision * failed,
            Load::Streams => failed - passed <= 1.0,
        }
    }

    /// Says whether the last probe kept the objective; for a confirming run, every other rule too.
    ///
    /// # Panics
    /// When there is none.
    pub fn tell(&mut self, has_passed: bool) {
        let probe = self.current.take().expect("a probe was asked for");
        let load = probe.load;
        match (probe.purpose, has_passed) {
            (Purpose::Confirm, true) => {
                self.passed.push(load);
                self.end = Some(match self.failed {
                    Some(_) => End::Confirmed,
                    None => End::ConfirmedAtCeiling,
                });
            }
            (Purpose::Confirm, false) => {
                self.fail(load);
                self.confirmations += 1;
                self.step_down(load);
            }
            (_, true) => {
                self.doubted = None;
                self.passed.push(load);
            }
            (Purpose::Repeat, false) => {
                self.doubted = None;
                self.fail(load);
            }
            (_, false) => self.doubted = Some(load),
        }
    }

    fn fail(&mut self, load: f64) {
        self.failed = Some(load);
        self.passed.retain(|&passed| passed < load);
    }

    fn step_down(&mut self, load: f64) {
        if load <= self.rules.floor {
            self.end = Some(End::NonePassed);
        } else if self.confirmations == CONFIRMATIONS_MAX {
            self.end = Some(End::NotConfirmed);
        } else {
            let steps = f64::from(1 << (self.confirmations - 1));
            let step = match self.rules.load {
                Load::Rate => self.rules.precision * load,
                Load::Streams => 1.0,
            };
            let less = load - steps * step;
            self.stepped_down = Some(less.max(self.rules.floor));
        }
    }

    /// What is known.
    pub fn answer(&self) -> Answer {
        Answer {
            highest_passed: self.passed.last().copied(),
            lowest_failed: self.failed,
            end: self.end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: SearchRules = SearchRules {
        load: Load::Rate,
        start: 50.0,
        floor: 1.0,
        ceiling: 10_000.0,
        precision: 0.02,
    };

    /// Runs a search against `passes` and gives its answer and its probes.
    fn search(rules: SearchRules, mut passes: impl FnMut(&Probe) -> bool) -> (Answer, Vec<Probe>) {
        let mut search = Search::new(rules);
        let mut probes = Vec::new();
        while let Some(probe) = search.next_probe() {
            let has_passed = passes(&probe);
            search.tell(has_passed);
            probes.push(probe);
        }
        (search.answer(), probes)
    }

    #[test]
    fn a_fixed_limit_is_bracketed_to_the_precision_and_confirmed_from_any_start() {
        for limit in [1.0, 1.7, 50.0, 199.9, 7_300.0] {
            for start in [1.0, 50.0, 400.0, 10_000.0] {
                let rules = SearchRules { start, ..RULES };
                let (answer, probes) = search(rules, |probe| probe.load <= limit);
                let (passed, failed) = (
                    answer.highest_passed.unwrap(),
                    answer.lowest_failed.unwrap(),
                );
                assert_eq!(answer.end, Some(End::Confirmed));
                assert!(passed <= limit && limit < failed, "{passed} {failed}");
                assert!(failed - passed <= 0.02 * failed, "{passed} {failed}");
                let last = probes.last().unwrap();
                assert_eq!((last.purpose, last.load), (Purpose::Confirm, passed));
                assert!(probes.len() < 45, "{}", probes.len());
                let numbers: Vec<u32> = probes.iter().map(|probe| probe.number).collect();
                assert_eq!(numbers, (1..=probes.len() as u32).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn streams_are_pinned_down_to_neighbours() {
        for limit in 1..=40 {
            let rules = SearchRules {
                load: Load::Streams,
                start: 8.0,
                floor: 1.0,
                ceiling: 64.0,
                precision: 0.02,
            };
            let limit = f64::from(limit);
            let (answer, probes) = search(rules, |probe| probe.load <= limit);
            assert_eq!(answer.highest_passed, Some(limit));
            assert_eq!(answer.lowest_failed, Some(limit + 1.0));
            assert!(probes.iter().all(|probe| probe.load.fract() == 0.0));
        }
    }

    #[test]
    fn what_always_passes_stops_at_the_ceiling_and_is_confirmed_there() {
        let (answer, probes) = search(RULES, |_| true);
        assert_eq!(answer.end, Some(End::ConfirmedAtCeiling));
        assert_eq!(answer.highest_passed, Some(10_000.0));
        assert_eq!(answer.lowest_failed, None);
        assert!(probes.iter().all(|probe| probe.load <= 10_000.0));
    }

    #[test]
    fn what_never_passes_stops_at_the_floor() {
        let (answer, probes) = search(RULES, |_| false);
        assert_eq!(answer.end, Some(End::NonePassed));
        assert_eq!(answer.highest_passed, None);
        assert_eq!(answer.lowest_failed, Some(1.0));
        // 50, 12.5, 3.125 and 1, each twice.
        assert_eq!(probes.len(), 8);
    }

    #[test]
    fn one_failure_alone_decides_nothing() {
        // Every load fails at its first probe: only the limit counts.
        let mut seen = Vec::new();
        let (answer, _) = search(RULES, |probe| {
            let is_first = !seen.contains(&probe.load.to_bits());
            seen.push(probe.load.to_bits());
            probe.load <= 200.0 && !is_first
        });
        let passed = answer.highest_passed.unwrap();
        assert!(passed <= 200.0 && passed > 0.98 * 200.0 * 0.98, "{passed}");
        assert_eq!(answer.end, Some(End::Confirmed));
    }

    #[test]
    fn a_load_that_is_not_confirmed_is_the_lowest_failed_and_the_search_steps_down() {
        // Probes are too kind: they pass up to 220, full-length runs only up to 200.
        let (answer, probes) = search(RULES, |probe| match probe.purpose {
            Purpose::Confirm => probe.load <= 200.0,
            _ => probe.load <= 220.0,
        });
        assert_eq!(answer.end, Some(End::Confirmed));
        let passed = answer.highest_passed.unwrap();
        let failed = answer.lowest_failed.unwrap();
        assert!(passed <= 200.0 && failed > 200.0, "{passed} {failed}");
        let confirmations: Vec<f64> = probes
            .iter()
            .filter(|probe| probe.purpose == Purpose::Confirm)
            .map(|probe| probe.load)
            .collect();
        assert_eq!(confirmations.last(), Some(&passed));
        assert_eq!(confirmations.iter().rev().nth(1), Some(&failed));
        assert!(confirmations.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn a_search_that_nothing_confirms_ends_unconfirmed_within_its_bounds() {
        let (answer, probes) = search(RULES, |probe| {
            probe.purpose != Purpose::Confirm && probe.load <= 220.0
        });
        assert_eq!(answer.end, Some(End::NotConfirmed));
        let confirmations = probes
            .iter()
            .filter(|probe| probe.purpose == Purpose::Confirm);
        assert_eq!(confirmations.count() as u32, CONFIRMATIONS_MAX);
        assert!(answer.highest_passed < answer.lowest_failed);
        // Chance itself cannot keep a search going.
        let mut toss = 1_u32;
        for _ in 0..200 {
            let (_, probes) = search(RULES, |_| {
                toss = toss.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                toss >> 31 == 0
            });
            assert!(probes.len() as u32 <= PROBES_MAX);
        }
    }
}
