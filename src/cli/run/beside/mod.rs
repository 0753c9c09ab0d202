//! Two models side by side: the same pictures, NMS, seats and threads, measured in turns.
//!
//! ```text
//! two models -> turns of each scenario -> accuracy of both on all pictures -> nearness -> one table, both.json
//! ```
//!
//! No turn is a test of LoadGen's: nothing is judged, and the logs are those of the accuracy runs alone.

mod accuracy;
mod document;
mod figures;
mod near;
mod refuse;
mod text;
mod turns;

use std::fmt::Write as _;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{json, Value};

use self::document::{write_latencies, BothDocument, ModelEntry, ScenarioEntry};
use super::args::{NmsArg, RunArgs};
use super::asks::Asked;
use super::measure::Bench;
use super::pictures::{self, Pictures};
use super::record_of_run::{detect_line, machine_line, pictures_entry, runtime_entry, timed_lines};
use super::score::{score_all, Found};
use super::seating::Seating;
use super::subject::{load_runtime, Subject};
use super::which::ModelToEval;
use super::{warm_up, weights};
use crate::cli::detector_args::ModelArgs;
use crate::cli::failure::{Blame, Failure, Outcome};
use crate::cli::interrupt::is_interrupted;
use crate::cli::setup::progress_for;
use crate::cli::{print_err, print_json, print_out};
use crate::library::SampleLibrary;
use crate::model::description::Precision;
use crate::postprocess::NmsMode;
use crate::report::document::SCHEMA_VERSION;
use crate::report::folder::{utc_iso, RunFolder};
use crate::runtime::Runtime;
use crate::scenario::Scenario;

/// The document's name in the run folder.
const DOCUMENT: &str = "both.json";

/// Measures two models side by side.
///
/// # Errors
/// [`Failure`] for wrong input or a machine that lacks something; what was measured until then is
/// in the run folder.
pub fn run(args: &RunArgs, models: [ModelArgs; 2]) -> Result<Outcome, Failure> {
    refuse::flags(args)?;
    let asked = Asked::read(args)?;
    refuse::modes(args, &asked)?;
    let seating = Seating::read(args)?;
    for ask in &asked.asks {
        seating.place(ask.scenario)?;
    }
    let named = pictures::named_for(args, asked.scores_apart())?;
    let progress = progress_for(args.json);
    let mut sides = models.map(|model| RunArgs {
        model,
        ..args.clone()
    });
    let subjects = [
        Subject::prepare((&sides[0]).into(), progress.as_ref())?,
        Subject::prepare((&sides[1]).into(), progress.as_ref())?,
    ];
    check_subjects(args, &subjects)?;
    for subject in &subjects {
        weights::refuse_accuracy(args, &asked, subject)?;
    }
    let runtime = load_runtime(args.ort_lib.as_deref(), progress.as_ref())?;
    share_memory(&mut sides, &subjects)?;
    let open = |side: usize| {
        let preprocessing = &subjects[side].description.input.preprocessing;
        Pictures::open(
            &sides[side],
            named.clone(),
            preprocessing,
            progress.as_ref(),
        )
    };
    let mut both = [open(0)?, open(1)?];
    drop(progress);
    if is_interrupted() {
        return Ok(Outcome::Interrupted);
    }
    let are_trained = |subject: &Subject| subject.description.weights.are_trained();
    let scores = asked.scores_apart() && !args.benchmark_only;
    if !scores || !subjects.iter().all(are_trained) {
        // Nothing to compare with means nothing to score.
        both.iter_mut().for_each(|own| own.ground_truth = None);
    }
    pictures::keep_as_many(&mut both);
    let (clock, warm_up) = (args.clock(), warm_up(args));
    let mut side = 0..;
    let mut benches = both.map(|own| {
        let subject = &subjects[side.next().expect("endless")];
        let mut bench = Bench::new(subject, &runtime, &seating, own, clock, warm_up);
        bench.profile = asked.compat.profile;
        bench
    });
    let mut notes = notes(args, &asked, &benches);
    notes.extend(narrowed(args, &mut benches)?);
    for ask in &asked.asks {
        // What cannot be planned with these pictures is refused before anything runs.
        benches[0].plan(ask.settings(), ask.scenario, ask.test_mode())?;
    }
    let work = Work {
        args,
        asked: &asked,
        modes: subjects.each_ref().map(|subject| mode(args, subject)),
        labels: labels(args, &subjects),
        benches,
        scores,
    };
    work.run(&runtime, notes)
}

