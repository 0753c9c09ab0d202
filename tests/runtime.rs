//! The runtime module against the real ONNX Runtime and tiny models.
//!
//! The library is located as a user's would be, and fetched into the user's cache on the first run.

use std::fs;
use std::path::{Path, PathBuf};

use detbench::fetch::Silent;
use detbench::runtime::{
    self, LibraryError, Located, Model, NullModel, NullOutput, OnnxModel, RunError, Runtime,
    RuntimeOption, SessionOptions, Source, TensorInfo,
};
use detbench::tensor::{TensorData, TensorView};

fn runtime() -> Runtime {
    static READY: std::sync::Once = std::sync::Once::new();
    READY.call_once(runtime::disable_telemetry);
    let located = runtime::locate(None, &Silent).expect("ONNX Runtime is here or can be fetched");
    Runtime::load(&located, false).expect("the library loads")
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/onnx")
        .join(name)
}

fn open(name: &str, options: &SessionOptions) -> Result<OnnxModel, RunError> {
    OnnxModel::open(&runtime(), &golden(name), options)
}

fn batch_of(size: usize) -> SessionOptions {
    SessionOptions {
        batch_size: size,
        ..SessionOptions::default()
    }
}

/// `count` pictures of 12 values, every second one negative, each picture's values apart.
fn pictures(count: usize) -> Vec<f32> {
    (0..count * 12)
        .map(|i| if i % 2 == 0 { i as f32 } else { -(i as f32) })
        .collect()
}

fn f32s<'a>(shape: &'a [i64], values: &'a [f32]) -> TensorView<'a> {
    TensorView {
        shape,
        data: TensorData::F32(values),
    }
}

#[test]
fn outputs_come_in_the_order_asked_for_with_their_shapes_with_golden_models() {
    let names = ["negative", "relu"].map(ToOwned::to_owned).to_vec();
    let mut model = open(
        "dynamic_batch.onnx",
        &SessionOptions {
            outputs: names,
            ..batch_of(1)
        },
    )
    .unwrap();
    assert_eq!(model.output_count(), 2);
    assert!(matches!(model.output(0), Err(RunError::NothingRun)));
    let input = pictures(1);
    model.run(f32s(&[1, 2, 2, 3], &input)).unwrap();
    let negative: Vec<f32> = input.iter().map(|value| -value).collect();
    let relu: Vec<f32> = input.iter().map(|value| value.max(0.0)).collect();
    assert_eq!(model.output(0).unwrap(), f32s(&[1, 2, 2, 3], &negative));
    assert_eq!(model.output(1).unwrap(), f32s(&[1, 2, 2, 3], &relu));
}

#[test]
fn every_batch_size_keeps_its_own_buffers_and_every_run_writes_them_anew_with_golden_models() {
    let mut model = open("dynamic_batch.onnx", &batch_of(3)).unwrap();
    for (turn, count) in [3_u8, 1, 2, 3, 1, 3, 3, 2, 1, 3].into_iter().enumerate() {
        let input: Vec<f32> = pictures(usize::from(count))
            .iter()
            .map(|value| value + turn as f32)
            .collect();
        let shape = [i64::from(count), 2, 2, 3];
        model.run(f32s(&shape, &input)).unwrap();
        let relu: Vec<f32> = input.iter().map(|value| value.max(0.0)).collect();
        assert_eq!(model.output(0).unwrap(), f32s(&shape, &relu), "turn {turn}");
    }
}

#[test]
fn outputs_are_written_to_the_same_memory_from_the_second_run_on_with_golden_models() {
    let mut model = open("dynamic_batch.onnx", &batch_of(1)).unwrap();
    let input = pictures(1);
    let mut addresses = Vec::new();
    for _ in 0..4 {
        model.run(f32s(&[1, 2, 2, 3], &input)).unwrap();
        let TensorData::F32(data) = model.output(0).unwrap().data else {
            panic!("f32")
        };
        addresses.push(data.as_ptr());
    }
    assert!(
        addresses.iter().all(|address| *address == addresses[0]),
        "{addresses:?}"
    );
}

