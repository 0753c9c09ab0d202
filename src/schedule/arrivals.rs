//! When: the scheduled time of every generated query, relative to the start of the run.
//!
//! Times are generated before the first query leaves. Server follows them; SingleStream and
//! MultiStream only use them to decide how many queries to prepare.

use crate::schedule::rng::RandomStream;
use crate::units::{Latency, Rate};

/// The distance from one generated query to the next.
#[derive(Debug, Clone)]
pub enum Pace {
    /// Always the same distance.
    Fixed(Latency),
    /// Exponential distances: a Poisson process.
    Poisson {
        /// Where the distances are drawn from.
        stream: Box<RandomStream>,
        /// Mean number of queries a second.
        rate: Rate,
    },
}

impl Pace {
    fn gap(&mut self) -> Latency {
        match self {
            Self::Fixed(gap) => *gap,
            Self::Poisson { stream, rate } => stream.exponential_gap(*rate),
        }
    }
}

/// The generated times, ascending from zero.
///
/// Generation goes on until both a time span and a number of queries are reached. The first query
/// is scheduled at zero, and the last one is the first that is not before the end of the span.
#[derive(Debug, Clone)]
pub struct Arrivals {
    pace: Pace,
    span: Latency,
    query_count_min: u64,
    block: Option<u64>,
    previous: Latency,
    next: Latency,
    query_count: u64,
}

impl Arrivals {
    /// Times that cover `span` and number at least `query_count_min`.
    ///
    /// With a `block` the number is raised in whole blocks until the span is covered, so that it
    /// stays a multiple of the block when the minimum is one.
    pub fn new(pace: Pace, span: Latency, query_count_min: u64, block: Option<u64>) -> Self {
        Self {
            pace,
            span,
            query_count_min,
            block,
            previous: Latency::ZERO,
            next: Latency::ZERO,
            query_count: 0,
        }
    }

    /// How many times have been given so far.
    pub const fn query_count(&self) -> u64 {
        self.query_count
    }

    /// The time that the next query would have; at the end it is LoadGen's
    /// `generated_query_duration`, one gap past the last query.
    pub const fn duration(&self) -> Latency {
        self.next
    }
}

impl Iterator for Arrivals {
    type Item = Latency;

    fn next(&mut self) -> Option<Latency> {
        if self.previous >= self.span && self.query_count >= self.query_count_min {
            return None;
        }
        self.previous = self.next;
        self.next += self.pace.gap();
        self.query_count += 1;
        if let Some(block) = self.block {
            if self.query_count >= self.query_count_min && self.previous < self.span {
                self.query_count_min += block;
            }
        }
        Some(self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::rng::BoundedDraw;

    fn fixed(span: u64, minimum: u64, block: Option<u64>) -> Arrivals {
        let pace = Pace::Fixed(Latency::from_nanos(10));
        Arrivals::new(pace, Latency::from_nanos(span), minimum, block)
    }

    #[test]
    fn the_first_query_is_at_zero_and_the_last_is_not_before_the_span_ends() {
        let mut arrivals = fixed(25, 0, None);
        let times: Vec<u64> = arrivals.by_ref().map(Latency::as_nanos).collect();
        assert_eq!(times, [0, 10, 20, 30]);
        assert_eq!(arrivals.duration().as_nanos(), 40);
        assert_eq!(fixed(20, 0, None).count(), 3);
    }

    #[test]
    fn a_minimum_outlasts_the_span() {
        assert_eq!(fixed(0, 7, None).count(), 7);
        assert_eq!(fixed(0, 0, None).count(), 0);
    }

    #[test]
    fn a_block_keeps_the_count_a_multiple() {
        assert_eq!(fixed(25, 3, Some(3)).count(), 6);
        assert_eq!(fixed(20, 3, Some(3)).count(), 3);
        assert_eq!(fixed(500, 3, Some(3)).count(), 51);
    }

    #[test]
    fn poisson_arrivals_ascend_and_keep_the_rate() {
        let rate = Rate::per_second(1000.0).expect("above zero");
        let stream = Box::new(RandomStream::new(5, BoundedDraw::MultiplyShift));
        let arrivals = Arrivals::new(
            Pace::Poisson { stream, rate },
            Latency::from_millis(100_000),
            0,
            None,
        );
        let times: Vec<Latency> = arrivals.collect();
        assert!(times.is_sorted());
        // 100 000 expected, standard deviation 316: five of them either way.
        assert!(times.len().abs_diff(100_000) < 1_600, "{}", times.len());
    }
}
