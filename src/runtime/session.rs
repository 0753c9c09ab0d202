//! A session of ONNX Runtime as a [`Model`].
//!
//! The input is lent, not copied. Outputs are written to buffers that live as long as the model, one
//! set per batch size: the first run of a batch size lets ONNX Runtime make them, later runs write
//! to them again. Our side allocates nothing per run after that (`tests/runtime.rs` counts).

use std::fmt;
use std::path::{Path, PathBuf};

use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::{DynValue, TensorElementType, TensorRef, ValueType};

use super::graph::{check_file, failed, graph_info, refused, GraphInfo, TensorInfo};
use super::{Model, RunError, Runtime, RuntimeOption};
use crate::tensor::{TensorData, TensorView};

/// How a session is set up. `Default` is one thread, batch one, all outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionOptions {
    /// Threads within one operator, the calling worker included.
    pub intra_threads: usize,
    /// Threads across operators; above one, operators run in parallel.
    pub inter_threads: usize,
    /// The CPU of each intra-op thread, numbered from zero as the system does. The first is the
    /// calling worker's own, which pins itself; ONNX Runtime pins the others.
    pub intra_affinity: Option<Vec<usize>>,
    /// Whether idle threads spin; `None` leaves it to ONNX Runtime, which spins.
    pub spinning: Option<bool>,
    /// Further options, applied last, so that they win.
    pub entries: Vec<RuntimeOption>,
    /// Which outputs, in which order; empty for all in the file's order.
    pub outputs: Vec<String>,
    /// The largest batch that will be asked for.
    pub batch_size: usize,
    /// Whether the input's first axis is the batch; a graph that takes one picture at a time has none.
    pub has_batch_axis: bool,
    /// Where ONNX Runtime writes the graph as it optimised it.
    pub optimized_model_path: Option<PathBuf>,
    /// Where ONNX Runtime writes its profile: the beginning of the file's name.
    pub profile_prefix: Option<PathBuf>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            intra_threads: 1,
            inter_threads: 1,
            intra_affinity: None,
            spinning: None,
            entries: Vec::new(),
            outputs: Vec::new(),
            batch_size: 1,
            has_batch_axis: true,
            optimized_model_path: None,
            profile_prefix: None,
        }
    }
}

/// A session of ONNX Runtime.
pub struct OnnxModel {
    session: Session,
    path: PathBuf,
    graph: GraphInfo,
    /// The positions in `graph.outputs` of the outputs that were asked for.
    selected: Vec<usize>,
    has_batch_axis: bool,
    /// Per batch size, from one on.
    batches: Vec<Buffers>,
    /// The batch size of the last successful run.
    last_batch: Option<usize>,
}

/// The outputs of one batch size.
enum Buffers {
    /// This batch size has not run yet.
    Absent,
    /// Made anew by ONNX Runtime in each run.
    PerRun(Vec<DynValue>),
    /// Made by the first run, to be written again: the next run moves them to `Reused`.
    Fresh(Vec<DynValue>),
    /// Written by every run. The options hold the same buffers as the values.
    Reused {
        options: RunOptions<HasSelectedOutputs>,
        values: Vec<DynValue>,
    },
}

impl Buffers {
    fn values(&self) -> &[DynValue] {
        match self {
            Self::Absent => &[],
            Self::PerRun(values) | Self::Fresh(values) | Self::Reused { values, .. } => values,
        }
    }
}

