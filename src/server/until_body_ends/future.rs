//! The future of [`UntilBodyEnds`](super::UntilBodyEnds).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use super::PermitBody;
use crate::{
    backpressure,
    reject::{RejectPolicy, RejectPolicyFor},
    wrap_body::{HttpResponse, WrapBody},
};

/// Resolves to the inner service's response, whose body holds the permit, or to a rejection.
///
/// The future holds the permit until then. Dropping it drops the inner future, then releases the
/// permit.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, A: RejectPolicy> {
    #[pin]
    limited: backpressure::ResponseFuture<F, A>,
}

impl<F, A: RejectPolicy> ResponseFuture<F, A> {
    pub(super) const fn new(limited: backpressure::ResponseFuture<F, A>) -> Self {
        Self { limited }
    }
}

impl<F, A, R, Error> Future for ResponseFuture<F, A>
where
    F: Future<Output = Result<R, Error>>,
    A: RejectPolicyFor<R, Error>,
    R: HttpResponse + WrapBody<PermitBody<<R as HttpResponse>::Body>>,
{
    type Output = Result<R::Wrapped, A::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut limited = self.project().limited;
        let output = ready!(limited.as_mut().poll_holding(cx));
        // Taken from an error, too: without a body, the permit is released here.
        let permit = limited.take_permit();
        let hold = |response: R| response.into_http().map(|body| PermitBody::new(body, permit));
        Poll::Ready(output.map(|response| R::wrapped(hold(response))))
    }
}
