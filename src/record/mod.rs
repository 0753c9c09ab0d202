//! Stage 6: facts only. What was issued, what came back and when; no figure, no judgement.
//!
//! *In*: issued queries and completions. *Out*: [`Record`]. Nothing here allocates while a run
//! is on, as long as the run stays within the number of samples that the plan announced.
//!
//! Bytes kept for a sample: 8 for the latency (before the answer: the scheduled time), 8 for the
//! scheduled time of a closed-loop query, 4 for the issue delay of a Server query (its scheduled
//! time follows from the seed), 4 for each stage time that the system under test tells.

mod merge;
mod span;

pub use span::ShortSpan;

use crate::issue::IssuedQuery;
use crate::units::{Latency, QuerySample, SampleId, Timestamp};

/// One answered sample, as the system under test reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// Which sample.
    pub id: SampleId,
    /// When its answer was complete, post-processing included.
    pub at: Timestamp,
    /// Stage times, when the system under test knows them.
    pub stages: Stages,
}

/// How long a sample spent where; what is left of its latency is queueing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stages {
    /// Decoding and resizing, when they are inside the timed region.
    pub preprocess: ShortSpan,
    /// The inference that carried it (of its whole batch).
    pub inference: ShortSpan,
    /// From the end of that inference to its own answer.
    pub postprocess: ShortSpan,
}

/// What is worth keeping of a run besides the latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// Scheduled times (closed loops: they cannot be regenerated).
    pub schedule: bool,
    /// Issue delays (Server: the generator's own lateness; Offline: that of its one query).
    pub issue_delay: bool,
    /// Times of inference and post-processing.
    pub stages: bool,
    /// Times of decoding and resizing.
    pub preprocess: bool,
}

/// A completion that does not fit what was issued; it is counted and otherwise ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompletionError {
    /// The sample was answered before.
    #[error("sample {0} was completed twice")]
    Twice(u32),
    /// The sample was never issued.
    #[error("sample {0} was completed but never issued")]
    Unknown(u32),
}

/// What is known of one sample while a run is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleLatency {
    /// It was answered after this time.
    Answered(Latency),
    /// It has no answer yet; its latency counts from here.
    WaitingSince(Timestamp),
}

/// An unanswered sample's slot holds its scheduled time with this bit set.
const PENDING: u64 = 1 << 63;

/// The facts of one run over one loaded set.
#[derive(Debug)]
pub struct Record {
    start: Timestamp,
    first_sample: u32,
    sample_step: u32,
    keep: Keep,
    latency_ns: Vec<u64>,
    query_start_ns: Vec<u64>,
    issue_delay: Vec<ShortSpan>,
    preprocess: Vec<ShortSpan>,
    inference: Vec<ShortSpan>,
    postprocess: Vec<ShortSpan>,
    samples_per_query: u32,
    query_count: u64,
    completed: u64,
    last_completion: Timestamp,
    last_scheduled: Timestamp,
    last_issued: Timestamp,
    completion_errors: Vec<CompletionError>,
    completion_error_count: u64,
    /// Queries that each of several issuing threads issued; empty where there was one.
    shares: Vec<u64>,
}

/// Further completion errors are counted, not kept.
const ERRORS_KEPT: usize = 100;

impl Record {
    /// An empty record with room for `sample_count` samples of queries of `samples_per_query`.
    pub fn new(
        start: Timestamp,
        first_sample: SampleId,
        keep: Keep,
        sample_count: usize,
        samples_per_query: u32,
    ) -> Self {
        let samples_per_query = samples_per_query.max(1);
        let query_count = sample_count / samples_per_query as usize;
        let room = |wanted: bool, count: usize| if wanted { count } else { 0 };
        Self {
            start,
            first_sample: first_sample.0,
            sample_step: 1,
            keep,
            latency_ns: Vec::with_capacity(sample_count),
            query_start_ns: Vec::with_capacity(room(keep.schedule, query_count)),
            issue_delay: Vec::with_capacity(room(keep.issue_delay, query_count)),
            preprocess: Vec::with_capacity(room(keep.preprocess, sample_count)),
            inference: Vec::with_capacity(room(keep.stages, sample_count)),
            postprocess: Vec::with_capacity(room(keep.stages, sample_count)),
            samples_per_query,
            query_count: 0,
            completed: 0,
            last_completion: start,
            last_scheduled: start,
            last_issued: start,
            completion_errors: Vec::new(),
            completion_error_count: 0,
            shares: Vec::new(),
        }
    }

