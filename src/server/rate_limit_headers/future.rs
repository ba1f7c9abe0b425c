//! The future of [`RateLimitHeaders`](super::RateLimitHeaders).

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use pin_project::pin_project;

use super::headers::Headers;

/// Resolves to the inner service's response with the headers added.
///
/// It holds no permit: dropping it drops the inner future.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F> {
    #[pin]
    future: F,
    headers: Arc<Headers>,
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(future: F, headers: Arc<Headers>) -> Self {
        Self { future, headers }
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
            this.headers.add_to(response.headers_mut());
        }
        output
    }
}
