//! The float and the int8 variant of a model: which file or name is meant.
//!
//! A known model `NAME` has its int8 variant under the known name `NAME-int8`, or in a file `NAME-int8.onnx` in one of
//! the folders in which models are looked for; a file `FILE.onnx` has it beside itself in `FILE-int8.onnx`. What a graph
//! computes in decides, not what it is called.

use std::path::{Path, PathBuf};

use super::description::{ModelDescription, Precision};
use super::known;
use super::resolve::is_file;

/// What ends the names of int8 variants.
const INT8: &str = "-int8";

/// Where variants are looked for.
#[derive(Clone, Copy)]
pub struct Variants<'a> {
    /// The arithmetic of a graph's layers; `None` for a file that cannot be read.
    pub precision: &'a dyn Fn(&Path) -> Option<Precision>,
    /// Folders in which the files of a named model are looked for.
    pub search: &'a [PathBuf],
}

/// Why there is no such variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VariantError {
    /// One of several files cannot be read.
    #[error("--model {model}: the file cannot be read")]
    Unreadable {
        /// As it was given.
        model: String,
    },
    /// Several models, none of which has the precision.
    #[error("--model-to-eval {precision}: none of the models given with --model computes its convolutions in {precision}; give one that does")]
    NoneFits {
        /// The precision.
        precision: &'static str,
    },
    /// The float model is here, and no int8 one that belongs to it.
    #[error("{model} has no int8 variant here: make it with `detbench quantize {model} -o {} --calibration DIR`, or give its file as well, --model {model} --model INT8.onnx", output.display())]
    NoInt8 {
        /// The float model, as it was given.
        model: String,
        /// The known model that would be its variant.
        known: Option<String>,
        /// Where a file would be found.
        output: PathBuf,
    },
    /// The int8 model is here, and no float one that belongs to it.
    #[error("{model} computes in int8 and has no float variant here: give its file as well, --model FLOAT.onnx --model {model}")]
    NoFloat {
        /// The int8 model, as it was given.
        model: String,
    },
}

impl Variants<'_> {
    /// What a model computes in: a file's layers say it, or the description of a known name; `None` where neither can be had.
    pub fn precision_of(&self, model: &str) -> Option<Precision> {
        if is_file(model) {
            (self.precision)(Path::new(model))
        } else {
            Some(known::find(model)?.precision)
        }
    }

    /// Of several models the first that computes in `wanted`.
    ///
    /// # Errors
    /// [`VariantError::Unreadable`], [`VariantError::NoneFits`].
    pub fn among<'m>(
        &self,
        models: &'m [String],
        wanted: Precision,
    ) -> Result<&'m str, VariantError> {
        let fits = |model: &&String| self.precision_of(model) == Some(wanted);
        if let Some(model) = models.iter().find(fits) {
            return Ok(model);
        }
        let unreadable = |model: &&String| self.precision_of(model).is_none();
        Err(match models.iter().find(unreadable) {
            Some(model) => VariantError::Unreadable {
                model: model.clone(),
            },
            None => VariantError::NoneFits {
                precision: wanted.name(),
            },
        })
    }

    /// The variant of one model. What is no known name and no readable file comes back as it is: whoever opens it says why.
    ///
    /// # Errors
    /// [`VariantError::NoInt8`], [`VariantError::NoFloat`].
    pub fn of(&self, model: &str, wanted: Precision) -> Result<String, VariantError> {
        match self.precision_of(model) {
            Some(found) if found != wanted => match (is_file(model), wanted) {
                (true, Precision::Int8) => self.int8_of_file(model),
                (true, Precision::Fp32) => self.float_of_file(model),
                (false, Precision::Int8) => self.int8_of_name(model),
                (false, Precision::Fp32) => float_of_name(model),
            },
            Some(_) | None => Ok(model.to_owned()),
        }
    }

    fn int8_of_file(&self, model: &str) -> Result<String, VariantError> {
        let output = with_stem(model, |stem| Some(format!("{stem}{INT8}")));
        let output = output.expect("every stem can be added to");
        if (self.precision)(&output) == Some(Precision::Int8) {
            return Ok(output.to_string_lossy().into_owned());
        }
        Err(VariantError::NoInt8 {
            model: model.to_owned(),
            known: None,
            output,
        })
    }

    fn float_of_file(&self, model: &str) -> Result<String, VariantError> {
        let float = with_stem(model, |stem| stem.strip_suffix(INT8).map(str::to_owned));
        let float = float.filter(|file| (self.precision)(file) == Some(Precision::Fp32));
        let float = float.map(|file| file.to_string_lossy().into_owned());
        float.ok_or_else(|| VariantError::NoFloat {
            model: model.to_owned(),
        })
    }

    fn int8_of_name(&self, model: &str) -> Result<String, VariantError> {
        let name = format!("{model}{INT8}");
        let known = known::find(&name);
        if known.as_ref().is_some_and(|known| self.is_here(known)) {
            return Ok(name);
        }
        let output = PathBuf::from(format!("{name}.onnx"));
        let mut own = self.search.iter().map(|folder| folder.join(&output));
        match own.find(|file| (self.precision)(file) == Some(Precision::Int8)) {
            Some(file) => Ok(file.to_string_lossy().into_owned()),
            None => Err(VariantError::NoInt8 {
                model: model.to_owned(),
                known: known.map(|known| known.name),
                output,
            }),
        }
    }

    fn is_here(&self, model: &ModelDescription) -> bool {
        let in_folder = |folder: &PathBuf| {
            let mut files = model.files.iter();
            files.any(|file| folder.join(&file.name).is_file())
        };
        self.search.iter().any(in_folder)
    }
}

