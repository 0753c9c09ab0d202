//! Real threads, models that answer at once.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::channel::unbounded;

use super::*;
use crate::clock::Clock;
use crate::library::preprocessing::{ElementType, Layout, Preprocessing, Resize};
use crate::library::{SampleLibrary, SyntheticLibrary};
use crate::postprocess::{Detection, PostprocessError};
use crate::runtime::RunError;
use crate::tensor::{TensorData, TensorView};
use crate::units::SampleId;

/// Echoes its input; fails when the first pixel of a sample is the poisoned one.
struct Echo {
    shape: Vec<i64>,
    values: Vec<f32>,
    poison: Option<f32>,
    batches: Arc<AtomicUsize>,
    delay: Duration,
}

impl Model for Echo {
    #[expect(clippy::disallowed_methods, reason = "a model that takes real time")]
    fn run(&mut self, input: TensorView<'_>) -> Result<(), RunError> {
        let TensorData::F32(values) = input.data else {
            panic!("the library makes floats");
        };
        self.batches.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.delay);
        self.shape = input.shape.to_vec();
        self.values = values.to_vec();
        match self.poison {
            Some(poison) if poison.to_bits() == values[0].to_bits() => Err(RunError::NothingRun),
            _ => Ok(()),
        }
    }

    fn output(&self, _index: usize) -> Result<TensorView<'_>, RunError> {
        Ok(TensorView {
            shape: &self.shape,
            data: TensorData::F32(&self.values),
        })
    }

    fn output_count(&self) -> usize {
        1
    }
}

/// One detection whose score is the sample's first pixel times a factor.
struct FirstPixel(f32);

impl Detector for FirstPixel {
    fn detect(
        &mut self,
        outputs: &[TensorView<'_>],
        image: usize,
        detections: &mut Vec<Detection>,
    ) -> Result<(), PostprocessError> {
        let TensorData::F32(values) = outputs[0].data else {
            panic!("floats were given");
        };
        let stride = values.len() / outputs[0].shape[0] as usize;
        detections.clear();
        detections.push(Detection {
            score: values[image * stride] * self.0,
            ..Detection::default()
        });
        Ok(())
    }
}

struct Bench {
    library: SyntheticLibrary,
    preprocessing: Preprocessing,
    batches: Arc<AtomicUsize>,
    poison: Option<u32>,
    delay: Duration,
}

const PICTURES: usize = 12;

impl Bench {
    fn new() -> Self {
        let preprocessing = Preprocessing {
            height: 2,
            width: 2,
            element: ElementType::F32,
            layout: Layout::Nhwc,
            color: crate::library::preprocessing::ColorOrder::Rgb,
            resize: Resize::PillowBilinear,
            mean: [0.0; 3],
            scale: [1.0; 3],
        };
        let one = NonZeroUsize::new(1).unwrap();
        let count = NonZeroUsize::new(PICTURES).unwrap();
        let library = SyntheticLibrary::new(3, count, (2, 2), one, preprocessing.clone()).unwrap();
        Self {
            library,
            preprocessing,
            batches: Arc::default(),
            poison: None,
            delay: Duration::ZERO,
        }
    }

    fn indices() -> Vec<SampleIndex> {
        (0..PICTURES as u32).map(SampleIndex).collect()
    }

    fn first_pixel(&self, index: u32) -> f32 {
        f32::from(self.library.picture(SampleIndex(index)).rgb[0])
    }

    fn pool(&self, workers: usize) -> Pool {
        let (batches, delay) = (Arc::clone(&self.batches), self.delay);
        let poison = self.poison.map(|index| self.first_pixel(index));
        let make: ModelFactory = Arc::new(move |_| {
            Ok(Box::new(Echo {
                shape: Vec::new(),
                values: Vec::new(),
                poison,
                batches: Arc::clone(&batches),
                delay,
            }))
        });
        let seats = vec![Seat { worker_cpus: None }; workers];
        Pool::start("echo".to_owned(), &seats, &make, Monotonic::new()).unwrap()
    }

