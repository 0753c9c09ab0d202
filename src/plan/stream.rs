//! The queries of one loaded set, one at a time.
//!
//! Memory is that of the set and at most two permutations of it, however many queries there are;
//! Offline's one query is read in pieces. Budget: 0.1 us a Server query, 5 ns an Offline sample.

use std::sync::Arc;

use crate::schedule::arrivals::Arrivals;
use crate::schedule::samples::{OfflineOrder, Starts};
use crate::units::{Latency, SampleIndex};

/// The generated queries of a loaded set in their order.
///
/// ```
/// use detbench::plan::Plan;
/// use detbench::scenario::{Scenario, TestMode};
/// use detbench::settings::{compat::CompatProfile, test_settings::TestSettings};
///
/// let mut settings = TestSettings::default();
/// settings.set("min_query_count", "3")?;
/// settings.set("min_duration_ms", "0")?;
/// let (scenario, mode) = (Scenario::SingleStream, TestMode::PerformanceOnly);
/// let plan = Plan::new(&settings, scenario, mode, 64, 16, CompatProfile::V6)?;
/// let mut stream = plan.queries(&plan.sets()[0]);
/// let mut samples = Vec::new();
/// while let Some(scheduled) = stream.next(&mut samples) {
///     println!("{scheduled} after the start: {samples:?}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct QueryStream {
    arrivals: Arrivals,
    content: Content,
    samples_per_query: u64,
    unread: u64,
}

#[derive(Debug, Clone)]
enum Content {
    /// Neighbours in the set, from a start on.
    Windows {
        starts: Starts,
        set: Arc<[SampleIndex]>,
        next: usize,
    },
    /// One long query.
    Offline(OfflineOrder),
}

impl QueryStream {
    pub(super) const fn windows(
        arrivals: Arrivals,
        starts: Starts,
        set: Arc<[SampleIndex]>,
        samples_per_query: u64,
    ) -> Self {
        let content = Content::Windows {
            starts,
            set,
            next: 0,
        };
        Self {
            arrivals,
            content,
            samples_per_query,
            unread: 0,
        }
    }

    pub(super) const fn offline(
        arrivals: Arrivals,
        order: OfflineOrder,
        samples_per_query: u64,
    ) -> Self {
        Self {
            arrivals,
            content: Content::Offline(order),
            samples_per_query,
            unread: 0,
        }
    }

    /// Samples in each query; it is the same for all of them.
    pub const fn samples_per_query(&self) -> u64 {
        self.samples_per_query
    }

    /// Queries begun so far; at the end LoadGen's `generated_query_count`.
    pub const fn query_count(&self) -> u64 {
        self.arrivals.query_count()
    }

    /// The time that the query after the current one would have; at the end LoadGen's
    /// `generated_query_duration`.
    pub const fn duration(&self) -> Latency {
        self.arrivals.duration()
    }

    /// Replaces `samples` by those of the next query and gives its scheduled time after the start
    /// of the run; `None` when there is no further query.
    ///
    /// The whole query is held in `samples`; for a large Offline query use
    /// [`QueryStream::begin_query`] and [`QueryStream::read_samples`].
    #[inline]
    pub fn next(&mut self, samples: &mut Vec<SampleIndex>) -> Option<Latency> {
        let scheduled = self.begin_query()?;
        samples.clear();
        self.read_samples(usize::MAX, samples);
        Some(scheduled)
    }

    /// Goes to the next query, whose samples [`QueryStream::read_samples`] then gives, and gives
    /// its scheduled time after the start of the run; `None` when there is no further query.
    ///
    /// Samples of the query before that were not read are passed over.
    #[inline]
    pub fn begin_query(&mut self) -> Option<Latency> {
        let scheduled = self.arrivals.next()?;
        if let Content::Windows { starts, next, .. } = &mut self.content {
            *next = starts.next_start() as usize;
        }
        self.unread = self.samples_per_query;
        Some(scheduled)
    }

    /// Appends at most `count` further samples of the current query to `samples` and gives their
    /// number: zero when the query has been read to its end.
    #[inline]
    pub fn read_samples(&mut self, count: usize, samples: &mut Vec<SampleIndex>) -> usize {
        let count = usize::try_from(self.unread)
            .unwrap_or(usize::MAX)
            .min(count);
        self.unread -= count as u64;
        match &mut self.content {
            Content::Windows { set, next, .. } => {
                samples.extend_from_slice(&set[*next..*next + count]);
                *next += count;
            }
            Content::Offline(order) => order.append(count, samples),
        }
        count
    }
}
