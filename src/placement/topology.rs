//! The machine's CPUs: which share a core, a socket, a memory node. Read from sysfs.
//!
//! A *CPU* is what the kernel schedules on (a hardware thread); a *core* holds one CPU or several
//! siblings; a *socket* (the kernel says package) holds cores; a *node* is a memory domain.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::cpu_list::CpuList;

/// One CPU and where it sits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogicalCpu {
    /// Its number in the kernel.
    pub id: usize,
    /// The core: the lowest-numbered CPU that shares it.
    pub core: usize,
    /// The socket (`physical_package_id`).
    pub socket: usize,
    /// The memory node, when the kernel tells.
    pub node: Option<usize>,
}

/// All CPUs that are online or allowed, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Topology {
    /// The CPUs.
    pub cpus: Vec<LogicalCpu>,
    /// CPUs whose core or socket the kernel did not tell; each counts as a core of its own on
    /// socket 0. Empty on a healthy machine.
    pub guessed: CpuList,
}

impl Topology {
    /// Reads the topology below `sysfs` (normally `/sys`).
    ///
    /// Never fails: missing files degrade to one core per CPU ([`Self::guessed`]). CPUs of
    /// `allowed` that sysfs does not list are added the same way, since the scheduler accepts them.
    pub fn read(sysfs: &Path, allowed: &CpuList) -> Self {
        let base = sysfs.join("devices/system/cpu");
        let online = read_list(&base.join("online")).unwrap_or_default();
        let ids: BTreeSet<usize> = online.iter().chain(allowed.iter()).collect();
        let nodes = read_nodes(sysfs);
        let mut guessed = Vec::new();
        let cpus = ids
            .into_iter()
            .map(|id| {
                let folder = base.join(format!("cpu{id}/topology"));
                let siblings = ["core_cpus_list", "thread_siblings_list"]
                    .iter()
                    .find_map(|name| read_list(&folder.join(name)))
                    .filter(|siblings| siblings.contains(id));
                // The kernel writes -1 where firmware gives no package.
                let socket: Option<usize> = read_number(&folder.join("physical_package_id"));
                if siblings.is_none() || socket.is_none() {
                    guessed.push(id);
                }
                LogicalCpu {
                    id,
                    core: siblings.map_or(id, |siblings| siblings.as_slice()[0]),
                    socket: socket.unwrap_or(0),
                    node: nodes.get(&id).copied(),
                }
            })
            .collect();
        Self {
            cpus,
            guessed: guessed.into_iter().collect(),
        }
    }

    /// The CPU with this number.
    pub fn cpu(&self, id: usize) -> Option<&LogicalCpu> {
        let position = self.cpus.binary_search_by_key(&id, |cpu| cpu.id).ok()?;
        Some(&self.cpus[position])
    }

    /// The numbers of all CPUs.
    pub fn ids(&self) -> CpuList {
        self.cpus.iter().map(|cpu| cpu.id).collect()
    }

    /// How many cores there are.
    pub fn core_count(&self) -> usize {
        let cores: BTreeSet<usize> = self.cpus.iter().map(|cpu| cpu.core).collect();
        cores.len()
    }

    /// Whether some core holds more than one CPU.
    pub fn has_siblings(&self) -> bool {
        self.core_count() < self.cpus.len()
    }

    /// The sockets, ascending.
    pub fn sockets(&self) -> Vec<usize> {
        let sockets: BTreeSet<usize> = self.cpus.iter().map(|cpu| cpu.socket).collect();
        sockets.into_iter().collect()
    }

    /// The memory nodes that hold CPUs, ascending; empty when the kernel does not tell.
    pub fn nodes(&self) -> Vec<usize> {
        let nodes: BTreeSet<usize> = self.cpus.iter().filter_map(|cpu| cpu.node).collect();
        nodes.into_iter().collect()
    }
}

/// CPU -> memory node, from each node's list of CPUs.
fn read_nodes(sysfs: &Path) -> BTreeMap<usize, usize> {
    let base = sysfs.join("devices/system/node");
    let mut nodes = BTreeMap::new();
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("node"));
        let Some(node) = number.and_then(|digits| digits.parse().ok()) else {
            continue;
        };
        let cpus = read_list(&entry.path().join("cpulist")).unwrap_or_default();
        nodes.extend(cpus.iter().map(|cpu| (cpu, node)));
    }
    nodes
}

fn read_list(path: &Path) -> Option<CpuList> {
    CpuList::parse_kernel(&fs::read_to_string(path).ok()?)
}

