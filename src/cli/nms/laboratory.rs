//! The laboratory behind `detbench nms`: reads heads picture by picture, runs both modes, and hands on what they made.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::report::{self, Study};
use super::NmsArgs;
use crate::accuracy::matching::Matches;
use crate::accuracy::{score, CocoDetection, CocoScores, GroundTruth, ImageFacts};
use crate::annotate::{annotate, side_by_side, write_png, Mark, EMPHASIS, FAINT, TRUTH};
use crate::cli::categories::categories;
use crate::cli::failure::{Blame, Failure};
use crate::laboratory::bootstrap::{paired, Differences};
use crate::laboratory::compare::{candidates, outcome, Candidates, PictureDifference};
use crate::laboratory::folder::RawFolder;
use crate::laboratory::options::default_options;
use crate::laboratory::{Overrides, Quantizations, RawHeads};
use crate::library::decode::decode;
use crate::model::Labels;
use crate::postprocess::tflite::Options;
use crate::postprocess::{Detection, NmsMode};

/// Calls that are timed for each picture unless --repeat says otherwise.
const REPEAT: u32 = 9;

/// Weaker detections are not drawn: at a low threshold a picture has a hundred of them.
const DRAWN_FROM: f32 = 0.1;

/// A picture under study.
pub struct Specimen {
    archive: PathBuf,
    /// Position in the archive's batch.
    position: usize,
    /// The picture's file, for drawing; its name for people.
    pub picture: PathBuf,
    /// Its id in the ground truth.
    pub image_id: i64,
    size: (u32, u32),
}

/// What the options are at one point of a sweep, and what came of them.
pub struct Setting {
    /// The swept option and its value; empty without a sweep.
    pub set: String,
    /// All options.
    pub options: Options,
    /// By picture.
    pub candidates: Vec<Candidates>,
    /// By mode, in the order asked for.
    pub modes: Vec<ModeResult>,
    /// Regular less fast; with both modes and ground truth.
    pub differences: Option<Differences>,
}

/// What one mode made of all pictures.
pub struct ModeResult {
    /// The mode.
    pub nms: NmsMode,
    /// By picture.
    pub detections: Vec<Vec<Detection>>,
    /// By picture.
    pub median_us: Vec<f64>,
    /// With ground truth.
    pub scores: Option<CocoScores>,
    /// With ground truth.
    pub matches: Option<Matches>,
}

/// Everything that is studied.
struct Bench {
    title: String,
    labels: Labels,
    base: Option<Options>,
    specimens: Vec<Specimen>,
    truth: Option<GroundTruth>,
    quantizations: Quantizations,
}

/// Runs the laboratory.
pub fn run(args: &NmsArgs, overrides: &Overrides, out: &mut impl Write) -> Result<(), Failure> {
    let sweep = sweep(args, overrides)?;
    let bench = Bench::open(args)?;
    let mut settings = bench.study(args, &sweep)?;
    if let Some(truth) = &bench.truth {
        for setting in &mut settings {
            bench.score(args, truth, setting)?;
        }
    }
    let worst = worst(args, &settings[0]);
    let drawn = match &args.draw {
        Some(folder) => bench.draw(folder, &settings[0], &worst)?,
        None => Vec::new(),
    };
    let study = Study {
        title: &bench.title,
        truth: bench.truth.as_ref(),
        specimens: &bench.specimens,
        settings: &settings,
        worst: &worst,
        drawn: &drawn,
        resamples: args.resamples,
        seed: args.seed,
    };
    if args.json {
        report::write_json(out, &study).or_environment()
    } else {
        report::write_text(out, &study).or_environment()
    }
}

/// The options at each point of the sweep, with the words for it.
fn sweep(args: &NmsArgs, overrides: &Overrides) -> Result<Vec<(String, Overrides)>, Failure> {
    let Some(sweep) = &args.sweep else {
        return Ok(vec![(String::new(), overrides.clone())]);
    };
    let (key, values) = sweep.split_once('=').ok_or_else(|| {
        Failure::usage(format!(
            "--sweep {sweep}: give KEY=V1,V2, such as nms_score_threshold=0.01,0.3"
        ))
    })?;
    let points = values.split(',').map(|value| {
        let point = Overrides::parse([format!("{key}={value}")]).or_usage()?;
        Ok((point.describe(), overrides.and(&point)))
    });
    points.collect()
}

