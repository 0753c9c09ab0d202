//! How much accuracy a model may lose.

use serde::Serialize;

/// The figure that a criterion looks at. Of each, the float model's is known: its mAP, and 1 for the other two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judged {
    /// COCO's mAP against the ground truth.
    #[default]
    Map,
    /// mAP of the detections against the float model's, which stand for ground truth.
    Agreement,
    /// One less the relative difference of all class probabilities.
    Dp,
}

impl Judged {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Agreement => "agreement",
            Self::Dp => "dp",
        }
    }
}

/// What may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// This share of the float model's figure; above -1 and below 1.
    Relative(f64),
    /// This much of the figure itself.
    Absolute(f64),
}

/// What may be lost unless something else is asked for: one per cent.
pub const RELATIVE_LOSS: f64 = 0.01;

/// Which models are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Criterion {
    /// The figure.
    pub judged: Judged,
    /// How much of it may be lost.
    pub loss: Loss,
    /// Whether more of the figure is better; otherwise the loss is how much more there may be.
    pub higher_is_better: bool,
    /// How sure it has to be: the lower bound of the paired bootstrap interval of this confidence must meet the
    /// criterion. Without it the point estimate must. In (0, 1).
    pub confidence: Option<f64>,
}

impl Default for Criterion {
    fn default() -> Self {
        Self {
            judged: Judged::Map,
            loss: Loss::Relative(RELATIVE_LOSS),
            higher_is_better: true,
            confidence: None,
        }
    }
}

/// Why a loss or a confidence is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CriterionError {
    /// Not a number.
    #[error("`{text}` is no loss: give a number such as 0.01, or a percentage such as 1%")]
    NotALoss {
        /// What was given.
        text: String,
    },
    /// A share of everything or more.
    #[error("a relative loss of {value} is not above -1 and below 1: 0.01 and 1% stand for one per cent")]
    RelativeRange {
        /// What was given.
        value: f64,
    },
    /// Not finite.
    #[error("an absolute loss of {value} is no finite number")]
    AbsoluteRange {
        /// What was given.
        value: f64,
    },
    /// Not a probability.
    #[error(
        "a confidence of {value} is not between 0 and 1: 0.9 asks to be right nine times in ten"
    )]
    ConfidenceRange {
        /// What was given.
        value: f64,
    },
}

/// Reads `0.01` or `1%`.
///
/// # Errors
/// [`CriterionError::NotALoss`].
pub fn parse_loss(text: &str) -> Result<f64, CriterionError> {
    let trimmed = text.trim();
    let (number, unit) = match trimmed.strip_suffix('%') {
        Some(number) => (number.trim_end(), 100.0),
        None => (trimmed, 1.0),
    };
    match number.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value / unit),
        _ => Err(CriterionError::NotALoss {
            text: text.to_owned(),
        }),
    }
}

impl Loss {
    /// A relative loss.
    ///
    /// # Errors
    /// [`CriterionError::RelativeRange`].
    pub fn relative(value: f64) -> Result<Self, CriterionError> {
        if value > -1.0 && value < 1.0 {
            Ok(Self::Relative(value))
        } else {
            Err(CriterionError::RelativeRange { value })
        }
    }

    /// An absolute loss.
    ///
    /// # Errors
    /// [`CriterionError::AbsoluteRange`].
    pub fn absolute(value: f64) -> Result<Self, CriterionError> {
        if value.is_finite() {
            Ok(Self::Absolute(value))
        } else {
            Err(CriterionError::AbsoluteRange { value })
        }
    }
}

/// A confidence.
///
/// # Errors
/// [`CriterionError::ConfidenceRange`].
pub fn confidence(value: f64) -> Result<f64, CriterionError> {
    if value > 0.0 && value < 1.0 {
        Ok(value)
    } else {
        Err(CriterionError::ConfidenceRange { value })
    }
}

impl Criterion {
    /// The figure that just meets the criterion when the float model has `baseline`.
    pub fn threshold(&self, baseline: f64) -> f64 {
        let lost = match self.loss {
            Loss::Relative(share) => baseline * share,
            Loss::Absolute(amount) => amount,
        };
        if self.higher_is_better {
            baseline - lost
        } else {
            baseline + lost
        }
    }

    /// Whether `figure` is good enough when the float model has `baseline`; NaN never is.
    pub fn is_met(&self, baseline: f64, figure: f64) -> bool {
        let threshold = self.threshold(baseline);
        if self.higher_is_better {
            figure >= threshold
        } else {
            figure <= threshold
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn criterion(loss: Loss, higher_is_better: bool) -> Criterion {
        Criterion {
            loss,
            higher_is_better,
            ..Criterion::default()
        }
    }

    #[test]
    fn what_may_be_lost_counts_from_the_float_model_and_the_threshold_itself_is_good_enough() {
        let relative = criterion(Loss::Relative(0.25), true);
        assert!(relative.is_met(0.5, 0.375));
        assert!(!relative.is_met(0.5, 0.374_999));
        let absolute = criterion(Loss::Absolute(0.25), true);
        assert!(absolute.is_met(0.5, 0.25));
        assert!(!absolute.is_met(0.5, 0.249));
        assert!(!relative.is_met(0.5, f64::NAN));
        // A negative loss asks for a gain.
        assert!(!criterion(Loss::Relative(-0.25), true).is_met(0.5, 0.6));
    }

    #[test]
    fn a_figure_that_should_be_low_may_grow_by_the_loss() {
        let relative = criterion(Loss::Relative(0.25), false);
        assert!(relative.is_met(0.5, 0.625));
        assert!(!relative.is_met(0.5, 0.626));
        assert!(relative.is_met(0.5, 0.1));
        assert!(!relative.is_met(0.5, f64::NAN));
        assert!(criterion(Loss::Absolute(0.25), false).is_met(0.5, 0.75));
    }

    #[test]
    fn losses_are_read_as_numbers_and_as_percentages() {
        for (text, expected) in [
            ("1%", 0.01),
            (" 0.5 % ", 0.005),
            ("0.02", 0.02),
            ("-1%", -0.01),
        ] {
            let value = parse_loss(text).unwrap();
            assert!((value - expected).abs() < 1e-15, "{text}: {value}");
        }
        for text in ["", "%", "one", "1%%", "nan", "inf"] {
            assert!(parse_loss(text).is_err(), "{text}");
        }
        for value in [1.0, -1.0, 100.0, f64::NAN] {
            assert!(Loss::relative(value).is_err(), "{value}");
        }
        assert!(Loss::absolute(f64::INFINITY).is_err());
        for value in [0.0, 1.0, 90.0] {
            assert!(confidence(value).is_err(), "{value}");
        }
    }

    #[test]
    fn one_per_cent_of_the_map_may_go_unless_something_else_is_asked_for() {
        let own = Criterion::default();
        assert!((own.threshold(0.5) - 0.495).abs() < 1e-12);
        assert_eq!(own.confidence, None);
    }
}
