//! `detbench detect`: the detections of a few pictures, as JSON and as pictures to look at.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::detector_args::{ModelArgs, RuntimeArgs, ThresholdArgs};
use super::failure::{Blame, Failure};
use super::inference::Inference;
use super::run::args::NmsArg;
use super::run::{load_runtime, Subject, SubjectRequest};
use super::setup::progress_for;
use crate::annotate::{annotate, color, write_png, Mark};
use crate::dataset::locate::is_picture;
use crate::dataset::records::shard::Shard;
use crate::dataset::{Dataset, Request};
use crate::library::decode::decode;
use crate::library::preprocessing::ElementType;
use crate::library::{Place, Preprocessor, SampleMut};
use crate::model::description::Weights;
use crate::postprocess::{Detection, NmsMode};
use crate::tensor::{TensorBuffer, TensorView};

const POST: &str = "How detections are made";

/// Detect the objects in pictures: JSON on stdout, and annotated pictures with --draw
#[derive(Debug, Clone, Args)]
pub struct DetectArgs {
    /// JPEG or PNG files, folders of them, or any data set that `run --dataset` takes
    #[arg(value_name = "PICTURE|DATASET", required = true)]
    pub pictures: Vec<PathBuf>,
    /// Write each picture with its detections drawn on it as PNG into this folder
    #[arg(long, value_name = "DIR")]
    pub draw: Option<PathBuf>,
    /// Taken for granted: the answer is always one JSON document
    #[arg(long, hide = true)]
    pub json: bool,

    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// ONNX Runtime.
    #[command(flatten)]
    pub runtime: RuntimeArgs,

    /// Regular or fast NMS [default: regular; none for graphs that end in detections]
    #[arg(long, value_enum, help_heading = POST)]
    pub nms: Option<OneMode>,
    /// Thresholds and limits.
    #[command(flatten)]
    pub thresholds: ThresholdArgs,
}

/// `--nms` of a verb that uses one mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OneMode {
    /// Class by class.
    Regular,
    /// One class-agnostic pass.
    Fast,
}

impl OneMode {
    const fn as_run_has_it(self) -> NmsArg {
        match self {
            Self::Regular => NmsArg::Regular,
            Self::Fast => NmsArg::Fast,
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    model: &'a str,
    /// Synthetic ones find nothing that means anything.
    weights: Weights,
    /// Null where NMS is the graph's own.
    nms: Option<NmsMode>,
    pictures: Vec<PictureAnswer>,
}

#[derive(Serialize)]
struct PictureAnswer {
    file: PathBuf,
    width: u32,
    height: u32,
    detections: Vec<Found>,
    drawn: Option<PathBuf>,
}

#[derive(Serialize)]
struct Found {
    label: String,
    /// From zero, without background.
    class: u32,
    score: f32,
    /// `[y_min, x_min, y_max, x_max]`, shares of the picture, not clipped.
    r#box: [f32; 4],
    /// `[x, y, width, height]` in pixels.
    bbox: [f32; 4],
}

/// Runs the verb and writes its document to `out`.
///
/// # Errors
/// [`Failure`]: pictures that cannot be read, a model that cannot be found or run.
pub fn run(args: &DetectArgs, out: &mut impl Write) -> Result<(), Failure> {
    if let Some(folder) = &args.draw {
        fs::create_dir_all(folder)
            .map_err(|error| Failure::usage(format!("--draw {}: {error}", folder.display())))?;
    }
    let places = places(&args.pictures)?;
    let progress = progress_for(true);
    let nms = args.nms.unwrap_or(OneMode::Regular).as_run_has_it();
    let asked = SubjectRequest {
        model: &args.model,
        thresholds: &args.thresholds,
        nms,
        names_mode: args.nms.is_some(),
    };
    let subject = Subject::prepare(asked, progress.as_ref())?;
    let mode = subject.modes(nms)[0];
    let runtime = load_runtime(args.runtime.ort_lib.as_deref(), progress.as_ref())?;
    drop(progress);
    let mut look = Look {
        preprocessor: Preprocessor::new(&subject.description.input.preprocessing),
        inference: Inference::open(&subject, &runtime)?,
        subject: &subject,
        mode,
        draw: args.draw.as_deref(),
        names: BTreeMap::new(),
    };
    let pictures = places.iter().map(|(file, place)| look.at(file, place));
    let document = Document {
        schema_version: 1,
        model: &subject.description.name,
        weights: subject.description.weights,
        nms: mode,
        pictures: pictures.collect::<Result<_, _>>()?,
    };
    serde_json::to_writer(&mut *out, &document).or_environment()?;
    writeln!(out).or_environment()
}

/// Each picture by what it is called and where it is; a data set's pictures in its order.
fn places(named: &[PathBuf]) -> Result<Vec<(PathBuf, Place)>, Failure> {
    let mut places = Vec::new();
    for path in named {
        let is_picture = path.is_file() && is_picture(path);
        if is_picture || !path.exists() || !(path.is_dir() || is_record_file(path)) {
            // What is no picture is told of when it is decoded, as before it was a data set.
            places.push((path.clone(), Place::File(path.clone())));
            continue;
        }
        let dataset = Dataset::open(&Request {
            path,
            annotations: None,
            split: None,
            skip_missing: true,
            threads: NonZeroUsize::MIN,
        })
        .or_usage()?;
        places.extend(
            dataset
                .pictures
                .into_iter()
                .map(|picture| match picture.place {
                    Place::File(path) => (path.clone(), Place::File(path)),
                    part @ Place::Part { .. } => (PathBuf::from(picture.file_name), part),
                }),
        );
    }
    Ok(places)
}

/// Whether a file is called as records are.
fn is_record_file(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| Shard::parse(name).is_some())
}

/// What looks at one picture after the other.
struct Look<'a> {
    preprocessor: Preprocessor,
    inference: Inference,
    subject: &'a Subject,
    mode: Option<NmsMode>,
    draw: Option<&'a Path>,
    /// How many drawings have each name already.
    names: BTreeMap<String, u32>,
}

