//! A system under test on virtual time: servers, service times, and faults to prove the harness with.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use rand_mt::Mt;

use super::{SutError, SystemUnderTest};
use crate::clock::{Clock, Simulated as SimulatedClock};
use crate::record::{Completion, ShortSpan, Stages};
use crate::units::{Latency, QuerySample, Timestamp};

/// How long one batch occupies a server.
#[derive(Debug, Clone, PartialEq)]
pub enum ServiceTime {
    /// Always the same.
    Fixed(Latency),
    /// Log-normal: `median * exp(sigma * z)` with `z` standard normal.
    LogNormal {
        /// The median.
        median: Latency,
        /// Spread of the logarithm.
        sigma: f64,
    },
    /// Recorded times, taken in order and from the beginning again; must not be empty.
    Recorded(Vec<Latency>),
}

/// What goes wrong, for the tests that need it to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// The issue call itself takes this long on the issuing thread.
    pub issue_cost: Latency,
    /// No server begins work between these moments.
    pub stall: Option<(Timestamp, Timestamp)>,
    /// Samples whose answers never come.
    pub lost: BTreeSet<u32>,
    /// Samples whose answers come twice.
    pub duplicated: BTreeSet<u32>,
}

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// Servers that work side by side; at least one.
    pub servers: usize,
    /// Samples a server takes at once, as many as wait; at least one.
    pub batch_size: usize,
    /// Time for a batch, however many samples are in it.
    pub service: ServiceTime,
    /// Seed of the service times.
    pub seed: u32,
    /// Faults.
    pub faults: Faults,
}

/// Servers on virtual time; samples are served in the order of arrival by the server that is free first.
#[derive(Debug)]
pub struct Simulated {
    clock: SimulatedClock,
    simulation: Simulation,
    name: String,
    rng: Mt,
    recorded_next: usize,
    free_at: Vec<Timestamp>,
    waiting: VecDeque<(QuerySample, Timestamp)>,
    /// Answers under way: when, in which order they were decided, and the answer.
    due: BinaryHeap<Reverse<(u64, u64, u32, u64)>>,
    decided: u64,
}

impl Simulated {
    /// Servers that share `clock` with the drive loop.
    ///
    /// # Panics
    /// When there are no servers, the batch size is zero or the recorded times are empty.
    pub fn new(clock: SimulatedClock, simulation: Simulation) -> Self {
        assert!(simulation.servers > 0 && simulation.batch_size > 0);
        assert!(simulation.service != ServiceTime::Recorded(Vec::new()));
        Self {
            free_at: vec![Timestamp::ZERO; simulation.servers],
            rng: Mt::new(simulation.seed),
            name: match simulation.servers {
                1 => "simulated (1 server)".to_owned(),
                servers => format!("simulated ({servers} servers)"),
            },
            recorded_next: 0,
            waiting: VecDeque::new(),
            due: BinaryHeap::new(),
            decided: 0,
            clock,
            simulation,
        }
    }

    fn service_time(&mut self) -> Latency {
        match &self.simulation.service {
            ServiceTime::Fixed(span) => *span,
            ServiceTime::Recorded(spans) => {
                let span = spans[self.recorded_next % spans.len()];
                self.recorded_next += 1;
                span
            }
            ServiceTime::LogNormal { median, sigma } => {
                let unit = |word: u32| (f64::from(word) + 0.5) / 4_294_967_296.0;
                let (a, b) = (unit(self.rng.next_u32()), unit(self.rng.next_u32()));
                let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
                Latency::from_nanos((median.as_nanos() as f64 * (sigma * normal).exp()) as u64)
            }
        }
    }

    /// When and on which server the next batch begins, if anything waits.
    fn next_begin(&self) -> Option<(Timestamp, usize)> {
        let &(_, arrived) = self.waiting.front()?;
        let (server, &free) = self
            .free_at
            .iter()
            .enumerate()
            .min_by_key(|&(server, &free)| (free, server))?;
        let begin = free.max(arrived);
        let begin = match self.simulation.faults.stall {
            Some((from, to)) if begin >= from && begin < to => to,
            _ => begin,
        };
        Some((begin, server))
    }

    /// Starts every batch that begins at `now` or before.
    fn dispatch(&mut self, now: Timestamp) {
        while let Some((begin, server)) = self.next_begin().filter(|&(begin, _)| begin <= now) {
            let service = self.service_time();
            let end = begin + service;
            self.free_at[server] = end;
            for _ in 0..self.simulation.batch_size {
                let Some(&(sample, arrived)) = self.waiting.front() else {
                    break;
                };
                if arrived > begin {
                    break;
                }
                self.waiting.pop_front();
                self.decide(sample, end, service);
            }
        }
    }

    fn decide(&mut self, sample: QuerySample, end: Timestamp, service: Latency) {
        let id = sample.id.0;
        if self.simulation.faults.lost.contains(&id) {
            return;
        }
        let copies = 1 + usize::from(self.simulation.faults.duplicated.contains(&id));
        for _ in 0..copies {
            let due = (end.as_nanos(), self.decided, id, service.as_nanos());
            self.due.push(Reverse(due));
            self.decided += 1;
        }
    }

    /// Moves the answers that are due at `now` into `inbox`.
    fn deliver(&mut self, now: Timestamp, inbox: &mut Vec<Completion>) {
        while let Some(&Reverse((at, _, id, service))) = self.due.peek() {
            if at > now.as_nanos() {
                break;
            }
            self.due.pop();
            inbox.push(Completion {
                id: crate::units::SampleId(id),
                at: Timestamp::from_nanos(at),
                stages: Stages {
                    inference: ShortSpan::new(Latency::from_nanos(service)),
                    ..Stages::default()
                },
            });
        }
    }
}

impl SystemUnderTest for Simulated {
    fn name(&self) -> &str {
        &self.name
    }

    fn issue(&mut self, samples: &[QuerySample], _inbox: &mut Vec<Completion>) {
        self.clock.advance(self.simulation.faults.issue_cost);
        let now = self.clock.now();
        self.waiting
            .extend(samples.iter().map(|&sample| (sample, now)));
    }

    fn poll(&mut self, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        let now = self.clock.now();
        self.dispatch(now);
        self.deliver(now, inbox);
        Ok(())
    }

    fn wait(&mut self, deadline: Timestamp, inbox: &mut Vec<Completion>) -> Result<(), SutError> {
        loop {
            self.poll(inbox)?;
            if !inbox.is_empty() {
                return Ok(());
            }
            let answer = self.due.peek().map(|Reverse(due)| due.0);
            let begin = self.next_begin().map(|(begin, _)| begin.as_nanos());
            let next = answer.into_iter().chain(begin).min();
            match next {
                Some(next) if next <= deadline.as_nanos() => {
                    self.clock.sleep_until(Timestamp::from_nanos(next));
                }
                _ => {
                    self.clock.sleep_until(deadline);
                    return Ok(());
                }
            }
        }
    }
}