    /// Expects samples that are numbered in steps of `step`: the others belong to other
    /// issuing threads.
    #[must_use]
    pub fn in_steps_of(self, step: u32) -> Self {
        Self {
            sample_step: step,
            ..self
        }
    }

    /// Where a sample's facts are; somewhere outside for one that belongs to somebody else.
    #[inline]
    fn slot(&self, id: SampleId) -> usize {
        let distance = id.0.wrapping_sub(self.first_sample);
        if self.sample_step == 1 {
            distance as usize
        } else if distance.is_multiple_of(self.sample_step) {
            (distance / self.sample_step) as usize
        } else {
            usize::MAX
        }
    }

    /// Notes that `samples`, which belong to `queries` in order, leave at `at`; called before
    /// they are handed over, so that an answer from within the issue call finds them.
    ///
    /// The later parts of a burst come without queries: their samples count from its start.
    pub fn issued(&mut self, queries: &[IssuedQuery], samples: &[QuerySample], at: Timestamp) {
        self.query_count += queries.len() as u64;
        for query in queries {
            let pending = PENDING | query.scheduled.as_nanos();
            for _ in 0..query.sample_count {
                self.latency_ns.push(pending);
            }
            if self.keep.schedule {
                self.query_start_ns.push(query.scheduled.as_nanos());
            }
            if self.keep.issue_delay {
                let delay = at.saturating_since(query.scheduled);
                self.issue_delay.push(ShortSpan::new(delay));
            }
            self.last_scheduled = query.scheduled;
            self.last_issued = at;
        }
        let known = samples.last().map_or(0, |last| self.slot(last.id) + 1);
        if self.latency_ns.len() < known {
            let pending = PENDING | self.last_scheduled.as_nanos();
            self.latency_ns.resize(known, pending);
        }
        for (wanted, column) in [
            (self.keep.preprocess, &mut self.preprocess),
            (self.keep.stages, &mut self.inference),
            (self.keep.stages, &mut self.postprocess),
        ] {
            if wanted {
                column.resize(known, ShortSpan::default());
            }
        }
    }

    /// Notes an answer; its latency counts from the scheduled time.
    pub fn completed(&mut self, completion: &Completion) {
        let slot = self.slot(completion.id);
        match self.latency_ns.get_mut(slot) {
            None => self.misfit(CompletionError::Unknown(completion.id.0)),
            Some(pending) if *pending & PENDING == 0 => {
                self.misfit(CompletionError::Twice(completion.id.0));
            }
            Some(pending) => {
                *pending = completion.at.as_nanos().saturating_sub(*pending & !PENDING);
                self.completed += 1;
                self.last_completion = self.last_completion.max(completion.at);
                if self.keep.stages {
                    self.inference[slot] = completion.stages.inference;
                    self.postprocess[slot] = completion.stages.postprocess;
                }
                if self.keep.preprocess {
                    self.preprocess[slot] = completion.stages.preprocess;
                }
            }
        }
    }

    fn misfit(&mut self, error: CompletionError) {
        self.completion_error_count += 1;
        if self.completion_errors.len() < ERRORS_KEPT {
            self.completion_errors.push(error);
        }
    }

    /// Samples issued and not yet answered.
    pub fn outstanding(&self) -> u64 {
        self.sample_count() - self.completed
    }

    /// Samples issued.
    pub fn sample_count(&self) -> u64 {
        self.latency_ns.len() as u64
    }

    /// Samples answered.
    pub fn completed_count(&self) -> u64 {
        self.completed
    }

    /// Queries issued.
    pub fn query_count(&self) -> u64 {
        self.query_count
    }

