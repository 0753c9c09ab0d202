//! Why no plan can be made.

use super::super::cpu_list::CpuList;
use super::LARGEST_COUNT;

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// A count is zero.
    #[error("{key} is 0; it must be at least 1")]
    Zero {
        /// The setting.
        key: &'static str,
    },
    /// A count is absurd.
    #[error("{key} is {value}; at most {LARGEST_COUNT} is accepted")]
    TooLarge {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: usize,
    },
    /// A named CPU is not allowed to this process.
    #[error(
        "CPU {cpu} of cpus is not allowed to this process, which may use {allowed}; \
             choose among these or widen the container's or batch job's CPU set"
    )]
    CpuNotAllowed {
        /// The CPU.
        cpu: usize,
        /// What is allowed.
        allowed: CpuList,
    },
    /// Nothing is allowed at all.
    #[error("this process is allowed no CPU at all")]
    NothingAllowed,
    /// No usable CPU lies on the chosen socket or node.
    #[error("none of the usable CPUs {usable} is on {key} {value}; choose among {known}")]
    NoCpuOn {
        /// `socket` or `numa_node`.
        key: &'static str,
        /// The value asked for.
        value: usize,
        /// CPUs that were left before this choice.
        usable: CpuList,
        /// Sockets or nodes that hold such CPUs.
        known: CpuList,
    },
    /// More instances than sockets.
    #[error(
        "{instances} instances of a socket each need {instances} sockets, but usable CPUs lie on \
             {sockets}; lower instances or give cores_per_instance as a number"
    )]
    NotEnoughSockets {
        /// Instances asked for.
        instances: usize,
        /// Sockets there are.
        sockets: usize,
    },
    /// An instance wants more threads than its cores hold.
    #[error(
        "intra_threads is {intra_threads}, but an instance of {cores} cores holds {cpus} threads; \
             lower intra_threads, raise cores_per_instance, turn smt on or set pin to none"
    )]
    ThreadsBeyondCores {
        /// Threads asked for.
        intra_threads: usize,
        /// Cores of the instance.
        cores: usize,
        /// CPUs of these cores that may be used.
        cpus: usize,
    },
    /// More cores are needed than there are.
    #[error("{needed} cores are needed ({instances} x {cores_per_instance} for the instances), \
             but {usable} are \
             usable (CPUs {cpus}); lower instances, cores_per_instance or intra_threads, turn smt on, \
             or set pin to none to share cores")]
    Oversubscribed {
        /// Instances.
        instances: usize,
        /// Cores of each.
        cores_per_instance: usize,
        /// The product.
        needed: usize,
        /// Cores there are.
        usable: usize,
        /// The CPUs of these cores.
        cpus: CpuList,
    },
}
