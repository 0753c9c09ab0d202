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
mod work;

use std::path::Path;

use self::work::Work;
use super::args::{NmsArg, RunArgs};
use super::asks::Asked;
use super::measure::Bench;
use super::pictures::{self, Pictures};
use super::seating::Seating;
use super::subject::{load_runtime, Subject};
use super::which::ModelToEval;
use super::{warm_up, weights};
use crate::cli::detector_args::ModelArgs;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::interrupt::is_interrupted;
use crate::cli::setup::progress_for;
use crate::model::description::Precision;
use crate::postprocess::NmsMode;

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
        for own in &mut both {
            own.ground_truth = None;
        }
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
