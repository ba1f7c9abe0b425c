#![allow(private_bounds, reason = "the limiters of this crate, and no others")]

use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::ResponseFuture;
use crate::{
    limiter::{Limiter, Readiness},
    macros::inner_access,
    reject::RejectPolicyFor,
};

/// A service with a limit. Named [`ConcurrencyBackpressure`](crate::ConcurrencyBackpressure) and
/// [`WindowRateLimit`](crate::WindowRateLimit).
///
/// `poll_ready` acquires a permit, or leads to a rejection by `call`. A clone shares the limit, and
/// has neither a permit nor a position in the queue until it is polled itself. A drop releases the
/// permit, or leaves the queue.
///
/// `call` panics unless `poll_ready` has returned `Ready(Ok(()))` before. The error type is that of
/// the [reject policy](crate::reject).
pub struct Limited<S, L: Limiter, P> {
    inner: S,
    readiness: Readiness<L>,
    policy: P,
}

impl<S, L: Limiter, P> Limited<S, L, P> {
    pub(super) const fn new(inner: S, readiness: Readiness<L>, policy: P) -> Self {
        Self { inner, readiness, policy }
    }

    pub(crate) const fn readiness(&self) -> &Readiness<L> {
        &self.readiness
    }

    pub(crate) const fn readiness_mut(&mut self) -> &mut Readiness<L> {
        &mut self.readiness
    }

    inner_access!();
}

// In debug builds, `limit` and `driven` find a request that acquires a second permit of one limit:
// see `limiter::nested`.
impl<S, L, P, Request> Service<Request> for Limited<S, L, P>
where
    S: Service<Request>,
    L: Limiter,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = P::Error;
    type Future = ResponseFuture<S::Future, L, P>;

    #[inline(always)]
    #[track_caller]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        #[cfg(debug_assertions)]
        let limit = crate::limiter::nested::report(&**self.readiness.limiter());
        self.readiness.poll_ready(cx, |cx| {
            #[cfg(debug_assertions)]
            let _driven = limit.driven();
            self.inner.poll_ready(cx).map_err(P::pass)
        })
    }

    #[inline(always)]
    #[track_caller]
    fn call(&mut self, request: Request) -> Self::Future {
        #[cfg(debug_assertions)]
        let limit = self.readiness.limiter().nested().id();
        // Polls the inner service only if a permit has become available since a rejection.
        let permit = self.readiness.take(|cx| {
            #[cfg(debug_assertions)]
            let _driven = limit.driven();
            self.inner.poll_ready(cx)
        });
        match permit {
            Ok(terms) => {
                let (limiter, permit) = self.readiness.taken();
                let measurement = self.policy.begin(|| L::measure(limiter, permit));
                let (future, permit) = L::call(limiter, &terms, || {
                    #[cfg(debug_assertions)]
                    let _driven = limit.driven();
                    self.inner.call(request)
                });
                let permit = P::in_flight(permit, measurement);
                let response = ResponseFuture::admitted(future, permit);
                #[cfg(debug_assertions)]
                let response = response.of(limit);
                response
            }
            Err(rejected) => ResponseFuture::rejected(&self.policy, rejected),
        }
    }
}

impl<S: Clone, L: Limiter, P: Clone> Clone for Limited<S, L, P> {
    fn clone(&self) -> Self {
        let Self { inner, readiness, policy } = self;
        // The inner service is cloned last: into its place, and not copied there.
        Self { readiness: readiness.clone(), policy: policy.clone(), inner: inner.clone() }
    }
}

impl<S: fmt::Debug, L: Limiter, P: fmt::Debug> fmt::Debug for Limited<S, L, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(L::LAYER.strip_suffix("Layer").unwrap_or(L::LAYER))
            .field("inner", &self.inner)
            .field("readiness", &self.readiness)
            .field("policy", &self.policy)
            .finish()
    }
}
