//! Which LoadGen's streams are reproduced.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::scenario::UnknownName;
use crate::schedule::rng::BoundedDraw;

/// The LoadGen release, and the standard library it was built with, whose streams a plan repeats.
///
/// The same seeds select other samples under another profile; an official log does not say which
/// one it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
pub enum CompatProfile {
    /// LoadGen since January 2026: a performance run permutes the first `performance count`
    /// samples of the library. Verified against the wheel 6.0.17.
    #[default]
    V6,
    /// LoadGen before: a performance run takes the first part of a permutation of the whole
    /// library. Verified against the wheels 6.0.3 and 5.1.2.
    V5,
    /// As [`CompatProfile::V5`], with the bounded draw of GCC 10 and before. Verified against the
    /// wheel 4.1.30.
    V4Gcc10,
}

impl CompatProfile {
    /// All profiles, newest first.
    pub const ALL: [Self; 3] = [Self::V6, Self::V5, Self::V4Gcc10];

    /// The profile's name on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V6 => "v6",
            Self::V5 => "v5",
            Self::V4Gcc10 => "v4-gcc10",
        }
    }

    /// How integers below a bound are drawn.
    pub const fn bounded_draw(self) -> BoundedDraw {
        match self {
            Self::V6 | Self::V5 => BoundedDraw::MultiplyShift,
            Self::V4Gcc10 => BoundedDraw::DivideAndReject,
        }
    }

    /// Whether loadable sets are cut from a permutation of the whole library even when fewer
    /// samples are wanted.
    pub const fn permutes_whole_library(self) -> bool {
        match self {
            Self::V6 => false,
            Self::V5 | Self::V4Gcc10 => true,
        }
    }

    /// Whether percentiles are labelled `90th` and not `90.0th` in the summary, as releases before
    /// February 2025 did and the scripts of their rounds expect.
    pub const fn labels_whole_percentiles(self) -> bool {
        match self {
            Self::V6 | Self::V5 => false,
            Self::V4Gcc10 => true,
        }
    }

    /// Whether the logged `generated_samples_per_query` is the setting's number of samples a query
    /// even where another number was generated (accuracy mode of Offline).
    pub const fn reports_configured_samples_per_query(self) -> bool {
        match self {
            Self::V6 | Self::V5 => false,
            Self::V4Gcc10 => true,
        }
    }
}

impl fmt::Display for CompatProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for CompatProfile {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or_else(|| UnknownName {
                what: "compatibility profile",
                name: text.to_owned(),
                known: "v6, v5, v4-gcc10",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for profile in CompatProfile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
        }
        assert!("v7"
            .parse::<CompatProfile>()
            .unwrap_err()
            .to_string()
            .contains("v4-gcc10"));
    }
}
