//! Step 4: a histogram -> the range that 256 levels cover, and the encoding of a range.

use serde::Serialize;

use super::statistics::{Histogram, BINS};

/// How the range of an activation is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RangeMethod {
    /// Everything that was seen.
    Minmax,
    /// Tails of equal weight are cut on both sides; the share that is kept, in percent.
    Percentile(f64),
    /// The kept part whose distribution loses least (Kullback-Leibler) in 256 levels.
    Entropy,
    /// Least squared error.
    Mse,
    /// As [`Self::Mse`], where what is clipped counts three times (after AIMET's `tf_enhanced`).
    TfEnhanced,
}

impl RangeMethod {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minmax => "minmax",
            Self::Percentile(_) => "percentile",
            Self::Entropy => "entropy",
            Self::Mse => "mse",
            Self::TfEnhanced => "tf-enhanced",
        }
    }

    /// Fewer pictures than this do not show a tail.
    pub const fn pictures_min(self) -> usize {
        match self {
            Self::Minmax | Self::Mse | Self::TfEnhanced => 1,
            Self::Percentile(_) | Self::Entropy => 4,
        }
    }

    /// The range of a tensor.
    pub fn range(self, histogram: &Histogram) -> (f64, f64) {
        match self {
            Self::Minmax => (histogram.low, histogram.high),
            Self::Percentile(share) => percentile(histogram, share),
            Self::Entropy => entropy(histogram),
            Self::Mse => least_cost(histogram, 1.0),
            Self::TfEnhanced => least_cost(histogram, CLIPPED_WEIGHT),
        }
    }
}

/// How much more a clipped element counts than a rounded one in [`RangeMethod::TfEnhanced`].
const CLIPPED_WEIGHT: f64 = 3.0;

/// How u8 levels stand for real numbers: `real = scale * (level - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Encoding {
    /// Step between two levels.
    pub scale: f32,
    /// The level of zero.
    pub zero_point: u8,
}

impl Encoding {
    /// The encoding of a range, which is widened to hold zero; zero itself is a level.
    ///
    /// A range of no width (a dead tensor) gets the step 1.
    pub fn of_range((low, high): (f64, f64)) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = (high - low) / 255.0;
        if scale < 1e-30 {
            return Self {
                scale: 1.0,
                zero_point: 0,
            };
        }
        let zero_point = (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8;
        Self {
            scale: scale as f32,
            zero_point,
        }
    }

    /// The least and the greatest number that has a level.
    pub fn representable(self) -> (f64, f64) {
        let (scale, zero) = (f64::from(self.scale), f64::from(self.zero_point));
        (-zero * scale, (255.0 - zero) * scale)
    }

    /// What `value` becomes, and whether it was clipped.
    pub fn round_trip(self, value: f64) -> (f64, bool) {
        let (scale, zero) = (f64::from(self.scale), f64::from(self.zero_point));
        let level = (value / scale).round_ties_even() + zero;
        let kept = level.clamp(0.0, 255.0);
        #[expect(clippy::float_cmp, reason = "clamping changes a number or does not")]
        let is_clipped = kept != level;
        ((kept - zero) * scale, is_clipped)
    }

    /// The share of elements outside the encoding, by their bins.
    pub fn clipped_share(self, histogram: &Histogram) -> f64 {
        let total = histogram.total();
        if total == 0 {
            return 0.0;
        }
        let clipped: u64 = occupied(histogram)
            .filter(|(center, _)| self.round_trip(*center).1)
            .map(|(_, count)| count)
            .sum();
        clipped as f64 / total as f64
    }

    /// Signal over quantisation noise in decibels, by the bins' centres; `None` where either is nothing.
    pub fn sqnr_db(self, histogram: &Histogram) -> Option<f64> {
        let mut signal = 0.0;
        let mut noise = 0.0;
        for (center, count) in occupied(histogram) {
            let error = self.round_trip(center).0 - center;
            signal += count as f64 * center * center;
            noise += count as f64 * error * error;
        }
        (signal > 0.0 && noise > 0.0).then(|| 10.0 * (signal / noise).log10())
    }
}

/// Centre and count of each bin that has elements.
fn occupied(histogram: &Histogram) -> impl Iterator<Item = (f64, u64)> + '_ {
    let counts = histogram.counts.iter().enumerate();
    let counts = counts.filter(|(_, count)| **count > 0);
    counts.map(|(bin, &count)| (histogram.center(bin), count))
}

/// Cuts half of what `share` leaves over from each side; a side that ends at zero, as behind a `Relu`, stays.
fn percentile(histogram: &Histogram, share: f64) -> (f64, f64) {
    // The difference of two decimals: what should be whole is not.
    let cut = (100.0 - share) / 200.0 * histogram.total() as f64 * (1.0 + 1e-9);
    // Bins that lie in the cut as a whole.
    let within = |counts: &mut dyn Iterator<Item = u64>| {
        let mut sum = 0_u64;
        let mut is_within = |count: &u64| {
            sum += count;
            sum as f64 <= cut
        };
        counts.take_while(|count| is_within(count)).count()
    };
    let below = within(&mut histogram.counts.iter().copied());
    let above = within(&mut histogram.counts.iter().rev().copied());
    let edge = |bin: usize| histogram.low + bin as f64 * histogram.width();
    let low = if histogram.low < 0.0 {
        edge(below).min(0.0)
    } else {
        0.0
    };
    let high = if histogram.high > 0.0 {
        edge(BINS - above).max(0.0)
    } else {
        0.0
    };
    (low, high)
}

