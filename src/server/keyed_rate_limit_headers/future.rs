//! The future of [`KeyedRateLimitHeaders`](super::KeyedRateLimitHeaders).

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Response;
use pin_project::pin_project;

use super::headers::Headers;
use crate::keyed::RuleList;

/// Resolves to the inner service's response with the headers added.
///
/// It holds no permit: dropping it drops the inner future.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, R: RuleList> {
    #[pin]
    future: F,
    subjects: R::Subjects,
    headers: Arc<Headers>,
}

impl<F, R: RuleList> ResponseFuture<F, R> {
    pub(super) const fn new(future: F, subjects: R::Subjects, headers: Arc<Headers>) -> Self {
        Self { future, subjects, headers }
    }
}

impl<F, R, B, Error> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<B>, Error>>,
    R: RuleList,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut output = this.future.poll(cx);
        if let Poll::Ready(Ok(response)) = &mut output {
            this.headers.add_to::<R>(response.headers_mut(), this.subjects);
        }
        output
    }
}

impl<F: fmt::Debug, R: RuleList> fmt::Debug for ResponseFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("future", &self.future).finish_non_exhaustive()
    }
}
