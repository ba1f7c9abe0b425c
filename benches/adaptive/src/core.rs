//! The core of the limit, driven without a semaphore.

use std::fmt;

use crate::{
    algorithm::{Algorithm, End, Number, Stamp},
    knee::{Claim, Knee, Range},
    time::Nanos,
};

/// The search for the knee, as the limiter drives it.
pub struct Core {
    knee: Knee,
    limit: u32,
}

impl Core {
    /// Creates a search with these settings of `Adaptive`.
    pub fn new(min: u32, max: u32, start: u32, sharers: u32) -> Self {
        let knee = Knee::new(Range { min, max, sharers }, start);
        let limit = knee.limit();
        Self { knee, limit }
    }

    /// Creates a search with the default settings.
    pub fn standard() -> Self {
        Self::shared_by(2)
    }

    /// Creates a search with the default settings, and this number of limiters.
    pub fn shared_by(sharers: u32) -> Self {
        Self::new(1, 1_000, 20, sharers)
    }

    fn step(&mut self, claim: &Claim, now: u64) {
        if let Some(limit) = self.knee.step(claim, Nanos::new(now)) {
            self.limit = limit;
            self.knee.begin();
        }
    }
}

impl Algorithm for Core {
    fn limit(&self) -> u32 {
        self.limit
    }

    fn stamp(&mut self) -> Option<Stamp> {
        let stamp = self.knee.present()?;
        self.knee.is_chosen().then_some(Stamp(Number::Core(stamp)))
    }

    fn ended(&mut self, stamp: Stamp, end: End, nanos: u64, now: u64) {
        let Stamp(Number::Core(stamp)) = stamp else { return };
        let claim = match end {
            End::Served => self.knee.served(stamp, nanos),
            End::Overload => self.knee.overloaded(stamp),
            End::Abandoned => self.knee.abandoned(stamp, nanos),
            End::Ignored => None,
        };
        if let Some(claim) = claim {
            self.step(&claim, now);
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("limit", &self.limit).finish_non_exhaustive()
    }
}
