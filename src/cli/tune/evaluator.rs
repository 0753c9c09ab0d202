//! Real models: made behind one calibration, looked at on real pictures, timed on this machine.

use std::collections::btree_map::Entry;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use prost::Message;
use tempfile::TempDir;

use super::accuracy::{difference_of, Reference, Truth};
use super::pictures::{run_on, PictureSet, Seen};
use super::speed::{Bench, Contestant, Measured};
use crate::accuracy::{agreement, CocoDetection};
use crate::cli::failure::{Blame, Failure};
use crate::cli::new_file::NewFile;
use crate::cli::quantize::engine::Engine;
use crate::cli::quantize::output::{keep, labelled};
use crate::cli::quantize::pictures::CalibrationFolder;
use crate::cli::quantize::work::{Made, Observations, Prepared, Work};
use crate::cli::run::Subject;
use crate::library::preprocessing::{ElementType, Preprocessing};
use crate::library::LoadedSamples;
use crate::postprocess::Detection;
use crate::quantise::calibrate::{exposed, CalibrationPictures, Watched};
use crate::quantise::encode::{ranges, Ranges};
use crate::quantise::plan::Plan;
use crate::quantise::{RangeMethod, Recipe};
use crate::runtime::{Model, Runtime};
use crate::tensor::TensorData;
use crate::tune::figures::{Baseline, Figures, Judgement, OperatorCount, Speed};
use crate::tune::resample::PictureDifference;
use crate::tune::settings::Settings;
use crate::tune::tuning::Evaluator;
use crate::units::SampleIndex;

/// Operators of the closing table.
const TABLE: [&str; 8] = [
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "Add",
    "Mul",
    "Concat",
    "Sigmoid",
];

/// Pictures of one kind in both forms that models take them.
pub struct Forms {
    /// As the float model takes them.
    pub float: PictureSet,
    /// As bytes, where models are to take these.
    pub bytes: Option<PictureSet>,
}

impl Forms {
    fn of(&self, settings: &Settings) -> &PictureSet {
        let bytes = self.bytes.as_ref().filter(|_| settings.u8_input);
        bytes.unwrap_or(&self.float)
    }
}

/// Preprocessing that leaves a picture's bytes as they are.
pub fn as_bytes(float: &Preprocessing) -> Preprocessing {
    Preprocessing {
        element: ElementType::U8,
        mean: [0.0; 3],
        scale: [1.0; 3],
        ..float.clone()
    }
}

/// The pictures of one number, and what was seen on them.
struct Calibration {
    folder: CalibrationFolder,
    observations: Observations,
    /// Ranges by each method that was asked for.
    ranges: BTreeMap<String, Ranges>,
}

/// What real models need.
pub struct Parts<'a> {
    /// The float model.
    pub subject: &'a Subject,
    /// The library.
    pub runtime: &'a Runtime,
    /// Opens models.
    pub engine: &'a Engine<'a>,
    /// Folder of the calibration pictures.
    pub calibration: &'a Path,
    /// The network with everything constant folded.
    pub prepared: &'a Prepared,
    /// The plan with every layer in integers.
    pub plan: &'a Plan,
    /// Pictures of the screening.
    pub few: Forms,
    /// Pictures of the evaluation.
    pub pictures: Forms,
    /// Their ground truth, where there is any.
    pub truth: Option<Truth>,
    /// How speed is measured.
    pub bench: Bench<'a>,
    /// The file to write.
    pub output: PathBuf,
    /// Seed of the resamples.
    pub seed: u32,
    /// Whether nothing is drawn meanwhile.
    pub is_quiet: bool,
}

/// Real models.
pub struct Real<'a> {
    parts: Parts<'a>,
    calibrations: BTreeMap<usize, Calibration>,
    /// The float model on the pictures of the evaluation.
    reference: Option<Reference>,
    /// The float model on those of the screening.
    few: Option<Vec<Seen>>,
    /// Pictures for measuring speed, in either form.
    timed: BTreeMap<bool, (LoadedSamples, Vec<SampleIndex>)>,
    /// The model that was made last.
    last: Option<(String, Vec<u8>)>,
    folder: TempDir,
}

impl<'a> Real<'a> {
    /// Nothing is run yet.
    pub fn new(parts: Parts<'a>, folder: CalibrationFolder) -> Result<Self, Failure> {
        let size = folder.calibration.len();
        let mut own = Self {
            parts,
            calibrations: BTreeMap::new(),
            reference: None,
            few: None,
            timed: BTreeMap::new(),
            last: None,
            folder: tempfile::tempdir().or_environment()?,
        };
        own.calibrate(size, folder)?;
        Ok(own)
    }

