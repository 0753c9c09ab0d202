//! Facts on the machine for `run.json`: what a reader needs to judge a figure or to repeat it.
//!
//! A fact that the machine hides is the string `"unknown"`. The host's name and user are left out,
//! since result files are published. `root` is `/` except in tests.

mod allocator;
mod cpu_info;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::allowed::{group_folders, Allowance, CpuQuota};
use super::cpu_list::CpuList;
use super::fact::Fact;
use super::topology::Topology;
pub use allocator::Allocator;
pub use cpu_info::CpuInfo;

/// The machine, the system and this process's share of them, at the moment of reading.
///
/// Serialised with these names as keys; an unknown fact is the string `"unknown"`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Host {
    /// The processor.
    pub cpu: CpuInfo,
    /// Sockets.
    pub sockets: Fact<usize>,
    /// Physical cores that are online.
    pub cores: Fact<usize>,
    /// CPUs (hardware threads) that are online.
    pub cpus: usize,
    /// Memory nodes that hold CPUs.
    pub numa_nodes: Fact<usize>,
    /// Whether cores run several threads.
    pub smt_enabled: Fact<bool>,
    /// Frequency governors of the allowed CPUs, joined by commas when they differ.
    pub governor: Fact<String>,
    /// Frequency of the first allowed CPU when read; an idle CPU may well be slower than under load.
    pub frequency_current_mhz: Fact<f64>,
    /// The highest frequency of that CPU.
    pub frequency_max_mhz: Fact<f64>,
    /// Whether frequencies above the nominal one are on.
    pub turbo_enabled: Fact<bool>,
    /// Whether this is a virtual machine.
    pub virtualised: Fact<bool>,
    /// The container engine, when a trace of one is found; no trace proves nothing.
    pub container: Fact<String>,
    /// Main memory.
    pub memory_total_bytes: Fact<u64>,
    /// Memory limit of the control group.
    pub memory_limit_bytes: Fact<u64>,
    /// Transparent huge pages: `always`, `madvise` or `never`.
    pub transparent_hugepages: Fact<String>,
    /// Huge pages that are set aside.
    pub hugepages_reserved: Fact<u64>,
    /// Kernel release.
    pub kernel: Fact<String>,
    /// Name and version of the distribution.
    pub distribution: Fact<String>,
    /// The allocator behind `malloc` in this process.
    pub allocator: Allocator,
    /// CPUs allowed to this process.
    pub affinity: CpuList,
    /// CPU time granted to this process's control group, in CPUs.
    pub cpu_quota: CpuQuota,
    /// Runnable tasks on average over 1, 5 and 15 minutes, when read.
    pub load_average: Fact<[f64; 3]>,
}

impl Host {
    /// Reads the facts of this machine and process. Takes milliseconds: not within anything timed.
    pub fn of_this_machine(topology: &Topology, allowance: &Allowance) -> Self {
        let preload = std::env::var_os("LD_PRELOAD");
        Self::read(Path::new("/"), preload.as_deref(), topology, allowance)
    }

    fn read(
        root: &Path,
        preload: Option<&OsStr>,
        topology: &Topology,
        allowance: &Allowance,
    ) -> Self {
        let files = Files { root };
        let cpu = CpuInfo::parse(&files.text("proc/cpuinfo").unwrap_or_default());
        let meminfo = files.text("proc/meminfo").unwrap_or_default();
        let told = topology.guessed.is_empty();
        let first = allowance.cpus.iter().next().unwrap_or(0);
        let nodes = topology.nodes();
        Self {
            sockets: told.then(|| topology.sockets().len()).into(),
            cores: told.then(|| topology.core_count()).into(),
            cpus: topology.cpus.len(),
            numa_nodes: (!nodes.is_empty()).then_some(nodes.len()).into(),
            smt_enabled: files
                .switch("sys/devices/system/cpu/smt/active")
                .or_else(|| told.then(|| topology.has_siblings()))
                .into(),
            governor: files.governors(&allowance.cpus).into(),
            frequency_current_mhz: files
                .mhz(first, "scaling_cur_freq")
                .or(cpu.mhz_of(first))
                .into(),
            frequency_max_mhz: files.mhz(first, "cpuinfo_max_freq").into(),
            turbo_enabled: files.turbo().into(),
            virtualised: cpu.virtualised,
            container: files.container().into(),
            memory_total_bytes: kilobytes(&meminfo, "MemTotal:").into(),
            memory_limit_bytes: files.memory_limit().into(),
            transparent_hugepages: files
                .chosen("sys/kernel/mm/transparent_hugepage/enabled")
                .into(),
            hugepages_reserved: number(&meminfo, "HugePages_Total:").into(),
            kernel: files.line("proc/sys/kernel/osrelease").into(),
            distribution: files.distribution().into(),
            allocator: Allocator::find(
                &files.text("proc/self/maps").unwrap_or_default(),
                preload,
                |path| fs::read(path).ok(),
            ),
            affinity: allowance.cpus.clone(),
            cpu_quota: allowance.quota,
            load_average: files.load_average().into(),
            cpu,
        }
    }
}

