//! The settings of a shared quota.

use std::{fmt, sync::Arc, time::Duration};

use super::{Away, Store, agent::Terms, store::AnyStore};
use crate::settings::{self, InvalidSetting, literal};

/// The shortest window: with a shorter one, most leases would lapse before they are used.
const MIN_WINDOW: Duration = Duration::from_millis(100);
/// The longest window.
const MAX_WINDOW: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The longest name, in bytes.
const MAX_NAME: usize = 200;
/// The request timeout by default.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_millis(100);
const MAX_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A quota that many processes share, through a [store](Store): at most `limit` requests in any
/// span of `window`, over all of them.
///
/// ```
/// # use tower_floodgate::shared::{Store, StoreError};
/// use std::time::Duration;
/// use tower_floodgate::{WindowRateLimitLayer, shared::{Away, SharedWindow}};
///
/// # struct MyStore;
/// # impl Store for MyStore {
/// #     async fn acquire(&self, _: &str, _: &[i64]) -> Result<Vec<i64>, StoreError> {
/// #         Err(StoreError::new("io"))
/// #     }
/// # }
/// # let store = MyStore;
/// let second = Duration::from_secs(1);
/// let quota = SharedWindow::new(store, "github:search", 1000, second, Away::Closed)
///     .max_share(750) // this process leases no more in any second
///     .strict();
/// let layer = WindowRateLimitLayer::shared(quota).max_wait(Duration::from_secs(5));
/// # let _ = layer;
/// ```
///
/// All processes that name the same quota of the same store share it, and state the same limit and
/// window. Nothing is sent to the store before the first request of a service, and no task runs.
#[derive(Clone)]
pub struct SharedWindow {
    pub(super) store: Arc<dyn AnyStore>,
    pub(super) name: Arc<str>,
    pub(super) terms: Terms,
    pub(super) away: Away,
    pub(super) store_timeout: Duration,
}

impl SharedWindow {
    /// Creates the quota `name` of a store, and states the behaviour while the store is away.
    ///
    /// # Panics
    ///
    /// - If `limit` is 0 or above 2<sup>31</sup> - 1.
    /// - If `window` is shorter than 100 ms or longer than 30 days.
    /// - If `name` is empty or longer than 200 bytes.
    /// - If the `processes` of [`Away::Share`] are 0 or more than `limit`.
    #[must_use]
    #[track_caller]
    pub fn new(
        store: impl Store,
        name: impl Into<Arc<str>>,
        limit: u32,
        window: Duration,
        away: Away,
    ) -> Self {
        literal(Self::try_new(store, name, limit, window, away))
    }

