//! COCO scores against pycocotools' own (`tests/golden/coco/README.md`).

#![allow(clippy::float_cmp)] // Exact equality is what is promised.
#![allow(clippy::many_single_char_names, clippy::cast_possible_wrap)] // x, y, w, h and lengths of small vectors.

mod vectors;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use detbench::accuracy::{
    read_results, score, twelve_lines, AccuracyError, CocoDetection, CocoScores, GroundTruth,
};
use serde_json::{json, Value};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/coco")
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn truth(value: &Value) -> GroundTruth {
    GroundTruth::from_str(&value.to_string()).unwrap()
}

fn detections(value: &Value) -> Vec<CocoDetection> {
    serde_json::from_value(value.clone()).unwrap()
}

fn bits(values: impl IntoIterator<Item = f64>) -> Vec<u64> {
    values.into_iter().map(f64::to_bits).collect()
}

fn floats(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

fn assert_equal(name: &str, found: &CocoScores, expect: &Value) {
    let stats = floats(&expect["stats"]);
    assert_eq!(
        bits(found.stats),
        bits(stats.clone()),
        "{name}: {:?}, expected {stats:?}",
        found.stats
    );
    let per_category = expect["per_category"].as_array().unwrap();
    assert_eq!(found.per_category.len(), per_category.len(), "{name}");
    for (found, expected) in found.per_category.iter().zip(per_category) {
        let row = [found.id as f64, found.ap, found.ap50];
        assert_eq!(
            bits(row),
            bits(floats(expected)),
            "{name}: {found:?}, expected {expected}"
        );
    }
}

#[test]
fn scores_equal_the_golden_numbers_of_pycocotools_bit_for_bit() {
    let mut sets = 0;
    for root in vectors::roots() {
        for path in root.entries("coco") {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let set: Value = serde_json::from_str(&text).unwrap_or_default();
            if !(set["gt"].is_object() && set["dt"].is_array() && set["expect"].is_object()) {
                // Of this repository `big_expected_n500.json`, which has numbers only.
                eprintln!("skipped {}: no set with its expectation", path.display());
                continue;
            }
            let images: Option<Vec<i64>> = serde_json::from_value(set["img_ids"].clone()).unwrap();
            let found = score(
                &truth(&set["gt"]),
                &detections(&set["dt"]),
                images.as_deref(),
            )
            .unwrap();
            assert_equal(&path.display().to_string(), &found, &set["expect"]);
            sets += 1;
        }
    }
    assert!(sets >= 6);
}

#[test]
fn a_large_generated_set_equals_its_golden_numbers() {
    let expected = &read(&golden().join("big_expected_n500.json"))["n500_seed4242"];
    let (gt, dt) = big::generate(500, 4242);
    assert_eq!(
        gt["annotations"].as_array().unwrap().len() as u64,
        expected["n_gt"].as_u64().unwrap()
    );
    assert_eq!(gt["annotations"][0]["bbox"], expected["first_gt"]);
    let first = serde_json::to_value(dt[0]).unwrap();
    let last = serde_json::to_value(dt[dt.len() - 1]).unwrap();
    assert_eq!(
        (&first, &last),
        (&expected["first_dt"], &expected["last_dt"])
    );
    assert_equal(
        "big",
        &score(&truth(&gt), &dt, None).unwrap(),
        &expected["expect"],
    );
}

/// Two images with two objects each; the second has no detection.
fn two_images() -> Value {
    let annotation = |id: i64, image: i64, x: i64| json!({"id": id, "image_id": image, "category_id": 1, "bbox": [x, 0, 40, 40], "area": 1600, "iscrowd": 0});
    json!({
        "images": [{"id": 30}, {"id": 7}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [annotation(1, 30, 0), annotation(2, 30, 100), annotation(3, 7, 0), annotation(4, 7, 100)],
    })
}

fn hit(image_id: i64, x: f64) -> CocoDetection {
    CocoDetection {
        image_id,
        category_id: 1,
        bbox: [x, 0.0, 40.0, 40.0],
        score: 0.9,
    }
}

#[test]
fn no_detections_score_zero_where_there_is_something_to_find() {
    let found = score(&truth(&two_images()), &[], None).unwrap();
    let expected = [
        0.0, 0.0, 0.0, -1.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0, -1.0,
    ];
    assert_eq!(found.stats, expected);
    assert_eq!(
        (
            found.per_category[0].ap,
            found.per_category[0].name.as_str()
        ),
        (0.0, "person")
    );
}

#[test]
fn without_images_or_annotations_there_is_nothing_to_measure() {
    let empty =
        json!({"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "a"}]});
    assert_eq!(score(&truth(&empty), &[], None).unwrap().stats, [-1.0; 12]);
    assert_eq!(
        score(&truth(&two_images()), &[hit(7, 0.0)], Some(&[]))
            .unwrap()
            .stats,
        [-1.0; 12]
    );
}

#[test]
fn a_subset_of_images_passes_over_detections_on_the_others() {
    let truth = truth(&two_images());
    let dt = [hit(30, 0.0), hit(30, 100.0), hit(7, 300.0)];
    let recall = |images: Option<&[i64]>| score(&truth, &dt, images).unwrap().stats[8];
    assert_eq!(recall(None), 0.5);
    assert_eq!(recall(Some(&[30, 30])), 1.0);
    assert_eq!(recall(Some(&[7])), 0.0);
}

#[test]
fn negative_and_large_ids_score_like_any_others() {
    let mut odd = two_images();
    for annotation in odd["annotations"].as_array_mut().unwrap() {
        let id = annotation["id"].as_i64().unwrap();
        annotation["id"] = json!(-id);
        annotation["image_id"] = json!(if annotation["image_id"] == 30 {
            i64::MAX
        } else {
            -7
        });
        annotation["category_id"] = json!(-1);
    }
    odd["images"] = json!([{"id": i64::MAX}, {"id": -7}]);
    odd["categories"] = json!([{"id": -1, "name": "person"}]);
    let dt = [hit(30, 0.0), hit(7, 3.0)];
    let odd_dt = [
        CocoDetection {
            image_id: i64::MAX,
            category_id: -1,
            ..dt[0]
        },
        CocoDetection {
            image_id: -7,
            category_id: -1,
            ..dt[1]
        },
    ];
    assert_eq!(
        score(&truth(&odd), &odd_dt, None).unwrap().stats,
        score(&truth(&two_images()), &dt, None).unwrap().stats
    );
}

#[test]
fn detections_of_unlisted_categories_do_not_count() {
    let truth = truth(&two_images());
    let unlisted = CocoDetection {
        category_id: 99,
        ..hit(7, 0.0)
    };
    let with = score(&truth, &[hit(30, 0.0), unlisted], None).unwrap();
    assert_eq!(with, score(&truth, &[hit(30, 0.0)], None).unwrap());
}

#[test]
fn what_cannot_be_scored_is_named_by_position() {
    let truth = truth(&two_images());
    let message = |dt: &[CocoDetection], images: Option<&[i64]>| {
        score(&truth, dt, images).unwrap_err().to_string()
    };
    assert_eq!(
        message(&[hit(7, 0.0), hit(8, 0.0)], None),
        "detection 1 is on image 8, which the ground truth does not have"
    );
    assert_eq!(
        message(
            &[CocoDetection {
                score: f64::NAN,
                ..hit(7, 0.0)
            }],
            None
        ),
        "`score` of detection 0 is NaN, which is not a usable number"
    );
    assert_eq!(
        message(&[], Some(&[7, 31])),
        "image 31 is to be evaluated (entry 1), but the ground truth does not have it"
    );
}

#[test]
fn a_missing_file_is_named() {
    let path = Path::new("no/such/annotations.json");
    let error = GroundTruth::read(path).unwrap_err();
    assert!(matches!(&error, AccuracyError::Read { path: named, .. } if named == path));
    assert!(
        error
            .to_string()
            .starts_with("cannot read no/such/annotations.json: "),
        "{error}"
    );
    assert!(matches!(
        read_results(path),
        Err(AccuracyError::Read { .. })
    ));
}

#[test]
fn the_summary_has_twelve_lines_of_one_shape() {
    let found = score(&truth(&two_images()), &[hit(7, 0.0)], None).unwrap();
    let text = twelve_lines(&found.stats);
    assert_eq!(text.lines().count(), 12);
    assert!(text
        .lines()
        .all(|line| line.starts_with(" Average ") && line.contains(" ] = ")));
}

/// A COCO-like set from a seed: splitmix64 and plain IEEE arithmetic, so that any language makes the same one.
mod big {
    use detbench::accuracy::CocoDetection;
    use serde_json::{json, Value};

    #[rustfmt::skip]
    const CATEGORIES: [i64; 80] = [
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 27, 28, 31, 32, 33, 34,
        35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63,
        64, 65, 67, 70, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 84, 85, 86, 87, 88, 89, 90,
    ];
    const SIZES: [(i64, i64); 6] = [
        (640, 480),
        (640, 480),
        (640, 427),
        (480, 640),
        (500, 375),
        (640, 640),
    ];

    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }

        fn uniform(&mut self) -> f64 {
            (self.next() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
        }

        fn below(&mut self, n: i64) -> i64 {
            (self.uniform() * n as f64) as i64
        }

        fn noise(&mut self) -> f64 {
            self.uniform() + self.uniform() + self.uniform() + self.uniform() - 2.0
        }
    }

    /// Hundredths of a pixel.
    fn hundredths(value: f64) -> i64 {
        (value * 100.0 + 0.5).floor() as i64
    }

    /// A box in hundredths, and its category.
    type Object = ([i64; 4], i64);

    /// Ground truth with `images` pictures, and a hundred detections on each.
    pub fn generate(images: usize, seed: u64) -> (Value, Vec<CocoDetection>) {
        let mut random = Random(seed);
        let (mut image_list, mut annotations, mut detections) = (vec![], vec![], vec![]);
        let (mut annotation_id, mut image_id) = (900_000, 100);
        for _ in 0..images {
            image_id += 1 + random.below(200);
            let size = SIZES[random.below(6) as usize];
            random.below(8); // The licence.
            image_list.push(json!({"id": image_id, "width": size.0, "height": size.1}));
            let u = random.uniform();
            let some = random.uniform() >= 0.01;
            let count = (30.0 * u * u * u) as usize + if u < 0.95 { 1 } else { 2 };
            let base = random.below(80) as usize;
            let mut objects: Vec<Object> = Vec::new();
            for _ in 0..if some { count } else { 0 } {
                let (object, area, crowd) = object(&mut random, base, size);
                annotation_id += 1 + random.below(30);
                annotations.push(json!({
                    "id": annotation_id, "image_id": image_id, "category_id": object.1,
                    "bbox": object.0.map(|edge| edge as f64 / 100.0), "area": area, "iscrowd": i32::from(crowd),
                }));
                objects.push(object);
            }
            let start = detections.len();
            let mut put = |(edges, category_id): Object, score: i64| {
                detections.push(CocoDetection {
                    image_id,
                    category_id,
                    bbox: edges.map(|edge| edge as f64 / 100.0),
                    score: score as f64 / 100_000.0,
                });
                detections.len() - start
            };
            let found = near(&mut random, &objects, &mut put);
            for _ in found..100 {
                let (object, score) = stray(&mut random, &objects, size);
                put(object, score);
            }
        }
        let categories: Vec<Value> = CATEGORIES
            .iter()
            .map(|id| json!({"id": id, "name": format!("c{id}")}))
            .collect();
        let truth =
            json!({"images": image_list, "annotations": annotations, "categories": categories});
        (truth, detections)
    }

    /// An object, the area of its mask, and whether it is a crowd.
    fn object(
        random: &mut Random,
        base: usize,
        (width, height): (i64, i64),
    ) -> (Object, f64, bool) {
        let (width, height) = (width as f64, height as f64);
        let class = if random.uniform() < 0.5 {
            base
        } else {
            (80.0 * random.uniform() * random.uniform()) as usize
        };
        let (a, b) = (random.uniform(), random.uniform());
        let w = (width * (0.01 + 0.9 * a * a * (0.25 + 0.75 * random.uniform()))).max(2.0);
        let h = (height * (0.01 + 0.9 * a * b * (0.25 + 0.75 * random.uniform()))).max(2.0);
        let (w, h) = (w.min(width - 1.0), h.min(height - 1.0));
        let x = random.uniform() * (width - w);
        let y = random.uniform() * (height - h);
        let edges = [
            hundredths(x),
            hundredths(y),
            hundredths(w).max(100),
            hundredths(h).max(100),
        ];
        let crowd = random.uniform() < 0.012;
        let share = 0.35 + 0.6 * random.uniform();
        let (w, h) = (edges[2] as f64 / 100.0, edges[3] as f64 / 100.0);
        let area = (w * h * share * 10_000.0 + 0.5).floor() / 10_000.0;
        if !crowd {
            // The corners of the polygon, which nobody reads.
            for _ in 0..2 * (8 + 2 * random.below(12)) {
                random.uniform();
            }
        }
        ((edges, CATEGORIES[class]), area, crowd)
    }

    /// Detections around the objects, more and less exact; how many there were in the end.
    fn near(
        random: &mut Random,
        objects: &[Object],
        put: &mut impl FnMut(Object, i64) -> usize,
    ) -> usize {
        let mut found = 0;
        for &([x, y, w, h], category) in objects {
            if random.uniform() < 0.22 {
                continue;
            }
            for attempt in 0..=random.below(3) {
                if found >= 100 {
                    break;
                }
                let t = attempt as f64;
                let error = (0.05 + 0.12 * t) * (0.3 + random.uniform());
                let mut shift = |size: i64| (random.noise() * error * size as f64) as i64;
                let (dx, dy, dw, dh) = (shift(w), shift(h), shift(w), shift(h));
                let class = if random.uniform() < 0.92 {
                    category
                } else {
                    CATEGORIES[random.below(80) as usize]
                };
                let score =
                    (100_000.0 * (0.15 + 0.84 * random.uniform() * (1.0 - 0.25 * t))) as i64;
                found = put(
                    ([x + dx, y + dy, (w + dw).max(50), (h + dh).max(50)], class),
                    score,
                );
            }
        }
        found
    }

    /// A detection anywhere.
    fn stray(
        random: &mut Random,
        objects: &[Object],
        (width, height): (i64, i64),
    ) -> (Object, i64) {
        let (a, b) = (random.uniform(), random.uniform());
        let w = (100.0 * width as f64 * (0.01 + 0.8 * a * a)) as i64;
        let h = (100.0 * height as f64 * (0.01 + 0.8 * a * b)) as i64;
        let x = (random.uniform() * (100 * width - w) as f64) as i64;
        let y = (random.uniform() * (100 * height - h) as f64) as i64;
        let class = if !objects.is_empty() && random.uniform() < 0.6 {
            objects[random.below(objects.len() as i64) as usize].1
        } else {
            CATEGORIES[random.below(80) as usize]
        };
        let v = random.uniform();
        (
            ([x, y, w, h], class),
            (100_000.0 * (0.001 + 0.6 * v * v * v * v)) as i64,
        )
    }
}
