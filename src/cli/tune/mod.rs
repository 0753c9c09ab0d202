//! `detbench tune`: a float model, pictures and a criterion -> the best int8 model that meets the criterion.

mod accuracy;
mod args;
mod conditions;
mod evaluator;
mod pictures;
mod report;
mod speed;
mod watch;

use std::collections::BTreeSet;

use self::accuracy::Truth;
use self::args::Asked;
pub use self::args::TuneArgs;
use self::conditions::{conditions, Under};
use self::evaluator::{as_bytes, Forms, Parts, Real};
use self::pictures::PictureSet;
use self::report::{closing, Report};
use self::speed::Bench;
use self::watch::Watch;
use super::failure::{Blame, Failure, Outcome as Verdict};
use super::ground_truth::ground_truth;
use super::interrupt::is_interrupted;
use super::new_file::NewFileError;
use super::print_json;
use super::print_out;
use super::quantize::engine::Engine;
use super::quantize::pictures::CalibrationFolder;
use super::quantize::work::Work;
use super::quantize::{about, has_vnni, subject_of};
use super::run::{load_runtime, Seating, Subject};
use super::setup::progress_for;
use crate::clock::{Clock, Monotonic};
use crate::dataset::{Dataset, Truth as Labels};
use crate::fetch::Progress;
use crate::library::preprocessing::Preprocessing;
use crate::library::{ListedPicture, PictureEntry};
use crate::quantise::graph::Graph;
use crate::quantise::order::places;
use crate::quantise::weights::{LEVEL_MAX, LEVEL_MAX_REDUCED};
use crate::quantise::{load, FirstLayers, Granularity, Preset, RangeMethod, Recipe};
use crate::runtime::RuntimeOption;
use crate::scenario::Scenario;
use crate::tune::allowed::Allowed;
use crate::tune::criterion::Judged;
use crate::tune::exit::Ending;
use crate::tune::figures::Baseline;
use crate::tune::history::{Conditions, History};
use crate::tune::names::{resolve, NodeNames};
use crate::tune::network::Network;
use crate::tune::settings::Settings;
use crate::tune::strategies;
use crate::tune::tuning::{is_met, Halt, Outcome, Surroundings, Tuning};
use crate::units::{Latency, SampleIndex, Timestamp};

/// Said when pictures that calibrate also evaluate.
const SHARED: &str =
    "some pictures both calibrate and evaluate: accuracy will look better than it is";
/// Pictures on which candidates are looked at.
const SCREENED: usize = 12;

/// Runs the verb.
///
/// # Errors
/// [`Failure`]: a model, pictures or a file of LPOT's that cannot be used, files that exist, a history of something else.
pub fn run(args: &TuneArgs) -> Result<Verdict, Failure> {
    let clock = Monotonic::new();
    let began = clock.now();
    let asked = Asked::read(args)?;
    check_files(args, &asked)?;
    let progress = progress_for(args.json);
    let (subject, graph) = open_float(args, progress.as_ref())?;
    let seating = seating(args, &asked)?;
    let placement = seating.place(Scenario::Offline)?;
    let preprocessing = &subject.description.input.preprocessing;
    let folder =
        CalibrationFolder::open(&asked.calibration, preprocessing, asked.size(), asked.seed)?;
    let evaluation = Evaluation::open(&asked, &subject)?;
    let runtime = load_runtime(args.runtime.ort_lib.as_deref(), progress.as_ref())?;
    drop(progress);
    let engine = Engine::new(&runtime, &subject)?;
    let work = Work {
        engine: &engine,
        subject: &subject,
        folder: &folder,
        is_quiet: args.json,
    };
    let prepared = work.prepare(graph, false)?;
    let plan = work.plan(&prepared, &all_integer())?;
    let network = Network::new(places(&prepared.graph, &plan));
    let names = NodeNames::of(&prepared.graph, &prepared.preparation);
    let resolved = resolve(&asked.space, &names).or_usage()?;
    let base = start(&asked, folder.calibration.len());
    let pictures = folder.pictures().len();
    let allowed = Allowed::new(&asked.space, &resolved, &network, base, pictures).or_usage()?;
    let few = screened(&folder);
    let (conditions, is_shared) = conditions(&Under {
        asked: &asked,
        subject: &subject,
        folder: &folder,
        few: &few,
        listed: &evaluation.listed,
        runtime: &runtime,
        placement: &placement,
        ort: &args.ort,
    })?;
    let shared = is_shared.then(|| SHARED.to_owned());
    let said = [
        &subject.notes,
        &evaluation.notes,
        &asked.notes,
        &resolved.notes,
        &folder.notes,
    ];
    let notes: Vec<String> = said.into_iter().flatten().cloned().chain(shared).collect();
    let all: Vec<SampleIndex> = (0..evaluation.listed.len()).map(index).collect();
    let in_folder: Vec<ListedPicture> = folder.pictures().iter().map(relisted).collect();
    let parts = Parts {
        subject: &subject,
        runtime: &runtime,
        engine: &engine,
        calibration: &asked.calibration,
        prepared: &prepared,
        plan: &plan,
        few: forms(&asked, preprocessing, &in_folder, &few)?,
        pictures: forms(&asked, preprocessing, &evaluation.listed, &all)?,
        truth: evaluation.truth,
        bench: Bench::new(&seating, &placement, &runtime, &subject).with_rounds(asked.rounds),
        output: args.output.clone(),
        seed: asked.seed,
        is_quiet: args.json,
    };
    let mut real = Real::new(parts, folder)?;
    let mut history = if asked.resume {
        History::resume(&asked.history, &conditions).or_usage()?
    } else {
        let baseline = real.baseline()?;
        begin_history(args, &asked, conditions, baseline, clock.now().since(began))?
    };
    let baseline = history.baseline;
    check_baseline(&asked, &baseline)?;
    let mut watch = Watch::new(network.len(), args.json);
    watch.line(&report::greeting(
        &baseline,
        network.len(),
        all.len(),
        &placement,
    ));
    let time = (&clock, began);
    let outcome = tune(&asked, &allowed, &mut real, &mut history, &mut watch, time)?;
    watch.finish();
    let mut report = Report::new(&baseline, &asked, &outcome, args.output.clone());
    report.pictures = all.len();
    report.notes = notes;
    if args.json {
        print_json(&report)?;
    } else {
        print_out(&closing(&report, &baseline, &asked.ask, &outcome))?;
    }
    Ok(verdict(&asked, &outcome))
}

