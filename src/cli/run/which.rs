//! Which model a run measures, or which two side by side.

use std::path::Path;

use clap::{Args, ValueEnum};

use super::subject::{precision_of_graph, search_folders};
use crate::cli::detector_args::ModelArgs;
use crate::cli::failure::{Blame, Failure};
use crate::model::description::Precision;
use crate::model::known;
use crate::model::variant::Variants;

const ON_WHAT: &str = "On which model and pictures";

/// Which model, or which two.
#[derive(Debug, Clone, Default, Args)]
pub struct ModelsArgs {
    /// A known model or an ONNX file; given twice, the two side by side, or that one which --model-to-eval asks for
    /// [default: ssdlite-mobilenet-v2]
    #[arg(long, value_name = "NAME|FILE.onnx", help_heading = ON_WHAT)]
    pub model: Vec<String>,
    /// The ONNX file of the model that --model names, where it has another name or lies elsewhere
    #[arg(long, value_name = "FILE.onnx", requires = "model", help_heading = ON_WHAT)]
    pub model_file: Option<String>,
    /// The model file that describes an ONNX file; of two models both
    #[arg(long, value_name = "NAME|FILE.toml", help_heading = ON_WHAT)]
    pub model_config: Option<String>,
    /// The float or the int8 variant of the model (NAME and NAME-int8, FILE.onnx and FILE-int8.onnx, or of two files
    /// the one that computes so), or both side by side
    #[arg(long, value_enum, value_name = "WHICH", help_heading = ON_WHAT)]
    pub model_to_eval: Option<ModelToEval>,
}

/// `--model-to-eval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModelToEval {
    /// The float variant.
    Fp32,
    /// The int8 variant.
    Int8,
    /// First the float one, then the int8 one, in turns.
    Both,
}

impl ModelToEval {
    /// The one precision that is asked for; `None` for both.
    pub const fn precision(self) -> Option<Precision> {
        match self {
            Self::Fp32 => Some(Precision::Fp32),
            Self::Int8 => Some(Precision::Int8),
            Self::Both => None,
        }
    }
}

/// What is to be measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// One model.
    One(ModelArgs),
    /// Two, side by side.
    Two([ModelArgs; 2]),
}

impl ModelsArgs {
    /// The model or the two that the flags mean.
    ///
    /// # Errors
    /// Three models and more, twice the same, and a variant that is not here.
    pub fn which(&self) -> Result<Which, Failure> {
        let search = search_folders();
        self.choose(Variants {
            precision: &precision_of_graph,
            search: &search,
        })
    }

    fn choose(&self, variants: Variants<'_>) -> Result<Which, Failure> {
        let one = |model: Option<String>| ModelArgs {
            model,
            model_file: self.model_file.clone(),
            model_config: self.model_config.clone(),
        };
        let models = self.model.as_slice();
        if let [_, _, _, ..] = models {
            return Err(Failure::usage(format!(
                "--model is given {} times: give one model, or two to have them side by side",
                models.len()
            )));
        }
        self.refuse_model_file()?;
        let Some(wanted) = self.model_to_eval else {
            return Ok(match models {
                [first, second] => {
                    Which::Two(different(first, second)?.map(|model| one(Some(model))))
                }
                _ => Which::One(one(models.first().cloned())),
            });
        };
        let variant = |wanted| match models {
            [_, _, ..] => variants.among(models, wanted).map(str::to_owned),
            _ => variants.of(
                models.first().map_or(known::DEFAULT, String::as_str),
                wanted,
            ),
        };
        if let Some(wanted) = wanted.precision() {
            return Ok(Which::One(one(Some(variant(wanted).or_usage()?))));
        }
        let float = variant(Precision::Fp32).or_usage()?;
        let int8 = variant(Precision::Int8).or_usage()?;
        if models.len() < 2 && float == int8 {
            // No known name and no readable file: whoever opens it says why.
            return Ok(Which::One(one(Some(float))));
        }
        let two = different(&float, &int8)?;
        Ok(Which::Two(two.map(|model| one(Some(model)))))
    }

