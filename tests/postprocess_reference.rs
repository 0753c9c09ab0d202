//! Post-processing against an obvious implementation that computes everything and sorts everything.
//!
//! Broken once by hand, to see who notices (`golden`: `tests/postprocess_golden.rs`):
//!
//! | rule broken | falls |
//! |---|---|

use detbench::postprocess::boxes::{iou, Corners};
use detbench::postprocess::decode::EncodedBoxes;
use detbench::postprocess::partial_sort::partial_sort;
use detbench::postprocess::{
    Activation, BoxScales, Detection, Detector, NmsMode, NmsSettings, PostprocessError, SsdDetector,
};
use detbench::tensor::{TensorData, TensorView};
use proptest::prelude::*;

const SCALES: BoxScales = BoxScales {
    y: 10.0,
    x: 10.0,
    h: 5.0,
    w: 5.0,
};

/// Everything that a detector is told and given.
#[derive(Debug, Clone)]
struct Case {
    mode: NmsMode,
    settings: NmsSettings,
    activation: Activation,
    classes: usize,
    background: bool,
    stride: usize,
    anchors: Vec<[f32; 4]>,
    boxes: Vec<f32>,
    scores: Vec<f32>,
}

impl Case {
    fn columns(&self) -> usize {
        self.classes + usize::from(self.background)
    }

    fn detector(&self) -> SsdDetector {
        SsdDetector::new(
            self.mode,
            self.anchors.clone(),
            SCALES,
            self.settings,
            self.activation,
            self.classes,
            self.background,
        )
        .unwrap()
    }

    fn detect(&self, detector: &mut SsdDetector) -> Result<Vec<Detection>, PostprocessError> {
        let rows = self.anchors.len() as i64;
        let outputs = [
            TensorView {
                shape: &[1, rows, self.stride as i64],
                data: TensorData::F32(&self.boxes),
            },
            TensorView {
                shape: &[1, rows, self.columns() as i64],
                data: TensorData::F32(&self.scores),
            },
        ];
        let mut detections = vec![Detection::default(); 3];
        detector.detect(&outputs, 0, &mut detections)?;
        Ok(detections)
    }

    /// All probabilities, by the definitions.
    fn probabilities(&self) -> Vec<f32> {
        let row = |row: &[f32]| -> Vec<f32> {
            match self.activation {
                Activation::None => row.to_vec(),
                Activation::Sigmoid => row
                    .iter()
                    .map(|&x| (1.0 / (1.0 + (-f64::from(x)).exp())) as f32)
                    .collect(),
                Activation::Softmax => {
                    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let powers: Vec<f64> = row
                        .iter()
                        .map(|&x| (f64::from(x) - f64::from(most)).exp())
                        .collect();
                    let sum: f64 = powers.iter().sum();
                    powers.iter().map(|power| (power / sum) as f32).collect()
                }
            }
        };
        self.scores.chunks(self.columns()).flat_map(row).collect()
    }

    /// The op as its description reads.
    fn reference(&self) -> Vec<Detection> {
        let probabilities = self.probabilities();
        let rows: Vec<&[f32]> = probabilities
            .chunks(self.columns())
            .map(|row| &row[usize::from(self.background)..])
            .collect();
        let encoded = EncodedBoxes {
            encodings: &self.boxes,
            stride: self.stride,
            anchors: &self.anchors,
            scales: SCALES,
        };
        let boxes: Vec<Corners> = (0..rows.len())
            .map(|anchor| encoded.decode(anchor))
            .collect();
        match self.mode {
            NmsMode::Regular => self.reference_regular(&rows, &boxes),
            NmsMode::Fast => self.reference_fast(&rows, &boxes),
        }
    }

    fn reference_regular(&self, rows: &[&[f32]], boxes: &[Corners]) -> Vec<Detection> {
        let limit = self
            .settings
            .detections_per_class
            .min(self.settings.max_detections);
        let mut all: Vec<Detection> = (0..self.classes)
            .flat_map(|class| {
                let scores: Vec<f32> = rows.iter().map(|row| row[class]).collect();
                single_list(&scores, boxes, &self.settings, limit as usize)
                    .into_iter()
                    .map(|anchor| detection(&boxes[anchor], class, scores[anchor]))
                    .collect::<Vec<_>>()
            })
            .collect();
        all.sort_by(|a, b| b.score.partial_cmp(&a.score).unwrap());
        all.truncate(self.settings.max_detections as usize);
        all
    }