/// The NMS of both; `None` where it is the graph's own.
fn mode(args: &RunArgs, subject: &Subject) -> Option<NmsMode> {
    let asked = args.nms.unwrap_or(NmsArg::Regular);
    *subject
        .modes(asked)
        .first()
        .expect("every choice has a mode")
}

/// Refuses a graph that is not of its precision, and twice the same graph.
fn check_subjects(args: &RunArgs, subjects: &[Subject; 2]) -> Result<(), Failure> {
    if args.models.model_to_eval == Some(ModelToEval::Both) {
        subjects[0].check_precision((Precision::Fp32, "--model-to-eval"))?;
        subjects[1].check_precision((Precision::Int8, "--model-to-eval"))?;
    }
    let [first, second] = subjects;
    if first.sha256 == second.sha256 {
        return Err(Failure::usage(format!(
            "{} and {} are the same graph (sha256 {}): give another one to compare it with",
            first.onnx.display(),
            second.onnx.display(),
            first.sha256
        )));
    }
    Ok(())
}

/// Gives each model's library memory for the same number of pictures.
fn share_memory(sides: &mut [RunArgs; 2], subjects: &[Subject; 2]) -> Result<(), Failure> {
    let each = subjects.each_ref().map(|subject| {
        let bytes = subject.description.input.preprocessing.sample_bytes();
        bytes.max(1)
    });
    let memory = sides[0].library_memory;
    let count = memory / (each[0] + each[1]);
    if count == 0 {
        return Err(Failure::usage(format!(
            "--library-memory of {memory} bytes does not hold a picture for either model: they take {} and {} bytes here, so give more",
            each[0], each[1]
        )));
    }
    for (side, each) in sides.iter_mut().zip(each) {
        side.library_memory = count * each;
    }
    Ok(())
}

