//! The plan against a plain model of LoadGen's generation that keeps everything in lists, for
//! every small combination of settings; and properties that hold for any plan.

use detbench::plan::{AccuracyLogSelection, Phase, Plan, PlanError};
use detbench::scenario::{Scenario, TestMode};
use detbench::schedule::rng::RandomStream;
use detbench::settings::compat::CompatProfile;
use detbench::settings::test_settings::TestSettings;
use detbench::units::{Latency, SampleIndex};
use proptest::prelude::*;

/// Settings of a case, with the names that the rules use.
#[derive(Debug, Clone, Copy)]
struct Case {
    scenario: Scenario,
    mode: TestMode,
    total: usize,
    performance: usize,
    /// What replaces the performance count and the number of samples of an accuracy run; 0 is
    /// nothing.
    overrides: (u64, u64),
    /// Expected number of logged answers of a performance run; with 0 the share is [`LOGGED`].
    logged: u64,
    minimum: u64,
    multi_stream: u64,
    duration_ms: u64,
    unique: bool,
    same: Option<u64>,
    permutations: bool,
    compat: CompatProfile,
    seeds: [u64; 3],
}

const SINGLE_STREAM_LATENCY_NS: f64 = 1e6;
const MULTI_STREAM_LATENCY_NS: f64 = 3e6;
const RATE: f64 = 700.0;

/// Share of the answers that a performance run logs.
const LOGGED: f64 = 0.3;
const LOG_SEED: u64 = 77;

impl Case {
    fn settings(&self) -> TestSettings {
        let mut settings = TestSettings {
            single_stream_expected_latency_ns: SINGLE_STREAM_LATENCY_NS,
            multi_stream_expected_latency_ns: MULTI_STREAM_LATENCY_NS,
            multi_stream_samples_per_query: self.multi_stream,
            min_duration_ms: self.duration_ms,
            min_query_count: self.minimum,
            qsl_rng_seed: self.seeds[0],
            sample_index_rng_seed: self.seeds[1],
            schedule_rng_seed: self.seeds[2],
            performance_issue_unique: self.unique,
            performance_issue_same: self.same.is_some(),
            performance_issue_same_index: self.same.unwrap_or(0),
            sample_concatenate_permutation: self.permutations,
            performance_sample_count_override: self.overrides.0,
            accuracy_sample_count_override: self.overrides.1,
            accuracy_log_rng_seed: LOG_SEED,
            accuracy_log_probability: LOGGED,
            accuracy_log_sampling_target: self.logged,
            ..TestSettings::default()
        };
        settings
            .set("server_target_qps", &RATE.to_string())
            .unwrap();
        settings
            .set("offline_expected_qps", &RATE.to_string())
            .unwrap();
        settings
    }

    fn plan(&self) -> Result<Plan, PlanError> {
        let settings = self.settings();
        Plan::new(
            &settings,
            self.scenario,
            self.mode,
            self.total,
            self.performance,
            self.compat,
        )
    }

    fn stream(&self, n: usize) -> RandomStream {
        RandomStream::new(self.seeds[n], self.compat.bounded_draw())
    }

    /// A performance run of 64 samples, 16 at a time.
    fn plain(scenario: Scenario) -> Self {
        Self {
            scenario,
            mode: TestMode::PerformanceOnly,
            total: 64,
            performance: 16,
            overrides: (0, 0),
            logged: 0,
            minimum: 10,
            multi_stream: 8,
            duration_ms: 0,
            unique: false,
            same: None,
            permutations: false,
            compat: CompatProfile::V6,
            seeds: [1, 2, 3],
        }
    }

    /// Samples that are loaded at a time.
    fn at_a_time(&self) -> usize {
        match self.overrides.0 {
            0 => self.performance,
            count => count as usize,
        }
    }
}

/// A query: scheduled time in nanoseconds, and samples.
type Query = (u64, Vec<u32>);

/// Everything generated for a set: the set, its queries, and the time of one more query.
#[derive(Debug, PartialEq)]
struct Set {
    loaded: Vec<u32>,
    queries: Vec<Query>,
    duration: u64,
}

