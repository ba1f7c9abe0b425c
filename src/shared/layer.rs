use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    SharedWindow, group::Group, handle::SharedRateLimitHandle, limiter::SharedLimiter,
    observed::Observed, service::SharedRateLimit,
};
use crate::{
    Rejected, WindowRateLimitLayer,
    limiter::QueueLimits,
    reject::{RejectWith, RejectWithBoxError, RejectWithError},
    settings::{InvalidSetting, literal},
    time::Clock,
};

/// The bounds by default.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(30);
pub(crate) const MAX_QUEUE: u32 = 10_000;

impl WindowRateLimitLayer {
    /// Bounds the requests that all processes of a fleet issue in a window of time, through a store
    /// such as Redis. See [`shared`](crate::shared).
    #[must_use]
    pub fn shared(quota: SharedWindow) -> SharedRateLimitLayer {
        SharedRateLimitLayer::new(quota)
    }
}

/// Bounds the requests that many processes issue in a window of time. See the
/// [module](crate::shared).
///
/// Made by [`WindowRateLimitLayer::shared`]. All services that it is put on, all their clones and
/// all clones of the layer share one pool of permits, and one driver that talks to the store. Two
/// layers of one quota count as two processes: each has its permits and its driver.
///
/// The inner service has to be `Clone`. Its service is always ready: `LoadShed` around it never
/// sheds, and a concurrency limit around it holds its permit while a request waits here. Put it
/// inside of a retry, so that each attempt counts.
///
/// # Panics
///
/// A request that finds no permit panics outside a tokio runtime with its timer enabled, and in one
/// that is shut down.
#[derive(Clone)]
pub struct SharedRateLimitLayer<P = RejectWithBoxError> {
    limiter: Arc<SharedLimiter>,
    limits: QueueLimits,
    policy: P,
}

impl SharedRateLimitLayer {
    fn new(quota: SharedWindow) -> Self {
        let mut limits = QueueLimits::NONE;
        limits.set_max_queue(Some(MAX_QUEUE));
        limits.set_max_wait(Some(MAX_WAIT));
        let observed = Arc::new(Observed::of_quota(&quota.name));
        let group = Arc::new(Group::new(Clock::start()));
        let limiter = Arc::new(SharedLimiter::new(quota, group, observed));
        Self { limiter, limits, policy: RejectWithBoxError }
    }
}

impl<P> SharedRateLimitLayer<P> {
    /// Lets at most this many requests wait in this process, those included that wait for a reply
    /// of the store. The next is rejected as *queue full*. By default, 10,000.
    ///
    /// With 0, requests wait for one reply of the store at most, as with a
    /// [`max_wait`](Self::max_wait) of zero.
    #[must_use]
    pub fn max_queue(mut self, max_queue: u32) -> Self {
        self.limits.set_max_queue(Some(max_queue));
        self
    }

    /// Lets a request wait up to `max_wait`. By default, 30 s.
    ///
    /// A request that finds no permit at hand learns from the next reply of the store when there is
    /// one, and is rejected then if that is later. So with zero, a request waits for one reply of
    /// the store at most, up to the [timeout](SharedWindow::store_timeout) of a request.
    /// [`Duration::MAX`] is no bound: while the store is away, requests may wait without end then.
    ///
    /// For a server, zero fits. For a client, the time that its caller has, and at least two
    /// windows if the fleet asks for more than the limit, or 1.4 windows with
    /// [`strict`](SharedWindow::strict). A [deadline](crate::DeadlineLayer) of the request bounds
    /// the wait, too.
    #[must_use]
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.limits.set_max_wait(Some(max_wait));
        self
    }

    /// Names the limit in metrics, traces and snapshots, and observes each admission.
    ///
    /// # Panics
    ///
    /// If `name` is empty, or the limit has another one.
    #[must_use]
    #[track_caller]
    pub fn name(self, name: impl Into<Arc<str>>) -> Self {
        literal(self.try_name(name))
    }

    /// Names the limit as [`name`](Self::name) does, for a text that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `name` panics.
    pub fn try_name(self, name: impl Into<Arc<str>>) -> Result<Self, InvalidSetting> {
        self.limiter.set_name(name.into())?;
        Ok(self)
    }

    /// Rejects with the error `E`, into which the errors of the inner service are made, too. See
    /// [`RejectWithError`].
    #[must_use]
    pub fn reject_with_error<E>(self) -> SharedRateLimitLayer<RejectWithError<E>> {
        let Self { limiter, limits, .. } = self;
        SharedRateLimitLayer { limiter, limits, policy: RejectWithError::new() }
    }

    /// Rejects with a response made by `respond`. The types of the error and the response stay
    /// those of the inner service. See [`RejectWith`].
    #[must_use]
    pub fn reject_with<F, Response>(self, respond: F) -> SharedRateLimitLayer<RejectWith<F>>
    where
        F: Fn(Rejected) -> Response + Clone,
    {
        let Self { limiter, limits, .. } = self;
        SharedRateLimitLayer { limiter, limits, policy: RejectWith::new(respond) }
    }

    /// Returns a handle that reads and changes the limit.
    #[must_use]
    pub fn handle(&self) -> SharedRateLimitHandle {
        SharedRateLimitHandle::new(Arc::clone(&self.limiter), self.limits)
    }
}

impl<P: Clone, S> Layer<S> for SharedRateLimitLayer<P> {
    type Service = SharedRateLimit<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        SharedRateLimit::new(inner, Arc::clone(&self.limiter), self.limits, self.policy.clone())
    }
}

impl<P: fmt::Debug> fmt::Debug for SharedRateLimitLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("SharedRateLimitLayer");
        self.limiter.fmt_settings(&mut fields);
        self.limits.fmt_fields(&mut fields);
        fields.field("policy", &self.policy).finish()
    }
}
