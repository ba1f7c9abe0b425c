//! The bounds of a wait queue: those of a layer, and those that a handle sets in their place.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::Rejecting;
use crate::{
    rejected::Reason,
    semaphore::View,
    settings,
    time::{Nanos, nanos},
};

/// The limits of the queue that one layer sets. Layers that share a limiter may differ in them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    max_queue: u32,
    /// In nanoseconds, which keeps every clone of a service small. [`u64::MAX`] without a limit.
    max_wait: u64,
}

impl QueueLimits {
    pub(crate) const NONE: Self = Self { max_queue: u32::MAX, max_wait: u64::MAX };

    /// Sets a bound; one above the technical limit can never be reached. `None` removes it.
    pub(crate) fn set_max_queue(&mut self, max_queue: Option<u32>) {
        self.max_queue = max_queue.map_or(u32::MAX, settings::queue);
    }

    pub(crate) fn set_max_wait(&mut self, max_wait: Option<Duration>) {
        self.max_wait = max_wait.map_or(u64::MAX, nanos);
    }

    /// Returns the limits with another bound of the queue, if there is one.
    pub(crate) fn map_max_queue(mut self, map: impl FnOnce(u32) -> u32) -> Self {
        if self.max_queue != u32::MAX {
            self.max_queue = map(self.max_queue);
        }
        self
    }

    /// Decides whether a new waiter may queue.
    pub(crate) fn admit(&self, view: View) -> Result<(), Reason> {
        if view.is_closed {
            return Err(Reason::Closed);
        }
        if view.ahead >= self.max_queue { Err(Reason::QueueFull) } else { Ok(()) }
    }

    /// Returns the reason for which a request is rejected that comes now and would wait for `wait`.
    pub(crate) fn rejects(&self, view: View, wait: Duration) -> Option<Reason> {
        let is_too_long = self.max_wait().is_some_and(|max_wait| wait > max_wait);
        self.admit(view).err().or(is_too_long.then_some(Reason::WaitTimeout))
    }

    /// Returns true if there is a limit, and so a reject policy.
    pub(crate) const fn is_bounded(&self) -> bool {
        self.max_queue != u32::MAX || self.max_wait != u64::MAX
    }

    /// Returns true if `max_wait` is zero.
    pub(crate) const fn has_zero_wait(&self) -> bool {
        self.max_wait == 0
    }

    /// Returns the largest number of waiters; `None` without a limit.
    pub(crate) fn max_queue(&self) -> Option<u32> {
        (self.max_queue != u32::MAX).then_some(self.max_queue)
    }

    /// Returns the longest wait; `None` without a limit.
    pub(crate) fn max_wait(&self) -> Option<Duration> {
        (self.max_wait != u64::MAX).then(|| Duration::from_nanos(self.max_wait))
    }

    pub(crate) fn fmt_fields(&self, f: &mut fmt::DebugStruct<'_, '_>) {
        f.field("max_queue", &self.max_queue()).field("max_wait", &self.max_wait());
    }

    /// Returns the deadline of a request that comes at `moment`.
    pub(crate) fn deadline(&self, moment: Nanos) -> Nanos {
        self.max_wait().map_or(Nanos::NEVER, |wait| moment.after(wait))
    }
}

/// A bound in the place of those of the layers; `None` without one.
type Replaced<T> = Option<Option<T>>;

/// The bounds that handles have set, in the place of those of all layers of a limiter.
///
/// They are looked up where a request is about to wait or to be rejected. Behind a lock, so that
/// both are of one moment: such a request takes that of the wait queue, too.
///
/// *Lookup against change:* a request looks the bounds up, and then the limit, under another lock.
/// If both change in between, it may be rejected by earlier bounds and a later limit. So before it
/// is rejected on arrival, it looks the bounds up again, and begins anew if they are others.
#[derive(Default)]
pub(crate) struct Bounds {
    /// A handle has set a bound. Relaxed: the lock orders the bounds. A thread that sees it late
    /// belongs to a request that comes before the change.
    is_set: AtomicBool,
    set: Mutex<Set>,
}

#[derive(Clone, Copy, Default)]
struct Set {
    max_queue: Replaced<u32>,
    max_wait: Replaced<Duration>,
}

impl Bounds {
    /// Sets the bound of the queue for all layers; `None` removes it from all.
    pub(crate) fn set_max_queue(&self, max_queue: Option<u32>) {
        self.change(|set| set.max_queue = Some(max_queue));
    }

    /// Sets the bound of the wait for all layers; `None` removes it from all.
    pub(crate) fn set_max_wait(&self, max_wait: Option<Duration>) {
        self.change(|set| set.max_wait = Some(max_wait));
    }

    /// Sets both bounds in one step.
    pub(crate) fn set(&self, max_queue: Option<u32>, max_wait: Option<Duration>) {
        self.change(|set| *set = Set { max_queue: Some(max_queue), max_wait: Some(max_wait) });
    }

    fn change(&self, change: impl FnOnce(&mut Set)) {
        change(&mut self.lock());
        self.is_set.store(true, Relaxed);
    }

    /// Returns true if a handle has set a bound. A lookup takes the lock then.
    pub(crate) fn are_set(&self) -> bool {
        self.is_set.load(Relaxed)
    }

    /// Returns the bounds in force for a layer that has set `limits`.
    pub(crate) fn in_force(&self, mut limits: QueueLimits) -> QueueLimits {
        if self.are_set() {
            let Set { max_queue, max_wait } = *self.lock();
            if let Some(max_queue) = max_queue {
                limits.set_max_queue(max_queue);
            }
            if let Some(max_wait) = max_wait {
                limits.set_max_wait(max_wait);
            }
        }
        limits
    }

    /// Returns the same bounds for another limiter, and whether that may reject.
    pub(crate) fn separate(&self) -> (Self, Rejecting) {
        let set = *self.lock();
        let is_set = AtomicBool::new(self.is_set.load(Relaxed));
        let is_bounded = set.max_queue.flatten().is_some() || set.max_wait.flatten().is_some();
        (Self { is_set, set: Mutex::new(set) }, Rejecting::new(is_bounded))
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        // An assignment leaves the bounds whole.
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
