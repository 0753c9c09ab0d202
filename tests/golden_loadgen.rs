//! The plan against what LoadGen itself issued, and the random numbers against the C++ standard library.
//!
//! Reads `tests/golden/loadgen` and every folder named in `DETBENCH_GOLDEN` (colon-separated, each
//! laid out like `tests/golden`; anything may be missing).

mod vectors;

use std::fmt::Write as _;
use std::path::Path;

use detbench::cli::plan::{print, PlanArgs};
use detbench::cli::test_args::{ConfArgs, TestArgs};
use detbench::plan::{AccuracyLogSelection, Phase, Plan};
use detbench::scenario::Scenario;
use detbench::schedule::rng::{BoundedDraw, RandomStream};
use detbench::settings::compat::CompatProfile;
use detbench::settings::mlperf_conf::{ConfError, ConfReader};
use detbench::settings::test_settings::split_pair;
use detbench::units::{Rate, SampleIndex};
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes everything");
            hex
        })
}

fn joined<T: ToString>(values: &[T]) -> String {
    values
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

fn numbers(value: &Value) -> Vec<u64> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(|number| number.as_u64().expect("a whole number"))
        .collect()
}

/// The answer that the recorder's synthetic system gave for a sample, as the log writes it.
fn answer_hex(index: u32) -> String {
    let mut hex = String::new();
    for n in 0..index % 4 {
        let k = f64::from(n);
        let class = f64::from(1 + (index + n) % 90);
        let record = [
            f64::from(index),
            0.125 * k,
            0.25,
            0.5 + 0.125 * k,
            0.75,
            1.0 - 0.1 * k,
            class,
        ];
        for value in record {
            for byte in (value as f32).to_le_bytes() {
                write!(hex, "{byte:02X}").expect("a String takes everything");
            }
        }
    }
    hex
}

/// Everything a plan generates, laid out flat.
#[derive(Default)]
struct Unrolled {
    loaded: Vec<Vec<u64>>,
    counts: Vec<u64>,
    samples_per_query: Vec<u64>,
    durations: Vec<u64>,
    stream: Vec<u32>,
    schedules: Vec<Vec<u64>>,
    lengths: Vec<u64>,
    logged: Vec<(u64, u32)>,
}

fn unroll(plan: &Plan) -> Unrolled {
    let mut all = Unrolled::default();
    let mut selection = AccuracyLogSelection::new(plan);
    let first_ids = plan.first_ids();
    for (set, first) in plan.sets().iter().zip(first_ids) {
        assert_eq!(first.query, all.counts.iter().sum::<u64>());
        assert_eq!(first.sample.as_usize(), all.stream.len());
        selection.begin_set(set);
        let mut stream = plan.queries(set);
        let mut schedule = Vec::new();
        let mut samples: Vec<SampleIndex> = Vec::new();
        while let Some(scheduled) = stream.next(&mut samples) {
            schedule.push(scheduled.as_nanos());
            all.lengths.push(samples.len() as u64);
            for sample in &samples {
                if selection.keeps_next() {
                    all.logged.push((all.stream.len() as u64, sample.0));
                }
                all.stream.push(sample.0);
            }
        }
        let generated = plan.generated(set);
        assert_eq!(generated.query_count, stream.query_count());
        assert_eq!(generated.duration, stream.duration());
        assert_eq!(
            generated.sample_count(),
            schedule.len() as u64 * stream.samples_per_query()
        );
        all.loaded
            .push(set.indices.iter().map(|index| u64::from(index.0)).collect());
        all.counts.push(generated.query_count);
        all.samples_per_query
            .push(generated.samples_per_query_reported);
        all.durations.push(generated.duration.as_nanos());
        all.schedules.push(schedule);
    }
    all.lengths.sort_unstable();
    all.lengths.dedup();
    all
}

/// Why a vector is not compared, if it is not.
fn reason_to_skip(vector: &Value) -> Option<&'static str> {
    let settings = &vector["case"]["settings"];
    if settings["performance_issue_unique"] == true && settings["performance_issue_same"] == true {
        Some("asks for what this program refuses")
    } else if vector["case"]["mode"] == "FindPeakPerformance" {
        Some("records no deterministic part")
    } else {
        None
    }
}

