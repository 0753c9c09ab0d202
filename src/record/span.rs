//! A span of time in four bytes.

use crate::units::Latency;

/// A span in 32 bits: exact to the nanosecond below 2.1 s, in steps of 1.024 us up to 2199 s.
///
/// Stage times and issue delays are kept for every sample; at eight bytes each they would
/// weigh more than the latencies they explain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShortSpan(u32);

const COARSE: u32 = 1 << 31;
const COARSE_SHIFT: u32 = 10;

impl ShortSpan {
    /// The largest value, which also stands for anything longer.
    pub const MAX: Self = Self(u32::MAX);

    /// Rounds down to what fits.
    pub fn new(span: Latency) -> Self {
        let ns = span.as_nanos();
        if ns < u64::from(COARSE) {
            return Self(ns as u32);
        }
        let coarse = (ns >> COARSE_SHIFT).min(u64::from(COARSE - 1));
        Self(COARSE | coarse as u32)
    }

    /// The span.
    pub fn get(self) -> Latency {
        if self.0 & COARSE == 0 {
            Latency::from_nanos(u64::from(self.0))
        } else {
            Latency::from_nanos(u64::from(self.0 & !COARSE) << COARSE_SHIFT)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_spans_are_exact_and_long_ones_a_microsecond_coarse() {
        for ns in [0, 1, 999, 2_147_483_647] {
            assert_eq!(ShortSpan::new(Latency::from_nanos(ns)).get().as_nanos(), ns);
        }
        for ns in [2_147_483_648, 30_000_000_001, 2_000_000_000_000] {
            let got = ShortSpan::new(Latency::from_nanos(ns)).get().as_nanos();
            assert!(got <= ns && ns - got < 1_024, "{ns} became {got}");
        }
        assert_eq!(
            ShortSpan::new(Latency::from_nanos(u64::MAX)),
            ShortSpan::MAX
        );
    }
}
