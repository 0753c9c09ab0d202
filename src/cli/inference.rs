//! One session on one thread, for verbs that want detections or raw heads and measure nothing.

use std::path::Path;

use super::failure::Failure;
use super::run::Subject;
use crate::model::description::Heads;
use crate::postprocess::activation::{sigmoid, softmax};
use crate::postprocess::{Activation, Detection, Detector};
use crate::runtime::{Model, OnnxModel, Runtime, SessionOptions};
use crate::tensor::{TensorData, TensorView};

/// A model that is ready to run.
pub struct Inference {
    name: String,
    /// What its raw heads are, if it has any.
    heads: Option<Heads>,
    model: OnnxModel,
}

impl Inference {
    /// Opens the subject's model.
    pub fn open(subject: &Subject, runtime: &Runtime) -> Result<Self, Failure> {
        Self::open_file(&subject.onnx, subject, runtime)
    }

    /// Opens a file that gives what the subject does.
    pub fn open_file(onnx: &Path, subject: &Subject, runtime: &Runtime) -> Result<Self, Failure> {
        let options = SessionOptions {
            outputs: subject.outputs(),
            has_batch_axis: subject.has_batch_axis(),
            ..SessionOptions::default()
        };
        let model = OnnxModel::open(runtime, onnx, &options).map_err(Failure::usage)?;
        let raw = subject.description.outputs.raw_heads();
        Ok(Self {
            name: subject.description.name.clone(),
            heads: raw.map(|raw| raw.heads.clone()),
            model,
        })
    }

    /// Runs one prepared picture.
    pub fn run(&mut self, picture: TensorView<'_>) -> Result<(), Failure> {
        self.model.run(picture).map_err(Failure::environment)
    }

    /// The outputs of the last run, in the order that the detectors take.
    pub fn outputs(&self) -> Result<Vec<TensorView<'_>>, Failure> {
        let outputs = 0..self.model.output_count();
        let outputs = outputs.map(|index| self.model.output(index));
        outputs
            .collect::<Result<_, _>>()
            .map_err(Failure::environment)
    }

    /// Detections of the last run.
    pub fn detect(&self, detector: &mut dyn Detector) -> Result<Vec<Detection>, Failure> {
        let mut detections = Vec::new();
        detector
            .detect(&self.outputs()?, 0, &mut detections)
            .map_err(Failure::usage)?;
        Ok(detections)
    }

    /// The score head of the last run as probabilities, `[anchors, columns]`, and the boxes as they are.
    pub fn raw_heads(&self) -> Result<(Vec<f32>, Vec<f32>), Failure> {
        let outputs = self.outputs()?;
        let (
            Some(heads),
            &[TensorView {
                data: TensorData::F32(boxes),
                ..
            }, TensorView {
                data: TensorData::F32(scores),
                ..
            }],
        ) = (&self.heads, outputs.as_slice())
        else {
            return Err(no_raw_heads(&self.name));
        };
        let mut probabilities = scores.to_vec();
        match heads.activation {
            Activation::None => {}
            Activation::Sigmoid => probabilities
                .iter_mut()
                .for_each(|score| *score = sigmoid(*score)),
            Activation::Softmax => {
                let columns = heads.score_columns() as usize;
                let mut scratch = Vec::new();
                let rows = scores
                    .chunks_exact(columns)
                    .zip(probabilities.chunks_exact_mut(columns));
                for (logits, row) in rows {
                    softmax(logits, row, &mut scratch);
                }
            }
        }
        Ok((boxes.to_vec(), probabilities))
    }
}

/// Why the NMS laboratory has nothing to do with a model.
pub fn no_raw_heads(model: &str) -> Failure {
    Failure::usage(format!(
        "{model} ends in detections: it has no raw heads (boxes and scores of every anchor) on which NMS modes could be compared"
    ))
}
