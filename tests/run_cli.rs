//! `detbench run`, `setup` and `import` as a clumsy or hostile user meets them.
//!
//! Tests that need ONNX Runtime, the default model and pictures fetch them into the usual cache
//! first, and are skipped, saying so, where that cannot be done.

mod child;

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use self::child::{interrupt, pause, wait_until};
use serde_json::Value;
use tempfile::TempDir;

/// Short enough for a test, long enough for a few queries.
const SHORT: [&str; 4] = ["--duration", "200ms", "--set", "min_query_count=5"];

/// The cheapest real run.
const ONE: [&str; 5] = [
    "--scenario",
    "SingleStream",
    "--nms",
    "fast",
    "--benchmark-only",
];

fn detbench() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("detbench"))
}

/// A folder for results, and the command that writes there.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    fn run(&self) -> Command {
        let mut command = detbench();
        command.arg("run").arg("--output-dir").arg(self.results());
        command
    }

    fn results(&self) -> PathBuf {
        self.path("results of runs")
    }

    /// The only run's folder.
    fn run_folder(&self) -> Option<PathBuf> {
        let mut folders = fs::read_dir(self.results()).ok()?;
        let folder = folders.next()?.unwrap().path();
        assert!(folders.next().is_none(), "more than one run folder");
        Some(folder)
    }

    fn run_json(&self) -> Value {
        let text = fs::read(self.run_folder().expect("a run folder").join("run.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// A picture with something on it.
    fn picture(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(&path).unwrap();
        let mut encoder = png::Encoder::new(file, 90, 70);
        encoder.set_color(png::ColorType::Rgb);
        let pixels: Vec<u8> = (0..90 * 70 * 3_u32).map(|at| (at * at / 7) as u8).collect();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&pixels).unwrap();
        writer.finish().unwrap();
        path
    }
}

/// Runs a command that must fail with `code` and one sentence that holds `words`.
fn refused(command: &mut Command, code: i32, words: &[&str]) {
    let output = command.output().unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {message}");
    for word in words {
        assert!(message.contains(word), "`{word}` not in: {message}");
    }
    assert_eq!(message.matches("error:").count(), 1, "{message}");
    assert!(!message.contains("panicked"), "{message}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Real sessions take turns: side by side they would slow each other down on a small machine.
/// `None` when what they need cannot be fetched.
fn session() -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    static READY: OnceLock<bool> = OnceLock::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_ready = *READY.get_or_init(|| {
        let output = detbench().arg("setup").output().unwrap();
        if !output.status.success() {
            eprintln!("skipped: {}{}", text(&output.stdout), text(&output.stderr));
        }
        output.status.success()
    });
    is_ready.then_some(turn)
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

#[test]
fn a_flag_that_makes_no_sense_is_refused_before_anything_else_happens() {
    let desk = Desk::new();
    let scenario = desk.file(
        "own.toml",
        "title = 'x'\n[[run]]\nscenario = 'Server'\nmin_durtion_ms = 5\n",
    );
    let machine = desk.file("machine.toml", "instnces = 2\n");
    for (flags, words) in [
        (
            "--scenario Serve",
            &["no scenario `Serve`", "did you mean `Server`"][..],
        ),
        ("--scenario absent.toml", &["absent.toml", "cannot be read"]),
        ("--scenaro Server", &["--scenario"]),
        ("--duration nonsense", &["--duration", "30s"]),
        ("--duration 0s", &["above zero"]),
        ("--duration=-5s", &["--duration"]),
        ("--target-qps 0", &["server_target_qps", "above 0"]),
        ("--target-qps -5", &["server_target_qps", "above 0"]),
        ("--target-qps nan", &["server_target_qps", "finite"]),
        (
            "--set min_query_coun=1",
            &["did you mean `min_query_count`"],
        ),
        (
            "--set min_query_count=many",
            &["min_query_count", "whole number"],
        ),
        ("--set min_query_count", &["KEY=VALUE"]),
        ("--seed -1", &["--seed", "whole number"]),
        ("--warmup soon", &["--warmup", "10 or 2s"]),
        ("--score-threshold nan", &["--score-threshold", "0.3"]),
        (
            "--iou-threshold 0",
            &["--iou-threshold", "above 0 and at most 1"],
        ),
        ("--iou-threshold 1.5", &["--iou-threshold"]),
        ("--iou-threshold NaN", &["--iou-threshold"]),
        ("--max-detections 0", &["--max-detections"]),
        ("--detections-per-class 0", &["--detections-per-class"]),
        ("--nms slow", &["regular, fast, both"]),
        ("--json=yes", &["--json"]),
        ("--accuracy-only --benchmark-only", &["cannot be used with"]),
        ("--instances 0", &["--instances", "from 1 to 8192"]),
        ("--instances -1", &["--instances", "from 1 to 8192"]),
        ("--instances 100000", &["--instances", "from 1 to 8192"]),
        ("--intra-threads 0", &["--intra-threads", "from 1"]),
        ("--inter-threads 0", &["--inter-threads", "from 1"]),
        ("--batch-size 0", &["--batch-size", "from 1 to 4096"]),
        ("--batch-size 5000", &["--batch-size", "from 1 to 4096"]),
        (
            "--preproc-threads 0",
            &["--preproc-threads", "from 1 to 1024"],
        ),
        (
            "--batch-timeout-us 99999999999",
            &["--batch-timeout-us", "at most"],
        ),
        (
            "--cores-per-instance 0",
            &["cores_per_instance", "at least 1"],
        ),
        ("--cores-per-instance sokcet", &["a number or `socket`"]),
        (
            "--cpus 0-8000",
            &["not allowed to this process", "choose among"],
        ),
        ("--cpus 3-1", &["--cpus", "write `1-3`"]),
        ("--cpus some", &["--cpus", "0-13,28"]),
        ("--instances 8192", &["8192 cores are needed", "pin"]),
        ("--socket-id 999", &["socket 999", "choose among"]),
        ("--machine nope", &["no machine preset", "all-cores"]),
        ("--machine absent.toml", &["absent.toml", "No such file"]),
        ("--ort arena", &["KEY=VALUE"]),
        ("--ort foo=1", &["no option foo", "allow_spinning"]),
        ("--ort session.intra_op.allow_spinnin=0", &["did you mean"]),
        ("--ort session.intra_op.allow_spinning=x", &["0 or 1"]),
        ("--model ssdlite", &["did you mean `ssdlite-mobilenet-v2`"]),
        (
            "--model-config nope",
            &["--model-config nope", "known models"],
        ),
        ("--annotations x.json", &["--images"]),
        ("--accuracy-only --images .", &["--annotations"]),
    ] {
        refused(desk.run().args(flags.split(' ')), 2, words);
    }
    refused(
        desk.run().args(["--scenario", &scenario]),
        2,
        &["own.toml", "own.toml:4", "did you mean `min_duration_ms`"],
    );
    refused(
        desk.run().args(["--machine", &machine]),
        2,
        &["machine.toml:1", "did you mean `instances`"],
    );
    assert!(desk.run_folder().is_none(), "nothing is left behind");
}

#[test]
fn a_model_that_is_none_is_named_with_what_to_do() {
    let desk = Desk::new();
    let model = |name: &str, bytes: &[u8]| desk.file(name, bytes);
    for (file, words) in [
        (
            desk.path("absent.onnx").display().to_string(),
            "cannot be read",
        ),
        (
            model("empty.onnx", b""),
            "is empty; fetch or import it again",
        ),
        (model("text.onnx", b"not a model\n"), "is damaged"),
    ] {
        for flags in [&[][..], &["--model-config", "ssdlite-mobilenet-v2"]] {
            refused(
                desk.run().args(["--model", &file]).args(flags),
                2,
                &[&file, words],
            );
        }
    }
    let unknown_key = desk.file("own.toml", "name = 'x'\nprecison = 'fp32'\n");
    refused(
        desk.run().args(["--model-config", &unknown_key]),
        2,
        &["own.toml:2", "did you mean `precision`"],
    );
    assert!(desk.run_folder().is_none(), "nothing is left behind");
}

#[test]
fn help_is_grouped_by_questions_and_fits_eighty_columns() {
    let output = detbench()
        .args(["run", "--help"])
        .env("COLUMNS", "80")
        .output()
        .unwrap();
    assert!(output.status.success());
    let help = text(&output.stdout);
    for question in [
        "What is asked:",
        "On which model and pictures:",
        "Where it runs:",
    ] {
        assert!(help.contains(question), "{question}");
    }
    let longest = help.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(80), "{longest:?}");
    assert_eq!(detbench().output().unwrap().status.code(), Some(2));
    let version = detbench().arg("--version").output().unwrap();
    assert!(text(&version.stdout).starts_with("detbench "));
}

#[test]
fn a_machine_without_cache_or_clients_is_told_what_to_install_or_set() {
    let desk = Desk::new();
    let mut bare = desk.run();
    bare.env_clear();
    refused(&mut bare, 3, &["DETBENCH_CACHE"]);
    let mut lonely = desk.run();
    lonely
        .env_clear()
        .env("PATH", desk.path("nothing"))
        .env("DETBENCH_CACHE", desk.path("cache"));
    refused(&mut lonely, 3, &["npm", "--model FILE.onnx"]);
    let file = desk.file("a file", "");
    refused(
        desk.run().env("DETBENCH_CACHE", file),
        3,
        &["DETBENCH_CACHE"],
    );
    assert!(desk.run_folder().is_none(), "nothing is left behind");
}

#[test]
fn a_check_of_the_setup_goes_to_stdout_and_survives_a_closed_pipe() {
    let desk = Desk::new();
    let check = || {
        let mut command = detbench();
        command.args(["setup", "--check"]);
        command.env("DETBENCH_CACHE", desk.path("cache"));
        command
    };
    let output = check().output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stdout).contains("not fetched yet"));
    let output = check().arg("--json").output().unwrap();
    assert_eq!(document(&output)["ready"], false);
    let mut child = spawn(check().arg("--json"));
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(!desk.path("cache").exists(), "a check writes nothing");
}

