//! Which simulated answers reach the accuracy log, in the order of their completion.

use crate::plan::{AccuracyLogSelection, Generated, LoadableSet};
use crate::record::Completion;
use crate::report::mlperf::accuracy::AccuracyAnswer;
use crate::sut::{SutError, SystemUnderTest};
use crate::units::{QuerySample, SampleId, SampleIndex, Timestamp};

/// A system whose answers are noted on their way into the record.
pub struct Noted<'a, S> {
    inner: &'a mut S,
    first_sample: SampleId,
    /// Of every sample generated for the set whether its answer is logged.
    chosen: Vec<bool>,
    /// Of every sample issued which one it is.
    indices: Vec<SampleIndex>,
    /// What was logged.
    pub answers: Vec<AccuracyAnswer>,
}

impl<'a, S: SystemUnderTest> Noted<'a, S> {
    /// Notes the answers of `inner` that `selection` keeps of the next set.
    pub fn new(
        inner: &'a mut S,
        selection: &mut AccuracyLogSelection,
        set: &LoadableSet,
        generated: Generated,
        first_sample: SampleId,
    ) -> Self {
        selection.begin_set(set);
        let chosen = (0..generated.sample_count()).map(|_| selection.keeps_next());
        Self {
            inner,
            first_sample,
            chosen: chosen.collect(),
            indices: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Notes what came into `inbox` since it had `before` answers.
    fn note(&mut self, inbox: &[Completion], before: usize) {
        for completion in &inbox[before..] {
            let slot = (completion.id.0 - self.first_sample.0) as usize;
            // A second answer to the same sample is an error and no answer.
            if std::mem::take(&mut self.chosen[slot]) {
                self.answers.push(AccuracyAnswer {
                    id: completion.id,
                    index: self.indices[slot],
                    data: Vec::new(),
                });
            }
        }
    }
}

impl<S: SystemUnderTest> SystemUnderTest for Noted<'_, S> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn issue(&mut self, samples: &[QuerySample], inbox: &mut Vec<Completion>) {
        self.indices
            .extend(samples.iter().map(|sample| sample.index));
        let before = inbox.len();
        self.inner.issue(samples, inbox);
        self.note(inbox, before);
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn poll(&mut self, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        let before = inbox.len();
        self.inner.poll(inbox)?;
        self.note(inbox, before);
        Ok(())
    }

    fn wait(&mut self, deadline: Timestamp, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        let before = inbox.len();
        self.inner.wait(deadline, inbox)?;
        self.note(inbox, before);
        Ok(())
    }
}
