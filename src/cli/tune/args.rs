//! The flags of `detbench tune`, laid over a file of LPOT's.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::cli::detector_args::RuntimeArgs;
use crate::cli::failure::{Blame, Failure};
use crate::cli::run::args::{OnOff, PinArg};
use crate::placement::plan::{Layout, Pin, PlacementRequest};
use crate::quantise::{CALIBRATION_SIZE, SEED};
use crate::tune::criterion::{confidence, parse_loss, Criterion, Judged, Loss};
use crate::tune::exit::ExitPolicy;
use crate::tune::lpot::{self, LpotRequest};
use crate::tune::objective::Objective;
use crate::tune::space::Space;
use crate::tune::strategy::Strategy;
use crate::tune::tuning::Ask;
use crate::units::Latency;

const GOOD: &str = "What is good enough, and what is better";
const SEARCH: &str = "How it is searched";
const WHERE: &str = "How speed is measured";

/// Find the fastest int8 model that keeps the accuracy
///
/// The best model so far is always on disk. Ctrl-C ends the search and keeps it; --resume goes on.
#[derive(Debug, Clone, Args)]
pub struct TuneArgs {
    /// A known model or an ONNX file, in float
    #[arg(value_name = "NAME|FILE.onnx")]
    pub model: String,
    /// The ONNX file to write; the model file FILE.toml and FILE.history.jsonl are written beside it
    #[arg(short, long, value_name = "FILE.onnx")]
    pub output: PathBuf,
    /// Pictures to calibrate with, and to look at candidates on
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub calibration: Option<PathBuf>,
    /// Pictures to evaluate on; they should not be among those that calibrate
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub images: Option<PathBuf>,
    /// Their ground truth, COCO JSON; not needed with --criterion agreement or dp
    #[arg(long, value_name = "FILE")]
    pub annotations: Option<PathBuf>,
    /// A configuration file of LPOT's (Neural Compressor 1.x); flags win over it
    #[arg(long, value_name = "LPOT.yaml")]
    pub config: Option<PathBuf>,
    /// How many pictures calibrate [default: 32]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub calibration_size: Option<usize>,
    /// The model file that describes an ONNX file
    #[arg(long, value_name = "NAME|FILE.toml")]
    pub model_config: Option<String>,
    /// Go on with the tuning of FILE.history.jsonl: what was tried is not tried again
    #[arg(long, conflicts_with = "force")]
    pub resume: bool,
    /// Replace files that exist, and begin anew
    #[arg(long)]
    pub force: bool,
    /// Print one JSON document instead of text
    #[arg(long)]
    pub json: bool,
    /// ONNX Runtime.
    #[command(flatten)]
    pub runtime: RuntimeArgs,

    /// Accuracy that may be lost, as a share of the float model's: 0.01 or 1% [default: 1%]
    #[arg(long, value_name = "LOSS", value_parser = parse_relative, allow_negative_numbers = true, conflicts_with = "accuracy_loss_absolute", help_heading = GOOD)]
    pub accuracy_loss: Option<f64>,
    /// Accuracy that may be lost, in mAP itself: 0.005
    #[arg(long, value_name = "LOSS", value_parser = parse_absolute, allow_negative_numbers = true, help_heading = GOOD)]
    pub accuracy_loss_absolute: Option<f64>,
    /// Which figure may lose it [default: map]
    #[arg(long, value_enum, help_heading = GOOD)]
    pub criterion: Option<CriterionArg>,
    /// How sure that has to be, such as 0.9: the lower bound of the paired bootstrap interval has to meet the criterion
    #[arg(long, value_name = "SHARE", value_parser = parse_confidence, help_heading = GOOD)]
    pub confidence: Option<f64>,
    /// What should be small, or large [default: latency-p50]
    #[arg(long, value_enum, help_heading = GOOD)]
    pub objective: Option<ObjectiveArg>,

