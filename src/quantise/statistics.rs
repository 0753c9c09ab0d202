//! What is kept of an observed tensor: extremes, means and a histogram, whatever the number of pictures.
//!
//! Two passes: [`Extent`] first, because a [`Histogram`] has a fixed range, which makes it the same in any order
//! of pictures.

/// Bins of a histogram.
pub const BINS: usize = 2048;

/// Tables that are counted in side by side.
const TABLES: usize = 4;

/// The first pass over a tensor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extent {
    /// Least element of each picture.
    pub minima: Vec<f32>,
    /// Greatest element of each picture.
    pub maxima: Vec<f32>,
    /// Sum over all pictures for each channel.
    sums: Vec<f64>,
    /// Greatest element of each channel.
    pub channel_maxima: Vec<f32>,
    /// Least element of each channel.
    pub channel_minima: Vec<f32>,
    /// Elements of a channel so far.
    count: u64,
}

/// A tensor with NaN or infinity in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite;

impl Extent {
    /// Takes in one picture's tensor; axis 1 is the channel where there are at least three axes.
    ///
    /// # Errors
    /// [`NotFinite`].
    pub fn add(&mut self, shape: &[i64], data: &[f32]) -> Result<(), NotFinite> {
        let channels = channel_count(shape, data.len());
        if self.sums.is_empty() {
            self.sums = vec![0.0; channels];
            self.channel_maxima = vec![f32::NEG_INFINITY; channels];
            self.channel_minima = vec![f32::INFINITY; channels];
        }
        let each = data.len() / channels.max(1);
        let (mut least, mut greatest) = (f32::INFINITY, f32::NEG_INFINITY);
        if each > 0 {
            for (channel, plane) in data.chunks_exact(each).enumerate() {
                let (low, high, sum) = plane_extent(plane);
                if !sum.is_finite() {
                    return Err(NotFinite);
                }
                self.sums[channel] += sum;
                self.channel_minima[channel] = self.channel_minima[channel].min(low);
                self.channel_maxima[channel] = self.channel_maxima[channel].max(high);
                least = least.min(low);
                greatest = greatest.max(high);
            }
        }
        self.minima.push(least);
        self.maxima.push(greatest);
        self.count += each as u64;
        Ok(())
    }

    /// The range of all elements and zero.
    pub fn range(&self) -> (f64, f64) {
        let low = self.minima.iter().copied().fold(0.0_f32, f32::min);
        let high = self.maxima.iter().copied().fold(0.0_f32, f32::max);
        (f64::from(low), f64::from(high))
    }

    /// The mean of each channel.
    pub fn channel_means(&self) -> Vec<f64> {
        let count = self.count.max(1) as f64;
        self.sums.iter().map(|sum| sum / count).collect()
    }
}

fn channel_count(shape: &[i64], len: usize) -> usize {
    let axis = shape.get(1).filter(|_| shape.len() >= 3);
    let channels = axis.and_then(|length| usize::try_from(*length).ok());
    channels
        .filter(|channels| *channels > 0 && len.is_multiple_of(*channels))
        .unwrap_or(1)
}

/// Least, greatest and sum; in lanes, which fixes the order of the sum and lets the compiler use the processor's.
fn plane_extent(plane: &[f32]) -> (f32, f32, f64) {
    const LANES: usize = 8;
    let mut low = [f32::INFINITY; LANES];
    let mut high = [f32::NEG_INFINITY; LANES];
    let mut sum = [0.0_f64; LANES];
    let (chunks, rest) = plane.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            let value = chunk[lane];
            low[lane] = if value < low[lane] { value } else { low[lane] };
            high[lane] = if value > high[lane] {
                value
            } else {
                high[lane]
            };
            sum[lane] += f64::from(value);
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        low[lane] = low[lane].min(value);
        high[lane] = high[lane].max(value);
        sum[lane] += f64::from(value);
    }
    let low = low.into_iter().fold(f32::INFINITY, f32::min);
    let high = high.into_iter().fold(f32::NEG_INFINITY, f32::max);
    (low, high, sum.into_iter().sum())
}

