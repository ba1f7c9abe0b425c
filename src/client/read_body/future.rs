//! The futures of [`ReadFailures`](super::ReadFailures) and [`Collect`](super::Collect).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::Body;
use pin_project::pin_project;
use tower::BoxError;

use super::{
    CollectError, ReadBody,
    reading::{Bounds, Responded, State},
};
use crate::{
    client::ResponseHead,
    wrap_body::{HttpResponse, WrapBody},
};

/// Resolves to the inner service's response; to a failed one after its body was read.
///
/// Dropping it drops the body, as far as it was read.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ReadFailuresFuture<F, B: Body, P> {
    #[pin]
    state: State<F, B>,
    bounds: Bounds,
    only_if: P,
}

/// Resolves to the inner service's response, to a successful one after its body was read, or to a
/// [`CollectError`].
///
/// Dropping it drops the body, as far as it was read.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct CollectFuture<F, B: Body> {
    #[pin]
    state: State<F, B>,
    bounds: Bounds,
}

impl<F, B: Body, P> ReadFailuresFuture<F, B, P> {
    pub(super) const fn new(future: F, bounds: Bounds, only_if: P) -> Self {
        Self { state: State::Responding(future), bounds, only_if }
    }
}

impl<F, B: Body> CollectFuture<F, B> {
    pub(super) const fn new(future: F, bounds: Bounds) -> Self {
        Self { state: State::Responding(future), bounds }
    }
}

impl<F, B, P, R, E> Future for ReadFailuresFuture<F, B, P>
where
    F: Future<Output = Result<R, E>>,
    B: Body + Unpin,
    P: Fn(http::StatusCode) -> bool,
    R: ResponseHead + HttpResponse<Body = B> + WrapBody<ReadBody<B>>,
{
    type Output = Result<R::Wrapped, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let is_read = |response: &R| (this.only_if)(response.status());
        Poll::Ready(Ok(match ready!(this.state.poll(cx, *this.bounds, is_read))? {
            Responded::Unread(response) => response.untouched(),
            Responded::Read(response) => R::wrapped(response),
        }))
    }
}

impl<F, B, R, E> Future for CollectFuture<F, B>
where
    F: Future<Output = Result<R, E>>,
    B: Body<Error: Into<BoxError>> + Unpin,
    R: ResponseHead + HttpResponse<Body = B> + WrapBody<ReadBody<B>>,
    E: Into<BoxError>,
{
    type Output = Result<R::Wrapped, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let is_read = |response: &R| !super::is_failure(response.status());
        let response = match ready!(this.state.poll(cx, *this.bounds, is_read)) {
            Err(error) => return Poll::Ready(Err(error.into())),
            Ok(Responded::Unread(response)) => return Poll::Ready(Ok(response.untouched())),
            Ok(Responded::Read(response)) => response,
        };
        let (head, body) = response.into_parts();
        Poll::Ready(match body.into_error() {
            Ok(body) => Ok(R::wrapped(http::Response::from_parts(head, body))),
            Err(error) => Err(CollectError::new(error.into()).into()),
        })
    }
}

impl<F, B: Body, P> fmt::Debug for ReadFailuresFuture<F, B, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadFailuresFuture").finish_non_exhaustive()
    }
}

impl<F, B: Body> fmt::Debug for CollectFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectFuture").finish_non_exhaustive()
    }
}
