use std::{sync::Arc, time::Duration};

use crate::limiter::{LimitCounts, RejectedCounts};

/// The state and the counts of a rate limit at one moment.
///
/// Returned by [`snapshot`](super::WindowRateLimitHandle::snapshot) of the handle. Serialized
/// (feature `serde`), each duration is a number of seconds, in a field whose name ends in
/// `_seconds`.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WindowSnapshot {
    /// The name of the limit, if it has one.
    pub name: Option<Arc<str>>,
    /// The number of requests that may be issued in a window.
    pub limit: u32,
    /// The length of the window.
    #[cfg_attr(feature = "serde", serde(rename = "window_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::serialize"))]
    pub window: Duration,
    /// The number of requests that could be issued now.
    pub remaining: u32,
    /// The number of requests in the queue.
    pub queued: u32,
    /// The time that the first request in the queue has waited; `None` for an empty queue.
    #[cfg_attr(feature = "serde", serde(rename = "queue_age_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub queue_age: Option<Duration>,
    /// The time that a request would wait if it arrived now; `None` at a closed limit.
    #[cfg_attr(feature = "serde", serde(rename = "estimated_wait_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub estimated_wait: Option<Duration>,
    /// The rest of the present pause; zero without one.
    #[cfg_attr(feature = "serde", serde(rename = "paused_for_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::serialize"))]
    pub paused_for: Duration,
    /// The number of requests issued since the limit was created.
    pub issued: u64,
    /// The limit admits no more requests.
    pub is_closed: bool,
    /// The number of rejections, by reason.
    pub rejected: RejectedCounts,
    /// The numbers of other events, counted since the limit was named; `None` without a name.
    pub counts: Option<LimitCounts>,
}

impl WindowSnapshot {
    /// The kind of the limit, in metrics and traces.
    pub(crate) const KIND: &'static str = "window";
}
