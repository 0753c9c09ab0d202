//! The objective: which percentile of the latency keeps which bound.

use std::fmt;
use std::str::FromStr;

use crate::units::{Latency, Quantile};

/// A service level objective: this share of the queries is answered within the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slo {
    /// The share.
    pub quantile: Quantile,
    /// The bound of the latency.
    pub bound: Latency,
}

/// Text that is no objective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SloError {
    /// It has another form.
    #[error(
        "`{text}` is no objective: give a percentile and its latency, such as p99=100ms or p99.9=50ms"
    )]
    Form {
        /// The text.
        text: String,
    },
    /// The part before `=` is no percentile.
    #[error(
        "`{text}` is no percentile: give p and a number between 0 and 100, such as p99 or p99.9"
    )]
    Percentile {
        /// The part.
        text: String,
    },
    /// The part behind `=` is no latency.
    #[error("`{text}` is no latency: give a number above zero with us, ms or s, such as 100ms")]
    Bound {
        /// The part.
        text: String,
    },
}

/// A bound above this is taken for a mistake.
const BOUND_MAX_NS: f64 = 3_600e9;

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let (percentile, bound) = text.split_once('=').ok_or_else(|| SloError::Form {
            text: text.to_owned(),
        })?;
        Ok(Self {
            quantile: parse_percentile(percentile.trim()).ok_or_else(|| SloError::Percentile {
                text: percentile.to_owned(),
            })?,
            bound: parse_bound(bound.trim()).ok_or_else(|| SloError::Bound {
                text: bound.to_owned(),
            })?,
        })
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} within {}", self.quantile, self.bound)
    }
}

/// Digits with at most one point: what `f64` reads besides, such as `inf` or `1e3`, is no such number.
fn plain_number(text: &str) -> Option<f64> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| is_plain)
}

fn parse_percentile(text: &str) -> Option<Quantile> {
    let percent = plain_number(text.strip_prefix(['p', 'P'])?)?;
    Quantile::from_share(percent / 100.0)
}

fn parse_bound(text: &str) -> Option<Latency> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    let ns = plain_number(number.trim_end())? * scale;
    (1.0..=BOUND_MAX_NS)
        .contains(&ns)
        .then(|| Latency::from_nanos(ns.round() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_read_as_people_write_them() {
        for (text, ppm, ns) in [
            ("p99=100ms", 990_000, 100_000_000),
            ("p99.9=50ms", 999_000, 50_000_000),
            ("P90=1.5s", 900_000, 1_500_000_000),
            (" p50 = 300 us", 500_000, 300_000),
        ] {
            let slo: Slo = text.parse().unwrap();
            assert_eq!((slo.quantile.as_ppm(), slo.bound.as_nanos()), (ppm, ns));
        }
        let slo: Slo = "p99.9=50ms".parse().unwrap();
        assert_eq!(slo.to_string(), "p99.9 within 50.0 ms");
    }

    #[test]
    fn what_is_no_objective_is_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("", "``"),
            ("100ms", "`100ms` is no objective"),
            ("p99:100ms", "is no objective"),
            ("99=100ms", "`99` is no percentile"),
            ("p0=100ms", "`p0` is no percentile"),
            ("p100=100ms", "is no percentile"),
            ("pinf=100ms", "is no percentile"),
            ("p99=100", "`100` is no latency"),
            ("p99=0ms", "is no latency"),
            ("p99=-5ms", "is no latency"),
            ("p99=1e3ms", "is no latency"),
            ("p99=5h", "is no latency"),
            ("p99=100ms,p90=50ms", "is no latency"),
        ] {
            let error = text.parse::<Slo>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
