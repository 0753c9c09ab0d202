//! What the harness adds to bare inference, in time and in memory.
//!
//! `cargo bench --bench overhead` compares, in turns and within one process, a bare loop over a
//! session with the same session behind the pool and the drive loop: SingleStream with one session
//! on all cores, and Offline with a one-thread session on each core. Then it starts itself and
//! `detbench run` as processes of their own and compares their peak resident memory.
//! `docs/measuring.md` says what the figures mean. Nothing here asserts: machines are noisy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::thread::Scope;

use detbench::cli::run::default_onnx;
use detbench::clock::{Clock, Monotonic};
use detbench::drive::{run_set, Control, Stand, Tells, NO_PROGRESS_LIMIT};
use detbench::fetch::{default_pictures, Cache, Silent};
use detbench::library::photos::open_photos;
use detbench::library::{LibraryOptions, LoadedSamples, SampleLibrary};
use detbench::metrics::LatencySummary;
use detbench::model::onnx::FourColumns;
use detbench::model::{ModelDescription, Reading};
use detbench::placement::pin_current_thread;
use detbench::plan::Plan;
use detbench::postprocess::NmsMode;
use detbench::runtime::{disable_telemetry, locate, Model, OnnxModel, Runtime, SessionOptions};
use detbench::scenario::{Scenario, TestMode};
use detbench::settings::compat::CompatProfile;
use detbench::settings::test_settings::TestSettings;
use detbench::summary::{conclude, Rules, Summary};
use detbench::sut::pool::{Assignment, DetectorFactory, Inputs, ModelFactory, Pool, Seat, WarmUp};
use detbench::units::{Latency, SampleId, SampleIndex};

/// Nobody interrupts the bench but the system.
static NEVER: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Turns of each comparison. Every turn opens sessions of its own on both sides: where a session's
/// memory happens to lie moves its speed by some per cent, for as long as it lives.
const TURNS: usize = 9;

/// Pairs of blocks in one turn of SingleStream, each with a block of either side.
const PAIRS: usize = 6;

/// Inferences of a bare block, and queries of a SingleStream run.
const INFERENCES: usize = 50;

/// Samples of an Offline run for each core in one turn: its end, where one core is through and
/// another still works, is one part in so many.
const OFFLINE_SAMPLES: usize = 300;

struct Subject {
    runtime: Runtime,
    onnx: PathBuf,
    description: ModelDescription,
    samples: Arc<LoadedSamples>,
    cpus: Vec<usize>,
}

impl Subject {
    fn prepare() -> Self {
        let cache = Cache::locate().expect("a cache");
        let description = detbench::model::known::find("ssdlite-mobilenet-v2").expect("known");
        let folder = default_pictures(&cache, &Silent).expect("the photos");
        let preprocessing = description.input.preprocessing.clone();
        let (library, _) =
            open_photos(&folder, preprocessing, LibraryOptions::default()).expect("readable");
        let all: Vec<_> = (0..library.total_count() as u32).map(SampleIndex).collect();
        let samples = library.load(&all, &|_| {}).expect("decodable");
        let located = locate(None, &Silent).expect("ONNX Runtime");
        let cpus = detbench::placement::allowed_cpus().expect("a mask");
        Self {
            runtime: Runtime::load(&located, false).expect("loadable"),
            onnx: default_onnx(&Silent).expect("the default model"),
            description,
            samples: Arc::new(samples),
            cpus: cpus.as_slice().to_vec(),
        }
    }

    fn open(&self, cpus: &[usize]) -> OnnxModel {
        let options = SessionOptions {
            intra_threads: cpus.len(),
            intra_affinity: (cpus.len() > 1).then(|| cpus.to_vec()),
            outputs: self.description.outputs.tensor_names(),
            ..SessionOptions::default()
        };
        OnnxModel::open(&self.runtime, &self.onnx, &options).expect("a session")
    }

    /// Makes a worker's detectors.
    fn detectors(&self) -> DetectorFactory {
        let reading = Reading::new(&self.description, &FourColumns::new()).expect("anchors");
        Arc::new(move || {
            let detector = reading.detector(Some(NmsMode::Regular));
            vec![detector.expect("the model file's own settings")]
        })
    }

    /// A pool with an instance on each of `seats`.
    fn pool(self: &Arc<Self>, seats: &[Vec<usize>]) -> Pool {
        let places = seats.to_vec();
        let subject = Arc::clone(self);
        let make: ModelFactory =
            Arc::new(move |instance| Ok(Box::new(subject.open(&places[instance]))));
        let seats: Vec<Seat> = seats
            .iter()
            .map(|cpus| Seat {
                worker_cpus: Some(cpus[..1].to_vec()),
            })
            .collect();
        Pool::start("bench".to_owned(), &seats, &make, Monotonic::new()).expect("a pool")
    }
}

