//! CORE: the resolution of a log (pure).

use std::time::Duration;

use super::log::TAPE_BITS;
use crate::time::{Nanos, nanos};

/// Ticks of a step.
pub(crate) const TICKS: u64 = 4;

/// The resolution of the log of a window: its unit, its steps, and its tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Permits of a window.
    pub(crate) quota: u32,
    /// Permits of a one in the tape.
    pub(crate) unit: u32,
    /// Steps of a window.
    pub(crate) steps: u32,
    /// Nanoseconds of a tick. [`TICKS`] of them are a step.
    tick: u64,
}

impl Shape {
    /// Returns the shape for `quota` permits in each span of `length`.
    pub(crate) fn new(quota: u32, length: Duration) -> Self {
        let unit = quota.div_ceil(20);
        let steps = TAPE_BITS - quota / unit;
        Self { quota, unit, steps, tick: 0 }.with_steps(steps, length)
    }

    /// Returns the shape with another number of steps, no larger than the tape has room for.
    pub(crate) fn with_steps(self, steps: u32, length: Duration) -> Self {
        // Rounded up: a window of steps is no shorter than the length.
        let tick = nanos(length).div_ceil(u64::from(steps) * TICKS).max(1);
        Self { steps, tick, ..self }
    }

    /// Returns the largest number of ones in the tape.
    #[inline]
    pub(crate) const fn capacity(&self) -> u32 {
        self.quota / self.unit
    }

    /// Returns the number of the tick that contains `time`.
    #[inline]
    pub(crate) const fn tick_of(&self, time: Nanos) -> u64 {
        time.get() / self.tick
    }

    /// Returns the length of `ticks`, in nanoseconds.
    pub(crate) const fn ticks(&self, ticks: u64) -> u64 {
        ticks.saturating_mul(self.tick)
    }

    /// Returns the time from `now` until the start of the tick that is `ticks` after that of `now`.
    pub(crate) const fn until(&self, now: Nanos, ticks: u64) -> Duration {
        Duration::from_nanos(self.ticks(ticks).saturating_sub(now.get() % self.tick))
    }
}
