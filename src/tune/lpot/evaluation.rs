//! The section `evaluation`: ground truth, metric, how speed is measured.

use std::path::PathBuf;

use super::dataset::{self, Dataset};
use super::fields::{Field, Section};
use super::{LpotError, Notes};

/// What the section says.
pub struct Evaluation {
    pub dataset: Option<Dataset>,
    pub performance: Performance,
}

/// How speed is measured; `None` for what the file leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Performance {
    /// Inferences before the first that counts.
    pub warmup: Option<u32>,
    /// Inferences that count.
    pub iterations: Option<u32>,
    /// Cores of each instance, or threads inside an operator where only those are named.
    pub cores_per_instance: Option<u32>,
    /// Instances side by side.
    pub instances: Option<u32>,
}

const MANY: u64 = 1_000_000;

pub fn read(whole: &Section<'_>, notes: &mut Notes<'_>) -> Result<Evaluation, LpotError> {
    let evaluation = whole.section("evaluation", &["accuracy", "performance"])?;
    let accuracy = evaluation.section(
        "accuracy",
        &["metric", "configs", "dataloader", "postprocess"],
    )?;
    let mut found = dataset::read(&accuracy, notes)?;
    let annotations = metric(&accuracy, notes)?;
    if let (Some(set), Some(path)) = (&mut found, annotations) {
        set.annotations = Some(path);
    }
    let (_, own) = configs(&accuracy, notes)?;
    for field in own {
        notes.add(
            &field,
            "scoring takes all cores; the keys below `performance` say how speed is measured",
        );
    }
    postprocess(&accuracy, notes)?;
    Ok(Evaluation {
        dataset: found,
        performance: performance(&evaluation, notes)?,
    })
}

/// Checks the metric; returns the ground truth that it names.
fn metric(accuracy: &Section<'_>, notes: &mut Notes<'_>) -> Result<Option<PathBuf>, LpotError> {
    let metrics = accuracy.section(
        "metric",
        &[
            "COCOmAP", "mAP", "VOCmAP", "topk", "Accuracy", "Loss", "MAE", "RMSE", "MSE", "F1",
            "SquadF1", "BLEU", "mIOU",
        ],
    )?;
    let mut annotations = None;
    for field in metrics.fields() {
        if !["COCOmAP", "mAP"].contains(&field.key) {
            return Err(field.refused("a detector is scored by COCO's mAP; write `COCOmAP:`"));
        }
        let section = field.section(&["anno_path", "iou_thrs", "map_points", "map_key"])?;
        if let Some(path) = section.field("anno_path") {
            let text = path.text("a path")?;
            if has_extension(text, "json") {
                annotations = Some(PathBuf::from(text));
            } else {
                notes.add(
                    &path,
                    "names of classes come from the file that describes the model",
                );
            }
        }
        is_cocos(&section, &field, notes)?;
        notes.add_each(
            &section,
            &["map_key"],
            "the mean over all thresholds and classes is judged",
        );
    }
    Ok(annotations)
}

fn has_extension(path: &str, extension: &str) -> bool {
    let own = std::path::Path::new(path).extension();
    own.is_some_and(|own| own.eq_ignore_ascii_case(extension))
}

/// Notes where the metric is another than COCO's twelve numbers' first.
fn is_cocos(
    section: &Section<'_>,
    metric: &Field<'_>,
    notes: &mut Notes<'_>,
) -> Result<(), LpotError> {
    const ALL: &str = "0.5:0.05:0.95";
    const COCOS: &str = "COCO's mAP is taken: thresholds 0.5:0.05:0.95, 101 points";
    // LPOT's `mAP` has one threshold and every point unless it says otherwise.
    let mut is_all = metric.key == "COCOmAP";
    let mut points = if is_all { 101 } else { 0 };
    if let Some(field) = section.field("iou_thrs") {
        let expected = "0.5:0.05:0.95 or a number from 0 to 1";
        is_all = field.text(expected)? == ALL;
        if !is_all && !(0.0..=1.0).contains(&field.number(expected)?) {
            return Err(field.wrong(expected));
        }
    }
    if let Some(field) = section.field("map_points") {
        points = match field.word(&["0", "11", "101"])? {
            "101" => 101,
            _ => 0,
        };
    }
    if !is_all || points != 101 {
        notes.add(metric, COCOS);
    }
    Ok(())
}

fn postprocess(section: &Section<'_>, notes: &mut Notes<'_>) -> Result<(), LpotError> {
    let section = section.section("postprocess", &["transform"])?;
    if let Some(field) = section.field("transform") {
        field.open_section()?;
        notes.add(
            &field,
            "the file that describes the model says how its outputs are read",
        );
    }
    Ok(())
}

fn performance(evaluation: &Section<'_>, notes: &mut Notes<'_>) -> Result<Performance, LpotError> {
    let section = evaluation.section(
        "performance",
        &[
            "warmup",
            "iteration",
            "configs",
            "dataloader",
            "postprocess",
        ],
    )?;
    let (mut found, _) = configs(&section, notes)?;
    if let Some(field) = section.field("warmup") {
        found.warmup = Some(small(&field, 0)?);
    }
    if let Some(field) = section.field("iteration") {
        // LPOT's -1 stands for the whole data set.
        if field.text("a number")? != "-1" {
            found.iterations = Some(small(&field, 1)?);
        }
    }
    if let Some(field) = section.field("dataloader") {
        dataset::read(&section, notes)?;
        notes.add(&field, "speed is measured on the pictures that are scored");
    }
    postprocess(&section, notes)?;
    Ok(found)
}

fn small(field: &Field<'_>, least: u64) -> Result<u32, LpotError> {
    let number = field.whole(least, MANY)?;
    Ok(u32::try_from(number).expect("at most a million"))
}

/// Instances and their cores, and the keys that say so.
fn configs<'a>(
    section: &Section<'a>,
    notes: &mut Notes<'_>,
) -> Result<(Performance, Vec<Field<'a>>), LpotError> {
    let configs = section.section(
        "configs",
        &[
            "cores_per_instance",
            "num_of_instance",
            "inter_num_of_threads",
            "intra_num_of_threads",
            "kmp_blocktime",
            "kmp_affinity",
        ],
    )?;
    let mut used = Vec::new();
    let mut number = |key: &str| {
        let Some(field) = configs.field(key) else {
            return Ok(None);
        };
        let number = small(&field, 1)?;
        used.push(field);
        Ok(Some(number))
    };
    let cores = number("cores_per_instance")?;
    let instances = number("num_of_instance")?;
    let threads = number("intra_num_of_threads")?;
    if let Some(field) = configs.field("inter_num_of_threads") {
        small(&field, 1)?;
        notes.add(&field, "operators run one after another here");
    }
    notes.add_each(
        &configs,
        &["kmp_blocktime", "kmp_affinity"],
        "ONNX Runtime has threads of its own, and no OpenMP",
    );
    let found = Performance {
        cores_per_instance: cores.or(threads),
        instances,
        ..Performance::default()
    };
    Ok((found, used))
}
