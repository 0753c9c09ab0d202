//! A fact about the machine that may not be known.

use std::fmt;

use serde::{Serialize, Serializer};

/// A value read from the machine, or the admission that it cannot be read here.
///
/// Serialised as the value itself, or as the string `"unknown"`. Virtual machines and containers
/// hide much; a hidden counter must not read as a counter that stayed at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Fact<T> {
    /// Read from the machine.
    Known(T),
    /// Not to be had here.
    #[default]
    Unknown,
}

impl<T> Fact<T> {
    /// The value, when known.
    pub fn known(self) -> Option<T> {
        self.into()
    }

    /// The value by reference, when known.
    pub const fn as_ref(&self) -> Fact<&T> {
        match self {
            Self::Known(value) => Fact::Known(value),
            Self::Unknown => Fact::Unknown,
        }
    }

    /// The value after `change`, when known.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Fact<U> {
        self.known().map(change).into()
    }
}

impl<T> From<Option<T>> for Fact<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Unknown, Self::Known)
    }
}

impl<T> From<Fact<T>> for Option<T> {
    fn from(fact: Fact<T>) -> Self {
        match fact {
            Fact::Known(value) => Some(value),
            Fact::Unknown => None,
        }
    }
}

impl<T: fmt::Display> fmt::Display for Fact<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => value.fmt(f),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl<T: Serialize> Serialize for Fact<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(value) => value.serialize(serializer),
            Self::Unknown => serializer.serialize_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_fact_says_so_in_every_form() {
        let facts = [Fact::Known(0), Fact::Unknown];
        assert_eq!(serde_json::to_string(&facts).unwrap(), r#"[0,"unknown"]"#);
        assert_eq!(facts.map(|fact| fact.to_string()), ["0", "unknown"]);
    }
}
