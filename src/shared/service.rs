use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{future::ResponseFuture, handle::SharedRateLimitHandle, limiter::SharedLimiter};
use crate::{limiter::QueueLimits, macros::inner_access, reject::RejectPolicyFor};

/// A service with a limit that many processes share. See the [module](crate::shared).
///
/// Always ready: a request waits in its call, and drives a clone of the inner service ready then.
#[derive(Clone)]
pub struct SharedRateLimit<S, P> {
    inner: S,
    limiter: Arc<SharedLimiter>,
    limits: QueueLimits,
    policy: P,
}

impl<S, P> SharedRateLimit<S, P> {
    pub(super) const fn new(
        inner: S,
        limiter: Arc<SharedLimiter>,
        limits: QueueLimits,
        policy: P,
    ) -> Self {
        Self { inner, limiter, limits, policy }
    }

    /// Returns a handle that reads and changes the limit.
    #[must_use]
    pub fn handle(&self) -> SharedRateLimitHandle {
        SharedRateLimitHandle::new(Arc::clone(&self.limiter), self.limits)
    }

    inner_access!();
}

impl<S, P, Request> Service<Request> for SharedRateLimit<S, P>
where
    S: Service<Request> + Clone,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = P::Error;
    type Future = ResponseFuture<S, Request, P>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), P::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        let Self { inner, limiter, limits, policy } = self;
        ResponseFuture::new(inner.clone(), request, Arc::clone(limiter), *limits, policy.clone())
    }
}

impl<S: fmt::Debug, P: fmt::Debug> fmt::Debug for SharedRateLimit<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("SharedRateLimit");
        fields.field("inner", &self.inner);
        self.limiter.fmt_settings(&mut fields);
        self.limits.fmt_fields(&mut fields);
        fields.field("policy", &self.policy).finish()
    }
}
