//! `detbench score`: detections and ground truth to COCO's twelve numbers, or to VOC's.

pub mod voc;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::accuracy::voc::VocObject;
use crate::accuracy::{
    ck_rounded, read_image_ids, read_mlperf_log, read_results, score, twelve_lines, AccuracyError,
    CocoScores, GroundTruth, MlperfLog,
};
use crate::cli::ground_truth::ground_truth;
use crate::dataset::{voc_name, Dataset, DatasetError, Request, Truth};

/// What `detbench score` is told.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ScoreArguments {
    /// COCO ground truth, such as `instances_val2017.json`.
    #[arg(long, value_name = "GT.json", required_unless_present_any = ["voc", "dataset"])]
    pub annotations: Option<PathBuf>,
    /// A data set in the place of its ground truth: a COCO or Pascal VOC folder, or TFRecords. All its pictures are
    /// evaluated unless --image-ids says otherwise.
    #[arg(long, value_name = "PATH", conflicts_with = "voc")]
    pub dataset: Option<PathBuf>,
    /// Which part of the data set, such as val2014, VOC's test, or the first word of the records' names.
    #[arg(long, value_name = "NAME", requires = "dataset")]
    pub split: Option<String>,
    /// Detections as COCO results: a JSON list of `image_id`, `category_id`, `bbox` and `score`. With --voc a JSON list
    /// of `image`, `class`, `score` and `bbox` (`x_min, y_min, x_max, y_max`, pixels from 1), or a folder with a file
    /// `…_CLASS.txt` for each class (lines of `image score x_min y_min x_max y_max`).
    #[arg(long, value_name = "DT", required_unless_present = "mlperf_log")]
    pub detections: Option<PathBuf>,
    /// Evaluate only these images: ids (with --voc names) one a line, or one JSON list of ids.
    #[arg(long, value_name = "FILE", conflicts_with = "mlperf_log")]
    pub image_ids: Option<PathBuf>,
    /// Score the accuracy log of a LoadGen run (`mlperf_log_accuracy.json`) instead of detections.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["detections", "voc"])]
    pub mlperf_log: Option<PathBuf>,
    /// The log's run left out the images without annotations.
    #[arg(long, requires = "mlperf_log")]
    pub remove_empty: bool,
    /// The log's labels count the categories (1 is the lowest id), other than being ids.
    #[arg(long, requires = "mlperf_log")]
    pub use_inv_map: bool,
    /// Round as the text files of Collective Knowledge do, and print its mAP and Recall.
    #[arg(long, conflicts_with = "voc")]
    pub ck_rounding: bool,
    /// Score against a Pascal VOC folder (with `Annotations/`).
    #[arg(long, value_name = "DIR", conflicts_with = "annotations")]
    pub voc: Option<PathBuf>,
    /// Whose arithmetic scores VOC.
    #[arg(long, value_enum, default_value_t)]
    pub voc_style: VocStyleArgument,
    /// VOC interpolated at eleven recalls, or the whole area.
    #[arg(long, value_enum, default_value_t)]
    pub points: Points,
    /// One JSON document instead of text.
    #[arg(long)]
    pub json: bool,
}

/// `--voc-style`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum VocStyleArgument {
    /// The VOC 2007 development kit.
    Devkit,
    /// pytorch-ssd.
    Ptssd,
    /// HiKapok's SSD: guarded f64 arithmetic.
    #[default]
    Hikapok,
}

/// `--points`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Points {
    /// VOC 2007's eleven recalls.
    #[default]
    #[value(name = "11")]
    Eleven,
    /// The area under the curve.
    All,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    #[serde(flatten)]
    scores: &'a CocoScores,
}

