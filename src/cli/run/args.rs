//! The flags of `run`, grouped by the question that they answer.

use std::path::PathBuf;

use clap::builder::ArgPredicate;
use clap::{Args, ValueEnum};

use super::compat::CompatWord;
use super::which::ModelsArgs;
use crate::cli::detector_args::{ModelArgs, ThresholdArgs};
use crate::cli::dialect::Told;
use crate::cli::peak::PeakArgs;
use crate::cli::score::{Points, VocStyleArgument};
use crate::cli::test_args::ConfArgs;
use crate::clock::{Monotonic, SPIN, SPIN_MAX};
use crate::placement::plan::LARGEST_COUNT;
use crate::postprocess::NmsMode;
use crate::scenario::TestMode;
use crate::units::Latency;

const SPIN_US: u64 = SPIN.as_nanos() / 1_000;
const SPIN_US_MAX: u64 = SPIN_MAX.as_nanos() / 1_000;

/// The flags that name pictures; one of them at a time.
const NAMED_PICTURES: &str = "named_pictures";

const WHAT: &str = "What is asked";
const PEAK: &str = "Search for the highest load";
const FILES: &str = "LoadGen's configuration files";
const ON_WHAT: &str = "On which model and pictures";
const POST: &str = "How detections are made";
const WHERE: &str = "Where it runs";
const OUT: &str = "What comes out";

