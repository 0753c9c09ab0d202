//! Every scenario on virtual time, and the faults that a real machine would take hours to show.

use std::collections::BTreeSet;

use super::*;
use crate::clock::Simulated as Clockwork;
use crate::issue::{IssueRules, Pacing};
use crate::record::Keep;
use crate::sut::null::Null;
use crate::sut::simulated::{Faults, ServiceTime, Simulated, Simulation};
use crate::units::{QuerySample, SampleId, SampleIndex};

/// `count` queries of `size` samples, `gap` apart.
struct Even {
    count: u64,
    size: u32,
    gap: Latency,
    made: u64,
    unread: u32,
}

impl QuerySource for Even {
    fn begin_query(&mut self) -> Option<Latency> {
        if self.made == self.count {
            return None;
        }
        self.made += 1;
        self.unread = self.size;
        Some(Latency::from_nanos(self.gap.as_nanos() * (self.made - 1)))
    }

    fn read_samples(&mut self, _limit: usize, samples: &mut Vec<SampleIndex>) {
        samples.extend((0..std::mem::take(&mut self.unread)).map(SampleIndex));
    }
}

const MS: u64 = 1_000_000;

fn ms(value: u64) -> Latency {
    Latency::from_millis(value)
}

fn steady() -> Simulation {
    Simulation {
        servers: 1,
        batch_size: 1,
        service: ServiceTime::Fixed(ms(10)),
        seed: 1,
        faults: Faults::default(),
    }
}

struct Run {
    ending: Ending,
    record: Record,
    latencies_ms: Vec<Option<u64>>,
}

fn run(pacing: Pacing, queries: (u64, u32, Latency), simulation: Simulation) -> Run {
    let clock = Clockwork::new();
    clock.advance(ms(5));
    let start = clock.now();
    let (count, size, gap) = queries;
    let source = Even {
        count,
        size,
        gap,
        made: 0,
        unread: 0,
    };
    let rules = IssueRules {
        pacing,
        query_count_min: count.min(4),
        target_duration: ms(100),
        query_count_max: None,
        duration_max: None,
        accuracy: false,
    };
    let keep = Keep {
        schedule: true,
        issue_delay: true,
        stages: true,
        ..Keep::default()
    };
    let mut issuer = Issuer::new(source, rules, start, SampleId(0));
    let mut record = Record::new(start, SampleId(0), keep, 16, size);
    let mut sut = Simulated::new(clock.clone(), simulation);
    let control = Control {
        interrupted: &AtomicBool::new(false),
        no_progress_limit: ms(1_000),
    };
    let ending = drive(
        &mut issuer,
        &mut sut,
        &clock,
        &mut record,
        &control,
        &mut |_| {},
    )
    .unwrap();
    let latencies_ms = record
        .latencies()
        .map(|latency| latency.map(|latency| latency.as_nanos() / MS))
        .collect();
    Run {
        ending,
        record,
        latencies_ms,
    }
}

const OPEN: Pacing = Pacing::Open {
    coalesce: false,
    outstanding_max: None,
};

#[test]
fn single_stream_issues_the_next_query_when_the_last_one_is_answered() {
    let run = run(Pacing::Closed, (1_000, 1, ms(1)), steady());
    assert_eq!(run.ending, Ending::Complete(IssueEnd::Naturally));
    // Issues at 0, 10, …, 100 ms: the first issue at or after the target duration is the last.
    assert_eq!(run.latencies_ms, vec![Some(10); 11]);
    let starts: Vec<_> = run
        .record
        .query_starts()
        .map(|at| at.as_nanos() / MS)
        .collect();
    assert_eq!(starts, (0..=10).map(|k| k * 10).collect::<Vec<_>>());
    assert_eq!(run.record.elapsed(), ms(110));
}

#[test]
fn multi_stream_waits_for_the_last_sample_of_a_query() {
    let two_servers = Simulation {
        servers: 2,
        ..steady()
    };
    let run = run(Pacing::Closed, (1_000, 3, ms(1)), two_servers);
    assert_eq!(
        run.latencies_ms[..6],
        [Some(10), Some(10), Some(20), Some(10), Some(10), Some(20)]
    );
    assert_eq!(run.record.query_count() * 3, run.record.sample_count());
}

#[test]
fn offline_counts_every_sample_from_the_start() {
    let batches = Simulation {
        batch_size: 2,
        ..steady()
    };
    let run = run(Pacing::Burst, (1, 5, ms(0)), batches);
    assert_eq!(run.ending, Ending::Complete(IssueEnd::Exhausted));
    assert_eq!(
        run.latencies_ms,
        [Some(10), Some(10), Some(20), Some(20), Some(30)]
    );
}

#[test]
fn server_issues_on_schedule_whatever_is_outstanding() {
    // A server of 10 ms at one query each 5 ms falls behind by 5 ms a query.
    let run = run(OPEN, (6, 1, ms(5)), steady());
    assert_eq!(run.latencies_ms, [10, 15, 20, 25, 30, 35].map(Some));
    assert!(run
        .record
        .issue_delays()
        .all(|delay| delay == Latency::ZERO));
}

