//! The flags that describe a test, shared by `plan` and `simulate`.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::plan::{Plan, PlanError};
use crate::scenario::{Scenario, TestMode};
use crate::settings::compat::CompatProfile;
use crate::settings::mlperf_conf::{ConfError, ConfReader};
use crate::settings::rounds::Round;
use crate::settings::test_settings::{split_pair, SettingError, TestSettings};

/// Which test.
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// SingleStream, MultiStream, Server or Offline
    #[arg(long)]
    pub scenario: Scenario,
    /// PerformanceOnly, AccuracyOnly, SubmissionRun or FindPeakPerformance (`plan`: its first trial)
    /// [default: what a configuration file says, else PerformanceOnly]
    #[arg(long)]
    pub mode: Option<TestMode>,
    /// Samples in the library
    #[arg(long, value_name = "COUNT")]
    pub total_samples: usize,
    /// Samples that fit in memory together [default: all]
    #[arg(long, value_name = "COUNT")]
    pub performance_samples: Option<usize>,
    /// Which LoadGen's random streams to repeat: v6, v5 or v4-gcc10
    #[arg(long, default_value_t = CompatProfile::V6)]
    pub compat: CompatProfile,
    /// Take the official seeds of this MLPerf Inference round, such as v6.1
    #[arg(long, value_name = "ROUND")]
    pub round: Option<String>,
    /// LoadGen settings by their names, one or more at a time; the last one wins
    #[arg(long = "set", value_name = "KEY=VALUE", num_args = 1..)]
    pub set: Vec<String>,
    /// The files.
    #[command(flatten)]
    pub conf: ConfArgs,
}

/// LoadGen's configuration files.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfArgs {
    /// A user.conf; LoadGen's built-in table goes before it
    #[arg(long, value_name = "FILE")]
    pub user_conf: Vec<PathBuf>,
    /// An mlperf.conf in place of LoadGen's built-in table
    #[arg(long, value_name = "FILE")]
    pub mlperf_conf: Option<PathBuf>,
    /// An audit.config, applied last; only its entries for any model count
    #[arg(long, value_name = "FILE")]
    pub audit: Option<PathBuf>,
    /// Name of the model in these files, such as retinanet
    #[arg(long, value_name = "NAME", default_value = "*")]
    pub conf_model: String,
    /// Refuse what LoadGen would pass over in silence in these files
    #[arg(long)]
    pub strict: bool,
}

/// What the flags come to.
#[derive(Debug, Clone)]
pub struct Test {
    /// The settings that are asked for.
    pub settings: TestSettings,
    /// The mode that is asked for.
    pub mode: TestMode,
    /// The plan.
    pub plan: Plan,
    /// What LoadGen would have passed over in silence, a sentence each.
    pub notes: Vec<String>,
    /// Warnings that belong into the detail log.
    pub warnings: Vec<String>,
}

/// Why the flags make no test.
#[derive(Debug, thiserror::Error)]
pub enum TestArgsError {
    /// A setting cannot be.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A configuration file cannot be used.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// A configuration file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The settings make no test.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// What LoadGen looks for in the working directory.
const AUDIT_FILE: &str = "audit.config";

/// The warning that LoadGen logs.
const AUDIT_WARNING: &str =
    "Found Audit Config file (audit.config). Overriding TestSettings from audit.config file.";

impl TestArgs {
    /// The test: LoadGen's defaults, then the configuration files, then the round's seeds, then `--set`
    /// in its order, then the audit file.
    ///
    /// # Errors
    /// [`TestArgsError`] for an unknown round or key, a value that its key does not take, a file
    /// that cannot be read, or settings that make no test.
    pub fn read(&self) -> Result<Test, TestArgsError> {
        let mut reader = self.conf.reader(self.scenario)?;
        if let Some(round) = &self.round {
            Round::find(round)?.apply(&mut reader.settings);
        }
        for pair in &self.set {
            let (key, value) = split_pair(pair)?;
            reader.settings.set(key, value)?;
        }
        let asked = self.mode.or(reader.mode.take());
        let warning = self.conf.apply_audit(&mut reader)?;
        let warnings = warning.map(str::to_owned).into_iter().collect();
        let mode = reader.mode.or(asked).unwrap_or(TestMode::PerformanceOnly);
        let mut notes: Vec<String> = reader.notes.iter().map(ToString::to_string).collect();
        notes.extend(self.conf.passed_over());
        let plan = Plan::new(
            &reader.settings,
            self.scenario,
            mode,
            self.total_samples,
            self.performance_samples.unwrap_or(self.total_samples),
            self.compat,
        )?;
        Ok(Test {
            settings: reader.settings,
            mode,
            plan,
            notes,
            warnings,
        })
    }
}

impl ConfArgs {
    /// Whether a table or a user's file is given.
    pub fn has_settings(&self) -> bool {
        self.mlperf_conf.is_some() || !self.user_conf.is_empty()
    }

