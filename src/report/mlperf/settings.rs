//! The settings of a test, as the detail log names them.

use super::detail::Journal;
use super::TestLog;
use crate::scenario::Scenario;
use crate::settings::rounds::Seeds;
use crate::units::Latency;

/// The settings that were asked for; of a TEST05 run, as LoadGen has it, those with its mode and
/// its seeds already in place.
pub(super) fn requested(journal: &mut Journal, test: &TestLog<'_>) {
    let asked = test.requested;
    let mut mode = test.requested_mode;
    let mut seeds = Seeds {
        qsl: asked.qsl_rng_seed,
        sample_index: asked.sample_index_rng_seed,
        schedule: asked.schedule_rng_seed,
    };
    if asked.test05 {
        (mode, seeds) = (test.effective.mode, test.effective.seeds);
    }
    journal.text("requested_scenario", test.effective.scenario.name());
    journal.text("requested_test_mode", mode.name());
    requested_of_scenario(journal, test);
    journal.whole("requested_min_duration_ms", asked.min_duration_ms);
    journal.whole("requested_max_duration_ms", asked.max_duration_ms);
    journal.whole("requested_min_query_count", asked.min_query_count);
    journal.whole("requested_max_query_count", asked.max_query_count);
    journal.whole("requested_qsl_rng_seed", seeds.qsl);
    journal.whole("requested_sample_index_rng_seed", seeds.sample_index);
    journal.whole("requested_schedule_rng_seed", seeds.schedule);
    journal.whole(
        "requested_accuracy_log_rng_seed",
        asked.accuracy_log_rng_seed,
    );
    journal.real(
        "requested_accuracy_log_probability",
        asked.accuracy_log_probability,
    );
    journal.whole(
        "requested_accuracy_log_sampling_target",
        asked.accuracy_log_sampling_target,
    );
    journal.truth("requested_print_timestamps", asked.print_timestamps);
    journal.truth(
        "requested_performance_issue_unique",
        asked.performance_issue_unique,
    );
    journal.truth(
        "requested_performance_issue_same",
        asked.performance_issue_same,
    );
    journal.whole(
        "requested_performance_issue_same_index",
        asked.performance_issue_same_index,
    );
    journal.whole(
        "requested_performance_sample_count_override",
        asked.performance_sample_count_override,
    );
    journal.whole(
        "requested_accuracy_sample_count_override",
        asked.accuracy_sample_count_override,
    );
    journal.truth(
        "requested_sample_concatenate_permutation",
        asked.sample_concatenate_permutation,
    );
}

fn requested_of_scenario(journal: &mut Journal, test: &TestLog<'_>) {
    let asked = test.requested;
    match test.effective.scenario {
        Scenario::SingleStream => {
            journal.real(
                "requested_single_stream_expected_latency_ns",
                asked.single_stream_expected_latency_ns,
            );
            journal.real(
                "requested_single_stream_target_latency_percentile",
                asked.single_stream_target_latency_percentile.as_share(),
            );
        }
        Scenario::MultiStream => {
            journal.real(
                "requested_multi_stream_expected_latency_ns",
                asked.multi_stream_expected_latency_ns,
            );
            journal.real(
                "requested_multi_stream_target_latency_percentile",
                asked.multi_stream_target_latency_percentile.as_share(),
            );
            journal.whole(
                "requested_multi_stream_samples_per_query",
                asked.multi_stream_samples_per_query,
            );
        }
        Scenario::Server => requested_of_server(journal, test),
        Scenario::Offline => journal.real(
            "requested_offline_expected_qps",
            asked.offline_expected_qps.as_per_second(),
        ),
    }
}

fn requested_of_server(journal: &mut Journal, test: &TestLog<'_>) {
    let asked = test.requested;
    journal.real(
        "requested_server_target_qps",
        asked.server_target_qps.as_per_second(),
    );
    journal.whole(
        "requested_server_target_latency_ns",
        asked.server_target_latency_ns,
    );
    journal.real(
        "requested_server_target_latency_percentile",
        asked.server_target_latency_percentile.as_share(),
    );
    journal.truth(
        "requested_server_coalesce_queries",
        asked.server_coalesce_queries,
    );
    journal.whole(
        "requested_server_find_peak_qps_decimals_of_precision",
        asked.server_find_peak_qps_decimals_of_precision,
    );
    journal.real(
        "requested_server_find_peak_qps_boundary_step_size",
        asked.server_find_peak_qps_boundary_step_size,
    );
    journal.whole(
        "requested_server_max_async_queries",
        asked.server_max_async_queries,
    );
    journal.whole(
        "requested_server_num_issue_query_threads",
        asked.server_num_issue_query_threads,
    );
}

/// The settings as they were applied.
pub(super) fn effective(journal: &mut Journal, test: &TestLog<'_>) {
    let applied = test.effective;
    let ms = |span: Latency| span.as_nanos() / 1_000_000;
    journal.text("effective_scenario", applied.scenario.name());
    journal.text("effective_test_mode", applied.mode.name());
    journal.whole("effective_samples_per_query", applied.samples_per_query);
    journal.real("effective_target_qps", applied.target_rate.as_per_second());
    journal.whole(
        "effective_target_latency_ns",
        applied.target_latency.as_nanos(),
    );
    journal.real(
        "effective_target_latency_percentile",
        applied.target_quantile.as_share(),
    );
    journal.whole("effective_max_async_queries", applied.max_async_queries);
    journal.whole("effective_target_duration_ms", ms(applied.target_duration));
    journal.whole("effective_min_duration_ms", ms(applied.min_duration));
    journal.whole(
        "effective_max_duration_ms",
        applied.max_duration.map_or(0, ms),
    );
    journal.whole("effective_min_query_count", applied.min_query_count);
    journal.whole(
        "effective_max_query_count",
        applied.max_query_count.unwrap_or(0),
    );
    journal.whole("effective_min_sample_count", applied.min_sample_count);
    journal.whole("effective_qsl_rng_seed", applied.seeds.qsl);
    journal.whole(
        "effective_sample_index_rng_seed",
        applied.seeds.sample_index,
    );
    journal.whole("effective_schedule_rng_seed", applied.seeds.schedule);
    journal.whole("effective_accuracy_log_rng_seed", applied.accuracy_log_seed);
    journal.real(
        "effective_accuracy_log_probability",
        applied.accuracy_log_probability,
    );
    journal.whole(
        "effective_accuracy_log_sampling_target",
        applied.accuracy_log_sampling_target,
    );
    journal.truth("effective_print_timestamps", applied.print_timestamps);
    journal.truth(
        "effective_performance_issue_unique",
        applied.performance_issue_unique,
    );
    journal.truth(
        "effective_performance_issue_same",
        applied.performance_issue_same,
    );
    journal.whole(
        "effective_performance_issue_same_index",
        applied.performance_issue_same_index,
    );
    journal.whole(
        "effective_performance_sample_count",
        applied.performance_sample_count as u64,
    );
    journal.whole(
        "effective_accuracy_sample_count",
        applied.accuracy_sample_count as u64,
    );
    journal.truth(
        "effective_sample_concatenate_permutation",
        applied.sample_concatenate_permutation,
    );
}