impl fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxModel")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl OnnxModel {
    /// Opens the model at `path`.
    ///
    /// # Errors
    /// [`RunError`]: no such model, a model that is not a detector's (one input; `f32`, `u8` or
    /// `i64` tensors), outputs that it does not have, a batch that it cannot take.
    pub fn open(
        runtime: &Runtime,
        path: &Path,
        options: &SessionOptions,
    ) -> Result<Self, RunError> {
        check_file(path)?;
        let affinities = affinities(options)?;
        let session = configure(runtime, options, affinities.as_deref())
            .and_then(|mut builder| builder.commit_from_file(path))
            .map_err(|error| refused(path, &error))?;
        let graph = graph_info(&session);
        let selected = select(path, &graph, &options.outputs)?;
        check_input(path, &graph, options)?;
        for &position in &selected {
            check_element(path, &graph.outputs[position])?;
        }
        let batches = (0..options.batch_size.max(1))
            .map(|_| Buffers::Absent)
            .collect();
        Ok(Self {
            session,
            path: path.to_path_buf(),
            graph,
            selected,
            has_batch_axis: options.has_batch_axis,
            batches,
            last_batch: None,
        })
    }

    /// What the model takes and gives.
    pub fn describe(&self) -> &GraphInfo {
        &self.graph
    }

    /// The model's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the profile that [`SessionOptions::profile_prefix`] began, and gives its file's name.
    ///
    /// # Errors
    /// [`RunError::RunFailed`] when ONNX Runtime cannot write it.
    pub fn end_profiling(&mut self) -> Result<String, RunError> {
        self.session.end_profiling().map_err(|error| failed(&error))
    }

    fn input(&self) -> &TensorInfo {
        &self.graph.inputs[0]
    }

    /// The batch size of `input`, when it fits the model.
    fn batch_of(&self, input: TensorView<'_>) -> Result<usize, RunError> {
        let expected = self.input();
        if input.data.type_name() != expected.element {
            return Err(RunError::ElementMismatch {
                name: expected.name.clone(),
                expected: expected.element.clone(),
                found: input.data.type_name(),
            });
        }
        let fits = input.shape.len() == expected.shape.len()
            && input
                .shape
                .iter()
                .zip(&expected.shape)
                .all(|(given, wanted)| *wanted == -1 || given == wanted);
        let batch = input
            .shape
            .first()
            .filter(|_| self.has_batch_axis)
            .map_or(1, |length| usize::try_from(*length).unwrap_or(0));
        if fits && (1..=self.batches.len()).contains(&batch) {
            return Ok(batch);
        }
        let mut shape = expected.shape.clone();
        if let (true, true, Some(length)) = (fits, self.has_batch_axis, shape.first_mut()) {
            // The model would take it, but it was opened for smaller batches.
            *length = axis_length(self.batches.len());
        }
        Err(RunError::ShapeMismatch {
            name: expected.name.clone(),
            expected: shape,
            found: input.shape.to_vec(),
        })
    }

    /// Whether every run of a batch size gives outputs of the same shape: the file leaves nothing
    /// open but the batch, and the runtime's own first answer bears that out.
    fn has_fixed_shapes(&self, batch: usize, values: &[DynValue]) -> bool {
        let is_batch_open = self.has_batch_axis && self.input().shape.first() == Some(&-1);
        self.selected.iter().zip(values).all(|(position, value)| {
            let declared = &self.graph.outputs[*position].shape;
            let ValueType::Tensor { shape: given, .. } = value.dtype() else {
                return false;
            };
            given.len() == declared.len()
                && given
                    .iter()
                    .zip(declared)
                    .enumerate()
                    .all(|(axis, (given, declared))| {
                        let is_batch = axis == 0 && is_batch_open && *given == axis_length(batch);
                        given == declared || (*declared == -1 && is_batch)
                    })
        })
    }

    fn selector(&self) -> OutputSelector {
        self.selected
            .iter()
            .fold(OutputSelector::no_default(), |selector, position| {
                selector.with(&self.graph.outputs[*position].name)
            })
    }

    /// The options of a run that leaves the outputs to ONNX Runtime.
    fn plain_options(&self) -> ort::Result<RunOptions<HasSelectedOutputs>> {
        Ok(RunOptions::new()?.with_outputs(self.selector()))
    }

    /// The options of runs that write to `values`.
    fn reusing_options(
        &self,
        values: Vec<DynValue>,
    ) -> ort::Result<RunOptions<HasSelectedOutputs>> {
        let named = self
            .selected
            .iter()
            .map(|position| &self.graph.outputs[*position].name);
        let selector = named
            .zip(values)
            .fold(self.selector(), |selector, (name, value)| {
                selector.preallocate(name, value)
            });
        Ok(RunOptions::new()?.with_outputs(selector))
    }

    fn run_batch(&mut self, batch: usize, input: SessionInputValue<'_>) -> ort::Result<Buffers> {
        let buffers = std::mem::replace(&mut self.batches[batch - 1], Buffers::Absent);
        match buffers {
            Buffers::Absent | Buffers::PerRun(_) => {
                // What an earlier run made is given back first, so that its memory serves again.
                drop(buffers);
                let options = self.plain_options()?;
                let values = collect(&mut self.session, input, &options)?;
                Ok(if self.has_fixed_shapes(batch, &values) {
                    Buffers::Fresh(values)
                } else {
                    Buffers::PerRun(values)
                })
            }
            Buffers::Fresh(values) => {
                let options = self.reusing_options(values)?;
                let values = collect(&mut self.session, input, &options)?;
                Ok(Buffers::Reused { options, values })
            }
            Buffers::Reused { options, values } => {
                self.session.run_with_options([input], &options)?;
                Ok(Buffers::Reused { options, values })
            }
        }
    }
}

