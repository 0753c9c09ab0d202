//! Usable cores and how instances share them out.

use std::collections::BTreeMap;

use super::super::cpu_list::CpuList;
use super::super::topology::Topology;

/// A core with the CPUs of it that may be used, the first one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Core {
    pub(super) cpus: Vec<usize>,
    socket: usize,
    node: Option<usize>,
}

/// The cores of one instance, and the boundary that they cross.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) cores: Vec<Core>,
    pub(super) boundary: Option<&'static str>,
}

impl Assigned {
    /// First threads of all cores, then second threads: few threads get a core each.
    pub(super) fn cpus(&self) -> Vec<usize> {
        let widest = self
            .cores
            .iter()
            .map(|core| core.cpus.len())
            .max()
            .unwrap_or(0);
        (0..widest)
            .flat_map(|rank| {
                self.cores
                    .iter()
                    .filter_map(move |core| core.cpus.get(rank))
            })
            .copied()
            .collect()
    }
}

/// The cores of the usable CPUs, by socket, node and number; siblings are kept with `smt` only.
pub(super) fn usable_cores(topology: &Topology, usable: &CpuList, smt: bool) -> Vec<Core> {
    let mut cores: BTreeMap<(usize, Option<usize>, usize), Vec<usize>> = BTreeMap::new();
    for id in usable.iter() {
        let place = topology
            .cpu(id)
            .map_or((0, None, id), |cpu| (cpu.socket, cpu.node, cpu.core));
        let cpus = cores.entry(place).or_default();
        if smt || cpus.is_empty() {
            cpus.push(id);
        }
    }
    let core = |((socket, node, _), cpus)| Core { cpus, socket, node };
    cores.into_iter().map(core).collect()
}

/// Every hardware thread as a core of its own, first threads before second ones on each node.
pub(super) fn split_siblings(cores: Vec<Core>) -> Vec<Core> {
    let mut threads: Vec<(usize, Core)> = cores
        .into_iter()
        .flat_map(|core| {
            let (socket, node) = (core.socket, core.node);
            let alone = move |cpu| Core {
                cpus: vec![cpu],
                socket,
                node,
            };
            core.cpus.into_iter().map(alone).enumerate()
        })
        .collect();
    threads.sort_by_key(|(rank, core)| (core.socket, core.node, *rank));
    threads.into_iter().map(|(_, core)| core).collect()
}

/// One instance per socket with all its cores, the largest sockets first.
pub(super) fn by_socket(cores: &[Core]) -> Vec<Assigned> {
    let mut sockets: BTreeMap<usize, Vec<Core>> = BTreeMap::new();
    for core in cores {
        sockets.entry(core.socket).or_default().push(core.clone());
    }
    let whole = |cores| Assigned {
        cores,
        boundary: None,
    };
    let mut sockets: Vec<Assigned> = sockets.into_values().map(whole).collect();
    sockets.sort_by_key(|socket| std::cmp::Reverse(socket.cores.len()));
    sockets
}

/// How many instances of `each` cores fit without crossing a node.
pub(super) fn capacity(cores: &[Core], each: usize) -> usize {
    let mut nodes: BTreeMap<(usize, Option<usize>), usize> = BTreeMap::new();
    for core in cores {
        *nodes.entry((core.socket, core.node)).or_default() += 1;
    }
    nodes.values().map(|count| count / each).sum()
}

/// The largest number of cores that `instances` instances can each have without crossing a socket;
/// one when there are more instances than cores.
pub(super) fn even_split(cores: &[Core], instances: usize) -> usize {
    let sizes: Vec<usize> = by_socket(cores)
        .iter()
        .map(|socket| socket.cores.len())
        .collect();
    (1..=cores.len())
        .rev()
        .find(|each| sizes.iter().map(|size| size / each).sum::<usize>() >= instances)
        .unwrap_or(1)
}

/// What two cores must have in common to belong together.
type Region = fn(&Core) -> (usize, Option<usize>);

/// Shares out `instances * each` cores: within nodes first, then within sockets, then across.
///
/// # Panics
/// When there are not so many cores.
pub(super) fn assign(cores: &[Core], instances: usize, each: usize) -> Vec<Assigned> {
    let mut left = cores.to_vec();
    let mut done: Vec<Assigned> = Vec::with_capacity(instances);
    let levels: [(Region, Option<&'static str>); 3] = [
        (|core| (core.socket, core.node), None),
        (|core| (core.socket, None), Some("memory nodes")),
        (|_| (0, None), Some("sockets")),
    ];
    for (region, boundary) in levels {
        let mut rest = Vec::new();
        for group in left.chunk_by(|a, b| region(a) == region(b)) {
            let taken = (group.len() / each).min(instances - done.len());
            let (full, remainder) = group.split_at(taken * each);
            let cores = |chunk: &[Core]| Assigned {
                cores: chunk.to_vec(),
                boundary,
            };
            done.extend(full.chunks(each).map(cores));
            rest.extend_from_slice(remainder);
        }
        left = rest;
    }
    assert_eq!(done.len(), instances, "the cores suffice");
    done
}
