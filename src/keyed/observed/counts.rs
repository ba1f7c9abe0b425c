//! Counts of a rule.
//!
//! All orderings are `Relaxed`: the counters order nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::rejected::{Reason, RuleReason};

/// The numbers of requests that a [rule](super::super::Rule) has rejected since its layer was made,
/// by reason.
///
/// A rejection counts once it reaches its caller. In a dry run, it counts when the request is
/// decided; of a request that waits for another rule, when it is issued, and only by the rules
/// behind that one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RuleRejectedCounts {
    /// No permit of the key was left, or as many of its requests were in flight as may be.
    pub limit_reached: u64,
    /// The cost was above the quota.
    pub too_large: u64,
    /// The request had no key, and [such requests are rejected](crate::keyed::WithoutKey::Reject).
    pub no_key: u64,
    /// The key was new, and the table [full](crate::keyed::Rule::reject_when_full) of live ones.
    pub table_full: u64,
    /// The key was [paused](crate::keyed::RuleHandle::pause_until).
    pub paused: u64,
    /// The [queue](crate::keyed::KeyedLimitLayer::wait) of the key, or the whole queue, was full.
    pub queue_full: u64,
    /// The wait was longer than allowed, or known to become so.
    pub wait_timeout: u64,
}

impl RuleRejectedCounts {
    /// Returns the sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { limit_reached, too_large, no_key, table_full, paused, queue_full, wait_timeout } =
            self;
        limit_reached + too_large + no_key + table_full + paused + queue_full + wait_timeout
    }
}

/// Counts rejections.
#[derive(Debug, Default)]
pub(super) struct RejectedCounter {
    limit_reached: AtomicU64,
    too_large: AtomicU64,
    no_key: AtomicU64,
    table_full: AtomicU64,
    paused: AtomicU64,
    queue_full: AtomicU64,
    wait_timeout: AtomicU64,
}

impl RejectedCounter {
    pub(super) fn counts(&self) -> RuleRejectedCounts {
        RuleRejectedCounts {
            limit_reached: self.limit_reached.load(Relaxed),
            too_large: self.too_large.load(Relaxed),
            no_key: self.no_key.load(Relaxed),
            table_full: self.table_full.load(Relaxed),
            paused: self.paused.load(Relaxed),
            queue_full: self.queue_full.load(Relaxed),
            wait_timeout: self.wait_timeout.load(Relaxed),
        }
    }

    pub(super) fn count(&self, reason: Reason) {
        let count = match reason {
            Reason::Rule(RuleReason::LimitReached) => &self.limit_reached,
            Reason::Rule(RuleReason::TooLarge) => &self.too_large,
            Reason::Rule(RuleReason::NoKey) => &self.no_key,
            Reason::Rule(RuleReason::TableFull) => &self.table_full,
            Reason::Rule(RuleReason::Paused) => &self.paused,
            Reason::QueueFull => &self.queue_full,
            Reason::WaitTimeout => &self.wait_timeout,
            // A rule has no end, no store, and no deadline.
            Reason::Closed | Reason::Unavailable | Reason::TooLate => return,
        };
        count.fetch_add(1, Relaxed);
    }
}

/// The stripes of a count: enough that the sets of a table rarely share one.
const STRIPES: usize = 64;

/// A count that threads write to in different lines of the cache, unless they have just written to
/// the same set of the key table.
#[derive(Debug)]
pub(crate) struct Stripes(Box<[Stripe; STRIPES]>);

#[derive(Debug)]
#[repr(align(64))]
struct Stripe(AtomicU64);

impl Stripes {
    pub(crate) fn new() -> Self {
        Self(Box::new(std::array::from_fn(|_| Stripe(AtomicU64::new(0)))))
    }

    /// Counts a request whose permits are in this set of the table.
    #[inline]
    pub(crate) fn count(&self, set: usize) {
        self.0[set % STRIPES].0.fetch_add(1, Relaxed);
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Relaxed)).sum()
    }
}
