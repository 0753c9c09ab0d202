//! The settings of other programs, each by its documented command: AIMET's two presets and LPOT's file, on a generated
//! model and, where the test data are, on real ones. And what the report says of each tensor, held against the
//! written file and against a plain computation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::CommandCargoExt;
use detbench::fetch::Silent;
use detbench::model::onnx::proto::{ModelProto, TensorProto};
use detbench::quantise::calibrate::{calibrate, exposed, CalibrationPictures, Watched};
use detbench::quantise::encode::encode;
use detbench::quantise::plan::{plan, Wishes};
use detbench::quantise::prepare::prepare;
use detbench::quantise::{load, Preset, QuantiseError, RangeMethod, Recipe};
use detbench::runtime::{self, Model, OnnxModel, Runtime, SessionOptions};
use detbench::tensor::{TensorData, TensorView};
use prost::Message;
use serde_json::Value;

fn detbench(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("detbench").unwrap();
    let done = command.args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code(), text(&done.stdout), text(&done.stderr))
}

fn data() -> Option<String> {
    let data = std::env::var("DETBENCH_TEST_DATA").ok();
    if data.is_none() {
        eprintln!("DETBENCH_TEST_DATA is unset: skipped");
    }
    data
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder of six small pictures.
fn pictures(below: &Path) -> PathBuf {
    let folder = below.join("pictures");
    std::fs::create_dir(&folder).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures");
    for name in ["411", "420", "420_wide", "422", "440", "444"] {
        let name = format!("baseline_{name}.jpg");
        std::fs::copy(golden.join(&name), folder.join(&name)).unwrap();
    }
    folder
}

/// A model with the layers of SSD-MobileNet v1 and random weights.
fn generated(below: &Path) -> PathBuf {
    let model = below.join("generated.onnx");
    let (code, _, err) = detbench(&["generate", "ssd-mobilenet-v1", "-o", text(&model)]);
    assert_eq!(code, Some(0), "{err}");
    model
}

/// Runs `quantize --json` and holds what every report has to have.
fn quantize(model: &str, output: &Path, pictures: &str, flags: &[&str]) -> Value {
    let fixed = [
        "quantize",
        model,
        "-o",
        text(output),
        "--calibration",
        pictures,
    ];
    let last = ["--json", "--force"];
    let (code, out, err) = detbench(&[&fixed[..], flags, &last[..]].concat());
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    tensors_are_those_of_the_file(&report, output);
    assert!(output.with_extension("toml").exists());
    report
}

fn only(tensor: &TensorProto) -> (Option<f32>, u8) {
    let bytes = tensor.raw_data.as_slice();
    (bytes.try_into().ok().map(f32::from_le_bytes), bytes[0])
}

/// Each tensor's scale and zero point are those of the file and follow from its range.
fn tensors_are_those_of_the_file(report: &Value, file: &Path) {
    let model = ModelProto::decode(std::fs::read(file).unwrap().as_slice()).unwrap();
    let graph = model.graph.unwrap();
    let constants: BTreeMap<&str, &TensorProto> = graph
        .initializer
        .iter()
        .map(|one| (one.name.as_str(), one))
        .collect();
    let pairs: Vec<(f32, u8)> = graph
        .node
        .iter()
        .filter(|node| node.op_type == "QuantizeLinear" || node.op_type == "DequantizeLinear")
        .filter_map(|node| {
            let (scale, zero) = (
                constants[node.input[1].as_str()],
                constants[node.input[2].as_str()],
            );
            Some((only(scale).0?, only(zero).1))
        })
        .collect();
    let tensors = report["tensors"].as_array().unwrap();
    assert!(!tensors.is_empty());
    for tensor in tensors {
        let number = |key: &str| {
            tensor[key]
                .as_f64()
                .unwrap_or_else(|| panic!("{key}: {tensor}"))
        };
        let (scale, zero) = (number("scale") as f32, number("zero_point") as u8);
        assert!(pairs.contains(&(scale, zero)), "not in the file: {tensor}");
        assert!(number("min") <= number("max"));
        let (low, high) = (number("low").min(0.0), number("high").max(0.0));
        let step = (high - low) / 255.0;
        assert!((f64::from(scale) - step).abs() <= 1e-6 * step, "{tensor}");
        assert!((f64::from(zero) + low / step).abs() <= 0.5001, "{tensor}");
        assert!((0.0..=1.0).contains(&number("clipped_share")), "{tensor}");
        assert!(tensor["sqnr_db"].is_number() || tensor["sqnr_db"].is_null());
    }
}

/// Integer layers, float layers, ranges, weights and bias of a report.
fn outline(report: &Value) -> (u64, u64, &str, &str, &str) {
    let recipe = &report["recipe"];
    (
        report["layers_int8"].as_u64().unwrap(),
        report["layers_fp32"].as_u64().unwrap(),
        recipe["ranges"].as_str().unwrap(),
        recipe["weights"].as_str().unwrap(),
        recipe["bias"].as_str().unwrap(),
    )
}

#[test]
fn aimets_settings_and_lpots_make_integers_of_a_generated_model() {
    let dir = tempfile::tempdir().unwrap();
    let (model, pictures) = (generated(dir.path()), pictures(dir.path()));
    let output = dir.path().join("int8.onnx");
    let quantize = |preset: &str| {
        let flags = ["--preset", preset, "--calibration-size", "4"];
        quantize(text(&model), &output, text(&pictures), &flags)
    };
    let own = quantize("aimet");
    assert_eq!(outline(&own), (47, 0, "minmax", "per-tensor", "fp32"));
    // The image is quantised, once; the two outputs are floats behind their six parts each.
    assert_eq!(own["fusion"]["quantise_nodes"], 1);
    assert_eq!(own["fusion"]["integer_convolutions"], 47);
    assert_eq!(own["compared_pictures"], 2);
    assert!(own["dp"].is_number());
    // Nothing that was seen is clipped by minmax.
    for tensor in own["tensors"].as_array().unwrap() {
        assert_eq!(tensor["clipped_share"], 0.0, "{tensor}");
    }
    let own = quantize("aimet-tf-enhanced");
    assert_eq!(outline(&own), (46, 1, "tf-enhanced", "per-tensor", "fp32"));
    assert_eq!(own["fusion"]["integer_convolutions"], 46);
    assert_eq!(own["fusion"]["float_convolutions"], 1);
    let own = quantize("lpot");
    assert_eq!(outline(&own), (47, 0, "minmax", "per-channel", "int32"));
}

/// LPOT's file with a relative criterion, for `tune`.
fn lpot_file(below: &Path, detbench: &str) -> PathBuf {
    let path = below.join("lpot.yaml");
    let text = format!(
        "quantization:\n  calibration:\n    sampling_size: 4\n  model_wise:\n    activation:\n      algorithm: minmax\n\
         tuning:\n  strategy:\n    name: basic\n  accuracy_criterion:\n    relative: 1%\n  exit_policy:\n    \
         max_trials: 1\n{detbench}"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn lpots_file_with_a_relative_criterion_tunes_a_generated_model() {
    let dir = tempfile::tempdir().unwrap();
    let (model, pictures) = (generated(dir.path()), pictures(dir.path()));
    let output = dir.path().join("tuned.onnx");
    // Random weights find nothing that could be labelled.
    let config = lpot_file(dir.path(), "detbench:\n  criterion: dp\n");
    let (code, out, err) = detbench(&[
        "tune",
        text(&model),
        "-o",
        text(&output),
        "--calibration",
        text(&pictures),
        "--images",
        text(&pictures),
        "--config",
        text(&config),
        "--json",
    ]);
    // One per cent is less than rounding random weights costs: the best is kept all the same.
    assert_eq!(code, Some(1), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["best"]["criterion_met"], false, "{out}");
    assert_eq!(report["trials"], 1, "{out}");
    assert!(output.exists() && output.with_extension("toml").exists());
}

/// The first `count` of the real calibration pictures, in a folder of their own: comparing on all takes minutes.
fn some_pictures(data: &str, below: &Path, count: usize) -> PathBuf {
    let folder = below.join("pictures");
    std::fs::create_dir(&folder).unwrap();
    let source = format!("{data}/coco/cocomini_train2017_80/images");
    let mut found: Vec<PathBuf> = std::fs::read_dir(source)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    for path in &found[..count] {
        std::fs::copy(path, folder.join(path.file_name().unwrap())).unwrap();
    }
    folder
}

#[test]
fn aimets_settings_on_the_real_models_are_as_near_as_they_were_measured() {
    let Some(data) = data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let pictures = some_pictures(&data, dir.path(), 24);
    let output = dir.path().join("int8.onnx");
    let (lite, v1) = (
        "ssdlite_mobilenet_v2_coco_fp32",
        "ssd_mobilenet_v1_coco_fp32_dequantized",
    );
    // One preset each: the other two say the same and take as long again.
    for (model, preset, layers, dp, agreement) in [
        (lite, "aimet", (88, 0), 0.7, 0.55),
        (v1, "aimet-tf-enhanced", (46, 1), 0.17, 0.65),
    ] {
        let file = format!("{data}/models/{model}.onnx");
        let flags = ["--preset", preset, "--calibration-size", "8"];
        let own = quantize(&file, &output, text(&pictures), &flags);
        let (int8, fp32, _, weights, _) = outline(&own);
        assert_eq!(((int8, fp32), weights), (layers, "per-tensor"));
        assert_eq!(own["compared_pictures"], 16);
        if own["saturation"]["vnni_here"] == false {
            eprintln!("this processor has no VNNI, so weights have 7 bits and other figures");
            continue;
        }
        let number = |key: &str| own[key].as_f64().unwrap();
        assert!(number("dp") <= dp, "{model} {preset}: {}", number("dp"));
        assert!(
            number("agreement") >= agreement,
            "{model} {preset}: {}",
            number("agreement")
        );
    }
}

/// The file that `onnxruntime.quantization` made of `SSDLite` with its own preparation and its own choice of pictures.
#[test]
fn the_preset_of_onnx_runtime_is_as_near_as_onnx_runtimes_own_file() {
    let Some(data) = data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let float = format!("{data}/models/ssdlite_mobilenet_v2_coco_fp32.onnx");
    let theirs = format!("{data}/models/ssdlite_mobilenet_v2_coco_int8_qdq.onnx");
    let own = dir.path().join("own.onnx");
    let train = format!("{data}/coco/cocomini_train2017_80/images");
    quantize(&float, &own, &train, &["--preset", "ort"]);
    let results = dir.path().join("results");
    let beside_float = |model: &str| -> Value {
        let (code, out, err) = detbench(&[
            "run",
            "--model",
            &float,
            "--model",
            model,
            "--accuracy-only",
            "--score-threshold",
            "0.01",
            "--images",
            &format!("{data}/coco/cocomini_val2017_79/images"),
            "--annotations",
            &format!("{data}/coco/cocomini_val2017_79/instances.json"),
            "--output-dir",
            text(&results),
            "--json",
        ]);
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str(&out).unwrap()
    };
    let (own, theirs) = (beside_float(text(&own)), beside_float(&theirs));
    let near = |found: &Value, key: &str| found["nearness"][key].as_f64().unwrap();
    let map = |found: &Value| found["accuracy"]["models"][1]["map"].as_f64().unwrap();
    // Folding before calibrating is what ours does more.
    assert!(near(&own, "dp") <= near(&theirs, "dp"));
    // Agreement at this dp depends on which pictures calibrate: .901 to .931 over five choices; theirs has .927.
    assert!(near(&own, "agreement") >= near(&theirs, "agreement") - 0.03);
    // What 79 pictures cannot tell apart: 2 % of the mAP.
    assert!(map(&own) >= map(&theirs) - 0.007);
}

#[test]
fn a_model_that_was_imported_and_dequantised_is_quantised_again() {
    let Some(data) = data() else { return };
    let dir = tempfile::tempdir().unwrap();
    let tflite = format!("{data}/source_models/tflite/ssd_mobilenet_v1_1_metadata_1.tflite");
    let float = dir.path().join("v1.onnx");
    let (code, _, err) = detbench(&["import", &tflite, "--dequantize", "-o", text(&float)]);
    assert_eq!(code, Some(0), "{err}");
    let pictures = some_pictures(&data, dir.path(), 24);
    let output = dir.path().join("int8.onnx");
    let quantize = |preset: &str| {
        let flags = ["--preset", preset, "--calibration-size", "8"];
        quantize(text(&float), &output, text(&pictures), &flags)
    };
    let own = quantize("aimet");
    assert_eq!(outline(&own), (47, 0, "minmax", "per-tensor", "fp32"));
    // With a step for each channel the weights are those that the file was trained with, nearly.
    let own = quantize("fast");
    assert_eq!(outline(&own), (45, 2, "mse", "per-channel", "int32"));
    if own["saturation"]["vnni_here"] == true {
        let number = |key: &str| own[key].as_f64().unwrap();
        assert!(number("dp") <= 0.04, "{}", number("dp"));
        assert!(number("agreement") >= 0.88, "{}", number("agreement"));
    }
    // What the importer makes without --dequantize is quantised already.
    let integer = dir.path().join("integer.onnx");
    let (code, _, err) = detbench(&["import", &tflite, "-o", text(&integer)]);
    assert_eq!(code, Some(0), "{err}");
    let (code, _, err) = detbench(&[
        "quantize",
        text(&integer),
        "-o",
        text(&output),
        "--calibration",
        text(&pictures),
        "--force",
    ]);
    assert_eq!(code, Some(2));
    assert!(err.contains("quantised already"), "{err}");
}

/// The pictures of the golden network.
struct Golden(Vec<Vec<f32>>);

impl Golden {
    fn read() -> Self {
        let values: Value = serde_json::from_str(include_str!("golden/quantise/g3.json")).unwrap();
        let row = |row: &Value| {
            let numbers = row.as_array().unwrap().iter();
            numbers.map(|one| one.as_f64().unwrap() as f32).collect()
        };
        Self(values["x"].as_array().unwrap().iter().map(row).collect())
    }
}

impl CalibrationPictures for Golden {
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

#[test]
fn the_report_of_each_tensor_of_the_golden_network_is_what_a_plain_computation_gives() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/quantise/g3.onnx");
    let mut graph = load(&std::fs::read(golden).unwrap()).unwrap();
    prepare(&mut graph).unwrap();
    let plan = plan(&graph, &Wishes::default()).unwrap();
    let watched = Watched::of(&plan, &graph.inputs());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("exposed.onnx");
    let model = exposed(&graph.clone().into_model(), &watched);
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    runtime::disable_telemetry();
    let located = runtime::locate(None, &Silent).expect("ONNX Runtime is here or can be fetched");
    let library = Runtime::load(&located, false).unwrap();
    let options = SessionOptions {
        outputs: watched.inner.clone(),
        ..SessionOptions::default()
    };
    let mut session = OnnxModel::open(&library, &path, &options).unwrap();
    let mut pictures = Golden::read();
    let observations = calibrate(&mut session, &watched, &mut pictures, &mut |_| {}).unwrap();
    // All elements of all tensors.
    let mut seen: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for index in 0..pictures.count() {
        let input = pictures.0[index].clone();
        session.run(pictures.tensor(index).unwrap()).unwrap();
        let mut add = |name: &String, data: &[f32]| {
            let own = seen.entry(name.clone()).or_default();
            own.extend(data.iter().map(|value| f64::from(*value)));
        };
        if let Some(name) = &watched.input {
            add(name, &input);
        }
        for (at, name) in watched.inner.iter().enumerate() {
            let TensorData::F32(data) = session.output(at).unwrap().data else {
                panic!("{name} holds floats");
            };
            add(name, data);
        }
    }
    for method in [
        RangeMethod::Minmax,
        RangeMethod::Percentile(90.0),
        RangeMethod::Mse,
    ] {
        let recipe = Recipe {
            ranges: method,
            ..Recipe::of(Preset::Lpot)
        };
        let encoded = encode(&graph, &plan, &observations, &recipe, None).unwrap();
        assert_eq!(encoded.tensor_reports.len(), 4);
        for own in &encoded.tensor_reports {
            let data = &seen[&own.name];
            let (least, most) = data
                .iter()
                .fold((f64::MAX, f64::MIN), |(least, most), one| {
                    (least.min(*one), most.max(*one))
                });
            assert!((own.min - least).abs() < 1e-12 && (own.max - most).abs() < 1e-12);
            if method == RangeMethod::Minmax {
                assert!((own.low - least.min(0.0)).abs() < 1e-12);
                assert!((own.high - most.max(0.0)).abs() < 1e-12);
            }
            let step = (own.high.max(0.0) - own.low.min(0.0)) / 255.0;
            assert!((f64::from(own.scale) - step).abs() < 1e-6 * step, "{own:?}");
            let zero = (-own.low.min(0.0) / step).round();
            assert!((f64::from(own.zero_point) - zero).abs() < 0.5, "{own:?}");
            let scale = f64::from(own.scale);
            let level = |value: f64| (value / scale).round_ties_even() + zero;
            let is_clipped = |value: &f64| !(0.0..=255.0).contains(&level(*value));
            let clipped = data.iter().filter(|value| is_clipped(value)).count();
            // The report counts by bins: an element within one of a border may be on either side.
            let bin = (most.max(0.0) - least.min(0.0)) / 2048.0;
            let is_near = |value: &f64| is_clipped(&(value + bin)) != is_clipped(&(value - bin));
            let near = data.iter().filter(|value| is_near(value)).count();
            let difference = (own.clipped_share * data.len() as f64 - clipped as f64).abs();
            assert!(
                difference <= near as f64 + 1e-9,
                "{method:?} {own:?}: {clipped}"
            );
            if method == RangeMethod::Percentile(90.0) {
                assert!(own.clipped_share > 0.02, "{own:?}");
            }
            let back = |value: &f64| (level(*value).clamp(0.0, 255.0) - zero) * scale;
            let noise: f64 = data.iter().map(|value| (back(value) - value).powi(2)).sum();
            let signal: f64 = data.iter().map(|value| value.powi(2)).sum();
            let sqnr = 10.0 * (signal / noise).log10();
            // Half a bin of error in each element is a decibel at most.
            assert!((own.sqnr_db.unwrap() - sqnr).abs() < 1.0, "{own:?}: {sqnr}");
        }
    }
}
