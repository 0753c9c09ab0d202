//! Every scenario from settings to verdict on virtual time.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::clock::Simulated as Clockwork;
use crate::drive::{run_set, Control, Stand, Tells};
use crate::plan::Plan;
use crate::scenario::TestMode;
use crate::settings::compat::CompatProfile;
use crate::settings::test_settings::TestSettings;
use crate::sut::simulated::{Faults, ServiceTime, Simulated, Simulation};
use crate::units::SampleId;

fn ms(value: u64) -> Latency {
    Latency::from_millis(value)
}

fn servers(count: usize, service_ms: u64) -> Simulation {
    Simulation {
        servers: count,
        batch_size: 1,
        service: ServiceTime::Fixed(ms(service_ms)),
        seed: 3,
        faults: Faults::default(),
    }
}

fn run(scenario: Scenario, settings: &[(&str, &str)], simulation: Simulation) -> Summary {
    run_by(scenario, settings, simulation, Rules::MLPERF)
}

fn run_by(
    scenario: Scenario,
    settings: &[(&str, &str)],
    simulation: Simulation,
    rules: Rules,
) -> Summary {
    let mut test = TestSettings::default();
    for (key, value) in settings {
        test.set(key, value).unwrap();
    }
    let mode = TestMode::PerformanceOnly;
    let plan = Plan::new(&test, scenario, mode, 64, 16, CompatProfile::V6).unwrap();
    let clock = Clockwork::new();
    let mut sut = Simulated::new(clock.clone(), simulation);
    let mut stand = Stand {
        sut: &mut sut,
        tells: Tells {
            stages: true,
            preprocess: false,
        },
        clock: &clock,
        control: Control {
            interrupted: &AtomicBool::new(false),
            no_progress_limit: ms(60_000),
        },
        observe: &mut |_| {},
    };
    let (record, ending) = run_set(&plan, &plan.sets()[0], SampleId(0), &mut stand);
    conclude(record, plan.effective(), ending.unwrap(), rules)
}

#[test]
fn single_stream_is_judged_by_its_percentile_and_its_length() {
    let settings = [("single_stream_expected_latency_ns", "5000000")];
    let summary = run(Scenario::SingleStream, &settings, servers(1, 10));
    assert_eq!(summary.verdict, Verdict::Valid);
    assert_eq!(summary.target, (Quantile::P90, Some(ms(10))));
    // One query each 10 ms for 10 s, and the one whose issue ends the run.
    assert_eq!(summary.query_count, 1_001);
    assert!((summary.samples_per_second.unwrap() - 100.0).abs() < 1e-9);
    let stages = summary.stages.unwrap();
    assert_eq!(stages.inference.p50, ms(10));
    assert_eq!(stages.queue.max, Latency::ZERO);
}

#[test]
fn a_closed_run_whose_queries_ran_out_is_too_short_and_says_what_helps() {
    let settings = [("single_stream_expected_latency_ns", "500000000")];
    let summary = run(Scenario::SingleStream, &settings, servers(1, 10));
    let reasons = summary.verdict.reasons();
    assert!(
        matches!(reasons, [Reason::MinDuration { .. }]),
        "{reasons:?}"
    );
    assert!(reasons[0]
        .to_string()
        .contains("lower the expected latency"));
}

#[test]
fn multi_stream_is_judged_by_whole_queries() {
    let settings = [
        ("multi_stream_samples_per_query", "4"),
        ("multi_stream_expected_latency_ns", "10000000"),
        ("min_query_count", "662"),
    ];
    let summary = run(Scenario::MultiStream, &settings, servers(2, 10));
    assert_eq!(summary.verdict, Verdict::Valid);
    assert_eq!(summary.query_latency.unwrap().p99, ms(20));
    assert_eq!(summary.target, (Quantile::P99, Some(ms(20))));
    assert_eq!(summary.latency.unwrap().p50, ms(20));
    assert_eq!(summary.latency.unwrap().min, ms(10));
    assert_eq!(summary.sample_count, 4 * summary.query_count);
}

#[test]
fn server_at_half_load_is_valid_and_an_overloaded_one_is_not() {
    let calm = [("server_target_qps", "100"), ("min_duration_ms", "20000")];
    let summary = run(Scenario::Server, &calm, servers(2, 10));
    assert_eq!(
        summary.verdict,
        Verdict::Valid,
        "{:?}",
        summary.verdict.reasons()
    );
    assert_eq!(summary.issue_delay.unwrap().max, Latency::ZERO);

    let flooded = [("server_target_qps", "250"), ("min_duration_ms", "20000")];
    let summary = run(Scenario::Server, &flooded, servers(2, 10));
    let reasons = summary.verdict.reasons();
    assert!(matches!(
        reasons,
        [Reason::LatencyBound { .. }, Reason::EarlyStopping { .. }]
    ));
    // 250 a second against 200: after 20 s a fifth of the queries waits, some 4 s.
    let max = summary.latency.unwrap().max;
    assert!(max > ms(3_000) && max < ms(6_000), "{max}");
}

