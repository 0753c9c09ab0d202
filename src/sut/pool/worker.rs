//! One worker thread: its seat, its model, and the loop from samples to answers.

use std::sync::atomic::Ordering;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};

use super::batch::Batch;
use super::{Answer, AnswerLog, Assignment, Job, ModelFactory, Reply, Seat, WarmUpReport, Work};
use crate::clock::{Clock, Monotonic};
use crate::placement::pin;
use crate::postprocess::{Detection, Detector};
use crate::record::{Completion, ShortSpan, Stages};
use crate::runtime::Model;
use crate::sut::SutError;
use crate::tensor::{TensorData, TensorView};
use crate::units::{Latency, QuerySample, Timestamp};

/// More output tensors than any detector takes.
const OUTPUTS_MAX: usize = 8;

/// Room for the detections of one picture before the first call.
const DETECTIONS_ROOM: usize = 1_024;

/// What a worker is born with.
pub(super) struct Start {
    pub instance: usize,
    pub seat: Seat,
    pub make_model: ModelFactory,
    pub clock: Monotonic,
    pub jobs: Receiver<Job>,
    pub born: Sender<Result<(), SutError>>,
}

impl Start {
    /// The life of a worker: take the seat, make the model, serve run after run.
    pub fn live(self) {
        let model = self.settle();
        let born = model.as_ref().map(|_| ()).map_err(Clone::clone);
        // The pool is gone when nobody hears this; then there are no jobs either.
        let _ = self.born.send(born);
        drop(self.born);
        let Ok(model) = model else { return };
        let mut worker = Worker {
            instance: self.instance,
            clock: self.clock,
            model,
            detections: Vec::with_capacity(DETECTIONS_ROOM),
            kept: Vec::new(),
        };
        for job in &self.jobs {
            worker.serve(&job);
        }
    }

    fn settle(&self) -> Result<Box<dyn Model>, SutError> {
        let failed = |reason: String| SutError::Start {
            instance: self.instance,
            reason,
        };
        if let Some(cpus) = &self.seat.worker_cpus {
            pin::pin_current_thread(cpus).map_err(|error| failed(error.to_string()))?;
        }
        (self.make_model)(self.instance).map_err(failed)
    }
}

struct Worker {
    instance: usize,
    clock: Monotonic,
    model: Box<dyn Model>,
    detections: Vec<Detection>,
    /// What each detector found in one sample whose answer is wanted.
    kept: Vec<Vec<Detection>>,
}

impl Worker {
    /// One run. Whatever goes wrong is reported once and ends it.
    fn serve(&mut self, job: &Job) {
        if let Err(error) = self.try_serve(job) {
            job.replies.fail(&error);
        }
    }

    fn try_serve(&mut self, job: &Job) -> Result<(), SutError> {
        let mut detectors = (job.assignment.detectors)();
        let mut batch = Batch::new(&job.assignment);
        let report = self.warm_up(&job.assignment, &mut batch, &mut detectors)?;
        job.replies.send(0, Reply::Ready(report));
        while let Ok(first) = job.work.recv() {
            batch.begin(first);
            self.fill(&mut batch, job);
            let answers = job.assignment.answers.as_ref();
            self.answer(&mut batch, &mut detectors, answers, |desk, completion| {
                job.replies.send(desk, Reply::Done(completion));
            })?;
        }
        Ok(())
    }

    /// Adds what is waiting, then what comes within the batch timeout.
    fn fill(&self, batch: &mut Batch, job: &Job) {
        while !batch.is_full() {
            let Ok(work) = job.work.try_recv() else { break };
            batch.add(work);
        }
        if batch.is_full() || job.assignment.batch_timeout == Latency::ZERO {
            return;
        }
        let deadline = self.clock.now() + job.assignment.batch_timeout;
        while !batch.is_full() {
            let left = deadline.saturating_since(self.clock.now());
            match job.work.recv_timeout(left.to_std()) {
                Ok(work) => batch.add(work),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    /// Infers and post-processes one batch; each sample is answered as soon as its own
    /// detections are there.
    fn answer(
        &mut self,
        batch: &mut Batch,
        detectors: &mut [Box<dyn Detector>],
        answers: Option<&AnswerLog>,
        mut done: impl FnMut(usize, Completion),
    ) -> Result<(), SutError> {
        let begun = self.clock.now();
        let failed = |instance: usize, sample: QuerySample, reason: String| SutError::Failed {
            instance,
            sample: sample.index.0,
            reason,
        };
        let first = batch.first_sample();
        self.model
            .run(batch.tensor())
            .map_err(|error| failed(self.instance, first, error.to_string()))?;
        let inferred = self.clock.now();
        let mut views = [EMPTY; OUTPUTS_MAX];
        let count = self.model.output_count().min(OUTPUTS_MAX);
        for (output, view) in views[..count].iter_mut().enumerate() {
            *view = self
                .model
                .output(output)
                .map_err(|error| failed(self.instance, first, error.to_string()))?;
        }
        for (image, work) in batch.works().iter().enumerate() {
            let log = answers.filter(|log| log.wants(work.sample.id));
            for detector in detectors.iter_mut() {
                detector
                    .detect(&views[..count], image, &mut self.detections)
                    .map_err(|error| failed(self.instance, work.sample, error.to_string()))?;
                if log.is_some() {
                    self.kept.push(self.detections.clone());
                }
            }
            let now = self.clock.now();
            for (detector, detections) in self.kept.drain(..).enumerate() {
                let answer = Answer {
                    id: work.sample.id,
                    sample: work.sample.index,
                    detector,
                    at: now,
                    detections,
                };
                log.expect("kept for it").send(answer);
            }
            done(work.desk, completion(work, begun, inferred, now));
        }
        batch.finish();
        Ok(())
    }

    fn warm_up(
        &mut self,
        assignment: &Assignment,
        batch: &mut Batch,
        detectors: &mut [Box<dyn Detector>],
    ) -> Result<WarmUpReport, SutError> {
        let begun = self.clock.now();
        let mut inferences = 0;
        let mut fastest: Option<Latency> = None;
        let sample = QuerySample {
            index: assignment.warm_up_sample,
            ..QuerySample::default()
        };
        loop {
            let elapsed = self.clock.now().since(begun);
            let enough = assignment
                .warm_up
                .inferences
                .is_some_and(|n| inferences >= n)
                || assignment
                    .warm_up
                    .duration
                    .is_some_and(|span| elapsed >= span);
            if enough || assignment.interrupted.load(Ordering::Relaxed) {
                break;
            }
            batch.fill_with(sample)?;
            let before = self.clock.now();
            self.answer(batch, detectors, None, |_, _| {})?;
            let took = self.clock.now().since(before);
            fastest = Some(fastest.map_or(took, |fastest| fastest.min(took)));
            inferences += 1;
        }
        Ok(WarmUpReport {
            instance: self.instance,
            thread_id: nix::unistd::gettid().as_raw(),
            inferences,
            fastest,
        })
    }
}

const EMPTY: TensorView<'static> = TensorView {
    shape: &[],
    data: TensorData::U8(&[]),
};

fn completion(work: &Work, begun: Timestamp, inferred: Timestamp, now: Timestamp) -> Completion {
    Completion {
        id: work.sample.id,
        at: now,
        stages: Stages {
            preprocess: work
                .made
                .as_ref()
                .map_or(ShortSpan::default(), |made| made.took),
            inference: ShortSpan::new(inferred.since(begun)),
            postprocess: ShortSpan::new(now.since(inferred)),
        },
    }
}
