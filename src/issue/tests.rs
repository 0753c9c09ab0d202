use super::*;

/// Queries at the given offsets, one sample each.
struct Offsets(std::vec::IntoIter<u64>);

impl QuerySource for Offsets {
    fn begin_query(&mut self) -> Option<Latency> {
        self.0.next().map(Latency::from_nanos)
    }

    fn read_samples(&mut self, _limit: usize, samples: &mut Vec<SampleIndex>) {
        samples.push(SampleIndex(7));
    }
}

fn offsets(at: &[u64]) -> Offsets {
    Offsets(Vec::from(at).into_iter())
}

fn rules(pacing: Pacing) -> IssueRules {
    IssueRules {
        pacing,
        query_count_min: 2,
        target_duration: Latency::from_nanos(100),
        query_count_max: None,
        duration_max: None,
        accuracy: false,
    }
}

const OPEN: Pacing = Pacing::Open {
    coalesce: false,
    outstanding_max: None,
};

fn at(ns: u64) -> Timestamp {
    Timestamp::from_nanos(ns)
}

fn issuer(at_ns: &[u64], rules: IssueRules) -> Issuer<Offsets> {
    Issuer::new(offsets(at_ns), rules, at(1_000), SampleId(0))
}

#[test]
fn a_closed_run_waits_for_each_answer_and_schedules_at_the_moment_of_issue() {
    let mut issuer = issuer(&[0, 1, 2, 3], rules(Pacing::Closed));
    assert_eq!(issuer.step(at(1_000), 0), Step::Issue);
    assert_eq!(issuer.step(at(1_010), 1), Step::WaitForCompletion);
    assert_eq!(issuer.step(at(1_050), 0), Step::Issue);
    assert_eq!(issuer.queries()[0].scheduled, at(1_050));
    assert_eq!(issuer.samples()[0].id, SampleId(1));
}

#[test]
fn a_closed_run_ends_once_count_and_duration_are_both_met() {
    let mut issuer = issuer(&[0; 9], rules(Pacing::Closed));
    assert_eq!(issuer.step(at(1_000), 0), Step::Issue);
    assert_eq!(issuer.step(at(1_099), 0), Step::Issue);
    assert_eq!(issuer.step(at(1_100), 0), Step::Issue);
    assert_eq!(
        issuer.step(at(1_101), 1),
        Step::Finished(IssueEnd::Naturally)
    );
    assert_eq!(issuer.last_issued(), Latency::from_nanos(100));
    assert_eq!(issuer.queries_issued(), 3);
}

#[test]
fn a_closed_run_that_uses_up_its_queries_says_so() {
    let mut issuer = issuer(&[0, 0], rules(Pacing::Closed));
    assert_eq!(issuer.step(at(1_000), 0), Step::Issue);
    assert_eq!(issuer.step(at(1_001), 0), Step::Issue);
    assert_eq!(issuer.step(at(1_002), 0), Step::Finished(IssueEnd::RanOut));
}

#[test]
fn an_open_run_follows_its_schedule_whatever_is_outstanding() {
    let mut issuer = issuer(&[0, 50, 60], rules(OPEN));
    assert_eq!(issuer.step(at(1_000), 0), Step::Issue);
    assert_eq!(issuer.step(at(1_001), 1), Step::WaitUntil(at(1_050)));
    // Woken late: both overdue queries leave one after the other, each with its own schedule.
    assert_eq!(issuer.step(at(1_070), 1), Step::Issue);
    assert_eq!(
        issuer.queries(),
        [IssuedQuery {
            scheduled: at(1_050),
            sample_count: 1
        }]
    );
    assert_eq!(issuer.step(at(1_071), 2), Step::Issue);
    assert_eq!(
        issuer.queries(),
        [IssuedQuery {
            scheduled: at(1_060),
            sample_count: 1
        }]
    );
    assert_eq!(
        issuer.step(at(1_072), 3),
        Step::Finished(IssueEnd::Exhausted)
    );
}

#[test]
fn coalescing_merges_what_is_due_including_a_query_exactly_now() {
    let pacing = Pacing::Open {
        coalesce: true,
        outstanding_max: None,
    };
    let mut issuer = issuer(&[0, 10, 20, 21], rules(pacing));
    assert_eq!(issuer.step(at(1_020), 0), Step::Issue);
    let scheduled: Vec<_> = issuer
        .queries()
        .iter()
        .map(|query| query.scheduled)
        .collect();
    assert_eq!(scheduled, [at(1_000), at(1_010), at(1_020)]);
    assert_eq!(issuer.samples().len(), 3);
    assert_eq!(issuer.step(at(1_020), 3), Step::WaitUntil(at(1_021)));
}

#[test]
fn bounds_on_count_duration_and_outstanding_queries_end_a_run_with_their_reason() {
    let mut capped = issuer(
        &[0; 9],
        IssueRules {
            query_count_max: Some(1),
            ..rules(OPEN)
        },
    );
    capped.step(at(1_000), 0);
    assert_eq!(
        capped.step(at(1_000), 1),
        Step::Finished(IssueEnd::QueryCountMax)
    );

    let mut timed = issuer(
        &[0, 31],
        IssueRules {
            duration_max: Some(Latency::from_nanos(30)),
            ..rules(OPEN)
        },
    );
    timed.step(at(1_000), 0);
    assert_eq!(timed.step(at(1_031), 0), Step::Issue);
    assert_eq!(
        timed.step(at(1_031), 0),
        Step::Finished(IssueEnd::DurationMax)
    );

    let pacing = Pacing::Open {
        coalesce: false,
        outstanding_max: Some(1),
    };
    let mut flooded = issuer(&[0; 9], rules(pacing));
    assert_eq!(flooded.step(at(1_000), 0), Step::Issue);
    assert_eq!(flooded.step(at(1_000), 1), Step::Issue);
    assert_eq!(
        flooded.step(at(1_000), 2),
        Step::Finished(IssueEnd::OutstandingMax { outstanding: 2 })
    );
}

