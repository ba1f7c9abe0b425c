use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use tower_service::Service;

use super::{future::ResponseFuture, headers::Headers};
use crate::macros::inner_access;

/// A service that adds the state of a rate limit to each response. See the
/// [module](crate::server::rate_limit_headers).
#[derive(Clone, Debug)]
pub struct RateLimitHeaders<S> {
    inner: S,
    headers: Arc<Headers>,
}

impl<S> RateLimitHeaders<S> {
    pub(super) const fn new(inner: S, headers: Arc<Headers>) -> Self {
        Self { inner, headers }
    }

    inner_access!();
}

impl<S, Request, B> Service<Request> for RateLimitHeaders<S>
where
    S: Service<Request, Response = Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        ResponseFuture::new(self.inner.call(request), Arc::clone(&self.headers))
    }
}
