//! `detbench run`: performance, then accuracy, then one report.

pub mod args;
mod asks;
mod beside;
pub mod compat;
mod dialect_log;
mod logs;
mod measure;
mod mode;
mod null;
mod null_system;
mod peak;
mod pictures;
mod record_of_run;
mod sample_source;
mod save_raw;
mod score;
mod seating;
mod sets;
mod subject;
mod truth;
mod verdict_on_nms;
mod voc_files;
mod watch;
mod weights;
mod which;

use std::time::SystemTime;

use self::args::{RunArgs, SutArg, WarmUpArg};
use self::asks::{Ask, Asked};
use self::measure::Bench;
pub(super) use self::pictures::open_library;
use self::pictures::Pictures;
use self::record_of_run::RunRecord;
use self::score::{score_all, Found};
pub use self::seating::instances_that_fit;
pub(super) use self::seating::{seats, Seating};
use self::sets::TestRequest;
pub use self::subject::{default_onnx, imported_default, precision_of_graph, search_folders};
pub(super) use self::subject::{load_runtime, Subject, SubjectRequest};
pub(super) use self::watch::calibration_bar;
use self::which::{ModelToEval, Which};
use super::dialect::Ending;
use super::failure::{Blame, Failure, Outcome};
use super::interrupt::is_interrupted;
use super::setup::progress_for;
use super::{print_err, print_json, print_out};
use crate::fetch::Progress;
use crate::postprocess::NmsMode;
use crate::report::document::{Document, RunEntry, SCHEMA_VERSION};
use crate::report::folder::RunFolder;
use crate::report::table;
use crate::scenario::Scenario;
use crate::sut::pool::WarmUp;
use crate::units::Latency;

/// The model; one that a dialect names is held to what the dialect says of it.
fn prepare(args: &RunArgs, progress: &dyn Progress) -> Result<Subject, Failure> {
    let subject = Subject::prepare(args.into(), progress);
    let Some(told) = &args.told else {
        let subject = subject?;
        let wanted = args.models.model_to_eval;
        if let Some(precision) = wanted.and_then(ModelToEval::precision) {
            subject.check_precision((precision, "--model-to-eval"))?;
        }
        return Ok(subject);
    };
    let subject = subject.map_err(|failure| match (failure.code(), told.named_by) {
        (2, Some((flag, by_file))) => Failure::usage(format!(
            "{flag} {}: {failure} (with --compat {}: {by_file})",
            told.model_name, told.dialect
        )),
        _ => failure,
    })?;
    if let Some(asked) = told.precision {
        subject.check_precision(asked)?;
    }
    if let Ending::Voc(evaluation) = &told.ending {
        voc_files::check_classes(evaluation, &subject)?;
    }
    Ok(subject)
}

/// The default warm-up: so many inferences or so long, whichever comes first.
const WARM_UP: WarmUp = WarmUp {
    inferences: Some(10),
    duration: Some(Latency::from_millis(2_000)),
};

/// Runs the verb.
///
/// # Errors
/// [`Failure`] for wrong input or a machine that lacks something; what was measured until then is
/// in the run folder.
pub fn run(args: &RunArgs) -> Result<Outcome, Failure> {
    if args.sut == SutArg::Null {
        return null::run(args);
    }
    match args.models.which()? {
        Which::One(model) => one(&RunArgs {
            model,
            ..args.clone()
        }),
        Which::Two(models) => beside::run(args, models),
    }
}

