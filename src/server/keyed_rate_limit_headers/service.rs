use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use tower_service::Service;

use super::{future::ResponseFuture, headers::Headers};
use crate::{
    keyed::{Rules, Shared},
    macros::inner_access,
};

/// A service that adds the state of a request's keys to its response. See the
/// [module](crate::server::keyed_rate_limit_headers).
pub struct KeyedRateLimitHeaders<S, R> {
    inner: S,
    shared: Arc<Shared<R>>,
    headers: Arc<Headers>,
}

impl<S, R> KeyedRateLimitHeaders<S, R> {
    pub(super) const fn new(inner: S, shared: Arc<Shared<R>>, headers: Arc<Headers>) -> Self {
        Self { inner, shared, headers }
    }

    inner_access!();
}

impl<S, R, Request, B> Service<Request> for KeyedRateLimitHeaders<S, R>
where
    S: Service<Request, Response = Response<B>>,
    R: Rules<Request>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // Before the call, which consumes the request.
        let subjects = self.shared.rules.subjects(&self.shared.states, &request);
        ResponseFuture::new(self.inner.call(request), subjects, Arc::clone(&self.headers))
    }
}

impl<S: Clone, R> Clone for KeyedRateLimitHeaders<S, R> {
    fn clone(&self) -> Self {
        let Self { inner, shared, headers } = self;
        Self { inner: inner.clone(), shared: Arc::clone(shared), headers: Arc::clone(headers) }
    }
}

impl<S: fmt::Debug, R> fmt::Debug for KeyedRateLimitHeaders<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimitHeaders")
            .field("inner", &self.inner)
            .field("headers", &self.headers)
            .finish()
    }
}