    /// A note on an audit file in the working directory, which LoadGen would apply unasked.
    pub fn passed_over(&self) -> Option<String> {
        let lies_there = self.audit.is_none() && Path::new(AUDIT_FILE).is_file();
        lies_there.then(|| {
            format!("{AUDIT_FILE} lies in the working directory and is not applied; LoadGen would: pass --audit {AUDIT_FILE}")
        })
    }

    /// Applies the audit file, if one is given, and gives the warning that LoadGen logs then.
    ///
    /// # Errors
    /// As [`TestArgs::read`].
    pub fn apply_audit(
        &self,
        reader: &mut ConfReader,
    ) -> Result<Option<&'static str>, TestArgsError> {
        let Some(file) = &self.audit else {
            return Ok(None);
        };
        reader.apply_audit(file, &read(file)?)?;
        Ok(Some(AUDIT_WARNING))
    }

    /// A reader that has applied the table and the user's files.
    ///
    /// # Errors
    /// As [`TestArgs::read`].
    pub fn reader(&self, scenario: Scenario) -> Result<ConfReader, TestArgsError> {
        let mut reader = ConfReader::new(&self.conf_model, scenario, self.strict);
        if let Some(file) = &self.mlperf_conf {
            reader.apply_table(file, &read(file)?)?;
        }
        for file in &self.user_conf {
            reader.apply_user(file, &read(file)?)?;
        }
        Ok(reader)
    }
}

fn read(path: &Path) -> Result<String, TestArgsError> {
    std::fs::read_to_string(path).map_err(|source| TestArgsError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        test: TestArgs,
    }

    fn read(folder: &Path, flags: &str) -> Result<Test, TestArgsError> {
        let flags = flags.replace("DIR", &folder.display().to_string());
        let common = "x --scenario Server --total-samples 300 --conf-model retinanet";
        let words = common.split_whitespace().chain(flags.split_whitespace());
        Cli::try_parse_from(words).expect("flags").test.read()
    }

    #[test]
    fn files_come_before_rounds_before_set_before_audit() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write(
            "user.conf",
            "*.Server.target_qps = 7\n*.*.min_duration = 5\n*.*.mode = 1\n",
        )
        .unwrap();
        write(
            "audit.config",
            "*.*.mode = 2\n*.*.accuracy_log_sampling_target = 64\n",
        )
        .unwrap();
        let flags = "--user-conf DIR/user.conf --round v6.0 --set min_query_count=9 qsl_rng_seed=3";
        let test = read(folder.path(), flags).unwrap();
        // The built-in table of retinanet stands behind the user's file.
        assert_eq!(test.settings.performance_sample_count_override, 64);
        assert_eq!(test.settings.server_target_latency_ns, 100_000_000);
        let rate = test.settings.server_target_qps;
        assert_eq!(Some(rate), crate::units::Rate::per_second(7.0));
        let settings = &test.settings;
        assert_eq!((settings.min_duration_ms, settings.min_query_count), (5, 9));
        assert_eq!(settings.qsl_rng_seed, 3);
        assert_eq!(settings.schedule_rng_seed, 3_936_089_224_930_324_775);
        assert_eq!(test.mode, TestMode::AccuracyOnly);
        assert_eq!(test.warnings, [""; 0]);

        let flags = format!("{flags} --audit DIR/audit.config --mode AccuracyOnly");
        let test = read(folder.path(), &flags).unwrap();
        assert_eq!(test.mode, TestMode::PerformanceOnly);
        assert_eq!(test.settings.accuracy_log_sampling_target, 64);
        assert!(test.warnings[0].contains("audit.config"));
    }

    #[test]
    fn silent_lines_are_told_and_refused_when_strict() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("user.conf"), "*.Server.target_qps=7\n").unwrap();
        let test = read(folder.path(), "--user-conf DIR/user.conf").unwrap();
        assert!(test.notes[0].contains("user.conf"), "{:?}", test.notes);
        assert!(read(folder.path(), "--user-conf DIR/user.conf --strict").is_err());
        let missing = read(folder.path(), "--user-conf DIR/none.conf").unwrap_err();
        assert!(missing.to_string().contains("none.conf cannot be read"));
    }

    #[test]
    fn another_table_replaces_the_built_in_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("mlperf.conf"),
            "*.*.qsl_rng_seed = 11\n*.*.min_duration = 60\n",
        )
        .unwrap();
        std::fs::write(folder.path().join("user.conf"), "*.*.max_duration = 70\n").unwrap();
        let flags = "--mlperf-conf DIR/mlperf.conf --user-conf DIR/user.conf";
        let settings = read(folder.path(), flags).unwrap().settings;
        assert_eq!(settings.qsl_rng_seed, 11);
        assert_eq!(
            (settings.min_duration_ms, settings.max_duration_ms),
            (60, 70)
        );
        assert_eq!(settings.performance_sample_count_override, 0);
    }
}