#[test]
fn a_stall_is_charged_to_every_query_scheduled_during_it() {
    let mut stalled = steady();
    stalled.faults.stall = Some((
        Timestamp::from_nanos(25 * MS),
        Timestamp::from_nanos(105 * MS),
    ));
    let run = run(OPEN, (6, 1, ms(20)), stalled);
    // The run starts at 5 ms; queries leave at 5, 25, 45, …; the stall ends at 105.
    assert_eq!(run.latencies_ms, [10, 90, 80, 70, 60, 50].map(Some));
}

/// Mutant: latency counted from the issue instead of the schedule. A stalled server does not
/// catch it, since issuing is instant there; an issue call that itself takes time does.
/// (Recording `at` instead of `query.scheduled` in `Record::issued` fails this test.)
#[test]
fn an_issue_call_that_takes_time_delays_later_queries_and_the_delay_counts() {
    let mut slow_issue = steady();
    slow_issue.faults.issue_cost = ms(30);
    slow_issue.service = ServiceTime::Fixed(ms(1));
    let run = run(OPEN, (4, 1, ms(10)), slow_issue);
    // Scheduled at 0, 10, 20, 30; issued at 0, 30, 60, 90; answered 31 ms after each issue.
    assert_eq!(run.latencies_ms, [31, 51, 71, 91].map(Some));
    let delays: Vec<_> = run
        .record
        .issue_delays()
        .map(|delay| delay.as_nanos() / MS)
        .collect();
    assert_eq!(delays, [0, 20, 40, 60]);
}

#[test]
fn a_lost_answer_ends_the_run_with_its_reason_instead_of_hanging() {
    let mut lossy = steady();
    lossy.faults.lost = BTreeSet::from([2]);
    let closed = run(Pacing::Closed, (1_000, 1, ms(1)), lossy.clone());
    assert!(matches!(
        closed.ending,
        Ending::NoProgress { outstanding: 1, .. }
    ));
    let open = run(OPEN, (6, 1, ms(5)), lossy);
    assert!(
        matches!(open.ending, Ending::NoProgress { outstanding: 1, silent } if silent > ms(1_000))
    );
    assert_eq!(open.latencies_ms.iter().flatten().count(), 5);
}

#[test]
fn an_answer_that_comes_twice_is_an_error_that_changes_no_figure() {
    let mut doubled = steady();
    doubled.faults.duplicated = BTreeSet::from([1, 3]);
    let twice = run(OPEN, (6, 1, ms(5)), doubled);
    let once = run(OPEN, (6, 1, ms(5)), steady());
    assert_eq!(twice.record.completion_errors().1, 2);
    assert_eq!(twice.latencies_ms, once.latencies_ms);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let spread = |seed| Simulation {
        servers: 2,
        service: ServiceTime::LogNormal {
            median: ms(10),
            sigma: 0.5,
        },
        seed,
        ..steady()
    };
    let latencies = |seed| {
        let run = run(OPEN, (200, 1, ms(6)), spread(seed));
        run.record.latencies().collect::<Vec<_>>()
    };
    assert_eq!(latencies(7), latencies(7));
    assert_ne!(latencies(7), latencies(8));
}

#[test]
fn recorded_service_times_are_taken_in_order() {
    let recorded = Simulation {
        service: ServiceTime::Recorded(vec![ms(30), ms(40)]),
        ..steady()
    };
    let run = run(Pacing::Closed, (1_000, 1, ms(1)), recorded);
    assert_eq!(run.latencies_ms[..4], [30, 40, 30, 40].map(Some));
}

#[test]
fn an_interrupt_keeps_what_was_measured() {
    let clock = Clockwork::new();
    let source = Even {
        count: 1_000,
        size: 1,
        gap: ms(5),
        made: 0,
        unread: 0,
    };
    let rules = IssueRules {
        pacing: OPEN,
        query_count_min: 0,
        target_duration: ms(0),
        query_count_max: None,
        duration_max: None,
        accuracy: false,
    };
    let keep = Keep {
        issue_delay: true,
        ..Keep::default()
    };
    let mut issuer = Issuer::new(source, rules, clock.now(), SampleId(0));
    let mut record = Record::new(clock.now(), SampleId(0), keep, 16, 1);
    let mut sut = Simulated::new(clock.clone(), steady());
    let interrupted = AtomicBool::new(false);
    let control = Control {
        interrupted: &interrupted,
        no_progress_limit: ms(1_000),
    };
    let mut seen = 0;
    let mut watch = |progress: &Progress<'_>| {
        seen += progress.recent.len();
        interrupted.store(progress.now.as_nanos() > 500 * MS, Ordering::Relaxed);
    };
    let ending = drive(
        &mut issuer,
        &mut sut,
        &clock,
        &mut record,
        &control,
        &mut watch,
    )
    .unwrap();
    assert_eq!(ending, Ending::Interrupted);
    assert!(record.completed_count() > 0 && record.outstanding() > 0);
    assert_eq!(seen as u64, record.completed_count());
}

