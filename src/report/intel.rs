//! The tail of Intel's `launch_benchmark` logs, which scripts of that world read with grep and awk.

use std::io::{self, Write};
use std::path::Path;

use super::document::RunEntry;

/// Writes `Batch size = …`, `Throughput: … images/sec` and `Latency: … ms`, then which batch ran;
/// an entry without performance has only the last line.
///
/// Latency is the mean over the samples, except with a batch of one in a closed loop, where it is
/// the same as the time of a batch, which is what Intel's scripts print.
///
/// # Errors
/// The system's.
pub fn write_tail(out: &mut dyn Write, entry: &RunEntry) -> io::Result<()> {
    let batch_size = entry.layout.as_ref().map_or(1, |layout| layout.batch_size);
    if let Some(rate) = entry.samples_per_second {
        writeln!(out, "Batch size = {batch_size}")?;
        writeln!(out, "Throughput: {rate:.3} images/sec")?;
    }
    if let Some(latency) = &entry.latency_ns {
        writeln!(out, "Latency: {:.3} ms", latency.mean.as_millis_f64())?;
    }
    writeln!(out, "Ran inference with batch size {batch_size}")
}

/// The lines of `infer_detections.py` and of its older form: steps, the time of a batch (`step_ms`), and samples a second.
pub fn sample_lines(
    entry: &RunEntry,
    steps: u64,
    warm_up: &str,
    step_ms: f64,
    rate: f64,
) -> String {
    let batch_size = entry.layout.as_ref().map_or(1, |layout| layout.batch_size);
    format!(
        "total iteration is {steps}\nwarm up iteration is {warm_up}\nBatchsize: {batch_size}\n\
         Time spent per BATCH: {step_ms:10.4} ms\nTotal samples/sec: {rate:10.4} samples/s\n\
         Avg. Duration per Step:{}\n",
        step_ms / 1e3
    )
}

/// Writes where the log is, which is the last line.
///
/// # Errors
/// The system's.
pub fn write_location(out: &mut dyn Write, log: &Path) -> io::Result<()> {
    writeln!(out, "Log location outside container: {}", log.display())
}

/// `benchmark_<model>_inference_<precision>_<YYYYMMDD_HHMMSS>.log`.
pub fn file_name(entry: &RunEntry, started: std::time::SystemTime) -> String {
    format!(
        "benchmark_{}_inference_{}_{}.log",
        entry.model,
        entry.precision,
        super::folder::utc_underscored(started)
    )
}
