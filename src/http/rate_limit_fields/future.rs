//! The future of [`RateLimitFields`](super::RateLimitFields).

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use pin_project::pin_project;

use super::fields::Fields;

/// The response of the inner service, with the fields.
///
/// Dropped before, it drops the inner future; it holds nothing of the limit.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F> {
    #[pin]
    future: F,
    fields: Arc<Fields>,
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(future: F, fields: Arc<Fields>) -> Self {
        Self { future, fields }
    }
}

impl<F, B, Error> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, Error>>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut output = this.future.poll(cx);
        if let Poll::Ready(Ok(response)) = &mut output {
            this.fields.add_to(response.headers_mut());
        }
        output
    }
}
