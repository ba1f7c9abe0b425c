//! What all clones share: the gate, the clock, and the count of those turned away.

use std::{fmt, sync::Arc, task::Waker};

#[cfg(debug_assertions)]
use crate::nested::{Driven, LimitId, Nested};
use crate::{
    clock::{Clock, Nanos, TimerUse},
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
    pub(super) clock: Clock,
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
        Self::new(self.gate.read(|standing| standing.limit))
    }

    /// As the handle reads it, and without the waiters whose deadlines have passed.
    pub(super) fn read(&self) -> Standing {
        self.gate.expire(&|| self.clock.now());
        self.gate.read(|standing| standing)
    }

    /// Reports a request that has a permit and comes for another. Returns the limit, for its guard.
    #[cfg(debug_assertions)]
    pub(super) fn report_nested(&self) -> LimitId {
        let limit = || self.gate.read(|standing| standing.limit);
        self.nested.report(
            || format!("ConcurrencyBackpressureLayer::new({})", limit()),
            "Once such requests hold all permits, each waits for another, and none proceeds",
        );
        self.nested.id()
    }
}

/// The settings, not the state: that is the handle's to read.
impl fmt::Debug for ConcurrencyLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.gate.read(|standing| standing.limit);
        f.debug_struct("ConcurrencyLimiter").field("max_in_flight", &limit).finish_non_exhaustive()
    }
}

impl Limiter for ConcurrencyLimiter {
    #[inline]
    fn try_enter(&self) -> bool {
        self.gate.try_enter()
    }

    fn arrive(&self, bounds: &Bounds, waker: &Waker) -> Arrival {
        self.gate.expire(&|| self.clock.now());
        let deadline = bounds.deadline(|| self.clock.now());
        let admit = |standing: Standing| {
            if standing.ahead >= bounds.max_queue {
                return Err(Reason::QueueFull);
            }
            if bounds.allow_no_wait() { Err(Reason::WaitTimeout) } else { Ok(deadline) }
        };
        match self.gate.join(waker, deadline, admit) {
            Entry::Entered => Arrival::Entered,
            Entry::Waiting(ticket, again) => {
                Arrival::Waiting(Waiting::new(ticket, deadline, again, waker))
            }
            Entry::Refused(reason) => Arrival::TurnedAway(reason),
            Entry::Closed => Arrival::TurnedAway(Reason::Closed),
        }
    }

    fn look(&self, waiting: &mut Waiting, waker: &Waker) -> Step {
        let deadline = waiting.deadline;
        match self.gate.look(&waiting.ticket, waker, deadline, |_| deadline) {
            Look::Entered => Step::Entered,
            Look::Closed => Step::TurnedAway(Reason::Closed),
            Look::Waiting(again) if again == Nanos::NEVER || self.clock.now() < again => {
                waiting.again = again;
                Step::Waiting
            }
            Look::Waiting(_) | Look::Expired => Step::TooLate,
        }
    }

    const WAITING: TimerUse = TimerUse {
        what: "ConcurrencyBackpressureLayer: a wait that `max_wait` bounds",
        otherwise: "leave `max_wait` out",
    };

    /// Places come back by somebody's doing, who hands them over.
    fn mind(self: &Arc<Self>, _: &Ticket) {}

    fn acquire(&self) -> bool {
        self.gate.expire(&|| self.clock.now());
        self.gate.try_enter()
    }

    fn reject(&self, reason: Reason) -> Rejected {
        let reason = if self.gate.is_barred() { Reason::Closed } else { reason };
        self.rejections.turn_away(reason, None)
    }

    fn leave(&self, ticket: Ticket) -> bool {
        self.gate.give_up(ticket) == GivenUp::Entered
    }

    #[inline]
    fn give_back(&self) {
        self.gate.put_back(1, &|| self.clock.now());
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
