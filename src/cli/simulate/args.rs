//! What is simulated, as flags say it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::peak::PeakArgs;
use crate::cli::run::args::{parse_span, Span};
use crate::cli::test_args::TestArgs;
use crate::sut::simulated::{Faults, ServiceTime, Simulation};
use crate::units::{Latency, Timestamp};

/// Run a whole test against a simulated system on virtual time
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// The test.
    #[command(flatten)]
    pub test: TestArgs,
    /// A search for the highest load.
    #[command(flatten)]
    pub peak: PeakArgs,
    /// How long a batch occupies a server: fixed:10ms, lognormal:MEDIAN:SIGMA (such as
    /// lognormal:10ms:0.3), or recorded:FILE with nanoseconds (one a line, or a run's
    /// latencies.csv), taken in turn
    #[arg(long, value_name = "TIME", default_value = "fixed:10ms", value_parser = parse_service)]
    pub service: Service,
    /// Servers that work side by side
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = at_least_one)]
    pub servers: usize,
    /// Samples that a server takes at once, if so many wait
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = at_least_one)]
    pub sim_batch_size: usize,
    /// Time that the issue call itself takes on the issuing thread
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub issue_cost: Option<Span>,
    /// No server begins work for so long: AFTER:LENGTH, such as 20s:500ms
    #[arg(long, value_name = "AFTER:LENGTH", value_parser = parse_stall)]
    pub stall: Option<Stall>,
    /// Numbers of samples whose answers never come, such as 17,300
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub lose: Vec<u32>,
    /// Numbers of samples whose answers come twice
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub duplicate: Vec<u32>,
    /// Seed of the service times
    #[arg(long, default_value_t = 0)]
    pub seed: u32,
    /// Also write every sample as a span for trace viewers: `mlperf_log_trace.json`
    #[arg(long)]
    pub trace: bool,
    /// Where the run folder is made
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub output_dir: PathBuf,
    /// One JSON document on stdout and nothing else
    #[arg(long)]
    pub json: bool,
}

/// `--service`.
#[derive(Debug, Clone, PartialEq)]
pub enum Service {
    /// Always the same.
    Fixed(Latency),
    /// Log-normal with this median and spread.
    LogNormal(Latency, f64),
    /// From a file.
    Recorded(PathBuf),
}

/// `--stall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    after: Latency,
    length: Latency,
}

/// Recorded service times that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A line is no time.
    #[error("{}, line {line}: `{text}` is no whole number of nanoseconds", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is there.
        text: String,
    },
    /// There is nothing in it.
    #[error("{} has no service times: give nanoseconds, one a line, or a CSV with a column service_ns, inference_ns or latency_ns", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl SimulateArgs {
    /// What is simulated.
    ///
    /// # Errors
    /// When a file of recorded times cannot be used.
    pub fn simulation(&self) -> Result<Simulation, RecordedError> {
        let stall = self.stall.map(|stall| {
            let from = Timestamp::ZERO + stall.after;
            (from, from + stall.length)
        });
        Ok(Simulation {
            servers: self.servers,
            batch_size: self.sim_batch_size,
            service: match &self.service {
                Service::Fixed(span) => ServiceTime::Fixed(*span),
                Service::LogNormal(median, sigma) => ServiceTime::LogNormal {
                    median: *median,
                    sigma: *sigma,
                },
                Service::Recorded(path) => ServiceTime::Recorded(read_recorded(path)?),
            },
            seed: self.seed,
            faults: Faults {
                issue_cost: self.issue_cost.map_or(Latency::ZERO, |cost| cost.0),
                stall,
                lost: self.lose.iter().copied().collect::<BTreeSet<_>>(),
                duplicated: self.duplicate.iter().copied().collect(),
            },
        })
    }
}

fn read_recorded(path: &Path) -> Result<Vec<Latency>, RecordedError> {
    let text = std::fs::read_to_string(path).map_err(|source| RecordedError::Read {
        path: path.to_owned(),
        source,
    })?;
    recorded_times(path, &text)
}

