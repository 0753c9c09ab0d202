//! Boxes by their corners, their areas and their overlap.

/// A box by its corners; in a picture's own units, usually shares of its height and width.
///
/// Degenerate boxes (no area, infinite or NaN corners) are ordinary values here: the op lets
/// them through, and the rules below say what becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Corners {
    /// Top edge.
    pub y_min: f32,
    /// Left edge.
    pub x_min: f32,
    /// Bottom edge.
    pub y_max: f32,
    /// Right edge.
    pub x_max: f32,
}

impl Corners {
    /// Height times width; NaN when a side is.
    pub fn area(&self) -> f32 {
        (self.y_max - self.y_min) * (self.x_max - self.x_min)
    }

    /// Whether an edge lies on the wrong side of its opposite; NaN edges do not.
    pub fn is_inverted(&self) -> bool {
        self.y_min > self.y_max || self.x_min > self.x_max
    }

    /// `[y_min, x_min, y_max, x_max]`, the order of the op's output.
    pub const fn to_array(self) -> [f32; 4] {
        [self.y_min, self.x_min, self.y_max, self.x_max]
    }
}

/// The larger of two numbers; `a` unless `a < b`, which is not what [`f32::max`] does with NaN.
fn larger(a: f32, b: f32) -> f32 {
    if a < b {
        b
    } else {
        a
    }
}

/// The smaller of two numbers; `a` unless `b < a`.
fn smaller(a: f32, b: f32) -> f32 {
    if b < a {
        b
    } else {
        a
    }
}

/// The area that two boxes share.
pub fn intersection(a: &Corners, b: &Corners) -> f32 {
    let height = smaller(a.y_max, b.y_max) - larger(a.y_min, b.y_min);
    let width = smaller(a.x_max, b.x_max) - larger(a.x_min, b.x_min);
    larger(0.0, height) * larger(0.0, width)
}

/// Intersection over union as the op computes it, step by step in `f32`.
///
/// Zero when either box has no area, NaN when an area is NaN (and NaN exceeds no threshold).
pub fn iou(a: &Corners, b: &Corners) -> f32 {
    let (area_a, area_b) = (a.area(), b.area());
    if area_a <= 0.0 || area_b <= 0.0 {
        return 0.0;
    }
    let shared = intersection(a, b);
    shared / (area_a + area_b - shared)
}

/// Whether two boxes of the given *positive* areas overlap by more than `threshold`, which is positive.
///
/// Says what `iou(a, b) > threshold` says, and divides only when it has to: a rounded quotient above
/// `threshold` means `shared > threshold * union` before rounding, and rounding the right side cannot
/// lift it above the left one, which needs no rounding.
pub fn overlap_exceeds(
    (a, area_a): (&Corners, f32),
    (b, area_b): (&Corners, f32),
    threshold: f32,
) -> bool {
    let shared = intersection(a, b);
    let union = area_a + area_b - shared;
    shared >= threshold * union && shared / union > threshold
}

/// Boxes in a block of [`SuppressorBlocks`]; two SSE registers of each edge.
const LANES: usize = 8;

/// [`LANES`] boxes, edge by edge, so that one instruction looks at several.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    y_min: [f32; LANES],
    x_min: [f32; LANES],
    y_max: [f32; LANES],
    x_max: [f32; LANES],
    area: [f32; LANES],
}

/// A growing set of boxes of positive area that can be asked whether one of them suppresses another.
#[derive(Debug, Clone, Default)]
pub struct SuppressorBlocks {
    blocks: Vec<Block>,
    len: usize,
}

impl SuppressorBlocks {
    /// An empty set that holds `capacity` boxes without allocating.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            blocks: Vec::with_capacity(capacity.div_ceil(LANES)),
            len: 0,
        }
    }

    /// Empties the set and keeps its memory.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.len = 0;
    }

    /// Adds a box of positive area.
    pub fn push(&mut self, corners: &Corners, area: f32) {
        let lane = self.len % LANES;
        if lane == 0 {
            self.blocks.push(Block::default());
        }
        let block = &mut self.blocks[self.len / LANES];
        block.y_min[lane] = corners.y_min;
        block.x_min[lane] = corners.x_min;
        block.y_max[lane] = corners.y_max;
        block.x_max[lane] = corners.x_max;
        block.area[lane] = area;
        self.len += 1;
    }

    /// Whether the IoU of a box of positive `area` with one of the set is above `threshold`.
    pub fn suppress(&self, corners: &Corners, area: f32, threshold: f32) -> bool {
        self.blocks
            .iter()
            .any(|block| block.suppresses(corners, area, threshold))
    }
}

