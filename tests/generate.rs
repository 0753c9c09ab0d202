//! Generated architectures: what they cost beside what is published, and that they run.
//!
//! Published figures are those of the Open Model Zoo (`ssd300`, `ssd_resnet50_v1_fpn_coco`, `ssd_mobilenet_v1_coco`,
//! `ssd_mobilenet_v2_coco`, `ssdlite_mobilenet_v2`), which counts as we do; the operations of
//! ssd-vgg16-300 for COCO and of mobilenet-v2-ssd-lite-voc are sums over their layer tables, made apart from this program.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use detbench::fetch::Silent;
use detbench::model::architecture::Generated;
use detbench::model::description::{Dataset, Weights};
use detbench::model::{known, resolve, Architecture, How, ModelRequest};
use detbench::postprocess::Activation;
use detbench::runtime::{self, Model, OnnxModel, Runtime, SessionOptions};
use detbench::tensor::{TensorData, TensorView};

fn runtime() -> Runtime {
    static READY: std::sync::Once = std::sync::Once::new();
    READY.call_once(runtime::disable_telemetry);
    let located = runtime::locate(None, &Silent).expect("ONNX Runtime is here or can be fetched");
    Runtime::load(&located, false).expect("the library loads")
}

/// What is known of an architecture from elsewhere.
struct Published {
    operations: f64,
    parameters: f64,
    anchors: usize,
    columns: usize,
}

/// Within a thousandth: counters differ in what they count besides multiply-adds.
fn assert_near(found: u64, published: f64, what: &str) {
    let ratio = found as f64 / published;
    assert!(
        (0.999..1.001).contains(&ratio),
        "{what}: {found} beside {published}"
    );
}

fn check_cost(generated: &Generated, published: &Published) {
    assert_near(
        generated.cost.operations(),
        published.operations,
        "operations",
    );
    assert_near(
        generated.cost.parameters,
        published.parameters,
        "parameters",
    );
    assert_eq!(
        generated.description.operations,
        Some(generated.cost.operations())
    );
    assert_eq!(generated.anchor_count, published.anchors);
    assert_eq!(generated.description.weights, Weights::Synthetic);
    let raw = generated.description.outputs.raw_heads().unwrap();
    assert_eq!(raw.heads.score_columns() as usize, published.columns);
    let Some(first) = generated.description.precision.name().strip_prefix("fp") else {
        panic!("generated in floats")
    };
    assert_eq!(first, "32");
}

/// Something as smooth and as varied as a photograph, from 0 to 255.
fn picture(side: usize) -> Vec<[f32; 3]> {
    let wave = |x: f32, y: f32, turn: f32| {
        let coarse = (x / 37.0 + turn).sin() * (y / 53.0 - turn).cos();
        let fine = (x / 5.0 + y / 9.0 + 3.0 * turn).sin() * (y / 41.0).sin();
        127.5 + 80.0 * coarse + 45.0 * fine
    };
    let at = |i: usize| ((i % side) as f32, (i / side) as f32);
    let pixel = |i| {
        let (x, y) = at(i);
        [0.0, 0.4, 0.9].map(|turn| wave(x * 300.0 / side as f32, y * 300.0 / side as f32, turn))
    };
    (0..side * side).map(pixel).collect()
}

/// Heads of one picture: boxes and scores.
fn heads_of(generated: &Generated, onnx: &Path) -> (Vec<f32>, Vec<f32>) {
    let own = &generated.description.input.preprocessing;
    let side = own.height as usize;
    let pixels = picture(side);
    let value = |pixel: usize, channel: usize| {
        (pixels[pixel][channel] - own.mean[channel]) / own.scale[channel]
    };
    let count = side * side;
    let shape = own.sample_shape();
    let input: Vec<f32> = if shape[1] == 3 {
        (0..3 * count)
            .map(|i| value(i % count, i / count))
            .collect()
    } else {
        (0..3 * count).map(|i| value(i / 3, i % 3)).collect()
    };
    let options = SessionOptions {
        outputs: generated.description.outputs.tensor_names(),
        ..SessionOptions::default()
    };
    let mut model = OnnxModel::open(&runtime(), onnx, &options).unwrap();
    model
        .run(TensorView {
            shape: &shape,
            data: TensorData::F32(&input),
        })
        .unwrap();
    let output = |number| match model.output(number).unwrap().data {
        TensorData::F32(values) => values.to_vec(),
        _ => panic!("heads are f32"),
    };
    (output(0), output(1))
}

