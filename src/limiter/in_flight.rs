//! A permit in use.

use std::{fmt, sync::Arc};

use super::Limiter;
use crate::arc_cache::{self, CachedArc};

/// A permit that is released by its drop, or none.
///
/// The option is inside, because the drop moves the reference out. An option around it would need a
/// word of its own in each response future.
pub(crate) struct InFlight<L: Limiter>(Option<Arc<L>>);

impl<L: Limiter> InFlight<L> {
    #[inline]
    pub(crate) fn new(limiter: &CachedArc<L>) -> Self {
        Self(Some(arc_cache::clone_cached(limiter.arc())))
    }

    /// Returns the limiter of the permit, if there is one.
    pub(crate) fn limiter(&self) -> Option<&L> {
        self.0.as_deref()
    }

    /// Marks the request of this permit as the one being driven.
    #[cfg(all(debug_assertions, feature = "server"))]
    pub(crate) fn driven(&self) -> Option<super::nested::Driven> {
        self.0.as_ref().map(|limiter| limiter.nested().id().driven())
    }
}

impl<L: Limiter> Default for InFlight<L> {
    fn default() -> Self {
        Self(None)
    }
}

impl<L: Limiter> Drop for InFlight<L> {
    #[inline]
    fn drop(&mut self) {
        if let Some(limiter) = self.0.take() {
            release(limiter);
        }
    }
}

/// Out of line and by value, so that the drops of the futures are short enough to be inlined.
#[inline(never)]
fn release<L: Limiter>(limiter: Arc<L>) {
    limiter.release(L::Permit::default());
    arc_cache::drop_cached(limiter);
}

impl<L: Limiter> fmt::Debug for InFlight<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").finish_non_exhaustive()
    }
}
