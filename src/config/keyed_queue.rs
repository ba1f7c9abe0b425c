use std::time::Duration;

#[cfg(feature = "serde")]
use super::fields;
use crate::keyed::{KeyedLimitLayer, KeyedQueueLayer, MAX_QUEUE, MAX_QUEUE_PER_KEY};

/// The settings of a [`KeyedQueueLayer`]: bounds of requests that wait for their keys.
///
/// | field | default | |
/// | --- | --- | --- |
/// | `max_wait` | | longest wait |
/// | `max_queue_per_key` | 100 | requests of a key that may wait |
/// | `max_queue` | 10,000 | requests that may wait, of all keys together |
///
/// The bounds of a layer do not change at run time.
///
/// ```
/// use std::time::Duration;
/// use tower_floodgate::{
///     config::KeyedQueueConfig,
///     keyed::{KeyedLimitLayer, Rule},
/// };
///
/// let mut config = KeyedQueueConfig::new(Duration::from_secs(30));
/// config.max_queue_per_key = 20;
/// let limit = KeyedLimitLayer::new(Rule::global("all").max_in_flight(10));
/// let layer = config.layer(limit);
/// # let _ = layer;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct KeyedQueueConfig {
    /// The longest wait.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::longest_wait"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_fields::text"))]
    pub max_wait: Duration,
    /// The largest number of requests of a key that wait.
    #[cfg_attr(feature = "serde", serde(default = "max_queue_per_key"))]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::max_queue_per_key"))]
    pub max_queue_per_key: u32,
    /// The largest number of requests that wait, of all keys together.
    #[cfg_attr(feature = "serde", serde(default = "max_queue"))]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::max_queue_of_keys"))]
    pub max_queue: u32,
}

#[cfg(feature = "serde")]
const fn max_queue_per_key() -> u32 {
    MAX_QUEUE_PER_KEY
}

#[cfg(feature = "serde")]
const fn max_queue() -> u32 {
    MAX_QUEUE
}

impl KeyedQueueConfig {
    /// Creates the settings of a queue with the defaults.
    #[must_use]
    pub const fn new(max_wait: Duration) -> Self {
        Self { max_wait, max_queue_per_key: MAX_QUEUE_PER_KEY, max_queue: MAX_QUEUE }
    }

    /// Creates a layer that lets the requests of `limit` wait, as
    /// [`wait`](KeyedLimitLayer::wait) does. It shares the state of `limit`.
    #[must_use]
    pub fn layer<R, P>(&self, limit: KeyedLimitLayer<R, P>) -> KeyedQueueLayer<R, P> {
        let Self { max_wait, max_queue_per_key, max_queue } = *self;
        limit.wait(max_wait).max_queue_per_key(max_queue_per_key).max_queue(max_queue)
    }
}