    /// detbench, basic, mse, random or exhaustive [default: detbench; with --config the file's]
    #[arg(long, value_name = "NAME", value_parser = parse_strategy, help_heading = SEARCH)]
    pub strategy: Option<Strategy>,
    /// End after so many seconds; 0 ends at the first model that meets the criterion [default: when there is nothing left to try]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, help_heading = SEARCH)]
    pub timeout: Option<Latency>,
    /// End after so many models were evaluated [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = SEARCH)]
    pub max_trials: Option<u32>,
    /// End after the first model, whatever its accuracy
    #[arg(long, help_heading = SEARCH)]
    pub performance_only: bool,
    /// Seed of the choice of pictures, of the resamples and of --strategy random [default: 1978]
    #[arg(long, value_name = "N", help_heading = SEARCH)]
    pub seed: Option<u32>,
    /// Let the int8 models take the picture's bytes
    #[arg(long, help_heading = SEARCH)]
    pub u8_input: bool,

    /// Sessions side by side [default: one; with --objective throughput one a core]
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = WHERE)]
    pub instances: Option<usize>,
    /// Threads of each session [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = WHERE)]
    pub intra_threads: Option<usize>,
    /// CPUs to use, such as 0-3,8 [default: all that are allowed]
    #[arg(long, value_name = "LIST", help_heading = WHERE)]
    pub cpus: Option<String>,
    /// Whether threads are bound to cores [default: core]
    #[arg(long, value_enum, help_heading = WHERE)]
    pub pin: Option<PinArg>,
    /// Whether to use the second thread of each core [default: off]
    #[arg(long, value_enum, help_heading = WHERE)]
    pub smt: Option<OnOff>,
    /// A session option of ONNX Runtime; may be repeated
    #[arg(long, value_name = "KEY=VALUE", help_heading = WHERE)]
    pub ort: Vec<String>,
}

/// `--criterion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CriterionArg {
    /// COCO's mAP against the ground truth
    Map,
    /// mAP of the detections with the float model's as ground truth; needs no labels
    Agreement,
    /// Relative difference of all class probabilities; needs no labels
    Dp,
}

/// `--objective`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ObjectiveArg {
    /// Median latency
    LatencyP50,
    /// 99th percentile of the latency
    LatencyP99,
    /// Inferences a second
    Throughput,
    /// Bytes of the file
    Size,
}

impl From<ObjectiveArg> for Objective {
    fn from(argument: ObjectiveArg) -> Self {
        match argument {
            ObjectiveArg::LatencyP50 => Self::LatencyP50,
            ObjectiveArg::LatencyP99 => Self::LatencyP99,
            ObjectiveArg::Throughput => Self::Throughput,
            ObjectiveArg::Size => Self::Size,
        }
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("give a whole number above zero".to_owned()),
    }
}

fn loss(
    text: &str,
    of: fn(f64) -> Result<Loss, crate::tune::criterion::CriterionError>,
) -> Result<f64, String> {
    let value = parse_loss(text).map_err(|error| error.to_string())?;
    of(value).map_err(|error| error.to_string())?;
    Ok(value)
}

fn parse_relative(text: &str) -> Result<f64, String> {
    loss(text, Loss::relative)
}

fn parse_absolute(text: &str) -> Result<f64, String> {
    loss(text, Loss::absolute)
}

fn parse_confidence(text: &str) -> Result<f64, String> {
    let value = parse_loss(text).map_err(|_| "give a share such as 0.9 or 90%".to_owned())?;
    confidence(value).map_err(|error| error.to_string())
}

fn parse_strategy(text: &str) -> Result<Strategy, String> {
    text.parse()
        .map_err(|error: crate::tune::strategy::StrategyError| error.to_string())
}

fn parse_seconds(text: &str) -> Result<Latency, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(seconds) if (0.0..1e9).contains(&seconds) => Ok(Latency::from_secs_f64(seconds)),
        _ => Err("give seconds, such as 0 or 90".to_owned()),
    }
}

