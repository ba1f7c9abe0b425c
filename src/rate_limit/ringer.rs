//! The task that looks when time has passed, for all who wait in one runtime.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::FutureExt;
use tokio::runtime::{Handle, Id};

use super::limiter::RateLimiter;
use crate::clock::{Alarm, Nanos};

/// There while anybody waits in its runtime. Has the one timer that they need.
///
/// A task of its own, and not the task of one who waits, because that may not be polled again. If it goes before
/// its time (the runtime shuts down, or a waker panics in it), those who wait for it are woken, and
/// whoever is polled sends another.
pub(super) struct Ringer {
    limiter: Arc<RateLimiter>,
    runtime: Id,
    alarm: Option<Alarm>,
    is_done: bool,
}

impl Ringer {
    /// Sends one to a runtime that has none.
    ///
    /// # Panics
    ///
    /// If the runtime has no timer, or is shut down.
    pub(super) fn send(limiter: &Arc<RateLimiter>, runtime: &Handle) {
        let limiter = Arc::clone(limiter);
        // Whole before its timer is: if there can be none, the next who asks is told so, too.
        let mut ringer = Self { limiter, runtime: runtime.id(), alarm: None, is_done: false };
        ringer.alarm = Some(ringer.limiter.clock.alarm(Nanos::NEVER));
        let refused = runtime
            .spawn(ringer)
            .now_or_never()
            .is_some_and(|ended| ended.is_err_and(|error| error.is_cancelled()));
        assert!(!refused, "waits in a tokio runtime that is shut down");
    }
}

impl Future for Ringer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { limiter, runtime, alarm, is_done } = &mut *self;
        loop {
            let now = || limiter.clock.now();
            let Some(at) = limiter.window.attend(*runtime, cx.waker(), now) else {
                *is_done = true;
                return Poll::Ready(());
            };
            let alarm = alarm.as_mut().expect("sent with one");
            limiter.clock.set(alarm, at);
            ready!(alarm.poll(cx));
        }
    }
}

impl Drop for Ringer {
    fn drop(&mut self) {
        if !self.is_done {
            self.limiter.window.abandon(self.runtime);
        }
    }
}
