//! The command line: one file a verb. It alone wires the real parts together.

pub mod categories;
pub mod detect;
pub mod failure;
pub mod import;
mod inference;
pub mod interrupt;
pub mod nms;
pub mod plan;
pub mod run;
pub mod score;
pub mod setup;

use std::io::{self, BufWriter};

use clap::{Parser, Subcommand};

use self::failure::{Blame, Failure, Outcome};

/// Measure object detectors on CPUs: throughput, latency percentiles and accuracy.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Measure a detector: performance, then accuracy; fetches what is missing
    Run(Box<run::args::RunArgs>),
    /// Fetch and verify ONNX Runtime, the default model and pictures
    Setup(setup::SetupArgs),
    /// Print what a run would issue, touching no model
    Plan(plan::PlanArgs),
    /// Score detections against COCO ground truth
    Score(score::ScoreArguments),
    /// Detect the objects in pictures
    Detect(Box<detect::DetectArgs>),
    /// Run the NMS op on raw heads, or compare its two modes
    Nms(Box<nms::NmsArgs>),
    /// Convert a TensorFlow.js detector to ONNX
    Import(import::ImportArgs),
}

/// Reads the arguments, does what they say, and gives the exit code: 0 done and valid, 1 a
/// criterion failed, 2 wrong usage or input, 3 the environment lacks something, 130 interrupted.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; a closed pipe is nobody's business.
            let _ = error.print();
            return u8::from(error.use_stderr()) * 2;
        }
    };
    let done = match &cli.verb {
        Verb::Run(args) => {
            interrupt::install();
            run::run(args)
        }
        Verb::Setup(args) => return setup::run(args),
        Verb::Plan(args) => print_plan(args),
        Verb::Score(args) => print_scores(args),
        Verb::Detect(args) => print_detections(args),
        Verb::Nms(args) => print_nms(args),
        Verb::Import(args) => print_import(args),
    };
    match done {
        Ok(outcome) => outcome.code(),
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.code()
        }
    }
}

fn print_plan(args: &plan::PlanArgs) -> Result<Outcome, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match plan::print(args, &mut out) {
        Err(plan::PlanCommandError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        done => done.or_usage()?,
    }
    Ok(Outcome::Done)
}

fn print_import(args: &import::ImportArgs) -> Result<Outcome, Failure> {
    import::run(args, &mut io::stdout().lock()).or_usage()?;
    Ok(Outcome::Done)
}

fn print_detections(args: &detect::DetectArgs) -> Result<Outcome, Failure> {
    detect::run(args, &mut BufWriter::new(io::stdout().lock()))?;
    Ok(Outcome::Done)
}

fn print_nms(args: &nms::NmsArgs) -> Result<Outcome, Failure> {
    nms::run(args, &mut BufWriter::new(io::stdout().lock()))?;
    Ok(Outcome::Done)
}

fn print_scores(args: &score::ScoreArguments) -> Result<Outcome, Failure> {
    score::run(args, &mut io::stdout().lock()).or_usage()?;
    Ok(Outcome::Done)
}
