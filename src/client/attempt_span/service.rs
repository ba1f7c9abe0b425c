use std::{
    fmt,
    marker::PhantomData,
    task::{Context, Poll},
};

use tower_service::Service;
use tracing::{Span, field::Empty, info_span};

use super::future::AttemptFuture;
use crate::{
    client::{AsError, PlainError, RequestHead, ResponseHead, message::Server},
    macros::inner_access,
};

/// A service that opens a span for each call. See the [module](crate::client::attempt_span).
pub struct AttemptSpan<S, M = PlainError> {
    inner: S,
    errors: PhantomData<fn() -> M>,
}

impl<S, M> AttemptSpan<S, M> {
    pub(super) const fn new(inner: S) -> Self {
        Self { inner, errors: PhantomData }
    }

    inner_access!();
}

impl<S, M, Req> Service<Req> for AttemptSpan<S, M>
where
    S: Service<Req, Response: ResponseHead, Error: AsError<M>>,
    Req: RequestHead,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = AttemptFuture<S::Future, M>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let span = span(&request);
        let future = span.in_scope(|| self.inner.call(request));
        AttemptFuture::new(future, span)
    }
}

fn span<R: RequestHead>(request: &R) -> Span {
    let method = request.method().as_str();
    let Server { scheme, address, port } = request.server();
    info_span!(
        target: "tower_floodgate",
        "attempt",
        otel.kind = "client",
        otel.name = method,
        http.request.method = method,
        http.request.resend_count = request.resend(),
        url.scheme = scheme,
        server.address = address,
        server.port = port,
        http.response.status_code = Empty,
        "error.type" = Empty,
        otel.status_code = Empty,
    )
}

impl<S: Clone, M> Clone for AttemptSpan<S, M> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<S: fmt::Debug, M> fmt::Debug for AttemptSpan<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptSpan").field("inner", &self.inner).finish()
    }
}