/// The command line that asks for the case.
fn arguments_of(case: &Value, compat: CompatProfile) -> PlanArgs {
    let settings = case["settings"].as_object().expect("settings");
    let count = |key: &str| usize::try_from(case[key].as_u64().unwrap()).unwrap();
    let test = TestArgs {
        scenario: case["scenario"].as_str().unwrap().parse().unwrap(),
        mode: Some(
            case["mode"]
                .as_str()
                .unwrap_or("PerformanceOnly")
                .parse()
                .unwrap(),
        ),
        total_samples: count("total"),
        performance_samples: Some(count("perf")),
        compat,
        round: None,
        set: settings
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect(),
        conf: ConfArgs::default(),
    };
    PlanArgs { test, json: true }
}

fn plan_of(case: &Value, compat: CompatProfile) -> Result<Plan, String> {
    let arguments = arguments_of(case, compat).test;
    let reader = configured(case);
    let mut reader = reader.unwrap_or_else(|_| configured_without_user_file(case));
    for pair in &arguments.set {
        let (key, value) = split_pair(pair).unwrap();
        let set = reader.settings.set(key, value);
        set.map_err(|error| error.to_string())?;
    }
    if let Some(audit) = case["audit"].as_str() {
        reader
            .apply_audit(Path::new("audit.config"), audit)
            .unwrap();
    }
    let mode = reader.mode.or(arguments.mode).unwrap();
    let performance = arguments.performance_samples.unwrap();
    let total = arguments.total_samples;
    Plan::new(
        &reader.settings,
        arguments.scenario,
        mode,
        total,
        performance,
        compat,
    )
    .map_err(|error| error.to_string())
}

fn empty_reader(case: &Value) -> ConfReader {
    let model = case["model"].as_str().unwrap_or("*");
    ConfReader::new(
        model,
        case["scenario"].as_str().unwrap().parse().unwrap(),
        false,
    )
}

/// The settings after the case's user file, if it has one.
fn configured(case: &Value) -> Result<ConfReader, ConfError> {
    let mut reader = empty_reader(case);
    if let Some(config) = case["config"].as_str() {
        reader.apply_user(Path::new("user.conf"), config)?;
    }
    Ok(reader)
}

/// LoadGen goes on with the built-in table when it refuses the user's file.
fn configured_without_user_file(case: &Value) -> ConfReader {
    let mut reader = empty_reader(case);
    reader.apply_built_in().unwrap();
    reader
}

/// Whether two numbers or other values are the same, reals up to `tolerance`.
fn equal_up_to(tolerance: f64, ours: &Value, theirs: &Value) -> bool {
    match (ours.as_f64(), theirs.as_f64()) {
        (Some(ours), Some(theirs)) => (ours - theirs).abs() <= tolerance * theirs.abs(),
        _ => ours == theirs,
    }
}

/// Whether the settings after the user file are LoadGen's, and refused where it refuses.
fn compare_configuration(vector: &Value) -> Result<(), String> {
    let refused = vector["config_rc"] != 0;
    let reader = configured(&vector["case"]);
    if refused != reader.is_err() {
        return Err(format!("refusal of the file ({reader:?})"));
    }
    let reader = reader.unwrap_or_else(|_| configured_without_user_file(&vector["case"]));
    let ours = serde_json::to_value(&reader.settings).unwrap();
    for (key, expected) in vector["settings_after_config"]
        .as_object()
        .expect("settings")
    {
        let Some(ours) = ours.get(key) else {
            // Token latencies are of language models.
            continue;
        };
        let ours = match ours.as_f64() {
            Some(ppm) if key.ends_with("percentile") => json!(ppm / 1e6),
            _ => ours.clone(),
        };
        // LoadGen multiplies percentiles by 0.01, which may be off in the last digit.
        if !equal_up_to(1e-15, &ours, expected) {
            return Err(format!("{key}: {ours} and not {expected}"));
        }
    }
    Ok(())
}

