//! The quanteval scripts of AIMET's model zoo: the float or the int8 variant of a model, scored.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::words::{flag_parts, number, truth, value_of, wrong, Own, BESIDE_SCORING};
use super::{Dialect, DialectError, Ending, Surroundings, Told, VocEvaluation};
use crate::model::description::Precision;
use crate::model::variant::{VariantError, Variants};

/// Configurations of the zoo, the model that is meant on COCO, and on VOC.
const CONFIGS: [(&str, &str, &str); 2] = [
    (
        "ssd_mobilenetv2_w8a8",
        "ssd-mobilenet-v2",
        "mb2-ssd-lite-voc",
    ),
    (
        "ssd_res50_w8a8",
        "ssd-resnet50-fpn-640",
        "ssd-resnet50-fpn-640",
    ),
];

/// Flags without a meaning here that take a value, and why they have none.
const UNUSED: [(&str, &str); 6] = [
    ("--model-checkpoint", "the ONNX file has its weights"),
    (
        "--TFRecord-file-pattern",
        "the data location is looked through",
    ),
    (
        "--quantsim-config-file",
        "the graph itself says what is quantised",
    ),
    ("--quantsim-output-dir", "nothing is quantised here"),
    ("--encodings-path", "the graph has its scales"),
    ("--seed", "nothing is drawn at random"),
];

/// AIMET's script scores one variant.
const BOTH: &str = "give fp32 or int8 with --compat aimet; the two side by side are detbench's own report, without --compat";

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
    wanted: Option<Precision>,
    config: Option<String>,
    dataset: Option<PathBuf>,
    annotations: Option<PathBuf>,
    /// `--model`, as often as it was given.
    models: Vec<String>,
}

impl Script {
    fn read(&mut self, words: &[OsString]) -> Result<(), DialectError> {
        let mut rest = words.iter().peekable();
        while let Some(word) = rest.next() {
            let Some((flag, inline)) = flag_parts(word) else {
                self.own.words.push(word.clone());
                continue;
            };
            let flag = flag.replace('_', "-");
            if flag == "--use-cuda" {
                let value = inline.or_else(|| {
                    let next = rest
                        .next_if(|next| next.to_str().is_some_and(|next| truth(next).is_some()))?;
                    Some(next.to_string_lossy().into_owned())
                });
                let text = value.map_or(flag.clone(), |value| format!("{flag} {value}"));
                self.own.note(&text, "models run on the CPU");
                continue;
            }
            if !is_scripts(&flag) {
                self.own.words.push(word.clone());
                continue;
            }
            let value = match inline {
                Some(value) => value,
                None => value_of(&flag, rest.next())?,
            };
            self.take(&flag, value)?;
        }
        Ok(())
    }

    fn take(&mut self, flag: &str, value: String) -> Result<(), DialectError> {
        match flag {
            "--model-to-eval" => {
                self.wanted = Some(match value.as_str() {
                    "fp32" => Precision::Fp32,
                    "int8" => Precision::Int8,
                    "both" => return Err(wrong(flag, &value, BOTH)),
                    _ => return Err(wrong(flag, &value, "give fp32 or int8")),
                });
            }
            "--model" => self.models.push(value),
            "--model-config" if CONFIGS.iter().any(|(name, ..)| *name == value) => {
                self.config = Some(value);
            }
            // The flag is detbench's own, too.
            "--model-config" => self
                .own
                .words
                .extend(["--model-config".into(), value.into()]),
            "--dataset-path" | "--dataset-dir" => self.dataset = Some(PathBuf::from(value)),
            "--annotation-json-file" => self.annotations = Some(PathBuf::from(value)),
            "--batch-size" => {
                let size = number(flag, &value, 1, "give a whole number above zero")?;
                if size > 1 {
                    self.own.note(
                        &format!("{flag} {size}"),
                        "accuracy is taken one picture at a time",
                    );
                }
            }
            "--eval-num-examples" => {
                let count = number(flag, &value, 1, "give a whole number above zero")?;
                self.own.words.push(format!("--count={count}").into());
            }
            "--num-workers" => {
                let workers = number(flag, &value, 0, "give a whole number")?;
                if workers > 0 {
                    self.own
                        .words
                        .push(format!("--preproc-threads={workers}").into());
                }
            }
            "--default-output-bw" | "--default-param-bw" if value == "8" => {}
            "--default-output-bw" | "--default-param-bw" => {
                return Err(wrong(flag, &value, "integer kernels compute in 8 bits"));
            }
            _ => {
                let why = UNUSED.iter().find(|(unused, _)| *unused == flag);
                let (_, why) = why.expect("is_scripts knows only these");
                self.own.note(&format!("{flag} {value}"), why);
            }
        }
        Ok(())
    }

