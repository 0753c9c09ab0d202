//! How near the int8 model is to the float one, on pictures that did not calibrate.

use std::path::Path;

use super::pictures::{CalibrationFolder, Others};
use crate::accuracy::{agreement, CocoDetection};
use crate::cli::failure::{Blame, Failure};
use crate::cli::inference::Inference;
use crate::cli::run::Subject;
use crate::postprocess::NmsMode;
use crate::quantise::calibrate::CalibrationPictures;
use crate::quantise::compare::ProbabilityDifference;
use crate::runtime::Runtime;

/// The float model's detections from here on count as if they were labels.
const REFERENCE_SCORE_MIN: f64 = 0.3;

/// How near two models are.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Nearness {
    /// Sum of differences of class probabilities over their sum; `None` without raw heads or pictures.
    pub dp: Option<f64>,
    /// mAP of the one's detections with the other's as ground truth; `None` without pictures or detections.
    pub agreement: Option<f64>,
    /// Pictures compared on.
    pub pictures: usize,
}

/// One of the two models.
struct Side<'a> {
    subject: &'a Subject,
    mode: Option<NmsMode>,
    inference: Inference,
}

impl<'a> Side<'a> {
    fn open(subject: &'a mut Subject, runtime: &Runtime) -> Result<Self, Failure> {
        subject.reading.ask_for_all();
        let mode = subject.reading.raw_heads().map(|_| NmsMode::Regular);
        Ok(Self {
            mode,
            inference: Inference::open(subject, runtime)?,
            subject,
        })
    }
}

/// Runs both on the pictures that did not calibrate.
pub fn compare(
    reference: &mut Subject,
    other: &mut Subject,
    runtime: &Runtime,
    folder: &CalibrationFolder,
    path: &Path,
) -> Result<Nearness, Failure> {
    if folder.others.is_empty() {
        return Ok(Nearness::default());
    }
    let of = |subject: &Subject| folder.others_for(&subject.description.input.preprocessing, path);
    let others: [Others; 2] = [of(reference)?, of(other)?];
    let mut pictures = [others[0].prepared(), others[1].prepared()];
    let mut sides = [Side::open(reference, runtime)?, Side::open(other, runtime)?];
    let heads = sides[0].subject.reading.raw_heads();
    let heads = heads.map(|(raw, _)| raw.heads.clone());
    let count = others[0].len();
    // Names need not hold numbers, nor different ones: the position is an id that fits all.
    let ids: Vec<i64> = (1_i64..).take(count).collect();
    let mut difference = ProbabilityDifference::default();
    let mut detections: [Vec<CocoDetection>; 2] = Default::default();
    for (at, &id) in ids.iter().enumerate() {
        let mut probabilities = Vec::new();
        let both = sides.iter_mut().zip(&mut pictures).zip(&mut detections);
        for ((side, pictures), found) in both {
            side.inference.run(pictures.tensor(at).or_usage()?)?;
            if heads.is_some() {
                probabilities.push(side.inference.raw_heads()?.1);
            }
            let mut detectors = (side.subject.detectors(&[side.mode]))();
            let own = side.inference.detect(detectors[0].as_mut())?;
            // Any numbering of the classes will do, as long as it is the same on both sides.
            found.extend(own.iter().map(|one| {
                CocoDetection::from_detection(one, id, i64::from(one.class) + 1, others[0].size(at))
            }));
        }
        if let (Some(heads), [reference, other]) = (&heads, probabilities.as_slice()) {
            let columns = heads.score_columns() as usize;
            difference.add(reference, other, columns, heads.background);
        }
    }
    let [mut reference, other] = detections;
    reference.retain(|one| one.score >= REFERENCE_SCORE_MIN);
    Ok(Nearness {
        dp: difference.ratio(),
        agreement: agreement(&reference, &other, &ids).or_environment()?,
        pictures: count,
    })
}
