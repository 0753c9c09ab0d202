//! What `detbench tune` says: a row a trial while it runs, LPOT's lines and tables at the end, or one JSON document.

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use super::args::Asked;
use crate::placement::plan::Placement;
use crate::tune::exit::Ending;
use crate::tune::figures::{Baseline, Figures, Judgement};
use crate::tune::objective::Objective;
use crate::tune::tuning::{Ask, Outcome, Trial};
use crate::units::Latency;

/// The float model's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BaselineEntry {
    /// COCO's mAP.
    pub map: Option<f64>,
    /// Median latency.
    pub latency_ns: u64,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// 99th percentile of the latency.
    pub latency_p99_ns: u64,
    /// Inferences a second.
    pub per_second: f64,
}

/// The best model's figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BestEntry {
    /// COCO's mAP.
    pub map: Option<f64>,
    /// Median latency.
    pub latency_ns: u64,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// The file.
    pub path: PathBuf,
    /// Whether it meets the criterion.
    pub criterion_met: bool,
    /// The float model's median latency, in turn with it.
    pub float_latency_ns: u64,
    /// 99th percentile of the latency.
    pub latency_p99_ns: u64,
    /// Inferences a second.
    pub per_second: f64,
    /// mAP of its detections with the float model's as ground truth.
    pub agreement: Option<f64>,
    /// Relative difference of all class probabilities.
    pub dp: Option<f64>,
    /// The figure that was judged, its interval and the threshold.
    pub judgement: Judgement,
    /// Which trial it was.
    pub trial: u32,
    /// Its settings.
    pub settings: crate::tune::settings::Settings,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Version of this document's form.
    pub schema_version: u32,
    /// The float model.
    pub baseline: BaselineEntry,
    /// The best model; `null` when no trial was finished.
    pub best: Option<BestEntry>,
    /// Trials, those of the history included.
    pub trials: u32,
    /// The history.
    pub history: PathBuf,
    /// Why it ended.
    pub ending: Ending,
    /// What was asked for.
    pub criterion: crate::tune::criterion::Criterion,
    /// What was made small.
    pub objective: Objective,
    /// The whole tuning, what came before an interrupt included.
    pub seconds: f64,
    /// Pictures of the evaluation.
    pub pictures: usize,
    /// What the user should know.
    pub notes: Vec<String>,
}

impl Report {
    /// Of a tuning's outcome.
    pub fn new(baseline: &Baseline, asked: &Asked, outcome: &Outcome, output: PathBuf) -> Self {
        let best = outcome.best.as_ref().map(|best| {
            let figures = &best.standing.figures;
            BestEntry {
                map: figures.map,
                latency_ns: figures.speed.p50_ns,
                size_bytes: figures.size_bytes,
                path: output,
                criterion_met: best.standing.judgement.is_met,
                float_latency_ns: figures.speed.float_p50_ns,
                latency_p99_ns: figures.speed.p99_ns,
                per_second: figures.speed.per_second,
                agreement: figures.agreement,
                dp: figures.dp,
                judgement: best.standing.judgement,
                trial: best.number,
                settings: best.settings.clone(),
            }
        });
        Self {
            schema_version: 1,
            baseline: BaselineEntry {
                map: baseline.map,
                latency_ns: baseline.latency_p50_ns,
                size_bytes: baseline.size_bytes,
                latency_p99_ns: baseline.latency_p99_ns,
                per_second: baseline.per_second,
            },
            best,
            trials: outcome.trials,
            history: asked.history.clone(),
            ending: outcome.ending,
            criterion: asked.ask.criterion,
            objective: asked.ask.objective,
            seconds: outcome.elapsed.as_secs_f64(),
            pictures: 0,
            notes: Vec::new(),
        }
    }
}

/// What is said before the first trial.
pub fn greeting(
    baseline: &Baseline,
    layers: usize,
    pictures: usize,
    placement: &Placement,
) -> String {
    let instances = &placement.instances;
    format!(
        "float model: mAP {}, p50 {:.2} ms, {:.1} MB; {layers} layers, {pictures} pictures, {} x {} threads",
        baseline.map.map_or("-".to_owned(), |map| format!("{map:.4}")),
        ms(baseline.latency_p50_ns),
        baseline.size_bytes as f64 / 1e6,
        instances.len(),
        instances.first().map_or(0, |one| one.intra_threads),
    )
}

