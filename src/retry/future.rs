//! The future of a wait between two attempts.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Sleep;

/// The wait before the next attempt: [`Policy::Future`](tower::retry::Policy::Future) of
/// [`ExponentialRetry`](super::ExponentialRetry). Holds a timer and nothing else.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct Delay {
    #[pin]
    sleep: Sleep,
}

impl Delay {
    pub(super) fn of(wait: Duration) -> Self {
        Self { sleep: tokio::time::sleep(wait) }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().sleep.poll(cx)
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delay").field("until", &self.sleep.deadline()).finish()
    }
}
