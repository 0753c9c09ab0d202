//! In which order settings are tried.

use serde::Serialize;

use crate::strict_toml::{did_you_mean, nearest};

/// In which order settings are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// The recipes that measured best, then layers in float by their sensitivity; few models are evaluated in full.
    #[default]
    Detbench,
    /// LPOT's: settings for the whole model, then layers in float from the last to the first, by accuracy.
    Basic,
    /// LPOT's: as basic, with layers in the order of their squared error.
    Mse,
    /// Settings drawn from the space.
    Random,
    /// The whole space in order.
    Exhaustive,
}

/// Why a strategy is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    /// Known, and not offered.
    #[error("the strategy `{name}` is not offered: its model of the objective needs more trials than this space of settings has worth trying; use `{alternative}`")]
    NotOffered {
        /// What was given.
        name: String,
        /// What comes nearest.
        alternative: &'static str,
    },
    /// Not known.
    #[error("there is no strategy `{name}`; known are detbench, basic, mse, random and exhaustive{}", did_you_mean(*nearest))]
    Unknown {
        /// What was given.
        name: String,
        /// The known one that is most like it.
        nearest: Option<&'static str>,
    },
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Detbench,
        Self::Basic,
        Self::Mse,
        Self::Random,
        Self::Exhaustive,
    ];

    /// Its name on the command line and in LPOT's files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Detbench => "detbench",
            Self::Basic => "basic",
            Self::Mse => "mse",
            Self::Random => "random",
            Self::Exhaustive => "exhaustive",
        }
    }
}

impl std::str::FromStr for Strategy {
    type Err = StrategyError;

    fn from_str(name: &str) -> Result<Self, StrategyError> {
        if let Some(found) = Self::ALL.into_iter().find(|one| one.name() == name) {
            return Ok(found);
        }
        match name {
            "bayesian" | "tpe" | "sigopt" => Err(StrategyError::NotOffered {
                name: name.to_owned(),
                alternative: "random",
            }),
            _ => Err(StrategyError::Unknown {
                name: name.to_owned(),
                nearest: nearest(name, Self::ALL.into_iter().map(Self::name)),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_that_are_not_offered_name_one_that_is() {
        assert_eq!("mse".parse(), Ok(Strategy::Mse));
        let error = "bayesian".parse::<Strategy>().unwrap_err();
        assert!(error.to_string().contains("use `random`"), "{error}");
        let error = "basik".parse::<Strategy>().unwrap_err();
        assert!(
            error.to_string().contains("did you mean `basic`"),
            "{error}"
        );
    }
}
