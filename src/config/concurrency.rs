use std::time::Duration;

use super::ApplyError;
#[cfg(feature = "serde")]
use super::fields;
use crate::{
    backpressure::{ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer},
    reject::RejectWithBoxError,
    settings::InvalidSetting,
};

/// The settings of a [`ConcurrencyBackpressureLayer`].
///
/// | field | default | |
/// | --- | --- | --- |
/// | `max_in_flight` | | requests in flight at a time |
/// | `max_queue` | none | requests that may wait; 0 for none |
/// | `max_wait` | none | longest wait |
///
/// ```
/// use std::time::Duration;
/// use tower_floodgate::config::ConcurrencyConfig;
///
/// # fn main() -> Result<(), tower::BoxError> {
/// let mut config = ConcurrencyConfig::new(10);
/// config.max_queue = Some(20);
/// let layer = config.try_layer()?;
/// let handle = layer.handle();
///
/// config.max_in_flight = 50;
/// config.max_wait = Some(Duration::from_secs(2));
/// config.apply(&handle)?;
/// assert_eq!((handle.limit(), handle.max_queue()), (50, Some(20)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct ConcurrencyConfig {
    /// The largest number of requests in flight, between 1 and 2<sup>31</sup> - 1.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::max_in_flight"))]
    pub max_in_flight: u32,
    /// The largest number of requests that wait; `None` without a bound.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "fields::max_queue"))]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_queue: Option<u32>,
    /// The longest wait; `None` without a bound.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "fields::max_wait"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_fields::optional_text"))]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_wait: Option<Duration>,
}

impl ConcurrencyConfig {
    /// Creates the settings of a limit without bounds on the queue.
    #[must_use]
    pub const fn new(max_in_flight: u32) -> Self {
        Self { max_in_flight, max_queue: None, max_wait: None }
    }

    /// Creates a layer with these settings.
    ///
    /// It rejects with a `BoxError`, by default: its methods choose another
    /// [reject policy](crate::reject).
    ///
    /// # Errors
    ///
    /// If `max_in_flight` is 0 or above 2<sup>31</sup> - 1.
    pub fn try_layer(
        &self,
    ) -> Result<ConcurrencyBackpressureLayer<RejectWithBoxError>, InvalidSetting> {
        let Self { max_in_flight, max_queue, max_wait } = *self;
        let mut layer =
            ConcurrencyBackpressureLayer::try_new(max_in_flight)?.reject_with_box_error();
        if let Some(max_queue) = max_queue {
            layer = layer.max_queue(max_queue);
        }
        if let Some(max_wait) = max_wait {
            layer = layer.max_wait(max_wait);
        }
        Ok(layer)
    }

    /// Checks whether [`apply`](Self::apply) may change a running limit to these settings, and
    /// changes nothing.
    ///
    /// Where several are changed together, each is checked before the first one is applied: see
    /// [settings of a file](crate::guide::settings).
    ///
    /// # Errors
    ///
    /// Those of `apply`. It may fail in spite of a check before it if a service without a reject
    /// policy is made in between.
    pub fn check(&self, handle: &ConcurrencyBackpressureHandle) -> Result<(), ApplyError> {
        let Self { max_in_flight, max_queue, max_wait } = *self;
        handle.check_limit(max_in_flight)?;
        Ok(handle.check_bounds(max_queue, max_wait)?)
    }

    /// Changes a running limit to these settings, in one step.
    ///
    /// Requests in flight end as usual, and those that wait keep their deadlines. The bounds
    /// replace those of all layers of the limit, and `None` removes a bound. A limit that
    /// [adapts](ConcurrencyBackpressureLayer::adaptive) is
    /// [held](ConcurrencyBackpressureHandle::hold) at `max_in_flight`, even if nothing has changed.
    ///
    /// # Errors
    ///
    /// If a setting is invalid, or the limit must not be
    /// [bounded](ConcurrencyBackpressureHandle::set_max_queue). Nothing is changed then.
    pub fn apply(&self, handle: &ConcurrencyBackpressureHandle) -> Result<(), ApplyError> {
        self.check(handle)?;
        let Self { max_in_flight, max_queue, max_wait } = *self;
        Ok(handle.configure(max_in_flight, max_queue, max_wait)?)
    }
}
