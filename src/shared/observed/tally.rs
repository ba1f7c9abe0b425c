//! The counts of one quota that its agent does not have.
//!
//! All orderings are `Relaxed`: the counters order nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{
    limiter::{RejectedCounter, RejectedCounts},
    rejected::Reason,
    shared::StoreCounts,
};

/// Counts requests that were issued without a lease, and rejections.
#[derive(Debug, Default)]
pub(in crate::shared) struct Tally {
    rejected: RejectedCounter,
    unavailable: AtomicU64,
    unlimited: AtomicU64,
    local: AtomicU64,
}

impl Tally {
    pub(in crate::shared) fn count_rejected(&self, reason: Reason) {
        match reason {
            Reason::Unavailable => {
                self.unavailable.fetch_add(1, Relaxed);
            }
            reason => self.rejected.count(reason),
        }
    }

    /// Counts a request that was issued without a lease: by the limit of this process alone, or
    /// without one.
    pub(in crate::shared) fn count_alone(&self, is_limited: bool) {
        let count = if is_limited { &self.local } else { &self.unlimited };
        count.fetch_add(1, Relaxed);
    }

    /// Rejections of other reasons than the store.
    pub(in crate::shared) fn rejected(&self) -> RejectedCounts {
        self.rejected.counts()
    }

    /// Returns the counts with those of the agent.
    pub(in crate::shared) fn with(&self, agent: StoreCounts) -> StoreCounts {
        StoreCounts {
            issued_alone: self.local.load(Relaxed),
            issued_unlimited: self.unlimited.load(Relaxed),
            unavailable: self.unavailable.load(Relaxed),
            ..agent
        }
    }
}

/// All counts of a quota, or of several.
#[cfg(feature = "shared-keys")]
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::shared) struct Totals {
    pub(in crate::shared) store: StoreCounts,
    pub(in crate::shared) rejected: RejectedCounts,
}

#[cfg(feature = "shared-keys")]
impl Totals {
    pub(in crate::shared) fn add(&mut self, of: Self) {
        let Self { store, rejected } = of;
        self.store.add(store);
        self.rejected.add(rejected);
    }
}
