//! Server queries that leave from several threads: real time, systems that answer at once.
//!
//! No test here depends on how fast the machine is; each ends by itself within a second or two.

use std::sync::atomic::{AtomicBool, Ordering};

use detbench::clock::{Clock, Monotonic, Simulated as VirtualClock};
use detbench::drive::{run_set, Control, Ending, Progress, Stand, Tells};
use detbench::issue::IssueEnd;
use detbench::plan::Plan;
use detbench::record::{Completion, Record, Stages};
use detbench::report::raw;
use detbench::scenario::{Scenario, TestMode};
use detbench::settings::compat::CompatProfile;
use detbench::settings::test_settings::TestSettings;
use detbench::sut::null::Null;
use detbench::sut::{Desk, SutError, SystemUnderTest};
use detbench::units::{Latency, QuerySample, SampleId, Timestamp};

fn plan(scenario: Scenario, settings: &str) -> Plan {
    let mut asked = TestSettings::default();
    for pair in settings.split_whitespace() {
        let (key, value) = pair.split_once('=').unwrap();
        asked.set(key, value).unwrap();
    }
    let mode = TestMode::PerformanceOnly;
    Plan::new(&asked, scenario, mode, 64, 16, CompatProfile::V6).unwrap()
}

fn run(
    plan: &Plan,
    sut: &mut dyn SystemUnderTest,
    clock: &dyn Clock,
    interrupted: &AtomicBool,
    observe: &mut dyn FnMut(&Progress<'_>),
) -> (Record, Result<Ending, SutError>) {
    let mut stand = Stand {
        sut,
        tells: Tells::default(),
        clock,
        control: Control {
            interrupted,
            no_progress_limit: Latency::from_millis(300),
        },
        observe,
    };
    run_set(plan, &plan.sets()[0], SampleId(5), &mut stand)
}

fn run_null(plan: &Plan) -> (Record, Ending) {
    let clock = Monotonic::new();
    let mut null = Null::new(clock);
    let never = AtomicBool::new(false);
    let (record, ending) = run(plan, &mut null, &clock, &never, &mut |_| {});
    (record, ending.unwrap())
}

/// The columns of the raw latencies that follow from the plan.
fn planned_columns(plan: &Plan, record: &Record) -> Vec<String> {
    let mut csv = Vec::new();
    raw::write_csv(&mut csv, plan, &plan.sets()[0], record).unwrap();
    let text = String::from_utf8(csv).unwrap();
    let first_four = |line: &str| line.split(',').take(4).collect::<Vec<_>>().join(",");
    text.lines().map(first_four).collect()
}

#[test]
fn several_threads_issue_what_one_issues() {
    let settings = "min_query_count=1000 min_duration_ms=0 server_target_qps=1000000";
    let one = plan(Scenario::Server, settings);
    let (whole, _) = run_null(&one);
    for threads in [1, 2, 3, 7] {
        let own = format!("{settings} server_num_issue_query_threads={threads}");
        let plan = plan(Scenario::Server, &own);
        let (record, ending) = run_null(&plan);
        assert_eq!(ending, Ending::Complete(IssueEnd::Exhausted));
        assert_eq!((record.query_count(), record.outstanding()), (1_000, 0));
        assert_eq!(record.completion_errors().1, 0);
        assert_eq!(record.issue_delays().len(), 1_000);
        assert_eq!(record.last_scheduled(), whole.last_scheduled());
        assert_eq!(
            planned_columns(&plan, &record),
            planned_columns(&one, &whole)
        );
    }
}

#[test]
fn a_bound_on_the_queries_is_divided_between_the_threads() {
    let settings = "min_query_count=100 max_query_count=8 min_duration_ms=0 \
                    server_target_qps=1000000 server_num_issue_query_threads=3";
    let plan = plan(Scenario::Server, settings);
    let (record, ending) = run_null(&plan);
    assert_eq!(ending, Ending::Complete(IssueEnd::QueryCountMax));
    assert_eq!(record.query_count(), 8);
    let issued: Vec<u64> = (0..100).filter(|&query| record.was_issued(query)).collect();
    assert_eq!(issued, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn other_scenarios_have_one_loop_whatever_the_setting() {
    let settings = "min_query_count=20 min_duration_ms=0 server_num_issue_query_threads=4";
    for scenario in [
        Scenario::SingleStream,
        Scenario::MultiStream,
        Scenario::Offline,
    ] {
        let plan = plan(scenario, settings);
        assert_eq!(plan.effective().issue_threads(), 1);
        let (record, _) = run_null(&plan);
        assert_eq!(record.outstanding(), 0);
    }
}

#[test]
fn virtual_time_has_one_loop_that_issues_everything() {
    let settings = "min_query_count=50 min_duration_ms=0 server_num_issue_query_threads=4";
    let plan = plan(Scenario::Server, settings);
    let clock = VirtualClock::new();
    let mut null = Null::new(clock.clone());
    let never = AtomicBool::new(false);
    let (record, ending) = run(&plan, &mut null, &clock, &never, &mut |_| {});
    assert_eq!(ending, Ok(Ending::Complete(IssueEnd::Exhausted)));
    assert_eq!((record.query_count(), record.outstanding()), (50, 0));
}

/// Ten minutes of queries: the run ends early or the test is stuck.
const LONG: &str = "min_duration_ms=600000 server_target_qps=200 server_num_issue_query_threads=3";

#[test]
fn an_interrupt_ends_all_threads_and_keeps_what_was_measured() {
    let plan = plan(Scenario::Server, LONG);
    let clock = Monotonic::new();
    let mut null = Null::new(clock);
    let interrupted = AtomicBool::new(false);
    let mut interrupt = |_: &Progress<'_>| interrupted.store(true, Ordering::Relaxed);
    let (record, ending) = run(&plan, &mut null, &clock, &interrupted, &mut interrupt);
    assert_eq!(ending, Ok(Ending::Interrupted));
    assert!(record.query_count() > 0);
    // What was issued is found again in the plan, whichever thread was ahead.
    let lines = planned_columns(&plan, &record);
    assert_eq!(lines.len() as u64, record.query_count() + 1);
}

/// Answers at once, but for one desk, which fails or falls silent after some queries.
struct OneBadDesk {
    clock: Monotonic,
    bad: usize,
    fails: bool,
}

struct BadDesk {
    null: Null<Monotonic>,
    left: u32,
    fails: bool,
}

impl SystemUnderTest for OneBadDesk {
    fn name(&self) -> &'static str {
        "one bad desk"
    }

    fn issue(&mut self, _: &[QuerySample], _: &mut Vec<Completion>) {
        unreachable!("every thread has its desk");
    }

    fn poll(&mut self, _: &mut Vec<Completion>) -> Result<(), SutError> {
        unreachable!("every thread has its desk");
    }

    fn wait(&mut self, _: Timestamp, _: &mut Vec<Completion>) -> Result<(), SutError> {
        unreachable!("every thread has its desk");
    }

    fn desks(&mut self, count: usize) -> Option<Vec<Desk<'_>>> {
        let desk = |number| BadDesk {
            null: Null::new(self.clock),
            left: if number == self.bad { 3 } else { u32::MAX },
            fails: self.fails,
        };
        Some(
            (0..count)
                .map(|number| Box::new(desk(number)) as _)
                .collect(),
        )
    }
}

impl SystemUnderTest for BadDesk {
    fn name(&self) -> &'static str {
        "desk"
    }

    fn issue(&mut self, samples: &[QuerySample], inbox: &mut Vec<Completion>) {
        if self.left > 0 {
            self.left -= 1;
            self.null.issue(samples, inbox);
        }
    }

    fn poll(&mut self, _: &mut Vec<Completion>) -> Result<(), SutError> {
        if self.left == 0 && self.fails {
            return Err(SutError::WorkerLost);
        }
        Ok(())
    }

    fn wait(&mut self, deadline: Timestamp, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        self.null.wait(deadline, inbox)
    }
}

