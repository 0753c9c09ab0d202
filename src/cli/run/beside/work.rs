//! The measuring of two models, step by step, and what is on disk after each.

use std::fmt::Write as _;
use std::time::SystemTime;

use serde_json::json;

use super::document::{write_latencies, BothDocument, ModelEntry, ScenarioEntry};
use super::{accuracy, near, text, turns};
use crate::cli::failure::{Blame, Failure, Outcome};
use crate::cli::interrupt::is_interrupted;
use crate::cli::run::args::RunArgs;
use crate::cli::run::asks::Asked;
use crate::cli::run::measure::Bench;
use crate::cli::run::record_of_run::{
    detect_line, machine_line, pictures_entry, runtime_entry, timed_lines,
};
use crate::cli::run::score::{score_all, Found};
use crate::cli::run::which::ModelToEval;
use crate::cli::{print_err, print_json, print_out};
use crate::library::SampleLibrary;
use crate::placement::Host;
use crate::postprocess::NmsMode;
use crate::report::document::SCHEMA_VERSION;
use crate::report::folder::{utc_iso, RunFolder};
use crate::runtime::Runtime;
use crate::scenario::Scenario;

/// The document's name in the run folder.
const DOCUMENT: &str = "both.json";

/// The measuring part, with everything prepared.
pub struct Work<'a, 'b> {
    /// The flags.
    pub args: &'a RunArgs,
    /// The scenarios.
    pub asked: &'a Asked,
    /// The NMS of either; `None` where it is the graph's own.
    pub modes: [Option<NmsMode>; 2],
    /// What the columns are called.
    pub labels: [String; 2],
    /// The models with their workers and pictures.
    pub benches: [Bench<'b>; 2],
    /// Whether what they find is asked for, with or without labels.
    pub scores: bool,
}

impl Work<'_, '_> {
    /// Measures, writes the run folder and reports.
    ///
    /// # Errors
    /// [`Failure`]; what was measured until then is in the run folder.
    pub fn run(mut self, runtime: &Runtime, notes: Vec<String>) -> Result<Outcome, Failure> {
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
        let mut document = self.document(&host, runtime, notes)?;
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
        host: &Host,
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
