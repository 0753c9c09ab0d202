//! What the user asks of a placement: the flags and the keys of `configs/machines/*.toml`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::cpu_list::CpuList;
use super::{PlacementError, LARGEST_COUNT};
use crate::scenario::Scenario;

/// What is asked; everything left out has a default.
///
/// A preset file holds these keys, and flags are [overlaid](Self::overlaid_by) on it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlacementRequest {
    /// How many models run side by side. Default: by `layout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instances: Option<usize>,
    /// Cores of each instance. Default: by `layout` and `intra_threads`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores_per_instance: Option<CoresPerInstance>,
    /// Compute threads of each instance. Default: one for each of its CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intra_threads: Option<usize>,
    /// Operators of an instance that may run side by side. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inter_threads: Option<usize>,
    /// CPUs to use. Default: all that are allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<CpuList>,
    /// Whether threads are bound. Default: [`Pin::Core`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Whether the siblings of a core are used too. Default: `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smt: Option<bool>,
    /// Use this socket only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<usize>,
    /// Use this memory node only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa_node: Option<usize>,
    /// The shape that fills in missing counts. Default: [`Layout::OneWide`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
}

impl PlacementRequest {
    /// The names of all keys, for messages that offer the nearest one.
    pub const KEYS: [&'static str; 10] = [
        "instances",
        "cores_per_instance",
        "intra_threads",
        "inter_threads",
        "cpus",
        "pin",
        "smt",
        "socket",
        "numa_node",
        "layout",
    ];

    /// This request with everything that `over` sets taken from there.
    #[must_use]
    pub fn overlaid_by(self, over: Self) -> Self {
        Self {
            instances: over.instances.or(self.instances),
            cores_per_instance: over.cores_per_instance.or(self.cores_per_instance),
            intra_threads: over.intra_threads.or(self.intra_threads),
            inter_threads: over.inter_threads.or(self.inter_threads),
            cpus: over.cpus.or(self.cpus),
            pin: over.pin.or(self.pin),
            smt: over.smt.or(self.smt),
            socket: over.socket.or(self.socket),
            numa_node: over.numa_node.or(self.numa_node),
            layout: over.layout.or(self.layout),
        }
    }

    /// Whether each instance is a single thread, which needs no more than one sibling of a core.
    pub(super) fn is_one_thread_each(&self) -> bool {
        let narrow = self.layout == Some(Layout::ManyNarrow) && self.intra_threads.is_none();
        self.cores_per_instance.is_none() && (narrow || self.intra_threads == Some(1))
    }

    pub(super) fn check_counts(&self) -> Result<(), PlacementError> {
        let cores = match self.cores_per_instance {
            Some(CoresPerInstance::Count(count)) => Some(count),
            Some(CoresPerInstance::Socket) | None => None,
        };
        for (key, value) in [
            ("instances", self.instances),
            ("cores_per_instance", cores),
            ("intra_threads", self.intra_threads),
            ("inter_threads", self.inter_threads),
        ] {
            match value {
                Some(0) => return Err(PlacementError::Zero { key }),
                Some(value) if value > LARGEST_COUNT => {
                    return Err(PlacementError::TooLarge { key, value });
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }
}

/// A word that is none of those a placement setting knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no value of {key}; write {known}")]
pub struct UnknownPlacementWord {
    /// The setting.
    pub key: &'static str,
    /// The word as given.
    pub word: String,
    /// What would have done.
    pub known: &'static str,
}

/// How many cores an instance takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoresPerInstance {
    /// So many.
    Count(usize),
    /// All usable cores of a socket.
    Socket,
}

impl FromStr for CoresPerInstance {
    type Err = UnknownPlacementWord;
    fn from_str(text: &str) -> Result<Self, UnknownPlacementWord> {
        if text == "socket" {
            return Ok(Self::Socket);
        }
        text.parse()
            .map(Self::Count)
            .map_err(|_| UnknownPlacementWord {
                key: "cores_per_instance",
                word: text.to_owned(),
                known: "a number or `socket`",
            })
    }
}

impl fmt::Display for CoresPerInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Socket => f.write_str("socket"),
        }
    }
}

impl Serialize for CoresPerInstance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u64(*count as u64),
            Self::Socket => serializer.serialize_str("socket"),
        }
    }
}

impl<'de> Deserialize<'de> for CoresPerInstance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number of cores or \"socket\"")]
        enum Either {
            Count(usize),
            Word(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Count(count) => Ok(Self::Count(count)),
            Either::Word(word) => word.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// Whether threads are bound to CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// Threads float among the usable CPUs.
    None,
    /// Each thread is bound to a CPU of its own.
    #[default]
    Core,
}

impl FromStr for Pin {
    type Err = UnknownPlacementWord;
    fn from_str(text: &str) -> Result<Self, UnknownPlacementWord> {
        match text {
            "none" => Ok(Self::None),
            "core" => Ok(Self::Core),
            _ => Err(UnknownPlacementWord {
                key: "pin",
                word: text.to_owned(),
                known: "`none` or `core`",
            }),
        }
    }
}

/// The shape of a placement where counts are not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One instance with all cores of a socket: the shortest time for a query that comes alone.
    #[default]
    OneWide,
    /// As many instances as fit, one thread each: the most queries a second.
    ManyNarrow,
}

impl Layout {
    /// The shape that suits a scenario: alone or many at once.
    pub const fn for_scenario(scenario: Scenario) -> Self {
        match scenario {
            Scenario::SingleStream => Self::OneWide,
            Scenario::MultiStream | Scenario::Server | Scenario::Offline => Self::ManyNarrow,
        }
    }
}

impl FromStr for Layout {
    type Err = UnknownPlacementWord;
    fn from_str(text: &str) -> Result<Self, UnknownPlacementWord> {
        match text {
            "one-wide" => Ok(Self::OneWide),
            "many-narrow" => Ok(Self::ManyNarrow),
            _ => Err(UnknownPlacementWord {
                key: "layout",
                word: text.to_owned(),
                known: "`one-wide` or `many-narrow`",
            }),
        }
    }
}