/// Pairs of anchor and class with a probability of at least `least`, as a share.
fn share_above(scores: &[f32], columns: usize, activation: Activation, least: f32) -> f64 {
    let mut above = 0_usize;
    for row in scores.chunks_exact(columns) {
        let sum: f32 = row.iter().map(|logit| logit.exp()).sum();
        let probability = |logit: &f32| match activation {
            Activation::Softmax => logit.exp() / sum,
            _ => 1.0 / (1.0 + (-logit).exp()),
        };
        above += row[1..]
            .iter()
            .filter(|logit| probability(logit) >= least)
            .count();
    }
    above as f64 / (scores.len() / columns * (columns - 1)) as f64
}

fn check(architecture: Architecture, dataset: Option<Dataset>, seed: u64, published: &Published) {
    let generated = architecture.generate(dataset, seed).unwrap();
    check_cost(&generated, published);
    let dir = tempfile::tempdir().unwrap();
    let onnx = dir.path().join("own.onnx");
    fs::write(&onnx, &generated.onnx).unwrap();
    let (boxes, scores) = heads_of(&generated, &onnx);
    assert_eq!(boxes.len(), published.anchors * 4);
    assert_eq!(scores.len(), published.anchors * published.columns);
    assert!(boxes.iter().chain(&scores).all(|value| value.is_finite()));
    // Encodings of boxes near their anchors.
    let squares: f64 = boxes.iter().map(|&value| f64::from(value).powi(2)).sum();
    let deviation = (squares / boxes.len() as f64).sqrt();
    assert!((0.3..3.0).contains(&deviation), "{deviation}");
    // Scores of a detector: some candidates, few detections.
    let activation = generated
        .description
        .outputs
        .raw_heads()
        .unwrap()
        .heads
        .activation;
    let share = |least| share_above(&scores, published.columns, activation, least);
    let (candidates, detections) = (share(0.01), share(0.3));
    eprintln!("{architecture}, seed {seed}: {candidates:.5} above 0.01, {detections:.6} above 0.3");
    assert!((0.001..0.05).contains(&candidates), "{candidates}");
    let few = detections < 2e-3 && (detections > 0.0 || seed != 1);
    assert!(few, "{detections}");
}

#[test]
fn ssd_vgg16_costs_what_is_published_and_runs() {
    let published = Published {
        operations: 68.79e9,
        parameters: 34.305e6,
        anchors: 8732,
        columns: 81,
    };
    check(Architecture::SsdVgg16, None, 1, &published);
}

#[test]
fn ssd_vgg16_for_voc_costs_what_the_open_model_zoo_says() {
    let published = Published {
        operations: 62.815e9,
        parameters: 26.285e6,
        anchors: 8732,
        columns: 21,
    };
    let voc = Architecture::SsdVgg16
        .generate(Some(Dataset::Voc), 1)
        .unwrap();
    check_cost(&voc, &published);
    assert_eq!(voc.description.labels.class_count(), 20);
}

#[test]
fn ssd_resnet50_fpn_costs_what_is_published_and_runs() {
    let published = Published {
        operations: 178.68e9,
        // The zoo's 56.93 M hold the shared towers once for each of five levels.
        parameters: 32.795e6,
        anchors: 51150,
        columns: 91,
    };
    check(Architecture::SsdResnet50Fpn, None, 1, &published);
}

#[test]
fn mobilenet_v2_ssd_lite_for_voc_costs_the_sum_of_its_layers_and_runs() {
    let published = Published {
        operations: 1.3470e9,
        parameters: 3.3574e6,
        anchors: 3000,
        columns: 21,
    };
    for seed in [1, 2, u64::MAX] {
        check(Architecture::MobilenetV2SsdLiteVoc, None, seed, &published);
    }
}

#[test]
fn ssd_mobilenet_v1_costs_what_is_published_and_runs() {
    let published = Published {
        operations: 2.494e9,
        parameters: 6.807e6,
        anchors: 1917,
        columns: 91,
    };
    check(Architecture::SsdMobilenetV1, None, 1, &published);
}

#[test]
fn ssd_mobilenet_v2_costs_what_is_published_and_runs() {
    let published = Published {
        operations: 3.775e9,
        parameters: 16.818e6,
        anchors: 1917,
        columns: 91,
    };
    check(Architecture::SsdMobilenetV2, None, 1, &published);
}

#[test]
fn ssdlite_mobilenet_v2_costs_what_is_published_and_runs() {
    let published = Published {
        operations: 1.525e9,
        parameters: 4.475e6,
        anchors: 1917,
        columns: 91,
    };
    check(Architecture::SsdliteMobilenetV2, None, 1, &published);
}

