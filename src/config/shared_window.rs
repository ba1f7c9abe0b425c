use std::{fmt, sync::Arc, time::Duration};

use super::ApplyError;
#[cfg(feature = "serde")]
use super::{away, fields};
use crate::{
    quota::Quota,
    rate_limit::WindowRateLimitLayer,
    settings::InvalidSetting,
    shared::{
        Away, MAX_QUEUE, MAX_WAIT, SharedRateLimitHandle, SharedRateLimitLayer, SharedWindow,
        Store, quota,
    },
};

/// The settings of a [`SharedRateLimitLayer`].
///
/// | field | default | |
/// | --- | --- | --- |
/// | `name` | | the name of the quota in the store |
/// | `quota` | | limit and window over all processes, such as `1000/1s` |
/// | `away` | | `closed`, `open`, or `{ share = 8 }` of so many processes |
/// | `max_share` | the limit | permits that this process leases in a window |
/// | `strict` | false | an unknown state of the store counts as full |
/// | `store_timeout` | 100 ms | longest wait for a reply of the store |
/// | `max_queue` | 10,000 | requests that may wait in this process; with 0, each waits for one reply of the store at most |
/// | `max_wait` | 30 s | longest wait |
///
/// ```
/// # use tower_floodgate::shared::{Store, StoreError};
/// # struct MyStore;
/// # impl Store for MyStore {
/// #     async fn acquire(&self, _: &str, _: &[i64]) -> Result<Vec<i64>, StoreError> {
/// #         Err(StoreError::new("io"))
/// #     }
/// # }
/// use tower_floodgate::{config::SharedWindowConfig, shared::Away};
///
/// # fn main() -> Result<(), tower::BoxError> {
/// # let store = MyStore;
/// let mut config = SharedWindowConfig::new("github:search", "1000/1s".parse()?, Away::Closed);
/// config.max_share = Some(750);
/// let layer = config.try_layer(store)?;
/// let handle = layer.handle();
///
/// config.quota = "2000/1s".parse()?;
/// config.apply(&handle)?;
/// assert_eq!(handle.limit(), 2000);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct SharedWindowConfig {
    /// The name of the quota in the store. It cannot change at run time.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::quota_name"))]
    pub name: String,
    /// The limit and the window, over all processes.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::shared_quota"))]
    pub quota: Quota,
    /// The behaviour while the store is away. It cannot change at run time.
    #[cfg_attr(feature = "serde", serde(with = "away"))]
    pub away: Away,
    /// The most permits that this process leases in a window; `None` for the limit.
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "fields::max_share"))]
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_share: Option<u32>,
    /// Takes a state that is unknown or may have lost something for full. It cannot change at run
    /// time.
    #[cfg_attr(feature = "serde", serde(default))]
    pub strict: bool,
    /// The longest wait for a reply of the store. It cannot change at run time.
    #[cfg_attr(feature = "serde", serde(default = "store_timeout"))]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::store_timeout"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_fields::text"))]
    pub store_timeout: Duration,
    /// The largest number of requests that wait in this process.
    #[cfg_attr(feature = "serde", serde(default = "max_queue"))]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::max_queue_of_keys"))]
    pub max_queue: u32,
    /// The longest wait.
    #[cfg_attr(feature = "serde", serde(default = "max_wait"))]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "fields::longest_wait"))]
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_fields::text"))]
    pub max_wait: Duration,
}

#[cfg(feature = "serde")]
const fn store_timeout() -> Duration {
    quota::REQUEST_TIMEOUT
}

#[cfg(feature = "serde")]
const fn max_queue() -> u32 {
    MAX_QUEUE
}

#[cfg(feature = "serde")]
const fn max_wait() -> Duration {
    MAX_WAIT
}

impl SharedWindowConfig {
    /// Creates the settings of a quota with the defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, quota: Quota, away: Away) -> Self {
        Self {
            name: name.into(),
            quota,
            away,
            max_share: None,
            strict: false,
            store_timeout: quota::REQUEST_TIMEOUT,
            max_queue: MAX_QUEUE,
            max_wait: MAX_WAIT,
        }
    }

    /// Creates the quota of a store with these settings, without the bounds of the queue.
    ///
    /// # Errors
    ///
    /// If a setting is one at which [`SharedWindow`] would panic.
    pub fn try_quota(&self, store: impl Store) -> Result<SharedWindow, InvalidSetting> {
        let Self { quota, away, max_share, strict, store_timeout, .. } = *self;
        let (limit, window) = (quota.limit(), quota.window());
        let mut shared = SharedWindow::try_new(store, &*self.name, limit, window, away)?
            .try_store_timeout(store_timeout)?;
        if let Some(max_share) = max_share {
            shared = shared.try_max_share(max_share)?;
        }
        Ok(if strict { shared.strict() } else { shared })
    }

    /// Creates a layer with these settings.
    ///
    /// It rejects with a `BoxError`, by default: its methods choose another
    /// [reject policy](crate::reject).
    ///
    /// # Errors
    ///
    /// Those of [`try_quota`](Self::try_quota).
    pub fn try_layer(&self, store: impl Store) -> Result<SharedRateLimitLayer, InvalidSetting> {
        let layer = WindowRateLimitLayer::shared(self.try_quota(store)?);
        Ok(layer.max_queue(self.max_queue).max_wait(self.max_wait))
    }

    /// Checks whether [`apply`](Self::apply) may change a running limit to these settings, and
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// Those of `apply`.
    pub fn check(&self, handle: &SharedRateLimitHandle) -> Result<(), ApplyError> {
        let Self { quota, away, max_share, strict, store_timeout, .. } = *self;
        quota::window(quota.window())?;
        quota::away(away, quota.limit())?;
        max_share.map_or(Ok(0), |share| quota::max_share(share, quota.limit()))?;
        let running = handle.lasting();
        let name = Arc::from(&*self.name);
        keeps("name", &name, &running.name)?;
        keeps("away", &away, &running.away)?;
        keeps("strict", &strict, &running.is_strict)?;
        keeps("store_timeout", &store_timeout, &running.store_timeout)?;
        Ok(())
    }

    /// Changes a running limit to these settings: first limit, window and share in one step, for
    /// the leases of this process from now on, and then the bounds of its queue.
    ///
    /// Leases that were granted stay usable, and requests that wait keep their deadlines. The
    /// bounds replace those of all layers of the limit. Other processes keep their settings.
    ///
    /// # Errors
    ///
    /// If a setting is invalid, or another one than that of the running limit and cannot change:
    /// the name, `away`, `strict` or the timeout of a request. Nothing is changed then.
    pub fn apply(&self, handle: &SharedRateLimitHandle) -> Result<(), ApplyError> {
        self.check(handle)?;
        handle.configure(self.quota, self.max_share, self.max_queue, self.max_wait);
        Ok(())
    }
}

/// Checks that a setting is that of the running limit.
fn keeps<T: PartialEq + fmt::Debug>(
    field: &'static str,
    value: &T,
    running: &T,
) -> Result<(), InvalidSetting> {
    if value == running {
        return Ok(());
    }
    let expected = format!("{running:?}, as that of the running limit: it cannot change");
    Err(InvalidSetting::new(field, value, expected))
}
