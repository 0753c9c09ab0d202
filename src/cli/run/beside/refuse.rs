//! What two models side by side have no use for.

use crate::cli::failure::Failure;
use crate::cli::run::args::{NmsArg, RunArgs};
use crate::cli::run::asks::Asked;
use crate::cli::run::which::ModelToEval;
use crate::scenario::TestMode;

/// Refuses flags that mean something for one model only.
///
/// # Errors
/// One sentence.
pub fn flags(args: &RunArgs) -> Result<(), Failure> {
    if let Some(told) = &args.told {
        return Err(Failure::usage(format!(
            "--compat {} reports on one model as its program does, and {} asks for two: leave --compat out, or give one model",
            told.dialect,
            asked_by(args)
        )));
    }
    let flags = [
        ("--find-peak", args.peak.find_peak),
        ("--save-raw", args.save_raw.is_some()),
        ("--trace", args.trace),
        ("--ck-summary", args.ck_summary),
    ];
    if let Some((flag, _)) = flags.into_iter().find(|(_, is_given)| *is_given) {
        return Err(one_at_a_time(args, flag));
    }
    if args.nms == Some(NmsArg::Both) {
        return Err(Failure::usage(format!(
            "--nms both and {} exclude each other: two models are compared with the same NMS; give --nms regular (the default here) or --nms fast",
            asked_by(args)
        )));
    }
    Ok(())
}

/// Refuses LoadGen's test modes that are not of performance alone.
///
/// # Errors
/// One sentence.
pub fn modes(args: &RunArgs, asked: &Asked) -> Result<(), Failure> {
    let of_one = |mode: TestMode| match mode {
        TestMode::AccuracyOnly | TestMode::SubmissionRun | TestMode::FindPeakPerformance => true,
        TestMode::PerformanceOnly => false,
    };
    for ask in &asked.asks {
        if ask.peak.is_some() {
            return Err(one_at_a_time(args, "a search for the highest load"));
        }
        if let Some(mode) = ask.mode.filter(|mode| of_one(*mode)) {
            return Err(one_at_a_time(args, &format!("the mode {mode}")));
        }
    }
    Ok(())
}

fn one_at_a_time(args: &RunArgs, what: &str) -> Failure {
    Failure::usage(format!(
        "{what} is for one model, and {} asks for two side by side: run each alone with it",
        asked_by(args)
    ))
}

/// The words that ask for two models.
const fn asked_by(args: &RunArgs) -> &'static str {
    match args.models.model_to_eval {
        Some(ModelToEval::Both) => "--model-to-eval both",
        _ => "a second --model",
    }
}
