//! The plan against a plain model of LoadGen's generation that keeps everything in lists, for
//! every small combination of settings; and properties that hold for any plan.

use detbench::plan::{Phase, Plan, PlanError};
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
    accuracy: bool,
    total: usize,
    performance: usize,
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
        let mode = if self.accuracy {
            TestMode::AccuracyOnly
        } else {
            TestMode::PerformanceOnly
        };
        let settings = self.settings();
        Plan::new(
            &settings,
            self.scenario,
            mode,
            self.total,
            self.performance,
            self.compat,
        )
    }

    fn stream(&self, n: usize) -> RandomStream {
        RandomStream::new(self.seeds[n], self.compat.bounded_draw())
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

/// The sets to load, each with its length before padding.
fn model_sets(case: &Case) -> Vec<(Vec<u32>, usize)> {
    let wanted = if case.accuracy {
        case.total
    } else {
        case.performance
    };
    let permuted = match case.compat {
        CompatProfile::V6 => wanted.min(case.total),
        CompatProfile::V5 | CompatProfile::V4Gcc10 => case.total,
    };
    let mut all: Vec<u32> = (0..permuted as u32).collect();
    case.stream(0).shuffle(&mut all);
    let mut sets = Vec::new();
    for group in all.chunks(case.performance) {
        let mut padded = group.to_vec();
        if case.scenario == Scenario::MultiStream {
            for i in 0..case.multi_stream as usize - 1 {
                let sample = padded[i];
                padded.push(sample);
            }
        }
        sets.push((padded, group.len()));
    }
    if !case.accuracy {
        sets.truncate(1);
    }
    sets
}

fn model_samples_per_query(case: &Case, dist_end: usize) -> u64 {
    match case.scenario {
        Scenario::SingleStream | Scenario::Server => 1,
        Scenario::MultiStream => case.multi_stream,
        Scenario::Offline if case.accuracy => dist_end as u64,
        Scenario::Offline if case.unique => case.performance as u64,
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
fn model_set(case: &Case, loaded: &[u32], dist_end: usize) -> Set {
    let k = loaded.len() as u64;
    let server = case.scenario == Scenario::Server;
    let offline = case.scenario == Scenario::Offline;
    let multi_stream = case.scenario == Scenario::MultiStream;
    let mut s = model_samples_per_query(case, dist_end);
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
    if case.accuracy || case.unique {
        span = 0;
        minimum = k / s;
    }
    let stride = if multi_stream { s as usize } else { 1 };
    let mut draws = case.stream(1);
    let starts: Vec<u32> = (0..dist_end as u32).step_by(stride).collect();
    let mut each_once = starts.clone();
    if case.accuracy {
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
    if case.permutations && !case.accuracy {
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
                let mut repeat = loaded.to_vec();
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
            } else if case.accuracy {
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
        loaded: loaded.to_vec(),
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

/// Compares one case and says whether there was a plan to compare.
fn compare(case: &Case) -> bool {
    let sets = model_sets(case);
    let smallest = sets.iter().map(|(_, dist_end)| *dist_end).min().unwrap();
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
            let nothing = |(loaded, dist_end): &(Vec<u32>, usize)| {
                model_set(case, loaded, *dist_end)
                    .queries
                    .iter()
                    .all(|(_, q)| q.is_empty())
            };
            assert!(sets.iter().any(nothing), "{case:?} issues something");
            return false;
        }
    };
    let expected: Vec<Set> = sets
        .iter()
        .map(|(loaded, dist_end)| model_set(case, loaded, *dist_end))
        .collect();
    assert_eq!(planned_sets(&plan), expected, "{case:?}");
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

#[test]
fn every_small_plan_equals_the_plain_model() {
    let mut compared = 0;
    for scenario in Scenario::ALL {
        let multi_streams: &[u64] = if scenario == Scenario::MultiStream {
            &[1, 2, 3, 7]
        } else {
            &[1]
        };
        for compat in CompatProfile::ALL {
            for accuracy in [false, true] {
                for (unique, same, permutations) in FLAGS {
                    for total in [1, 2, 3, 5, 8] {
                        for performance in [1, 2, 3, 5, 9] {
                            for &multi_stream in multi_streams {
                                for (minimum, duration_ms) in [(1, 0), (2, 9), (7, 0), (13, 4)] {
                                    let case = Case {
                                        scenario,
                                        accuracy,
                                        total,
                                        performance,
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
    }
    assert!(compared > 20_000, "only {compared} plans could be compared");
}

fn any_case() -> impl Strategy<Value = Case> {
    let sizes = (1_usize..90, 1_usize..90, 1_u64..300, 1_u64..12, 0_u64..60);
    let kinds = (0_usize..4, 0_usize..3, 0..FLAGS.len());
    (sizes, kinds, any::<bool>(), any::<[u64; 3]>()).prop_map(|(sizes, kinds, accuracy, seeds)| {
        let (total, performance, minimum, multi_stream, duration_ms) = sizes;
        let (unique, same, permutations) = FLAGS[kinds.2];
        Case {
            scenario: Scenario::ALL[kinds.0],
            accuracy,
            total,
            performance,
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
        let case = Case { accuracy: true, unique: false, same: None, permutations: false, ..case };
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
        scenario: Scenario::Offline,
        accuracy: false,
        total: 64,
        performance: 16,
        minimum: 100,
        multi_stream: 1,
        duration_ms: 0,
        unique: false,
        same: None,
        permutations: false,
        compat: CompatProfile::V6,
        seeds: [4, 5, 6],
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
        Plan::new(&settings, scenario, mode, 64, 16, CompatProfile::V6).map(|_| ())
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
