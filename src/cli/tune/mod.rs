//! `detbench tune`: a float model, pictures and a criterion -> the best int8 model that meets the criterion.

mod accuracy;
mod args;
mod evaluator;
mod pictures;
mod report;
mod speed;
mod watch;

use std::collections::BTreeSet;
use std::path::Path;

use sha2::{Digest, Sha256};

use self::accuracy::Truth;
use self::args::Asked;
pub use self::args::TuneArgs;
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
use crate::library::preprocessing::Preprocessing;
use crate::library::{ListedPicture, PictureEntry};
use crate::placement::plan::Placement;
use crate::quantise::order::places;
use crate::quantise::weights::{LEVEL_MAX, LEVEL_MAX_REDUCED};
use crate::quantise::{load, FirstLayers, Granularity, Preset, RangeMethod, Recipe};
use crate::runtime::{Runtime, RuntimeOption};
use crate::scenario::Scenario;
use crate::tune::allowed::Allowed;
use crate::tune::criterion::Judged;
use crate::tune::exit::Ending;
use crate::tune::history::{Conditions, History};
use crate::tune::names::{resolve, NodeNames};
use crate::tune::network::Network;
use crate::tune::settings::Settings;
use crate::tune::strategies;
use crate::tune::tuning::{is_met, Halt, Outcome, Surroundings, Tuning};
use crate::units::{Latency, SampleIndex};

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
    let history_path = args.output.with_extension("history.jsonl");
    check_files(args, &history_path)?;
    let progress = progress_for(args.json);
    let mut subject = subject_of(&args.model, args.model_config.clone(), progress.as_ref())?;
    subject.reading.ask_for_all();
    let file = std::fs::read(&subject.onnx).or_usage()?;
    let graph = load(&file).map_err(|error| about(&subject.onnx, &error))?;
    drop(file);
    let options = args
        .ort
        .iter()
        .map(|pair| RuntimeOption::parse(pair).or_usage());
    let seating = Seating::of(asked.placement.clone(), options.collect::<Result<_, _>>()?)?;
    let placement = seating.place(Scenario::Offline)?;
    let preprocessing = subject.description.input.preprocessing.clone();
    let sizes = &asked.space.calibration_sizes;
    let size = sizes.first().copied().unwrap_or(asked.calibration_size);
    let folder = CalibrationFolder::open(&asked.calibration, &preprocessing, size, asked.seed)?;
    let (listed, truth, mut notes) = evaluation(&asked, &subject)?;
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
    let whole = Recipe {
        first_layers: FirstLayers::Int8,
        ..Recipe::of(Preset::Default)
    };
    let plan = work.plan(&prepared, &whole)?;
    let network = Network::new(places(&prepared.graph, &plan));
    let names = NodeNames::of(&prepared.graph, &prepared.preparation);
    let resolved = resolve(&asked.space, &names).or_usage()?;
    let allowed = Allowed::new(
        &asked.space,
        &resolved,
        &network,
        start(&asked, folder.calibration.len()),
        folder.pictures().len(),
    )
    .or_usage()?;
    notes.splice(0..0, subject.notes.iter().cloned());
    notes.extend(asked.notes.iter().cloned());
    notes.extend(resolved.notes.iter().cloned());
    notes.extend(folder.notes.iter().cloned());

    let few = screened(&folder);
    let is_bytes = asked.space.u8_input == Some(true);
    let forms = |listed: &[ListedPicture], samples: &[SampleIndex]| -> Result<Forms, Failure> {
        let set = |form: &Preprocessing| {
            PictureSet::new("pictures", listed.to_vec(), samples.to_vec(), form)
        };
        let bytes = is_bytes.then(|| set(&as_bytes(&preprocessing)));
        Ok(Forms {
            float: set(&preprocessing)?,
            bytes: bytes.transpose()?,
        })
    };
    let (conditions, is_shared) = conditions(&Under {
        asked: &asked,
        subject: &subject,
        folder: &folder,
        few: &few,
        listed: &listed,
        runtime: &runtime,
        placement: &placement,
        ort: &args.ort,
    })?;
    if is_shared {
        notes.push(
            "some pictures both calibrate and evaluate: accuracy will look better than it is"
                .to_owned(),
        );
    }
    let all: Vec<SampleIndex> = (0..listed.len()).map(index).collect();
    let folder_pictures: Vec<ListedPicture> = folder.pictures().iter().map(relisted).collect();
    let mut bench = Bench::new(&seating, &placement, &runtime, &subject);
    bench.rounds = asked
        .rounds
        .0
        .map_or(bench.rounds, |rounds| (rounds as usize).max(bench.rounds));
    bench.warm_up = asked
        .rounds
        .1
        .map_or(bench.warm_up, |rounds| rounds as usize);
    let parts = Parts {
        subject: &subject,
        runtime: &runtime,
        engine: &engine,
        calibration: &asked.calibration,
        prepared: &prepared,
        plan: &plan,
        few: forms(&folder_pictures, &few)?,
        pictures: forms(&listed, &all)?,
        truth,
        bench,
        output: args.output.clone(),
        seed: asked.seed,
        is_quiet: args.json,
    };
    drop(work);
    let mut real = Real::new(parts, folder)?;
    let mut history = if args.resume {
        History::resume(&history_path, &conditions).or_usage()?
    } else {
        let baseline = real.baseline()?;
        let elapsed = clock.now().since(began);
        History::create(&history_path, args.force, conditions, baseline, elapsed).or_usage()?
    };
    let baseline = history.baseline;
    check_baseline(&asked, &baseline)?;
    let mut watch = Watch::new(network.len(), args.json);
    watch.line(&format!(
        "float model: mAP {}, p50 {:.2} ms, {:.1} MB; {} layers, {} pictures, {} instances of {} threads",
        baseline.map.map_or("-".to_owned(), |map| format!("{map:.4}")),
        Latency::from_nanos(baseline.latency_p50_ns).as_millis_f64(),
        baseline.size_bytes as f64 / 1e6,
        network.len(),
        listed.len(),
        placement.instances.len(),
        placement.instances.first().map_or(0, |one| one.intra_threads),
    ));
    let outcome = tune(
        &asked,
        &allowed,
        &mut real,
        &mut history,
        &mut watch,
        (&clock, began, args.resume),
    )?;
    watch.finish();
    let mut report = Report::new(
        &baseline,
        &asked.ask,
        &outcome,
        args.output.clone(),
        history_path,
    );
    report.pictures = listed.len();
    report.notes = notes;
    if args.json {
        print_json(&report)?;
    } else {
        print_out(&closing(&report, &baseline, &asked.ask, &outcome))?;
    }
    Ok(verdict(&asked, &outcome))
}

