//! From a request, the topology and the allowed CPUs to a plan: which instance runs on which CPUs.
//!
//! The rules, in order:
//! 1. Only allowed CPUs count, narrowed by `cpus`, `socket` and `numa_node`.
//! 2. One thread per core; `smt` adds the siblings.
//! 3. [`Layout::OneWide`] is one instance on the cores of one socket (crossing to the other socket's
//!    memory costs a single query more than its cores bring); [`Layout::ManyNarrow`] is as many
//!    instances as fit. Counts that are given win over both.
//! 4. An instance stays within one memory node, else one socket, if it can.
//! 5. Cores that do not fill an instance stay idle, with a note, as Intel's launchers do it.
//! 6. More threads than cores is an error, unless `pin` is [`Pin::None`]: then it is a warning.

mod cores;
mod error;
mod request;
mod warning;

use serde::Serialize;

use self::cores::{assign, by_socket, capacity, even_split, usable_cores, Assigned, Core};
use super::allowed::{Allowance, CpuQuota};
use super::cpu_list::CpuList;
use super::topology::Topology;
pub use error::PlacementError;
pub use request::{CoresPerInstance, Layout, Pin, PlacementRequest, UnknownPlacementWord};
pub use warning::PlacementWarning;

/// Counts above this are taken for a mistake.
pub const LARGEST_COUNT: usize = 8192;

/// Which instance runs where.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Placement {
    /// Whether each thread is bound to its CPU.
    pub pin: Pin,
    /// The instances, each one model with its own threads.
    pub instances: Vec<InstancePlacement>,
    /// A CPU for the issuing thread: the best free core, `None` when every core is taken.
    pub issuer_cpu: Option<usize>,
    /// The CPUs that the plan could use.
    pub usable: CpuList,
    /// Usable CPUs (first of each core) on which the plan puts nothing.
    pub idle: CpuList,
    /// What a person should know about this plan.
    pub warnings: Vec<PlacementWarning>,
}

impl Placement {
    /// Compute threads of all instances together.
    pub fn thread_count(&self) -> usize {
        self.instances
            .iter()
            .map(|instance| instance.intra_threads)
            .sum()
    }
}

/// Where one instance runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstancePlacement {
    /// With [`Pin::Core`], the CPU of each compute thread, `intra_threads` of them; the first is the
    /// worker's own. With [`Pin::None`], all CPUs among which the threads may float.
    pub cpus: Vec<usize>,
    /// Compute threads, the worker's own included.
    pub intra_threads: usize,
    /// Operators that may run side by side.
    pub inter_threads: usize,
    /// The memory node of all its CPUs, when they share one and the kernel tells.
    pub node: Option<usize>,
}

/// Makes the plan; see the module's documentation for the rules.
///
/// # Errors
/// When a count is zero or absurd, a CPU, socket or node is not available, or the threads do not
/// fit the cores and are to be pinned.
pub fn plan(
    request: &PlacementRequest,
    topology: &Topology,
    allowance: &Allowance,
) -> Result<Placement, PlacementError> {
    request.check_counts()?;
    let usable = usable_cpus(request, topology, &allowance.cpus)?;
    let smt = request.smt.unwrap_or(false);
    let pin = request.pin.unwrap_or_default();
    let mut cores = usable_cores(topology, &usable, smt);
    if smt && request.is_one_thread_each() {
        cores = cores::split_siblings(cores);
    }
    let assigned = match pin {
        Pin::Core => fit(request, &cores)?,
        Pin::None => float(request, &cores),
    };
    let mut warnings = Vec::new();
    let inter_threads = request.inter_threads.unwrap_or(1);
    let mut instances = Vec::with_capacity(assigned.len());
    for (index, held) in assigned.iter().enumerate() {
        let intra_threads = threads_of(request, held, pin)?;
        let cpus = match pin {
            Pin::Core => held.cpus().into_iter().take(intra_threads).collect(),
            Pin::None => usable.as_slice().to_vec(),
        };
        if let (Some(boundary), Pin::Core) = (held.boundary, pin) {
            warnings.push(PlacementWarning::Straddles {
                instance: index,
                boundary,
            });
        }
        instances.push(InstancePlacement {
            node: common_node(topology, &cpus),
            cpus,
            intra_threads,
            inter_threads,
        });
    }
    let taken: CpuList = match pin {
        Pin::Core => assigned.iter().flat_map(Assigned::cpus).collect(),
        Pin::None => usable.clone(),
    };
    let mut placement = Placement {
        pin,
        issuer_cpu: issuer_cpu(request, topology, allowance, &taken),
        idle: cores
            .iter()
            .map(|core| core.cpus[0])
            .filter(|&cpu| !taken.contains(cpu))
            .collect(),
        instances,
        usable,
        warnings,
    };
    let notes = notes(request, topology, allowance, &cores, &placement);
    placement.warnings.extend(notes);
    Ok(placement)
}

