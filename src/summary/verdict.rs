//! Whether a run kept the rules, and if not, which it broke and what would help.

use std::fmt;

use serde::Serialize;

use super::{EarlyStopping, Rules, Summary};
use crate::drive::Ending;
use crate::issue::IssueEnd;
use crate::metrics::early_stopping::{OverlatencyVerdict, TailEstimate};
use crate::plan::effective::EffectiveSettings;
use crate::scenario::Scenario;
use crate::units::{Latency, Quantile};

/// The judgement on a run; an invalid run keeps its figures.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Every rule was kept.
    Valid,
    /// At least one was not.
    Invalid(Vec<Reason>),
}

impl Verdict {
    /// Whether every rule was kept.
    pub fn is_valid(&self) -> bool {
        matches!(self, Self::Valid)
    }

    /// The rules that were broken.
    pub fn reasons(&self) -> &[Reason] {
        match self {
            Self::Valid => &[],
            Self::Invalid(reasons) => reasons,
        }
    }
}

/// One broken rule; its text says what would help.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// The judged percentile is over the latency bound.
    LatencyBound {
        /// The percentile that is judged.
        quantile: Quantile,
        /// Its latency.
        latency: Option<Latency>,
        /// The bound.
        bound: Latency,
    },
    /// The run was shorter than it has to be.
    MinDuration {
        /// How long it was, as the scenario measures it.
        measured: Latency,
        /// How long it has to be.
        required: Latency,
        /// Whether the scenario's plan makes it longer when the expected rate is raised.
        scenario: Scenario,
    },
    /// Too few queries.
    MinQueries {
        /// Queries issued.
        issued: u64,
        /// Queries required.
        required: u64,
    },
    /// Too few samples were answered.
    MinSamples {
        /// Samples answered.
        answered: u64,
        /// Samples required.
        required: u64,
    },
    /// Not every sample was answered.
    Unanswered {
        /// Samples without an answer.
        outstanding: u64,
        /// For how long no answer had come when the run was given up.
        silent: Latency,
    },
    /// The early-stopping test needs more queries.
    EarlyStopping {
        /// The percentile that is judged.
        quantile: Quantile,
        /// How many more queries, at least.
        more: u64,
    },
    /// Issuing was cut short by a bound of the settings.
    CutShort(IssueEnd),
    /// Somebody stopped the run.
    Interrupted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LatencyBound { quantile, latency: Some(latency), bound } => write!(
                f,
                "{quantile} latency {latency} is over the bound of {bound}; lower the target rate"
            ),
            Self::LatencyBound { bound, .. } => {
                write!(f, "no sample was answered within the bound of {bound}")
            }
            Self::MinDuration { measured, required, scenario } => {
                let remedy = match scenario {
                    Scenario::SingleStream | Scenario::MultiStream => {
                        "lower the expected latency so that more queries are generated"
                    }
                    Scenario::Server => "raise the target rate so that more queries are generated",
                    Scenario::Offline => {
                        "raise the expected rate so that the one query becomes longer"
                    }
                };
                write!(f, "ran for {measured} of at least {required}; {remedy}")
            }
            Self::MinQueries { issued, required } => {
                write!(f, "issued {issued} of at least {required} queries")
            }
            Self::MinSamples { answered, required } => {
                write!(f, "{answered} of at least {required} samples were answered")
            }
            Self::Unanswered { outstanding, silent } => write!(
                f,
                "{outstanding} samples were never answered; the run was given up after {silent} without an answer"
            ),
            Self::EarlyStopping { quantile, more } => write!(
                f,
                "early stopping asks for at least {more} more queries to be sure of {quantile}"
            ),
            Self::CutShort(IssueEnd::QueryCountMax) => {
                f.write_str("max_query_count was reached before the run was complete")
            }
            Self::CutShort(IssueEnd::DurationMax) => {
                f.write_str("max_duration_ms was exceeded before the run was complete")
            }
            Self::CutShort(IssueEnd::OutstandingMax { .. }) => f.write_str(
                "more queries were outstanding than server_max_async_queries allows",
            ),
            Self::CutShort(IssueEnd::RanOut) => f.write_str(
                "the generated queries ran out before the minimum duration; lower the expected latency",
            ),
            Self::CutShort(IssueEnd::Naturally | IssueEnd::Exhausted) => {
                f.write_str("issuing ended early")
            }
            Self::Interrupted => f.write_str("the run was interrupted"),
        }
    }
}

