//! The samples of one inference, and the tensor they make.

use super::data::Made;
use super::{Assignment, Inputs, Work};
use crate::sut::SutError;
use crate::tensor::{TensorBuffer, TensorView};
use crate::units::QuerySample;

/// Up to `size` samples. A batch of one lends the sample's own tensor; a larger one gathers
/// its samples into a buffer that is allocated once.
pub(super) struct Batch {
    inputs: Inputs,
    size: usize,
    works: Vec<Work>,
    gathered: Option<TensorBuffer>,
    shape: Vec<i64>,
}

impl Batch {
    pub fn new(assignment: &Assignment) -> Self {
        let shape = match &assignment.inputs {
            Inputs::Prepared(samples) => samples.sample_shape().to_vec(),
            Inputs::Encoded(recipe) => recipe.sample_shape(),
        };
        Self {
            inputs: assignment.inputs.clone(),
            size: assignment.batch_size,
            works: Vec::with_capacity(assignment.batch_size),
            gathered: None,
            shape,
        }
    }

    pub fn begin(&mut self, first: Work) {
        self.works.clear();
        self.works.push(first);
    }

    pub fn add(&mut self, work: Work) {
        self.works.push(work);
    }

    pub fn is_full(&self) -> bool {
        self.works.len() >= self.size
    }

    pub fn works(&self) -> &[Work] {
        &self.works
    }

    pub fn first_sample(&self) -> QuerySample {
        self.works[0].sample
    }

    /// Gives the buffers of the data threads back.
    pub fn finish(&mut self) {
        self.works.clear();
    }

    /// Fills the batch with copies of one sample, for warm-up.
    pub fn fill_with(&mut self, sample: QuerySample) -> Result<(), SutError> {
        self.works.clear();
        while !self.is_full() {
            let made = match &self.inputs {
                Inputs::Prepared(_) => None,
                Inputs::Encoded(recipe) => Some(Made::aside(recipe, sample.index)?),
            };
            let desk = 0;
            self.works.push(Work { sample, desk, made });
        }
        Ok(())
    }

    /// The input tensor, `[samples, …]`.
    pub fn tensor(&mut self) -> TensorView<'_> {
        if let [work] = self.works.as_slice() {
            return sample_tensor(&self.inputs, work);
        }
        let mut filled = 0;
        for work in &self.works {
            let view = sample_tensor(&self.inputs, work);
            let gathered = self
                .gathered
                .get_or_insert_with(|| room_for(&view, self.size));
            gathered.copy_in(filled, &view.data);
            filled += view.data.len();
        }
        self.shape[0] = i64::try_from(self.works.len()).expect("a batch is small");
        let gathered = self.gathered.as_ref().expect("a batch is not empty");
        TensorView {
            shape: &self.shape,
            data: gathered.prefix(filled),
        }
    }
}

fn room_for(sample: &TensorView<'_>, count: usize) -> TensorBuffer {
    TensorBuffer::zeros_like(&sample.data, sample.data.len() * count)
        .expect("a library makes floats or bytes")
}

fn sample_tensor<'a>(inputs: &'a Inputs, work: &'a Work) -> TensorView<'a> {
    match (inputs, &work.made) {
        (_, Some(made)) => made.tensor(),
        (Inputs::Prepared(samples), None) => samples.tensor(work.sample.index),
        (Inputs::Encoded(..), None) => unreachable!("data threads make every tensor"),
    }
}
