//! `run.json`: the conditions and figures of a run, written anew after every measurement.

use std::fmt::Write as _;
use std::time::SystemTime;

use serde_json::{json, Value};

use super::args::{RunArgs, TimedRegion};
use super::asks::Asked;
use super::measure::{Conditions, Measured};
use super::pictures::Pictures;
use super::seating::Seating;
use super::subject::Subject;
use super::truth::Scores;
use super::verdict_on_nms::{ck_summary, comparison, Spent};
use super::weights;
use crate::cli::dialect::Dialect;
use crate::cli::failure::{Blame, Failure};
use crate::library::SampleLibrary;
use crate::model::description::Weights;
use crate::model::Reading;
use crate::placement::plan::{Pin, Placement};
use crate::placement::{CpuList, Fact, Host};
use crate::postprocess::NmsMode;
use crate::report::document::{AccuracyEntry, RunEntry, SCHEMA_VERSION};
use crate::report::folder::{utc_iso, RunFolder};
use crate::runtime::Runtime;

/// Everything that a run folder's `run.json` says.
pub struct RunRecord {
    conditions: Value,
    model: String,
    precision: String,
    heading: String,
    expectation: String,
    notes: Vec<String>,
    few_pictures: bool,
    entries: Vec<RunEntry>,
    runs: Vec<Conditions>,
    scores: Vec<(Option<NmsMode>, Scores)>,
    /// What a dialect ends with, or Collective Knowledge's summary.
    tail: String,
    complete: bool,
    failure: Option<String>,
}

impl RunRecord {
    /// The record of a run that has measured nothing yet.
    pub fn new(
        args: &RunArgs,
        asked: &Asked,
        subject: &Subject,
        runtime: &Runtime,
        seating: &Seating,
        pictures: &Pictures,
    ) -> Self {
        let host = seating.host();
        let modes = subject.modes(args.nms());
        // A dialect counts steps, whatever time they take.
        let is_timed = !args.accuracy_only && args.told.is_none();
        let expectation = is_timed.then(|| {
            let text = asked.expectation(modes.len());
            format!("expect    {text}\n")
        });
        let mut notes = if args.accuracy_only {
            Vec::new()
        } else {
            asked.notes.clone()
        };
        notes.extend(asked.file_notes.iter().cloned());
        notes.extend(subject.notes.iter().cloned());
        notes.extend(pictures.notes.iter().map(ToString::to_string));
        notes.extend(pictures.library.dummy_note());
        notes.extend(args.told.iter().flat_map(|told| told.notes.clone()));
        let are_trained = subject.description.weights.are_trained();
        if !are_trained {
            notes.push(weights::NOTE.to_owned());
        }
        let may_have_truth = args.synthetic.is_none() && pictures.ground_truth.is_none();
        if may_have_truth && are_trained && asked.wants_accuracy(args.benchmark_only) {
            notes.push("There is no ground truth for these pictures, so there is no accuracy; pass --annotations FILE for it, or a --dataset that has some.".to_owned());
        }
        let preprocessing = pictures.library.preprocessing();
        let conditions = json!({
            "detbench_version": env!("CARGO_PKG_VERSION"),
            "started_at": utc_iso(SystemTime::now()),
            "host": host,
            "runtime": runtime_entry(runtime),
            "model": {
                "name": subject.description.name,
                "title": subject.description.title,
                "file": subject.onnx,
                "sha256": subject.sha256,
                "precision": subject.precision(),
                "weights": subject.description.weights,
                "operations": subject.description.operations,
                "described_by": subject.source,
                "integer_layers": subject.facts.integer_layers,
                "preprocessing": preprocessing,
                "nms": subject.reading.raw_heads().map(|(raw, _)| raw.nms),
            },
            "pictures": pictures_entry(pictures),
            "timed_region": args.timed_region.describe(),
            "nms_order": modes,
            "spin_us": args.spin_us,
            "command_line": std::env::args().collect::<Vec<_>>(),
            "compat": asked.compat.profile.name(),
            "command_line_of": asked.compat.dialect.map(Dialect::name),
        });
        let expectation = expectation.unwrap_or_default();
        let heading = heading(args, subject, runtime, pictures, &host);
        let heading = format!("{heading}{expectation}\n");
        Self {
            conditions,
            model: subject.description.name.clone(),
            precision: subject.precision().to_owned(),
            heading,
            expectation,
            notes,
            few_pictures: pictures.are_photos,
            entries: Vec::new(),
            runs: Vec::new(),
            scores: Vec::new(),
            tail: String::new(),
            complete: false,
            failure: None,
        }
    }

    /// What a person reads before the run: on what, where, and what is timed.
    pub fn heading(&self) -> &str {
        &self.heading
    }

    /// How long measuring takes at least; empty when only accuracy is asked for.
    pub fn expectation(&self) -> &str {
        &self.expectation
    }

