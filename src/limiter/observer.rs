//! The one place where the events of a limiter leave the library.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{rejected::Reason, time::Nanos};

/// Observes the events of a limiter. Each default does nothing, and costs no instruction.
pub(crate) trait Observer {
    /// A request has acquired a permit without a wait.
    #[inline]
    fn acquired(&self) {}

    /// A request has queued.
    #[inline]
    fn queued(&self) {}

    /// A waiter has acquired a permit.
    #[inline]
    fn acquired_after_wait(&self) {}

    /// A waiter has left the queue without a permit.
    #[inline]
    fn cancelled(&self) {}

    /// A permit was released, unused or by the end of its request.
    #[inline]
    fn released(&self) {}

    /// A request was rejected.
    #[inline]
    fn rejected(&self, reason: Reason) {
        let _ = reason;
    }

    /// The limit was changed by a handle.
    #[inline]
    fn limit_changed(&self, limit: u32) {
        let _ = limit;
    }

    /// Admission was paused until a time.
    #[inline]
    fn paused(&self, until: Nanos) {
        let _ = until;
    }
}

/// The number of requests that a limit has rejected since it was created, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RejectedCounts {
    /// The queue was full.
    pub queue_full: u64,
    /// The wait was longer than allowed, or known to become so.
    pub wait_timeout: u64,
    /// The limit was closed.
    pub closed: u64,
}

impl RejectedCounts {
    /// Returns the sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.queue_full + self.wait_timeout + self.closed
    }
}

/// Counts rejections, for the handle of a limit.
// All orderings are Relaxed: the counters order nothing.
#[derive(Debug, Default)]
pub(crate) struct RejectedCounter {
    queue_full: AtomicU64,
    wait_timeout: AtomicU64,
    closed: AtomicU64,
}

impl RejectedCounter {
    pub(crate) fn counts(&self) -> RejectedCounts {
        RejectedCounts {
            queue_full: self.queue_full.load(Relaxed),
            wait_timeout: self.wait_timeout.load(Relaxed),
            closed: self.closed.load(Relaxed),
        }
    }
}

impl Observer for RejectedCounter {
    fn rejected(&self, reason: Reason) {
        let count = match reason {
            Reason::QueueFull => &self.queue_full,
            Reason::WaitTimeout => &self.wait_timeout,
            Reason::Closed => &self.closed,
        };
        count.fetch_add(1, Relaxed);
    }
}
