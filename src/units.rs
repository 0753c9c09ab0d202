//! The quantities that cross module borders, each its own type.
//!
//! A bare integer never means a time, an index or a share: subtraction of
//! timestamps is checked, and a [`Quantile`] is a whole number of parts per
//! million so that ranks can be computed without surprises.
//! This module depends on nothing of ours.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use serde::Serialize;

/// A point in time on the run's own clock: nanoseconds since the clock's origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The clock's origin.
    pub const ZERO: Self = Self(0);

    /// A timestamp `ns` nanoseconds after the clock's origin.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the clock's origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to `self`.
    ///
    /// # Panics
    /// When `earlier` is later: a monotonic clock cannot have produced the pair.
    pub fn since(self, earlier: Self) -> Latency {
        Latency(self.0.checked_sub(earlier.0).expect("timestamps in order"))
    }

    /// Time from `earlier` to `self`, or zero when `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Latency {
        Latency(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Latency> for Timestamp {
    type Output = Self;
    fn add(self, span: Latency) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A span of time in nanoseconds: a latency, a delay, a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Latency(u64);

impl Latency {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// A span of `ns` nanoseconds.
    pub const fn from_nanos(ns: u64) -> Self {
        Self(ns)
    }

    /// A span of `us` microseconds.
    pub const fn from_micros(us: u64) -> Self {
        Self(us.saturating_mul(1_000))
    }

    /// A span of `ms` milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// A span of `secs` seconds; negative and NaN become zero.
    pub fn from_secs_f64(secs: f64) -> Self {
        Self((secs * 1e9) as u64)
    }

    /// Nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Milliseconds.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The same span for the standard library.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0)
    }
}

impl Add for Latency {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Latency {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Latency {
    type Output = Self;
    /// Saturates at zero: a difference of two spans is only ever shown to people.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Latency {
    /// Three significant digits in the unit that fits: `16.3 ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        let (value, unit) = match self.0 {
            0..=999 => return write!(f, "{} ns", self.0),
            1_000..=999_999 => (ns / 1e3, "us"),
            1_000_000..=999_999_999 => (ns / 1e6, "ms"),
            _ => (ns / 1e9, "s"),
        };
        let decimals = if value < 10.0 {
            2
        } else {
            usize::from(value < 100.0)
        };
        write!(f, "{value:.decimals$} {unit}")
    }
}

/// Events per second, finite and above zero.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
pub struct Rate(f64);

impl Rate {
    /// A rate of `per_second`; `None` unless it is finite and above zero.
    pub fn per_second(per_second: f64) -> Option<Self> {
        (per_second.is_finite() && per_second > 0.0).then_some(Self(per_second))
    }

    /// Events per second.
    pub const fn as_per_second(self) -> f64 {
        self.0
    }
}

/// A share of a sorted population, in parts per million, in `(0, 1)`.
///
/// LoadGen's files give percentages, which it multiplies by 0.01; the product may be an ulp beside
/// the share that is meant (`57 * 0.01` is `0.5700000000000001`), and then a percentile may be another
/// element. A quantile remembers that it came so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantile {
    ppm: u32,
    is_product: bool,
}

impl Quantile {
    /// The median.
    pub const P50: Self = Self::of_ppm(500_000);
    /// The 90th percentile.
    pub const P90: Self = Self::of_ppm(900_000);
    /// The 95th percentile.
    pub const P95: Self = Self::of_ppm(950_000);
    /// The 97th percentile.
    pub const P97: Self = Self::of_ppm(970_000);
    /// The 99th percentile.
    pub const P99: Self = Self::of_ppm(990_000);
    /// The 99.9th percentile.
    pub const P99_9: Self = Self::of_ppm(999_000);

    const fn of_ppm(ppm: u32) -> Self {
        let is_product = false;
        Self { ppm, is_product }
    }

    /// The quantile `share`, rounded to parts per million; `None` outside `(0, 1)`.
    pub fn from_share(share: f64) -> Option<Self> {
        let ppm = (share * 1e6).round();
        let ppm = (1.0..=999_999.0).contains(&ppm).then_some(ppm as u32)?;
        let plain = Self::of_ppm(ppm);
        let product = Self {
            is_product: true,
            ..plain
        };
        let is = |quantile: Self| share.to_bits() == quantile.as_share().to_bits();
        let is_product = !is(plain) && is(product);
        Some(if is_product { product } else { plain })
    }

