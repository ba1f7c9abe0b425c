use std::time::Duration;

use super::ApplyError;
#[cfg(feature = "serde")]
use super::fields;
use crate::{
    quota::Quota,
    rate_limit::{WindowRateLimitHandle, WindowRateLimitLayer},
    reject::RejectWithBoxError,
    settings::InvalidSetting,
};

/// The kind of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum WindowShape {
    /// Any span of the window's length, as of [`WindowRateLimitLayer::new`]. The default.
    #[default]
    Sliding,
    /// Each window of a grid, as of [`WindowRateLimitLayer::fixed`].
    Fixed,
}

impl WindowShape {
    /// Returns the name, as in a file.
    const fn name(self) -> &'static str {
        match self {
            Self::Sliding => "sliding",
            Self::Fixed => "fixed",
        }
    }
}

/// The settings of a [`WindowRateLimitLayer`].
///
/// | field | default | |
/// | --- | --- | --- |
/// | `quota` | | limit and window, such as `100/1m` |
/// | `shape` | sliding | the kind of the window |
/// | `max_queue` | none | requests that may wait; 0 for none |
/// | `max_wait` | none | longest wait |
///
/// ```
/// use tower_floodgate::config::WindowConfig;
///
/// # fn main() -> Result<(), tower::BoxError> {
/// let mut config = WindowConfig::new("100/1m".parse()?);
/// config.max_queue = Some(20);
/// let layer = config.try_layer()?;
/// let handle = layer.handle();
///
/// config.quota = "5000 per hour".parse()?;
/// config.apply(&handle)?;
/// assert_eq!((handle.quota(), handle.max_queue()), (config.quota, Some(20)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct WindowConfig {
    /// The limit and the window.
    pub quota: Quota,
    /// The kind of the window. It cannot change at run time.
    #[cfg_attr(feature = "serde", serde(default))]
    pub shape: WindowShape,
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

impl WindowConfig {
    /// Creates the settings of a sliding window without bounds on the queue.
    #[must_use]
    pub const fn new(quota: Quota) -> Self {
        Self { quota, shape: WindowShape::Sliding, max_queue: None, max_wait: None }
    }

    /// Creates a layer with these settings.
    ///
    /// It rejects with a `BoxError`, by default: its methods choose another
    /// [reject policy](crate::reject).
    ///
    /// # Errors
    ///
    /// None at present: a [`Quota`] is valid, and so is each bound.
    pub fn try_layer(&self) -> Result<WindowRateLimitLayer<RejectWithBoxError>, InvalidSetting> {
        let Self { quota, shape, max_queue, max_wait } = *self;
        let layer = match shape {
            WindowShape::Sliding => WindowRateLimitLayer::with_quota(quota),
            WindowShape::Fixed => WindowRateLimitLayer::fixed_with_quota(quota),
        };
        let mut layer = layer.reject_with_box_error();
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
    pub fn check(&self, handle: &WindowRateLimitHandle) -> Result<(), ApplyError> {
        let Self { quota: _, shape, max_queue, max_wait } = *self;
        let running = if handle.is_fixed() { WindowShape::Fixed } else { WindowShape::Sliding };
        if shape != running {
            let running = running.name();
            let expected =
                format!("{running}, as that of the running limit: a limit keeps its shape");
            // `Debug` of arguments is their text, without quotes.
            let shape = format_args!("{}", shape.name());
            return Err(InvalidSetting::new("shape", shape, expected).into());
        }
        Ok(handle.check_bounds(max_queue, max_wait)?)
    }

    /// Changes a running limit to these settings, in one step, as
    /// [`set_quota`](WindowRateLimitHandle::set_quota) does.
    ///
    /// Requests that wait keep their deadlines. The bounds replace those of all layers of the
    /// limit, and `None` removes a bound.
    ///
    /// # Errors
    ///
    /// If the limit has a window of another kind, or must not be
    /// [bounded](WindowRateLimitHandle::set_max_queue). Nothing is changed then.
    pub fn apply(&self, handle: &WindowRateLimitHandle) -> Result<(), ApplyError> {
        self.check(handle)?;
        let Self { quota, shape: _, max_queue, max_wait } = *self;
        Ok(handle.configure(quota, max_queue, max_wait)?)
    }
}
