//! `run --sut null`: what the harness itself costs.
//!
//! The null system answers inside the issue call, so whatever a run shows is the harness's own.
//! Nothing of ONNX Runtime, a model, pictures or the network is touched.

use std::time::SystemTime;

use serde_json::json;

use super::args::{RunArgs, Span};
use super::asks::{Ask, Asked, Pace};
use super::null_system::{logged_answers, refuse_what_needs_a_model};
use crate::cli::failure::{Blame, Failure, Outcome};
use crate::cli::interrupt::{is_interrupted, INTERRUPTED};
use crate::cli::{print_json, print_out};
use crate::clock::Monotonic;
use crate::drive::{run_set, Control, Stand, Tells, NO_PROGRESS_LIMIT};
use crate::plan::{FirstIds, Plan};
use crate::report::document::{Document, RunEntry, SCHEMA_VERSION};
use crate::report::folder::{utc_iso, RunFolder};
use crate::report::mlperf::accuracy;
use crate::report::mlperf::{SetLog, TestLog, ACCURACY_FILE};
use crate::report::{raw, table};
use crate::settings::compat::CompatProfile;
use crate::settings::test_settings::TestSettings;
use crate::summary::{conclude, Rules};
use crate::sut::null::Null;
use crate::units::{Latency, SampleId};

/// How the system is called in reports.
const NAME: &str = "null";

/// The null library: as many samples as COCO's validation set, of which a part is loaded.
const TOTAL: usize = 5_000;
const PERFORMANCE: usize = 1_024;

/// A run that says nothing else is this long: ten minutes of it would fill a disk.
const DURATION: Latency = Latency::from_millis(500);

/// Stands in for the warm-up where a scenario asks for measured rates. A query is expected to take
/// a tenth of a microsecond, Offline to answer twenty million samples a second; Server gets
/// 10 000 queries a second, so that its issue lateness is worth reading.
const PACE: Pace = Pace {
    promised: 20e6,
    offline: Some(20e3),
    fastest: Latency::from_nanos(200),
    instances: 1,
    is_known: false,
};

/// There is nothing to be sure of: the figures are told as they are.
const RULES: Rules = Rules {
    early_stopping_required: false,
    minimums_required: false,
};

/// Runs every scenario that the flags ask for.
///
/// # Errors
/// [`Failure`] for settings that make no test, and when the run folder cannot be written.
pub fn run(args: &RunArgs) -> Result<Outcome, Failure> {
    let mut args = args.clone();
    let has_duration = |pair: &String| pair.trim_start().starts_with("min_duration_ms");
    let is_short = args.duration.is_none() && !args.set.iter().any(has_duration);
    if is_short {
        args.duration = Some(Span(DURATION));
    }
    let mut asked = Asked::read(&args)?;
    refuse_what_needs_a_model(&args, &asked)?;
    if is_short {
        asked.file_notes.push(format!(
            "each run of the null system lasts {DURATION}, whatever a file says; --duration gives it another time"
        ));
    }
    for ask in &asked.asks {
        plan_of(&ask.settle(&PACE), ask, asked.compat.profile)?;
    }
    let name = format!("{NAME}-{}", asked.name);
    let folder = RunFolder::create(&args.output_dir, &name, SystemTime::now()).or_environment()?;
    let clock = args.clock();
    let mut entries = Vec::new();
    for (position, ask) in asked.asks.iter().enumerate() {
        if is_interrupted() {
            break;
        }
        let own = match asked.asks.len() {
            1 => ".".to_owned(),
            _ => format!("{}-{}", position + 1, ask.scenario),
        };
        let inside = match asked.asks.len() {
            1 => folder.clone(),
            _ => folder.sub(&own).or_environment()?,
        };
        let mut entry = measure(ask, asked.compat.profile, clock, args.trace, &inside)?;
        entry.folder = Some(own);
        entries.push(entry);
        write_document(&folder, &entries, &asked, args.spin_us)?;
    }
    report(&args, &entries, &asked, &folder)?;
    Ok(if is_interrupted() {
        Outcome::Interrupted
    } else if entries.iter().any(|entry| entry.valid == Some(false)) {
        Outcome::CriterionFailed
    } else {
        Outcome::Done
    })
}

