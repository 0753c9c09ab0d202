//! How fast models are: the placement, pins and session options of `detbench run`, the models in turn.
//!
//! A round is each model once on the same picture, so that whatever else the machine does meets all of them. The timed
//! region is that of `run`: from the prepared tensor to the detections.

use std::path::PathBuf;
use std::sync::Barrier;

use crate::cli::failure::{Blame, Failure};
use crate::cli::interrupt::is_interrupted;
use crate::cli::run::{seats, Seating, Subject};
use crate::clock::{Clock, Monotonic};
use crate::library::LoadedSamples;
use crate::metrics::percentile::nearest_rank;
use crate::placement::pin::pin_current_thread;
use crate::placement::plan::Placement;
use crate::postprocess::{Detector, NmsMode};
use crate::runtime::{Model, Runtime};
use crate::sut::pool::ModelFactory;
use crate::tensor::TensorView;
use crate::tune::figures::Speed;
use crate::units::{Quantile, SampleIndex, Timestamp};

/// Rounds that are timed.
pub const ROUNDS: usize = 60;
/// Rounds before.
const WARM_UP: usize = 5;
/// Inferences of each instance in a round when there are several, so that starting together weighs little.
const TOGETHER: usize = 2;

/// Where and how speed is measured.
pub struct Bench<'a> {
    /// The machine.
    pub seating: &'a Seating,
    /// The instances.
    pub placement: &'a Placement,
    /// The library.
    pub runtime: &'a Runtime,
    /// What the detectors are made of.
    pub subject: &'a Subject,
    /// Rounds that are timed.
    pub rounds: usize,
    /// Rounds before.
    pub warm_up: usize,
}

/// A model to be timed, with pictures in its form.
pub struct Contestant<'a> {
    /// The file.
    pub onnx: PathBuf,
    /// The pictures.
    pub pictures: &'a (LoadedSamples, Vec<SampleIndex>),
}

/// What is known of one model after all rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Median latency.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// Inferences a second of all instances.
    pub per_second: f64,
}

/// Begin and end of each inference of a round.
type Round = Vec<(Timestamp, Timestamp)>;

impl<'a> Bench<'a> {
    /// With the usual number of rounds.
    pub fn new(
        seating: &'a Seating,
        placement: &'a Placement,
        runtime: &'a Runtime,
        subject: &'a Subject,
    ) -> Self {
        Self {
            seating,
            placement,
            runtime,
            subject,
            rounds: ROUNDS,
            warm_up: WARM_UP,
        }
    }

    /// At least so many rounds, and so many before, where a number is given.
    pub fn with_rounds(mut self, (rounds, warm_up): (Option<u32>, Option<u32>)) -> Self {
        self.rounds = rounds.map_or(self.rounds, |rounds| self.rounds.max(rounds as usize));
        self.warm_up = warm_up.map_or(self.warm_up, |rounds| rounds as usize);
        self
    }

    /// Times one model alone.
    pub fn alone(&self, contestant: &Contestant<'_>) -> Result<Measured, Failure> {
        let rounds = self.rounds_of(std::slice::from_ref(contestant))?;
        Ok(measured(&rounds[0]))
    }

    /// Times `own` in turn with the float model.
    pub fn against(&self, float: Contestant<'_>, own: Contestant<'_>) -> Result<Speed, Failure> {
        let rounds = self.rounds_of(&[float, own])?;
        let (before, after) = (measured(&rounds[0]), measured(&rounds[1]));
        let middle = |round: &Round| {
            let mut spans: Vec<u64> = spans(round).collect();
            spans.sort_unstable();
            spans[spans.len() / 2] as f64
        };
        let pairs = rounds[0].iter().zip(&rounds[1]);
        let ratios = pairs
            .map(|(float, own)| middle(own) / middle(float))
            .collect();
        Ok(Speed {
            p50_ns: after.p50_ns,
            p99_ns: after.p99_ns,
            per_second: after.per_second,
            float_p50_ns: before.p50_ns,
            float_p99_ns: before.p99_ns,
            float_per_second: before.per_second,
            spread: spread_of_median(ratios),
        })
    }

    /// For each model its rounds, the inferences of all instances in each.
    fn rounds_of(&self, contestants: &[Contestant<'_>]) -> Result<Vec<Vec<Round>>, Failure> {
        let instances = self.placement.instances.len();
        let factories: Vec<ModelFactory> = contestants
            .iter()
            .map(|one| {
                let place = self.placement;
                self.seating
                    .factory_for(&one.onnx, place, 1, self.subject, self.runtime)
            })
            .collect();
        let seats = seats(self.placement);
        let barrier = Barrier::new(instances);
        let clock = Monotonic::new();
        let work = |instance: usize| {
            let opened = open(instance, seats[instance].worker_cpus.as_deref(), &factories);
            let mode = self.subject.reading.raw_heads().map(|_| NmsMode::Regular);
            let mut one = Instance {
                opened,
                detector: (self.subject.detectors(&[mode]))().remove(0),
                clock,
            };
            let mut found = vec![Vec::with_capacity(self.rounds); contestants.len()];
            let each = if instances > 1 { TOGETHER } else { 1 };
            for round in 0..self.warm_up + self.rounds {
                for (at, contestant) in contestants.iter().enumerate() {
                    // Whoever has failed keeps the others company to the end.
                    barrier.wait();
                    let (samples, order) = contestant.pictures;
                    let pictures =
                        (0..each).map(|repeat| order[(round * each + repeat) % order.len()]);
                    let spans = pictures.map_while(|picture| one.run(at, samples.tensor(picture)));
                    let spans: Round = spans.collect();
                    if round >= self.warm_up {
                        found[at].push(spans);
                    }
                }
            }
            one.opened.map(|_| found)
        };
        let all = std::thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> = (0..instances)
                .map(|instance| scope.spawn(move || work(instance)))
                .collect();
            let all = running.into_iter().map(|one| one.join().expect("no panic"));
            all.collect::<Result<Vec<_>, Failure>>()
        })?;
        // Instance by instance -> round by round.
        let together = |at: usize, round: usize| {
            let spans = all.iter().flat_map(|own| own[at][round].iter().copied());
            spans.collect::<Round>()
        };
        let of = |at: usize| (0..self.rounds).map(|round| together(at, round)).collect();
        Ok((0..contestants.len()).map(of).collect())
    }
}

