//! What all clones share: the gate, the clock, and the count of those turned away.

use std::{fmt, sync::Arc, task::Waker};

#[cfg(debug_assertions)]
use crate::nested::{Driven, LimitId, Nested};
use crate::{
    clock::{Clock, Nanos},
    gate::{Entry, Gate, GivenUp, Look, Standing, Ticket},
    rejected::{Limit, Reason, Rejected},
    seat::{Arrival, Bounds, Limiter, Rejections, Step, Waiting},
    spare::{Shared, spare},
};

/// The gate comes first, so that its word lies beside the reference count: a call changes both, and mostly
/// finds them in one cache line.
#[repr(C)]
pub(crate) struct ConcurrencyLimiter {
    pub(super) gate: Gate,
    pub(super) rejections: Rejections,
    clock: Clock,
    #[cfg(debug_assertions)]
    nested: Nested,
}

spare!(ConcurrencyLimiter);

impl ConcurrencyLimiter {
    pub(super) fn new(max_in_flight: u32) -> Self {
        Self {
            gate: Gate::new(max_in_flight),
            rejections: Rejections::of(Limit::Concurrency),
            clock: Clock::start(),
            #[cfg(debug_assertions)]
            nested: Nested::new(),
        }
    }

    /// Another of the same, empty.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.gate.read().limit)
    }

    /// Reports a request that has a permit and comes for another. Returns the limit, for its guard.
    #[cfg(debug_assertions)]
    pub(super) fn report_nested(&self) -> LimitId {
        self.nested.report(
            || format!("ConcurrencyBackpressureLayer::new({})", self.gate.read().limit),
            "Once such requests hold all permits, each waits for another, and none proceeds",
        );
        self.nested.id()
    }

    fn reject(&self, reason: Reason) -> Rejected {
        self.rejections.turn_away(reason, None)
    }
}

/// The settings, not the state: that is the handle's to read.
impl fmt::Debug for ConcurrencyLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.gate.read().limit;
        f.debug_struct("ConcurrencyLimiter").field("max_in_flight", &limit).finish_non_exhaustive()
    }
}

impl Limiter for ConcurrencyLimiter {
    #[inline]
    fn try_enter(&self) -> bool {
        self.gate.try_enter()
    }

    fn arrive(&self, bounds: &Bounds, waker: &Waker) -> Arrival {
        let deadline = bounds.deadline(|| self.clock.now());
        let admit = |standing: Standing| {
            if standing.ahead >= bounds.max_waiting {
                return Err(Reason::QueueFull);
            }
            if bounds.allow_no_wait() { Err(Reason::WaitTimeout) } else { Ok(deadline) }
        };
        match self.gate.join(waker, admit) {
            Entry::Entered => Arrival::Entered,
            Entry::Waiting(ticket, again) => Arrival::Waiting(Waiting { ticket, deadline }, again),
            Entry::Refused(reason) => Arrival::TurnedAway(self.reject(reason)),
            Entry::Closed => Arrival::TurnedAway(self.reject(Reason::Closed)),
        }
    }

    fn look(&self, Waiting { ticket, deadline }: &Waiting, waker: &Waker) -> Step {
        match self.gate.look(ticket, waker, |_| *deadline) {
            Look::Entered => Step::Entered,
            Look::Closed => Step::TurnedAway(self.reject(Reason::Closed)),
            Look::Waiting(again) if again == Nanos::NEVER || self.clock.now() < again => {
                Step::Waiting(again)
            }
            Look::Waiting(_) => Step::TooLate,
        }
    }

    /// Places come back by somebody's doing, who hands them over.
    fn mind(self: &Arc<Self>, _: &Ticket) {}

    fn turn_away(&self, ticket: Ticket) -> Option<Rejected> {
        let given_up = self.gate.give_up(ticket);
        (given_up != GivenUp::Entered).then(|| self.reject(Reason::WaitTimeout))
    }

    fn give_up(&self, ticket: Ticket) {
        if self.gate.give_up(ticket) == GivenUp::Entered {
            self.give_back();
        }
    }

    #[inline]
    fn give_back(&self) {
        self.gate.put_back(1);
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// A place in flight. Dropped, it goes to whoever is next.
#[derive(Debug)]
pub(crate) struct Permit(Shared<ConcurrencyLimiter>);

impl Permit {
    /// Stands for a place that was taken from a seat.
    #[inline]
    pub(super) fn of(limiter: &Shared<ConcurrencyLimiter>) -> Self {
        Self(limiter.clone())
    }

    /// Marks the request of this permit as the one being driven.
    #[cfg(debug_assertions)]
    pub(crate) fn driven(&self) -> Driven {
        self.0.nested.id().driven()
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.0.give_back();
    }
}