#[test]
fn an_output_whose_shape_depends_on_the_input_is_read_as_it_comes_with_golden_models() {
    let mut model = open("open_output.onnx", &batch_of(1)).unwrap();
    for count in [3_u8, 0, 12, 5] {
        let mut input = vec![0.0; 12];
        input[..usize::from(count)].fill(1.0);
        model.run(f32s(&[1, 2, 2, 3], &input)).unwrap();
        assert_eq!(model.output(0).unwrap().shape, [4, i64::from(count)]);
        assert_eq!(model.output(0).unwrap().data.len(), 4 * usize::from(count));
    }
}

#[test]
fn bytes_go_in_and_come_out_with_golden_models() {
    let mut model = open("fixed_batch_u8.onnx", &batch_of(1)).unwrap();
    let input: Vec<u8> = (0..12).map(|i| i * 20).collect();
    let view = TensorView {
        shape: &[1, 2, 2, 3],
        data: TensorData::U8(&input),
    };
    for _ in 0..3 {
        model.run(view).unwrap();
        assert_eq!(model.output(0).unwrap(), view);
    }
}

#[test]
fn an_input_that_does_not_fit_is_refused_and_the_model_still_runs_with_golden_models() {
    let mut model = open("dynamic_batch.onnx", &batch_of(2)).unwrap();
    let input = pictures(3);
    let bytes = [0; 12];
    let wrong = [
        f32s(&[3, 2, 2, 3], &input),
        f32s(&[1, 2, 3, 2], &input[..12]),
        f32s(&[12], &input[..12]),
        f32s(&[0, 2, 2, 3], &[]),
        f32s(&[1, 2, 2, 3], &input[..11]),
        TensorView {
            shape: &[1, 2, 2, 3],
            data: TensorData::U8(&bytes),
        },
    ];
    for view in wrong {
        let error = model.run(view).unwrap_err();
        assert!(!error.to_string().is_empty());
        assert!(
            matches!(model.output(0), Err(RunError::NothingRun)),
            "{error}"
        );
        model.run(f32s(&[1, 2, 2, 3], &input[..12])).unwrap();
    }
    let error = model.run(wrong[0]).unwrap_err().to_string();
    assert!(
        error.contains("[2, 2, 2, 3]") && error.contains("[3, 2, 2, 3]"),
        "{error}"
    );
}

