//! The MLPerf logs of a run folder.

use std::time::SystemTime;

use super::measure::Bench;
use crate::cli::failure::{Blame, Failure};
use crate::library::SampleLibrary;
use crate::model::Labels;
use crate::plan::{FirstIds, LoadableSet, Plan};
use crate::record::Record;
use crate::report::folder::RunFolder;
use crate::report::mlperf::accuracy::{self, AccuracyAnswer};
use crate::report::mlperf::trace::{self, TracedSet};
use crate::report::mlperf::{SetLog, TestLog, ACCURACY_FILE, TRACE_FILE};
use crate::scenario::TestMode;
use crate::settings::test_settings::TestSettings;
use crate::summary::Summary;
use crate::sut::pool::Answer;
use crate::units::Latency;

/// What was asked for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The settings.
    pub settings: &'a TestSettings,
    /// The mode.
    pub mode: TestMode,
    /// Warnings for the detail log.
    pub warnings: &'a [String],
}

/// Writes the summary, detail and accuracy logs of a test; `runs` are its sets and what they showed.
pub fn write(
    folder: &RunFolder,
    bench: &Bench<'_>,
    plan: &Plan,
    request: Request<'_>,
    began: SystemTime,
    runs: &[(&LoadableSet, Latency, &Summary)],
    answers: Vec<AccuracyAnswer>,
) -> Result<(), Failure> {
    let sets: Vec<SetLog<'_>> = runs
        .iter()
        .map(|&(set, began, summary)| SetLog {
            set,
            generated: plan.generated(set),
            began,
            summary,
        })
        .collect();
    let description = &bench.subject.description;
    let library = &bench.pictures.library;
    TestLog {
        sut_name: &format!("detbench {}", description.name),
        library_name: library.name(),
        total_count: library.total_count(),
        performance_count: library.performance_count(),
        requested_mode: request.mode,
        requested: request.settings,
        effective: plan.effective(),
        compat: plan.compat(),
        began,
        process: std::process::id(),
        warnings: request.warnings,
        sets: &sets,
    }
    .write(folder)
    .or_environment()?;
    folder
        .write(ACCURACY_FILE, |out| accuracy::write(answers, out))
        .or_environment()
}

/// Writes every sample of a performance run, whose numbers begin with `first`, as a span for
/// trace viewers; the run began so long after the test.
pub fn write_trace(
    folder: &RunFolder,
    plan: &Plan,
    set: &LoadableSet,
    record: &Record,
    (first, began): (FirstIds, Latency),
    test_began: SystemTime,
) -> Result<(), Failure> {
    let traced = TracedSet {
        plan,
        set,
        record,
        first_sample: first.sample,
        first_query: first.query,
        began,
    };
    folder
        .write(TRACE_FILE, |out| {
            trace::write(&[traced], test_began, std::process::id(), out)
        })
        .or_environment()
}

/// What one detector answered, in the order of completion.
pub fn answers_of(detector: usize, answers: &[Answer], labels: &Labels) -> Vec<AccuracyAnswer> {
    // COCO's models answer with category ids, others with the numbers of their classes.
    let class = |class: u32| labels.category_id(class).unwrap_or(class);
    let mut answers: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.detector == detector)
        .collect();
    answers.sort_by_key(|answer| answer.at);
    answers
        .into_iter()
        .map(|answer| {
            let picture = answer.sample.0 as f32;
            let records: Vec<_> = answer
                .detections
                .iter()
                .map(|d| {
                    let class = class(d.class) as f32;
                    [picture, d.y_min, d.x_min, d.y_max, d.x_max, d.score, class]
                })
                .collect();
            AccuracyAnswer {
                id: answer.id,
                index: answer.sample,
                data: accuracy::detection_bytes(&records),
            }
        })
        .collect()
}
