//! CORE: the pace of a queue, in grants per second.
//!
//! The wait of an arrival follows from its position and the pace of the last grants: with `n`
//! waiters before it and a grant every `t`, its own comes after `(n + 1) t`. No distribution of
//! times is assumed.
//!
//! The span is that of the last 120 to 128 grants, of which every eighth has a stamp. A shorter one
//! follows a change sooner, and errs more: over 8 grants, one prediction of ten is off by a factor
//! of two. While there are fewer grants, each has a stamp, then every second one, and so on.
//!
//! Two kinds of grants tell nothing of the pace, and are left out:
//!
//! - *Grants before an empty queue.* The gap without waiters is no time between grants. A pace that
//!   spans it rejects every request, so that no request waits, and no pace is measured any more.
//! - *Grants of a raised limit*, which come all at once.

use std::{task::Waker, time::Duration};

use crate::{
    semaphore::{Tag, Tags},
    time::{Nanos, Time},
};

/// The stamps that are kept. With the longest stride, they span the last 120 to 128 grants.
const STAMPS: usize = 16;
const LONGEST_STRIDE: u32 = 8;
/// The fewest grants from which a pace is told.
const KNOWN_FROM: u32 = 8;

/// The pace of the grants to queued waiters, under the lock of the queue.
pub(crate) struct Pace<C> {
    clock: C,
    /// The grants that are possible at this moment are those of a raised limit.
    is_raised: bool,
    /// From the first arrival that asks for the pace. Without one, no grant has a stamp.
    record: Option<Box<Record>>,
}

/// The times of grants.
struct Record {
    /// A stride apart, the oldest first.
    stamps: [Nanos; STAMPS],
    len: usize,
    stride: u32,
    /// The grants since the newest stamp.
    since: u32,
}

impl<C: Time> Pace<C> {
    pub(crate) const fn new(clock: C) -> Self {
        Self { clock, is_raised: false, record: None }
    }

    /// A waiter queues with `ahead` waiters before it. If it `uses` the pace, grants are recorded
    /// from now on.
    pub(crate) fn queued(&mut self, ahead: u32, uses: bool) {
        match &mut self.record {
            Some(record) if ahead == 0 => **record = Record::NONE,
            None if uses => self.record = Some(Box::new(Record::NONE)),
            _ => {}
        }
    }

    /// Returns the time until the grant of an arrival with `ahead` waiters before it. `None` if it
    /// is unknown, and for the first one, whose turn tells the pace again.
    pub(crate) fn wait(&self, ahead: u32) -> Option<Duration> {
        if ahead == 0 {
            return None;
        }
        let interval = self.record.as_ref()?.interval()?;
        Some(interval.saturating_mul(ahead.saturating_add(1)))
    }
}

impl Record {
    const NONE: Self = Self { stamps: [Nanos::ZERO; STAMPS], len: 0, stride: 1, since: 0 };

    /// Returns the time from one grant to the next; `None` while too few are recorded.
    fn interval(&self) -> Option<Duration> {
        let newest = *self.stamps[..self.len].last()?;
        let steps = self.stride * u32::try_from(self.len - 1).expect("at most 16");
        (steps + 1 >= KNOWN_FROM).then(|| newest.since(self.stamps[0]) / steps)
    }

    /// Records a grant. `now` is called for one that has a stamp.
    fn push(&mut self, now: impl FnOnce() -> Nanos) {
        self.since += 1;
        if self.len > 0 && self.since < self.stride {
            return;
        }
        if self.len == STAMPS && self.stride < LONGEST_STRIDE {
            // The newest stamp is left out. So this grant, a stride after it, is a stride of twice
            // the length after the newest one that is kept.
            for kept in 1..STAMPS / 2 {
                self.stamps[kept] = self.stamps[2 * kept];
            }
            (self.len, self.stride) = (STAMPS / 2, 2 * self.stride);
        } else if self.len == STAMPS {
            self.stamps.copy_within(1.., 0);
            self.len -= 1;
        }
        self.stamps[self.len] = now();
        (self.len, self.since) = (self.len + 1, 0);
    }
}

impl<C: Time> Tags for Pace<C> {
    fn waiter_left(&mut self, _: Tag) -> Option<Waker> {
        None
    }

    fn granted(&mut self, has_next: bool) {
        if self.is_raised {
            self.is_raised = has_next;
        } else if let Some(record) = &mut self.record {
            record.push(|| self.clock.now());
        }
    }

    fn raised(&mut self) {
        self.is_raised = true;
    }
}
