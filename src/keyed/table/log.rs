//! CORE: the log word of a key in one window (pure).
//!
//! ```text
//!  63                       43   42     40   39                                          0
//! +----------------------------+-----------+---------------------------------------------+
//! | stamp, a number of a tick  | plan      | tape: the newest bit is bit 0               |
//! +----------------------------+-----------+---------------------------------------------+
//! ```
//!
//! The *tape* records commits in unary. A one is a *unit* of committed permits, a zero is the end
//! of a *step*, which is a fixed part of the window. New bits enter at bit 0. Zeros beyond the
//! oldest one mean nothing.
//!
//! The *stamp* is the tick in which the current step began. A step has [`TICKS`] ticks, so that the
//! first commit of an idle key can begin a step near its end: its permits then expire soon after a
//! window has passed, and a burst may return on time.
//!
//! A unit is committed in the current step or before. It expires when the current step of that time
//! has ended and all steps of a window have passed since, which is no earlier than a window after
//! its issue and at most a step later.
//!
//! # Wrapping
//!
//! The stamp is a remainder: it wraps after 2^21 ticks, which are 6,000 to 17,000 windows. A key
//! that was idle for a multiple of that time, to within a window, finds its permits of then counted
//! once more. That rejects requests and admits none.
//!
//! A step of a task on a log must not take as long as that. If it did, and if the word had the same
//! value again, it would be taken for the old one.

use super::shape::{ANCHOR, Shape, TICKS};
use crate::time::Nanos;

/// The bits of the tape.
pub(crate) const TAPE_BITS: u32 = 40;
const TAPE: u64 = (1 << TAPE_BITS) - 1;

const PLAN_SHIFT: u32 = TAPE_BITS;
pub(crate) const PLAN_BITS: u32 = 3;
/// The largest number of plans.
pub(crate) const PLANS: usize = 1 << PLAN_BITS;

const STAMP_SHIFT: u32 = PLAN_SHIFT + PLAN_BITS;
const STAMPS: u64 = u64::MAX >> STAMP_SHIFT;

/// A time, as a log sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    /// The number of the tick.
    tick: u64,
    /// The steps that have ended since the stamp.
    pub(crate) steps: u64,
}

/// The log word. Zero is an empty log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Log(u64);

impl Log {
    pub(crate) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(crate) const fn word(self) -> u64 {
        self.0
    }

    #[inline]
    const fn new(stamp: u64, plan: usize, tape: u64) -> Self {
        Self((stamp & STAMPS) << STAMP_SHIFT | (plan as u64) << PLAN_SHIFT | tape)
    }

    #[inline]
    const fn stamp(self) -> u64 {
        self.0 >> STAMP_SHIFT
    }

    #[inline]
    const fn tape(self) -> u64 {
        self.0 & TAPE
    }

    /// Returns the plan by which the units are counted.
    #[inline]
    pub(crate) const fn plan(self) -> usize {
        (self.0 >> PLAN_SHIFT) as usize & (PLANS - 1)
    }

    /// Returns the number of units.
    #[inline]
    pub(crate) const fn units(self) -> u32 {
        self.tape().count_ones()
    }

    /// Returns the age of the log. A time before the stamp looks like one long after it.
    #[inline]
    pub(crate) const fn age(self, now: Nanos, shape: &Shape) -> Age {
        let tick = shape.tick_of(now);
        Age { tick, steps: (tick.wrapping_sub(self.stamp()) & STAMPS) / TICKS }
    }

    /// Returns the number of steps that have ended since the stamp.
    #[inline]
    pub(crate) const fn steps_until(self, now: Nanos, shape: &Shape) -> u64 {
        self.age(now, shape).steps
    }

    #[inline]
    const fn ticks_until(self, now: Nanos, shape: &Shape) -> u64 {
        shape.tick_of(now).wrapping_sub(self.stamp()) & STAMPS
    }

    /// Returns the log without the units that have expired, `steps` after the stamp. The stamp
    /// stays.
    #[inline]
    pub(crate) const fn expired(self, steps: u64, shape: &Shape) -> Self {
        // A one has expired if there are this many zeros below it, and so have all ones above it.
        let zeros = (shape.steps as u64 + 1).saturating_sub(steps);
        if self.tape().trailing_zeros() as u64 >= zeros {
            return self.emptied(); // the newest has expired
        }
        let mut tape = self.tape();
        let mut newer = self.units() as u64;
        // From the oldest on: each unit is removed once.
        while newer > 0 {
            newer -= 1;
            let oldest = (u64::BITS - 1 - tape.leading_zeros()) as u64;
            if oldest - newer < zeros {
                break;
            }
            tape &= !(1 << oldest);
        }
        Self(self.0 & !TAPE | tape)
    }

    /// Returns the log without units.
    #[inline]
    pub(crate) const fn emptied(self) -> Self {
        Self(self.0 & !TAPE)
    }

    /// Returns the log with the current step as the newest. Its expired units are removed before.
    pub(crate) const fn advanced(self, now: Nanos, shape: &Shape) -> Self {
        self.advanced_to(self.age(now, shape))
    }

    /// Returns the log as [`advanced`](Self::advanced) does, to the time of `age`.
    #[inline]
    pub(crate) const fn advanced_to(self, age: Age) -> Self {
        let Age { tick, steps } = age;
        if steps == 0 {
            self
        } else if self.tape() == 0 {
            // Its current step ends soon.
            Self::new(tick.wrapping_sub(TICKS - ANCHOR), self.plan(), 0)
        } else {
            Self::new(self.stamp() + steps * TICKS, self.plan(), self.tape() << steps & TAPE)
        }
    }

    /// Returns an empty log of another plan, with the same current step: plans share their steps.
    pub(crate) const fn of_plan(self, plan: usize) -> Self {
        Self::new(self.stamp(), plan, 0)
    }

    /// Returns the log with `units` more in its current step.
    #[inline]
    pub(crate) const fn with_units(self, units: u32) -> Self {
        let tape = self.tape() << units | ((1 << units) - 1);
        Self::new(self.stamp(), self.plan(), tape & TAPE)
    }

    /// Returns a log of `plan` with `units` that are committed at the moment at which the current
    /// step expires.
    pub(crate) const fn next_round(self, plan: usize, units: u32, shape: &Shape) -> Self {
        let stamp = self.stamp() + shape.steps as u64 * TICKS;
        Self::new(stamp, plan, 0).with_units(units)
    }

    /// Returns the ticks from the stamp until the `n`-th oldest unit expires, counted from 1.
    pub(crate) const fn ticks_until_expiry(self, n: u32, shape: &Shape) -> u64 {
        let mut tape = self.tape();
        let mut newer = self.units() - n;
        while newer > 0 {
            tape &= tape - 1;
            newer -= 1;
        }
        let position = tape.trailing_zeros();
        let zeros = position - (self.units() - n);
        (shape.steps as u64 + 1 - zeros as u64) * TICKS
    }

    /// Returns the ticks from the stamp until the current step expires.
    pub(crate) const fn ticks_until_all(shape: &Shape) -> u64 {
        (shape.steps as u64 + 1) * TICKS
    }

    /// Returns the time from `now` until `ticks` after the stamp. The stamp may be later than
    /// `now`.
    pub(crate) const fn time_until(
        self,
        ticks: u64,
        now: Nanos,
        shape: &Shape,
    ) -> std::time::Duration {
        let passed = self.ticks_until(now, shape);
        let is_ahead = passed > STAMPS / 2;
        let left =
            if is_ahead { ticks + (STAMPS + 1 - passed) } else { ticks.saturating_sub(passed) };
        shape.until(now, left)
    }
}
