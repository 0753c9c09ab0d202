//! Accuracy: every picture once, all NMS modes on the same inference.

use std::collections::BTreeSet;
use std::time::SystemTime;

use crossbeam::channel::unbounded;

use super::logs;
use super::measure::{blame, Bench};
use crate::accuracy::{score, write_results, CocoDetection, CocoScores};
use crate::cli::failure::{Blame, Failure};
use crate::cli::interrupt::{is_interrupted, INTERRUPTED};
use crate::clock::Clock;
use crate::drive::{run_set, Control, Ending, Stand, NO_PROGRESS_LIMIT};
use crate::model::Labels;
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
    /// The mode.
    pub mode: NmsMode,
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
    modes: &[NmsMode],
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
    let answers: Vec<Answer> = receiver.iter().collect();
    let shown: Vec<_> = runs
        .iter()
        .map(|(set, at, shown)| (*set, *at, shown))
        .collect();
    for (detector, mode) in modes.iter().enumerate() {
        let folder = folder
            .sub(&format!("accuracy-{}", mode.name()))
            .or_environment()?;
        let labels = &bench.subject.description.labels;
        let logged = logs::answers_of(detector, &answers, labels);
        let request = logs::Request {
            settings: &TestSettings::default(),
            mode: TestMode::AccuracyOnly,
            warnings: &[],
        };
        logs::write(&folder, bench, &plan, request, began, &shown, logged)?;
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
    mode: NmsMode,
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
    modes: &[NmsMode],
    answers: impl Iterator<Item = Answer>,
) -> Result<Vec<Vec<CocoDetection>>, Failure> {
    let pictures = bench.pictures.library.pictures();
    let category = categories(bench)?;
    let mut by_mode = vec![vec![Vec::new(); pictures.len()]; modes.len()];
    for answer in answers {
        let picture = &pictures[answer.sample.as_usize()];
        let size = (picture.width, picture.height);
        let named = answer.detections.iter().filter_map(|detection| {
            let category = category(detection.class)?;
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

/// From the model's classes to the ground truth's categories.
///
/// COCO models number their classes by category id; other models name theirs, and the names
/// are looked up in the ground truth. A class that the ground truth does not have is not scored.
fn categories(bench: &Bench<'_>) -> Result<impl Fn(u32) -> Option<i64>, Failure> {
    let labels = bench.subject.description.labels.clone();
    let truth = bench.pictures.ground_truth.as_ref();
    let named: Vec<(i64, String)> = truth.map_or_else(Vec::new, |truth| {
        let categories = truth.categories();
        categories.map(|(id, name)| (id, name.to_owned())).collect()
    });
    if let (Labels::Names(names), Some(_)) = (&labels, truth) {
        let is_known = |name: &String| named.iter().any(|(_, known)| known == name);
        if !names.iter().any(is_known) {
            return Err(Failure::usage(format!(
                "none of the classes of {} is a category of the annotations; give annotations of the model's own data set",
                bench.subject.description.name
            )));
        }
    }
    Ok(move |class: u32| match &labels {
        Labels::Coco91 => Some(i64::from(Labels::category_id(class))),
        Labels::Names(_) => {
            let name = labels.name(class)?;
            let found = named.iter().find(|(_, known)| known == name);
            found.map(|(id, _)| *id)
        }
    })
}

fn conclude(
    bench: &Bench<'_>,
    mode: NmsMode,
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
    let scores = score(truth, detections, Some(image_ids)).or_usage()?;
    let name = if several {
        format!("detections_{}.json", mode.name())
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
