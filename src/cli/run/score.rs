//! Accuracy: every picture once, all NMS modes on the same inference.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crossbeam::channel::unbounded;

use super::{logs, voc_files};
use super::measure::{blame, Bench};
use crate::accuracy::{ck_rounded, score, write_results, CocoDetection, CocoScores};
use crate::cli::categories::categories;
use crate::cli::failure::{Blame, Failure};
use crate::cli::interrupt::{is_interrupted, INTERRUPTED};
use crate::clock::Clock;
use crate::drive::{run_set, Control, Ending, Stand, NO_PROGRESS_LIMIT};
use crate::postprocess::NmsMode;
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
    pub scores: CocoScores,
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
        bench.pictures.image_ids().len() as u64,
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
    if bench.keeps_voc_lines {
        bench.voc_lines = voc_files::lines(bench, &answers);
    }
    let ids = bench.pictures.image_ids();
    let detections = sort_out(bench, modes, answers.into_iter())?;
    let found = modes.iter().zip(detections);
    found
        .map(|(&mode, detections)| {
            let several = modes.len() > 1;
            conclude(bench, mode, &detections, &ids, several, folder)
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
    let ids: Vec<i64> = asked.map(|picture| picture.image_id).collect();
    let detections = sort_out(bench, &[mode], answers.into_iter())?;
    conclude(bench, mode, &detections[0], &ids, false, folder)
}

/// Detections of each mode as COCO's, in the order of the library, best first within a picture.
fn sort_out(
    bench: &Bench<'_>,
    modes: &[Option<NmsMode>],
    answers: impl Iterator<Item = Answer>,
) -> Result<Vec<Vec<CocoDetection>>, Failure> {
    let pictures = bench.pictures.library.pictures();
    let categories = class_categories(bench)?;
    let mut by_mode = vec![vec![Vec::new(); pictures.len()]; modes.len()];
    for answer in answers {
        let picture = &pictures[answer.sample.as_usize()];
        let size = (picture.width, picture.height);
        let named = answer.detections.iter().filter_map(|detection| {
            let category = (*categories.get(detection.class as usize)?)?;
            Some(CocoDetection::from_detection(
                detection,
                picture.image_id,
                category,
                size,
            ))
        });
        by_mode[answer.detector][answer.sample.as_usize()] = named.collect();
    }
    Ok(by_mode
        .into_iter()
        .map(|pictures: Vec<Vec<CocoDetection>>| pictures.concat())
        .collect())
}

/// The category of each of the model's classes; `None` for a class that is not scored.
fn class_categories(bench: &Bench<'_>) -> Result<Vec<Option<i64>>, Failure> {
    let truth = bench.pictures.ground_truth.as_ref();
    let truth = truth.expect("accuracy is only asked for with ground truth");
    let description = &bench.subject.description;
    categories(&description.labels, truth)
        .map_err(|error| Failure::usage(format!("{}: {error}", description.name)))
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
    detections: &[CocoDetection],
    image_ids: &[i64],
    several: bool,
    folder: &RunFolder,
) -> Result<Found, Failure> {
    let truth = bench
        .pictures
        .ground_truth
        .as_ref()
        .expect("accuracy is only asked for with ground truth");
    let rounded = bench.rounds_as_ck.then(|| ck_rounded(detections));
    let detections = rounded.as_deref().unwrap_or(detections);
    let scores = score(truth, detections, Some(image_ids)).or_usage()?;
    let name = if several {
        format!("{}.json", with_mode("detections", mode).replace('-', "_"))
    } else {
        "detections.json".to_owned()
    };
    write_results(&folder.path().join(name), detections).or_environment()?;
    Ok(Found {
        mode,
        entry: AccuracyEntry {
            metric: "coco",
            map: scores.stats[0],
            stats: scores.stats.to_vec(),
            picture_count: image_ids.len(),
            detection_count: detections.len(),
        },
        scores,
    })
}
