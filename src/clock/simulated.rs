//! Virtual time: moves only when somebody sleeps or something takes time.

use std::cell::Cell;
use std::rc::Rc;

use super::Clock;
use crate::units::{Latency, Timestamp};

/// A clock that stands still until it is moved; clones share the same time.
#[derive(Debug, Clone, Default)]
pub struct Simulated {
    now_ns: Rc<Cell<u64>>,
}

impl Simulated {
    /// A clock at its origin.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `span` pass: work that takes time on the calling thread.
    pub fn advance(&self, span: Latency) {
        self.now_ns.set(self.now_ns.get() + span.as_nanos());
    }
}

impl Clock for Simulated {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.now_ns.get())
    }

    fn approach(&self, deadline: Timestamp) {
        self.sleep_until(deadline);
    }

    fn sleep_until(&self, deadline: Timestamp) {
        self.now_ns.set(self.now_ns.get().max(deadline.as_nanos()));
    }

    /// Whoever sleeps moves the time of all, which has no meaning with two sleepers.
    fn fork(&self) -> Option<Box<dyn Clock + Send>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_only_by_sleeping_or_working_and_clones_share_it() {
        let clock = Simulated::new();
        let other = clock.clone();
        clock.sleep_until(Timestamp::from_nanos(5));
        other.advance(Latency::from_nanos(2));
        assert_eq!(clock.now(), Timestamp::from_nanos(7));
        clock.sleep_until(Timestamp::from_nanos(3));
        assert_eq!(other.now(), Timestamp::from_nanos(7));
    }
}
