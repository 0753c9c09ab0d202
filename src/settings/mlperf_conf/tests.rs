//! What is applied of a file, noted and refused.

use super::*;

fn user(scenario: Scenario, text: &str) -> (ConfReader, Result<(), ConfError>) {
    let mut reader = ConfReader::new("retinanet", scenario, false);
    let result = reader.apply_user(Path::new("user.conf"), text);
    (reader, result)
}

fn only_note(text: &str) -> String {
    let (reader, result) = user(Scenario::Server, text);
    result.unwrap();
    assert_eq!(reader.notes.len(), 1, "{:?}", reader.notes);
    let mut strict = ConfReader::new("retinanet", Scenario::Server, true);
    let error = strict.apply_user(Path::new("user.conf"), text).unwrap_err();
    assert_eq!(error.to_string(), reader.notes[0].to_string());
    reader.notes[0].to_string()
}

#[test]
fn the_built_in_table_has_no_note_and_sets_each_models_numbers() {
    let mut reader = ConfReader::new("retinanet", Scenario::Offline, true);
    reader.apply_built_in().unwrap();
    assert_eq!(reader.settings.min_query_count, 24_576);
    assert_eq!(reader.settings.performance_sample_count_override, 64);
    assert_eq!(reader.settings.server_target_latency_ns, 100_000_000);
    let mut other = ConfReader::new("ssd-mobilenet", Scenario::MultiStream, true);
    other.apply_built_in().unwrap();
    assert_eq!(other.settings.min_query_count, 662);
    assert_eq!(other.settings.performance_sample_count_override, 256);
    assert_eq!(other.settings.server_target_latency_ns, 10_000_000);
}

#[test]
fn a_percentage_is_loadgens_product_with_a_hundredth() {
    for text in ["57", "94", "99.9", "99.95", "90"] {
        let (reader, result) = user(
            Scenario::Server,
            &format!("*.Server.target_latency_percentile = {text}\n"),
        );
        result.unwrap();
        let share = reader.settings.server_target_latency_percentile.as_share();
        let product = text.parse::<f64>().unwrap() * 0.01;
        assert_eq!(share.to_bits(), product.to_bits(), "{text}");
    }
}

#[test]
fn what_loadgen_ignores_is_noted_or_in_a_strict_reader_refused() {
    for (text, expected) in [
        ("*.Server.target_qps=5", "blanks around"),
        ("\n*.Server.min_duratoin = 5", "user.conf:2: nothing reads"),
        (
            "*.Server.samples_per_query = 5",
            "check its name and scenario",
        ),
        ("target_qps = 5", "nothing reads"),
        ("*.*.qsl_rng_seed = 5", "built-in table only"),
        ("*.Server.min_query_count = 10.5", "read as 10"),
        ("*.Server.min_query_count = 010", "read as 8"),
        ("*.Server.target_qps = 5 6", "`5` is dropped"),
    ] {
        let note = only_note(text);
        assert!(note.contains(expected), "{note}");
    }
}

#[test]
fn a_refused_value_is_told_as_written_and_in_the_files_unit() {
    for (text, expected) in [
        (
            "*.Server.target_latency_percentile = 100",
            "cannot be `100`: give a percentage between 0 and 100",
        ),
        (
            "*.Server.target_latency = -5",
            "cannot be `-5`: give whole milliseconds",
        ),
        (
            "*.Server.coalesce_queries = -1",
            "cannot be `-1`: give 0 or 1",
        ),
        (
            "*.Server.target_qps = nan",
            "`*.Server.target_qps` cannot be `nan`",
        ),
        (
            "*.*.min_duration = -1",
            "cannot be `-1`: give whole milliseconds",
        ),
        ("*.*.min_query_count = 4294967297", "from 0 to 2^32"),
        ("*.*.mode = 4", "give 0 (submission), 1 (accuracy)"),
    ] {
        let message = user(Scenario::Server, text).1.unwrap_err().to_string();
        assert!(message.starts_with("user.conf:1: "), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_refused_file_changes_nothing_beyond_the_built_in_table() {
    let (reader, result) = user(
        Scenario::Server,
        "*.*.min_query_count = 5\n*.Server.target_qps = 0\n",
    );
    let message = result.unwrap_err().to_string();
    assert!(
        message.starts_with("user.conf:2: `*.Server.target_qps`: "),
        "{message}"
    );
    assert_eq!(reader.settings.min_query_count, 100);
    assert_eq!(reader.settings.performance_sample_count_override, 64);
}

#[test]
fn a_second_user_file_is_noted_and_adds_to_the_first() {
    let (mut reader, result) = user(Scenario::Server, "*.*.min_query_count = 5\n");
    result.unwrap();
    reader
        .apply_user(Path::new("b.conf"), "*.*.max_query_count = 9\n")
        .unwrap();
    assert_eq!(
        (
            reader.settings.min_query_count,
            reader.settings.max_query_count
        ),
        (5, 9)
    );
    assert!(reader.notes[0]
        .to_string()
        .contains("user.conf was read before"));
}

#[test]
fn an_audit_sees_only_entries_for_any_model() {
    let mut reader = ConfReader::new("retinanet", Scenario::Server, false);
    let text = "*.*.mode = 2\nretinanet.*.min_query_count = 5\n*.Server.max_query_count = 7\n";
    reader.apply_audit(Path::new("audit.config"), text).unwrap();
    assert_eq!(reader.mode, Some(TestMode::PerformanceOnly));
    assert_eq!(
        (
            reader.settings.min_query_count,
            reader.settings.max_query_count
        ),
        (100, 7)
    );
}