/// Whether the effective settings are those that LoadGen logged.
fn compare_effective(effective: &Value, plan: &Plan) -> Result<(), String> {
    let ours = plan.effective();
    let expected = [
        ("scenario", json!(ours.scenario.name())),
        ("test_mode", json!(ours.mode.name())),
        ("samples_per_query", json!(ours.samples_per_query)),
        ("target_qps", json!(ours.target_rate.as_per_second())),
        ("target_latency_ns", json!(ours.target_latency.as_nanos())),
        (
            "target_latency_percentile",
            json!(ours.target_quantile.as_share()),
        ),
        ("max_async_queries", json!(ours.max_async_queries)),
        (
            "target_duration_ms",
            json!(ours.target_duration.as_nanos() / 1_000_000),
        ),
        (
            "min_duration_ms",
            json!(ours.min_duration.as_nanos() / 1_000_000),
        ),
        (
            "max_duration_ms",
            json!(ours.max_duration.map_or(0, |d| d.as_nanos() / 1_000_000)),
        ),
        ("min_query_count", json!(ours.min_query_count)),
        ("max_query_count", json!(ours.max_query_count.unwrap_or(0))),
        ("min_sample_count", json!(ours.min_sample_count)),
        ("qsl_rng_seed", json!(ours.seeds.qsl)),
        ("sample_index_rng_seed", json!(ours.seeds.sample_index)),
        ("schedule_rng_seed", json!(ours.seeds.schedule)),
        ("accuracy_log_rng_seed", json!(ours.accuracy_log_seed)),
        (
            "accuracy_log_probability",
            json!(ours.accuracy_log_probability),
        ),
        (
            "accuracy_log_sampling_target",
            json!(ours.accuracy_log_sampling_target),
        ),
        ("print_timestamps", json!(ours.print_timestamps)),
        (
            "performance_issue_unique",
            json!(ours.performance_issue_unique),
        ),
        ("performance_issue_same", json!(ours.performance_issue_same)),
        (
            "performance_issue_same_index",
            json!(ours.performance_issue_same_index),
        ),
        (
            "performance_sample_count",
            json!(ours.performance_sample_count),
        ),
        ("accuracy_sample_count", json!(ours.accuracy_sample_count)),
        (
            "sample_concatenate_permutation",
            json!(ours.sample_concatenate_permutation),
        ),
    ];
    for (key, ours) in expected {
        let logged = &effective[format!("effective_{key}")];
        // Reals are logged with six digits.
        let tolerance = if ours.is_f64() { 1e-5 } else { 0.0 };
        if !equal_up_to(tolerance, &ours, logged) {
            return Err(format!("effective {key}: {ours} and not {logged}"));
        }
    }
    Ok(())
}

/// Whether the printed document says what the plan generates.
fn printed_equals(case: &Value, compat: CompatProfile, ours: &Unrolled) -> bool {
    let mut document = Vec::new();
    print(&arguments_of(case, compat), &mut document).expect("a Vec takes everything");
    let document: Value = serde_json::from_slice(&document).expect("one JSON document");
    let logged: Vec<[u64; 2]> = ours
        .logged
        .iter()
        .map(|(id, index)| [*id, u64::from(*index)])
        .collect();
    document["schema_version"] == 1
        && document["compat"] == compat.name()
        && document["loaded_sets"] == json!(ours.loaded)
        && document["generated_query_count"] == json!(ours.counts)
        && document["generated_samples_per_query"] == json!(ours.samples_per_query)
        && document["generated_query_duration_ns"] == json!(ours.durations)
        && document["stream"] == json!(ours.stream)
        && document["query_lengths"] == json!(ours.lengths)
        && document["schedule_ns"] == json!(ours.schedules)
        && document["accuracy_log"] == json!(logged)
}

