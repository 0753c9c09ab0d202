//! The logs of LoadGen's own peak search: all trials in the detail log, one of them in the summary.

use std::io::{self, Write};

use super::detail::{self, Journal, LogRecord};
use super::{settings, summary, SetLog, TestLog, DETAIL_FILE, SUMMARY_FILE};
use crate::peak::LoadGenEnd;
use crate::plan::EffectiveSettings;
use crate::report::folder::{FolderError, RunFolder};

/// Everything that the summary and the detail log tell about a search.
#[derive(Debug, Clone)]
pub struct PeakLog<'a> {
    /// The test as it was asked for, without sets.
    pub test: TestLog<'a>,
    /// The trials in their order.
    pub trials: &'a [TrialLog<'a>],
    /// How the search ended.
    pub end: LoadGenEnd,
    /// The trial whose results are given.
    pub reported: SetLog<'a>,
    /// The settings of that trial; the detail log gives those that were asked for.
    pub reported_effective: &'a EffectiveSettings,
}

/// One trial.
#[derive(Debug, Clone, Copy)]
pub struct TrialLog<'a> {
    /// What the log says before it.
    pub before: &'a [String],
    /// What the log says after it.
    pub after: Option<&'a str>,
    /// Whether the set was loaded for it; where trials share a loading, it is logged before the messages
    /// of the first.
    pub loads_set: bool,
    /// Whether that loading is shared with the trials that follow.
    pub shares_set: bool,
    /// The run.
    pub set: SetLog<'a>,
}

impl PeakLog<'_> {
    /// The records of the detail log in their order.
    pub fn records(&self) -> Vec<LogRecord> {
        let mut journal = Journal::default();
        let test = &self.test;
        detail::identity(&mut journal, test);
        settings::requested(&mut journal, test);
        settings::effective(&mut journal, test);
        journal.text("generic_message", "Starting FindPeakPerformance mode");
        for trial in self.trials {
            journal.at(trial.set.began);
            if trial.shares_set && trial.loads_set {
                detail::loaded_set(&mut journal, &trial.set);
            }
            for message in trial.before {
                journal.text("generic_message", message.as_str());
            }
            if !trial.shares_set && trial.loads_set {
                detail::loaded_set(&mut journal, &trial.set);
            }
            detail::issued_set(&mut journal, test, &trial.set);
            if let Some(message) = trial.after {
                journal.text("generic_message", message);
            }
        }
        if self.end.is_error() {
            journal.error(self.end.message());
        } else {
            journal.text("generic_message", self.end.message());
        }
        detail::result(&mut journal, test, self.reported.summary);
        journal.into_records()
    }

    /// Writes the detail log.
    ///
    /// # Errors
    /// The system's.
    pub fn write_detail(&self, out: &mut dyn Write) -> io::Result<()> {
        detail::write(&self.records(), self.test.process, out)
    }

    /// Writes the summary, which carries the settings of the reported trial.
    ///
    /// # Errors
    /// The system's.
    pub fn write_summary(&self, out: &mut dyn Write) -> io::Result<()> {
        let reported = TestLog {
            effective: self.reported_effective,
            sets: &[self.reported],
            ..self.test.clone()
        };
        summary::write(&reported, &self.records(), out)
    }

    /// Writes both into a run folder.
    ///
    /// # Errors
    /// [`FolderError::Write`].
    pub fn write(&self, folder: &RunFolder) -> Result<(), FolderError> {
        folder.write(SUMMARY_FILE, |out| self.write_summary(out))?;
        folder.write(DETAIL_FILE, |out| self.write_detail(out))
    }
}
