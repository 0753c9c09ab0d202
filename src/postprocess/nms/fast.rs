//! Fast mode: each anchor stands for its best classes, and one walk over the anchors suppresses.

use super::ranking::{index_of, key, BestFirst};
use super::{EncodedBoxes, Nms, ScoreMap, ScoreRows, SuppressorBlocks};
use crate::postprocess::partial_sort::partial_sort;
use crate::postprocess::{Detection, NmsSettings};

/// Memory of the fast mode.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    survivors: SuppressorBlocks,
    /// One row's scores, and its columns in the order of the partial sort (several classes a detection).
    row: Vec<f32>,
    order: Vec<u32>,
}

impl Scratch {
    pub(super) fn new(settings: &NmsSettings, anchors: usize, classes: usize) -> Self {
        let several = if settings.max_classes_per_detection > 1 {
            classes
        } else {
            0
        };
        Self {
            survivors: SuppressorBlocks::with_capacity(
                anchors.min(settings.max_detections as usize),
            ),
            row: Vec::with_capacity(several),
            order: Vec::with_capacity(several),
        }
    }

    /// Leaves the scores of a row in `row` and its `wanted` best columns in `order`.
    fn rank_classes<M: ScoreMap>(
        &mut self,
        scores: &ScoreRows<'_, M>,
        anchor: usize,
        wanted: usize,
    ) {
        self.row.clear();
        self.row
            .extend(scores.row(anchor).iter().map(|&raw| scores.map.score(raw)));
        partial_sort(&self.row, wanted, &mut self.order);
    }
}

impl Nms {
    /// The number of classes that fast mode writes for an anchor.
    pub(super) fn classes_written(&self, classes: usize) -> usize {
        classes.min(self.settings.max_classes_per_detection as usize)
    }

    pub(super) fn suppress_anchors<M: ScoreMap>(
        &mut self,
        scores: &ScoreRows<'_, M>,
        boxes: &EncodedBoxes<'_>,
        detections: &mut Vec<Detection>,
    ) {
        let written = self.classes_written(scores.classes());
        if written > 1 {
            self.replace_best_where_nan(scores, written);
        }
        self.collect_rows(scores.map);
        let Self {
            settings,
            rows,
            fast: scratch,
            ..
        } = self;
        scratch.survivors.clear();
        let mut wanted = settings.max_detections as usize;
        let mut candidates = BestFirst::new(rows);
        while wanted > 0 {
            let Some(candidate) = candidates.next() else {
                break;
            };
            let anchor = index_of(candidate) as usize;
            let corners = boxes.decode(anchor);
            let area = corners.area();
            // A box without area, or of NaN area, neither suppresses nor is suppressed.
            if area > 0.0 {
                if scratch
                    .survivors
                    .suppress(&corners, area, settings.iou_threshold)
                {
                    continue;
                }
                scratch.survivors.push(&corners, area);
            }
            wanted -= 1;
            if written == 1 {
                let (class, score) = best_class(scores, anchor, self.best[anchor]);
                detections.push(Detection::new(&corners, class, score));
            } else {
                scratch.rank_classes(scores, anchor, written);
                detections.extend(
                    scratch.order[..written]
                        .iter()
                        .map(|&class| Detection::new(&corners, class, scratch.row[class as usize])),
                );
            }
        }
    }

    /// Keys of the rows whose best score passes, in `self.rows`.
    pub(super) fn collect_rows<M: ScoreMap>(&mut self, map: M) {
        let lowest = map.lowest_raw(self.settings.score_threshold);
        self.rows.clear();
        self.rows.extend(
            (0..)
                .zip(&self.best)
                .filter(|&(_, &best)| best >= lowest)
                .map(|(anchor, &best)| key(map.score(best), anchor)),
        );
    }

    /// With several classes the op ranks an anchor by the first class of the partial sort, which is the best one
    /// unless NaN confused the heap.
    fn replace_best_where_nan<M: ScoreMap>(&mut self, scores: &ScoreRows<'_, M>, written: usize) {
        for (anchor, best) in self.best.iter_mut().enumerate() {
            let row = scores.row(anchor);
            if row.iter().fold(false, |any, raw| any | raw.is_nan()) {
                self.fast.rank_classes(scores, anchor, written);
                *best = row[self.fast.order[0] as usize];
            }
        }
    }
}

/// The lowest class whose score equals that of the best raw number of the row, and the score.
fn best_class<M: ScoreMap>(scores: &ScoreRows<'_, M>, anchor: usize, best: f32) -> (u32, f32) {
    let score = scores.map.score(best);
    let floor = scores.map.tie_floor(best);
    (0..)
        .zip(scores.row(anchor))
        .filter(|&(_, &raw)| raw >= floor)
        .map(|(class, &raw)| (class, scores.map.score(raw)))
        .find(|&(_, at_class)| at_class == score)
        .expect("the row holds its own best number")
}
