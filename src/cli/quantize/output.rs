//! The files that a quantisation leaves: the network, and the model file beside it.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::pictures::CalibrationFolder;
use crate::cli::failure::{Blame, Failure};
use crate::cli::new_file::NewFile;
use crate::cli::run::Subject;
use crate::library::preprocessing::ElementType;
use crate::model::description::{Anchors, ModelFile, Outputs, Precision};
use crate::model::onnx::proto::{ModelProto, StringStringEntryProto};
use crate::model::ModelDescription;
use crate::quantise::{FirstLayers, Recipe};

/// Says in the file itself what it was made from and how.
pub fn labelled(
    mut model: ModelProto,
    subject: &Subject,
    folder: &CalibrationFolder,
    recipe: &Recipe,
) -> Result<ModelProto, Failure> {
    let settings = serde_json::to_string(recipe).or_environment()?;
    let hash = |text: &str| format!("{:x}", Sha256::digest(text.as_bytes()));
    let list: Vec<&str> = folder.calibration_names().collect();
    for (key, value) in [
        ("detbench.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("detbench.source_sha256", subject.sha256.clone()),
        ("detbench.settings_sha256", hash(&settings)),
        ("detbench.calibration_sha256", hash(&list.join("\n"))),
        ("detbench.settings", settings),
    ] {
        model.metadata_props.retain(|one| one.key != key);
        model.metadata_props.push(StringStringEntryProto {
            key: key.to_owned(),
            value,
        });
    }
    Ok(model)
}

/// Writes both files.
pub fn keep(
    mut onnx: NewFile,
    mut toml: NewFile,
    bytes: &[u8],
    subject: &Subject,
    output: &Path,
    recipe: &Recipe,
    verb: &str,
) -> Result<(), Failure> {
    let sha256 = format!("{:x}", Sha256::digest(bytes));
    let description = describe(subject, output, sha256, recipe, verb);
    onnx.write(bytes).or_environment()?;
    toml.write(description.to_toml().as_bytes())
        .or_environment()?;
    toml.persist().or_environment()?;
    onnx.persist().or_environment()?;
    Ok(())
}

/// The float model's description with what is other now.
fn describe(
    subject: &Subject,
    output: &Path,
    sha256: String,
    recipe: &Recipe,
    verb: &str,
) -> ModelDescription {
    let mut own = subject.description.clone();
    let name = output
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    own.title = format!("{}, int8", own.title);
    let float = match (recipe.first_layers, recipe.keep_fp32.len()) {
        (FirstLayers::Int8, 0) => "no float layers at the input".to_owned(),
        (FirstLayers::Int8, count) => format!("{count} layers kept in float"),
        (FirstLayers::ConvFp32 | FirstLayers::BlockFp32, _) => {
            "float layers at the input".to_owned()
        }
    };
    own.notes = format!(
        "Made by `detbench {verb}` from a file with sha256 {}; {float}, {} ranges.",
        subject.sha256,
        recipe.ranges.name()
    );
    own.name = name;
    own.precision = Precision::Int8;
    own.files = vec![ModelFile {
        name: output
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        sha256: vec![sha256],
        origin: format!("quantised by detbench {}", env!("CARGO_PKG_VERSION")),
    }];
    if recipe.u8_input {
        let input = &mut own.input.preprocessing;
        input.element = ElementType::U8;
        input.mean = [0.0; 3];
        input.scale = [1.0; 3];
    }
    if let Outputs::RawHeads(raw) = &mut own.outputs {
        if let Anchors::File(file) = &mut raw.anchors {
            // The model file counts from its own folder, which may be another one now.
            if let Ok(whole) = file.canonicalize() {
                *file = whole;
            }
        }
    }
    own
}