impl Bench {
    fn open(args: &NmsArgs) -> Result<Self, Failure> {
        let truth = args.annotations.as_deref().map(GroundTruth::read);
        let truth = truth.transpose().or_usage()?;
        let quantizations = args.quantizations();
        let mut bench = if args.input.is_dir() {
            Self::from_folder(args, truth, quantizations)?
        } else {
            Self::from_archive(args, truth, quantizations)?
        };
        // The matches number the pictures by their ids; so does everything here.
        bench.specimens.sort_by_key(|specimen| specimen.image_id);
        let mut pairs = bench.specimens.windows(2);
        match pairs.find(|pair| pair[0].image_id == pair[1].image_id) {
            None => Ok(bench),
            Some(pair) => Err(Failure::usage(format!(
                "{}: image id {} stands twice",
                args.input.display(),
                pair[0].image_id
            ))),
        }
    }

    fn from_folder(
        args: &NmsArgs,
        truth: Option<GroundTruth>,
        quantizations: Quantizations,
    ) -> Result<Self, Failure> {
        let folder = RawFolder::read(&args.input).or_usage()?;
        let specimens: Vec<Specimen> = folder
            .pictures
            .iter()
            .map(|picture| Specimen {
                archive: args.input.join(&picture.file),
                position: 0,
                picture: moved(args.images.as_deref(), &picture.picture),
                image_id: picture.image_id,
                size: (picture.width, picture.height),
            })
            .collect();
        if specimens.is_empty() {
            let folder = args.input.display();
            return Err(Failure::usage(format!("{folder} lists no pictures")));
        }
        Ok(Self {
            title: folder.model.clone(),
            base: Some(folder.options()),
            labels: folder.labels,
            specimens,
            truth,
            quantizations,
        })
    }

    /// One archive: a picture by its name, or a batch in the order of the annotations' images.
    fn from_archive(
        args: &NmsArgs,
        truth: Option<GroundTruth>,
        quantizations: Quantizations,
    ) -> Result<Self, Failure> {
        let file = args.input.display();
        let heads = RawHeads::read(&args.input, quantizations).or_usage()?;
        let count = heads.picture_count();
        if count == 0 {
            return Err(Failure::usage(format!(
                "{file} holds a batch of no pictures"
            )));
        }
        let facts: Vec<ImageFacts> = match &truth {
            Some(truth) if truth.images().len() == count => truth.images().to_vec(),
            Some(truth) => {
                let stem = args.input.file_stem().unwrap_or_default().to_string_lossy();
                let is_called_so = |image: &&ImageFacts| {
                    stem.parse() == Ok(image.id)
                        || Path::new(&image.file_name).file_stem() == args.input.file_stem()
                };
                match truth.images().iter().find(is_called_so) {
                    Some(image) if count == 1 => vec![image.clone()],
                    _ => {
                        return Err(Failure::usage(format!(
                            "{file} holds {count} pictures and the annotations {}; give as many, or name a single \
                             picture's archive as its picture or its image id",
                            truth.images().len()
                        )))
                    }
                }
            }
            None => (0_i64..)
                .take(count)
                .map(|id| ImageFacts {
                    id,
                    file_name: format!("picture {id}"),
                    width: 1,
                    height: 1,
                })
                .collect(),
        };
        let specimens = facts
            .into_iter()
            .enumerate()
            .map(|(position, image)| Specimen {
                archive: args.input.clone(),
                position,
                picture: moved(args.images.as_deref(), Path::new(&image.file_name)),
                image_id: image.id,
                size: (image.width, image.height),
            });
        Ok(Self {
            title: args.input.display().to_string(),
            labels: Labels::Coco91,
            base: None,
            specimens: specimens.collect(),
            truth,
            quantizations,
        })
    }