/// The pseudo files below a root.
struct Files<'a> {
    root: &'a Path,
}

impl Files<'_> {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// A file of one line; `None` when it is empty.
    fn line(&self, path: &str) -> Option<String> {
        let line = self.text(path)?.trim().to_owned();
        (!line.is_empty()).then_some(line)
    }

    fn switch(&self, path: &str) -> Option<bool> {
        match self.line(path)?.as_str() {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        }
    }

    /// The word in brackets: `always [madvise] never`.
    fn chosen(&self, path: &str) -> Option<String> {
        let line = self.line(path)?;
        let (_, rest) = line.split_once('[')?;
        Some(rest.split_once(']')?.0.to_owned())
    }

    fn governors(&self, cpus: &CpuList) -> Option<String> {
        let file = |cpu| format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        let mut names: Vec<String> = cpus
            .iter()
            .filter_map(|cpu| self.line(&file(cpu)))
            .collect();
        names.sort();
        names.dedup();
        (!names.is_empty()).then(|| names.join(", "))
    }

    fn mhz(&self, cpu: usize, name: &str) -> Option<f64> {
        let khz = self.line(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/{name}"))?;
        Some(khz.parse::<f64>().ok()? / 1000.0)
    }

    /// Intel's driver says whether turbo is *off*, the others whether boost is *on*.
    fn turbo(&self) -> Option<bool> {
        let off = self.switch("sys/devices/system/cpu/intel_pstate/no_turbo");
        off.map(|off| !off)
            .or_else(|| self.switch("sys/devices/system/cpu/cpufreq/boost"))
    }

    fn distribution(&self) -> Option<String> {
        let text = self
            .text("etc/os-release")
            .or_else(|| self.text("usr/lib/os-release"))?;
        let name = text
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
        Some(name.trim().trim_matches('"').to_owned())
    }

    fn container(&self) -> Option<String> {
        let marks = [
            (".dockerenv", "docker"),
            ("run/.containerenv", "podman"),
            ("run/systemd/container", "systemd"),
        ];
        if let Some((_, name)) = marks.iter().find(|(path, _)| self.path(path).exists()) {
            return Some((*name).to_owned());
        }
        let groups = self.text("proc/self/cgroup")?;
        let names = ["kubepods", "docker", "containerd", "lxc"];
        names
            .iter()
            .find(|name| groups.contains(*name))
            .map(|name| (*name).to_owned())
    }

    /// The tightest limit among this process's group and its ancestors.
    fn memory_limit(&self) -> Option<u64> {
        group_folders(self.root, "memory", &["memory"])
            .iter()
            .flat_map(|group| ["memory.max", "memory.limit_in_bytes"].map(|name| group.join(name)))
            .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok())
            // Version 1 writes "no limit" as the largest number of whole pages.
            .filter(|&bytes| bytes < 1 << 62)
            .min()
    }

    fn load_average(&self) -> Option<[f64; 3]> {
        let line = self.line("proc/loadavg")?;
        let mut numbers = line.split(' ').map_while(|word| word.parse().ok());
        Some([numbers.next()?, numbers.next()?, numbers.next()?])
    }
}

