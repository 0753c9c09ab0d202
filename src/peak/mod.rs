//! The highest load that keeps a latency objective: which load to probe next, when a probe is decided.
//!
//! *In*: an objective ([`Slo`]), bounds, the outcome of each probe. *Out*: the next [`Probe`], and at the
//! end an [`Answer`]. The load is Server's rate, or the samples in each query of MultiStream. No thread,
//! clock or file: who asks makes the runs, on real or on virtual time.
//!
//! [`Search`] brackets the peak with short probes, each under a schedule of its own ([`probe_seed`]), and
//! then confirms the highest load that passed by a run of full length under the settings' own
//! schedule. [`ProbeWatch`] ends a probe that is surely decided. [`LoadGenSearch`] is LoadGen's own
//! FindPeakPerformance, for comparison.

mod loadgen;
mod search;
mod slo;
mod watch;

pub use loadgen::{LoadGenEnd, LoadGenSearch, Trial};
pub use search::{
    Answer, End, Load, Probe, Purpose, Search, SearchRules, CONFIRMATIONS_MAX, PROBES_MAX,
};
pub use slo::{Slo, SloError};
pub use watch::{ProbeRules, ProbeWatch, SurelyEnded};

/// The schedule seed of a probe: another one for each, and the same ones for the same settings.
///
/// *Source*: the output function of `SplitMix64` (Steele, Lea and Flood, 2014) at the probe's position.
pub fn probe_seed(schedule_seed: u64, probe_number: u32) -> u64 {
    let step = u64::from(probe_number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut word = schedule_seed.wrapping_add(step);
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_probe_has_a_seed_of_its_own_in_the_bits_that_count() {
        // LoadGen's generator takes the low 32 bits of a seed.
        let low = |number| probe_seed(7, number) as u32;
        let seeds: BTreeSet<u32> = (1..=PROBES_MAX).map(low).collect();
        assert_eq!(seeds.len(), PROBES_MAX as usize);
        assert!(!seeds.contains(&7));
        assert_eq!(probe_seed(7, 3), probe_seed(7, 3));
        assert_ne!(probe_seed(7, 3), probe_seed(8, 3));
        // The first output of SplitMix64 from seed 0, as its authors' own code prints it.
        assert_eq!(probe_seed(0, 1), 0xE220_A839_7B1D_CDAF);
    }
}