/// Measures one model.
fn one(args: &RunArgs) -> Result<Outcome, Failure> {
    // Everything that can be wrong with the flags shows before anything is fetched or measured.
    let asked = Asked::read(args)?;
    let seating = Seating::read(args)?;
    for ask in &asked.asks {
        seating.place(ask.scenario)?;
    }
    let named = pictures::named_for(args, asked.scores_apart())?;
    if let Some(folder) = &args.save_raw {
        save_raw::check_folder(folder)?;
    }
    let progress = progress_for(args.json);
    let subject = prepare(args, progress.as_ref())?;
    if args.save_raw.is_some() {
        save_raw::check_subject(&subject)?;
    }
    weights::refuse_accuracy(args, &asked, &subject)?;
    let runtime = load_runtime(args.ort_lib.as_deref(), progress.as_ref())?;
    let preprocessing = &subject.description.input.preprocessing;
    let mut pictures = Pictures::open(args, named, preprocessing, progress.as_ref())?;
    drop(progress);
    if is_interrupted() {
        return Ok(Outcome::Interrupted);
    }
    if !subject.description.weights.are_trained() {
        // Nothing to compare with means nothing to score.
        pictures.ground_truth = None;
    }

    let clock = args.clock();
    let warm_up = warm_up(args);
    let mut bench = Bench::new(&subject, &runtime, &seating, pictures, clock, warm_up);
    bench.trace = args.trace;
    bench.profile = asked.compat.profile;
    let ending = args.told.as_ref().map(|told| &told.ending);
    bench.rounds_as_ck = matches!(ending, Some(Ending::Ck));
    if let Some(Ending::Voc(evaluation) | Ending::Quanteval(_, evaluation)) = ending {
        bench.voc_classes.clone_from(&evaluation.classes);
    }
    for ask in &asked.asks {
        // What cannot be planned with these pictures is refused before anything runs.
        bench.plan(ask.settings(), ask.scenario, ask.test_mode())?;
    }

    let name = format!("{}-{}", subject.description.name, folder_word(args, &asked));
    let folder = RunFolder::create(&args.output_dir, &name, SystemTime::now()).or_environment()?;
    let mut record = RunRecord::new(args, &asked, &subject, &runtime, &seating, &bench.pictures);
    record.write(&folder)?;
    if args.json {
        print_err(record.expectation().trim_end());
    } else {
        print_out(record.heading())?;
    }
    let finished = Run {
        args,
        asked: &asked,
        folder: &folder,
        record: &mut record,
        bench,
    }
    .all();
    match finished {
        Ok(()) if !is_interrupted() => record.complete(),
        Ok(()) => {}
        Err(failure) => {
            record.fail(&failure);
            record.write(&folder)?;
            return Err(failure);
        }
    }
    record.write(&folder)?;
    report(args, &record, &folder)?;
    Ok(outcome(&record))
}

fn folder_word(args: &RunArgs, asked: &Asked) -> String {
    if args.accuracy_only {
        "accuracy".to_owned()
    } else {
        asked.name.clone()
    }
}

fn warm_up(args: &RunArgs) -> WarmUp {
    match args.warmup {
        None => WARM_UP,
        Some(WarmUpArg::Inferences(count)) => WarmUp {
            inferences: Some(count),
            duration: None,
        },
        Some(WarmUpArg::Duration(span)) => WarmUp {
            inferences: None,
            duration: Some(span.0),
        },
    }
}

/// The measuring part of a run, with everything prepared.
struct Run<'a, 'b> {
    args: &'a RunArgs,
    asked: &'a Asked,
    folder: &'a RunFolder,
    record: &'a mut RunRecord,
    bench: Bench<'b>,
}

impl Run<'_, '_> {
    fn all(mut self) -> Result<(), Failure> {
        self.tests()?;
        let has_truth = self.bench.pictures.ground_truth.is_some();
        let scores = self.asked.scores_apart() && !self.args.benchmark_only;
        if scores && has_truth && !is_interrupted() {
            self.accuracy()?;
        }
        match &self.args.save_raw {
            Some(folder) if !is_interrupted() => save_raw::save(&self.bench, folder),
            _ => Ok(()),
        }
    }

    /// Each scenario's own test with each NMS mode.
    fn tests(&mut self) -> Result<(), Failure> {
        let modes = self.bench.subject.modes(self.args.nms());
        let has_test = |ask: &Ask| ask.mode.is_some() || !self.args.accuracy_only;
        let count = self.asked.asks.iter().filter(|ask| has_test(ask)).count() * modes.len();
        let mut offline: Vec<(Option<NmsMode>, f64)> = Vec::new();
        let mut number = 0;
        for (position, ask) in self.asked.asks.iter().enumerate() {
            if !has_test(ask) {
                continue;
            }
            for &mode in &modes {
                if is_interrupted() {
                    return Ok(());
                }
                number += 1;
                let title = format!("[{number}/{count}] {}", with_mode(ask.scenario, mode));
                let name = measurement_name(self.asked, position, mode);
                let folder = match count {
                    1 => self.folder.clone(),
                    _ => self.folder.sub(&name).or_environment()?,
                };
                let rate = offline
                    .iter()
                    .find(|(held, _)| *held == mode)
                    .map(|(_, rate)| *rate);
                let request = TestRequest {
                    ask,
                    nms: mode,
                    offline_rate: rate,
                    title: &title,
                    folder: &folder,
                };
                let measured = match &ask.peak {
                    Some(peak) => self.bench.find_peak(request, peak)?,
                    None => self.bench.measure(request)?,
                };
                let Some(mut measured) = measured else {
                    return Ok(());
                };
                if self.args.told.is_some() {
                    // LoadGen's verdict is no part of another program's benchmark.
                    measured.entry.valid = None;
                    measured.entry.invalid_reasons.clear();
                }
                measured.entry.folder = Some(if count == 1 { ".".to_owned() } else { name });
                if ask.scenario == Scenario::Offline {
                    offline.retain(|(held, _)| *held != mode);
                    offline.extend(measured.entry.samples_per_second.map(|rate| (mode, rate)));
                }
                self.record.add(measured);
                self.record.write(self.folder)?;
            }
        }
        Ok(())
    }

