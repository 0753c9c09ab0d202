//! The same as JSON.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::{quantiles, Found, Study};
use crate::accuracy::matching::Object;
use crate::cli::nms::laboratory::Setting;
use crate::laboratory::bootstrap::Difference;
use crate::postprocess::{Detection, NmsMode};

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    source: &'a str,
    picture_count: usize,
    /// Median on one thread, where a model was run.
    inference_us_p50: Option<f64>,
    resamples: u32,
    seed: u64,
    settings: Vec<SettingEntry<'a>>,
    pictures_that_differ_most: Vec<WorstEntry<'a>>,
}

#[derive(Serialize)]
struct SettingEntry<'a> {
    /// The swept option.
    set: &'a str,
    nms_score_threshold: f32,
    nms_iou_threshold: f32,
    max_detections: i32,
    max_classes_per_detection: i32,
    detections_per_class: i32,
    num_classes: i32,
    modes: Vec<ModeEntry<'a>>,
    /// Regular less fast.
    map_difference: Option<Difference>,
    ap_difference_per_category: Vec<CategoryEntry>,
    objects: Option<ObjectsEntry>,
    pictures: Vec<PictureEntry>,
}

#[derive(Serialize)]
struct ModeEntry<'a> {
    nms: NmsMode,
    stats: Option<&'a [f64; 12]>,
    detection_count: usize,
    us_p50: f64,
    us_p90: f64,
}

#[derive(Serialize)]
struct CategoryEntry {
    id: i64,
    name: String,
    ap_regular: f64,
    ap_fast: f64,
    #[serde(flatten)]
    difference: Difference,
}

#[derive(Serialize)]
struct ObjectsEntry {
    both: usize,
    neither: usize,
    only_regular: Vec<ObjectEntry>,
    only_fast: Vec<ObjectEntry>,
}

#[derive(Serialize)]
struct ObjectEntry {
    image_id: i64,
    category_id: i64,
    bbox: [f64; 4],
    score: Option<f64>,
}

#[derive(Serialize)]
struct PictureEntry {
    image_id: i64,
    candidate_pairs: u64,
    candidate_anchors: u32,
    /// By mode.
    median_us: Vec<f64>,
    /// By mode.
    detection_counts: Vec<usize>,
}

#[derive(Serialize)]
struct WorstEntry<'a> {
    image_id: i64,
    picture: String,
    difference: f64,
    only_regular: &'a [Detection],
    only_fast: &'a [Detection],
    drawn: Option<&'a PathBuf>,
}

/// Writes all that was found as one document.
pub fn write_json(out: &mut impl Write, study: &Study<'_>) -> io::Result<()> {
    let worst = study.worst.iter().enumerate();
    let document = Document {
        schema_version: 1,
        source: study.title,
        picture_count: study.specimens.len(),
        inference_us_p50: (!study.inference_us.is_empty()).then(|| quantiles(study.inference_us).0),
        resamples: study.resamples,
        seed: study.seed,
        settings: study
            .settings
            .iter()
            .map(|one| setting_entry(study, one))
            .collect(),
        pictures_that_differ_most: worst
            .map(|(rank, (picture, difference))| WorstEntry {
                image_id: study.specimens[*picture].image_id,
                picture: study.name(*picture),
                difference: difference.weight(),
                only_regular: &difference.only_first,
                only_fast: &difference.only_second,
                drawn: study.drawn.get(rank),
            })
            .collect(),
    };
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)
}

fn setting_entry<'a>(study: &Study<'_>, setting: &'a Setting) -> SettingEntry<'a> {
    let modes = setting.modes.iter().map(|mode| {
        let (us_p50, us_p90) = quantiles(&mode.median_us);
        ModeEntry {
            nms: mode.nms,
            stats: mode.scores.as_ref().map(|scores| &scores.stats),
            detection_count: mode.detections.iter().map(Vec::len).sum(),
            us_p50,
            us_p90,
        }
    });
    let pictures = setting
        .candidates
        .iter()
        .enumerate()
        .map(|(picture, counted)| PictureEntry {
            image_id: study.specimens[picture].image_id,
            candidate_pairs: counted.pairs,
            candidate_anchors: counted.anchors,
            median_us: setting
                .modes
                .iter()
                .map(|mode| mode.median_us[picture])
                .collect(),
            detection_counts: setting
                .modes
                .iter()
                .map(|mode| mode.detections[picture].len())
                .collect(),
        });
    let options = &setting.options;
    SettingEntry {
        set: &setting.set,
        nms_score_threshold: options.nms_score_threshold,
        nms_iou_threshold: options.nms_iou_threshold,
        max_detections: options.max_detections,
        max_classes_per_detection: options.max_classes_per_detection,
        detections_per_class: options.detections_per_class,
        num_classes: options.num_classes,
        modes: modes.collect(),
        map_difference: setting.differences.as_ref().and_then(|all| all.map),
        ap_difference_per_category: category_entries(setting),
        objects: Found::new(setting).map(|found| {
            let entries = |objects: &[&Object]| {
                objects
                    .iter()
                    .map(|object| object_entry(study, object))
                    .collect()
            };
            ObjectsEntry {
                both: found.both,
                neither: found.neither,
                only_regular: entries(&found.only_first),
                only_fast: entries(&found.only_second),
            }
        }),
        pictures: pictures.collect(),
    }
}

fn object_entry(study: &Study<'_>, object: &Object) -> ObjectEntry {
    ObjectEntry {
        image_id: study.specimens[object.picture].image_id,
        category_id: object.category_id,
        bbox: object.bbox,
        score: object.found,
    }
}

fn category_entries(setting: &Setting) -> Vec<CategoryEntry> {
    let ([first, second], Some(differences)) = (&setting.modes[..], &setting.differences) else {
        return Vec::new();
    };
    let (Some(first), Some(second)) = (&first.scores, &second.scores) else {
        return Vec::new();
    };
    let rows = first
        .per_category
        .iter()
        .zip(&second.per_category)
        .zip(&differences.per_category);
    rows.filter_map(|((regular, fast), difference)| {
        Some(CategoryEntry {
            id: regular.id,
            name: regular.name.clone(),
            ap_regular: regular.ap,
            ap_fast: fast.ap,
            difference: (*difference)?,
        })
    })
    .collect()
}