/// Rule 1.
fn usable_cpus(
    request: &PlacementRequest,
    topology: &Topology,
    allowed: &CpuList,
) -> Result<CpuList, PlacementError> {
    if allowed.is_empty() {
        return Err(PlacementError::NothingAllowed);
    }
    let mut usable = match &request.cpus {
        None => allowed.clone(),
        Some(cpus) => {
            if let Some(cpu) = cpus.iter().find(|&cpu| !allowed.contains(cpu)) {
                let allowed = allowed.clone();
                return Err(PlacementError::CpuNotAllowed { cpu, allowed });
            }
            cpus.clone()
        }
    };
    let socket_of = |cpu: usize| topology.cpu(cpu).map(|cpu| cpu.socket);
    let node_of = |cpu: usize| topology.cpu(cpu).and_then(|cpu| cpu.node);
    if let Some(socket) = request.socket {
        usable = narrow("socket", socket, &usable, socket_of)?;
    }
    if let Some(node) = request.numa_node {
        usable = narrow("numa_node", node, &usable, node_of)?;
    }
    Ok(usable)
}

fn narrow(
    key: &'static str,
    value: usize,
    usable: &CpuList,
    place_of: impl Fn(usize) -> Option<usize>,
) -> Result<CpuList, PlacementError> {
    let left: CpuList = usable
        .iter()
        .filter(|&cpu| place_of(cpu) == Some(value))
        .collect();
    if left.is_empty() {
        return Err(PlacementError::NoCpuOn {
            key,
            value,
            usable: usable.clone(),
            known: usable.iter().filter_map(place_of).collect(),
        });
    }
    Ok(left)
}

/// Rules 3 to 6 for threads that get a CPU each.
fn fit(request: &PlacementRequest, cores: &[Core]) -> Result<Vec<Assigned>, PlacementError> {
    let one_wide = request.layout.unwrap_or_default() == Layout::OneWide;
    let wanted = request.instances.or(one_wide.then_some(1));
    if request.cores_per_instance == Some(CoresPerInstance::Socket) {
        let mut sockets = by_socket(cores);
        let instances = wanted.unwrap_or(sockets.len());
        if instances > sockets.len() {
            let sockets = sockets.len();
            return Err(PlacementError::NotEnoughSockets { instances, sockets });
        }
        sockets.truncate(instances);
        return Ok(sockets);
    }
    let each = cores_each(request, cores);
    let instances = wanted.unwrap_or_else(|| capacity(cores, each).max(1));
    let needed = instances * each;
    if needed > cores.len() {
        return Err(PlacementError::Oversubscribed {
            instances,
            cores_per_instance: each,
            needed,
            usable: cores.len(),
            cpus: cores.iter().map(|core| core.cpus[0]).collect(),
        });
    }
    Ok(assign(cores, instances, each))
}

/// Threads that float share all cores, so only the number and the width of instances matter.
fn float(request: &PlacementRequest, cores: &[Core]) -> Vec<Assigned> {
    let one_wide = request.layout.unwrap_or_default() == Layout::OneWide;
    let (each, many) = if request.cores_per_instance == Some(CoresPerInstance::Socket) {
        let sockets = by_socket(cores);
        (sockets[0].cores.len(), sockets.len())
    } else {
        let each = cores_each(request, cores);
        (each, (cores.len() / each).max(1))
    };
    let instances = request.instances.unwrap_or(if one_wide { 1 } else { many });
    // More cores than there are mean as many threads all the same: that is what was asked for.
    let cores = cores.iter().cycle().take(each).cloned().collect();
    vec![
        Assigned {
            cores,
            boundary: None
        };
        instances
    ]
}

