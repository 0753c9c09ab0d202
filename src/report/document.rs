//! The JSON document of a run: what `--json` prints, and the `runs` of `run.json`.
//!
//! Numbers are numbers with their unit in the key; a key that has no meaning is null, never missing.

use serde::Serialize;

use super::peak::PeakEntry;
use crate::metrics::percentile::LatencySummary;
use crate::plan::EffectiveSettings;
use crate::postprocess::NmsMode;
use crate::scenario::Scenario;
use crate::summary::{Rules, StageSummary, Summary};
use crate::units::{Latency, Quantile};

/// Raised when a key changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// The word for weights that were drawn and not trained.
pub const SYNTHETIC: &str = "synthetic";

/// What `run --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// See [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Whether everything that was asked for was measured.
    pub complete: bool,
    /// One entry for each scenario and NMS mode; with `--accuracy-only` one for each mode.
    pub runs: Vec<RunEntry>,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunEntry {
    /// LoadGen's name of the scenario.
    pub scenario: Option<Scenario>,
    /// The NMS mode.
    pub nms: Option<NmsMode>,
    /// Name of the model.
    pub model: String,
    /// `fp32` or `int8`.
    pub precision: String,
    /// `trained` or `synthetic`; null where no model ran.
    pub weights: Option<&'static str>,
    /// Whether every rule was kept.
    pub valid: Option<bool>,
    /// The rules that were broken, a sentence each.
    pub invalid_reasons: Vec<String>,
    /// Queries issued.
    pub query_count: Option<u64>,
    /// Samples issued.
    pub sample_count: Option<u64>,
    /// Answered samples over elapsed time.
    pub samples_per_second: Option<f64>,
    /// Latency of the samples.
    pub latency_ns: Option<LatencySummary>,
    /// Latency of whole queries, for MultiStream.
    pub query_latency_ns: Option<LatencySummary>,
    /// Where the time went.
    pub stage_ns: Option<StageSummary>,
    /// How late the generator itself was, for Server.
    pub issue_delay_ns: Option<LatencySummary>,
    /// What the scenario is judged by.
    pub target: Option<Target>,
    /// The early-stopping test.
    pub early_stopping: Option<EarlyStoppingEntry>,
    /// From the start to the last answer.
    pub elapsed_ns: Option<Latency>,
    /// How the instances were laid out.
    pub layout: Option<LayoutEntry>,
    /// What a reader of the figures must know, a sentence each.
    pub notes: Vec<String>,
    /// Where this measurement's files are, relative to the run folder.
    pub folder: Option<String>,
    /// What the model found.
    pub accuracy: Option<AccuracyEntry>,
    /// The search whose confirming run this is, with `--find-peak`.
    pub peak: Option<PeakEntry>,
}

/// What a scenario is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Target {
    /// The share of queries, such as 0.99.
    pub quantile: f64,
    /// The latency at that share.
    pub latency_ns: Option<Latency>,
    /// The bound that Server must keep.
    pub bound_ns: Option<Latency>,
    /// Samples over the bound.
    pub overlatency_count: Option<u64>,
    /// Queries a second that were asked for (Server) or expected (others).
    pub rate_qps: f64,
}

/// The early-stopping test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EarlyStoppingEntry {
    /// Whether the run had queries enough to be sure of its percentile.
    pub met: bool,
    /// Whether failing it makes the run invalid.
    pub required: bool,
}

/// How the instances were laid out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayoutEntry {
    /// Sessions side by side.
    pub instances: usize,
    /// Threads of each inside an operator.
    pub intra_threads: usize,
    /// Threads of each across operators.
    pub inter_threads: usize,
    /// Samples in one inference, at most.
    pub batch_size: usize,
    /// How long a batch that is not full waits.
    pub batch_timeout_us: u64,
}

/// What the model found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccuracyEntry {
    /// Whose rules: `coco` or `voc`.
    pub metric: &'static str,
    /// The one number: COCO's mean over `IoU` 0.50 to 0.95, VOC's at 0.5.
    pub map: f64,
    /// The twelve numbers of pycocotools, in its order; of VOC the average precision of each class.
    pub stats: Vec<f64>,
    /// Pictures that were scored.
    pub picture_count: usize,
    /// Detections that were scored.
    pub detection_count: usize,
}

impl RunEntry {
    /// An entry without performance.
    pub fn new(model: &str, precision: &str, nms: Option<NmsMode>) -> Self {
        Self {
            scenario: None,
            nms,
            model: model.to_owned(),
            precision: precision.to_owned(),
            weights: None,
            valid: None,
            invalid_reasons: Vec::new(),
            query_count: None,
            sample_count: None,
            samples_per_second: None,
            latency_ns: None,
            query_latency_ns: None,
            stage_ns: None,
            issue_delay_ns: None,
            target: None,
            early_stopping: None,
            elapsed_ns: None,
            layout: None,
            notes: Vec::new(),
            folder: None,
            accuracy: None,
            peak: None,
        }
    }

    /// Whether what the model finds means nothing, because nobody trained it.
    pub fn is_synthetic(&self) -> bool {
        self.weights == Some(SYNTHETIC)
    }

    /// Fills in what a run showed.
    #[must_use]
    pub fn with_summary(
        mut self,
        summary: &Summary,
        settings: &EffectiveSettings,
        rules: Rules,
    ) -> Self {
        let (quantile, latency_ns) = summary.target;
        self.scenario = Some(summary.scenario);
        self.valid = Some(summary.verdict.is_valid());
        self.invalid_reasons = summary
            .verdict
            .reasons()
            .iter()
            .map(ToString::to_string)
            .collect();
        self.query_count = Some(summary.query_count);
        self.sample_count = Some(summary.sample_count);
        self.samples_per_second = summary.samples_per_second;
        self.latency_ns = summary.latency;
        self.query_latency_ns = summary.query_latency;
        self.stage_ns = summary.stages;
        self.issue_delay_ns = summary.issue_delay;
        self.notes = summary
            .late_issue()
            .iter()
            .map(ToString::to_string)
            .collect();
        self.elapsed_ns = Some(summary.elapsed);
        self.target = Some(Target {
            quantile: Quantile::as_share(quantile),
            latency_ns,
            bound_ns: summary.latency_bound,
            overlatency_count: summary.overlatency_count,
            rate_qps: settings.target_rate.as_per_second(),
        });
        self.early_stopping = (summary.scenario != Scenario::Offline).then(|| EarlyStoppingEntry {
            met: summary.early_stopping.is_met(),
            required: rules.early_stopping_required,
        });
        self
    }
}
