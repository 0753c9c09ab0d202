//! One loadable set of a plan, from its first query to its last answer.

use super::{drive, Control, Ending, Progress};
use crate::clock::Clock;
use crate::issue::{IssueRules, Issuer};
use crate::plan::{LoadableSet, Plan};
use crate::record::{Keep, Record};
use crate::scenario::Scenario;
use crate::sut::{SutError, SystemUnderTest};
use crate::units::SampleId;

/// What the system under test tells about its answers, and so what the record keeps of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tells {
    /// Times of inference and post-processing.
    pub stages: bool,
    /// Times of decoding and resizing.
    pub preprocess: bool,
}

/// Issues `set` of `plan` to `sut`; its samples are numbered from `first_sample`.
///
/// # Errors
/// When the system under test fails. What was recorded until then comes with the error, so that
/// it can be kept.
pub fn run_set(
    plan: &Plan,
    set: &LoadableSet,
    first_sample: SampleId,
    tells: Tells,
    sut: &mut dyn SystemUnderTest,
    clock: &dyn Clock,
    control: &Control<'_>,
    observe: &mut dyn FnMut(&Progress<'_>),
) -> (Record, Result<Ending, SutError>) {
    let effective = plan.effective();
    let generated = plan.generated(set);
    let queries = plan.queries(set);
    let keep = Keep {
        schedule: matches!(
            effective.scenario,
            Scenario::SingleStream | Scenario::MultiStream
        ),
        issue_delay: effective.scenario == Scenario::Server,
        stages: tells.stages,
        preprocess: tells.preprocess,
    };
    let samples_per_query = match effective.scenario {
        Scenario::Offline => 1,
        _ => generated.samples_per_query as u32,
    };
    // Reserved, not touched: what a run does not reach costs no memory.
    let room = generated.sample_count() as usize;
    let start = clock.now();
    let rules = IssueRules::new(effective, set);
    let mut issuer = Issuer::new(queries, rules, start, first_sample);
    let mut record = Record::new(start, first_sample, keep, room, samples_per_query);
    let ending = drive(&mut issuer, sut, clock, &mut record, control, observe);
    (record, ending)
}