impl Model for OnnxModel {
    fn run(&mut self, input: TensorView<'_>) -> Result<(), RunError> {
        self.last_batch = None;
        let batch = self.batch_of(input)?;
        let lent = match input.data {
            TensorData::F32(data) => {
                TensorRef::from_array_view((input.shape, data)).map(Into::into)
            }
            TensorData::U8(data) => TensorRef::from_array_view((input.shape, data)).map(Into::into),
            TensorData::I64(data) => {
                TensorRef::from_array_view((input.shape, data)).map(Into::into)
            }
        };
        let buffers = lent
            .and_then(|lent: SessionInputValue<'_>| self.run_batch(batch, lent))
            .map_err(|error| failed(&error))?;
        self.batches[batch - 1] = buffers;
        self.last_batch = Some(batch);
        Ok(())
    }

    fn output(&self, index: usize) -> Result<TensorView<'_>, RunError> {
        assert!(
            index < self.selected.len(),
            "output {index} of {}",
            self.selected.len()
        );
        let batch = self.last_batch.ok_or(RunError::NothingRun)?;
        view(&self.batches[batch - 1].values()[index]).map_err(|error| failed(&error))
    }

    fn output_count(&self) -> usize {
        self.selected.len()
    }
}

/// Runs the session and takes the outputs out of its hands.
fn collect(
    session: &mut Session,
    input: SessionInputValue<'_>,
    options: &RunOptions<HasSelectedOutputs>,
) -> ort::Result<Vec<DynValue>> {
    let outputs = session.run_with_options([input], options)?;
    Ok(outputs.into_iter().map(|(_name, value)| value).collect())
}

fn view(value: &DynValue) -> ort::Result<TensorView<'_>> {
    let is = |element| matches!(value.dtype(), ValueType::Tensor { ty, .. } if *ty == element);
    if is(TensorElementType::Float32) {
        let (shape, data) = value.try_extract_tensor::<f32>()?;
        Ok(TensorView {
            shape,
            data: TensorData::F32(data),
        })
    } else if is(TensorElementType::Uint8) {
        let (shape, data) = value.try_extract_tensor::<u8>()?;
        Ok(TensorView {
            shape,
            data: TensorData::U8(data),
        })
    } else {
        let (shape, data) = value.try_extract_tensor::<i64>()?;
        Ok(TensorView {
            shape,
            data: TensorData::I64(data),
        })
    }
}