#[test]
fn offline_counts_throughput_and_must_last() {
    let settings = [("offline_expected_qps", "200")];
    let summary = run(Scenario::Offline, &settings, servers(2, 10));
    assert_eq!(summary.verdict, Verdict::Valid);
    assert_eq!(summary.query_count, 1);
    assert_eq!(summary.sample_count, 2_200);
    assert!((summary.samples_per_second.unwrap() - 200.0).abs() < 1e-9);
    assert_eq!(summary.early_stopping, EarlyStopping::NotApplicable);

    let short = run(
        Scenario::Offline,
        &[("offline_expected_qps", "20")],
        servers(2, 10),
    );
    assert!(matches!(
        short.verdict.reasons(),
        [Reason::MinDuration { .. }]
    ));
}

#[test]
fn a_lost_answer_is_a_reasoned_invalid_with_its_figures_kept() {
    let mut lossy = servers(2, 10);
    lossy.faults.lost.insert(17);
    let settings = [("server_target_qps", "100"), ("min_duration_ms", "10000")];
    let summary = run(Scenario::Server, &settings, lossy);
    assert!(matches!(
        summary.verdict.reasons()[0],
        Reason::Unanswered { outstanding: 1, .. }
    ));
    assert_eq!(summary.completed_count, summary.sample_count - 1);
    assert!(summary.latency.is_some());
}

#[test]
fn relaxed_rules_report_early_stopping_without_requiring_it() {
    let settings = [("server_target_qps", "100"), ("min_duration_ms", "1000")];
    let strict = run(Scenario::Server, &settings, servers(2, 10));
    assert!(matches!(
        strict.verdict.reasons(),
        [Reason::EarlyStopping { .. }]
    ));
    let relaxed = Rules {
        early_stopping_required: false,
        ..Rules::MLPERF
    };
    let summary = run_by(Scenario::Server, &settings, servers(2, 10), relaxed);
    assert_eq!(summary.verdict, Verdict::Valid);
    assert!(!summary.early_stopping.is_met());
}

#[test]
fn a_generator_that_is_late_by_a_tenth_of_the_bound_says_so() {
    let settings = [
        ("server_target_qps", "100"),
        ("min_duration_ms", "10000"),
        ("server_target_latency_ns", "100000000"),
    ];
    let mut slow = servers(4, 1);
    slow.faults.issue_cost = ms(9);
    let summary = run(Scenario::Server, &settings, slow);
    let late = summary.late_issue().unwrap();
    assert_eq!(late.bound, ms(100));
    assert!(late.delay_p99 > ms(10), "{late}");
    assert_eq!(
        run(Scenario::Server, &settings, servers(4, 1)).late_issue(),
        None
    );
}

#[test]
fn a_query_that_lost_an_answer_has_no_latency_and_leaves_the_others_theirs() {
    let mut lossy = servers(4, 10);
    lossy.faults.lost.insert(5);
    let settings = [
        ("multi_stream_samples_per_query", "4"),
        ("min_duration_ms", "0"),
    ];
    let summary = run(Scenario::MultiStream, &settings, lossy);
    assert_eq!(summary.query_count, 2);
    assert_eq!(summary.query_latency.unwrap().count, 1);
    assert_eq!(summary.query_latency.unwrap().max, ms(10));
}

#[test]
fn the_completed_rate_ends_with_the_query_issued_last_and_not_with_the_last_answer() {
    let settings = [
        ("server_target_qps", "100"),
        ("min_duration_ms", "0"),
        ("min_query_count", "2"),
    ];
    let mut uneven = servers(2, 1);
    uneven.service = ServiceTime::Recorded(vec![ms(100), ms(1)]);
    let summary = run(Scenario::Server, &settings, uneven);
    // The first gap of seed 0 at 100 queries a second, by the specification.
    let second = Latency::from_nanos(8_985_603);
    assert_eq!(summary.elapsed, ms(100));
    assert_eq!(summary.last_answered, Some(second + ms(1)));
    assert!((summary.completed_rate() - 1e9 / 9_985_603.0).abs() < 1e-6);
    assert!((summary.scheduled_rate() - 1e9 / 8_985_603.0).abs() < 1e-6);
}
