//! What a person sees while a tuning runs: rows of the table on stdout, a bar below them on a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use super::report::{row, HEAD};
use crate::cli::print_out;
use crate::tune::tuning::Event;

/// Rows and a bar.
pub struct Watch {
    layers: usize,
    is_quiet: bool,
    has_head: bool,
    bar: ProgressBar,
    dropped: usize,
}

impl Watch {
    /// For a network with so many layers.
    pub fn new(layers: usize, is_quiet: bool) -> Self {
        Self {
            layers,
            is_quiet,
            has_head: false,
            bar: ProgressBar::hidden(),
            dropped: 0,
        }
    }

    /// Takes in what happens.
    pub fn see(&mut self, event: Event<'_>) {
        if self.is_quiet {
            return;
        }
        match event {
            Event::Stage { what, screenings } => {
                self.begin(
                    screenings as u64,
                    "{msg} [{bar:24}] {pos}/{len} {elapsed}",
                    what,
                );
            }
            Event::Screened { .. } => self.bar.inc(1),
            Event::Dropped { .. } => self.dropped += 1,
            Event::Begins { trial, settings } => {
                let what = format!("trial {trial}: {}", settings.words(self.layers));
                self.begin(0, "{spinner} {msg} {elapsed}", &what);
            }
            Event::Trial(trial) => {
                self.bar.finish_and_clear();
                if !self.has_head {
                    self.line(HEAD);
                    self.has_head = true;
                }
                self.line(&row(trial, self.layers));
            }
        }
    }

    /// Takes the bar away, and says what was dropped early.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
        if self.dropped > 0 {
            self.line(&format!(
                "        {} candidates were dropped early: surely (95 %) no nearer to the float model than a cheaper one",
                self.dropped
            ));
        }
    }

    /// A line of the text.
    pub fn line(&self, text: &str) {
        if !self.is_quiet {
            // A reader that has gone away is no reason to stop tuning.
            let _ = print_out(&format!("{text}\n"));
        }
    }

    fn begin(&mut self, count: u64, template: &str, what: &str) {
        self.bar.finish_and_clear();
        if !std::io::stderr().is_terminal() {
            return;
        }
        let style = ProgressStyle::with_template(template)
            .expect("the template is a constant")
            .progress_chars("=> ");
        self.bar = ProgressBar::new(count).with_style(style);
        self.bar.set_message(what.to_owned());
        self.bar
            .enable_steady_tick(std::time::Duration::from_millis(120));
    }
}
