//! The fuzz targets' bodies on the recorded files, on damaged ones, and on any bytes.
//!
//! `cargo fuzz run conf` (in `fuzz/`, with a nightly compiler) goes on where this ends.
//! `PROPTEST_CASES` sets the number of cases.

mod fuzzed;
mod tflite_writer;
mod vectors;

use proptest::prelude::*;
use serde_json::Value;

const BUILT_IN: &str = include_str!("../src/settings/built_in.conf");
const SMOKE: &str = include_str!("../scenarios/smoke.toml");
const SERVER: &str = include_str!("../scenarios/server.toml");
const LPOT: &str = include_str!("../src/tune/lpot/full.yaml");

/// Files of LoadGen's own recordings, and the built-in table.
fn golden_confs() -> Vec<String> {
    let mut confs = vec![BUILT_IN.to_owned()];
    for path in vectors::roots()[0].entries("loadgen/vectors") {
        let vector = std::fs::read(&path).unwrap();
        let vector: Value = serde_json::from_slice(&vector).unwrap();
        let files =
            ["config", "audit"].map(|kind| vector["case"][kind].as_str().map(str::to_owned));
        confs.extend(files.into_iter().flatten());
    }
    confs.sort();
    confs.dedup();
    confs
}

#[test]
fn golden_files_keep_what_the_fuzz_target_asks() {
    let confs = golden_confs();
    assert!(confs.len() >= 8, "{}", confs.len());
    for conf in confs {
        fuzzed::conf(conf.as_bytes());
    }
    fuzzed::scenario(SMOKE.as_bytes());
    fuzzed::scenario(SERVER.as_bytes());
}

/// Pieces from which both kinds of files are made, and what breaks them.
const PIECES: [&str; 60] = [
    "*",
    ".",
    "=",
    " ",
    "\n",
    "#",
    "\t",
    "\r\n",
    "\u{a0}",
    "\u{2028}",
    "\0",
    "[",
    "]",
    "\"",
    "'",
    "0",
    "1",
    "-1",
    "0x10",
    "010",
    "0.5",
    "1e3",
    "1e400",
    "nan",
    "inf",
    "-0",
    "99",
    "100",
    "18446744073709551616",
    "4294967297",
    "0.01",
    "\u{b}",
    "Server",
    "Offline",
    "SingleStream",
    "MultiStream",
    "retinanet",
    "mode",
    "target_qps",
    "target_latency",
    "target_latency_percentile",
    "samples_per_query",
    "min_duration",
    "min_query_count",
    "max_duration",
    "performance_issue_same",
    "performance_issue_same_index",
    "performance_issue_unique",
    "sample_concatenate_permutation",
    "performance_sample_count_override",
    "accuracy_log_sampling_target",
    "test05",
    "qsl_rng_seed",
    "title = 'x'\n",
    "[[run]]\n",
    "scenario = 'Server'\n",
    "min_query_count = ",
    "batch_size = ",
    "server_target_qps = ",
    "\"measured\"\n",
];

/// A file with a few of its bytes replaced and a piece of it doubled or lost.
fn damaged(files: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let span = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        any::<bool>(),
    );
    (prop::sample::select(files), flips, span).prop_map(
        |(mut bytes, flips, (from, to, doubled))| {
            if bytes.is_empty() {
                return bytes;
            }
            for (at, byte) in flips {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let (from, to) = (from.min(to), from.max(to));
            let piece: Vec<u8> = bytes.drain(from..to).collect();
            if doubled {
                bytes.extend_from_slice(&piece);
                bytes.extend_from_slice(&piece);
            }
            bytes
        },
    )
}

fn pieced() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)
        .prop_map(|pieces| pieces.concat().into_bytes())
}

