//! LoadGen's own FindPeakPerformance: every trial once, judged by its percentile alone.
//!
//! 1. Run at the rate of the settings; when it fails, end.
//! 2. Multiply by `1 + step` until it fails: the peak is in `[lower, upper)`.
//! 3. Bisect until both ends agree to the wanted decimals.
//!
//! LoadGen has no upper bound: a system that absorbs the whole burst within the bound makes it go
//! on to rates that no clock can tell apart. Here growing ends at a ceiling.

/// One run of the search.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Server's rate.
    pub rate: f64,
    /// What LoadGen's detail log says before the run.
    pub messages: Vec<String>,
    /// Whether LoadGen loads the set for it.
    pub loads_set: bool,
    /// Whether that loading serves the trials that follow, as in the bisection.
    pub shares_set: bool,
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LoadGenEnd {
    /// At the highest rate that passed.
    Found {
        /// The rate.
        rate: f64,
    },
    /// The rate of the settings fails already.
    BadStart {
        /// The rate.
        rate: f64,
    },
    /// No rate up to the ceiling failed.
    Unbounded {
        /// The highest rate that passed.
        rate: f64,
        /// The ceiling.
        ceiling: f64,
    },
}

impl LoadGenEnd {
    /// The rate whose run is reported.
    pub const fn rate(self) -> f64 {
        match self {
            Self::Found { rate } | Self::BadStart { rate } | Self::Unbounded { rate, .. } => rate,
        }
    }

    /// What the detail log says at the end.
    pub fn message(self) -> String {
        match self {
            Self::Found { rate } => {
                format!("FindPeakPerformance: Found peak performance field: {rate:.6}")
            }
            Self::BadStart { .. } => "FindPeakPerformance: Initial lower bound does not satisfy \
                performance constraints, msg: Reduce target QPS to improve latency."
                .to_owned(),
            Self::Unbounded { rate, ceiling } => format!(
                "FindPeakPerformance: No rate up to {ceiling:.6} fails, so that there is no peak; \
                 reported is the highest rate that was run: {rate:.6}"
            ),
        }
    }

