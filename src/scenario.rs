//! The four scenarios and the test modes, spelt as LoadGen spells them.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// How queries arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Scenario {
    /// One sample a query; the next query leaves when the last one is answered.
    SingleStream,
    /// Several samples a query; the next query leaves when the last one is answered.
    MultiStream,
    /// One sample a query; queries leave at Poisson times whether or not answers came.
    Server,
    /// One query with all samples.
    Offline,
}

impl Scenario {
    /// All scenarios in the order in which LoadGen declares them.
    pub const ALL: [Self; 4] = [
        Self::SingleStream,
        Self::MultiStream,
        Self::Server,
        Self::Offline,
    ];

    /// LoadGen's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SingleStream => "SingleStream",
            Self::MultiStream => "MultiStream",
            Self::Server => "Server",
            Self::Offline => "Offline",
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|scenario| scenario.name() == text)
            .ok_or_else(|| UnknownName {
                what: "scenario",
                name: text.to_owned(),
                known: "SingleStream, MultiStream, Server, Offline",
            })
    }
}

/// What a test is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum TestMode {
    /// Accuracy, then performance.
    SubmissionRun,
    /// Every sample of the library once; answers are kept.
    AccuracyOnly,
    /// Latency and throughput; answers are dropped.
    PerformanceOnly,
    /// Search for the highest rate that a Server run sustains.
    FindPeakPerformance,
}

impl TestMode {
    /// All modes in the order in which LoadGen declares them.
    pub const ALL: [Self; 4] = [
        Self::SubmissionRun,
        Self::AccuracyOnly,
        Self::PerformanceOnly,
        Self::FindPeakPerformance,
    ];

    /// LoadGen's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubmissionRun => "SubmissionRun",
            Self::AccuracyOnly => "AccuracyOnly",
            Self::PerformanceOnly => "PerformanceOnly",
            Self::FindPeakPerformance => "FindPeakPerformance",
        }
    }
}

impl fmt::Display for TestMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TestMode {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| UnknownName {
                what: "test mode",
                name: text.to_owned(),
                known: "SubmissionRun, AccuracyOnly, PerformanceOnly, FindPeakPerformance",
            })
    }
}

/// A word that should have been one of a few known ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} `{name}`; known are {known}")]
pub struct UnknownName {
    /// What kind of word it is.
    pub what: &'static str,
    /// The word as given.
    pub name: String,
    /// The words that would have done.
    pub known: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for scenario in Scenario::ALL {
            assert_eq!(scenario.name().parse(), Ok(scenario));
        }
        for mode in TestMode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
        }
        let error = "Serve".parse::<Scenario>().unwrap_err();
        assert!(error.to_string().contains("`Serve`"));
    }
}
