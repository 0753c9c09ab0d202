//! What an int8 model gains in time, and what making one takes.
//!
//! `cargo bench --bench int8 [-- FLOAT.onnx PICTURES]` quantises the model with `detbench quantize` as a process of its
//! own, with the recipes `default` and `fast`, and prints how long that took and its peak resident memory. Then
//! one-thread sessions of the float model and of both results run block by block in turn on one pinned thread, and each
//! int8 model's speed is told as a ratio to the float model's of the same turn. Without arguments it takes the default
//! model and photographs. Nothing here asserts: machines are noisy.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use detbench::cli::run::default_onnx;
use detbench::clock::{Clock, Monotonic};
use detbench::fetch::{default_pictures, Cache, Silent};
use detbench::laboratory::turns::Spread;
use detbench::library::{LibraryOptions, LoadedSamples, PictureLibrary, SampleLibrary};
use detbench::metrics::LatencySummary;
use detbench::model::ModelDescription;
use detbench::placement::{allowed_cpus, pin_current_thread};
use detbench::runtime::{disable_telemetry, locate, Model, OnnxModel, Runtime, SessionOptions};
use detbench::units::{Latency, SampleIndex};

const RECIPES: [&str; 2] = ["default", "fast"];

/// Turns; each opens sessions of its own, because where a session's memory happens to lie moves its speed.
const TURNS: usize = 9;
/// Blocks of each model in a turn.
const BLOCKS: usize = 4;
/// Inferences in a block.
const INFERENCES: usize = 25;
/// Pictures that the inferences go through in turn.
const PICTURES: usize = 8;

/// A model with pictures prepared for it.
struct Side {
    onnx: PathBuf,
    description: ModelDescription,
    samples: LoadedSamples,
}

impl Side {
    fn new(onnx: PathBuf, description: ModelDescription, pictures: &Path) -> Self {
        let (library, _) = PictureLibrary::open(
            pictures,
            None,
            description.input.preprocessing.clone(),
            LibraryOptions::default(),
        )
        .expect("pictures");
        let count = library.total_count().min(PICTURES) as u32;
        let indices: Vec<_> = (0..count).map(SampleIndex).collect();
        let samples = library.load(&indices, &|_| {}).expect("decodable");
        Self {
            onnx,
            description,
            samples,
        }
    }

    fn open(&self, runtime: &Runtime) -> OnnxModel {
        let options = SessionOptions {
            intra_threads: 1,
            outputs: self.description.outputs.tensor_names(),
            ..SessionOptions::default()
        };
        OnnxModel::open(runtime, &self.onnx, &options).expect("a session")
    }

    /// Median latency (ns) of a block.
    fn block(&self, model: &mut OnnxModel) -> f64 {
        let clock = Monotonic::new();
        let indices = self.samples.indices();
        let mut latencies: Vec<u64> = (0..INFERENCES)
            .map(|turn| {
                let picture = self.samples.tensor(indices[turn % indices.len()]);
                let before = clock.now();
                model.run(picture).expect("an inference");
                clock.now().since(before).as_nanos()
            })
            .collect();
        let summary = LatencySummary::from_unsorted(&mut latencies).expect("some");
        summary.p50.as_nanos() as f64
    }
}

/// Quantises; says how long the command itself took (without its comparison) and its peak memory.
fn quantise(float: &Path, pictures: &Path, recipe: &str, output: &Path) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_detbench"))
        .arg("quantize")
        .arg(float)
        .args(["--preset", recipe, "--json", "--calibration"])
        .arg(pictures)
        .arg("-o")
        .arg(output)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program");
    let status = format!("/proc/{}/status", child.id());
    let clock = Monotonic::new();
    let mut peak_mib = 0.0_f64;
    while child.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmHWM"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        peak_mib = peak_mib.max(kib.unwrap_or(0.0) / 1024.0);
        clock.sleep_until(clock.now() + Latency::from_millis(20));
    }
    let output = child.wait_with_output().expect("a child");
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("the report of a model that was quantised");
    println!(
        "{recipe}: {} pictures, {:.1} s, peak memory {peak_mib:.0} MiB; dp {}, agreement {}",
        report["calibration_pictures"],
        report["seconds"].as_f64().expect("a number"),
        report["dp"],
        report["agreement"]
    );
}

fn main() {
    disable_telemetry();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` only wants to know that this compiles.
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    let mut given = arguments
        .iter()
        .filter(|argument| !argument.starts_with("--"));
    let float = given.next().map_or_else(
        || default_onnx(&Silent).expect("the default model"),
        PathBuf::from,
    );
    let pictures = given.next().map_or_else(
        || {
            let cache = Cache::locate().expect("a cache");
            default_pictures(&cache, &Silent).expect("the photographs")
        },
        PathBuf::from,
    );
    let folder = tempfile::tempdir().expect("a folder");
    let results = RECIPES.map(|recipe| folder.path().join(format!("{recipe}.onnx")));
    for (recipe, output) in RECIPES.iter().zip(&results) {
        quantise(&float, &pictures, recipe, output);
    }

    let described = |onnx: &PathBuf| {
        let toml = onnx.with_extension("toml");
        ModelDescription::read(&toml).expect("the model file beside it")
    };
    let plain = ModelDescription {
        name: "fp32".to_owned(),
        ..described(&results[0])
    };
    let mut sides = vec![Side::new(float, plain, &pictures)];
    sides.extend(results.iter().map(|onnx| {
        let description = described(onnx);
        Side::new(onnx.clone(), description, &pictures)
    }));
    compare(&sides);
}

/// Prints each model's median latency, and the ratios of the first to the others.
fn compare(sides: &[Side]) {
    let located = locate(None, &Silent).expect("ONNX Runtime");
    let runtime = Runtime::load(&located, false).expect("loadable");
    let cpus = allowed_cpus().expect("a mask");
    pin_current_thread(&cpus.as_slice()[..1]).expect("an allowed CPU");
    let mut latencies = vec![Vec::new(); sides.len()];
    let mut ratios = vec![Vec::new(); sides.len()];
    for _ in 0..TURNS {
        let mut models: Vec<_> = sides.iter().map(|side| side.open(&runtime)).collect();
        // The first block only warms up.
        for block in 0..=BLOCKS {
            let both = sides.iter().zip(&mut models);
            let blocks: Vec<f64> = both.map(|(side, model)| side.block(model)).collect();
            if block > 0 {
                for (index, own) in blocks.iter().enumerate() {
                    latencies[index].push(own / 1e6);
                    ratios[index].push(blocks[0] / own);
                }
            }
        }
    }
    for ((side, own), ratio) in sides.iter().zip(latencies).zip(ratios) {
        let ratio = Spread::of(ratio).expect("blocks");
        println!(
            "{}: p50 {:.3} ms, {:.3} times as fast as fp32 (quartiles {:.3} to {:.3})",
            side.description.name,
            Spread::of(own).expect("blocks").median,
            ratio.median,
            ratio.low,
            ratio.high
        );
    }
}
