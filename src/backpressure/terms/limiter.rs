//! The limiter of requests in flight, for requests with terms.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use super::{ArrivalTerms, shares::Shares};
#[cfg(debug_assertions)]
use crate::limiter::nested::Nested;
use crate::{
    arc_cache::{CachedArc, arc_cache},
    backpressure::{
        arrival::Ask,
        knee::Begun,
        limiter::{ConcurrencyLimiter, Permit},
    },
    judge::{Measure, Outcome},
    limiter::{
        Bounds, InFlight, Kind, Limiter, Observer, QueueLimits, Refusal, Rejecting, Terms, Waiter,
    },
    rejected::{Reason, Rejected},
    time::{Clock, Nanos, Time},
};

/// A limiter that other layers may share, and the shares of the classes of one layer.
///
/// Requests with a deadline are measured: see [`Measured`].
pub struct TermsLimiter {
    limiter: CachedArc<ConcurrencyLimiter>,
    shares: Shares,
}

arc_cache!(TermsLimiter);

impl TermsLimiter {
    pub(super) fn new(limiter: Arc<ConcurrencyLimiter>, shares: Shares) -> Self {
        limiter.has_terms();
        Self { limiter: CachedArc::new(limiter), shares }
    }

    /// Returns the limiter with other shares.
    pub(super) fn with_shares(&self, shares: Shares) -> Self {
        Self { limiter: self.limiter.clone(), shares }
    }

    pub(super) fn shared(&self) -> &Arc<ConcurrencyLimiter> {
        self.limiter.arc()
    }

    fn ask(&self, terms: &ArrivalTerms) -> Ask {
        Ask { done_by: terms.done_by(), share: self.shares.of(terms.class) }
    }
}

/// A request in flight, whose time in service is recorded if it has a deadline.
///
/// The time ends with the response, even if a body keeps the permit.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// The time of the call of a request with a deadline, until its response.
    called: Option<Nanos>,
    pub(crate) in_flight: InFlight<ConcurrencyLimiter>,
}

impl Measured {
    fn completed(&mut self) {
        if let (Some(called), Some(limiter)) = (self.called.take(), self.in_flight.limiter()) {
            limiter.service_times().record(limiter.clock().now().since(called));
        }
    }
}

impl Measure for Measured {
    type Begun = Begun;

    #[inline]
    fn is_held(&self) -> bool {
        self.in_flight.is_held()
    }

    fn forget(&mut self) {
        self.called = None;
    }

    fn end(&self, begun: Begun, outcome: Option<Outcome>) {
        self.in_flight.end(begun, outcome);
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let Some(called) = self.called.take() else { return };
        // A panic says nothing of the time.
        if let (Some(limiter), false) = (self.in_flight.limiter(), thread::panicking()) {
            limiter.service_times().record_abandoned(limiter.clock().now().since(called));
        }
    }
}

impl Limiter for TermsLimiter {
    const LAYER: &'static str = ConcurrencyLimiter::LAYER;
    const KIND: Kind = ConcurrencyLimiter::KIND;

    type Permit = Permit;
    type InFlight = Measured;
    type Terms = ArrivalTerms;

    #[inline]
    fn try_acquire_unobserved(&self) -> bool {
        self.limiter.try_acquire_unobserved()
    }

    #[inline]
    fn try_acquire(&self) -> Option<Permit> {
        self.limiter.try_acquire()
    }

    fn try_acquire_many(&self, permits: u32) -> bool {
        self.limiter.try_acquire_many(permits)
    }

    #[track_caller]
    fn poll_acquire(
        self: &Arc<Self>,
        waiter: &mut Waiter,
        permits: u32,
        limits: &QueueLimits,
        terms: &ArrivalTerms,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Permit, Refusal>> {
        self.limiter.poll_ask(waiter, permits, limits, &self.ask(terms), cx)
    }

    fn cancel(&self, waiter: Waiter) {
        self.limiter.cancel(waiter);
    }

    fn refill(&self) {
        self.limiter.refill();
    }

    #[inline]
    fn release(&self, permit: Permit) {
        self.limiter.release(permit);
    }

    fn release_many(&self, permits: u32) {
        self.limiter.release_many(permits);
    }

    #[inline]
    fn call<R>(
        limiter: &CachedArc<Self>,
        terms: &ArrivalTerms,
        call: impl FnOnce() -> R,
    ) -> (R, Measured) {
        let called = (terms.done_by != Nanos::NEVER).then(|| limiter.clock().now());
        let (result, in_flight) = ConcurrencyLimiter::call(&limiter.limiter, &(), call);
        (result, Measured { called, in_flight })
    }

    #[inline]
    fn measure(limiter: &CachedArc<Self>, permit: &mut Permit) -> Option<Begun> {
        ConcurrencyLimiter::measure(&limiter.limiter, permit)
    }

    fn completed(in_flight: &mut Measured) {
        in_flight.completed();
    }

    fn rejection(
        &self,
        reason: Reason,
        limits: Option<&QueueLimits>,
        _: u32,
        terms: &ArrivalTerms,
    ) -> Rejected {
        self.limiter.reject_ask(reason, limits, &self.ask(terms)).of_class(terms.class)
    }

    fn limit(&self) -> u32 {
        self.limiter.limit()
    }

    fn separate(&self) -> Self {
        Self::new(Arc::new(self.limiter.separate()), self.shares)
    }

    fn clock(&self) -> &Clock {
        self.limiter.clock()
    }

    fn bounds(&self) -> &Bounds {
        self.limiter.bounds()
    }

    fn rejecting(&self) -> &Rejecting {
        self.limiter.rejecting()
    }

    fn observer(&self) -> &Observer {
        self.limiter.observer()
    }

    fn observe(&self) {
        self.limiter.observe();
    }

    fn fmt_settings(&self, f: &mut fmt::DebugStruct<'_, '_>) {
        self.limiter.fmt_settings(f);
        f.field("shares", &self.shares);
    }

    #[cfg(debug_assertions)]
    fn nested(&self) -> &Nested {
        self.limiter.nested()
    }

    #[cfg(debug_assertions)]
    const NESTED: &'static str = ConcurrencyLimiter::NESTED;
}

/// The settings. The handle reads the state.
impl fmt::Debug for TermsLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("TermsLimiter");
        self.fmt_settings(&mut fields);
        fields.finish_non_exhaustive()
    }
}
