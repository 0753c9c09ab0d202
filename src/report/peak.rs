//! What a peak search found: the `peak` of an entry, `peak.json`, and the table for people.

use std::fmt::Write as _;

use comfy_table::{presets, CellAlignment, ContentArrangement, Table};
use serde::Serialize;

use crate::peak::{Answer, End, Load, SearchRules, Slo};
use crate::units::Latency;

/// A peak search, at its end or so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeakEntry {
    /// The setting that was raised: `server_target_qps` or `multi_stream_samples_per_query`.
    pub load: &'static str,
    /// The objective.
    pub slo: SloEntry,
    /// Whether a run of full length confirmed `highest_passed`.
    pub confirmed: bool,
    /// `confirmed`, `confirmed_at_ceiling`, `none_passed`, `not_confirmed` or `too_many_probes`; null
    /// when the search was interrupted.
    pub end: Option<&'static str>,
    /// The answer: the highest load that passed below the lowest that failed.
    pub highest_passed: Option<f64>,
    /// The lowest load that failed; null when none did up to the ceiling.
    pub lowest_failed: Option<f64>,
    /// No load below this was tried.
    pub floor: f64,
    /// No load above this was tried.
    pub ceiling: f64,
    /// The share of its upper end to which a rate's bracket is narrowed; null for samples per query,
    /// which are pinned down to one.
    pub precision: Option<f64>,
    /// All runs of the search in their order.
    pub probes: Vec<ProbeEntry>,
}

/// The objective of a search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SloEntry {
    /// The share of queries, such as 0.99.
    pub quantile: f64,
    /// The bound of their latency.
    pub bound_ns: Latency,
    #[serde(skip)]
    slo: Slo,
}

/// One run of a search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProbeEntry {
    /// From 1.
    pub number: u32,
    /// `grow`, `shrink`, `bisect`, `repeat` or `confirm`.
    pub purpose: &'static str,
    /// The load.
    pub load: f64,
    /// The seed of its schedule (Server) or of its choice of samples (MultiStream).
    pub seed: u64,
    /// Queries issued.
    pub query_count: u64,
    /// Queries that were surely over the bound, answered or not.
    pub overlatency_count: Option<u64>,
    /// The objective's percentile of the latencies that were answered.
    pub latency_ns: Option<Latency>,
    /// From the start to the last answer.
    pub elapsed_ns: Latency,
    /// Whether the load passed.
    pub passed: bool,
    /// Why it ended: `complete` (judged by its percentile), `surely_within`, `surely_beyond`,
    /// `allowance_exhausted`, `no_progress` or `outstanding_max`.
    pub ended: &'static str,
    /// Rules that a confirming run broke, a sentence each.
    pub reasons: Vec<String>,
}

impl PeakEntry {
    /// A search that has made no probe.
    pub fn new(slo: Slo, rules: &SearchRules) -> Self {
        Self {
            load: match rules.load {
                Load::Rate => "server_target_qps",
                Load::Streams => "multi_stream_samples_per_query",
            },
            slo: SloEntry {
                quantile: slo.quantile.as_share(),
                bound_ns: slo.bound,
                slo,
            },
            confirmed: false,
            end: None,
            highest_passed: None,
            lowest_failed: None,
            floor: rules.floor,
            ceiling: rules.ceiling,
            precision: (rules.load == Load::Rate).then_some(rules.precision),
            probes: Vec::new(),
        }
    }

    /// Takes over what the search knows.
    pub fn update(&mut self, answer: Answer) {
        self.confirmed = answer.end.is_some_and(End::is_confirmed);
        self.end = answer.end.map(|end| match end {
            End::Confirmed => "confirmed",
            End::ConfirmedAtCeiling => "confirmed_at_ceiling",
            End::NonePassed => "none_passed",
            End::NotConfirmed => "not_confirmed",
            End::TooManyProbes => "too_many_probes",
        });
        self.highest_passed = answer.highest_passed;
        self.lowest_failed = answer.lowest_failed;
    }

    /// A load with its unit.
    pub fn load_text(&self, load: f64) -> String {
        if self.precision.is_none() {
            let plural = if load > 1.0 { "s" } else { "" };
            return format!("{load} sample{plural} per query");
        }
        format!("{}/s", digits(load))
    }

