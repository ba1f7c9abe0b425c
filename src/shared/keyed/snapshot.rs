use std::{sync::Arc, time::Duration};

use super::{SharedKeyedWindow, limiters::Limiters};
use crate::{
    limiter::{LimitCounts, QueueLimits, RejectedCounts},
    shared::{StoreCounts, agent::Terms},
};

/// The state and the counts of the shared limits of all keys in this process, at one moment.
///
/// Returned by [`snapshot`](super::SharedKeysHandle::snapshot) of the handle. Serialized (feature
/// `serde`), each duration is a number of seconds, in a field whose name ends in `_seconds`.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SharedKeysSnapshot {
    /// The name of the limits, if they have one.
    pub name: Option<Arc<str>>,
    /// The name of the quotas in the store.
    pub quota_name: Arc<str>,
    /// The number of requests of a key that all processes may issue in a window.
    pub limit: u32,
    /// The length of the window.
    #[cfg_attr(feature = "serde", serde(rename = "window_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::serialize"))]
    pub window: Duration,
    /// The number of keys that are kept at most, or some more: see [`SharedKeyedWindow::keep`].
    pub keep: u64,
    /// The number of keys that are kept.
    pub kept: u64,
    /// The number of requests in the queues of the keys that are kept.
    pub queued: u64,
    /// The longest time that a request in these queues has waited; `None` if they are empty.
    #[cfg_attr(feature = "serde", serde(rename = "queue_age_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub queue_age: Option<Duration>,
    /// The permits at hand of the keys that are kept.
    pub pooled: u64,
    /// The permits of these keys that may count in the store: leased and not refunded, for as long
    /// as they may count.
    pub held: u64,
    /// The number of keys that are kept and whose store is away.
    pub away_keys: u64,
    /// The longest time since the store is away for a key; `None` if it is away for none.
    #[cfg_attr(feature = "serde", serde(rename = "away_for_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub away_for: Option<Duration>,
    /// The bound of the queue of a key in this process; `None` without one.
    pub max_queue: Option<u32>,
    /// The bound of a wait; `None` without one.
    #[cfg_attr(feature = "serde", serde(rename = "max_wait_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub max_wait: Option<Duration>,
    /// The number of requests that were rejected because they had no key.
    pub no_key: u64,
    /// The number of other rejections of other reasons than the store, by reason.
    pub rejected: RejectedCounts,
    /// The numbers of events between this process and the store, since the limits were created:
    /// of the keys that are kept, and of all that went. Those of a key for which there was no room
    /// are added when its last request and its leases are over.
    pub store: StoreCounts,
    /// The numbers of other events, counted since the limits were named; `None` without a name.
    /// Requests that are exempt because they have no key are not counted.
    pub counts: Option<LimitCounts>,
}

impl SharedKeysSnapshot {
    /// The kind of the limits, in metrics and traces.
    pub(crate) const KIND: &'static str = "shared_keys";

    pub(super) fn of(limiters: &Limiters, limits: QueueLimits) -> Self {
        let SharedKeyedWindow { quota, keep } = limiters.window();
        let Terms { limit, window, .. } = quota.terms;
        let observed = limiters.observed();
        let sums = limiters.sums();
        Self {
            name: observed.observer.name().cloned(),
            quota_name: Arc::clone(&quota.name),
            limit,
            window,
            keep: *keep as u64,
            kept: sums.kept,
            queued: sums.queued,
            queue_age: sums.queue_age,
            pooled: sums.pooled,
            held: sums.held,
            away_keys: sums.away,
            away_for: sums.away_for,
            max_queue: limits.max_queue(),
            max_wait: limits.max_wait(),
            no_key: observed.no_key(),
            rejected: sums.totals.rejected,
            store: sums.totals.store,
            counts: observed.observer.counts(),
        }
    }
}
