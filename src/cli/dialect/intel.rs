//! `launch_benchmark.py` of Intel's model zoo: one instance, a fixed number of steps, no verdict.
//!
//! A step is an inference: one picture of SingleStream, or one query of MultiStream with as many
//! pictures as the batch has. Words that are none of Intel's are detbench's own and stay.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::words::value_of;
use super::{Dialect, DialectError, Ending, Surroundings, Told};
use crate::model::description::Precision;
use crate::model::known;

/// `launch_benchmark.py` measures so many steps unless it is told otherwise.
const STEPS: u64 = 50;

/// The warm-up of `launch_benchmark.py`.
const WARM_UP_STEPS: &str = "10";

/// Names of the model zoo for models that have another name here.
const ALIASES: [(&str, &str); 7] = [
    ("ssd-mobilenet", "ssd-mobilenet-v1"),
    ("ssd-resnet34", "ssd-resnet34-1200"),
    ("ssdvgg16", "ssd-vgg16"),
    ("ssd-vgg16-300", "ssd-vgg16"),
    ("ssd-resnet50-fpn", "ssd-resnet50-fpn-640"),
    ("faster-rcnn", "faster-rcnn-r50-fpn"),
    ("mask-rcnn", "mask-rcnn-r50-fpn"),
];

/// Flags without a meaning here that take a value, and why they have none.
const UNUSED: [(&str, &str); 6] = [
    ("--framework", "models run in ONNX Runtime"),
    ("--docker-image", "nothing runs in a container"),
    ("--volume", "nothing runs in a container"),
    ("--model-source-dir", "no source of the model is needed"),
    ("--checkpoint", "the graph has its weights"),
    ("--output-results", "the run folder has the results"),
];

/// The one model whose script ends in `Batch size = …` alone.
const ENDS_IN_IMAGES: &str = "ssd-vgg16";

/// How the log of `launch_benchmark.py` ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// Steps, and those of warm-up as they were typed.
    pub steps: (u64, String),
    /// Whether the lines of `infer_detections.py`, the script of all detectors but SSD-VGG16, come before the
    /// documented ones.
    pub has_sample_lines: bool,
    /// As `--numa-cores-per-instance` says it: a log for each instance, and one for all.
    pub cores_per_instance: Option<String>,
}

/// Short forms.
const SHORT: [(&str, &str); 14] = [
    ("-f", "--framework"),
    ("-r", "--model-source-dir"),
    ("-p", "--precision"),
    ("-mo", "--mode"),
    ("-m", "--model-name"),
    ("-b", "--batch-size"),
    ("-d", "--data-location"),
    ("-i", "--socket-id"),
    ("-n", "--num-cores"),
    ("-a", "--num-intra-threads"),
    ("-e", "--num-inter-threads"),
    ("-g", "--in-graph"),
    ("-k", "--benchmark-only"),
    ("-v", "--verbose"),
];

/// Translates the words after `run`.
///
/// # Errors
/// [`DialectError`].
pub fn translate(
    words: &[OsString],
    around: Surroundings<'_>,
) -> Result<(Vec<OsString>, Told), DialectError> {
    let mut launch = Launch::default();
    launch.read(words)?;
    launch.conclude(around)
}

/// What the words say.
#[derive(Debug, Default)]
struct Launch {
    model_name: Option<String>,
    precision: Option<Precision>,
    in_graph: Option<PathBuf>,
    data_location: Option<PathBuf>,
    batch_size: Option<u32>,
    steps: Option<u64>,
    warm_up: Option<String>,
    cores_per_instance: Option<String>,
    /// Cores and threads of the instance, by Intel's flags.
    threads: Vec<(String, String)>,
    data_threads: Vec<u32>,
    accuracy_only: bool,
    benchmark_only: bool,
    /// Words that are detbench's own.
    ours: Vec<OsString>,
    notes: Vec<String>,
}

/// A word in its parts: `--flag`, and the value that hangs on it by `=`.
fn parts(word: &OsStr, is_model_argument: bool) -> Option<(String, Option<String>)> {
    let text = word.to_str()?;
    let (flag, value) = match text.split_once('=') {
        Some((flag, value)) => (flag, Some(value.to_owned())),
        None => (text, None),
    };
    // After `--` the model's own script reads `steps=50`, `--steps=50` and `--steps 50` alike.
    if is_model_argument && !flag.starts_with('-') && value.is_some() {
        return Some((format!("--{}", flag.replace('_', "-")), value));
    }
    let long = SHORT.iter().find(|(short, _)| *short == flag);
    let flag = long.map_or(flag, |(_, long)| long);
    flag.starts_with("--")
        .then(|| (flag.replace('_', "-"), value))
}

