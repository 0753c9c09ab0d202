//! Pinned workers: one thread and one model each, post-processing included.
//!
//! A worker pins itself first and then creates its model, so that the model's memory is first
//! touched on the worker's own node. Samples travel to the workers, and answers back, through
//! bounded channels that are allocated before a run; on the way of a query nothing is allocated.
//! The issuing thread never waits for a worker: what does not fit into the channel waits in a
//! backlog of its own.
//!
//! ```text
//! issue -> [backlog] -> work channel -> worker: gather, infer, detect -> reply channel -> poll, wait
//!                    \-> data threads: decode, resize -/        (only in the end-to-end region)
//! ```
//!
//! Each issuing thread has a desk: a backlog and a reply channel of its own. A sample knows its desk.

mod answers;
mod batch;
mod data;
mod desk;
mod worker;

pub use answers::{Answer, AnswerLog, ChosenSamples};
pub use data::Recipe;

use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{bounded, Receiver, Sender};

use self::desk::PoolDesk;
use super::{Desk, SutError, SystemUnderTest};
use crate::clock::Monotonic;
use crate::library::LoadedSamples;
use crate::postprocess::Detector;
use crate::record::Completion;
use crate::runtime::Model;
use crate::units::{Latency, QuerySample, SampleIndex, Timestamp};

/// Samples on their way to the workers; more wait in the backlog.
const WORK_ROOM: usize = 16_384;

/// Answers on their way back; a worker waits when the issuing thread has not looked for so many.
const REPLY_ROOM: usize = 16_384;

/// Makes the model of one worker, on that worker's thread; the error is for people.
pub type ModelFactory = Arc<dyn Fn(usize) -> Result<Box<dyn Model>, String> + Send + Sync>;

/// Makes one worker's detectors. In an accuracy run each of them answers; a performance run has one.
pub type DetectorFactory = Arc<dyn Fn() -> Vec<Box<dyn Detector>> + Send + Sync>;

/// Where a worker finds the tensors of its samples.
#[derive(Clone)]
pub enum Inputs {
    /// Decoded and resized before the run.
    Prepared(Arc<LoadedSamples>),
    /// Decoded and resized inside the timed region by data threads.
    Encoded(data::Recipe),
}

/// When a worker has warmed up: at the first of the two that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmUp {
    /// So many inferences.
    pub inferences: Option<u32>,
    /// So much time.
    pub duration: Option<Latency>,
}

/// What one worker's warm-up showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmUpReport {
    /// Which worker.
    pub instance: usize,
    /// Its thread's id, for the placement report.
    pub thread_id: i32,
    /// Inferences made.
    pub inferences: u32,
    /// Time of the fastest inference with its post-processing, per batch.
    pub fastest: Option<Latency>,
}

/// What the workers do in one run.
#[derive(Clone)]
pub struct Assignment {
    /// Where the tensors come from.
    pub inputs: Inputs,
    /// Post-processing.
    pub detectors: DetectorFactory,
    /// Samples in one inference, at most.
    pub batch_size: usize,
    /// How long a batch that is not full waits for more samples.
    pub batch_timeout: Latency,
    /// Warm-up before the run.
    pub warm_up: WarmUp,
    /// A picture to warm up with.
    pub warm_up_sample: SampleIndex,
    /// Which answers are handed out, if any; the others are made and dropped.
    pub answers: Option<AnswerLog>,
    /// Set to end the warm-up at the next inference.
    pub interrupted: &'static AtomicBool,
}

/// Where one worker lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// CPUs that the worker thread may run on; `None` leaves it free.
    pub worker_cpus: Option<Vec<usize>>,
}

enum Reply {
    Ready(WarmUpReport),
    Done(Completion),
    Failed(SutError),
}

/// A sample on its way to a worker.
struct Work {
    sample: QuerySample,
    /// Where its answer goes.
    desk: usize,
    /// Its tensor, when a data thread has made it.
    made: Option<data::Made>,
}

struct Job {
    assignment: Assignment,
    work: Receiver<Work>,
    replies: Replies,
}

/// The ways back, one a desk.
#[derive(Clone)]
struct Replies(Arc<[Sender<Reply>]>);

impl Replies {
    /// Nobody listens any more once a run was given up, which is no failure.
    fn send(&self, desk: usize, reply: Reply) {
        let _ = self.0[desk].send(reply);
    }

    fn fail(&self, error: &SutError) {
        for desk in 0..self.0.len() {
            self.send(desk, Reply::Failed(error.clone()));
        }
    }
}