/// LoadGen's four conditions of a valid run, each on its own and whatever the [`Rules`] require.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "LoadGen logs these four, each on its own"
)]
pub struct Checks {
    /// The judged percentile keeps the latency bound; true where there is none.
    pub latency_bound_kept: bool,
    /// The run was long enough, as its scenario measures it.
    pub min_duration_met: bool,
    /// Enough queries were issued, and enough samples answered.
    pub min_queries_met: bool,
    /// The early-stopping test passed, or there is none.
    pub early_stopping_met: bool,
}

impl Checks {
    pub(super) fn of(summary: &Summary, settings: &EffectiveSettings) -> Self {
        Self {
            latency_bound_kept: latency_reason(summary).is_none(),
            min_duration_met: duration_reason(summary, settings).is_none(),
            min_queries_met: queries_reason(summary, settings).is_none(),
            early_stopping_met: summary.early_stopping.is_met(),
        }
    }

    /// Whether all four hold.
    pub const fn all_hold(self) -> bool {
        self.latency_bound_kept
            && self.min_duration_met
            && self.min_queries_met
            && self.early_stopping_met
    }
}

/// Applies the rules to a summary whose figures are complete.
pub(super) fn judge(
    summary: &Summary,
    settings: &EffectiveSettings,
    ending: Ending,
    rules: Rules,
) -> Verdict {
    if ending == Ending::Interrupted {
        // Whatever else is missing is missing because of it.
        return Verdict::Invalid(vec![Reason::Interrupted]);
    }
    let mut reasons = Vec::new();
    reasons.extend(ending_reason(ending));
    reasons.extend(latency_reason(summary));
    if rules.minimums_required {
        reasons.extend(duration_reason(summary, settings));
        reasons.extend(queries_reason(summary, settings));
    }
    if rules.early_stopping_required {
        reasons.extend(early_stopping_reason(summary));
    }
    if reasons.is_empty() {
        Verdict::Valid
    } else {
        Verdict::Invalid(reasons)
    }
}

/// A bound that cut issuing short shows in the minimums; by itself it is LoadGen's logged error
/// and no rule, except where answers are missing.
fn ending_reason(ending: Ending) -> Option<Reason> {
    match ending {
        Ending::Complete(end @ IssueEnd::OutstandingMax { .. }) => Some(Reason::CutShort(end)),
        // A decided run is a probe of a search, and its watcher has judged it.
        Ending::Complete(_) | Ending::Decided => None,
        Ending::NoProgress {
            outstanding,
            silent,
        } => Some(Reason::Unanswered {
            outstanding,
            silent,
        }),
        Ending::Interrupted => Some(Reason::Interrupted),
    }
}

fn latency_reason(summary: &Summary) -> Option<Reason> {
    let bound = summary.latency_bound?;
    let (quantile, latency) = summary.target;
    let kept = latency.is_some_and(|latency| latency <= bound);
    (!kept).then_some(Reason::LatencyBound {
        quantile,
        latency,
        bound,
    })
}

fn duration_reason(summary: &Summary, settings: &EffectiveSettings) -> Option<Reason> {
    let measured = match settings.scenario {
        Scenario::Offline => summary.latency.map_or(Latency::ZERO, |latency| latency.max),
        Scenario::Server => summary.last_scheduled,
        Scenario::SingleStream | Scenario::MultiStream => summary.last_issued,
    };
    let required = settings.min_duration;
    (measured < required).then_some(Reason::MinDuration {
        measured,
        required,
        scenario: settings.scenario,
    })
}

fn queries_reason(summary: &Summary, settings: &EffectiveSettings) -> Option<Reason> {
    if summary.query_count < settings.min_query_count {
        return Some(Reason::MinQueries {
            issued: summary.query_count,
            required: settings.min_query_count,
        });
    }
    (summary.completed_count < settings.min_sample_count).then_some(Reason::MinSamples {
        answered: summary.completed_count,
        required: settings.min_sample_count,
    })
}

fn early_stopping_reason(summary: &Summary) -> Option<Reason> {
    if summary.early_stopping.is_met() {
        return None;
    }
    let more = match summary.early_stopping {
        EarlyStopping::Overlatency(OverlatencyVerdict::NotMet { queries_missing }) => {
            queries_missing
        }
        EarlyStopping::Tail(TailEstimate::TooFew {
            queries,
            queries_needed,
        }) => queries_needed - queries,
        _ => return None,
    };
    Some(Reason::EarlyStopping {
        quantile: summary.target.0,
        more,
    })
}
