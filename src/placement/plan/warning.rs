//! What a person should know about a plan that works.

use std::fmt;

use serde::{Serialize, Serializer};

use super::super::cpu_list::CpuList;

/// What a person should know about a plan that works.
#[derive(Debug, Clone, PartialEq)]
pub enum PlacementWarning {
    /// Cores that do not fill an instance.
    CoresSkipped {
        /// First CPU of each such core.
        cores: CpuList,
        /// Cores that an instance takes.
        cores_per_instance: usize,
    },
    /// A single instance leaves other sockets idle.
    OneSocketOfSeveral {
        /// Cores it uses.
        used: usize,
        /// Cores there are.
        usable: usize,
    },
    /// An instance could not be kept on one memory node or socket.
    Straddles {
        /// Index of the instance.
        instance: usize,
        /// What it crosses.
        boundary: &'static str,
    },
    /// Siblings were named in `cpus` but `smt` is off.
    SiblingsLeftOut {
        /// The CPUs that are not used.
        cpus: CpuList,
    },
    /// More threads than CPUs for them.
    Oversubscribed {
        /// Compute threads of all instances.
        threads: usize,
        /// CPUs for them.
        cpus: usize,
    },
    /// The control group grants less CPU time than the threads will use.
    QuotaTooSmall {
        /// Compute threads of all instances.
        threads: usize,
        /// CPUs granted.
        quota_cpus: f64,
    },
    /// The kernel did not tell which CPUs share a core or socket.
    TopologyGuessed {
        /// The CPUs concerned.
        cpus: CpuList,
    },
}

impl fmt::Display for PlacementWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CoresSkipped { cores, cores_per_instance } => write!(
                f,
                "cores {cores} stay idle: they do not fill an instance of {cores_per_instance} cores"
            ),
            Self::OneSocketOfSeveral { used, usable } => write!(
                f,
                "the one instance stays on one socket and uses {used} of {usable} cores; \
                 give --cores-per-instance {usable} to cross sockets"
            ),
            Self::Straddles { instance, boundary } => {
                write!(f, "instance {instance} crosses {boundary}: its memory is partly remote")
            }
            Self::SiblingsLeftOut { cpus } => write!(
                f,
                "CPUs {cpus} share cores with others of the list and stay idle; give --smt on to use them"
            ),
            Self::Oversubscribed { threads, cpus } => write!(
                f,
                "{threads} threads share {cpus} CPUs: spinning threads then wait for each other"
            ),
            Self::QuotaTooSmall { threads, quota_cpus } => write!(
                f,
                "the control group grants {quota_cpus} CPUs of time to {threads} threads: \
                 they will be throttled"
            ),
            Self::TopologyGuessed { cpus } => write!(
                f,
                "the kernel does not tell cores or sockets of CPUs {cpus}: where it does not, \
                 each counts as a core of its own on socket 0"
            ),
        }
    }
}

impl Serialize for PlacementWarning {
    /// The sentence.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
