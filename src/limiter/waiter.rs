//! One wait for a permit.

use std::{
    mem,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::QueueLimits;
use crate::{
    semaphore::{Arrival, Stamp, WaiterKey},
    time::{Clock, GRACE, Nanos, Time, Timer, TimerUse},
};

/// A request that waits for a permit, or is about to.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// The key in the queue; `None` before.
    pub(crate) key: Option<WaiterKey>,
    /// The beginning of the wait.
    pub(crate) since: Nanos,
    /// The end of the wait.
    pub(crate) deadline: Nanos,
    /// The time of the next poll if no permit is granted before.
    pub(crate) poll_at: Nanos,
    /// The task that polled last.
    task: TaskId,
    timer: Option<Timer>,
}

impl Waiter {
    /// Begins a wait that ends by the limits, or with the time by which its request is to be done.
    pub(crate) fn new(limits: &QueueLimits, done_by: Nanos, clock: &Clock, waker: &Waker) -> Self {
        let since = clock.now();
        let deadline = limits.deadline(since).min(done_by);
        Self { key: None, since, deadline, poll_at: deadline, task: TaskId::of(waker), timer: None }
    }

    /// Returns the waiter as the semaphore sees it, with the number of permits that it asks for.
    ///
    /// The number is not a field, which keeps every clone of a service small: it is 1 for those.
    pub(crate) fn arrival(&self, permits: u32) -> Arrival {
        let since = Stamp::new(self.since.get());
        Arrival { permits, since, deadline: self.deadline.into(), ..Arrival::PLAIN }
    }

    /// Records the task that polls. With another task than before, beginning and deadline become
    /// those of a request that comes now, unless the deadline has passed. A wait without a deadline
    /// stays one, because the queue keeps no outcome for it.
    ///
    /// A new deadline may be earlier than the next poll, if the bound was lowered. Returns true for
    /// another task.
    pub(super) fn polled_by(&mut self, waker: &Waker, limits: &QueueLimits, clock: &Clock) -> bool {
        let before = mem::replace(&mut self.task, TaskId::of(waker));
        if before == self.task {
            return false;
        }
        let now = clock.now();
        if self.deadline == Nanos::NEVER {
            self.since = now;
        } else if now < self.deadline {
            (self.since, self.deadline) = (now, limits.deadline(now));
            let is_bounded = self.deadline != Nanos::NEVER;
            self.poll_at = if is_bounded { self.poll_at.min(self.deadline) } else { Nanos::NEVER };
        }
        true
    }

    /// Returns true if a wait was polled so long after its deadline that the poll is that of a new
    /// request.
    ///
    /// The wait of that request is *renewed*. A renewed wait is taken for that of another request
    /// only if it is polled late by more than `max_wait`. Otherwise no wait would end under a load
    /// that delays every poll.
    pub(super) fn is_of_gone_request(
        &self,
        is_renewed: bool,
        limits: &QueueLimits,
        clock: &Clock,
    ) -> bool {
        let patience = if is_renewed { limits.max_wait() } else { None };
        clock.now().since(self.deadline) > patience.unwrap_or(Duration::ZERO).max(GRACE)
    }

    /// Drops the timer, after the last poll.
    pub(super) fn stop_timer(&mut self) {
        self.timer = None;
    }

    /// Waits for the time of the next poll. Returns at once if that has come.
    #[track_caller]
    pub(crate) fn poll_timer(
        &mut self,
        cx: &mut Context<'_>,
        clock: &Clock,
        timer_use: &TimerUse,
    ) -> Poll<()> {
        if self.poll_at == Nanos::NEVER {
            return Poll::Pending;
        }
        // A new one each time, because the task may have moved to another runtime.
        let timer = self.timer.insert(clock.timer(self.poll_at, timer_use));
        timer.poll(cx)
    }
}

/// Tells tasks apart by their wakers, and keeps none.
///
/// A task may be taken for one that has ended at the same address. In one word, which keeps every
/// clone of a service small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TaskId(usize);

impl TaskId {
    fn of(waker: &Waker) -> Self {
        let vtable = std::ptr::from_ref(waker.vtable()).addr();
        Self(waker.data().addr() ^ vtable.rotate_left(usize::BITS / 2))
    }
}
