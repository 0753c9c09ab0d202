//! The command line: one file a verb. It alone wires the real parts together.

pub mod categories;
pub mod dataset;
pub mod detect;
pub mod detector_args;
pub mod dialect;
pub mod failure;
pub mod generate;
mod ground_truth;
pub mod import;
mod inference;
pub mod interrupt;
pub mod models;
pub mod nearness;
pub mod new_file;
pub mod nms;
pub mod peak;
pub mod plan;
pub mod quantize;
pub mod run;
pub mod score;
pub mod setup;
pub mod simulate;
pub mod test_args;
pub mod tune;

use std::io::{self, BufWriter, Write};

use clap::{Parser, Subcommand};

use self::failure::{Blame, Failure, Outcome};
use crate::dataset::{locate, Located};

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
    /// Run a whole test against a simulated system on virtual time
    Simulate(Box<simulate::SimulateArgs>),
    /// Score detections against COCO ground truth
    Score(score::ScoreArguments),
    /// Detect the objects in pictures
    Detect(Box<detect::DetectArgs>),
    /// Run the NMS op on raw heads, or compare its two modes
    Nms(Box<nms::NmsArgs>),
    /// Convert a TFLite or TensorFlow.js detector to ONNX
    Import(import::ImportArgs),
    /// Quantise a float detector to int8 with calibration pictures
    Quantize(Box<quantize::QuantizeArgs>),
    /// Find the fastest int8 model that keeps the accuracy
    Tune(Box<tune::TuneArgs>),
    /// List the known models, what they cost and where their weights come from, or show one
    Models(models::ModelsArgs),
    /// Say what a data set holds, or convert it between COCO, Pascal VOC and TFRecords
    Dataset(dataset::DatasetArgs),
    /// Build a published architecture with seeded weights, to measure without a download
    Generate(generate::GenerateArgs),
}

/// Reads the arguments, does what they say, and gives the exit code: 0 done and valid, 1 a
/// criterion failed, 2 wrong usage or input, 3 the environment lacks something, 130 interrupted.
pub fn main() -> u8 {
    let models = run::search_folders();
    let around = dialect::Surroundings {
        variable: &|key| std::env::var(key).ok(),
        precision: &run::precision_of_graph,
        lines: &|path| {
            let text = std::fs::read_to_string(path).ok()?;
            Some(text.lines().map(str::to_owned).collect())
        },
        is_voc: &|path| matches!(locate(path, None), Ok(Located::Voc { .. })),
        models: &models,
        instances: &run::instances_that_fit,
    };
    let spoken = dialect::translate(std::env::args_os().collect(), around);
    let spoken = match spoken {
        Ok(spoken) => spoken,
        Err(error) => {
            print_err(&format!("error: {error}"));
            return Failure::usage(error).code();
        }
    };
    let mut cli = match Cli::try_parse_from(spoken.arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; a closed pipe is nobody's business.
            let _ = error.print();
            return u8::from(error.use_stderr()) * 2;
        }
    };
    if let Verb::Run(args) = &mut cli.verb {
        args.told = spoken.told;
    }
    let done = match &cli.verb {
        Verb::Run(args) => {
            interrupt::install();
            run::run(args)
        }
        Verb::Setup(args) => return setup::run(args),
        Verb::Plan(args) => print_plan(args),
        Verb::Simulate(args) => simulate::run(args),
        Verb::Score(args) => print_scores(args),
        Verb::Detect(args) => print_detections(args),
        Verb::Nms(args) => print_nms(args),
        Verb::Import(args) => print_import(args),
        Verb::Quantize(args) => print_quantized(args),
        Verb::Tune(args) => {
            interrupt::install();
            tune::run(args)
        }
        Verb::Models(args) => models::run(args),
        Verb::Dataset(args) => {
            interrupt::install();
            dataset::run(args)
        }
        Verb::Generate(args) => print_generated(args),
    };
    match done {
        Ok(outcome) => outcome.code(),
        Err(failure) => {
            print_err(&format!("error: {failure}"));
            // Ctrl-C reaches the clients that fetch as well: what they then say is its echo.
            if interrupt::is_interrupted() {
                Outcome::Interrupted.code()
            } else {
                failure.code()
            }
        }
    }
}

/// Puts text on stdout; a reader that has gone away, such as `head`, is no error.
///
/// # Errors
/// When stdout cannot be written for another reason, such as a full disk.
pub(crate) fn print_out(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::environment(
            format!("stdout cannot be written: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Puts a line on stderr. What cannot be said there can be said nowhere, and is no reason to stop measuring.
pub(crate) fn print_err(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Puts a document on stdout, in one line.
///
/// # Errors
/// As [`print_out`].
pub(crate) fn print_json(document: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(document).or_environment()?;
    print_out(&format!("{text}\n"))
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
    let mut out = Vec::new();
    import::run(args, &mut out).or_usage()?;
    print_out(&String::from_utf8_lossy(&out))?;
    Ok(Outcome::Done)
}

fn print_quantized(args: &quantize::QuantizeArgs) -> Result<Outcome, Failure> {
    print_out(&quantize::run(args)?)?;
    Ok(Outcome::Done)
}

fn print_generated(args: &generate::GenerateArgs) -> Result<Outcome, Failure> {
    let mut out = Vec::new();
    generate::run(args, &mut out).or_usage()?;
    print_out(&String::from_utf8_lossy(&out))?;
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
    let mut out = Vec::new();
    score::run(args, &mut out).or_usage()?;
    print_out(&String::from_utf8_lossy(&out))?;
    Ok(Outcome::Done)
}
