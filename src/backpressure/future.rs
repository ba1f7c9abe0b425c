//! The future of [`ConcurrencyBackpressure`](super::ConcurrencyBackpressure).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use super::limiter::Permit;
use crate::{
    reject::{RejectPolicy, RejectPolicyFor, Admission},
    rejected::Rejected,
};

/// The response of the inner service, or the answer to a request that was turned away.
///
/// Holds a place until the inner future is done. Dropped before, it drops the inner future and then
/// gives the place back.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, A: RejectPolicy> {
    #[pin]
    answered: Admission<F, A>,
    /// Taken as soon as the inner future is done, not when this one is dropped. Stands behind it because
    /// fields are dropped in order.
    permit: Option<Permit>,
}

impl<F, A: RejectPolicy> ResponseFuture<F, A> {
    pub(super) const fn admitted(future: F, permit: Permit) -> Self {
        Self { answered: Admission::Inner(future), permit: Some(permit) }
    }

    pub(super) fn turned_away(answer: &A, rejected: Rejected) -> Self {
        Self { answered: Admission::turned_away(answer, rejected), permit: None }
    }

    /// The place, for one who keeps it beyond this future. A request that was turned away has none.
    #[cfg(feature = "server")]
    pub(crate) fn take_permit(self: Pin<&mut Self>) -> Option<Permit> {
        self.project().permit.take()
    }

    /// Polls, and keeps the place.
    #[inline]
    pub(crate) fn poll_holding<Response, Error>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response, A::Error>>
    where
        F: Future<Output = Result<Response, Error>>,
        A: RejectPolicyFor<Response, Error>,
    {
        let this = self.project();
        #[cfg(debug_assertions)]
        let _driven = this.permit.as_ref().map(Permit::driven);
        this.answered.poll(cx)
    }
}

impl<F, A, Response, Error> Future for ResponseFuture<F, A>
where
    F: Future<Output = Result<Response, Error>>,
    A: RejectPolicyFor<Response, Error>,
{
    type Output = Result<Response, A::Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let output = self.as_mut().poll_holding(cx);
        if output.is_ready() {
            *self.project().permit = None;
        }
        output
    }
}
