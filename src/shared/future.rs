use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project::pin_project;
use tower_service::Service;

use super::{admission::Turn, limiter::SharedLimiter};
use crate::{limiter::QueueLimits, middleware::CallFuture, reject::RejectPolicyFor};

/// The response future of a service with a shared limit.
///
/// The request arrives at the first poll. It acquires a permit, drives a clone of the inner service
/// ready, calls it, and resolves to its response, or to the outcome of the reject policy. A drop
/// leaves the queue, and releases a permit that is not issued.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Request>, Request, P> {
    #[pin]
    call: CallFuture<Turn, S, Request, P>,
}

impl<S: Service<Request>, Request, P> ResponseFuture<S, Request, P> {
    pub(super) const fn new(
        service: S,
        request: Request,
        limiter: Arc<SharedLimiter>,
        limits: QueueLimits,
        policy: P,
    ) -> Self {
        Self::of(Turn::new(limiter, limits), service, request, policy)
    }

    pub(super) const fn of(turn: Turn, service: S, request: Request, policy: P) -> Self {
        Self { call: CallFuture::new(turn, service, request, policy) }
    }
}

impl<S, Request, P> Future for ResponseFuture<S, Request, P>
where
    S: Service<Request>,
    P: RejectPolicyFor<S::Response, S::Error>,
{
    type Output = Result<S::Response, P::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll(cx)
    }
}

impl<S: Service<Request>, Request, P> fmt::Debug for ResponseFuture<S, Request, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("step", &self.call.step()).finish_non_exhaustive()
    }
}
