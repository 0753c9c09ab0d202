//! Synthetic weights: a run with them has no accuracy, and says so.

use super::args::RunArgs;
use super::asks::Asked;
use super::subject::Subject;
use crate::cli::failure::Failure;
use crate::scenario::TestMode;

/// What a reader of the report must know.
pub const NOTE: &str = "The weights are synthetic: they were drawn from a seed and never trained. Latency and throughput are \
    those of the architecture; what it finds means nothing, so there is no accuracy.";

/// Refuses to score what was never trained.
///
/// # Errors
/// When the flags, or LoadGen's files, ask for accuracy of a model with synthetic weights.
pub fn refuse_accuracy(args: &RunArgs, asked: &Asked, subject: &Subject) -> Result<(), Failure> {
    let description = &subject.description;
    if description.weights.are_trained() {
        return Ok(());
    }
    let scoring = |mode| matches!(mode, TestMode::AccuracyOnly | TestMode::SubmissionRun);
    let mut modes = asked.asks.iter().filter_map(|ask| ask.mode);
    let (what, remedy) = if args.accuracy_only {
        (
            "--accuracy-only".to_owned(),
            "leave --accuracy-only out to measure its performance",
        )
    } else if let Some(mode) = modes.find(|&mode| scoring(mode)) {
        (
            format!("the mode {mode}"),
            "pass --mode PerformanceOnly to measure its performance",
        )
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!(
        "{what} asks for accuracy, and {} has synthetic weights: what it finds means nothing; {remedy}, or bring trained weights",
        description.name
    )))
}
