//! What the null system cannot do, and what it answers.

use super::args::{RunArgs, TimedRegion};
use super::asks::Asked;
use crate::cli::failure::Failure;
use crate::plan::{AccuracyLogSelection, LoadableSet, Plan};
use crate::report::mlperf::accuracy::AccuracyAnswer;
use crate::scenario::TestMode;
use crate::units::{SampleId, SampleIndex};

/// Samples that are read from a plan at a time.
const PART: usize = 4_096;

/// Refuses flags and modes that need a model or pictures, of which the null system has neither.
pub fn refuse_what_needs_a_model(args: &RunArgs, asked: &Asked) -> Result<(), Failure> {
    if let Some(flag) = model_flag(args) {
        return Err(Failure::usage(format!(
            "{flag} needs a model, and --sut null has none: leave one of them out"
        )));
    }
    if asked.asks.iter().any(|ask| ask.peak.is_some()) {
        return Err(Failure::usage(
            "--find-peak searches the limit of a system, and --sut null has none but the harness's own: leave one of them out",
        ));
    }
    let finds = |mode| matches!(mode, TestMode::AccuracyOnly | TestMode::SubmissionRun);
    if let Some(mode) = asked
        .asks
        .iter()
        .map(super::asks::Ask::test_mode)
        .find(|mode| finds(*mode))
    {
        return Err(Failure::usage(format!(
            "--sut null finds nothing, so it has no mode {mode}: give --mode PerformanceOnly"
        )));
    }
    Ok(())
}

/// The first given flag that says something of a model, of pictures or of workers.
fn model_flag(args: &RunArgs) -> Option<&'static str> {
    let given = [
        ("--accuracy-only", args.accuracy_only),
        ("--model", !args.models.model.is_empty()),
        ("--model-config", args.models.model_config.is_some()),
        ("--model-to-eval", args.models.model_to_eval.is_some()),
        ("--dataset", args.dataset.is_some()),
        ("--images", args.images.is_some()),
        ("--annotations", args.annotations.is_some()),
        ("--skip-missing", args.skip_missing),
        ("--nms", args.nms.is_some()),
        (
            "--score-threshold",
            args.thresholds.score_threshold.is_some(),
        ),
        ("--iou-threshold", args.thresholds.iou_threshold.is_some()),
        ("--max-detections", args.thresholds.max_detections.is_some()),
        (
            "--detections-per-class",
            args.thresholds.detections_per_class.is_some(),
        ),
        ("--warmup", args.warmup.is_some()),
        (
            "--timed-region",
            args.timed_region != TimedRegion::Inference,
        ),
        ("--instances", args.instances.is_some()),
        ("--cores-per-instance", args.cores_per_instance.is_some()),
        ("--intra-threads", args.intra_threads.is_some()),
        ("--inter-threads", args.inter_threads.is_some()),
        ("--cpus", args.cpus.is_some()),
        ("--pin", args.pin.is_some()),
        ("--smt", args.smt.is_some()),
        ("--socket-id", args.socket_id.is_some()),
        ("--numa-node", args.numa_node.is_some()),
        ("--batch-size", args.batch_size.is_some()),
        ("--batch-timeout-us", args.batch_timeout_us.is_some()),
        ("--preproc-threads", args.preproc_threads.is_some()),
        ("--machine", args.machine.is_some()),
        ("--ort", !args.ort.is_empty()),
        ("--ort-lib", args.ort_lib.is_some()),
        ("--save-raw", args.save_raw.is_some()),
    ];
    let mut given = given.into_iter().filter(|(_, is_given)| *is_given);
    given.next().map(|(flag, _)| flag)
}

/// What a performance run of which `issued` samples left logs of its answers: who was asked, and
/// no data. The order of completion is that of issue.
pub fn logged_answers(plan: &Plan, set: &LoadableSet, issued: u64) -> Vec<AccuracyAnswer> {
    let mut selection = AccuracyLogSelection::new(plan);
    selection.begin_set(set);
    let mut answers = Vec::new();
    if !selection.keeps_some() {
        return answers;
    }
    let mut queries = plan.queries(set);
    let mut part: Vec<SampleIndex> = Vec::with_capacity(PART);
    let mut ids = (0..issued as u32).map(SampleId);
    while queries.begin_query().is_some() {
        while queries.read_samples(PART, &mut part) > 0 {
            for index in part.drain(..) {
                let Some(id) = ids.next() else {
                    return answers;
                };
                if selection.keeps_next() {
                    let data = Vec::new();
                    answers.push(AccuracyAnswer { id, index, data });
                }
            }
        }
    }
    answers
}
