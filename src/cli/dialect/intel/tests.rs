use super::super::tests_around::{around, texts};
use super::*;

fn bare(line: &str) -> Result<(Vec<String>, Told), DialectError> {
    let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    let (words, told) = translate(&words, around())?;
    Ok((texts(&words), told))
}

/// With what every command line needs.
fn read(line: &str) -> (Vec<String>, Told) {
    bare(&format!(
        "--model-name ssd-mobilenet --precision fp32 {line}"
    ))
    .unwrap()
}

fn refused(line: &str) -> String {
    bare(line).unwrap_err().to_string()
}

#[track_caller]
fn gives(line: &str, expected: &[&str]) {
    // With the value in a word of its own, and hanging on its flag.
    let joined = match line.split_once(' ') {
        Some((flag, value)) => format!("{flag}={value}"),
        None => line.to_owned(),
    };
    for line in [line, &joined] {
        let (words, _) = read(line);
        for word in expected {
            assert!(
                words.iter().any(|found| found == word),
                "{line}: {word} in {words:?}"
            );
        }
    }
}

#[test]
fn every_flag_with_a_meaning_becomes_ours() {
    gives(
        "--model-name ssd_mobilenet",
        &["--model", "ssd-mobilenet-v1"],
    );
    gives("--model-name ssd-resnet34", &["ssd-resnet34-1200"]);
    gives("--precision int8", &["ssd-mobilenet-v1-int8"]);
    gives("--in-graph a.onnx", &["--model", "a.onnx"]);
    gives("--data-location coco", &["--dataset", "coco"]);
    gives("--socket-id 1", &["--socket-id=1"]);
    gives("--num-inter-threads 2", &["--inter-threads=2"]);
    gives("--num-intra-threads 28", &["--intra-threads=28"]);
    gives("--num-cores 4", &["--cores-per-instance=4"]);
    gives("--data-num-inter-threads 3", &["--preproc-threads=3"]);
    gives("--data-num-intra-threads 4", &["--preproc-threads=4"]);
    gives("--warmup-steps 7", &["--warmup=7"]);
    let steps = ["--set=min_query_count=9", "--set=max_query_count=9"];
    gives("--steps 9", &steps);
    gives("--batch-size 1", &["--scenario=SingleStream"]);
    let batches = [
        "--scenario=MultiStream",
        "--set=multi_stream_samples_per_query=8",
    ];
    gives("--batch-size 8", &batches);
    gives("--batch-size 8", &["--batch-size=8", "--instances=1"]);
}

#[test]
fn threads_beyond_the_cores_are_scaled_and_said() {
    let (words, told) = read("--num-intra-threads 42 --num-inter-threads 11 --num-cores 56");
    for word in [
        "--intra-threads=28",
        "--inter-threads=11",
        "--cores-per-instance=28",
    ] {
        assert!(
            words.iter().any(|found| found == word),
            "{word} in {words:?}"
        );
    }
    assert_eq!(told.notes.len(), 2, "{:?}", told.notes);
    assert!(told.notes[0].contains("more than the 28 cores"));
}

#[test]
fn without_a_word_it_is_a_benchmark_of_dummy_data() {
    let (words, told) = read("--mode inference");
    for word in [
        "--benchmark-only",
        "--synthetic",
        "--warmup=10",
        "--set=min_query_count=50",
    ] {
        assert!(
            words.iter().any(|found| found == word),
            "{word} in {words:?}"
        );
    }
    assert_eq!(told.precision, Some((Precision::Fp32, "--precision")));
    assert!(told.notes.is_empty() && told.named_by.is_some());
}

#[test]
fn accuracy_takes_the_data_location_as_a_data_set() {
    let (words, _) = read("--accuracy-only --data-location coco");
    let expected = [
        "--model",
        "ssd-mobilenet-v1",
        "--dataset",
        "coco",
        "--accuracy-only",
    ];
    assert_eq!(words, expected);
    let needs = refused("--model-name ssd-mobilenet --precision fp32 --accuracy-only");
    assert!(needs.contains("--data-location"), "{needs}");
}

#[test]
fn what_has_no_meaning_is_accepted_with_a_note() {
    let line = "--framework tensorflow --docker-image=i --model-source-dir m --verbose -v";
    let (words, told) = read(line);
    assert_eq!(told.notes.len(), 5, "{:?}", told.notes);
    assert!(told.notes[0].starts_with("--framework tensorflow has no meaning"));
    assert!(words
        .iter()
        .all(|word| !word.contains("docker") && word != "--verbose"));
    for line in [
        "--disable-tcmalloc",
        "--disable-tcmalloc=True",
        "--disable-tcmalloc False",
    ] {
        let (words, told) = read(&format!("{line} --nms fast"));
        assert_eq!(told.notes.len(), 1, "{line}");
        assert_eq!(words[words.len() - 2..], ["--nms", "fast"], "{line}");
    }
}