/// What is asked for, from flags and file.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Criterion, objective, end.
    pub ask: Ask,
    /// In which order.
    pub strategy: Strategy,
    /// What may be tried.
    pub space: Space,
    /// Seed of all choices.
    pub seed: u32,
    /// Calibration pictures unless the space names numbers.
    pub calibration_size: usize,
    /// Folder of the calibration pictures.
    pub calibration: PathBuf,
    /// Folder of the evaluation's pictures.
    pub images: PathBuf,
    /// Their ground truth.
    pub annotations: Option<PathBuf>,
    /// The history.
    pub history: PathBuf,
    /// Whether to go on with it.
    pub resume: bool,
    /// Where the models are timed.
    pub placement: PlacementRequest,
    /// Timed rounds and rounds before, where the file names them.
    pub rounds: (Option<u32>, Option<u32>),
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Asked {
    /// Pictures of the first calibration.
    pub fn size(&self) -> usize {
        let sizes = &self.space.calibration_sizes;
        sizes.first().copied().unwrap_or(self.calibration_size)
    }

    /// Lays the flags over the file's wishes.
    ///
    /// # Errors
    /// [`Failure`]: a file that cannot be read, something that nobody names, flags that contradict each other.
    pub fn read(args: &TuneArgs) -> Result<Self, Failure> {
        let file = match &args.config {
            None => None,
            Some(path) => Some(read_config(path)?),
        };
        let file = file.as_ref();
        let ask = Ask {
            criterion: criterion(args, file)?,
            objective: args.objective.map_or_else(
                || file.map(|file| file.objective).unwrap_or_default(),
                Objective::from,
            ),
            policy: policy(args, file),
        };
        let calibration = file.and_then(|file| file.calibration.as_ref());
        let evaluation = file.and_then(|file| file.evaluation.as_ref());
        let missing = |flag: &str, key: &str| {
            let file = args.config.as_deref().unwrap_or(Path::new(""));
            Failure::usage(format!(
                "{flag} DIR is missing, and {} names no pictures either ({key})",
                file.display()
            ))
        };
        let folder = |set: Option<&lpot::Dataset>| set.map(|set| set.pictures.clone());
        let images = args.images.clone().or_else(|| folder(evaluation));
        let images =
            images.ok_or_else(|| missing("--images", "`evaluation.accuracy.dataloader`"))?;
        let from_file = || folder(calibration);
        let calibration = args.calibration.clone().or_else(from_file);
        let calibration = calibration
            .ok_or_else(|| missing("--calibration", "`quantization.calibration.dataloader`"))?;
        // Annotations of the file belong to the pictures of the file.
        let of_file = evaluation.filter(|_| args.images.is_none());
        let of_file = || of_file.and_then(|set| set.annotations.clone());
        let annotations = args.annotations.clone().or_else(of_file);
        if annotations.is_none() && ask.criterion.judged == Judged::Map {
            return Err(Failure::usage(
                "mAP needs ground truth: pass --annotations FILE, or judge by what needs none with --criterion agreement or --criterion dp",
            ));
        }
        let mut space = file.map(|file| file.space.clone()).unwrap_or_default();
        if args.calibration_size.is_some() {
            space.calibration_sizes.clear();
        }
        if args.u8_input {
            space.u8_input = Some(true);
        }
        let performance = file.map(|file| file.performance).unwrap_or_default();
        Ok(Self {
            strategy: args
                .strategy
                .or(file.map(|file| file.strategy))
                .unwrap_or_default(),
            seed: args.seed.or(file.map(|file| file.seed)).unwrap_or(SEED),
            calibration_size: args.calibration_size.unwrap_or(CALIBRATION_SIZE),
            placement: placement(args, ask.objective, performance)?,
            rounds: (performance.iterations, performance.warmup),
            notes: file.map_or_else(Vec::new, |file| {
                file.notes.iter().map(ToString::to_string).collect()
            }),
            history: history(args, file),
            resume: args.resume || file.is_some_and(|file| file.resume.is_some()),
            ask,
            space,
            calibration,
            images,
            annotations,
        })
    }
}

