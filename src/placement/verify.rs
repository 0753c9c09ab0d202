//! Where the threads of this process may run and last ran, compared with the plan.
//!
//! Pinning fails silently in practice: a runtime starts its own pool, a container narrows a mask, a
//! thread is created before its parent is bound. So the kernel's word is read back and compared.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Serialize, Serializer};

use super::allowed::allowed_in_status;
use super::cpu_list::CpuList;
use super::plan::{Pin, Placement};

/// A thread outside the plan counts as busy from this much CPU time on: 100 ms at the kernel's
/// fixed 100 ticks a second.
const BUSY_TICKS: u64 = 10;

/// A thread as the kernel sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ThreadPlace {
    /// Its kernel number.
    pub tid: i32,
    /// Its name, at most 15 bytes. A thread inherits the name of the one that creates it.
    pub name: String,
    /// The CPUs on which it may run.
    pub allowed: CpuList,
    /// The CPU on which it last ran.
    pub last_cpu: usize,
    /// CPU time used so far, in ticks (normally 10 ms).
    pub cpu_ticks: u64,
}

/// All threads of this process, by number.
///
/// # Errors
/// When `/proc/self/task` cannot be listed.
pub fn thread_places() -> io::Result<Vec<ThreadPlace>> {
    read_threads(Path::new("/proc/self/task"))
}

/// All threads below a `/proc/<pid>/task` folder. A thread that ends meanwhile is left out.
fn read_threads(folder: &Path) -> io::Result<Vec<ThreadPlace>> {
    let mut places = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let read = |name| fs::read_to_string(path.join(name)).ok();
        if let (Some(status), Some(stat)) = (read("status"), read("stat")) {
            places.extend(parse_thread(&status, &stat));
        }
    }
    places.sort_by_key(|place: &ThreadPlace| place.tid);
    Ok(places)
}

/// From the text of `status` and `stat`.
fn parse_thread(status: &str, stat: &str) -> Option<ThreadPlace> {
    // The name stands in parentheses and may itself hold spaces and parentheses, so it ends at
    // the last one. The field after it is the third.
    let (tid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |one_based: usize| fields.get(one_based - 3)?.parse::<u64>().ok();
    Some(ThreadPlace {
        tid: tid.parse().ok()?,
        name: name.to_owned(),
        allowed: allowed_in_status(status)?,
        last_cpu: number(39)?.try_into().ok()?,
        cpu_ticks: number(14)? + number(15)?,
    })
}

/// How reality differs from the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlacementFinding {
    /// A planned thread may run on CPUs that the plan does not give to its instance.
    CanRunElsewhere {
        /// The thread.
        tid: i32,
        /// Its name.
        name: String,
        /// Index of its instance.
        instance: usize,
        /// Where it may run.
        allowed: CpuList,
        /// Where the plan wants it.
        planned: CpuList,
    },
    /// A planned thread should be bound to one CPU but floats among its instance's.
    NotBound {
        /// The thread.
        tid: i32,
        /// Its name.
        name: String,
        /// Index of its instance.
        instance: usize,
        /// Where it may run.
        allowed: CpuList,
    },
    /// Busy threads that can run on one and the same CPU only.
    ShareOneCpu {
        /// The CPU.
        cpu: usize,
        /// Number and name of each.
        threads: Vec<(i32, String)>,
    },
    /// An instance has fewer threads than planned.
    TooFewThreads {
        /// Index of the instance.
        instance: usize,
        /// Threads found.
        found: usize,
        /// Threads planned.
        planned: usize,
    },
}

impl fmt::Display for PlacementFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CanRunElsewhere { tid, name, instance, allowed, planned } => write!(
                f,
                "thread {tid} `{name}` of instance {instance} may run on CPUs {allowed}, planned are {planned}"
            ),
            Self::NotBound { tid, name, instance, allowed } => write!(
                f,
                "thread {tid} `{name}` of instance {instance} is not bound to one CPU: it floats on {allowed}"
            ),
            Self::ShareOneCpu { cpu, threads } => {
                write!(f, "busy threads share CPU {cpu}:")?;
                threads.iter().try_for_each(|(tid, name)| write!(f, " {tid} `{name}`"))
            }
            Self::TooFewThreads { instance, found, planned } => write!(
                f,
                "instance {instance} has {found} threads, planned are {planned}"
            ),
        }
    }
}

impl Serialize for PlacementFinding {
    /// The sentence.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Compares the threads with the plan; an empty list means that all is as planned.
///
/// `instance_of` tells which instance a thread computes for, by its number or its name; `None` for
/// threads that the plan does not cover (the main thread, the issuer).
pub fn verify(
    placement: &Placement,
    threads: &[ThreadPlace],
    instance_of: impl Fn(&ThreadPlace) -> Option<usize>,
) -> Vec<PlacementFinding> {
    let mut findings = Vec::new();
    let mut found = vec![0; placement.instances.len()];
    let mut confined: BTreeMap<usize, Vec<(&ThreadPlace, bool)>> = BTreeMap::new();
    for thread in threads {
        let instance = instance_of(thread).filter(|&index| index < found.len());
        if let Some(index) = instance {
            found[index] += 1;
            findings.extend(misplaced(placement, thread, index));
        }
        let busy = instance.is_some() || thread.cpu_ticks >= BUSY_TICKS;
        if let ([cpu], true) = (thread.allowed.as_slice(), busy) {
            confined
                .entry(*cpu)
                .or_default()
                .push((thread, instance.is_some()));
        }
    }
    for (cpu, sharers) in confined {
        if sharers.len() > 1 && sharers.iter().any(|(_, planned)| *planned) {
            let threads = sharers
                .iter()
                .map(|(thread, _)| (thread.tid, thread.name.clone()));
            let threads = threads.collect();
            findings.push(PlacementFinding::ShareOneCpu { cpu, threads });
        }
    }
    for (instance, (&found, plan)) in found.iter().zip(&placement.instances).enumerate() {
        let planned = plan.intra_threads;
        if found < planned {
            findings.push(PlacementFinding::TooFewThreads {
                instance,
                found,
                planned,
            });
        }
    }
    findings
}

fn misplaced(
    placement: &Placement,
    thread: &ThreadPlace,
    instance: usize,
) -> Option<PlacementFinding> {
    let (tid, name, allowed) = (thread.tid, thread.name.clone(), thread.allowed.clone());
    let planned: CpuList = placement.instances[instance].cpus.iter().copied().collect();
    if !allowed.is_subset(&planned) {
        return Some(PlacementFinding::CanRunElsewhere {
            tid,
            name,
            instance,
            allowed,
            planned,
        });
    }
    let floats = placement.pin == Pin::Core && allowed.len() > 1;
    floats.then_some(PlacementFinding::NotBound {
        tid,
        name,
        instance,
        allowed,
    })
}

#[cfg(test)]
mod tests {
    use super::super::plan::InstancePlacement;
    use super::*;
    use std::sync::mpsc;