/// A set to load, its length before padding, and whether it is of an accuracy run.
type ModelSet = (Vec<u32>, usize, bool);

/// The sets to load in their order.
fn model_sets(case: &Case) -> Vec<ModelSet> {
    match case.mode {
        TestMode::AccuracyOnly => model_sets_of(case, true),
        TestMode::PerformanceOnly | TestMode::FindPeakPerformance => model_sets_of(case, false),
        TestMode::SubmissionRun => [model_sets_of(case, true), model_sets_of(case, false)].concat(),
    }
}

fn model_sets_of(case: &Case, accuracy: bool) -> Vec<ModelSet> {
    let wanted = match (accuracy, case.overrides.1) {
        (false, _) => case.at_a_time(),
        (true, 0) => case.total,
        (true, count) => count as usize,
    };
    let permuted = match case.compat {
        CompatProfile::V6 => wanted.min(case.total),
        CompatProfile::V5 | CompatProfile::V4Gcc10 => case.total,
    };
    let mut all: Vec<u32> = (0..permuted as u32).collect();
    case.stream(0).shuffle(&mut all);
    let mut sets = Vec::new();
    for group in all.chunks(case.at_a_time()) {
        let mut padded = group.to_vec();
        if case.scenario == Scenario::MultiStream {
            for i in 0..case.multi_stream as usize - 1 {
                let sample = padded[i];
                padded.push(sample);
            }
        }
        sets.push((padded, group.len(), accuracy));
    }
    if !accuracy {
        sets.truncate(1);
    }
    sets
}

/// The number in the test and the index of each sample whose answer is logged, where samples go
/// through all sets in order.
fn model_log(case: &Case, sets: &[Set], accuracy: &[bool]) -> Vec<(u64, u32)> {
    let rate = match case.scenario {
        Scenario::SingleStream => 1e9 / SINGLE_STREAM_LATENCY_NS,
        Scenario::MultiStream => 1e9 / MULTI_STREAM_LATENCY_NS,
        Scenario::Server | Scenario::Offline => RATE,
    };
    let spq = model_samples_per_query(case, 0, false);
    let mut expected = (rate * case.duration_ms as f64 / 1000.0) as u64;
    if case.scenario != Scenario::Offline {
        expected *= spq;
    }
    let share = match case.logged {
        0 => LOGGED,
        target => target as f64 / expected.max(model_minimum(case) * spq) as f64,
    };
    let mut numbers = RandomStream::new(5489, case.compat.bounded_draw());
    let (mut log, mut id) = (Vec::new(), 0);
    for (set, &accuracy) in sets.iter().zip(accuracy) {
        let offset = RandomStream::new(LOG_SEED, case.compat.bounded_draw()).unit_real();
        for sample in set.queries.iter().flat_map(|(_, samples)| samples) {
            let mut number = numbers.unit_real() + offset;
            if number >= 1.0 {
                number -= 1.0;
            }
            if accuracy || number <= share {
                log.push((id, *sample));
            }
            id += 1;
        }
    }
    log
}

fn model_samples_per_query(case: &Case, dist_end: usize, accuracy: bool) -> u64 {
    match case.scenario {
        Scenario::SingleStream | Scenario::Server => 1,
        Scenario::MultiStream => case.multi_stream,
        Scenario::Offline if accuracy => dist_end as u64,
        Scenario::Offline if case.unique => case.at_a_time() as u64,
        Scenario::Offline => {
            let expected = 1.1 * (case.duration_ms as f64 / 1000.0) * RATE;
            case.minimum.max(expected as u64)
        }
    }
}

fn model_minimum(case: &Case) -> u64 {
    match case.scenario {
        Scenario::Offline => 1,
        Scenario::SingleStream if case.permutations => {
            let rate = 1e9 / SINGLE_STREAM_LATENCY_NS;
            let expected = 2.0 * (case.duration_ms as f64 / 1000.0) * rate;
            let minimum = case.minimum.max(expected as u64);
            minimum + case.performance as u64 - minimum % case.performance as u64
        }
        _ => case.minimum,
    }
}

