//! One session on one thread, for verbs that want detections or raw heads and measure nothing.

use super::failure::Failure;
use super::run::Subject;
use crate::postprocess::activation::{sigmoid, softmax};
use crate::postprocess::{Activation, Detection, Detector};
use crate::runtime::{Model, OnnxModel, Runtime, SessionOptions};
use crate::tensor::{TensorData, TensorView};

/// A model that is ready to run.
pub struct Inference<'a> {
    subject: &'a Subject,
    model: OnnxModel,
}

impl<'a> Inference<'a> {
    /// Opens the subject's model.
    pub fn open(subject: &'a Subject, runtime: &Runtime) -> Result<Self, Failure> {
        let options = SessionOptions {
            outputs: subject.outputs(),
            ..SessionOptions::default()
        };
        let model = OnnxModel::open(runtime, &subject.onnx, &options).map_err(Failure::usage)?;
        Ok(Self { subject, model })
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
        let heads = &self.subject.description.heads;
        let outputs = self.outputs()?;
        let &[TensorView {
            data: TensorData::F32(boxes),
            ..
        }, TensorView {
            data: TensorData::F32(scores),
            ..
        }] = outputs.as_slice()
        else {
            return Err(Failure::usage(format!(
                "{} has no raw heads (boxes and scores of f32) that could be saved",
                self.subject.description.name
            )));
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
