use super::*;
use crate::issue::IssuedQuery;
use crate::record::{Completion, Keep, Stages};
use crate::units::{QuerySample, SampleId, SampleIndex};

const MS: u64 = 1_000_000;

fn rules(quantile: Quantile, query_count: Option<u64>) -> ProbeRules {
    ProbeRules {
        slo: Slo {
            quantile,
            bound: Latency::from_millis(100),
        },
        query_count,
        least_pass: Latency::ZERO,
        least_fail: Latency::ZERO,
    }
}

/// A record to which queries of one sample are added, each with its latency in milliseconds.
struct Facts {
    record: Record,
    count: u32,
}

impl Facts {
    fn new() -> Self {
        Self {
            record: Record::new(Timestamp::ZERO, SampleId(0), Keep::default(), 16, 1),
            count: 0,
        }
    }

    fn issue(&mut self, scheduled_ms: u64) -> u32 {
        let scheduled = Timestamp::from_nanos(scheduled_ms * MS);
        let query = IssuedQuery {
            scheduled,
            sample_count: 1,
        };
        let sample = QuerySample {
            id: SampleId(self.count),
            index: SampleIndex(0),
        };
        self.record.issued(&[query], &[sample], scheduled);
        self.count += 1;
        self.count - 1
    }

    fn answer(&mut self, id: u32, at_ms: u64) {
        self.record.completed(&Completion {
            id: SampleId(id),
            at: Timestamp::from_nanos(at_ms * MS),
            stages: Stages::default(),
        });
    }
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_nanos(ms * MS)
}

#[test]
fn a_query_that_waits_longer_than_the_bound_is_over_it_at_once() {
    let mut facts = Facts::new();
    let mut watch = ProbeWatch::new(rules(Quantile::P99, None));
    for ms in [0, 10, 20] {
        facts.issue(ms);
    }
    facts.answer(0, 100);
    watch.look(&facts.record, at(110));
    // The bound itself is kept; the second has waited just that long.
    assert_eq!(watch.counts(), (1, 0));
    watch.look(&facts.record, at(111));
    assert_eq!(watch.counts(), (2, 1));
    // Answered later, it stays one.
    facts.answer(1, 300);
    facts.answer(2, 60);
    watch.look(&facts.record, at(300));
    assert_eq!(watch.counts(), (3, 1));
}

#[test]
fn quick_answers_do_not_overtake_a_query_that_is_still_open() {
    let mut facts = Facts::new();
    let mut watch = ProbeWatch::new(rules(Quantile::P99, None));
    for ms in 0..50 {
        facts.issue(ms);
    }
    for id in 1..50 {
        facts.answer(id, 60);
    }
    watch.look(&facts.record, at(60));
    assert_eq!(watch.counts(), (0, 0));
    facts.answer(0, 70);
    watch.look(&facts.record, at(70));
    assert_eq!(watch.counts(), (50, 0));
}

#[test]
fn a_query_of_several_samples_is_as_slow_as_its_slowest() {
    let mut record = Record::new(Timestamp::ZERO, SampleId(0), Keep::default(), 16, 4);
    let samples: Vec<QuerySample> = (0..4)
        .map(|id| QuerySample {
            id: SampleId(id),
            index: SampleIndex(0),
        })
        .collect();
    let query = IssuedQuery {
        scheduled: Timestamp::ZERO,
        sample_count: 4,
    };
    record.issued(&[query], &samples, Timestamp::ZERO);
    let answer = |record: &mut Record, id: u32, ms: u64| {
        record.completed(&Completion {
            id: SampleId(id),
            at: at(ms),
            stages: Stages::default(),
        });
    };
    let mut watch = ProbeWatch::new(rules(Quantile::P99, None));
    for id in 0..3 {
        answer(&mut record, id, 10);
    }
    watch.look(&record, at(50));
    assert_eq!(watch.counts(), (0, 0));
    answer(&mut record, 3, 101);
    watch.look(&record, at(101));
    assert_eq!(watch.counts(), (1, 1));
}

#[test]
fn a_probe_has_failed_when_more_are_over_than_all_of_it_may_have() {
    // Of 200 queries the 99th percentile is element 198: one may be over, two may not.
    let mut facts = Facts::new();
    let mut watch = ProbeWatch::new(ProbeRules {
        least_fail: Latency::from_millis(1_000_000),
        ..rules(Quantile::P99, Some(200))
    });
    for ms in 0..3 {
        facts.issue(ms);
    }
    facts.answer(0, 5);
    assert_eq!(watch.look(&facts.record, at(102)), None);
    assert_eq!(watch.counts(), (2, 1));
    let ended = watch.look(&facts.record, at(103));
    assert_eq!(ended, Some(SurelyEnded::Exhausted));
}

