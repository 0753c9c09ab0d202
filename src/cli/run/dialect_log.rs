//! How a run ends when its command line was another program's: that program's tail, in its log too.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::accuracy::twelve_lines;
use crate::cli::dialect::Told;
use crate::cli::failure::{Blame, Failure};
use crate::report::document::RunEntry;
use crate::report::intel;

use super::subject::Subject;

/// Refuses a graph whose layers are not of the precision that was typed.
///
/// # Errors
/// The sentence that says so.
pub fn check_precision(told: &Told, subject: &Subject) -> Result<(), Failure> {
    let (asked, found) = (told.precision, subject.description.precision);
    if asked == found {
        return Ok(());
    }
    let layers = &subject.facts.integer_layers;
    Err(Failure::usage(format!(
        "--precision {}: {} computes {} of {} convolutions in integers, so it is {}; pass --in-graph with the {} file, or --precision {}",
        asked.name(),
        subject.onnx.display(),
        layers.convolutions_quantized,
        layers.convolutions,
        found.name(),
        asked.name(),
        found.name()
    )))
}

/// The tail, and the file in `folder` that holds `report` and the tail.
///
/// # Errors
/// When the file cannot be written.
pub fn conclude(
    told: &Told,
    entry: &RunEntry,
    report: &str,
    folder: &Path,
    started: SystemTime,
) -> Result<String, Failure> {
    let mut named = entry.clone();
    named.model.clone_from(&told.model_name);
    // The time of a batch: its pictures are answered one after another, the last one ends it.
    if entry.query_latency_ns.is_some() {
        named.latency_ns.clone_from(&entry.query_latency_ns);
    }
    let mut tail = Vec::new();
    let accuracy = entry
        .accuracy
        .as_ref()
        .filter(|found| found.metric == "coco");
    let stats = accuracy.map(|found| found.stats.as_slice());
    if let Some(stats) = stats.and_then(|stats| <&[f64; 12]>::try_from(stats).ok()) {
        tail.extend_from_slice(twelve_lines(stats).as_bytes());
    }
    let (path, mut file) = create(folder, &intel::file_name(&named, started)).or_environment()?;
    let shown = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
    intel::write_tail(&mut tail, &named).or_environment()?;
    intel::write_location(&mut tail, &shown).or_environment()?;
    let written = file
        .write_all(report.as_bytes())
        .and_then(|()| file.write_all(&tail));
    written.map_err(|error| {
        Failure::environment(format!("{} cannot be written: {error}", path.display()))
    })?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

/// A new file; a second one within the same second gets a number before its extension.
fn create(folder: &Path, name: &str) -> io::Result<(PathBuf, fs::File)> {
    let stem = name.strip_suffix(".log").unwrap_or(name);
    let mut attempt = 1_u32;
    loop {
        let path = folder.join(match attempt {
            1 => name.to_owned(),
            _ => format!("{stem}-{attempt}.log"),
        });
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_log_within_a_second_overwrites_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let first = create(folder.path(), "a.log").unwrap().0;
        let second = create(folder.path(), "a.log").unwrap().0;
        assert_eq!(
            (name(first), name(second)),
            ("a.log".into(), "a-2.log".into())
        );
    }
}
