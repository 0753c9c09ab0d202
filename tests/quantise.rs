//! Quantisation against the real ONNX Runtime: the golden network, and the reference models where they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::CommandCargoExt;
use detbench::fetch::Silent;
use detbench::model::onnx::proto::ModelProto;
use detbench::quantise::bytes::byte_input;
use detbench::quantise::calibrate::{calibrate, exposed, CalibrationPictures, Watched};
use detbench::quantise::compare::largest_difference;
use detbench::quantise::encode::encode;
use detbench::quantise::equalise::{equalise, pairs};
use detbench::quantise::fusion::{verify, Fusion};
use detbench::quantise::graph::Graph;
use detbench::quantise::insert::insert;
use detbench::quantise::plan::{plan, Plan, Wishes};
use detbench::quantise::prepare::prepare;
use detbench::quantise::{load, Preset, QuantiseError, Recipe};
use detbench::runtime::{self, Model, OnnxModel, Runtime, SessionOptions};
use detbench::tensor::{TensorData, TensorView};
use prost::Message;
use serde_json::Value;

fn runtime() -> Runtime {
    static READY: std::sync::Once = std::sync::Once::new();
    READY.call_once(runtime::disable_telemetry);
    let located = runtime::locate(None, &Silent).expect("ONNX Runtime is here or can be fetched");
    Runtime::load(&located, false).expect("the library loads")
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/quantise")
        .join(name)
}

fn golden_values() -> Value {
    serde_json::from_slice(&std::fs::read(golden("g3.json")).unwrap()).unwrap()
}

fn rows(value: &Value) -> Vec<Vec<f32>> {
    let floats = |row: &Value| {
        row.as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_f64().unwrap() as f32)
            .collect()
    };
    value.as_array().unwrap().iter().map(floats).collect()
}

struct Pictures(Vec<Vec<f32>>);

impl CalibrationPictures for Pictures {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn tensor(&mut self, index: usize) -> Result<TensorView<'_>, QuantiseError> {
        Ok(TensorView {
            shape: &[1, 3, 8, 8],
            data: TensorData::F32(&self.0[index]),
        })
    }
    fn name(&self, index: usize) -> String {
        index.to_string()
    }
}

fn pictures() -> Pictures {
    Pictures(rows(&golden_values()["x"]))
}

fn open(
    model: &ModelProto,
    outputs: &[String],
    optimised: Option<PathBuf>,
    entries: &[&str],
) -> OnnxModel {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    let options = SessionOptions {
        outputs: outputs.to_vec(),
        optimized_model_path: optimised,
        entries: entries
            .iter()
            .map(|one| detbench::runtime::RuntimeOption::parse(one).unwrap())
            .collect(),
        ..SessionOptions::default()
    };
    OnnxModel::open(&runtime(), &path, &options).unwrap()
}

fn answers(model: &ModelProto, entries: &[&str]) -> Vec<Vec<f32>> {
    let mut session = open(model, &["y".to_owned()], None, entries);
    let pictures = pictures();
    let inputs = pictures.0.iter().map(|data| TensorData::F32(data));
    inputs.map(|data| answer(&mut session, data)).collect()
}