fn measure(
    ask: &Ask,
    compat: CompatProfile,
    clock: Monotonic,
    trace: bool,
    folder: &RunFolder,
) -> Result<RunEntry, Failure> {
    let settings = ask.settle(&PACE);
    let plan = plan_of(&settings, ask, compat)?;
    let set = &plan.sets()[0];
    let began = SystemTime::now();
    let mut stand = Stand {
        sut: &mut Null::new(clock),
        tells: Tells::default(),
        clock: &clock,
        control: Control {
            interrupted: &INTERRUPTED,
            no_progress_limit: NO_PROGRESS_LIMIT,
        },
        observe: &mut |_| {},
    };
    let (record, ending) = run_set(&plan, set, SampleId(0), &mut stand);
    let ending = ending.or_environment()?;
    raw::write_files(folder, &plan, set, &record, began).or_environment()?;
    if trace {
        let first = (FirstIds::default(), Latency::ZERO);
        super::logs::write_trace(folder, &plan, set, &record, first, began)?;
    }
    let summary = conclude(record, plan.effective(), ending, RULES);
    TestLog {
        sut_name: NAME,
        library_name: NAME,
        total_count: TOTAL,
        performance_count: PERFORMANCE,
        requested_mode: ask.test_mode(),
        requested: &settings,
        effective: plan.effective(),
        compat,
        began,
        process: std::process::id(),
        warnings: &ask.warnings,
        sets: &[SetLog {
            set,
            generated: plan.generated(set),
            began: Latency::ZERO,
            summary: &summary,
        }],
    }
    .write(folder)
    .or_environment()?;
    folder
        .write(ACCURACY_FILE, |out| {
            accuracy::write(logged_answers(&plan, set, summary.sample_count), out)
        })
        .or_environment()?;
    Ok(RunEntry::new(NAME, NAME, None).with_summary(&summary, plan.effective(), RULES))
}

fn plan_of(settings: &TestSettings, ask: &Ask, compat: CompatProfile) -> Result<Plan, Failure> {
    let (scenario, mode) = (ask.scenario, ask.test_mode());
    Plan::new(settings, scenario, mode, TOTAL, PERFORMANCE, compat).or_usage()
}

fn write_document(
    folder: &RunFolder,
    entries: &[RunEntry],
    asked: &Asked,
    spin_us: u64,
) -> Result<(), Failure> {
    let document = json!({
        "schema_version": SCHEMA_VERSION,
        "complete": entries.len() == asked.asks.len() && !is_interrupted(),
        "sut_name": NAME,
        "detbench_version": env!("CARGO_PKG_VERSION"),
        "written_at": utc_iso(SystemTime::now()),
        "spin_us": spin_us,
        "command_line": std::env::args().collect::<Vec<_>>(),
        "compat": asked.compat.profile.name(),
        "notes": asked.file_notes,
        "runs": entries,
    });
    folder.write_json("run.json", &document).or_environment()
}

fn report(
    args: &RunArgs,
    entries: &[RunEntry],
    asked: &Asked,
    folder: &RunFolder,
) -> Result<(), Failure> {
    if args.json {
        let document = Document {
            schema_version: SCHEMA_VERSION,
            complete: entries.len() == asked.asks.len() && !is_interrupted(),
            runs: entries.to_vec(),
        };
        return print_json(&document);
    }
    let mut lines = vec![
        "The null system answers inside the issue call: these are the harness's own figures.\n"
            .to_owned(),
        table::runs(entries),
    ];
    for entry in entries {
        let (Some(scenario), Some(elapsed)) = (entry.scenario, entry.elapsed_ns) else {
            continue;
        };
        let samples = entry.sample_count.unwrap_or(0).max(1);
        let each = elapsed.as_nanos() as f64 / samples as f64;
        lines.push(format!("{scenario}: {each:.1} ns of elapsed time a sample"));
        if let Some(delay) = &entry.issue_delay_ns {
            lines.push(format!(
                "{scenario}: issue delay p50 {}, p99 {}",
                delay.p50, delay.p99
            ));
        }
        let notes = entry.notes.iter();
        lines.extend(notes.map(|note| format!("note: {scenario}: {note}.")));
        let reasons = entry.invalid_reasons.iter();
        lines.extend(reasons.map(|reason| format!("INVALID {scenario}: {reason}.")));
    }
    let notes = asked.file_notes.iter();
    lines.extend(notes.map(|note| format!("note: {note}")));
    lines.push(format!("results in {}\n", folder.path().display()));
    print_out(&lines.join("\n"))
}