    /// Whether the plan's query of this number was issued: with several issuing threads, one may
    /// have come to its end before the others.
    pub fn was_issued(&self, query: u64) -> bool {
        let threads = self.shares.len() as u64;
        if threads == 0 {
            return query < self.query_count;
        }
        query / threads < self.shares[(query % threads) as usize]
    }

    /// How many of the plan's queries have to be gone through to meet all that were issued.
    pub fn query_reach(&self) -> u64 {
        let threads = self.shares.len() as u64;
        let reach = |(thread, &share): (usize, &u64)| match share {
            0 => 0,
            share => (share - 1) * threads + thread as u64 + 1,
        };
        let farthest = self.shares.iter().enumerate().map(reach).max();
        farthest.unwrap_or(self.query_count)
    }

    /// The moment from which the run counts.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// Time from the start to the last answer.
    pub fn elapsed(&self) -> Latency {
        self.last_completion.since(self.start)
    }

    /// Time from the start to the scheduled moment of the last query.
    pub fn last_scheduled(&self) -> Latency {
        self.last_scheduled.saturating_since(self.start)
    }

    /// Time from the start to the issue of the last query.
    pub fn last_issued(&self) -> Latency {
        self.last_issued.saturating_since(self.start)
    }

    /// Latency of each sample in the order of issue; `None` for one that was never answered.
    pub fn latencies(&self) -> impl ExactSizeIterator<Item = Option<Latency>> + '_ {
        self.latency_ns
            .iter()
            .map(|&ns| (ns & PENDING == 0).then(|| Latency::from_nanos(ns)))
    }

    /// Latency of the sample issued last; `None` when it was not answered or none was issued.
    pub fn last_latency(&self) -> Option<Latency> {
        let &ns = self.latency_ns.last()?;
        (ns & PENDING == 0).then(|| Latency::from_nanos(ns))
    }

    /// Latency of one sample; `None` when it was not answered or never issued.
    pub fn latency_of(&self, id: SampleId) -> Option<Latency> {
        let ns = *self.latency_ns.get(self.slot(id))?;
        (ns & PENDING == 0).then(|| Latency::from_nanos(ns))
    }

    /// Latency of the sample at a position in the order of issue.
    ///
    /// # Panics
    /// When fewer samples were issued.
    pub fn latency_at(&self, position: usize) -> SampleLatency {
        let ns = self.latency_ns[position];
        if ns & PENDING == 0 {
            SampleLatency::Answered(Latency::from_nanos(ns))
        } else {
            SampleLatency::WaitingSince(Timestamp::from_nanos(ns & !PENDING))
        }
    }

    /// Scheduled time of each query, counted from the start, where it was kept.
    pub fn query_starts(&self) -> impl ExactSizeIterator<Item = Latency> + '_ {
        let start = self.start;
        self.query_start_ns
            .iter()
            .map(move |&ns| Timestamp::from_nanos(ns).saturating_since(start))
    }

    /// Issue delay of each query, where it was kept.
    pub fn issue_delays(&self) -> impl ExactSizeIterator<Item = Latency> + '_ {
        self.issue_delay.iter().map(|delay| delay.get())
    }

    /// Decoding and resizing of each sample in the order of issue, where it was kept.
    pub fn preprocess(&self) -> impl ExactSizeIterator<Item = Latency> + '_ {
        self.preprocess.iter().map(|span| span.get())
    }

    /// Inference of each sample in the order of issue, where it was kept.
    pub fn inference(&self) -> impl ExactSizeIterator<Item = Latency> + '_ {
        self.inference.iter().map(|span| span.get())
    }

    /// Post-processing of each sample in the order of issue, where it was kept.
    pub fn postprocess(&self) -> impl ExactSizeIterator<Item = Latency> + '_ {
        self.postprocess.iter().map(|span| span.get())
    }

    /// The latencies of the answered samples in ascending order (ns); the rest of the record goes,
    /// so that a long run's latencies are sorted where they lie.
    pub fn into_sorted_latencies(self) -> Vec<u64> {
        let mut latencies = self.latency_ns;
        latencies.retain(|ns| ns & PENDING == 0);
        latencies.sort_unstable();
        latencies
    }

    /// Which columns were kept.
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// Samples in each query; one for SingleStream and Server.
    pub fn samples_per_query(&self) -> u32 {
        self.samples_per_query
    }

    /// The first completions that did not fit, and how many there were in all.
    pub fn completion_errors(&self) -> (&[CompletionError], u64) {
        (&self.completion_errors, self.completion_error_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SampleIndex;

    const KEEP_ALL: Keep = Keep {
        schedule: true,
        issue_delay: true,
        stages: true,
        preprocess: true,
    };

    fn at(ns: u64) -> Timestamp {
        Timestamp::from_nanos(ns)
    }

    fn sample(id: u32) -> QuerySample {
        QuerySample {
            id: SampleId(id),
            index: SampleIndex(0),
        }
    }

    fn done(id: u32, ns: u64) -> Completion {
        Completion {
            id: SampleId(id),
            at: at(ns),
            stages: Stages {
                inference: ShortSpan::new(Latency::from_nanos(3)),
                postprocess: ShortSpan::new(Latency::from_nanos(1)),
                ..Stages::default()
            },
        }
    }

    fn query(scheduled: u64) -> IssuedQuery {
        IssuedQuery {
            scheduled: at(scheduled),
            sample_count: 1,
        }
    }

    #[test]
    fn latency_counts_from_the_schedule_not_from_the_issue() {
        let mut record = Record::new(at(100), SampleId(0), KEEP_ALL, 2, 1);
        record.issued(&[query(110)], &[sample(0)], at(150));
        assert_eq!(record.outstanding(), 1);
        record.completed(&done(0, 170));
        let latency = record.latencies().next().unwrap();
        assert_eq!(latency, Some(Latency::from_nanos(60)));
        let delay = record.issue_delays().next().unwrap();
        assert_eq!(delay, Latency::from_nanos(40));
        let start = record.query_starts().next().unwrap();
        assert_eq!(start, Latency::from_nanos(10));
        assert_eq!(record.elapsed(), Latency::from_nanos(70));
        assert_eq!(record.outstanding(), 0);
    }

    #[test]
    fn completing_twice_or_something_unknown_is_an_error_and_changes_nothing() {
        let mut record = Record::new(at(0), SampleId(10), KEEP_ALL, 2, 1);
        record.issued(&[query(0)], &[sample(10)], at(0));
        record.completed(&done(10, 5));
        record.completed(&done(10, 9));
        record.completed(&done(11, 9));
        record.completed(&done(3, 9));
        let (errors, count) = record.completion_errors();
        assert_eq!(
            errors,
            [
                CompletionError::Twice(10),
                CompletionError::Unknown(11),
                CompletionError::Unknown(3)
            ]
        );
        assert_eq!(count, 3);
        assert_eq!(record.elapsed(), Latency::from_nanos(5));
    }

    #[test]
    fn a_lost_answer_stays_outstanding_and_has_no_latency() {
        let mut record = Record::new(at(0), SampleId(0), KEEP_ALL, 2, 1);
        record.issued(&[query(0), query(1)], &[sample(0), sample(1)], at(1));
        record.completed(&done(1, 4));
        assert_eq!(record.outstanding(), 1);
        assert_eq!(
            record.latencies().collect::<Vec<_>>(),
            [None, Some(Latency::from_nanos(3))]
        );
    }

    #[test]
    fn the_parts_of_a_burst_all_count_from_its_start() {
        let mut record = Record::new(at(50), SampleId(0), KEEP_ALL, 3, 3);
        record.issued(&[query(50)], &[sample(0)], at(51));
        record.issued(&[], &[sample(1), sample(2)], at(60));
        for id in 0..3 {
            record.completed(&done(id, 70));
        }
        assert_eq!(record.query_count(), 1);
        assert!(record
            .latencies()
            .all(|latency| latency == Some(Latency::from_nanos(20))));
        assert_eq!(record.inference().count(), 3);
    }
}
