//! How near one model's answers are to another's, on pictures without labels: dp and agreement.

use super::categories::CommonClasses;
use super::failure::{Blame, Failure};
use super::inference::Inference;
use super::interrupt::is_interrupted;
use super::run::Subject;
use crate::accuracy::{agreement, CocoDetection};
use crate::model::description::Heads;
use crate::postprocess::NmsMode;
use crate::quantise::calibrate::CalibrationPictures;
use crate::quantise::compare::{ProbabilityDifference, SignalOverNoise};
use crate::runtime::Runtime;
use crate::tensor::TensorData;

/// The reference's detections from here on count as if they were labels.
const REFERENCE_SCORE_MIN: f64 = 0.3;

/// How near two models are.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Nearness {
    /// Sum of differences of class probabilities over their sum; `None` without raw heads of the same shape or pictures.
    pub dp: Option<f64>,
    /// mAP of the one's detections with the other's as ground truth; `None` without pictures or detections.
    pub agreement: Option<f64>,
    /// Signal over noise of the class scores as the graph gives them, in decibels; `None` as dp, or where nothing differs.
    pub scores_sqnr_db: Option<f64>,
    /// The same of the box codes.
    pub boxes_sqnr_db: Option<f64>,
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

    fn heads(&self) -> Option<&Heads> {
        self.subject.reading.raw_heads().map(|(raw, _)| &raw.heads)
    }
}

/// Runs the reference and another model on the same pictures, prepared as each takes them; `size` gives width and height of one. Both
/// detect from a low score on with regular NMS, whatever their model files say. An interrupt ends it with the pictures seen until then.
///
/// # Errors
/// A model that cannot run, a picture that cannot be read.
pub fn between(
    [reference, other]: [&mut Subject; 2],
    classes: &CommonClasses,
    runtime: &Runtime,
    mut pictures: [&mut dyn CalibrationPictures; 2],
    size: &dyn Fn(usize) -> (u32, u32),
) -> Result<Nearness, Failure> {
    let mut sides = [Side::open(reference, runtime)?, Side::open(other, runtime)?];
    let heads = same_heads(&sides).filter(|_| classes.are_all());
    let mut apart = heads.map(Apart::of);
    let mut detections: [Vec<CocoDetection>; 2] = Default::default();
    // Names need not hold numbers, nor different ones: the position is an id that fits all.
    let mut ids: Vec<i64> = Vec::new();
    for (at, id) in (0..pictures[0].count()).zip(1_i64..) {
        if is_interrupted() {
            break;
        }
        ids.push(id);
        let mut raw = Vec::new();
        let both = sides.iter_mut().zip(&mut pictures).zip(&mut detections);
        for (which, ((side, pictures), found)) in both.enumerate() {
            side.inference.run(pictures.tensor(at).or_usage()?)?;
            if apart.is_some() {
                raw.push(Raw::of(&side.inference)?);
            }
            let mut detectors = (side.subject.detectors(&[side.mode]))();
            let own = side.inference.detect(detectors[0].as_mut())?;
            found.extend(own.iter().filter_map(|one| {
                let class = classes.of(which, one.class)?;
                Some(CocoDetection::from_detection(one, id, class, size(at)))
            }));
        }
        if let [reference, other] = raw.as_slice() {
            // As many classes, but other anchors: there is nothing to compare one with.
            apart = apart.filter(|_| reference.boxes.len() == other.boxes.len());
            if let Some(apart) = &mut apart {
                apart.add(reference, other);
            }
        }
    }
    let [mut reference, other] = detections;
    reference.retain(|one| one.score >= REFERENCE_SCORE_MIN);
    Ok(Nearness {
        dp: apart.as_ref().and_then(|apart| apart.probabilities.ratio()),
        scores_sqnr_db: apart.as_ref().and_then(|apart| apart.scores.decibels()),
        boxes_sqnr_db: apart.as_ref().and_then(|apart| apart.boxes.decibels()),
        agreement: agreement(&reference, &other, &ids).or_environment()?,
        pictures: ids.len(),
    })
}

/// The raw heads of one picture.
struct Raw {
    boxes: Vec<f32>,
    scores: Vec<f32>,
    probabilities: Vec<f32>,
}

impl Raw {
    fn of(inference: &Inference) -> Result<Self, Failure> {
        let (boxes, probabilities) = inference.raw_heads()?;
        let outputs = inference.outputs()?;
        let scores = match outputs[1].data {
            TensorData::F32(scores) => scores.to_vec(),
            _ => panic!("raw heads are f32"),
        };
        Ok(Self {
            boxes,
            scores,
            probabilities,
        })
    }
}

/// How far the raw heads of two models are apart.
struct Apart {
    heads: Heads,
    probabilities: ProbabilityDifference,
    scores: SignalOverNoise,
    boxes: SignalOverNoise,
}

impl Apart {
    fn of(heads: Heads) -> Self {
        Self {
            heads,
            probabilities: ProbabilityDifference::default(),
            scores: SignalOverNoise::default(),
            boxes: SignalOverNoise::default(),
        }
    }

    fn add(&mut self, reference: &Raw, other: &Raw) {
        let (columns, background) = (self.heads.score_columns() as usize, self.heads.background);
        self.probabilities.add(
            &reference.probabilities,
            &other.probabilities,
            columns,
            background,
        );
        self.scores.add(&reference.scores, &other.scores);
        self.boxes.add(&reference.boxes, &other.boxes);
    }
}

/// The heads, where both models have raw ones with the same columns.
fn same_heads(sides: &[Side<'_>; 2]) -> Option<Heads> {
    let (first, second) = (sides[0].heads()?, sides[1].heads()?);
    let same = first.classes == second.classes && first.background == second.background;
    same.then(|| first.clone())
}
