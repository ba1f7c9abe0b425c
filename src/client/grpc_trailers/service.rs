use std::{
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use http_body::Body;
use tower_service::Service;

use super::{PeekedBody, future::ResponseFuture};
use crate::macros::inner_access;

/// A service that sees a gRPC status that directly follows the head of a response. See the
/// [module](crate::client::grpc_trailers).
#[derive(Clone, Debug)]
pub struct GrpcTrailers<S> {
    inner: S,
    max_wait: Duration,
}

impl<S> GrpcTrailers<S> {
    pub(super) const fn new(inner: S, max_wait: Duration) -> Self {
        Self { inner, max_wait }
    }

    inner_access!();
}

impl<S, B, Request> Service<Request> for GrpcTrailers<S>
where
    S: Service<Request, Response = Response<B>>,
    B: Body + Unpin,
{
    type Response = Response<PeekedBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        ResponseFuture::new(self.inner.call(request), self.max_wait)
    }
}
