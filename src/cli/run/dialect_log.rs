//! How a run ends when its command line was another program's: that program's tail, in its log too.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::measure::Bench;
use super::truth::RunTruth;
use super::voc_files;
use crate::accuracy::twelve_lines;
use crate::cli::dialect::{Ending, Tail, Told};
use crate::cli::failure::{Blame, Failure};
use crate::placement::plan::Placement;
use crate::report::document::RunEntry;
use crate::report::intel;

/// What a dialect's program prints of accuracy, after the report.
///
/// # Errors
/// When the data set is not one that the dialect scores, or a file of detections cannot be written.
pub fn accuracy_lines(
    ending: &Ending,
    entry: Option<&RunEntry>,
    bench: &Bench<'_>,
) -> Result<String, Failure> {
    let is_voc = matches!(bench.pictures.ground_truth, Some(RunTruth::Voc { .. }));
    match ending {
        Ending::Intel(_) | Ending::Ck => Ok(String::new()),
        Ending::Quanteval(heading, _) if !is_voc => Ok(format!(
            "\n{heading}\n{}",
            entry.map_or_else(String::new, lines_of)
        )),
        Ending::Quanteval(_, evaluation) | Ending::Voc(evaluation) => {
            voc_files::evaluate(evaluation, bench)
        }
    }
}

/// COCO's twelve lines, where it is scored so.
fn lines_of(entry: &RunEntry) -> String {
    let accuracy = entry
        .accuracy
        .as_ref()
        .filter(|found| found.metric == "coco");
    let stats = accuracy.and_then(|found| <&[f64; 12]>::try_from(found.stats.as_slice()).ok());
    stats.map_or_else(String::new, twelve_lines)
}

/// What was measured.
#[derive(Clone, Copy)]
pub struct Measured<'a> {
    /// Its figures.
    pub entry: &'a RunEntry,
    /// Where the instances ran.
    pub placement: Option<&'a Placement>,
    /// The report.
    pub report: &'a str,
}

/// Intel's tail, and the files in `folder` that hold the report and the tail.
///
/// # Errors
/// When a file cannot be written.
pub fn conclude(
    told: &Told,
    tail: &Tail,
    measured: Measured<'_>,
    folder: &Path,
    started: SystemTime,
) -> Result<String, Failure> {
    let mut named = measured.entry.clone();
    named.model.clone_from(&told.model_name);
    // The time of a batch: its pictures are answered one after another, the last one ends it.
    if named.query_latency_ns.is_some() {
        named.latency_ns = named.query_latency_ns;
    }
    let mut lines = Vec::new();
    lines.extend_from_slice(lines_of(&named).as_bytes());
    let (path, mut file) = create(folder, &intel::file_name(&named, started)).or_environment()?;
    let shown = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
    if let Some(cores) = &tail.cores_per_instance {
        let instances = instance_logs(&named, (cores, &tail.steps.1), measured, folder)?;
        lines.extend_from_slice(instances.as_bytes());
        // Batches of several instances wait in one queue: a step is an inference, not that wait.
        named.latency_ns = None;
    } else if tail.has_sample_lines && named.latency_ns.is_some() {
        let (steps, warm_up) = &tail.steps;
        let step = named
            .latency_ns
            .map_or(0.0, |latency| latency.mean.as_millis_f64());
        let rate = named.samples_per_second.unwrap_or_default();
        let text = intel::sample_lines(&named, *steps, warm_up, step, rate);
        lines.extend_from_slice(text.as_bytes());
    }
    intel::write_tail(&mut lines, &named).or_environment()?;
    intel::write_location(&mut lines, &shown).or_environment()?;
    let written = file
        .write_all(measured.report.as_bytes())
        .and_then(|()| file.write_all(&lines));
    written.map_err(|error| unwritable(&path, &error))?;
    Ok(String::from_utf8_lossy(&lines).into_owned())
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format!("{} cannot be written: {error}", path.display()))
}

/// `<model>_<precision>_inference_bs<b>_cores<n>_instance<k>.log` for each instance and `…_all_instances.log`, whose
/// `Total samples/sec` scripts add up. Instances share one pile of batches, so each has its share of the rate.
fn instance_logs(
    entry: &RunEntry,
    (cores, warm_up): (&str, &str),
    measured: Measured<'_>,
    folder: &Path,
) -> Result<String, Failure> {
    let Some(placement) = measured.placement else {
        return Ok(String::new());
    };
    let batch_size = entry.layout.as_ref().map_or(1, |layout| layout.batch_size);
    let count = placement.instances.len();
    let step = entry.stage_ns.as_ref().map_or(0.0, |stages| {
        let postprocess = stages.postprocess.mean.as_millis_f64() * batch_size as f64;
        stages.inference.mean.as_millis_f64() + postprocess
    });
    let rate = entry.samples_per_second.unwrap_or_default() / count.max(1) as f64;
    let steps = entry.sample_count.unwrap_or_default() / (count * batch_size).max(1) as u64;
    let name = format!(
        "{}_{}_inference_bs{batch_size}_cores{cores}",
        entry.model, entry.precision
    );
    let mut all = String::new();
    for (number, instance) in placement.instances.iter().enumerate() {
        let cpus: Vec<String> = instance.cpus.iter().map(ToString::to_string).collect();
        let mut text = format!(
            "OMP_NUM_THREADS={} numactl --localalloc --physcpubind={} detbench\n",
            instance.intra_threads,
            cpus.join(",")
        );
        text.push_str(&intel::sample_lines(entry, steps, warm_up, step, rate));
        let path = folder.join(format!("{name}_instance{number}.log"));
        fs::write(&path, &text).map_err(|error| unwritable(&path, &error))?;
        all.push_str(&text);
    }
    let path = folder.join(format!("{name}_all_instances.log"));
    fs::write(&path, &all).map_err(|error| unwritable(&path, &error))?;
    let mut lines = String::new();
    if !placement.idle.is_empty() {
        let _ = writeln!(
            lines,
            "NOTE: CPUs {} do not fill an instance of {cores} and were left idle.",
            placement.idle
        );
    }
    let _ = writeln!(lines, "Logs of {count} instances: {}", path.display());
    Ok(lines)
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