/// Runs the strategy. The time before a resumed tuning counts.
fn tune(
    asked: &Asked,
    allowed: &Allowed<'_>,
    real: &mut Real<'_>,
    history: &mut History,
    watch: &mut Watch,
    (clock, began, is_resumed): (&Monotonic, crate::units::Timestamp, bool),
) -> Result<Outcome, Failure> {
    let before = if is_resumed {
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
fn check_files(args: &TuneArgs, history: &Path) -> Result<(), Failure> {
    if args.output.extension().is_none_or(|own| own != "onnx") {
        return Err(Failure::usage(format!(
            "--output {}: the name should end in .onnx",
            args.output.display()
        )));
    }
    if args.resume {
        if history.is_file() {
            return Ok(());
        }
        return Err(Failure::usage(format!(
            "--resume: there is no history {}; leave --resume out to begin",
            history.display()
        )));
    }
    if history.exists() && !args.force {
        return Err(Failure::usage(crate::tune::history::HistoryError::Exists {
            path: history.to_owned(),
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
fn evaluation(
    asked: &Asked,
    subject: &Subject,
) -> Result<(Vec<ListedPicture>, Option<Truth>, Vec<String>), Failure> {
    let annotations = asked.annotations.as_deref();
    let dataset = Dataset::of_folder(&asked.images, annotations, false).or_usage()?;
    let notes = dataset.notes.iter().map(ToString::to_string).collect();
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
    Ok((dataset.pictures, truth, notes))
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
fn check_baseline(asked: &Asked, baseline: &crate::tune::figures::Baseline) -> Result<(), Failure> {
    let judged = asked.ask.criterion.judged;
    match judged.of_baseline(baseline) {
        Some(figure) if figure > 0.0 => Ok(()),
        _ => Err(Failure::usage(
            "the float model finds none of the annotated objects (mAP 0): are these the annotations of these pictures, and is this the right model file?",
        )),
    }
}

/// Everything that decides what is found, besides settings.
struct Under<'a> {
    asked: &'a Asked,
    subject: &'a Subject,
    folder: &'a CalibrationFolder,
    few: &'a [SampleIndex],
    listed: &'a [ListedPicture],
    runtime: &'a Runtime,
    placement: &'a Placement,
    ort: &'a [String],
}

/// The conditions, and whether a picture stands on both sides.
fn conditions(under: &Under<'_>) -> Result<(Conditions, bool), Failure> {
    let own = under.subject;
    let entries = under.folder.pictures();
    let mut calibration = Sha256::new();
    let mut calibrating = BTreeSet::new();
    for entry in entries {
        calibration.update(entry.file_name.as_bytes());
        calibration.update(b"\n");
    }
    for sample in under.folder.calibration.iter().chain(under.few) {
        let bytes = entries[sample.as_usize()].place.read().or_usage()?;
        let hash = Sha256::digest(&bytes);
        calibration.update(hash);
        calibrating.insert(hash);
    }
    let mut evaluation = Sha256::new();
    let mut is_shared = false;
    for picture in under.listed {
        let hash = Sha256::digest(&picture.place.read().or_usage()?);
        evaluation.update(picture.file_name.as_bytes());
        evaluation.update(hash);
        is_shared |= calibrating.contains(&hash);
    }
    if let Some(path) = &under.asked.annotations {
        evaluation.update(std::fs::read(path).or_usage()?);
    }
    let conditions = Conditions {
        model_sha256: own.sha256.clone(),
        calibration_sha256: format!("{:x}", calibration.finalize()),
        evaluation_sha256: format!("{:x}", evaluation.finalize()),
        // How pictures are prepared, anchors, NMS, labels: all of the model file.
        preprocessing: format!("{:x}", Sha256::digest(own.description.to_toml().as_bytes())),
        runtime: under.runtime.version().to_owned(),
        layout: format!(
            "{} {}",
            serde_json::to_string(under.placement).or_environment()?,
            under.ort.join(" ")
        ),
        detbench: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok((conditions, is_shared))
}
