//! What was tried: a file of JSON lines, one a trial, written before the next trial begins.
//!
//! The first line says on what; each later one holds settings and what was found. Nobody's opinion stands in it: whether
//! a trial met the criterion and was the best follows from the figures, so that another criterion can be put to an old
//! history.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::figures::{Baseline, Figures, Speed};
use super::resample::PictureDifference;
use super::settings::Settings;
use crate::units::Latency;

/// Version of the lines' form.
const SCHEMA_VERSION: u32 = 1;

/// Everything but settings that decides what is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// SHA-256 of the float model.
    pub model_sha256: String,
    /// SHA-256 over the pictures of the calibration folder.
    pub calibration_sha256: String,
    /// SHA-256 over the pictures and annotations of the evaluation.
    pub evaluation_sha256: String,
    /// How pictures are prepared and detections are made.
    pub preprocessing: String,
    /// The engine.
    pub runtime: String,
    /// How speed is measured: instances and threads.
    pub layout: String,
    /// The program.
    pub detbench: String,
}

impl Conditions {
    /// The first thing in which two differ: its name, this one and the other one.
    fn difference<'a>(&'a self, other: &'a Self) -> Option<(&'static str, &'a str, &'a str)> {
        let pairs = [
            ("float weights", &self.model_sha256, &other.model_sha256),
            (
                "calibration pictures, or another number or choice of them",
                &self.calibration_sha256,
                &other.calibration_sha256,
            ),
            (
                "pictures or annotations to evaluate on",
                &self.evaluation_sha256,
                &other.evaluation_sha256,
            ),
            (
                "settings in the model file",
                &self.preprocessing,
                &other.preprocessing,
            ),
            ("versions of ONNX Runtime", &self.runtime, &other.runtime),
            ("instances and threads", &self.layout, &other.layout),
            ("versions of detbench", &self.detbench, &other.detbench),
        ];
        let mut different = pairs.into_iter().filter(|(_, own, other)| own != other);
        different
            .next()
            .map(|(name, own, other)| (name, own.as_str(), other.as_str()))
    }
}

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Line {
    /// The first.
    Begin {
        schema_version: u32,
        #[serde(flatten)]
        conditions: Conditions,
        baseline: Baseline,
        elapsed_ns: u64,
    },
    /// A candidate was looked at on a few pictures.
    Screening {
        hash: String,
        settings: serde_json::Value,
        dp: Option<f64>,
        pictures: Vec<PictureDifference>,
        elapsed_ns: u64,
    },
    /// How far each integer layer is from the float one.
    LayerErrors {
        hash: String,
        settings: serde_json::Value,
        errors: BTreeMap<String, f64>,
        elapsed_ns: u64,
    },
    /// A model was evaluated.
    Trial {
        trial: u32,
        hash: String,
        structure: String,
        seed: u32,
        settings: serde_json::Value,
        figures: Box<Figures>,
        elapsed_ns: u64,
    },
}

/// Why a history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// One is there already.
    #[error("{} exists already: pass --resume to go on with that tuning, or --force to begin anew", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("the history {} cannot be read or written: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line that is none of ours.
    #[error("{}, line {line}: {source}; this is no history of a tuning, or a damaged one: begin anew with --force", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From one.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It does not begin as one.
    #[error("{} does not begin with the conditions of a tuning: begin anew with --force", path.display())]
    NoBeginning {
        /// The file.
        path: PathBuf,
    },
    /// Of something else.
    #[error("{} was made with other {what} ({then:.16}, and now {now:.16}), so that its figures would not compare: restore that, or begin anew with --force", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What it was.
        then: String,
        /// What it is.
        now: String,
    },
}

/// What is known of settings, and since when.
#[derive(Debug, Clone, PartialEq)]
pub struct Known<T> {
    /// What was found.
    pub found: T,
    /// Time of the whole tuning at that moment.
    pub elapsed: Latency,
}

/// All that was found, in memory and in the file.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    file: File,
    /// The float model's figures.
    pub baseline: Baseline,
    /// Time of the whole tuning at the last line.
    pub elapsed: Latency,
    screenings: BTreeMap<String, Known<Vec<PictureDifference>>>,
    errors: BTreeMap<String, Known<BTreeMap<String, f64>>>,
    trials: BTreeMap<String, Known<Figures>>,
    speeds: BTreeMap<String, Speed>,
}

impl History {
    /// Begins one. The first line is on disk when this returns.
    ///
    /// # Errors
    /// [`HistoryError::Exists`] unless `force` is given, [`HistoryError::File`].
    pub fn create(
        path: &Path,
        force: bool,
        conditions: Conditions,
        baseline: Baseline,
        elapsed: Latency,
    ) -> Result<Self, HistoryError> {
        let mut options = OpenOptions::new();
        options.write(true);
        if force {
            options.create(true).truncate(true);
        } else {
            options.create_new(true);
        }
        let file = options.open(path).map_err(|source| {
            let path = path.to_owned();
            if source.kind() == std::io::ErrorKind::AlreadyExists {
                HistoryError::Exists { path }
            } else {
                HistoryError::File { path, source }
            }
        })?;
        let mut history = Self {
            path: path.to_owned(),
            file,
            baseline,
            elapsed,
            screenings: BTreeMap::new(),
            errors: BTreeMap::new(),
            trials: BTreeMap::new(),
            speeds: BTreeMap::new(),
        };
        history.write(&Line::Begin {
            schema_version: SCHEMA_VERSION,
            conditions,
            baseline,
            elapsed_ns: elapsed.as_nanos(),
        })?;
        Ok(history)
    }

