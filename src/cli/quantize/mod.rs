//! `detbench quantize`: a float model and pictures -> an int8 model and the model file beside it.

mod args;
pub(super) mod engine;
mod evaluation;
pub(super) mod output;
pub(super) mod pictures;
mod report;
pub(super) mod work;

use std::path::Path;

use prost::Message;

pub use self::args::QuantizeArgs;
use self::engine::Engine;
use self::output::{keep, labelled};
use self::pictures::CalibrationFolder;
use self::report::{Report, Saturation, Sizes};
use self::work::{Made, Prepared, Work};
use super::detector_args::{ModelArgs, ThresholdArgs};
use super::failure::{Blame, Failure};
use super::new_file::NewFile;
use super::run::args::NmsArg;
use super::run::{load_runtime, Subject, SubjectRequest};
use super::setup::progress_for;
use crate::clock::{Clock, Monotonic};
use crate::fetch::Progress;
use crate::quantise::calibrate::Watched;
use crate::quantise::fusion::Fusion;
use crate::quantise::{load, BiasForm, Granularity, QuantiseError, Recipe};

/// Runs the verb and returns what it has to say.
///
/// # Errors
/// [`Failure`]: a model or pictures that cannot be used, files that exist, a runtime that is missing.
pub fn run(args: &QuantizeArgs) -> Result<String, Failure> {
    let clock = Monotonic::new();
    let began = clock.now();
    let vnni = has_vnni();
    let recipe = args.recipe(vnni != Some(false))?;
    if args
        .output
        .extension()
        .is_none_or(|extension| extension != "onnx")
    {
        return Err(Failure::usage(format!(
            "--output {}: the name should end in .onnx",
            args.output.display()
        )));
    }
    // The output first: what cannot be kept need not be made.
    let onnx = NewFile::create(&args.output, args.force).or_usage()?;
    let toml = NewFile::create(&args.output.with_extension("toml"), args.force).or_usage()?;
    let progress = progress_for(args.json);
    let mut subject = subject_of(&args.model, args.model_config.clone(), progress.as_ref())?;
    let file = std::fs::read(&subject.onnx).or_usage()?;
    let graph = load(&file).map_err(|error| about(&subject.onnx, &error))?;
    let folder = CalibrationFolder::open(
        &args.calibration,
        &subject.description.input.preprocessing,
        recipe.calibration_size,
        recipe.seed,
    )?;
    let runtime = load_runtime(args.runtime.ort_lib.as_deref(), progress.as_ref())?;
    drop(progress);
    let engine = Engine::new(&runtime, &subject)?;
    let work = Work {
        engine: &engine,
        subject: &subject,
        folder: &folder,
        is_quiet: args.json,
    };
    work.check_pictures(&recipe)?;
    let prepared = work.prepare(graph, recipe.equalise)?;
    let plan = work.plan(&prepared, &recipe)?;
    let watched = Watched::of(&plan, &prepared.graph.inputs());
    let observations = work.observe(&prepared, &watched)?;
    let made = work.make(&prepared, plan, &observations, &recipe)?;
    drop(observations);
    let fusion = engine.fusion(&made.model, &made.plan)?;
    let mut notes = subject.notes.clone();
    notes.extend(folder.notes.iter().cloned());
    notes.extend(notes_on(&made, &recipe));
    let model = labelled(made.model.clone(), &subject, &folder, &recipe)?;
    let bytes = model.encode_to_vec();
    keep(
        onnx,
        toml,
        &bytes,
        &subject,
        &args.output,
        &recipe,
        "quantize",
    )?;
    let mut report = report_of(made, prepared, fusion, &subject, &recipe);
    report.calibration_pictures = folder.calibration.len();
    report.saturation.vnni_here = vnni;
    report.size_bytes = Sizes {
        fp32: file.len() as u64,
        int8: bytes.len() as u64,
    };
    report.output.clone_from(&args.output);
    report.notes = notes;
    report.seconds = clock.now().since(began).as_secs_f64();
    drop((file, bytes, model));
    // The written file is opened as any user's would be.
    let output = args.output.to_string_lossy();
    let mut quantised = subject_of(&output, None, progress_for(true).as_ref())?;
    let nearness = evaluation::compare(
        &mut subject,
        &mut quantised,
        &runtime,
        &folder,
        &args.calibration,
    )?;
    report.compared(nearness);
    if args.json {
        let text = serde_json::to_string(&report).or_environment()?;
        Ok(format!("{text}\n"))
    } else {
        Ok(report.text(args.details))
    }
}