/// The float model, and its network.
fn open_float(args: &TuneArgs, progress: &dyn Progress) -> Result<(Subject, Graph), Failure> {
    let mut subject = subject_of(&args.model, args.model_config.clone(), progress)?;
    subject.reading.ask_for_all();
    let file = std::fs::read(&subject.onnx).or_usage()?;
    let graph = load(&file).map_err(|error| about(&subject.onnx, &error))?;
    Ok((subject, graph))
}

fn seating(args: &TuneArgs, asked: &Asked) -> Result<Seating, Failure> {
    let options = args.ort.iter();
    let options = options.map(|pair| RuntimeOption::parse(pair).or_usage());
    Seating::of(asked.placement.clone(), options.collect::<Result<_, _>>()?)
}

/// The recipe that watches every tensor.
fn all_integer() -> Recipe {
    Recipe {
        first_layers: FirstLayers::Int8,
        ..Recipe::of(Preset::Default)
    }
}

/// Some pictures of a list, in all forms that models will take.
fn forms(
    asked: &Asked,
    preprocessing: &Preprocessing,
    listed: &[ListedPicture],
    samples: &[SampleIndex],
) -> Result<Forms, Failure> {
    let set =
        |form: &Preprocessing| PictureSet::new("pictures", listed.to_vec(), samples.to_vec(), form);
    let is_bytes = asked.space.u8_input == Some(true);
    let bytes = is_bytes.then(|| set(&as_bytes(preprocessing)));
    Ok(Forms {
        float: set(preprocessing)?,
        bytes: bytes.transpose()?,
    })
}

fn begin_history(
    args: &TuneArgs,
    asked: &Asked,
    conditions: Conditions,
    baseline: Baseline,
    elapsed: Latency,
) -> Result<History, Failure> {
    if let Some(folder) = asked.history.parent() {
        std::fs::create_dir_all(folder).or_environment()?;
    }
    History::create(&asked.history, args.force, conditions, baseline, elapsed).or_usage()
}

/// Runs the strategy. The time before a resumed tuning counts.
fn tune(
    asked: &Asked,
    allowed: &Allowed<'_>,
    real: &mut Real<'_>,
    history: &mut History,
    watch: &mut Watch,
    (clock, began): (&Monotonic, Timestamp),
) -> Result<Outcome, Failure> {
    let before = if asked.resume {
        history.elapsed
    } else {
        Latency::ZERO
    };
    let around = Surroundings {
        clock,
        began,
        is_interrupted: &is_interrupted,
        tell: &mut |event| watch.see(event),
    };
    let network = allowed.network();
    let mut tuning = Tuning::new(asked.ask, real, history, network, before, around);
    let done = strategies::run(asked.strategy, &mut tuning, allowed, asked.seed);
    match tuning.finish(done) {
        Ok(outcome) => Ok(outcome),
        Err(Halt::Failed(failure)) => Err(failure),
        Err(Halt::History(error)) => Err(Failure::environment(error)),
        Err(Halt::Ended(_)) => unreachable!("an ending is an outcome"),
    }
}