/// The head of the table of trials.
pub const HEAD: &str =
    " trial     mAP   agreem.      dp    p50 ms  speedup    MB  meets  best  s     settings";

/// A row of it.
pub fn row(trial: &Trial, layers: usize) -> String {
    let figures = &trial.standing.figures;
    let speed = &figures.speed;
    let judgement = &trial.standing.judgement;
    let meets = match (judgement.is_met, judgement.is_open()) {
        (true, false) => "yes",
        (true, true) => "yes?",
        (false, true) => "no?",
        (false, false) => "no",
    };
    format!(
        "{:>6}  {}  {}  {}  {:>8.2}  {:>6.2}x  {:>4.1}  {meets:<5}  {:<4}  {:<4.0}  {}{}",
        trial.number,
        share(figures.map, 6),
        share(figures.agreement, 8),
        share(figures.dp, 6),
        ms(speed.p50_ns),
        speed.float_p50_ns as f64 / speed.p50_ns.max(1) as f64,
        figures.size_bytes as f64 / 1e6,
        if trial.is_best { "*" } else { "" },
        trial.elapsed.as_secs_f64(),
        trial.settings.words(layers),
        if trial.is_known {
            " (from the history)"
        } else {
            ""
        },
    )
}

fn share(value: Option<f64>, width: usize) -> String {
    value.map_or_else(
        || format!("{:>width$}", "-"),
        |value| format!("{value:>width$.4}"),
    )
}

fn ms(ns: u64) -> f64 {
    Latency::from_nanos(ns).as_millis_f64()
}

/// The figure of the objective, as LPOT's lines have it: seconds, inferences a second, or megabytes.
fn objective_figure(objective: Objective, figures: &Figures) -> f64 {
    match objective {
        Objective::LatencyP50 => figures.speed.p50_ns as f64 / 1e9,
        Objective::LatencyP99 => figures.speed.p99_ns as f64 / 1e9,
        Objective::Throughput => figures.speed.per_second,
        Objective::Size => figures.size_bytes as f64 / 1e6,
    }
}

fn objective_words(objective: Objective) -> &'static str {
    match objective {
        Objective::LatencyP50 => "seconds of one inference, the median",
        Objective::LatencyP99 => "seconds of one inference, the 99th percentile",
        Objective::Throughput => "inferences a second",
        Objective::Size => "megabytes of the file",
    }
}

/// The end of the text: LPOT's lines, the table of operators, files, warnings.
pub fn closing(report: &Report, baseline: &Baseline, ask: &Ask, outcome: &Outcome) -> String {
    let mut out = String::new();
    write_closing(&mut out, report, baseline, ask, outcome).expect("a string takes everything");
    out
}

fn write_closing(
    out: &mut String,
    report: &Report,
    baseline: &Baseline,
    ask: &Ask,
    outcome: &Outcome,
) -> std::fmt::Result {
    let judged = ask.criterion.judged;
    let float = judged.of_baseline(baseline).unwrap_or(f64::NAN);
    let float_objective = match ask.objective {
        Objective::LatencyP50 => baseline.latency_p50_ns as f64 / 1e9,
        Objective::LatencyP99 => baseline.latency_p99_ns as f64 / 1e9,
        Objective::Throughput => baseline.per_second,
        Objective::Size => baseline.size_bytes as f64 / 1e6,
    };
    writeln!(
        out,
        "\nFP32 baseline is: [{float:.4}, {float_objective:.4}]"
    )?;
    let Some(best) = &outcome.best else {
        writeln!(out, "no trial was finished ({})", ending(outcome.ending))?;
        return writeln!(out, "history      {}", report.history.display());
    };
    let figures = &best.standing.figures;
    let pair = format!(
        "[{:.4}, {:.4}]",
        best.standing.judgement.figure,
        objective_figure(ask.objective, figures)
    );
    writeln!(
        out,
        "Tune {} result is: {pair} Best tune result is: {pair}",
        best.number
    )?;
    writeln!(
        out,
        "             ({}, {})",
        judged.name(),
        objective_words(ask.objective)
    )?;
    writeln!(
        out,
        "\n{:<14}| {:>5} | {:>5} | {:>5}",
        "Op Type", "Total", "INT8", "FP32"
    )?;
    for row in &figures.operators {
        let fp32 = row.total - row.int8;
        writeln!(
            out,
            "{:<14}| {:>5} | {:>5} | {fp32:>5}",
            row.operator, row.total, row.int8
        )?;
    }
    writeln!(out)?;
    write_judgement(out, report, ask, best)?;
    let speed = &figures.speed;
    writeln!(
        out,
        "speed        p50 {:.2} ms, {:.2} times as fast as float's {:.2} ms in the same rounds (+-{:.1} %); p99 {:.2} ms, {:.0} a second",
        ms(speed.p50_ns),
        speed.float_p50_ns as f64 / speed.p50_ns.max(1) as f64,
        ms(speed.float_p50_ns),
        speed.spread * 100.0,
        ms(speed.p99_ns),
        speed.per_second
    )?;
    writeln!(
        out,
        "size         {:.1} -> {:.1} MB",
        baseline.size_bytes as f64 / 1e6,
        figures.size_bytes as f64 / 1e6
    )?;
    for note in &report.notes {
        writeln!(out, "note         {note}")?;
    }
    writeln!(
        out,
        "took         {:.1} s, {} trials; {}",
        report.seconds,
        report.trials,
        ending(outcome.ending)
    )?;
    let path = report.best.as_ref().map(|best| best.path.clone());
    let path = path.unwrap_or_default();
    writeln!(out, "wrote        {}", path.display())?;
    writeln!(
        out,
        "wrote        {}",
        path.with_extension("toml").display()
    )?;
    writeln!(out, "history      {}", report.history.display())
}

