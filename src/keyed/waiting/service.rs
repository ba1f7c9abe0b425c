use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{future::QueueFuture, queue::QueueBounds};
use crate::{
    keyed::{
        rule::{RuleList, Rules, SettleRules},
        shared::Shared,
    },
    macros::inner_access,
    reject::RejectPolicyFor,
};

/// A service with limits for each key, at which requests wait. See
/// [waiting](crate::keyed#waiting).
///
/// Always ready: a request waits in its call, and drives a clone of the inner service ready then.
pub struct KeyedQueue<S, R, P> {
    inner: S,
    shared: Arc<Shared<R>>,
    policy: P,
    bounds: QueueBounds,
}

impl<S, R, P> KeyedQueue<S, R, P> {
    pub(in crate::keyed) const fn new(
        inner: S,
        shared: Arc<Shared<R>>,
        policy: P,
        bounds: QueueBounds,
    ) -> Self {
        Self { inner, shared, policy, bounds }
    }

    inner_access!();
}

impl<S, R, P, Request> Service<Request> for KeyedQueue<S, R, P>
where
    S: Service<Request> + Clone,
    R: Rules<Request> + SettleRules<S::Response, S::Error>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = P::Error;
    type Future = QueueFuture<S, Request, R, P>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), P::Error>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        let Self { inner, shared, policy, bounds } = self;
        QueueFuture::new(inner.clone(), request, Arc::clone(shared), policy.clone(), *bounds)
    }
}

impl<S: Clone, R, P: Clone> Clone for KeyedQueue<S, R, P> {
    fn clone(&self) -> Self {
        let Self { inner, shared, policy, bounds } = self;
        Self {
            inner: inner.clone(),
            shared: Arc::clone(shared),
            policy: policy.clone(),
            bounds: *bounds,
        }
    }
}

impl<S: fmt::Debug, R: RuleList, P: fmt::Debug> fmt::Debug for KeyedQueue<S, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("KeyedQueue");
        fields.field("inner", &self.inner).field("rules", &self.shared.states);
        self.bounds.fmt_fields(&mut fields);
        fields.field("policy", &self.policy).finish()
    }
}