    fn accuracy(&mut self) -> Result<(), Failure> {
        let modes = self.bench.subject.modes(self.args.nms());
        let Some(found) = score_all(&mut self.bench, &modes, "accuracy", self.folder)? else {
            return Ok(());
        };
        if self.args.accuracy_only {
            for one in &found {
                self.record.add_accuracy_only(one.mode);
            }
        }
        for Found {
            mode,
            entry,
            scores,
            ..
        } in found
        {
            self.record.score(mode, &entry, &scores);
        }
        if self.args.ck_summary {
            self.record.tell_as_ck(self.bench.spent);
        }
        if let Some(told) = &self.args.told {
            let entry = self.record.entries().last();
            let lines = dialect_log::accuracy_lines(&told.ending, entry, &self.bench)?;
            self.record.end_with(&lines);
        }
        Ok(())
    }
}

/// `Server fast`, or `Server` where NMS is the graph's own.
fn with_mode(scenario: Scenario, mode: Option<NmsMode>) -> String {
    match mode {
        Some(mode) => format!("{scenario} {}", mode.name()),
        None => scenario.to_string(),
    }
}

/// `Server-fast`; a scenario that is asked for twice gets its position.
fn measurement_name(asked: &Asked, position: usize, mode: Option<NmsMode>) -> String {
    let scenario = asked.asks[position].scenario;
    let same = asked
        .asks
        .iter()
        .filter(|ask| ask.scenario == scenario)
        .count();
    let name = with_mode(scenario, mode).replace(' ', "-");
    if same > 1 {
        format!("{}-{name}", position + 1)
    } else {
        name
    }
}

fn report(args: &RunArgs, record: &RunRecord, folder: &RunFolder) -> Result<(), Failure> {
    if args.json {
        let document = Document {
            schema_version: SCHEMA_VERSION,
            complete: record.is_complete(),
            runs: record.entries().to_vec(),
        };
        return print_json(&document);
    }
    let table = match record.entries() {
        [] => String::new(),
        entries => format!("{}\n{}", table::runs(entries), peaks(entries)),
    };
    let text = format!("{table}{}", record.closing(folder));
    print_out(&text)?;
    let Some(told) = args.told.as_ref().filter(|_| record.is_complete()) else {
        return Ok(());
    };
    match (&told.ending, record.entries().last()) {
        (Ending::Intel(tail), Some(entry)) => {
            let text = format!("{}{text}", record.heading());
            let lines = dialect_log::conclude(
                told,
                tail,
                dialect_log::Measured {
                    entry,
                    placement: record.last_placement(),
                    report: &text,
                },
                &args.output_dir,
                SystemTime::now(),
            )?;
            print_out(&lines)
        }
        _ => Ok(()),
    }
}

/// What the peak searches found.
fn peaks(entries: &[RunEntry]) -> String {
    let text = |entry: &RunEntry| {
        let peak = entry.peak.as_ref()?;
        let scenario = entry.scenario.map_or("", |scenario| scenario.name());
        let mode = entry.nms.map_or("", NmsMode::name);
        Some(peak.text(&format!("{scenario} {mode}")))
    };
    entries.iter().filter_map(text).collect()
}

fn outcome(record: &RunRecord) -> Outcome {
    let invalid = |entry: &RunEntry| entry.valid == Some(false);
    if !record.is_complete() {
        Outcome::Interrupted
    } else if record.entries().iter().any(invalid) {
        Outcome::CriterionFailed
    } else {
        Outcome::Done
    }
}
