use std::{
    error::Error,
    fmt,
    task::{Context, Poll},
};

use http_body::Body;
use tower::BoxError;
use tower_layer::Layer;
use tower_service::Service;

use super::{ReadBody, future::CollectFuture, reading::Bounds};
use crate::{
    client::ResponseHead,
    macros::inner_access,
    wrap_body::{HttpResponse, WrapBody},
};

/// The default bound on reading the body of a successful response.
const MAX_BYTES: usize = 1024 * 1024;

/// Reads the bodies of successful responses, so that one that breaks off is an error, which the
/// retry sees. See the [module](crate::client::read_body).
///
/// Stands inside the retry. Its errors are `BoxError`: those of the inner service, or a
/// [`CollectError`].
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`max_bytes`](Self::max_bytes) | 1 MiB | the bytes read of each body |
///
/// Time is not bounded: a timeout between this layer and the retry covers the body, too.
#[derive(Clone, Copy, Debug)]
pub struct CollectLayer {
    bounds: Bounds,
}

/// A service that reads the bodies of successful responses. See the
/// [module](crate::client::read_body).
#[derive(Clone, Debug)]
pub struct Collect<S> {
    inner: S,
    bounds: Bounds,
}

/// The error of a response whose body broke off after its head, while a [`CollectLayer`] read it.
///
/// Its source is the error of the body. `HttpClassifier` retries it if the request is repeatable.
#[derive(Debug)]
pub struct CollectError(BoxError);

impl CollectLayer {
    /// Reads up to 1 MiB of each response with a status below 400.
    #[must_use]
    pub const fn new() -> Self {
        Self { bounds: Bounds { max_bytes: MAX_BYTES, max_wait: None } }
    }

    /// Reads up to `max_bytes` of each body.
    ///
    /// A longer one is passed on with its rest, and is not retried if that breaks off. One that is
    /// known to be longer is not read at all.
    #[must_use]
    pub const fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.bounds.max_bytes = max_bytes;
        self
    }
}

impl Default for CollectLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for CollectLayer {
    type Service = Collect<S>;

    fn layer(&self, inner: S) -> Collect<S> {
        Collect { inner, bounds: self.bounds }
    }
}

impl<S> Collect<S> {
    inner_access!();
}

impl<S, Request, R> Service<Request> for Collect<S>
where
    S: Service<Request, Response = R, Error: Into<BoxError>>,
    R: ResponseHead
        + HttpResponse<Body: Body<Error: Into<BoxError>> + Unpin>
        + WrapBody<ReadBody<<R as HttpResponse>::Body>>,
{
    type Response = R::Wrapped;
    type Error = BoxError;
    type Future = CollectFuture<S::Future, R::Body>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        CollectFuture::new(self.inner.call(request), self.bounds)
    }
}

impl CollectError {
    pub(super) fn new(error: BoxError) -> Self {
        Self(error)
    }
}

impl fmt::Display for CollectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body of the response broke off")
    }
}

impl Error for CollectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