    /// `--model-file` says where one model's file is.
    fn refuse_model_file(&self) -> Result<(), Failure> {
        let why = match (self.model.as_slice(), self.model_to_eval) {
            ([_, _, ..], _) => "two models",
            (_, Some(_)) => "--model-to-eval",
            (_, None) => return Ok(()),
        };
        match &self.model_file {
            None => Ok(()),
            Some(file) => Err(Failure::usage(format!(
                "--model-file and {why} exclude each other: give the files themselves, such as --model {file}"
            ))),
        }
    }
}

/// Refuses to compare a model with itself.
fn different(first: &str, second: &str) -> Result<[String; 2], Failure> {
    let whole = |path: &str| Path::new(path).canonicalize().ok();
    let same = first == second || whole(first).is_some_and(|file| whole(second) == Some(file));
    if same {
        return Err(Failure::usage(format!(
            "{first} and {second} are the same model: give another one to compare it with"
        )));
    }
    Ok([first.to_owned(), second.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(models: &[&str], which: Option<ModelToEval>) -> Result<Vec<String>, String> {
        let args = ModelsArgs {
            model: models.iter().map(|&model| model.to_owned()).collect(),
            model_to_eval: which,
            ..ModelsArgs::default()
        };
        let by_name = |path: &Path| {
            let is_int8 = path.to_string_lossy().contains("int8");
            let precision = [Precision::Fp32, Precision::Int8][usize::from(is_int8)];
            (!path.starts_with("gone")).then_some(precision)
        };
        let search = ["here".into()];
        let variants = Variants {
            precision: &by_name,
            search: &search,
        };
        let name = |model: ModelArgs| model.model.unwrap_or_default();
        match args.choose(variants) {
            Ok(Which::One(model)) => Ok(vec![name(model)]),
            Ok(Which::Two(models)) => Ok(models.map(name).into()),
            Err(failure) => Err(failure.to_string()),
        }
    }

    #[test]
    fn one_model_is_one_and_two_are_side_by_side() {
        assert_eq!(asked(&[], None).unwrap(), [""]);
        assert_eq!(asked(&["a.onnx"], None).unwrap(), ["a.onnx"]);
        let two = asked(&["b.onnx", "a.onnx"], None).unwrap();
        assert_eq!(two, ["b.onnx", "a.onnx"]);
    }

    #[test]
    fn a_variant_is_picked_by_what_it_computes_in() {
        use ModelToEval::{Both, Fp32, Int8};
        let files = ["a-int8.onnx", "b.onnx"];
        assert_eq!(asked(&files, Some(Fp32)).unwrap(), ["b.onnx"]);
        assert_eq!(asked(&files, Some(Int8)).unwrap(), ["a-int8.onnx"]);
        assert_eq!(
            asked(&files, Some(Both)).unwrap(),
            ["b.onnx", "a-int8.onnx"]
        );
        assert_eq!(
            asked(&["b.onnx"], Some(Both)).unwrap(),
            ["b.onnx", "b-int8.onnx"]
        );
        assert_eq!(
            asked(&["gone/b.onnx"], Some(Both)).unwrap(),
            ["gone/b.onnx"]
        );
        // The default model has variants, too.
        let default = asked(&[], Some(Both)).unwrap();
        assert_eq!(
            default,
            [known::DEFAULT, "here/ssdlite-mobilenet-v2-int8.onnx"]
        );
    }

    #[test]
    fn what_makes_no_comparison_is_refused_in_a_sentence() {
        use ModelToEval::Both;
        for (models, which, expected) in [
            (&["a", "b", "c"][..], None, "given 3 times"),
            (&["a.onnx", "a.onnx"], None, "the same model"),
            (
                &["a.onnx", "b.onnx"],
                Some(Both),
                "computes its convolutions in int8",
            ),
            (&["gone/a.onnx", "b.onnx"], Some(Both), "cannot be read"),
        ] {
            let refused = asked(models, which).unwrap_err();
            assert!(refused.contains(expected), "{models:?}: {refused}");
        }
    }
}
