//! What post-processing costs for a picture: 1917 anchors, 90 classes and a background, 100 detections, `IoU` 0.6.
//!
//! Scores are spread as those of an SSD are (`heads/mod.rs`). `benches/litert.rs` runs `LiteRT`'s op beside ours.

#![allow(clippy::cast_possible_wrap)] // Sizes of the heads.

mod heads;

use std::hint::black_box;
use std::time::Duration;

use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion};
use detbench::clock::{Clock, Monotonic};
use detbench::postprocess::{Activation, BoxScales, Detector, NmsMode, NmsSettings, SsdDetector};

use self::heads::{anchors, picture, Outputs, Picture, CLASSES, PICTURES};

fn detectors(criterion: &mut Criterion) {
    let clock = Monotonic::new();
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
                    let mut heads = Outputs::new();
                    bencher.iter_custom(|rounds| {
                        let mut spent = Duration::ZERO;
                        for _ in 0..rounds {
                            let picture = &pictures[next];
                            next = (next + 1) % PICTURES;
                            heads.set(
                                &picture.boxes,
                                match activation {
                                    Activation::None => &picture.probabilities,
                                    Activation::Sigmoid => &picture.logits,
                                    Activation::Softmax => &picture.shared_logits,
                                },
                            );
                            let outputs = heads.views();
                            let begun = clock.now();
                            detector
                                .detect(black_box(&outputs), 0, &mut detections)
                                .expect("sound heads");
                            black_box(&detections);
                            spent += Duration::from_nanos(
                                clock.now().saturating_since(begun).as_nanos(),
                            );
                        }
                        spent
                    });
                });
            }
            group.finish();
        }
    }
}

criterion_group!(benches, detectors);
criterion_main!(benches);
