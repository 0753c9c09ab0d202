//! Stage 4: when each query leaves. A pure state machine: no thread, clock or file.
//!
//! *In*: the stream of queries that the plan generates, the present moment and how much is
//! outstanding. *Out*: a [`Step`]. The rules are those of LoadGen's issue loop:
//!
//! | pacing | scenario | a query leaves | its latency counts from |
//! |---|---|---|---|
//! | [`Pacing::Closed`] | SingleStream, MultiStream | when the last one is answered | that moment |
//! | [`Pacing::Open`] | Server | at its scheduled time, whatever is outstanding | the schedule |
//! | [`Pacing::Burst`] | Offline | at once | the start |

mod rules;
mod share;

pub use share::Share;

use crate::plan::QueryStream;
use crate::units::{Latency, QuerySample, SampleId, SampleIndex, Timestamp};

/// Offline's one query is handed over in parts of this many samples, so that a run of a
/// hundred million samples needs no array of that size.
const BURST_PART: usize = 4_096;

/// Where the issuer takes its queries from: the plan's stream, generated as it is needed.
pub trait QuerySource {
    /// Goes to the next query and says when it is scheduled, counted from the start; `None` when
    /// the plan has no more queries. Samples of the query before that were not read are passed over.
    fn begin_query(&mut self) -> Option<Latency>;

    /// Appends up to `limit` further samples of the query; none when it is complete.
    fn read_samples(&mut self, limit: usize, samples: &mut Vec<SampleIndex>);
}

impl QuerySource for QueryStream {
    fn begin_query(&mut self) -> Option<Latency> {
        Self::begin_query(self)
    }

    fn read_samples(&mut self, limit: usize, samples: &mut Vec<SampleIndex>) {
        Self::read_samples(self, limit, samples);
    }
}

/// How queries are paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// One query at a time.
    Closed,
    /// By the schedule.
    Open {
        /// Queries that are already due leave together in one call.
        coalesce: bool,
        /// More outstanding queries than this end the run with an error; `None` is no bound.
        outstanding_max: Option<u64>,
    },
    /// All at once.
    Burst,
}

/// When issuing ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssueRules {
    /// How queries are paced.
    pub pacing: Pacing,
    /// A closed run may end once this many queries were issued …
    pub query_count_min: u64,
    /// … and this much time has passed since the start.
    pub target_duration: Latency,
    /// Issuing stops with an error at this many queries; `None` is no bound.
    pub query_count_max: Option<u64>,
    /// Issuing stops with an error when a query leaves later than this; `None` is no bound.
    pub duration_max: Option<Latency>,
    /// Accuracy runs issue everything the plan holds and know no early end.
    pub accuracy: bool,
}

/// What the drive loop has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Hand [`Issuer::samples`] to the system under test.
    Issue,
    /// Nothing leaves before this moment.
    WaitUntil(Timestamp),
    /// Nothing leaves before an answer comes.
    WaitForCompletion,
    /// Issuing has ended.
    Finished(IssueEnd),
}

/// Why issuing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueEnd {
    /// Minimum query count and duration are met.
    Naturally,
    /// Every query of the plan has left; for Server and Offline this is the natural end.
    Exhausted,
    /// A closed performance run used up the generated queries before its minimum duration.
    RanOut,
    /// `max_query_count` was reached.
    QueryCountMax,
    /// `max_duration` was exceeded.
    DurationMax,
    /// More queries were outstanding than `max_async_queries` allows.
    OutstandingMax {
        /// How many, after the last issue.
        outstanding: u64,
    },
}

/// One query within an issue call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuedQuery {
    /// The moment from which its latency counts.
    pub scheduled: Timestamp,
    /// How many of the call's samples are its own.
    pub sample_count: u32,
}

/// The issue loop of one loadable set, without the loop.
#[derive(Debug)]
pub struct Issuer<Source> {
    source: Source,
    rules: IssueRules,
    start: Timestamp,
    next_sample: u32,
    sample_step: u32,
    queries_issued: u64,
    last_issued: Latency,
    /// Whether the last step was an issue call, which has returned when the next one is asked for.
    is_call_open: bool,
    end: Option<IssueEnd>,
    /// The next query, already taken from the source, and its scheduled time.
    pending: Option<Latency>,
    pending_indices: Vec<SampleIndex>,
    burst_open: bool,
    samples: Vec<QuerySample>,
    queries: Vec<IssuedQuery>,
}

impl<Source: QuerySource> Issuer<Source> {
    /// An issuer whose run starts at `start` and whose first sample gets the number `first_sample`.
    pub fn new(
        source: Source,
        rules: IssueRules,
        start: Timestamp,
        first_sample: SampleId,
    ) -> Self {
        let mut issuer = Self {
            source,
            rules,
            start,
            next_sample: first_sample.0,
            sample_step: 1,
            queries_issued: 0,
            last_issued: Latency::ZERO,
            is_call_open: false,
            // A share of a bound on the queries may be nothing at all.
            end: (rules.query_count_max == Some(0)).then_some(IssueEnd::QueryCountMax),
            pending: None,
            pending_indices: Vec::new(),
            burst_open: false,
            samples: Vec::new(),
            queries: Vec::new(),
        };
        issuer.fetch();
        issuer
    }

    /// Numbers the samples in steps of `step`: the others belong to other issuing threads.
    #[must_use]
    pub fn in_steps_of(self, step: u32) -> Self {
        Self {
            sample_step: step,
            ..self
        }
    }

