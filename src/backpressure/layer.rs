use std::{fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    ByRequestLayer, ConcurrencyBackpressure, ConcurrencyBackpressureHandle, TermsLayer,
    limiter::ConcurrencyLimiter,
};
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
    /// A request whose wait is [known to be longer](crate::backpressure#predicted-waits) is
    /// rejected at once, with the time after which it would not be.
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

    /// Reads the deadline and the class of each request by `read`, and admits it on these
    /// [terms](super::Terms).
    ///
    /// For servers. `read` is a `Fn(&Request) -> Terms` with an annotated argument. It is called
    /// before anything is acquired, so its panic leaks nothing. A deadline counts from the call.
    /// The [current deadline](crate::deadline::current) holds as well; the earlier one counts.
    ///
    /// **The service is always ready**, and its request waits in the call: the terms are not known
    /// before. The inner service is cloned for each request, as servers do, and driven ready once
    /// the request has its permit. If the deadline passes before it is, the permit is released and
    /// the request is rejected.
    ///
    /// Changes the [reject policy](crate::reject) as a bound does. Set bounds before, because the
    /// layer that is returned has no `max_queue` and no `max_wait`; name and reject policy may be
    /// set after as well.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::Request;
    /// use tower_floodgate::{
    ///     ConcurrencyBackpressureLayer,
    ///     backpressure::{Class, Terms},
    /// };
    ///
    /// let layer = ConcurrencyBackpressureLayer::new(40).max_queue(200).by_request(
    ///     |request: &Request<String>| {
    ///         let is_checkout = request.uri().path().starts_with("/checkout");
    ///         Terms::new()
    ///             .deadline(Duration::from_millis(500))
    ///             .class(if is_checkout { Class::Critical } else { Class::Normal })
    ///     },
    /// );
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn by_request<F>(self, read: F) -> ByRequestLayer<F, P::Bounded> {
        ByRequestLayer::new(self.0, read)
    }

    /// Admits requests on [terms](super::Terms) that are set on a service before it is polled
    /// ready.
    ///
    /// For clients: see [`terms`](super::TermsBackpressure::terms). A request waits in
    /// `poll_ready`, so a caller at the limit is held back.
    ///
    /// Changes the [reject policy](crate::reject) as a bound does. Set bounds before, because the
    /// layer that is returned has no `max_queue` and no `max_wait`; name and reject policy may be
    /// set after as well.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower::{Layer, Service, ServiceExt, service_fn};
    /// use tower_floodgate::{ConcurrencyBackpressureLayer, Rejected, backpressure::Terms};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// let client = ConcurrencyBackpressureLayer::new(1).with_terms().layer(service_fn(
    ///     |n: u32| async move {
    ///         tokio::time::sleep(Duration::from_secs(1)).await;
    ///         Ok::<_, std::io::Error>(n)
    ///     },
    /// ));
    /// let busy = tokio::spawn(client.clone().oneshot(1));
    /// tokio::task::yield_now().await;
    ///
    /// let mut client = client.clone();
    /// client.terms(Terms::new().deadline(Duration::from_millis(250))); // before it is ready
    /// let error = client.ready().await?.call(2).await.unwrap_err();
    /// assert!(Rejected::find(&*error).unwrap().is_too_late());
    /// # busy.await??;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_terms(self) -> TermsLayer<P::Bounded> {
        TermsLayer::new(self.0)
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
