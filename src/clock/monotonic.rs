//! Real time: `CLOCK_MONOTONIC`.
//!
//! LoadGen reads the system clock, which an administrator or NTP can step in the middle of a
//! run; a monotonic clock cannot be stepped, so latencies here are never negative.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the module that tells time and sleeps for everybody else"
)]

use nix::time::{clock_gettime, ClockId};

use super::Clock;
use crate::units::{Latency, Timestamp};

/// Sleeping hands the core back; spinning the last stretch hides the wake-up latency of the
/// scheduler, so that a query leaves on time.
pub const SPIN: Latency = Latency::from_micros(60);

/// A longer last stretch is taken for a mistake: it would keep a core busy for nothing.
pub const SPIN_MAX: Latency = Latency::from_millis(10);

/// The machine's monotonic clock, with the moment of its creation as the origin.
///
/// Copies share the origin, so timestamps taken on different threads compare.
#[derive(Debug, Clone, Copy)]
pub struct Monotonic {
    origin_ns: u64,
    spin: Latency,
}

impl Monotonic {
    /// A clock whose origin is now and that spins for [`SPIN`].
    pub fn new() -> Self {
        Self {
            origin_ns: monotonic_ns(),
            spin: SPIN,
        }
    }

    /// The same clock with another last stretch to spin before a deadline.
    #[must_use]
    pub fn with_spin(self, spin: Latency) -> Self {
        Self { spin, ..self }
    }

    /// Asks the kernel to wake this thread, and those that it starts from now on, within a
    /// microsecond of their deadline instead of the usual 50; a kernel that refuses leaves
    /// lateness as it was, which the issue delays show.
    pub fn lower_timer_slack(&self) {
        let _ = nix::sys::prctl::set_timerslack(1_000);
    }
}

impl Default for Monotonic {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for Monotonic {
    #[inline]
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(monotonic_ns() - self.origin_ns)
    }

    fn approach(&self, deadline: Timestamp) {
        let left = deadline.saturating_since(self.now());
        if left > self.spin {
            std::thread::sleep((left - self.spin).to_std());
        }
    }

    fn sleep_until(&self, deadline: Timestamp) {
        self.approach(deadline);
        while self.now() < deadline {
            std::hint::spin_loop();
        }
    }

    fn fork(&self) -> Option<Box<dyn Clock + Send>> {
        Some(Box::new(*self))
    }
}

#[inline]
fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_never_ends_early_and_time_never_goes_back() {
        let clock = Monotonic::new();
        let mut last = clock.now();
        for us in [0, 10, 100, 1_000] {
            let deadline = clock.now() + Latency::from_micros(us);
            clock.sleep_until(deadline);
            let now = clock.now();
            assert!(now >= deadline);
            assert!(now >= last);
            last = now;
        }
        clock.sleep_until(Timestamp::ZERO);
    }

    #[test]
    fn an_approach_leaves_at_most_the_spun_stretch_and_without_one_nothing() {
        for spin_us in [0, 200] {
            let spin = Latency::from_micros(spin_us);
            let clock = Monotonic::new().with_spin(spin);
            let deadline = clock.now() + Latency::from_millis(2);
            clock.approach(deadline);
            assert!(clock.now() + spin >= deadline);
        }
        let clock = Monotonic::new().with_spin(Latency::from_millis(60_000));
        let before = clock.now();
        clock.approach(before + Latency::from_millis(50_000));
        assert!(clock.now().since(before) < Latency::from_millis(10_000));
    }

    #[test]
    fn a_thread_inherits_the_lowered_timer_slack() {
        let slack = std::thread::spawn(|| {
            Monotonic::new().lower_timer_slack();
            let inside = std::thread::spawn(|| nix::sys::prctl::get_timerslack().unwrap());
            inside.join().unwrap()
        });
        assert_eq!(slack.join().unwrap(), 1_000);
    }

    #[test]
    fn a_forked_clock_shares_the_origin() {
        let clock = Monotonic::new();
        let other = clock.fork().expect("real time is everybody's");
        let (before, there, after) = (clock.now(), other.now(), clock.now());
        assert!(before <= there && there <= after);
    }
}
