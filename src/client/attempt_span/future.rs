//! The future of an attempt in its span.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use tracing::{Instrument, Span, field::display, instrument::Instrumented};

use crate::{
    client::{AsError, ResponseHead, error_type::error_type},
    retry::ErrorType,
};

/// The future of an [`AttemptSpan`](super::AttemptSpan): that of the inner service, in its span.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct AttemptFuture<F, M> {
    /// Polled and dropped in the span; `None` once it has completed.
    #[pin]
    attempt: Option<Instrumented<F>>,
    errors: PhantomData<fn() -> M>,
}

impl<F, M> AttemptFuture<F, M> {
    pub(super) fn new(future: F, span: Span) -> Self {
        Self { attempt: Some(future.instrument(span)), errors: PhantomData }
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
        let mut attempt = self.project().attempt;
        let mut instrumented = attempt.as_mut().as_pin_mut().expect("polled after completion");
        let result = ready!(instrumented.as_mut().poll(cx));
        let span = instrumented.span();
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
        // The span ends here, however long the future is kept.
        attempt.set(None);
        Poll::Ready(result)
    }
}

impl<F, M> fmt::Debug for AttemptFuture<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.attempt.as_ref().map(Instrumented::span);
        f.debug_struct("AttemptFuture").field("span", &span).finish_non_exhaustive()
    }
}
