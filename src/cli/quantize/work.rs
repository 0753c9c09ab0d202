//! The steps of a quantisation with ONNX Runtime and the calibration folder behind them.
//!
//! Each step is a method of its own, so that many recipes can begin behind one calibration.

use std::collections::BTreeMap;

use indicatif::ProgressBar;

use super::about;
use super::engine::Engine;
use super::pictures::CalibrationFolder;
use crate::cli::failure::{Blame, Failure};
use crate::cli::run::{calibration_bar, Subject};
use crate::library::preprocessing::Preprocessing;
use crate::model::onnx::proto::ModelProto;
use crate::quantise::bytes::{byte_input, ByteInput};
use crate::quantise::calibrate::{calibrate, exposed, extents, Observation, Watched};
use crate::quantise::encode::{encode_with, ranges, Encoded, Ranges};
use crate::quantise::equalise::{equalise, pairs, Equalisation};
use crate::quantise::graph::Graph;
use crate::quantise::insert::insert;
use crate::quantise::keep::kept_nodes;
use crate::quantise::plan::{plan, Plan, Wishes};
use crate::quantise::prepare::{prepare, Preparation};
use crate::quantise::{BiasForm, QuantiseError, Recipe};

/// Preparing may change outputs by this share of their range: the rounding of f32, and no more.
const PREPARATION_LIMIT: f64 = 1e-3;

/// What the watched tensors hold on the calibration pictures, by name.
pub type Observations = BTreeMap<String, Observation>;

/// Everything that the steps share.
pub struct Work<'a> {
    /// Opens models.
    pub engine: &'a Engine<'a>,
    /// The float model.
    pub subject: &'a Subject,
    /// The pictures.
    pub folder: &'a CalibrationFolder,
    /// Whether nothing is drawn meanwhile.
    pub is_quiet: bool,
}

/// The float network with everything constant folded.
pub struct Prepared {
    /// The network.
    pub graph: Graph,
    /// What was folded.
    pub preparation: Preparation,
    /// What was equalised, where it was asked for.
    pub equalisation: Option<Equalisation>,
}

/// A quantised network and how it came about.
pub struct Made {
    /// The network.
    pub model: ModelProto,
    /// What became integer.
    pub plan: Plan,
    /// Its encodings and integers.
    pub encoded: Encoded,
}

