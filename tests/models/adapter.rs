//! The calls that models and scenes make on the cores, in one place.
//!
//! `tests/models` and `tests/shuttle` both compile this file, each with its own `sync`. A change of a
//! method of `Gate` or `Window` is followed here and nowhere else in the code that uses it.

use std::{task::Waker, time::Duration};

use crate::{
    clock::Nanos,
    gate::{Entry, Gate, GivenUp, Look, Ticket},
    window::{Shape, Window},
};

/// Outcome of asking for a permit.
#[derive(Debug)]
pub(crate) enum Acquired {
    Granted,
    Queued(Ticket),
    Closed,
}

/// Outcome of a queued waiter's poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    Granted,
    Waiting,
    Closed,
}

/// Permits of a gate at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permits {
    pub(crate) limit: u32,
    /// Free permits, negative while a lowered limit drains.
    pub(crate) free: i64,
    pub(crate) waiters: u32,
    /// Closed, or paused.
    pub(crate) blocked: bool,
}

/// No time passes at a gate, where no wait has a deadline.
fn start() -> Nanos {
    Nanos::ZERO
}

/// A gate: permits that are released by their holders.
pub(crate) struct Semaphore(Gate<()>);

impl Semaphore {
    pub(crate) fn new(limit: u32) -> Self {
        Self(Gate::new(limit))
    }

    /// Acquires a permit if that takes no waiting.
    pub(crate) fn try_acquire(&self) -> bool {
        self.0.try_enter()
    }

    /// Acquires a permit, or queues.
    pub(crate) fn acquire(&self, waker: &Waker) -> Acquired {
        if self.0.try_enter() {
            return Acquired::Granted;
        }
        match self.0.join(waker, Nanos::NEVER, |_| Ok::<_, ()>(Nanos::NEVER)) {
            Entry::Entered => Acquired::Granted,
            Entry::Waiting(ticket, _) => Acquired::Queued(ticket),
            Entry::Closed => Acquired::Closed,
            Entry::Refused(()) => unreachable!("any waiter is admitted to the queue"),
        }
    }

    /// Polls a queued waiter.
    pub(crate) fn look(&self, ticket: &Ticket, waker: &Waker) -> Looked {
        looked(&self.0.look(ticket, waker, Nanos::NEVER, |_| Nanos::NEVER))
    }

    /// Cancels a waiter. Returns true if it holds a permit, which is then to be released.
    pub(crate) fn cancel(&self, ticket: Ticket) -> bool {
        self.0.give_up(ticket) == GivenUp::Entered
    }

    pub(crate) fn release(&self) {
        self.0.put_back(1, &start);
    }

    pub(crate) fn set_limit(&self, limit: u32) {
        self.0.set_limit(limit, || {}, &start);
    }

    pub(crate) fn block(&self) {
        self.0.bar(|| {});
    }

    pub(crate) fn unblock(&self) {
        self.0.lift(|| true, &start);
    }

    pub(crate) fn close(&self) {
        self.0.close(&start);
    }

    /// Watches for the moment at which no permit is held and no waiter is queued: `None` once it came.
    pub(crate) fn watch(&self, ticket: Option<Ticket>, waker: &Waker) -> Option<Ticket> {
        self.0.watch(ticket, waker)
    }

    pub(crate) fn unwatch(&self, ticket: Ticket) {
        self.0.unwatch(ticket);
    }

    pub(crate) fn read(&self) -> Permits {
        let blocked = self.0.is_barred();
        let standing = self.0.read(|standing| standing);
        Permits { limit: standing.limit, free: standing.room, waiters: standing.ahead, blocked }
    }
}

fn looked(look: &Look) -> Looked {
    match look {
        Look::Entered => Looked::Granted,
        Look::Waiting(_) => Looked::Waiting,
        Look::Closed => Looked::Closed,
        Look::Expired => unreachable!("no wait has a deadline"),
    }
}

/// A window: permits that expire with time. A runtime is named by a number.
pub(crate) struct Quota(Window<u32>);

impl Quota {
    pub(crate) fn new(shape: Shape, limit: u32, length: Duration) -> Self {
        Self(Window::with_sizes(shape, limit, length, 4, 8))
    }

    /// Acquires a permit if that takes no waiting.
    pub(crate) fn try_acquire(&self) -> bool {
        self.0.try_enter()
    }

    /// Acquires a permit, or queues in `runtime`. The second value says that the caller is to spawn a
    /// refill task there.
    pub(crate) fn acquire(
        &self,
        waker: &Waker,
        runtime: u32,
        now: impl Fn() -> Nanos,
    ) -> (Acquired, bool) {
        if self.0.try_enter() {
            return (Acquired::Granted, false);
        }
        match self.0.arrive(waker, Nanos::NEVER, &now, |_, _| Ok::<_, ()>(Nanos::NEVER)) {
            Entry::Entered => (Acquired::Granted, false),
            Entry::Waiting(ticket, _) => {
                let alone = self.0.mind(&ticket, runtime, &now);
                (Acquired::Queued(ticket), alone)
            }
            Entry::Closed => (Acquired::Closed, false),
            Entry::Refused(()) => unreachable!("any waiter is admitted to the queue"),
        }
    }

    /// Polls a queued waiter. The second value is that of [`acquire`](Self::acquire).
    pub(crate) fn look(
        &self,
        ticket: &Ticket,
        waker: &Waker,
        runtime: u32,
        now: impl Fn() -> Nanos,
    ) -> (Looked, bool) {
        let looked = looked(&self.0.look(ticket, waker, Nanos::NEVER, &now, |_, _| Nanos::NEVER));
        let alone = looked == Looked::Waiting && self.0.mind(ticket, runtime, &now);
        (looked, alone)
    }

    /// Cancels a waiter. A permit that it holds is refunded.
    pub(crate) fn cancel(&self, ticket: Ticket, now: impl Fn() -> Nanos) {
        if self.0.give_up(ticket, &now) {
            self.0.give_back(&now);
        }
    }

    pub(crate) fn refund(&self, now: impl Fn() -> Nanos) {
        self.0.give_back(&now);
    }

    /// Commits a permit: its request has just been issued.
    pub(crate) fn issue(&self, now: impl Fn() -> Nanos) {
        self.0.issue(now);
    }

    /// A refill task's poll. Returns when it is due again; `None` if it is to end.
    pub(crate) fn attend(
        &self,
        runtime: u32,
        waker: &Waker,
        now: impl Fn() -> Nanos,
    ) -> Option<Nanos> {
        self.0.attend(runtime, waker, &now)
    }

    /// The refill task of `runtime` has been dropped before its end.
    pub(crate) fn abandon(&self, runtime: u32) {
        self.0.abandon(runtime);
    }

    pub(crate) fn set_limit(&self, limit: u32, now: impl Fn() -> Nanos) {
        self.0.set_limit(limit, &now);
    }

    pub(crate) fn set_length(&self, length: Duration, now: impl Fn() -> Nanos) {
        self.0.set_length(length, &now);
    }

    pub(crate) fn pause(&self, until: Nanos, now: impl Fn() -> Nanos) {
        self.0.pause(until, &now);
    }

    /// Refills, and returns how many permits are left and how many waiters are queued.
    pub(crate) fn read(&self, now: impl Fn() -> Nanos) -> (u32, u32) {
        let reading = self.0.read(&now);
        (reading.remaining, reading.waiting)
    }
}
