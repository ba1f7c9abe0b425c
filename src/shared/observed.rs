//! The events of a shared quota: counts, metrics and traces.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::{StoreError, agent::Remark, wire::Reply};
use crate::{
    limiter::Observer,
    rejected::{Reason, Rejected},
};

/// The sinks of the events. All counters are `Relaxed`: they order nothing.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Of the requests of the services.
    pub(super) observer: Observer,
    unavailable: AtomicU64,
    unlimited: AtomicU64,
    local: AtomicU64,
}

impl Observed {
    /// Counts a rejection, and passes it on.
    pub(super) fn rejected(&self, rejected: &Rejected) {
        if rejected.reason() == Reason::Unavailable {
            self.unavailable.fetch_add(1, Relaxed);
        }
        self.observer.notify_rejected(rejected);
    }

    /// Requests that were rejected because the store was away.
    pub(super) fn unavailable(&self) -> u64 {
        self.unavailable.load(Relaxed)
    }

    /// Counts a request that was issued without a lease: by the limit of this process alone, or
    /// without one.
    pub(super) fn issued_alone(&self, is_limited: bool) {
        let count = if is_limited { &self.local } else { &self.unlimited };
        count.fetch_add(1, Relaxed);
    }

    pub(super) fn unlimited(&self) -> u64 {
        self.unlimited.load(Relaxed)
    }

    pub(super) fn local(&self) -> u64 {
        self.local.load(Relaxed)
    }

    pub(super) fn issued_late(&self) {}

    /// A request to the store has ended after this time.
    pub(super) fn replied(&self, _took: Duration, _reply: &Result<Reply, StoreError>) {}

    /// A request to the store has failed. `is_new` tells that the store was not away before.
    pub(super) fn failed(&self, _code: &str, _is_new: bool) {}

    /// The store has replied, after it was away for this time.
    pub(super) fn came_back(&self, _away_for: Duration) {}

    pub(super) fn remark(&self, _remark: Remark) {}
}
