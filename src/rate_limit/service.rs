use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{WindowRateLimitHandle, future::ResponseFuture, limiter::RateLimiter};
use crate::{
    reject::{RejectPolicyFor, NeverReject},
    macros::inner_access,
    seat::{Seat, Taken},
};

/// A service with a bound on the requests issued in a window of time. See the
/// [module](crate::rate_limit).
///
/// A clone shares the limit, and has neither a reservation nor a ticket until it is polled itself.
/// Dropped, it gives back what it has.
#[derive(Clone, Debug)]
pub struct WindowRateLimit<S, A = NeverReject> {
    inner: S,
    /// Filled by `poll_ready` with a reservation (or a rejection), which `call` takes and turns into an
    /// issue.
    seat: Seat<RateLimiter>,
    answer: A,
}

impl<S, A> WindowRateLimit<S, A> {
    pub(super) const fn new(inner: S, seat: Seat<RateLimiter>, answer: A) -> Self {
        Self { inner, seat, answer }
    }

    inner_access!();

    /// A handle that reads and steers the limit.
    #[must_use]
    pub fn handle(&self) -> WindowRateLimitHandle {
        WindowRateLimitHandle::new(Arc::clone(self.seat.limiter().arc()))
    }
}

impl<S, A, Request> Service<Request> for WindowRateLimit<S, A>
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
                let _issuing = self.seat.limiter().issuing();
                #[cfg(debug_assertions)]
                let _driven = self.seat.limiter().nested_id().driven();
                let response = ResponseFuture::issued(self.inner.call(request));
                #[cfg(debug_assertions)]
                let response = response.of(self.seat.limiter().nested_id());
                response
            }
            Taken::Rejection(rejected) => ResponseFuture::turned_away(&self.answer, rejected),
        }
    }
}
