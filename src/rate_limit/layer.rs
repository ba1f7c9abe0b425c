use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{WindowRateLimit, WindowRateLimitHandle, limiter::RateLimiter, window::Shape};
use crate::{
    macros::shared_by_layers,
    middleware::LimitLayer,
    per_service::Separate,
    quota::Quota,
    reject::{NeverReject, RejectPolicy},
    settings::{InvalidSetting, literal},
};

/// Bounds the requests issued in a window of time. See the [module](crate::rate_limit).
///
/// A layer has one limit. All services that it is put on, all their clones and all clones of the
/// layer share it. [`per_service`](Self::per_service) creates a limit for each service instead.
///
/// Clones of a layer may differ in their bounds and reject policies: `layer.clone().max_queue(0)`
/// shares the limit of `layer`, and rejects the requests that would wait.
///
/// A request that passes two services of one layer
/// [counts twice](crate::rate_limit#one-layer-twice-on-a-request).
#[derive(Clone)]
pub struct WindowRateLimitLayer<P = NeverReject>(LimitLayer<RateLimiter, P>);

impl WindowRateLimitLayer {
    /// **Sliding**: issues at most `limit` requests in any half-open span of length `window`.
    ///
    /// The others wait, in order of arrival. Waiting panics outside a tokio runtime with its timer
    /// enabled, and in one that is shut down.
    ///
    /// # Panics
    ///
    /// If `limit` is 0 or above 2<sup>31</sup> - 1, or `window` is zero or longer than 100 years.
    #[must_use]
    #[track_caller]
    pub fn new(limit: u32, window: Duration) -> Self {
        literal(Self::try_new(limit, window))
    }

    /// Creates a layer as [`new`](Self::new) does, for values that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(limit: u32, window: Duration) -> Result<Self, InvalidSetting> {
        Quota::try_new(limit, window).map(Self::with_quota)
    }

    /// **Fixed**: issues at most `limit` requests in each window of a grid.
    ///
    /// The grid begins when the layer is created, and does not drift. Around a boundary, up to
    /// twice `limit` are issued in a span shorter than `window`. The grid is not that of a server,
    /// so use [`new`](Self::new) to obey a server's quota. It costs the same.
    ///
    /// # Panics
    ///
    /// If `limit` is 0 or above 2<sup>31</sup> - 1, or `window` is zero or longer than 100 years.
    #[must_use]
    #[track_caller]
    pub fn fixed(limit: u32, window: Duration) -> Self {
        literal(Self::try_fixed(limit, window))
    }

    /// Creates a layer as [`fixed`](Self::fixed) does, for values that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `fixed` panics.
    pub fn try_fixed(limit: u32, window: Duration) -> Result<Self, InvalidSetting> {
        Quota::try_new(limit, window).map(Self::fixed_with_quota)
    }

    /// **Sliding**: creates a layer as [`new`](Self::new) does, with the limit and the window of
    /// `quota`.
    ///
    /// ```
    /// use tower_floodgate::WindowRateLimitLayer;
    ///
    /// # fn main() -> Result<(), tower_floodgate::ParseQuotaError> {
    /// let layer = WindowRateLimitLayer::with_quota("100 per minute".parse()?);
    /// assert_eq!(layer.handle().limit(), 100);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_quota(quota: Quota) -> Self {
        Self::of(Shape::Sliding, quota)
    }

    /// **Fixed**: creates a layer as [`fixed`](Self::fixed) does, with the limit and the window of
    /// `quota`.
    #[must_use]
    pub fn fixed_with_quota(quota: Quota) -> Self {
        Self::of(Shape::Fixed, quota)
    }

    fn of(shape: Shape, quota: Quota) -> Self {
        Self(LimitLayer::new(RateLimiter::new(shape, quota.limit(), quota.window())))
    }
}

impl<P: RejectPolicy> WindowRateLimitLayer<P> {
    /// Lets at most `max_queue` requests wait; the next is rejected as *queue full*.
    ///
    /// With 0, no request waits. By default, the queue is unbounded.
    ///
    /// A bound changes the [reject policy](crate::reject) from [`NeverReject`] to
    /// [`RejectWithBoxError`](crate::reject::RejectWithBoxError), and keeps any other.
    ///
    /// Inside a retry, the rejection is retried as any error, by default. A
    /// [`DeadlineLayer`](crate::DeadlineLayer) outermost bounds the whole call.
    ///
    /// For a bound that may be absent, set the reject policy first; then the type stays:
    ///
    /// ```
    /// # let (limit, max_queue) = (tower_floodgate::WindowRateLimitLayer::new(5, std::time::Duration::from_secs(1)), Some(3));
    /// let mut layer = limit.reject_with_box_error();
    /// if let Some(max_queue) = max_queue {
    ///     layer = layer.max_queue(max_queue);
    /// }
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn max_queue(self, max_queue: u32) -> WindowRateLimitLayer<P::Bounded> {
        WindowRateLimitLayer(self.0.max_queue(max_queue))
    }

    /// Rejects a request as *wait timeout* if it cannot be issued within `max_wait`.
    ///
    /// It is rejected at once, because the time of its turn is known when it arrives. By default,
    /// the wait is unbounded. A [deadline](crate::deadline) of the request counts, too.
    ///
    /// The turn of a waiter can be delayed: by a pause, by a lowered limit, or by requests before
    /// it that are ready and not called. The waiter is then rejected when it is polled next, at the
    /// latest after `max_wait`.
    ///
    /// A bound changes the [reject policy](crate::reject) from [`NeverReject`] to
    /// [`RejectWithBoxError`](crate::reject::RejectWithBoxError), and keeps any other.
    ///
    /// Inside a retry, the rejection is retried as any error, by default. A
    /// [`DeadlineLayer`](crate::DeadlineLayer) outermost bounds the whole call.
    #[must_use]
    pub fn max_wait(self, max_wait: Duration) -> WindowRateLimitLayer<P::Bounded> {
        WindowRateLimitLayer(self.0.max_wait(max_wait))
    }

    shared_by_layers!(WindowRateLimitLayer);

    /// Returns a handle that reads, changes, pauses and closes the limit.
    ///
    /// It can [close](WindowRateLimitHandle::close) the limit if every layer of the limit has a
    /// bound or a reject policy. A layer without bounds gets one by
    /// [`reject_with_box_error`](Self::reject_with_box_error).
    #[must_use]
    pub fn handle(&self) -> WindowRateLimitHandle {
        WindowRateLimitHandle::new(Arc::clone(self.0.limiter()), self.0.limits())
    }
}

/// Creates a sliding window, as [`with_quota`](WindowRateLimitLayer::with_quota) does.
impl From<Quota> for WindowRateLimitLayer {
    fn from(quota: Quota) -> Self {
        Self::with_quota(quota)
    }
}

impl<P: Clone> Separate for WindowRateLimitLayer<P> {
    fn separate(&self) -> Self {
        Self(self.0.separate())
    }
}

/// # Panics
///
/// If the layer has no [reject policy](crate::reject), and the limit is closed, so that no request
/// of the service would ever end, or was bounded by a handle.
impl<P: RejectPolicy, S> Layer<S> for WindowRateLimitLayer<P> {
    type Service = WindowRateLimit<S, P>;

    #[track_caller]
    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner)
    }
}

impl<P: fmt::Debug> fmt::Debug for WindowRateLimitLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