/// A model's errors begin with its file.
pub(super) fn about(path: &Path, error: &QuantiseError) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

pub(super) fn subject_of(
    model: &str,
    config: Option<String>,
    progress: &dyn Progress,
) -> Result<Subject, Failure> {
    let model = ModelArgs {
        model: Some(model.to_owned()),
        model_config: config,
        ..ModelArgs::default()
    };
    let request = SubjectRequest {
        model: &model,
        thresholds: &ThresholdArgs::default(),
        nms: NmsArg::Regular,
        names_mode: false,
    };
    Subject::prepare(request, progress)
}

/// Whether this processor adds products of bytes without saturating; `None` where none saturates.
#[expect(clippy::unnecessary_wraps, reason = "other processors have no answer")]
pub(super) fn has_vnni() -> Option<bool> {
    #[cfg(target_arch = "x86_64")]
    {
        Some(is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        None
    }
}

fn notes_on(made: &Made, recipe: &Recipe) -> Vec<String> {
    let mut notes = Vec::new();
    if recipe.bias == BiasForm::Fp32 {
        notes.push(if made.plan.kept.is_empty() {
                "biases stay as floats in the file; ONNX Runtime turns them into 32-bit integers when it makes integer kernels".to_owned()
            } else {
                "biases were written as 32-bit integers all the same: float biases beside float layers would keep ONNX Runtime from making integer kernels".to_owned()
            });
    }
    if recipe.weights == Granularity::PerTensor {
        notes.push("one step for all weights of a layer is as fast as one for each channel and costs far more accuracy: --weights per-channel".to_owned());
    }
    let is_aimet = serde_json::to_value(recipe.preset)
        .is_ok_and(|name| name.as_str().is_some_and(|name| name.starts_with("aimet")));
    if is_aimet {
        notes.push("AIMET's asymmetric weights became symmetric signed ones: bytes on both sides run slower than floats".to_owned());
    }
    if recipe.ranges.name() == "entropy" {
        notes.push("entropy clips ReLU6 networks hard: look at dp and agreement before you use this file, and prefer --ranges mse".to_owned());
    }
    notes
}

fn report_of(
    made: Made,
    prepared: Prepared,
    fusion: Fusion,
    subject: &Subject,
    recipe: &Recipe,
) -> Report {
    let layers = made.encoded.layer_reports;
    let at_risk = layers
        .iter()
        .filter(|layer| layer.saturating_channels > 0)
        .count();
    Report {
        schema_version: 1,
        model: subject.onnx.clone(),
        output: subject.onnx.clone(),
        recipe: recipe.clone(),
        calibration_pictures: 0,
        layers_int8: made.plan.layers.len(),
        layers_fp32: made.plan.kept.len(),
        dp: None,
        agreement: None,
        compared_pictures: 0,
        size_bytes: Sizes { fp32: 0, int8: 0 },
        seconds: 0.0,
        folded: prepared.preparation.folded,
        equalisation: prepared.equalisation,
        fusion,
        kept_fp32: made.plan.kept,
        saturation: Saturation {
            vnni_here: None,
            layers_at_risk: at_risk,
            channels_at_risk: layers.iter().map(|layer| layer.saturating_channels).sum(),
            channels: layers.iter().map(|layer| layer.channels).sum(),
        },
        layers,
        tensors: made.encoded.tensor_reports,
        notes: Vec::new(),
    }
}
