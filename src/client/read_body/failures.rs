use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use http::StatusCode;
use tower_layer::Layer;
use tower_service::Service;

use super::{ReadBody, future::ReadFailuresFuture, reading::Bounds};
use crate::{
    client::ResponseHead,
    macros::inner_access,
    wrap_body::{HttpResponse, WrapBody},
};

/// The default bounds on reading the body of a failed response.
const MAX_BYTES: usize = 64 * 1024;
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Reads the bodies of failed responses, so that the next attempt finds their connections idle. See
/// the [module](crate::client::read_body).
///
/// Stands inside the retry, next to the client.
///
/// | setting | default | |
/// | --- | --- | --- |
/// | [`max_bytes`](Self::max_bytes) | 64 KiB | the bytes read of each body |
/// | [`max_wait`](Self::max_wait) | 1 s | the time for reading each body |
/// | [`only_if`](Self::only_if) | 400 and above | the statuses of the responses whose bodies are read |
///
/// If a bound is reached, the response is passed on with what was read and the rest of the body.
/// The connection is then used again only if the caller reads that to its end.
#[derive(Clone, Copy)]
pub struct ReadFailuresLayer<P = fn(StatusCode) -> bool> {
    bounds: Bounds,
    only_if: P,
}

/// A service that reads the bodies of failed responses. See the [module](crate::client::read_body).
#[derive(Clone)]
pub struct ReadFailures<S, P = fn(StatusCode) -> bool> {
    inner: S,
    bounds: Bounds,
    only_if: P,
}

impl ReadFailuresLayer {
    /// Reads up to 64 KiB, for up to a second, of each response with a status of 400 or above.
    #[must_use]
    pub const fn new() -> Self {
        let bounds = Bounds { max_bytes: MAX_BYTES, max_wait: Some(MAX_WAIT) };
        Self { bounds, only_if: super::is_failure }
    }
}

impl<P> ReadFailuresLayer<P> {
    /// Reads up to `max_bytes` of each body.
    ///
    /// A body that is known to be longer is not read at all.
    #[must_use]
    pub fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.bounds.max_bytes = max_bytes;
        self
    }

    /// Reads each body for up to `max_wait`, counted from the first wait for a part of it.
    #[must_use]
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.bounds.max_wait = Some(max_wait);
        self
    }

    /// Reads the bodies of responses whose status meets `only_if`, such as those that are retried.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_floodgate::client::{ReadFailuresLayer, default_retried_statuses};
    ///
    /// let layer = ReadFailuresLayer::new()
    ///     .only_if(|status: StatusCode| default_retried_statuses().contains(&status));
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn only_if<Q>(self, only_if: Q) -> ReadFailuresLayer<Q>
    where
        Q: Fn(StatusCode) -> bool + Clone,
    {
        ReadFailuresLayer { bounds: self.bounds, only_if }
    }
}

impl Default for ReadFailuresLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, P: Clone> Layer<S> for ReadFailuresLayer<P> {
    type Service = ReadFailures<S, P>;

    fn layer(&self, inner: S) -> ReadFailures<S, P> {
        ReadFailures { inner, bounds: self.bounds, only_if: self.only_if.clone() }
    }
}

impl<S, P> ReadFailures<S, P> {
    inner_access!();
}

impl<S, P, Request, R> Service<Request> for ReadFailures<S, P>
where
    S: Service<Request, Response = R>,
    P: Fn(StatusCode) -> bool + Clone,
    R: ResponseHead + HttpResponse<Body: Unpin> + WrapBody<ReadBody<<R as HttpResponse>::Body>>,
{
    type Response = R::Wrapped;
    type Error = S::Error;
    type Future = ReadFailuresFuture<S::Future, R::Body, P>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        ReadFailuresFuture::new(self.inner.call(request), self.bounds, self.only_if.clone())
    }
}

impl<P> fmt::Debug for ReadFailuresLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bounds { max_bytes, max_wait } = self.bounds;
        f.debug_struct("ReadFailuresLayer")
            .field("max_bytes", &max_bytes)
            .field("max_wait", &max_wait)
            .finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, P> fmt::Debug for ReadFailures<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadFailures").field("inner", &self.inner).finish_non_exhaustive()
    }
}
