//! The measuring: both models on the same seats, one after the other in short turns.
//!
//! Both pools stay alive; the one whose turn it is not sleeps. A turn asks both sides for the same pictures in the same order
//! and, in Server, at the same moments; the next turn goes on with other ones.

use std::time::SystemTime;

use super::figures::{Figures, Ratios, Times};
use crate::cli::failure::Failure;
use crate::cli::interrupt::{is_interrupted, INTERRUPTED};
use crate::cli::run::asks::{Ask, Pace};
use crate::cli::run::measure::{blame, instance_of, layout, Bench};
use crate::cli::run::sets::pace;
use crate::cli::run::watch::turns_bar;
use crate::drive::{run_set, Control, Ending, Stand, NO_PROGRESS_LIMIT};
use crate::laboratory::turns::order;
use crate::placement::contention::{Contention, ContentionSnapshot};
use crate::placement::plan::Placement;
use crate::placement::verify::{thread_places, verify, PlacementFinding, ThreadPlace};
use crate::plan::{EffectiveSettings, Plan};
use crate::postprocess::NmsMode;
use crate::report::document::LayoutEntry;
use crate::report::folder::utc_iso;
use crate::scenario::{Scenario, TestMode};
use crate::settings::test_settings::TestSettings;
use crate::sut::pool::{Assignment, Inputs, WarmUp};
use crate::units::{Latency, SampleId, SampleIndex};

/// Fewer turns say little of how sure a ratio is.
const TURNS_MIN: u64 = 6;

/// A turn is as long as this, or as this many inferences of the slower model: in longer ones a machine drifts, in shorter ones most
/// of the time would be warm-up.
const TURN: Latency = Latency::from_millis(500);
const TURN_INFERENCES: u64 = 20;

/// Before each turn: the other model's turn has emptied the caches.
const AGAIN: WarmUp = WarmUp {
    inferences: Some(3),
    duration: None,
};

/// One scenario, measured in turns.
pub struct Interleaved {
    /// Which.
    pub scenario: Scenario,
    /// When it began.
    pub started_at: String,
    /// What a turn was.
    pub settings: EffectiveSettings,
    /// How the instances of either side were laid out.
    pub layout: LayoutEntry,
    /// Where they were to run.
    pub placement: Placement,
    /// How each side's threads differ from that, after warm-up.
    pub placement_findings: [Vec<PlacementFinding>; 2],
    /// Turns that were planned.
    pub planned: u64,
    /// Those that both sides finished.
    pub turns: Vec<[Times; 2]>,
    /// What else the machine did meanwhile.
    pub contention: Contention,
}

impl Interleaved {
    /// Each side's turns together.
    pub fn figures(&self) -> [Figures; 2] {
        [0, 1].map(|side| Times::together(self.turns.iter().map(|turn| &turn[side])).figures())
    }

    /// The figures of each turn.
    pub fn of_turns(&self) -> Vec<[Figures; 2]> {
        let turns = self.turns.iter();
        turns
            .map(|sides| sides.each_ref().map(Times::figures))
            .collect()
    }

    /// How many times as fast the second side is.
    pub fn ratios(&self) -> Ratios {
        Ratios::of(&self.of_turns())
    }
}

/// What is known of one side once its workers are warm.
struct Warm {
    assignment: Assignment,
    pace: Pace,
    findings: Vec<PlacementFinding>,
}

