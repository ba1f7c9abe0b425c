use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    ConcurrencyBackpressureHandle,
    future::ResponseFuture,
    limiter::{ConcurrencyLimiter, Permit},
};
use crate::{
    reject::{RejectPolicy, RejectPolicyFor, NeverReject},
    macros::inner_access,
    seat::{Seat, Taken},
};

/// A service with a bound on the requests in flight. See the [module](crate::backpressure).
///
/// A clone shares the limit, and has neither a place nor a ticket until it is polled itself. Dropped,
/// it gives back what it has.
#[derive(Clone, Debug)]
pub struct ConcurrencyBackpressure<S, A = NeverReject> {
    inner: S,
    /// Filled by `poll_ready` with a place (or a rejection), which `call` takes and the response future
    /// keeps until it is done.
    seat: Seat<ConcurrencyLimiter>,
    answer: A,
}

impl<S, A> ConcurrencyBackpressure<S, A> {
    pub(super) const fn new(inner: S, seat: Seat<ConcurrencyLimiter>, answer: A) -> Self {
        Self { inner, seat, answer }
    }

    inner_access!();
}

impl<S, A: RejectPolicy> ConcurrencyBackpressure<S, A> {
    /// A handle that reads and steers the limit.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyBackpressureHandle<A::Outcome> {
        ConcurrencyBackpressureHandle::new(Arc::clone(self.seat.limiter().arc()))
    }
}

impl<S, A, Request> Service<Request> for ConcurrencyBackpressure<S, A>
where
    S: Service<Request>,
    A: RejectPolicyFor<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = A::Error;
    type Future = ResponseFuture<S::Future, A>;

    #[inline(always)]
    #[track_caller]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        #[cfg(debug_assertions)]
        let limit = self.seat.limiter().report_nested();
        self.seat.poll_ready(cx, |cx| {
            #[cfg(debug_assertions)]
            let _driven = limit.driven();
            self.inner.poll_ready(cx).map_err(A::pass)
        })
    }

    #[inline]
    #[track_caller]
    fn call(&mut self, request: Request) -> Self::Future {
        match self.seat.take(|cx| self.inner.poll_ready(cx)) {
            Taken::Place => {
                // Before the inner call: if that panics, the place comes back.
                let permit = Permit::of(self.seat.limiter());
                #[cfg(debug_assertions)]
                let _driven = permit.driven();
                ResponseFuture::admitted(self.inner.call(request), permit)
            }
            Taken::Rejection(rejected) => ResponseFuture::turned_away(&self.answer, rejected),
        }
    }
}
