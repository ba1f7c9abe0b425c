//! Counts of the events of a limiter, for its handle.
//!
//! All orderings are `Relaxed`: the counters order nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Event;
use crate::{
    class::Class,
    rejected::{Reason, Rejected},
};

/// The numbers of requests that a limit has rejected since it was created, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RejectedCounts {
    /// The queue was full.
    pub queue_full: u64,
    /// The wait was longer than allowed, or known to become so.
    pub wait_timeout: u64,
    /// The request could not be done by its deadline. Always 0 for a rate limit.
    pub too_late: u64,
    /// The limit was closed.
    pub closed: u64,
}

impl RejectedCounts {
    /// Adds the counts of another limit.
    #[cfg(feature = "shared-keys")]
    pub(crate) fn add(&mut self, of: Self) {
        let Self { queue_full, wait_timeout, too_late, closed } = of;
        self.queue_full += queue_full;
        self.wait_timeout += wait_timeout;
        self.too_late += too_late;
        self.closed += closed;
    }

    /// Returns the sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.queue_full + self.wait_timeout + self.too_late + self.closed
    }
}

/// The numbers of requests that a limit has rejected since it was created, by the class of the
/// request.
///
/// Requests without a [class](crate::backpressure#classes) are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RejectedByClass {
    /// The number of [`Critical`](Class::Critical) requests.
    pub critical: u64,
    /// The number of [`Normal`](Class::Normal) requests.
    pub normal: u64,
    /// The number of [`Sheddable`](Class::Sheddable) requests.
    pub sheddable: u64,
}

impl RejectedByClass {
    /// Returns the number of requests of a class.
    #[must_use]
    pub const fn of(&self, class: Class) -> u64 {
        match class {
            Class::Critical => self.critical,
            Class::Normal => self.normal,
            Class::Sheddable => self.sheddable,
        }
    }
}

/// The numbers of events of a limit since it was named.
///
/// While no service is ready and not called, `admitted - unused` requests have been passed on to
/// the inner service. A reading may fall between two events of one request. If a limit is named
/// while it is in use, requests that were admitted or queued before are counted by their later
/// events only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LimitCounts {
    /// The number of requests that acquired a permit, with a wait or without. Several permits that
    /// a handle acquires at once count as so many requests here and in `unused`, and as one request
    /// in the other counts.
    pub admitted: u64,
    /// The number of permits that were acquired and released without a call: the service was
    /// dropped, or its inner service failed.
    pub unused: u64,
    /// The number of requests that were queued.
    pub waited: u64,
    /// The number of requests that were queued, and went away neither admitted nor rejected.
    pub cancelled: u64,
    /// The number of pauses, and of extensions of one. Always 0 for a concurrency limit.
    pub pauses: u64,
    /// The number of times that a handle has set the limit, or the length of its window.
    pub limit_changes: u64,
}

/// Counts rejections.
#[derive(Debug, Default)]
pub(crate) struct RejectedCounter {
    queue_full: AtomicU64,
    wait_timeout: AtomicU64,
    too_late: AtomicU64,
    closed: AtomicU64,
}

impl RejectedCounter {
    pub(crate) fn counts(&self) -> RejectedCounts {
        RejectedCounts {
            queue_full: self.queue_full.load(Relaxed),
            wait_timeout: self.wait_timeout.load(Relaxed),
            too_late: self.too_late.load(Relaxed),
            closed: self.closed.load(Relaxed),
        }
    }

    pub(crate) fn count(&self, reason: Reason) {
        let count = match reason {
            Reason::QueueFull => &self.queue_full,
            Reason::WaitTimeout => &self.wait_timeout,
            Reason::TooLate => &self.too_late,
            Reason::Closed => &self.closed,
            Reason::Rule(_) | Reason::Unavailable => return, // counted by the rule, or the shared quota
        };
        count.fetch_add(1, Relaxed);
    }
}

/// Counts rejections of requests with a class.
#[derive(Debug, Default)]
pub(super) struct ClassCounter([AtomicU64; 3]);

impl ClassCounter {
    pub(super) fn counts(&self) -> RejectedByClass {
        let [critical, normal, sheddable] = Class::ALL.map(|of| self.0[of.index()].load(Relaxed));
        RejectedByClass { critical, normal, sheddable }
    }

    pub(super) fn count(&self, rejected: &Rejected) {
        if let Some(class) = rejected.class() {
            self.0[class.index()].fetch_add(1, Relaxed);
        }
    }
}

/// Counts the other events. Aligned, so that no thread writes to its cache line for another reason.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Counter {
    admitted: AtomicU64,
    unused: AtomicU64,
    waited: AtomicU64,
    cancelled: AtomicU64,
    pauses: AtomicU64,
    limit_changes: AtomicU64,
}

impl Counter {
    pub(super) fn counts(&self) -> LimitCounts {
        LimitCounts {
            admitted: self.admitted.load(Relaxed),
            unused: self.unused.load(Relaxed),
            waited: self.waited.load(Relaxed),
            cancelled: self.cancelled.load(Relaxed),
            pauses: self.pauses.load(Relaxed),
            limit_changes: self.limit_changes.load(Relaxed),
        }
    }

    #[inline]
    pub(super) fn record(&self, event: Event<'_>) {
        let (count, by) = match event {
            Event::Acquired { permits } | Event::AcquiredAfterWait { permits, .. } => {
                (&self.admitted, permits)
            }
            Event::Unused { permits } => (&self.unused, permits),
            Event::Queued => (&self.waited, 1),
            Event::Cancelled => (&self.cancelled, 1),
            Event::LimitChanged { .. } => (&self.limit_changes, 1),
            Event::Paused { .. } => (&self.pauses, 1),
            Event::Rejected(_) => return, // counted without a name, too
        };
        count.fetch_add(by.into(), Relaxed);
    }
}
