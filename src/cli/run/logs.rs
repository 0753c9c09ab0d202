//! The MLPerf logs of a run folder.

use std::time::SystemTime;

use super::measure::Bench;
use crate::cli::failure::{Blame, Failure};
use crate::library::SampleLibrary;
use crate::model::Labels;
use crate::plan::{LoadableSet, Plan};
use crate::record::Record;
use crate::report::folder::RunFolder;
use crate::report::mlperf::accuracy::{self, AccuracyAnswer};
use crate::report::mlperf::trace::{self, TracedSet};
use crate::report::mlperf::{SetLog, TestLog, ACCURACY_FILE, TRACE_FILE};
use crate::settings::test_settings::TestSettings;
use crate::summary::Summary;
use crate::sut::pool::Answer;
use crate::units::{Latency, SampleId};

/// What was asked for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The settings.
    pub settings: &'a TestSettings,
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
        requested_mode: plan.effective().mode,
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

/// Writes every sample of a performance run as a span for trace viewers.
pub fn write_trace(
    folder: &RunFolder,
    plan: &Plan,
    set: &LoadableSet,
    record: &Record,
    began: SystemTime,
) -> Result<(), Failure> {
    let traced = TracedSet {
        plan,
        set,
        record,
        first_sample: SampleId(0),
        first_query: 0,
        began: Latency::ZERO,
    };
    folder
        .write(TRACE_FILE, |out| {
            trace::write(&[traced], began, std::process::id(), out)
        })
        .or_environment()
}

/// What one detector answered in an accuracy run that asked for every picture once, in the order
/// of the answers.
pub fn answers_of(
    detector: usize,
    answers: &[Answer],
    plan: &Plan,
    labels: &Labels,
) -> Vec<AccuracyAnswer> {
    let order = plan.sets().iter().flat_map(LoadableSet::distinct);
    let mut id_of = vec![SampleId(0); plan.effective().accuracy_sample_count];
    for (id, index) in order.enumerate() {
        id_of[index.as_usize()] = SampleId(id as u32);
    }
    // COCO's models answer with category ids, others with the numbers of their classes.
    let class = |class: u32| labels.category_id(class).unwrap_or(class);
    answers
        .iter()
        .filter(|answer| answer.detector == detector)
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
                id: id_of[answer.sample.as_usize()],
                index: answer.sample,
                data: accuracy::detection_bytes(&records),
            }
        })
        .collect()
}