/// Latencies (ns) of a bare loop on a thread of its own, pinned as a worker is.
fn bare(model: &mut OnnxModel, samples: &LoadedSamples, count: usize) -> Vec<u64> {
    let clock = Monotonic::new();
    let pictures = samples.indices().len();
    (0..count)
        .map(|turn| {
            let before = clock.now();
            let index = samples.indices()[turn % pictures];
            model.run(samples.tensor(index)).expect("an inference");
            clock.now().since(before).as_nanos()
        })
        .collect()
}

/// One run through the pool; closed loop for SingleStream, one burst for Offline.
fn through(
    subject: &Subject,
    pool: &mut Pool,
    scenario: Scenario,
    settings: &[(&str, String)],
) -> Summary {
    let mut test = TestSettings::default();
    for (key, value) in settings {
        test.set(key, value).expect("a setting");
    }
    let pictures = subject.samples.indices().len();
    let mode = TestMode::PerformanceOnly;
    let plan =
        Plan::new(&test, scenario, mode, pictures, pictures, CompatProfile::V6).expect("a plan");
    let assignment = Assignment {
        inputs: Inputs::Prepared(Arc::clone(&subject.samples)),
        detectors: subject.detectors(),
        batch_size: 1,
        batch_timeout: Latency::ZERO,
        warm_up: WarmUp {
            inferences: Some(3),
            duration: None,
        },
        warm_up_sample: SampleIndex(0),
        answers: None,
        interrupted: &NEVER,
    };
    let clock = pool.clock();
    let mut run = pool.begin(&assignment).expect("warm workers");
    let mut stand = Stand {
        sut: &mut run,
        tells: Tells {
            stages: true,
            preprocess: false,
        },
        clock: &clock,
        control: Control {
            interrupted: &AtomicBool::new(false),
            no_progress_limit: NO_PROGRESS_LIMIT,
        },
        observe: &mut |_| {},
    };
    let (record, ending) = run_set(&plan, &plan.sets()[0], SampleId(0), &mut stand);
    conclude(
        record,
        plan.effective(),
        ending.expect("a run"),
        Rules::MLPERF,
    )
}

/// Lower quartile, median and upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[values.len() * quarter / 4])
}

fn single_stream(subject: &Arc<Subject>) {
    let all = subject.cpus.clone();
    let settings = [
        ("min_query_count", INFERENCES.to_string()),
        ("min_duration_ms", "1".to_owned()),
        ("single_stream_expected_latency_ns", "1000".to_owned()),
    ];
    let (mut ratios, mut around, mut inference) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let mut pool = subject.pool(std::slice::from_ref(&all));
        std::thread::scope(|scope| {
            let mut bare = BareSession::open(scope, subject, &all);
            // The first pair only warms both sides up.
            for pair in 0..=PAIRS {
                let bare_first = (pair % 2 == 0).then(|| bare.p50());
                let summary = through(subject, &mut pool, Scenario::SingleStream, &settings);
                let bare_p50 = bare_first.unwrap_or_else(|| bare.p50());
                if pair == 0 {
                    continue;
                }
                let stages = summary.stages.expect("the pool tells its stages");
                let p50 = stages.inference.p50.as_nanos() as f64;
                let others = stages.queue.p50.as_nanos() + stages.postprocess.p50.as_nanos();
                ratios.push(p50 / bare_p50);
                inference.push(p50 / 1e6);
                around.push(others as f64 / 1e3);
            }
        });
    }
    let [low, ratio, high] = quartiles(ratios);
    println!(
        "SingleStream, one session on {} cores: inference p50 {:.3} ms, {ratio:.4} of the bare loop's (quartiles {low:.3} to {high:.3}); queue + NMS p50 {:.1} us",
        all.len(),
        quartiles(inference)[1],
        quartiles(around)[1]
    );
}

/// A bare session on a pinned thread of its own, which loops when it is asked to.
struct BareSession {
    ask: Sender<()>,
    answers: Receiver<f64>,
}

impl BareSession {
    fn open<'scope>(
        scope: &'scope Scope<'scope, '_>,
        subject: &'scope Subject,
        cpus: &'scope [usize],
    ) -> Self {
        let (ask, asked) = channel();
        let (answer, answers) = channel();
        scope.spawn(move || {
            pin_current_thread(&cpus[..1]).expect("an allowed CPU");
            let mut model = subject.open(cpus);
            for () in asked {
                let mut latencies = bare(&mut model, &subject.samples, INFERENCES);
                let summary = LatencySummary::from_unsorted(&mut latencies).expect("some");
                let told = answer.send(summary.p50.as_nanos() as f64);
                told.expect("the bench waits for it");
            }
        });
        Self { ask, answers }
    }

    /// The median latency (ns) of one block.
    fn p50(&mut self) -> f64 {
        self.ask.send(()).expect("the thread waits for it");
        self.answers.recv().expect("the thread answers")
    }
}

