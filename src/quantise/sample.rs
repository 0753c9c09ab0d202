//! Which pictures calibrate.

use rand_mt::Mt;

/// Chooses `wanted` of `count` pictures without repetition (all when there are fewer), ascending.
///
/// The same seed gives the same choice: the generator is MT19937, and picture `i` of the choice changes places with one
/// behind it.
pub fn choose(count: usize, wanted: usize, seed: u32) -> Vec<usize> {
    let mut all: Vec<usize> = (0..count).collect();
    let mut random = Mt::new(seed);
    let wanted = wanted.min(count);
    for place in 0..wanted {
        let left = (count - place) as u64;
        let step = (u64::from(random.next_u32()) * left) >> 32;
        all.swap(place, place + step as usize);
    }
    all.truncate(wanted);
    all.sort_unstable();
    all
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