impl Work<'_> {
    fn blame(&self, error: &QuantiseError) -> Failure {
        about(&self.subject.onnx, error)
    }

    /// Refuses fewer pictures than the recipe's ranges need.
    pub fn check_pictures(&self, recipe: &Recipe) -> Result<(), Failure> {
        let found = self.folder.calibration.len();
        let needed = recipe.ranges.pictures_min();
        if found < needed {
            return Err(self.blame(&QuantiseError::TooFewPictures {
                method: recipe.ranges.name(),
                needed,
                found,
            }));
        }
        Ok(())
    }

    /// Folds, and equalises where that is asked for; both must leave the outputs as they are.
    pub fn prepare(&self, mut graph: Graph, is_equalised: bool) -> Result<Prepared, Failure> {
        let original = graph.clone().into_model();
        let preparation = prepare(&mut graph).map_err(|error| self.blame(&error))?;
        let prepared = graph.clone().into_model();
        self.check_equal(&original, &prepared, |output, difference| {
            QuantiseError::PreparationChanged {
                output,
                difference,
                limit: PREPARATION_LIMIT,
            }
        })?;
        drop(original);
        let equalisation = if is_equalised {
            Some(self.equalise(&mut graph, &prepared)?)
        } else {
            None
        };
        Ok(Prepared {
            graph,
            preparation,
            equalisation,
        })
    }

    /// Decides what becomes integer.
    pub fn plan(&self, prepared: &Prepared, recipe: &Recipe) -> Result<Plan, Failure> {
        let (graph, preparation) = (&prepared.graph, &prepared.preparation);
        let wishes = Wishes {
            keep: kept_nodes(graph, preparation, &recipe.keep_fp32).or_usage()?,
            first: recipe.first_layers,
        };
        plan(graph, &wishes).map_err(|error| self.blame(&error))
    }

    /// Runs the calibration pictures.
    pub fn observe(&self, prepared: &Prepared, watched: &Watched) -> Result<Observations, Failure> {
        let model = exposed(&prepared.graph.clone().into_model(), watched);
        let mut session = self.engine.open(&model, watched.inner.clone())?;
        let bar = self.bar();
        let mut pictures = self.folder.calibration();
        let mut tell = |done: usize| bar.set_position(done as u64);
        let observed = calibrate(&mut session, watched, &mut pictures, &mut tell);
        bar.finish_and_clear();
        observed.map_err(|error| self.blame(&error))
    }

    /// The ranges of all observed tensors, and the network with integers by them.
    pub fn make(
        &self,
        prepared: &Prepared,
        plan: Plan,
        observations: &Observations,
        recipe: &Recipe,
    ) -> Result<Made, Failure> {
        let ranges = ranges(observations, recipe.ranges);
        self.make_with(prepared, plan, observations, &ranges, recipe)
    }

    /// As [`Self::make`], with ranges that were chosen before.
    pub fn make_with(
        &self,
        prepared: &Prepared,
        plan: Plan,
        observations: &Observations,
        ranges: &Ranges,
        recipe: &Recipe,
    ) -> Result<Made, Failure> {
        let graph = &prepared.graph;
        let bytes = self.bytes(graph, &plan, recipe)?;
        let mut recipe = recipe.clone();
        if !plan.kept.is_empty() {
            recipe.bias = BiasForm::Int32;
        }
        let encoded = encode_with(graph, &plan, observations, ranges, &recipe, bytes.as_ref())
            .map_err(|error| self.blame(&error))?;
        let model = insert(graph.clone(), &plan, &encoded, &recipe, bytes.as_ref()).into_model();
        Ok(Made {
            model,
            plan,
            encoded,
        })
    }

    fn check_equal(
        &self,
        before: &ModelProto,
        after: &ModelProto,
        error: impl Fn(String, f64) -> QuantiseError,
    ) -> Result<(), Failure> {
        let outputs = self.subject.outputs();
        let mut pictures = self.folder.calibration();
        let (output, difference) =
            self.engine
                .difference(before, after, &outputs, &mut pictures)?;
        // NaN is a difference too.
        if difference <= PREPARATION_LIMIT {
            Ok(())
        } else {
            Err(self.blame(&error(output, difference)))
        }
    }

    fn equalise(&self, graph: &mut Graph, prepared: &ModelProto) -> Result<Equalisation, Failure> {
        let pairs = pairs(graph);
        let watched = Watched {
            inner: pairs.iter().map(|pair| pair.tensor.clone()).collect(),
            input: None,
        };
        let mut seen = BTreeMap::new();
        if !pairs.is_empty() {
            let model = exposed(prepared, &watched);
            let mut session = self.engine.open(&model, watched.inner.clone())?;
            let mut pictures = self.folder.calibration();
            let own = extents(&mut session, &watched, &mut pictures, &mut |_| {})
                .map_err(|error| self.blame(&error))?;
            seen.extend(watched.inner.into_iter().zip(own));
        }
        let done = equalise(graph, &pairs, &seen).map_err(|error| self.blame(&error))?;
        self.check_equal(
            prepared,
            &graph.clone().into_model(),
            |output, difference| QuantiseError::EqualisationChanged {
                output,
                difference,
                limit: PREPARATION_LIMIT,
            },
        )?;
        Ok(done)
    }

    fn bytes(
        &self,
        graph: &Graph,
        plan: &Plan,
        recipe: &Recipe,
    ) -> Result<Option<ByteInput>, Failure> {
        if !recipe.u8_input {
            return Ok(None);
        }
        let normalise = uniform(&self.subject.description.input.preprocessing);
        let bytes = byte_input(graph, plan, normalise).map_err(|error| self.blame(&error))?;
        Ok(Some(bytes))
    }

    fn bar(&self) -> ProgressBar {
        let count = self.folder.calibration.len() * 2;
        if self.is_quiet {
            return ProgressBar::hidden();
        }
        calibration_bar(count)
    }
}

/// What preprocessing does to a byte, `scale * byte + shift`, when it is the same for all channels.
#[expect(
    clippy::float_cmp,
    reason = "the same number in the model file, or another"
)]
fn uniform(own: &Preprocessing) -> Option<(f64, f64)> {
    let same = |values: [f32; 3]| values.iter().all(|value| *value == values[0]);
    let (mean, scale) = (f64::from(own.mean[0]), f64::from(own.scale[0]));
    (same(own.mean) && same(own.scale)).then_some((1.0 / scale, -mean / scale))
}
