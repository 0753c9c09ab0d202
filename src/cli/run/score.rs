//! Accuracy: every picture once, all NMS modes on the same inference.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crossbeam::channel::unbounded;

use super::measure::{blame, Bench};
use super::truth::{Detections, RunTruth, Scores};
use super::{logs, voc_files};
use crate::accuracy::voc::VocDetection;
use crate::accuracy::CocoDetection;
use crate::cli::categories::{categories, voc_classes};
use crate::cli::failure::{Blame, Failure};
use crate::cli::interrupt::{is_interrupted, INTERRUPTED};
use crate::clock::Clock;
use crate::dataset::voc_name;
use crate::drive::{run_set, Control, Ending, Stand, NO_PROGRESS_LIMIT};
use crate::library::PictureEntry;
use crate::postprocess::{Detection, NmsMode};
use crate::report::document::AccuracyEntry;
use crate::report::folder::RunFolder;
use crate::scenario::{Scenario, TestMode};
use crate::settings::test_settings::TestSettings;
use crate::summary::{conclude as summarise, Rules};
use crate::sut::pool::{Answer, AnswerLog, Assignment};
use crate::units::{Latency, SampleId};

use super::watch::Watch;

/// What was found with one NMS mode.
pub struct Found {
    /// The mode; `None` where NMS is the graph's own.
    pub mode: Option<NmsMode>,
    /// Its score.
    pub entry: AccuracyEntry,
    /// Its score by category.
    pub scores: Scores,
    /// What was scored.
    pub detections: Detections,
}