/// Why nothing was scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A file, or what it holds.
    #[error(transparent)]
    Accuracy(#[from] AccuracyError),
    /// A detection of the file.
    #[error("{}: {source}", path.display())]
    Detection {
        /// The file.
        path: PathBuf,
        /// Which detection, and what is wrong with it.
        source: AccuracyError,
    },
    /// A data set that cannot be opened.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A data set without ground truth.
    #[error("{}: it is {form} without ground truth; pass --annotations FILE", path.display())]
    NoTruth {
        /// The data set.
        path: PathBuf,
        /// In which form it is kept.
        form: &'static str,
    },
    /// An accuracy log, or rounding, of COCO's with a data set that is VOC's.
    #[error("{flag} has no meaning for a VOC data set; leave it out")]
    NotForVoc {
        /// The flag.
        flag: &'static str,
    },
    /// VOC's arithmetic for COCO's ground truth.
    #[error("{flag} says how Pascal VOC is scored, and this ground truth is COCO's; leave it out")]
    NotForCoco {
        /// The flag.
        flag: &'static str,
    },
    /// The answer could not be written.
    #[error("the scores could not be written: {0}")]
    Write(#[from] std::io::Error),
}

/// Scores and writes the answer: pycocotools' twelve lines, or one line of JSON.
///
/// # Errors
/// Whatever is wrong with the files, each named, and a failure to write.
pub fn run(arguments: &ScoreArguments, out: &mut impl Write) -> Result<(), ScoreError> {
    if let Some(folder) = &arguments.voc {
        return voc::run(arguments, folder, out);
    }
    let truth = match truth(arguments)? {
        Either::Coco(truth) => truth,
        Either::Voc { images, objects } => {
            return voc::run_on(arguments, images, objects, out);
        }
    };
    if let Some(flag) = voc_flag(arguments.voc_style, arguments.points) {
        return Err(ScoreError::NotForCoco { flag });
    }
    let scores = scores(arguments, &truth)?;
    if arguments.json {
        serde_json::to_writer(
            &mut *out,
            &Document {
                schema_version: 1,
                scores: &scores,
            },
        )
        .map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    out.write_all(twelve_lines(&scores.stats).as_bytes())?;
    if arguments.mlperf_log.is_some() {
        writeln!(out, "mAP={:.3}%", 100.0 * scores.stats[0])?;
    }
    if arguments.ck_rounding {
        writeln!(
            out,
            "mAP: {:?}\nRecall: {:?}",
            scores.stats[0], scores.stats[8]
        )?;
    }
    Ok(())
}

/// A flag that was set and says how VOC is scored.
pub fn voc_flag(style: VocStyleArgument, points: Points) -> Option<&'static str> {
    if style != VocStyleArgument::default() {
        Some("--voc-style")
    } else if points != Points::default() {
        Some("--points")
    } else {
        None
    }
}

/// The ground truth of either kind.
enum Either {
    Coco(GroundTruth),
    Voc {
        images: Vec<String>,
        objects: Vec<VocObject>,
    },
}

/// What the annotations say, or the data set.
fn truth(arguments: &ScoreArguments) -> Result<Either, ScoreError> {
    let annotations = arguments.annotations.as_deref();
    let Some(path) = &arguments.dataset else {
        let file = annotations.expect("clap asks for it without another ground truth");
        return Ok(Either::Coco(GroundTruth::read(file)?));
    };
    let dataset = Dataset::open(&Request {
        path,
        annotations,
        split: arguments.split.as_deref(),
        skip_missing: true,
        threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
    })?;
    match dataset.truth {
        None => Err(ScoreError::NoTruth {
            path: path.clone(),
            form: dataset.form.describe(),
        }),
        Some(Truth::Coco(instances)) => Ok(Either::Coco(ground_truth(instances)?)),
        Some(Truth::Voc(objects)) => {
            let flags = [
                ("--mlperf-log", arguments.mlperf_log.is_some()),
                ("--ck-rounding", arguments.ck_rounding),
            ];
            if let Some((flag, _)) = flags.into_iter().find(|(_, given)| *given) {
                return Err(ScoreError::NotForVoc { flag });
            }
            let pictures = dataset.pictures.iter();
            let images = pictures.map(|picture| voc_name(&picture.file_name).to_owned());
            Ok(Either::Voc {
                images: images.collect(),
                objects,
            })
        }
    }
}

fn scores(
    arguments: &ScoreArguments,
    ground_truth: &GroundTruth,
) -> Result<CocoScores, ScoreError> {
    let image_ids = arguments
        .image_ids
        .as_deref()
        .map(read_image_ids)
        .transpose()?;
    let (mut detections, image_ids) = if let Some(log) = &arguments.mlperf_log {
        let log = logged(arguments, log, ground_truth)?;
        (log.detections, Some(log.image_ids))
    } else {
        let path = arguments.detections.as_deref();
        let path = path.expect("clap asks for it without a log");
        (read_results(path)?, image_ids)
    };
    if arguments.ck_rounding {
        detections = ck_rounded(&detections);
    }
    let scores = score(ground_truth, &detections, image_ids.as_deref());
    scores.map_err(|source| match (source, &arguments.detections) {
        (
            source @ (AccuracyError::UnknownImage { .. } | AccuracyError::NotANumber { .. }),
            Some(path),
        ) => ScoreError::Detection {
            path: path.clone(),
            source,
        },
        (source, _) => source.into(),
    })
}

fn logged(
    arguments: &ScoreArguments,
    log: &Path,
    ground_truth: &GroundTruth,
) -> Result<MlperfLog, AccuracyError> {
    let mut images = ground_truth.images().to_vec();
    if arguments.remove_empty {
        let annotated = ground_truth.annotated_images();
        images.retain(|image| annotated.contains(&image.id));
    }
    let categories: Vec<i64> = ground_truth.categories().map(|(id, _)| id).collect();
    read_mlperf_log(log, &images, |label| {
        if !arguments.use_inv_map {
            return Some(label);
        }
        let position = usize::try_from(label).ok()?.checked_sub(1)?;
        categories.get(position).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(json: bool) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let annotations = r#"{"images":[{"id":1},{"id":2}],"categories":[{"id":1,"name":"dog"}],
            "annotations":[{"id":1,"image_id":1,"category_id":1,"bbox":[0,0,50,50],"area":2500,"iscrowd":0}]}"#;
        let detections = r#"[{"image_id":1,"category_id":1,"bbox":[0,0,50,50],"score":0.9},
            {"image_id":2,"category_id":1,"bbox":[0,0,50,50],"score":0.95}]"#;
        let arguments = ScoreArguments {
            annotations: Some(file("gt.json", annotations)),
            detections: Some(file("dt.json", detections)),
            image_ids: Some(file("ids", "1\n")),
            json,
            ..ScoreArguments::default()
        };
        let mut out = Vec::new();
        run(&arguments, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_answer_is_twelve_lines() {
        let text = answer(false);
        assert_eq!(text.lines().count(), 12);
        assert!(text.starts_with(
            " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000\n"
        ));
    }

    #[test]
    fn with_json_the_answer_is_one_document() {
        let text = answer(true);
        // pycocotools' guard against 0/0 keeps a perfect precision an ulp or two below 1.
        assert_eq!(
            text,
            "{\"schema_version\":1,\"stats\":[0.9999999999999998,0.9999999999999999,0.9999999999999999,-1.0,\
             0.9999999999999998,-1.0,1.0,1.0,1.0,-1.0,1.0,-1.0],\"per_category\":[{\"id\":1,\"name\":\"dog\",\
             \"ap\":0.9999999999999998,\"ap50\":0.9999999999999999}]}\n"
        );
    }
}
