//! The future of [`Exempt`](super::Exempt).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower_service::Service;

use crate::{
    middleware::{CallFuture, Unlimited},
    reject::NeverReject,
};

/// Drives a clone to readiness, calls it, and resolves to its response.
///
/// Dropping it drops the clone, or the clone's response future, with all that it holds.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Request>, T: Service<Request>, Request> {
    #[pin]
    way: Way<S, T, Request>,
}

/// No permit is needed here: the layered service has the limit.
#[pin_project(project = WayProj)]
enum Way<S: Service<Request>, T: Service<Request>, Request> {
    Past(#[pin] CallFuture<Unlimited, S, Request, NeverReject>),
    Through(#[pin] CallFuture<Unlimited, T, Request, NeverReject>),
}

impl<S: Service<Request>, T: Service<Request>, Request> ResponseFuture<S, T, Request> {
    pub(super) fn past(inner: S, request: Request) -> Self {
        Self { way: Way::Past(CallFuture::new(Unlimited, inner, request, NeverReject)) }
    }

    pub(super) fn through(layered: T, request: Request) -> Self {
        Self { way: Way::Through(CallFuture::new(Unlimited, layered, request, NeverReject)) }
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

impl<S: Service<Request>, T: Service<Request>, Request> fmt::Debug
    for ResponseFuture<S, T, Request>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_exempt = matches!(self.way, Way::Past(_));
        f.debug_struct("ResponseFuture").field("is_exempt", &is_exempt).finish_non_exhaustive()
    }
}
