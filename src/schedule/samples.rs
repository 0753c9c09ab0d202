//! Which: the position in the loaded set at which each query starts, and the order of Offline.
//!
//! All draws of one loaded set come from one `sample` stream in a fixed order, whether or not the
//! results are used: a permutation of the starts (accuracy mode only), another one (always), then
//! whole permutations of the set, as many as cover the minimum number of queries. Only then come
//! the draws of the queries themselves. This is why the minimum number of queries changes
//! the samples of a performance run although it should only change how many there are.

use std::sync::Arc;

use crate::schedule::rng::RandomStream;
use crate::units::SampleIndex;

/// Which rule places the queries in the loaded set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartRule {
    /// Every start once, in permuted order (LoadGen's `performance_issue_unique`).
    Unique,
    /// Always this position (LoadGen's `performance_issue_same`).
    Same(u32),
    /// One permutation of the whole set after the other (LoadGen's `sample_concatenate_permutation`).
    Permutations,
    /// Every start once, in the order of accuracy mode.
    EachOnce,
    /// Drawn with replacement: a performance run's rule.
    Random,
}

/// What the draws of one loaded set depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetShape {
    /// Number of loaded samples, padding included.
    pub length: u32,
    /// Number of loaded samples before the padding: a query starts below it.
    pub dist_end: u32,
    /// Distance between the starts of the permuted rules: samples a query in MultiStream, else 1.
    pub stride: u32,
    /// Minimum number of queries, which decides how many permutations are drawn in advance.
    pub query_count_min: u64,
    /// Whether the set is run in accuracy mode.
    pub accuracy: bool,
}

impl SetShape {
    fn starts(&self) -> Vec<u32> {
        (0..self.dist_end).step_by(self.stride as usize).collect()
    }

    fn permutation_count(&self) -> u64 {
        self.query_count_min.div_ceil(u64::from(self.length))
    }
}

/// The positions in the loaded set at which the queries start, without end.
#[derive(Debug, Clone)]
pub struct Starts(Source);

#[derive(Debug, Clone)]
enum Source {
    Same(u32),
    Listed {
        order: Vec<u32>,
        next: usize,
    },
    Permutations(Box<Permutations>),
    Random {
        stream: Box<RandomStream>,
        bound: u32,
    },
}

impl Starts {
    /// The starts that `rule` gives for a set of this shape, `stream` being the sample stream just
    /// after its seed.
    ///
    /// *Complexity*: [`StartRule::Random`] runs all advance permutations here, one word for each
    /// one or two queries of the minimum; the other rules cost at most two permutations.
    pub fn new(rule: StartRule, shape: &SetShape, mut stream: RandomStream) -> Self {
        let mut each_once = shape.starts();
        if shape.accuracy {
            stream.shuffle(&mut each_once);
        }
        if rule == StartRule::EachOnce {
            return Self(Source::Listed {
                order: each_once,
                next: 0,
            });
        }
        let mut unique = shape.starts();
        stream.shuffle(&mut unique);
        Self(match rule {
            StartRule::Unique | StartRule::EachOnce => Source::Listed {
                order: unique,
                next: 0,
            },
            StartRule::Same(position) => Source::Same(position),
            StartRule::Permutations => {
                Source::Permutations(Box::new(Permutations::new(shape, stream)))
            }
            StartRule::Random => {
                run_advance_permutations(shape, &mut stream);
                Source::Random {
                    stream: Box::new(stream),
                    bound: shape.dist_end,
                }
            }
        })
    }

    /// The position at which the next query starts.
    #[inline]
    pub fn next_start(&mut self) -> u32 {
        match &mut self.0 {
            Source::Random { stream, bound } => stream.below(*bound),
            Source::Same(position) => *position,
            Source::Listed { order, next } => {
                let start = order[*next];
                *next = (*next + 1) % order.len();
                start
            }
            Source::Permutations(permutations) => permutations.next_position(),
        }
    }
}

