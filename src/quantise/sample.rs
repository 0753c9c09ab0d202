//! Which pictures calibrate.

use rand_mt::Mt;

/// Chooses `wanted` of `count` pictures without repetition (all when there are fewer), ascending.
///
/// The same seed gives the same choice: the last places of a Fisher-Yates shuffle, which goes from the back, with
/// MT19937.
pub fn choose(count: usize, wanted: usize, seed: u32) -> Vec<usize> {
    let mut all: Vec<usize> = (0..count).collect();
    let mut random = Mt::new(seed);
    let rest = count - wanted.min(count);
    for place in (rest..count).rev() {
        let other = (u64::from(random.next_u32()) * (place as u64 + 1)) >> 32;
        all.swap(place, other as usize);
    }
    let mut chosen = all.split_off(rest);
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_has_no_repetitions_and_follows_from_the_seed() {
        let own = choose(80, 32, 1978);
        assert_eq!(own.len(), 32);
        assert!(own.is_sorted_by(|a, b| a < b));
        assert!(own.iter().all(|index| *index < 80));
        assert_eq!(own, choose(80, 32, 1978));
        assert_ne!(own, choose(80, 32, 1979));
        assert_eq!(choose(3, 32, 1), [0, 1, 2]);
    }
}
