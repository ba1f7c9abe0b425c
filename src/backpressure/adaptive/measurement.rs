//! The measurement of a request that took the last permit.

use std::{cell::Cell, thread};

use super::super::{
    knee::{Claim, Knee, Stamp},
    limiter::ConcurrencyLimiter,
};
use crate::{
    judge::{Measure, Outcome},
    limiter::InFlight,
    time::Nanos,
};

/// The begun measurement of a request that took the last permit: of its time in service, from its
/// call to the end of its response future.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    start: Nanos,
    stamp: Stamp,
}

impl Begun {
    #[cold]
    pub(in super::super) fn now(limiter: &ConcurrencyLimiter, stamp: Stamp) -> Self {
        Self { start: limiter.now(), stamp }
    }
}

impl Measure for InFlight<ConcurrencyLimiter> {
    type Begun = Begun;

    fn end(&self, Begun { start, stamp }: Begun, outcome: Option<Outcome>) {
        let Some(limiter) = self.limiter() else { return };
        match outcome {
            Some(outcome) => limiter.measured(stamp, outcome, start),
            // A panic says nothing about the load.
            None if thread::panicking() => {}
            None => limiter.abandoned(stamp, start),
        }
    }
}

impl ConcurrencyLimiter {
    /// A request of `stamp` has ended, which was called at `start`.
    fn measured(&self, stamp: Stamp, outcome: Outcome, start: Nanos) {
        let Some(knee) = &self.knee else { return };
        match outcome {
            Outcome::Ignored => {}
            Outcome::Overload => self.overloaded(stamp),
            Outcome::Served => {
                let now = self.now();
                let nanos = now.get().saturating_sub(start.get());
                if let Some(claim) = knee.served(stamp, nanos) {
                    self.step(&claim, now);
                }
            }
        }
    }

    /// A request of `stamp` was abandoned, which was called at `start`.
    fn abandoned(&self, stamp: Stamp, start: Nanos) {
        let Some(knee) = &self.knee else { return };
        let now = self.now();
        let nanos = now.get().saturating_sub(start.get());
        if let Some(claim) = knee.abandoned(stamp, nanos) {
            self.step(&claim, now);
        }
    }

    /// A request of `stamp` was rejected by an overloaded server.
    fn overloaded(&self, stamp: Stamp) {
        if let Some(claim) = self.knee.as_ref().and_then(|knee| knee.overloaded(stamp)) {
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
