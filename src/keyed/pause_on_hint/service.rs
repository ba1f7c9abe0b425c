use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tower_service::Service;

use super::HintFuture;
use crate::{
    keyed::{rule::Rules, shared::Shared},
    macros::inner_access,
    pause_on_hint::ReadHint,
};

/// A service that pauses keys by hints of its responses. See
/// [`PauseKeyOnHintLayer`](super::PauseKeyOnHintLayer).
pub struct PauseKeyOnHint<S, R, H> {
    inner: S,
    shared: Arc<Shared<R>>,
    rule: usize,
    hint: H,
    max_pause: Duration,
}

impl<S, R, H> PauseKeyOnHint<S, R, H> {
    pub(super) const fn new(
        inner: S,
        shared: Arc<Shared<R>>,
        rule: usize,
        hint: H,
        max_pause: Duration,
    ) -> Self {
        Self { inner, shared, rule, hint, max_pause }
    }

    inner_access!();
}

impl<S, R, H, Request> Service<Request> for PauseKeyOnHint<S, R, H>
where
    S: Service<Request>,
    R: Rules<Request>,
    H: ReadHint<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = HintFuture<S::Future, H>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        let Shared { rules, states, .. } = &*self.shared;
        // The inner service takes the request.
        let target = rules.target(self.rule, states, &request);
        let future = self.inner.call(request);
        let of = (Arc::clone(states), self.rule, target);
        HintFuture::new(future, self.hint.clone(), of, self.max_pause)
    }
}

impl<S: Clone, R, H: Clone> Clone for PauseKeyOnHint<S, R, H> {
    fn clone(&self) -> Self {
        let Self { inner, shared, rule, hint, max_pause } = self;
        Self::new(inner.clone(), Arc::clone(shared), *rule, hint.clone(), *max_pause)
    }
}

impl<S: fmt::Debug, R, H: fmt::Debug> fmt::Debug for PauseKeyOnHint<S, R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PauseKeyOnHint")
            .field("inner", &self.inner)
            .field("rule", &self.shared.states[self.rule].name())
            .field("hint", &self.hint)
            .field("max_pause", &self.max_pause)
            .finish()
    }
}