    /// Runs every mode at every point of the sweep on every picture.
    fn study(
        &self,
        args: &NmsArgs,
        sweep: &[(String, Overrides)],
    ) -> Result<Vec<Setting>, Failure> {
        let mut settings: Vec<Setting> = Vec::new();
        let mut held: Option<(&Path, RawHeads)> = None;
        for specimen in &self.specimens {
            if held
                .as_ref()
                .is_none_or(|(path, _)| *path != specimen.archive)
            {
                let heads = RawHeads::read(&specimen.archive, self.quantizations).or_usage()?;
                held = Some((&specimen.archive, heads));
            }
            let (_, heads) = held.as_ref().expect("just read");
            if settings.is_empty() {
                let base = self
                    .base
                    .unwrap_or_else(|| default_options(heads.columns()));
                settings = begin(args, sweep, base)?;
            }
            for setting in &mut settings {
                setting
                    .candidates
                    .push(candidates(heads, specimen.position, setting.options));
                for mode in &mut setting.modes {
                    let made = outcome(
                        heads,
                        specimen.position,
                        setting.options,
                        mode.nms,
                        args.tflite_revision.into(),
                        args.repeat.unwrap_or(REPEAT),
                    )
                    .map_err(|error| {
                        Failure::usage(format!("{}: {error}", specimen.archive.display()))
                    })?;
                    mode.detections.push(made.detections);
                    mode.median_us.push(made.median_us);
                }
            }
        }
        Ok(settings)
    }

    fn score(
        &self,
        args: &NmsArgs,
        truth: &GroundTruth,
        setting: &mut Setting,
    ) -> Result<(), Failure> {
        let categories = categories(&self.labels, truth).or_usage()?;
        let image_ids: Vec<i64> = self.specimens.iter().map(|one| one.image_id).collect();
        if let Some(unsized_one) = self
            .specimens
            .iter()
            .find(|one| one.size.0 == 0 || one.size.1 == 0)
        {
            return Err(Failure::usage(format!(
                "the annotations do not say the width and height of image {}, which its boxes need",
                unsized_one.image_id
            )));
        }
        for mode in &mut setting.modes {
            let pictures = self.specimens.iter().zip(&mode.detections);
            let found: Vec<CocoDetection> = pictures
                .flat_map(|(specimen, detections)| {
                    detections.iter().filter_map(|detection| {
                        let category = *categories.get(detection.class as usize)?;
                        Some(CocoDetection::from_detection(
                            detection,
                            specimen.image_id,
                            category?,
                            specimen.size,
                        ))
                    })
                })
                .collect();
            mode.scores = Some(score(truth, &found, Some(&image_ids)).or_usage()?);
            mode.matches = Some(Matches::new(truth, &found, Some(&image_ids)).or_usage()?);
        }
        if let [first, second] = &setting.modes[..] {
            if let (Some(first), Some(second)) = (&first.matches, &second.matches) {
                setting.differences = Some(paired(first, second, args.resamples, args.seed));
            }
        }
        Ok(())
    }

    /// Draws what each mode made of the pictures that differ most; gives the files.
    fn draw(
        &self,
        folder: &Path,
        setting: &Setting,
        worst: &[(usize, PictureDifference)],
    ) -> Result<Vec<PathBuf>, Failure> {
        fs::create_dir_all(folder)
            .map_err(|error| Failure::usage(format!("--draw {}: {error}", folder.display())))?;
        let objects = objects_by_picture(setting);
        let mut written = Vec::new();
        for (rank, (index, difference)) in (1..).zip(worst) {
            let specimen = &self.specimens[*index];
            let file = fs::read(&specimen.picture).map_err(|error| {
                Failure::usage(format!(
                    "{} cannot be read for drawing: {error}; name the folder of the pictures with --images",
                    specimen.picture.display()
                ))
            })?;
            let picture = decode(&file).map_err(|error| {
                Failure::usage(format!("{}: {error}", specimen.picture.display()))
            })?;
            let size = (f64::from(picture.width), f64::from(picture.height));
            let of_truth: Vec<Mark> = objects
                .get(index)
                .into_iter()
                .flatten()
                .map(|&[x, y, width, height]| Mark {
                    edges: [x, y, x + width, y + height],
                    label: String::new(),
                    color: TRUTH,
                    is_dashed: true,
                })
                .collect();
            let panel = |mode: &ModeResult, alone: &[Detection], other: NmsMode| {
                let mut marks = self.marks(alone, size, EMPHASIS);
                marks.extend(self.marks(&difference.both, size, FAINT));
                marks.extend(of_truth.iter().cloned());
                let count = |detections: &[Detection]| {
                    detections
                        .iter()
                        .filter(|detection| is_drawn(detection))
                        .count()
                };
                let title = format!(
                    "{}: {} from score {DRAWN_FROM}, red: {} that {} lacks",
                    mode.nms.name(),
                    count(&mode.detections[*index]),
                    count(alone),
                    other.name()
                );
                (title, annotate(&picture, &marks))
            };
            let [first, second] = &setting.modes[..] else {
                unreachable!("only both modes have a worst picture");
            };
            let (left_title, left) = panel(first, &difference.only_first, second.nms);
            let (right_title, right) = panel(second, &difference.only_second, first.nms);
            let whole = side_by_side(&[(&left_title, &left), (&right_title, &right)]);
            let stem = specimen
                .picture
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy();
            let path = folder.join(format!("{rank:02}-{stem}.png"));
            write_png(&path, &whole)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            written.push(path);
        }
        Ok(written)
    }

