//! Latencies as a high-dynamic-range histogram: progress while a run goes on, and a log for other
//! tools afterwards.
//!
//! A histogram rounds (three significant digits here), so no verdict and no reported percentile
//! comes from it; those come from [`super::percentile`]. It is small and can be merged and plotted.

use std::collections::BTreeMap;
use std::io;
use std::time::SystemTime;

use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError};
use hdrhistogram::serialization::{V2DeflateSerializeError, V2DeflateSerializer};
use hdrhistogram::Histogram;

use crate::units::{Latency, Quantile};

/// Values are kept to three significant digits, the habit of the tools that read such logs.
const SIGNIFICANT_DIGITS: u8 = 3;

/// The longest latency kept apart: one hour, in nanoseconds. Longer ones count as this.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// A growing picture of a run's latencies, rounded to three significant digits.
#[derive(Debug, Clone)]
pub struct LatencyHistogram {
    counts: Histogram<u64>,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyHistogram {
    /// An empty histogram; all memory it will ever need (264 KiB) is allocated here.
    pub fn new() -> Self {
        let counts = Histogram::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS)
            .expect("constant bounds are valid");
        Self { counts }
    }

    /// Counts one latency; one above an hour counts as an hour. Does not allocate.
    pub fn record(&mut self, latency: Latency) {
        self.counts.saturating_record(latency.as_nanos());
    }

    /// Adds all that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.counts
            .add(&other.counts)
            .expect("all histograms here have the same bounds");
    }

    /// Forgets all latencies and keeps the memory.
    pub fn clear(&mut self) {
        self.counts.reset();
    }

    /// How many latencies were counted.
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// The latency at the quantile, within one part in a thousand; `None` when nothing was counted.
    pub fn at(&self, quantile: Quantile) -> Option<Latency> {
        (!self.counts.is_empty())
            .then(|| Latency::from_nanos(self.counts.value_at_quantile(quantile.as_share())))
    }

    /// The longest latency, within one part in a thousand; `None` when nothing was counted.
    pub fn max(&self) -> Option<Latency> {
        (!self.counts.is_empty()).then(|| Latency::from_nanos(self.counts.max()))
    }
}

/// One latency and when it was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimedLatency {
    /// Completion, counted from the start of the run.
    pub completed_after: Latency,
    /// The latency itself.
    pub latency: Latency,
}

/// Why an interval log could not be written.
#[derive(Debug, thiserror::Error)]
pub enum IntervalLogError {
    /// The output refused a line.
    #[error("the latency histogram log could not be written; check the output folder's space")]
    Io(#[from] io::Error),
    /// A histogram could not be encoded.
    #[error("a latency histogram could not be encoded")]
    Encode(#[source] V2DeflateSerializeError),
    /// Intervals need a length.
    #[error("the interval of a latency histogram log must be longer than 0 ns")]
    ZeroPeriod,
}

/// Intervals of a log that are still open, so that memory is that of the intervals which a run's
/// latencies span at a time and not that of its samples.
pub struct OpenIntervals<'a> {
    period_ns: u64,
    last_completion: Latency,
    /// The first interval that is not written yet, and when it ends.
    next: u64,
    next_end_ns: u64,
    /// The interval that the last latency fell into: mostly the next one does too.
    current: Interval,
    /// The others.
    open: BTreeMap<u64, LatencyHistogram>,
    write: &'a mut dyn FnMut(&LatencyHistogram, Latency, Latency) -> Result<(), IntervalLogError>,
}

/// One interval's number, beginning and end, and the latencies of what completed in it.
struct Interval {
    number: u64,
    from_ns: u64,
    to_ns: u64,
    histogram: LatencyHistogram,
}

impl<'a> OpenIntervals<'a> {
    fn new(
        period: Latency,
        last_completion: Latency,
        write: &'a mut dyn FnMut(
            &LatencyHistogram,
            Latency,
            Latency,
        ) -> Result<(), IntervalLogError>,
    ) -> Self {
        let period_ns = period.as_nanos();
        Self {
            period_ns,
            last_completion,
            next: 0,
            next_end_ns: period_ns,
            current: Interval {
                number: 0,
                from_ns: 0,
                to_ns: period_ns,
                histogram: LatencyHistogram::new(),
            },
            open: BTreeMap::new(),
            write,
        }
    }

    /// Counts a latency in the interval of its completion.
    ///
    /// # Panics
    /// When that interval was closed.
    #[inline]
    pub fn record(&mut self, sample: TimedLatency) {
        let completed_ns = sample.completed_after.as_nanos();
        if completed_ns < self.current.from_ns || completed_ns >= self.current.to_ns {
            self.change_to(completed_ns / self.period_ns);
        }
        self.current.histogram.record(sample.latency);
    }