/// Limits the ground truth to what both models know; without anything, nothing is scored.
fn narrowed(args: &RunArgs, benches: &mut [Bench<'_>; 2]) -> Result<Option<String>, Failure> {
    match accuracy::narrow(benches) {
        Ok(note) => Ok(note),
        Err(error) if args.accuracy_only => Err(Failure::usage(error)),
        Err(error) => {
            for bench in benches {
                bench.pictures.ground_truth = None;
            }
            Ok(Some(format!("There is no accuracy: {error}.")))
        }
    }
}

/// What a reader must know before the figures.
fn notes(args: &RunArgs, asked: &Asked, benches: &[Bench<'_>; 2]) -> Vec<String> {
    let subjects = benches.each_ref().map(|bench| bench.subject);
    let mut notes = asked.file_notes.clone();
    for subject in subjects {
        notes.extend(subject.notes.iter().cloned());
        if !subject.description.weights.are_trained() {
            notes.push(format!("{}: {}", subject.description.name, weights::NOTE));
        }
    }
    let pictures = &benches[0].pictures;
    notes.extend(pictures.notes.iter().cloned());
    notes.extend(pictures.library.dummy_note());
    if pictures.are_photos && pictures.ground_truth.is_some() {
        notes.push(
            "Accuracy on so few pictures is a smoke test; pass --dataset PATH for a real one."
                .to_owned(),
        );
    }
    let settings = subjects.map(|subject| subject.reading.raw_heads().map(|(raw, _)| raw.nms));
    match settings {
        [Some(first), Some(second)] if first != second => notes.push(
            "The model files have different thresholds or limits for NMS, and each model has its own: --score-threshold, \
             --iou-threshold, --max-detections and the like make them equal."
                .to_owned(),
        ),
        [Some(_), None] | [None, Some(_)] => notes.push(
            "One of the models has its NMS inside the graph, so the two do not have the same.".to_owned(),
        ),
        _ => {}
    }
    let may_have_truth = args.synthetic.is_none() && pictures.ground_truth.is_none();
    let are_trained = subjects
        .iter()
        .all(|one| one.description.weights.are_trained());
    if may_have_truth && are_trained && asked.wants_accuracy(args.benchmark_only) {
        notes.push("There is no ground truth for these pictures, so there is no mAP; pass --annotations FILE for it, or a --dataset that has some.".to_owned());
    }
    notes
}

/// What the columns are called: by precision, else by the models' names, else by their files.
fn labels(args: &RunArgs, subjects: &[Subject; 2]) -> [String; 2] {
    if args.models.model_to_eval == Some(ModelToEval::Both) {
        return subjects
            .each_ref()
            .map(|subject| subject.precision().to_owned());
    }
    let file_name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let candidates = [
        subjects
            .each_ref()
            .map(|subject| subject.description.name.clone()),
        subjects.each_ref().map(|subject| file_name(&subject.onnx)),
    ];
    let mut apart = candidates
        .into_iter()
        .filter(|[first, second]| first != second);
    apart
        .next()
        .unwrap_or_else(|| ["first", "second"].map(str::to_owned))
}

/// The measuring part, with everything prepared.
struct Work<'a, 'b> {
    args: &'a RunArgs,
    asked: &'a Asked,
    modes: [Option<NmsMode>; 2],
    labels: [String; 2],
    benches: [Bench<'b>; 2],
    /// Whether what they find is asked for, with or without labels.
    scores: bool,
}

impl Work<'_, '_> {
    fn run(mut self, runtime: &Runtime, notes: Vec<String>) -> Result<Outcome, Failure> {
        let names = self
            .benches
            .each_ref()
            .map(|bench| &bench.subject.description.name);
        let word = if self.args.accuracy_only {
            "accuracy"
        } else {
            &self.asked.name
        };
        let name = match self.args.models.model_to_eval {
            Some(ModelToEval::Both) => format!("{}-both-{word}", names[0]),
            _ => format!("{}-beside-{}-{word}", names[0], names[1]),
        };
        let created = RunFolder::create(&self.args.output_dir, &name, SystemTime::now());
        let folder = created.or_environment()?;
        let host = self.benches[0].seating.host();
        let mut document = self.document(json!(host), runtime, notes)?;
        write(&document, &folder)?;
        let heading = self.heading(&document, &machine_line(&host, runtime));
        if self.args.json {
            print_err(self.expectation().trim_end());
        } else {
            print_out(&heading)?;
        }
        let measured = self.all(&mut document, &folder);
        match &measured {
            Ok(()) => document.complete = !is_interrupted(),
            Err(failure) => document.failure = Some(failure.to_string()),
        }
        write(&document, &folder)?;
        measured?;
        if self.args.json {
            print_json(&document)?;
        } else {
            let mut text = text::report(&document);
            if !document.complete {
                text.push_str("The run is incomplete: it was interrupted.\n");
            }
            let _ = writeln!(text, "results in {}", folder.path().display());
            print_out(&text)?;
        }
        Ok(if document.complete {
            Outcome::Done
        } else {
            Outcome::Interrupted
        })
    }

    fn document(
        &self,
        host: Value,
        runtime: &Runtime,
        notes: Vec<String>,
    ) -> Result<BothDocument, Failure> {
        let entry = |side: usize| {
            let label = self.labels[side].clone();
            ModelEntry::new(label, self.benches[side].subject, self.modes[side])
        };
        Ok(BothDocument {
            schema_version: SCHEMA_VERSION,
            complete: false,
            failure: None,
            models: [entry(0)?, entry(1)?],
            conditions: json!({
                "detbench_version": env!("CARGO_PKG_VERSION"),
                "started_at": utc_iso(SystemTime::now()),
                "host": host,
                "runtime": runtime_entry(runtime),
                "pictures": pictures_entry(&self.benches[0].pictures),
                "timed_region": self.args.timed_region.describe(),
                "spin_us": self.args.spin_us,
                "command_line": std::env::args().collect::<Vec<_>>(),
                "compat": self.asked.compat.profile.name(),
            }),
            notes,
            performance: Vec::new(),
            accuracy: None,
            nearness: None,
        })
    }

    /// On what, where, and what is timed.
    fn heading(&self, document: &BothDocument, machine: &str) -> String {
        let mut text = String::new();
        for (number, model) in document.models.iter().enumerate() {
            let subject = self.benches[number].subject;
            let _ = writeln!(
                text,
                "{}  {} ({}{}), {}",
                ["model   ", "beside  "][number],
                model.name,
                model.precision,
                if subject.description.weights.are_trained() {
                    ""
                } else {
                    ", synthetic weights"
                },
                model.file.display()
            );
        }
        let pictures = &self.benches[0].pictures;
        let _ = writeln!(
            text,
            "pictures  {} of {}",
            pictures.library.total_count(),
            pictures.library.name()
        );
        let detects = self
            .benches
            .each_ref()
            .map(|bench| detect_line(&bench.subject.reading));
        text.push_str(&detects[0]);
        if detects[1] != detects[0] {
            text.push_str(&detects[1]);
        }
        text.push_str(machine);
        text.push_str(&timed_lines(self.args));
        text.push_str(&self.expectation());
        text.push('\n');
        text
    }

    fn expectation(&self) -> String {
        if self.args.accuracy_only {
            return String::new();
        }
        format!("expect    with each model {}\n", self.asked.expectation(1))
    }

    fn all(&mut self, document: &mut BothDocument, folder: &RunFolder) -> Result<(), Failure> {
        if !self.args.accuracy_only {
            self.performance(document, folder)?;
        }
        if self.scores && !is_interrupted() {
            if !self.args.json {
                print_err("how near the two are without labels");
            }
            document.nearness = near::near(&self.benches)?.map(Into::into);
            write(document, folder)?;
        }
        let has_truth = self
            .benches
            .iter()
            .all(|bench| bench.pictures.ground_truth.is_some());
        if self.scores && has_truth && !is_interrupted() {
            document.accuracy = self.accuracy(folder)?;
        }
        Ok(())
    }

    fn performance(
        &mut self,
        document: &mut BothDocument,
        folder: &RunFolder,
    ) -> Result<(), Failure> {
        let asked = self.asked;
        let mut offline: Option<f64> = None;
        for (position, ask) in asked.asks.iter().enumerate() {
            if is_interrupted() {
                return Ok(());
            }
            let title = format!(
                "[{}/{}] {}, {} and {} in turns",
                position + 1,
                asked.asks.len(),
                ask.scenario,
                self.labels[0],
                self.labels[1]
            );
            let measured = turns::measure(&mut self.benches, ask, self.modes, offline, &title)?;
            let Some(measured) = measured else {
                return Ok(());
            };
            let same = asked
                .asks
                .iter()
                .filter(|other| other.scenario == ask.scenario);
            let file = match same.count() {
                1 => format!("latencies-{}.csv", ask.scenario),
                _ => format!("latencies-{}-{}.csv", position + 1, ask.scenario),
            };
            let labels = self.labels.each_ref().map(String::as_str);
            write_latencies(folder, &file, labels, &measured)?;
            let entry = ScenarioEntry::new(&measured, file);
            if ask.scenario == Scenario::Offline {
                let [first, second] = entry.models.map(|figures| figures.samples_per_second);
                offline = first.zip(second).map(|(first, second)| first.min(second));
            }
            document.notes.extend(entry.placement_notes(labels));
            document.performance.push(entry);
            write(document, folder)?;
        }
        Ok(())
    }

    /// Scores both; `None` when it was interrupted.
    fn accuracy(&mut self, folder: &RunFolder) -> Result<Option<accuracy::Comparison>, Failure> {
        let mut both: Vec<Found> = Vec::new();
        for ((bench, mode), label) in self.benches.iter_mut().zip(self.modes).zip(&self.labels) {
            let own = folder.sub(&folder_name(label)).or_environment()?;
            let title = format!("accuracy of {label}");
            let Some(found) = score_all(bench, &[mode], &title, &own)? else {
                return Ok(None);
            };
            both.extend(found);
        }
        let both: Result<[Found; 2], _> = both.try_into();
        let Ok(both) = both else {
            panic!("each model was scored with one mode");
        };
        accuracy::compare(&self.benches[0], &both).map(Some)
    }
}

fn write(document: &BothDocument, folder: &RunFolder) -> Result<(), Failure> {
    folder.write_json(DOCUMENT, document).or_environment()
}

/// A label as a folder's name.
fn folder_name(label: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    label
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect()
}