/// Measures a scenario in turns; `None` when it was interrupted before the first.
///
/// `offline` is what the slower side reached in the Offline turns before.
///
/// # Errors
/// When workers fail, or the settings make no test on this machine.
pub fn measure(
    benches: &mut [Bench<'_>; 2],
    ask: &Ask,
    modes: [Option<NmsMode>; 2],
    offline: Option<f64>,
    title: &str,
) -> Result<Option<Interleaved>, Failure> {
    let placement = benches[0].seating.place(ask.scenario)?;
    let mut warm = Vec::new();
    for (bench, mode) in benches.iter_mut().zip(modes) {
        let Some(ready) = warm_up(bench, ask, mode, &placement, offline)? else {
            return Ok(None);
        };
        warm.push(ready);
    }
    let slower = slower(&warm[0].pace, &warm[1].pace);
    let whole = ask.settle(&slower);
    ask.check_rate(&whole, &slower)?;
    let inference = warm[0].pace.fastest.max(warm[1].pace.fastest);
    let count = turn_count(expected(&whole, ask.scenario, slower.promised), inference);
    let before = ContentionSnapshot::take();
    let started_at = utc_iso(SystemTime::now());
    let bar = turns_bar(title, count);
    let mut turns = Vec::new();
    let mut settings = None;
    for turn in 0..count {
        let plan = benches[0].plan(
            &of_turn(&whole, turn, count),
            ask.scenario,
            TestMode::PerformanceOnly,
        )?;
        let mut sides: [Option<Times>; 2] = [None, None];
        for side in order(turn as usize) {
            sides[side] = run_turn(&mut benches[side], &plan, &warm[side].assignment)?;
            if sides[side].is_none() {
                break;
            }
        }
        settings.get_or_insert_with(|| plan.effective().clone());
        let [Some(first), Some(second)] = sides else {
            break;
        };
        turns.push([first, second]);
        bar.set_position(turn + 1);
    }
    bar.finish_and_clear();
    let mut findings = warm.into_iter().map(|side| side.findings);
    Ok(settings.map(|settings| Interleaved {
        scenario: ask.scenario,
        started_at,
        settings,
        layout: layout(&placement, ask),
        placement,
        placement_findings: [(); 2].map(|()| findings.next().expect("two sides")),
        planned: count,
        turns,
        contention: ContentionSnapshot::take().since(&before),
    }))
}

/// Starts a side's workers, unless they sit there already; `None` when that was interrupted.
fn warm_up(
    bench: &mut Bench<'_>,
    ask: &Ask,
    mode: Option<NmsMode>,
    placement: &Placement,
    offline: Option<f64>,
) -> Result<Option<Warm>, Failure> {
    let draft = bench.plan(ask.settings(), ask.scenario, TestMode::PerformanceOnly)?;
    let set = &draft.sets()[0];
    let inputs = bench.load(set)?;
    if is_interrupted() {
        return Ok(None);
    }
    // The other side's threads have the same names.
    let others: Vec<i32> = threads().iter().map(|thread| thread.tid).collect();
    bench.pool(placement, ask.batch_size)?;
    let mut assignment = assignment(bench, ask, mode, inputs, set.indices[0]);
    let run = bench.begin(&assignment, 1)?;
    if is_interrupted() {
        return Ok(None);
    }
    let pace = pace(&run, ask, offline);
    drop(run);
    let mut own = threads();
    own.retain(|thread| !others.contains(&thread.tid));
    let findings = if own.is_empty() {
        // They were looked at when they came.
        Vec::new()
    } else {
        verify(placement, &own, instance_of)
    };
    assignment.warm_up = AGAIN;
    Ok(Some(Warm {
        assignment,
        pace,
        findings,
    }))
}

fn threads() -> Vec<ThreadPlace> {
    thread_places().unwrap_or_default()
}

fn assignment(
    bench: &Bench<'_>,
    ask: &Ask,
    mode: Option<NmsMode>,
    inputs: Inputs,
    warm_up_sample: SampleIndex,
) -> Assignment {
    Assignment {
        inputs,
        detectors: bench.subject.detectors(&[mode]),
        batch_size: ask.batch_size,
        batch_timeout: ask.batch_timeout,
        warm_up: bench.warm_up,
        warm_up_sample,
        answers: None,
        interrupted: &INTERRUPTED,
    }
}

/// One side's part of a turn; `None` when it was interrupted.
fn run_turn(
    bench: &mut Bench<'_>,
    plan: &Plan,
    assignment: &Assignment,
) -> Result<Option<Times>, Failure> {
    let (clock, name) = (bench.clock, &bench.subject.description.name);
    let issue_threads = plan.effective().issue_threads() as usize;
    let mut run = bench.begin(assignment, issue_threads)?;
    if is_interrupted() {
        return Ok(None);
    }
    let mut stand = Stand {
        sut: &mut run,
        tells: Bench::tells(&assignment.inputs),
        clock: &clock,
        control: Control {
            interrupted: &INTERRUPTED,
            no_progress_limit: NO_PROGRESS_LIMIT,
        },
        observe: &mut |_| {},
    };
    let (record, ending) = run_set(plan, &plan.sets()[0], SampleId(0), &mut stand);
    match ending.map_err(blame)? {
        Ending::Complete(_) => Ok(Some(Times::of(&record, plan.effective().scenario))),
        // Nobody decides a turn.
        Ending::Interrupted | Ending::Decided => Ok(None),
        Ending::NoProgress { outstanding, .. } => Err(Failure::environment(format!(
            "{outstanding} samples of {} were never answered by {name}",
            plan.effective().scenario
        ))),
    }
}

/// What both sides can keep up with. The fastest inference only bounds how many queries are planned.
fn slower(first: &Pace, second: &Pace) -> Pace {
    let least = |a: Option<f64>, b: Option<f64>| Some(a?.min(b?));
    Pace {
        promised: first.promised.min(second.promised),
        offline: least(first.offline, second.offline),
        fastest: first.fastest.min(second.fastest),
        instances: first.instances,
        is_known: first.is_known && second.is_known,
    }
}

/// How long the slower model takes for what is asked: a minimum of queries may take longer than the minimum duration.
fn expected(whole: &TestSettings, scenario: Scenario, promised: f64) -> Latency {
    let queries = whole.min_query_count as f64;
    let seconds = match scenario {
        Scenario::SingleStream | Scenario::Offline => queries / promised,
        Scenario::MultiStream => queries * whole.multi_stream_samples_per_query as f64 / promised,
        Scenario::Server => queries / whole.server_target_qps.as_per_second(),
    };
    Latency::from_secs_f64(seconds).max(Latency::from_millis(whole.min_duration_ms))
}

/// How many turns a duration is cut into, when the slower model takes so long for a batch.
fn turn_count(duration: Latency, inference: Latency) -> u64 {
    let turn = TURN.as_nanos().max(TURN_INFERENCES * inference.as_nanos());
    duration.as_nanos().div_ceil(turn).max(TURNS_MIN)
}

/// The settings of one turn: its part of the duration and of the counts, and streams of its own.
fn of_turn(whole: &TestSettings, turn: u64, count: u64) -> TestSettings {
    TestSettings {
        min_duration_ms: whole.min_duration_ms.div_ceil(count),
        max_duration_ms: whole.max_duration_ms.div_ceil(count),
        min_query_count: whole.min_query_count.div_ceil(count),
        max_query_count: whole.max_query_count.div_ceil(count),
        sample_index_rng_seed: whole.sample_index_rng_seed.wrapping_add(turn),
        schedule_rng_seed: whole.schedule_rng_seed.wrapping_add(turn),
        ..whole.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_cut_into_six_turns_or_more_of_half_a_second_or_twenty_inferences() {
        for (duration, inference, count) in [
            (200, 16, 6),
            (3_000, 16, 6),
            (3_001, 16, 7),
            (600_000, 16, 1_200),
            (600_000, 100, 300),
            (3_000, 1_000, 6),
        ] {
            let [duration, inference] = [duration, inference].map(Latency::from_millis);
            assert_eq!(turn_count(duration, inference), count, "{duration}");
        }
    }

    #[test]
    fn a_minimum_of_queries_makes_more_turns_and_not_longer_ones() {
        let whole = TestSettings {
            min_duration_ms: 2_000,
            min_query_count: 1_000,
            multi_stream_samples_per_query: 8,
            ..TestSettings::default()
        };
        let seconds = |scenario, promised| expected(&whole, scenario, promised).as_secs_f64();
        assert!((seconds(Scenario::Offline, 50.0) - 20.0).abs() < 1e-6);
        assert!((seconds(Scenario::MultiStream, 50.0) - 160.0).abs() < 1e-6);
        assert!((seconds(Scenario::SingleStream, 1e6) - 2.0).abs() < 1e-6);
    }

    #[test]
    fn a_turn_has_its_part_of_the_whole_and_asks_for_other_pictures() {
        let whole = TestSettings {
            min_duration_ms: 3_000,
            min_query_count: 20,
            max_query_count: 0,
            ..TestSettings::default()
        };
        let turns = [0, 1].map(|turn| of_turn(&whole, turn, 6));
        assert_eq!(
            (turns[0].min_duration_ms, turns[0].min_query_count),
            (500, 4)
        );
        // Zero means no limit.
        assert_eq!((turns[0].max_query_count, turns[0].max_duration_ms), (0, 0));
        assert_eq!(turns[0].sample_index_rng_seed, whole.sample_index_rng_seed);
        assert_ne!(
            turns[0].sample_index_rng_seed,
            turns[1].sample_index_rng_seed
        );
        assert_ne!(turns[0].schedule_rng_seed, turns[1].schedule_rng_seed);
        assert_eq!(turns[0].qsl_rng_seed, turns[1].qsl_rng_seed);
    }

    #[test]
    fn both_sides_get_the_load_that_the_slower_one_can_bear() {
        let pace = |promised, ms| Pace {
            promised,
            offline: Some(promised / 2.0),
            fastest: Latency::from_millis(ms),
            instances: 2,
            is_known: true,
        };
        let both = slower(&pace(60.0, 16), &pace(120.0, 8));
        assert_eq!((both.promised, both.offline), (60.0, Some(30.0)));
        assert_eq!(both.fastest, Latency::from_millis(8));
    }
}
