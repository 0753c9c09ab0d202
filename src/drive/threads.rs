//! Several threads that issue one Server set: the loop of [`drive`] on each, their records merged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{drive, Control, Ending, Progress, Stand};
use crate::clock::Clock;
use crate::issue::{IssueEnd, IssueRules, Issuer, Share};
use crate::plan::QueryStream;
use crate::record::{Keep, Record};
use crate::sut::{Desk, SutError};
use crate::units::{Latency, SampleId};

/// The run starts so much after its threads were asked for, so that they are there.
const GATHER: Latency = Latency::from_millis(2);

/// What the threads share.
pub(super) struct Whole {
    /// The queries, from the first.
    pub queries: QueryStream,
    /// How many.
    pub query_count: u64,
    /// The rules of issuing them.
    pub rules: IssueRules,
    /// What is recorded.
    pub keep: Keep,
    /// Number of the first sample; there is one sample a query.
    pub first_sample: SampleId,
}

/// One thread's part of a run.
struct Part<'a> {
    issuer: Issuer<Share<QueryStream>>,
    record: Record,
    desk: Desk<'a>,
    clock: Box<dyn Clock + Send>,
}

type Outcome = (Record, Result<Ending, SutError>);

impl Part<'_> {
    /// Issues the part; when it comes to no good end, `halt` ends the others too.
    fn run(
        mut self,
        control: &Control<'_>,
        halt: &AtomicBool,
        observe: &mut dyn FnMut(&Progress<'_>),
    ) -> Outcome {
        let own = Control {
            interrupted: halt,
            ..*control
        };
        let mut watch = |progress: &Progress<'_>| {
            if control.interrupted.load(Ordering::Relaxed) {
                halt.store(true, Ordering::Relaxed);
            }
            observe(progress);
        };
        let (desk, clock) = (&mut *self.desk, &*self.clock);
        let record = &mut self.record;
        let ending = drive(&mut self.issuer, desk, clock, record, &own, &mut watch);
        if !matches!(ending, Ok(Ending::Complete(_))) {
            halt.store(true, Ordering::Relaxed);
        }
        (self.record, ending)
    }
}

/// Issues a set from `count` threads, of which the calling one is the first and the one that is
/// observed; `None` when the system or the clock can only serve one thread.
pub(super) fn drive_threads(whole: &Whole, count: u32, stand: &mut Stand<'_>) -> Option<Outcome> {
    let clocks: Option<Vec<_>> = (0..count).map(|_| stand.clock.fork()).collect();
    let desks = stand.sut.desks(count as usize)?;
    let start = stand.clock.now() + GATHER;
    let parts = desks.into_iter().zip(clocks?).zip(0..count);
    let mut parts = parts.map(|((desk, clock), thread)| {
        let (first, threads) = (u64::from(thread), u64::from(count));
        let source = Share::new(whole.queries.clone(), first, threads);
        let rules = whole.rules.share(first, threads);
        let first_sample = SampleId(whole.first_sample.0 + thread);
        let room = whole.query_count.div_ceil(threads) as usize;
        Part {
            issuer: Issuer::new(source, rules, start, first_sample).in_steps_of(count),
            record: Record::new(start, first_sample, whole.keep, room, 1).in_steps_of(count),
            desk,
            clock,
        }
    });
    let (control, halt) = (&stand.control, &AtomicBool::new(false));
    let first = parts.next()?;
    let outcomes = thread::scope(|scope| {
        let others: Vec<_> = parts
            .map(|part| scope.spawn(move || part.run(control, halt, &mut |_| {})))
            .collect();
        let first = first.run(control, halt, stand.observe);
        let others = others.into_iter().map(|thread| match thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        std::iter::once(first).chain(others).collect::<Vec<_>>()
    });
    let (records, endings): (Vec<_>, Vec<_>) = outcomes.into_iter().unzip();
    Some((Record::merged(records), joint_ending(endings)))
}

/// How the run of all threads ended: the ending of the one that ended it. The others then look
/// interrupted, and a thread that issued all it had is no reason while another stopped early.
fn joint_ending(endings: Vec<Result<Ending, SutError>>) -> Result<Ending, SutError> {
    let weight = |ending: &Ending| match ending {
        Ending::NoProgress { .. } | Ending::Decided => 3,
        Ending::Interrupted => 2,
        Ending::Complete(IssueEnd::Exhausted | IssueEnd::Naturally) => 0,
        Ending::Complete(
            IssueEnd::RanOut
            | IssueEnd::QueryCountMax
            | IssueEnd::DurationMax
            | IssueEnd::OutstandingMax { .. },
        ) => 1,
    };
    let endings = endings.into_iter().collect::<Result<Vec<_>, _>>()?;
    let joint = endings.into_iter().rev().max_by_key(weight);
    Ok(joint.expect("at least one thread"))
}
