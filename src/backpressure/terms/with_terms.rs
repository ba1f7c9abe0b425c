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
    /// They count from now, and hold until a call, however long after readiness, or until
    /// `poll_ready` returns an error. A clone starts without. A service that waits leaves the
    /// queue, and one that is ready releases its permit.
    ///
    /// **Set terms for each request, `Terms::new()` for one without any.** A request that was
    /// abandoned before its call leaves its terms behind, because the next poll of the same task
    /// may be a late one of the same request. Terms that are set begin another request. A poll of
    /// another task does, too, while the service waits.
    ///
    /// The deadline holds until the call. If it passes in the queue, or while the inner service is
    /// not ready, the service becomes ready at the deadline, without a permit, and the call rejects
    /// the request. If it passes between readiness and call, the call rejects it, too.
    ///
    /// With a deadline, a poll panics outside a tokio runtime with its timer enabled if it has to
    /// wait for a permit or for the inner service.
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