    /// The answer in a sentence, without a full stop.
    pub fn answer(&self) -> String {
        let text = |load: Option<f64>| load.map_or_else(String::new, |load| self.load_text(load));
        let slo = self.slo.slo;
        let (passed, failed) = (text(self.highest_passed), text(self.lowest_failed));
        let bracket = match (self.highest_passed, self.lowest_failed) {
            (Some(_), Some(_)) => format!("{passed} passed and {failed} failed"),
            (Some(_), None) => format!("{passed} passed and nothing failed"),
            (None, Some(_)) => format!("nothing passed and {failed} failed"),
            (None, None) => "nothing was decided".to_owned(),
        };
        match self.end {
            Some("confirmed") => format!(
                "the peak is {passed} with {slo}, confirmed at full length; {failed} failed"
            ),
            Some("confirmed_at_ceiling") => format!(
                "not bounded by {slo} below {passed}, the largest load that was allowed; confirmed \
                 at full length"
            ),
            Some("none_passed") => format!("{slo} cannot be met: {failed} failed already"),
            Some("not_confirmed") => {
                format!("no peak was confirmed with {slo}: {bracket} in probes")
            }
            Some(_) => format!(
                "the search for the peak with {slo} was given up after {} runs: {bracket}",
                self.probes.len()
            ),
            None => format!("the search for the peak with {slo} was interrupted: {bracket}"),
        }
    }

    /// The table of the probes and the answer, for people; `title` says which measurement it is.
    pub fn text(&self, title: &str) -> String {
        let mut text = String::new();
        let rows = self.table();
        let _ = writeln!(text, "{title}: {}.\n{rows}", self.answer());
        text
    }

    /// One line for a probe, for people who wait.
    pub fn line(&self, probe: &ProbeEntry) -> String {
        let latency = probe
            .latency_ns
            .map_or_else(|| "no answer".to_owned(), |latency| latency.to_string());
        format!(
            "probe {}, {}: {} {}, {} {latency} of {} queries in {:.1} s ({})",
            probe.number,
            probe.purpose,
            self.load_text(probe.load),
            verdict(probe),
            self.slo.slo.quantile,
            probe.query_count,
            probe.elapsed_ns.as_secs_f64(),
            probe.ended.replace('_', " "),
        )
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        let percentile = self.slo.slo.quantile.to_string();
        let load = match self.precision {
            Some(_) => "rate /s",
            None => "streams",
        };
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header([
                "#",
                "purpose",
                load,
                "queries",
                "over",
                percentile.as_str(),
                "length",
                "verdict",
                "ended",
            ]);
        for probe in &self.probes {
            table.add_row([
                probe.number.to_string(),
                probe.purpose.to_owned(),
                digits(probe.load),
                probe.query_count.to_string(),
                probe
                    .overlatency_count
                    .map_or_else(|| "-".to_owned(), |count| count.to_string()),
                probe
                    .latency_ns
                    .map_or_else(|| "-".to_owned(), |latency| latency.to_string()),
                format!("{:.1} s", probe.elapsed_ns.as_secs_f64()),
                verdict(probe).to_owned(),
                probe.ended.replace('_', " "),
            ]);
        }
        for column in [0, 2, 3, 4, 5, 6] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

fn verdict(probe: &ProbeEntry) -> &'static str {
    if probe.passed {
        "passed"
    } else {
        "failed"
    }
}

/// Four digits at least of a number that is not whole.
fn digits(load: f64) -> String {
    if load.fract() == 0.0 {
        return load.to_string();
    }
    let decimals = (3 - load.log10().floor() as i32).clamp(1, 6) as usize;
    format!("{load:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(load: Load) -> PeakEntry {
        let rules = SearchRules {
            load,
            start: 8.0,
            floor: 1.0,
            ceiling: 400.0,
            precision: 0.02,
        };
        PeakEntry::new("p99=100ms".parse().unwrap(), &rules)
    }

    fn answered(load: Load, passed: Option<f64>, failed: Option<f64>, end: End) -> String {
        let mut entry = entry(load);
        entry.update(Answer {
            highest_passed: passed,
            lowest_failed: failed,
            end: Some(end),
        });
        entry.answer()
    }

    #[test]
    fn every_end_has_a_sentence_with_its_bracket() {
        let rate = Load::Rate;
        let text = answered(rate, Some(187.5), Some(190.625), End::Confirmed);
        assert!(
            text.contains("the peak is 187.5/s with p99 within 100 ms"),
            "{text}"
        );
        assert!(text.contains("190.6/s failed"), "{text}");
        let text = answered(rate, Some(400.0), None, End::ConfirmedAtCeiling);
        assert!(
            text.contains("not bounded by p99 within 100 ms below 400/s"),
            "{text}"
        );
        let text = answered(rate, None, Some(1.0), End::NonePassed);
        assert!(text.contains("cannot be met: 1/s failed already"), "{text}");
        let text = answered(Load::Streams, Some(7.0), Some(8.0), End::NotConfirmed);
        assert!(text.contains("7 samples per query passed"), "{text}");
        assert!(entry(rate).answer().contains("interrupted"));
    }

    #[test]
    fn rates_keep_four_digits() {
        assert_eq!(digits(0.012_345_6), "0.01235");
        assert_eq!(digits(14.375), "14.38");
        assert_eq!(digits(1_234.567), "1234.6");
        assert_eq!(digits(16.0), "16");
    }
}
