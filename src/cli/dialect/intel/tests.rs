use super::*;

fn here(path: &Path) -> Result<Located, DialectError> {
    if path == Path::new("none") {
        let reason = "none: it holds no pictures".to_owned();
        return Err(DialectError::DataLocation { reason });
    }
    Ok(Located {
        dataset: path.to_owned(),
        may_have_truth: path != Path::new("plain"),
    })
}

fn bare(line: &str) -> Result<(Vec<String>, Told), DialectError> {
    let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    let (words, told) = translate(&words, &here)?;
    let words = words.iter().map(|word| word.to_str().unwrap().to_owned());
    Ok((words.collect(), told))
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
    assert_eq!(told.precision, Precision::Fp32);
    assert!(told.notes.is_empty() && told.names_no_graph);
}

#[test]
fn accuracy_takes_the_truth_of_the_data_location() {
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
    let needs = refused(
        "--model-name ssd-mobilenet --precision fp32 --accuracy-only --data-location plain",
    );
    assert!(
        needs.contains("no annotations were found for plain"),
        "{needs}"
    );
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
    assert!(!told.names_no_graph);
    for word in ["v.onnx", "--inter-threads=2", "--intra-threads=8"] {
        assert!(
            words.iter().any(|found| found == word),
            "{word} in {words:?}"
        );
    }
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    let base = "--model-name ssd_vgg16 --precision fp32";
    for (line, expected) in [
        (base.to_owned(), "pass --in-graph FILE.onnx"),
        ("--precision fp32".to_owned(), "needs --model-name"),
        ("--model-name ssd_vgg16".to_owned(), "needs --precision"),
        (format!("{base} --precision bfloat16"), "fp32 or int8"),
        (format!("{base} -g v.onnx -d none"), "it holds no pictures"),
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