    /// Puts the current interval aside and takes another one.
    #[cold]
    fn change_to(&mut self, number: u64) {
        assert!(number >= self.next, "a latency in a closed interval");
        let from_ns = number * self.period_ns;
        let changed = Interval {
            number,
            from_ns,
            to_ns: from_ns.saturating_add(self.period_ns),
            histogram: self.open.remove(&number).unwrap_or_default(),
        };
        let before = std::mem::replace(&mut self.current, changed);
        if before.number >= self.next {
            self.open.insert(before.number, before.histogram);
        }
    }

    /// Writes the intervals that end at `moment` or before: nothing more completes in them.
    ///
    /// # Errors
    /// The writer's.
    #[inline]
    pub fn close_before(&mut self, moment: Latency) -> Result<(), IntervalLogError> {
        if moment.as_nanos() < self.next_end_ns {
            return Ok(());
        }
        let end = self.last_completion.as_nanos() / self.period_ns + 1;
        self.close(end.min(moment.as_nanos() / self.period_ns))
    }

    /// Writes all intervals below `end`.
    fn close(&mut self, end: u64) -> Result<(), IntervalLogError> {
        while self.next < end {
            let start_ns = self.next * self.period_ns;
            let rest_ns = self.last_completion.as_nanos() - start_ns;
            let length = Latency::from_nanos(rest_ns.clamp(1, self.period_ns));
            let start = Latency::from_nanos(start_ns);
            if self.current.number == self.next {
                (self.write)(&self.current.histogram, start, length)?;
                // Nothing is inside it any more.
                self.current.to_ns = self.current.from_ns;
            } else {
                let histogram = self.open.remove(&self.next).unwrap_or_default();
                (self.write)(&histogram, start, length)?;
            }
            self.next += 1;
            self.next_end_ns = self.next_end_ns.saturating_add(self.period_ns);
        }
        Ok(())
    }
}

