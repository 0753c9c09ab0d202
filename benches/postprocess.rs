//! What post-processing costs for a picture: 1917 anchors, 90 classes and a background, 100 detections, IoU 0.6.
//!
//! Scores are spread as those of an SSD are: of 172 530 pairs 52 reach 0.3, 6 047 reach 0.01, and all reach 1e-8.
//! A benchmark walks over several pictures, so that none stays in the branch predictor.

use std::hint::black_box;

use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion};
use detbench::postprocess::{Activation, BoxScales, Detector, NmsMode, NmsSettings, SsdDetector};
use detbench::tensor::{TensorData, TensorView};

const ANCHORS: usize = 1917;
const CLASSES: usize = 90;
const COLUMNS: usize = CLASSES + 1;
const PICTURES: usize = 8;

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

struct Picture {
    boxes: Vec<f32>,
    probabilities: Vec<f32>,
    logits: Vec<f32>,
}

/// Cells of six maps with six shapes each; positions and sizes like those of an SSD at 300 pixels.
fn anchors() -> Vec<[f32; 4]> {
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

fn picture(seed: u64) -> Picture {
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
    Picture {
        boxes,
        probabilities,
        logits,
    }
}

fn detectors(criterion: &mut Criterion) {
    let anchors = anchors();
    let pictures: Vec<Picture> = (1..=PICTURES as u64).map(picture).collect();
    for activation in [Activation::None, Activation::Sigmoid, Activation::Softmax] {
        for mode in [NmsMode::Fast, NmsMode::Regular] {
            let mut group = criterion.benchmark_group(format!("{}/{activation:?}", mode.name()));
            for threshold in [0.3, 0.01, 1e-8] {
                let settings = NmsSettings {
                    score_threshold: threshold,
                    iou_threshold: 0.6,
                    max_detections: 100,
                    detections_per_class: 100,
                    max_classes_per_detection: 1,
                };
                let scales = BoxScales {
                    y: 10.0,
                    x: 10.0,
                    h: 5.0,
                    w: 5.0,
                };
                let mut detector = SsdDetector::new(
                    mode,
                    anchors.clone(),
                    scales,
                    settings,
                    activation,
                    CLASSES,
                    true,
                )
                .expect("sound settings");
                let mut detections = Vec::with_capacity(100);
                let mut next = 0;
                group.bench_function(BenchmarkId::from_parameter(threshold), |bencher| {
                    bencher.iter(|| {
                        let picture = &pictures[next];
                        next = (next + 1) % PICTURES;
                        let scores = match activation {
                            Activation::None => &picture.probabilities,
                            Activation::Sigmoid | Activation::Softmax => &picture.logits,
                        };
                        let outputs = [
                            TensorView {
                                shape: &[1, ANCHORS as i64, 4],
                                data: TensorData::F32(&picture.boxes),
                            },
                            TensorView {
                                shape: &[1, ANCHORS as i64, COLUMNS as i64],
                                data: TensorData::F32(scores),
                            },
                        ];
                        detector
                            .detect(black_box(&outputs), 0, &mut detections)
                            .expect("sound heads");
                        black_box(&detections);
                    });
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, detectors);
criterion_main!(benches);
