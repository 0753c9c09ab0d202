//! Who else wanted the CPUs during a run: facts from before and after, and their difference.
//!
//! Each counter may be missing (virtual machines, containers, hardened kernels). A missing counter
//! is [`Fact::Unknown`]: nothing is inferred from silence.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::allowed::cpu_groups;
use super::fact::Fact;

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ContentionSnapshot {
    threads: BTreeMap<i32, ThreadCounters>,
    cpu_ticks: Option<CpuTicks>,
    cpu_pressure_us: Option<u64>,
    throttling: Option<Throttling>,
}

#[derive(Debug, Clone, PartialEq)]
struct ThreadCounters {
    name: String,
    involuntary: Option<u64>,
    voluntary: Option<u64>,
    migrations: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct CpuTicks {
    steal: u64,
    total: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Throttling {
    periods: u64,
    ns: u64,
}

impl ContentionSnapshot {
    /// Reads the counters of this process and machine. Takes some hundred microseconds: call it
    /// outside of anything timed, before the first and after the last query.
    pub fn take() -> Self {
        Self::read(Path::new("/"))
    }

    /// As [`Self::take`], below another root.
    fn read(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let throttling = cpu_groups(root)
            .iter()
            .filter_map(|group| fs::read_to_string(group.join("cpu.stat")).ok())
            .find_map(|stat| parse_throttling(&stat));
        Self {
            threads: read_threads(&root.join("proc/self/task")),
            cpu_ticks: text("proc/stat").and_then(|stat| parse_cpu_ticks(&stat)),
            cpu_pressure_us: text("proc/pressure/cpu").and_then(|psi| parse_pressure(&psi)),
            throttling,
        }
    }

    /// What happened since `before`.
    pub fn since(&self, before: &Self) -> Contention {
        let threads = self.threads.iter().map(|(&tid, after)| {
            let before = before.threads.get(&tid);
            // A thread that did not exist before started from zero.
            let grown = |count: fn(&ThreadCounters) -> Option<u64>| {
                let start = before.map_or(Some(0), count);
                growth(start, count(after))
            };
            ThreadContention {
                tid,
                name: after.name.clone(),
                involuntary_switches: grown(|counters| counters.involuntary),
                voluntary_switches: grown(|counters| counters.voluntary),
                migrations: grown(|counters| counters.migrations),
            }
        });
        let part =
            |snapshot: &Self, part: fn(&Throttling) -> u64| snapshot.throttling.as_ref().map(part);
        Contention {
            threads: threads.collect(),
            steal_share: steal_share(before.cpu_ticks, self.cpu_ticks).into(),
            cpu_pressure_us: growth(before.cpu_pressure_us, self.cpu_pressure_us),
            throttled_periods: growth(part(before, |t| t.periods), part(self, |t| t.periods)),
            throttled_ns: growth(part(before, |t| t.ns), part(self, |t| t.ns)),
        }
    }
}

/// What happened between two snapshots.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Contention {
    /// Threads that exist at the end, by number.
    pub threads: Vec<ThreadContention>,
    /// Share of all CPU time that the hypervisor gave to others, `0` to `1`, over the whole machine.
    pub steal_share: Fact<f64>,
    /// Microseconds during which some thread of the machine waited for a CPU.
    pub cpu_pressure_us: Fact<u64>,
    /// Periods in which the control group had used up its quota.
    pub throttled_periods: Fact<u64>,
    /// Nanoseconds for which it was stopped because of that, summed over CPUs.
    pub throttled_ns: Fact<u64>,
}

/// What happened to one thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ThreadContention {
    /// Its kernel number.
    pub tid: i32,
    /// Its name.
    pub name: String,
    /// Times it was taken off its CPU while it could have gone on: somebody else was let in.
    pub involuntary_switches: Fact<u64>,
    /// Times it waited of its own accord.
    pub voluntary_switches: Fact<u64>,
    /// Times it moved to another CPU.
    pub migrations: Fact<u64>,
}

/// A counter that runs backwards (a thread number used again, a container moved) tells nothing.
fn growth(before: Option<u64>, after: Option<u64>) -> Fact<u64> {
    before
        .zip(after)
        .and_then(|(before, after)| after.checked_sub(before))
        .into()
}

fn steal_share(before: Option<CpuTicks>, after: Option<CpuTicks>) -> Option<f64> {
    let (before, after) = before.zip(after)?;
    let steal = after.steal.checked_sub(before.steal)?;
    let total = after.total.checked_sub(before.total)?;
    (total > 0).then(|| steal as f64 / total as f64)
}

fn read_threads(folder: &Path) -> BTreeMap<i32, ThreadCounters> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let tid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let text = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let (status, sched) = (text("status"), text("sched"));
        if let Some(tid) = tid {
            let counters = ThreadCounters {
                name: text("comm").trim_end_matches('\n').to_owned(),
                involuntary: field(&status, "nonvoluntary_ctxt_switches"),
                voluntary: field(&status, "voluntary_ctxt_switches"),
                migrations: field(&sched, "se.nr_migrations"),
            };
            threads.insert(tid, counters);
        }
    }
    threads
}

/// The number after `key`, blanks and a colon.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.trim_start().strip_prefix(':')?;
        value.trim().parse().ok()
    })
}