/// Measure a detector: performance, then accuracy.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// SingleStream, MultiStream, Server, Offline, smoke, or a scenario file; may be repeated
    /// [with --find-peak: Server]
    #[arg(long, value_name = "NAME|FILE", default_value = "smoke", default_value_if("find_peak", ArgPredicate::IsPresent, "Server"), help_heading = WHAT)]
    pub scenario: Vec<String>,
    /// Only performance, no accuracy
    #[arg(long, conflicts_with = "accuracy_only", help_heading = WHAT)]
    pub benchmark_only: bool,
    /// Only accuracy, no performance
    #[arg(long, conflicts_with = "find_peak", help_heading = WHAT)]
    pub accuracy_only: bool,
    /// LoadGen's test mode: PerformanceOnly, AccuracyOnly, SubmissionRun (both in one test) or
    /// FindPeakPerformance [default: performance, then accuracy of all pictures once]
    #[arg(long, value_name = "MODE", help_heading = WHAT)]
    pub mode: Option<TestMode>,
    /// Which LoadGen's random streams to repeat: v6, v5 or v4-gcc10 [default: v6]; and whose
    /// command line is spoken: intel (`launch_benchmark.py`), ck (`object-detection-tflite`), aimet
    /// (quanteval) or pytorch-ssd (`eval_ssd.py`); one of each
    #[arg(long, value_name = "NAME", help_heading = WHAT)]
    pub compat: Vec<CompatWord>,
    /// A setting by LoadGen's name, such as `min_query_count=300`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., help_heading = WHAT)]
    pub set: Vec<String>,
    /// Least duration of each run, such as 30s, 500ms or 2m
    #[arg(long, value_name = "TIME", value_parser = parse_span, allow_negative_numbers = true, help_heading = WHAT)]
    pub duration: Option<Span>,
    /// Server's arrival rate, and Offline's expected rate, in pictures a second
    #[arg(long, visible_alias = "qps", value_name = "RATE", allow_negative_numbers = true, help_heading = WHAT)]
    pub target_qps: Option<String>,
    /// One seed for the library's order, the choice of samples and the schedule
    #[arg(long, value_name = "N", value_parser = parse_seed, allow_negative_numbers = true, help_heading = WHAT)]
    pub seed: Option<u64>,
    /// Take the official seeds of this MLPerf Inference round, such as v6.1
    #[arg(long, value_name = "ROUND", help_heading = WHAT)]
    pub round: Option<String>,
    /// A search for the highest load.
    #[command(flatten, next_help_heading = PEAK)]
    pub peak: PeakArgs,
    /// LoadGen's configuration files.
    #[command(flatten, next_help_heading = FILES)]
    pub conf: ConfArgs,
    /// Warm-up of each instance and NMS mode: a number of inferences or a time [default: 10 or 2s, whichever is first]
    #[arg(long, visible_alias = "warmup-steps", value_name = "10|2s", value_parser = parse_warm_up, allow_negative_numbers = true, help_heading = WHAT)]
    pub warmup: Option<WarmUpArg>,
    /// What the latency covers
    #[arg(long, value_enum, default_value_t = TimedRegion::Inference, help_heading = WHAT)]
    pub timed_region: TimedRegion,

    /// What answers: a model, or nothing at all, which shows what the harness itself costs
    #[arg(long, value_enum, default_value_t = SutArg::Model, help_heading = ON_WHAT)]
    pub sut: SutArg,
    /// The model, or two.
    #[command(flatten)]
    pub models: ModelsArgs,
    /// The one that was chosen of them; no flag of its own.
    #[arg(skip)]
    pub model: ModelArgs,
    /// A data set: a COCO or Pascal VOC folder, TFRecords (their folder or one file), or a folder of pictures [default:
    /// the photos that setup fetches]
    #[arg(long, visible_alias = "data-location", value_name = "PATH", group = NAMED_PICTURES, help_heading = ON_WHAT)]
    pub dataset: Option<PathBuf>,
    /// Which part of the data set, such as val2014, VOC's test, or the first word of the records' names
    #[arg(long, value_name = "NAME", requires = "dataset", help_heading = ON_WHAT)]
    pub split: Option<String>,
    /// A folder of pictures alone; with --annotations what is found in them is scored
    #[arg(long, value_name = "DIR", group = NAMED_PICTURES, help_heading = ON_WHAT)]
    pub images: Option<PathBuf>,
    /// Dummy data in the place of pictures: seeded noise, which shows what inference costs and finds nothing [seed: 1]
    #[arg(long, value_name = "SEED", num_args = 0..=1, require_equals = true, default_missing_value = "1", value_parser = parse_seed, conflicts_with_all = [NAMED_PICTURES, "accuracy_only", "save_raw"], help_heading = ON_WHAT)]
    pub synthetic: Option<u64>,
    /// Ground truth of the pictures, COCO JSON [with --dataset: what comes with it]
    #[arg(long, value_name = "FILE", requires = NAMED_PICTURES, help_heading = ON_WHAT)]
    pub annotations: Option<PathBuf>,
    /// Use so many pictures, from the first on, and leave the others out
    #[arg(long, value_name = "N", value_parser = parse_pictures, allow_negative_numbers = true, help_heading = ON_WHAT)]
    pub count: Option<usize>,
    /// Leave out the first N pictures
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = ON_WHAT)]
    pub skip: usize,
    /// Leave pictures out that the annotations name but the folder lacks, and shards that are missing
    #[arg(long, help_heading = ON_WHAT)]
    pub skip_missing: bool,
    /// Memory for loaded pictures, such as 512MiB; what does not fit is loaded set by set, as LoadGen does it
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size, help_heading = ON_WHAT)]
    pub library_memory: usize,
    /// Whose arithmetic scores a VOC data set
    #[arg(long, value_enum, default_value_t, help_heading = ON_WHAT)]
    pub voc_style: VocStyleArgument,
    /// Over which recalls a VOC data set is scored: VOC 2007's eleven, or the whole area
    #[arg(long, value_enum, default_value_t, help_heading = ON_WHAT)]
    pub points: Points,

    /// Regular or fast NMS, or both side by side [default: both, with two models regular; none for graphs that end in detections]
    #[arg(long, value_enum, help_heading = POST)]
    pub nms: Option<NmsArg>,
    /// Thresholds and limits.
    #[command(flatten)]
    pub thresholds: ThresholdArgs,

    /// Sessions side by side [default: one for SingleStream, else one a core]
    #[arg(long, value_name = "N", value_parser = parse_count, allow_negative_numbers = true, help_heading = WHERE)]
    pub instances: Option<usize>,
    /// Cores of each instance, or a whole socket
    #[arg(long, value_name = "K|socket", help_heading = WHERE)]
    pub cores_per_instance: Option<String>,
    /// Threads of an instance inside an operator
    #[arg(short = 'x', long, visible_alias = "num-intra-threads", value_name = "N", value_parser = parse_count, allow_negative_numbers = true, help_heading = WHERE)]
    pub intra_threads: Option<usize>,
    /// Threads of an instance across operators; more than one means parallel execution
    #[arg(short = 'y', long, visible_alias = "num-inter-threads", value_name = "N", value_parser = parse_count, allow_negative_numbers = true, help_heading = WHERE)]
    pub inter_threads: Option<usize>,
    /// CPUs to use, such as 0-13,28 [default: all that this process may use]
    #[arg(long, value_name = "LIST", help_heading = WHERE)]
    pub cpus: Option<String>,
    /// Pin each thread to its core, or leave it to the system [default: core]
    #[arg(long, value_enum, help_heading = WHERE)]
    pub pin: Option<PinArg>,
    /// Whether to use the second thread of each core [default: off]
    #[arg(long, value_enum, help_heading = WHERE)]
    pub smt: Option<OnOff>,
    /// Keep to one socket
    #[arg(long, value_name = "N", help_heading = WHERE)]
    pub socket_id: Option<usize>,
    /// Keep to one NUMA node
    #[arg(long, value_name = "N", help_heading = WHERE)]
    pub numa_node: Option<usize>,
    /// A machine preset, by name or file
    #[arg(long, value_name = "NAME|FILE", help_heading = WHERE)]
    pub machine: Option<String>,
    /// Pictures in one inference [default: the scenario file's, else 1]
    #[arg(short = 'b', long, visible_alias = "max-batchsize", value_name = "N", value_parser = parse_batch_size, allow_negative_numbers = true, help_heading = WHERE)]
    pub batch_size: Option<usize>,
    /// How long a Server batch that is not full waits, in microseconds
    #[arg(long, value_name = "US", help_heading = WHERE)]
    pub batch_timeout_us: Option<u64>,
    /// How long the load generator spins before a query is due instead of sleeping, in microseconds
    #[arg(long, value_name = "US", default_value_t = SPIN_US, value_parser = clap::value_parser!(u64).range(0..=SPIN_US_MAX), allow_negative_numbers = true, help_heading = WHERE)]
    pub spin_us: u64,
    /// Threads that decode and resize pictures [default: one a core]
    #[arg(long, visible_aliases = ["data-num-intra-threads", "data-num-inter-threads"], value_name = "N", value_parser = parse_data_threads, allow_negative_numbers = true, help_heading = WHERE)]
    pub preproc_threads: Option<usize>,
    /// A session option of ONNX Runtime; may be repeated
    #[arg(long, value_name = "KEY=VALUE", help_heading = WHERE)]
    pub ort: Vec<String>,
    /// The ONNX Runtime library to load [default: found or fetched]
    #[arg(long, value_name = "FILE", help_heading = WHERE)]
    pub ort_lib: Option<PathBuf>,

    /// Also write every sample as a span for trace viewers: `mlperf_log_trace.json`
    #[arg(long, help_heading = OUT)]
    pub trace: bool,
    /// End an accuracy run with the summary of Collective Knowledge's program: graph, load and detection times, mAP, Recall
    #[arg(long, requires = "accuracy_only", conflicts_with = "json", help_heading = OUT)]
    pub ck_summary: bool,
    /// Where the run folder is made
    #[arg(long, value_name = "DIR", default_value = "results", help_heading = OUT)]
    pub output_dir: PathBuf,
    /// Also write the raw heads of every picture (probabilities, boxes, anchors) for `detbench nms`
    #[arg(long, value_name = "DIR", help_heading = OUT)]
    pub save_raw: Option<PathBuf>,
    /// One JSON document on stdout and nothing else
    #[arg(long, help_heading = OUT)]
    pub json: bool,

    /// What a dialect's command line said besides; no flag of its own.
    #[arg(skip)]
    pub told: Option<Told>,
}

