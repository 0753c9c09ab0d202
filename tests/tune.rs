//! Tuning against the real ONNX Runtime: a generated network, and a real detector where it is.
//!
//! Criteria, exit policies, resuming at every place and the strategies are proven on virtual time beside the code.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use assert_cmd::cargo::CommandCargoExt;
use serde_json::Value;

fn command(args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("detbench").unwrap();
    command.args(args);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

/// Pictures of waves, each another one.
fn write_pictures(folder: &Path, count: u32) {
    std::fs::create_dir_all(folder).unwrap();
    for number in 0..count {
        let turn = number as f32 * 0.7;
        let picture = image::RgbImage::from_fn(96, 80, |x, y| {
            let (x, y) = (x as f32, y as f32);
            let wave = |shift: f32| {
                let coarse = (x / 12.0 + turn + shift).sin() * (y / 17.0 - turn).cos();
                let fine = (x / 3.0 + y / 5.0 + 3.0 * turn).sin();
                (127.0 + 80.0 * coarse + 45.0 * fine) as u8
            };
            image::Rgb([wave(0.0), wave(0.4), wave(0.9)])
        });
        let path = folder.join(format!("{:012}.png", number + 1));
        picture
            .save_with_format(path, image::ImageFormat::Png)
            .unwrap();
    }
}

/// A generated network and pictures in a folder.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = Self { dir };
        let float = own.path("float.onnx");
        let done = command(&["generate", "ssdlite-mobilenet-v2", "-o", &float])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", text(&done.stderr));
        write_pictures(&own.dir.path().join("calibration"), 6);
        write_pictures(&own.dir.path().join("evaluation"), 4);
        own
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }

    fn tune(&self, output: &str, more: &[&str]) -> Command {
        let fixed = [
            "tune".to_owned(),
            self.path("float.onnx"),
            "-o".to_owned(),
            self.path(output),
            "--calibration".to_owned(),
            self.path("calibration"),
            "--images".to_owned(),
            self.path("evaluation"),
            "--json".to_owned(),
            // By size: speed is no matter of this test.
            "--objective".to_owned(),
            "size".to_owned(),
        ];
        let mut command = command(&[]);
        command.args(fixed).args(more);
        command
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).unwrap()
    }

    fn trials(&self, history: &str) -> usize {
        let text = std::fs::read_to_string(self.dir.path().join(history)).unwrap_or_default();
        let lines = text
            .lines()
            .filter(|line| line.contains("\"kind\":\"trial\""));
        lines.count()
    }
}

/// Three models that nothing of the criterion stops.
const THREE: [&str; 8] = [
    "--criterion",
    "dp",
    "--accuracy-loss",
    "0.001%",
    "--strategy",
    "basic",
    "--max-trials",
    "3",
];

#[expect(
    clippy::disallowed_methods,
    reason = "another process is waited for, on real time"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

fn interrupt(child: &Child) {
    let done = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(done.success());
}

#[test]
fn a_generated_network_is_tuned_interrupted_resumed_and_repeated_to_the_same_bytes() {
    let desk = Desk::new();
    let whole = desk.tune("whole.onnx", &THREE).output().unwrap();
    // Nothing loses that little: the nearest model is kept all the same.
    assert_eq!(whole.status.code(), Some(1), "{}", text(&whole.stderr));
    let report = json(&whole);
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["trials"], 3);
    assert_eq!(report["ending"], "max-trials");
    assert_eq!(report["best"]["criterion_met"], false);
    assert_eq!(report["best"]["path"], desk.path("whole.onnx"));
    assert_eq!(report["history"], desk.path("whole.history.jsonl"));
    assert!(report["baseline"]["map"].is_null());
    assert!(report["baseline"]["latency_ns"].as_u64().unwrap() > 0);
    let size = report["best"]["size_bytes"].as_u64().unwrap();
    assert_eq!(size, desk.bytes("whole.onnx").len() as u64);
    assert!(size * 3 < report["baseline"]["size_bytes"].as_u64().unwrap());

    let mut child = desk
        .tune("part.onnx", &THREE)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while desk.trials("part.history.jsonl") == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        pause();
    }
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // What was best then is there, whole.
    let before = desk.trials("part.history.jsonl");
    assert!((1..3).contains(&before), "{before}");
    assert!(desk.bytes("part.toml").len() > 100);
    let mut resume = THREE.to_vec();
    resume.push("--resume");
    let resumed = desk.tune("part.onnx", &resume).output().unwrap();
    assert_eq!(resumed.status.code(), Some(1), "{}", text(&resumed.stderr));
    assert!(desk.bytes("part.onnx") == desk.bytes("whole.onnx"));
    assert_eq!(desk.trials("part.history.jsonl"), 3);
    assert_eq!(
        json(&resumed)["best"]["settings"],
        report["best"]["settings"]
    );

    // Another criterion is put to the same trials, without one more.
    let lax = [&resume[..], &["--accuracy-loss-absolute", "0.9"]].concat();
    let lax: Vec<&str> = lax
        .into_iter()
        .filter(|flag| !["--accuracy-loss", "0.001%"].contains(flag))
        .collect();
    let lax = desk.tune("part.onnx", &lax).output().unwrap();
    assert_eq!(lax.status.code(), Some(0), "{}", text(&lax.stderr));
    assert_eq!(json(&lax)["best"]["criterion_met"], true);
    assert_eq!(desk.trials("part.history.jsonl"), 3);

    // Other pictures are another tuning.
    write_pictures(&desk.dir.path().join("evaluation"), 5);
    let other = desk.tune("part.onnx", &resume).output().unwrap();
    assert_eq!(other.status.code(), Some(2));
    let error = text(&other.stderr);
    assert!(error.contains("other pictures or annotations"), "{error}");
}

