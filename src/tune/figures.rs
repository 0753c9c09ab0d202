//! What is known of a model after a trial, and which of two models is the better one.

use serde::{Deserialize, Serialize};

use super::criterion::{Criterion, Judged};
use super::objective::Objective;

/// Differences of a measured time or rate below this share are none: runs on one machine repeat no better.
const MEASURED_TIE: f64 = 0.05;
/// Differences of size below this share are none: the settings that stand in the file have lengths.
const SIZE_TIE: f64 = 0.001;

/// The float model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// COCO's mAP, where there is ground truth.
    pub map: Option<f64>,
    /// Median latency.
    pub latency_p50_ns: u64,
    /// 99th percentile of the latency.
    pub latency_p99_ns: u64,
    /// Inferences a second.
    pub per_second: f64,
    /// Bytes of the file.
    pub size_bytes: u64,
}

/// How fast a structure is, and how fast the float model was in turn with it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Median latency.
    pub p50_ns: u64,
    /// 99th percentile of the latency.
    pub p99_ns: u64,
    /// Inferences a second of all instances.
    pub per_second: f64,
    /// The float model's median latency.
    pub float_p50_ns: u64,
    /// The float model's 99th percentile.
    pub float_p99_ns: u64,
    /// The float model's inferences a second.
    pub float_per_second: f64,
    /// How far the median of the ratios may be off, as a share of it.
    pub spread: f64,
}

/// Changes of a figure against the float model over resamples of the pictures, at shares from 0 to 1 in equal steps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantiles(pub Vec<f64>);

impl Quantiles {
    /// How many steps are kept.
    pub const STEPS: usize = 40;

    /// Of values in any order.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        if values.is_empty() {
            return Self::default();
        }
        let last = values.len() - 1;
        let at = |step: usize| values[(step * last + Self::STEPS / 2) / Self::STEPS];
        Self((0..=Self::STEPS).map(at).collect())
    }

    /// The value below which `share` of the resamples lie, between the kept steps by a straight line.
    pub fn at(&self, share: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        let place = share.clamp(0.0, 1.0) * last as f64;
        let (low, part) = (place.floor() as usize, place.fract());
        let high = (low + 1).min(last);
        Some(self.0[low] * (1.0 - part) + self.0[high] * part)
    }

    /// The two ends of the interval of this confidence.
    pub fn interval(&self, confidence: f64) -> Option<(f64, f64)> {
        let outside = (1.0 - confidence) / 2.0;
        Some((self.at(outside)?, self.at(1.0 - outside)?))
    }
}

/// What a trial found of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// COCO's mAP.
    pub map: Option<f64>,
    /// mAP of its detections with the float model's as ground truth.
    pub agreement: Option<f64>,
    /// Relative difference of all class probabilities.
    pub dp: Option<f64>,
    /// How `map` differs from the float model's.
    pub map_change: Quantiles,
    /// How `agreement` differs from 1.
    pub agreement_change: Quantiles,
    /// How 1 less `dp` differs from 1.
    pub dp_change: Quantiles,
    /// How fast it is.
    pub speed: Speed,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// For each operator: how many there are, and how many of them are integer.
    pub operators: Vec<OperatorCount>,
}

/// A row of the table of operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorCount {
    /// The operator.
    pub operator: String,
    /// How many the prepared network has.
    pub total: usize,
    /// How many of them are integer.
    pub int8: usize,
}

impl Judged {
    /// The float model's figure.
    pub fn of_baseline(self, baseline: &Baseline) -> Option<f64> {
        match self {
            Self::Map => baseline.map,
            Self::Agreement | Self::Dp => Some(1.0),
        }
    }

    /// A model's figure.
    pub fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::Map => figures.map,
            Self::Agreement => figures.agreement,
            Self::Dp => figures.dp.map(|dp| 1.0 - dp),
        }
    }

    /// How it may differ from the float model's.
    pub fn change(self, figures: &Figures) -> &Quantiles {
        match self {
            Self::Map => &figures.map_change,
            Self::Agreement => &figures.agreement_change,
            Self::Dp => &figures.dp_change,
        }
    }
}

/// How a model stands to the criterion.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Judgement {
    /// Its figure; NaN where it has none.
    pub figure: f64,
    /// The least, or the most, that is good enough.
    pub threshold: f64,
    /// Where the figure lies with the criterion's confidence, or with 95 % without one.
    pub interval: Option<(f64, f64)>,
    /// Whether it is good enough.
    pub is_met: bool,
}

/// The confidence of intervals that are only printed.
pub const SHOWN_CONFIDENCE: f64 = 0.95;

impl Judgement {
    /// Whether the pictures leave it open on which side of the threshold the model is.
    pub fn is_open(&self) -> bool {
        self.interval
            .is_some_and(|(low, high)| low < self.threshold && self.threshold < high)
    }
}

