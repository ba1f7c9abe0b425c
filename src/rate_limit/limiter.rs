//! What all clones share: the window, the clock, and the count of those turned away.

use std::{fmt, sync::Arc, task::Waker, time::Duration};

use tokio::runtime;

use super::ringer::Ringer;
use super::window::{Shape, Window};
#[cfg(debug_assertions)]
use crate::nested::{LimitId, Nested};
use crate::{
    clock::{Clock, Nanos, TimerUse},
    gate::{Entry, Look, Ticket},
    rejected::{Limit, Reason, Rejected},
    seat::{Arrival, Bounds, Limiter, Rejections, Step, Waiting},
    spare::spare,
};

pub(super) const WAITING: TimerUse = TimerUse {
    what: "WindowRateLimitLayer: a wait for a permit",
    otherwise: "reject what would wait, with `max_queue(0)`",
};

pub(crate) struct RateLimiter {
    pub(super) window: Window<runtime::Id>,
    pub(super) rejections: Rejections,
    pub(super) clock: Clock,
    pub(super) shape: Shape,
    #[cfg(debug_assertions)]
    nested: Nested,
}

spare!(RateLimiter);

impl RateLimiter {
    pub(super) fn new(shape: Shape, limit: u32, length: Duration) -> Self {
        Self {
            window: Window::new(shape, limit, length),
            rejections: Rejections::of(Limit::Rate),
            clock: Clock::start(),
            shape,
            #[cfg(debug_assertions)]
            nested: Nested::new(),
        }
    }

    /// Reports a request that has a permit and comes for another. Returns the limit, for its guards.
    #[cfg(debug_assertions)]
    pub(super) fn report_nested(&self) -> LimitId {
        self.nested.report(
            || {
                let make = if self.shape == Shape::Fixed { "fixed" } else { "new" };
                let (limit, window) = self.window.settings();
                format!("WindowRateLimitLayer::{make}({limit}, {window:?})")
            },
            "It counts twice, and if it wasn't issued by the first, it may wait for itself",
        );
        self.nested_id()
    }

    #[cfg(debug_assertions)]
    pub(super) const fn nested_id(&self) -> LimitId {
        self.nested.id()
    }

    /// Nobody enters before `until`.
    pub(super) fn pause(&self, until: Nanos) {
        self.window.pause(until, &|| self.clock.now());
    }

    /// To be held while the inner service is called: the reservation becomes an issue when it is
    /// dropped, even by a panic, because then the request may well have gone out.
    #[inline]
    pub(super) fn issuing(&self) -> Issuing<'_> {
        Issuing(self)
    }
}

/// The settings, not the state: that is the handle's to read.
impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, window) = self.window.settings();
        f.debug_struct("RateLimiter")
            .field("shape", &self.shape)
            .field("limit", &limit)
            .field("window", &window)
            .finish_non_exhaustive()
    }
}

pub(super) struct Issuing<'a>(&'a RateLimiter);

impl Drop for Issuing<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.window.issue(|| self.0.clock.now());
    }
}

impl Limiter for RateLimiter {
    #[inline]
    fn try_enter(&self) -> bool {
        self.window.try_enter()
    }

    fn arrive(&self, bounds: &Bounds, waker: &Waker) -> Arrival {
        let now = || self.clock.now();
        let deadline = bounds.deadline(now);
        // Whoever can't go in time is turned away now, not after having waited for it.
        let admit = |waiting, expected: &dyn Fn() -> Nanos| {
            if waiting >= bounds.max_queue {
                return Err(Reason::QueueFull);
            }
            match deadline {
                Nanos::NEVER => Ok(Nanos::NEVER),
                _ => match expected() {
                    expected if expected > deadline => Err(Reason::WaitTimeout),
                    expected => Ok(expected),
                },
            }
        };
        match self.window.arrive(waker, deadline, &now, admit) {
            Entry::Entered => Arrival::Entered,
            Entry::Waiting(ticket, again) => {
                Arrival::Waiting(Waiting::new(ticket, deadline, again, waker))
            }
            Entry::Refused(reason) => Arrival::TurnedAway(reason),
            Entry::Closed => unreachable!("windows are not closed"),
        }
    }

    /// A waiter that may be turned away looks twice: at the time at which its place was expected first, and
    /// at its deadline. In between, whoever grants it a place wakes it.
    fn look(&self, waiting: &mut Waiting, waker: &Waker) -> Step {
        let Waiting { ticket, deadline, again, .. } = waiting;
        let mut too_late = false;
        let until = |moment, earliest: &dyn Fn() -> Nanos| {
            if *deadline == Nanos::NEVER {
                return Nanos::NEVER;
            }
            // The time is up, or something (a pause, a lowered limit) has made the first turn of all
            // later than that.
            too_late = moment >= *deadline || earliest() > *deadline;
            if moment < *again { (*again).min(*deadline) } else { *deadline }
        };
        match self.window.look(ticket, waker, *deadline, &|| self.clock.now(), until) {
            Look::Entered => Step::Entered,
            Look::Waiting(_) if too_late => Step::TooLate,
            Look::Waiting(at) => {
                waiting.again = at;
                Step::Waiting
            }
            Look::Expired => Step::TooLate,
            Look::Closed => unreachable!("windows are not closed"),
        }
    }

    const WAITING: TimerUse = WAITING;

    #[track_caller]
    fn mind(self: &Arc<Self>, ticket: &Ticket) {
        let runtime = WAITING.runtime();
        if self.window.mind(ticket, runtime.id(), &|| self.clock.now()) {
            Ringer::send(self, &runtime);
        }
    }

    fn acquire(&self) -> bool {
        self.window.acquire(&|| self.clock.now())
    }

    fn reject(&self, reason: Reason) -> Rejected {
        let wait = self.window.wait(&|| self.clock.now());
        self.rejections.turn_away(reason, Some(wait))
    }

    fn leave(&self, ticket: Ticket) -> bool {
        self.window.give_up(ticket, &|| self.clock.now())
    }

    fn give_back(&self) {
        self.window.give_back(&|| self.clock.now());
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}
