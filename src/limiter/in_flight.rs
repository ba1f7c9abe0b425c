//! A permit in use.

use std::fmt;

use super::{Limiter, Observer};
use crate::arc_cache::CachedArc;

/// A permit that is released by its drop.
pub(crate) struct InFlight<L: Limiter> {
    limiter: CachedArc<L>,
    permit: L::Permit,
}

impl<L: Limiter> InFlight<L> {
    #[inline]
    pub(crate) fn new(limiter: &CachedArc<L>, permit: L::Permit) -> Self {
        Self { limiter: limiter.clone(), permit }
    }

    /// Marks the request of this permit as the one being driven.
    #[cfg(all(debug_assertions, feature = "server"))]
    pub(crate) fn driven(&self) -> super::nested::Driven {
        self.limiter.nested().id().driven()
    }
}

impl<L: Limiter> Drop for InFlight<L> {
    #[inline]
    fn drop(&mut self) {
        self.limiter.observer().released();
        self.limiter.release(self.permit);
    }
}

impl<L: Limiter> fmt::Debug for InFlight<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").finish_non_exhaustive()
    }
}