/// Generation for one set, as one loop over lists that were all drawn before.
fn model_set(case: &Case, (loaded, dist_end, accuracy): &ModelSet) -> Set {
    let (dist_end, accuracy) = (*dist_end, *accuracy);
    let k = loaded.len() as u64;
    let server = case.scenario == Scenario::Server;
    let offline = case.scenario == Scenario::Offline;
    let multi_stream = case.scenario == Scenario::MultiStream;
    let mut s = model_samples_per_query(case, dist_end, accuracy);
    let configured_duration = if offline {
        0
    } else {
        case.duration_ms * 1_000_000
    };
    let mut span = if server {
        configured_duration
    } else {
        2 * configured_duration
    };
    let mut minimum = model_minimum(case);
    if accuracy || case.unique {
        span = 0;
        minimum = k / s;
    }
    let stride = if multi_stream { s as usize } else { 1 };
    let mut draws = case.stream(1);
    let starts: Vec<u32> = (0..dist_end as u32).step_by(stride).collect();
    let mut each_once = starts.clone();
    if accuracy {
        draws.shuffle(&mut each_once);
    }
    let mut unique = starts;
    draws.shuffle(&mut unique);
    let mut advance = Vec::new();
    let mut permutation: Vec<u32> = (0..k as u32).collect();
    for _ in 0..minimum.div_ceil(k) {
        draws.shuffle(&mut permutation);
        advance.extend_from_slice(&permutation);
    }
    if case.permutations && !accuracy {
        if offline {
            s = s.div_ceil(k) * k;
        } else {
            minimum = minimum.div_ceil(k) * k;
        }
    }
    let mut schedule = case.stream(2);
    let rate = match case.scenario {
        Scenario::SingleStream => 1e9 / SINGLE_STREAM_LATENCY_NS,
        Scenario::MultiStream => 1e9 / MULTI_STREAM_LATENCY_NS,
        Scenario::Server | Scenario::Offline => RATE,
    };
    let (mut t, mut previous) = (0_u64, 0_u64);
    let mut queries: Vec<Query> = Vec::new();
    while previous < span || (queries.len() as u64) < minimum {
        let n = queries.len();
        let mut samples = Vec::new();
        if offline {
            for _ in 0..s / k {
                let mut repeat = loaded.clone();
                if case.permutations && case.same.is_none() {
                    draws.shuffle(&mut repeat);
                }
                samples.extend(repeat);
            }
            samples.extend_from_slice(&loaded[..(s % k) as usize]);
            if let Some(index) = case.same {
                samples.fill(loaded[index as usize]);
            }
        } else {
            let start = if case.unique {
                unique[n]
            } else if let Some(index) = case.same {
                index as u32
            } else if case.permutations && !multi_stream {
                advance[n % advance.len()]
            } else if accuracy {
                each_once[n]
            } else {
                draws.below(dist_end as u32)
            } as usize;
            samples.extend_from_slice(&loaded[start..start + s as usize]);
        }
        queries.push((t, samples));
        previous = t;
        t += if server {
            schedule
                .exponential_gap(detbench::units::Rate::per_second(rate).unwrap())
                .as_nanos()
        } else {
            (1e9 * (1.0 / rate)) as u64
        };
        let enough = queries.len() as u64 >= minimum;
        if case.permutations && !offline && enough && previous < span {
            minimum += k;
        }
    }
    Set {
        loaded: loaded.clone(),
        queries,
        duration: t,
    }
}

fn indices(samples: &[SampleIndex]) -> Vec<u32> {
    samples.iter().map(|sample| sample.0).collect()
}

fn planned_sets(plan: &Plan) -> Vec<Set> {
    let unroll = |set| {
        let set: &detbench::plan::LoadableSet = set;
        let mut stream = plan.queries(set);
        let mut samples = Vec::new();
        let mut queries = Vec::new();
        while let Some(scheduled) = stream.next(&mut samples) {
            queries.push((scheduled.as_nanos(), indices(&samples)));
        }
        let generated = plan.generated(set);
        assert_eq!(generated.query_count, queries.len() as u64);
        assert_eq!(generated.duration, stream.duration());
        Set {
            loaded: indices(&set.indices),
            queries,
            duration: stream.duration().as_nanos(),
        }
    };
    plan.sets().iter().map(unroll).collect()
}