impl Look<'_> {
    fn at(&mut self, file: &Path, place: &Place) -> Result<PictureAnswer, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::usage(format!("{place}: {error}"));
        let bytes = place.read().map_err(|error| failed(&error))?;
        let picture = decode(&bytes).map_err(|error| failed(&error))?;
        let preprocessing = &self.subject.description.input.preprocessing;
        let mut buffer = match preprocessing.element {
            ElementType::F32 => TensorBuffer::F32(vec![0.0; preprocessing.sample_elements()]),
            ElementType::U8 => TensorBuffer::U8(vec![0; preprocessing.sample_elements()]),
        };
        let sample = match &mut buffer {
            TensorBuffer::F32(elements) => SampleMut::F32(elements),
            TensorBuffer::U8(elements) => SampleMut::U8(elements),
        };
        self.preprocessor.prepare(&picture, sample);
        let shape = preprocessing.sample_shape();
        self.inference.run(TensorView {
            shape: &shape,
            data: buffer.data(),
        })?;
        let mut detectors = (self.subject.detectors(&[self.mode]))();
        let detections = self.inference.detect(detectors[0].as_mut())?;
        let size = (picture.width as f32, picture.height as f32);
        let drawn = match self.draw {
            Some(folder) => {
                let path = folder.join(self.drawing_name(file));
                write_png(&path, &annotate(&picture, &self.marks(&detections, size))).map_err(
                    |error| Failure::environment(format!("{}: {error}", path.display())),
                )?;
                Some(path)
            }
            None => None,
        };
        Ok(PictureAnswer {
            file: file.to_owned(),
            width: picture.width,
            height: picture.height,
            detections: detections.iter().map(|one| self.found(one, size)).collect(),
            drawn,
        })
    }

    fn label(&self, class: u32) -> String {
        let name = self.subject.description.labels.name(class);
        name.map_or_else(|| format!("class {class}"), str::to_owned)
    }

    fn found(&self, detection: &Detection, (width, height): (f32, f32)) -> Found {
        let Detection {
            y_min,
            x_min,
            y_max,
            x_max,
            score,
            class,
        } = *detection;
        Found {
            label: self.label(class),
            class,
            score,
            r#box: [y_min, x_min, y_max, x_max],
            bbox: [
                x_min * width,
                y_min * height,
                (x_max - x_min) * width,
                (y_max - y_min) * height,
            ],
        }
    }

    /// A mark for each detection; classes get their colours in the order of their best detections.
    fn marks(&self, detections: &[Detection], (width, height): (f32, f32)) -> Vec<Mark> {
        let mut classes: Vec<u32> = Vec::new();
        let mark = |detection: &Detection| {
            let known = classes.iter().position(|&class| class == detection.class);
            let index = known.unwrap_or_else(|| {
                classes.push(detection.class);
                classes.len() - 1
            });
            Mark {
                edges: [
                    detection.x_min * width,
                    detection.y_min * height,
                    detection.x_max * width,
                    detection.y_max * height,
                ]
                .map(f64::from),
                label: format!("{} {:.2}", self.label(detection.class), detection.score),
                color: color(index),
                is_dashed: false,
                gives_way: false,
            }
        };
        detections.iter().map(mark).collect()
    }

    /// `dog.png`; a second picture of that name becomes `dog-2.png`.
    fn drawing_name(&mut self, file: &Path) -> String {
        let stem = file
            .file_stem()
            .unwrap_or(file.as_os_str())
            .to_string_lossy()
            .into_owned();
        let count = self.names.entry(stem.clone()).or_insert(0);
        *count += 1;
        match *count {
            1 => format!("{stem}.png"),
            count => format!("{stem}-{count}.png"),
        }
    }
}