/// A clock with a last stretch to spin, on virtual time.
struct Spinning(Clockwork, Latency);

impl Clock for Spinning {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn approach(&self, deadline: Timestamp) {
        let ns = deadline.as_nanos().saturating_sub(self.1.as_nanos());
        self.0.sleep_until(Timestamp::from_nanos(ns));
    }

    fn sleep_until(&self, deadline: Timestamp) {
        self.0.sleep_until(deadline);
    }

    fn fork(&self) -> Option<Box<dyn Clock + Send>> {
        None
    }
}

/// Taking answers in takes a millisecond each.
struct SlowToTake(Simulated, Clockwork);

impl SystemUnderTest for SlowToTake {
    fn name(&self) -> &'static str {
        "slow to take"
    }

    fn issue(&mut self, samples: &[QuerySample], inbox: &mut Vec<Completion>) {
        self.0.issue(samples, inbox);
    }

    fn poll(&mut self, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        let before = inbox.len();
        self.0.poll(inbox)?;
        self.1.advance(ms((inbox.len() - before) as u64));
        Ok(())
    }

    fn wait(&mut self, deadline: Timestamp, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        self.0.wait(deadline, inbox)
    }
}

/// Runs `queries` open-loop on `clock`.
fn open(
    sut: &mut dyn SystemUnderTest,
    clock: &dyn Clock,
    pacing: Pacing,
    queries: (u64, Latency),
    observe: &mut dyn FnMut(&Progress<'_>),
) -> (Record, Ending) {
    let (count, gap) = queries;
    let source = Even {
        count,
        size: 1,
        gap,
        made: 0,
        unread: 0,
    };
    let rules = IssueRules {
        pacing,
        query_count_min: 0,
        target_duration: Latency::ZERO,
        query_count_max: None,
        duration_max: None,
        accuracy: false,
    };
    let keep = Keep {
        issue_delay: true,
        ..Keep::default()
    };
    let mut issuer = Issuer::new(source, rules, clock.now(), SampleId(0));
    let mut record = Record::new(clock.now(), SampleId(0), keep, count as usize, 1);
    let control = Control {
        interrupted: &AtomicBool::new(false),
        no_progress_limit: ms(60_000),
    };
    let ending = drive(&mut issuer, sut, clock, &mut record, &control, observe);
    (record, ending.unwrap())
}

/// Mutant: answers taken after the last stretch, or the watcher called there.
#[test]
fn neither_answers_that_piled_up_nor_the_watcher_make_a_query_late() {
    let time = Clockwork::new();
    let clock = Spinning(time.clone(), ms(15));
    // Each query is answered while the loop sleeps towards the next one.
    let mut sut = SlowToTake(Simulated::new(time.clone(), steady()), time.clone());
    let mut watched = 0;
    let mut watch = |_: &Progress<'_>| {
        watched += 1;
        time.advance(ms(14));
    };
    let queries = (40, ms(50));
    let (record, ending) = open(&mut sut, &clock, OPEN, queries, &mut watch);
    assert_eq!(ending, Ending::Complete(IssueEnd::Exhausted));
    assert!(watched >= 7, "{watched}");
    assert!(record.issue_delays().all(|delay| delay == Latency::ZERO));
}

#[test]
fn a_system_that_answers_inside_the_issue_call_never_has_too_many_outstanding() {
    let pacing = Pacing::Open {
        coalesce: true,
        outstanding_max: Some(1),
    };
    let clock = Clockwork::new();
    let mut null = Null::new(clock.clone());
    let queries = (50, Latency::ZERO);
    let (record, ending) = open(&mut null, &clock, pacing, queries, &mut |_| {});
    assert_eq!(ending, Ending::Complete(IssueEnd::Exhausted));
    assert_eq!(record.completed_count(), 50);

    let mut slow = Simulated::new(clock.clone(), steady());
    let (record, ending) = open(&mut slow, &clock, pacing, queries, &mut |_| {});
    let too_many = IssueEnd::OutstandingMax { outstanding: 50 };
    assert_eq!(ending, Ending::Complete(too_many));
    assert_eq!(record.completed_count(), 50);
}

#[test]
fn a_watcher_that_has_seen_enough_ends_the_run_with_answers_outstanding() {
    let clock = Clockwork::new();
    let mut sut = Simulated::new(clock.clone(), steady());
    let mut looks = 0;
    let mut watch = |progress: &Progress<'_>| {
        looks += 1;
        if progress.record.completed_count() >= 40 {
            progress.end_run();
        }
    };
    let queries = (1_000, ms(5));
    let (record, ending) = open(&mut sut, &clock, OPEN, queries, &mut watch);
    assert_eq!(ending, Ending::Decided);
    // 25 answers in each 250 ms: the second look is the first that sees 40.
    assert_eq!((looks, record.completed_count()), (2, 50));
    assert!(record.outstanding() > 0);
}