fn offline(subject: &Arc<Subject>) {
    let seats: Vec<Vec<usize>> = subject.cpus.iter().map(|&cpu| vec![cpu]).collect();
    let samples = OFFLINE_SAMPLES * seats.len();
    let settings = [
        ("min_query_count", samples.to_string()),
        ("min_duration_ms", "1".to_owned()),
    ];
    let mut ratios = Vec::new();
    let mut rates = Vec::new();
    for turn in 0..TURNS {
        let bare_first = (turn % 2 == 0).then(|| bare_side_by_side(subject, &seats));
        let mut pool = subject.pool(&seats);
        let summary = through(subject, &mut pool, Scenario::Offline, &settings);
        drop(pool);
        let rate = summary.samples_per_second.expect("answers");
        rates.push(rate);
        ratios.push(rate / bare_first.unwrap_or_else(|| bare_side_by_side(subject, &seats)));
    }
    let [low, ratio, high] = quartiles(ratios);
    println!(
        "Offline, {} one-thread sessions: {:.1} images/s with NMS, {ratio:.4} of the bare loops' side by side (quartiles {low:.3} to {high:.3})",
        seats.len(),
        quartiles(rates)[1],
    );
}

/// Inferences a second of bare loops on all seats at once.
fn bare_side_by_side(subject: &Subject, seats: &[Vec<usize>]) -> f64 {
    let barrier = Barrier::new(seats.len());
    let rates: Vec<f64> = std::thread::scope(|scope| {
        let barrier = &barrier;
        let loops: Vec<_> = seats
            .iter()
            .map(|cpus| {
                scope.spawn(move || {
                    pin_current_thread(cpus).expect("an allowed CPU");
                    let mut model = subject.open(cpus);
                    bare(&mut model, &subject.samples, 3);
                    barrier.wait();
                    let clock = Monotonic::new();
                    bare(&mut model, &subject.samples, OFFLINE_SAMPLES);
                    OFFLINE_SAMPLES as f64 / clock.now().as_nanos() as f64 * 1e9
                })
            })
            .collect();
        loops
            .into_iter()
            .map(|one| one.join().expect("no panic"))
            .collect()
    });
    rates.iter().sum()
}

/// Peak resident memory of this process so far, in MiB.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .expect("Linux");
    let kib: f64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number");
    kib / 1024.0
}

/// The bare loops of `seats` in a process of their own; prints its peak memory.
fn child(layout: &str) {
    let subject = Subject::prepare();
    let seats: Vec<Vec<usize>> = match layout {
        "wide" => vec![subject.cpus.clone()],
        _ => subject.cpus.iter().map(|&cpu| vec![cpu]).collect(),
    };
    bare_side_by_side(&subject, &seats);
    println!("{}", peak_mib());
}

fn memory() {
    let own = std::env::current_exe().expect("a path");
    for (layout, scenario) in [("wide", "SingleStream"), ("narrow", "Offline")] {
        let bare = Command::new(&own).arg(layout).output().expect("a child");
        let bare: f64 = String::from_utf8_lossy(&bare.stdout)
            .trim()
            .parse()
            .expect("a number");
        let run = peak_of_run(scenario);
        println!(
            "{scenario}: peak memory {run:.1} MiB, {:.1} MiB over bare loops",
            run - bare
        );
    }
}

/// Peak memory of `detbench run`, watched from outside.
fn peak_of_run(scenario: &str) -> f64 {
    let results = tempfile::tempdir().expect("a folder");
    let mut run = Command::new(Path::new(env!("CARGO_BIN_EXE_detbench")))
        .args([
            "run",
            "--benchmark-only",
            "--json",
            "--nms",
            "regular",
            "--duration",
            "4s",
            "--set",
            "min_query_count=100",
        ])
        .args(["--scenario", scenario, "--output-dir"])
        .arg(results.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program");
    let status = format!("/proc/{}/status", run.id());
    let clock = Monotonic::new();
    let mut peak = 0.0_f64;
    while run.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmHWM"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        peak = peak.max(kib.unwrap_or(0.0) / 1024.0);
        clock.sleep_until(clock.now() + Latency::from_millis(20));
    }
    peak
}

fn main() {
    disable_telemetry();
    let argument = std::env::args().nth(1).unwrap_or_default();
    if matches!(argument.as_str(), "wide" | "narrow") {
        return child(&argument);
    }
    // `cargo test --benches` only wants to know that this compiles.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let subject = Arc::new(Subject::prepare());
    single_stream(&subject);
    offline(&subject);
    drop(subject);
    memory();
}
