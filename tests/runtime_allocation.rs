//! A run allocates nothing of ours. Alone in its file: the counting allocator sees the whole process.
//!
//! The Rust allocator is counted; ONNX Runtime's own C++ allocations are not seen, and not ours.

use std::alloc::System;
use std::path::Path;

use detbench::fetch::Silent;
use detbench::runtime::{self, Model, OnnxModel, Runtime, SessionOptions};
use detbench::tensor::{TensorData, TensorView};
use stats_alloc::{Region, StatsAlloc, INSTRUMENTED_SYSTEM};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Per run the `ort` crate itself makes one handle for the lent input: a single small allocation,
/// whatever the tensors' sizes.
const CRATE_ALLOCATION_COUNT: usize = 1;
const CRATE_ALLOCATION_BYTES: usize = 256;

#[test]
fn a_run_of_a_golden_model_allocates_no_more_than_the_crates_handle_of_the_input() {
    const RUN_COUNT: usize = 100;
    runtime::disable_telemetry();
    let located = runtime::locate(None, &Silent).expect("ONNX Runtime is here or can be fetched");
    let loaded = Runtime::load(&located, false).expect("the library loads");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx/dynamic_batch.onnx");
    let options = SessionOptions {
        batch_size: 64,
        ..SessionOptions::default()
    };
    let mut model = OnnxModel::open(&loaded, &path, &options).unwrap();
    let input = vec![1.0; 64 * 12];
    for batch in [1_i64, 64] {
        let shape = [batch, 2, 2, 3];
        let view = TensorView {
            shape: &shape,
            data: TensorData::F32(&input[..batch as usize * 12]),
        };
        // The first run makes the buffers, the second the options that hold them.
        model.run(view).unwrap();
        model.run(view).unwrap();
        let region = Region::new(ALLOCATOR);
        for _ in 0..RUN_COUNT {
            model.run(view).unwrap();
            for index in 0..model.output_count() {
                assert!(!model.output(index).unwrap().data.is_empty());
            }
        }
        let change = region.change();
        let count = (change.allocations + change.reallocations) / RUN_COUNT;
        let bytes = change.bytes_allocated / RUN_COUNT;
        assert!(
            count <= CRATE_ALLOCATION_COUNT,
            "{count} allocations per run, {bytes} bytes"
        );
        assert!(bytes <= CRATE_ALLOCATION_BYTES, "{bytes} bytes per run");
    }
}