/// Compares one vector; the message names the first part that differs.
fn compare(vector: &Value, compat: CompatProfile) -> Result<(), String> {
    let plan = plan_of(&vector["case"], compat)?;
    let ours = unroll(&plan);
    let same = |what: &str, equal: bool| {
        if equal {
            Ok(())
        } else {
            Err(what.to_owned())
        }
    };
    if vector["settings_after_config"].is_object() {
        compare_configuration(vector)?;
    }
    if vector["effective"].is_object() {
        compare_effective(&vector["effective"], &plan)?;
    }
    if vector["case"]["config"].is_null() && vector["case"]["audit"].is_null() {
        same(
            "printed plan",
            printed_equals(&vector["case"], compat, &ours),
        )?;
    }
    let loaded: Vec<Vec<u64>> = vector["loaded_sets"]
        .as_array()
        .expect("sets")
        .iter()
        .map(numbers)
        .collect();
    same("loaded sets", loaded == ours.loaded)?;
    same(
        "query counts",
        numbers(&vector["generated_query_count"]) == ours.counts,
    )?;
    same(
        "samples per query",
        numbers(&vector["generated_samples_per_query"]) == ours.samples_per_query,
    )?;
    same(
        "durations",
        numbers(&vector["generated_query_duration_ns"]) == ours.durations,
    )?;

    let stream = &vector["stream"];
    let mut issued = ours.stream.len();
    if let Some(count) = stream["issued_samples"].as_u64() {
        // A run may stop before it has issued everything that was generated.
        issued = usize::try_from(count).unwrap();
        same(
            "at most what was generated is issued",
            issued <= ours.stream.len(),
        )?;
        same(
            "stream",
            stream["sha256_all"] == sha256(&joined(&ours.stream[..issued])),
        )?;
        let clear = numbers(&stream["indices"]);
        let start: Vec<u64> = ours.stream[..clear.len()]
            .iter()
            .map(|&index| u64::from(index))
            .collect();
        same("start of the stream", clear == start)?;
        let lengths = numbers(&stream["query_lengths"]);
        same("query lengths", issued == 0 || lengths == ours.lengths)?;
    }
    if let Some(groups) = vector["schedule_ns"]["groups"].as_array() {
        same("number of schedules", groups.len() == ours.schedules.len())?;
        for (group, schedule) in groups.iter().zip(&ours.schedules) {
            let count = usize::try_from(group["count"].as_u64().unwrap()).unwrap();
            same("length of the schedule", count <= schedule.len())?;
            same(
                "schedule",
                group["sha256_all"] == sha256(&joined(&schedule[..count])),
            )?;
            let clear = numbers(&group["delta_from_start"]);
            same("start of the schedule", clear == schedule[..clear.len()])?;
        }
    }
    if let Some(entries) = vector["accuracy_log"]["entries"].as_u64() {
        let logged: Vec<&(u64, u32)> = ours
            .logged
            .iter()
            .filter(|(id, _)| *id < issued as u64)
            .collect();
        same("number of logged answers", entries == logged.len() as u64)?;
        let lines: Vec<String> = logged
            .iter()
            .map(|(id, index)| format!("({id}, {index}, '{}')", answer_hex(*index)))
            .collect();
        same(
            "logged answers",
            vector["accuracy_log"]["sha256_sorted"] == sha256(&lines.join(",")),
        )?;
    }
    Ok(())
}

/// Whether a file has what every vector has.
fn is_vector(vector: &Value) -> bool {
    let case = &vector["case"];
    let scenario: Option<Scenario> = case["scenario"].as_str().and_then(|name| name.parse().ok());
    scenario.is_some()
        && case["settings"].is_object()
        && case["total"].is_u64()
        && case["perf"].is_u64()
        && [
            "loaded_sets",
            "generated_query_count",
            "generated_samples_per_query",
        ]
        .iter()
        .chain(&["generated_query_duration_ns"])
        .all(|key| vector[key].is_array())
}

/// Compares every vector of `folder` under each root and gives how many of the repository's were.
fn compare_folder(folder: &str, compat: CompatProfile) -> usize {
    let mut compared_here = 0;
    let mut failures = Vec::new();
    for root in vectors::roots() {
        for path in root.entries(&format!("loadgen/{folder}")) {
            let vector = read_json(&path).unwrap_or_default();
            if let Some(reason) = reason_to_skip(&vector) {
                eprintln!("skipped {}: {reason}", path.display());
                continue;
            }
            if !is_vector(&vector) {
                root.skip(&path, "not a vector");
                continue;
            }
            if let (false, Err(why)) = (root.is_own, plan_of(&vector["case"], compat)) {
                root.skip(&path, &why);
                continue;
            }
            if let Err(what) = compare(&vector, compat) {
                failures.push(format!("{}: {what}", path.display()));
            }
            compared_here += usize::from(root.is_own);
        }
    }
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
    compared_here
}

#[test]
fn golden_plans_equal_loadgen_6() {
    assert_eq!(compare_folder("vectors", CompatProfile::V6), 232);
}

#[test]
fn golden_plans_equal_loadgen_5() {
    assert_eq!(compare_folder("profile_v5/vectors", CompatProfile::V5), 52);
}

#[test]
fn golden_plans_equal_loadgen_4_built_with_gcc_10() {
    assert_eq!(
        compare_folder("profile_v4-gcc10/vectors", CompatProfile::V4Gcc10),
        52
    );
}