#[test]
fn an_import_of_what_is_no_model_writes_nothing() {
    let desk = Desk::new();
    let onnx = desk.path("out.onnx");
    let mut import = detbench();
    import
        .arg("import")
        .arg(desk.path("absent"))
        .arg("-o")
        .arg(&onnx);
    refused(&mut import, 2, &["absent", "model.json"]);
    desk.file("broken/model.json", "{");
    let mut import = detbench();
    import
        .arg("import")
        .arg(desk.path("broken"))
        .arg("-o")
        .arg(&onnx);
    refused(&mut import, 2, &["model.json", "line 1"]);
    assert!(!onnx.exists());
}

#[test]
fn a_library_that_is_not_onnx_runtime_is_named_and_never_skipped() {
    let Some(_turn) = session() else { return };
    let desk = Desk::new();
    let not_elf = desk.file("text.so", "not a library\n");
    refused(
        desk.run().args(["--ort-lib", &not_elf]),
        2,
        &["--ort-lib", "text.so is not a Linux shared library"],
    );
    refused(
        desk.run().env("ORT_DYLIB_PATH", &not_elf),
        3,
        &["ORT_DYLIB_PATH", "text.so is not a Linux shared library"],
    );
    let mut foreign = fs::read(assert_cmd::cargo::cargo_bin!("detbench")).unwrap();
    foreign.truncate(1 << 16);
    // The machine in an ELF header; 0x0102 is nobody's.
    foreign[18..20].copy_from_slice(&[2, 1]);
    let foreign = desk.file("foreign.so", foreign);
    refused(desk.run().args(["--ort-lib", &foreign]), 2, &["foreign.so"]);
    assert!(desk.run_folder().is_none(), "nothing is left behind");
}

