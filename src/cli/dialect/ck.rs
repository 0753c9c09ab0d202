//! Collective Knowledge's object-detection programs: settings from the environment or as `--env.KEY=VALUE`.
//!
//! `object-detection-tflite` and its kin take pictures from the first on, one a batch, detect, and score
//! what they found by COCO's rules. Their other words (`program:…`, `--repetitions=1`, `--record`) steer CK itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::words::{flag_parts, number, truth, wrong, Own};
use super::{Dialect, DialectError, Ending, Surroundings, Told};
use crate::strict_toml::nearest;

/// The model of CK's packages when none is named.
const MODEL: &str = "ssd-mobilenet-v1";

/// Settings with a meaning here.
const MEANT: [&str; 33] = [
    "USE_NMS",
    "USE_CUSTOM_NMS_SETTINGS",
    "CUSTOM_MODEL_SETTINGS",
    "MAX_CLASSES_PER_DETECTION",
    "MAX_DETECTIONS",
    "DETECTIONS_PER_CLASS",
    "NUM_CLASSES",
    "NMS_SCORE_THRESHOLD",
    "NMS_IOU_THRESHOLD",
    "SCALE_Y",
    "SCALE_X",
    "SCALE_H",
    "SCALE_W",
    "Y_SCALE",
    "X_SCALE",
    "H_SCALE",
    "W_SCALE",
    "CK_BATCH_COUNT",
    "CK_BATCH_SIZE",
    "CK_SKIP_IMAGES",
    "CK_HOST_CPU_NUMBER_OF_PROCESSORS",
    "CK_METRIC_TYPE",
    "CK_LOADGEN_MODE",
    "CK_LOADGEN_SCENARIO",
    "CK_LOADGEN_DATASET_SIZE",
    "CK_ENV_DATASET_IMAGE_DIR",
    "CK_ENV_DATASET_ANNOTATIONS",
    "CK_ENV_ONNX_MODEL_ONNX_FILEPATH",
    "CK_ENV_TENSORFLOW_MODEL_ROOT",
    "CK_ENV_TENSORFLOW_MODEL_TFLITE_GRAPH_REGULAR_NMS",
    "CK_ENV_TENSORFLOW_MODEL_TFLITE_GRAPH_FAST_NMS",
    "CK_ENV_TENSORFLOW_MODEL_TFLITE_GRAPH_NO_NMS",
    "CK_ENV_TENSORFLOW_MODEL_DATASET_TYPE",
];

/// What the model's package sets; CK reads these where its own copy of the op takes the settings.
const OF_THE_MODEL: [&str; 8] = [
    "CK_ENV_TENSORFLOW_MODEL_MAX_DETECTIONS",
    "CK_ENV_TENSORFLOW_MODEL_NUM_CLASSES",
    "CK_ENV_TENSORFLOW_MODEL_NMS_SCORE_THRESHOLD",
    "CK_ENV_TENSORFLOW_MODEL_NMS_IOU_THRESHOLD",
    "CK_ENV_TENSORFLOW_MODEL_SCALE_Y",
    "CK_ENV_TENSORFLOW_MODEL_SCALE_X",
    "CK_ENV_TENSORFLOW_MODEL_SCALE_H",
    "CK_ENV_TENSORFLOW_MODEL_SCALE_W",
];