/// The sessions of one instance; its thread stays where it is then.
fn open(
    instance: usize,
    cpus: Option<&[usize]>,
    factories: &[ModelFactory],
) -> Result<Vec<Box<dyn Model>>, Failure> {
    if let Some(cpus) = cpus {
        pin_current_thread(cpus).or_environment()?;
    }
    let models = factories.iter().map(|factory| factory(instance));
    models
        .collect::<Result<_, String>>()
        .map_err(Failure::environment)
}

/// One instance: its sessions, or why it has failed.
struct Instance {
    opened: Result<Vec<Box<dyn Model>>, Failure>,
    detector: Box<dyn Detector>,
    clock: Monotonic,
}

impl Instance {
    /// Begin and end of an inference with its post-processing; `None` once anything has failed or somebody asks to stop.
    fn run(&mut self, at: usize, picture: TensorView<'_>) -> Option<(Timestamp, Timestamp)> {
        if is_interrupted() {
            self.opened = Err(Failure::environment("interrupted"));
        }
        let models = self.opened.as_mut().ok()?;
        let begin = self.clock.now();
        match detect(models[at].as_mut(), self.detector.as_mut(), picture) {
            Ok(()) => Some((begin, self.clock.now())),
            Err(error) => {
                self.opened = Err(error);
                None
            }
        }
    }
}

fn detect(
    model: &mut dyn Model,
    detector: &mut dyn Detector,
    picture: TensorView<'_>,
) -> Result<(), Failure> {
    model.run(picture).or_environment()?;
    let outputs = (0..model.output_count()).map(|index| model.output(index));
    let outputs = outputs.collect::<Result<Vec<_>, _>>().or_environment()?;
    detector.detect(&outputs, 0, &mut Vec::new()).or_usage()
}

fn spans(round: &Round) -> impl Iterator<Item = u64> + '_ {
    round
        .iter()
        .map(|(begin, end)| end.since(*begin).as_nanos())
}

fn measured(rounds: &[Round]) -> Measured {
    let mut all: Vec<u64> = rounds.iter().flat_map(spans).collect();
    all.sort_unstable();
    let mut rates: Vec<f64> = rounds
        .iter()
        .map(|round| {
            let begin = round.iter().map(|(begin, _)| *begin).min();
            let end = round.iter().map(|(_, end)| *end).max();
            let (begin, end) = begin.zip(end).expect("a round has inferences");
            round.len() as f64 / end.since(begin).as_secs_f64().max(1e-9)
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    Measured {
        p50_ns: all[nearest_rank(all.len(), Quantile::P50)],
        p99_ns: all[nearest_rank(all.len(), Quantile::P99)],
        per_second: rates[rates.len() / 2],
    }
}

/// Half of the 95 % interval of the median, as a share of it: between order statistics, whatever the distribution.
fn spread_of_median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let half = 0.98 * count.sqrt();
    let last = values.len() - 1;
    let low = (count / 2.0 - half).max(0.0) as usize;
    let high = ((count / 2.0 + half) as usize).min(last);
    (values[high] - values[low]) / 2.0 / values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_the_median_is_that_of_the_middle_and_not_of_the_tails() {
        let mut values: Vec<f64> = (0..100).map(|at| 1.0 + f64::from(at) * 0.001).collect();
        let plain = spread_of_median(values.clone());
        // Ranks 40 and 59 of a hundred.
        assert!((plain - 0.019 / 2.0 / 1.05).abs() < 1e-9, "{plain}");
        values[99] = 50.0;
        assert!((spread_of_median(values) - plain).abs() < 1e-9);
        assert!(spread_of_median(vec![2.0; 60]).abs() < 1e-12);
        assert!(spread_of_median(vec![2.0]).abs() < 1e-12);
    }

    #[test]
    fn rates_count_the_inferences_of_all_instances_between_the_first_and_the_last_moment() {
        let at = Timestamp::from_nanos;
        // Two instances of two inferences each in 40 ms.
        let round: Round = vec![
            (at(0), at(20_000_000)),
            (at(20_000_000), at(40_000_000)),
            (at(1_000_000), at(18_000_000)),
            (at(18_000_000), at(39_000_000)),
        ];
        let own = measured(&vec![round; 3]);
        assert!((own.per_second - 100.0).abs() < 1e-9);
        assert_eq!(own.p50_ns, 20_000_000);
        assert_eq!(own.p99_ns, 21_000_000);
    }
}
