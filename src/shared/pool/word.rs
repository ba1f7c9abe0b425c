//! CORE: the word of the pool, which decides every admission without a wait (pure).

use std::fmt;

use crate::time::Nanos;

/// Permits at hand, the time until which they may be used, and whether newcomers must look further.
///
/// ```text
///  63                                        21   20                             1      0
/// +--------------------------------------------+---------------------------------+-------+
/// | deadline, in ticks of the process's clock   | number of permits               | GATED |
/// +--------------------------------------------+---------------------------------+-------+
/// ```
///
/// The deadline is rounded down to a tick. A tick has 16 microseconds, so the field lasts for 4.4
/// years of uptime. A later deadline is the last one that fits: permits lapse too early then, and
/// none is used too late.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

/// Newcomers take the lock: requests wait, or the pool is paused or closed.
const GATED: u64 = 1;
const PERMIT: u64 = 2;
const COUNT_BITS: u32 = 20;
const DEADLINE_SHIFT: u32 = 1 + COUNT_BITS;
/// The most permits of a pool. A lease of more is asked for in parts.
pub(crate) const MAX_PERMITS: u32 = (1 << COUNT_BITS) - 1;

/// A tick of the deadline, in nanoseconds.
pub(crate) const TICK: u64 = 16_000;

/// The time until which a permit may be used: a number of ticks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(u64);

impl Deadline {
    /// Returns the last deadline that is not after `at`.
    pub(crate) fn at(at: Nanos) -> Self {
        Self((at.get() / TICK).min((1 << (u64::BITS - DEADLINE_SHIFT)) - 1))
    }

    /// Returns the deadline before, if there is one.
    pub(crate) fn earlier(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }

    /// Returns the first moment at which a permit has lapsed.
    pub(crate) const fn lapse(self) -> Nanos {
        Nanos::new(self.0 * TICK)
    }

    pub(crate) fn has_passed(self, now: Nanos) -> bool {
        now >= self.lapse()
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lapse().fmt(f)
    }
}

impl Word {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn new(deadline: Deadline, count: u32, is_gated: bool) -> Self {
        let gated = if is_gated { GATED } else { 0 };
        Self((deadline.0 << DEADLINE_SHIFT) | (count as u64 * PERMIT) | gated)
    }

    pub(crate) const fn deadline(self) -> Deadline {
        Deadline(self.0 >> DEADLINE_SHIFT)
    }

    #[allow(clippy::cast_possible_truncation, reason = "of 20 bits")]
    pub(crate) const fn count(self) -> u32 {
        (self.0 >> 1) as u32 & MAX_PERMITS
    }

    pub(crate) const fn is_gated(self) -> bool {
        self.0 & GATED != 0
    }

    pub(crate) const fn gated(self) -> Self {
        Self(self.0 | GATED)
    }

    pub(crate) const fn ungated(self) -> Self {
        Self(self.0 & !GATED)
    }

    /// Returns the word after an acquisition, if a permit can be used at `now`.
    pub(crate) fn less_one(self, now: Nanos) -> Option<Self> {
        let has_permit = self.count() > 0 && !self.deadline().has_passed(now);
        has_permit.then(|| Self(self.0 - PERMIT))
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Word")
            .field("deadline", &self.deadline())
            .field("count", &self.count())
            .field("is_gated", &self.is_gated())
            .finish()
    }
}