fn number(meminfo: &str, key: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

fn kilobytes(meminfo: &str, key: &str) -> Option<u64> {
    number(meminfo, key)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::super::topology::fixtures::{two_core_vm, write};
    use super::*;

    fn read(root: &Path) -> Host {
        let cpus: CpuList = "0-1".parse().unwrap();
        let vm = two_core_vm();
        let topology = Topology::read(vm.path(), &cpus);
        let quota = CpuQuota::Unknown;
        Host::read(root, None, &topology, &Allowance { cpus, quota })
    }

    #[test]
    fn a_machine_that_tells_everything_is_described() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| write(root.path(), path, text);
        let cpu = "sys/devices/system/cpu";
        write(
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: Test CPU\nflags\t\t: fpu avx2\n",
        );
        write(
            "proc/meminfo",
            "MemTotal:       24730032 kB\nHugePages_Total:       4\n",
        );
        write("proc/loadavg", "0.50 0.48 0.47 1/90 12085\n");
        write("proc/sys/kernel/osrelease", "6.1.0-test\n");
        write("etc/os-release", "NAME=x\nPRETTY_NAME=\"Some Linux 12\"\n");
        write(
            "sys/kernel/mm/transparent_hugepage/enabled",
            "always [madvise] never\n",
        );
        write(&format!("{cpu}/smt/active"), "0\n");
        write(&format!("{cpu}/intel_pstate/no_turbo"), "0\n");
        write(
            &format!("{cpu}/cpu0/cpufreq/scaling_governor"),
            "powersave\n",
        );
        write(
            &format!("{cpu}/cpu1/cpufreq/scaling_governor"),
            "performance\n",
        );
        write(&format!("{cpu}/cpu0/cpufreq/scaling_cur_freq"), "2100500\n");
        write(&format!("{cpu}/cpu0/cpufreq/cpuinfo_max_freq"), "3700000\n");
        write("proc/self/cgroup", "0::/kubepods/pod1\n");
        write("sys/fs/cgroup/kubepods/pod1/memory.max", "max\n");
        write("sys/fs/cgroup/kubepods/memory.max", "1073741824\n");
        let host = read(root.path());
        let known = |text: &str| Fact::Known(text.to_owned());
        assert_eq!(host.memory_total_bytes, Fact::Known(24_730_032 * 1024));
        assert_eq!(host.memory_limit_bytes, Fact::Known(1 << 30));
        assert_eq!(host.hugepages_reserved, Fact::Known(4));
        assert_eq!(host.transparent_hugepages, known("madvise"));
        assert_eq!(host.load_average, Fact::Known([0.50, 0.48, 0.47]));
        assert_eq!(
            (host.kernel, host.distribution),
            (known("6.1.0-test"), known("Some Linux 12"))
        );
        assert_eq!(host.governor, known("performance, powersave"));
        assert_eq!(host.frequency_current_mhz, Fact::Known(2100.5));
        assert_eq!(host.frequency_max_mhz, Fact::Known(3700.0));
        assert_eq!(
            (host.turbo_enabled, host.smt_enabled),
            (Fact::Known(true), Fact::Known(false))
        );
        assert_eq!(host.container, known("kubepods"));
        assert_eq!(
            (host.sockets, host.cores, host.cpus),
            (Fact::Known(1), Fact::Known(2), 2)
        );
        assert_eq!(host.virtualised, Fact::Known(false));
    }

    #[test]
    fn a_machine_that_tells_nothing_is_unknown_throughout() {
        let root = tempfile::tempdir().unwrap();
        let cpus: CpuList = "0-1".parse().unwrap();
        let topology = Topology::read(root.path(), &cpus);
        let quota = CpuQuota::Unknown;
        let host = Host::read(root.path(), None, &topology, &Allowance { cpus, quota });
        let json = serde_json::to_value(&host).unwrap();
        for (key, value) in json.as_object().unwrap() {
            match key.as_str() {
                "cpus" => assert_eq!(value, 2),
                "affinity" => assert_eq!(value, "0-1"),
                "cpu" => {
                    for (key, value) in value.as_object().unwrap() {
                        assert!(key == "flags" || value == "unknown", "cpu.{key} = {value}");
                    }
                }
                "allocator" => assert_eq!(value["name"], "unknown"),
                _ => assert_eq!(value, "unknown", "{key}"),
            }
        }
    }

    #[test]
    fn boost_and_version_one_limits_are_understood() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| write(root.path(), path, text);
        write("sys/devices/system/cpu/cpufreq/boost", "0\n");
        write("proc/self/cgroup", "4:memory:/\n");
        write(
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        let host = read(root.path());
        assert_eq!(host.turbo_enabled, Fact::Known(false));
        assert_eq!(host.memory_limit_bytes, Fact::Unknown);
        // No file tells, but the topology does.
        assert_eq!(host.smt_enabled, Fact::Known(false));
    }

    #[test]
    fn this_machine_is_described_without_its_name() {
        let allowance = Allowance::of_this_process().unwrap();
        let topology = Topology::read(Path::new("/sys"), &allowance.cpus);
        let host = Host::of_this_machine(&topology, &allowance);
        assert!(host.memory_total_bytes.known().is_some());
        assert_ne!(host.allocator.name, "unknown");
        let json = serde_json::to_string(&host).unwrap();
        assert!(!json.contains("hostname"));
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let name = name.trim();
        // A short name such as `vm` may be part of another word.
        assert!(name.len() < 5 || !json.contains(name));
    }
}