impl Criterion {
    /// Judges a model. One without the figure does not meet the criterion.
    pub fn judge(&self, baseline: &Baseline, figures: &Figures) -> Judgement {
        let base = self.judged.of_baseline(baseline).unwrap_or(f64::NAN);
        let figure = self.judged.of(figures).unwrap_or(f64::NAN);
        let confidence = self.confidence.unwrap_or(SHOWN_CONFIDENCE);
        let interval = self.judged.change(figures).interval(confidence);
        let interval = interval.map(|(low, high)| (base + low, base + high));
        let demanded = match (self.confidence, interval) {
            (None, _) => figure,
            (Some(_), None) => f64::NAN,
            (Some(_), Some((low, high))) => {
                if self.higher_is_better {
                    low
                } else {
                    high
                }
            }
        };
        Judgement {
            figure,
            threshold: self.threshold(base),
            interval,
            is_met: self.is_met(base, demanded),
        }
    }
}

impl Objective {
    /// The figure that should be small, as a share of the float model's.
    pub fn cost(self, baseline: &Baseline, figures: &Figures) -> f64 {
        let speed = &figures.speed;
        match self {
            Self::LatencyP50 => speed.p50_ns as f64 / speed.float_p50_ns as f64,
            Self::LatencyP99 => speed.p99_ns as f64 / speed.float_p99_ns as f64,
            Self::Throughput => speed.float_per_second / speed.per_second,
            Self::Size => figures.size_bytes as f64 / baseline.size_bytes as f64,
        }
    }

    /// Whether one cost is so much smaller than another that measuring again would not turn it round.
    fn is_clearly_less(self, cost: f64, other: f64, spreads: f64) -> bool {
        let tie = match self {
            Self::Size => SIZE_TIE,
            Self::LatencyP50 | Self::LatencyP99 | Self::Throughput => MEASURED_TIE.max(spreads),
        };
        cost < other * (1.0 - tie)
    }
}

/// A model among the trials.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Its figures.
    pub figures: Figures,
    /// How it stands to the criterion.
    pub judgement: Judgement,
}

/// Whether `new` takes the place of `best`.
///
/// A model that meets the criterion comes before one that does not. Of two that meet it the clearly cheaper one wins, and
/// of two that cost the same the one with the smaller `dp`: that figure repeats exactly, and ranks good models better than
/// mAP. Of two that do not meet it the one nearer to it wins.
pub fn is_better(
    objective: Objective,
    criterion: &Criterion,
    baseline: &Baseline,
    new: &Standing,
    best: &Standing,
) -> bool {
    let (met, was_met) = (new.judgement.is_met, best.judgement.is_met);
    if met != was_met {
        return met;
    }
    let nearer = dp(&new.figures) < dp(&best.figures);
    if !met {
        let distance = |standing: &Standing| {
            let own = &standing.judgement;
            let short = if criterion.higher_is_better {
                own.threshold - own.figure
            } else {
                own.figure - own.threshold
            };
            if short.is_nan() {
                f64::INFINITY
            } else {
                short
            }
        };
        let (new, best) = (distance(new), distance(best));
        return new < best || (new <= best && nearer);
    }
    let cost = objective.cost(baseline, &new.figures);
    let other = objective.cost(baseline, &best.figures);
    let spreads = new.figures.speed.spread + best.figures.speed.spread;
    if objective.is_clearly_less(cost, other, spreads) {
        return true;
    }
    !objective.is_clearly_less(other, cost, spreads) && nearer
}

fn dp(figures: &Figures) -> f64 {
    // Without raw heads there are only detections to go by.
    figures.dp.unwrap_or_else(|| {
        figures
            .agreement
            .map_or(f64::INFINITY, |agreement| 1.0 - agreement)
    })
}

#[cfg(test)]
pub(in crate::tune) mod tests {
    use super::*;
    use crate::tune::criterion::Loss;

    pub const BASELINE: Baseline = Baseline {
        map: Some(0.4),
        latency_p50_ns: 16_000_000,
        latency_p99_ns: 20_000_000,
        per_second: 100.0,
        size_bytes: 18_000_000,
    };

    /// A model of this mAP, dp and latency as a share of the float model's.
    pub fn figures(map: f64, dp: f64, latency: f64) -> Figures {
        let spread = |at: f64| {
            Quantiles(
                (0..=Quantiles::STEPS)
                    .map(|step| at + (step as f64 / 20.0 - 1.0) * 0.01)
                    .collect(),
            )
        };
        Figures {
            map: Some(map),
            agreement: Some(1.0 - dp / 2.0),
            dp: Some(dp),
            map_change: spread(map - 0.4),
            agreement_change: spread(-dp / 2.0),
            dp_change: spread(-dp),
            speed: Speed {
                p50_ns: (latency * 16e6) as u64,
                p99_ns: (latency * 20e6) as u64,
                per_second: 100.0 / latency,
                float_p50_ns: 16_000_000,
                float_p99_ns: 20_000_000,
                float_per_second: 100.0,
                spread: 0.01,
            },
            size_bytes: (18e6 * (0.25 + latency / 100.0)) as u64,
            operators: Vec::new(),
        }
    }

