//! `detbench quantize`: a float model and pictures -> an int8 model and the model file beside it.

mod args;
mod engine;
mod evaluation;
mod pictures;
mod report;

use std::collections::BTreeMap;
use std::path::Path;

use indicatif::ProgressBar;
use prost::Message;
use sha2::{Digest, Sha256};

pub use self::args::QuantizeArgs;
use self::engine::Engine;
use self::pictures::CalibrationFolder;
use self::report::{Report, Saturation, Sizes};
use super::detector_args::{ModelArgs, ThresholdArgs};
use super::failure::{Blame, Failure};
use super::new_file::NewFile;
use super::run::args::NmsArg;
use super::run::{load_runtime, Subject, SubjectRequest};
use super::setup::progress_for;
use crate::clock::{Clock, Monotonic};
use crate::fetch::Progress;
use crate::library::preprocessing::{ElementType, Preprocessing};
use crate::model::description::{Anchors, ModelFile, Outputs, Precision};
use crate::model::onnx::proto::{ModelProto, StringStringEntryProto};
use crate::model::ModelDescription;
use crate::quantise::bytes::{byte_input, ByteInput};
use crate::quantise::calibrate::{calibrate, exposed, extents, Watched};
use crate::quantise::encode::{encode, Encoded};
use crate::quantise::equalise::{equalise, pairs, Equalisation};
use crate::quantise::graph::Graph;
use crate::quantise::insert::insert;
use crate::quantise::keep::kept_nodes;
use crate::quantise::plan::{plan, Plan, Wishes};
use crate::quantise::prepare::{prepare, Preparation};
use crate::quantise::{load, BiasForm, FirstLayers, Granularity, QuantiseError, Recipe};

/// Preparing may change outputs by this share of their range: the rounding of f32, and no more.
const PREPARATION_LIMIT: f64 = 1e-3;

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
    let work = Work {
        engine: Engine::new(&runtime, &subject)?,
        subject: &subject,
        folder: &folder,
        recipe: &recipe,
        is_quiet: args.json,
    };
    let made = work.quantise(graph)?;
    let mut notes = subject.notes.clone();
    notes.extend(folder.notes.iter().cloned());
    notes.extend(made.notes(&recipe));
    let model = labelled(made.model.clone(), &subject, &folder, &recipe)?;
    let bytes = model.encode_to_vec();
    keep(onnx, toml, &bytes, &subject, &args.output, &recipe)?;
    let mut report = made.report(&subject, &recipe, folder.calibration.len(), vnni);
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
fn about(path: &Path, error: &QuantiseError) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

