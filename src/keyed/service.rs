use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    future::ResponseFuture,
    rule::{RuleList, Rules, SettleRules},
    shared::Shared,
};
use crate::{macros::inner_access, reject::RejectPolicyFor};

/// A service with limits for each key. See the [module](crate::keyed).
///
/// Ready when the inner service is. `call` decides, and calls the instance that was made ready. A
/// request that is rejected leaves it ready and uncalled.
pub struct KeyedLimit<S, R, P> {
    inner: S,
    shared: Arc<Shared<R>>,
    policy: P,
}

impl<S, R, P> KeyedLimit<S, R, P> {
    pub(super) const fn new(inner: S, shared: Arc<Shared<R>>, policy: P) -> Self {
        Self { inner, shared, policy }
    }

    inner_access!();
}

impl<S, R, P, Request> Service<Request> for KeyedLimit<S, R, P>
where
    S: Service<Request>,
    R: Rules<Request> + SettleRules<S::Response, S::Error>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = P::Error;
    type Future = ResponseFuture<S::Future, R, P>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), P::Error>> {
        self.inner.poll_ready(cx).map_err(P::pass)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        match self.shared.decide(&request) {
            Ok(held) => {
                let (future, in_flight) = self.shared.issue(held, || self.inner.call(request));
                ResponseFuture::admitted(future, in_flight)
            }
            Err(rejected) => ResponseFuture::rejected(&self.policy, rejected),
        }
    }
}

impl<S: Clone, R, P: Clone> Clone for KeyedLimit<S, R, P> {
    fn clone(&self) -> Self {
        let Self { inner, shared, policy } = self;
        Self { shared: Arc::clone(shared), policy: policy.clone(), inner: inner.clone() }
    }
}

impl<S: fmt::Debug, R: RuleList, P: fmt::Debug> fmt::Debug for KeyedLimit<S, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLimit")
            .field("inner", &self.inner)
            .field("rules", &self.shared.states)
            .field("policy", &self.policy)
            .finish()
    }
}