    /// The float model's figures.
    pub fn baseline(&mut self) -> Result<Baseline, Failure> {
        self.prepare_speed(false)?;
        let Measured {
            p50_ns,
            p99_ns,
            per_second,
        } = self.parts.bench.alone(&Contestant {
            onnx: self.parts.subject.onnx.clone(),
            pictures: &self.timed[&false],
        })?;
        let size = std::fs::metadata(&self.parts.subject.onnx).or_environment()?;
        Ok(Baseline {
            map: self.reference()?.map,
            latency_p50_ns: p50_ns,
            latency_p99_ns: p99_ns,
            per_second,
            size_bytes: size.len(),
        })
    }

    fn work<'w>(&self, folder: &'w CalibrationFolder) -> Work<'w>
    where
        'a: 'w,
    {
        Work {
            engine: self.parts.engine,
            subject: self.parts.subject,
            folder,
            is_quiet: self.parts.is_quiet,
        }
    }

    fn calibrate(&mut self, size: usize, folder: CalibrationFolder) -> Result<(), Failure> {
        let prepared = self.parts.prepared;
        let watched = Watched::of_any_part(self.parts.plan, &prepared.graph.inputs());
        let observations = self.work(&folder).observe(prepared, &watched)?;
        let seen = Calibration {
            folder,
            observations,
            ranges: BTreeMap::new(),
        };
        self.calibrations.insert(size, seen);
        Ok(())
    }

    /// The calibration of these settings, with the ranges that they ask for.
    fn calibration(&mut self, settings: &Settings) -> Result<&Calibration, Failure> {
        let size = settings.calibration_size;
        if !self.calibrations.contains_key(&size) {
            let preprocessing = &self.parts.subject.description.input.preprocessing;
            let folder = CalibrationFolder::open(
                self.parts.calibration,
                preprocessing,
                size,
                settings.seed,
            )?;
            self.calibrate(size, folder)?;
        }
        let own = self.calibrations.get_mut(&size).expect("made above");
        own.ranges
            .entry(key(settings.ranges))
            .or_insert_with(|| ranges(&own.observations, settings.ranges));
        Ok(own)
    }

    fn make(&mut self, settings: &Settings) -> Result<(Made, Recipe), Failure> {
        let recipe = settings.recipe();
        self.calibration(settings)?;
        let own = &self.calibrations[&settings.calibration_size];
        let work = self.work(&own.folder);
        let prepared = self.parts.prepared;
        let plan = work.plan(prepared, &recipe)?;
        let ranges = &own.ranges[&key(settings.ranges)];
        let made = work.make_with(prepared, plan, &own.observations, ranges, &recipe)?;
        Ok((made, recipe))
    }

    /// The file as it would be written.
    fn bytes(&mut self, settings: &Settings) -> Result<Vec<u8>, Failure> {
        let (made, recipe) = self.make(settings)?;
        self.finished(made, settings, &recipe)
    }

    fn finished(
        &self,
        made: Made,
        settings: &Settings,
        recipe: &Recipe,
    ) -> Result<Vec<u8>, Failure> {
        let folder = &self.calibrations[&settings.calibration_size].folder;
        let model = labelled(made.model, self.parts.subject, folder, recipe)?;
        Ok(model.encode_to_vec())
    }

    fn write(&self, bytes: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.folder.path().join("candidate.onnx");
        std::fs::write(&path, bytes).or_environment()?;
        Ok(path)
    }

    fn reference(&mut self) -> Result<&Reference, Failure> {
        if self.reference.is_none() {
            let Parts {
                subject,
                runtime,
                pictures,
                truth,
                seed,
                ..
            } = &self.parts;
            let own = Reference::new(subject, runtime, &pictures.float, truth.as_ref(), *seed)?;
            self.reference = Some(own);
        }
        Ok(self.reference.as_ref().expect("made above"))
    }

    fn prepare_speed(&mut self, is_bytes: bool) -> Result<(), Failure> {
        let pictures = &self.parts.pictures;
        let bytes = pictures.bytes.as_ref().filter(|_| is_bytes);
        if let Entry::Vacant(place) = self.timed.entry(is_bytes) {
            place.insert(bytes.unwrap_or(&pictures.float).first_window()?);
        }
        Ok(())
    }

    fn speed(&mut self, onnx: &Path, settings: &Settings) -> Result<Speed, Failure> {
        self.prepare_speed(false)?;
        self.prepare_speed(settings.u8_input)?;
        let float = Contestant {
            onnx: self.parts.subject.onnx.clone(),
            pictures: &self.timed[&false],
        };
        let own = Contestant {
            onnx: onnx.to_owned(),
            pictures: &self.timed[&settings.u8_input],
        };
        self.parts.bench.against(float, own)
    }

    fn operators(&self, made: &Made) -> Vec<OperatorCount> {
        let nodes = &self.parts.prepared.graph.nodes;
        let integer: Vec<usize> = made.plan.layers.iter().map(|layer| layer.node).collect();
        let is_integer = |index: usize| {
            let node = &nodes[index];
            let group_of = &made.plan.group_of;
            let reads = node
                .input
                .iter()
                .filter(|name| !self.parts.prepared.graph.is_constant(name));
            if node.op_type == "Conv" {
                return integer.contains(&index);
            }
            let last = made.plan.dropped.get(&index).copied().unwrap_or(index);
            let mut reads = reads;
            reads.all(|name| group_of.contains_key(name))
                && group_of.contains_key(&nodes[last].output[0])
        };
        let count = |operator: &&str| {
            let own: Vec<usize> = (0..nodes.len())
                .filter(|index| nodes[*index].op_type == **operator)
                .collect();
            OperatorCount {
                operator: (*operator).to_owned(),
                total: own.len(),
                int8: own.iter().filter(|index| is_integer(**index)).count(),
            }
        };
        let rows = TABLE.iter().map(count);
        rows.filter(|row| row.total > 0).collect()
    }
}

