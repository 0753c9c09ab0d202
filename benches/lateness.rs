//! How late queries leave: Server at 10 000 queries a second against a system that answers inside
//! the issue call.
//!
//! `cargo bench --bench lateness [-- SECONDS [SPIN_US]]` prints percentiles of the issue delay of some
//! turns. With `DETBENCH_LOADGEN_PYTHON` naming a Python that has the `mlcommons-loadgen` wheel,
//! LoadGen takes turns with us, by the script `benches/lateness_loadgen.py`.
//! Asked for: p50 at most 5 us on an idle core, p99 no worse than LoadGen's in the same minute.
//! Nothing here asserts: machines are noisy.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use detbench::clock::{Monotonic, SPIN};
use detbench::drive::{run_set, Control, Stand, Tells, NO_PROGRESS_LIMIT};
use detbench::metrics::percentile::percentile_of_sorted;
use detbench::plan::Plan;
use detbench::scenario::{Scenario, TestMode};
use detbench::settings::compat::CompatProfile;
use detbench::settings::test_settings::TestSettings;
use detbench::sut::null::Null;
use detbench::units::{Latency, Quantile, SampleId};

const TURNS: usize = 3;

/// Seconds of a turn without another word.
const SECONDS: u64 = 5;

const RATE: &str = "10000";

/// Names a Python that has LoadGen.
const PYTHON: &str = "DETBENCH_LOADGEN_PYTHON";

fn main() {
    let mut words = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok());
    let seconds = words.next().unwrap_or(SECONDS);
    let spin = words.next().map_or(SPIN, Latency::from_micros);
    let python = std::env::var_os(PYTHON);
    if python.is_none() {
        println!("LoadGen is not measured: {PYTHON} names no Python that has its wheel");
    }
    println!("Server, {RATE} queries/s, {seconds} s a turn, last {spin} spun");
    println!("issue delay       p50        p99      p99.9        max");
    for _ in 0..TURNS {
        print("detbench", ours(seconds, spin));
        if let Some(python) = &python {
            print("LoadGen", loadgen(Path::new(python), seconds));
        }
    }
}

/// Issue delays of one run, nanoseconds.
fn ours(seconds: u64, spin: Latency) -> Vec<u64> {
    let clock = Monotonic::new().with_spin(spin);
    clock.lower_timer_slack();
    let mut settings = TestSettings::default();
    let duration = (seconds * 1_000).to_string();
    for (key, value) in [
        ("min_duration_ms", duration.as_str()),
        ("server_target_qps", RATE),
    ] {
        settings.set(key, value).expect("settings of the bench");
    }
    let (scenario, mode) = (Scenario::Server, TestMode::PerformanceOnly);
    let plan = Plan::new(&settings, scenario, mode, 5000, 1024, CompatProfile::V6).expect("a plan");
    let mut stand = Stand {
        sut: &mut Null::new(clock),
        tells: Tells::default(),
        clock: &clock,
        control: Control {
            interrupted: &AtomicBool::new(false),
            no_progress_limit: NO_PROGRESS_LIMIT,
        },
        observe: &mut |_| {},
    };
    let (record, ending) = run_set(&plan, &plan.sets()[0], SampleId(0), &mut stand);
    ending.expect("null never fails");
    record.issue_delays().map(Latency::as_nanos).collect()
}

/// The same of LoadGen: the script prints one a line.
fn loadgen(python: &Path, seconds: u64) -> Vec<u64> {
    let folder = tempfile::tempdir().expect("a folder for LoadGen's logs");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/lateness_loadgen.py");
    let output = Command::new(python)
        .args([script, RATE, &seconds.to_string()])
        .current_dir(folder.path())
        .output()
        .expect("a Python that starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("numbers");
    let delay = |line: &str| line.parse().expect("a delay a line");
    text.lines().map(delay).collect()
}

fn print(name: &str, mut delays: Vec<u64>) {
    delays.sort_unstable();
    let at = |quantile| percentile_of_sorted(&delays, quantile).map(|at| at.to_string());
    let [p50, p99, p99_9] = [Quantile::P50, Quantile::P99, Quantile::P99_9].map(at);
    let max = delays.last().map(|&ns| Latency::from_nanos(ns).to_string());
    let [p50, p99, p99_9, max] = [p50, p99, p99_9, max].map(Option::unwrap_or_default);
    println!("{name:<10} {p50:>10} {p99:>10} {p99_9:>10} {max:>10}");
}