fn verdict(asked: &Asked, outcome: &Outcome) -> Verdict {
    if outcome.ending == Ending::Interrupted {
        return Verdict::Interrupted;
    }
    let is_met = outcome.best.as_ref().is_some_and(is_met);
    if is_met || asked.ask.policy.performance_only {
        Verdict::Done
    } else {
        Verdict::CriterionFailed
    }
}

/// Looks whether anything would be overwritten, or is missing, before anything is run.
fn check_files(args: &TuneArgs, asked: &Asked) -> Result<(), Failure> {
    let history = &asked.history;
    if args.output.extension().is_none_or(|own| own != "onnx") {
        return Err(Failure::usage(format!(
            "--output {}: the name should end in .onnx",
            args.output.display()
        )));
    }
    if asked.resume {
        if history.is_file() {
            return Ok(());
        }
        return Err(Failure::usage(format!(
            "there is no history {} to go on with; leave --resume out to begin",
            history.display()
        )));
    }
    if history.exists() && !args.force {
        return Err(Failure::usage(crate::tune::history::HistoryError::Exists {
            path: history.clone(),
        }));
    }
    for path in [args.output.clone(), args.output.with_extension("toml")] {
        if path.is_dir() {
            return Err(Failure::usage(NewFileError::Folder { path }));
        }
        if path.exists() && !args.force {
            return Err(Failure::usage(NewFileError::Exists { path }));
        }
    }
    Ok(())
}

/// The pictures of the evaluation and what is in them.
struct Evaluation {
    listed: Vec<ListedPicture>,
    truth: Option<Truth>,
    notes: Vec<String>,
}

impl Evaluation {
    fn open(asked: &Asked, subject: &Subject) -> Result<Self, Failure> {
        let annotations = asked.annotations.as_deref();
        let dataset = Dataset::of_folder(&asked.images, annotations, false).or_usage()?;
        let truth = match dataset.truth {
            Some(Labels::Coco(instances)) => {
                let labels = ground_truth(instances).or_usage()?;
                Some(Truth::new(labels, subject)?)
            }
            Some(Labels::Voc(_)) | None => None,
        };
        if truth.is_none() && asked.ask.criterion.judged == Judged::Map {
            return Err(Failure::usage(
                "mAP needs ground truth in COCO's form: pass --annotations FILE",
            ));
        }
        Ok(Self {
            listed: dataset.pictures,
            truth,
            notes: dataset.notes.iter().map(ToString::to_string).collect(),
        })
    }
}

/// What nobody wishes otherwise.
fn start(asked: &Asked, pictures: usize) -> Settings {
    Settings {
        calibration_size: pictures,
        seed: asked.seed,
        ranges: RangeMethod::Mse,
        weights: Granularity::PerChannel,
        weight_level_max: if has_vnni() == Some(false) {
            LEVEL_MAX_REDUCED
        } else {
            LEVEL_MAX
        },
        bias_correction: true,
        u8_input: false,
        layers: std::collections::BTreeMap::new(),
        float_layers: BTreeSet::new(),
    }
}

/// The pictures of the screening: some that do not calibrate, where there are enough of them.
fn screened(folder: &CalibrationFolder) -> Vec<SampleIndex> {
    let from = if folder.others.len() >= SCREENED {
        &folder.others
    } else {
        &folder.calibration
    };
    from.iter().copied().take(SCREENED).collect()
}

fn index(at: usize) -> SampleIndex {
    SampleIndex(u32::try_from(at).expect("a folder of pictures"))
}

fn relisted(entry: &PictureEntry) -> ListedPicture {
    ListedPicture {
        file_name: entry.file_name.clone(),
        place: entry.place.clone(),
        image_id: entry.image_id,
        size: Some((entry.width, entry.height)),
    }
}

/// A criterion needs the float model's figure.
fn check_baseline(asked: &Asked, baseline: &Baseline) -> Result<(), Failure> {
    let judged = asked.ask.criterion.judged;
    match judged.of_baseline(baseline) {
        Some(figure) if figure > 0.0 => Ok(()),
        _ => Err(Failure::usage(
            "the float model finds none of the annotated objects (mAP 0): are these the annotations of these pictures, and is this the right model file?",
        )),
    }
}
