//! The future of [`Exempt`](super::Exempt).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower::util::Oneshot;
use tower_service::Service;

/// Drives a clone to readiness, calls it, and resolves to its response.
///
/// Dropping it drops the clone, or the clone's response future, with all that it holds.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Request>, T: Service<Request>, Request> {
    #[pin]
    way: Way<S, T, Request>,
}

#[pin_project(project = WayProj)]
#[derive(Debug)]
enum Way<S: Service<Request>, T: Service<Request>, Request> {
    Past(#[pin] Oneshot<S, Request>),
    Through(#[pin] Oneshot<T, Request>),
}

impl<S: Service<Request>, T: Service<Request>, Request> ResponseFuture<S, T, Request> {
    pub(super) const fn past(inner: S, request: Request) -> Self {
        Self { way: Way::Past(Oneshot::new(inner, request)) }
    }

    pub(super) const fn through(layered: T, request: Request) -> Self {
        Self { way: Way::Through(Oneshot::new(layered, request)) }
    }
}

impl<S, T, Request> Future for ResponseFuture<S, T, Request>
where
    S: Service<Request>,
    T: Service<Request, Response = S::Response>,
    S::Error: Into<T::Error>,
{
    type Output = Result<T::Response, T::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().way.project() {
            WayProj::Past(past) => past.poll(cx).map_err(Into::into),
            WayProj::Through(through) => through.poll(cx),
        }
    }
}
