//! The measurement of a request that took the last permit.

use std::{cell::Cell, fmt, sync::Arc, thread};

use super::super::{
    knee::{Claim, Stamp},
    limiter::ConcurrencyLimiter,
};
use crate::{
    arc_cache::{self, CachedArc},
    judge::{self, Outcome},
    time::Nanos,
};

/// The time in service of a request that took the last permit, from its call to the end of its
/// response future.
///
/// A drop counts the request as abandoned, unless the thread panics: a panic says nothing about the
/// load.
pub(crate) struct Measurement {
    /// `None` once it has ended.
    limiter: Option<Arc<ConcurrencyLimiter>>,
    stamp: Stamp,
    start: Nanos,
}

impl Measurement {
    pub(in super::super) fn begin(limiter: &CachedArc<ConcurrencyLimiter>, stamp: Stamp) -> Self {
        let start = limiter.now();
        Self { limiter: Some(arc_cache::clone_cached(limiter.arc())), stamp, start }
    }
}

impl judge::Measurement for Measurement {
    fn end(mut self, outcome: Outcome) {
        let Some(limiter) = self.limiter.take() else { return };
        limiter.measured(self.stamp, outcome, self.start);
        arc_cache::drop_cached(limiter);
    }
}

impl Drop for Measurement {
    fn drop(&mut self) {
        if let Some(limiter) = self.limiter.take() {
            if !thread::panicking() {
                limiter.lost(self.stamp);
            }
            arc_cache::drop_cached(limiter);
        }
    }
}

impl fmt::Debug for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measurement").field("start", &self.start).finish_non_exhaustive()
    }
}

impl ConcurrencyLimiter {
    /// A request of `stamp` has ended, which was called at `start`.
    fn measured(&self, stamp: Stamp, outcome: Outcome, start: Nanos) {
        let Some(knee) = &self.knee else { return };
        match outcome {
            Outcome::Ignored => {}
            Outcome::Overload => self.lost(stamp),
            Outcome::Served => {
                let now = self.now();
                let nanos = now.get().saturating_sub(start.get());
                if let Some(claim) = knee.served(stamp, nanos) {
                    self.step(&claim, now);
                }
            }
        }
    }

    /// A request of `stamp` was abandoned, or rejected by an overloaded server.
    fn lost(&self, stamp: Stamp) {
        if let Some(claim) = self.knee.as_ref().and_then(|knee| knee.lost(stamp)) {
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
    pub(super) fn change_with(&self, step: impl FnOnce(&super::super::knee::Knee) -> Option<u32>) {
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
