//! The records of several issuing threads as one.

use super::{Record, ERRORS_KEPT};

impl Record {
    /// One record of what several threads recorded, each of which issued every so manieth query
    /// of one sample: `parts[0]` the first, `parts[1]` the second, and so on.
    ///
    /// Samples come in the order of the plan. Those that one thread did not get to issue, because
    /// it came to its end before the others, are left out: see [`Record::was_issued`].
    ///
    /// *Memory*: a column at a time is held twice.
    ///
    /// # Panics
    /// When there are no parts or they are not parts of the same run.
    pub fn merged(mut parts: Vec<Self>) -> Self {
        let shares: Vec<u64> = parts.iter().map(Self::query_count).collect();
        let (start, keep) = (parts[0].start, parts[0].keep);
        for part in &parts {
            assert!(part.start == start && part.keep == keep && part.samples_per_query == 1);
        }
        let last = parts
            .iter()
            .max_by_key(|part| (part.query_count > 0, part.last_scheduled))
            .expect("at least one part");
        let (last_scheduled, last_issued) = (last.last_scheduled, last.last_issued);
        let completions = parts.iter().map(|part| part.last_completion);
        let last_completion = completions.max().expect("at least one part");
        let errors = parts.iter().flat_map(|part| &part.completion_errors);
        Self {
            start,
            first_sample: parts[0].first_sample,
            sample_step: 1,
            keep,
            samples_per_query: 1,
            query_count: shares.iter().sum(),
            completed: parts.iter().map(|part| part.completed).sum(),
            last_completion,
            last_scheduled,
            last_issued,
            completion_errors: errors.take(ERRORS_KEPT).copied().collect(),
            completion_error_count: parts.iter().map(|part| part.completion_error_count).sum(),
            latency_ns: interleave(&mut parts, |part| &mut part.latency_ns),
            query_start_ns: interleave(&mut parts, |part| &mut part.query_start_ns),
            issue_delay: interleave(&mut parts, |part| &mut part.issue_delay),
            preprocess: interleave(&mut parts, |part| &mut part.preprocess),
            inference: interleave(&mut parts, |part| &mut part.inference),
            postprocess: interleave(&mut parts, |part| &mut part.postprocess),
            shares,
        }
    }
}

/// The first of each part, the second of each part, …; the parts' columns are freed.
fn interleave<T: Copy>(
    parts: &mut [Record],
    column: impl Fn(&mut Record) -> &mut Vec<T>,
) -> Vec<T> {
    let columns: Vec<Vec<T>> = parts
        .iter_mut()
        .map(|part| std::mem::take(column(part)))
        .collect();
    let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
    let mut whole = Vec::with_capacity(columns.iter().map(Vec::len).sum());
    for row in 0..longest {
        whole.extend(columns.iter().filter_map(|column| column.get(row)));
    }
    whole
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Completion, Keep, ShortSpan, Stages};
    use super::*;
    use crate::issue::IssuedQuery;
    use crate::units::{Latency, QuerySample, SampleId, SampleIndex, Timestamp};

    const START: Timestamp = Timestamp::from_nanos(1_000);
    const FIRST: u32 = 7;
    const KEEP: Keep = Keep {
        schedule: false,
        issue_delay: true,
        stages: true,
        preprocess: true,
    };

    /// What happens to one query: when it leaves after its schedule, and when it is answered
    /// after that, if at all.
    type Fate = (u64, Option<u64>);

    fn issue(record: &mut Record, query: u64, (delay, _): Fate) {
        let scheduled = Timestamp::from_nanos(START.as_nanos() + 10 * query);
        let issued = IssuedQuery {
            scheduled,
            sample_count: 1,
        };
        let sample = QuerySample {
            id: SampleId(FIRST + query as u32),
            index: SampleIndex(0),
        };
        record.issued(&[issued], &[sample], scheduled + Latency::from_nanos(delay));
    }

    fn answer(record: &mut Record, query: u64, (delay, answered): Fate) {
        let Some(after) = answered else { return };
        let span = |ns| ShortSpan::new(Latency::from_nanos(ns));
        record.completed(&Completion {
            id: SampleId(FIRST + query as u32),
            at: Timestamp::from_nanos(START.as_nanos() + 10 * query + delay + after),
            stages: Stages {
                preprocess: span(query),
                inference: span(after),
                postprocess: span(after / 2),
            },
        });
    }

    fn empty(first: u32, step: u32, room: usize) -> Record {
        Record::new(START, SampleId(first), KEEP, room, 1).in_steps_of(step)
    }

    fn facts(record: Record) -> impl PartialEq + std::fmt::Debug {
        let reach = 0..record.query_reach();
        (
            record.latencies().collect::<Vec<_>>(),
            record.issue_delays().collect::<Vec<_>>(),
            (
                record.preprocess().collect::<Vec<_>>(),
                record.inference().collect::<Vec<_>>(),
                record.postprocess().collect::<Vec<_>>(),
            ),
            (record.query_count(), record.sample_count()),
            (record.completed_count(), record.outstanding()),
            (record.elapsed(), record.last_scheduled()),
            (record.last_issued(), record.last_latency()),
            reach.filter(|&query| record.was_issued(query)).count() as u64,
            record.into_sorted_latencies(),
        )
    }

    proptest! {
        #[test]
        fn recording_merged_equals_recording_whole(
            fates in proptest::collection::vec((0_u64..50, proptest::option::of(0_u64..99)), 0..60),
            threads in 1_u64..6,
        ) {
            let mut whole = empty(FIRST, 1, fates.len());
            let mut parts: Vec<Record> = (0..threads as u32)
                .map(|thread| empty(FIRST + thread, threads as u32, fates.len()))
                .collect();
            for (query, &fate) in fates.iter().enumerate() {
                issue(&mut whole, query as u64, fate);
                issue(&mut parts[query % threads as usize], query as u64, fate);
            }
            for (query, &fate) in fates.iter().enumerate().rev() {
                answer(&mut whole, query as u64, fate);
                answer(&mut parts[query % threads as usize], query as u64, fate);
            }
            prop_assert_eq!(facts(Record::merged(parts)), facts(whole));
        }
    }

    #[test]
    fn what_one_thread_did_not_get_to_issue_is_left_out() {
        let mut parts = vec![empty(FIRST, 2, 4), empty(FIRST + 1, 2, 4)];
        for (query, delay) in [(0, 5), (2, 6), (4, 7), (1, 8)] {
            let fate = (delay, Some(1));
            issue(&mut parts[query as usize % 2], query, fate);
            answer(&mut parts[query as usize % 2], query, fate);
        }
        let merged = Record::merged(parts);
        let issued: Vec<u64> = (0..merged.query_reach())
            .filter(|&query| merged.was_issued(query))
            .collect();
        assert_eq!(issued, [0, 1, 2, 4]);
        let delays: Vec<u64> = merged.issue_delays().map(Latency::as_nanos).collect();
        assert_eq!(delays, [5, 8, 6, 7]);
        assert_eq!(merged.sample_count(), 4);
        assert_eq!(merged.last_scheduled(), Latency::from_nanos(40));
    }

    #[test]
    fn another_threads_sample_is_unknown() {
        let mut part = empty(FIRST + 1, 2, 4);
        issue(&mut part, 1, (0, None));
        answer(&mut part, 2, (0, Some(1)));
        assert_eq!(part.completion_errors().1, 1);
        assert_eq!(part.outstanding(), 1);
    }
}