    /// A `stat` line with the name given; 17 is field 39, 250 + 30 are the ticks.
    fn stat(tid: i32, name: &str) -> String {
        format!(
            "{tid} ({name}) S 1 1 1 0 -1 4194304 99 0 0 0 250 30 0 0 20 0 3 0 144504 3133440 394 \
             18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 17 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        )
    }

    #[test]
    fn names_with_spaces_and_parentheses_do_not_shift_the_fields() {
        for name in ["plain", "two words", "a) (b", ") R 5", "", "(("] {
            let status = "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-3,17\n";
            let place = parse_thread(status, &stat(42, name)).unwrap();
            let expected = ThreadPlace {
                tid: 42,
                name: name.to_owned(),
                allowed: "0-3,17".parse().unwrap(),
                last_cpu: 17,
                cpu_ticks: 280,
            };
            assert_eq!(place, expected);
        }
        assert_eq!(parse_thread("", &stat(1, "x")), None);
        assert_eq!(parse_thread("Cpus_allowed_list: 0", "1 (x) S 2"), None);
    }

    fn placement(pin: Pin, cpus: &[&[usize]]) -> Placement {
        let instance = |cpus: &&[usize]| InstancePlacement {
            cpus: cpus.to_vec(),
            intra_threads: cpus.len(),
            inter_threads: 1,
            node: None,
        };
        Placement {
            pin,
            instances: cpus.iter().map(instance).collect(),
            issuer_cpu: None,
            usable: "0-3".parse().unwrap(),
            idle: CpuList::default(),
            warnings: Vec::new(),
        }
    }

    fn thread(tid: i32, name: &str, allowed: &str, cpu_ticks: u64) -> ThreadPlace {
        ThreadPlace {
            tid,
            name: name.to_owned(),
            allowed: allowed.parse().unwrap(),
            last_cpu: 0,
            cpu_ticks,
        }
    }

    fn by_name(place: &ThreadPlace) -> Option<usize> {
        place.name.strip_prefix("worker-")?.parse().ok()
    }

    #[test]
    fn threads_that_follow_the_plan_give_no_finding() {
        let plan = placement(Pin::Core, &[&[0, 1], &[2]]);
        let threads = [
            thread(1, "main", "0-3", 900),
            thread(2, "worker-0", "0", 0),
            thread(3, "worker-0", "1", 0),
            thread(4, "worker-1", "2", 0),
            thread(5, "telemetry", "2", BUSY_TICKS - 1),
        ];
        assert_eq!(verify(&plan, &threads, by_name), []);
        let plan = placement(Pin::None, &[&[0, 1]]);
        let threads = [
            thread(1, "worker-0", "0-1", 0),
            thread(2, "worker-0", "0-1", 0),
        ];
        assert_eq!(verify(&plan, &threads, by_name), []);
    }

    #[test]
    fn each_way_to_miss_the_plan_is_found() {
        let plan = placement(Pin::Core, &[&[0, 1], &[2, 3]]);
        let threads = [
            thread(2, "worker-0", "0-3", 0),
            thread(3, "worker-0", "0-1", 0),
            thread(4, "worker-1", "2", 0),
            thread(5, "logger", "2", BUSY_TICKS),
        ];
        let said: Vec<String> = verify(&plan, &threads, by_name)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            said,
            [
                "thread 2 `worker-0` of instance 0 may run on CPUs 0-3, planned are 0-1",
                "thread 3 `worker-0` of instance 0 is not bound to one CPU: it floats on 0-1",
                "busy threads share CPU 2: 4 `worker-1` 5 `logger`",
                "instance 1 has 1 threads, planned are 2",
            ]
        );
    }

    #[test]
    fn a_live_pinned_thread_is_seen_where_it_was_put() {
        let cpu = super::super::allowed_cpus().unwrap().as_slice()[0];
        let (ready, is_ready) = mpsc::channel();
        let (release, is_released) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("a (b) c".to_owned())
            .spawn(move || {
                super::super::pin_current_thread(&[cpu]).unwrap();
                ready.send(nix::unistd::gettid().as_raw()).unwrap();
                // Ends when the test drops its end.
                let _ = is_released.recv();
            })
            .unwrap();
        let tid = is_ready.recv().unwrap();
        let places = thread_places().unwrap();
        let place = places.iter().find(|place| place.tid == tid).unwrap();
        assert_eq!(place.name, "a (b) c");
        assert_eq!(
            (place.allowed.as_slice(), place.last_cpu),
            (&[cpu][..], cpu)
        );
        drop(release);
        thread.join().unwrap();
    }
}