/// The model files say what the layer plans come to.
fn check_known(architecture: Architecture, dataset: Option<Dataset>, names: &[&str]) {
    let generated = architecture.generate(dataset, 1).unwrap();
    for name in names {
        let known = known::find(name).unwrap();
        assert_eq!(known.operations, generated.description.operations, "{name}");
        assert_eq!(known.weights, Weights::Trained, "{name}");
    }
}

#[test]
fn the_operations_of_known_models_are_those_of_their_plans() {
    let light = ["ssdlite-mobilenet-v2", "ssdlite-mobilenet-v2-int8"];
    check_known(Architecture::SsdliteMobilenetV2, None, &light);
    let mobile = [
        "ssd-mobilenet-v1-tfod",
        "ssd-mobilenet-v1-zoo12",
        "ssd-mobilenet-v1-tfod-heads",
        "ssd-mobilenet-v1-mlperf-torch",
    ];
    check_known(Architecture::SsdMobilenetV1, None, &mobile);
    let voc = ["mb2-ssd-lite-voc", "mb2-ssd-lite-voc-heads"];
    check_known(Architecture::MobilenetV2SsdLiteVoc, None, &voc);
    check_known(
        Architecture::SsdVgg16,
        None,
        &["ssd-vgg16", "ssd-vgg16-int8"],
    );
}

#[test]
fn a_seed_gives_the_same_file_and_another_seed_another_one() {
    let generate = |seed| {
        Architecture::MobilenetV2SsdLiteVoc
            .generate(None, seed)
            .unwrap()
    };
    let (one, again, other) = (generate(7), generate(7), generate(8));
    assert!(one.onnx == again.onnx);
    assert!(one.onnx != other.onnx);
    assert_eq!(one.onnx.len(), other.onnx.len());
    // Nor is it an accident of this machine: all bytes behind the program's version.
    let name = b"MobilenetV2/Conv/weights";
    let start = one
        .onnx
        .windows(name.len())
        .position(|window| window == name);
    let bytes = &one.onnx[start.expect("the first layer is there")..];
    let digest = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(
        digest, 13_578_260_818_885_379_460,
        "the weights of a seed have changed: say so under Changes results"
    );
}

#[test]
fn a_data_set_that_a_plan_is_not_published_for_is_refused() {
    let refused = Architecture::SsdMobilenetV1.generate(Some(Dataset::Voc), 1);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("published for COCO only"), "{refused}");
}

const SMALL: &str = "mobilenet-v2-ssd-lite-voc";

fn detbench(words: &[&str]) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("detbench"));
    command.args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn refused(words: &[&str]) -> String {
    let done = detbench(words);
    let error = text(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{words:?}: {error}");
    assert!(done.stdout.is_empty(), "{words:?}");
    error
}

#[test]
fn generate_writes_both_files_or_says_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let own = path("own.onnx");
    let done = detbench(&["generate", SMALL, "-o", &own]);
    let out = text(&done.stdout);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(
        out.contains("operations 1.35 G") && out.contains("3000 anchors"),
        "{out}"
    );
    assert!(out.contains("there is no accuracy"), "{out}");
    let resolved = resolve(ModelRequest {
        model: Some(&own),
        ..ModelRequest::default()
    })
    .unwrap();
    assert_eq!(resolved.source, How::Beside(dir.path().join("own.toml")));
    assert_eq!(resolved.description.weights, Weights::Synthetic);
    assert_eq!(resolved.description.name, format!("{SMALL}-synthetic"));

    let exists = refused(&["generate", SMALL, "-o", &own]);
    assert!(
        exists.contains("own.onnx exists already; pass --force"),
        "{exists}"
    );
    let forced = detbench(&[
        "generate", SMALL, "-o", &own, "--force", "--json", "--seed", "2",
    ]);
    let document: serde_json::Value = serde_json::from_slice(&forced.stdout).unwrap();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["weights"], "synthetic");
    assert_eq!(document["seed"], 2);
    assert_eq!(document["anchor_count"], 3000);
    assert_eq!(document["anchors"]["generator"], "pytorch-ssd-mb2-lite-300");

    for (words, expected) in [
        (
            vec!["generate", "ssd-mobilnet-v1", "-o", &own],
            "did you mean `ssd-mobilenet-v1`?",
        ),
        (
            vec!["generate", SMALL, "-o", &path("own")],
            "should end in .onnx",
        ),
        (
            vec!["generate", SMALL, "-o", &path("none/own.onnx")],
            "cannot be written",
        ),
        (
            vec![
                "generate",
                SMALL,
                "--dataset",
                "coco",
                "-o",
                &path("b.onnx"),
            ],
            "published for Pascal VOC only",
        ),
        (
            vec!["generate", SMALL, "--seed", "one", "-o", &path("b.onnx")],
            "--seed",
        ),
        (vec!["generate", SMALL], "--output"),
    ] {
        let error = refused(&words);
        assert!(error.contains(expected), "{words:?}: {error}");
    }
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        2,
        "nothing is left behind"
    );
}

