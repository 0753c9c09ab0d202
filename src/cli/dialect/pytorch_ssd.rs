//! `eval_ssd.py` of pytorch-ssd: average precision on Pascal VOC, class by class.

use std::ffi::OsString;
use std::path::PathBuf;

use super::words::{flag_parts, truth, value_of, wrong, Own, BESIDE_SCORING};
use super::{Dialect, DialectError, Ending, Surroundings, Told};
use crate::accuracy::voc::CLASSES;

/// Networks of pytorch-ssd that have a model file here.
const NETS: [(&str, &str); 1] = [("mb2-ssd-lite", "mb2-ssd-lite-voc")];

/// What the script takes as `--net` and has no model file here.
const OTHER_NETS: [&str; 6] = [
    "vgg16-ssd",
    "mb1-ssd",
    "mb1-ssd-lite",
    "sq-ssd-lite",
    "mb3-large-ssd-lite",
    "mb3-small-ssd-lite",
];

/// How detections on VOC are written down and scored.
#[derive(Debug, Clone, PartialEq)]
pub struct VocEvaluation {
    /// Where `det_test_CLASS.txt` are written.
    pub eval_dir: PathBuf,
    /// The classes in the order in which they are scored, without background.
    pub classes: Vec<String>,
    /// A detection finds an object when they overlap more than this.
    pub least_iou: f64,
    /// Eleven points, as in 2007, or the area under the curve.
    pub eleven_points: bool,
    /// The line over the classes.
    pub heading: &'static str,
    /// What the summary line calls the model, for scripts that end in one.
    pub summary: Option<&'static str>,
}

impl Default for VocEvaluation {
    /// As the script does it unless told otherwise.
    fn default() -> Self {
        Self {
            eval_dir: PathBuf::from("eval_results"),
            classes: CLASSES.map(str::to_owned).into(),
            least_iou: 0.5,
            eleven_points: true,
            heading: "Average Precision Per-class:",
            summary: None,
        }
    }
}

/// Translates the words after `run`.
///
/// # Errors
/// [`DialectError`].
pub fn translate(
    words: &[OsString],
    around: Surroundings<'_>,
) -> Result<(Vec<OsString>, Told), DialectError> {
    let mut script = Script::default();
    script.read(words)?;
    script.conclude(around)
}

/// What the words say.
#[derive(Debug, Default)]
struct Script {
    own: Own,
    net: Option<String>,
    trained_model: Option<PathBuf>,
    dataset: Option<PathBuf>,
    label_file: Option<PathBuf>,
    eval_dir: Option<PathBuf>,
    least_iou: Option<f64>,
    eleven_points: Option<bool>,
    width: Option<f64>,
}

