//! Heads as those of an SSD at 300 pixels, seeded: what the benches of post-processing are fed.
//!
//! Of 172 530 pairs of an anchor and a class 52 reach 0.3, 6 047 reach 0.01, and all reach 1e-8, each group spread
//! evenly over the logarithm of the score and scattered over anchors and classes.

use detbench::tensor::{TensorData, TensorView};

/// Rows of the heads.
pub const ANCHORS: usize = 1917;
/// Classes, background left out.
pub const CLASSES: usize = 90;
/// Columns of the score head.
pub const COLUMNS: usize = CLASSES + 1;
/// Pictures to walk over, so that none stays in the branch predictor.
pub const PICTURES: usize = 8;

/// Marsaglia's xorshift64*: plain, and the same everywhere.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in the logarithm, as the tail of a detector's scores nearly is.
    fn log_uniform(&mut self, low: f64, high: f64) -> f32 {
        (low.ln() + self.uniform() * (high / low).ln()).exp() as f32
    }
}

/// The heads of a picture.
pub struct Picture {
    /// Encodings.
    pub boxes: Vec<f32>,
    /// After the activation.
    pub probabilities: Vec<f32>,
    /// Of a sigmoid.
    pub logits: Vec<f32>,
    /// Of a softmax: the background takes what the classes leave.
    pub shared_logits: Vec<f32>,
}

/// The buffers that a model writes its heads to, here filled from a picture: post-processing finds them in the cache,
/// as it does behind a model, and as `LiteRT`'s op finds what was set before it.
pub struct Outputs {
    boxes: Vec<f32>,
    scores: Vec<f32>,
}

impl Outputs {
    /// Room for the heads of a picture.
    pub fn new() -> Self {
        Self {
            boxes: vec![0.0; ANCHORS * 4],
            scores: vec![0.0; ANCHORS * COLUMNS],
        }
    }

    /// Writes the heads of the next picture.
    pub fn set(&mut self, boxes: &[f32], scores: &[f32]) {
        self.boxes.copy_from_slice(boxes);
        self.scores.copy_from_slice(scores);
    }

    /// The boxes and the scores, as tensors of one picture.
    pub fn views(&self) -> [TensorView<'_>; 2] {
        [
            TensorView {
                shape: &[1, ANCHORS as i64, 4],
                data: TensorData::F32(&self.boxes),
            },
            TensorView {
                shape: &[1, ANCHORS as i64, COLUMNS as i64],
                data: TensorData::F32(&self.scores),
            },
        ]
    }
}

/// Cells of six maps with six shapes each; positions and sizes like those of an SSD at 300 pixels.
pub fn anchors() -> Vec<[f32; 4]> {
    let mut anchors = Vec::new();
    for (map, (cells, shapes)) in [(19, 3), (10, 6), (5, 6), (3, 6), (2, 6), (1, 6)]
        .into_iter()
        .enumerate()
    {
        let size = 0.2 + 0.15 * map as f32;
        for y in 0..cells {
            for x in 0..cells {
                for shape in 0..shapes {
                    let stretch = [1.0_f32, 1.4, 0.7, 1.7, 0.58, 1.1][shape];
                    let center = |cell: i32| (cell as f32 + 0.5) / cells as f32;
                    anchors.push([center(y), center(x), size / stretch, size * stretch]);
                }
            }
        }
    }
    assert_eq!(anchors.len(), ANCHORS);
    anchors
}

/// The picture of a seed.
pub fn picture(seed: u64) -> Picture {
    let mut random = Random(seed);
    let mut pairs: Vec<usize> = (0..ANCHORS * CLASSES).collect();
    for last in (1..pairs.len()).rev() {
        pairs.swap(last, (random.uniform() * (last + 1) as f64) as usize);
    }
    let mut probabilities = vec![0.01_f32; ANCHORS * COLUMNS];
    for (rank, pair) in pairs.into_iter().enumerate() {
        probabilities[pair / CLASSES * COLUMNS + 1 + pair % CLASSES] = match rank {
            0..52 => random.log_uniform(0.301, 0.99),
            52..6047 => random.log_uniform(0.0101, 0.299),
            _ => random.log_uniform(1e-6, 0.0099),
        };
    }
    let logits = probabilities
        .iter()
        .map(|&p| (p / (1.0 - p)).ln())
        .collect();
    let boxes = (0..ANCHORS * 4)
        .map(|_| ((random.uniform() - 0.5) * 4.0) as f32)
        .collect();
    let mut shared_logits: Vec<f32> = probabilities.iter().map(|p| p.ln()).collect();
    for (row, logits) in probabilities
        .chunks(COLUMNS)
        .zip(shared_logits.chunks_mut(COLUMNS))
    {
        logits[0] = (1.0 - row[1..].iter().sum::<f32>()).max(0.01).ln();
    }
    Picture {
        boxes,
        probabilities,
        logits,
        shared_logits,
    }
}