/// Settings without a meaning here, and why they have none.
const UNUSED: [(&str, &str); 31] = [
    ("CK_SILENT_MODE", SAYS),
    ("CK_VERBOSE", SAYS),
    ("VERBOSE", SAYS),
    ("FULL_REPORT", SAYS),
    ("USE_NEON", ONNX),
    ("USE_OPENCL", ONNX),
    ("CK_DETECTIONS_OUT_DIR", FOLDER),
    ("CK_RESULTS_OUT_DIR", FOLDER),
    ("CK_ANNOTATIONS_OUT_DIR", FOLDER),
    ("CK_TIMER_FILE", FOLDER),
    ("CK_SAVE_IMAGES", "`detbench detect --draw` draws"),
    ("CK_PREPROCESSED_OUT_DIR", PREPARED),
    ("CK_PREPROCESSED_FOF_WITH_ORIGINAL_DIMENSIONS", PREPARED),
    ("CK_ENV_DATASET_OBJ_DETECTION_PREPROCESSED_DIR", PREPARED),
    (
        "CK_ENV_DATASET_OBJ_DETECTION_PREPROCESSED_SUBSET_FOF",
        PREPARED,
    ),
    ("CK_ENV_DATASET_TYPE", "the annotations say what they are"),
    ("CK_ENV_TENSORFLOW_MODEL_ANCHORS", MODEL_FILE),
    ("CK_ENV_TENSORFLOW_MODEL_CLASSES", MODEL_FILE),
    ("CK_ENV_TENSORFLOW_MODEL_LABELMAP_FILE", MODEL_FILE),
    ("CK_ENV_TENSORFLOW_MODEL_FROZEN_GRAPH", ONNX),
    ("CK_ENV_TENSORFLOW_MODEL_IMAGE_HEIGHT", MODEL_FILE),
    ("CK_ENV_TENSORFLOW_MODEL_IMAGE_WIDTH", MODEL_FILE),
    ("CK_ENV_TENSORFLOW_MODEL_IMAGE_CHANNELS", MODEL_FILE),
    ("CK_ENV_TENSORFLOW_MODEL_NORMALIZE_DATA", MODEL_FILE),
    ("CK_ENV_TENSORFLOW_MODEL_SUBTRACT_MEAN", MODEL_FILE),
    (
        "CK_ENV_TENSORFLOW_MODEL_NEED_BACKGROUND_CORRECTION",
        MODEL_FILE,
    ),
    ("CK_LOADGEN_BUFFER_SIZE", LOADGEN),
    ("CK_LOADGEN_CONF_FILE", LOADGEN),
    ("CK_LOADGEN_USER_CONF", LOADGEN),
    ("CK_LOADGEN_TARGET_LATENCY", LOADGEN),
    ("CK_LOADGEN_TARGET_QPS", LOADGEN),
];

const SAYS: &str = "a run always says what it does";
const ONNX: &str = "models run in ONNX Runtime, from an ONNX file";
const FOLDER: &str = "the run folder has the detections, scores and times";
const PREPARED: &str = "pictures are decoded and resized here";
const MODEL_FILE: &str = "the model file says it";
const LOADGEN: &str = "pass `--mlperf-conf`, `--user-conf` or `--set` for LoadGen's settings";

/// CK's own flags, which say nothing about the detector.
const STEERING: [&str; 16] = [
    "--repetitions",
    "--record",
    "--record_repo",
    "--record_uoa",
    "--tags",
    "--skip_print_timers",
    "--skip_stat_analysis",
    "--process_multi_keys",
    "--skip_freq",
    "--speed",
    "--quiet",
    "--cmd_key",
    "--env_speed",
    "--skip_exec_time",
    "--out",
    "--print_files",
];

/// Translates the words after `run`.
///
/// # Errors
/// [`DialectError`].
pub fn translate(
    words: &[OsString],
    around: Surroundings<'_>,
) -> Result<(Vec<OsString>, Told), DialectError> {
    let mut program = Program {
        own: Own::default(),
        settings: BTreeMap::new(),
        weights: None,
    };
    program.read(words)?;
    program.look_around(around);
    program.conclude(around)
}

/// What the words and the environment say.
struct Program {
    own: Own,
    settings: BTreeMap<String, String>,
    /// Tags of the model's package.
    weights: Option<String>,
}

impl Program {
    fn read(&mut self, words: &[OsString]) -> Result<(), DialectError> {
        for word in words {
            let text = word.to_str().unwrap_or_default();
            if text.starts_with("program:") || text.contains(":program:") {
                self.own
                    .note(text, "detbench itself detects, as this program does");
                continue;
            }
            let Some((flag, value)) = flag_parts(word) else {
                self.own.words.push(word.clone());
                continue;
            };
            if let Some(key) = flag.strip_prefix("--env.") {
                // A key alone is how CK's documentation switches things on.
                let value = value.unwrap_or_else(|| "yes".to_owned());
                check_key(key)?;
                self.settings.insert(key.to_owned(), value);
            } else if let Some(name) = flag.strip_prefix("--dep_add_tags.") {
                match (name, value) {
                    ("weights", Some(tags)) => self.weights = Some(tags),
                    (_, value) => {
                        let tags = value.unwrap_or_default();
                        self.own
                            .note(&format!("{flag}={tags}"), "no package of CK is used");
                    }
                }
            } else if STEERING.contains(&flag) {
                self.own.note(text, "it steers CK itself");
            } else {
                self.own.words.push(word.clone());
            }
        }
        Ok(())
    }