impl Script {
    fn read(&mut self, words: &[OsString]) -> Result<(), DialectError> {
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let Some((flag, inline)) = flag_parts(word).filter(|(flag, _)| is_scripts(flag)) else {
                self.own.words.push(word.clone());
                continue;
            };
            let value = match inline {
                Some(value) => value,
                None => value_of(flag, rest.next())?,
            };
            self.take(flag, value)?;
        }
        Ok(())
    }

    fn take(&mut self, flag: &str, value: String) -> Result<(), DialectError> {
        let yes_no = || truth(&value).ok_or_else(|| wrong(flag, &value, "give True or False"));
        let number = || {
            let number = value.parse::<f64>().ok();
            number.filter(|number| number.is_finite())
        };
        match flag.trim_start_matches('-').replace('-', "_").as_str() {
            "net" => self.net = Some(value),
            "trained_model" => self.trained_model = Some(PathBuf::from(value)),
            "dataset" => self.dataset = Some(PathBuf::from(value)),
            "dataset_type" if value == "voc" => {}
            "dataset_type" => {
                return Err(wrong(flag, &value, "only voc is scored here"));
            }
            "label_file" => self.label_file = Some(PathBuf::from(value)),
            "eval_dir" => self.eval_dir = Some(PathBuf::from(value)),
            "use_2007_metric" => self.eleven_points = Some(yes_no()?),
            "nms_method" if value == "hard" => {}
            "nms_method" if value == "soft" => {
                let expected = "soft NMS is not built; the published figures are of hard";
                return Err(wrong(flag, &value, expected));
            }
            "nms_method" => return Err(wrong(flag, &value, "give hard")),
            "iou_threshold" => {
                let share = number().filter(|share| (0.0..=1.0).contains(share));
                let expected = "give the overlap from which an object is found, from 0 to 1";
                self.least_iou = Some(share.ok_or_else(|| wrong(flag, &value, expected))?);
            }
            "mb2_width_mult" => {
                let width = number().filter(|width| *width > 0.0);
                let expected = "give a number above zero, such as 1.0";
                self.width = Some(width.ok_or_else(|| wrong(flag, &value, expected))?);
            }
            _ => self
                .own
                .note(&format!("{flag} {value}"), "models run on the CPU"),
        }
        Ok(())
    }

    fn conclude(mut self, around: Surroundings<'_>) -> Result<(Vec<OsString>, Told), DialectError> {
        let dialect = Dialect::PytorchSsd;
        self.own.refuse(dialect, &BESIDE_SCORING)?;
        let Some(dataset) = self.dataset.clone() else {
            return Err(DialectError::Missing {
                dialect,
                flag: "--dataset",
                expected: "a folder of Pascal VOC, with Annotations, ImageSets and JPEGImages",
            });
        };
        let evaluation = self.evaluation(around)?;
        let mut words = self.model()?;
        words.extend(["--dataset".into(), dataset.into()]);
        words.extend(super::voc_rules(&evaluation, &self.own));
        words.extend(super::accuracy_words(&self.own));
        words.append(&mut self.own.words);
        let told = Told {
            dialect,
            model_name: self.net.unwrap_or_else(|| NETS[0].0.to_owned()),
            precision: None,
            named_by: self
                .trained_model
                .is_none()
                .then_some(("--net", "--trained_model FILE.onnx")),
            ending: Ending::Voc(evaluation),
            notes: self.own.notes,
        };
        Ok((words, told))
    }

    fn evaluation(&self, around: Surroundings<'_>) -> Result<VocEvaluation, DialectError> {
        let mut evaluation = VocEvaluation::default();
        if let Some(path) = &self.label_file {
            let unreadable = || DialectError::Unreadable {
                flag: "--label_file",
                path: path.clone(),
            };
            let lines = (around.lines)(path).ok_or_else(unreadable)?;
            let names = lines.iter().map(|line| line.trim());
            // The first class of the script is background, whatever it is called.
            let names = names.filter(|name| !name.is_empty()).skip(1);
            evaluation.classes = names.map(str::to_owned).collect();
            if evaluation.classes.is_empty() {
                let expected = "the file needs a line for background and one for each class";
                return Err(wrong("--label_file", &path.to_string_lossy(), expected));
            }
        }
        if let Some(folder) = &self.eval_dir {
            evaluation.eval_dir.clone_from(folder);
        }
        evaluation.least_iou = self.least_iou.unwrap_or(evaluation.least_iou);
        evaluation.eleven_points = self.eleven_points.unwrap_or(evaluation.eleven_points);
        Ok(evaluation)
    }

    /// The graph: the one given, else that of the network's name.
    fn model(&mut self) -> Result<Vec<OsString>, DialectError> {
        if self.own.has("--model") {
            return Ok(Vec::new());
        }
        if let Some(path) = &self.trained_model {
            if path.extension().is_none_or(|extension| extension != "onnx") {
                return Err(DialectError::OtherGraph {
                    flag: "--trained_model",
                    path: path.clone(),
                });
            }
            if self.width.is_some() {
                self.own.note("--mb2_width_mult", "the graph has its width");
            }
            return Ok(vec!["--model".into(), path.clone().into()]);
        }
        let net = self.net.as_deref().unwrap_or(NETS[0].0);
        if self.width.is_some_and(|width| (width - 1.0).abs() > 1e-9) {
            let expected = "by name only the network of width 1.0 is known; pass another with --trained_model FILE.onnx";
            let width = self.width.unwrap_or_default().to_string();
            return Err(wrong("--mb2_width_mult", &width, expected));
        }
        match NETS.iter().find(|(known, _)| *known == net) {
            Some((_, ours)) => Ok(vec!["--model".into(), (*ours).into()]),
            None if OTHER_NETS.contains(&net) => Err(wrong(
                "--net",
                net,
                "only mb2-ssd-lite is known by name; pass this one as ONNX with --trained_model FILE.onnx and its model file FILE.toml beside it",
            )),
            None => Err(DialectError::UnknownNet {
                flag: "--net",
                name: net.to_owned(),
                known: "mb2-ssd-lite",
            }),
        }
    }
}