    /// Parts per million.
    pub const fn as_ppm(self) -> u32 {
        self.ppm
    }

    /// The share as a fraction; `Quantile::P99` gives the same f64 as the literal `0.99`, and a
    /// percentage times 0.01 the same f64 as that product.
    pub fn as_share(self) -> f64 {
        if self.is_product {
            // The percentage is the f64 nearest to its decimal, as if it was parsed.
            f64::from(self.ppm) / 1e4 * 0.01
        } else {
            f64::from(self.ppm) / 1e6
        }
    }
}

/// As parts per million.
impl Serialize for Quantile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.ppm)
    }
}

impl fmt::Display for Quantile {
    /// `p50`, `p99`, `p99.9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.ppm / 10_000;
        let rest = self.ppm % 10_000;
        if rest == 0 {
            write!(f, "p{whole}")
        } else {
            let digits = format!("{rest:04}");
            write!(f, "p{whole}.{}", digits.trim_end_matches('0'))
        }
    }
}

/// The position of a picture in the sample library, from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct SampleIndex(pub u32);

impl SampleIndex {
    /// The index for a slice.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// The number of one issued sample within a run, consecutive from zero (LoadGen's `seq_id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct SampleId(pub u32);

impl SampleId {
    /// The number for a slice.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// One sample as it is handed to the system under test: LoadGen's `QuerySample{id,index}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct QuerySample {
    /// Which issued sample this is.
    pub id: SampleId,
    /// Which picture of the library it asks for.
    pub index: SampleIndex,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_same_f64_as_its_literal() {
        for (quantile, literal) in [
            (Quantile::P50, 0.50),
            (Quantile::P90, 0.90),
            (Quantile::P95, 0.95),
            (Quantile::P97, 0.97),
            (Quantile::P99, 0.99),
            (Quantile::P99_9, 0.999),
        ] {
            assert_eq!(quantile.as_share().to_bits(), f64::to_bits(literal));
        }
        assert_eq!(Quantile::from_share(0.29).unwrap().as_ppm(), 290_000);
        assert_eq!(Quantile::from_share(1.0), None);
        assert_eq!(Quantile::from_share(0.0), None);
        assert_eq!(Quantile::from_share(f64::NAN), None);
    }

    #[test]
    fn a_percentage_times_a_hundredth_is_kept_to_the_last_bit() {
        // Every percentage with up to three decimals from 50 to 99.999.
        for thousandths in 50_000..100_000_u32 {
            let whole = thousandths / 1_000;
            let text = format!("{whole}.{:03}", thousandths % 1_000);
            let product = text.parse::<f64>().unwrap() * 0.01;
            let quantile = Quantile::from_share(product).unwrap();
            assert_eq!(quantile.as_share().to_bits(), product.to_bits(), "{text}");
            assert_eq!(quantile.as_ppm(), thousandths * 10, "{text}");
            let share = format!("0.{thousandths:05}").parse::<f64>().unwrap();
            let plain = Quantile::from_share(share).unwrap();
            assert_eq!(plain.as_share().to_bits(), share.to_bits(), "{text}");
        }
        assert_eq!(Quantile::from_share(99.0 * 0.01), Some(Quantile::P99));
    }

    #[test]
    fn quantiles_and_latencies_read_as_people_write_them() {
        assert_eq!(Quantile::P99_9.to_string(), "p99.9");
        assert_eq!(Quantile::P50.to_string(), "p50");
        assert_eq!(Latency::from_nanos(16_345_000).to_string(), "16.3 ms");
        assert_eq!(Latency::from_nanos(1_500).to_string(), "1.50 us");
        assert_eq!(Latency::from_nanos(999).to_string(), "999 ns");
        assert_eq!(Latency::from_nanos(123_456_789_000).to_string(), "123 s");
    }

    #[test]
    fn a_rate_is_finite_and_above_zero() {
        assert!(Rate::per_second(0.0).is_none());
        assert!(Rate::per_second(-1.0).is_none());
        assert!(Rate::per_second(f64::NAN).is_none());
        assert!(Rate::per_second(f64::INFINITY).is_none());
        assert!(Rate::per_second(1e-3).is_some());
    }

    #[test]
    #[should_panic(expected = "timestamps in order")]
    fn subtracting_a_later_timestamp_is_a_bug() {
        let _ = Timestamp::from_nanos(1).since(Timestamp::from_nanos(2));
    }
}
