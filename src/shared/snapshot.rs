use std::{sync::Arc, time::Duration};

use crate::limiter::{LimitCounts, RejectedCounts};

/// The state and the counts of a shared limit in this process, at one moment.
///
/// Returned by [`snapshot`](super::SharedRateLimitHandle::snapshot) of the handle. Serialized
/// (feature `serde`), each duration is a number of seconds, in a field whose name ends in
/// `_seconds`.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SharedSnapshot {
    /// The name of the limit, if it has one.
    pub name: Option<Arc<str>>,
    /// The name of the quota in the store.
    pub quota_name: Arc<str>,
    /// The number of requests that all processes may issue in a window.
    pub limit: u32,
    /// The length of the window.
    #[cfg_attr(feature = "serde", serde(rename = "window_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::serialize"))]
    pub window: Duration,
    /// The number of requests that could be issued now, as far as this process knows. See
    /// [`remaining`](super::SharedRateLimitHandle::remaining).
    pub remaining: u32,
    /// The permits that no process had leased at the latest reply of the store.
    pub free: u32,
    /// The permits at hand in this process.
    pub pooled: u32,
    /// The permits of this process that may count in the store: leased and not refunded, for as
    /// long as they may count.
    pub held: u64,
    /// The number of requests in the queue.
    pub queued: u32,
    /// The time that the first request in the queue has waited; `None` for an empty queue.
    #[cfg_attr(feature = "serde", serde(rename = "queue_age_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub queue_age: Option<Duration>,
    /// The rest of the present pause; zero without one.
    #[cfg_attr(feature = "serde", serde(rename = "paused_for_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::serialize"))]
    pub paused_for: Duration,
    /// The time since the store is away; `None` if it is not.
    #[cfg_attr(feature = "serde", serde(rename = "away_for_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub away_for: Option<Duration>,
    /// The smoothed round trip to the store.
    #[cfg_attr(feature = "serde", serde(rename = "round_trip_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::serialize"))]
    pub round_trip: Duration,
    /// The bound of the queue in this process; `None` without one.
    pub max_queue: Option<u32>,
    /// The bound of a wait; `None` without one.
    #[cfg_attr(feature = "serde", serde(rename = "max_wait_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub max_wait: Option<Duration>,
    /// The limit admits no more requests.
    pub is_closed: bool,
    /// The number of rejections of other reasons than the store, by reason.
    pub rejected: RejectedCounts,
    /// The numbers of events between this process and the store.
    pub store: StoreCounts,
    /// The numbers of other events, counted since the limit was named; `None` without a name.
    pub counts: Option<LimitCounts>,
}

impl SharedSnapshot {
    /// The kind of the limit, in metrics and traces.
    pub(crate) const KIND: &'static str = "shared";
}

/// The numbers of events between a process and the store of a quota, since the limit was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StoreCounts {
    /// Requests to the store.
    pub store_requests: u64,
    /// Requests to the store that failed, or had no reply in time.
    pub store_failures: u64,
    /// Permits that the store has leased to this process.
    pub leased: u64,
    /// Permits on which requests were issued, or are about to be.
    pub used: u64,
    /// Permits that were not used: their lease lapsed before or was discarded after a step of the
    /// store's clock, another one took its place in the process, or the limit was closed. The
    /// others that were leased are used, at hand, or of a lease that has not begun.
    pub lapsed: u64,
    /// Those of the lapsed permits that the store has taken back.
    pub refunded: u64,
    /// New histories of the state in the store: it was lost, or its server was started anew.
    pub epoch_changes: u64,
    /// Steps of the store's clock ahead, for each of which this process has paused for 1.4 windows.
    pub clock_steps: u64,
    /// Replies that told of another limit or window under the same name.
    pub other_terms: u64,
    /// Requests that were issued after the deadline of their lease, because their thread was
    /// preempted right before. The store was told of them.
    pub issued_late: u64,
    /// Requests that were issued by the limit of this process alone ([`Away::Share`]).
    ///
    /// [`Away::Share`]: super::Away::Share
    pub issued_alone: u64,
    /// Requests that were issued without a limit ([`Away::Open`](super::Away::Open)).
    pub issued_unlimited: u64,
    /// Requests that were rejected because the store was away.
    pub unavailable: u64,
}

#[cfg(any(feature = "metrics", feature = "shared-keys"))]
impl StoreCounts {
    /// Adds the counts of another limit.
    pub(crate) fn add(&mut self, of: Self) {
        let Self {
            store_requests,
            store_failures,
            leased,
            used,
            lapsed,
            refunded,
            epoch_changes,
            clock_steps,
            other_terms,
            issued_late,
            issued_alone,
            issued_unlimited,
            unavailable,
        } = of;
        self.store_requests += store_requests;
        self.store_failures += store_failures;
        self.leased += leased;
        self.used += used;
        self.lapsed += lapsed;
        self.refunded += refunded;
        self.epoch_changes += epoch_changes;
        self.clock_steps += clock_steps;
        self.other_terms += other_terms;
        self.issued_late += issued_late;
        self.issued_alone += issued_alone;
        self.issued_unlimited += issued_unlimited;
        self.unavailable += unavailable;
    }
}
