use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;

use crate::{
    keyed::{rule::state::Target, states::States},
    pause_on_hint::ReadHint,
};

/// The response future of [`PauseKeyOnHint`](super::PauseKeyOnHint).
///
/// Resolves to the inner service's response, after its hint has been applied. A drop pauses
/// nothing.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct HintFuture<F, H> {
    #[pin]
    future: F,
    hint: H,
    states: Arc<States>,
    rule: usize,
    target: Target,
    max_pause: Duration,
}

impl<F, H> HintFuture<F, H> {
    pub(super) fn new(
        future: F,
        hint: H,
        (states, rule, target): (Arc<States>, usize, Target),
        max_pause: Duration,
    ) -> Self {
        Self { future, hint, states, rule, target, max_pause }
    }
}

impl<F, H, Response, Error> Future for HintFuture<F, H>
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
                this.states.pause(*this.rule, *this.target, hint.min(*this.max_pause));
            }
        }
        output
    }
}

impl<F: fmt::Debug, H: fmt::Debug> fmt::Debug for HintFuture<F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HintFuture")
            .field("future", &self.future)
            .field("hint", &self.hint)
            .finish_non_exhaustive()
    }
}
