//! Pictures drawn anew with repetition, many times: the ground of every interval.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::schedule::rng::{BoundedDraw, RandomStream};

/// For each draw, how often each picture is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draws(Vec<Vec<u32>>);

impl Draws {
    /// So many draws of as many pictures as there are. Two figures on the same draws are paired.
    pub fn new(pictures: usize, draws: usize, seed: u64) -> Self {
        let mut random = RandomStream::new(seed, BoundedDraw::MultiplyShift);
        let count = u32::try_from(pictures).expect("pictures are counted in 32 bits");
        let mut draw = || {
            let mut weights = vec![0; pictures];
            for _ in 0..pictures {
                weights[random.below(count) as usize] += 1;
            }
            weights
        };
        Self((0..draws).map(|_| draw()).collect())
    }

    /// The figure on each draw, in their order.
    pub fn figures<T: Send>(&self, figure: impl Fn(&[u32]) -> T + Sync) -> Vec<T> {
        self.0.par_iter().map(|weights| figure(weights)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_draw_has_as_many_pictures_as_there_are_and_a_seed_gives_its_draws() {
        let draws = Draws::new(7, 400, 1978);
        let sums = draws.figures(|weights| weights.iter().sum::<u32>());
        assert_eq!(sums, [7; 400]);
        assert_eq!(draws, Draws::new(7, 400, 1978));
        assert_ne!(draws, Draws::new(7, 400, 1979));
    }
}
