//! The futures of a retry.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

pub use super::function::{RetryFuture, StatisticsFuture};
use crate::time::{self, CENTURY, RuntimeTimer, TimerUse};

const WAITING: TimerUse = TimerUse {
    what: "ExponentialRetry: the wait of its `backoff` before another attempt",
    otherwise: "make one attempt only with `ExponentialRetry::new(1)`",
};

/// The wait before the next attempt: [`Policy::Future`](tower::retry::Policy::Future) of
/// [`ExponentialRetry`](super::ExponentialRetry). Holds only a timer.
///
/// The timer is boxed: it is large, and tower's future reserves its space for every request.
#[must_use = "futures do nothing unless polled"]
pub struct Delay {
    timer: Option<RuntimeTimer>,
    until: Instant,
}

impl Delay {
    /// Starts the wait.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime that has its timer enabled.
    #[track_caller]
    pub(super) fn of(wait: Duration) -> Self {
        let until = time::now() + wait.min(CENTURY);
        Self { timer: Some(WAITING.runtime_timer(until)), until }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { timer, until } = &mut *self;
        WAITING.poll_until(timer, *until, cx)
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delay").field("until", &self.until).finish()
    }
}
