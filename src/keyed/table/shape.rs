//! CORE: the resolution of a log (pure).
//!
//! The tape of a log has room for some ones, which are units of permits, and some zeros, which are
//! steps of the window. Large units and long steps make permits expire late. The shape divides the
//! tape between the two.

use std::time::Duration;

use super::log::TAPE_BITS;
use crate::time::{Nanos, nanos};

/// Ticks of a step.
pub(crate) const TICKS: u64 = 8;

/// Ticks that the first step of an idle key has left, that of its first commit included.
///
/// A burst of up to one tick stays in one step, and expires at most two ticks late. With one tick
/// left, the part of a burst behind the end of the tick would be late by a step.
pub(crate) const ANCHOR: u64 = 2;

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
        let (unit, steps) = resolution(quota);
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

    /// Returns the length of the window in nanoseconds, rounded up to ticks.
    pub(crate) const fn window(&self) -> u64 {
        self.ticks(self.steps as u64 * TICKS)
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

/// Returns the unit and the number of steps for a quota.
///
/// They minimize the expected lateness of a permit, in windows:
///
/// - In general `0.7 * (rest + unit - 1) / quota + 1 / steps`. The first term stands for the `rest`
///   that fills no unit while a key is saturated, and for the time in which a unit fills. The
///   second is the step at whose end a unit begins to age.
/// - If `steps` is a multiple of the number of ones, a saturated key fills a unit in whole steps,
///   so that filling and step overlap: `1.5 * rest / quota + 1 / ones`. With fewer than 15 steps,
///   other loads lose more than this gains.
///
/// The weights are fitted to simulations of every quota up to 200 and of some larger ones.
fn resolution(quota: u32) -> (u32, u32) {
    let shapes = (1..TAPE_BITS.min(quota.saturating_add(1))).flat_map(|ones| {
        let (unit, most) = (quota / ones, TAPE_BITS - ones);
        let (rest, aligned) = (quota % unit, most - most % ones);
        // Ten times the lateness, times the quota.
        let general = 7 * u64::from(rest + unit - 1) + 10 * u64::from(quota) / u64::from(most);
        let overlapping = 15 * u64::from(rest) + 10 * u64::from(quota) / u64::from(ones);
        // A unit may be that of more ones than asked for.
        let is_exact = quota / unit == ones;
        let of_general = is_exact.then_some((general, (unit, most)));
        let of_aligned = (is_exact && aligned >= 15).then_some((overlapping, (unit, aligned)));
        [of_general, of_aligned]
    });
    shapes.flatten().min_by_key(|(lateness, _)| *lateness).map_or((1, TAPE_BITS - 1), |it| it.1)
}

#[cfg(test)]
mod tests {
    use super::resolution;

    #[test]
    fn k2_resolution_divides_the_tape_between_units_and_steps() {
        let shapes = [
            (1, (1, 39)),
            (10, (1, 30)),
            (23, (1, 17)),
            (24, (2, 28)),
            (100, (5, 20)),
            (150, (10, 15)),
            (999, (55, 18)),
            (1000, (50, 20)),
            (1_000_000, (50_000, 20)),
        ];
        for (quota, shape) in shapes {
            assert_eq!(resolution(quota), shape, "{quota}");
        }
        for quota in (1..5_000).chain([u32::MAX / 2, u32::MAX / 2 - 1, 1 << 20]) {
            let (unit, steps) = resolution(quota);
            assert!(quota / unit + steps <= 40, "{quota}: {unit} {steps}");
        }
    }
}