impl Evaluator for Real<'_> {
    type Error = Failure;

    fn screen(&mut self, settings: &Settings) -> Result<Vec<PictureDifference>, Failure> {
        let Parts {
            subject, runtime, ..
        } = self.parts;
        if self.few.is_none() {
            let set = &self.parts.few.float;
            let seen = run_on(
                &subject.onnx,
                subject,
                runtime,
                set,
                |_| true,
                |_, seen| seen,
            )?;
            self.few = Some(seen);
        }
        let (made, _) = self.make(settings)?;
        let onnx = self.write(&made.model.encode_to_vec())?;
        let float = self.few.as_ref().expect("made above");
        let heads = subject
            .reading
            .raw_heads()
            .map(|(raw, _)| raw.heads.clone());
        let set = self.parts.few.of(settings);
        let see = |position: usize, seen: Seen| {
            let before = &float[position];
            match (&before.probabilities, &seen.probabilities, &heads) {
                (Some(float), Some(own), Some(heads)) => Ok(difference_of(float, own, heads)),
                _ => disagreement(&before.detections, &seen.detections, set.entry(position)),
            }
        };
        let found = run_on(&onnx, subject, runtime, set, |_| true, see)?;
        found.into_iter().collect()
    }

    fn layer_errors(&mut self, settings: &Settings) -> Result<BTreeMap<String, f64>, Failure> {
        let (made, _) = self.make(settings)?;
        let watched = Watched {
            inner: made
                .plan
                .layers
                .iter()
                .map(|layer| layer.output.clone())
                .collect(),
            input: None,
        };
        let float = exposed(&self.parts.prepared.graph.clone().into_model(), &watched);
        let mut float = self.parts.engine.open(&float, watched.inner.clone())?;
        // What a layer makes is seen before it becomes bytes; rounding it is done here.
        let own = exposed(&made.model, &watched);
        let mut own = self.parts.engine.open(&own, watched.inner.clone())?;
        let folder = &self.calibrations[&settings.calibration_size].folder;
        let bytes;
        let mut pictures = folder.calibration();
        float.run(pictures.tensor(0).or_usage()?).or_environment()?;
        if settings.u8_input {
            let form = as_bytes(&self.parts.subject.description.input.preprocessing);
            let all = CalibrationFolder::open(
                self.parts.calibration,
                &form,
                settings.calibration_size,
                settings.seed,
            )?;
            bytes = all;
            let mut pictures = bytes.calibration();
            own.run(pictures.tensor(0).or_usage()?).or_environment()?;
        } else {
            own.run(pictures.tensor(0).or_usage()?).or_environment()?;
        }
        let mut errors = BTreeMap::new();
        for (at, layer) in made.plan.layers.iter().enumerate() {
            let encoding = made.encoded.encodings[made.plan.group_of[&layer.output]];
            let both = (
                float.output(at).or_environment()?.data,
                own.output(at).or_environment()?.data,
            );
            if let (TensorData::F32(float), TensorData::F32(own)) = both {
                let own: Vec<f64> = own
                    .iter()
                    .map(|value| encoding.round_trip(f64::from(*value)).0)
                    .collect();
                let float: Vec<f64> = float.iter().map(|value| f64::from(*value)).collect();
                errors.insert(layer.name.clone(), normalised_error(&float, &own));
            }
        }
        Ok(errors)
    }

    fn evaluate(&mut self, settings: &Settings, speed: Option<Speed>) -> Result<Figures, Failure> {
        let (made, recipe) = self.make(settings)?;
        // What ONNX Runtime does not run in integers is no int8 model, however it scores.
        self.parts.engine.fusion(&made.model, &made.plan)?;
        let operators = self.operators(&made);
        let bytes = self.finished(made, settings, &recipe)?;
        let onnx = self.write(&bytes)?;
        self.reference()?;
        let reference = self.reference.as_ref().expect("made above");
        let Parts {
            subject,
            runtime,
            truth,
            pictures,
            ..
        } = &self.parts;
        let set = pictures.of(settings);
        let accuracy = reference.compare(&onnx, subject, runtime, set, truth.as_ref())?;
        let speed = match speed {
            Some(speed) => speed,
            None => self.speed(&onnx, settings)?,
        };
        let size_bytes = bytes.len() as u64;
        self.last = Some((settings.hash(), bytes));
        Ok(Figures {
            map: accuracy.map,
            agreement: accuracy.agreement,
            dp: accuracy.dp,
            map_change: accuracy.map_change,
            agreement_change: accuracy.agreement_change,
            dp_change: accuracy.dp_change,
            speed,
            size_bytes,
            operators,
        })
    }

    fn keep(&mut self, settings: &Settings, _: &Judgement) -> Result<(), Failure> {
        let hash = settings.hash();
        let bytes = match self.last.take() {
            Some((last, bytes)) if last == hash => bytes,
            _ => self.bytes(settings)?,
        };
        let output = &self.parts.output;
        // Whether something may be replaced was decided before the first trial.
        let onnx = NewFile::create(output, true).or_environment()?;
        let toml = NewFile::create(&output.with_extension("toml"), true).or_environment()?;
        let recipe = settings.recipe();
        keep(
            onnx,
            toml,
            &bytes,
            self.parts.subject,
            output,
            &recipe,
            "tune",
        )
    }
}

