//! Where one issuing thread hands its samples to the pool and gets its answers back.

use std::collections::VecDeque;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use super::{Reply, Work};
use crate::clock::{Clock, Monotonic};
use crate::record::Completion;
use crate::sut::{SutError, SystemUnderTest};
use crate::units::{QuerySample, Timestamp};

/// A way in that all desks share, a backlog for what finds no room there, and a way back.
pub(super) struct PoolDesk {
    number: usize,
    name: String,
    clock: Monotonic,
    /// To the workers, or to the data threads before them; `None` once the run is over.
    entry: Option<Sender<Work>>,
    backlog: VecDeque<QuerySample>,
    replies: Receiver<Reply>,
}

impl PoolDesk {
    pub fn new(
        number: usize,
        name: &str,
        clock: Monotonic,
        entry: &Sender<Work>,
        replies: Receiver<Reply>,
    ) -> Self {
        Self {
            number,
            name: name.to_owned(),
            clock,
            entry: Some(entry.clone()),
            backlog: VecDeque::new(),
            replies,
        }
    }

    /// Hands no more over.
    pub fn close(&mut self) {
        self.entry = None;
    }

    /// Waits for whatever comes back next.
    pub fn next_reply(&self) -> Result<Reply, SutError> {
        self.replies.recv().map_err(|_| SutError::WorkerLost)
    }

    /// Whether the sample found room.
    fn try_send(&self, sample: QuerySample) -> Result<bool, SutError> {
        let entry = self.entry.as_ref().expect("open until the run is dropped");
        let work = Work {
            sample,
            desk: self.number,
            made: None,
        };
        match entry.try_send(work) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(_)) => Ok(false),
            Err(TrySendError::Disconnected(_)) => Err(SutError::WorkerLost),
        }
    }

    fn feed(&mut self) -> Result<(), SutError> {
        while let Some(&sample) = self.backlog.front() {
            if !self.try_send(sample)? {
                break;
            }
            self.backlog.pop_front();
        }
        Ok(())
    }

    fn take(reply: Reply, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        match reply {
            Reply::Done(completion) => {
                inbox.push(completion);
                Ok(())
            }
            Reply::Failed(error) => Err(error),
            Reply::Ready(_) => Ok(()),
        }
    }
}

impl SystemUnderTest for PoolDesk {
    fn name(&self) -> &str {
        &self.name
    }

    fn issue(&mut self, samples: &[QuerySample], _inbox: &mut Vec<Completion>) {
        for &sample in samples {
            // A lost worker shows at the next poll, which can return the error.
            if !self.backlog.is_empty() || !self.try_send(sample).unwrap_or(false) {
                self.backlog.push_back(sample);
            }
        }
    }

    fn poll(&mut self, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        self.feed()?;
        while let Ok(reply) = self.replies.try_recv() {
            Self::take(reply, inbox)?;
        }
        Ok(())
    }

    fn wait(&mut self, deadline: Timestamp, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        self.feed()?;
        let left = deadline.saturating_since(self.clock.now());
        match self.replies.recv_timeout(left.to_std()) {
            Ok(reply) => Self::take(reply, inbox)?,
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => return Err(SutError::WorkerLost),
        }
        self.poll(inbox)
    }
}
