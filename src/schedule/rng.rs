//! The random numbers of LoadGen: a 32-bit Mersenne Twister and what the C++ standard library of
//! the reference build makes of its words.
//!
//! LoadGen leaves the algorithms of its draws to the standard library it is built with, so the
//! same seed gives other samples under another library. The draws here follow libstdc++, whose
//! bounded draw changed with GCC 11: both forms exist, see [`BoundedDraw`].

use rand_mt::Mt;
use serde::Serialize;

use crate::units::{Latency, Rate};

/// Up to this length a permutation draws two positions from one word.
///
/// It is the greatest `n` for which `n * n` still fits the 32-bit range of the engine.
const PAIRED_SHUFFLE_MAX: usize = 65_535;

/// How a word of the engine becomes an integer below a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum BoundedDraw {
    /// Upper half of a 64-bit product (libstdc++ since GCC 11).
    MultiplyShift,
    /// Division by a bucket size, words beyond the last bucket rejected (libstdc++ up to GCC 10).
    DivideAndReject,
}

/// One stream of random numbers, started from one named seed.
///
/// Cloning it gives a second stream that continues from the same place.
#[derive(Debug, Clone)]
pub struct RandomStream {
    engine: Mt,
    draw: BoundedDraw,
}

impl RandomStream {
    /// A stream started from `seed`, of which only the low 32 bits count, as in LoadGen.
    pub fn new(seed: u64, draw: BoundedDraw) -> Self {
        Self {
            engine: Mt::new((seed & u64::from(u32::MAX)) as u32),
            draw,
        }
    }

    /// The next raw word of the engine.
    pub fn word(&mut self) -> u32 {
        self.engine.next_u32()
    }

    /// An integer in `0..bound`; a bound of 1 consumes a word too.
    ///
    /// # Panics
    /// When `bound` is zero.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "a draw below zero has no answer");
        match self.draw {
            BoundedDraw::MultiplyShift => self.below_by_product(bound),
            BoundedDraw::DivideAndReject => self.below_by_division(bound),
        }
    }

    fn below_by_product(&mut self, bound: u32) -> u32 {
        let mut product = u64::from(self.word()) * u64::from(bound);
        if (product as u32) < bound {
            let threshold = bound.wrapping_neg() % bound;
            while (product as u32) < threshold {
                product = u64::from(self.word()) * u64::from(bound);
            }
        }
        (product >> 32) as u32
    }

    fn below_by_division(&mut self, bound: u32) -> u32 {
        let bucket = u32::MAX / bound;
        let end = bound * bucket;
        loop {
            let word = self.word();
            if word < end {
                return word / bucket;
            }
        }
    }

    /// A real in `[0, 1)` made of two words, the low one drawn first, every step rounded to f64.
    pub fn unit_real(&mut self) -> f64 {
        const TWO_POW_32: f64 = 4_294_967_296.0;
        let low = f64::from(self.word());
        let high = f64::from(self.word());
        let real = (low + high * TWO_POW_32) / (TWO_POW_32 * TWO_POW_32);
        if real < 1.0 {
            real
        } else {
            1.0_f64.next_down()
        }
    }

    /// The time to the next event of a Poisson process with this rate, cut to whole nanoseconds.
    pub fn exponential_gap(&mut self, rate: Rate) -> Latency {
        let seconds = -(1.0 - self.unit_real()).ln() / rate.as_per_second();
        Latency::from_secs_f64(seconds)
    }

    /// Permutes `values` in place, as `std::shuffle` of libstdc++ does.
    ///
    /// Up to 65 535 values it draws two positions from one word; beyond, one position a word.
    ///
    /// # Panics
    /// When there are 2^32 values or more.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        let count = values.len();
        assert!(
            u32::try_from(count).is_ok(),
            "a permutation of 2^32 values or more"
        );
        if count <= PAIRED_SHUFFLE_MAX {
            self.shuffle_paired(values);
        } else {
            for i in 1..count {
                values.swap(i, self.below(i as u32 + 1) as usize);
            }
        }
    }

    fn shuffle_paired<T>(&mut self, values: &mut [T]) {
        let count = values.len();
        let mut i = 1;
        // An even count leaves an odd number of positions to draw: the first one goes alone.
        if count > 0 && count.is_multiple_of(2) {
            values.swap(1, self.below(2) as usize);
            i = 2;
        }
        while i < count {
            let first = i as u32 + 1;
            let second = i as u32 + 2;
            let both = self.below(first * second);
            values.swap(i, (both / second) as usize);
            values.swap(i + 1, (both % second) as usize);
            i += 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_low_32_bits_of_a_seed_count() {
        for (seed, same) in [
            (1_u64 << 32, 0),
            ((1 << 32) + 1, 1),
            (2_085_463_073_848_966_840, 3_438_689_976),
        ] {
            let mut a = RandomStream::new(seed, BoundedDraw::MultiplyShift);
            let mut b = RandomStream::new(same, BoundedDraw::MultiplyShift);
            assert_eq!(a.word(), b.word());
        }
    }

    #[test]
    fn the_division_form_takes_the_bucket_of_the_word() {
        let words = |n| {
            let mut stream = RandomStream::new(7, BoundedDraw::MultiplyShift);
            (0..n).map(move |_| stream.word())
        };
        let mut stream = RandomStream::new(7, BoundedDraw::DivideAndReject);
        let bucket = u32::MAX / 3_000_000_000;
        let expected: Vec<u32> = words(50)
            .filter(|&word| word < 3_000_000_000)
            .map(|word| word / bucket)
            .collect();
        let drawn: Vec<u32> = (0..expected.len())
            .map(|_| stream.below(3_000_000_000))
            .collect();
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_shuffle_of_nothing_or_one_value_draws_nothing() {
        let mut stream = RandomStream::new(0, BoundedDraw::MultiplyShift);
        stream.shuffle::<u8>(&mut []);
        stream.shuffle(&mut [1]);
        assert_eq!(stream.word(), 2_357_136_044);
    }
}
