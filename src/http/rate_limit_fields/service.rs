use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use tower_service::Service;

use super::{fields::Fields, future::ResponseFuture};
use crate::macros::inner_access;

/// A service whose responses tell what is left of a rate limit. See the
/// [module](crate::http::rate_limit_fields).
#[derive(Clone, Debug)]
pub struct RateLimitFields<S> {
    inner: S,
    fields: Arc<Fields>,
}

impl<S> RateLimitFields<S> {
    pub(super) const fn new(inner: S, fields: Arc<Fields>) -> Self {
        Self { inner, fields }
    }

    inner_access!();
}

impl<S, Request, B> Service<Request> for RateLimitFields<S>
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
        ResponseFuture::new(self.inner.call(request), Arc::clone(&self.fields))
    }
}
