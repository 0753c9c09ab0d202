//! The only place that tells time or sleeps.
//!
//! Real runs use [`Monotonic`]; proofs and `simulate` use [`Simulated`]. The drive loop
//! cannot tell them apart, which is what makes each scenario testable in milliseconds.

mod monotonic;
mod simulated;

pub use monotonic::{Monotonic, SPIN, SPIN_MAX};
pub use simulated::Simulated;

use crate::units::Timestamp;

/// A source of time for one run.
pub trait Clock {
    /// The present moment; never earlier than a moment told before.
    fn now(&self) -> Timestamp;

    /// Returns a short stretch before `deadline` and leaves that stretch to [`Self::sleep_until`];
    /// on virtual time there is no such stretch. Returns at once when it has begun.
    fn approach(&self, deadline: Timestamp);

    /// Returns at `deadline` or as soon after it as the machine allows; at once when it has passed.
    fn sleep_until(&self, deadline: Timestamp);

    /// The same time for another thread; `None` where only one thread can move it.
    fn fork(&self) -> Option<Box<dyn Clock + Send>>;
}

impl Clock for Box<dyn Clock + Send> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn approach(&self, deadline: Timestamp) {
        (**self).approach(deadline);
    }

    fn sleep_until(&self, deadline: Timestamp) {
        (**self).sleep_until(deadline);
    }

    fn fork(&self) -> Option<Box<dyn Clock + Send>> {
        (**self).fork()
    }
}