fn planned_log(plan: &Plan) -> Vec<(u64, u32)> {
    let mut selection = AccuracyLogSelection::new(plan);
    let mut log = Vec::new();
    for (set, first) in plan.sets().iter().zip(plan.first_ids()) {
        selection.begin_set(set);
        let mut id = u64::from(first.sample.0);
        let (mut stream, mut samples) = (plan.queries(set), Vec::new());
        while stream.next(&mut samples).is_some() {
            for sample in &samples {
                if selection.keeps_next() {
                    log.push((id, sample.0));
                }
                id += 1;
            }
        }
    }
    log
}

/// Compares one case and says whether there was a plan to compare.
fn compare(case: &Case) -> bool {
    let sets = model_sets(case);
    let smallest = sets.iter().map(|(_, dist_end, _)| *dist_end).min().unwrap();
    let plan = match case.plan() {
        Ok(plan) => plan,
        Err(PlanError::UniquePermutations) => {
            assert!(case.unique && case.permutations && case.scenario == Scenario::MultiStream);
            return false;
        }
        Err(PlanError::SameIndexOutside { index, set_size }) => {
            assert!(
                case.same == Some(index) && index >= set_size as u64 && set_size <= smallest + 1
            );
            return false;
        }
        Err(error) => {
            assert_eq!(error, PlanError::NothingToIssue, "{case:?}");
            let nothing = |set: &ModelSet| {
                let queries = model_set(case, set).queries;
                queries.iter().all(|(_, samples)| samples.is_empty())
            };
            assert!(sets.iter().any(nothing), "{case:?} issues something");
            return false;
        }
    };
    let expected: Vec<Set> = sets.iter().map(|set| model_set(case, set)).collect();
    assert_eq!(planned_sets(&plan), expected, "{case:?}");
    let accuracy: Vec<bool> = sets.iter().map(|(.., accuracy)| *accuracy).collect();
    let log = model_log(case, &expected, &accuracy);
    assert_eq!(planned_log(&plan), log, "{case:?}");
    true
}

const FLAGS: [(bool, Option<u64>, bool); 7] = [
    (false, None, false),
    (true, None, false),
    (false, Some(0), false),
    (false, Some(1), false),
    (false, None, true),
    (true, None, true),
    (false, Some(1), true),
];

/// Every mode of a scenario.
fn modes(scenario: Scenario) -> impl Iterator<Item = TestMode> {
    TestMode::ALL
        .into_iter()
        .filter(move |mode| *mode != TestMode::FindPeakPerformance || scenario == Scenario::Server)
}

