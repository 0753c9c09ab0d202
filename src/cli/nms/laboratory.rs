//! The laboratory behind `detbench nms`: reads heads picture by picture, runs both modes, and hands on what they made.

use std::io::Write;

use super::drawing::draw;
use super::report::{self, Study};
use super::source::Source;
use super::NmsArgs;
use crate::accuracy::matching::Matches;
use crate::accuracy::{score, CocoDetection, CocoScores, GroundTruth};
use crate::cli::categories::categories;
use crate::cli::failure::{Blame, Failure};
use crate::laboratory::bootstrap::{paired, Differences};
use crate::laboratory::compare::{candidates, outcome, Candidates, PictureDifference};
use crate::laboratory::options::default_options;
use crate::laboratory::Overrides;
use crate::postprocess::tflite::Options;
use crate::postprocess::{Detection, NmsMode};

/// Calls that are timed for each picture unless --repeat says otherwise.
const REPEAT: u32 = 9;

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

/// Runs the laboratory.
pub fn run(args: &NmsArgs, overrides: &Overrides, out: &mut impl Write) -> Result<(), Failure> {
    let sweep = sweep(args, overrides)?;
    let mut source = Source::open(args)?;
    let mut settings = study(&mut source, args, &sweep)?;
    if let Some(truth) = &source.truth {
        for setting in &mut settings {
            score_modes(args, &source, truth, setting)?;
        }
    }
    let worst = worst(args, &settings[0]);
    let drawn = match &args.draw {
        Some(folder) => draw(folder, &source, &settings[0], &worst)?,
        None => Vec::new(),
    };
    let study = Study {
        title: &source.title,
        truth: source.truth.as_ref(),
        specimens: &source.specimens,
        settings: &settings,
        worst: &worst,
        drawn: &drawn,
        inference_us: source.inference_us(),
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

/// Runs every mode at every point of the sweep on every picture.
fn study(
    source: &mut Source,
    args: &NmsArgs,
    sweep: &[(String, Overrides)],
) -> Result<Vec<Setting>, Failure> {
    let mut settings: Vec<Setting> = Vec::new();
    let (base, method) = (source.base, source.method);
    let (specimens, reader) = source.parts();
    for specimen in specimens {
        let (heads, position) = reader.read(specimen)?;
        if settings.is_empty() {
            let base = base.unwrap_or_else(|| default_options(heads.columns()));
            settings = begin(args, sweep, base)?;
        }
        for setting in &mut settings {
            setting
                .candidates
                .push(candidates(&heads, position, setting.options, method));
            for mode in &mut setting.modes {
                let made = outcome(
                    &heads,
                    position,
                    setting.options,
                    mode.nms,
                    method,
                    args.repeat.unwrap_or(REPEAT),
                )
                .map_err(|error| {
                    Failure::usage(format!("{}: {error}", specimen.origin().display()))
                })?;
                mode.detections.push(made.detections);
                mode.median_us.push(made.median_us);
            }
        }
    }
    Ok(settings)
}

fn score_modes(
    args: &NmsArgs,
    source: &Source,
    truth: &GroundTruth,
    setting: &mut Setting,
) -> Result<(), Failure> {
    let categories = categories(&source.labels, truth).or_usage()?;
    let image_ids: Vec<i64> = source.specimens.iter().map(|one| one.image_id).collect();
    if let Some(unsized_one) = source
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
        let pictures = source.specimens.iter().zip(&mode.detections);
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
