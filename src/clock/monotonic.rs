//! Real time: `CLOCK_MONOTONIC`.
//!
//! LoadGen reads the system clock, which an administrator or NTP can step in the middle of a
//! run; a monotonic clock cannot be stepped, so latencies here are never negative.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the module that tells time and sleeps for everybody else"
)]

use std::time::{Duration, Instant};

use super::Clock;
use crate::units::{Latency, Timestamp};

/// Sleeping hands the core back; spinning the last stretch hides the wake-up latency of the
/// scheduler, so that a query leaves on time.
const SPIN: Latency = Latency::from_micros(60);

/// The machine's monotonic clock, with the moment of its creation as the origin.
///
/// Copies share the origin, so timestamps taken on different threads compare.
#[derive(Debug, Clone, Copy)]
pub struct Monotonic {
    origin: Instant,
    spin: Latency,
}

impl Monotonic {
    /// A clock whose origin is now.
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            spin: SPIN,
        }
    }

    /// The same clock with another last stretch to spin before a deadline.
    #[must_use]
    pub fn with_spin(self, spin: Latency) -> Self {
        Self { spin, ..self }
    }

    /// Asks the kernel to wake this thread within a microsecond of its deadline instead of the
    /// usual 50; a kernel that refuses leaves lateness as it was, which the issue delays show.
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
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.origin.elapsed().as_nanos() as u64)
    }

    fn sleep_until(&self, deadline: Timestamp) {
        let left = deadline.saturating_since(self.now());
        if left > self.spin {
            std::thread::sleep(Duration::from_nanos((left - self.spin).as_nanos()));
        }
        while self.now() < deadline {
            std::hint::spin_loop();
        }
    }
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
}
