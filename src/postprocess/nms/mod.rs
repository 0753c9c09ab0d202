//! Non-maximum suppression over one picture's scores, in the op's two modes.
//!
//! Input: rows of raw scores and encoded boxes. Output: detections, best first. Knows nothing of tensors,
//! quantisation or output slots.
//!
//! What makes it fast: a row's best score is found first, and decides whether the row is looked at again;
//! candidates are ranked lazily; boxes are decoded when they are compared; no memory is taken after the
//! first call. `benches/postprocess.rs` holds the budget (1917 anchors, 90 classes, a picture on one core):
//! fast 45 / 200 / 200 us and regular 60 / 350 / 2000 us at thresholds 0.3 / 0.01 / 1e-8.

mod fast;
pub mod ranking;
mod regular;

use super::activation::{softmax, Logit, Probability, ScoreMap};
use super::boxes::SuppressorBlocks;
use super::decode::{DecodedBoxes, EncodedBoxes};
use super::scan::{best_of, best_of_rows, best_or_nan, greater};
use super::tflite::Revision;
use super::{Detection, NmsMode, NmsSettings};

/// One picture's score head.
///
/// *Shape*: `raw` is `[anchors, columns]`; the columns from `label_offset` on are the classes.
#[derive(Debug, Clone, Copy)]
pub struct ScoreRows<'a, M> {
    /// The numbers of the head.
    pub raw: &'a [f32],
    /// Numbers in a row.
    pub columns: usize,
    /// Columns before the first class: 1 with a background column, else 0.
    pub label_offset: usize,
    /// What the numbers mean.
    pub map: M,
}

impl<M: ScoreMap> ScoreRows<'_, M> {
    /// How many anchors there are.
    pub fn anchors(&self) -> usize {
        self.raw.len() / self.columns
    }

    /// How many classes there are, background not counted.
    pub fn classes(&self) -> usize {
        self.columns - self.label_offset
    }

    /// The raw numbers of an anchor's classes.
    pub fn row(&self, anchor: usize) -> &[f32] {
        let start = anchor * self.columns;
        &self.raw[start + self.label_offset..start + self.columns]
    }
}

/// The suppressor and all its scratch space.
///
/// Settings are trusted: [`NmsSettings::check`] comes first.
#[derive(Debug, Clone)]
pub struct Nms {
    mode: NmsMode,
    settings: NmsSettings,
    revision: Revision,
    /// Each row's best raw number; NaN where the row cannot have a candidate.
    best: Vec<f32>,
    /// Probabilities of the rows that softmax had to be computed for; the others are stale.
    activated: Vec<f32>,
    exponentials: Vec<f64>,
    /// Keys of the rows that have a candidate.
    rows: Vec<u64>,
    fast: fast::Scratch,
    regular: regular::Scratch,
}

impl Nms {
    /// A suppressor with room for heads of `anchors` and `classes`.
    pub fn new(mode: NmsMode, settings: NmsSettings, anchors: usize, classes: usize) -> Self {
        let (fast, regular) = match mode {
            NmsMode::Fast => (
                fast::Scratch::new(&settings, anchors, classes),
                regular::Scratch::default(),
            ),
            NmsMode::Regular => (
                fast::Scratch::default(),
                regular::Scratch::new(&settings, anchors, classes),
            ),
        };
        Self {
            mode,
            settings,
            revision: Revision::default(),
            best: Vec::with_capacity(anchors),
            activated: Vec::new(),
            exponentials: Vec::new(),
            rows: Vec::with_capacity(anchors),
            fast,
            regular,
        }
    }

    /// The same suppressor with another order of equal scores of several classes.
    #[must_use]
    pub fn with_revision(self, revision: Revision) -> Self {
        Self { revision, ..self }
    }

    /// Replaces the contents of `detections` with what survives, best first.
    ///
    /// Fast mode with several classes a detection writes that many entries for each surviving anchor, the
    /// anchor's classes in their order.
    pub fn run<M: ScoreMap>(
        &mut self,
        scores: &ScoreRows<'_, M>,
        boxes: &EncodedBoxes<'_>,
        detections: &mut Vec<Detection>,
    ) {
        best_of_rows(
            scores.raw,
            scores.columns,
            scores.label_offset,
            &mut self.best,
        );
        self.suppress(scores, boxes, detections);
    }

    /// As [`Self::run`] on the [`softmax`] of each row of logits, background column included.
    pub fn run_softmax(
        &mut self,
        logits: &ScoreRows<'_, Logit>,
        boxes: &EncodedBoxes<'_>,
        detections: &mut Vec<Detection>,
    ) {
        let mut activated = std::mem::take(&mut self.activated);
        activated.resize(logits.raw.len(), 0.0);
        let floor = softmax_floor(self.settings.score_threshold);
        let ScoreRows {
            columns,
            label_offset,
            ..
        } = *logits;
        best_of_rows(logits.raw, columns, label_offset, &mut self.best);
        let rows = logits
            .raw
            .chunks_exact(columns)
            .zip(activated.chunks_exact_mut(columns));
        for ((row, activated), best) in rows.zip(&mut self.best) {
            let largest = greater(*best, best_of(&row[..label_offset]));
            if f64::from(*best) - f64::from(largest) < floor {
                *best = f32::NAN;
            } else {
                softmax(row, activated, &mut self.exponentials);
                *best = best_or_nan(&activated[label_offset..]);
            }
        }
        let scores = ScoreRows {
            raw: &activated,
            columns,
            label_offset,
            map: Probability,
        };
        self.suppress(&scores, boxes, detections);
        self.activated = activated;
    }

    fn suppress<M: ScoreMap>(
        &mut self,
        scores: &ScoreRows<'_, M>,
        boxes: &EncodedBoxes<'_>,
        detections: &mut Vec<Detection>,
    ) {
        detections.clear();
        if scores.classes() == 0 {
            return;
        }
        match self.mode {
            NmsMode::Fast => self.suppress_anchors(scores, boxes, detections),
            NmsMode::Regular => self.suppress_classes(scores, boxes, detections),
        }
    }
}

/// How far below its row's best logit a logit may lie if its softmax is to reach `threshold`.
///
/// A softmax is at most `exp(logit - best)`. The margins are far above what rounding can do, which is much for
/// subnormal numbers: half of the smallest one still rounds to it.
fn softmax_floor(threshold: f32) -> f64 {
    if threshold >= f32::MIN_POSITIVE {
        f64::from(threshold).ln() - 1e-5
    } else if threshold > 0.0 {
        f64::from(threshold).ln() - 1.0
    } else {
        f64::NEG_INFINITY
    }
}