fn read_number(path: &Path) -> Option<usize> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
pub(crate) mod fixtures {
    //! sysfs trees of known machines, written into a temporary folder.

    use super::*;
    use tempfile::TempDir;

    /// Writes `text` below `root`, creating folders.
    pub(crate) fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn cpu(root: &Path, id: usize, siblings: &str, socket: i32) {
        let folder = format!("devices/system/cpu/cpu{id}/topology");
        write(
            root,
            &format!("{folder}/thread_siblings_list"),
            &format!("{siblings}\n"),
        );
        write(
            root,
            &format!("{folder}/physical_package_id"),
            &format!("{socket}\n"),
        );
    }

    /// Two sockets of 28 cores with hyper-threading: CPUs 0-27 and 56-83 on socket 0, siblings 56 apart.
    pub(crate) fn cascade_lake() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "devices/system/cpu/online", "0-111\n");
        for id in 0..112 {
            let core = id % 56;
            let siblings = format!("{core},{}", core + 56);
            cpu(root.path(), id, &siblings, i32::from(core >= 28));
        }
        write(
            root.path(),
            "devices/system/node/node0/cpulist",
            "0-27,56-83\n",
        );
        write(
            root.path(),
            "devices/system/node/node1/cpulist",
            "28-55,84-111\n",
        );
        write(root.path(), "devices/system/node/possible", "0-1\n");
        root
    }

    /// A virtual machine with two cores and no siblings.
    pub(crate) fn two_core_vm() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "devices/system/cpu/online", "0-1\n");
        for id in 0..2 {
            cpu(root.path(), id, &id.to_string(), 0);
        }
        write(root.path(), "devices/system/node/node0/cpulist", "0-1\n");
        root
    }

    /// One socket of four cores whose siblings are neighbours (0 and 1 share a core), as clouds do.
    pub(crate) fn neighbour_siblings() -> TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "devices/system/cpu/online", "0-7\n");
        for id in 0..8 {
            let first = id / 2 * 2;
            cpu(root.path(), id, &format!("{first}-{}", first + 1), -1);
        }
        root
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::*;
    use super::*;

    #[test]
    fn a_two_socket_machine_is_read_with_its_siblings_and_nodes() {
        let root = cascade_lake();
        let topology = Topology::read(root.path(), &CpuList::default());
        assert_eq!(topology.cpus.len(), 112);
        assert_eq!(topology.core_count(), 56);
        assert_eq!(
            (topology.sockets(), topology.nodes()),
            (vec![0, 1], vec![0, 1])
        );
        assert!(topology.has_siblings() && topology.guessed.is_empty());
        let expected = LogicalCpu {
            id: 84,
            core: 28,
            socket: 1,
            node: Some(1),
        };
        assert_eq!(topology.cpu(84), Some(&expected));
        assert_eq!(topology.cpu(112), None);
    }

    #[test]
    fn a_virtual_machine_without_siblings_has_a_core_per_cpu() {
        let root = two_core_vm();
        let topology = Topology::read(root.path(), &"0-1".parse().unwrap());
        assert_eq!(topology.core_count(), 2);
        assert!(!topology.has_siblings());
    }

    #[test]
    fn a_socket_of_minus_one_is_unknown_and_counts_as_socket_0() {
        let root = neighbour_siblings();
        let topology = Topology::read(root.path(), &CpuList::default());
        assert_eq!(topology.core_count(), 4, "siblings are known all the same");
        assert_eq!((topology.sockets(), topology.nodes()), (vec![0], vec![]));
        assert_eq!(topology.guessed.to_string(), "0-7");
    }

    #[test]
    fn without_sysfs_every_allowed_cpu_is_a_core() {
        let root = tempfile::tempdir().unwrap();
        let allowed: CpuList = "2-3,9".parse().unwrap();
        let topology = Topology::read(root.path(), &allowed);
        assert_eq!(topology.ids(), allowed);
        assert_eq!((topology.core_count(), &topology.guessed), (3, &allowed));
        assert!(topology.nodes().is_empty());
    }

    #[test]
    fn a_garbled_sibling_file_makes_the_cpu_its_own_core() {
        let root = two_core_vm();
        let file = "devices/system/cpu/cpu1/topology/thread_siblings_list";
        write(root.path(), file, "no list");
        let topology = Topology::read(root.path(), &CpuList::default());
        assert_eq!(
            (topology.core_count(), topology.guessed.to_string()),
            (2, "1".to_owned())
        );
    }
}
