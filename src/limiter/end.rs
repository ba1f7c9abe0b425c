//! Futures of the end of a limit.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use futures_util::future::FusedFuture;

use crate::semaphore::WaiterKey;

/// An event that ends a wait at a limiter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// No request is left.
    Drained,
    /// No request is admitted any more.
    Closed,
}

/// A limiter whose end can be awaited.
pub(crate) trait Ends: Send + Sync {
    /// Waits for an event. `key` is `None` at first, and after the event.
    fn poll_end(&self, end: End, key: &mut Option<WaiterKey>, waker: &Waker) -> Poll<()>;

    /// Ends a wait.
    fn cancel_end(&self, end: End, key: WaiterKey);
}

/// A wait for an event of a limiter.
struct Wait {
    limiter: Arc<dyn Ends>,
    end: End,
    key: Option<WaiterKey>,
    is_done: bool,
}

impl Wait {
    fn new(limiter: Arc<dyn Ends>, end: End) -> Self {
        Self { limiter, end, key: None, is_done: false }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.is_done {
            ready!(self.limiter.poll_end(self.end, &mut self.key, cx.waker()));
            self.is_done = true;
        }
        Poll::Ready(())
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.limiter.cancel_end(self.end, key);
        }
    }
}

/// The future of `drained` of the handle of [either](crate::ConcurrencyBackpressureHandle::drained)
/// [limit](crate::WindowRateLimitHandle::drained).
///
/// Needs no runtime. May be dropped at any time.
#[must_use = "futures do nothing unless polled"]
pub struct Drained(Wait);

/// The future of `closed` of the handle of [either](crate::ConcurrencyBackpressureHandle::closed)
/// [limit](crate::WindowRateLimitHandle::closed).
///
/// Needs no runtime. May be dropped at any time. It is woken by the close, and by nothing else.
#[must_use = "futures do nothing unless polled"]
pub struct Closed(Wait);

macro_rules! future {
    ($name:ident, $end:expr) => {
        impl $name {
            pub(crate) fn new(limiter: Arc<dyn Ends>) -> Self {
                Self(Wait::new(limiter, $end))
            }
        }

        impl Future for $name {
            type Output = ();

            fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
                self.0.poll(cx)
            }
        }

        impl FusedFuture for $name {
            fn is_terminated(&self) -> bool {
                self.0.is_done
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut fields = f.debug_struct(stringify!($name));
                fields.field("is_done", &self.0.is_done).finish_non_exhaustive()
            }
        }
    };
}

future!(Drained, End::Drained);
future!(Closed, End::Closed);