impl RunArgs {
    /// The modes asked for, where there is a choice.
    pub fn nms(&self) -> NmsArg {
        // A dialect's log has room for one measurement.
        let unsaid = match self.told {
            None => NmsArg::Both,
            Some(_) => NmsArg::Regular,
        };
        self.nms.unwrap_or(unsaid)
    }

    /// The clock of the runs; this thread, and those that it starts from now on, wake in time.
    pub fn clock(&self) -> Monotonic {
        let clock = Monotonic::new().with_spin(Latency::from_micros(self.spin_us));
        clock.lower_timer_slack();
        clock
    }
}

/// `--nms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NmsArg {
    /// Class by class.
    Regular,
    /// One class-agnostic pass.
    Fast,
    /// Each in turn.
    Both,
}

impl NmsArg {
    /// The modes in the order in which they are measured.
    pub fn modes(self) -> &'static [NmsMode] {
        match self {
            Self::Regular => &[NmsMode::Regular],
            Self::Fast => &[NmsMode::Fast],
            Self::Both => &[NmsMode::Regular, NmsMode::Fast],
        }
    }
}

/// `--sut`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SutArg {
    /// A detector in ONNX Runtime.
    Model,
    /// A system that answers inside the issue call.
    Null,
}

/// `--timed-region`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TimedRegion {
    /// From the prepared tensor to the detections.
    Inference,
    /// From the encoded picture in memory to the detections.
    EndToEnd,
}

