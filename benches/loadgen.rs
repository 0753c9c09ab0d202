//! What the load generator itself costs: time a query and memory, against a system that answers
//! inside the issue call.
//!
//! `cargo bench --bench loadgen [-- COUNT]` runs each scenario with COUNT queries (Offline: samples; ten
//! million by default) in a process of its own, from the first query to the written run folder.
//! Budget: 0.25 us a query of SingleStream and of a saturated Server, 20 ns an Offline sample,
//! generation included; 24 bytes a query and 12 an Offline sample of peak resident memory.
//! Nothing here asserts: machines are noisy.

use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use detbench::clock::{Clock, Monotonic};
use detbench::drive::{run_set, Control, Stand, Tells, NO_PROGRESS_LIMIT};
use detbench::plan::Plan;
use detbench::report::folder::RunFolder;
use detbench::report::mlperf::{SetLog, TestLog};
use detbench::report::raw;
use detbench::scenario::{Scenario, TestMode};
use detbench::settings::compat::CompatProfile;
use detbench::settings::test_settings::TestSettings;
use detbench::summary::{conclude, Rules};
use detbench::sut::null::Null;
use detbench::units::{Latency, SampleId};

/// Queries of a run without another word.
const COUNT: u64 = 10_000_000;

/// What is measured: a scenario and its issuing threads.
const CASES: [(Scenario, u32); 5] = [
    (Scenario::SingleStream, 1),
    (Scenario::MultiStream, 1),
    (Scenario::Server, 1),
    (Scenario::Server, 2),
    (Scenario::Offline, 1),
];

/// A child's first argument: the scenario follows, then its threads, then the count.
const CHILD: &str = "child-of-the-loadgen-bench";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, scenario, threads, count] = &words[..] {
        if first == CHILD {
            return child(
                scenario.parse().expect("a scenario"),
                threads.parse().expect("a number of threads"),
                count.parse().expect("a count"),
            );
        }
    }
    let count = words.iter().find_map(|word| word.parse().ok());
    let count = count.unwrap_or(COUNT).to_string();
    println!("{count} queries (Offline: samples) each; ns and bytes are for each of them");
    println!("scenario     threads  plan ns  drive ns  conclude ns  write ns  peak bytes  bytes before writing");
    for (scenario, threads) in CASES {
        let program = std::env::current_exe().expect("our own path");
        let arguments = [CHILD, scenario.name(), &threads.to_string(), count.as_str()];
        let status = Command::new(program).args(arguments).status();
        assert!(status.expect("a child").success(), "{scenario} failed");
    }
}

/// Peak resident memory of this process so far, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        * 1024
}

fn settings(count: u64, threads: u32) -> TestSettings {
    let mut settings = TestSettings::default();
    // Far beyond what anything answers, so that every query is due when the last has left.
    for (key, value) in [
        ("min_duration_ms", "0"),
        ("server_target_qps", "100000000"),
        ("min_query_count", &count.to_string()),
        ("server_num_issue_query_threads", &threads.to_string()),
    ] {
        settings.set(key, value).expect("settings of the bench");
    }
    settings
}

fn child(scenario: Scenario, threads: u32, count: u64) {
    let clock = Monotonic::new();
    let before = peak_memory();
    let began = clock.now();
    let queries = if scenario == Scenario::MultiStream {
        count / 8
    } else {
        count
    };
    let settings = settings(queries, threads);
    let mode = TestMode::PerformanceOnly;
    let plan = Plan::new(&settings, scenario, mode, 5000, 1024, CompatProfile::V6).expect("a plan");
    let set = &plan.sets()[0];
    let generated = plan.generated(set);
    let planned = clock.now();
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
    let (record, ending) = run_set(&plan, set, SampleId(0), &mut stand);
    let driven = clock.now();
    let unwritten = peak_memory() - before;
    let base = tempfile::tempdir().expect("a folder");
    let now = SystemTime::now();
    let folder = RunFolder::create(base.path(), "bench", now).expect("a folder");
    raw::write_files(&folder, &plan, set, &record, now).expect("space");
    let wrote = clock.now();
    let ending = ending.expect("null never fails");
    let summary = conclude(record, plan.effective(), ending, Rules::MLPERF);
    let concluded = clock.now();
    TestLog {
        sut_name: "null",
        library_name: "none",
        total_count: 5000,
        performance_count: 1024,
        requested_mode: mode,
        requested: &settings,
        effective: plan.effective(),
        compat: plan.compat(),
        began: now,
        process: std::process::id(),
        warnings: &[],
        sets: &[SetLog {
            set,
            generated,
            began: Latency::ZERO,
            summary: &summary,
        }],
    }
    .write(&folder)
    .expect("space");
    assert_eq!(summary.completed_count, summary.sample_count);
    let units = match scenario {
        Scenario::Offline => summary.sample_count,
        _ => summary.query_count,
    };
    let each = |ns: u64| ns as f64 / units as f64;
    println!(
        "{:<16} {threads:>3} {:>8.1} {:>9.1} {:>12.1} {:>9.1} {:>11.1} {:>13.1}",
        scenario.name(),
        each(planned.since(began).as_nanos()),
        each(driven.since(planned).as_nanos()),
        each(concluded.since(wrote).as_nanos()),
        each(wrote.since(driven).as_nanos()),
        each(peak_memory() - before),
        each(unwritten),
    );
}
