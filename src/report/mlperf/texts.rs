//! The sentences that readers of the logs match on.

use super::numbers::{fixed, general};
use crate::drive::Ending;
use crate::issue::IssueEnd;
use crate::metrics::early_stopping::{OverlatencyVerdict, TailEstimate};
use crate::scenario::Scenario;
use crate::settings::compat::CompatProfile;
use crate::summary::{EarlyStopping, Summary};
use crate::units::Quantile;

/// First line of the advice against too few queries; the summary has a second one.
pub const TOO_FEW_QUERIES: &str = "The test exited early, before enough queries were issued.";

/// The second line.
pub const SEE_DETAIL: &str = "   See the detailed log for why this may have occurred.";

/// Advice against a missed latency bound.
pub const REDUCE_RATE: &str = "Reduce target QPS to improve latency.";

/// A percentile as the profile's release labels it: `90.0th`, until 2025 `90th`.
pub fn percentile_label(quantile: Quantile, compat: CompatProfile) -> String {
    let percent = quantile.as_share() * 100.0;
    if compat.labels_whole_percentiles() {
        format!("{}th", general(percent))
    } else {
        format!("{}th", fixed(percent, 1))
    }
}

/// Advice against a run that was too short.
pub fn longer_run(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::SingleStream | Scenario::MultiStream => {
            "Decrease the expected latency so the loadgen pre-generates more queries."
        }
        Scenario::Server => "Increase the target QPS so the loadgen pre-generates more queries.",
        Scenario::Offline => {
            "Increase expected QPS so the loadgen pre-generates a larger (coalesced) query."
        }
    }
}

/// The early-stopping block, lines joined by newlines; empty for Offline.
pub fn early_stopping(summary: &Summary, compat: CompatProfile) -> String {
    match summary.early_stopping {
        EarlyStopping::NotApplicable => String::new(),
        EarlyStopping::Overlatency(OverlatencyVerdict::Met) => " * Run successful.".to_owned(),
        EarlyStopping::Overlatency(OverlatencyVerdict::NotMet { queries_missing }) => format!(
            " * Run unsuccessful.\n * Processed {} queries.\n * Would need to run at least \
             {queries_missing} more queries,\n with the run being successful if every additional\n \
             query were under latency.",
            summary.latency.map_or(0, |latency| latency.count)
        ),
        EarlyStopping::Tail(TailEstimate::TooFew {
            queries,
            queries_needed,
        }) => format!(
            " * Only processed {queries} queries.\n * Need to process at least {queries_needed} \
             queries for early stopping."
        ),
        EarlyStopping::Tail(TailEstimate::Met {
            queries_needed,
            discarded,
            latency,
        }) => {
            let processed = summary
                .query_latency
                .or(summary.latency)
                .map_or(0, |latency| latency.count);
            let mut text = format!(
                " * Processed at least {queries_needed} queries ({processed}).\n * Would discard \
                 {discarded} highest latency queries.\n * Early stopping {} percentile estimate: {}",
                percentile_label(summary.target.0, compat),
                latency.as_nanos()
            );
            if let Some(tail) = summary.tail_p99 {
                text.push('\n');
                text.push_str(&tail_p99(tail, compat));
            }
            text
        }
    }
}

/// What SingleStream adds about the 99th percentile.
fn tail_p99(tail: TailEstimate, compat: CompatProfile) -> String {
    let label = percentile_label(Quantile::P99, compat);
    match tail {
        TailEstimate::Met { latency, .. } => format!(
            " * Early stopping {label} percentile estimate: {}",
            latency.as_nanos()
        ),
        TailEstimate::TooFew { queries_needed, .. } => format!(
            " * Not enough queries processed for {label} percentile\n early stopping estimate \
             (would need to process at\n least {queries_needed} total queries)."
        ),
    }
}

/// How the issuing of a performance run ended: an ordinary message, an error, or nothing.
pub enum EndMessage {
    /// For the record.
    Note(String),
    /// Counts as an error.
    Error(String),
}

/// The message on the end of a run; `accuracy` runs only tell of trouble.
pub fn end_message(summary: &Summary, accuracy: bool) -> Option<EndMessage> {
    const EARLY: &str = "IssueQueryThread 0 Ending early:";
    match summary.ending {
        Ending::Complete(_) if accuracy => None,
        Ending::Complete(IssueEnd::Exhausted) => None,
        Ending::Complete(IssueEnd::Naturally) => Some(EndMessage::Note(
            "Ending naturally: Minimum query count and test duration met.".to_owned(),
        )),
        Ending::Complete(IssueEnd::RanOut) => Some(EndMessage::Error(
            "Ending early: Ran out of generated queries to issue before the minimum query count \
             and test duration were reached. Please update the relevant expected latency or target \
             qps in the TestSettings so they are more accurate."
                .to_owned(),
        )),
        Ending::Complete(IssueEnd::QueryCountMax) => Some(EndMessage::Error(format!(
            "{EARLY} Max query count reached. query_count {}",
            summary.query_count
        ))),
        Ending::Complete(IssueEnd::DurationMax) => Some(EndMessage::Error(format!(
            "{EARLY} Max test duration reached. duration_ns {}",
            summary.last_issued.as_nanos()
        ))),
        Ending::Complete(IssueEnd::OutstandingMax { outstanding }) => {
            Some(EndMessage::Error(format!(
                "{EARLY} Too many outstanding queries. issued {} outstanding {outstanding}",
                summary.query_count
            )))
        }
        Ending::NoProgress {
            outstanding,
            silent,
        } => Some(EndMessage::Error(format!(
            "Ending early: {outstanding} samples were never answered; the run was given up after \
             {silent} without an answer."
        ))),
        Ending::Interrupted => Some(EndMessage::Error(
            "Ending early: The run was interrupted.".to_owned(),
        )),
        Ending::Decided => Some(EndMessage::Note(
            "Ending early: What was asked is decided.".to_owned(),
        )),
    }
}
