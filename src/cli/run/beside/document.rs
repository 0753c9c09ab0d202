//! `both.json`, which `--json` prints as well: everything that is known of two models side by side.
//!
//! Pairs are in the order of `models`; ratios say how many times as fast the second is.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use super::accuracy::Comparison;
use super::figures::{Figures, Ratios};
use super::turns::Interleaved;
use crate::cli::failure::{Blame, Failure};
use crate::cli::nearness::Nearness;
use crate::cli::run::subject::Subject;
use crate::placement::contention::Contention;
use crate::placement::plan::Placement;
use crate::placement::verify::PlacementFinding;
use crate::plan::EffectiveSettings;
use crate::postprocess::NmsMode;
use crate::report::document::LayoutEntry;
use crate::report::folder::RunFolder;
use crate::scenario::Scenario;

/// The whole document.
#[derive(Debug, Serialize)]
pub struct BothDocument {
    /// See [`crate::report::document::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Whether everything that was asked for was measured.
    pub complete: bool,
    /// Why not, where something failed.
    pub failure: Option<String>,
    /// The two models, in the order of all pairs.
    pub models: [ModelEntry; 2],
    /// Machine, runtime and pictures.
    pub conditions: Value,
    /// What a reader of the figures must know, a sentence each.
    pub notes: Vec<String>,
    /// One entry for each scenario.
    pub performance: Vec<ScenarioEntry>,
    /// Null without ground truth, with synthetic weights and with `--benchmark-only`.
    pub accuracy: Option<Comparison>,
    /// How near the second model is to the first, without labels; null on noise and with `--benchmark-only`.
    pub nearness: Option<NearnessEntry>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelEntry {
    /// What the report calls it.
    pub label: String,
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    /// `fp32` or `int8`.
    pub precision: &'static str,
    /// `trained` or `synthetic`.
    pub weights: &'static str,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// The NMS mode; null where NMS is the graph's own.
    pub nms: Option<NmsMode>,
    /// Least score of a detection.
    pub score_threshold: f32,
}

/// One scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioEntry {
    /// LoadGen's name.
    pub scenario: Scenario,
    /// When it began.
    pub started_at: String,
    /// Turns that were planned; fewer are in `turns` when the run was interrupted.
    pub planned_turns: u64,
    /// Each model's turns together.
    pub models: [Figures; 2],
    /// How many times as fast the second model is: quartiles over the turns.
    pub ratio: Ratios,
    /// Each turn's own figures.
    pub turns: Vec<[Figures; 2]>,
    /// The latencies themselves, in the run folder.
    pub latencies: String,
    /// What the first turn was asked; later ones differ in their seeds.
    pub settings_of_a_turn: EffectiveSettings,
    /// How the instances of either model were laid out.
    pub layout: LayoutEntry,
    /// Where they were to run.
    pub placement: Placement,
    /// How each model's threads differed from that after warm-up.
    pub placement_findings: [Vec<PlacementFinding>; 2],
    /// What else the machine did meanwhile.
    pub contention: Contention,
}

/// How near the second model is to the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NearnessEntry {
    /// See [`Nearness::agreement`].
    pub agreement: Option<f64>,
    /// See [`Nearness::dp`].
    pub dp: Option<f64>,
    /// See [`Nearness::scores_sqnr_db`].
    pub scores_sqnr_db: Option<f64>,
    /// See [`Nearness::boxes_sqnr_db`].
    pub boxes_sqnr_db: Option<f64>,
    /// Pictures compared on.
    pub picture_count: usize,
}

impl From<Nearness> for NearnessEntry {
    fn from(near: Nearness) -> Self {
        Self {
            agreement: near.agreement,
            dp: near.dp,
            scores_sqnr_db: near.scores_sqnr_db,
            boxes_sqnr_db: near.boxes_sqnr_db,
            picture_count: near.pictures,
        }
    }
}

impl ModelEntry {
    /// What there is to say of a model before it runs.
    ///
    /// # Errors
    /// When its file has gone meanwhile.
    pub fn new(label: String, subject: &Subject, nms: Option<NmsMode>) -> Result<Self, Failure> {
        let description = &subject.description;
        Ok(Self {
            label,
            name: description.name.clone(),
            file: subject.onnx.clone(),
            sha256: subject.sha256.clone(),
            precision: subject.precision(),
            weights: description.weights.name(),
            size_bytes: fs::metadata(&subject.onnx).or_environment()?.len(),
            nms,
            score_threshold: subject.score_threshold(),
        })
    }
}

impl ScenarioEntry {
    /// What the turns of a scenario showed.
    pub fn new(turns: &Interleaved, latencies: String) -> Self {
        Self {
            scenario: turns.scenario,
            started_at: turns.started_at.clone(),
            planned_turns: turns.planned,
            models: turns.figures(),
            ratio: turns.ratios(),
            turns: turns.of_turns(),
            latencies,
            settings_of_a_turn: turns.settings.clone(),
            layout: turns.layout.clone(),
            placement: turns.placement.clone(),
            placement_findings: turns.placement_findings.clone(),
            contention: turns.contention.clone(),
        }
    }

    /// How the threads differ from the plan, and what the plan warns of.
    pub fn placement_notes(&self, labels: [&str; 2]) -> Vec<String> {
        let scenario = self.scenario;
        let warnings = self.placement.warnings.iter();
        let mut notes: Vec<String> = warnings.map(|one| format!("{scenario}: {one}")).collect();
        for (label, findings) in labels.iter().zip(&self.placement_findings) {
            notes.extend(
                findings
                    .iter()
                    .map(|one| format!("{scenario}, {label}: {one}")),
            );
        }
        notes
    }
}

/// Writes every latency of a scenario: the model's label, the turn from one, nanoseconds.
///
/// # Errors
/// When the file cannot be written.
pub fn write_latencies(
    folder: &RunFolder,
    name: &str,
    labels: [&str; 2],
    turns: &Interleaved,
) -> Result<(), Failure> {
    let written = folder.write(name, |out| {
        writeln!(out, "model,turn,latency_ns")?;
        for (number, sides) in (1_u64..).zip(&turns.turns) {
            for (label, times) in labels.iter().zip(sides) {
                for latency in times.latencies() {
                    writeln!(out, "{label},{number},{latency}")?;
                }
            }
        }
        Ok(())
    });
    written.or_environment()
}