/// The workers, alive between runs.
pub struct Pool {
    name: String,
    clock: Monotonic,
    jobs: Vec<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts one worker a seat and waits until each has its model.
    ///
    /// # Errors
    /// When a worker cannot be pinned or its model cannot be made.
    pub fn start(
        name: String,
        seats: &[Seat],
        make_model: &ModelFactory,
        clock: Monotonic,
    ) -> Result<Self, SutError> {
        let (born, births) = bounded(seats.len());
        let mut pool = Self {
            name,
            clock,
            jobs: Vec::new(),
            threads: Vec::new(),
        };
        for (instance, seat) in seats.iter().enumerate() {
            let (job, jobs) = bounded(1);
            let start = worker::Start {
                instance,
                seat: seat.clone(),
                make_model: Arc::clone(make_model),
                clock,
                jobs,
                born: born.clone(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("detbench-w{instance}"))
                .spawn(move || start.live())
                .map_err(|error| SutError::Start {
                    instance,
                    reason: error.to_string(),
                })?;
            pool.jobs.push(job);
            pool.threads.push(thread);
        }
        drop(born);
        for _ in seats {
            births.recv().map_err(|_| SutError::WorkerLost)??;
        }
        Ok(pool)
    }

    /// The clock that stamps the answers; the run that issues must be timed by it too.
    pub fn clock(&self) -> Monotonic {
        self.clock
    }

    /// How many workers there are.
    pub fn instance_count(&self) -> usize {
        self.jobs.len()
    }

    /// Gives every worker its assignment and waits until all have warmed up.
    ///
    /// # Errors
    /// When a worker fails while it warms up.
    pub fn begin(&mut self, assignment: &Assignment) -> Result<PoolRun<'_>, SutError> {
        self.begin_with_desks(assignment, 1)
    }

    /// The same with a desk for each of `desk_count` issuing threads.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn begin_with_desks(
        &mut self,
        assignment: &Assignment,
        desk_count: usize,
    ) -> Result<PoolRun<'_>, SutError> {
        let (work, waiting) = bounded(WORK_ROOM);
        let (reply, replies): (Vec<_>, Vec<_>) =
            (0..desk_count.max(1)).map(|_| bounded(REPLY_ROOM)).unzip();
        let reply = Replies(reply.into());
        for job in &self.jobs {
            let job_of_worker = Job {
                assignment: assignment.clone(),
                work: waiting.clone(),
                replies: reply.clone(),
            };
            job.send(job_of_worker).map_err(|_| SutError::WorkerLost)?;
        }
        let (entry, kitchen) = match &assignment.inputs {
            Inputs::Prepared(_) => (work, None),
            Inputs::Encoded(recipe) => {
                let buffers = 2 * self.jobs.len() * assignment.batch_size + recipe.threads;
                let (kitchen, orders) =
                    data::Kitchen::open(recipe, buffers, self.clock, &work, &reply);
                (orders, Some(kitchen))
            }
        };
        let clock = self.clock;
        let desks = replies
            .into_iter()
            .enumerate()
            .map(|(number, replies)| PoolDesk::new(number, &self.name, clock, &entry, replies));
        let mut run = PoolRun {
            desks: desks.collect(),
            kitchen,
            waiting,
            warm_ups: Vec::new(),
            pool: self,
        };
        run.await_warm_up()?;
        Ok(run)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs.clear();
        for thread in self.threads.drain(..) {
            // A worker that panicked has been reported as lost already.
            let _ = thread.join();
        }
    }
}

/// The pool in the course of one run; dropping it sends the workers back to wait for the next.
pub struct PoolRun<'pool> {
    pool: &'pool mut Pool,
    desks: Vec<PoolDesk>,
    kitchen: Option<data::Kitchen>,
    waiting: Receiver<Work>,
    warm_ups: Vec<WarmUpReport>,
}

impl PoolRun<'_> {
    /// What each worker's warm-up showed, by instance.
    pub fn warm_ups(&self) -> &[WarmUpReport] {
        &self.warm_ups
    }

    fn await_warm_up(&mut self) -> Result<(), SutError> {
        while self.warm_ups.len() < self.pool.jobs.len() {
            match self.desks[0].next_reply()? {
                Reply::Ready(report) => self.warm_ups.push(report),
                Reply::Failed(error) => return Err(error),
                Reply::Done(_) => unreachable!("no sample was issued yet"),
            }
        }
        self.warm_ups.sort_by_key(|report| report.instance);
        Ok(())
    }
}

/// A run that one thread issues uses the first desk.
impl SystemUnderTest for PoolRun<'_> {
    fn name(&self) -> &str {
        &self.pool.name
    }

    fn issue(&mut self, samples: &[QuerySample], inbox: &mut Vec<Completion>) {
        self.desks[0].issue(samples, inbox);
    }

    fn poll(&mut self, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        self.desks[0].poll(inbox)
    }

    fn wait(&mut self, deadline: Timestamp, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        self.desks[0].wait(deadline, inbox)
    }

    /// As many as the run was begun with.
    fn desks(&mut self, count: usize) -> Option<Vec<Desk<'_>>> {
        let desks = self.desks.iter_mut();
        (desks.len() == count).then(|| desks.map(|desk| Box::new(desk) as Desk<'_>).collect())
    }
}

impl Drop for PoolRun<'_> {
    fn drop(&mut self) {
        // Closing every entry ends the run. After an interrupt there may be work that nobody wants
        // any more, and a worker may wait for room to answer: all channels are emptied or closed.
        for desk in &mut self.desks {
            desk.close();
        }
        self.desks.truncate(1);
        while self.waiting.try_recv().is_ok() {}
        self.kitchen = None;
        while self.waiting.try_recv().is_ok() {}
        while self.desks[0].next_reply().is_ok() {}
    }
}

#[cfg(test)]
mod tests;
