//! Scenario files: *what* is asked of a system, as TOML.
//!
//! A file has one or more `[[run]]` tables. Each names its scenario and any of LoadGen's settings
//! for it; three settings may be words instead of numbers, because a good value depends on the
//! machine and is only known once something has been measured (see [`Measured`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rounds::ROUNDS;
use super::test_settings::TestSettings;
use crate::scenario::{Scenario, UnknownName};
use crate::strict_toml::{self, TomlError};

/// A scenario file.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioFile {
    /// Short name, used in the run folder's name.
    pub name: String,
    /// One sentence for people.
    pub title: String,
    /// What a reader of the report must know about the rules.
    pub note: Option<String>,
    /// Whether a failed early-stopping test makes a run invalid.
    pub early_stopping: Requirement,
    /// The runs, in order.
    pub runs: Vec<ScenarioRun>,
}

/// How a test's outcome counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// Failing it makes the run invalid, as under MLPerf.
    #[default]
    Required,
    /// It is reported and judges nothing.
    Reported,
}

/// One run of a scenario file.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioRun {
    /// How queries arrive.
    pub scenario: Scenario,
    /// Samples in one inference, where the file says it.
    pub batch_size: Option<usize>,
    /// How long a Server batch that is not full waits, where the file says it.
    pub batch_timeout_us: Option<u64>,
    /// LoadGen's settings, over its defaults.
    pub settings: TestSettings,
    /// Settings that wait for a measurement.
    pub measured: Measured,
}

/// Settings that are words: their values come from what was measured just before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Measured {
    /// `offline_expected_qps = "measured"`: one and a half times the rate that the fastest
    /// inference of the warm-up promises, so that the one query is surely long enough.
    pub offline_rate: bool,
    /// `server_target_qps = "half-of-offline"`: half of the Offline rate measured before; where
    /// there was no such run, half of what the warm-up promises.
    pub server_rate: bool,
    /// `server_target_latency_ns = "ten-service-times"`: ten times one picture's share of the
    /// measured rate on one instance, and at least 100 ms.
    pub server_bound: bool,
    /// `single_stream_expected_latency_ns = "measured"`: half of the warm-up's fastest inference,
    /// so that the generated queries do not run out. Holds for MultiStream too.
    pub expected_latency: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    title: String,
    note: Option<String>,
    #[serde(default)]
    early_stopping: Requirement,
    run: Vec<BTreeMap<String, toml::Value>>,
}

/// The files that are compiled in, by name.
const SHIPPED: [(&str, &str); 5] = [
    ("smoke", include_str!("../../scenarios/smoke.toml")),
    (
        "single_stream",
        include_str!("../../scenarios/single_stream.toml"),
    ),
    (
        "multi_stream",
        include_str!("../../scenarios/multi_stream.toml"),
    ),
    ("server", include_str!("../../scenarios/server.toml")),
    ("offline", include_str!("../../scenarios/offline.toml")),
];

impl ScenarioFile {
    /// The shipped file `name`: a scenario as LoadGen writes it, a file's stem, or `smoke`.
    pub fn shipped(name: &str) -> Option<Self> {
        let stem = name.parse().map_or(name, |scenario| match scenario {
            Scenario::SingleStream => "single_stream",
            Scenario::MultiStream => "multi_stream",
            Scenario::Server => "server",
            Scenario::Offline => "offline",
        });
        let (stem, text) = SHIPPED.iter().find(|(known, _)| *known == stem)?;
        let file = format!("scenarios/{stem}.toml");
        Some(Self::parse(text, &file, name).expect("shipped scenario files are tested"))
    }

    /// The names of the shipped files.
    pub fn shipped_names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// Reads a scenario file's text; `file` is its name in errors, `name` its short name.
    ///
    /// # Errors
    /// [`TomlError`] with file, line and, for an unknown key, the nearest.
    pub fn parse(text: &str, file: &str, name: &str) -> Result<Self, TomlError> {
        let raw: RawFile = strict_toml::from_str(text, file)?;
        if raw.run.is_empty() {
            return Err(fault(
                text,
                file,
                "run",
                "there is no [[run]] table".to_owned(),
            ));
        }
        let runs = raw
            .run
            .into_iter()
            .map(|table| read_run(table, text, file))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: name.to_owned(),
            title: raw.title,
            note: raw.note,
            early_stopping: raw.early_stopping,
            runs,
        })
    }
}

fn fault(text: &str, file: &str, key: &str, message: String) -> TomlError {
    TomlError {
        file: file.to_owned(),
        line: strict_toml::line_of_key(text, key),
        message,
        nearest: None,
    }
}