fn compare_every_small_plan(scenario: Scenario, multi_streams: &[u64]) {
    let mut compared = 0;
    for mode in modes(scenario) {
        for (n, (unique, same, permutations)) in FLAGS.into_iter().enumerate() {
            for total in [1, 2, 3, 5, 8] {
                for performance in [1, 2, 3, 5, 9] {
                    for &multi_stream in multi_streams {
                        for (minimum, duration_ms) in [(1, 0), (2, 9), (7, 0), (13, 4)] {
                            let overrides = match (n + total + performance) % 4 {
                                0 => (2, 0),
                                1 => (0, 4),
                                2 => (7, 3),
                                _ => (0, 0),
                            };
                            for compat in CompatProfile::ALL {
                                let case = Case {
                                    scenario,
                                    mode,
                                    total,
                                    performance,
                                    overrides,
                                    logged: minimum / 2,
                                    minimum,
                                    multi_stream,
                                    duration_ms,
                                    unique,
                                    same,
                                    permutations,
                                    compat,
                                    seeds: [1, 2, 3],
                                };
                                compared += usize::from(compare(&case));
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(compared > 2_500, "only {compared} plans could be compared");
}

#[test]
fn every_small_plan_of_single_stream_equals_the_plain_model() {
    compare_every_small_plan(Scenario::SingleStream, &[1]);
}

#[test]
fn every_small_plan_of_multi_stream_equals_the_plain_model() {
    compare_every_small_plan(Scenario::MultiStream, &[1, 2, 3, 7]);
}

#[test]
fn every_small_plan_of_server_equals_the_plain_model() {
    compare_every_small_plan(Scenario::Server, &[1]);
}

#[test]
fn every_small_plan_of_offline_equals_the_plain_model() {
    compare_every_small_plan(Scenario::Offline, &[1]);
}

#[test]
fn unique_and_same_exclude_each_other_and_only_server_has_a_peak() {
    for scenario in Scenario::ALL {
        let case = Case {
            unique: true,
            same: Some(0),
            ..Case::plain(scenario)
        };
        let refused = case.plan().unwrap_err();
        assert!(matches!(refused, PlanError::Setting(_)), "{refused}");
        let peak = Case {
            mode: TestMode::FindPeakPerformance,
            ..Case::plain(scenario)
        };
        let is_refused = matches!(peak.plan(), Err(PlanError::PeakNeedsServer { .. }));
        assert_eq!(is_refused, scenario != Scenario::Server);
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    let sizes = (1_usize..90, 1_usize..90, 1_u64..300, 1_u64..12, 0_u64..60);
    let kinds = (0_usize..4, 0_usize..3, 0..FLAGS.len(), 0_usize..3);
    let sizes = (sizes, (0_u64..2, 0_u64..90, 0_u64..90, 0_u64..40));
    (sizes, kinds, any::<[u64; 3]>()).prop_map(|((sizes, more), kinds, seeds)| {
        let (total, performance, minimum, multi_stream, duration_ms) = sizes;
        let (unique, same, permutations) = FLAGS[kinds.2];
        let modes: Vec<TestMode> = modes(Scenario::SingleStream).collect();
        Case {
            scenario: Scenario::ALL[kinds.0],
            mode: modes[kinds.3],
            total,
            performance,
            overrides: (more.0 * more.1, more.0 * more.2),
            logged: more.3,
            minimum,
            multi_stream,
            duration_ms,
            unique,
            same,
            permutations,
            compat: CompatProfile::ALL[kinds.1],
            seeds,
        }
    })
}

proptest! {
    #[test]
    fn any_plan_equals_the_plain_model(case in any_case()) {
        compare(&case);
    }

    #[test]
    fn arrivals_ascend_from_zero(case in any_case()) {
        let Ok(plan) = case.plan() else { return Ok(()) };
        for set in plan.sets() {
            let mut stream = plan.queries(set);
            prop_assert_eq!(stream.begin_query(), Some(Latency::ZERO));
            let mut previous = Latency::ZERO;
            while let Some(scheduled) = stream.begin_query() {
                prop_assert!(scheduled >= previous);
                previous = scheduled;
            }
            prop_assert!(stream.duration() >= previous);
        }
    }

    #[test]
    fn accuracy_mode_issues_every_sample_and_repeats_only_padding(case in any_case()) {
        let mode = TestMode::AccuracyOnly;
        let case = Case {
            mode,
            overrides: (case.overrides.0, 0),
            unique: false,
            same: None,
            permutations: false,
            ..case
        };
        let plan = case.plan().unwrap();
        let mut count = vec![0_u64; case.total];
        for set in plan.sets() {
            prop_assert_eq!(set.phase, Phase::Accuracy);
            let mut stream = plan.queries(set);
            let mut samples = Vec::new();
            while stream.next(&mut samples).is_some() {
                for sample in &samples {
                    count[sample.as_usize()] += 1;
                }
            }
        }
        prop_assert!(count.iter().all(|&n| n >= 1));
        if case.scenario != Scenario::MultiStream {
            prop_assert!(count.iter().all(|&n| n == 1));
        }
    }

    #[test]
    fn reading_in_pieces_gives_the_same_samples(case in any_case(), piece in 1_usize..50) {
        let Ok(plan) = case.plan() else { return Ok(()) };
        for set in plan.sets() {
            let (mut whole, mut pieces) = (plan.queries(set), plan.queries(set));
            let mut samples = Vec::new();
            while whole.next(&mut samples).is_some() {
                prop_assert!(pieces.begin_query().is_some());
                let mut read = Vec::new();
                while pieces.read_samples(piece, &mut read) > 0 {}
                prop_assert_eq!(&read, &samples);
            }
            prop_assert!(pieces.begin_query().is_none());
        }
    }
}

#[test]
fn offline_order_does_not_depend_on_the_sample_seed() {
    let case = Case {
        minimum: 100,
        seeds: [4, 5, 6],
        ..Case::plain(Scenario::Offline)
    };
    let other = Case {
        seeds: [4, 7, 6],
        ..case
    };
    assert_eq!(
        planned_sets(&case.plan().unwrap()),
        planned_sets(&other.plan().unwrap())
    );
}

#[test]
fn a_hundred_million_offline_samples_need_no_list() {
    let settings = TestSettings {
        min_query_count: 100_000_000,
        ..TestSettings::default()
    };
    let (scenario, mode) = (Scenario::Offline, TestMode::PerformanceOnly);
    let plan = Plan::new(&settings, scenario, mode, 5000, 1000, CompatProfile::V6).unwrap();
    let set = &plan.sets()[0];
    let mut stream = plan.queries(set);
    assert_eq!(stream.begin_query(), Some(Latency::ZERO));
    let mut buffer = Vec::with_capacity(1000);
    let mut count = 0;
    loop {
        buffer.clear();
        if stream.read_samples(1000, &mut buffer) == 0 {
            break;
        }
        assert!(buffer[..] == set.indices[..]);
        count += buffer.len();
    }
    assert_eq!(count, 100_000_000);
    assert_eq!(buffer.capacity(), 1000);
}

#[test]
fn numbers_go_on_from_set_to_set_and_from_accuracy_to_performance() {
    let settings = TestSettings {
        min_duration_ms: 0,
        ..TestSettings::default()
    };
    let (scenario, mode) = (Scenario::MultiStream, TestMode::SubmissionRun);
    let plan = Plan::new(&settings, scenario, mode, 20, 12, CompatProfile::V6).unwrap();
    let phases: Vec<Phase> = plan.sets().iter().map(|set| set.phase).collect();
    assert_eq!(
        phases,
        [Phase::Accuracy, Phase::Accuracy, Phase::Performance]
    );
    let first: Vec<(u64, u32)> = plan
        .first_ids()
        .iter()
        .map(|ids| (ids.query, ids.sample.0))
        .collect();
    // Sets of 12 and 8 samples in queries of 8: two queries and one.
    assert_eq!(first, [(0, 0), (2, 16), (3, 24)]);
}

#[test]
fn what_would_never_end_is_refused() {
    let plan = |key: &str, value: &str, scenario| {
        let mut settings = TestSettings::default();
        settings.set(key, value).unwrap();
        let mode = TestMode::PerformanceOnly;
        let plan = |settings: &TestSettings| {
            Plan::new(settings, scenario, mode, 64, 16, CompatProfile::V6).map(|_| ())
        };
        // Rounding up to whole permutations must not overflow either.
        let permuted = TestSettings {
            sample_concatenate_permutation: true,
            ..settings.clone()
        };
        assert_eq!(plan(&settings).is_err(), plan(&permuted).is_err());
        plan(&settings)
    };
    for (key, value, scenario) in [
        // A period below a nanosecond is cut to none, and so are nearly all of Server's gaps.
        (
            "single_stream_expected_latency_ns",
            "0.5",
            Scenario::SingleStream,
        ),
        ("server_target_qps", "1e12", Scenario::Server),
        ("offline_expected_qps", "1e12", Scenario::Offline),
        ("offline_expected_qps", "1e300", Scenario::Offline),
        (
            "multi_stream_samples_per_query",
            "4294967296",
            Scenario::MultiStream,
        ),
        (
            "multi_stream_samples_per_query",
            "1000000000",
            Scenario::MultiStream,
        ),
    ] {
        let error = plan(key, value, scenario).unwrap_err();
        assert!(
            matches!(error, PlanError::TooManySamples { .. }),
            "{key}: {error}"
        );
    }
    let error = plan(
        "single_stream_expected_latency_ns",
        "1e-300",
        Scenario::SingleStream,
    );
    assert!(matches!(error, Err(PlanError::NoRate { .. })));
}
