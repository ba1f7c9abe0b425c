use std::{sync::Arc, time::Duration};

use super::AdaptiveSnapshot;
use crate::limiter::{LimitCounts, RejectedByClass, RejectedCounts};

/// The state and the counts of a concurrency limit at one moment.
///
/// Returned by [`snapshot`](super::ConcurrencyBackpressureHandle::snapshot) of the handle.
/// Serialized (feature `serde`), each duration is a number of seconds, in a field whose name ends
/// in `_seconds`.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConcurrencySnapshot {
    /// The name of the limit, if it has one.
    pub name: Option<Arc<str>>,
    /// The largest number of requests that may be in flight.
    pub limit: u32,
    /// The number of requests in flight.
    pub in_flight: u32,
    /// The number of requests in the queue.
    pub queued: u32,
    /// The time that the first request in the queue has waited; `None` for an empty queue.
    #[cfg_attr(feature = "serde", serde(rename = "queue_age_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub queue_age: Option<Duration>,
    /// The bound of the queue that is in force for the layer or the service of the handle; `None`
    /// without one.
    pub max_queue: Option<u32>,
    /// The bound of a wait that is in force for the layer or the service of the handle; `None`
    /// without one.
    #[cfg_attr(feature = "serde", serde(rename = "max_wait_seconds"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_seconds::optional"))]
    pub max_wait: Option<Duration>,
    /// The limit admits no more requests.
    pub is_closed: bool,
    /// The number of rejections, by reason.
    pub rejected: RejectedCounts,
    /// The number of rejections, by the class of the request; `None` for a limit without
    /// [classes](crate::backpressure#classes).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub rejected_by_class: Option<RejectedByClass>,
    /// The numbers of other events, counted since the limit was named; `None` without a name.
    pub counts: Option<LimitCounts>,
    /// The search of a limit that adapts; `None` for a fixed one.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub adaptive: Option<AdaptiveSnapshot>,
}

impl ConcurrencySnapshot {
    /// The kind of the limit, in metrics and traces.
    pub(crate) const KIND: &'static str = "concurrency";
}