    fn assignment(&self, batch_size: usize) -> Assignment {
        let samples = self.library.load(&Self::indices(), &|_| {}).unwrap();
        Assignment {
            inputs: Inputs::Prepared(Arc::new(samples)),
            detectors: Arc::new(|| vec![Box::new(FirstPixel(1.0))]),
            batch_size,
            batch_timeout: Latency::ZERO,
            warm_up: WarmUp {
                inferences: Some(2),
                duration: None,
            },
            warm_up_sample: SampleIndex(1),
            answers: None,
            interrupted: &NEVER,
        }
    }
}

static NEVER: AtomicBool = AtomicBool::new(false);

#[test]
fn an_interrupt_ends_the_warm_up() {
    static AT_ONCE: AtomicBool = AtomicBool::new(true);
    let bench = Bench {
        delay: Duration::from_millis(5),
        ..Bench::new()
    };
    let mut pool = bench.pool(2);
    let assignment = Assignment {
        warm_up: WarmUp {
            inferences: Some(u32::MAX),
            duration: None,
        },
        interrupted: &AT_ONCE,
        ..bench.assignment(1)
    };
    let run = pool.begin(&assignment).unwrap();
    assert!(run.warm_ups().iter().all(|report| report.inferences == 0));
}

fn samples(count: u32) -> Vec<QuerySample> {
    (0..count)
        .map(|id| QuerySample {
            id: SampleId(id),
            index: SampleIndex(id % PICTURES as u32),
        })
        .collect()
}

fn collect(run: &mut PoolRun<'_>, count: usize) -> Result<Vec<Completion>, SutError> {
    let mut inbox = Vec::new();
    let far = Timestamp::from_nanos(u64::MAX / 4);
    while inbox.len() < count {
        run.wait(far, &mut inbox)?;
    }
    Ok(inbox)
}

fn sorted_ids(completions: &[Completion]) -> Vec<u32> {
    let mut ids: Vec<_> = completions.iter().map(|done| done.id.0).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn every_sample_is_answered_once_by_run_after_run_of_the_same_workers() {
    let bench = Bench::new();
    let mut pool = bench.pool(3);
    for _ in 0..3 {
        let mut run = pool.begin(&bench.assignment(1)).unwrap();
        assert_eq!(run.warm_ups().len(), 3);
        assert!(run.warm_ups().iter().all(|report| report.inferences == 2));
        run.issue(&samples(200), &mut Vec::new());
        let done = collect(&mut run, 200).unwrap();
        assert_eq!(sorted_ids(&done), (0..200).collect::<Vec<_>>());
    }
}

#[test]
fn more_samples_than_the_channel_holds_wait_in_the_backlog() {
    let bench = Bench::new();
    let mut pool = bench.pool(2);
    let count = 2 * WORK_ROOM as u32 + 7;
    let mut run = pool.begin(&bench.assignment(4)).unwrap();
    run.issue(&samples(count), &mut Vec::new());
    let done = collect(&mut run, count as usize).unwrap();
    assert_eq!(sorted_ids(&done), (0..count).collect::<Vec<_>>());
}

#[test]
fn each_sample_of_a_batch_gets_its_own_detections() {
    let bench = Bench::new();
    let mut pool = bench.pool(1);
    let (answers, answered) = unbounded();
    let assignment = Assignment {
        detectors: Arc::new(|| vec![Box::new(FirstPixel(1.0)), Box::new(FirstPixel(10.0))]),
        answers: Some(AnswerLog::of_all(answers)),
        batch_timeout: Latency::from_millis(20),
        ..bench.assignment(5)
    };
    let mut run = pool.begin(&assignment).unwrap();
    let warm = bench.batches.load(Ordering::Relaxed);
    run.issue(&samples(PICTURES as u32), &mut Vec::new());
    collect(&mut run, PICTURES).unwrap();
    drop(run);
    drop(assignment);
    let batches = bench.batches.load(Ordering::Relaxed) - warm;
    assert!(
        batches < PICTURES,
        "{batches} batches for {PICTURES} samples"
    );
    let answers: Vec<Answer> = answered.iter().collect();
    assert_eq!(answers.len(), 2 * PICTURES);
    for answer in answers {
        let factor = [1.0, 10.0][answer.detector];
        let expected = bench.first_pixel(answer.sample.0) * factor;
        assert!((answer.detections[0].score - expected).abs() < 1e-3);
    }
}

#[test]
fn a_performance_run_hands_out_the_chosen_answers_and_no_other() {
    let bench = Bench::new();
    let mut pool = bench.pool(2);
    let (answers, answered) = unbounded();
    let chosen = Arc::default();
    let assignment = Assignment {
        answers: Some(AnswerLog::of_chosen(answers, Arc::clone(&chosen))),
        ..bench.assignment(3)
    };
    let mut run = pool.begin(&assignment).unwrap();
    let all: Vec<QuerySample> = samples(40);
    let set = ChosenSamples::new(SampleId(0), (0..40).map(|id| id % 3 == 1));
    chosen.set(set).unwrap();
    run.issue(&all, &mut Vec::new());
    let done = collect(&mut run, 40).unwrap();
    drop(run);
    drop(assignment);
    let mut answers: Vec<Answer> = answered.iter().collect();
    answers.sort_by_key(|answer| answer.id);
    let ids: Vec<u32> = answers.iter().map(|answer| answer.id.0).collect();
    assert_eq!(ids, (1..40).step_by(3).collect::<Vec<_>>());
    for answer in answers {
        assert_eq!(answer.sample, all[answer.id.as_usize()].index);
        let expected = bench.first_pixel(answer.sample.0);
        assert!((answer.detections[0].score - expected).abs() < 1e-3);
        let completed = done.iter().find(|done| done.id == answer.id).unwrap();
        assert_eq!(answer.at, completed.at);
    }
}

#[test]
fn a_model_that_fails_in_the_middle_fails_the_run_and_names_the_sample() {
    let bench = Bench {
        poison: Some(7),
        ..Bench::new()
    };
    let mut pool = bench.pool(2);
    let mut run = pool.begin(&bench.assignment(1)).unwrap();
    run.issue(&samples(PICTURES as u32), &mut Vec::new());
    let error = collect(&mut run, PICTURES).unwrap_err();
    assert!(
        matches!(error, SutError::Failed { sample: 7, .. }),
        "{error}"
    );
}

#[test]
fn a_model_that_cannot_be_made_fails_the_start_with_its_reason() {
    let make: ModelFactory = Arc::new(|instance| match instance {
        1 => Err("no such model".to_owned()),
        _ => Ok(Box::new(crate::runtime::NullModel::new(Vec::new()))),
    });
    let seats = vec![Seat { worker_cpus: None }; 2];
    let error = Pool::start("none".to_owned(), &seats, &make, Monotonic::new())
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "instance 1 could not start: no such model"
    );
}

#[test]
fn giving_a_run_up_neither_waits_for_its_samples_nor_hangs() {
    let bench = Bench {
        delay: Duration::from_millis(5),
        ..Bench::new()
    };
    let mut pool = bench.pool(2);
    let clock = Monotonic::new();
    let mut run = pool.begin(&bench.assignment(1)).unwrap();
    run.issue(&samples(40_000), &mut Vec::new());
    collect(&mut run, 4).unwrap();
    drop(run);
    // 40 000 samples would take 100 s.
    assert!(clock.now().since(Timestamp::ZERO) < Latency::from_millis(20_000));
    let mut run = pool.begin(&bench.assignment(1)).unwrap();
    run.issue(&samples(2), &mut Vec::new());
    assert_eq!(sorted_ids(&collect(&mut run, 2).unwrap()), [0, 1]);
}

#[test]
fn pictures_can_be_decoded_and_resized_inside_the_timed_region() {
    let bench = Bench::new();
    let mut pool = bench.pool(1);
    let files = bench
        .library
        .load_encoded(&Bench::indices(), &|_| {})
        .unwrap();
    let (answers, answered) = unbounded();
    let assignment = Assignment {
        inputs: Inputs::Encoded(Recipe {
            files: Arc::new(files),
            preprocessing: bench.preprocessing.clone(),
            threads: 2,
        }),
        answers: Some(AnswerLog::of_all(answers)),
        ..bench.assignment(3)
    };
    let mut run = pool.begin(&assignment).unwrap();
    run.issue(&samples(PICTURES as u32), &mut Vec::new());
    let done = collect(&mut run, PICTURES).unwrap();
    assert!(done
        .iter()
        .all(|done| done.stages.preprocess.get() > Latency::ZERO));
    drop(run);
    drop(assignment);
    for answer in &answered {
        let expected = bench.first_pixel(answer.sample.0);
        assert!((answer.detections[0].score - expected).abs() < 1e-3);
    }
}

#[test]
fn each_desk_gets_the_answers_to_its_own_samples() {
    let bench = Bench::new();
    let mut pool = bench.pool(3);
    let files = bench
        .library
        .load_encoded(&Bench::indices(), &|_| {})
        .unwrap();
    let encoded = Assignment {
        inputs: Inputs::Encoded(Recipe {
            files: Arc::new(files),
            preprocessing: bench.preprocessing.clone(),
            threads: 2,
        }),
        ..bench.assignment(4)
    };
    for assignment in [bench.assignment(4), encoded] {
        let mut run = pool.begin_with_desks(&assignment, 3).unwrap();
        assert!(run.desks(2).is_none());
        let desks = run.desks(3).unwrap();
        std::thread::scope(|scope| {
            for (first, mut desk) in (0_u32..).zip(desks) {
                let own = move |sample: &QuerySample| sample.id.0 % 3 == first;
                let own: Vec<_> = samples(300).into_iter().filter(own).collect();
                scope.spawn(move || {
                    desk.issue(&own, &mut Vec::new());
                    let mut inbox = Vec::new();
                    let far = Timestamp::from_nanos(u64::MAX / 4);
                    while inbox.len() < own.len() {
                        desk.wait(far, &mut inbox).unwrap();
                    }
                    let expected: Vec<u32> = own.iter().map(|sample| sample.id.0).collect();
                    assert_eq!(sorted_ids(&inbox), expected);
                });
            }
        });
    }
}

#[test]
fn every_desk_hears_that_the_system_has_failed() {
    let bench = Bench {
        poison: Some(7),
        ..Bench::new()
    };
    let mut pool = bench.pool(1);
    let assignment = bench.assignment(1);
    let mut run = pool.begin_with_desks(&assignment, 2).unwrap();
    let mut desks = run.desks(2).unwrap();
    desks[1].issue(&samples(PICTURES as u32), &mut Vec::new());
    let far = Timestamp::from_nanos(u64::MAX / 4);
    for desk in &mut desks {
        let error = loop {
            if let Err(error) = desk.wait(far, &mut Vec::new()) {
                break error;
            }
        };
        assert!(
            matches!(error, SutError::Failed { sample: 7, .. }),
            "{error}"
        );
    }
}

#[test]
fn giving_a_run_with_desks_up_neither_waits_for_its_samples_nor_hangs() {
    let bench = Bench::new();
    let mut pool = bench.pool(2);
    let mut run = pool.begin_with_desks(&bench.assignment(1), 2).unwrap();
    // More answers than a desk has room for, and nobody takes them.
    for mut desk in run.desks(2).unwrap() {
        desk.issue(&samples(2 * REPLY_ROOM as u32), &mut Vec::new());
    }
    drop(run);
    let mut run = pool.begin(&bench.assignment(1)).unwrap();
    run.issue(&samples(2), &mut Vec::new());
    assert_eq!(sorted_ids(&collect(&mut run, 2).unwrap()), [0, 1]);
}