/// How the elements of a tensor are spread over a fixed range.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Elements in each of [`BINS`] bins of equal width.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// An empty one over `range`.
    pub fn new(range: (f64, f64)) -> Self {
        Self {
            low: range.0,
            high: range.1,
            counts: vec![0; BINS],
        }
    }

    /// Takes in one picture's tensor. What lies outside goes to the end bins.
    pub fn add(&mut self, data: &[f32]) {
        let span = self.high - self.low;
        if span <= 0.0 {
            self.counts[0] += data.len() as u64;
            return;
        }
        let low = self.low as f32;
        let per_unit = (BINS as f64 / span) as f32;
        let last = (BINS - 1) as f32;
        let bin = |value: f32| {
            let place = (value - low) * per_unit;
            let place = if place > 0.0 { place } else { 0.0 };
            // The mask changes nothing; it shows that the bin is one.
            (if place < last { place } else { last }) as usize & (BINS - 1)
        };
        // Most elements behind a ReLU are zero. Neighbours count in tables of their own, so that none waits for the
        // one before it.
        let mut tables = vec![[0_u32; BINS]; TABLES];
        let (chunks, rest) = data.as_chunks::<TABLES>();
        for part in chunks.chunks(u32::MAX as usize) {
            for chunk in part {
                for (table, value) in tables.iter_mut().zip(chunk) {
                    table[bin(*value)] += 1;
                }
            }
            for table in &mut tables {
                for (sum, count) in self.counts.iter_mut().zip(table) {
                    *sum += u64::from(std::mem::take(count));
                }
            }
        }
        for value in rest {
            self.counts[bin(*value)] += 1;
        }
    }

    /// Width of a bin.
    pub fn width(&self) -> f64 {
        (self.high - self.low) / BINS as f64
    }

    /// The middle of a bin.
    pub fn center(&self, bin: usize) -> f64 {
        self.low + (bin as f64 + 0.5) * self.width()
    }

    /// All elements.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the expected numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn extremes_and_means_are_those_of_a_plain_loop() {
        let data: Vec<f32> = (0..2 * 3 * 19)
            .map(|i| ((i * 37) % 101) as f32 - 50.0)
            .collect();
        let mut extent = Extent::default();
        for picture in data.chunks_exact(57) {
            extent.add(&[1, 3, 19, 1], picture).unwrap();
        }
        for channel in 0..3 {
            let own = |picture: usize| &data[picture * 57 + channel * 19..][..19];
            let all: Vec<f32> = own(0).iter().chain(own(1)).copied().collect();
            let mean = all.iter().map(|value| f64::from(*value)).sum::<f64>() / 38.0;
            assert_eq!(extent.channel_means()[channel], mean);
            let greatest = all.iter().copied().fold(f32::MIN, f32::max);
            assert_eq!(extent.channel_maxima[channel], greatest);
            let least = all.iter().copied().fold(f32::MAX, f32::min);
            assert_eq!(extent.channel_minima[channel], least);
        }
        assert_eq!(extent.minima.len(), 2);
        let least = data[57..].iter().copied().fold(f32::MAX, f32::min);
        assert_eq!(extent.minima[1], least);
    }

    #[test]
    fn the_range_holds_zero() {
        let mut extent = Extent::default();
        extent.add(&[1, 2], &[3.0, 5.0]).unwrap();
        assert_eq!(extent.range(), (0.0, 5.0));
    }

    #[test]
    fn a_single_nan_or_infinity_is_seen_wherever_it_stands() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 7, 8, 19] {
                let mut data = vec![1.0; 20];
                data[at] = value;
                assert_eq!(Extent::default().add(&[1, 1, 20], &data), Err(NotFinite));
            }
        }
    }

    #[test]
    fn every_element_is_counted_once_and_the_greatest_in_the_last_bin() {
        let mut histogram = Histogram::new((-1.0, 1.0));
        histogram.add(&[-1.0, 0.0, 1.0, 0.999_999, 5.0]);
        assert_eq!(histogram.total(), 5);
        assert_eq!(histogram.counts[0], 1);
        assert_eq!(histogram.counts[BINS / 2], 1);
        assert_eq!(histogram.counts[BINS - 1], 3);
        let mut dead = Histogram::new((0.0, 0.0));
        dead.add(&[0.0; 4]);
        assert_eq!(dead.counts[0], 4);
    }
}
