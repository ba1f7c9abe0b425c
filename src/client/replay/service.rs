use std::task::{Context, Poll};

use http::Request;
use http_body::Body;
use tower_service::Service;

use super::ReplayBody;
use crate::macros::inner_access;

/// A service that makes request bodies replayable. See the [module](crate::client::replay).
#[derive(Clone, Debug)]
pub struct Replay<S> {
    inner: S,
    max_bytes: usize,
}

impl<S> Replay<S> {
    pub(super) const fn new(inner: S, max_bytes: usize) -> Self {
        Self { inner, max_bytes }
    }

    #[cfg(feature = "reqwest")]
    pub(super) const fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    inner_access!();
}

impl<S, B> Service<Request<B>> for Replay<S>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> S::Future {
        self.inner.call(request.map(|body| ReplayBody::new(body, self.max_bytes)))
    }
}