    /// Goes on with one. A last line that was not written to its end is cut off.
    ///
    /// # Errors
    /// [`HistoryError`]: it cannot be read, or was made under other conditions.
    pub fn resume(path: &Path, conditions: &Conditions) -> Result<Self, HistoryError> {
        let refused = |source| HistoryError::File {
            path: path.to_owned(),
            source,
        };
        let text = std::fs::read(path).map_err(refused)?;
        let whole = text
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let mut file = OpenOptions::new().write(true).open(path).map_err(refused)?;
        file.set_len(whole as u64).map_err(refused)?;
        file.seek(SeekFrom::End(0)).map_err(refused)?;
        let mut lines = Vec::new();
        for (at, line) in text[..whole]
            .split_inclusive(|&byte| byte == b'\n')
            .enumerate()
        {
            let line = serde_json::from_slice(line).map_err(|source| HistoryError::Line {
                path: path.to_owned(),
                line: at + 1,
                source,
            })?;
            lines.push(line);
        }
        let mut lines = lines.into_iter();
        let Some(Line::Begin {
            conditions: then,
            baseline,
            elapsed_ns,
            schema_version: SCHEMA_VERSION,
        }) = lines.next()
        else {
            return Err(HistoryError::NoBeginning {
                path: path.to_owned(),
            });
        };
        if let Some((what, then, now)) = then.difference(conditions) {
            return Err(HistoryError::Other {
                path: path.to_owned(),
                what,
                then: then.to_owned(),
                now: now.to_owned(),
            });
        }
        let mut history = Self {
            path: path.to_owned(),
            file,
            baseline,
            elapsed: Latency::from_nanos(elapsed_ns),
            screenings: BTreeMap::new(),
            errors: BTreeMap::new(),
            trials: BTreeMap::new(),
            speeds: BTreeMap::new(),
        };
        for line in lines {
            history.take_in(line);
        }
        Ok(history)
    }

    fn take_in(&mut self, line: Line) {
        let elapsed_ns = match line {
            Line::Begin { elapsed_ns, .. } => elapsed_ns,
            Line::Screening {
                hash,
                pictures,
                elapsed_ns,
                ..
            } => {
                self.screenings.insert(hash, known(pictures, elapsed_ns));
                elapsed_ns
            }
            Line::LayerErrors {
                hash,
                errors,
                elapsed_ns,
                ..
            } => {
                self.errors.insert(hash, known(errors, elapsed_ns));
                elapsed_ns
            }
            Line::Trial {
                hash,
                structure,
                figures,
                elapsed_ns,
                ..
            } => {
                // The first measurement of a structure stands for all.
                self.speeds.entry(structure).or_insert(figures.speed);
                self.trials.insert(hash, known(*figures, elapsed_ns));
                elapsed_ns
            }
        };
        self.elapsed = self.elapsed.max(Latency::from_nanos(elapsed_ns));
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Differences on the screening's pictures, if these settings were looked at.
    pub fn screening(&self, settings: &Settings) -> Option<&Known<Vec<PictureDifference>>> {
        self.screenings.get(&settings.hash())
    }

    /// The layers' errors, if they were asked for with these settings.
    pub fn layer_errors(&self, settings: &Settings) -> Option<&Known<BTreeMap<String, f64>>> {
        self.errors.get(&settings.hash())
    }

    /// The figures of these settings, if they were tried.
    pub fn trial(&self, settings: &Settings) -> Option<&Known<Figures>> {
        self.trials.get(&settings.hash())
    }

    /// The speed of these settings' structure, if it was measured.
    pub fn speed(&self, settings: &Settings) -> Option<Speed> {
        self.speeds.get(&settings.structure()).copied()
    }

    /// Keeps a screening.
    ///
    /// # Errors
    /// [`HistoryError::File`].
    pub fn add_screening(
        &mut self,
        settings: &Settings,
        pictures: &[PictureDifference],
        elapsed: Latency,
    ) -> Result<(), HistoryError> {
        self.add(Line::Screening {
            hash: settings.hash(),
            settings: value(settings),
            dp: super::resample::dp(pictures, None),
            pictures: pictures.to_vec(),
            elapsed_ns: elapsed.as_nanos(),
        })
    }

    /// Keeps the layers' errors.
    ///
    /// # Errors
    /// [`HistoryError::File`].
    pub fn add_layer_errors(
        &mut self,
        settings: &Settings,
        errors: &BTreeMap<String, f64>,
        elapsed: Latency,
    ) -> Result<(), HistoryError> {
        self.add(Line::LayerErrors {
            hash: settings.hash(),
            settings: value(settings),
            errors: errors.clone(),
            elapsed_ns: elapsed.as_nanos(),
        })
    }

    /// Keeps a trial.
    ///
    /// # Errors
    /// [`HistoryError::File`].
    pub fn add_trial(
        &mut self,
        trial: u32,
        settings: &Settings,
        figures: &Figures,
        elapsed: Latency,
    ) -> Result<(), HistoryError> {
        self.add(Line::Trial {
            trial,
            hash: settings.hash(),
            structure: settings.structure(),
            seed: settings.seed,
            settings: value(settings),
            figures: Box::new(figures.clone()),
            elapsed_ns: elapsed.as_nanos(),
        })
    }

    fn add(&mut self, line: Line) -> Result<(), HistoryError> {
        self.write(&line)?;
        self.take_in(line);
        Ok(())
    }

    fn write(&mut self, line: &Line) -> Result<(), HistoryError> {
        let mut text = serde_json::to_string(line).expect("a line is JSON");
        text.push('\n');
        // In one call, and on the disk before anything else happens.
        let written = self.file.write_all(text.as_bytes());
        written
            .and_then(|()| self.file.sync_data())
            .map_err(|source| HistoryError::File {
                path: self.path.clone(),
                source,
            })
    }
}

fn known<T>(found: T, elapsed_ns: u64) -> Known<T> {
    Known {
        found,
        elapsed: Latency::from_nanos(elapsed_ns),
    }
}

fn value(settings: &Settings) -> serde_json::Value {
    serde_json::to_value(settings).expect("settings are JSON")
}

#[cfg(test)]
pub(in crate::tune) mod tests {
    use super::*;
    use crate::quantise::RangeMethod;
    use crate::tune::figures::tests::{figures, BASELINE};
    use crate::tune::settings::tests::plain;

