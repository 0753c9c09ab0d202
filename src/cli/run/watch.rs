//! What a person sees while a run is on: a bar on a terminal, a line a run elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::print_err;
use crate::drive::Progress;
use crate::metrics::histogram::LatencyHistogram;
use crate::plan::EffectiveSettings;
use crate::scenario::Scenario;
use crate::units::{Latency, Quantile, Timestamp};

/// Draws the progress of one run.
pub struct Watch {
    bar: ProgressBar,
    latencies: LatencyHistogram,
    /// Whether the run ends with its samples and not with its duration.
    counts_samples: bool,
    duration: Latency,
    samples_planned: u64,
    start: Option<Timestamp>,
}

/// Parts of the bar.
const STEPS: u64 = 1_000;

impl Watch {
    /// A watch over a run that is called `title`; `samples_planned` is its whole for Offline.
    pub fn new(title: &str, settings: &EffectiveSettings, samples_planned: u64) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{prefix} [{bar:24}] {msg}")
                .expect("the template is a constant")
                .progress_chars("=> ");
            ProgressBar::new(STEPS)
                .with_style(style)
                .with_prefix(title.to_owned())
        } else {
            print_err(title);
            ProgressBar::hidden()
        };
        Self {
            bar,
            latencies: LatencyHistogram::new(),
            counts_samples: settings.scenario == Scenario::Offline,
            duration: settings.min_duration,
            samples_planned,
            start: None,
        }
    }

    /// A watch over a run that goes through its samples once, whatever the duration.
    #[must_use]
    pub fn over_samples(self) -> Self {
        Self {
            counts_samples: true,
            ..self
        }
    }

    /// Takes in what has happened since the last call.
    pub fn observe(&mut self, progress: &Progress<'_>) {
        if self.bar.is_hidden() {
            return;
        }
        let start = *self.start.get_or_insert(progress.record.start());
        let elapsed = progress.now.saturating_since(start);
        let record = progress.record;
        for latency in progress
            .recent
            .iter()
            .filter_map(|done| record.latency_of(done.id))
        {
            self.latencies.record(latency);
        }
        let completed = record.completed_count();
        let share = if self.counts_samples {
            completed as f64 / self.samples_planned.max(1) as f64
        } else {
            elapsed.as_secs_f64() / self.duration.as_secs_f64().max(1e-9)
        };
        let share = share.clamp(0.0, 1.0);
        let rate = completed as f64 / elapsed.as_secs_f64().max(1e-9);
        let left = if share > 0.0 {
            elapsed.as_secs_f64() * (1.0 - share) / share
        } else {
            self.duration.as_secs_f64()
        };
        let p99 = self
            .latencies
            .at(Quantile::P99)
            .map_or_else(String::new, |p99| format!(", p99 {p99}"));
        self.bar.set_position((share * STEPS as f64) as u64);
        self.bar.set_message(format!(
            "{} queries, {rate:.1}/s{p99}, {left:.0} s left",
            record.query_count()
        ));
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// A bar for the turns of two models side by side; a line elsewhere.
pub fn turns_bar(title: &str, turns: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        print_err(title);
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix} [{bar:24}] turn {pos}/{len}, {eta} left")
        .expect("the template is a constant")
        .progress_chars("=> ");
    ProgressBar::new(turns)
        .with_style(style)
        .with_prefix(title.to_owned())
}

/// A bar for the passes of a calibration, on a terminal.
pub fn calibration_bar(passes: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("calibrating [{bar:24}] {pos}/{len} {elapsed}")
        .expect("the template is a constant")
        .progress_chars("=> ");
    ProgressBar::new(passes as u64).with_style(style)
}

/// A bar for loading pictures, on a terminal.
pub fn loading_bar(count: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("decoding and resizing [{bar:24}] {pos}/{len} pictures")
            .expect("the template is a constant")
            .progress_chars("=> ");
    ProgressBar::new(count as u64).with_style(style)
}