/// Draws what the advance permutations draw and forgets it.
fn run_advance_permutations(shape: &SetShape, stream: &mut RandomStream) {
    let mut order: Vec<u32> = (0..shape.length).collect();
    for _ in 0..shape.permutation_count() {
        stream.shuffle(&mut order);
    }
}

/// The advance permutations one after the other, from the first again after the last.
///
/// They are drawn again as they are needed instead of being kept: a run may have 2^32 queries,
/// and nothing else draws from the stream in between.
#[derive(Debug, Clone)]
struct Permutations {
    seeded: RandomStream,
    stream: RandomStream,
    order: Vec<u32>,
    next: usize,
    permutation: u64,
    permutation_count: u64,
}

impl Permutations {
    fn new(shape: &SetShape, stream: RandomStream) -> Self {
        let mut permutations = Self {
            seeded: stream.clone(),
            stream,
            order: (0..shape.length).collect(),
            next: 0,
            permutation: 1,
            permutation_count: shape.permutation_count(),
        };
        permutations.stream.shuffle(&mut permutations.order);
        permutations
    }

    fn next_position(&mut self) -> u32 {
        if self.next == self.order.len() {
            self.next = 0;
            if self.permutation >= self.permutation_count {
                self.permutation = 0;
                self.stream = self.seeded.clone();
                self.order = (0..self.order.len() as u32).collect();
            }
            self.permutation += 1;
            // Each permutation starts from the order that the one before it left.
            self.stream.shuffle(&mut self.order);
        }
        self.next += 1;
        self.order[self.next - 1]
    }
}

/// The samples of the one Offline query, in pieces of any size.
#[derive(Debug, Clone)]
pub struct OfflineOrder(Order);

#[derive(Debug, Clone)]
enum Order {
    Same(SampleIndex),
    InTurn {
        set: Arc<[SampleIndex]>,
        next: usize,
    },
    Permuted {
        stream: Box<RandomStream>,
        set: Arc<[SampleIndex]>,
        order: Vec<SampleIndex>,
        next: usize,
    },
}

impl OfflineOrder {
    /// Always the same sample.
    pub const fn same(sample: SampleIndex) -> Self {
        Self(Order::Same(sample))
    }

    /// The set over and over in its loaded order; no draw is made.
    pub const fn in_turn(set: Arc<[SampleIndex]>) -> Self {
        Self(Order::InTurn { set, next: 0 })
    }

    /// The set over and over, each time permuted anew; `stream` is the sample stream just after
    /// its seed.
    pub fn permuted(set: Arc<[SampleIndex]>, shape: &SetShape, mut stream: RandomStream) -> Self {
        if shape.accuracy {
            stream.shuffle(&mut shape.starts());
        }
        stream.shuffle(&mut shape.starts());
        run_advance_permutations(shape, &mut stream);
        let (order, next) = (set.to_vec(), set.len());
        Self(Order::Permuted {
            stream: Box::new(stream),
            set,
            order,
            next,
        })
    }

    /// Appends the next `count` samples to `samples`.
    pub fn append(&mut self, mut count: usize, samples: &mut Vec<SampleIndex>) {
        while count > 0 {
            let appended = match &mut self.0 {
                Order::Same(sample) => {
                    samples.resize(samples.len() + count, *sample);
                    count
                }
                Order::InTurn { set, next } => append_some(set, next, count, samples),
                Order::Permuted {
                    stream,
                    set,
                    order,
                    next,
                } => {
                    if *next == order.len() {
                        // Unlike the advance permutations each one starts from the loaded order.
                        order.copy_from_slice(set);
                        stream.shuffle(order);
                    }
                    append_some(order, next, count, samples)
                }
            };
            count -= appended;
        }
    }
}

/// Appends from `set[next..]` at most `count` samples; a `next` at the end means the beginning.
fn append_some(
    set: &[SampleIndex],
    next: &mut usize,
    count: usize,
    samples: &mut Vec<SampleIndex>,
) -> usize {
    if *next == set.len() {
        *next = 0;
    }
    let end = set.len().min(*next + count);
    samples.extend_from_slice(&set[*next..end]);
    let appended = end - *next;
    *next = end;
    appended
}
