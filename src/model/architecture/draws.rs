//! The numbers that weights are drawn from: `SplitMix64`, one stream for each tensor.
//!
//! Only whole-number arithmetic and exactly rounded products are used, so a seed gives the same
//! bytes on every machine. Streams follow from the seed and the tensor's name: a layer that is
//! added does not change the others.

/// The odd constant by which `SplitMix64` steps (Steele, Lea, Flood 2014): 2^64 over the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// `FNV-1a`'s start and factor, for the name.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_FACTOR: u64 = 0x0000_0100_0000_01b3;

/// Bits of a draw: as many as an f32 holds.
const BITS: u32 = 24;

/// A stream of draws.
#[derive(Debug, Clone)]
pub struct Draws {
    state: u64,
}

impl Draws {
    /// The stream of the tensor `name` under `seed`.
    pub fn new(seed: u64, name: &str) -> Self {
        let name = name.bytes().fold(FNV_START, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(FNV_FACTOR)
        });
        Self {
            state: mixed(seed.wrapping_add(STEP)) ^ name,
        }
    }

    fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mixed(self.state)
    }

    /// `count` numbers spread evenly over `-bound..bound`.
    pub fn uniform(&mut self, count: usize, bound: f32) -> Vec<f32> {
        let unit = bound / (1_u32 << (BITS - 1)) as f32;
        let number = |bits: u64| ((bits as i32) - (1 << (BITS - 1))) as f32 * unit;
        let mask = (1_u64 << BITS) - 1;
        let mut numbers = Vec::with_capacity(count + 1);
        while numbers.len() < count {
            let word = self.word();
            numbers.push(number(word >> (64 - BITS)));
            numbers.push(number((word >> 8) & mask));
        }
        numbers.truncate(count);
        numbers
    }
}

/// `SplitMix64`'s finaliser.
fn mixed(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs for state 1234567, as other implementations print them.
    #[test]
    fn the_words_are_those_of_splitmix64() {
        let mut draws = Draws { state: 1_234_567 };
        let words: Vec<u64> = (0..5).map(|_| draws.word()).collect();
        assert_eq!(
            words,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
    }

    #[test]
    fn numbers_are_spread_evenly_and_streams_are_apart() {
        let numbers = Draws::new(1, "conv1/weights").uniform(100_001, 2.0);
        assert_eq!(numbers.len(), 100_001);
        assert!(numbers.iter().all(|number| (-2.0..2.0).contains(number)));
        let count = numbers.len() as f64;
        let mean = numbers.iter().copied().map(f64::from).sum::<f64>() / count;
        let squares = numbers.iter().map(|&number| f64::from(number).powi(2));
        let variance = squares.sum::<f64>() / count;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance - 4.0 / 3.0).abs() < 0.02, "{variance}");
        for (seed, name) in [(2, "conv1/weights"), (1, "conv2/weights")] {
            let other = Draws::new(seed, name).uniform(100_001, 2.0);
            let pairs = numbers.iter().zip(&other);
            let common: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((common / count).abs() < 0.02, "{seed} {name}: {common}");
        }
        assert_eq!(
            numbers,
            Draws::new(1, "conv1/weights").uniform(100_001, 2.0)
        );
    }
}
