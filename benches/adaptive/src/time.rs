//! The times of the core, without a clock.

use std::time::Duration;

/// Nanoseconds since the start of a run.
#[derive(Clone, Copy)]
pub(crate) struct Nanos(u64);

impl Nanos {
    pub(crate) const fn new(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