impl Launch {
    fn read(&mut self, words: &[OsString]) -> Result<(), DialectError> {
        let mut rest = words.iter().peekable();
        let mut is_model_argument = false;
        while let Some(word) = rest.next() {
            if word == "--" {
                is_model_argument = true;
                continue;
            }
            let Some((flag, inline)) = parts(word, is_model_argument) else {
                self.ours.push(word.clone());
                continue;
            };
            match flag.as_str() {
                "--accuracy-only" => self.accuracy_only = true,
                "--benchmark-only" => self.benchmark_only = true,
                "--verbose" => self.note("--verbose", "a run always says what it does"),
                "--debug" => self.note("--debug", "nothing runs in a container"),
                "--synthetic-data" => self.ours.push("--synthetic".into()),
                "--disable-tcmalloc" => {
                    // Its value is optional: the next word is one only when it is a truth value.
                    let value = inline.or_else(|| {
                        let next = rest.next_if(|next| is_truth(next))?;
                        Some(next.to_string_lossy().into_owned())
                    });
                    check_truth(&flag, value.as_deref())?;
                    self.note(&flag, "the allocator is the program's own");
                }
                name if takes_value(name) => {
                    let value = match inline {
                        Some(value) => value,
                        None => value_of(&flag, rest.next())?,
                    };
                    self.take(&flag, &value)?;
                }
                _ => self.ours.push(word.clone()),
            }
        }
        Ok(())
    }

    /// A flag that has a value.
    fn take(&mut self, flag: &str, value: &str) -> Result<(), DialectError> {
        let wrong = |expected| DialectError::Value {
            flag: flag.to_owned(),
            value: value.to_owned(),
            expected,
        };
        match flag {
            "--model-name" => {
                let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                if value.is_empty() || !value.chars().all(fits) {
                    return Err(wrong(
                        "a model's name has letters, digits, `-`, `_` and `.`",
                    ));
                }
                self.model_name = Some(value.to_owned());
            }
            "--precision" => {
                self.precision = Some(match value {
                    "fp32" => Precision::Fp32,
                    "int8" => Precision::Int8,
                    _ => return Err(wrong("give fp32 or int8")),
                });
            }
            "--mode" if value != "inference" => {
                return Err(wrong("with --compat intel the only mode is inference"));
            }
            "--mode" => {}
            "--in-graph" => self.in_graph = Some(PathBuf::from(value)),
            "--data-location" => self.data_location = Some(PathBuf::from(value)),
            "--batch-size" if value == "-1" => {
                self.note("--batch-size -1", "a batch of one is taken");
            }
            "--batch-size" => {
                let size = value.parse().ok().filter(|size| (1..=4_096).contains(size));
                self.batch_size =
                    Some(size.ok_or_else(|| wrong("give a whole number from 1 to 4096"))?);
            }
            "--steps" => {
                let steps = value.parse().ok().filter(|steps| *steps > 0);
                self.steps = Some(steps.ok_or_else(|| wrong("give a whole number above zero"))?);
            }
            "--warmup-steps" => {
                self.warm_up = Some(value.to_owned());
                self.pass("--warmup", value);
            }
            "--numa-cores-per-instance" => {
                let is_count = value.parse::<u32>().is_ok_and(|count| count > 0);
                if value != "socket" && !is_count {
                    return Err(wrong("give a number of cores above zero, or socket"));
                }
                self.cores_per_instance = Some(value.to_owned());
            }
            "--num-instances" => self.pass("--instances", value),
            "--input-size" if value == "1200" => {}
            "--input-size" => {
                return Err(wrong(
                    "by name only the network of 1200 is known; pass the other with --in-graph FILE.onnx",
                ))
            }
            "--data-num-inter-threads" | "--data-num-intra-threads" => {
                let count = value
                    .parse()
                    .ok()
                    .filter(|count| (1..=1_024).contains(count));
                let count = count.ok_or_else(|| wrong("give a whole number from 1 to 1024"))?;
                self.data_threads.push(count);
            }
            // Intel's word for "all of them", which is the default here.
            "--socket-id" | "--num-cores" if value == "-1" => {}
            "--socket-id" => self.pass("--socket-id", value),
            "--num-cores" | "--num-intra-threads" | "--num-inter-threads" => {
                self.threads.push((flag.to_owned(), value.to_owned()));
            }
            _ => {
                let why = UNUSED.iter().find(|(unused, _)| *unused == flag);
                let (_, why) = why.expect("takes_value knows only these");
                self.note(&format!("{flag} {value}"), why);
            }
        }
        Ok(())
    }

    fn note(&mut self, words: &str, why: &str) {
        let note = format!("{words} has no meaning here: {why}.");
        self.notes.push(note);
    }

    fn pass(&mut self, flag: &str, value: &str) {
        self.ours.push(format!("{flag}={value}").into());
    }