impl TimedRegion {
    /// What is inside, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Inference => {
                "queueing, inference, box decoding and NMS; pictures are decoded and resized before"
            }
            Self::EndToEnd => {
                "picture decoding, resizing, queueing, inference, box decoding and NMS; files are read before"
            }
        }
    }
}

/// `--pin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PinArg {
    /// Threads run where the system puts them.
    None,
    /// Each thread on its own core.
    Core,
}

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// Yes.
    On,
    /// No.
    Off,
}

/// A span of time as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Latency);

/// `--warmup`: how many inferences or how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmUpArg {
    /// So many inferences.
    Inferences(u32),
    /// So long.
    Duration(Span),
}

/// More samples in one inference are taken for a mistake.
const BATCH_SIZE_MAX: usize = 4_096;

/// More threads for decoding and resizing are taken for a mistake.
const DATA_THREADS_MAX: usize = 1_024;

fn parse_count(text: &str) -> Result<usize, String> {
    parse_count_to(LARGEST_COUNT, text)
}

fn parse_pictures(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("give a number of pictures above zero".to_owned()),
    }
}

fn parse_batch_size(text: &str) -> Result<usize, String> {
    parse_count_to(BATCH_SIZE_MAX, text)
}

fn parse_data_threads(text: &str) -> Result<usize, String> {
    parse_count_to(DATA_THREADS_MAX, text)
}

fn parse_count_to(largest: usize, text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=largest).contains(&count) => Ok(count),
        _ => Err(format!("give a whole number from 1 to {largest}")),
    }
}

fn parse_seed(text: &str) -> Result<u64, String> {
    let seed = text.parse();
    seed.map_err(|_| "give a whole number from 0 to 2^64 - 1".to_owned())
}

/// A number of bytes: `512MiB`, `2GB`, or bytes alone.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let wrong = || "give a number and a unit, such as 512MiB, 2GiB or 800MB".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(split.unwrap_or(text.len()));
    let scale: usize = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: usize = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(scale)
        .filter(|size| *size > 0)
        .ok_or_else(wrong)
}

/// A time above zero with its unit, such as `500ms` or `2m`.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_span(text: &str) -> Result<Span, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3_600e9,
        _ => return Err("give a number and a unit, such as 500ms, 30s or 2m".to_owned()),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "give a number and a unit, such as 500ms, 30s or 2m".to_owned())?;
    let ns = number * scale;
    if !(1.0..=366.0 * 86_400e9).contains(&ns) {
        return Err("give a time above zero and up to a year".to_owned());
    }
    Ok(Span(Latency::from_nanos(ns as u64)))
}

fn parse_warm_up(text: &str) -> Result<WarmUpArg, String> {
    if let Ok(count) = text.parse() {
        return Ok(WarmUpArg::Inferences(count));
    }
    parse_span(text)
        .map(WarmUpArg::Duration)
        .map_err(|_| "give a number of inferences or a time, such as 10 or 2s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, ns) in [
            ("500ms", 500_000_000),
            ("2s", 2_000_000_000),
            ("1.5s", 1_500_000_000),
            ("2m", 120_000_000_000),
            ("10us", 10_000),
        ] {
            assert_eq!(parse_span(text).unwrap().0.as_nanos(), ns, "{text}");
        }
        for text in ["", "s", "10", "-1s", "0s", "1e9h", "ten s", "3 days"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        assert_eq!(parse_warm_up("10"), Ok(WarmUpArg::Inferences(10)));
        assert!(matches!(parse_warm_up("2s"), Ok(WarmUpArg::Duration(_))));
        assert!(parse_warm_up("soon").is_err());
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        for (text, bytes) in [
            ("1GiB", 1 << 30),
            ("512 MiB", 512 << 20),
            ("800MB", 800_000_000),
            ("7", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "GiB",
            "1.5GiB",
            "-1MB",
            "1TB",
            "99999999999999999GiB",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn counts_that_make_no_sense_are_refused() {
        assert_eq!(parse_count("1"), Ok(1));
        for text in ["0", "-1", "1.5", "abc", "", "8193", "99999999999999999999"] {
            let error = parse_count(text).unwrap_err();
            assert_eq!(error, "give a whole number from 1 to 8192", "{text}");
        }
        assert!(parse_batch_size("4097").is_err());
        assert!(parse_data_threads("1025").is_err());
    }
}