    fn conclude(mut self, around: Surroundings<'_>) -> Result<(Vec<OsString>, Told), DialectError> {
        let dialect = Dialect::Aimet;
        self.own.refuse(dialect, &BESIDE_SCORING)?;
        let wanted = self.wanted.unwrap_or(Precision::Int8);
        if self.wanted.is_none() {
            self.own
                .notes
                .push("--model-to-eval is int8 unless said, as in AIMET's script.".to_owned());
        }
        let on_voc = self
            .dataset
            .as_ref()
            .is_some_and(|path| (around.is_voc)(path));
        let model = self.model(wanted, on_voc, around)?;
        let is_file = Path::new(&model).extension().is_some();
        let mut words: Vec<OsString> = vec!["--model".into(), model.clone().into()];
        words.extend(self.data()?);
        let (heading, summary) = match wanted {
            Precision::Fp32 => ("original model evaluating", "Original Model on FP32 device"),
            Precision::Int8 => (
                "quantized model evaluating",
                "Optimized Model on INT8 device",
            ),
        };
        let evaluation = VocEvaluation {
            heading: "Average Precision Per Class:",
            summary: Some(summary),
            ..VocEvaluation::default()
        };
        words.extend(super::accuracy_words(&self.own));
        words.append(&mut self.own.words);
        let told = Told {
            dialect,
            model_name: model,
            precision: Some((wanted, "--model-to-eval")),
            named_by: (!is_file).then_some(("--model", "--model FILE.onnx")),
            ending: Ending::Quanteval(heading, evaluation),
            notes: self.own.notes,
        };
        Ok((words, told))
    }

    /// Of several models the one that computes in the precision asked for; of one its variant.
    fn model(
        &self,
        wanted: Precision,
        on_voc: bool,
        around: Surroundings<'_>,
    ) -> Result<String, DialectError> {
        let variants = Variants {
            precision: around.precision,
            search: around.models,
        };
        if self.models.len() > 1 {
            return Ok(variants.among(&self.models, wanted)?.to_owned());
        }
        let config = self.config.as_deref().unwrap_or(CONFIGS[0].0);
        let of_config = CONFIGS.iter().find(|(name, ..)| *name == config);
        let (_, for_coco, for_voc) = of_config.expect("only known ones are kept");
        let named = self.models.first().map(String::as_str);
        let model = named.unwrap_or(if on_voc { for_voc } else { for_coco });
        Ok(match variants.of(model, wanted) {
            Ok(variant) => variant,
            Err(VariantError::NoInt8 {
                known: Some(known), ..
            }) => known,
            // Without that variant it is refused where names are, or by its layers.
            Err(_) => model.to_owned(),
        })
    }

    fn data(&self) -> Result<Vec<OsString>, DialectError> {
        let mut words: Vec<OsString> = Vec::new();
        match &self.dataset {
            Some(dataset) => words.extend(["--dataset".into(), dataset.into()]),
            None if self.own.has("--images") || self.own.has("--dataset") => {}
            None => {
                return Err(DialectError::Missing {
                    dialect: Dialect::Aimet,
                    flag: "--dataset-path",
                    expected: "a data set of COCO or Pascal VOC",
                })
            }
        }
        if let (Some(file), false) = (&self.annotations, self.own.has("--annotations")) {
            words.extend(["--annotations".into(), file.into()]);
        }
        words.extend(super::voc_rules(&VocEvaluation::default(), &self.own));
        Ok(words)
    }
}

fn is_scripts(flag: &str) -> bool {
    const MEANT: [&str; 11] = [
        "--model-to-eval",
        "--model",
        "--model-config",
        "--dataset-path",
        "--dataset-dir",
        "--annotation-json-file",
        "--batch-size",
        "--eval-num-examples",
        "--num-workers",
        "--default-output-bw",
        "--default-param-bw",
    ];
    MEANT.contains(&flag) || UNUSED.iter().any(|(unused, _)| *unused == flag)
}