#[test]
fn an_output_folder_that_cannot_be_written_shows_before_measuring() {
    let Some(_turn) = session() else { return };
    let desk = Desk::new();
    let file = desk.file("a file", "");
    let mut command = detbench();
    command.args(["run", "--output-dir", &file]);
    refused(&mut command, 3, &["a file", "--output-dir"]);
    assert!(!text(&command.output().unwrap().stderr).contains("[1/"));
}

#[test]
fn pictures_and_annotations_that_do_not_fit_are_named() {
    let Some(_turn) = session() else { return };
    let desk = Desk::new();
    desk.picture("good/a.png");
    let good = desk.path("good").display().to_string();
    let annotations = |name: &str, images: &str, boxes: &str| {
        let categories = r#""categories":[{"id":1,"name":"person"}]"#;
        desk.file(
            name,
            format!(r#"{{"images":[{images}],"annotations":[{boxes}],{categories}}}"#),
        )
    };
    let a = r#"{"id":1,"file_name":"a.png","width":90,"height":70}"#;
    let gone = r#"{"id":2,"file_name":"gone.png"},{"id":3,"file_name":"too.png"}"#;
    let one_box = r#"{"id":7,"image_id":1,"category_id":1,"bbox":[1,2,3,4]}"#;
    for (file, words) in [
        (
            annotations("gone.json", &format!("{a},{gone}"), ""),
            &["2 of its 3 pictures", "gone.png, too.png", "--skip-missing"][..],
        ),
        (
            annotations("twice.json", &format!("{a},{a}"), ""),
            &["images[0] and images[1] both have id 1"],
        ),
        (
            annotations("boxes.json", a, &format!("{one_box},{one_box}")),
            &["annotations[0] and annotations[1] both have id 7"],
        ),
        (
            desk.file("broken.json", "{\"images\": [\n  {"),
            &["broken.json", "line 2"],
        ),
        (
            desk.path("absent.json").display().to_string(),
            &["absent.json", "No such file"],
        ),
    ] {
        let mut command = desk.run();
        command.args(["--images", &good, "--annotations", &file]);
        refused(&mut command, 2, words);
    }
    desk.file("notes/readme.txt", "no picture");
    desk.file("zero/z.png", "");
    for (folder, words) in [
        ("nowhere", "give the folder"),
        ("notes", "no JPEG or PNG pictures"),
        ("zero", "z.png: the file is empty"),
    ] {
        refused(
            desk.run().arg("--images").arg(desk.path(folder)),
            2,
            &[words],
        );
    }
    assert!(desk.run_folder().is_none(), "nothing is left behind");
}

#[test]
fn a_picture_that_is_cut_short_fails_the_run_before_it_is_timed_and_is_kept_as_its_failure() {
    let Some(_turn) = session() else { return };
    for region in ["inference", "end-to-end"] {
        let desk = Desk::new();
        let whole = fs::read(desk.picture("pictures/a.png")).unwrap();
        desk.file("pictures/cut.png", &whole[..whole.len() / 2]);
        let mut command = desk.run();
        command
            .args(ONE)
            .args(SHORT)
            .args(["--timed-region", region]);
        command.arg("--images").arg(desk.path("pictures"));
        refused(&mut command, 2, &["cut.png"]);
        let record = desk.run_json();
        assert_eq!(record["complete"], false);
        assert!(record["failure"].as_str().unwrap().contains("cut.png"));
    }
}

#[test]
fn with_json_stdout_is_one_document_with_every_key() {
    let Some(_turn) = session() else { return };
    let desk = Desk::new();
    let output = desk.run().arg("--json").args(SHORT).output().unwrap();
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{}",
        text(&output.stderr)
    );
    let document = document(&output);
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["complete"], true);
    let runs = document["runs"].as_array().unwrap();
    let what: Vec<_> = runs
        .iter()
        .map(|run| {
            format!(
                "{} {}",
                run["scenario"].as_str().unwrap(),
                run["nms"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        what,
        [
            "SingleStream regular",
            "SingleStream fast",
            "Offline regular",
            "Offline fast",
            "Server regular",
            "Server fast"
        ]
    );
    for run in runs {
        for key in ["model", "precision", "valid", "query_count", "sample_count"] {
            assert!(!run[key].is_null(), "{key}");
        }
        assert!(run["invalid_reasons"].is_array());
        assert!(run["samples_per_second"].as_f64().unwrap() > 0.0);
        let stages = &run["stage_ns"];
        for latency in [
            &run["latency_ns"],
            &stages["queue"],
            &stages["inference"],
            &stages["postprocess"],
        ] {
            for key in [
                "min", "mean", "p50", "p90", "p95", "p97", "p99", "p99_9", "max",
            ] {
                assert!(latency[key].is_u64(), "{key}: {latency}");
            }
        }
        assert_eq!(run["accuracy"]["metric"], "coco");
        assert_eq!(run["accuracy"]["stats"].as_array().unwrap().len(), 12);
    }
    assert!(
        text(&output.stderr).contains("of measuring"),
        "the time to expect comes first"
    );
    the_record_holds_the_conditions(&desk.run_json());
}

fn the_record_holds_the_conditions(record: &Value) {
    let host = &record["conditions"]["host"];
    for key in ["governor", "kernel", "smt_enabled", "allocator", "affinity"] {
        assert!(!host[key].is_null(), "{key}");
    }
    for key in ["model_name", "vnni"] {
        assert!(!host["cpu"][key].is_null(), "{key}");
    }
    for part in ["runtime", "model"] {
        let sum = record["conditions"][part]["sha256"].as_str().unwrap();
        assert_eq!(sum.len(), 64, "{part}");
    }
    let run = &record["run_conditions"][0];
    assert!(run["threads"]
        .as_array()
        .is_some_and(|threads| !threads.is_empty()));
}

#[test]
fn accuracy_alone_has_one_entry_for_each_mode_and_no_performance() {
    let Some(_turn) = session() else { return };
    let desk = Desk::new();
    let output = desk
        .run()
        .args(["--json", "--accuracy-only"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let document = document(&output);
    let runs = document["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        for key in [
            "scenario",
            "valid",
            "query_count",
            "samples_per_second",
            "latency_ns",
            "stage_ns",
        ] {
            assert_eq!(run.get(key), Some(&Value::Null), "{key}");
        }
        assert!(run["accuracy"]["map"].as_f64().unwrap() > 0.1);
    }
}

#[test]
fn the_same_seed_asks_for_the_same_samples() {
    let Some(_turn) = session() else { return };
    let samples = |seed: &str| {
        let desk = Desk::new();
        let mut command = desk.run();
        command
            .args(ONE)
            .args(SHORT)
            .args(["--warmup", "1", "--seed", seed]);
        assert!(matches!(
            command.output().unwrap().status.code(),
            Some(0 | 1)
        ));
        let csv = fs::read_to_string(desk.run_folder().unwrap().join("latencies.csv")).unwrap();
        let column = csv
            .lines()
            .skip(1)
            .take(5)
            .map(|line| line.split(',').nth(2).unwrap().to_owned());
        column.collect::<Vec<_>>()
    };
    let first = samples("7");
    assert_eq!(first.len(), 5);
    assert_eq!(first, samples("7"));
    assert_ne!(first, samples("8"));
}

#[test]
fn batches_work_with_partial_ones_too_and_decoding_can_be_timed() {
    let Some(_turn) = session() else { return };
    let desk = Desk::new();
    desk.picture("pictures/a.png");
    desk.picture("pictures/b.png");
    let mut command = desk.run();
    command.args([
        "--json",
        "--nms",
        "fast",
        "--batch-size",
        "4",
        "--warmup",
        "1",
    ]);
    command.args([
        "--scenario",
        "Offline",
        "--scenario",
        "Server",
        "--batch-timeout-us",
        "5000",
    ]);
    command.args([
        "--timed-region",
        "end-to-end",
        "--set",
        "min_query_count=7",
        "--duration",
        "100ms",
    ]);
    command.arg("--images").arg(desk.path("pictures"));
    let output = command.output().unwrap();
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{}",
        text(&output.stderr)
    );
    let document = document(&output);
    for run in document["runs"].as_array().unwrap() {
        assert_eq!(run["latency_ns"]["count"], run["sample_count"]);
        assert!(run["stage_ns"]["preprocess"]["p50"].as_u64().unwrap() > 0);
        assert_eq!(run["accuracy"], Value::Null, "there is no ground truth");
    }
    let notes = desk.run_json()["notes"].to_string();
    assert!(notes.contains("no ground truth"), "{notes}");
}

#[test]
fn an_absurd_server_rate_is_refused_instead_of_filling_the_memory() {
    let Some(_turn) = session() else { return };
    let desk = Desk::new();
    let mut command = desk.run();
    command.args([
        "--scenario",
        "Server",
        "--nms",
        "fast",
        "--target-qps",
        "1e9",
    ]);
    refused(command.args(SHORT), 2, &["lower --target-qps"]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let Some(_turn) = session() else { return };
    let desk = Desk::new();
    let mut child = spawn(desk.run().args(ONE).args(SHORT).arg("--json"));
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(desk.run_json()["complete"], true);
}

#[test]
fn ctrl_c_ends_every_part_of_a_run_and_keeps_what_was_measured() {
    let Some(_turn) = session() else { return };
    for (flags, needle, has_run) in [
        ("--scenario SingleStream --warmup 1000000", None, false),
        ("--scenario SingleStream --warmup 1", Some("[1/"), true),
        ("--scenario MultiStream --warmup 1", Some("[1/"), true),
        ("--scenario Server --warmup 1", Some("[1/"), true),
        ("--scenario Offline --warmup 1", Some("[1/"), true),
    ] {
        let desk = Desk::new();
        let mut command = desk.run();
        command
            .args(flags.split(' '))
            .args(["--json", "--nms", "fast", "--benchmark-only"]);
        let log = fs::File::create(desk.path("stderr")).unwrap();
        let child = spawn(command.stderr(log));
        wait_until(flags, || {
            let said = fs::read_to_string(desk.path("stderr")).unwrap();
            desk.run_folder()
                .is_some_and(|folder| folder.join("run.json").exists())
                && needle.is_none_or(|needle| said.contains(needle))
        });
        pause(Duration::from_millis(700));
        interrupt(&child);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{flags}");
        let document = document(&output);
        assert_eq!(document["complete"], false, "{flags}");
        let record = desk.run_json();
        assert_eq!(record["complete"], false, "{flags}");
        let runs = record["runs"].as_array().unwrap();
        assert_eq!(runs.len(), usize::from(has_run), "{flags}");
        if has_run {
            assert_eq!(runs[0]["invalid_reasons"][0], "the run was interrupted");
            assert!(desk.run_folder().unwrap().join("latencies.csv").exists());
        }
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped());
    command.stdin(Stdio::null()).spawn().unwrap()
}
