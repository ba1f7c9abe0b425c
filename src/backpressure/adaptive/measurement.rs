//! The measurement of a request that took the last permit.

use std::{cell::Cell, thread};

use super::super::{
    knee::{Begun, Claim, Knee, Stamp},
    limiter::ConcurrencyLimiter,
};
use crate::{
    judge::{Measure, Outcome},
    limiter::InFlight,
    time::Nanos,
};

impl Measure for InFlight<ConcurrencyLimiter> {
    type Begun = Begun;

    #[inline]
    fn is_held(&self) -> bool {
        self.limiter().is_some()
    }

    fn end(&self, begun: Begun, outcome: Option<Outcome>) {
        let Some(limiter) = self.limiter() else { return };
        match outcome {
            Some(outcome) => limiter.measured(begun, outcome),
            // A panic says nothing about the load.
            None if thread::panicking() => {}
            None => limiter.abandoned(begun),
        }
    }
}

impl ConcurrencyLimiter {
    /// Begins to measure a request that is called now, of the half round that its permit has. That
    /// of the permit is taken.
    #[cold]
    pub(in super::super) fn begin(&self, half_round: &mut Option<Stamp>) -> Option<Begun> {
        half_round.take().map(|stamp| Begun::new(stamp, self.now()))
    }

    /// A measured request has ended.
    fn measured(&self, begun: Begun, outcome: Outcome) {
        let Some(knee) = &self.knee else { return };
        match outcome {
            Outcome::Ignored => {}
            Outcome::Overload => self.overloaded(begun),
            Outcome::Served => {
                let now = self.now();
                if let Some(claim) = knee.served(begun.stamp(), begun.nanos_until(now)) {
                    self.step(&claim, now);
                }
            }
        }
    }

    /// A measured request was abandoned.
    fn abandoned(&self, begun: Begun) {
        let Some(knee) = &self.knee else { return };
        let now = self.now();
        if let Some(claim) = knee.abandoned(begun.stamp(), begun.nanos_until(now)) {
            self.step(&claim, now);
        }
    }

    /// A measured request was rejected by an overloaded server.
    fn overloaded(&self, begun: Begun) {
        if let Some(claim) = self.knee.as_ref().and_then(|knee| knee.overloaded(begun.stamp())) {
            self.step(&claim, self.now());
        }
    }

    /// Makes the step of a claim, and changes the limit with it.
    fn step(&self, claim: &Claim, now: Nanos) {
        self.change_with(|knee| knee.step(claim, now));
    }

    /// Changes the limit to that of a step of the search, and begins its half round. If `step`
    /// returns no limit, nothing changes.
    ///
    /// All of it happens under the lock of the semaphore. Waiters are granted permits after it, and
    /// so in the new half round.
    pub(super) fn change_with(&self, step: impl FnOnce(&Knee) -> Option<u32>) {
        let Some(knee) = &self.knee else { return };
        let has_stepped = Cell::new(false);
        let limit = |present| match step(knee) {
            Some(limit) => {
                has_stepped.set(true);
                limit
            }
            None => present,
        };
        let begin = || {
            if has_stepped.get() {
                knee.begin();
            }
        };
        self.semaphore.change(limit, || {}, begin);
    }
}