/// A generated model, a picture and its ground truth, in a folder.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let done = detbench(&["generate", SMALL, "-o", &desk.path("own.onnx")]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        let pixels = picture(300).into_iter().flatten();
        let bytes: Vec<u8> = pixels.map(|value| value.clamp(0.0, 255.0) as u8).collect();
        fs::create_dir(desk.path("pictures")).unwrap();
        let file = fs::File::create(desk.path("pictures/one.png")).unwrap();
        let mut encoder = png::Encoder::new(file, 300, 300);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&bytes).unwrap();
        writer.finish().unwrap();
        let truth = serde_json::json!({
            "images": [{"id": 1, "file_name": "one.png", "width": 300, "height": 300}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 12, "bbox": [10, 10, 80, 80],
                             "area": 6400, "iscrowd": 0}],
            "categories": [{"id": 12, "name": "dog"}],
        });
        fs::write(desk.path("truth.json"), truth.to_string()).unwrap();
        desk
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// `run` on the model and the picture with its ground truth.
    fn run(&self, further: &[&str]) -> Output {
        let (model, results) = (self.path("own.onnx"), self.path("results"));
        let (images, truth) = (self.path("pictures"), self.path("truth.json"));
        let mut words = vec!["run", "--model", &model, "--output-dir", &results];
        words.extend(["--images", &images, "--annotations", &truth]);
        words.extend(["--duration", "200ms", "--set", "min_query_count=5"]);
        words.extend(further);
        detbench(&words)
    }
}

#[test]
fn a_run_with_synthetic_weights_says_so_everywhere_and_scores_nothing() {
    let desk = Desk::new();
    let one = ["--scenario", "SingleStream", "--nms", "fast"];
    let done = desk.run(&one);
    let out = text(&done.stdout);
    assert!(
        done.status.code().is_some_and(|code| code < 2),
        "{}",
        text(&done.stderr)
    );
    assert!(out.contains("(fp32, synthetic weights)"), "{out}");
    let row = out
        .lines()
        .find(|line| line.trim_start().starts_with("SingleStream  "));
    assert!(
        row.is_some_and(|row| row.contains("synthetic weights")),
        "{out}"
    );
    assert!(out.contains("note: The weights are synthetic"), "{out}");
    assert!(!out.contains("pass --annotations"), "{out}");
    let folder = fs::read_dir(desk.path("results"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert!(
        folder.file_name().to_string_lossy().contains("-synthetic-"),
        "{folder:?}"
    );
    let run: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("run.json")).unwrap()).unwrap();
    assert_eq!(run["conditions"]["model"]["weights"], "synthetic");
    assert_eq!(run["conditions"]["model"]["operations"], 1_346_964_640_u64);
    assert_eq!(run["runs"][0]["weights"], "synthetic");
    assert!(run["runs"][0]["accuracy"].is_null());

    let mut json = one.to_vec();
    json.push("--json");
    let done = desk.run(&json);
    let document: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(document["runs"][0]["weights"], "synthetic");
    assert!(document["runs"][0]["accuracy"].is_null());
}

#[test]
fn accuracy_and_integers_are_refused_of_a_generated_model() {
    let desk = Desk::new();
    for (further, remedy) in [
        (vec!["--accuracy-only"], "leave --accuracy-only out"),
        (
            vec!["--scenario", "Offline", "--mode", "AccuracyOnly"],
            "--mode PerformanceOnly",
        ),
        (
            vec!["--scenario", "Offline", "--mode", "SubmissionRun"],
            "--mode PerformanceOnly",
        ),
    ] {
        let done = desk.run(&further);
        let error = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{further:?}: {error}");
        assert!(
            error.contains("has synthetic weights") && error.contains(remedy),
            "{error}"
        );
    }
    let model = desk.path("own.onnx");
    let (images, truth) = (desk.path("pictures"), desk.path("truth.json"));
    let error = refused(&[
        "nms",
        "--model",
        &model,
        "--images",
        &images,
        "--annotations",
        &truth,
    ]);
    assert!(error.contains("has synthetic weights"), "{error}");
    let words = "run --compat intel --model-name ssd-mobilenet --precision int8 --benchmark-only --steps 2 --in-graph";
    let mut words: Vec<&str> = words.split(' ').collect();
    words.push(&model);
    let error = refused(&words);
    assert!(
        error.contains("0 of 86 convolutions in integers"),
        "{error}"
    );
}
