//! What one of several issuing threads issues: every so manieth query.

use super::{IssueRules, QuerySource};
use crate::units::{Latency, SampleIndex};

/// The queries `first`, `first + count`, … of a source.
#[derive(Debug, Clone)]
pub struct Share<Source> {
    source: Source,
    skip: u64,
    count: u64,
}

impl<Source> Share<Source> {
    /// The share of thread `first` of `count`.
    ///
    /// # Panics
    /// When there is no such thread.
    pub fn new(source: Source, first: u64, count: u64) -> Self {
        assert!(first < count, "threads are numbered from zero");
        Self {
            source,
            skip: first,
            count,
        }
    }
}

impl<Source: QuerySource> QuerySource for Share<Source> {
    fn begin_query(&mut self) -> Option<Latency> {
        for _ in 0..self.skip {
            self.source.begin_query()?;
        }
        self.skip = self.count - 1;
        self.source.begin_query()
    }

    fn read_samples(&mut self, limit: usize, samples: &mut Vec<SampleIndex>) {
        self.source.read_samples(limit, samples);
    }
}

impl IssueRules {
    /// The rules of thread `first` of `count`: minimum and maximum number of queries are
    /// divided, and what is left over goes to the first threads.
    #[must_use]
    pub fn share(self, first: u64, count: u64) -> Self {
        let part = |queries: u64| queries / count + u64::from(first < queries % count);
        Self {
            query_count_min: part(self.query_count_min),
            query_count_max: self.query_count_max.map(part),
            ..self
        }
    }
}