fn answer(session: &mut OnnxModel, data: TensorData<'_>) -> Vec<f32> {
    let shape = &[1, 3, 8, 8];
    session.run(TensorView { shape, data }).unwrap();
    match session.output(0).unwrap().data {
        TensorData::F32(data) => data.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn mean_error(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let pairs: Vec<(f32, f32)> = a.concat().into_iter().zip(b.concat()).collect();
    pairs
        .iter()
        .map(|(a, b)| f64::from((a - b).abs()))
        .sum::<f64>()
        / pairs.len() as f64
}

fn prepared() -> Graph {
    let mut graph = load(&std::fs::read(golden("g3.onnx")).unwrap()).unwrap();
    prepare(&mut graph).unwrap();
    graph
}

fn quantised(recipe: &Recipe, keep: &[&str]) -> (ModelProto, Plan) {
    quantised_on(recipe, keep, None)
}

/// `bytes`: scale and shift that make numbers of a picture's bytes, for a model that takes those.
fn quantised_on(recipe: &Recipe, keep: &[&str], bytes: Option<(f64, f64)>) -> (ModelProto, Plan) {
    let graph = prepared();
    let keep: BTreeMap<String, String> = keep
        .iter()
        .map(|name| ((*name).to_owned(), "asked".to_owned()))
        .collect();
    let plan = plan(
        &graph,
        &Wishes {
            keep,
            first: recipe.first_layers,
        },
    )
    .unwrap();
    let watched = Watched::of(&plan, &graph.inputs());
    let mut session = open(
        &exposed(&graph.clone().into_model(), &watched),
        &watched.inner,
        None,
        &[],
    );
    let observations = calibrate(&mut session, &watched, &mut pictures(), &mut |_| {}).unwrap();
    let bytes = bytes.map(|own| byte_input(&graph, &plan, Some(own)).unwrap());
    let encoded = encode(&graph, &plan, &observations, recipe, bytes.as_ref()).unwrap();
    let model = insert(graph, &plan, &encoded, recipe, bytes.as_ref()).into_model();
    (model, plan)
}

fn fusion(model: &ModelProto, plan: &Plan) -> Result<Fusion, QuantiseError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("optimised.onnx");
    drop(open(model, &[], Some(path.clone()), &[]));
    verify(
        &ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap(),
        plan,
    )
}

#[test]
fn the_golden_network_becomes_integer_and_is_as_near_as_the_golden_run_was() {
    let expected = rows(&golden_values()["y_fp32"]);
    let float = answers(&prepared().into_model(), &[]);
    assert!(
        mean_error(&float, &expected) < 1e-6,
        "preparing changes nothing"
    );
    let recipe = Recipe::of(Preset::Ort);
    let (model, plan) = quantised(&recipe, &[]);
    let found = fusion(&model, &plan).unwrap();
    assert_eq!(
        (found.integer_convolutions, found.float_convolutions),
        (3, 0)
    );
    assert_eq!((found.quantise_nodes, found.dequantise_nodes), (1, 1));
    // The golden run left the image in float (.00275); ours quantises it.
    let error = mean_error(&answers(&model, &[]), &expected);
    assert!(error < 0.006, "{error}");
    let simulated = answers(&model, &["optimization_level=disable"]);
    let differs = mean_error(&answers(&model, &[]), &simulated);
    assert!(
        differs < 0.0005,
        "integer kernels compute what the file says: {differs}"
    );
    let corrected = quantised(
        &Recipe {
            bias_correction: true,
            ..recipe
        },
        &[],
    )
    .0;
    assert!(mean_error(&answers(&corrected, &[]), &expected) < 0.006);
}

/// ONNX Runtime quantises float layers behind a scalar `DequantizeLinear` itself, per tensor: without the guard in
/// the file the answer would be much worse than with everything integer.
#[test]
fn every_single_layer_in_float_is_nearer_than_none_and_stays_in_float() {
    let expected = rows(&golden_values()["y_fp32"]);
    let recipe = Recipe::of(Preset::Ort);
    let all = mean_error(&answers(&quantised(&recipe, &[]).0, &[]), &expected);
    for layer in ["conv1", "dw2", "conv3"] {
        let (model, plan) = quantised(&recipe, &[layer]);
        let found = fusion(&model, &plan).unwrap();
        assert_eq!(
            (found.integer_convolutions, found.float_convolutions),
            (2, 1),
            "{layer}"
        );
        let error = mean_error(&answers(&model, &[]), &expected);
        assert!(error <= all * 1.05, "{layer}: {error} against {all}");
    }
}

#[test]
fn bytes_in_give_the_answer_of_the_numbers_that_they_stand_for() {
    let scale = 5.0 / 255.0;
    let recipe = Recipe::of(Preset::Ort);
    for keep in [&["conv1"][..], &[]] {
        let floats = quantised(&recipe, keep).0;
        // Zero as a level of its own, and half a level beside one, which borders feel.
        for (level, allowed) in [(128.0, 1e-6), (127.5, 0.004)] {
            let shift = -scale * level;
            let (model, plan) = quantised_on(&recipe, keep, Some((scale, shift)));
            let found = fusion(&model, &plan).unwrap();
            assert_eq!(found.float_convolutions, keep.len());
            assert_eq!(found.quantise_nodes, keep.len());
            let (mut on_floats, mut on_bytes) = (Vec::new(), Vec::new());
            let outputs = ["y".to_owned()];
            let mut float_session = open(&floats, &outputs, None, &[]);
            let mut byte_session = open(&model, &outputs, None, &[]);
            for picture in pictures().0 {
                let byte = |value: &f32| ((f64::from(*value) - shift) / scale).round() as u8;
                let bytes: Vec<u8> = picture.iter().map(byte).collect();
                let numbers = bytes.iter().map(|own| scale * f64::from(*own) + shift);
                let numbers: Vec<f32> = numbers.map(|own| own as f32).collect();
                on_floats.push(answer(&mut float_session, TensorData::F32(&numbers)));
                on_bytes.push(answer(&mut byte_session, TensorData::U8(&bytes)));
            }
            // An integer first layer has the range of the pictures with float input, that of a byte with bytes in.
            let allowed = if keep.is_empty() { 0.01 } else { allowed };
            let error = mean_error(&on_floats, &on_bytes);
            assert!(error <= allowed, "{keep:?} {level}: {error}");
        }
    }
}

#[test]
fn float_biases_become_integers_in_the_engine() {
    let expected = rows(&golden_values()["y_fp32"]);
    let mut recipe = Recipe::of(Preset::Ort);
    let written = answers(&quantised(&recipe, &[]).0, &[]);
    recipe.bias = detbench::quantise::BiasForm::Fp32;
    let (model, plan) = quantised(&recipe, &[]);
    assert_eq!(fusion(&model, &plan).unwrap().integer_convolutions, 3);
    let left = answers(&model, &[]);
    assert!(mean_error(&left, &written) < 1e-4 && mean_error(&left, &expected) < 0.006);
}

#[test]
fn weights_with_one_step_run_in_integers_too() {
    let mut recipe = Recipe::of(Preset::Ort);
    recipe.weights = detbench::quantise::Granularity::PerTensor;
    let (model, plan) = quantised(&recipe, &[]);
    assert_eq!(fusion(&model, &plan).unwrap().integer_convolutions, 3);
}

#[test]
fn equalisation_changes_weights_and_leaves_the_float_answer_alone() {
    let mut graph = prepared();
    let before = answers(&graph.clone().into_model(), &[]);
    let pairs = pairs(&graph);
    assert_eq!(pairs.len(), 2);
    let watched = Watched {
        inner: pairs.iter().map(|pair| pair.tensor.clone()).collect(),
        input: None,
    };
    let mut session = open(
        &exposed(&graph.clone().into_model(), &watched),
        &watched.inner,
        None,
        &[],
    );
    let extents = detbench::quantise::calibrate::extents(
        &mut session,
        &watched,
        &mut pictures(),
        &mut |_| {},
    )
    .unwrap();
    let extents = watched.inner.into_iter().zip(extents).collect();
    let done = equalise(&mut graph, &pairs, &extents).unwrap();
    assert!(done.scaled_channels >= 4, "{done:?}");
    let after = answers(&graph.into_model(), &[]);
    let difference = largest_difference(&before.concat(), &after.concat());
    assert!(difference < 1e-4, "{difference}");
}

fn detbench(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::cargo_bin("detbench")
        .unwrap()
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn bad_input_is_refused_with_exit_code_2_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    let own = golden("g3.onnx");
    let output = dir.path().join("o.onnx");
    let output = output.to_str().unwrap();
    for (args, expected) in [
        (
            vec!["no.onnx", "-o", output, "--calibration", folder],
            "no.onnx",
        ),
        (
            vec![own.to_str().unwrap(), "-o", folder, "--calibration", folder],
            "the name should end in .onnx",
        ),
        (
            vec![
                "m.onnx",
                "-o",
                output,
                "--calibration",
                folder,
                "--rounding",
                "adaround",
            ],
            "4 bits",
        ),
        (
            vec![
                "m.onnx",
                "-o",
                output,
                "--calibration",
                folder,
                "--ranges",
                "kl",
            ],
            "minmax",
        ),
    ] {
        let (code, out, err) = detbench(&[vec!["quantize"], args].concat());
        assert_eq!(code, Some(2), "{err}");
        assert!(out.is_empty() && err.contains(expected), "{err}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

fn data() -> Option<String> {
    let data = std::env::var("DETBENCH_TEST_DATA").ok();
    if data.is_none() {
        eprintln!("DETBENCH_TEST_DATA is unset: skipped");
    }
    data
}

#[test]
fn the_real_ssdlite_is_as_near_to_its_float_model_as_the_recipe_promises() {
    let Some(data) = data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let model = format!("{data}/models/ssdlite_mobilenet_v2_coco_fp32.onnx");
    let pictures = format!("{data}/coco/cocomini_train2017_80/images");
    let output = dir.path().join("own.onnx");
    let quantize = |extra: &[&str]| {
        let fixed = [
            "quantize",
            &model,
            "-o",
            output.to_str().unwrap(),
            "--calibration",
            &pictures,
            "--json",
            "--force",
        ];
        let (code, out, err) = detbench(&[&fixed[..], extra].concat());
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let own = quantize(&[]);
    assert_eq!(own["schema_version"], 1);
    assert_eq!(
        (own["layers_int8"].as_u64(), own["layers_fp32"].as_u64()),
        (Some(86), Some(2))
    );
    assert_eq!(own["fusion"]["integer_sums"], 10);
    if own["saturation"]["vnni_here"] == false {
        eprintln!("this processor has no VNNI, so weights have 7 bits and other figures: skipped");
        return;
    }
    let number = |own: &Value, key: &str| own[key].as_f64().unwrap();
    assert!(number(&own, "dp") <= 0.09, "{}", own["dp"]);
    assert!(number(&own, "agreement") >= 0.965, "{}", own["agreement"]);
    assert!(own["size_bytes"]["int8"].as_u64().unwrap() < 5_500_000);
    let first = std::fs::read(&output).unwrap();
    quantize(&[]);
    assert!(
        first == std::fs::read(&output).unwrap(),
        "the same seed gives the same bytes"
    );
    let bytes = quantize(&["--preset", "fast"]);
    assert_eq!(bytes["layers_int8"], 86);
    assert_eq!(bytes["fusion"]["quantise_nodes"], 1);
    assert!(number(&bytes, "dp") <= 0.09, "{}", bytes["dp"]);
    let all = quantize(&["--preset", "fast", "--first-layers", "int8"]);
    assert_eq!(all["layers_int8"], 88);
    assert_eq!(all["fusion"]["quantise_nodes"], 0);
    assert!(number(&all, "dp") <= 0.115, "{}", all["dp"]);
    let (code, _, err) = detbench(&[
        "quantize",
        output.to_str().unwrap(),
        "-o",
        dir.path().join("again.onnx").to_str().unwrap(),
        "--calibration",
        &pictures,
    ]);
    assert_eq!(code, Some(2));
    assert!(err.contains("quantised already"), "{err}");
}
