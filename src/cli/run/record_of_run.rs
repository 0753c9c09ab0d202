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
use crate::accuracy::{twelve_lines, CocoScores};
use crate::cli::failure::{Blame, Failure};
use crate::library::SampleLibrary;
use crate::placement::{Fact, Host};
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
    notes: Vec<String>,
    few_pictures: bool,
    entries: Vec<RunEntry>,
    runs: Vec<Conditions>,
    scores: Vec<(NmsMode, CocoScores)>,
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
        let host = Host::of_this_machine(&seating.topology, &seating.allowance);
        let mut notes = asked.notes.clone();
        notes.extend(subject.notes.iter().cloned());
        notes.extend(pictures.notes.iter().map(ToString::to_string));
        if pictures.ground_truth.is_none() && !args.benchmark_only {
            notes.push("There is no ground truth for these pictures, so there is no accuracy; pass --annotations FILE for it.".to_owned());
        }
        let preprocessing = pictures.library.preprocessing();
        let conditions = json!({
            "detbench_version": env!("CARGO_PKG_VERSION"),
            "started_at": utc_iso(SystemTime::now()),
            "host": host,
            "runtime": {
                "name": "ONNX Runtime",
                "version": runtime.version(),
                "sha256": runtime.sha256().unwrap_or("unknown"),
                "path": runtime.path(),
            },
            "model": {
                "name": subject.description.name,
                "title": subject.description.title,
                "file": subject.onnx,
                "sha256": subject.sha256,
                "precision": subject.precision(),
                "described_by": subject.source,
                "integer_layers": subject.facts.integer_layers,
                "preprocessing": preprocessing,
                "nms": subject.nms,
            },
            "pictures": {
                "name": pictures.library.name(),
                "count": pictures.library.total_count(),
                "annotations": pictures.library.annotations().map(ToString::to_string),
            },
            "timed_region": args.timed_region.describe(),
            "nms_order": args.nms.modes(),
            "command_line": std::env::args().collect::<Vec<_>>(),
        });
        let heading = heading(args, subject, runtime, pictures, &host);
        Self {
            conditions,
            model: subject.description.name.clone(),
            precision: subject.precision().to_owned(),
            heading,
            notes,
            few_pictures: pictures.are_photos,
            entries: Vec::new(),
            runs: Vec::new(),
            scores: Vec::new(),
            complete: false,
            failure: None,
        }
    }

    /// What a person reads before the run: on what, where, and what is timed.
    pub fn heading(&self) -> &str {
        &self.heading
    }

    /// Adds a measurement.
    pub fn add(&mut self, measured: Measured) {
        self.runs.push(measured.conditions);
        self.entries.push(measured.entry);
    }

    /// Adds an entry without performance.
    pub fn add_accuracy_only(&mut self, mode: NmsMode) {
        let entry = RunEntry::new(&self.model, &self.precision, Some(mode));
        self.entries.push(entry);
    }

    /// Gives all entries of a mode their accuracy.
    pub fn score(&mut self, mode: NmsMode, accuracy: &AccuracyEntry, scores: &CocoScores) {
        for entry in self
            .entries
            .iter_mut()
            .filter(|entry| entry.nms == Some(mode))
        {
            entry.accuracy = Some(accuracy.clone());
        }
        self.scores.push((mode, scores.clone()));
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
        let category = |scores: &CocoScores| -> Vec<Value> {
            let rows = scores.per_category.iter();
            rows.map(|row| json!({"id": row.id, "name": row.name, "ap": row.ap, "ap50": row.ap50}))
                .collect()
        };
        let per_category: serde_json::Map<String, Value> = self
            .scores
            .iter()
            .map(|(mode, scores)| (mode.name().to_owned(), Value::from(category(scores))))
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
        folder
            .write("run.json", |out| {
                serde_json::to_writer_pretty(&mut *out, &document)?;
                out.write_all(b"\n")
            })
            .or_environment()
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
        for (position, run) in self.runs.iter().enumerate() {
            let scenario = run.settings.scenario;
            let repeats = self.runs[..position]
                .iter()
                .any(|other| other.placement == run.placement);
            if !repeats {
                let _ = writeln!(text, "{scenario}: {}", placement_line(run));
                for warning in &run.placement.warnings {
                    let _ = writeln!(text, "  note: {warning}");
                }
            }
            for finding in &run.placement_findings {
                let _ = writeln!(text, "  placement: {finding}");
            }
        }
        if self.entries.iter().all(|entry| entry.scenario.is_none()) {
            for (mode, scores) in &self.scores {
                let _ = writeln!(
                    text,
                    "{} NMS:\n{}",
                    mode.name(),
                    twelve_lines(&scores.stats)
                );
            }
        }
        if self.few_pictures && !self.scores.is_empty() {
            text.push_str("note: accuracy on so few pictures is a smoke test; pass --images DIR --annotations FILE for a real one.\n");
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        if !self.complete {
            text.push_str("The run is incomplete: it was interrupted.\n");
        }
        let _ = writeln!(text, "results in {}", folder.path().display());
        text
    }
}

/// How many instances, on which CPUs, and where their threads were seen.
fn placement_line(run: &Conditions) -> String {
    let placement = &run.placement;
    let instances: Vec<String> = placement
        .instances
        .iter()
        .enumerate()
        .map(|(number, instance)| {
            let name = format!("detbench-w{number}");
            let seen: Vec<String> = run
                .threads
                .iter()
                .filter(|thread| thread.name == name)
                .map(|thread| format!("{} on {}", thread.last_cpu, thread.allowed))
                .collect();
            format!(
                "{} x {} threads (last CPU, allowed: {})",
                number,
                instance.intra_threads,
                seen.join(", ")
            )
        })
        .collect();
    format!("instances {}", instances.join("; "))
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
    let nms = &subject.nms;
    let _ = writeln!(
        text,
        "model     {} ({}), {}",
        description.name,
        subject.precision(),
        description.title
    );
    let _ = writeln!(
        text,
        "pictures  {} of {}, score threshold {}, IoU threshold {}, at most {} detections",
        pictures.library.total_count(),
        pictures.library.name(),
        nms.score_threshold,
        nms.iou_threshold,
        nms.max_detections
    );
    let _ = writeln!(
        text,
        "machine   {}, {} CPUs, VNNI {}; ONNX Runtime {}",
        host.cpu.model_name,
        host.cpus,
        match host.cpu.vnni {
            Fact::Known(true) => "yes",
            Fact::Known(false) => "no",
            Fact::Unknown => "unknown",
        },
        runtime.version()
    );
    let _ = writeln!(text, "timed     {}", args.timed_region.describe());
    if args.timed_region == TimedRegion::EndToEnd {
        text.push_str(
            "          on data threads of their own, which share the CPUs with the workers\n",
        );
    }
    text.push('\n');
    text
}