/// Shares of an end that are tried: 1.00, 0.98, … 0.30.
fn candidates() -> impl Iterator<Item = f64> {
    (0..36_u8).map(|step| 1.0 - 0.02 * f64::from(step))
}

/// The ends, as shares of the extremes, with the least weighted squared error: the best lower end for the
/// upper one, then the other way round, three times.
fn least_cost(histogram: &Histogram, clipped_weight: f64) -> (f64, f64) {
    let bins: Vec<(f64, f64)> = occupied(histogram)
        .map(|(center, count)| (center, count as f64))
        .collect();
    let cost = |range: (f64, f64)| {
        let encoding = Encoding::of_range(range);
        let of = |&(center, count): &(f64, f64)| {
            let (value, is_clipped) = encoding.round_trip(center);
            let weight = if is_clipped { clipped_weight } else { 1.0 };
            weight * count * (value - center).powi(2)
        };
        bins.iter().map(of).sum::<f64>()
    };
    let (mut low, mut high) = (histogram.low, histogram.high);
    for _ in 0..3 {
        let before = (low, high);
        if histogram.low < 0.0 {
            low = best(candidates().map(|share| histogram.low * share), |low| {
                cost((low, high))
            });
        }
        if histogram.high > 0.0 {
            high = best(candidates().map(|share| histogram.high * share), |high| {
                cost((low, high))
            });
        }
        if before == (low, high) {
            break;
        }
    }
    (low, high)
}

/// The first of the cheapest.
fn best(values: impl Iterator<Item = f64>, cost: impl Fn(f64) -> f64) -> f64 {
    let mut found: Option<(f64, f64)> = None;
    for value in values {
        let own = cost(value);
        if found.is_none_or(|(_, least)| own < least) {
            found = Some((value, own));
        }
    }
    found.expect("there are candidates").0
}

/// Steps in which the kept part grows.
const ENTROPY_STEP: usize = 16;
/// Levels of an encoding.
const LEVELS: usize = 256;

/// The kept part `[low f, high f]` with the least divergence between it, its tails moved into its end bins, and
/// itself after squeezing into 256 levels.
fn entropy(histogram: &Histogram) -> (f64, f64) {
    let zero = if histogram.width() > 0.0 {
        (-histogram.low / histogram.width()).round() as usize
    } else {
        return (histogram.low, histogram.high);
    };
    let mut found: Option<((f64, f64), f64)> = None;
    for kept in (LEVELS..=BINS).step_by(ENTROPY_STEP) {
        let share = kept as f64 / BINS as f64;
        let first = zero - (zero as f64 * share).round() as usize;
        let end = (first + kept).min(BINS);
        let divergence = divergence(&histogram.counts, first, end);
        if found.is_none_or(|(_, least)| divergence <= least) {
            found = Some(((histogram.low * share, histogram.high * share), divergence));
        }
    }
    found.expect("there are candidates").0
}

/// Kullback-Leibler divergence of the bins `first..end`, in nats.
fn divergence(counts: &[u64], first: usize, end: usize) -> f64 {
    let mut reference: Vec<f64> = counts[first..end]
        .iter()
        .map(|count| *count as f64)
        .collect();
    let tail = |part: &[u64]| part.iter().sum::<u64>() as f64;
    let last = reference.len() - 1;
    // The squeezed distribution is made before the tails are moved: it must pay for what it cannot hold.
    let squeezed = squeeze(&reference);
    reference[0] += tail(&counts[..first]);
    reference[last] += tail(&counts[end..]);
    let (total, squeezed_total) = (reference.iter().sum::<f64>(), squeezed.iter().sum::<f64>());
    if squeezed_total == 0.0 {
        return f64::INFINITY;
    }
    let terms = reference.iter().zip(&squeezed).filter(|(p, _)| **p > 0.0);
    terms
        .map(|(p, q)| {
            let (p, q) = (p / total, q / squeezed_total);
            // A full bin that the squeezed distribution leaves empty costs much, and not everything.
            p * (p / q.max(1e-9)).ln()
        })
        .sum()
}

/// Into 256 levels and back over the bins that had elements.
fn squeeze(bins: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; bins.len()];
    for level in 0..LEVELS {
        let (begin, end) = (
            level * bins.len() / LEVELS,
            (level + 1) * bins.len() / LEVELS,
        );
        let part = &bins[begin..end];
        let full = part.iter().filter(|count| **count > 0.0).count();
        let mean = part.iter().sum::<f64>() / full.max(1) as f64;
        for (out, count) in out[begin..end].iter_mut().zip(part) {
            *out = if *count > 0.0 { mean } else { 0.0 };
        }
    }
    out
}

#[cfg(test)]
mod tests;