fn configure(
    runtime: &Runtime,
    options: &SessionOptions,
    affinities: Option<&str>,
) -> ort::Result<SessionBuilder> {
    let mut builder = Session::builder(runtime.environment())?
        .with_log_level(runtime.log_level())?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(options.intra_threads)?
        .with_inter_threads(options.inter_threads)?
        .with_parallel_execution(options.inter_threads > 1)?;
    if let Some(affinities) = affinities {
        builder = builder.with_config_entry("session.intra_op_thread_affinities", affinities)?;
    }
    if let Some(spinning) = options.spinning {
        builder = builder
            .with_intra_op_spinning(spinning)?
            .with_inter_op_spinning(spinning)?;
    }
    if let Some(path) = &options.optimized_model_path {
        builder = builder.with_optimized_model_path(path)?;
    }
    if let Some(prefix) = &options.profile_prefix {
        builder = builder.with_profiling(prefix)?;
    }
    options
        .entries
        .iter()
        .try_fold(builder, |builder, option| option.apply(builder))
}

/// ONNX Runtime's list of pins: CPUs from one on, a semicolon between threads, without the calling
/// thread. `None` when there is nothing to pin.
fn affinities(options: &SessionOptions) -> Result<Option<String>, RunError> {
    let Some(cpus) = &options.intra_affinity else {
        return Ok(None);
    };
    if cpus.len() != options.intra_threads {
        return Err(RunError::AffinityCount {
            pin_count: cpus.len(),
            thread_count: options.intra_threads,
        });
    }
    let others: Vec<String> = cpus
        .iter()
        .skip(1)
        .map(|cpu| (cpu + 1).to_string())
        .collect();
    Ok((!others.is_empty()).then(|| others.join(";")))
}

fn select(path: &Path, graph: &GraphInfo, names: &[String]) -> Result<Vec<usize>, RunError> {
    if names.is_empty() {
        return Ok((0..graph.outputs.len()).collect());
    }
    let position = |name: &String| {
        graph
            .outputs
            .iter()
            .position(|output| output.name == *name)
            .ok_or_else(|| RunError::OutputMissing {
                path: path.to_path_buf(),
                name: name.clone(),
                available: graph
                    .outputs
                    .iter()
                    .map(|output| output.name.clone())
                    .collect(),
            })
    };
    names.iter().map(position).collect()
}

fn check_input(path: &Path, graph: &GraphInfo, options: &SessionOptions) -> Result<(), RunError> {
    let [input] = graph.inputs.as_slice() else {
        return Err(RunError::InputCount {
            path: path.to_path_buf(),
            count: graph.inputs.len(),
            names: graph
                .inputs
                .iter()
                .map(|input| input.name.clone())
                .collect(),
        });
    };
    check_element(path, input)?;
    let batch_size = options.batch_size;
    // One picture at a time is a batch of one that the file does not write down.
    let batch = if options.has_batch_axis {
        input.shape.first()
    } else {
        Some(&1)
    };
    match batch {
        Some(&length) if length != -1 && length != axis_length(batch_size) => {
            Err(RunError::BatchFixed {
                path: path.to_path_buf(),
                model_batch: length,
                asked: batch_size,
            })
        }
        _ => Ok(()),
    }
}

/// A count as ONNX Runtime writes lengths.
fn axis_length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn check_element(path: &Path, tensor: &TensorInfo) -> Result<(), RunError> {
    if ["f32", "u8", "i64"].contains(&tensor.element.as_str()) {
        Ok(())
    } else {
        Err(RunError::ElementUnknown {
            path: path.to_path_buf(),
            name: tensor.name.clone(),
            element: tensor.element.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_counted_from_one_and_leave_the_calling_thread_out() {
        let options = |threads, cpus: &[usize]| SessionOptions {
            intra_threads: threads,
            intra_affinity: Some(cpus.to_vec()),
            ..SessionOptions::default()
        };
        assert_eq!(
            affinities(&options(3, &[4, 5, 0])).unwrap().as_deref(),
            Some("6;1")
        );
        assert_eq!(affinities(&options(1, &[7])).unwrap(), None);
        assert_eq!(affinities(&SessionOptions::default()).unwrap(), None);
        assert!(matches!(
            affinities(&options(2, &[0])),
            Err(RunError::AffinityCount {
                pin_count: 1,
                thread_count: 2
            })
        ));
    }
}
