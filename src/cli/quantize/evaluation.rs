//! How near the int8 model is to the float one, on pictures that did not calibrate.

use std::path::Path;

use super::pictures::{CalibrationFolder, Others};
use crate::cli::categories::CommonClasses;
use crate::cli::failure::Failure;
use crate::cli::nearness;
pub use crate::cli::nearness::Nearness;
use crate::cli::run::Subject;
use crate::runtime::Runtime;

/// Runs both on the pictures that did not calibrate.
pub fn compare(
    reference: &mut Subject,
    other: &mut Subject,
    runtime: &Runtime,
    folder: &CalibrationFolder,
    path: &Path,
) -> Result<Nearness, Failure> {
    if folder.others.is_empty() {
        return Ok(Nearness::default());
    }
    let of = |subject: &Subject| folder.others_for(&subject.description.input.preprocessing, path);
    let others: [Others; 2] = [of(reference)?, of(other)?];
    let [mut first, mut second] = [others[0].prepared(), others[1].prepared()];
    // One is made from the other: their classes are the same.
    nearness::between(
        [reference, other],
        &CommonClasses::All,
        runtime,
        [&mut first, &mut second],
        &|at| others[0].size(at),
    )
}