    /// Whether detbench's own flag is among the words.
    fn has(&self, flag: &str) -> bool {
        let joined = format!("{flag}=");
        let is_it = |word: &OsString| {
            let text = word.to_string_lossy();
            text == flag || text.starts_with(&joined)
        };
        self.ours.iter().any(is_it)
    }

    fn conclude(mut self, around: Surroundings<'_>) -> Result<(Vec<OsString>, Told), DialectError> {
        let excluded = ["--find-peak", "--sut", "--json"];
        if let Some(flag) = excluded.into_iter().find(|flag| self.has(flag)) {
            let dialect = Dialect::Intel;
            return Err(DialectError::Excluded { flag, dialect });
        }
        if self.accuracy_only && self.benchmark_only {
            let flag = "--accuracy-only with --benchmark-only";
            let dialect = Dialect::Intel;
            return Err(DialectError::Excluded { flag, dialect });
        }
        let missing = |flag, expected| DialectError::Missing {
            dialect: Dialect::Intel,
            flag,
            expected,
        };
        let model_name = self.model_name.take();
        let model_name = model_name
            .ok_or_else(|| missing("--model-name", "ssd-mobilenet, ssd_vgg16 or another name"))?;
        let precision = self.precision;
        let precision = precision.ok_or_else(|| missing("--precision", "fp32 or int8"))?;
        // Generated words go before detbench's own: of two settings the later one counts.
        let own = std::mem::take(&mut self.ours);
        let mut launch = Self { ours: own, ..self };
        let mut words = launch.model(&model_name, precision)?;
        words.extend(launch.data()?);
        words.extend(launch.threads_that_fit(around));
        let ending = Ending::Intel(launch.tail(&model_name));
        words.extend(launch.load(around));
        let names_graph = launch.in_graph.is_some() || launch.has("--model");
        words.append(&mut launch.ours);
        let told = Told {
            dialect: Dialect::Intel,
            model_name,
            precision: Some((precision, "--precision")),
            named_by: (!names_graph).then_some(("--model-name", "--in-graph FILE.onnx")),
            ending,
            notes: launch.notes,
        };
        Ok((words, told))
    }

    fn tail(&self, model_name: &str) -> Tail {
        let steps = self.steps.unwrap_or(STEPS);
        let warm_up = self.warm_up.as_deref().unwrap_or(WARM_UP_STEPS);
        let in_images = plain_name(model_name).starts_with(ENDS_IN_IMAGES);
        Tail {
            steps: (steps, warm_up.to_owned()),
            has_sample_lines: !in_images,
            cores_per_instance: self
                .cores_per_instance
                .clone()
                .filter(|_| !self.accuracy_only),
        }
    }

    /// The graph: the one given, else that of a known model.
    fn model(&self, name: &str, precision: Precision) -> Result<Vec<OsString>, DialectError> {
        if self.has("--model") {
            return Ok(Vec::new());
        }
        if let Some(path) = &self.in_graph {
            let other = ["pb", "pbtxt", "tflite", "pth", "pt", "ckpt", "meta"];
            let extension = path.extension().and_then(|extension| extension.to_str());
            if extension.is_some_and(|extension| other.contains(&extension)) {
                return Err(DialectError::OtherGraph {
                    flag: "--in-graph",
                    path: path.clone(),
                });
            }
            return Ok(vec!["--model".into(), path.clone().into()]);
        }
        let plain = plain_name(name);
        let with_precision = match precision {
            Precision::Int8 if !plain.ends_with("-int8") => format!("{plain}-int8"),
            _ => plain,
        };
        match known::find(&with_precision) {
            Some(model) => Ok(vec!["--model".into(), model.name.into()]),
            None => Err(DialectError::NoGraph {
                name: name.to_owned(),
                precision: precision.name(),
            }),
        }
    }

    /// Threads as they were asked for, or as many as there are cores: the published numbers are of a machine of 28.
    fn threads_that_fit(&mut self, around: Surroundings<'_>) -> Vec<OsString> {
        let cores = (around.instances)("1").unwrap_or(usize::MAX);
        let mut words = Vec::new();
        for (flag, value) in std::mem::take(&mut self.threads) {
            let own = match flag.as_str() {
                "--num-cores" => "--cores-per-instance",
                "--num-intra-threads" => "--intra-threads",
                _ => "--inter-threads",
            };
            // What is no number is refused by detbench's own flag.
            let asked = value.parse::<usize>().ok().filter(|asked| *asked > cores);
            if asked.is_some() {
                self.notes.push(format!(
                    "{flag} {value} is more than the {cores} cores that this process may use: {cores} are taken."
                ));
            }
            let taken = asked.map_or(value, |_| cores.to_string());
            words.push(format!("{own}={taken}").into());
        }
        words
    }