#[test]
fn the_larger_number_of_data_threads_counts() {
    let (words, _) = read("--data-num-inter-threads 21 --data-num-intra-threads 28");
    assert!(words.contains(&"--preproc-threads=28".to_owned()));
}

#[test]
fn arguments_of_the_models_script_stand_after_two_dashes() {
    for line in ["-- warmup_steps=3 steps=4", "-- --warmup-steps=3 --steps 4"] {
        let (words, _) = read(line);
        for word in ["--warmup=3", "--set=max_query_count=4"] {
            assert!(words.iter().any(|found| found == word), "{line}: {words:?}");
        }
        assert!(!words.contains(&"--".to_owned()));
    }
}

#[test]
fn our_own_words_stay_and_come_last() {
    let (words, _) = read("--compat intel --set performance_sample_count_override=3 -i -1");
    let expected = [
        "--compat",
        "intel",
        "--set",
        "performance_sample_count_override=3",
    ];
    assert_eq!(words[words.len() - 4..], expected);
}

#[test]
fn short_forms_are_known() {
    let (words, told) =
        bare("-m ssd_vgg16 -p int8 -mo inference -g v.onnx -b 1 -e 2 -a 8 -k").unwrap();
    assert_eq!(told.model_name, "ssd_vgg16");
    assert!(told.named_by.is_none());
    for word in ["v.onnx", "--inter-threads=2", "--intra-threads=8"] {
        assert!(
            words.iter().any(|found| found == word),
            "{word} in {words:?}"
        );
    }
}

#[test]
fn several_instances_share_a_pile_of_batches() {
    let line = "--numa-cores-per-instance 4 --batch-size 16 --steps 10";
    let (words, told) = read(line);
    for word in [
        "--cores-per-instance=4",
        "--instances=7",
        "--batch-size=16",
        "--scenario=Offline",
        "--set=min_query_count=1120",
    ] {
        assert!(
            words.iter().any(|found| found == word),
            "{word} in {words:?}"
        );
    }
    let Ending::Intel(tail) = told.ending else {
        panic!("{:?}", told.ending)
    };
    assert_eq!(tail.cores_per_instance.as_deref(), Some("4"));
    gives("--numa-cores-per-instance socket", &["--instances=1"]);
}

#[test]
fn only_ssd_vgg16_ends_without_the_lines_of_samples() {
    let tail = |line: &str| match bare(line).unwrap().1.ending {
        Ending::Intel(tail) => tail,
        other => panic!("{other:?}"),
    };
    let vgg = tail("-m ssd_vgg16 -p fp32 -g v.onnx");
    assert!(!vgg.has_sample_lines);
    let mobilenet = tail("-m ssd-mobilenet -p fp32 -- warmup-steps=7 steps=9 input-size=1200");
    assert_eq!(mobilenet.steps, (9, "7".to_owned()));
    assert!(mobilenet.has_sample_lines);
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    let base = "--model-name ssd_vgg16 --precision fp32";
    for (line, expected) in [
        (
            "--model-name ssd_vgg99 --precision fp32".to_owned(),
            "pass --in-graph FILE.onnx",
        ),
        (format!("{base} --numa-cores-per-instance x"), "or socket"),
        (format!("{base} --input-size 300"), "--in-graph FILE.onnx"),
        ("--precision fp32".to_owned(), "needs --model-name"),
        ("--model-name ssd_vgg16".to_owned(), "needs --precision"),
        (format!("{base} --precision bfloat16"), "fp32 or int8"),
        (format!("{base} --mode training"), "only mode is inference"),
        (format!("{base} --steps 0"), "above zero"),
        (format!("{base} --steps"), "needs a value"),
        (format!("{base} --steps --verbose"), "needs a value"),
        (format!("{base} --batch-size 0"), "from 1 to 4096"),
        (
            format!("{base} --data-num-intra-threads x"),
            "from 1 to 1024",
        ),
        (format!("{base} --in-graph f.pb"), "frozen TensorFlow graph"),
        (format!("{base} --disable-tcmalloc=maybe"), "True or False"),
        (format!("{base} --model-name a/../b"), "letters, digits"),
        (
            format!("{base} --accuracy-only --benchmark-only"),
            "exclude",
        ),
        (
            format!("{base} --find-peak"),
            "--find-peak and --compat intel exclude",
        ),
    ] {
        let told = refused(&line);
        assert!(told.contains(expected), "{line}: {told}");
    }
}
