//! The bodies of the fuzz targets in `fuzz/`: whatever the bytes, a reader comes to something that
//! can be or to one sentence, soon, and without taking much memory.

#![allow(dead_code, reason = "each target uses its own")]

use std::path::Path;

use detbench::accuracy::voc::{parse_annotation, VocObject};
use detbench::accuracy::GroundTruth;
use detbench::dataset::records::RecordPicture;
use detbench::dataset::tfrecord::RecordReader;
use detbench::library::coco::parse_instances;
use detbench::model::{tfjs, tflite};
use detbench::plan::Plan;
use detbench::scenario::{Scenario, TestMode};
use detbench::settings::compat::CompatProfile;
use detbench::settings::mlperf_conf::ConfReader;
use detbench::settings::scenario_file::ScenarioFile;
use detbench::settings::test_settings::{SettingError, TestSettings};
use detbench::tune::lpot;

/// More samples in a MultiStream query pad a set beyond what a fuzzer's memory limit allows.
const SAMPLES_PER_QUERY_MAX: u64 = 100_000;

/// Reads the bytes as each kind of LoadGen's files, for every scenario.
pub fn conf(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let lines = text.lines().count();
    for scenario in Scenario::ALL {
        for strict in [false, true] {
            let mut reader = ConfReader::new("retinanet", scenario, strict);
            for apply in [
                ConfReader::apply_table,
                ConfReader::apply_user,
                ConfReader::apply_audit,
            ] {
                let before = (reader.settings.clone(), reader.mode);
                let noted = reader.notes.len();
                match apply(&mut reader, Path::new("file.conf"), text) {
                    Ok(()) => can_be(&reader.settings, scenario, reader.mode),
                    Err(error) => {
                        is_one_sentence(&error.to_string());
                        assert_eq!((reader.settings.clone(), reader.mode), before);
                    }
                }
                // A line is noted a few times at most, and each dropped value once.
                assert!(reader.notes.len() - noted <= 4 * lines + text.len());
                for note in &reader.notes[noted..] {
                    assert!((1..=lines.max(1)).contains(&note.line));
                    is_one_sentence(&note.to_string());
                }
            }
        }
    }
}

/// Reads the bytes as a scenario file.
pub fn scenario(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match ScenarioFile::parse(text, "file.toml", "file") {
        Ok(file) => {
            for run in &file.runs {
                can_be(&run.settings, run.scenario, None);
            }
        }
        Err(error) => assert!(error.to_string().starts_with("file.toml")),
    }
}

/// Reads the bytes as LPOT's configuration.
pub fn lpot(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    // A line ends at a carriage return too.
    let lines = text.split(['\n', '\r']).count() + 1;
    match lpot::read(text, "file.yaml") {
        Ok(request) => {
            let space = &request.space;
            assert!(!space.calibration_sizes.is_empty() && request.exit.max_trials > 0);
            assert!(request.criterion.threshold(0.5).is_finite());
            for note in &request.notes {
                assert!((1..=lines).contains(&note.line));
                is_one_sentence(&note.to_string());
            }
        }
        Err(error) => {
            assert!((1..=lines).contains(&error.line), "{error}");
            is_one_sentence(&error.to_string());
        }
    }
}

/// Reads the bytes as a TFLite file, as it is and to floats.
pub fn tflite(bytes: &[u8]) {
    for dequantize in [false, true] {
        match tflite::convert_bytes(bytes, dequantize) {
            // Constants are the file's own, in f32 at most and in two orders.
            Ok(imported) => assert!(imported.onnx.len() <= 40 * bytes.len() + 100_000),
            Err(fault) => is_one_sentence(&fault.to_string()),
        }
    }
}

/// Reads the bytes as `model.json` and what follows its last line as a file of weights.
pub fn tfjs(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a folder for a model");
    let end = bytes.iter().rposition(|&byte| byte == b'\n');
    let (json, weights) = bytes.split_at(end.unwrap_or(bytes.len()));
    let write = |name: &str, contents: &[u8]| {
        std::fs::write(dir.path().join(name), contents).expect("a file of a model");
    };
    write("model.json", json);
    write("shard", weights.get(1..).unwrap_or_default());
    if let Err(error) = tfjs::import(dir.path()) {
        is_one_sentence(&error.to_string());
    }
}

/// Reads the bytes as a TFRecord file of pictures, and as the data of one record.
pub fn tfrecord(bytes: &[u8]) {
    let mut reader = RecordReader::new(bytes, bytes.len() as u64, Path::new("val"));
    let mut end = 0;
    loop {
        match reader.next_record() {
            Ok(None) => break,
            Ok(Some(record)) => {
                // Records lie one behind the other, so there is an end.
                assert!(record.offset == end && record.data.len() + 16 <= bytes.len());
                end = record.data_offset() + record.data.len() as u64 + 4;
                example(record.data);
            }
            Err(error) => {
                is_one_sentence(&error.to_string());
                assert!(error.to_string().starts_with("val: "));
                break;
            }
        }
    }
    example(bytes);
}

fn example(data: &[u8]) {
    match RecordPicture::parse(data) {
        Ok(picture) => {
            assert!(!data[picture.encoded].is_empty());
            let objects = picture.objects.unwrap_or_default();
            let corners = objects.iter().flat_map(|object| object.corners);
            assert!(corners.clone().all(f32::is_finite) && corners.count() <= data.len());
            assert!(objects.is_empty() || picture.size.is_some());
        }
        Err(problem) => is_one_sentence(&problem.to_string()),
    }
}

/// Reads the bytes as the annotations of a VOC picture.
pub fn voc_xml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut objects: Vec<VocObject> = Vec::new();
    match parse_annotation(text, "2007_000032", &mut objects) {
        Ok(()) => {
            assert!(objects.len() <= bytes.len());
            assert!(objects
                .iter()
                .flat_map(|object| object.corners)
                .all(f64::is_finite));
        }
        Err(problem) => is_one_sentence(&problem.to_string()),
    }
}

/// Reads the bytes as COCO's instances, as the library does and as the scorer does.
pub fn coco_json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match parse_instances(text, "labels.json") {
        Ok(instances) => {
            assert!(!instances.images.is_empty());
            // Whatever the library takes, the scorer takes.
            let truth: GroundTruth = text.parse().unwrap();
            assert_eq!(truth.images().len(), instances.images.len());
        }
        Err(error) => {
            is_one_sentence(&error.to_string());
            assert!(error.to_string().starts_with("labels.json: "));
        }
    }
    if let Err(error) = text.parse::<GroundTruth>() {
        is_one_sentence(&error.to_string());
    }
}

/// Settings that were read are possible one by one, and a plan of them is made or refused.
fn can_be(settings: &TestSettings, scenario: Scenario, mode: Option<TestMode>) {
    match settings.validate() {
        Ok(()) | Err(SettingError::Conflict { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    if settings.multi_stream_samples_per_query > SAMPLES_PER_QUERY_MAX {
        return;
    }
    let mode = mode.unwrap_or(TestMode::PerformanceOnly);
    match Plan::new(settings, scenario, mode, 64, 16, CompatProfile::V6) {
        Ok(plan) => assert!(!plan.sets().is_empty()),
        Err(error) => is_one_sentence(&error.to_string()),
    }
}

fn is_one_sentence(message: &str) {
    assert!(
        !message.is_empty() && !message.contains('\n'),
        "{message:?}"
    );
}
