//! A system under test that answers inside the issue call: what the harness itself costs.

use super::{Desk, SutError, SystemUnderTest};
use crate::clock::Clock;
use crate::record::{Completion, Stages};
use crate::units::{QuerySample, Timestamp};

/// Answers at once, on the issuing thread.
#[derive(Debug)]
pub struct Null<C> {
    clock: C,
}

impl<C: Clock> Null<C> {
    /// A null system whose answers carry the time of `clock`.
    pub fn new(clock: C) -> Self {
        Self { clock }
    }
}

impl<C: Clock> SystemUnderTest for Null<C> {
    fn name(&self) -> &'static str {
        "null"
    }

    fn issue(&mut self, samples: &[QuerySample], inbox: &mut Vec<Completion>) {
        let at = self.clock.now();
        inbox.extend(samples.iter().map(|sample| Completion {
            id: sample.id,
            at,
            stages: Stages::default(),
        }));
    }

    fn poll(&mut self, _inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        Ok(())
    }

    fn wait(&mut self, _deadline: Timestamp, _inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        Ok(())
    }

    fn desks(&mut self, count: usize) -> Option<Vec<Desk<'_>>> {
        let desk = || Some(Box::new(Null::new(self.clock.fork()?)) as Desk<'_>);
        (0..count).map(|_| desk()).collect()
    }
}
