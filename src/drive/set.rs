//! One loadable set of a plan, from its first query to its last answer.

use super::threads::{drive_threads, Whole};
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

/// Everything around one run that is not the plan.
pub struct Stand<'a> {
    /// What is measured.
    pub sut: &'a mut dyn SystemUnderTest,
    /// What it tells about its answers.
    pub tells: Tells,
    /// Real or virtual time.
    pub clock: &'a dyn Clock,
    /// How the run may be stopped.
    pub control: Control<'a>,
    /// Who watches it.
    pub observe: &'a mut dyn FnMut(&Progress<'_>),
}

/// Issues `set` of `plan`; its samples are numbered from `first_sample`.
///
/// A Server set is issued from as many threads as [`issue_threads`](crate::plan::EffectiveSettings::issue_threads) says, if the
/// clock and the system can serve them; virtual time serves one.
///
/// What was recorded comes in any case, so that it can be kept when the system under test fails.
pub fn run_set(
    plan: &Plan,
    set: &LoadableSet,
    first_sample: SampleId,
    stand: &mut Stand<'_>,
) -> (Record, Result<Ending, SutError>) {
    let effective = plan.effective();
    let generated = plan.generated(set);
    let keep = Keep {
        schedule: matches!(
            effective.scenario,
            Scenario::SingleStream | Scenario::MultiStream
        ),
        issue_delay: matches!(effective.scenario, Scenario::Server | Scenario::Offline),
        stages: stand.tells.stages,
        preprocess: stand.tells.preprocess,
    };
    let samples_per_query = match effective.scenario {
        Scenario::Offline => 1,
        _ => generated.samples_per_query as u32,
    };
    // Reserved, not touched: what a run does not reach costs no memory.
    let room = generated.sample_count() as usize;
    let queries = plan.queries(set);
    let rules = IssueRules::new(effective, set);
    let threads = effective.issue_threads();
    if threads > 1 {
        let whole = Whole {
            queries: queries.clone(),
            query_count: generated.query_count,
            rules,
            keep,
            first_sample,
        };
        if let Some(outcome) = drive_threads(&whole, threads, stand) {
            return outcome;
        }
    }
    let start = stand.clock.now();
    let mut issuer = Issuer::new(queries, rules, start, first_sample);
    let mut record = Record::new(start, first_sample, keep, room, samples_per_query);
    let ending = drive(
        &mut issuer,
        stand.sut,
        stand.clock,
        &mut record,
        &stand.control,
        stand.observe,
    );
    (record, ending)
}
