use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use super::Snapshot;
#[cfg(feature = "shared-keys")]
use crate::shared::SharedKeysHandle;
use crate::{
    backpressure::ConcurrencyBackpressureHandle, keyed::RuleHandle,
    rate_limit::WindowRateLimitHandle, retry::ExponentialRetryHandle,
    shared::SharedRateLimitHandle,
};

/// A handle of any limit.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Handle {
    /// Of a concurrency limit.
    Concurrency(ConcurrencyBackpressureHandle),
    /// Of a rate limit.
    Window(WindowRateLimitHandle),
    /// Of a retry policy.
    Retry(ExponentialRetryHandle),
    /// Of a rule of a keyed limit.
    Rule(RuleHandle),
    /// Of a rate limit that many processes share.
    Shared(SharedRateLimitHandle),
    /// Of the rate limits of keys that many processes share.
    #[cfg(feature = "shared-keys")]
    SharedKeys(SharedKeysHandle),
}

impl Handle {
    /// Returns the state and the counts of this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        match self {
            Self::Concurrency(handle) => Snapshot::Concurrency(handle.snapshot()),
            Self::Window(handle) => Snapshot::Window(handle.snapshot()),
            Self::Retry(handle) => Snapshot::Retry(handle.snapshot()),
            Self::Rule(handle) => Snapshot::Rule(handle.snapshot()),
            Self::Shared(handle) => Snapshot::Shared(handle.snapshot()),
            #[cfg(feature = "shared-keys")]
            Self::SharedKeys(handle) => Snapshot::SharedKeys(handle.snapshot()),
        }
    }

    #[cfg(feature = "metrics")]
    fn register_metrics(&self) {
        match self {
            Self::Concurrency(handle) => handle.register_metrics(),
            Self::Window(handle) => handle.register_metrics(),
            Self::Retry(handle) => handle.register_metrics(),
            Self::Rule(handle) => handle.register_metrics(),
            Self::Shared(handle) => handle.register_metrics(),
            #[cfg(feature = "shared-keys")]
            Self::SharedKeys(handle) => handle.register_metrics(),
        }
    }
}

impl From<ConcurrencyBackpressureHandle> for Handle {
    fn from(handle: ConcurrencyBackpressureHandle) -> Self {
        Self::Concurrency(handle)
    }
}

impl From<WindowRateLimitHandle> for Handle {
    fn from(handle: WindowRateLimitHandle) -> Self {
        Self::Window(handle)
    }
}

impl From<ExponentialRetryHandle> for Handle {
    fn from(handle: ExponentialRetryHandle) -> Self {
        Self::Retry(handle)
    }
}

impl From<RuleHandle> for Handle {
    fn from(handle: RuleHandle) -> Self {
        Self::Rule(handle)
    }
}

impl From<SharedRateLimitHandle> for Handle {
    fn from(handle: SharedRateLimitHandle) -> Self {
        Self::Shared(handle)
    }
}

#[cfg(feature = "shared-keys")]
impl From<SharedKeysHandle> for Handle {
    fn from(handle: SharedKeysHandle) -> Self {
        Self::SharedKeys(handle)
    }
}

/// A set of limits that are observed together. Clones share the set.
#[derive(Clone, Default)]
pub struct Limits {
    handles: Arc<Mutex<Vec<Handle>>>,
}

impl Limits {
    /// Creates an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a limit to the set, behind those added before.
    pub fn add(&self, handle: impl Into<Handle>) {
        self.lock().push(handle.into());
    }

    /// Returns the handles, in the order of their addition.
    #[must_use]
    pub fn handles(&self) -> Vec<Handle> {
        self.lock().clone()
    }

    /// Returns a snapshot of each limit, in the order of their addition.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.handles().iter().map(Handle::snapshot).collect()
    }

    /// Records the gauges of the limits that have names, `floodgate_requests_issued_total`, the
    /// balance of the budgets of policies, the metrics of rules other than their rejections, and
    /// the counts between a shared limit and its store.
    ///
    /// A gauge shows the last value that was recorded, so call this when the metrics are read: in
    /// the handler of a scrape, or before each export. See the [table](super#metrics). Several
    /// limits of one kind and name are added up; times are those of the greatest. Of retry policies
    /// of one name, the balances of the budgets are added up, each once, however many policies
    /// share it. Of a rule, each slot is looked at, and of a shared quota for each key, each key that
    /// is kept.
    ///
    /// The metrics of events need no call. If they have not been registered yet, because the
    /// recorder was installed after the limits were named and no event has happened since, they
    /// are registered here, and begin at zero.
    #[cfg(feature = "metrics")]
    pub fn record_metrics(&self) {
        let handles = self.handles();
        handles.iter().for_each(Handle::register_metrics);
        let snapshots: Vec<_> = handles.iter().map(Handle::snapshot).collect();
        super::gauges::record(&snapshots);
        super::gauges::record_balances(&handles);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Handle>> {
        // A push leaves the list whole, whatever panics.
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Into<Handle>> FromIterator<H> for Limits {
    fn from_iter<I: IntoIterator<Item = H>>(handles: I) -> Self {
        let handles = handles.into_iter().map(Into::into).collect();
        Self { handles: Arc::new(Mutex::new(handles)) }
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.handles()).finish()
    }
}