#[cfg(test)]
mod tests {
    use super::super::tests_around::{around, texts};
    use super::*;

    fn read(line: &str) -> Result<(Vec<String>, Told), String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let (words, told) = translate(&words, around()).map_err(|error| error.to_string())?;
        Ok((texts(&words), told))
    }

    const COCO: &str = "--dataset-path coco --annotation-json-file instances_val2017.json";

    #[test]
    fn the_published_command_scores_the_variant_asked_for() {
        for (which, model, heading) in [
            ("fp32", "ssd-mobilenet-v2", "original model evaluating"),
            (
                "int8",
                "ssd-mobilenet-v2-int8",
                "quantized model evaluating",
            ),
        ] {
            let (words, told) = read(&format!("{COCO} --model-to-eval {which}")).unwrap();
            let expected = [
                "--model",
                model,
                "--dataset",
                "coco",
                "--annotations",
                "instances_val2017.json",
                "--voc-style=ptssd",
                "--points=11",
                "--accuracy-only",
            ];
            assert_eq!(words, expected);
            assert!(matches!(told.ending, Ending::Quanteval(found, _) if found == heading));
            assert_eq!(told.precision.unwrap().0.name(), which);
        }
    }

    #[test]
    fn of_two_files_the_one_whose_layers_fit_is_taken() {
        let files = format!("{COCO} --model a_fp32.onnx --model=a_int8.onnx");
        for which in ["fp32", "int8"] {
            let (words, _) = read(&format!("{files} --model-to-eval {which}")).unwrap();
            assert_eq!(words[1], format!("a_{which}.onnx"));
        }
        let line = format!("{COCO} --model a_fp32.onnx --model b_fp32.onnx --model-to-eval int8");
        assert!(read(&line).unwrap_err().contains("none of the models"));
        let line = format!("{COCO} --model a_fp32.onnx --model none --model-to-eval int8");
        assert!(read(&line).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn a_known_name_gives_its_variant_and_a_file_stays() {
        let named = format!("{COCO} --model ssdlite-mobilenet-v2");
        let (words, _) = read(&format!("{named} --model-to-eval int8")).unwrap();
        assert_eq!(words[1], "ssdlite-mobilenet-v2-int8");
        let (words, _) = read(&format!("{named}-int8 --model-to-eval fp32")).unwrap();
        assert_eq!(words[1], "ssdlite-mobilenet-v2");
        let (words, told) = read(&format!("{COCO} --model own.onnx")).unwrap();
        assert_eq!(words[1], "own.onnx");
        assert!(told.notes[0].contains("int8 unless said"));
        assert!(told.named_by.is_none());
    }

    #[test]
    fn the_torch_scripts_words_mean_voc() {
        let line = "--model-config ssd_mobilenetv2_w8a8 --dataset-path voc --model-to-eval fp32 \
                    --default-output-bw 8 --use-cuda False";
        let (words, told) = read(line).unwrap();
        assert_eq!(words[1], "mb2-ssd-lite-voc");
        let Ending::Quanteval(_, evaluation) = told.ending else {
            panic!("{:?}", told.ending)
        };
        assert_eq!(evaluation.summary, Some("Original Model on FP32 device"));
        assert_eq!(told.notes.len(), 1, "{:?}", told.notes);
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence() {
        for (line, expected) in [
            ("--model-to-eval int8", "needs --dataset-path"),
            ("--model-to-eval both", "side by side"),
            ("--model-to-eval fp16", "fp32 or int8"),
            ("--default-param-bw 4", "8 bits"),
            ("--batch-size 0", "above zero"),
            ("--benchmark-only", "exclude each other"),
        ] {
            let told = read(line).unwrap_err();
            assert!(told.contains(expected), "{line}: {told}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_noted() {
        let line = format!(
            "{COCO} --model-to-eval int8 --model-checkpoint m.ckpt --TFRecord-file-pattern coco_val* \
             --batch-size 8 --use-cuda --quantsim-output-dir q"
        );
        assert_eq!(read(&line).unwrap().1.notes.len(), 5);
    }
}
