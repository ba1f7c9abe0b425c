//! Requests of the models, and the count of the permits.

use std::{cell::Cell, sync::Arc, task::Poll, time::Duration};

use super::pool::{
    Arrival, Arrived, Deadline, Freed, LeasePool, Outcome, Schedule, Ticket, Unused,
};
use crate::{time::Nanos, wake_counter::WakeCounter};

/// Returns a time in milliseconds.
pub(super) fn ms(ms: u64) -> Nanos {
    Nanos::ZERO.after(Duration::from_millis(ms))
}

/// Returns a lease of `count` permits, which lapse at `end` milliseconds.
pub(super) fn lease(end: u64, count: u32) -> Unused {
    Unused { deadline: Deadline::at(ms(end)), count }
}

/// A schedule by which no request gets a permit before `then` milliseconds.
pub(super) fn not_before(then: u64) -> Schedule {
    let (then, until) = (ms(then), Nanos::NEVER);
    Schedule { number: 0, leases: Vec::new(), then, until, at_least: Nanos::ZERO }
}

/// A request, and the wakes of its task.
pub(super) struct Request {
    pub(super) ticket: Option<Ticket>,
    pub(super) arrived: Arrived,
    wakes: Arc<WakeCounter>,
    outcome: Cell<Option<Outcome>>,
}

/// Settings of a request.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) ticket: Option<Ticket>,
    pub(super) is_first: bool,
    pub(super) now: u64,
    pub(super) deadline: u64,
}

/// A request that waits for as long as it has to, of the time 0.
pub(super) const PLAIN: Terms =
    Terms { ticket: None, is_first: false, now: 0, deadline: 1_000_000 };

impl Request {
    pub(super) fn arrive(pool: &LeasePool, terms: Terms) -> Self {
        let wakes = WakeCounter::new();
        let arrived = pool.arrive(Arrival {
            ticket: terms.ticket,
            is_first: terms.is_first,
            now: ms(terms.now),
            since: Nanos::ZERO,
            deadline: ms(terms.deadline),
            max_queue: u32::MAX,
            waker: &mut Some(wakes.waker()),
        });
        let ticket = match arrived {
            Arrived::Queued(ticket) => Some(ticket),
            _ => terms.ticket,
        };
        Self { ticket, arrived, wakes, outcome: Cell::new(None) }
    }

    /// Tries without a wait first, as the limiter does.
    pub(super) fn call(pool: &LeasePool) -> Self {
        match pool.try_acquire(Nanos::ZERO) {
            Some(acquired) => {
                let arrived = Arrived::Acquired(acquired);
                let wakes = WakeCounter::new();
                Self { ticket: None, arrived, wakes, outcome: Cell::new(None) }
            }
            None => Self::arrive(pool, PLAIN),
        }
    }

    pub(super) fn is_queued(&self) -> bool {
        matches!(self.arrived, Arrived::Queued(_))
    }

    /// Returns the end of its wait. Asserts that its task was woken for it.
    pub(super) fn poll(&self, pool: &LeasePool) -> Option<Outcome> {
        if self.outcome.get().is_some() {
            return self.outcome.get();
        }
        let ticket = self.ticket.filter(|_| self.is_queued())?;
        let polled = pool.poll(ticket, &mut Some(self.wakes.waker()));
        let woken = self.wakes.count();
        assert_eq!(woken, usize::from(polled.is_ready()), "{polled:?}, and woken {woken} times");
        if let Poll::Ready(outcome) = polled {
            self.outcome.set(Some(outcome));
        }
        self.outcome.get()
    }

    /// Returns the deadline of its permit, if it has one by now.
    pub(super) fn permit(&self, pool: &LeasePool) -> Option<Deadline> {
        match (self.arrived, self.poll(pool)) {
            (Arrived::Acquired(acquired), _) => Some(acquired.deadline),
            (_, Some(Outcome::Granted(deadline))) => Some(deadline),
            _ => None,
        }
    }
}

/// Permits by the deadlines of their leases: those that were acquired, and those to be refunded.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) acquired: Vec<Deadline>,
    pub(super) unused: Vec<Unused>,
}

impl Tally {
    pub(super) fn acquired(&mut self, permits: impl IntoIterator<Item = Deadline>) {
        self.acquired.extend(permits);
    }

    pub(super) fn unused(&mut self, unused: impl IntoIterator<Item = Unused>) {
        self.unused.extend(unused);
    }

    /// Wakes what a release has brought about.
    pub(super) fn freed(&mut self, freed: Freed) {
        self.unused(freed.unused);
        freed.waker.into_iter().for_each(std::task::Waker::wake);
    }

    fn count(&self, of: Deadline) -> u32 {
        let acquired = self.acquired.iter().filter(|deadline| **deadline == of).count();
        let unused = self.unused.iter().filter(|unused| unused.deadline == of);
        u32::try_from(acquired).expect("few") + unused.map(|unused| unused.count).sum::<u32>()
    }

    /// Asserts that each permit of the leases was acquired or is unused, once the rest of the pool
    /// is taken.
    pub(super) fn assert_whole(mut self, pool: &LeasePool, leases: &[Unused]) {
        self.unused(pool.withdraw(Nanos::NEVER));
        for lease in leases {
            let found = self.count(lease.deadline);
            assert_eq!(found, lease.count, "permits of {:?} in {self:?}", lease.deadline);
        }
    }
}

/// Delivers a lease, and wakes the tasks.
pub(super) fn deliver(pool: &LeasePool, lease: Unused) -> Option<Unused> {
    let mut wakers = Vec::new();
    let left = pool.deliver(lease, &mut wakers);
    wakers.into_iter().for_each(std::task::Waker::wake);
    left
}

/// Makes a step that wakes tasks.
pub(super) fn waking<T>(step: impl FnOnce(&mut Vec<std::task::Waker>) -> T) -> T {
    let mut wakers = Vec::new();
    let result = step(&mut wakers);
    wakers.into_iter().for_each(std::task::Waker::wake);
    result
}