/// Nanoseconds, one a line, or the first filled column of a CSV that tells service times.
fn recorded_times(path: &Path, text: &str) -> Result<Vec<Latency>, RecordedError> {
    const COLUMNS: [&str; 3] = ["service_ns", "inference_ns", "latency_ns"];
    let names: Vec<&str> = text.lines().next().unwrap_or_default().split(',').collect();
    let has_names = names.iter().any(|name| COLUMNS.contains(&name.trim()));
    let columns: Vec<usize> = if has_names {
        let find = |wanted: &&str| names.iter().position(|name| name.trim() == *wanted);
        COLUMNS.iter().filter_map(find).collect()
    } else {
        vec![0]
    };
    for column in columns {
        let mut times = Vec::new();
        for (number, line) in text.lines().enumerate().skip(usize::from(has_names)) {
            let field = line.split(',').nth(column).unwrap_or_default().trim();
            if field.is_empty() {
                continue;
            }
            let ns = field.parse().map_err(|_| RecordedError::Line {
                path: path.to_owned(),
                line: number + 1,
                text: field.to_owned(),
            })?;
            times.push(Latency::from_nanos(ns));
        }
        if !times.is_empty() {
            return Ok(times);
        }
    }
    Err(RecordedError::Empty {
        path: path.to_owned(),
    })
}

fn parse_service(text: &str) -> Result<Service, String> {
    const EXPECTED: &str = "give fixed:TIME, lognormal:MEDIAN:SIGMA or recorded:FILE";
    let (kind, rest) = text.split_once(':').ok_or(EXPECTED)?;
    match kind {
        "fixed" => Ok(Service::Fixed(parse_span(rest)?.0)),
        "recorded" if !rest.is_empty() => Ok(Service::Recorded(PathBuf::from(rest))),
        "lognormal" => {
            let (median, sigma) = rest.split_once(':').ok_or(EXPECTED)?;
            let sigma = sigma.parse().ok();
            // Beyond five, one time in a thousand is a million medians.
            let sigma = sigma.filter(|sigma| (0.0..=5.0).contains(sigma));
            let sigma = sigma.ok_or("a log-normal sigma is a number from 0 to 5, such as 0.3")?;
            Ok(Service::LogNormal(parse_span(median)?.0, sigma))
        }
        _ => Err(EXPECTED.to_owned()),
    }
}

fn parse_stall(text: &str) -> Result<Stall, String> {
    let (after, length) = text
        .split_once(':')
        .ok_or("give AFTER:LENGTH, such as 20s:500ms")?;
    Ok(Stall {
        after: parse_span(after)?.0,
        length: parse_span(length)?.0,
    })
}

fn at_least_one(text: &str) -> Result<usize, String> {
    /// Each server is looked at for every batch, so that more would take hours.
    const MOST: usize = 1 << 16;
    match text.parse() {
        Ok(count) if (1..=MOST).contains(&count) => Ok(count),
        _ => Err(format!("give a whole number from 1 to {MOST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_times_are_read_as_people_write_them() {
        let ms = Latency::from_millis;
        assert_eq!(parse_service("fixed:10ms"), Ok(Service::Fixed(ms(10))));
        assert_eq!(
            parse_service("lognormal:5ms:0.3"),
            Ok(Service::LogNormal(ms(5), 0.3))
        );
        for text in [
            "10ms",
            "fixed:",
            "lognormal:5ms",
            "lognormal:5ms:-1",
            "recorded:",
            "x:1",
        ] {
            assert!(parse_service(text).is_err(), "{text}");
        }
        assert!(parse_stall("20s").is_err());
    }

    #[test]
    fn recorded_times_come_from_lines_or_from_the_first_filled_column() {
        let read = |text: &str| {
            recorded_times(Path::new("times"), text)
                .map(|times| times.into_iter().map(Latency::as_nanos).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        assert_eq!(read("3\n5\n\n"), Ok(vec![3, 5]));
        assert_eq!(read("sample_seq,latency_ns\n0,7\n1,9\n"), Ok(vec![7, 9]));
        assert_eq!(read("latency_ns,inference_ns\n7,\n9,\n"), Ok(vec![7, 9]));
        assert_eq!(read("latency_ns,inference_ns\n7,6\n9,8\n"), Ok(vec![6, 8]));
        assert!(read("").unwrap_err().contains("no service times"));
        assert!(read("3\nfast\n").unwrap_err().contains("line 2: `fast`"));
    }
}