/// Entries that are nearly right: a known key and a number that may be none.
fn entries() -> impl Strategy<Value = Vec<u8>> {
    let models = prop::sample::select(&["*", "retinanet", "other"][..]);
    let scenarios = prop::sample::select(&["*", "Server", "Offline", "MultiStream", "Sever"][..]);
    let names = prop::sample::select(&PIECES[37..53]);
    let values = prop_oneof![
        prop::sample::select(&PIECES[15..31]).prop_map(str::to_owned),
        any::<u64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| value.to_string()),
    ];
    let entry = (models, scenarios, names, values).prop_map(|(model, scenario, name, value)| {
        format!("{model}.{scenario}.{name} = {value}\n")
    });
    prop::collection::vec(entry, 0..12).prop_map(|entries| entries.concat().into_bytes())
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: ProptestConfig::default().cases.max(1_000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn any_configuration_file_comes_to_settings_or_one_sentence() {
    let files: Vec<Vec<u8>> = golden_confs().into_iter().map(String::into_bytes).collect();
    let bytes = prop_oneof![
        2 => damaged(files),
        2 => entries(),
        2 => pieced(),
        1 => prop::collection::vec(any::<u8>(), 0..400),
    ];
    proptest!(config(), |(bytes in bytes)| fuzzed::conf(&bytes));
}

#[test]
fn any_scenario_file_comes_to_runs_or_one_sentence() {
    let files = vec![SMOKE.as_bytes().to_vec(), SERVER.as_bytes().to_vec()];
    let bytes = prop_oneof![
        2 => damaged(files),
        2 => pieced(),
        1 => prop::collection::vec(any::<u8>(), 0..400),
    ];
    proptest!(config(), |(bytes in bytes)| fuzzed::scenario(&bytes));
}

/// Pieces of LPOT's files, and what YAML reads in its own way.
const YAML_PIECES: [&str; 50] = [
    "\n",
    "\n  ",
    "\n    ",
    "\n      ",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "'",
    "\"",
    "#",
    "|\n",
    ">\n",
    "&a ",
    "*a",
    "<<: *a",
    "!!str ",
    "---\n",
    "...\n",
    "? ",
    "%",
    "@",
    "\t",
    "\r\n",
    "~",
    "true",
    "no",
    "1%",
    "-1",
    "1e400",
    ".5",
    "100, 200",
    "tuning:",
    "quantization:",
    "op_wise:",
    "model_wise:",
    "weight:",
    "activation:",
    "dtype:",
    "int8",
    "fp32",
    "conv(",
    "algorithm:",
    "percentile_99",
    "accuracy_criterion:",
    "relative:",
    "detbench:",
];

#[test]
fn any_lpot_file_comes_to_a_request_or_one_sentence() {
    fuzzed::lpot(LPOT.as_bytes());
    let pieces = prop::collection::vec(prop::sample::select(&YAML_PIECES[..]), 0..60);
    let bytes = prop_oneof![
        3 => damaged(vec![LPOT.as_bytes().to_vec()]),
        3 => pieces.prop_map(|pieces| pieces.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..400),
    ];
    proptest!(config(), |(bytes in bytes)| fuzzed::lpot(&bytes));
}

/// A detector of one layer for each head, and its weights behind the last line.
const TFJS: &str = concat!(
    r#"{"modelTopology":{"node":["#,
    r#"{"name":"image","op":"Placeholder","attr":{"dtype":{"type":"DT_FLOAT"},"shape":{"shape":{"dim":[{"size":"-1"},{"size":"2"},{"size":"2"},{"size":"3"}]}}}},"#,
    r#"{"name":"w","op":"Const"},{"name":"shape","op":"Const"},"#,
    r#"{"name":"conv","op":"Conv2D","input":["image","w"],"attr":{"strides":{"list":{"i":["1","1","1","1"]}},"padding":{"s":"U0FNRQ=="}}},"#,
    r#"{"name":"up","op":"ResizeNearestNeighbor","input":["conv","size"]},{"name":"size","op":"Const"},"#,
    r#"{"name":"boxes","op":"Reshape","input":["up","shape"]},"#,
    r#"{"name":"exp","op":"Exp","input":["boxes"]},"#,
    r#"{"name":"scores","op":"Reshape","input":["conv","shape"]},"#,
    r#"{"name":"sigmoid","op":"Sigmoid","input":["scores"]}]},"#,
    r#""weightsManifest":[{"paths":["shard"],"weights":["#,
    r#"{"name":"w","shape":[1,1,3,4],"dtype":"float32","quantization":{"dtype":"uint8","scale":0.1,"min":-1}},"#,
    r#"{"name":"shape","shape":[3],"dtype":"int32"},{"name":"size","shape":[2],"dtype":"int32"}]}]}"#,
    "\n",
);

fn tfjs_file() -> Vec<u8> {
    let weights = (0..12).collect::<Vec<u8>>();
    let integers = [-1_i32, 4, 4, 2, 2].map(i32::to_le_bytes).concat();
    [TFJS.as_bytes(), &weights, &integers].concat()
}

#[test]
fn any_tflite_file_comes_to_a_graph_or_one_sentence() {
    let files = [false, true]
        .map(tflite_writer::quantized_detector)
        .to_vec();
    for file in &files {
        fuzzed::tflite(file);
    }
    let bytes = prop_oneof![
        8 => damaged(files),
        1 => prop::collection::vec(any::<u8>(), 0..400),
    ];
    proptest!(config(), |(bytes in bytes)| fuzzed::tflite(&bytes));
}

#[test]
fn any_tensorflow_js_model_comes_to_a_graph_or_one_sentence() {
    fuzzed::tfjs(&tfjs_file());
    let bytes = prop_oneof![
        8 => damaged(vec![tfjs_file()]),
        1 => pieced(),
    ];
    proptest!(config(), |(bytes in bytes)| fuzzed::tfjs(&bytes));
}