#[test]
fn no_probe_passes_or_fails_by_the_test_before_its_least_span() {
    let slow = ProbeRules {
        least_pass: Latency::from_millis(5_000),
        least_fail: Latency::from_millis(2_000),
        ..rules(Quantile::P90, None)
    };
    let (mut kept, mut broken) = (ProbeWatch::new(slow), ProbeWatch::new(slow));
    let (mut quick, mut late) = (Facts::new(), Facts::new());
    let (mut passed, mut failed) = (None, None);
    for ms in (0..8_000).step_by(10) {
        let id = quick.issue(ms);
        quick.answer(id, ms);
        let id = late.issue(ms);
        late.answer(id, ms + if id % 3 == 0 { 200 } else { 0 });
        if kept.look(&quick.record, at(ms)) == Some(SurelyEnded::Within) {
            passed = passed.or(Some(ms));
        }
        if broken.look(&late.record, at(ms)) == Some(SurelyEnded::Beyond) {
            failed = failed.or(Some(ms));
        }
    }
    assert!(
        passed.is_some_and(|ms| (5_000..6_000).contains(&ms)),
        "{passed:?}"
    );
    assert!(
        failed.is_some_and(|ms| (2_000..3_000).contains(&ms)),
        "{failed:?}"
    );
}

#[test]
fn the_doubts_of_all_looks_add_up_to_the_whole() {
    let mut looks = Looks::from(8);
    let mut sum = 0.0;
    let mut last = 0;
    for count in 0..1_000_000 {
        if let Some(doubt) = looks.at(count) {
            assert!(last == 0 || count == (last + last / 4).max(last + 1));
            last = count;
            sum += doubt;
        }
    }
    assert!(sum < DOUBT && sum > 0.95 * DOUBT, "{sum}");
}

/// Numbers in [0, 1) from a generator of another kind than the one under test uses.
fn coin(state: &mut u64) -> f64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) as f64 / (1_u64 << 53) as f64
}

/// At exactly the tolerated share neither end is true: both together may be taken with twice the
/// doubt at most, however often the watch looks.
#[test]
fn repeated_looks_err_no_more_often_than_stated() {
    let mut state = 1;
    let (mut passed, mut failed) = (0, 0);
    let probes = 2_000;
    for _ in 0..probes {
        let mut watch = ProbeWatch::new(rules(Quantile::P90, None));
        for _ in 0..4_000 {
            watch.query_count += 1;
            watch.over_count += u64::from(coin(&mut state) < 0.1);
            let (count, over) = watch.counts();
            let sure = |doubt: Option<f64>, test: fn(u64, u64, Quantile, f64) -> bool| {
                doubt.is_some_and(|doubt| test(count, over, Quantile::P90, doubt))
            };
            if sure(watch.within.at(count), is_surely_within) {
                passed += 1;
                break;
            }
            if sure(watch.beyond.at(count), is_surely_beyond) {
                failed += 1;
                break;
            }
        }
    }
    // A hundredth each, and four standard deviations of a count of 20.
    assert!(passed <= 20 + 18, "{passed} of {probes}");
    assert!(failed <= 20 + 18, "{failed} of {probes}");
}

#[test]
fn a_probe_passes_early_only_with_half_of_the_bound_to_spare() {
    for (latency_ms, expected) in [(50, Some(SurelyEnded::Within)), (51, None)] {
        let mut facts = Facts::new();
        let mut watch = ProbeWatch::new(rules(Quantile::P90, None));
        let mut ended = None;
        for ms in (0..10_000).step_by(10) {
            let id = facts.issue(ms);
            facts.answer(id, ms + latency_ms);
            ended = ended.or(watch.look(&facts.record, at(ms + latency_ms)));
        }
        assert_eq!(ended, expected, "{latency_ms} ms");
    }
}

#[test]
fn a_probe_fails_early_by_the_test_only_with_more_than_twice_the_tolerated_share() {
    for (every, expected) in [(3, Some(SurelyEnded::Beyond)), (6, None)] {
        let mut facts = Facts::new();
        let mut watch = ProbeWatch::new(rules(Quantile::P90, None));
        let mut ended = None;
        for ms in (0..10_000).step_by(10) {
            let id = facts.issue(ms);
            facts.answer(id, ms + if id.is_multiple_of(every) { 101 } else { 60 });
            ended = ended.or(watch.look(&facts.record, at(ms + 101)));
        }
        assert_eq!(ended, expected, "one in {every}");
    }
}
