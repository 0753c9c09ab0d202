//! Regular mode: suppression within each class, then the best of all classes.
//!
//! The op works class by class and merges. A greedy walk never depends on what comes after, so walking *all*
//! pairs of a class and an anchor best first (equal scores: lower class, then lower anchor), each against the
//! survivors of its own class, meets the same survivors in the order of the merged list, and may stop at the last
//! one wanted.

use super::ranking::{index_of, key, score_of, BestFirst};
use super::{DecodedBoxes, EncodedBoxes, Nms, ScoreMap, ScoreRows};
use crate::postprocess::boxes::{overlap_exceeds, Corners};
use crate::postprocess::tflite::Revision;
use crate::postprocess::{Detection, NmsSettings};

/// The end of a class's list of survivors.
const NOBODY: u32 = u32::MAX;

/// Memory of the regular mode.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    /// Keys of the pairs of a level; the index is `rank of the class * anchors + anchor`.
    pairs: Vec<u64>,
    decoded: DecodedBoxes,
    classes: Vec<ClassSurvivors>,
    survivors: Vec<Survivor>,
}

/// What has survived of a class so far.
#[derive(Debug, Clone, Copy)]
struct ClassSurvivors {
    count: u32,
    /// The last survivor with an area, in `Scratch::survivors`.
    last: u32,
}

#[derive(Debug, Clone, Copy)]
struct Survivor {
    corners: Corners,
    area: f32,
    /// The one before it in its class.
    previous: u32,
}

/// Scores of a level: from `lowest` up to, not including, those from `end` on; both raw.
#[derive(Debug, Clone, Copy)]
struct Level {
    lowest: f32,
    /// NaN for no end.
    end: f32,
}

impl Level {
    fn holds(self, raw: f32) -> bool {
        raw >= self.lowest && (raw < self.end || self.end.is_nan())
    }
}

/// The place of a class among equal scores, and the class in a place.
fn rank(class: u32, last_class: u32, revision: Revision) -> u32 {
    match revision {
        Revision::R3 => class,
        Revision::R2 => last_class - class,
    }
}

impl Scratch {
    pub(super) fn new(settings: &NmsSettings, anchors: usize, classes: usize) -> Self {
        let pairs = anchors * classes;
        let mut decoded = DecodedBoxes::default();
        decoded.begin(anchors);
        Self {
            // Seldom filled: memory that is not touched costs nothing but addresses.
            pairs: Vec::with_capacity(pairs),
            decoded,
            classes: Vec::with_capacity(classes),
            survivors: Vec::with_capacity(pairs.min(settings.max_detections as usize)),
        }
    }

    fn begin(&mut self, anchors: usize, classes: usize) {
        self.decoded.begin(anchors);
        self.classes.clear();
        self.classes.resize(
            classes,
            ClassSurvivors {
                count: 0,
                last: NOBODY,
            },
        );
        self.survivors.clear();
    }

    /// Whether a box overlaps a survivor of its class by more than `threshold`; if not it becomes one.
    fn admits(&mut self, class: usize, corners: &Corners, threshold: f32) -> bool {
        let area = corners.area();
        let entry = &mut self.classes[class];
        // A box without area, or of NaN area, neither suppresses nor is suppressed.
        if area > 0.0 {
            let mut at = entry.last;
            while at != NOBODY {
                let survivor = &self.survivors[at as usize];
                if overlap_exceeds(
                    (&survivor.corners, survivor.area),
                    (corners, area),
                    threshold,
                ) {
                    return false;
                }
                at = survivor.previous;
            }
            let previous = std::mem::replace(&mut entry.last, self.survivors.len() as u32);
            self.survivors.push(Survivor {
                corners: *corners,
                area,
                previous,
            });
        }
        entry.count += 1;
        true
    }
}

impl Nms {
    /// Walks the pairs in levels of falling scores, so that a low threshold does not mean ranking all pairs.
    ///
    /// A level's lower end is the best score of some row: that row and all better ones have a pair in it.
    pub(super) fn suppress_classes<M: ScoreMap>(
        &mut self,
        scores: &ScoreRows<'_, M>,
        boxes: &EncodedBoxes<'_>,
        detections: &mut Vec<Detection>,
    ) {
        self.collect_rows(scores.map);
        self.regular.begin(scores.anchors(), scores.classes());
        let wanted = self.settings.max_detections as usize;
        let mut level = Level {
            lowest: f32::NAN,
            end: f32::NAN,
        };
        // Twice as many rows as detections are wanted is mostly enough, suppression included.
        let mut rows = 2 * wanted;
        loop {
            let is_last = rows >= self.rows.len();
            let lowest_score = if is_last {
                self.settings.score_threshold
            } else {
                score_of(*self.rows.select_nth_unstable(rows).1)
            };
            level = Level {
                lowest: scores.map.lowest_raw(lowest_score),
                end: level.lowest,
            };
            self.collect_pairs(scores, level);
            self.walk(scores, boxes, detections);
            if is_last || detections.len() == wanted {
                return;
            }
            rows *= 4;
        }
    }

    /// Keys of the pairs of a level.
    fn collect_pairs<M: ScoreMap>(&mut self, scores: &ScoreRows<'_, M>, level: Level) {
        const LANES: usize = 16;
        let anchors = scores.anchors() as u32;
        let last_class = scores.classes() as u32 - 1;
        let revision = self.revision;
        let pairs = &mut self.regular.pairs;
        pairs.clear();
        for anchor in self.rows.iter().map(|&row| index_of(row)) {
            if self.best[anchor as usize] < level.lowest {
                continue;
            }
            for (first, chunk) in (0..)
                .step_by(LANES)
                .zip(scores.row(anchor as usize).chunks(LANES))
            {
                // Most chunks hold nothing; one branch for all of them.
                if !chunk.iter().fold(false, |any, &raw| any | level.holds(raw)) {
                    continue;
                }
                for (class, &raw) in (first..).zip(chunk) {
                    if level.holds(raw) {
                        let rank = rank(class, last_class, revision);
                        pairs.push(key(scores.map.score(raw), rank * anchors + anchor));
                    }
                }
            }
        }
    }

    fn walk<M: ScoreMap>(
        &mut self,
        scores: &ScoreRows<'_, M>,
        boxes: &EncodedBoxes<'_>,
        detections: &mut Vec<Detection>,
    ) {
        let Self {
            settings,
            revision,
            regular: scratch,
            ..
        } = self;
        let anchors = scores.anchors() as u32;
        let last_class = scores.classes() as u32 - 1;
        let mut pairs = std::mem::take(&mut scratch.pairs);
        let mut candidates = BestFirst::new(&mut pairs);
        while detections.len() < settings.max_detections as usize {
            let Some(candidate) = candidates.next() else {
                break;
            };
            let (of_class, anchor) = (index_of(candidate) / anchors, index_of(candidate) % anchors);
            let class = rank(of_class, last_class, *revision);
            if scratch.classes[class as usize].count >= settings.detections_per_class {
                continue;
            }
            let corners = scratch.decoded.get(boxes, anchor as usize);
            if scratch.admits(class as usize, &corners, settings.iou_threshold) {
                let raw = scores.row(anchor as usize)[class as usize];
                detections.push(Detection::new(&corners, class, scores.map.score(raw)));
            }
        }
        scratch.pairs = pairs;
    }
}
