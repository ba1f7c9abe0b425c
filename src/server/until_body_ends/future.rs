//! The future of [`UntilBodyEnds`](super::UntilBodyEnds).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;

use super::{
    PermitBody,
    permit::{Holding, LimitedFuture},
};
use crate::wrap_body::{HttpResponse, WrapBody};

/// Resolves to the inner service's response, whose body holds the permit, or to a rejection.
///
/// The future `F` of the limited service holds the permit until then. Dropping it drops the inner
/// future, then releases the permit.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F> {
    #[pin]
    limited: F,
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(limited: F) -> Self {
        Self { limited }
    }
}

impl<F: LimitedFuture> Future for ResponseFuture<F>
where
    F::Response: HttpResponse + WrapBody<Holding<F::Response, F::Permit>>,
{
    type Output =
        Result<<F::Response as WrapBody<Holding<F::Response, F::Permit>>>::Wrapped, F::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut limited = self.project().limited;
        let output = ready!(limited.as_mut().poll_holding(cx));
        // Taken from an error, too: without a body, the permit is released here.
        let permit = limited.take_permit();
        let hold =
            |response: F::Response| response.into_http().map(|body| PermitBody::new(body, permit));
        Poll::Ready(output.map(|response| F::Response::wrapped(hold(response))))
    }
}