    fn reference_fast(&self, rows: &[&[f32]], boxes: &[Corners]) -> Vec<Detection> {
        let written = self
            .classes
            .min(self.settings.max_classes_per_detection as usize);
        let ranked: Vec<Vec<usize>> = rows
            .iter()
            .map(|row| {
                if written == 1 {
                    return vec![first_maximum(row)];
                }
                let mut order = Vec::new();
                partial_sort(row, written, &mut order);
                order[..written]
                    .iter()
                    .map(|&class| class as usize)
                    .collect()
            })
            .collect();
        let scores: Vec<f32> = rows
            .iter()
            .zip(&ranked)
            .map(|(row, ranks)| row[ranks[0]])
            .collect();
        single_list(
            &scores,
            boxes,
            &self.settings,
            self.settings.max_detections as usize,
        )
        .into_iter()
        .flat_map(|anchor| {
            let (corners, row) = (&boxes[anchor], rows[anchor]);
            ranked[anchor]
                .iter()
                .map(move |&class| detection(corners, class, row[class]))
        })
        .collect()
    }
}

fn detection(corners: &Corners, class: usize, score: f32) -> Detection {
    let Corners {
        y_min,
        x_min,
        y_max,
        x_max,
    } = *corners;
    Detection {
        y_min,
        x_min,
        y_max,
        x_max,
        score,
        class: class as u32,
    }
}

/// The first class of the highest score, NaN not counted; class 0 when all are NaN.
fn first_maximum(row: &[f32]) -> usize {
    let mut best: Option<usize> = None;
    for (class, &score) in row.iter().enumerate() {
        if !score.is_nan() && best.is_none_or(|best| score > row[best]) {
            best = Some(class);
        }
    }
    best.unwrap_or(0)
}

/// Suppression over one list: kill what overlaps each survivor.
fn single_list(
    scores: &[f32],
    boxes: &[Corners],
    settings: &NmsSettings,
    limit: usize,
) -> Vec<usize> {
    let mut candidates: Vec<usize> = (0..scores.len())
        .filter(|&anchor| scores[anchor] >= settings.score_threshold)
        .collect();
    candidates.sort_by(|&a, &b| scores[b].partial_cmp(&scores[a]).unwrap());
    let mut kept = Vec::new();
    while !candidates.is_empty() && kept.len() < limit {
        let best = candidates.remove(0);
        kept.push(best);
        candidates.retain(|&other| !(iou(&boxes[best], &boxes[other]) > settings.iou_threshold));
    }
    kept
}

/// Bits, with all NaN alike.
fn bits(detections: &[Detection]) -> Vec<([u32; 5], u32)> {
    let plain = |value: f32| {
        if value.is_nan() {
            f32::NAN.to_bits()
        } else {
            value.to_bits()
        }
    };
    detections
        .iter()
        .map(|d| {
            (
                [d.y_min, d.x_min, d.y_max, d.x_max, d.score].map(plain),
                d.class,
            )
        })
        .collect()
}

/// Numbers that make boxes overlap and scores tie often, with some that break arithmetic.
fn number(
    coarse: Vec<f32>,
    spread: std::ops::Range<f32>,
    broken: u32,
) -> impl Strategy<Value = f32> {
    let odd = vec![
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        -0.0,
        1e38,
        -1e38,
    ];
    prop_oneof![
        30 => prop::sample::select(coarse),
        30 => spread,
        broken => prop::sample::select(odd),
    ]
}

fn score(activation: Activation, broken: u32) -> BoxedStrategy<f32> {
    match activation {
        Activation::None => number(vec![0.0, -0.0, 0.25, 0.3, 0.5, 1.0], -0.1..1.0, broken).boxed(),
        // Saturated and nearly saturated logits tie only once they are rounded.
        Activation::Sigmoid | Activation::Softmax => prop_oneof![
            3 => number(vec![-200.0, -110.0, -2.0, 0.0, 15.0, 16.0, 20.0, 90.0], -6.0..3.0, broken),
            1 => 14.0f32..18.0,
            1 => -104.0f32..-80.0,
        ]
        .boxed(),
    }
}

prop_compose! {
    fn settings()(
        score_threshold in prop_oneof![
            Just(0.3f32), Just(0.01), Just(1e-8), Just(0.0), Just(0.5), Just(1.0), Just(1e-44), Just(-1.0),
            Just(f32::NEG_INFINITY), Just(2.0)
        ],
        iou_threshold in prop_oneof![Just(0.6f32), Just(0.5), Just(1.0), Just(1e-6), Just(0.25)],
        max_detections in prop_oneof![1u32..6, Just(100)],
        detections_per_class in prop_oneof![1u32..4, Just(100)],
        max_classes_per_detection in prop_oneof![3 => Just(1u32), 2 => 2u32..5],
    ) -> NmsSettings {
        NmsSettings {
            score_threshold, iou_threshold, max_detections, detections_per_class, max_classes_per_detection,
        }
    }
}