    /// Conditions that are all alike.
    pub fn conditions() -> Conditions {
        let text = |text: &str| text.to_owned();
        Conditions {
            model_sha256: text("m"),
            calibration_sha256: text("c"),
            evaluation_sha256: text("e"),
            preprocessing: text("p"),
            runtime: text("r"),
            layout: text("l"),
            detbench: text("d"),
        }
    }

    fn begun(path: &Path) -> History {
        History::create(path, false, conditions(), BASELINE, Latency::from_nanos(3)).unwrap()
    }

    #[test]
    fn what_was_written_is_known_again_to_the_last_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let mut history = begun(&path);
        let own = figures(1.0 / 3.0, 0.1 / 3.0, 0.7);
        history
            .add_trial(1, &plain(), &own, Latency::from_nanos(9))
            .unwrap();
        let pictures = vec![PictureDifference {
            difference: 0.1,
            reference: 0.3,
        }];
        let minmax = plain().with_ranges(RangeMethod::Percentile(99.99));
        history
            .add_screening(&minmax, &pictures, Latency::from_nanos(11))
            .unwrap();
        let errors = BTreeMap::from([("a".to_owned(), 1e-7)]);
        history
            .add_layer_errors(&plain(), &errors, Latency::from_nanos(12))
            .unwrap();
        let resumed = History::resume(&path, &conditions()).unwrap();
        assert_eq!(resumed.baseline, BASELINE);
        assert_eq!(resumed.elapsed, Latency::from_nanos(12));
        assert_eq!(resumed.trial(&plain()), Some(&known(own.clone(), 9)));
        assert_eq!(resumed.screening(&minmax), Some(&known(pictures, 11)));
        assert_eq!(resumed.layer_errors(&plain()), Some(&known(errors, 12)));
        // Other scales, the same kernels.
        assert_eq!(resumed.speed(&minmax), Some(own.speed));
        assert_eq!(resumed.trial(&minmax), None);
    }

    #[test]
    fn a_line_that_was_cut_off_is_as_if_it_had_not_been_begun() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let mut history = begun(&path);
        history
            .add_trial(1, &plain(), &figures(0.4, 0.1, 0.5), Latency::ZERO)
            .unwrap();
        drop(history);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();
        let mut history = History::resume(&path, &conditions()).unwrap();
        assert_eq!(history.trial(&plain()), None);
        history
            .add_trial(1, &plain(), &figures(0.4, 0.1, 0.5), Latency::ZERO)
            .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn a_history_of_something_else_is_refused_and_says_of_what() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        drop(begun(&path));
        let other = Conditions {
            evaluation_sha256: "other".into(),
            ..conditions()
        };
        let error = History::resume(&path, &other).unwrap_err().to_string();
        assert!(
            error.contains("other pictures or annotations to evaluate on (e, and now other)"),
            "{error}"
        );
        let error = History::create(&path, false, conditions(), BASELINE, Latency::ZERO);
        assert!(error.unwrap_err().to_string().contains("--resume"));
        std::fs::write(&path, "{\"kind\":\"begin\"}\n").unwrap();
        let error = History::resume(&path, &conditions())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 1") && error.contains("--force"),
            "{error}"
        );
        std::fs::write(&path, "").unwrap();
        let error = History::resume(&path, &conditions()).unwrap_err();
        assert!(matches!(error, HistoryError::NoBeginning { .. }), "{error}");
    }
}
