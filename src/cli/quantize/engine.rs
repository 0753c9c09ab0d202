//! Models in memory -> sessions of ONNX Runtime, through files that are gone afterwards.

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use prost::Message;
use tempfile::TempDir;

use crate::cli::failure::{Blame, Failure};
use crate::cli::run::Subject;
use crate::model::onnx::proto::ModelProto;
use crate::model::onnx::signature::decode;
use crate::quantise::calibrate::CalibrationPictures;
use crate::quantise::compare::largest_difference;
use crate::quantise::fusion::{verify, Fusion};
use crate::quantise::plan::Plan;
use crate::runtime::{Model, OnnxModel, Runtime, SessionOptions};
use crate::tensor::TensorData;

/// Pictures on which a changed float network is held against the one before.
const CHECKED_PICTURES: usize = 3;

/// Opens models that have no file yet.
pub struct Engine<'a> {
    runtime: &'a Runtime,
    has_batch_axis: bool,
    folder: TempDir,
}

impl<'a> Engine<'a> {
    /// For models that take what `subject` takes.
    pub fn new(runtime: &'a Runtime, subject: &Subject) -> Result<Self, Failure> {
        let folder = tempfile::tempdir();
        Ok(Self {
            runtime,
            has_batch_axis: subject.has_batch_axis(),
            folder: folder.or_environment()?,
        })
    }

    /// Opens a model on all cores, with these outputs or all.
    pub fn open(&self, model: &ModelProto, outputs: Vec<String>) -> Result<OnnxModel, Failure> {
        let path = self.write(model)?;
        let options = SessionOptions {
            intra_threads: available_parallelism().map_or(1, std::num::NonZero::get),
            outputs,
            has_batch_axis: self.has_batch_axis,
            ..SessionOptions::default()
        };
        OnnxModel::open(self.runtime, &path, &options).or_usage()
    }

    fn write(&self, model: &ModelProto) -> Result<PathBuf, Failure> {
        let path = self.folder.path().join("model.onnx");
        std::fs::write(&path, model.encode_to_vec()).or_environment()?;
        Ok(path)
    }

    /// Largest difference of two float networks' outputs over the output's range, and that output.
    pub fn difference(
        &self,
        before: &ModelProto,
        after: &ModelProto,
        outputs: &[String],
        pictures: &mut dyn CalibrationPictures,
    ) -> Result<(String, f64), Failure> {
        let mut before = self.open(before, outputs.to_vec())?;
        let mut after = self.open(after, outputs.to_vec())?;
        let mut worst = (String::new(), 0.0_f64);
        for picture in 0..pictures.count().min(CHECKED_PICTURES) {
            let input = pictures.tensor(picture).or_usage()?;
            before.run(input).or_environment()?;
            after.run(input).or_environment()?;
            for (index, output) in outputs.iter().enumerate() {
                let both = (
                    before.output(index).or_environment()?.data,
                    after.output(index).or_environment()?.data,
                );
                // Detections of graphs that end in them may differ in number; only floats of one length compare.
                if let (TensorData::F32(a), TensorData::F32(b)) = both {
                    if a.len() == b.len() && !a.is_empty() {
                        let own = largest_difference(a, b);
                        if own > worst.1 || own.is_nan() {
                            worst = (output.clone(), own);
                        }
                    }
                }
            }
        }
        Ok(worst)
    }

    /// Lets ONNX Runtime optimise the model and counts what came of it.
    pub fn fusion(&self, model: &ModelProto, plan: &Plan) -> Result<Fusion, Failure> {
        let path = self.write(model)?;
        let optimised = self.folder.path().join("optimised.onnx");
        let options = SessionOptions {
            has_batch_axis: self.has_batch_axis,
            optimized_model_path: Some(optimised.clone()),
            ..SessionOptions::default()
        };
        drop(OnnxModel::open(self.runtime, &path, &options).or_usage()?);
        let bytes = std::fs::read(&optimised).or_environment()?;
        let graph = decode(&bytes, Path::new("the optimised graph")).or_environment()?;
        verify(&graph, plan).or_usage()
    }
}
