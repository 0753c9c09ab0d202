//! Where threads run: what the machine offers, what this process may use, a plan, its proof.
//!
//! ```text
//! sysfs -> Topology   \
//! affinity, cgroup -> Allowance  > plan() -> Placement -> pin -> verify
//! flags, preset -> PlacementRequest /
//! ```
//!
//! The plan is pure: it never asks the operating system. It is computed from the *allowed* CPUs,
//! because in containers and under batch systems a machine's CPU numbers have holes, and a thread
//! pool that assumes CPUs 0 to N-1 fails or hangs there. After a model is loaded, [`mod@verify`] reads
//! back where the threads may run and where they ran, so that "pinned" is a finding and no hope.
//! [`contention`] and [`host`] collect the conditions without which a figure means nothing.
//!
//! A fact that the machine does not tell is [`Fact::Unknown`], never a favourable guess.

pub mod allowed;
pub mod contention;
pub mod cpu_list;
pub mod fact;
pub mod host;
pub mod machine;
pub mod pin;
pub mod plan;
pub mod topology;
pub mod verify;

pub use allowed::{allowed_cpus, cpu_quota, Allowance, CpuQuota};
pub use cpu_list::{CpuList, CpuListError};
pub use fact::Fact;
pub use host::Host;
pub use machine::MachinePreset;
pub use pin::{pin_current_thread, PinError};
pub use plan::{
    plan, CoresPerInstance, InstancePlacement, Layout, Pin, Placement, PlacementError,
    PlacementRequest, PlacementWarning,
};
pub use topology::Topology;
pub use verify::{verify, PlacementFinding, ThreadPlace};
