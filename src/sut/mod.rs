//! Stage 5: systems under test.
//!
//! *In*: samples. *Out*: [`Completion`]s, in any order. The drive loop knows them only through
//! [`SystemUnderTest`]; scenarios, schedules and verdicts are no business of theirs.

pub mod null;
pub mod pool;
pub mod simulated;

use crate::record::Completion;
use crate::units::{QuerySample, Timestamp};

/// Whatever answers samples.
pub trait SystemUnderTest {
    /// Its name in reports.
    fn name(&self) -> &str;

    /// Takes samples over. Never waits for an inference; answers that are ready at once may be
    /// put into `inbox`.
    fn issue(&mut self, samples: &[QuerySample], inbox: &mut Vec<Completion>);

    /// Says that no more samples come before the answers of those issued are complete.
    fn flush(&mut self) {}

    /// Appends the answers that have arrived; returns at once.
    ///
    /// # Errors
    /// When the system under test has failed and will answer no more.
    fn poll(&mut self, inbox: &mut Vec<Completion>) -> Result<(), SutError>;

    /// Like [`poll`](Self::poll), but waits until at least one answer has arrived or `deadline`
    /// has passed.
    ///
    /// # Errors
    /// When the system under test has failed and will answer no more.
    fn wait(&mut self, deadline: Timestamp, inbox: &mut Vec<Completion>) -> Result<(), SutError>;

    /// Opens a desk for each of `count` issuing threads; `None` where only one thread can issue.
    ///
    /// A desk takes the samples of its own thread over and gives the answers to those, and to no
    /// others. When the system fails, all desks tell.
    fn desks(&mut self, _count: usize) -> Option<Vec<Desk<'_>>> {
        None
    }
}

/// Where one of several issuing threads hands its samples over: a system under test of its own.
pub type Desk<'a> = Box<dyn SystemUnderTest + Send + 'a>;

impl<S: SystemUnderTest> SystemUnderTest for &mut S {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn issue(&mut self, samples: &[QuerySample], inbox: &mut Vec<Completion>) {
        (**self).issue(samples, inbox);
    }

    fn flush(&mut self) {
        (**self).flush();
    }

    fn poll(&mut self, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        (**self).poll(inbox)
    }

    fn wait(&mut self, deadline: Timestamp, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        (**self).wait(deadline, inbox)
    }

    fn desks(&mut self, count: usize) -> Option<Vec<Desk<'_>>> {
        (**self).desks(count)
    }
}

/// A system under test that cannot go on; the run has failed with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SutError {
    /// An inference or its post-processing failed.
    #[error("instance {instance} failed on sample {sample}: {reason}")]
    Failed {
        /// Which worker.
        instance: usize,
        /// Index of the sample in the library.
        sample: u32,
        /// What the runtime or the post-processing said.
        reason: String,
    },
    /// A worker could not begin.
    #[error("instance {instance} could not start: {reason}")]
    Start {
        /// Which worker.
        instance: usize,
        /// What went wrong.
        reason: String,
    },
    /// A picture could not be decoded or resized inside the timed region.
    #[error("sample {sample} could not be prepared: {reason}")]
    Preprocess {
        /// Index of the sample in the library.
        sample: u32,
        /// What the decoder said.
        reason: String,
    },
    /// A worker thread ended without an answer.
    #[error("a worker thread ended unexpectedly")]
    WorkerLost,
}