/// The first line of `/proc/stat`: user nice system idle iowait irq softirq steal.
fn parse_cpu_ticks(stat: &str) -> Option<CpuTicks> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    // Guest time, after steal, is already part of user time.
    let steal = *ticks.get(7)?;
    let total = ticks[..8].iter().sum();
    Some(CpuTicks { steal, total })
}

/// The total of the `some` line of `/proc/pressure/cpu`, in microseconds.
fn parse_pressure(psi: &str) -> Option<u64> {
    let line = psi.lines().find_map(|line| line.strip_prefix("some "))?;
    line.rsplit_once("total=")?.1.trim().parse().ok()
}

/// `cpu.stat` of a control group: version 2 counts microseconds, version 1 nanoseconds.
fn parse_throttling(stat: &str) -> Option<Throttling> {
    let word = |key: &str| {
        stat.lines().find_map(|line| {
            line.strip_prefix(key)?
                .strip_prefix(' ')?
                .parse::<u64>()
                .ok()
        })
    };
    let ns = match word("throttled_usec") {
        Some(us) => us.checked_mul(1000)?,
        None => word("throttled_time")?,
    };
    let periods = word("nr_throttled")?;
    Some(Throttling { periods, ns })
}

#[cfg(test)]
mod tests {
    use super::super::topology::fixtures::write;
    use super::*;

    #[test]
    fn a_run_is_charged_with_the_growth_of_each_counter() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| write(root.path(), path, text);
        let thread = |tid: i32, name: &str, switches: u64, migrations: u64| {
            write(&format!("proc/self/task/{tid}/comm"), &format!("{name}\n"));
            let status =
                format!("voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t{switches}\n");
            write(&format!("proc/self/task/{tid}/status"), &status);
            let sched = format!("se.nr_migrations     :   {migrations}\nnr_switches : 9\n");
            write(&format!("proc/self/task/{tid}/sched"), &sched);
        };
        write(
            "proc/stat",
            "cpu  100 0 0 100 0 0 0 10 50 0\ncpu0 1 2 3 4 5 6 7 8\n",
        );
        write(
            "proc/pressure/cpu",
            "some avg10=0.29 avg60=1 avg300=1 total=1000\nfull total=5\n",
        );
        write("proc/self/cgroup", "0::/box\n");
        write(
            "sys/fs/cgroup/box/cpu.stat",
            "usage_usec 5\nnr_throttled 1\nthrottled_usec 10\n",
        );
        thread(7, "worker 0", 10, 2);
        let before = ContentionSnapshot::read(root.path());
        write("proc/stat", "cpu  150 0 0 120 0 0 0 40 99 0\n");
        write(
            "proc/pressure/cpu",
            "some avg10=0.29 avg60=1 avg300=1 total=1700\n",
        );
        write(
            "sys/fs/cgroup/box/cpu.stat",
            "usage_usec 5\nnr_throttled 4\nthrottled_usec 25\n",
        );
        thread(7, "worker 0", 14, 3);
        thread(8, "late", 6, 1);
        let contention = ContentionSnapshot::read(root.path()).since(&before);
        let charged = |tid, name: &str, involuntary, voluntary, migrations| ThreadContention {
            tid,
            name: name.to_owned(),
            involuntary_switches: Fact::Known(involuntary),
            voluntary_switches: Fact::Known(voluntary),
            migrations: Fact::Known(migrations),
        };
        let expected = Contention {
            threads: vec![charged(7, "worker 0", 4, 0, 1), charged(8, "late", 6, 5, 1)],
            steal_share: Fact::Known(0.3),
            cpu_pressure_us: Fact::Known(700),
            throttled_periods: Fact::Known(3),
            throttled_ns: Fact::Known(15_000),
        };
        assert_eq!(contention, expected);
    }

    #[test]
    fn missing_counters_are_unknown_and_never_zero() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "proc/self/task/3/comm", "x\n");
        let snapshot = ContentionSnapshot::read(root.path());
        let contention = snapshot.since(&snapshot);
        let json = serde_json::to_value(&contention).unwrap();
        for key in [
            "steal_share",
            "cpu_pressure_us",
            "throttled_periods",
            "throttled_ns",
        ] {
            assert_eq!(json[key], "unknown", "{key}");
        }
        assert_eq!(json["threads"][0]["migrations"], "unknown");
        assert_eq!(json["threads"][0]["involuntary_switches"], "unknown");
    }

    #[test]
    fn a_counter_that_runs_backwards_is_unknown() {
        assert_eq!(growth(Some(5), Some(4)), Fact::Unknown);
        assert_eq!(growth(Some(5), Some(5)), Fact::Known(0));
    }

    #[test]
    fn version_one_counts_nanoseconds() {
        let stat = "nr_periods 9\nnr_throttled 2\nthrottled_time 777\n";
        assert_eq!(
            parse_throttling(stat),
            Some(Throttling {
                periods: 2,
                ns: 777
            })
        );
        assert_eq!(parse_throttling("usage_usec 4\n"), None);
    }

    #[test]
    fn this_process_has_threads_with_counted_switches() {
        let before = ContentionSnapshot::take();
        let contention = ContentionSnapshot::take().since(&before);
        assert!(!contention.threads.is_empty());
        let known = |thread: &ThreadContention| thread.involuntary_switches.known().is_some();
        assert!(contention.threads.iter().any(known));
    }
}