#[test]
fn a_fixed_batch_is_said_before_anything_runs_with_golden_models() {
    let error = open("fixed_batch_u8.onnx", &batch_of(8)).unwrap_err();
    assert!(
        matches!(
            error,
            RunError::BatchFixed {
                model_batch: 1,
                asked: 8,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn models_that_are_no_detectors_are_refused_by_what_they_lack_with_golden_models() {
    let error = open("two_inputs.onnx", &batch_of(1)).unwrap_err();
    assert!(
        matches!(error, RunError::InputCount { count: 2, .. }),
        "{error}"
    );
    let error = open("half_output.onnx", &batch_of(1)).unwrap_err();
    assert!(
        matches!(&error, RunError::ElementUnknown { element, .. } if element == "f16"),
        "{error}"
    );
    let outputs = vec!["boxes".to_owned()];
    let error = open(
        "dynamic_batch.onnx",
        &SessionOptions {
            outputs,
            ..batch_of(1)
        },
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("boxes") && error.contains("relu, negative"),
        "{error}"
    );
}

#[test]
fn a_model_file_that_is_none_is_named_in_one_sentence_with_golden_models() {
    let scratch = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = scratch.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let cut = fs::read(golden("dynamic_batch.onnx")).unwrap()[..60].to_vec();
    for path in [
        scratch.path().join("absent.onnx"),
        scratch.path().to_path_buf(),
        file("empty.onnx", b""),
        file("text.onnx", b"this is not a model"),
        file("cut.onnx", &cut),
    ] {
        for outcome in [
            OnnxModel::open(&runtime(), &path, &batch_of(1)).map(drop),
            runtime::inspect(&runtime(), &path).map(drop),
        ] {
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains(&*path.to_string_lossy()), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(!error.contains(".cc:"), "{error}");
        }
    }
}

#[test]
fn a_graph_is_described_without_running_it_with_golden_models() {
    let graph = runtime::inspect(&runtime(), &golden("open_output.onnx")).unwrap();
    let picture = TensorInfo {
        name: "picture".to_owned(),
        element: "f32".to_owned(),
        shape: vec![1, 2, 2, 3],
    };
    let positions = TensorInfo {
        name: "positions".to_owned(),
        element: "i64".to_owned(),
        shape: vec![4, -1],
    };
    assert_eq!(
        (graph.inputs, graph.outputs),
        (vec![picture], vec![positions])
    );
}

#[test]
fn every_known_option_is_taken_by_the_library_with_golden_models() {
    for key in RuntimeOption::keys() {
        // These need files, or name things of another build.
        if key.contains("affinities") || key.contains("optimized_model") || key.contains("_file") {
            continue;
        }
        let option = ["1", "all", "parallel", "ONNX", "save"]
            .iter()
            .find_map(|value| RuntimeOption::new(key, value).ok())
            .unwrap_or_else(|| panic!("no sample value for {key}"));
        let options = SessionOptions {
            entries: vec![option],
            ..batch_of(1)
        };
        let outcome = open("dynamic_batch.onnx", &options);
        // This one is for ORT-format files and builds without optimisers.
        if key != "optimization.minimal_build_optimizations" && key != "session.use_env_allocators"
        {
            outcome.unwrap_or_else(|error| panic!("{key}: {error}"));
        }
    }
}

#[test]
fn pinned_threads_take_one_cpu_each_with_golden_models() {
    let options = |cpus: &[usize]| SessionOptions {
        intra_threads: 2,
        intra_affinity: Some(cpus.to_vec()),
        spinning: Some(false),
        ..batch_of(1)
    };
    let mut model = open("dynamic_batch.onnx", &options(&[0, 0])).unwrap();
    model.run(f32s(&[1, 2, 2, 3], &pictures(1))).unwrap();
    let error = open("dynamic_batch.onnx", &options(&[0])).unwrap_err();
    assert!(matches!(error, RunError::AffinityCount { .. }), "{error}");
}

#[test]
fn a_pin_that_fails_is_told_and_not_printed_with_golden_models() {
    let loaded = runtime();
    let options = SessionOptions {
        intra_threads: 2,
        intra_affinity: Some(vec![0, 500]),
        ..batch_of(1)
    };
    // Dropping the model waits for its threads, which pin themselves when they start.
    drop(open("dynamic_batch.onnx", &options).unwrap());
    let told = loaded.take_messages();
    assert!(
        told.iter().any(|message| message.text.contains("affinity")),
        "{told:?}"
    );
}

#[test]
fn one_process_holds_one_library() {
    let loaded = runtime();
    assert_eq!(runtime().path(), loaded.path());
    let sum = loaded.sha256().unwrap();
    assert_eq!(
        sum,
        detbench::fetch::cache::sha256_of_file(loaded.path()).unwrap()
    );
    let other = Located {
        path: PathBuf::from("/elsewhere/libonnxruntime.so"),
        version: None,
        source: Source::Flag,
        sha256: None,
        skipped: Vec::new(),
    };
    let error = Runtime::load(&other, false).unwrap_err();
    assert!(
        matches!(error, LibraryError::AnotherIsLoaded { .. }),
        "{error}"
    );
}

#[test]
fn the_null_model_answers_what_it_was_given() {
    let values = vec![1.0, 2.0];
    let mut model = NullModel::new(vec![NullOutput {
        shape: vec![1, 2],
        values: values.clone(),
    }]);
    model.run(f32s(&[1], &[0.0])).unwrap();
    assert_eq!(
        (model.output_count(), model.output(0).unwrap()),
        (1, f32s(&[1, 2], &values))
    );
}