    /// The samples of the last [`Step::Issue`], query after query.
    pub fn samples(&self) -> &[QuerySample] {
        &self.samples
    }

    /// The queries of the last [`Step::Issue`]; none for the later parts of a burst.
    pub fn queries(&self) -> &[IssuedQuery] {
        &self.queries
    }

    /// Queries issued so far.
    pub fn queries_issued(&self) -> u64 {
        self.queries_issued
    }

    /// The number that the next sample would get.
    pub fn next_sample(&self) -> SampleId {
        SampleId(self.next_sample)
    }

    /// When the last query left, counted from the start.
    pub fn last_issued(&self) -> Latency {
        self.last_issued
    }

    /// Decides what happens at `now` with `outstanding` samples unanswered.
    pub fn step(&mut self, now: Timestamp, outstanding: u64) -> Step {
        if self.burst_open {
            return self.burst_part();
        }
        if self.is_call_open {
            self.after_return(outstanding);
        }
        if let Some(end) = self.end {
            return Step::Finished(end);
        }
        let Some(delta) = self.pending else {
            return Step::Finished(self.exhausted());
        };
        match self.rules.pacing {
            Pacing::Closed if outstanding > 0 => Step::WaitForCompletion,
            Pacing::Closed => {
                self.begin_call();
                self.take_pending(now);
                self.after_issue(now);
                Step::Issue
            }
            Pacing::Open { coalesce, .. } => {
                let scheduled = self.start + delta;
                if scheduled > now {
                    return Step::WaitUntil(scheduled);
                }
                self.begin_call();
                self.take_pending(scheduled);
                while coalesce && self.pending.is_some_and(|delta| self.start + delta <= now) {
                    let scheduled = self.start + self.pending.expect("checked just above");
                    self.take_pending(scheduled);
                }
                self.after_issue(now);
                Step::Issue
            }
            Pacing::Burst => {
                self.begin_call();
                self.burst_open = true;
                self.take_pending(self.start);
                self.after_issue(now);
                Step::Issue
            }
        }
    }

    fn exhausted(&self) -> IssueEnd {
        if self.rules.pacing == Pacing::Closed && !self.rules.accuracy {
            IssueEnd::RanOut
        } else {
            IssueEnd::Exhausted
        }
    }

    fn begin_call(&mut self) {
        self.samples.clear();
        self.queries.clear();
    }

    /// Moves the pending query into the call and fetches the one after it.
    fn take_pending(&mut self, scheduled: Timestamp) {
        self.queries.push(IssuedQuery {
            scheduled,
            sample_count: self.pending_indices.len() as u32,
        });
        self.number_pending();
        self.queries_issued += 1;
        if !self.burst_open {
            self.fetch();
        }
    }

    fn number_pending(&mut self) {
        for &index in &self.pending_indices {
            self.samples.push(QuerySample {
                id: SampleId(self.next_sample),
                index,
            });
            self.next_sample += self.sample_step;
        }
    }

    fn fetch(&mut self) {
        self.pending_indices.clear();
        self.pending = self.source.begin_query();
        if self.pending.is_some() {
            let limit = match self.rules.pacing {
                Pacing::Burst => BURST_PART,
                Pacing::Closed | Pacing::Open { .. } => usize::MAX,
            };
            self.source.read_samples(limit, &mut self.pending_indices);
        }
    }

    fn burst_part(&mut self) -> Step {
        self.pending_indices.clear();
        self.source
            .read_samples(BURST_PART, &mut self.pending_indices);
        if self.pending_indices.is_empty() {
            self.burst_open = false;
            self.fetch();
            return match (self.end, self.pending) {
                (Some(end), _) => Step::Finished(end),
                (None, None) => Step::Finished(IssueEnd::Exhausted),
                (None, Some(_)) => self.step(self.start, 0),
            };
        }
        self.begin_call();
        self.number_pending();
        Step::Issue
    }

    /// The checks that LoadGen makes after each issue call, in its order, but for the one
    /// that needs to know what the call has left unanswered.
    fn after_issue(&mut self, now: Timestamp) {
        self.is_call_open = true;
        let elapsed = now.since(self.start);
        self.last_issued = elapsed;
        if self.rules.accuracy {
            return;
        }
        let rules = &self.rules;
        // A burst is complete with its one query, so it ends naturally too.
        let natural = !matches!(rules.pacing, Pacing::Open { .. })
            && self.queries_issued >= rules.query_count_min
            && elapsed >= rules.target_duration;
        self.end = if natural {
            Some(IssueEnd::Naturally)
        } else if rules
            .query_count_max
            .is_some_and(|bound| self.queries_issued >= bound)
        {
            Some(IssueEnd::QueryCountMax)
        } else if rules.duration_max.is_some_and(|bound| elapsed > bound) {
            Some(IssueEnd::DurationMax)
        } else {
            None
        };
    }

    /// The check that LoadGen makes first once an issue call has returned: a system that answers
    /// inside the call leaves nothing outstanding.
    fn after_return(&mut self, outstanding: u64) {
        self.is_call_open = false;
        let Pacing::Open {
            outstanding_max: Some(bound),
            ..
        } = self.rules.pacing
        else {
            return;
        };
        if outstanding > bound && !self.rules.accuracy {
            self.end = Some(IssueEnd::OutstandingMax { outstanding });
        }
    }
}

#[cfg(test)]
mod tests;