#[test]
fn golden_vectors_tell_the_profiles_apart() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/loadgen/vectors/ss_perf_small_64_16.json");
    let vector = read_json(&path).unwrap();
    assert_eq!(compare(&vector, CompatProfile::V6), Ok(()));
    assert!(compare(&vector, CompatProfile::V5).is_err());
    assert!(compare(&vector, CompatProfile::V4Gcc10).is_err());
}

fn stream(seed: u64) -> RandomStream {
    RandomStream::new(seed, BoundedDraw::MultiplyShift)
}

/// FNV-1a, 64 bit, over the values as 32-bit little-endian words.
///
/// The recorder started from a number that lacks the last digit of the usual one.
fn fnv1a64(values: &[u32]) -> String {
    let hash = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .fold(1_469_598_103_934_665_603_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

/// Reads C's `%a` form of a normal number.
fn hex_real(text: &str) -> f64 {
    let (digits, exponent) = text.strip_prefix("0x1").unwrap().split_once('p').unwrap();
    let digits = format!("{:0<13}", digits.trim_start_matches('.'));
    let fraction = u64::from_str_radix(&digits, 16).unwrap();
    let exponent: i64 = exponent.parse().unwrap();
    f64::from_bits((u64::try_from(exponent + 1023).unwrap() << 52) | fraction)
}

fn check_shuffle(row: &Value, seed: u64, count: u32) {
    let mut engine = stream(seed);
    let mut values: Vec<u32> = (0..count).collect();
    engine.shuffle(&mut values);
    let as_u64: Vec<u64> = values.iter().map(|&value| u64::from(value)).collect();
    if row[format!("shuffle_{count}")].is_array() {
        assert_eq!(numbers(&row[format!("shuffle_{count}")]), as_u64);
    }
    if row[format!("shuffle_{count}_first5")].is_array() {
        assert_eq!(
            numbers(&row[format!("shuffle_{count}_first5")]),
            as_u64[..5]
        );
        assert_eq!(
            row[format!("shuffle_{count}_fnv1a64_le32")],
            fnv1a64(&values)
        );
    }
    assert_eq!(row[format!("after_shuffle_{count}")], engine.word());
}

fn check_random_numbers(row: &Value) {
    let seed = row["seed"].as_u64().unwrap();
    for (key, expected) in row.as_object().unwrap() {
        let mut engine = stream(seed);
        if key == "u32" {
            assert!(numbers(expected)
                .iter()
                .all(|&word| word == u64::from(engine.word())));
        } else if let Some(bound) = key.strip_prefix("below_") {
            let bound: u32 = bound.parse().unwrap();
            let equal = numbers(expected)
                .iter()
                .all(|&n| n == u64::from(engine.below(bound)));
            assert!(equal, "seed {seed} {key}");
        } else if key == "canonical_hex" {
            for text in expected.as_array().unwrap() {
                let real = hex_real(text.as_str().unwrap());
                assert_eq!(engine.unit_real().to_bits(), real.to_bits());
            }
        } else if let Some(rate) = key.strip_prefix("gap_ns_qps_") {
            let rate = Rate::per_second(rate.parse().unwrap()).unwrap();
            let equal = numbers(expected)
                .iter()
                .all(|&ns| ns == engine.exponential_gap(rate).as_nanos());
            assert!(equal, "seed {seed} {key}");
        } else if let Some(count) = key.strip_prefix("after_shuffle_") {
            check_shuffle(row, seed, count.parse().unwrap());
        }
    }
}

#[test]
fn golden_random_numbers_equal_the_cpp_standard_library() {
    let mut rows = 0;
    for root in vectors::roots() {
        let path = root.path.join("loadgen/rng_vectors.json");
        let Some(Value::Array(list)) = read_json(&path) else {
            root.skip(&path, "not there or not a list");
            continue;
        };
        list.iter().for_each(check_random_numbers);
        rows += list.len();
    }
    assert!(rows >= 3);
}

#[test]
fn golden_accuracy_runs_ask_for_every_sample() {
    for scenario in Scenario::ALL {
        let name = format!("acc_{scenario}_small_100_33.json");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/loadgen/vectors");
        let plan = plan_of(
            &read_json(&path.join(name)).unwrap()["case"],
            CompatProfile::V6,
        )
        .unwrap();
        assert!(plan.sets().iter().all(|set| set.phase == Phase::Accuracy));
        let mut seen = unroll(&plan).stream;
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, (0..100).collect::<Vec<u32>>());
    }
}