#[test]
fn one_desk_that_fails_or_falls_silent_ends_the_whole_run() {
    for bad in 0..3 {
        for fails in [true, false] {
            let plan = plan(Scenario::Server, LONG);
            let clock = Monotonic::new();
            let mut sut = OneBadDesk { clock, bad, fails };
            let never = AtomicBool::new(false);
            let (record, ending) = run(&plan, &mut sut, &clock, &never, &mut |_| {});
            if fails {
                assert_eq!(ending, Err(SutError::WorkerLost));
            } else {
                assert!(
                    matches!(ending, Ok(Ending::NoProgress { outstanding, .. }) if outstanding > 0),
                    "{ending:?}"
                );
            }
            assert!(record.completed_count() >= 3);
        }
    }
}

#[test]
fn an_answer_at_the_wrong_desk_is_an_error() {
    /// Answers with the number of the sample before.
    struct Confused(Monotonic);
    impl SystemUnderTest for Confused {
        fn name(&self) -> &'static str {
            "confused"
        }

        fn issue(&mut self, samples: &[QuerySample], inbox: &mut Vec<Completion>) {
            let at = self.0.now();
            inbox.extend(samples.iter().map(|sample| Completion {
                id: SampleId(sample.id.0 - 1),
                at,
                stages: Stages::default(),
            }));
        }

        fn poll(&mut self, _: &mut Vec<Completion>) -> Result<(), SutError> {
            Ok(())
        }

        fn wait(&mut self, _: Timestamp, _: &mut Vec<Completion>) -> Result<(), SutError> {
            Ok(())
        }

        fn desks(&mut self, count: usize) -> Option<Vec<Desk<'_>>> {
            let clock = self.0;
            Some((0..count).map(|_| Box::new(Confused(clock)) as _).collect())
        }
    }
    let settings = "min_query_count=20 min_duration_ms=0 server_target_qps=1000000 \
                    server_num_issue_query_threads=2";
    let plan = plan(Scenario::Server, settings);
    let clock = Monotonic::new();
    let never = AtomicBool::new(false);
    let (record, ending) = run(&plan, &mut Confused(clock), &clock, &never, &mut |_| {});
    assert!(
        matches!(ending, Ok(Ending::NoProgress { .. })),
        "{ending:?}"
    );
    assert_eq!(record.completed_count(), 0);
    assert_eq!(record.completion_errors().1, record.query_count());
}