    /// Adds a measurement.
    pub fn add(&mut self, measured: Measured) {
        self.runs.push(measured.conditions);
        self.entries.push(measured.entry);
        if let Some(found) = measured.found {
            self.keep(found.mode, &found.scores);
        }
    }

    /// Keeps a mode's scores, unless it has some: the model finds the same every time.
    fn keep(&mut self, mode: Option<NmsMode>, scores: &Scores) {
        if self.scores.iter().all(|(held, _)| *held != mode) {
            self.scores.push((mode, scores.clone()));
        }
    }

    /// Adds an entry without performance.
    pub fn add_accuracy_only(&mut self, mode: Option<NmsMode>) {
        let mut entry = RunEntry::new(&self.model, &self.precision, mode);
        // What was never trained is not scored.
        entry.weights = Some(Weights::Trained.name());
        self.entries.push(entry);
    }

    /// Gives all entries of a mode their accuracy.
    pub fn score(&mut self, mode: Option<NmsMode>, accuracy: &AccuracyEntry, scores: &Scores) {
        for entry in self.entries.iter_mut().filter(|entry| entry.nms == mode) {
            entry.accuracy = Some(accuracy.clone());
        }
        self.keep(mode, scores);
    }

    /// Ends the report with Collective Knowledge's summary of an accuracy run.
    pub fn tell_as_ck(&mut self, spent: Spent) {
        let accuracy = self
            .entries
            .iter()
            .find_map(|entry| entry.accuracy.as_ref());
        let count = accuracy.map_or(0, |accuracy| accuracy.picture_count);
        self.tail = ck_summary(spent, count, &self.scores);
    }

    /// Ends the report with a dialect's lines.
    pub fn end_with(&mut self, lines: &str) {
        self.tail.push_str(lines);
    }

    /// Where the instances of the last measurement ran.
    pub fn last_placement(&self) -> Option<&Placement> {
        self.runs.last().map(|run| &run.placement)
    }

    /// Says that everything that was asked for was measured.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Whether everything that was asked for was measured.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Keeps why the run failed.
    pub fn fail(&mut self, failure: &Failure) {
        self.failure = Some(failure.to_string());
    }

    /// The measurements.
    pub fn entries(&self) -> &[RunEntry] {
        &self.entries
    }

    /// Writes `run.json`.
    pub fn write(&self, folder: &RunFolder) -> Result<(), Failure> {
        let per_category: serde_json::Map<String, Value> = self
            .scores
            .iter()
            .map(|(mode, scores)| (mode_word(*mode).to_owned(), Value::from(scores.rows())))
            .collect();
        let document = json!({
            "schema_version": SCHEMA_VERSION,
            "complete": self.complete,
            "failure": self.failure,
            "conditions": self.conditions,
            "notes": self.notes,
            "runs": self.entries,
            "run_conditions": self.runs,
            "accuracy_per_category": per_category,
        });
        folder.write_json("run.json", &document).or_environment()
    }

    /// A line for each placement, with what is wrong with it.
    fn placements(&self, text: &mut String) {
        let mut told: Vec<&Conditions> = Vec::new();
        for run in &self.runs {
            if told.iter().any(|other| other.placement == run.placement) {
                continue;
            }
            told.push(run);
            let same = self
                .runs
                .iter()
                .filter(|other| other.placement == run.placement);
            let mut scenarios: Vec<&str> = same.map(|run| run.settings.scenario.name()).collect();
            scenarios.dedup();
            let _ = writeln!(text, "{}: {}", scenarios.join(", "), placement_line(run));
            for warning in &run.placement.warnings {
                let _ = writeln!(text, "  note: {warning}");
            }
        }
        for run in &self.runs {
            for finding in &run.placement_findings {
                let _ = writeln!(text, "  {}: {finding}", run.settings.scenario);
            }
        }
    }

    /// What a person reads after the table.
    pub fn closing(&self, folder: &RunFolder) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            for reason in &entry.invalid_reasons {
                let scenario = entry.scenario.map_or("", |scenario| scenario.name());
                let mode = entry.nms.map_or("", NmsMode::name);
                let _ = writeln!(text, "INVALID {scenario} {mode}: {reason}.");
            }
        }
        for entry in &self.entries {
            for note in &entry.notes {
                let scenario = entry.scenario.map_or("", |scenario| scenario.name());
                let _ = writeln!(text, "note: {scenario}: {note}.");
            }
        }
        self.placements(&mut text);
        if self.entries.iter().all(|entry| entry.query_count.is_none()) {
            for (mode, scores) in &self.scores {
                let _ = writeln!(text, "{} NMS:\n{}", mode_word(*mode), scores.text());
            }
        }
        text.push_str(&comparison(&self.entries, &self.scores));
        if self.few_pictures && !self.scores.is_empty() {
            text.push_str("note: accuracy on so few pictures is a smoke test; pass --dataset PATH for a real one.\n");
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        if !self.complete {
            text.push_str("The run is incomplete: it was interrupted.\n");
        }
        let _ = writeln!(text, "results in {}", folder.path().display());
        text.push_str(&self.tail);
        text
    }
}

