use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{SharedKeyedWindow, SharedKeysHandle, limiters::Limiters, service::SharedKeyedLimit};
use crate::{
    Rejected,
    keyed::{KeyedLimitLayer, WithoutKey},
    limiter::QueueLimits,
    reject::{RejectWith, RejectWithBoxError, RejectWithError},
    settings::{InvalidSetting, literal},
};

/// The bounds by default.
const MAX_WAIT: Duration = Duration::from_secs(30);
const MAX_QUEUE: u32 = 100;

impl KeyedLimitLayer<()> {
    /// Bounds the requests of each key that all processes of a fleet issue in a window of time,
    /// through a store such as Redis. See [`shared`](crate::shared#a-quota-for-each-key).
    #[must_use]
    pub fn shared<K>(window: SharedKeyedWindow, key: K) -> SharedKeyedLimitLayer<K> {
        SharedKeyedLimitLayer::new(window, key)
    }
}

/// Bounds the requests of each key that many processes issue in a window of time.
///
/// Made by [`KeyedLimitLayer::shared`]. All services that it is put on, all their clones and all
/// clones of the layer share one state.
///
/// ```
/// # use tower_floodgate::shared::{Store, StoreError};
/// # struct MyStore;
/// # impl Store for MyStore {
/// #     async fn acquire(&self, _: &str, _: &[i64]) -> Result<Vec<i64>, StoreError> {
/// #         Err(StoreError::new("io"))
/// #     }
/// # }
/// # let store = MyStore;
/// use std::time::Duration;
/// use http::Request;
/// use tower_floodgate::{
///     keyed::{Header, KeyedLimitLayer},
///     server::http_rejection,
///     shared::{Away, SharedKeyedWindow},
/// };
///
/// let share = Away::Share { processes: 8 };
/// let tenants = SharedKeyedWindow::new(store, "api", 100, Duration::from_secs(60), share);
/// let layer = KeyedLimitLayer::shared(tenants, Header::named("x-tenant"))
///     .max_wait(Duration::ZERO) // reject what would wait
///     .reject_with(http_rejection::<String>);
/// # let _ = layer;
/// ```
pub struct SharedKeyedLimitLayer<K, P = RejectWithBoxError> {
    limiters: Arc<Limiters>,
    key: Arc<K>,
    limits: QueueLimits,
    without_key: WithoutKey,
    policy: P,
}

impl<K> SharedKeyedLimitLayer<K> {
    fn new(window: SharedKeyedWindow, key: K) -> Self {
        let mut limits = QueueLimits::NONE;
        limits.set_max_queue(Some(MAX_QUEUE));
        limits.set_max_wait(Some(MAX_WAIT));
        Self {
            limiters: Arc::new(Limiters::new(window)),
            key: Arc::new(key),
            limits,
            without_key: WithoutKey::default(),
            policy: RejectWithBoxError,
        }
    }
}

impl<K, P> SharedKeyedLimitLayer<K, P> {
    /// Lets at most this many requests of a key wait in this process, those included that wait for
    /// a reply of the store. The next is rejected as *queue full*. By default, 100.
    ///
    /// A burst above this is rejected, although the quota may be free. With 0, requests wait for
    /// one reply of the store at most, as with a [`max_wait`](Self::max_wait) of zero.
    #[must_use]
    pub fn max_queue(mut self, max_queue: u32) -> Self {
        self.limits.set_max_queue(Some(max_queue));
        self
    }

    /// Lets a request wait up to `max_wait`. By default, 30 s.
    ///
    /// With zero, a request waits for one reply of the store at most: see
    /// [`SharedRateLimitLayer::max_wait`](crate::shared::SharedRateLimitLayer::max_wait).
    #[must_use]
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.limits.set_max_wait(Some(max_wait));
        self
    }

    /// Names the limits in metrics, traces and snapshots, and observes each admission. The keys
    /// have one name, and their events are counted together.
    ///
    /// # Panics
    ///
    /// If `name` is empty, or the limits have another one.
    #[must_use]
    #[track_caller]
    pub fn name(self, name: impl Into<Arc<str>>) -> Self {
        literal(self.try_name(name))
    }

    /// Names the limits as [`name`](Self::name) does, for a text that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `name` panics.
    pub fn try_name(self, name: impl Into<Arc<str>>) -> Result<Self, InvalidSetting> {
        self.limiters.observed().set_name(name.into())?;
        Ok(self)
    }

    /// Decides on requests without a key. By default, they share a quota of their own.
    #[must_use]
    pub const fn without_key(mut self, without_key: WithoutKey) -> Self {
        self.without_key = without_key;
        self
    }

    /// Rejects with the error `E`, into which the errors of the inner service are made, too. See
    /// [`RejectWithError`].
    #[must_use]
    pub fn reject_with_error<E>(self) -> SharedKeyedLimitLayer<K, RejectWithError<E>> {
        self.with_policy(RejectWithError::new())
    }

    /// Rejects with a response made by `respond`. The types of the error and the response stay
    /// those of the inner service. See [`RejectWith`].
    #[must_use]
    pub fn reject_with<F, Response>(self, respond: F) -> SharedKeyedLimitLayer<K, RejectWith<F>>
    where
        F: Fn(Rejected) -> Response + Clone,
    {
        self.with_policy(RejectWith::new(respond))
    }

    fn with_policy<Q>(self, policy: Q) -> SharedKeyedLimitLayer<K, Q> {
        let Self { limiters, key, limits, without_key, .. } = self;
        SharedKeyedLimitLayer { limiters, key, limits, without_key, policy }
    }

    /// Returns a handle that finds and reads the limits of the keys.
    #[must_use]
    pub fn handle(&self) -> SharedKeysHandle {
        SharedKeysHandle::new(Arc::clone(&self.limiters), self.limits)
    }
}

impl<K, P: Clone, S> Layer<S> for SharedKeyedLimitLayer<K, P> {
    type Service = SharedKeyedLimit<S, K, P>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { limiters, key, limits, without_key, policy } = self;
        SharedKeyedLimit::new(
            inner,
            Arc::clone(limiters),
            Arc::clone(key),
            *limits,
            *without_key,
            policy.clone(),
        )
    }
}

impl<K, P: Clone> Clone for SharedKeyedLimitLayer<K, P> {
    fn clone(&self) -> Self {
        let Self { limiters, key, limits, without_key, policy } = self;
        Self {
            limiters: Arc::clone(limiters),
            key: Arc::clone(key),
            limits: *limits,
            without_key: *without_key,
            policy: policy.clone(),
        }
    }
}

impl<K, P: fmt::Debug> fmt::Debug for SharedKeyedLimitLayer<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("SharedKeyedLimitLayer");
        fields.field("window", self.limiters.window());
        self.limits.fmt_fields(&mut fields);
        fields.field("without_key", &self.without_key).field("policy", &self.policy).finish()
    }
}