/// Runs all pictures through the model and scores each mode; `None` when it was interrupted.
///
/// # Errors
/// When the model fails, or a detection cannot be scored.
pub fn score_all(
    bench: &mut Bench<'_>,
    modes: &[Option<NmsMode>],
    title: &str,
    folder: &RunFolder,
) -> Result<Option<Vec<Found>>, Failure> {
    let placement = bench.seating.place(Scenario::Offline)?;
    let plan = bench.plan(
        &TestSettings::default(),
        Scenario::Offline,
        TestMode::AccuracyOnly,
    )?;
    bench.pool(&placement, 1)?;
    let (sender, receiver) = unbounded();
    let mut watch = Watch::new(
        title,
        plan.effective(),
        bench.pictures.library.pictures().len() as u64,
    );
    let mut first_sample = SampleId(0);
    let (began, mut runs) = (SystemTime::now(), Vec::new());
    let origin = bench.clock.now();
    for set in plan.sets() {
        let inputs = bench.load(set)?;
        let assignment = Assignment {
            inputs,
            detectors: bench.subject.detectors(modes),
            batch_size: 1,
            batch_timeout: Latency::ZERO,
            warm_up: bench.warm_up,
            warm_up_sample: set.indices[0],
            answers: Some(AnswerLog::of_all(sender.clone())),
            interrupted: &INTERRUPTED,
        };
        let clock = bench.clock;
        let mut run = bench.begin(&assignment, 1)?;
        let mut stand = Stand {
            sut: &mut run,
            tells: crate::drive::Tells::default(),
            clock: &clock,
            control: Control {
                interrupted: &INTERRUPTED,
                no_progress_limit: NO_PROGRESS_LIMIT,
            },
            observe: &mut |progress| watch.observe(progress),
        };
        let (record, ending) = run_set(&plan, set, first_sample, &mut stand);
        first_sample = SampleId(first_sample.0 + record.sample_count() as u32);
        let set_began = record.start().since(origin);
        match ending.map_err(blame)? {
            ending @ Ending::Complete(_) => {
                let summary = summarise(record, plan.effective(), ending, Rules::MLPERF);
                runs.push((set, set_began, summary));
            }
            // Nobody decides an accuracy run.
            Ending::Interrupted | Ending::Decided => {
                watch.finish();
                return Ok(None);
            }
            Ending::NoProgress { outstanding, .. } => {
                return Err(Failure::environment(format!(
                    "{outstanding} pictures of the accuracy run were never answered"
                )))
            }
        }
    }
    watch.finish();
    drop(sender);
    if is_interrupted() {
        return Ok(None);
    }
    for (_, _, summary) in &runs {
        bench.spent.detection += summary.elapsed;
    }
    let answers: Vec<Answer> = receiver.iter().collect();
    let shown: Vec<_> = runs
        .iter()
        .map(|(set, at, shown)| (*set, *at, shown))
        .collect();
    for (detector, mode) in modes.iter().enumerate() {
        let folder = folder.sub(&with_mode("accuracy", *mode)).or_environment()?;
        let labels = &bench.subject.description.labels;
        let logged = logs::answers_of(detector, &answers, labels);
        let request = logs::Request {
            settings: &TestSettings::default(),
            mode: TestMode::AccuracyOnly,
            warnings: &[],
        };
        logs::write(&folder, bench, &plan, request, began, &shown, logged)?;
    }
    if !bench.voc_classes.is_empty() {
        bench.voc_lines = voc_files::lines(bench, &answers);
    }
    let asked: Vec<&PictureEntry> = bench.pictures.library.pictures().iter().collect();
    let detections = sort_out(bench, modes, answers.into_iter())?;
    let found = modes.iter().zip(detections);
    found
        .map(|(&mode, detections)| {
            let several = modes.len() > 1;
            conclude(bench, mode, detections, &asked, several, folder)
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Scores the answers of one detector in the accuracy part of a test, on the pictures that the
/// test asked for.
///
/// # Errors
/// When a detection cannot be scored or the results cannot be written.
pub fn score_one(
    bench: &Bench<'_>,
    mode: Option<NmsMode>,
    answers: Vec<Answer>,
    folder: &RunFolder,
) -> Result<Found, Failure> {
    let pictures = bench.pictures.library.pictures();
    let asked: BTreeSet<_> = answers.iter().map(|answer| answer.sample).collect();
    let asked = asked.into_iter().map(|index| &pictures[index.as_usize()]);
    let asked: Vec<&PictureEntry> = asked.collect();
    let detections = sort_out(bench, &[mode], answers.into_iter())?;
    let detections = detections
        .into_iter()
        .next()
        .expect("one mode was asked for");
    conclude(bench, mode, detections, &asked, false, folder)
}

/// Detections of each mode in the truth's own terms, in the order of the library, best first within a picture.
fn sort_out(
    bench: &Bench<'_>,
    modes: &[Option<NmsMode>],
    answers: impl Iterator<Item = Answer>,
) -> Result<Vec<Detections>, Failure> {
    let pictures = bench.pictures.library.pictures();
    let description = &bench.subject.description;
    let failed = |error| Failure::usage(format!("{}: {error}", description.name));
    match truth(bench) {
        RunTruth::Coco(truth) => {
            let categories = categories(&description.labels, truth).map_err(failed)?;
            let found = by_mode(modes.len(), pictures, answers, |detection, picture| {
                let category = (*categories.get(detection.class as usize)?)?;
                let size = (picture.width, picture.height);
                let id = picture.image_id;
                Some(CocoDetection::from_detection(detection, id, category, size))
            });
            Ok(found.into_iter().map(Detections::Coco).collect())
        }
        RunTruth::Voc { objects, style, .. } => {
            let classes = voc_classes(&description.labels, objects).map_err(failed)?;
            let found = by_mode(modes.len(), pictures, answers, |detection, picture| {
                let class = classes.get(detection.class as usize)?.as_deref()?;
                let size = (picture.width, picture.height);
                let name = voc_name(&picture.file_name);
                VocDetection::from_detection(detection, name, class, size, *style)
            });
            Ok(found.into_iter().map(Detections::Voc).collect())
        }
    }
}

/// What each mode found, picture after picture.
fn by_mode<T: Clone>(
    mode_count: usize,
    pictures: &[PictureEntry],
    answers: impl Iterator<Item = Answer>,
    named: impl Fn(&Detection, &PictureEntry) -> Option<T>,
) -> Vec<Vec<T>> {
    let mut by_mode = vec![vec![Vec::new(); pictures.len()]; mode_count];
    for answer in answers {
        let picture = &pictures[answer.sample.as_usize()];
        let found = answer.detections.iter();
        by_mode[answer.detector][answer.sample.as_usize()] = found
            .filter_map(|detection| named(detection, picture))
            .collect();
    }
    by_mode
        .into_iter()
        .map(|pictures: Vec<Vec<T>>| pictures.concat())
        .collect()
}

fn truth<'a>(bench: &'a Bench<'_>) -> &'a RunTruth {
    let truth = bench.pictures.ground_truth.as_ref();
    truth.expect("accuracy is only asked for with ground truth")
}

/// `detections-fast`, or `detections` where NMS is the graph's own.
fn with_mode(word: &str, mode: Option<NmsMode>) -> String {
    match mode {
        Some(mode) => format!("{word}-{}", mode.name()),
        None => word.to_owned(),
    }
}

fn conclude(
    bench: &Bench<'_>,
    mode: Option<NmsMode>,
    detections: Detections,
    asked: &[&PictureEntry],
    several: bool,
    folder: &RunFolder,
) -> Result<Found, Failure> {
    let detections = if bench.rounds_as_ck {
        detections.rounded_as_ck()
    } else {
        detections
    };
    let scores = truth(bench).score(&detections, asked).or_usage()?;
    let name = if several {
        format!("{}.json", with_mode("detections", mode).replace('-', "_"))
    } else {
        "detections.json".to_owned()
    };
    detections
        .write(&folder.path().join(name))
        .or_environment()?;
    Ok(Found {
        mode,
        entry: scores.entry(asked.len(), detections.len()),
        scores,
        detections,
    })
}
