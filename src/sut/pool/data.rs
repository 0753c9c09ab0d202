//! Data threads: decoding and resizing inside the timed region.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{bounded, Receiver, Sender};

use super::{Replies, Work, WORK_ROOM};
use crate::clock::{Clock, Monotonic};
use crate::library::preprocessing::{ElementType, Preprocessing};
use crate::library::{EncodedSamples, Preprocessor, SampleMut};
use crate::record::ShortSpan;
use crate::sut::SutError;
use crate::tensor::{TensorBuffer, TensorView};
use crate::units::SampleIndex;

/// The files of a run and what is made of them.
#[derive(Clone)]
pub struct Recipe {
    /// The picture files in memory.
    pub files: Arc<EncodedSamples>,
    /// What the model wants of them.
    pub preprocessing: Preprocessing,
    /// How many threads decode and resize.
    pub threads: usize,
}

impl Recipe {
    pub(super) fn sample_shape(&self) -> Vec<i64> {
        self.preprocessing.sample_shape()
    }

    fn new_buffer(&self) -> TensorBuffer {
        let elements = self.preprocessing.sample_elements();
        match self.preprocessing.element {
            ElementType::F32 => TensorBuffer::F32(vec![0.0; elements]),
            ElementType::U8 => TensorBuffer::U8(vec![0; elements]),
        }
    }
}

fn make(
    files: &EncodedSamples,
    preprocessor: &mut Preprocessor,
    index: SampleIndex,
    buffer: &mut TensorBuffer,
) -> Result<(), SutError> {
    let out = match buffer {
        TensorBuffer::F32(elements) => SampleMut::F32(elements),
        TensorBuffer::U8(elements) => SampleMut::U8(elements),
    };
    preprocessor
        .decode_and_prepare(files.file(index), out)
        .map(|_size| ())
        .map_err(|error| SutError::Preprocess {
            sample: index.0,
            reason: error.to_string(),
        })
}

/// One sample's tensor, made by a data thread; the buffer goes home when it is dropped.
pub(super) struct Made {
    /// How long decoding and resizing took.
    pub took: ShortSpan,
    buffer: TensorBuffer,
    shape: Arc<[i64]>,
    home: Option<Sender<TensorBuffer>>,
}

impl Made {
    /// For warm-up: made on the calling thread, with a buffer that is simply freed.
    pub fn aside(recipe: &Recipe, index: SampleIndex) -> Result<Self, SutError> {
        let mut buffer = recipe.new_buffer();
        let mut preprocessor = Preprocessor::new(&recipe.preprocessing);
        make(&recipe.files, &mut preprocessor, index, &mut buffer)?;
        Ok(Self {
            took: ShortSpan::default(),
            buffer,
            shape: recipe.sample_shape().into(),
            home: None,
        })
    }

    pub fn tensor(&self) -> TensorView<'_> {
        TensorView {
            shape: &self.shape,
            data: self.buffer.data(),
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            let buffer = std::mem::replace(&mut self.buffer, TensorBuffer::U8(Vec::new()));
            // The run is over when nobody takes it back.
            let _ = home.try_send(buffer);
        }
    }
}

/// The data threads of one run; dropping it joins them.
pub(super) struct Kitchen {
    threads: Vec<JoinHandle<()>>,
    orders: Receiver<Work>,
}

impl Kitchen {
    /// Starts the threads; the sender takes the samples to make.
    ///
    /// No more than `buffers` tensors exist at a time: a thread waits for one to come home.
    pub fn open(
        recipe: &Recipe,
        buffers: usize,
        clock: Monotonic,
        work: &Sender<Work>,
        replies: &Replies,
    ) -> (Self, Sender<Work>) {
        let (order, orders) = bounded(WORK_ROOM);
        let (home, free) = bounded(buffers);
        for _ in 0..buffers {
            home.send(recipe.new_buffer()).expect("room for each");
        }
        let shape: Arc<[i64]> = recipe.sample_shape().into();
        let threads = (0..recipe.threads)
            .map(|number| {
                let mut cook = Cook {
                    files: Arc::clone(&recipe.files),
                    preprocessor: Preprocessor::new(&recipe.preprocessing),
                    shape: Arc::clone(&shape),
                    orders: orders.clone(),
                    free: free.clone(),
                    home: home.clone(),
                    work: work.clone(),
                    clock,
                };
                let replies = replies.clone();
                std::thread::Builder::new()
                    .name(format!("detbench-d{number}"))
                    .spawn(move || {
                        if let Err(error) = cook.serve() {
                            replies.fail(&error);
                        }
                    })
                    .expect("the system gives a thread")
            })
            .collect();
        (Self { threads, orders }, order)
    }
}

impl Drop for Kitchen {
    fn drop(&mut self) {
        // What was not begun is not made any more.
        while self.orders.try_recv().is_ok() {}
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Cook {
    files: Arc<EncodedSamples>,
    preprocessor: Preprocessor,
    shape: Arc<[i64]>,
    orders: Receiver<Work>,
    free: Receiver<TensorBuffer>,
    home: Sender<TensorBuffer>,
    work: Sender<Work>,
    clock: Monotonic,
}

impl Cook {
    fn serve(&mut self) -> Result<(), SutError> {
        for order in &self.orders {
            let Ok(mut buffer) = self.free.recv() else {
                break;
            };
            let begun = self.clock.now();
            make(
                &self.files,
                &mut self.preprocessor,
                order.sample.index,
                &mut buffer,
            )?;
            let made = Made {
                took: ShortSpan::new(self.clock.now().since(begun)),
                buffer,
                shape: Arc::clone(&self.shape),
                home: Some(self.home.clone()),
            };
            let work = Work {
                made: Some(made),
                ..order
            };
            if self.work.send(work).is_err() {
                break;
            }
        }
        Ok(())
    }
}