fn subject_of(
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
fn has_vnni() -> Option<bool> {
    #[cfg(target_arch = "x86_64")]
    {
        Some(is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        None
    }
}

/// Everything that the steps share.
struct Work<'a> {
    engine: Engine<'a>,
    subject: &'a Subject,
    folder: &'a CalibrationFolder,
    recipe: &'a Recipe,
    is_quiet: bool,
}

/// A quantised network and how it came about.
struct Made {
    model: ModelProto,
    preparation: Preparation,
    equalisation: Option<Equalisation>,
    plan: Plan,
    encoded: Encoded,
    fusion: crate::quantise::fusion::Fusion,
}

impl Work<'_> {
    fn quantise(&self, mut graph: Graph) -> Result<Made, Failure> {
        let blame = |error: QuantiseError| about(&self.subject.onnx, &error);
        self.check_pictures().map_err(blame)?;
        let original = graph.clone().into_model();
        let preparation = prepare(&mut graph).map_err(blame)?;
        let prepared = graph.clone().into_model();
        self.check_equal(&original, &prepared, |output, difference| {
            QuantiseError::PreparationChanged {
                output,
                difference,
                limit: PREPARATION_LIMIT,
            }
        })?;
        drop(original);
        let equalisation = if self.recipe.equalise {
            Some(self.equalise(&mut graph, &prepared)?)
        } else {
            None
        };
        let wishes = Wishes {
            keep: kept_nodes(&graph, &preparation, &self.recipe.keep_fp32).or_usage()?,
            first: self.recipe.first_layers,
        };
        let plan = plan(&graph, &wishes).map_err(blame)?;
        let bytes = self.bytes(&graph, &plan)?;
        let watched = Watched::of(&plan, &graph.inputs());
        let observations = {
            let model = exposed(&graph.clone().into_model(), &watched);
            let mut session = self.engine.open(&model, watched.inner.clone())?;
            let bar = self.bar();
            let mut pictures = self.folder.calibration();
            let mut tell = |done: usize| bar.set_position(done as u64);
            let observed = calibrate(&mut session, &watched, &mut pictures, &mut tell);
            bar.finish_and_clear();
            observed.map_err(blame)?
        };
        let mut recipe = self.recipe.clone();
        if !plan.kept.is_empty() {
            recipe.bias = BiasForm::Int32;
        }
        let encoded =
            encode(&graph, &plan, &observations, &recipe, bytes.as_ref()).map_err(blame)?;
        let model = insert(graph, &plan, &encoded, &recipe, bytes.as_ref()).into_model();
        let fusion = self.engine.fusion(&model, &plan)?;
        Ok(Made {
            model,
            preparation,
            equalisation,
            plan,
            encoded,
            fusion,
        })
    }

    fn check_pictures(&self) -> Result<(), QuantiseError> {
        let found = self.folder.calibration.len();
        let needed = self.recipe.ranges.pictures_min();
        if found < needed {
            return Err(QuantiseError::TooFewPictures {
                method: self.recipe.ranges.name(),
                needed,
                found,
            });
        }
        Ok(())
    }

    fn check_equal(
        &self,
        before: &ModelProto,
        after: &ModelProto,
        error: impl Fn(String, f64) -> QuantiseError,
    ) -> Result<(), Failure> {
        let outputs = self.subject.outputs();
        let mut pictures = self.folder.calibration();
        let (output, difference) =
            self.engine
                .difference(before, after, &outputs, &mut pictures)?;
        // NaN is a difference too.
        if difference <= PREPARATION_LIMIT {
            Ok(())
        } else {
            Err(about(&self.subject.onnx, &error(output, difference)))
        }
    }

    fn equalise(&self, graph: &mut Graph, prepared: &ModelProto) -> Result<Equalisation, Failure> {
        let blame = |error: QuantiseError| about(&self.subject.onnx, &error);
        let pairs = pairs(graph);
        let watched = Watched {
            inner: pairs.iter().map(|pair| pair.tensor.clone()).collect(),
            input: None,
        };
        let mut seen = BTreeMap::new();
        if !pairs.is_empty() {
            let model = exposed(prepared, &watched);
            let mut session = self.engine.open(&model, watched.inner.clone())?;
            let mut pictures = self.folder.calibration();
            let own = extents(&mut session, &watched, &mut pictures, &mut |_| {}).map_err(blame)?;
            seen.extend(watched.inner.into_iter().zip(own));
        }
        let done = equalise(graph, &pairs, &seen).map_err(blame)?;
        self.check_equal(
            prepared,
            &graph.clone().into_model(),
            |output, difference| QuantiseError::EqualisationChanged {
                output,
                difference,
                limit: PREPARATION_LIMIT,
            },
        )?;
        Ok(done)
    }

    fn bytes(&self, graph: &Graph, plan: &Plan) -> Result<Option<ByteInput>, Failure> {
        if !self.recipe.u8_input {
            return Ok(None);
        }
        let normalise = uniform(&self.subject.description.input.preprocessing);
        let bytes = byte_input(graph, plan, normalise)
            .map_err(|error| about(&self.subject.onnx, &error))?;
        Ok(Some(bytes))
    }

    fn bar(&self) -> ProgressBar {
        let count = self.folder.calibration.len() * 2;
        if self.is_quiet {
            return ProgressBar::hidden();
        }
        super::run::calibration_bar(count)
    }
}

/// What preprocessing does to a byte, `scale * byte + shift`, when it is the same for all channels.
#[expect(
    clippy::float_cmp,
    reason = "the same number in the model file, or another"
)]
fn uniform(own: &Preprocessing) -> Option<(f64, f64)> {
    let same = |values: [f32; 3]| values.iter().all(|value| *value == values[0]);
    let (mean, scale) = (f64::from(own.mean[0]), f64::from(own.scale[0]));
    (same(own.mean) && same(own.scale)).then_some((1.0 / scale, -mean / scale))
}