fn case() -> impl Strategy<Value = Case> {
    let activation = prop::sample::select(vec![
        Activation::None,
        Activation::Sigmoid,
        Activation::Softmax,
    ]);
    let mode = prop::sample::select(vec![NmsMode::Regular, NmsMode::Fast]);
    (
        mode,
        settings(),
        activation,
        1usize..40,
        any::<bool>(),
        4usize..6,
        0usize..40,
        0u32..2,
    )
        .prop_flat_map(
            |(mode, settings, activation, classes, background, stride, rows, broken)| {
                let columns = classes + usize::from(background);
                let encoding = number(vec![0.0, 5.0, -5.0], -10.0..10.0, broken);
                let side = prop::sample::select(vec![0.0f32, 0.25, 0.5, 0.25, 0.3]);
                let center = prop::sample::select(vec![0.0f32, 0.25, 0.5, 0.55]);
                let anchor = (center.clone(), center, side.clone(), side);
                (
                    prop::collection::vec(anchor, rows),
                    prop::collection::vec(encoding, rows * stride),
                    prop::collection::vec(score(activation, broken), rows * columns),
                )
                    .prop_map(move |(anchors, boxes, scores)| Case {
                        mode,
                        settings,
                        activation,
                        classes,
                        background,
                        stride,
                        anchors: anchors
                            .into_iter()
                            .map(|(y, x, h, w)| [y, x, h, w])
                            .collect(),
                        boxes,
                        scores,
                    })
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_detector_equals_activating_everything_and_then_the_op(case in case()) {
        let mut detector = case.detector();
        let expected = bits(&case.reference());
        prop_assert_eq!(&bits(&case.detect(&mut detector).unwrap()), &expected);
        prop_assert_eq!(&bits(&case.detect(&mut detector).unwrap()), &expected, "the second call");
    }
}

/// A head of SSD size whose rows are many, so that levels and runs are walked.
fn large(mode: NmsMode, score_threshold: f32, activation: Activation, seed: u64) -> Case {
    let mut state = seed;
    let mut uniform = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let (rows, classes) = (1500, 20);
    let anchors = (0..rows)
        .map(|_| [uniform(), uniform(), 0.2, 0.3])
        .collect();
    let boxes = (0..rows * 4).map(|_| uniform() * 4.0 - 2.0).collect();
    let scores = (0..rows * (classes + 1))
        .map(|_| match activation {
            // Two decimals: thousands of ties.
            Activation::None => (uniform().powi(3) * 100.0).round() / 100.0,
            Activation::Sigmoid | Activation::Softmax => uniform() * 24.0 - 12.0,
        })
        .collect();
    let settings = NmsSettings {
        score_threshold,
        iou_threshold: 0.3,
        max_detections: 100,
        detections_per_class: 100,
        max_classes_per_detection: 1,
    };
    Case {
        mode,
        settings,
        activation,
        classes,
        background: true,
        stride: 4,
        anchors,
        boxes,
        scores,
    }
}

#[test]
fn large_heads_equal_the_reference_at_every_threshold() {
    for mode in [NmsMode::Regular, NmsMode::Fast] {
        for activation in [Activation::None, Activation::Sigmoid, Activation::Softmax] {
            for (seed, threshold) in [(1, 0.9), (2, 0.3), (3, 0.01), (4, 1e-8)] {
                let case = large(mode, threshold, activation, seed);
                let found = case.detect(&mut case.detector()).unwrap();
                assert_eq!(
                    bits(&found),
                    bits(&case.reference()),
                    "{mode:?} {activation:?} {threshold}"
                );
            }
        }
    }
}

#[test]
fn when_nearly_everything_is_suppressed_all_levels_are_walked() {
    for mode in [NmsMode::Regular, NmsMode::Fast] {
        let mut case = large(mode, 1e-8, Activation::None, 5);
        case.settings.iou_threshold = 1e-6;
        case.anchors.fill([0.5, 0.5, 0.5, 0.5]);
        let found = case.detect(&mut case.detector()).unwrap();
        assert!(found.len() < 100);
        assert_eq!(bits(&found), bits(&case.reference()), "{mode:?}");
    }
}

#[test]
fn no_anchors_and_no_candidates_give_no_detections() {
    for mode in [NmsMode::Regular, NmsMode::Fast] {
        let mut case = large(mode, 2.0, Activation::Sigmoid, 6);
        assert_eq!(case.detect(&mut case.detector()).unwrap(), []);
        case.anchors.clear();
        case.boxes.clear();
        case.scores.clear();
        assert_eq!(case.detect(&mut case.detector()).unwrap(), []);
    }
}

#[test]
fn each_picture_of_a_batch_gets_its_own_detections() {
    let (first, second) = (
        large(NmsMode::Fast, 0.3, Activation::None, 7),
        large(NmsMode::Fast, 0.3, Activation::None, 8),
    );
    let mut detector = first.detector();
    let boxes = [first.boxes.clone(), second.boxes.clone()].concat();
    let scores = [first.scores.clone(), second.scores.clone()].concat();
    let outputs = [
        TensorView {
            shape: &[2, 1500, 4],
            data: TensorData::F32(&boxes),
        },
        TensorView {
            shape: &[2, 1500, 21],
            data: TensorData::F32(&scores),
        },
    ];
    let mut detections = Vec::new();
    detector.detect(&outputs, 0, &mut detections).unwrap();
    assert_eq!(bits(&detections), bits(&first.reference()));
    detector.detect(&outputs, 1, &mut detections).unwrap();
    // The second case has its own anchors; only the first's are known to the detector.
    let second = Case {
        anchors: first.anchors.clone(),
        ..second
    };
    assert_eq!(bits(&detections), bits(&second.reference()));
    let error = detector.detect(&outputs, 2, &mut detections).unwrap_err();
    assert_eq!(
        error,
        PostprocessError::Image {
            tensor: "boxes",
            image: 2,
            batch: 2
        }
    );
}

#[test]
fn heads_of_another_shape_or_type_are_refused_with_what_was_expected() {
    let case = large(NmsMode::Fast, 0.3, Activation::None, 9);
    let mut detector = case.detector();
    let boxes = TensorView {
        shape: &[1, 1500, 4],
        data: TensorData::F32(&case.boxes),
    };
    let scores = TensorView {
        shape: &[1, 1500, 21],
        data: TensorData::F32(&case.scores),
    };
    let mut message = |outputs: &[TensorView<'_>]| {
        detector
            .detect(outputs, 0, &mut Vec::new())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message(&[boxes]),
        "1 output tensors came, but 2 are expected (boxes, scores)"
    );
    assert_eq!(
        message(&[scores, boxes]),
        "output `scores` is f32 [1, 1500, 4], but the model file expects f32 [batch, 1500, 21]"
    );
    let bytes = TensorView {
        shape: &[1, 1500, 4],
        data: TensorData::U8(&[0; 6000]),
    };
    assert_eq!(
        message(&[bytes, scores]),
        "output `boxes` is u8 [1, 1500, 4], but the model file expects f32 [batch, 1500, 4 or more]"
    );
    let short = TensorView {
        shape: &[1, 1500, 4],
        data: TensorData::F32(&case.boxes[1..]),
    };
    assert_eq!(
        message(&[short, scores]),
        "output `boxes` is f32 [1, 1500, 4] of 5999 elements, but the model file expects f32 [batch, 1500, 4 or more]"
    );
}

#[test]
fn settings_that_no_run_can_mean_are_refused_by_name() {
    let good = large(NmsMode::Fast, 0.3, Activation::None, 9).settings;
    let refused = |mode, settings: NmsSettings| {
        let result = SsdDetector::new(mode, vec![], SCALES, settings, Activation::None, 3, true);
        match result {
            Err(PostprocessError::Setting { key, .. }) => key,
            other => panic!("{other:?}"),
        }
    };
    use NmsMode::{Fast, Regular};
    let bad_iou = |iou_threshold| NmsSettings {
        iou_threshold,
        ..good
    };
    assert_eq!(
        refused(
            Fast,
            NmsSettings {
                score_threshold: f32::NAN,
                ..good
            }
        ),
        "score_threshold"
    );
    for iou_threshold in [0.0, -0.5, 1.01, f32::NAN] {
        assert_eq!(refused(Regular, bad_iou(iou_threshold)), "iou_threshold");
    }
    assert_eq!(
        refused(
            Regular,
            NmsSettings {
                max_detections: 0,
                ..good
            }
        ),
        "max_detections"
    );
    let no_class = NmsSettings {
        detections_per_class: 0,
        max_classes_per_detection: 0,
        ..good
    };
    assert_eq!(refused(Regular, no_class), "detections_per_class");
    assert_eq!(refused(Fast, no_class), "max_classes_per_detection");
    let error = SsdDetector::new(
        Fast,
        vec![],
        SCALES,
        bad_iou(1.01),
        Activation::None,
        3,
        true,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "post-processing setting `iou_threshold` is 1.01, but must be above 0 and at most 1"
    );
}

#[test]
fn an_inverted_box_fails_the_call_although_no_score_passes() {
    let mut case = large(NmsMode::Regular, 2.0, Activation::None, 10);
    case.anchors[700] = [0.5, 0.5, -0.2, 0.3];
    let error = case.detect(&mut case.detector()).unwrap_err();
    assert!(
        matches!(error, PostprocessError::InvertedBox { anchor: 700, .. }),
        "{error}"
    );
}
