//! `launch_benchmark.py` of Intel's model zoo: one instance, a fixed number of steps, no verdict.
//!
//! A step is an inference: one picture of SingleStream, or one query of MultiStream with as many
//! pictures as the batch has. Words that are none of Intel's are detbench's own and stay.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{Dialect, DialectError, Located, Told};
use crate::model::description::Precision;
use crate::model::known;

/// `launch_benchmark.py` measures so many steps unless it is told otherwise.
const STEPS: u64 = 50;

/// The warm-up of `launch_benchmark.py`.
const WARM_UP_STEPS: &str = "10";

/// Names of the model zoo for models that have another name here.
const ALIASES: [(&str, &str); 2] = [
    ("ssd-mobilenet", "ssd-mobilenet-v1"),
    ("ssd-resnet34", "ssd-resnet34-1200"),
];

/// Flags without a meaning here that take a value, and why they have none.
const UNUSED: [(&str, &str); 3] = [
    ("--framework", "models run in ONNX Runtime"),
    ("--docker-image", "nothing runs in a container"),
    ("--model-source-dir", "no source of the model is needed"),
];

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
    locate: &dyn Fn(&Path) -> Result<Located, DialectError>,
) -> Result<(Vec<OsString>, Told), DialectError> {
    let mut launch = Launch::default();
    launch.read(words)?;
    launch.conclude(locate)
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
    has_warm_up: bool,
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
                self.has_warm_up = true;
                self.pass("--warmup", value);
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
            "--num-cores" => self.pass("--cores-per-instance", value),
            "--socket-id" => self.pass("--socket-id", value),
            "--num-intra-threads" => self.pass("--intra-threads", value),
            "--num-inter-threads" => self.pass("--inter-threads", value),
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

    fn conclude(
        mut self,
        locate: &dyn Fn(&Path) -> Result<Located, DialectError>,
    ) -> Result<(Vec<OsString>, Told), DialectError> {
        let excluded = ["--find-peak", "--sut", "--json"];
        if let Some(flag) = excluded.into_iter().find(|flag| self.has(flag)) {
            return Err(DialectError::Excluded { flag });
        }
        if self.accuracy_only && self.benchmark_only {
            let flag = "--accuracy-only with --benchmark-only";
            return Err(DialectError::Excluded { flag });
        }
        let missing = |flag, expected| DialectError::Missing { flag, expected };
        let model_name = self.model_name.take();
        let model_name = model_name
            .ok_or_else(|| missing("--model-name", "ssd-mobilenet, ssd_vgg16 or another name"))?;
        let precision = self.precision;
        let precision = precision.ok_or_else(|| missing("--precision", "fp32 or int8"))?;
        // Generated words go before detbench's own: of two settings the later one counts.
        let own = std::mem::take(&mut self.ours);
        let mut launch = Self { ours: own, ..self };
        let mut words = launch.model(&model_name, precision)?;
        words.extend(launch.data(locate)?);
        words.extend(launch.load());
        let names_no_graph = launch.in_graph.is_none() && !launch.has("--model");
        words.append(&mut launch.ours);
        let told = Told {
            dialect: Dialect::Intel,
            model_name,
            precision,
            names_no_graph,
            notes: launch.notes,
        };
        Ok((words, told))
    }

    /// The graph: the one given, else that of a known model.
    fn model(&self, name: &str, precision: Precision) -> Result<Vec<OsString>, DialectError> {
        if self.has("--model") {
            return Ok(Vec::new());
        }
        if let Some(path) = &self.in_graph {
            if path.extension().is_some_and(|extension| extension == "pb") {
                return Err(DialectError::FrozenGraph { path: path.clone() });
            }
            return Ok(vec!["--model".into(), path.clone().into()]);
        }
        let plain = name.replace('_', "-").to_ascii_lowercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == plain);
        let plain = alias.map_or(plain.as_str(), |(_, ours)| ours);
        let with_precision = match precision {
            Precision::Int8 if !plain.ends_with("-int8") => format!("{plain}-int8"),
            _ => plain.to_owned(),
        };
        match known::find(&with_precision) {
            Some(model) => Ok(vec!["--model".into(), model.name.into()]),
            None => Err(DialectError::NoGraph {
                name: name.to_owned(),
                precision: precision.name(),
            }),
        }
    }

    /// The pictures, or dummy data where none are named.
    fn data(
        &self,
        locate: &dyn Fn(&Path) -> Result<Located, DialectError>,
    ) -> Result<Vec<OsString>, DialectError> {
        let mut words: Vec<OsString> = Vec::new();
        match &self.data_location {
            _ if self.has("--images") || self.has("--dataset") || self.has("--synthetic") => {}
            None if self.accuracy_only => return Err(DialectError::AccuracyOfDummyData),
            None => words.push("--synthetic".into()),
            Some(location) => {
                let located = locate(location)?;
                if self.accuracy_only && !located.may_have_truth && !self.has("--annotations") {
                    let path = located.dataset;
                    return Err(DialectError::NoAnnotations { path });
                }
                words.extend(["--dataset".into(), located.dataset.into()]);
            }
        }
        if let Some(most) = self.data_threads.iter().max() {
            words.push(format!("--preproc-threads={most}").into());
        }
        Ok(words)
    }

    /// How it is measured.
    fn load(&mut self) -> Vec<OsString> {
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
        if !self.has_warm_up && !self.has("--warmup") {
            words.push(format!("--warmup={WARM_UP_STEPS}"));
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
        words.into_iter().map(OsString::from).collect()
    }
}

/// Intel's flags that have a value.
fn takes_value(flag: &str) -> bool {
    const MEANT: [&str; 14] = [
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
    ];
    MEANT.contains(&flag) || UNUSED.iter().any(|(unused, _)| *unused == flag)
}

/// The next word as a value; `-1` is one, `--flag` is not.
fn value_of(flag: &str, next: Option<&OsString>) -> Result<String, DialectError> {
    let value = next.and_then(|next| next.to_str());
    let value = value.filter(|value| !value.starts_with("--"));
    value
        .map(str::to_owned)
        .ok_or_else(|| DialectError::NoValue {
            flag: flag.to_owned(),
        })
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
