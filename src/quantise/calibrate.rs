//! Step 3: what the inner tensors of the float network hold, seen on pictures in two passes.
//!
//! The network runs in ONNX Runtime; the observed tensors are outputs added to a copy of it. One picture's tensors
//! are in memory at a time.

use std::collections::{BTreeMap, BTreeSet};

use rayon::iter::{
    IndexedParallelIterator, IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelIterator,
};

use super::plan::Plan;
use super::statistics::{Extent, Histogram};
use super::QuantiseError;
use crate::model::onnx::proto::{ModelProto, ValueInfoProto};
use crate::runtime::Model;
use crate::tensor::{TensorData, TensorView};

/// Prepared pictures to calibrate with.
pub trait CalibrationPictures {
    /// How many there are.
    fn count(&self) -> usize;
    /// The input tensor of one; it holds until the next call.
    ///
    /// # Errors
    /// [`QuantiseError::Picture`] when it cannot be read.
    fn tensor(&mut self, index: usize) -> Result<TensorView<'_>, QuantiseError>;
    /// What errors call it.
    fn name(&self, index: usize) -> String;
}

/// What is known of a tensor after calibration.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Extremes and means.
    pub extent: Extent,
    /// The spread of its elements.
    pub histogram: Histogram,
}

/// Tensors to be observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Tensors that a node makes, in the order of the session's outputs.
    pub inner: Vec<String>,
    /// The network's input, when it is to be observed.
    pub input: Option<String>,
}

impl Watched {
    /// Tensors whose ranges or channel means a plan needs.
    pub fn of(plan: &Plan, inputs: &[&str]) -> Self {
        let sources = plan.groups.iter().flat_map(|group| &group.sources);
        let sources = sources.map(|source| source.tensor.as_str());
        Self::these(sources, plan, inputs)
    }

    /// Tensors that a plan needs which keeps more layers in float than `plan`: what now shares an encoding may then
    /// need one of its own.
    pub fn of_any_part(plan: &Plan, inputs: &[&str]) -> Self {
        let members = plan.groups.iter().flat_map(|group| &group.members);
        Self::these(members.map(String::as_str), plan, inputs)
    }

    fn these<'a>(tensors: impl Iterator<Item = &'a str>, plan: &'a Plan, inputs: &[&str]) -> Self {
        let read = plan.layers.iter().map(|layer| layer.input.as_str());
        let mut inner = Vec::new();
        let mut seen = BTreeSet::new();
        let mut input = None;
        for tensor in tensors.chain(read) {
            if inputs.contains(&tensor) {
                input = Some(tensor.to_owned());
            } else {
                // In the network's order, so that the first with NaN in it is where NaN begins.
                if seen.insert(tensor) {
                    inner.push(tensor.to_owned());
                }
            }
        }
        Self { inner, input }
    }
}

/// A copy of `model` that gives the watched tensors as outputs, and no others.
pub fn exposed(model: &ModelProto, watched: &Watched) -> ModelProto {
    let mut model = model.clone();
    if let Some(graph) = &mut model.graph {
        let outputs = watched.inner.iter().map(|name| {
            let known = graph.output.iter().find(|output| output.name == *name);
            known.cloned().unwrap_or_else(|| ValueInfoProto {
                name: name.clone(),
                ..ValueInfoProto::default()
            })
        });
        graph.output = outputs.collect();
    }
    model
}

/// Runs all pictures twice. `model` gives the inner watched tensors in their order; `progress` is told after each
/// picture how many of the `2 * count` runs are done.
///
/// # Errors
/// [`QuantiseError`]: no pictures, a tensor with NaN or infinity, a failing run.
pub fn calibrate(
    model: &mut dyn Model,
    watched: &Watched,
    pictures: &mut dyn CalibrationPictures,
    progress: &mut dyn FnMut(usize),
) -> Result<BTreeMap<String, Observation>, QuantiseError> {
    let count = pictures.count();
    if count == 0 {
        return Err(QuantiseError::NoPictures);
    }
    let extents = extents(model, watched, pictures, progress)?;
    let mut histograms: Vec<Histogram> = extents
        .iter()
        .map(|extent| Histogram::new(extent.range()))
        .collect();
    for picture in 0..count {
        let tensors = observe(model, watched, pictures, picture)?;
        histograms
            .par_iter_mut()
            .zip(tensors.par_iter())
            .for_each(|(histogram, (_, data))| histogram.add(data));
        progress(count + picture + 1);
    }
    let names = watched.inner.iter().chain(&watched.input).cloned();
    let observations = extents.into_iter().zip(histograms);
    let observations = observations.map(|(extent, histogram)| Observation { extent, histogram });
    Ok(names.zip(observations).collect())
}

/// The first pass alone, in the order of the inner tensors and then the input.
///
/// # Errors
/// As [`calibrate`].
pub fn extents(
    model: &mut dyn Model,
    watched: &Watched,
    pictures: &mut dyn CalibrationPictures,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Extent>, QuantiseError> {
    let names: Vec<&String> = watched.inner.iter().chain(&watched.input).collect();
    let mut extents = vec![Extent::default(); names.len()];
    for picture in 0..pictures.count() {
        let tensors = observe(model, watched, pictures, picture)?;
        let finite: Vec<bool> = extents
            .par_iter_mut()
            .zip(tensors.par_iter())
            .map(|(extent, (shape, data))| extent.add(shape, data).is_ok())
            .collect();
        // The input is the last in the list and the first in the network.
        let at_input = watched.input.as_ref().map(|_| finite.len() - 1);
        let mut order = at_input.into_iter().chain(0..finite.len());
        if let Some(at) = order.find(|at| !finite[*at]) {
            return Err(QuantiseError::NotFinite {
                tensor: names[at].clone(),
                picture: pictures.name(picture),
            });
        }
        progress(picture + 1);
    }
    Ok(extents)
}

/// Shape and elements of a tensor.
type Seen<'a> = (&'a [i64], &'a [f32]);

/// Each watched tensor on one picture.
fn observe<'a>(
    model: &'a mut dyn Model,
    watched: &Watched,
    pictures: &'a mut dyn CalibrationPictures,
    picture: usize,
) -> Result<Vec<Seen<'a>>, QuantiseError> {
    let input = pictures.tensor(picture)?;
    model.run(input)?;
    let model = &*model;
    let mut tensors = Vec::with_capacity(watched.inner.len() + 1);
    for (index, name) in watched.inner.iter().enumerate() {
        tensors.push(floats(model.output(index)?, name)?);
    }
    if let Some(name) = &watched.input {
        tensors.push(floats(input, name)?);
    }
    Ok(tensors)
}

fn floats<'a>(view: TensorView<'a>, name: &str) -> Result<Seen<'a>, QuantiseError> {
    match view.data {
        TensorData::F32(data) => Ok((view.shape, data)),
        other => Err(QuantiseError::NotFloat {
            tensor: name.to_owned(),
            element: other.type_name(),
        }),
    }
}
