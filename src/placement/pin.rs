//! Binding the calling thread to CPUs.

use nix::errno::Errno;
use nix::sched::{sched_setaffinity, CpuSet};
use nix::unistd::Pid;

use super::cpu_list::CpuList;

/// Why a thread could not be bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// There is no CPU to bind to.
    #[error("a thread cannot be bound to an empty set of CPUs")]
    NoCpu,
    /// The number is beyond what the system call can express.
    #[error("CPU {cpu} cannot be bound to: the system call knows CPUs below {limit} only")]
    BeyondMask {
        /// The CPU.
        cpu: usize,
        /// The first number that does not fit.
        limit: usize,
    },
    /// The kernel refused.
    #[error(
        "the kernel refused to bind a thread to CPU {cpus} ({reason}); is it online and allowed here?"
    )]
    Refused {
        /// The CPUs asked for.
        cpus: CpuList,
        /// The kernel's reason.
        reason: Errno,
    },
    /// Fewer CPUs than asked for were granted.
    #[error(
        "CPU {missing} was refused: the thread may run on CPU {granted} only; is it allowed here?"
    )]
    Reduced {
        /// The CPUs that the kernel left out.
        missing: CpuList,
        /// The CPUs that it granted.
        granted: CpuList,
    },
}

/// Binds the calling thread to `cpus`, and reads back that the kernel did so.
///
/// Threads created afterwards by this thread inherit the binding.
///
/// # Errors
/// When the set is empty, or the kernel refuses it or a part of it: it silently drops CPUs that
/// are offline or outside the process's cpuset, and that would leave a thread where nobody planned it.
pub fn pin_current_thread(cpus: &[usize]) -> Result<(), PinError> {
    let wanted: CpuList = cpus.iter().copied().collect();
    match wanted.as_slice() {
        [] => return Err(PinError::NoCpu),
        // The largest is last.
        [.., cpu] if *cpu >= CpuSet::count() => {
            let (cpu, limit) = (*cpu, CpuSet::count());
            return Err(PinError::BeyondMask { cpu, limit });
        }
        [cpu] => bind_to_one(*cpu)?,
        _ => bind_to_set(&wanted)?,
    }
    let granted = super::allowed_cpus().unwrap_or_default();
    let missing: CpuList = wanted
        .iter()
        .filter(|&cpu| !granted.contains(cpu))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PinError::Reduced { missing, granted })
    }
}

/// `core_affinity` is the portable way, and knows single CPUs only; it gives no reason on failure.
fn bind_to_one(cpu: usize) -> Result<(), PinError> {
    if core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
        return Ok(());
    }
    let reason = Errno::last();
    let cpus = [cpu].into_iter().collect();
    Err(PinError::Refused { cpus, reason })
}

fn bind_to_set(cpus: &CpuList) -> Result<(), PinError> {
    let mut set = CpuSet::new();
    cpus.iter()
        .try_for_each(|cpu| set.set(cpu))
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|reason| PinError::Refused {
            cpus: cpus.clone(),
            reason,
        })
}

#[cfg(test)]
mod tests {
    use super::super::allowed_cpus;
    use super::*;

    /// Runs on a thread of its own, so that the test runner's threads stay free.
    fn on_a_thread<T: Send>(task: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(task).join().unwrap())
    }

    #[test]
    fn a_pinned_thread_may_run_where_it_was_put_and_nowhere_else() {
        let allowed = allowed_cpus().unwrap();
        for cpu in allowed.iter().take(2) {
            let now = on_a_thread(|| {
                pin_current_thread(&[cpu]).unwrap();
                allowed_cpus().unwrap()
            });
            assert_eq!(now.as_slice(), [cpu]);
        }
        let all = on_a_thread(|| {
            pin_current_thread(allowed.as_slice()).unwrap();
            allowed_cpus().unwrap()
        });
        assert_eq!(all, allowed);
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named() {
        let allowed = allowed_cpus().unwrap();
        let Some(absent) = (0..CpuSet::count())
            .rev()
            .find(|&cpu| !allowed.contains(cpu))
        else {
            return;
        };
        let error = on_a_thread(|| pin_current_thread(&[absent]).unwrap_err());
        assert!(matches!(&error, PinError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains(&format!("CPU {absent}")));
        let first = allowed.as_slice()[0];
        let error = on_a_thread(|| pin_current_thread(&[first, absent]).unwrap_err());
        assert!(matches!(&error, PinError::Reduced { .. }), "{error:?}");
        assert_eq!(
            on_a_thread(|| pin_current_thread(&[])),
            Err(PinError::NoCpu)
        );
        let beyond = on_a_thread(|| pin_current_thread(&[CpuSet::count()]).unwrap_err());
        assert!(matches!(beyond, PinError::BeyondMask { .. }));
    }
}
