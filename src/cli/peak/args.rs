//! The flags of a peak search, shared by `run` and `simulate`.

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::run::args::{parse_span, Span};
use crate::peak::Slo;
use crate::scenario::Scenario;
use crate::settings::test_settings::TestSettings;
use crate::units::Latency;

/// A rate's bracket is narrowed to this share of its upper end, without another word.
const PRECISION: f64 = 0.02;

/// A probe is at most this long, without another word.
const PROBE: Latency = Latency::from_millis(60_000);

/// How the highest load that keeps an objective is searched for.
#[derive(Debug, Clone, Default, Args)]
pub struct PeakArgs {
    /// Search the highest Server rate, or MultiStream's largest number of samples per query, that keeps
    /// the objective, and confirm it by a run of full length
    #[arg(long)]
    pub find_peak: bool,
    /// The objective, such as p99=100ms [default for Server: its latency bound and percentile]
    #[arg(long, value_name = "PERCENTILE=TIME", requires = "find_peak")]
    pub slo: Option<Slo>,
    /// The largest load that is tried [default: twice what the fastest answers promise]
    #[arg(long, value_name = "LOAD", value_parser = parse_load, allow_negative_numbers = true, requires = "find_peak")]
    pub peak_max: Option<f64>,
    /// How narrow the bracket of the rate gets, as a share of its upper end [default: 2%]
    #[arg(long, value_name = "SHARE", value_parser = parse_share, allow_negative_numbers = true, requires = "find_peak")]
    pub peak_precision: Option<f64>,
    /// The longest a probe may be [default: 60s, or the least duration of a run where that is shorter]
    #[arg(long, value_name = "TIME", value_parser = parse_span, allow_negative_numbers = true, requires = "find_peak")]
    pub peak_probe: Option<Span>,
}

/// A search that is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeakAsk {
    /// The objective; Server has one in its settings.
    pub slo: Option<Slo>,
    /// The largest load, where the user says it.
    pub load_max: Option<f64>,
    /// How narrow a rate's bracket gets.
    pub precision: f64,
    /// The longest a probe may be.
    pub probe: Latency,
}

impl PeakArgs {
    /// The search that the flags ask for in `scenario`, if any.
    ///
    /// # Errors
    /// Where the scenario has no load to raise, or no objective.
    pub fn ask(&self, scenario: Scenario) -> Result<Option<PeakAsk>, Failure> {
        if self.find_peak {
            self.demand(scenario).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The search in `scenario`, whether the flag asks for it or a mode does.
    ///
    /// # Errors
    /// As [`PeakArgs::ask`].
    pub fn demand(&self, scenario: Scenario) -> Result<PeakAsk, Failure> {
        let refuse = |why: &str| {
            Err(Failure::usage(format!(
                "--find-peak with {scenario}: {why}; give --scenario Server or MultiStream"
            )))
        };
        match scenario {
            Scenario::SingleStream => {
                return refuse(
                    "a query leaves when the last one is answered, so there is no load to raise",
                );
            }
            Scenario::Offline => {
                return refuse(
                    "everything leaves at once and the throughput shown is the peak already",
                );
            }
            Scenario::MultiStream if self.slo.is_none() => {
                return Err(Failure::usage(
                    "--find-peak with MultiStream needs an objective for its queries: give --slo, such as p99=100ms",
                ));
            }
            Scenario::MultiStream if self.peak_max.is_some_and(|load| load.fract() != 0.0) => {
                return Err(Failure::usage(
                    "--peak-max with MultiStream is a number of samples per query: give a whole number",
                ));
            }
            Scenario::MultiStream | Scenario::Server => {}
        }
        Ok(PeakAsk {
            slo: self.slo,
            load_max: self.peak_max,
            precision: self.peak_precision.unwrap_or(PRECISION),
            probe: self.peak_probe.map_or(PROBE, |span| span.0),
        })
    }
}

impl PeakAsk {
    /// The objective of the search: the flag's, else Server's own.
    ///
    /// # Panics
    /// For MultiStream without the flag, which [`PeakArgs::ask`] refuses.
    pub fn objective(&self, scenario: Scenario, settings: &TestSettings) -> Slo {
        match (self.slo, scenario) {
            (Some(slo), _) => slo,
            (None, Scenario::Server) => Slo {
                quantile: settings.server_target_latency_percentile,
                bound: Latency::from_nanos(settings.server_target_latency_ns),
            },
            (None, _) => unreachable!("refused where the flags are read"),
        }
    }
}

fn parse_load(text: &str) -> Result<f64, String> {
    let load = text.parse::<f64>().ok();
    load.filter(|load| load.is_finite() && *load > 0.0)
        .ok_or_else(|| "give a number above zero".to_owned())
}

/// `2%` or `0.02`.
fn parse_share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().ok().map(|percent| percent / 100.0),
        None => text.parse().ok(),
    };
    share
        .filter(|share| (0.000_1..=0.5).contains(share))
        .ok_or_else(|| "give a share from 0.01% to 50%, such as 2%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_loads_are_read_as_people_write_them() {
        assert_eq!(parse_share("2%"), Ok(0.02));
        assert_eq!(parse_share("0.05"), Ok(0.05));
        for text in ["", "0", "-1%", "60%", "nan", "two"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
        assert_eq!(parse_load("250.5"), Ok(250.5));
        for text in ["", "0", "-1", "inf", "nan"] {
            assert!(parse_load(text).is_err(), "{text}");
        }
    }

    #[test]
    fn scenarios_without_a_load_to_raise_or_an_objective_are_refused_with_the_reason() {
        let args = PeakArgs {
            find_peak: true,
            ..PeakArgs::default()
        };
        let refused = |args: &PeakArgs, scenario| args.ask(scenario).unwrap_err().to_string();
        assert!(refused(&args, Scenario::SingleStream).contains("no load to raise"));
        assert!(refused(&args, Scenario::Offline).contains("the peak already"));
        assert!(refused(&args, Scenario::MultiStream).contains("--slo"));
        assert!(args.ask(Scenario::Server).unwrap().is_some());
        assert_eq!(PeakArgs::default().ask(Scenario::Offline), Ok(None));
        let streams = PeakArgs {
            slo: Some("p99=100ms".parse().unwrap()),
            peak_max: Some(2.5),
            ..args
        };
        assert!(refused(&streams, Scenario::MultiStream).contains("whole number"));
    }
}