    /// Whether that is an error.
    pub const fn is_error(self) -> bool {
        matches!(self, Self::BadStart { .. } | Self::Unbounded { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Base,
    Boundary { lower: f64 },
    Bisection { lower: f64, upper: f64 },
    Ended(LoadGenEnd),
}

/// The search as a state machine.
#[derive(Debug, Clone)]
pub struct LoadGenSearch {
    base: f64,
    step: f64,
    scale: f64,
    ceiling: f64,
    stage: Stage,
    is_first_bisection: bool,
    trial_rate: Option<f64>,
}

impl LoadGenSearch {
    /// A search from `base`, with LoadGen's step size and decimals of precision, up to `ceiling`.
    pub fn new(base: f64, step: f64, decimals: u64, ceiling: f64) -> Self {
        Self {
            base,
            step,
            scale: 10_f64.powi(decimals.min(9) as i32),
            ceiling,
            stage: Stage::Base,
            is_first_bisection: true,
            trial_rate: None,
        }
    }

    /// The next trial; `None` when the search has ended.
    pub fn next_trial(&mut self) -> Option<Trial> {
        let trial = match self.stage {
            Stage::Base => Trial {
                rate: self.base,
                messages: vec![format!(
                    "FindPeakPerformance: Check validity of the base settings field: {:.6}",
                    self.base
                )],
                loads_set: true,
                shares_set: false,
            },
            Stage::Boundary { lower } => {
                let upper = lower * (1.0 + self.step);
                Trial {
                    rate: upper,
                    messages: vec![format!(
                        "FindBoundaries: Checking fields [{lower:.6}, {upper:.6})"
                    )],
                    loads_set: true,
                    shares_set: false,
                }
            }
            Stage::Bisection { lower, upper } => {
                let middle = lower + (upper - lower) / 2.0;
                Trial {
                    rate: middle,
                    messages: vec![format!(
                        "FindPeakPerformanceBinarySearch: Testing the mid value of bounds \
                         [{lower:.6}, {upper:.6}): {middle:.6}"
                    )],
                    loads_set: std::mem::take(&mut self.is_first_bisection),
                    shares_set: true,
                }
            }
            Stage::Ended(_) => return None,
        };
        self.trial_rate = Some(trial.rate);
        Some(trial)
    }

    /// Says whether the last trial kept the latency bound; gives what the log says then.
    ///
    /// # Panics
    /// When there is none.
    pub fn tell(&mut self, has_passed: bool) -> Option<String> {
        let rate = self.trial_rate.take().expect("a trial was asked for");
        let mut message = None;
        self.stage = match self.stage {
            Stage::Base | Stage::Boundary { .. } if has_passed => self.boundary(rate),
            Stage::Base => Stage::Ended(LoadGenEnd::BadStart { rate }),
            Stage::Boundary { lower } => {
                message = Some(format!(
                    "FindPeakPerformance: Found boundaries: [{lower:.6}, {rate:.6})"
                ));
                self.bisection(lower, rate)
            }
            Stage::Bisection { upper, .. } if has_passed => self.bisection(rate, upper),
            Stage::Bisection { lower, .. } => self.bisection(lower, rate),
            Stage::Ended(_) => unreachable!("an ended search has no trial"),
        };
        message
    }

    fn boundary(&self, lower: f64) -> Stage {
        if lower * (1.0 + self.step) > self.ceiling {
            let (rate, ceiling) = (lower, self.ceiling);
            return Stage::Ended(LoadGenEnd::Unbounded { rate, ceiling });
        }
        Stage::Boundary { lower }
    }

    fn bisection(&self, lower: f64, upper: f64) -> Stage {
        let middle = lower + (upper - lower) / 2.0;
        let agrees = (lower * self.scale).floor() + 1.0 >= (upper * self.scale).floor();
        // Neighbouring numbers have no middle; LoadGen would not end there.
        if agrees || middle <= lower || middle >= upper {
            return Stage::Ended(LoadGenEnd::Found { rate: lower });
        }
        Stage::Bisection { lower, upper }
    }

    /// How it ended; `None` before that.
    pub fn end(&self) -> Option<LoadGenEnd> {
        match self.stage {
            Stage::Ended(end) => Some(end),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mut search: LoadGenSearch, limit: f64) -> (LoadGenEnd, Vec<f64>) {
        let mut rates = Vec::new();
        while let Some(trial) = search.next_trial() {
            rates.push(trial.rate);
            search.tell(trial.rate <= limit);
        }
        (search.end().unwrap(), rates)
    }

    #[test]
    fn the_rate_is_found_to_its_decimals() {
        for (decimals, limit) in [(0, 1_074.5), (1, 1_074.5), (2, 333.333), (0, 100.0)] {
            let (end, rates) = run(LoadGenSearch::new(100.0, 1.0, decimals, 1e9), limit);
            let LoadGenEnd::Found { rate } = end else {
                panic!("{end:?}")
            };
            let unit = 10_f64.powi(-(decimals as i32));
            assert!(rate <= limit && limit - rate < 2.0 * unit, "{rate} {limit}");
            assert_eq!(rates[..2], [100.0, 200.0]);
        }
    }

    #[test]
    fn a_bad_start_ends_at_once_and_a_system_without_limit_at_the_ceiling() {
        let (end, rates) = run(LoadGenSearch::new(100.0, 1.0, 1, 1e9), 99.0);
        assert_eq!(end, LoadGenEnd::BadStart { rate: 100.0 });
        assert_eq!(rates, [100.0]);
        let (end, rates) = run(LoadGenSearch::new(100.0, 0.5, 1, 1_000.0), 1e300);
        assert!(matches!(end, LoadGenEnd::Unbounded { .. }));
        assert!(rates.iter().all(|&rate| rate <= 1_000.0) && end.rate() > 666.0);
    }
}