#[test]
fn bad_input_is_refused_with_exit_code_2_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (folder, output) = (path(""), path("o.onnx"));
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/quantise/g3.onnx");
    let golden = golden.to_string_lossy().into_owned();
    let folders = ["--calibration", &folder, "--images", &folder];
    for (model, output, more, expected) in [
        (
            "no.onnx",
            output.as_str(),
            &["--criterion", "dp"][..],
            "no.onnx",
        ),
        (
            &golden,
            &folder,
            &["--criterion", "dp"],
            "should end in .onnx",
        ),
        (&golden, &output, &[], "--annotations"),
        (
            &golden,
            &output,
            &["--strategy", "bayesian"],
            "use `random`",
        ),
        (
            &golden,
            &output,
            &["--accuracy-loss", "5"],
            "above -1 and below 1",
        ),
        (
            &golden,
            &output,
            &["--criterion", "dp", "--resume"],
            "no history",
        ),
        (&golden, &output, &["--config", "no.yaml"], "no.yaml"),
    ] {
        let mut tune = command(&["tune", model, "-o", output]);
        let done = tune.args(folders).args(more).output().unwrap();
        let error = text(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{more:?}: {error}");
        assert!(
            done.stdout.is_empty() && error.contains(expected),
            "{error}"
        );
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    // A history is not overwritten unasked.
    std::fs::write(path("o.history.jsonl"), "").unwrap();
    let mut tune = command(&["tune", &golden, "-o", &output, "--criterion", "dp"]);
    let done = tune.args(folders).output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("--resume"));
}

/// Whether weights have 8 bits: sums of products of bytes saturate on x86 processors without VNNI.
fn has_whole_bytes() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        true
    }
}

#[test]
fn the_real_ssdlite_is_tuned_to_one_per_cent_of_its_map_and_a_third_of_its_size() {
    let Ok(data) = std::env::var("DETBENCH_TEST_DATA") else {
        eprintln!("DETBENCH_TEST_DATA is unset: skipped");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("own.onnx");
    let coco = |name: &str| format!("{data}/coco/{name}");
    let done = command(&[
        "tune",
        &format!("{data}/models/ssdlite_mobilenet_v2_coco_fp32.onnx"),
        "-o",
        output.to_str().unwrap(),
        "--calibration",
        &coco("cocomini_train2017_80/images"),
        "--images",
        &coco("cocomini_val2017_79/images"),
        "--annotations",
        &coco("cocomini_val2017_79/instances.json"),
        // Measured speed decides nothing here: what is best repeats exactly.
        "--objective",
        "size",
        "--json",
    ])
    .output()
    .unwrap();
    if !has_whole_bytes() {
        eprintln!("this processor has no VNNI, so weights have 7 bits and other figures: skipped");
        return;
    }
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    let report = json(&done);
    let best = &report["best"];
    let number = |value: &Value| value.as_f64().unwrap();
    assert_eq!(best["criterion_met"], true);
    assert!(number(&best["map"]) >= 0.99 * number(&report["baseline"]["map"]));
    // The scorer's own number for the float model.
    assert!((number(&report["baseline"]["map"]) - 0.3432).abs() < 5e-4);
    assert!(number(&best["agreement"]) >= 0.965);
    assert!(number(&best["dp"]) <= 0.09);
    assert!(best["size_bytes"].as_u64().unwrap() < 5_500_000);
    assert!(report["trials"].as_u64().unwrap() <= 6);
    // The model file beside it makes it an ordinary model.
    let shown = command(&["models", output.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(
        text(&shown.stdout).contains("int8"),
        "{}",
        text(&shown.stderr)
    );
}
