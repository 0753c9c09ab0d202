//! Candidates best first, sorting no more of them than somebody asks for.

/// A sort key: ascending keys are descending scores, and ascending `index` among equal scores.
///
/// `-0.0` and `0.0` are equal scores. Keys of different indices differ, so any sort of them is stable.
///
/// `score` must not be NaN; a candidate has passed a threshold.
pub fn key(score: f32, index: u32) -> u64 {
    debug_assert!(!score.is_nan());
    // Adding 0.0 turns -0.0 into 0.0 and changes nothing else.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    };
    u64::from(!ascending) << 32 | u64::from(index)
}

/// The index that went into a [`key`].
pub fn index_of(key: u64) -> u32 {
    key as u32
}

/// The score that went into a [`key`], with `-0.0` as `0.0`.
pub fn score_of(key: u64) -> f32 {
    let ascending = !((key >> 32) as u32);
    f32::from_bits(if ascending >> 31 == 1 {
        ascending ^ 1 << 31
    } else {
        !ascending
    })
}

/// The first run that [`BestFirst`] sorts; most walks end within two.
const FIRST_RUN: usize = 128;

/// Hands out keys in ascending order, selecting and sorting a run at a time.
///
/// *Complexity*: `n` for each run, and runs double, so asking for all costs as much as a sort.
#[derive(Debug)]
pub struct BestFirst<'a> {
    keys: &'a mut [u64],
    next: usize,
    sorted: usize,
    run: usize,
}

impl<'a> BestFirst<'a> {
    /// Starts at the lowest of `keys`, which it will reorder.
    pub fn new(keys: &'a mut [u64]) -> Self {
        Self {
            keys,
            next: 0,
            sorted: 0,
            run: FIRST_RUN,
        }
    }

    fn sort_another_run(&mut self) {
        let rest = &mut self.keys[self.sorted..];
        if rest.len() > 2 * self.run {
            rest.select_nth_unstable(self.run);
            rest[..self.run].sort_unstable();
            self.sorted += self.run;
            self.run *= 2;
        } else {
            rest.sort_unstable();
            self.sorted = self.keys.len();
        }
    }
}

impl Iterator for BestFirst<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        if self.next == self.sorted {
            if self.sorted == self.keys.len() {
                return None;
            }
            self.sort_another_run();
        }
        self.next += 1;
        Some(self.keys[self.next - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_rank_by_score_then_by_index() {
        let ranked = [
            key(f32::INFINITY, 9),
            key(0.5, 3),
            key(0.5, 4),
            key(0.0, 1),
            key(-0.0, 2),
            key(-1.0, 0),
            key(f32::NEG_INFINITY, 0),
        ];
        assert!(ranked.is_sorted());
        assert_eq!(index_of(ranked[1]), 3);
        let scores: Vec<f32> = ranked.iter().map(|&key| score_of(key)).collect();
        assert_eq!(
            scores,
            [f32::INFINITY, 0.5, 0.5, 0.0, 0.0, -1.0, f32::NEG_INFINITY]
        );
    }

    proptest! {
        #[test]
        fn best_first_is_a_sort(mut keys in prop::collection::vec(0u64..500, 0..2000)) {
            let mut expected = keys.clone();
            expected.sort_unstable();
            let got: Vec<u64> = BestFirst::new(&mut keys).collect();
            prop_assert_eq!(got, expected);
        }
    }
}
