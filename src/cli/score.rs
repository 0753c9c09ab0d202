//! `detbench score`: detections and COCO ground truth to the twelve numbers.

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::accuracy::{
    read_image_ids, read_results, score, twelve_lines, AccuracyError, CocoScores, GroundTruth,
};

/// What `detbench score` is told.
#[derive(Debug, Clone, clap::Args)]
pub struct ScoreArguments {
    /// COCO ground truth, such as `instances_val2017.json`.
    #[arg(long, value_name = "GT.json")]
    pub annotations: PathBuf,
    /// Detections as COCO results: a JSON list of `image_id`, `category_id`, `bbox` and `score`.
    #[arg(long, value_name = "DT.json")]
    pub detections: PathBuf,
    /// Evaluate only these images: ids one a line, or one JSON list.
    #[arg(long, value_name = "FILE")]
    pub image_ids: Option<PathBuf>,
    /// One JSON document instead of twelve lines.
    #[arg(long)]
    pub json: bool,
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
    /// The answer could not be written.
    #[error("the scores could not be written: {0}")]
    Write(#[from] std::io::Error),
}

/// Scores and writes the answer: pycocotools' twelve lines, or one line of JSON.
///
/// # Errors
/// Whatever is wrong with the files, each named, and a failure to write.
pub fn run(arguments: &ScoreArguments, out: &mut impl Write) -> Result<(), ScoreError> {
    let scores = scores(arguments)?;
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
    } else {
        out.write_all(twelve_lines(&scores.stats).as_bytes())?;
    }
    Ok(())
}

fn scores(arguments: &ScoreArguments) -> Result<CocoScores, AccuracyError> {
    let image_ids = arguments
        .image_ids
        .as_deref()
        .map(read_image_ids)
        .transpose()?;
    let ground_truth = GroundTruth::read(&arguments.annotations)?;
    let detections = read_results(&arguments.detections)?;
    score(&ground_truth, &detections, image_ids.as_deref())
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
            annotations: file("gt.json", annotations),
            detections: file("dt.json", detections),
            image_ids: Some(file("ids", "1\n")),
            json,
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