    fn marks(
        &self,
        detections: &[Detection],
        (width, height): (f64, f64),
        color: embedded_graphics::pixelcolor::Rgb888,
    ) -> Vec<Mark> {
        let mark = |detection: &Detection| {
            let name = self.labels.name(detection.class);
            let name = name.map_or_else(|| format!("class {}", detection.class), str::to_owned);
            Mark {
                edges: [
                    f64::from(detection.x_min) * width,
                    f64::from(detection.y_min) * height,
                    f64::from(detection.x_max) * width,
                    f64::from(detection.y_max) * height,
                ],
                label: format!("{name} {:.2}", detection.score),
                color,
                is_dashed: false,
            }
        };
        let drawn = detections.iter().filter(|detection| is_drawn(detection));
        drawn.map(mark).collect()
    }
}

fn is_drawn(detection: &Detection) -> bool {
    detection.score >= DRAWN_FROM
}

fn begin(
    args: &NmsArgs,
    sweep: &[(String, Overrides)],
    base: Options,
) -> Result<Vec<Setting>, Failure> {
    let settings = sweep.iter().map(|(set, overrides)| {
        let modes = args.nms.modes().iter().map(|&nms| ModeResult {
            nms,
            detections: Vec::new(),
            median_us: Vec::new(),
            scores: None,
            matches: None,
        });
        Ok(Setting {
            set: set.clone(),
            options: overrides.apply(base).or_usage()?,
            candidates: Vec::new(),
            modes: modes.collect(),
            differences: None,
        })
    });
    settings.collect()
}

/// The pictures on which the two modes differ most, most first; pictures without a difference are left out.
fn worst(args: &NmsArgs, setting: &Setting) -> Vec<(usize, PictureDifference)> {
    let [first, second] = &setting.modes[..] else {
        return Vec::new();
    };
    let pictures = first.detections.iter().zip(&second.detections);
    let mut differences: Vec<(usize, PictureDifference)> = pictures
        .map(|(first, second)| PictureDifference::new(first, second))
        .enumerate()
        .filter(|(_, difference)| difference.weight() > 0.0)
        .collect();
    differences.sort_by(|a, b| b.1.weight().total_cmp(&a.1.weight()));
    differences.truncate(args.worst);
    differences
}

/// Boxes of the ground truth by position of the picture.
fn objects_by_picture(setting: &Setting) -> HashMap<usize, Vec<[f64; 4]>> {
    let mut objects: HashMap<usize, Vec<[f64; 4]>> = HashMap::new();
    let matches = setting.modes.first().and_then(|mode| mode.matches.as_ref());
    for object in matches.iter().flat_map(|matches| &matches.objects) {
        objects.entry(object.picture).or_default().push(object.bbox);
    }
    objects
}

/// A picture's path, in another folder when the user names one.
fn moved(folder: Option<&Path>, picture: &Path) -> PathBuf {
    match (folder, picture.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => picture.to_owned(),
    }
}