    fn better(new: &Figures, best: &Figures) -> bool {
        better_by(Objective::LatencyP50, new, best)
    }

    fn better_by(objective: Objective, new: &Figures, best: &Figures) -> bool {
        let criterion = Criterion::default();
        let stand = |figures: &Figures| Standing {
            judgement: criterion.judge(&BASELINE, figures),
            figures: figures.clone(),
        };
        is_better(objective, &criterion, &BASELINE, &stand(new), &stand(best))
    }

    #[test]
    fn a_model_that_meets_the_criterion_comes_before_a_faster_one_that_does_not() {
        let (slow, fast) = (figures(0.4, 0.1, 0.9), figures(0.39, 0.05, 0.3));
        assert!(better(&slow, &fast));
        assert!(!better(&fast, &slow));
    }

    #[test]
    fn the_clearly_faster_one_wins_and_equal_ones_are_told_apart_by_dp() {
        let (slow, fast) = (figures(0.4, 0.05, 0.6), figures(0.399, 0.1, 0.5));
        assert!(better(&fast, &slow));
        assert!(!better(&slow, &fast));
        // Three per cent are within what measuring again may give.
        let (a, b) = (figures(0.4, 0.10, 0.50), figures(0.4, 0.08, 0.515));
        assert!(better(&b, &a));
        assert!(!better(&a, &b));
        // Nothing takes its own place.
        assert!(!better(&a, &a));
        assert!(better_by(Objective::Throughput, &fast, &slow));
        assert!(better_by(Objective::LatencyP99, &fast, &slow));
    }

    #[test]
    fn a_spread_wider_than_the_difference_makes_a_tie() {
        let (mut slow, fast) = (figures(0.4, 0.05, 0.6), figures(0.4, 0.1, 0.5));
        slow.speed.spread = 0.3;
        assert!(!better(&fast, &slow));
        assert!(better(&slow, &fast));
    }

    #[test]
    fn sizes_differ_by_more_than_the_length_of_what_is_written_in_the_file() {
        let (mut a, mut b) = (figures(0.4, 0.1, 0.5), figures(0.4, 0.08, 0.5));
        (a.size_bytes, b.size_bytes) = (5_000_000, 5_001_000);
        assert!(better_by(Objective::Size, &b, &a));
        b.size_bytes = 5_100_000;
        assert!(!better_by(Objective::Size, &b, &a));
        assert!(better_by(Objective::Size, &a, &b));
    }

    #[test]
    fn of_two_that_do_not_meet_it_the_nearer_one_wins() {
        let (near, far) = (figures(0.39, 0.2, 0.9), figures(0.38, 0.1, 0.3));
        assert!(better(&near, &far));
        assert!(!better(&far, &near));
        let mut none = far.clone();
        none.map = None;
        assert!(better(&far, &none));
    }

    #[test]
    fn with_a_confidence_the_lower_bound_is_judged_and_without_one_the_figure() {
        let mut criterion = Criterion {
            loss: Loss::Absolute(0.005),
            ..Criterion::default()
        };
        let own = figures(0.398, 0.1, 0.5);
        let judged = criterion.judge(&BASELINE, &own);
        assert!(judged.is_met && judged.is_open());
        criterion.confidence = Some(0.9);
        let judged = criterion.judge(&BASELINE, &own);
        assert!(!judged.is_met);
        let (low, high) = judged.interval.unwrap();
        assert!(
            (low - 0.389).abs() < 1e-9 && (high - 0.407).abs() < 1e-9,
            "{low} {high}"
        );
        // 0.012 below the estimate lies below everything that was drawn.
        criterion.loss = Loss::Absolute(0.012);
        assert!(criterion.judge(&BASELINE, &own).is_met);
        // Without resamples nothing is sure.
        let mut bare = own;
        bare.map_change = Quantiles::default();
        assert!(!criterion.judge(&BASELINE, &bare).is_met);
    }

    #[test]
    fn dp_and_agreement_are_judged_against_a_float_model_of_one() {
        for (judged, met) in [(Judged::Dp, 0.1), (Judged::Agreement, 0.05)] {
            for (loss, expected) in [(met + 0.001, true), (met - 0.001, false)] {
                let criterion = Criterion {
                    judged,
                    loss: Loss::Relative(loss),
                    ..Criterion::default()
                };
                let own = criterion.judge(&BASELINE, &figures(0.1, 0.1, 0.5));
                assert_eq!(own.is_met, expected, "{judged:?} {loss}");
            }
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let own = Quantiles::of((0..=400).rev().map(f64::from).collect());
        assert_eq!(own.at(0.0), Some(0.0));
        assert_eq!(own.at(0.5), Some(200.0));
        let (low, high) = own.interval(0.9).unwrap();
        assert!((low - 20.0).abs() < 1e-9 && (high - 380.0).abs() < 1e-9);
        assert_eq!(own.at(1.0), Some(400.0));
        assert_eq!(Quantiles::of(Vec::new()).at(0.5), None);
    }
}