    /// Creates a quota as [`new`](Self::new) does, for values that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(
        store: impl Store,
        name: impl Into<Arc<str>>,
        limit: u32,
        window: Duration,
        away: Away,
    ) -> Result<Self, InvalidSetting> {
        let name = self::name(name.into())?;
        let limit = settings::permits("limit", limit)?;
        let window = self::window(window)?;
        let away = self::away(away, limit)?;
        Ok(Self {
            store: Arc::new(store),
            name,
            terms: Terms { limit, window, max_share: limit, is_strict: false },
            away,
            store_timeout: REQUEST_TIMEOUT,
        })
    }

    /// Lets this process lease at most `max_share` permits in any window. By default, the limit.
    ///
    /// A process that takes all it can get empties the window in a burst, and others wait for the
    /// next one. With a share below the limit, the rest is there for them at any time; what they do
    /// not use stays unused.
    ///
    /// # Panics
    ///
    /// If `max_share` is 0 or above the limit.
    #[must_use]
    #[track_caller]
    pub fn max_share(self, max_share: u32) -> Self {
        literal(self.try_max_share(max_share))
    }

    /// Sets the share as [`max_share`](Self::max_share) does, for a value that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `max_share` panics.
    pub fn try_max_share(mut self, max_share: u32) -> Result<Self, InvalidSetting> {
        self.terms.max_share = self::max_share(max_share, self.terms.limit)?;
        Ok(self)
    }

    /// Counts a state that is unknown, or may have lost leases, as full, so that the limit holds
    /// through a loss. By default, up to twice the limit may be issued in the window of a loss.
    ///
    /// All processes have to set it: the store does not compare it. After each loss, after each
    /// start of the server, and at the first use of the quota, the next permits are leased 1.4
    /// windows later: a day and a half for a window of a day. Requests with a shorter `max_wait`
    /// are rejected until then.
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.terms.is_strict = true;
        self
    }

    /// Waits up to `timeout` for a reply of the store. By default, 100 ms.
    ///
    /// After that, the store is [away](Away). A reply that comes later brings no permit. Set it to
    /// at least four round trips: the first request after a start of the server may take two. With
    /// a longer timeout, an outage is noticed later, and requests wait as long.
    ///
    /// # Panics
    ///
    /// If `timeout` is zero or longer than 10 s.
    #[must_use]
    #[track_caller]
    pub fn store_timeout(self, timeout: Duration) -> Self {
        literal(self.try_store_timeout(timeout))
    }

    /// Sets the timeout as [`store_timeout`](Self::store_timeout) does, for a value that may be
    /// invalid.
    ///
    /// # Errors
    ///
    /// Where `store_timeout` panics.
    pub fn try_store_timeout(mut self, timeout: Duration) -> Result<Self, InvalidSetting> {
        self.store_timeout = self::store_timeout(timeout)?;
        Ok(self)
    }
}

/// Checks the name of a quota.
pub(crate) fn name(name: Arc<str>) -> Result<Arc<str>, InvalidSetting> {
    if name.is_empty() || name.len() > MAX_NAME {
        let expected = format!("a text of 1 to {MAX_NAME} bytes");
        return Err(InvalidSetting::new("name", name, expected));
    }
    Ok(name)
}

/// Checks the number of processes that have a share of `limit`.
pub(crate) fn away(away: Away, limit: u32) -> Result<Away, InvalidSetting> {
    match away {
        Away::Share { processes } if processes == 0 || processes > limit => {
            let expected =
                format!("between 1 and the limit, {limit}: each process has a share of it");
            Err(InvalidSetting::new("processes", processes, expected))
        }
        away => Ok(away),
    }
}

/// Checks the share of a process in `limit`.
pub(crate) fn max_share(max_share: u32, limit: u32) -> Result<u32, InvalidSetting> {
    if max_share == 0 || max_share > limit {
        let expected = format!("between 1 and the limit, {limit}");
        return Err(InvalidSetting::new("max_share", max_share, expected));
    }
    Ok(max_share)
}

/// Checks the timeout of a request to the store.
pub(crate) fn store_timeout(timeout: Duration) -> Result<Duration, InvalidSetting> {
    if timeout.is_zero() || timeout > MAX_REQUEST_TIMEOUT {
        let expected = "longer than zero and at most 10s";
        return Err(InvalidSetting::new("store_timeout", timeout, expected));
    }
    Ok(timeout)
}

/// Checks the length of a window.
pub(crate) fn window(window: Duration) -> Result<Duration, InvalidSetting> {
    if window < MIN_WINDOW || window > MAX_WINDOW {
        let expected = "at least 100ms and at most 30 days: leases of a shorter one lapse unused";
        return Err(InvalidSetting::new("window", window, expected));
    }
    Ok(window)
}

impl fmt::Debug for SharedWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedWindow")
            .field("name", &self.name)
            .field("limit", &self.terms.limit)
            .field("window", &self.terms.window)
            .field("max_share", &self.terms.max_share)
            .field("is_strict", &self.terms.is_strict)
            .field("away", &self.away)
            .field("store_timeout", &self.store_timeout)
            .finish_non_exhaustive()
    }
}
