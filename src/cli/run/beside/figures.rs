//! What the turns showed: the figures of each side, and how many times as good the second is.

use serde::Serialize;

use crate::laboratory::turns::Spread;
use crate::metrics::LatencySummary;
use crate::record::Record;
use crate::scenario::Scenario;
use crate::units::Latency;

/// One side's part of one turn, or all its turns together, in nanoseconds.
#[derive(Debug, Clone, Default)]
pub struct Times {
    queries: u64,
    samples: u64,
    elapsed: Latency,
    /// Of samples; of queries in MultiStream, where a query is judged.
    latencies: Vec<u64>,
    inference: Vec<u64>,
    postprocess: Vec<u64>,
}

/// The figures of [`Times`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Queries answered.
    pub query_count: u64,
    /// Samples answered.
    pub sample_count: u64,
    /// From the first issue to the last answer, the turns added up.
    pub elapsed_ns: Latency,
    /// Answered samples over that time.
    pub samples_per_second: Option<f64>,
    /// Latency of the samples, in MultiStream of the queries.
    pub latency_ns: Option<LatencySummary>,
    /// Of which inference.
    pub inference_ns: Option<LatencySummary>,
    /// Of which box decoding and NMS.
    pub postprocess_ns: Option<LatencySummary>,
}

impl Times {
    /// A record of which every sample was answered.
    pub fn of(record: &Record, scenario: Scenario) -> Self {
        let samples = record.latencies().flatten().map(Latency::as_nanos);
        let samples: Vec<u64> = samples.collect();
        let latencies = match scenario {
            // A query is as slow as its slowest sample: all were due at the same moment.
            Scenario::MultiStream => {
                let queries = samples.chunks(record.samples_per_query().max(1) as usize);
                queries
                    .filter_map(|query| query.iter().max().copied())
                    .collect()
            }
            Scenario::SingleStream | Scenario::Server | Scenario::Offline => samples,
        };
        Self {
            queries: record.query_count(),
            samples: record.completed_count(),
            elapsed: record.elapsed(),
            latencies,
            inference: record.inference().map(Latency::as_nanos).collect(),
            postprocess: record.postprocess().map(Latency::as_nanos).collect(),
        }
    }

    /// Turns of one side as if they were one.
    pub fn together<'a>(turns: impl IntoIterator<Item = &'a Self>) -> Self {
        turns.into_iter().fold(Self::default(), |mut all, turn| {
            all.queries += turn.queries;
            all.samples += turn.samples;
            all.elapsed += turn.elapsed;
            all.latencies.extend_from_slice(&turn.latencies);
            all.inference.extend_from_slice(&turn.inference);
            all.postprocess.extend_from_slice(&turn.postprocess);
            all
        })
    }

    /// Latencies in the order of issue.
    pub fn latencies(&self) -> &[u64] {
        &self.latencies
    }

    /// What they come to.
    pub fn figures(&self) -> Figures {
        let summary = |values: &[u64]| LatencySummary::from_unsorted(&mut values.to_vec());
        Figures {
            query_count: self.queries,
            sample_count: self.samples,
            elapsed_ns: self.elapsed,
            samples_per_second: (self.samples > 0 && self.elapsed > Latency::ZERO)
                .then(|| self.samples as f64 / self.elapsed.as_secs_f64()),
            latency_ns: summary(&self.latencies),
            inference_ns: summary(&self.inference),
            postprocess_ns: summary(&self.postprocess),
        }
    }
}

/// How many times as fast the second side is, turn by turn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratios {
    /// Second over first.
    pub samples_per_second: Option<Spread>,
    /// First over second.
    pub latency_p50: Option<Spread>,
    /// First over second.
    pub latency_p90: Option<Spread>,
    /// First over second.
    pub inference_p50: Option<Spread>,
    /// First over second.
    pub postprocess_p50: Option<Spread>,
}

impl Ratios {
    /// From each turn's own figures.
    pub fn of(turns: &[[Figures; 2]]) -> Self {
        let spread = |ratio: fn(&Figures, &Figures) -> Option<f64>| {
            Spread::of(
                turns
                    .iter()
                    .filter_map(|[first, second]| ratio(first, second)),
            )
        };
        Self {
            samples_per_second: spread(|first, second| {
                Some(second.samples_per_second? / first.samples_per_second?)
            }),
            latency_p50: spread(|a, b| of_times(a.latency_ns?.p50, b.latency_ns?.p50)),
            latency_p90: spread(|a, b| of_times(a.latency_ns?.p90, b.latency_ns?.p90)),
            inference_p50: spread(|a, b| of_times(a.inference_ns?.p50, b.inference_ns?.p50)),
            postprocess_p50: spread(|a, b| of_times(a.postprocess_ns?.p50, b.postprocess_ns?.p50)),
        }
    }
}

/// How many times as fast the second is; `None` where there is nothing to divide.
pub fn of_times(first: Latency, second: Latency) -> Option<f64> {
    let is_some = first > Latency::ZERO && second > Latency::ZERO;
    is_some.then(|| first.as_nanos() as f64 / second.as_nanos() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(latencies: &[u64], seconds: f64) -> Times {
        Times {
            queries: latencies.len() as u64,
            samples: latencies.len() as u64,
            elapsed: Latency::from_secs_f64(seconds),
            latencies: latencies.to_vec(),
            inference: latencies.iter().map(|ns| ns / 2).collect(),
            postprocess: Vec::new(),
        }
    }

    #[test]
    fn turns_are_put_together_and_not_averaged() {
        let turns = [times(&[10, 10, 10], 1.0), times(&[50], 3.0)];
        let figures = Times::together(&turns).figures();
        assert_eq!(
            (figures.query_count, figures.samples_per_second),
            (4, Some(1.0))
        );
        let latency = figures.latency_ns.unwrap();
        assert_eq!((latency.p50.as_nanos(), latency.max.as_nanos()), (10, 50));
        assert_eq!(figures.postprocess_ns, None);
    }

    #[test]
    fn above_one_the_second_side_is_the_better_one() {
        let turn = |first: u64, second: u64| {
            [
                times(&[first], first as f64),
                times(&[second], second as f64),
            ]
            .map(|one| one.figures())
        };
        let ratios = Ratios::of(&[turn(40, 20), turn(60, 20), turn(80, 20)]);
        let expected = Spread {
            low: 2.5,
            median: 3.0,
            high: 3.5,
        };
        assert_eq!(ratios.latency_p50, Some(expected));
        assert_eq!(ratios.inference_p50, Some(expected));
        assert_eq!(ratios.postprocess_p50, None);
        let rate = ratios.samples_per_second.unwrap();
        assert!((rate.median - 3.0).abs() < 1e-9, "{rate:?}");
    }
}
