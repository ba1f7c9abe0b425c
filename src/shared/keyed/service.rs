use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::limiters::Limiters;
use crate::{
    keyed::{Key, WithoutKey},
    limiter::QueueLimits,
    macros::inner_access,
    reject::RejectPolicyFor,
    shared::{ResponseFuture, admission::Turn},
};

/// A service with a limit for each key that many processes share.
///
/// Always ready: a request waits in its call, and drives a clone of the inner service ready then.
pub struct SharedKeyedLimit<S, K, P> {
    inner: S,
    limiters: Arc<Limiters>,
    key: Arc<K>,
    limits: QueueLimits,
    without_key: WithoutKey,
    policy: P,
}

impl<S, K, P> SharedKeyedLimit<S, K, P> {
    pub(super) const fn new(
        inner: S,
        limiters: Arc<Limiters>,
        key: Arc<K>,
        limits: QueueLimits,
        without_key: WithoutKey,
        policy: P,
    ) -> Self {
        Self { inner, limiters, key, limits, without_key, policy }
    }

    inner_access!();
}

impl<S, K, P, Request> Service<Request> for SharedKeyedLimit<S, K, P>
where
    S: Service<Request> + Clone,
    K: Key<Request>,
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
        let Self { inner, limiters, key, limits, without_key, policy } = self;
        let turn = match (limiters.of_key(&**key, &request), *without_key) {
            (Some(limiter), _) => Turn::new(limiter, *limits),
            (None, WithoutKey::Share) => Turn::new(limiters.without_key(), *limits),
            (None, WithoutKey::Exempt) => Turn::exempt(limiters.without_key()),
            (None, WithoutKey::Reject) => Turn::without_key(limiters.without_key()),
        };
        ResponseFuture::of(turn, inner.clone(), request, policy.clone())
    }
}

impl<S: Clone, K, P: Clone> Clone for SharedKeyedLimit<S, K, P> {
    fn clone(&self) -> Self {
        let Self { inner, limiters, key, limits, without_key, policy } = self;
        Self {
            inner: inner.clone(),
            limiters: Arc::clone(limiters),
            key: Arc::clone(key),
            limits: *limits,
            without_key: *without_key,
            policy: policy.clone(),
        }
    }
}

impl<S: fmt::Debug, K, P: fmt::Debug> fmt::Debug for SharedKeyedLimit<S, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("SharedKeyedLimit");
        fields.field("inner", &self.inner).field("window", self.limiters.window());
        self.limits.fmt_fields(&mut fields);
        fields.field("without_key", &self.without_key).field("policy", &self.policy).finish()
    }
}