/// The script's flags, written with `_` or `-`; `--iou-threshold` with `-` is detbench's own.
fn is_scripts(flag: &str) -> bool {
    const FLAGS: [&str; 11] = [
        "--net",
        "--trained-model",
        "--dataset",
        "--dataset-type",
        "--label-file",
        "--eval-dir",
        "--use-2007-metric",
        "--use-cuda",
        "--nms-method",
        "--iou-threshold",
        "--mb2-width-mult",
    ];
    flag != "--iou-threshold" && FLAGS.contains(&flag.replace('_', "-").as_str())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::tests_around::{around, texts};
    use super::*;

    fn read(line: &str) -> Result<(Vec<String>, Told), String> {
        let lines = |path: &Path| {
            let labels = ["BACKGROUND", "cat", " dog", ""];
            (path == Path::new("labels.txt")).then(|| labels.map(str::to_owned).to_vec())
        };
        let around = Surroundings {
            lines: &lines,
            ..around()
        };
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let (words, told) = translate(&words, around).map_err(|error| error.to_string())?;
        Ok((texts(&words), told))
    }

    fn evaluation(line: &str) -> VocEvaluation {
        match read(line).unwrap().1.ending {
            Ending::Voc(evaluation) => evaluation,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_published_command_scores_voc_with_the_known_network() {
        let line = "--net mb2-ssd-lite --dataset ~/VOC2007 --label_file labels.txt --eval_dir out --use_cuda False";
        let (words, told) = read(line).unwrap();
        assert_eq!(words[..2], ["--model", "mb2-ssd-lite-voc"]);
        assert!(words.contains(&"--accuracy-only".to_owned()), "{words:?}");
        assert_eq!(told.notes.len(), 1, "{:?}", told.notes);
        let asked = evaluation(line);
        assert_eq!(asked.classes, ["cat", "dog"]);
        assert_eq!(asked.eval_dir, Path::new("out"));
        assert!(asked.eleven_points);
    }

    #[test]
    fn the_scripts_iou_is_the_evaluations_and_ours_stays_nms() {
        let line = "--net=mb2-ssd-lite --dataset v --iou_threshold 0.6 --use_2007_metric=false --iou-threshold 0.4";
        let asked = evaluation(line);
        assert!((asked.least_iou - 0.6).abs() < 1e-12 && !asked.eleven_points);
        assert_eq!(asked.classes.len(), 20);
        let (words, _) = read(line).unwrap();
        assert_eq!(words[words.len() - 2..], ["--iou-threshold", "0.4"]);
    }

    #[test]
    fn a_trained_model_is_an_onnx_file() {
        let (words, told) =
            read("--net mb1-ssd --dataset v --trained_model m.onnx --mb2_width_mult 0.5").unwrap();
        assert_eq!(words[..2], ["--model", "m.onnx"]);
        assert_eq!(told.notes.len(), 1);
        let refused = read("--net mb2-ssd-lite --dataset v --trained_model models/mb2.pth");
        assert!(refused.unwrap_err().contains("docs/models.md"));
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence() {
        for (line, expected) in [
            ("--net mb2-ssd-lite", "needs --dataset"),
            ("--net mb1-ssd --dataset v", "only mb2-ssd-lite"),
            ("--net mb9 --dataset v", "known are mb2-ssd-lite"),
            ("--dataset v --dataset_type open_images", "only voc"),
            ("--dataset v --nms_method soft", "soft NMS is not built"),
            ("--dataset v --iou_threshold 2", "from 0 to 1"),
            ("--dataset v --use_2007_metric maybe", "True or False"),
            ("--dataset v --mb2_width_mult 0.5", "width 1.0"),
            ("--dataset v --label_file none.txt", "cannot be read"),
            ("--dataset v --benchmark-only", "exclude"),
            ("--dataset v --net", "needs a value"),
        ] {
            let told = read(line).unwrap_err();
            assert!(told.contains(expected), "{line}: {told}");
        }
    }
}
