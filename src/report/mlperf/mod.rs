//! The logs that MLPerf's tools read: summary, detail, accuracy and trace.
//!
//! Layout, keys and number formats are LoadGen's, so that its readers need no change. The content
//! says whose it is: `loadgen_version` names detbench and the compatibility profile.
//!
//! Times of a record count from the start of the test on the run's own clock. The date and time
//! of the test are UTC (LoadGen writes local time behind the same `Z`).

pub mod accuracy;
mod detail;
mod numbers;
pub mod peak;
mod settings;
mod summary;
mod texts;
pub mod trace;

use std::io::{self, Write};
use std::time::SystemTime;

pub use self::detail::{Level, LogRecord, LogValue};

use crate::plan::{EffectiveSettings, Generated, LoadableSet};
use crate::report::folder::{FolderError, RunFolder};
use crate::scenario::TestMode;
use crate::settings::compat::CompatProfile;
use crate::settings::test_settings::TestSettings;
use crate::summary::Summary;
use crate::units::Latency;

/// Names of the files in a run folder.
pub const SUMMARY_FILE: &str = "mlperf_log_summary.txt";
/// See [`SUMMARY_FILE`].
pub const DETAIL_FILE: &str = "mlperf_log_detail.txt";
/// See [`SUMMARY_FILE`].
pub const ACCURACY_FILE: &str = "mlperf_log_accuracy.json";
/// See [`SUMMARY_FILE`].
pub const TRACE_FILE: &str = "mlperf_log_trace.json";

/// Everything that the summary and the detail log tell about a test.
#[derive(Debug, Clone)]
pub struct TestLog<'a> {
    /// Name of the system under test; a simulated one says so here.
    pub sut_name: &'a str,
    /// Name of the sample library.
    pub library_name: &'a str,
    /// Samples in the library.
    pub total_count: usize,
    /// Samples that it says fit in memory.
    pub performance_count: usize,
    /// The mode that was asked for.
    pub requested_mode: TestMode,
    /// The settings that were asked for.
    pub requested: &'a TestSettings,
    /// The settings as they were applied.
    pub effective: &'a EffectiveSettings,
    /// Whose random streams were repeated.
    pub compat: CompatProfile,
    /// When the test began.
    pub began: SystemTime,
    /// The process that ran it; 0 for a simulation, which has none of its own.
    pub process: u32,
    /// Warnings for the detail log, such as settings that came from an audit file.
    pub warnings: &'a [String],
    /// The sets in the order of the run.
    pub sets: &'a [SetLog<'a>],
}

/// What the logs tell about one loaded set.
#[derive(Debug, Clone, Copy)]
pub struct SetLog<'a> {
    /// The set.
    pub set: &'a LoadableSet,
    /// What was prepared for it.
    pub generated: Generated,
    /// When its first query could leave, counted from the beginning of the test.
    pub began: Latency,
    /// What it showed.
    pub summary: &'a Summary,
}

impl TestLog<'_> {
    /// The records of the detail log in their order.
    pub fn records(&self) -> Vec<LogRecord> {
        detail::records(self)
    }

    /// Writes the detail log.
    ///
    /// # Errors
    /// The system's.
    pub fn write_detail(&self, out: &mut dyn Write) -> io::Result<()> {
        detail::write(&self.records(), self.process, out)
    }

    /// Writes the summary.
    ///
    /// # Errors
    /// The system's.
    pub fn write_summary(&self, out: &mut dyn Write) -> io::Result<()> {
        summary::write(self, &self.records(), out)
    }

    /// Writes both into a run folder.
    ///
    /// # Errors
    /// [`FolderError::Write`].
    pub fn write(&self, folder: &RunFolder) -> Result<(), FolderError> {
        folder.write(SUMMARY_FILE, |out| self.write_summary(out))?;
        folder.write(DETAIL_FILE, |out| self.write_detail(out))
    }

    /// What the performance part of the test showed, where it had one.
    fn result(&self) -> Option<&Summary> {
        use crate::plan::Phase;
        let mut performance = self
            .sets
            .iter()
            .filter(|run| run.set.phase == Phase::Performance);
        performance.next_back().map(|run| run.summary)
    }
}
