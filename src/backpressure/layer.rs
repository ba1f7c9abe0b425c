use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{ConcurrencyBackpressure, ConcurrencyBackpressureHandle, limiter::ConcurrencyLimiter};
use crate::{
    macros::shared_by_layers,
    middleware::LimitLayer,
    per_service::Separate,
    reject::{NeverReject, RejectPolicy},
    settings::{self, InvalidSetting, literal},
};

/// Bounds the requests in flight and, by choice, the queue of waiters. See the
/// [module](crate::backpressure).
///
/// A layer has one limit. All services that it is put on, all their clones and all clones of the
/// layer share it. [`per_service`](Self::per_service) creates a limit for each service instead.
///
/// Clones of a layer may differ in their bounds and reject policies: `layer.clone().max_queue(0)`
/// shares the limit of `layer`, and rejects the requests that would wait.
///
/// A request that passes two services of one layer acquires two permits of its limit, by which
/// requests can block each other [for good](crate::backpressure#one-layer-twice-on-a-request).
#[derive(Clone)]
pub struct ConcurrencyBackpressureLayer<P = NeverReject>(
    pub(super) LimitLayer<ConcurrencyLimiter, P>,
);

impl ConcurrencyBackpressureLayer {
    /// Admits at most `max_in_flight` requests at a time; the others wait, in order of arrival.
    ///
    /// # Panics
    ///
    /// If `max_in_flight` is 0 or above 2<sup>31</sup> - 1.
    #[must_use]
    #[track_caller]
    pub fn new(max_in_flight: u32) -> Self {
        literal(Self::try_new(max_in_flight))
    }

    /// Creates a layer as [`new`](Self::new) does, for a value that may be invalid.
    ///
    /// # Errors
    ///
    /// Where `new` panics.
    pub fn try_new(max_in_flight: u32) -> Result<Self, InvalidSetting> {
        let max_in_flight = settings::permits("max_in_flight", max_in_flight)?;
        Ok(Self(LimitLayer::new(ConcurrencyLimiter::new(max_in_flight))))
    }
}

impl<P: RejectPolicy> ConcurrencyBackpressureLayer<P> {
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
    /// # let (limit, max_queue) = (tower_floodgate::ConcurrencyBackpressureLayer::new(5), Some(3));
    /// let mut layer = limit.reject_with_box_error();
    /// if let Some(max_queue) = max_queue {
    ///     layer = layer.max_queue(max_queue);
    /// }
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn max_queue(self, max_queue: u32) -> ConcurrencyBackpressureLayer<P::Bounded> {
        ConcurrencyBackpressureLayer(self.0.max_queue(max_queue))
    }

    /// Lets a request wait for at most `max_wait`, then rejects it as *wait timeout*.
    ///
    /// By default, the wait is unbounded. With this bound, waiting panics outside a tokio runtime
    /// with its timer enabled.
    ///
    /// A bound changes the [reject policy](crate::reject) from [`NeverReject`] to
    /// [`RejectWithBoxError`](crate::reject::RejectWithBoxError), and keeps any other.
    ///
    /// Inside a retry, the rejection is retried as any error, by default. A
    /// [`DeadlineLayer`](crate::DeadlineLayer) outermost bounds the whole call.
    #[must_use]
    pub fn max_wait(self, max_wait: Duration) -> ConcurrencyBackpressureLayer<P::Bounded> {
        ConcurrencyBackpressureLayer(self.0.max_wait(max_wait))
    }

    shared_by_layers!(ConcurrencyBackpressureLayer);

    /// Returns a handle that reads, changes and closes the limit.
    ///
    /// It can [close](ConcurrencyBackpressureHandle::close) the limit if every layer of the limit
    /// has a bound or a reject policy. A layer without bounds gets one by
    /// [`reject_with_box_error`](Self::reject_with_box_error).
    #[must_use]
    pub fn handle(&self) -> ConcurrencyBackpressureHandle {
        ConcurrencyBackpressureHandle::new(Arc::clone(self.0.limiter()), self.0.limits())
    }
}

impl<P: Clone> Separate for ConcurrencyBackpressureLayer<P> {
    fn separate(&self) -> Self {
        Self(self.0.separate())
    }
}

/// # Panics
///
/// If the layer has no [reject policy](crate::reject), and the limit is closed, so that no request
/// of the service would ever end, or was bounded by a handle.
impl<P: RejectPolicy, S> Layer<S> for ConcurrencyBackpressureLayer<P> {
    type Service = ConcurrencyBackpressure<S, P>;

    #[track_caller]
    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner)
    }
}

impl<P: fmt::Debug> fmt::Debug for ConcurrencyBackpressureLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