fn key(method: RangeMethod) -> String {
    match method {
        RangeMethod::Percentile(share) => format!("percentile {share}"),
        other => other.name().to_owned(),
    }
}

/// One picture of a model without raw heads: what is missing of full agreement.
fn disagreement(
    float: &[Detection],
    own: &[Detection],
    entry: &crate::library::PictureEntry,
) -> Result<PictureDifference, Failure> {
    let size = (entry.width, entry.height);
    let named = |found: &[Detection]| -> Vec<CocoDetection> {
        let found = found.iter();
        found
            .map(|one| CocoDetection::from_detection(one, 1, i64::from(one.class) + 1, size))
            .collect()
    };
    let found = agreement(&named(float), &named(own), &[1]).or_environment()?;
    Ok(
        found.map_or_else(PictureDifference::default, |found| PictureDifference {
            difference: 1.0 - found,
            reference: 1.0,
        }),
    )
}

/// LPOT's error of a tensor: the mean squared difference after each side was brought to [0, 1] by its own extremes.
fn normalised_error(float: &[f64], own: &[f64]) -> f64 {
    let scale = |values: &[f64]| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let range = if high > low { high - low } else { 1.0 };
        (low, range)
    };
    let ((low, range), (own_low, own_range)) = (scale(float), scale(own));
    let pairs = float.iter().zip(own);
    let squares = pairs.map(|(a, b)| ((a - low) / range - (b - own_low) / own_range).powi(2));
    squares.sum::<f64>() / float.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_of_tensors_between_zero_and_one_and_dead_tensors_have_none() {
        assert!((normalised_error(&[0.0, 5.0, 10.0], &[0.0, 2.0, 2.0]) - 0.25 / 3.0).abs() < 1e-12);
        // Another scale and offset is no error.
        assert!(normalised_error(&[0.0, 1.0], &[3.0, 7.0]).abs() < 1e-12);
        assert!(normalised_error(&[2.0, 2.0], &[2.0, 2.0]).abs() < 1e-12);
    }
}