impl Made {
    fn notes(&self, recipe: &Recipe) -> Vec<String> {
        let mut notes = Vec::new();
        if recipe.bias == BiasForm::Fp32 {
            notes.push(if self.plan.kept.is_empty() {
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

    fn report(
        self,
        subject: &Subject,
        recipe: &Recipe,
        pictures: usize,
        vnni: Option<bool>,
    ) -> Report {
        let layers = self.encoded.layer_reports;
        let at_risk = layers
            .iter()
            .filter(|layer| layer.saturating_channels > 0)
            .count();
        Report {
            schema_version: 1,
            model: subject.onnx.clone(),
            output: subject.onnx.clone(),
            recipe: recipe.clone(),
            calibration_pictures: pictures,
            layers_int8: self.plan.layers.len(),
            layers_fp32: self.plan.kept.len(),
            dp: None,
            agreement: None,
            compared_pictures: 0,
            size_bytes: Sizes { fp32: 0, int8: 0 },
            seconds: 0.0,
            folded: self.preparation.folded,
            equalisation: self.equalisation,
            fusion: self.fusion,
            kept_fp32: self.plan.kept,
            saturation: Saturation {
                vnni_here: vnni,
                layers_at_risk: at_risk,
                channels_at_risk: layers.iter().map(|layer| layer.saturating_channels).sum(),
                channels: layers.iter().map(|layer| layer.channels).sum(),
            },
            layers,
            tensors: self.encoded.tensor_reports,
            notes: Vec::new(),
        }
    }
}

/// Says in the file itself what it was made from and how.
fn labelled(
    mut model: ModelProto,
    subject: &Subject,
    folder: &CalibrationFolder,
    recipe: &Recipe,
) -> Result<ModelProto, Failure> {
    let settings = serde_json::to_string(recipe).or_environment()?;
    let hash = |text: &str| format!("{:x}", Sha256::digest(text.as_bytes()));
    let list: Vec<&str> = folder.calibration_names().collect();
    for (key, value) in [
        ("detbench.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("detbench.source_sha256", subject.sha256.clone()),
        ("detbench.settings_sha256", hash(&settings)),
        ("detbench.calibration_sha256", hash(&list.join("\n"))),
        ("detbench.settings", settings),
    ] {
        model.metadata_props.retain(|one| one.key != key);
        model.metadata_props.push(StringStringEntryProto {
            key: key.to_owned(),
            value,
        });
    }
    Ok(model)
}

/// Writes both files.
fn keep(
    mut onnx: NewFile,
    mut toml: NewFile,
    bytes: &[u8],
    subject: &Subject,
    output: &Path,
    recipe: &Recipe,
) -> Result<(), Failure> {
    let sha256 = format!("{:x}", Sha256::digest(bytes));
    let description = describe(subject, output, sha256, recipe);
    onnx.write(bytes).or_environment()?;
    toml.write(description.to_toml().as_bytes())
        .or_environment()?;
    toml.persist().or_environment()?;
    onnx.persist().or_environment()?;
    Ok(())
}

/// The float model's description with what is other now.
fn describe(subject: &Subject, output: &Path, sha256: String, recipe: &Recipe) -> ModelDescription {
    let mut own = subject.description.clone();
    let name = output
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    own.title = format!("{}, int8", own.title);
    own.notes = format!(
        "Quantised by `detbench quantize` from a file with sha256 {}; {} layers at the input, {} ranges.",
        subject.sha256,
        match recipe.first_layers {
            FirstLayers::Int8 => "no float",
            FirstLayers::ConvFp32 | FirstLayers::BlockFp32 => "float",
        },
        recipe.ranges.name()
    );
    own.name = name;
    own.precision = Precision::Int8;
    own.files = vec![ModelFile {
        name: output
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        sha256: vec![sha256],
        origin: format!("quantised by detbench {}", env!("CARGO_PKG_VERSION")),
    }];
    if recipe.u8_input {
        let input = &mut own.input.preprocessing;
        input.element = ElementType::U8;
        input.mean = [0.0; 3];
        input.scale = [1.0; 3];
    }
    if let Outputs::RawHeads(raw) = &mut own.outputs {
        if let Anchors::File(file) = &mut raw.anchors {
            // The model file counts from its own folder, which may be another one now.
            if let Ok(whole) = file.canonicalize() {
                *file = whole;
            }
        }
    }
    own
}