fn write_judgement(out: &mut String, report: &Report, ask: &Ask, best: &Trial) -> std::fmt::Result {
    let own = &best.standing.judgement;
    let name = ask.criterion.judged.name();
    let confidence = ask
        .criterion
        .confidence
        .unwrap_or(crate::tune::figures::SHOWN_CONFIDENCE);
    let interval = own.interval.map_or_else(String::new, |(low, high)| {
        format!(
            ", {:.0} % interval {low:.4} to {high:.4}",
            confidence * 100.0
        )
    });
    let side = if ask.criterion.higher_is_better {
        "at least"
    } else {
        "at most"
    };
    writeln!(
        out,
        "criterion    {}: {name} {:.4}{interval}; {side} {:.4} was asked for",
        match (own.is_met, report.ending) {
            (true, _) => "met",
            (false, Ending::Interrupted) => "not met so far",
            (false, _) => "NOT MET",
        },
        own.figure,
        own.threshold
    )?;
    if own.is_open() {
        writeln!(
            out,
            "warning      {} pictures cannot decide this: the interval holds the threshold; more pictures would, or --criterion dp",
            report.pictures
        )?;
    }
    if !own.is_met && report.ending != Ending::Interrupted {
        writeln!(out, "would help   {}", advice(ask, best))?;
    }
    Ok(())
}

/// What would help where the criterion is not met.
fn advice(ask: &Ask, best: &Trial) -> String {
    let own = &best.standing.judgement;
    let threshold = own.threshold;
    let short = (threshold - own.figure).abs();
    let mut advice = Vec::new();
    if own.figure >= threshold && ask.criterion.confidence.is_some() {
        advice.push(
            "the figure itself meets it: more labelled pictures narrow the interval, or leave out --confidence"
                .to_owned(),
        );
    } else {
        let base = match ask.criterion.loss {
            crate::tune::criterion::Loss::Relative(share) => threshold / (1.0 - share),
            crate::tune::criterion::Loss::Absolute(amount) => threshold + amount,
        };
        let loss = (base - own.figure) / base * 100.0;
        advice.push(format!(
            "--accuracy-loss {loss:.1}% is what the best model loses ({short:.4} short of the threshold)"
        ));
    }
    if ask.policy.timeout.is_some() || ask.policy.max_trials < 100 {
        advice.push("a longer search: --resume with another --timeout or --max-trials".to_owned());
    }
    advice.push(
        "calibration pictures nearer to the use; a model trained for quantisation".to_owned(),
    );
    advice.join("; ")
}

fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Exhausted => "the strategy had nothing left to try",
        Ending::FirstMet => "ended at the first model that meets the criterion (--timeout 0)",
        Ending::Timeout => "the time was over (--timeout)",
        Ending::MaxTrials => "as many trials as were allowed (--max-trials)",
        Ending::PerformanceOnly => "one trial, whatever its accuracy (--performance-only)",
        Ending::Interrupted => "interrupted; --resume goes on from here",
    }
}
