//! Data threads: decoding and resizing inside the timed region.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{bounded, Receiver, Sender};

use super::{Reply, Work, WORK_ROOM};
use crate::clock::{Clock, Monotonic};
use crate::library::EncodedSamples;
use crate::record::ShortSpan;
use crate::sut::SutError;
use crate::tensor::{TensorBuffer, TensorView};
use crate::units::QuerySample;

/// One sample's tensor, made by a data thread; the buffer goes home when it is dropped.
pub(super) struct Made {
    /// How long decoding and resizing took.
    pub took: ShortSpan,
    buffer: TensorBuffer,
    shape: Arc<[i64]>,
    home: Option<Sender<TensorBuffer>>,
}

impl Made {
    /// For warm-up: a tensor whose buffer is simply freed.
    pub fn without_home(buffer: TensorBuffer, shape: Arc<[i64]>) -> Self {
        Self {
            took: ShortSpan::default(),
            buffer,
            shape,
            home: None,
        }
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
    orders: Receiver<QuerySample>,
}

impl Kitchen {
    /// Starts the threads; the sender takes the samples to make.
    ///
    /// No more than `buffers` tensors exist at a time: a thread waits for one to come home.
    pub fn open(
        samples: &Arc<EncodedSamples>,
        threads: usize,
        buffers: usize,
        clock: Monotonic,
        work: &Sender<Work>,
        replies: &Sender<Reply>,
    ) -> (Self, Sender<QuerySample>) {
        let (order, orders) = bounded(WORK_ROOM);
        let (home, free) = bounded(buffers);
        for _ in 0..buffers {
            home.send(samples.new_buffer()).expect("room for each");
        }
        let shape: Arc<[i64]> = samples.sample_shape().into();
        let threads = (0..threads)
            .map(|number| {
                let cook = Cook {
                    samples: Arc::clone(samples),
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
                            let _ = replies.send(Reply::Failed(error));
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
    samples: Arc<EncodedSamples>,
    shape: Arc<[i64]>,
    orders: Receiver<QuerySample>,
    free: Receiver<TensorBuffer>,
    home: Sender<TensorBuffer>,
    work: Sender<Work>,
    clock: Monotonic,
}

impl Cook {
    fn serve(&self) -> Result<(), SutError> {
        for sample in &self.orders {
            let Ok(mut buffer) = self.free.recv() else {
                break;
            };
            let begun = self.clock.now();
            self.samples
                .prepare(sample.index, &mut buffer)
                .map_err(|error| SutError::Preprocess {
                    sample: sample.index.0,
                    reason: error.to_string(),
                })?;
            let made = Made {
                took: ShortSpan::new(self.clock.now().since(begun)),
                buffer,
                shape: Arc::clone(&self.shape),
                home: Some(self.home.clone()),
            };
            let work = Work {
                sample,
                made: Some(made),
            };
            if self.work.send(work).is_err() {
                break;
            }
        }
        Ok(())
    }
}