#[test]
fn an_accuracy_run_issues_everything_and_knows_no_early_end() {
    let rules = IssueRules {
        accuracy: true,
        query_count_max: Some(1),
        ..rules(Pacing::Closed)
    };
    let mut issuer = issuer(&[0; 3], rules);
    for now in [1_000, 2_000, 3_000] {
        assert_eq!(issuer.step(at(now), 0), Step::Issue);
    }
    assert_eq!(
        issuer.step(at(4_000), 0),
        Step::Finished(IssueEnd::Exhausted)
    );
}

/// One query of `left` samples.
struct Burst {
    left: u32,
    begun: bool,
}

impl QuerySource for Burst {
    fn begin_query(&mut self) -> Option<Latency> {
        (!std::mem::replace(&mut self.begun, true)).then_some(Latency::ZERO)
    }

    fn read_samples(&mut self, limit: usize, samples: &mut Vec<SampleIndex>) {
        let part = self.left.min(limit as u32);
        samples.extend((0..part).map(SampleIndex));
        self.left -= part;
    }
}

#[test]
fn a_burst_is_one_query_in_parts_that_all_count_from_the_start() {
    let source = Burst {
        left: 10_000,
        begun: false,
    };
    let mut issuer = Issuer::new(source, rules(Pacing::Burst), at(1_000), SampleId(5));
    let mut ids = Vec::new();
    let mut queries = Vec::new();
    while issuer.step(at(1_500), 1) == Step::Issue {
        ids.extend(issuer.samples().iter().map(|sample| sample.id.0));
        queries.extend_from_slice(issuer.queries());
    }
    assert_eq!(ids, (5..10_005).collect::<Vec<_>>());
    assert_eq!(queries.len(), 1);
    assert_eq!(queries[0].scheduled, at(1_000));
    assert_eq!(issuer.queries_issued(), 1);
}

#[test]
fn threads_share_the_queries_in_turn_and_the_counts_with_the_rest_to_the_first() {
    let at_ns = [0, 10, 20, 30, 40];
    let shares: Vec<Vec<u64>> = (0..3)
        .map(|thread| {
            let mut share = Share::new(offsets(&at_ns), thread, 3);
            std::iter::from_fn(|| share.begin_query())
                .map(Latency::as_nanos)
                .collect()
        })
        .collect();
    assert_eq!(shares, [vec![0, 30], vec![10, 40], vec![20]]);

    let whole = IssueRules {
        query_count_min: 11,
        query_count_max: Some(2),
        ..rules(OPEN)
    };
    let counts: Vec<_> = (0..3)
        .map(|thread| whole.share(thread, 3))
        .map(|share| (share.query_count_min, share.query_count_max))
        .collect();
    assert_eq!(counts, [(4, Some(1)), (4, Some(1)), (3, Some(0))]);
    let mut idle = issuer(&at_ns, whole.share(2, 3));
    assert_eq!(
        idle.step(at(1_000), 0),
        Step::Finished(IssueEnd::QueryCountMax)
    );
}

#[test]
fn a_thread_numbers_its_samples_past_those_of_the_others() {
    let source = Share::new(offsets(&[0, 0, 0, 0]), 1, 2);
    let mut issuer = Issuer::new(source, rules(OPEN), at(1_000), SampleId(11)).in_steps_of(2);
    let mut ids = Vec::new();
    while issuer.step(at(1_000), 0) == Step::Issue {
        ids.extend(issuer.samples().iter().map(|sample| sample.id.0));
    }
    assert_eq!(ids, [11, 13]);
}

#[test]
fn what_is_outstanding_counts_after_the_issue_call_has_returned() {
    let pacing = Pacing::Open {
        coalesce: true,
        outstanding_max: Some(1),
    };
    let mut issuer = issuer(&[0, 0, 0, 50], rules(pacing));
    // Three leave at once and are answered inside the call.
    assert_eq!(issuer.step(at(1_000), 0), Step::Issue);
    assert_eq!(issuer.samples().len(), 3);
    assert_eq!(issuer.step(at(1_000), 0), Step::WaitUntil(at(1_050)));
    // Somebody else's trouble while nothing was issued does not end the run.
    assert_eq!(issuer.step(at(1_000), 2), Step::WaitUntil(at(1_050)));
    assert_eq!(issuer.step(at(1_050), 0), Step::Issue);
    assert_eq!(
        issuer.step(at(1_050), 2),
        Step::Finished(IssueEnd::OutstandingMax { outstanding: 2 })
    );
}

#[test]
fn too_many_outstanding_comes_before_the_other_bounds_as_in_loadgen() {
    let pacing = Pacing::Open {
        coalesce: false,
        outstanding_max: Some(1),
    };
    let mut issuer = issuer(
        &[0; 9],
        IssueRules {
            query_count_max: Some(1),
            ..rules(pacing)
        },
    );
    assert_eq!(issuer.step(at(1_000), 1), Step::Issue);
    assert_eq!(
        issuer.step(at(1_000), 2),
        Step::Finished(IssueEnd::OutstandingMax { outstanding: 2 })
    );
}
