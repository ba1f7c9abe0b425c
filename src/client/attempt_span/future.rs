//! The future of an attempt in its span.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tracing::{Span, field::display};

use crate::{
    client::{AsError, ResponseHead, error_type::error_type},
    retry::ErrorType,
};

/// The future of an [`AttemptSpan`](super::AttemptSpan): that of the inner service, in its span.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct AttemptFuture<F, M> {
    #[pin]
    future: F,
    span: Span,
    errors: PhantomData<fn() -> M>,
}

impl<F, M> AttemptFuture<F, M> {
    pub(super) const fn new(future: F, span: Span) -> Self {
        Self { future, span, errors: PhantomData }
    }
}

impl<F, M, R, E> Future for AttemptFuture<F, M>
where
    F: Future<Output = Result<R, E>>,
    R: ResponseHead,
    E: AsError<M>,
{
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R, E>> {
        let this = self.project();
        let result = ready!(this.span.in_scope(|| this.future.poll(cx)));
        // The span ends here, however long the future is kept.
        let span = mem::replace(this.span, Span::none());
        let failure = match &result {
            Ok(response) => {
                let status = response.status().as_u16();
                span.record("http.response.status_code", status);
                (status >= 400).then(|| ErrorType::status(status))
            }
            Err(error) => Some(error_type(error.as_error())),
        };
        if let Some(class) = failure {
            span.record("error.type", display(class));
            span.record("otel.status_code", "ERROR");
        }
        Poll::Ready(result)
    }
}

impl<F, M> fmt::Debug for AttemptFuture<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptFuture").field("span", &self.span).finish_non_exhaustive()
    }
}