    /// The pictures, or dummy data where none are named.
    fn data(&self) -> Result<Vec<OsString>, DialectError> {
        let mut words: Vec<OsString> = Vec::new();
        let own = ["--images", "--dataset", "--synthetic"];
        match &self.data_location {
            _ if own.iter().any(|flag| self.has(flag)) => {}
            None if self.accuracy_only => return Err(DialectError::AccuracyOfDummyData),
            None => words.push("--synthetic".into()),
            Some(location) => words.extend(["--dataset".into(), location.into()]),
        }
        if let Some(most) = self.data_threads.iter().max() {
            words.push(format!("--preproc-threads={most}").into());
        }
        Ok(words)
    }

    /// How it is measured.
    fn load(&mut self, around: Surroundings<'_>) -> Vec<OsString> {
        let mut words: Vec<String> = Vec::new();
        if self.accuracy_only {
            words.push("--accuracy-only".to_owned());
            if self.steps.is_some() {
                self.note(
                    "--steps with --accuracy-only",
                    "every picture is scored once",
                );
            }
            if self.batch_size.is_some_and(|size| size > 1) {
                self.note(
                    "--batch-size with --accuracy-only",
                    "accuracy is taken one picture at a time",
                );
            }
            return words.into_iter().map(OsString::from).collect();
        }
        words.push("--benchmark-only".to_owned());
        if self.warm_up.is_none() && !self.has("--warmup") {
            words.push(format!("--warmup={WARM_UP_STEPS}"));
        }
        match self.cores_per_instance.clone() {
            Some(cores) => words.extend(self.several_instances(&cores, around)),
            None => words.extend(self.one_instance()),
        }
        words.into_iter().map(OsString::from).collect()
    }

    /// One instance answers a query after the other, a query being a batch.
    fn one_instance(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        if !self.has("--scenario") {
            match self.batch_size.unwrap_or(1) {
                1 => words.push("--scenario=SingleStream".to_owned()),
                size => words.extend([
                    "--scenario=MultiStream".to_owned(),
                    format!("--set=multi_stream_samples_per_query={size}"),
                    format!("--batch-size={size}"),
                ]),
            }
        }
        if !self.has("--instances") {
            words.push("--instances=1".to_owned());
        }
        if !self.has("--duration") {
            let steps = self.steps.unwrap_or(STEPS);
            words.extend([
                format!("--set=min_query_count={steps}"),
                format!("--set=max_query_count={steps}"),
                "--set=min_duration_ms=0".to_owned(),
            ]);
        } else if self.steps.is_some() {
            self.note("--steps with --duration", "the duration decides");
        }
        words
    }

    /// As many instances as fit share one pile of batches, which is as many as each would have had.
    fn several_instances(&mut self, cores: &str, around: Surroundings<'_>) -> Vec<String> {
        // What does not fit is refused where instances are laid out, with the machine's reasons.
        let count = (around.instances)(cores).unwrap_or(1) as u64;
        let batch_size = u64::from(self.batch_size.unwrap_or(1));
        let mut words = vec![
            format!("--cores-per-instance={cores}"),
            format!("--batch-size={batch_size}"),
        ];
        if !self.has("--instances") {
            words.push(format!("--instances={count}"));
        }
        if !self.has("--scenario") {
            words.push("--scenario=Offline".to_owned());
        }
        if !self.has("--duration") {
            let pictures = self.steps.unwrap_or(STEPS) * batch_size * count;
            words.extend([
                format!("--set=min_query_count={pictures}"),
                "--set=min_duration_ms=0".to_owned(),
            ]);
        }
        words
    }
}

/// The name under which a model of the zoo is known here.
fn plain_name(name: &str) -> String {
    let plain = name.replace('_', "-").to_ascii_lowercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == plain);
    alias.map_or(plain, |(_, ours)| (*ours).to_owned())
}

/// Intel's flags that have a value.
fn takes_value(flag: &str) -> bool {
    const MEANT: [&str; 17] = [
        "--model-name",
        "--precision",
        "--mode",
        "--batch-size",
        "--socket-id",
        "--num-cores",
        "--num-inter-threads",
        "--num-intra-threads",
        "--data-num-inter-threads",
        "--data-num-intra-threads",
        "--in-graph",
        "--data-location",
        "--warmup-steps",
        "--steps",
        "--numa-cores-per-instance",
        "--num-instances",
        "--input-size",
    ];
    MEANT.contains(&flag) || UNUSED.iter().any(|(unused, _)| *unused == flag)
}

fn is_truth(word: &OsString) -> bool {
    word == "True" || word == "False" || word == "true" || word == "false"
}

fn check_truth(flag: &str, value: Option<&str>) -> Result<(), DialectError> {
    match value {
        None | Some("True" | "False" | "true" | "false") => Ok(()),
        Some(value) => Err(DialectError::Value {
            flag: flag.to_owned(),
            value: value.to_owned(),
            expected: "give True or False",
        }),
    }
}

#[cfg(test)]
mod tests;
