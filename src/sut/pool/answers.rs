//! Which answers the workers hand out, besides their times: all of an accuracy run, a sample of a
//! performance run for its accuracy log, or none.

use std::sync::{Arc, OnceLock};

use crossbeam::channel::Sender;

use crate::postprocess::Detection;
use crate::units::{SampleId, SampleIndex, Timestamp};

/// One sample's detections.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its number in the test.
    pub id: SampleId,
    /// Which sample of the library.
    pub sample: SampleIndex,
    /// Which of the detectors.
    pub detector: usize,
    /// When the sample was complete.
    pub at: Timestamp,
    /// What was found, best first.
    pub detections: Vec<Detection>,
}

/// Where answers go, and which.
#[derive(Debug, Clone)]
pub struct AnswerLog {
    sender: Sender<Answer>,
    choice: Choice,
}

#[derive(Debug, Clone)]
enum Choice {
    All,
    Some(Arc<OnceLock<ChosenSamples>>),
}

impl AnswerLog {
    /// Every answer.
    pub const fn of_all(sender: Sender<Answer>) -> Self {
        let choice = Choice::All;
        Self { sender, choice }
    }

    /// The answers to `chosen`, which is filled in before the first sample is issued: the plan may
    /// depend on what the warm-up shows.
    pub const fn of_chosen(sender: Sender<Answer>, chosen: Arc<OnceLock<ChosenSamples>>) -> Self {
        let choice = Choice::Some(chosen);
        Self { sender, choice }
    }

    /// Whether the answer to this sample is wanted.
    pub(super) fn wants(&self, id: SampleId) -> bool {
        match &self.choice {
            Choice::All => true,
            Choice::Some(chosen) => chosen.get().is_some_and(|chosen| chosen.has(id)),
        }
    }

    /// Hands an answer out; nobody may be listening any more.
    pub(super) fn send(&self, answer: Answer) {
        let _ = self.sender.send(answer);
    }
}

/// A set of samples by their numbers, a bit a sample.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChosenSamples {
    first: SampleId,
    bits: Vec<u64>,
}

impl ChosenSamples {
    /// The set of samples, numbered from `first`, for which `is_chosen` says so.
    pub fn new(first: SampleId, is_chosen: impl IntoIterator<Item = bool>) -> Self {
        let mut bits = Vec::new();
        for (slot, is_chosen) in is_chosen.into_iter().enumerate() {
            if slot % 64 == 0 {
                bits.push(0);
            }
            bits[slot / 64] |= u64::from(is_chosen) << (slot % 64);
        }
        Self { first, bits }
    }

    /// Whether the sample is in the set.
    pub fn has(&self, id: SampleId) -> bool {
        let Some(slot) = id.0.checked_sub(self.first.0) else {
            return false;
        };
        let word = self.bits.get(slot as usize / 64);
        word.is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_in_the_set_exactly_when_it_was_chosen() {
        let chosen = |slot: u32| slot % 7 == 3 || slot == 199;
        let set = ChosenSamples::new(SampleId(50), (0..200).map(chosen));
        for id in 0..400 {
            let expected = (50..250).contains(&id) && chosen(id - 50);
            assert_eq!(set.has(SampleId(id)), expected, "{id}");
        }
        assert!(!ChosenSamples::default().has(SampleId(0)));
    }
}
