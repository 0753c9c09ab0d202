use super::super::tests_around::{around, texts};
use super::*;

fn read(line: &str) -> Result<(Vec<String>, Told), String> {
    let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    let (words, told) = translate(&words, around()).map_err(|error| error.to_string())?;
    Ok((texts(&words), told))
}

#[track_caller]
fn gives(line: &str, expected: &[&str]) {
    let (words, _) = read(line).unwrap();
    for word in expected {
        assert!(
            words.iter().any(|found| found == word),
            "{line}: {word} in {words:?}"
        );
    }
}

#[test]
fn the_published_command_becomes_an_accuracy_run_with_cks_summary() {
    let (words, told) = read(
        "program:object-detection-tflite --env.USE_NMS=fast --repetitions=1 --env.CK_BATCH_SIZE=1 \
         --env.CK_BATCH_COUNT=5000 --env.CK_METRIC_TYPE=COCO --record --record_repo=local \
         --dep_add_tags.weights=ssd-mobilenet,non-quantized --skip_print_timers --images d --annotations a.json",
    )
    .unwrap();
    let expected = [
        "--model",
        "ssd-mobilenet-v1",
        "--count=5000",
        "--nms=fast",
        "--instances=1",
        "--accuracy-only",
        "--ck-summary",
        "--images",
        "d",
        "--annotations",
        "a.json",
    ];
    assert_eq!(words, expected);
    assert_eq!(told.notes.len(), 5, "{:?}", told.notes);
    assert_eq!(told.ending, Ending::Ck);
}

#[test]
fn without_a_word_one_picture_goes_through_regular_nms() {
    gives("", &["--count=1", "--nms=regular", "ssd-mobilenet-v1"]);
    gives(
        "--env.CK_BATCH_COUNT=10 --env.CK_BATCH_SIZE=4",
        &["--count=40"],
    );
    gives("--env.CK_SKIP_IMAGES=5", &["--skip=5"]);
    gives(
        "--env.CK_HOST_CPU_NUMBER_OF_PROCESSORS=2",
        &["--intra-threads=2"],
    );
    gives(
        "--dep_add_tags.weights=ssd-mobilenet,quantized",
        &["ssd-mobilenet-v1-int8"],
    );
    let (words, _) = read("--count 7 --nms both").unwrap();
    assert!(!words.contains(&"--count=1".to_owned()), "{words:?}");
    assert!(!words.contains(&"--nms=regular".to_owned()), "{words:?}");
}

#[test]
fn thresholds_count_only_with_custom_settings_and_negative_ones_keep_the_models() {
    let custom = "--env.CUSTOM_MODEL_SETTINGS=yes";
    let line =
        "--env.MAX_DETECTIONS=50 --env.NMS_SCORE_THRESHOLD=0.25 --env.NMS_IOU_THRESHOLD=0.7 \
                --env.DETECTIONS_PER_CLASS=-1 --env.H_SCALE=4 --env.SCALE_Y=8";
    let thresholds = [
        "--max-detections=50",
        "--score-threshold=0.25",
        "--iou-threshold=0.7",
        "--box-scales=y=8,h=4",
    ];
    gives(&format!("{custom} {line}"), &thresholds);
    let (words, _) = read(&format!("{custom} {line}")).unwrap();
    assert!(!words.iter().any(|word| word.contains("per-class")));
    let (words, told) = read(line).unwrap();
    assert!(!words.iter().any(|word| word.contains("threshold")));
    assert_eq!(told.notes.len(), 6, "{:?}", told.notes);
    let refused = read(&format!(
        "{custom} --env.USE_NMS=fast --env.MAX_CLASSES_PER_DETECTION=2"
    ));
    assert!(refused.unwrap_err().contains("1 alone"));
}

#[test]
fn the_environment_counts_where_no_word_says_otherwise() {
    let around = Surroundings {
        variable: &|key| match key {
            "USE_NMS" => Some("fast".to_owned()),
            "CK_BATCH_COUNT" => Some("3".to_owned()),
            "CK_ENV_DATASET_IMAGE_DIR" => Some("d".to_owned()),
            _ => None,
        },
        ..around()
    };
    let words = [OsString::from("--env.CK_BATCH_COUNT=9")];
    let (words, _) = translate(&words, around).unwrap();
    let words = texts(&words);
    for word in ["--nms=fast", "--count=9", "d"] {
        assert!(words.iter().any(|found| found == word), "{words:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    for (line, expected) in [
        ("--env.USE_NSM=fast", "did you mean `USE_NMS`?"),
        ("--env.CK_BATCH_COUN=2", "did you mean `CK_BATCH_COUNT`?"),
        (
            "--env.CK_ENV_TENSORFLOW_MODEL_ROOTS=x",
            "did you mean `CK_ENV_TENSORFLOW_MODEL_ROOT`?",
        ),
        ("--env.USE_NMS=slow", "regular, fast or no"),
        ("--env.CK_BATCH_COUNT=0", "whole number"),
        ("--env.CUSTOM_MODEL_SETTINGS=maybe", "yes or no"),
        (
            "--env.CUSTOM_MODEL_SETTINGS=1 --env.NMS_IOU_THRESHOLD=x",
            "give a number",
        ),
        ("--env.CK_METRIC_TYPE=COCO_TF", "only COCO"),
        ("--env.CK_LOADGEN_MODE=Submission", "AccuracyOnly"),
        ("--find-peak", "--find-peak and --compat ck exclude"),
        (
            "--env.CK_ENV_TENSORFLOW_MODEL_TFLITE_GRAPH_REGULAR_NMS=detect_regular_nms.tflite",
            "detbench import",
        ),
    ] {
        let told = read(line).unwrap_err();
        assert!(told.contains(expected), "{line}: {told}");
    }
}

#[test]
fn variables_of_other_packages_are_noted() {
    let (_, told) = read("--env.CK_ENV_LIB_TF_ROOT=/x --env.VERBOSE").unwrap();
    assert_eq!(told.notes.len(), 2, "{:?}", told.notes);
    let performance = "--env.CK_LOADGEN_MODE=PerformanceOnly --env.CK_LOADGEN_SCENARIO=Offline";
    gives(
        performance,
        &["--mode=PerformanceOnly", "--scenario=Offline"],
    );
}