/// Writes `HdrHistogram`'s interval log (`.hlog`, version 1.3 readers): one compressed V2
/// histogram of nanoseconds for each `period` of the run, empty ones included, so that a stall
/// shows as a gap. Maxima in the text column are milliseconds. Returns the number of intervals.
///
/// `feed` gives the latencies in any order within the intervals that it has not closed. `started` is
/// the wall-clock start of the run, `last_completion` its last answer; `None` when there was none.
///
/// *Source*: the interval log format of `HdrHistogram` (Java), as `HistogramLogReader` reads it.
///
/// # Errors
/// When the output fails or `period` is zero.
pub fn write_interval_log<W: io::Write>(
    out: &mut W,
    started: SystemTime,
    period: Latency,
    last_completion: Option<Latency>,
    feed: impl FnOnce(&mut OpenIntervals<'_>) -> Result<(), IntervalLogError>,
) -> Result<u64, IntervalLogError> {
    if period == Latency::ZERO {
        return Err(IntervalLogError::ZeroPeriod);
    }
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[Latencies in nanoseconds; Interval_Max in milliseconds]")
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(1e6)
        .begin_log_with(out, &mut serializer)?;
    let Some(last_completion) = last_completion else {
        return Ok(0);
    };
    let mut write = |histogram: &LatencyHistogram, start: Latency, length: Latency| {
        log.write_histogram(&histogram.counts, start.to_std(), length.to_std(), None)
            .map_err(|error| match error {
                IntervalLogWriterError::IoError(error) => IntervalLogError::Io(error),
                IntervalLogWriterError::SerializeError(error) => IntervalLogError::Encode(error),
            })
    };
    let mut intervals = OpenIntervals::new(period, last_completion, &mut write);
    feed(&mut intervals)?;
    intervals.close(last_completion.as_nanos() / period.as_nanos() + 1)?;
    Ok(intervals.next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use hdrhistogram::serialization::Deserializer;
    use std::time::{Duration, UNIX_EPOCH};

    fn sample(after_ms: u64, latency_us: u64) -> TimedLatency {
        TimedLatency {
            completed_after: Latency::from_millis(after_ms),
            latency: Latency::from_micros(latency_us),
        }
    }

    /// Standard base64, decoded the slow and obvious way.
    fn base64(text: &str) -> Vec<u8> {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::new());
        for symbol in text.bytes().filter(|&symbol| symbol != b'=') {
            let value = alphabet.iter().position(|&known| known == symbol).unwrap();
            bits = bits << 6 | value as u32;
            held += 6;
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held) as u8);
            }
        }
        bytes
    }

    #[test]
    fn the_log_reads_back_interval_by_interval() {
        let samples = [
            sample(2500, 700),
            sample(100, 5000),
            sample(900, 6000),
            sample(2999, 800),
            sample(3000, 900),
        ];
        let mut text = Vec::new();
        let started = UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        let period = Latency::from_millis(1000);
        let last = Some(Latency::from_millis(3000));
        let count = write_interval_log(&mut text, started, period, last, |intervals| {
            for sample in samples {
                intervals.record(sample);
            }
            intervals.close_before(Latency::from_millis(2000))
        });
        assert_eq!(count.unwrap(), 4);

        let mut seen = Vec::new();
        let mut headers = 0;
        for entry in IntervalLogIterator::new(&text) {
            match entry.unwrap() {
                LogEntry::StartTime(time) | LogEntry::BaseTime(time) => {
                    assert_eq!(time.as_millis(), 1_700_000_000_250);
                    headers += 1;
                }
                LogEntry::Interval(interval) => {
                    let bytes = base64(interval.encoded_histogram());
                    let histogram: Histogram<u64> =
                        Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
                    seen.push((
                        interval.start_timestamp().as_millis(),
                        interval.duration().as_millis(),
                        histogram.len(),
                        (interval.max() * 1000.0).round() as u64,
                        histogram.max() / 1000,
                    ));
                }
            }
        }
        assert_eq!(headers, 2);
        assert_eq!(
            seen,
            [
                // Both maxima are the upper end of 6000 us's bin, 6000.639 us: one rounded, one cut.
                (0, 1000, 2, 6001, 6000),
                (1000, 1000, 0, 0, 0),
                (2000, 1000, 2, 800, 800),
                (3000, 0, 1, 900, 900),
            ],
            "start ms, length ms, count, maximum us in the text, maximum us in the histogram"
        );
    }

    proptest::proptest! {
        /// The obvious way: everything is kept and nothing is closed before the end.
        #[test]
        fn closing_early_and_the_order_of_latencies_do_not_show_in_the_log(
            mut times in proptest::collection::vec((0_u64..9_000, 0_u64..2_000), 1..60)
        ) {
            let log = |times: &[(u64, u64)], closing: bool| {
                let mut text = Vec::new();
                let last = times.iter().map(|(begun, took)| begun + took).max();
                let last = last.map(Latency::from_millis);
                let period = Latency::from_millis(1_000);
                write_interval_log(&mut text, UNIX_EPOCH, period, last, |intervals| {
                    for &(begun, took) in times {
                        if closing {
                            intervals.close_before(Latency::from_millis(begun))?;
                        }
                        intervals.record(sample(begun + took, took * 1_000));
                    }
                    Ok(())
                })
                .unwrap();
                text
            };
            let shuffled = log(&times, false);
            times.sort_unstable();
            proptest::prop_assert_eq!(log(&times, true), shuffled);
        }
    }

    #[test]
    #[should_panic(expected = "a latency in a closed interval")]
    fn a_latency_in_a_closed_interval_is_our_own_bug() {
        let period = Latency::from_millis(1000);
        let last = Some(Latency::from_millis(3000));
        let _ = write_interval_log(&mut Vec::new(), UNIX_EPOCH, period, last, |intervals| {
            intervals.record(sample(500, 100));
            intervals.close_before(Latency::from_millis(1000))?;
            intervals.record(sample(600, 100));
            Ok(())
        });
    }

    #[test]
    fn an_empty_run_writes_only_the_header_and_a_zero_period_is_refused() {
        let mut text = Vec::new();
        let period = Latency::from_millis(1);
        let count = write_interval_log(&mut text, UNIX_EPOCH, period, None, |_| Ok(()));
        assert_eq!(count.unwrap(), 0);
        assert!(String::from_utf8(text)
            .unwrap()
            .starts_with("#[Histogram log format"));
        let error =
            write_interval_log(&mut Vec::new(), UNIX_EPOCH, Latency::ZERO, None, |_| Ok(()));
        assert!(matches!(error, Err(IntervalLogError::ZeroPeriod)));
    }

    #[test]
    fn a_histogram_is_within_a_thousandth_and_merges() {
        let (mut even, mut odd) = (LatencyHistogram::new(), LatencyHistogram::default());
        for micros in 1..=10_000 {
            let half = if micros % 2 == 0 { &mut even } else { &mut odd };
            half.record(Latency::from_micros(micros));
        }
        even.merge(&odd);
        assert_eq!(even.count(), 10_000);
        let p99 = even.at(Quantile::P99).unwrap().as_nanos() as f64;
        assert!((p99 / 9_900_000.0 - 1.0).abs() < 1e-3, "{p99}");
        even.record(Latency::from_nanos(u64::MAX));
        assert!(even.max().unwrap().as_secs_f64() >= 3600.0);
        even.clear();
        assert_eq!(
            (even.count(), even.at(Quantile::P50), even.max()),
            (0, None, None)
        );
    }
}
