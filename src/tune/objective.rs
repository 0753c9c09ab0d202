//! What is made as small, or as large, as the criterion allows.

use serde::Serialize;

/// What a better model has more or less of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// Median latency of an inference.
    #[default]
    LatencyP50,
    /// 99th percentile of the latency.
    LatencyP99,
    /// Inferences a second on all the cores that are asked for.
    Throughput,
    /// Bytes of the file.
    Size,
}

impl Objective {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::LatencyP50,
        Self::LatencyP99,
        Self::Throughput,
        Self::Size,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LatencyP50 => "latency-p50",
            Self::LatencyP99 => "latency-p99",
            Self::Throughput => "throughput",
            Self::Size => "size",
        }
    }

    /// What LPOT calls `performance`, `modelsize` and `footprint`; `None` for another word.
    ///
    /// The footprint is the process's peak memory, of which the weights are the part that tuning changes: it becomes
    /// the size of the file.
    pub fn of_lpot(name: &str) -> Option<Self> {
        match name {
            "performance" => Some(Self::LatencyP50),
            "modelsize" | "footprint" => Some(Self::Size),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lpots_words_have_counterparts() {
        assert_eq!(
            Objective::of_lpot("performance"),
            Some(Objective::LatencyP50)
        );
        assert_eq!(Objective::of_lpot("modelsize"), Some(Objective::Size));
        assert_eq!(Objective::of_lpot("footprint"), Some(Objective::Size));
        assert_eq!(Objective::of_lpot("latency-p50"), None);
    }
}
