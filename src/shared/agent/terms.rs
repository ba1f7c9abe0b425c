//! CORE: the times that follow from a window (pure).

use std::time::Duration;

use crate::{shared::wire::Micros, time::Nanos};

/// The fastest or slowest clock that is allowed for: 500 ppm off.
const DRIFT: u128 = 500;

/// Settings of a shared quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shared) struct Terms {
    pub(in crate::shared) limit: u32,
    pub(in crate::shared) window: Duration,
    /// The most permits that this process leases in a window.
    pub(in crate::shared) max_share: u32,
    pub(in crate::shared) is_strict: bool,
}

impl Terms {
    /// Returns the window as the store is told it: longer by `W / 512`.
    ///
    /// With all clocks within 500 ppm of real time, the window is off by up to `0.0005 W`, the
    /// begin of a lease by `0.001` of the horizon, and its end by `0.001` of the horizon and the
    /// longest lease: `0.0011 W` in all, of which `W / 512` is 1.8 times as much.
    pub(in crate::shared) fn window_on_wire(&self) -> Micros {
        micros_up(self.window + self.window / 512)
    }

    /// The longest time from now until a lease begins.
    pub(in crate::shared) fn horizon(&self) -> Duration {
        self.window / 4
    }

    /// The longest lease.
    pub(in crate::shared) fn max_length(&self) -> Duration {
        self.window / 8
    }

    /// The permits of one turn of a process.
    pub(in crate::shared) fn chunk(&self) -> u32 {
        (self.limit / 64).max(1)
    }

    /// Returns the longest time for which a lease of this length may count, from its request on.
    pub(in crate::shared) fn counts_for(&self, delay: Duration, length: Duration) -> Duration {
        let grain = self.window / 256 + Duration::from_micros(1);
        let on_wire = Duration::from_micros(self.window_on_wire().unsigned_abs());
        with_drift(delay + length + on_wire + grain)
    }
}

/// Returns a time of the store in whole microseconds, rounded up.
pub(super) fn micros_up(duration: Duration) -> Micros {
    i64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(i64::MAX / 4)
}

/// Returns a time of the store in whole microseconds, rounded down.
pub(super) fn micros_down(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

pub(super) fn from_micros(micros: Micros) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// Returns the longest time that a clock may show while another one shows `duration`.
pub(super) fn with_drift(duration: Duration) -> Duration {
    duration + drift(duration)
}

/// Returns the most by which a clock may be ahead of one that shows `duration`, rounded up.
pub(super) fn drift(duration: Duration) -> Duration {
    // One runs at 1 + d, the other one at 1 - d.
    let nanos = (duration.as_nanos() * 2 * DRIFT).div_ceil(1_000_000 - DRIFT);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Returns the difference of two times as signed nanoseconds.
pub(super) fn signed(time: Nanos) -> i128 {
    i128::from(time.get())
}