/// `ssd-mobilenet-v1-int8-tflite` is a variant of `ssd-mobilenet-v1`.
fn float_of_name(model: &str) -> Result<String, VariantError> {
    let base = model.split(INT8).next().unwrap_or(model);
    let float = known::find(base).filter(|base| base.precision == Precision::Fp32);
    float
        .map(|base| base.name)
        .ok_or_else(|| VariantError::NoFloat {
            model: model.to_owned(),
        })
}

/// A file beside another, under a name made from its stem.
fn with_stem(model: &str, name: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let path = Path::new(model);
    let stem = name(&path.file_stem()?.to_string_lossy())?;
    let extension = path.extension().unwrap_or("onnx".as_ref());
    Some(path.with_file_name(stem).with_added_extension(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Graphs are what their names say; `gone.onnx` is not there.
    fn by_name(path: &Path) -> Option<Precision> {
        let name = path.file_name()?.to_str()?;
        let is_here =
            !name.contains("gone") && !name.contains("lonely-") && !path.starts_with("nowhere");
        is_here.then_some(if name.contains("int8") {
            Precision::Int8
        } else {
            Precision::Fp32
        })
    }

    fn variants(search: &[PathBuf]) -> Variants<'_> {
        Variants {
            precision: &by_name,
            search,
        }
    }

    #[test]
    fn of_several_models_the_first_that_fits_is_taken() {
        let models = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let of = variants(&[]);
        let both = models(&["a.onnx", "ssdlite-mobilenet-v2-int8"]);
        assert_eq!(of.among(&both, Precision::Fp32), Ok("a.onnx"));
        assert_eq!(
            of.among(&both, Precision::Int8),
            Ok("ssdlite-mobilenet-v2-int8")
        );
        let floats = models(&["a.onnx", "b.onnx"]);
        let error = of.among(&floats, Precision::Int8).unwrap_err().to_string();
        assert!(error.contains("none of the models"), "{error}");
        let gone = models(&["a.onnx", "gone.onnx"]);
        let error = of.among(&gone, Precision::Int8);
        let model = "gone.onnx".to_owned();
        assert_eq!(error, Err(VariantError::Unreadable { model }));
    }

    #[test]
    fn a_file_has_its_variant_beside_it() {
        let of = variants(&[]);
        for (model, wanted, found) in [
            ("m/a.onnx", Precision::Int8, "m/a-int8.onnx"),
            ("m/a-int8.onnx", Precision::Fp32, "m/a.onnx"),
            ("m/a.v2.onnx", Precision::Int8, "m/a.v2-int8.onnx"),
            ("m/a.onnx", Precision::Fp32, "m/a.onnx"),
            ("gone.onnx", Precision::Int8, "gone.onnx"),
        ] {
            assert_eq!(of.of(model, wanted).as_deref(), Ok(found), "{model}");
        }
        let error = of.of("m/lonely.onnx", Precision::Int8).unwrap_err();
        let expected = "detbench quantize m/lonely.onnx -o m/lonely-int8.onnx";
        assert!(error.to_string().contains(expected), "{error}");
        let error = of.of("m/int8_qdq.onnx", Precision::Fp32).unwrap_err();
        assert!(error.to_string().contains("no float variant"), "{error}");
    }

    #[test]
    fn a_known_name_has_a_known_variant_or_one_that_was_quantised() {
        let folder = tempfile::tempdir().unwrap();
        let search = [PathBuf::from("nowhere"), folder.path().to_owned()];
        let of = variants(&search);
        // What the stand-in finds in any other folder:
        let own = folder.path().join("ssd-resnet34-1200-int8.onnx");
        let found = of.of("ssd-resnet34-1200", Precision::Int8).unwrap();
        assert_eq!(Path::new(&found), own);
        std::fs::write(
            folder
                .path()
                .join("ssdlite_mobilenet_v2_coco_int8_qdq.onnx"),
            "",
        )
        .unwrap();
        let found = of.of("ssdlite-mobilenet-v2", Precision::Int8).unwrap();
        assert_eq!(found, "ssdlite-mobilenet-v2-int8");
        for (model, float) in [
            ("ssdlite-mobilenet-v2-int8", "ssdlite-mobilenet-v2"),
            ("ssd-mobilenet-v1-int8-tflite", "ssd-mobilenet-v1"),
            ("ssd-vgg16", "ssd-vgg16"),
            ("no-such-model", "no-such-model"),
        ] {
            assert_eq!(of.of(model, Precision::Fp32).as_deref(), Ok(float));
        }
    }

    #[test]
    fn a_float_model_alone_is_told_how_to_get_the_other() {
        let error = variants(&[]).of("ssd-resnet34-1200", Precision::Int8);
        assert_eq!(
            error.unwrap_err().to_string(),
            "ssd-resnet34-1200 has no int8 variant here: make it with `detbench quantize ssd-resnet34-1200 -o \
             ssd-resnet34-1200-int8.onnx --calibration DIR`, or give its file as well, --model ssd-resnet34-1200 --model INT8.onnx"
        );
    }
}