fn read_run(
    mut table: BTreeMap<String, toml::Value>,
    text: &str,
    file: &str,
) -> Result<ScenarioRun, TomlError> {
    let fault = |key: &str, message: String| fault(text, file, key, message);
    let Some(toml::Value::String(name)) = table.remove("scenario") else {
        let message = "each [[run]] names its `scenario`, such as \"Server\"".to_owned();
        return Err(fault("run", message));
    };
    let scenario = name
        .parse()
        .map_err(|error: UnknownName| fault("scenario", error.to_string()))?;
    let mut run = ScenarioRun {
        scenario,
        batch_size: None,
        batch_timeout_us: None,
        settings: official_seeds(),
        measured: Measured::default(),
    };
    for (key, value) in table {
        read_key(&mut run, &key, &value).map_err(|message| fault(&key, message))?;
    }
    Ok(run)
}

/// LoadGen's defaults with the seeds of the latest MLPerf round, so that runs are repeatable and
/// not all of them ask for the samples that seed 0 gives.
fn official_seeds() -> TestSettings {
    let mut settings = TestSettings::default();
    if let Some(round) = ROUNDS.last() {
        round.apply(&mut settings);
    }
    settings
}

fn read_key(run: &mut ScenarioRun, key: &str, value: &toml::Value) -> Result<(), String> {
    let whole = |limit: i64| {
        value
            .as_integer()
            .filter(|&number| (0..=limit).contains(&number))
            .ok_or_else(|| format!("`{key}` takes a whole number from 0 to {limit}"))
    };
    match (key, value.as_str()) {
        ("batch_size", _) => run.batch_size = Some(whole(4_096)? as usize),
        ("batch_timeout_us", _) => run.batch_timeout_us = Some(whole(60_000_000)? as u64),
        ("offline_expected_qps", Some("measured")) => run.measured.offline_rate = true,
        ("server_target_qps", Some("half-of-offline")) => run.measured.server_rate = true,
        ("server_target_latency_ns", Some("ten-service-times")) => {
            run.measured.server_bound = true;
        }
        (
            "single_stream_expected_latency_ns" | "multi_stream_expected_latency_ns",
            Some("measured"),
        ) => run.measured.expected_latency = true,
        _ => {
            let text = match value {
                toml::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            run.settings
                .set(key, &text)
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_file_reads_and_scenarios_are_found_by_loadgens_names() {
        for name in ScenarioFile::shipped_names() {
            let file = ScenarioFile::shipped(name).unwrap();
            assert!(!file.runs.is_empty(), "{name}");
        }
        for scenario in Scenario::ALL {
            let file = ScenarioFile::shipped(scenario.name()).unwrap();
            assert_eq!(file.runs[0].scenario, scenario);
            assert_eq!(file.early_stopping, Requirement::Required);
            assert!(file.runs[0].settings.min_duration_ms >= 60_000);
        }
        assert_eq!(ScenarioFile::shipped("Sever"), None);
    }

    #[test]
    fn unknown_keys_and_impossible_values_name_file_and_line() {
        let read = |text: &str| {
            ScenarioFile::parse(text, "my.toml", "my")
                .unwrap_err()
                .to_string()
        };
        let unknown = "title = 'x'\n[[run]]\nscenario = 'Server'\nmin_query_cont = 3\n";
        assert_eq!(
            read(unknown),
            "my.toml:4: there is no setting `min_query_cont`; did you mean `min_query_count`?"
        );
        let wrong = "title = 'x'\n[[run]]\nscenario = 'Sever'\n";
        assert!(read(wrong).starts_with("my.toml:3: there is no scenario `Sever`"));
        let zero = "title = 'x'\n[[run]]\nscenario = 'Server'\nserver_target_qps = 0.0\n";
        assert!(read(zero).starts_with("my.toml:4: setting `server_target_qps`"));
        assert!(read("title = 'x'\nrun = []\n").contains("no [[run]] table"));
        assert!(read("title = 'x'\ntitel = 'y'\nrun = []\n").contains("did you mean `title`?"));
    }

    #[test]
    fn words_stand_for_values_that_are_measured() {
        let smoke = ScenarioFile::shipped("smoke").unwrap();
        let server = smoke
            .runs
            .iter()
            .find(|run| run.scenario == Scenario::Server)
            .unwrap();
        assert!(server.measured.server_rate && server.measured.server_bound);
        assert_eq!(smoke.early_stopping, Requirement::Reported);
    }
}
