//! The only place that tells time or sleeps.
//!
//! Real runs use [`Monotonic`]; proofs and `simulate` use [`Simulated`]. The drive loop
//! cannot tell them apart, which is what makes each scenario testable in milliseconds.

mod monotonic;
mod simulated;

pub use monotonic::Monotonic;
pub use simulated::Simulated;

use crate::units::Timestamp;

/// A source of time for one run.
pub trait Clock {
    /// The present moment; never earlier than a moment told before.
    fn now(&self) -> Timestamp;

    /// Returns at `deadline` or as soon after it as the machine allows; at once when it has passed.
    fn sleep_until(&self, deadline: Timestamp);
}