impl Block {
    /// As [`overlap_exceeds`] for each box; a lane not in use has area 0, shares nothing and exceeds nothing.
    fn suppresses(&self, corners: &Corners, area: f32, threshold: f32) -> bool {
        let mut shared = [0.0_f32; LANES];
        let mut union = [0.0_f32; LANES];
        let mut suspicious = false;
        for lane in 0..LANES {
            let height =
                smaller(corners.y_max, self.y_max[lane]) - larger(corners.y_min, self.y_min[lane]);
            let width =
                smaller(corners.x_max, self.x_max[lane]) - larger(corners.x_min, self.x_min[lane]);
            shared[lane] = larger(0.0, height) * larger(0.0, width);
            union[lane] = area + self.area[lane] - shared[lane];
            suspicious |= shared[lane] >= threshold * union[lane];
        }
        suspicious && (0..LANES).any(|lane| shared[lane] / union[lane] > threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn corners(y_min: f32, x_min: f32, y_max: f32, x_max: f32) -> Corners {
        Corners {
            y_min,
            x_min,
            y_max,
            x_max,
        }
    }

    #[test]
    fn half_covered_boxes_overlap_by_a_third() {
        let a = corners(0.0, 0.0, 1.0, 2.0);
        let b = corners(0.0, 1.0, 1.0, 3.0);
        assert_eq!(iou(&a, &b), 1.0 / 3.0);
    }

    #[test]
    fn a_box_without_area_overlaps_nothing_not_even_itself() {
        let flat = corners(0.5, 0.0, 0.5, 1.0);
        assert_eq!(iou(&flat, &flat), 0.0);
        let inverted = corners(1.0, 0.0, 0.0, 1.0);
        assert!(inverted.is_inverted());
        assert_eq!(iou(&inverted, &corners(0.0, 0.0, 1.0, 1.0)), 0.0);
    }

    #[test]
    fn a_nan_edge_gives_a_nan_overlap_and_is_not_inverted() {
        let broken = corners(f32::NAN, 0.0, 1.0, 1.0);
        assert!(!broken.is_inverted());
        assert!(iou(&broken, &corners(0.0, 0.0, 1.0, 1.0)).is_nan());
    }

    fn edge() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => (0u8..12).prop_map(|v| f32::from(v) / 8.0),
            4 => -0.5f32..1.5,
            1 => prop::sample::select(vec![1e-30, 1e-42, 1e30, f32::INFINITY, f32::NEG_INFINITY]),
        ]
    }

    fn solid_box() -> impl Strategy<Value = Corners> {
        (edge(), edge(), edge(), edge())
            .prop_map(|(y_min, x_min, y_max, x_max)| corners(y_min, x_min, y_max, x_max))
            .prop_filter("has an area", |corners| corners.area() > 0.0)
    }

    proptest! {
        #[test]
        fn the_shortcuts_say_what_the_iou_says(
            set in prop::collection::vec(solid_box(), 1..20), candidate in solid_box(),
            threshold in prop_oneof![
                Just(1.0f32), Just(0.5), Just(0.25), Just(1.0 / 3.0), Just(1e-8), Just(1e-45), 0.01f32..1.0
            ],
        ) {
            let area = candidate.area();
            let mut blocks = SuppressorBlocks::with_capacity(set.len());
            for corners in &set {
                blocks.push(corners, corners.area());
                prop_assert_eq!(
                    overlap_exceeds((corners, corners.area()), (&candidate, area), threshold),
                    iou(corners, &candidate) > threshold
                );
            }
            let expected = set.iter().any(|corners| iou(corners, &candidate) > threshold);
            prop_assert_eq!(blocks.suppress(&candidate, area, threshold), expected);
        }
    }
}