/// The library that runs the model.
pub fn runtime_entry(runtime: &Runtime) -> Value {
    json!({
        "name": "ONNX Runtime",
        "version": runtime.version(),
        "sha256": runtime.sha256().unwrap_or("unknown"),
        "path": runtime.path(),
    })
}

/// The pictures.
pub fn pictures_entry(pictures: &Pictures) -> Value {
    json!({
        "name": pictures.library.name(),
        "count": pictures.library.total_count(),
        "annotations": pictures.truth_source,
        "form": pictures.form,
    })
}

/// The word for a mode; `graph` where NMS is the graph's own.
fn mode_word(mode: Option<NmsMode>) -> &'static str {
    mode.map_or("graph", NmsMode::name)
}

/// How many instances, on which CPUs, and where their threads were seen after warm-up.
fn placement_line(run: &Conditions) -> String {
    let placement = &run.placement;
    let plural = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    };
    let Some(first) = placement.instances.first() else {
        return "no instances".to_owned();
    };
    let count = placement.instances.len();
    let each = if count > 1 { ", each" } else { "" };
    let mut text = format!(
        "{}{each} of {}",
        plural(count, "instance"),
        plural(first.intra_threads, "thread")
    );
    if first.inter_threads > 1 {
        let _ = write!(text, " and {} across operators", first.inter_threads);
    }
    match placement.pin {
        Pin::Core => {
            let planned = placement.instances.iter().map(|instance| &instance.cpus);
            let planned = planned.map(|cpus| cpus.iter().copied().collect());
            let _ = write!(text, ", pinned to CPUs {}", side_by_side(planned));
        }
        Pin::None => {
            let _ = write!(text, ", free on CPUs {}", placement.usable);
        }
    }
    let seen = (0..count).map(|instance| {
        let name = format!("detbench-w{instance}");
        let threads = run.threads.iter().filter(|thread| thread.name == name);
        threads.map(|thread| thread.last_cpu).collect()
    });
    let _ = write!(text, "; ran on {}", side_by_side(seen));
    text
}

/// The CPUs of each instance: `0-1 | 2-3`.
fn side_by_side(instances: impl Iterator<Item = CpuList>) -> String {
    /// More instances than this do not fit on a line; `run.json` has them all.
    const SHOWN: usize = 8;
    let mut all: Vec<String> = instances.map(|cpus| cpus.to_string()).collect();
    if all.len() > SHOWN {
        all.truncate(SHOWN);
        all.push("...".to_owned());
    }
    all.join(" | ")
}

fn heading(
    args: &RunArgs,
    subject: &Subject,
    runtime: &Runtime,
    pictures: &Pictures,
    host: &Host,
) -> String {
    let mut text = String::new();
    let description = &subject.description;
    let _ = writeln!(
        text,
        "model     {} ({}{}), {}",
        description.name,
        subject.precision(),
        if description.weights.are_trained() {
            ""
        } else {
            ", synthetic weights"
        },
        description.title
    );
    let _ = writeln!(
        text,
        "pictures  {} of {}",
        pictures.library.total_count(),
        pictures.library.name()
    );
    text.push_str(&detect_line(&subject.reading));
    text.push_str(&machine_line(host, runtime));
    text.push_str(&timed_lines(args));
    text
}

/// How detections are made.
pub fn detect_line(reading: &Reading) -> String {
    match reading {
        Reading::RawHeads { raw, .. } => format!(
            "detect    score threshold {}, IoU threshold {}, at most {} detections a picture\n",
            raw.nms.score_threshold, raw.nms.iou_threshold, raw.nms.max_detections
        ),
        Reading::Detections(rules) => format!(
            "detect    NMS inside the graph; score threshold {}\n",
            rules.score_threshold
        ),
    }
}

/// Where.
pub fn machine_line(host: &Host, runtime: &Runtime) -> String {
    format!(
        "machine   {}, {} of {} CPUs, VNNI {}; ONNX Runtime {}\n",
        host.cpu.model_name,
        host.affinity.len(),
        host.cpus,
        match host.cpu.vnni {
            Fact::Known(true) => "yes",
            Fact::Known(false) => "no",
            Fact::Unknown => "unknown",
        },
        runtime.version()
    )
}

/// What is inside the timed region.
pub fn timed_lines(args: &RunArgs) -> String {
    let mut text = format!("timed     {}\n", args.timed_region.describe());
    if args.timed_region == TimedRegion::EndToEnd {
        text.push_str(
            "          on data threads of their own, which share the CPUs with the workers\n",
        );
    }
    text
}