    /// Variables of the environment count where no word says otherwise.
    fn look_around(&mut self, around: Surroundings<'_>) {
        for key in known_keys() {
            if let Some(value) = (around.variable)(key).filter(|value| !value.is_empty()) {
                self.settings.entry(key.to_owned()).or_insert(value);
            }
        }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }

    /// The first of several names that is set.
    fn first_of(&self, keys: &[&'static str]) -> Option<(&'static str, &str)> {
        keys.iter()
            .find_map(|&key| self.text(key).map(|text| (key, text)))
    }

    fn switch(&self, keys: &[&'static str]) -> Result<bool, DialectError> {
        match self.first_of(keys) {
            None => Ok(false),
            Some((key, value)) => truth(value).ok_or_else(|| wrong(key, value, "give yes or no")),
        }
    }

    fn count(&self, key: &str, least: u64, unsaid: u64) -> Result<u64, DialectError> {
        self.text(key).map_or(Ok(unsaid), |value| {
            number(key, value, least, "give a whole number of pictures")
        })
    }

    fn conclude(mut self, around: Surroundings<'_>) -> Result<(Vec<OsString>, Told), DialectError> {
        self.own.refuse(
            Dialect::Ck,
            &["--find-peak", "--sut", "--json", "--synthetic"],
        )?;
        self.check_fixed()?;
        let mut words = self.model()?;
        words.extend(self.pictures()?);
        let mut rest = self.nms()?;
        rest.extend(self.thresholds()?);
        rest.extend(self.load(around)?);
        words.extend(rest.into_iter().map(OsString::from));
        self.note_unused();
        words.append(&mut self.own.words);
        let told = Told {
            dialect: Dialect::Ck,
            model_name: MODEL.to_owned(),
            precision: None,
            named_by: None,
            ending: Ending::Ck,
            notes: self.own.notes,
        };
        Ok((words, told))
    }

    /// Settings that have one value here.
    fn check_fixed(&self) -> Result<(), DialectError> {
        for (key, only, expected) in [
            (
                "CK_METRIC_TYPE",
                "coco",
                "only COCO is computed here, as pycocotools does",
            ),
            (
                "CK_ENV_TENSORFLOW_MODEL_DATASET_TYPE",
                "coco",
                "CK's program knows coco alone",
            ),
        ] {
            match self.text(key) {
                Some(value) if !value.eq_ignore_ascii_case(only) => {
                    return Err(wrong(key, value, expected))
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The graph: detbench's own flag, a file of the environment, else that of the package's tags.
    fn model(&self) -> Result<Vec<OsString>, DialectError> {
        if self.own.has("--model") || self.own.has("--model-file") {
            return Ok(Vec::new());
        }
        if let Some(path) = self.graph_file() {
            if path.extension().is_none_or(|extension| extension != "onnx") {
                return Err(DialectError::OtherGraph {
                    flag: "the environment's graph",
                    path,
                });
            }
            return Ok(vec!["--model".into(), path.into()]);
        }
        let is_quantized = self.weights.as_deref().is_some_and(|tags| {
            let mut tags = tags.split(',');
            tags.any(|tag| tag == "quantized" || tag == "uint8")
        });
        let name = if is_quantized {
            format!("{MODEL}-int8")
        } else {
            MODEL.to_owned()
        };
        Ok(vec!["--model".into(), name.into()])
    }

    fn graph_file(&self) -> Option<PathBuf> {
        let root = Path::new(
            self.text("CK_ENV_TENSORFLOW_MODEL_ROOT")
                .unwrap_or_default(),
        );
        let of_mode = match self.mode_word().as_str() {
            "regular" => "CK_ENV_TENSORFLOW_MODEL_TFLITE_GRAPH_REGULAR_NMS",
            "fast" => "CK_ENV_TENSORFLOW_MODEL_TFLITE_GRAPH_FAST_NMS",
            _ => "CK_ENV_TENSORFLOW_MODEL_TFLITE_GRAPH_NO_NMS",
        };
        let graph = self.first_of(&["CK_ENV_ONNX_MODEL_ONNX_FILEPATH"]);
        let graph = graph.or_else(|| self.first_of(&[of_mode]));
        graph.map(|(_, file)| root.join(file))
    }

    fn pictures(&self) -> Result<Vec<OsString>, DialectError> {
        let mut words = Vec::new();
        for (key, flag) in [
            ("CK_ENV_DATASET_IMAGE_DIR", "--images"),
            ("CK_ENV_DATASET_ANNOTATIONS", "--annotations"),
        ] {
            if let (Some(path), false) = (self.text(key), self.own.has(flag)) {
                words.extend([OsString::from(flag), path.into()]);
            }
        }
        let skipped = self.count("CK_SKIP_IMAGES", 0, 0)?;
        if skipped > 0 && !self.own.has("--skip") {
            words.push(format!("--skip={skipped}").into());
        }
        if !self.own.has("--count") {
            let batches = self.count("CK_BATCH_COUNT", 1, 1)?;
            let pictures = batches.saturating_mul(self.count("CK_BATCH_SIZE", 1, 1)?);
            let pictures = self.count("CK_LOADGEN_DATASET_SIZE", 1, pictures)?;
            words.push(format!("--count={pictures}").into());
        }
        Ok(words)
    }

    fn mode_word(&self) -> String {
        self.text("USE_NMS")
            .unwrap_or("regular")
            .to_ascii_lowercase()
    }

    fn nms(&mut self) -> Result<Vec<String>, DialectError> {
        let mode = match self.mode_word().as_str() {
            "regular" => "regular",
            "fast" => "fast",
            "no" => {
                self.own.notes.push(
                    "USE_NMS=no names the graph without NMS, which is what detbench runs in any case; like CK's \
                     program for every word but `regular`, it then takes fast NMS."
                        .to_owned(),
                );
                "fast"
            }
            other => return Err(wrong("USE_NMS", other, "give regular, fast or no")),
        };
        let unsaid = !self.own.has("--nms");
        Ok(unsaid
            .then(|| format!("--nms={mode}"))
            .into_iter()
            .collect())
    }

    /// Settings of the op, which count where custom settings are asked for.
    fn thresholds(&mut self) -> Result<Vec<String>, DialectError> {
        const SCALES: [(char, &[&str]); 4] = [
            (
                'y',
                &["SCALE_Y", "Y_SCALE", "CK_ENV_TENSORFLOW_MODEL_SCALE_Y"],
            ),
            (
                'x',
                &["SCALE_X", "X_SCALE", "CK_ENV_TENSORFLOW_MODEL_SCALE_X"],
            ),
            (
                'h',
                &["SCALE_H", "H_SCALE", "CK_ENV_TENSORFLOW_MODEL_SCALE_H"],
            ),
            (
                'w',
                &["SCALE_W", "W_SCALE", "CK_ENV_TENSORFLOW_MODEL_SCALE_W"],
            ),
        ];
        const FLAGS: [(&str, &[&str]); 5] = [
            (
                "--score-threshold",
                &[
                    "NMS_SCORE_THRESHOLD",
                    "CK_ENV_TENSORFLOW_MODEL_NMS_SCORE_THRESHOLD",
                ],
            ),
            (
                "--iou-threshold",
                &[
                    "NMS_IOU_THRESHOLD",
                    "CK_ENV_TENSORFLOW_MODEL_NMS_IOU_THRESHOLD",
                ],
            ),
            (
                "--max-detections",
                &["MAX_DETECTIONS", "CK_ENV_TENSORFLOW_MODEL_MAX_DETECTIONS"],
            ),
            ("--detections-per-class", &["DETECTIONS_PER_CLASS"]),
            (
                "--max-classes-per-detection",
                &["MAX_CLASSES_PER_DETECTION"],
            ),
        ];
        let keys = FLAGS.iter().map(|(_, keys)| keys[0]);
        let keys = keys.chain(SCALES.iter().flat_map(|(_, keys)| keys[..2].to_vec()));
        if !self.switch(&["USE_CUSTOM_NMS_SETTINGS", "CUSTOM_MODEL_SETTINGS"])? {
            for key in keys.chain(["NUM_CLASSES"]) {
                if self.text(key).is_some() {
                    self.own.note(
                        key,
                        "CK reads it only with USE_CUSTOM_NMS_SETTINGS=yes (CUSTOM_MODEL_SETTINGS in older versions)",
                    );
                }
            }
            return Ok(Vec::new());
        }
        if self.text("NUM_CLASSES").is_some() {
            self.own.note(
                "NUM_CLASSES",
                "the model's scores say how many classes there are",
            );
        }
        let mut words = Vec::new();
        for (flag, keys) in FLAGS {
            if let (Some(value), false) = (self.setting(keys)?, self.own.has(flag)) {
                words.push(format!("{flag}={value}"));
            }
        }
        let is_fast = self.mode_word() != "regular";
        let classes = self.setting(&["MAX_CLASSES_PER_DETECTION"])?;
        if let (true, Some(classes)) = (is_fast, classes.filter(|text| text != "1")) {
            let expected = "with fast NMS CK takes 1 alone";
            return Err(wrong("MAX_CLASSES_PER_DETECTION", &classes, expected));
        }
        let mut scales = Vec::new();
        for (axis, keys) in SCALES {
            scales.extend(self.setting(keys)?.map(|value| format!("{axis}={value}")));
        }
        if !scales.is_empty() && !self.own.has("--box-scales") {
            words.push(format!("--box-scales={}", scales.join(",")));
        }
        Ok(words)
    }

    /// A number that overrides the model's; a negative one leaves it.
    fn setting(&self, keys: &[&'static str]) -> Result<Option<String>, DialectError> {
        let Some((key, value)) = self.first_of(keys) else {
            return Ok(None);
        };
        match value.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok((number >= 0.0).then(|| value.to_owned())),
            _ => Err(wrong(
                key,
                value,
                "give a number; a negative one keeps the model's own",
            )),
        }
    }

    /// Accuracy with CK's summary, unless LoadGen's performance is asked for.
    fn load(&mut self, around: Surroundings<'_>) -> Result<Vec<String>, DialectError> {
        let mut words = Vec::new();
        if !self.own.has("--instances") {
            words.push("--instances=1".to_owned());
        }
        if let (Some(threads), false) = (
            self.text("CK_HOST_CPU_NUMBER_OF_PROCESSORS"),
            self.own.has("--intra-threads"),
        ) {
            let key = "CK_HOST_CPU_NUMBER_OF_PROCESSORS";
            let asked = number(key, threads, 1, "give a number of threads above zero")?;
            let cores = (around.instances)("1").map_or(asked, |cores| cores as u64);
            if asked > cores {
                self.own.notes.push(format!(
                    "{key}={asked} is more than the {cores} cores that this process may use: {cores} are taken."
                ));
            }
            words.push(format!("--intra-threads={}", asked.min(cores)));
        }
        let mode = self.text("CK_LOADGEN_MODE").unwrap_or("AccuracyOnly");
        match mode {
            "AccuracyOnly" if self.own.has("--benchmark-only") => {}
            "AccuracyOnly" => {
                let flags = ["--accuracy-only", "--ck-summary"];
                let unsaid = flags.into_iter().filter(|flag| !self.own.has(flag));
                words.extend(unsaid.map(str::to_owned));
            }
            "PerformanceOnly" => {
                let scenario = self.text("CK_LOADGEN_SCENARIO").unwrap_or("SingleStream");
                words.push(format!("--mode={mode}"));
                if !self.own.has("--scenario") {
                    words.push(format!("--scenario={scenario}"));
                }
            }
            other => {
                let expected = "give AccuracyOnly or PerformanceOnly";
                return Err(wrong("CK_LOADGEN_MODE", other, expected));
            }
        }
        Ok(words)
    }

    fn note_unused(&mut self) {
        let given: Vec<String> = self.settings.keys().cloned().collect();
        for key in given {
            if let Some((_, why)) = UNUSED.iter().find(|(unused, _)| *unused == key) {
                self.own.note(&key, why);
            } else if !known_keys().contains(&key.as_str()) {
                self.own.note(&key, "it is another package's");
            }
        }
    }
}

/// Refuses a key that nobody knows; other packages' `CK_ENV_…` are nobody's business.
fn check_key(key: &str) -> Result<(), DialectError> {
    let known = known_keys();
    let foreign = key.starts_with("CK_ENV_") && !key.starts_with("CK_ENV_TENSORFLOW_MODEL_");
    if foreign || known.contains(&key) {
        return Ok(());
    }
    Err(DialectError::UnknownSetting {
        key: key.to_owned(),
        nearest: nearest(key, known).map(str::to_owned),
    })
}

fn known_keys() -> Vec<&'static str> {
    let unused = UNUSED.iter().map(|(key, _)| *key);
    MEANT
        .into_iter()
        .chain(OF_THE_MODEL)
        .chain(unused)
        .collect()
}

#[cfg(test)]
mod tests;