/// How many cores an instance takes when it is no whole socket.
fn cores_each(request: &PlacementRequest, cores: &[Core]) -> usize {
    if let Some(CoresPerInstance::Count(count)) = request.cores_per_instance {
        return count;
    }
    if let Some(threads) = request.intra_threads {
        let per_core = cores.iter().map(|core| core.cpus.len()).min().unwrap_or(1);
        return threads.div_ceil(per_core);
    }
    match request.layout.unwrap_or_default() {
        Layout::ManyNarrow => 1,
        Layout::OneWide => even_split(cores, request.instances.unwrap_or(1)),
    }
}

fn threads_of(
    request: &PlacementRequest,
    held: &Assigned,
    pin: Pin,
) -> Result<usize, PlacementError> {
    let cpus = held.cpus().len();
    match request.intra_threads {
        None => Ok(cpus),
        Some(intra_threads) if intra_threads > cpus && pin == Pin::Core => {
            Err(PlacementError::ThreadsBeyondCores {
                intra_threads,
                cores: held.cores.len(),
                cpus,
            })
        }
        Some(intra_threads) => Ok(intra_threads),
    }
}

fn common_node(topology: &Topology, cpus: &[usize]) -> Option<usize> {
    let mut nodes = cpus
        .iter()
        .map(|&cpu| topology.cpu(cpu).and_then(|cpu| cpu.node));
    let first = nodes.next()??;
    nodes.all(|node| node == Some(first)).then_some(first)
}

/// A core on which nothing runs; near the first instance if possible, and the last of these, since
/// interrupts and other people's threads gather on the first.
fn issuer_cpu(
    request: &PlacementRequest,
    topology: &Topology,
    allowance: &Allowance,
    taken: &CpuList,
) -> Option<usize> {
    let busy_cores: CpuList = taken
        .iter()
        .filter_map(|cpu| Some(topology.cpu(cpu)?.core))
        .collect();
    let home = topology.cpu(*taken.as_slice().first()?)?.socket;
    request
        .cpus
        .as_ref()
        .unwrap_or(&allowance.cpus)
        .iter()
        .filter_map(|cpu| topology.cpu(cpu))
        .filter(|cpu| !busy_cores.contains(cpu.core))
        // The first thread of a core before its siblings.
        .max_by_key(|cpu| (cpu.socket == home, cpu.id == cpu.core, cpu.id))
        .map(|cpu| cpu.id)
}

fn notes(
    request: &PlacementRequest,
    topology: &Topology,
    allowance: &Allowance,
    cores: &[Core],
    placement: &Placement,
) -> Vec<PlacementWarning> {
    let mut notes = Vec::new();
    let one_wide = request.layout.unwrap_or_default() == Layout::OneWide;
    if placement.pin == Pin::Core && !placement.idle.is_empty() && request.instances.is_none() {
        let used = cores.len() - placement.idle.len();
        let chosen = request.cores_per_instance.is_some() || request.intra_threads.is_some();
        if !one_wide {
            notes.push(PlacementWarning::CoresSkipped {
                cores: placement.idle.clone(),
                cores_per_instance: used / placement.instances.len(),
            });
        } else if !chosen {
            let usable = cores.len();
            notes.push(PlacementWarning::OneSocketOfSeveral { used, usable });
        }
    }
    let cpus: usize = cores.iter().map(|core| core.cpus.len()).sum();
    if request.cpus.is_some() && placement.pin == Pin::Core && cpus < placement.usable.len() {
        let used: CpuList = cores
            .iter()
            .flat_map(|core| core.cpus.iter().copied())
            .collect();
        let left_out = placement
            .usable
            .iter()
            .filter(|&cpu| !used.contains(cpu))
            .collect();
        notes.push(PlacementWarning::SiblingsLeftOut { cpus: left_out });
    }
    // Each instance's worker also runs operators, so `inter` adds one less than it says.
    let side_threads: usize = placement
        .instances
        .iter()
        .map(|i| i.inter_threads - 1)
        .sum();
    let threads = placement.thread_count() + side_threads;
    if threads > cpus {
        notes.push(PlacementWarning::Oversubscribed { threads, cpus });
    }
    if let CpuQuota::Limited(quota_cpus) = allowance.quota {
        if (threads as f64) > quota_cpus {
            notes.push(PlacementWarning::QuotaTooSmall {
                threads,
                quota_cpus,
            });
        }
    }
    let guessed = topology
        .guessed
        .iter()
        .filter(|&cpu| placement.usable.contains(cpu));
    let cpus: CpuList = guessed.collect();
    if !cpus.is_empty() {
        notes.push(PlacementWarning::TopologyGuessed { cpus });
    }
    notes
}

#[cfg(test)]
mod tests;
