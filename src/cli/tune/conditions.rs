//! Everything but settings that decides what a tuning finds.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::args::Asked;
use crate::cli::failure::{Blame, Failure};
use crate::cli::quantize::pictures::CalibrationFolder;
use crate::cli::run::Subject;
use crate::library::ListedPicture;
use crate::placement::plan::Placement;
use crate::runtime::Runtime;
use crate::tune::history::Conditions;
use crate::units::SampleIndex;

/// Everything that decides what is found, besides settings.
pub struct Under<'a> {
    pub asked: &'a Asked,
    pub subject: &'a Subject,
    pub folder: &'a CalibrationFolder,
    pub few: &'a [SampleIndex],
    pub listed: &'a [ListedPicture],
    pub runtime: &'a Runtime,
    pub placement: &'a Placement,
    pub ort: &'a [String],
}

/// The conditions, and whether a picture stands on both sides.
pub fn conditions(under: &Under<'_>) -> Result<(Conditions, bool), Failure> {
    let own = under.subject;
    let entries = under.folder.pictures();
    let mut calibration = Sha256::new();
    let mut calibrating = BTreeSet::new();
    for entry in entries {
        calibration.update(entry.file_name.as_bytes());
        calibration.update(b"\n");
    }
    for sample in under.folder.calibration.iter().chain(under.few) {
        let bytes = entries[sample.as_usize()].place.read().or_usage()?;
        let hash = Sha256::digest(&bytes);
        calibration.update(hash);
        calibrating.insert(hash);
    }
    let mut evaluation = Sha256::new();
    let mut is_shared = false;
    for picture in under.listed {
        let hash = Sha256::digest(&picture.place.read().or_usage()?);
        evaluation.update(picture.file_name.as_bytes());
        evaluation.update(hash);
        is_shared |= calibrating.contains(&hash);
    }
    if let Some(path) = &under.asked.annotations {
        evaluation.update(std::fs::read(path).or_usage()?);
    }
    let conditions = Conditions {
        model_sha256: own.sha256.clone(),
        calibration_sha256: format!("{:x}", calibration.finalize()),
        evaluation_sha256: format!("{:x}", evaluation.finalize()),
        // How pictures are prepared, anchors, NMS, labels: all of the model file.
        preprocessing: format!("{:x}", Sha256::digest(own.description.to_toml().as_bytes())),
        runtime: under.runtime.version().to_owned(),
        layout: format!(
            "{} {}",
            serde_json::to_string(under.placement).or_environment()?,
            under.ort.join(" ")
        ),
        detbench: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok((conditions, is_shared))
}
