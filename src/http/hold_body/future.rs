//! The future of [`HoldBody`](super::HoldBody).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use http_body::Body;
use pin_project::pin_project;

use super::HeldBody;
use crate::{
    answer::{Answer, AnswerTo},
    backpressure::future,
};

/// The response of the inner service, whose body holds the place, or the answer to a request that was
/// turned away.
///
/// Holds the place until then. Dropped before, it drops the inner future and then gives the place back.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, A: Answer> {
    #[pin]
    limited: future::ResponseFuture<F, A>,
}

impl<F, A: Answer> ResponseFuture<F, A> {
    pub(super) const fn new(limited: future::ResponseFuture<F, A>) -> Self {
        Self { limited }
    }
}

impl<F, A, B, Error> Future for ResponseFuture<F, A>
where
    F: Future<Output = Result<Response<B>, Error>>,
    A: AnswerTo<Response<B>, Error>,
    B: Body,
{
    type Output = Result<Response<HeldBody<B>>, A::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut limited = self.project().limited;
        let output = ready!(limited.as_mut().poll_holding(cx));
        // Of an error, too: there is no body then, and the place goes back here.
        let permit = limited.take_permit();
        Poll::Ready(output.map(|response| response.map(|body| HeldBody::new(body, permit))))
    }
}
