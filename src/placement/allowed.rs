//! What this process may use: its CPU affinity and its control group's quota of CPU time.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sched::{sched_getaffinity, CpuSet};
use nix::unistd::Pid;
use serde::{Serialize, Serializer};

use super::cpu_list::CpuList;

/// The CPUs and the CPU time that a plan may count on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Allowance {
    /// CPUs on which the scheduler may put this process.
    pub cpus: CpuList,
    /// CPU time that the control group grants.
    pub quota: CpuQuota,
}

impl Allowance {
    /// Asks the operating system. Call it before any thread is pinned: the affinity of the calling
    /// thread is what it reports.
    ///
    /// # Errors
    /// When the kernel does not tell the affinity.
    pub fn of_this_process() -> Result<Self, AffinityError> {
        Ok(Self {
            cpus: allowed_cpus()?,
            quota: cpu_quota(Path::new("/")),
        })
    }
}

/// How many CPUs' worth of time a control group grants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CpuQuota {
    /// At most so many CPUs on average, then the group is throttled.
    Limited(f64),
    /// No limit is set.
    Unlimited,
    /// No control group tells.
    Unknown,
}

impl fmt::Display for CpuQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limited(cpus) => write!(f, "{cpus} CPUs"),
            Self::Unlimited => f.write_str("unlimited"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl Serialize for CpuQuota {
    /// A number of CPUs, or the string `"unlimited"` or `"unknown"`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Limited(cpus) => serializer.serialize_f64(*cpus),
            Self::Unlimited => serializer.serialize_str("unlimited"),
            Self::Unknown => serializer.serialize_str("unknown"),
        }
    }
}

/// The affinity cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the CPUs allowed to this process cannot be read from the kernel; is /proc mounted?")]
pub struct AffinityError(#[source] nix::Error);

/// The CPUs on which the calling thread may run.
///
/// # Errors
/// When neither the system call nor `/proc/self/status` tells.
pub fn allowed_cpus() -> Result<CpuList, AffinityError> {
    match sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => Ok((0..CpuSet::count())
            .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
            .collect()),
        // The fixed-size mask of the call is too small on kernels built for more than 1024 CPUs.
        Err(error) => fs::read_to_string("/proc/thread-self/status")
            .ok()
            .and_then(|status| allowed_in_status(&status))
            .ok_or(AffinityError(error)),
    }
}

/// `Cpus_allowed_list` of a `/proc/.../status` file.
pub(crate) fn allowed_in_status(status: &str) -> Option<CpuList> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    CpuList::parse_kernel(list)
}

/// The quota of this process's control group, the tightest among it and its ancestors.
///
/// `root` is `/` except in tests. Version 2 (`cpu.max`) and version 1 (`cpu.cfs_quota_us`) are
/// read at their usual mount points below `/sys/fs/cgroup`.
pub fn cpu_quota(root: &Path) -> CpuQuota {
    let quotas = cpu_groups(root)
        .into_iter()
        .filter_map(|folder| quota_of(&folder));
    quotas.fold(CpuQuota::Unknown, |tightest, quota| {
        match (tightest, quota) {
            (CpuQuota::Limited(a), CpuQuota::Limited(b)) => CpuQuota::Limited(a.min(b)),
            (limited @ CpuQuota::Limited(_), _) => limited,
            (_, quota) => quota,
        }
    })
}

fn quota_of(folder: &Path) -> Option<CpuQuota> {
    let read = |name| fs::read_to_string(folder.join(name)).ok();
    let (quota, period) = match read("cpu.max") {
        Some(line) => {
            let (quota, period) = line.trim().split_once(' ')?;
            (quota.to_owned(), period.to_owned())
        }
        None => (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
    };
    // Version 2 writes `max` for no limit, version 1 writes -1.
    match (quota.trim(), period.trim().parse::<f64>()) {
        ("max" | "-1", _) => Some(CpuQuota::Unlimited),
        (quota, Ok(period)) if period > 0.0 => {
            Some(CpuQuota::Limited(quota.parse::<f64>().ok()? / period))
        }
        _ => None,
    }
}

/// The folders of the control groups that govern this process's CPU time, innermost first.
pub(crate) fn cpu_groups(root: &Path) -> Vec<PathBuf> {
    group_folders(root, "cpu", &["cpu", "cpu,cpuacct"])
}

/// The folders of the groups of one controller, innermost first, for either version.
pub(crate) fn group_folders(root: &Path, controller: &str, mounts: &[&str]) -> Vec<PathBuf> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let base = root.join("sys/fs/cgroup");
    let mut folders = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let tops: Vec<PathBuf> = if controllers.is_empty() {
            vec![base.clone(), base.join("unified")]
        } else if controllers.split(',').any(|name| name == controller) {
            mounts.iter().map(|mount| base.join(mount)).collect()
        } else {
            continue;
        };
        for top in tops {
            // In a container the path may be the host's and not exist here; the top still does.
            let inner = top.join(path.trim_start_matches('/'));
            let mut group = inner.as_path();
            loop {
                if group.is_dir() {
                    folders.push(group.to_owned());
                }
                match group.parent() {
                    Some(parent) if group != top => group = parent,
                    _ => break,
                }
            }
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::super::topology::fixtures::write;
    use super::*;

    #[test]
    fn this_process_may_run_somewhere() {
        let allowance = Allowance::of_this_process().unwrap();
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        assert_eq!(Some(allowance.cpus), allowed_in_status(&status));
    }

    #[test]
    fn the_tightest_quota_among_the_ancestors_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| write(root.path(), path, text);
        assert_eq!(cpu_quota(root.path()), CpuQuota::Unknown);
        write("proc/self/cgroup", "0::/pod/box\n");
        write("sys/fs/cgroup/pod/box/cpu.max", "max 100000\n");
        assert_eq!(cpu_quota(root.path()), CpuQuota::Unlimited);
        write("sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
        assert_eq!(cpu_quota(root.path()), CpuQuota::Limited(2.5));
        write("sys/fs/cgroup/pod/box/cpu.max", "400000 100000\n");
        assert_eq!(cpu_quota(root.path()), CpuQuota::Limited(2.5));
        write("sys/fs/cgroup/pod/box/cpu.max", "150000 100000\n");
        assert_eq!(cpu_quota(root.path()), CpuQuota::Limited(1.5));
    }

    #[test]
    fn version_one_groups_and_foreign_paths_are_understood() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| write(root.path(), path, text);
        write(
            "proc/self/cgroup",
            "5:memory:/x\n4:cpu,cpuacct:/docker/0123\n",
        );
        write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
        write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
        assert_eq!(cpu_quota(root.path()), CpuQuota::Unlimited);
        write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
        assert_eq!(cpu_quota(root.path()), CpuQuota::Limited(0.5));
        write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "nonsense\n");
        assert_eq!(cpu_quota(root.path()), CpuQuota::Unknown);
    }

    #[test]
    fn a_quota_is_serialised_as_a_number_or_a_word() {
        let quotas = [
            CpuQuota::Limited(1.5),
            CpuQuota::Unlimited,
            CpuQuota::Unknown,
        ];
        let json = serde_json::to_string(&quotas).unwrap();
        assert_eq!(json, r#"[1.5,"unlimited","unknown"]"#);
    }
}
