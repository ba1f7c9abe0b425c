//! Terms that are set on a service before it is polled ready.

use std::sync::Arc;

use super::{Terms, limiter::TermsLimiter};
use crate::{
    backpressure::ConcurrencyBackpressureHandle, limiter::Limiter, middleware::Limited,
    reject::RejectWithBoxError,
};

/// A service with a bound on the requests in flight, whose requests may have terms: see
/// [`terms`](Self::terms).
pub type TermsBackpressure<S, P = RejectWithBoxError> = Limited<S, TermsLimiter, P>;

impl<S, P> Limited<S, TermsLimiter, P> {
    /// Sets the terms of the next call. Call it before the service is polled ready.
    ///
    /// They count from now, hold for the wait in `poll_ready` and for the next call, and are gone
    /// then; a clone starts without. A service that waits leaves the queue, and one that is ready
    /// releases its permit. A wait that is abandoned takes its terms along.
    ///
    /// If the deadline passes after the service became ready, the call rejects the request.
    pub fn terms(&mut self, terms: Terms) {
        let readiness = self.readiness_mut();
        let terms = terms.of_arrival(readiness.limiter().clock());
        readiness.set_terms(terms);
    }

    /// Returns a handle that reads and changes the limit.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyBackpressureHandle {
        let readiness = self.readiness();
        let limiter = Arc::clone(readiness.limiter().shared());
        ConcurrencyBackpressureHandle::new(limiter, readiness.limits())
    }
}
