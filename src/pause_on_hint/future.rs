//! The future of [`PauseOnHint`](super::PauseOnHint).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;

use super::{PauseOnHintHandle, ReadHint};

/// Resolves to the inner service's response, after its hint has been applied.
///
/// Dropping it drops the inner future, and pauses nothing.
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, H> {
    #[pin]
    future: F,
    handle: PauseOnHintHandle,
    hint: H,
}

impl<F, H> ResponseFuture<F, H> {
    pub(super) const fn new(future: F, handle: PauseOnHintHandle, hint: H) -> Self {
        Self { future, handle, hint }
    }
}

impl<F, H, Response, Error> Future for ResponseFuture<F, H>
where
    F: Future<Output = Result<Response, Error>>,
    H: ReadHint<Response, Error>,
{
    type Output = Result<Response, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = this.future.poll(cx);
        if let Poll::Ready(result) = &output {
            if let Some(hint) = this.hint.read_hint(result) {
                this.handle.pause(hint);
            }
        }
        output
    }
}
