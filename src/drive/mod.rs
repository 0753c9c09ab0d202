//! The loop that joins issuer, clock, system under test and recorder.
//!
//! One function, [`drive`], for every scenario, on real and on virtual time. Nothing in the loop
//! allocates, locks, formats or prints, but for the observer, which is called at most once in
//! [`OBSERVE_EVERY`].

mod set;
mod threads;

pub use set::{run_set, Stand, Tells};

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::Clock;
use crate::issue::{IssueEnd, Issuer, QuerySource, Step};
use crate::record::{Completion, Record};
use crate::sut::{SutError, SystemUnderTest};
use crate::units::{Latency, Timestamp};

/// The observer is not called more often than this.
pub const OBSERVE_EVERY: Latency = Latency::from_millis(250);

/// The loop wakes at least this often, to notice an interrupt or a system that has failed.
const WAKE_EVERY: Latency = Latency::from_millis(100);

/// How long a run may go on without any answer while answers are outstanding.
pub const NO_PROGRESS_LIMIT: Latency = Latency::from_millis(60_000);

/// What a watcher may want to know while a run is on.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The present moment.
    pub now: Timestamp,
    /// Facts so far.
    pub record: &'a Record,
    /// Answers since the watcher was last called.
    pub recent: &'a [Completion],
    end: &'a Cell<bool>,
}

impl Progress<'_> {
    /// Ends the run here, because the watcher has seen enough: [`Ending::Decided`]. What is
    /// outstanding is given up; the system under test must not be used for another run before it
    /// has dropped that.
    pub fn end_run(&self) {
        self.end.set(true);
    }
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Issuing ended and every answer came.
    Complete(IssueEnd),
    /// Nobody answered for too long; what is outstanding was given up.
    NoProgress {
        /// Samples without an answer.
        outstanding: u64,
        /// For how long no answer had come.
        silent: Latency,
    },
    /// Somebody asked the run to stop.
    Interrupted,
    /// The watcher had seen enough: [`Progress::end_run`].
    Decided,
}

/// What a run may be told from outside, and how patient it is.
#[derive(Debug, Clone, Copy)]
pub struct Control<'a> {
    /// Set to stop the run at the next opportunity.
    pub interrupted: &'a AtomicBool,
    /// See [`NO_PROGRESS_LIMIT`].
    pub no_progress_limit: Latency,
}

/// Runs one loadable set to its end.
///
/// # Errors
/// When the system under test fails; the facts recorded so far stay in `record`.
pub fn drive<Source: QuerySource>(
    issuer: &mut Issuer<Source>,
    sut: &mut dyn SystemUnderTest,
    clock: &dyn Clock,
    record: &mut Record,
    control: &Control<'_>,
    observe: &mut dyn FnMut(&Progress<'_>),
) -> Result<Ending, SutError> {
    let mut inbox = Inbox::new(clock.now());
    loop {
        if control.interrupted.load(Ordering::Relaxed) {
            return Ok(Ending::Interrupted);
        }
        let now = clock.now();
        match issuer.step(now, record.outstanding()) {
            Step::Issue => {
                record.issued(issuer.queries(), issuer.samples(), now);
                sut.issue(issuer.samples(), &mut inbox.new);
                sut.poll(&mut inbox.new)?;
            }
            Step::WaitUntil(moment) => {
                // Answers are taken in and watchers called before the last stretch, so that
                // nothing stands between the scheduled moment and the issue.
                let wake = moment.min(now + WAKE_EVERY);
                clock.approach(wake);
                sut.poll(&mut inbox.new)?;
                if wake == moment {
                    inbox.record_into(record, now);
                    clock.sleep_until(moment);
                    continue;
                }
            }
            Step::WaitForCompletion => sut.wait(now + WAKE_EVERY, &mut inbox.new)?,
            Step::Finished(end) => {
                sut.flush();
                if record.outstanding() == 0 {
                    inbox.observe(now, record, observe);
                    return Ok(Ending::Complete(end));
                }
                sut.wait(now + WAKE_EVERY, &mut inbox.new)?;
            }
        }
        inbox.record_into(record, now);
        let silent = now.saturating_since(inbox.last_progress);
        if record.outstanding() > 0 && silent > control.no_progress_limit {
            return Ok(Ending::NoProgress {
                outstanding: record.outstanding(),
                silent,
            });
        }
        if now.saturating_since(inbox.last_observed) >= OBSERVE_EVERY {
            inbox.observe(now, record, observe);
            if inbox.end.get() {
                return Ok(Ending::Decided);
            }
        }
    }
}

/// Room for the answers between two calls of the observer at a rate of 100 000 a second; beyond
/// that the watcher sees a part of them, the record sees all.
const RECENT_ROOM: usize = 25_000;

/// Answers on their way from the system under test into the record.
struct Inbox {
    new: Vec<Completion>,
    recent: Vec<Completion>,
    last_progress: Timestamp,
    last_observed: Timestamp,
    end: Cell<bool>,
}

impl Inbox {
    fn new(now: Timestamp) -> Self {
        Self {
            new: Vec::with_capacity(4_096),
            recent: Vec::with_capacity(RECENT_ROOM),
            last_progress: now,
            last_observed: now,
            end: Cell::new(false),
        }
    }

    fn record_into(&mut self, record: &mut Record, now: Timestamp) {
        if self.new.is_empty() {
            if record.outstanding() == 0 {
                self.last_progress = now;
            }
            return;
        }
        for completion in &self.new {
            record.completed(completion);
        }
        let room = RECENT_ROOM - self.recent.len();
        self.recent.extend(self.new.iter().take(room));
        self.new.clear();
        self.last_progress = now;
    }

    fn observe(&mut self, now: Timestamp, record: &Record, observe: &mut dyn FnMut(&Progress<'_>)) {
        observe(&Progress {
            now,
            record,
            recent: &self.recent,
            end: &self.end,
        });
        self.recent.clear();
        self.last_observed = now;
    }
}

#[cfg(test)]
mod tests;