/// Beside the output, unless the file names a workspace, or a history to go on from.
fn history(args: &TuneArgs, file: Option<&LpotRequest>) -> PathBuf {
    const NAME: &str = "history.jsonl";
    let within = |path: &PathBuf| {
        let is_file = path.extension().is_some_and(|own| own == "jsonl");
        if is_file {
            path.clone()
        } else {
            path.join(NAME)
        }
    };
    let resumed = file.and_then(|file| file.resume.as_ref()).map(within);
    let workspace = || Some(file?.workspace.as_ref()?.join(NAME));
    let beside = || args.output.with_extension(NAME);
    resumed.or_else(workspace).unwrap_or_else(beside)
}

fn read_config(path: &Path) -> Result<LpotRequest, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!(
            "--config {} cannot be read: {error}",
            path.display()
        ))
    })?;
    lpot::read(&text, &path.to_string_lossy()).or_usage()
}

fn criterion(args: &TuneArgs, file: Option<&LpotRequest>) -> Result<Criterion, Failure> {
    let mut criterion = file.map(|file| file.criterion).unwrap_or_default();
    if let Some(share) = args.accuracy_loss {
        criterion.loss = Loss::relative(share).or_usage()?;
    }
    if let Some(amount) = args.accuracy_loss_absolute {
        criterion.loss = Loss::absolute(amount).or_usage()?;
    }
    criterion.confidence = args.confidence.or(criterion.confidence);
    if let Some(judged) = args.criterion {
        criterion.judged = match judged {
            CriterionArg::Map => Judged::Map,
            CriterionArg::Agreement => Judged::Agreement,
            CriterionArg::Dp => Judged::Dp,
        };
    }
    Ok(criterion)
}

fn policy(args: &TuneArgs, file: Option<&LpotRequest>) -> ExitPolicy {
    let of_file = file.map(|file| file.exit).unwrap_or_default();
    ExitPolicy {
        timeout: args.timeout.or(of_file.timeout),
        max_trials: args.max_trials.unwrap_or(of_file.max_trials),
        performance_only: args.performance_only || of_file.performance_only,
    }
}

