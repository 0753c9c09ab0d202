//! `--compat`: each word is of one closed set, and each set may be used once.

use std::str::FromStr;

use crate::cli::dialect::Dialect;
use crate::cli::failure::Failure;
use crate::scenario::UnknownName;
use crate::settings::compat::CompatProfile;

/// A word of `--compat`. A further set of words is a further variant, known here and in
/// [`Compat::read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompatWord {
    /// Which LoadGen's random streams are repeated.
    Profile(CompatProfile),
    /// Whose command line is spoken.
    Dialect(Dialect),
}

impl FromStr for CompatWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(dialect) = text.parse() {
            return Ok(Self::Dialect(dialect));
        }
        let dialects = Dialect::ALL.map(Dialect::name).join(", ");
        text.parse()
            .map(Self::Profile)
            .map_err(|unknown: UnknownName| {
                format!("{unknown}, and the command lines of {dialects}")
            })
    }
}

/// What the words come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compat {
    /// Which LoadGen's random streams are repeated.
    pub profile: CompatProfile,
    /// Whose command line was spoken.
    pub dialect: Option<Dialect>,
}

impl Compat {
    /// Joins the words.
    ///
    /// # Errors
    /// When two of them are of the same set.
    pub fn read(words: &[CompatWord]) -> Result<Self, Failure> {
        let (mut profile, mut dialect) = (None, None);
        for word in words {
            match *word {
                CompatWord::Profile(named) => {
                    if let Some(earlier) = profile.replace(named) {
                        return Err(Failure::usage(format!(
                            "--compat {earlier} and --compat {named} are both LoadGen profiles: give one of them"
                        )));
                    }
                }
                CompatWord::Dialect(named) => {
                    if dialect.replace(named).is_some() {
                        return Err(Failure::usage(
                            "--compat names a command line twice: give one of them",
                        ));
                    }
                }
            }
        }
        Ok(Self {
            profile: profile.unwrap_or_default(),
            dialect,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<CompatProfile, String> {
        let words: Result<Vec<CompatWord>, String> =
            words.iter().map(|word| word.parse()).collect();
        let compat = Compat::read(&words?).map_err(|failure| failure.to_string())?;
        Ok(compat.profile)
    }

    #[test]
    fn one_profile_is_taken_and_two_are_refused() {
        assert_eq!(read(&[]), Ok(CompatProfile::V6));
        assert_eq!(read(&["v4-gcc10"]), Ok(CompatProfile::V4Gcc10));
        let refused = read(&["v5", "v6"]).unwrap_err();
        assert!(
            refused.contains("v5") && refused.contains("v6"),
            "{refused}"
        );
        assert!(read(&["v5", "v5"]).is_err());
    }

    #[test]
    fn a_dialect_and_a_profile_stand_side_by_side() {
        assert_eq!(read(&["intel", "v5"]), Ok(CompatProfile::V5));
        assert!(read(&["intel", "intel"]).is_err());
    }

    #[test]
    fn an_unknown_word_says_which_are_known() {
        let refused = read(&["v7"]).unwrap_err();
        assert!(
            refused.contains("`v7`")
                && refused.contains("v6, v5, v4-gcc10")
                && refused.contains("intel"),
            "{refused}"
        );
    }
}
