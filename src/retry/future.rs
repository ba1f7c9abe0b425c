//! The future of a wait between two attempts.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Sleep;

use crate::time::TimerUse;

const WAITING: TimerUse = TimerUse {
    what: "ExponentialRetryLayer: the wait of its `backoff` before another attempt",
    otherwise: "make one attempt only with `ExponentialRetry::new(1)`",
};

/// The wait before the next attempt: [`Policy::Future`](tower::retry::Policy::Future) of
/// [`ExponentialRetry`](super::ExponentialRetry). Holds only a timer.
///
/// The timer is boxed: it is large, and tower's future reserves its space for every request.
#[must_use = "futures do nothing unless polled"]
pub struct Delay {
    sleep: Pin<Box<Sleep>>,
}

impl Delay {
    /// Starts the wait.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime that has its timer enabled.
    #[track_caller]
    pub(super) fn of(wait: Duration) -> Self {
        Self { sleep: WAITING.timed(|| Box::pin(tokio::time::sleep(wait))) }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.as_mut().poll(cx)
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delay").field("until", &self.sleep.deadline()).finish()
    }
}
