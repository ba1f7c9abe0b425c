use super::{
    super::{ConcurrencyBackpressureHandle, limiter::ConcurrencyLimiter},
    AdaptiveSnapshot,
    settings::limit,
};
use crate::settings::{self, InvalidSetting};

/// A limit that [adapts](super::super::ConcurrencyBackpressureLayer::adaptive).
impl ConcurrencyBackpressureHandle {
    /// Returns the growth of the time in service per growth of the limit, as the last round of the
    /// search has measured it; `None` before the first one, and for a fixed limit.
    ///
    /// 0 means that more permits would be of use at once, and 1 that they would only wait at the
    /// server. Single values vary a lot.
    #[must_use]
    pub fn elasticity(&self) -> Option<f64> {
        self.limiter.knee.as_ref()?.rounds().elasticity
    }

    /// Returns the number of rounds of the search. It grows only while the limit is reached. 0 for
    /// a fixed limit.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.limiter.knee.as_ref().map_or(0, |knee| knee.rounds().number)
    }

    /// Pins the limit: it stays as it is set here until [`adapt`](Self::adapt).
    ///
    /// Otherwise, it is as [`set_limit`](Self::set_limit), which pins as well.
    ///
    /// # Errors
    ///
    /// If `limit` is outside the range of the settings. The limit stays as it was.
    pub fn hold(&self, limit: u32) -> Result<(), InvalidSetting> {
        self.set_limit(limit)
    }

    /// Lets a limit that was pinned adapt again, from where it is. Without effect on any other.
    pub fn adapt(&self) {
        self.limiter.change_with(|knee| knee.adapt());
    }

    /// Returns true if the limit is pinned, by [`hold`](Self::hold) or
    /// [`set_limit`](Self::set_limit). Never true for a limit that does not adapt.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.limiter.knee.as_ref().is_some_and(|knee| knee.is_held())
    }

    /// Checks a limit that a handle is to set.
    pub(crate) fn check_limit(&self, max_in_flight: u32) -> Result<u32, InvalidSetting> {
        let Some(knee) = &self.limiter.knee else {
            return settings::permits("max_in_flight", max_in_flight);
        };
        let range = knee.range();
        limit("max_in_flight", max_in_flight, range.min, range.max)
    }
}

impl ConcurrencyLimiter {
    /// Returns the state of the search, if there is one.
    pub(in super::super) fn adaptive_snapshot(&self) -> Option<AdaptiveSnapshot> {
        let knee = self.knee.as_ref()?;
        let rounds = knee.rounds();
        Some(AdaptiveSnapshot {
            rounds: rounds.number,
            elasticity: rounds.elasticity,
            is_held: knee.is_held(),
        })
    }
}