/// One thread unless something else is asked for.
fn placement(
    args: &TuneArgs,
    objective: Objective,
    file: lpot::Performance,
) -> Result<PlacementRequest, Failure> {
    let count = |count: Option<u32>| count.map(|count| count as usize);
    let cpus = match args.cpus.as_deref() {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|error| Failure::usage(format!("--cpus {text}: {error}")))?,
        ),
    };
    let is_throughput = objective == Objective::Throughput;
    let instances = args.instances.or(count(file.instances));
    Ok(PlacementRequest {
        instances: instances.or((!is_throughput).then_some(1)),
        intra_threads: Some(
            args.intra_threads
                .or(count(file.cores_per_instance))
                .unwrap_or(1),
        ),
        cpus,
        pin: args.pin.map(|pin| match pin {
            PinArg::None => Pin::None,
            PinArg::Core => Pin::Core,
        }),
        smt: args.smt.map(|smt| smt == OnOff::On),
        layout: Some(Layout::ManyNarrow),
        ..PlacementRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TuneArgs,
    }

    const FOLDERS: &str = "--calibration c --images i --annotations a.json";

    fn asked(flags: &str) -> Result<Asked, String> {
        let line = format!("x m.onnx -o o.onnx {flags}");
        let line =
            Line::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        Asked::read(&line.args).map_err(|error| error.to_string())
    }

    fn flags(flags: &str) -> Result<Asked, String> {
        asked(&format!("{FOLDERS} {flags}"))
    }

    #[test]
    fn one_per_cent_of_the_map_one_thread_and_our_strategy_unless_something_else_is_asked_for() {
        let own = flags("").unwrap();
        assert_eq!(own.ask.criterion, Criterion::default());
        assert_eq!(own.ask.policy, ExitPolicy::default());
        assert_eq!(own.strategy, Strategy::Detbench);
        assert_eq!(
            (own.placement.instances, own.placement.intra_threads),
            (Some(1), Some(1))
        );
        assert_eq!((own.seed, own.calibration_size), (1978, 32));
        let own = flags("--objective throughput").unwrap();
        assert_eq!(own.placement.instances, None);
    }

    #[test]
    fn losses_are_shares_percentages_or_absolute_and_never_two_of_them() {
        let loss = |text: &str| flags(text).map(|own| own.ask.criterion.loss);
        assert_eq!(loss("--accuracy-loss 2%"), Ok(Loss::Relative(0.02)));
        assert_eq!(loss("--accuracy-loss -0.5"), Ok(Loss::Relative(-0.5)));
        assert_eq!(
            loss("--accuracy-loss-absolute 0.005"),
            Ok(Loss::Absolute(0.005))
        );
        assert!(loss("--accuracy-loss 1% --accuracy-loss-absolute 0.1").is_err());
        assert!(loss("--accuracy-loss 1").unwrap_err().contains("1%"));
        assert!(loss("--accuracy-loss much").is_err());
        assert!(flags("--confidence 1.5").is_err());
    }

    #[test]
    fn a_strategy_that_is_not_offered_names_another_and_labels_are_asked_for_where_they_are_needed()
    {
        assert!(flags("--strategy bayesian").unwrap_err().contains("random"));
        let error = asked("--calibration c --images i").unwrap_err();
        assert!(
            error.contains("--annotations") && error.contains("--criterion dp"),
            "{error}"
        );
        assert!(asked("--calibration c --images i --criterion dp").is_ok());
        assert!(asked("--images i --annotations a").is_err());
        assert!(flags("--resume --force").is_err());
        assert_eq!(
            flags("--timeout 0").unwrap().ask.policy.timeout,
            Some(Latency::ZERO)
        );
        assert!(flags("--timeout -1").is_err());
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lpot.yaml");
        let text = "model:\n  name: ssd\n  framework: onnxrt_qlinearops\nquantization:\n  calibration:\n    sampling_size: 20, 40\ntuning:\n  strategy:\n    name: mse\n  accuracy_criterion:\n    relative: 0.02\n  exit_policy:\n    timeout: 0\n    max_trials: 7\n  random_seed: 9527\n";
        std::fs::write(&path, text).unwrap();
        let with = |more: &str| asked(&format!("{FOLDERS} --config {} {more}", path.display()));
        let own = with("").unwrap();
        assert_eq!(own.strategy, Strategy::Mse);
        assert_eq!(own.ask.criterion.loss, Loss::Relative(0.02));
        assert_eq!(own.ask.policy.timeout, Some(Latency::ZERO));
        assert_eq!((own.ask.policy.max_trials, own.seed), (7, 9527));
        assert_eq!(own.space.calibration_sizes, [20, 40]);
        let own = with("--strategy detbench --accuracy-loss 3% --timeout 5 --max-trials 9 --seed 1 --calibration-size 8").unwrap();
        assert_eq!(own.strategy, Strategy::Detbench);
        assert_eq!(own.ask.criterion.loss, Loss::Relative(0.03));
        assert_eq!(own.ask.policy.timeout, Some(Latency::from_millis(5_000)));
        assert_eq!((own.ask.policy.max_trials, own.seed), (9, 1));
        assert!(own.space.calibration_sizes.is_empty());
        assert_eq!(own.calibration_size, 8);
        // Without folders on either side there is nothing to run on.
        let error = asked(&format!("--config {}", path.display())).unwrap_err();
        assert!(error.contains("--images"), "{error}");
    }
}
