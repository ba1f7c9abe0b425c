use std::{fmt, sync::Arc, time::Duration};

use super::{ConcurrencySnapshot, limiter::ConcurrencyLimiter};
use crate::{
    limiter::{
        BoundError, CloseError, Closed, Drained, Limiter, QueueLimits, RejectedByClass,
        RejectedCounts,
    },
    macros::bounds_of_handle,
    middleware::Limited,
    settings::InvalidSetting,
};

/// Reads, changes and closes the limit of a
/// [`ConcurrencyBackpressureLayer`](super::ConcurrencyBackpressureLayer).
///
/// Cheap to clone. All clones, the layer and its services share one limit. Each reading is of one
/// moment. At the limit, it takes a mutex that calls take only while requests wait or a
/// [`drained`](ConcurrencyBackpressureHandle::drained) is pending.
///
/// ```
/// use tower::{Layer, Service, ServiceExt, service_fn};
/// use tower_floodgate::ConcurrencyBackpressureLayer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let layer = ConcurrencyBackpressureLayer::new(2);
/// let handle = layer.handle();
/// let mut service =
///     layer.layer(service_fn(|n: u32| async move { Ok::<_, std::convert::Infallible>(n) }));
///
/// let response = service.ready().await.unwrap().call(1);
/// assert_eq!((handle.in_flight(), handle.queued(), handle.limit()), (1, 0, 2));
///
/// response.await.unwrap();
/// handle.drained().await;
/// assert_eq!(handle.in_flight(), 0);
///
/// handle.set_limit(10).unwrap();
/// assert_eq!(
///     handle.set_limit(0).unwrap_err().to_string(),
///     "max_in_flight is 0: it must be between 1 and 2147483647",
/// );
/// # }
/// ```
#[derive(Clone)]
pub struct ConcurrencyBackpressureHandle {
    pub(super) limiter: Arc<ConcurrencyLimiter>,
    /// Of the layer or the service that it was taken from.
    pub(super) limits: QueueLimits,
}

impl ConcurrencyBackpressureHandle {
    pub(super) const fn new(limiter: Arc<ConcurrencyLimiter>, limits: QueueLimits) -> Self {
        Self { limiter, limits }
    }

    /// Returns the number of requests in flight.
    ///
    /// A request counts from readiness to the end of its response future, and a
    /// [permit of a handle](super::ConcurrencyPermit) from its acquisition to its drop. The number
    /// is above the limit only after the limit was lowered, until enough requests have ended.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.limiter.read().held()
    }

    /// Returns the number of requests that wait in the queue.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.limiter.read().ahead
    }

    /// Returns the time that the first request in the queue has waited; `None` for an empty queue.
    ///
    /// The queue is served in order, so no request in it has waited longer. If a service that waits
    /// is polled by another task, which [takes its position](crate::backpressure#between-polls),
    /// the time of that position counts on.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_floodgate::ConcurrencyBackpressureLayer;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let handle = ConcurrencyBackpressureLayer::new(1).handle();
    /// let permit = handle.acquire().await.unwrap();
    /// assert_eq!(handle.queue_age(), None);
    ///
    /// let waiting = tokio::spawn(handle.acquire());
    /// tokio::task::yield_now().await;
    /// tokio::time::advance(Duration::from_secs(3)).await;
    /// assert_eq!(handle.queue_age(), Some(Duration::from_secs(3)));
    /// # drop((permit, waiting));
    /// # }
    /// ```
    #[must_use]
    pub fn queue_age(&self) -> Option<Duration> {
        self.limiter.queue_age(self.limiter.read())
    }

    /// Returns the largest number of requests that may be in flight.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limiter.read().limit
    }

    /// Returns the name of the limit, if it [has](super::ConcurrencyBackpressureLayer::name) one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.limiter.observer.name().map(|name| &**name)
    }

    /// Returns the state and the counts of this moment.
    ///
    /// The state is of one moment. The counts are read next.
    /// [`Snapshot::from`](crate::observe::Snapshot) adds the `kind`, for limits that are serialized
    /// together.
    #[must_use]
    pub fn snapshot(&self) -> ConcurrencySnapshot {
        let (view, limits) = self.limiter.read_bounded(self.limits);
        ConcurrencySnapshot {
            name: self.limiter.observer.name().cloned(),
            limit: view.limit,
            in_flight: view.held(),
            queued: view.ahead,
            queue_age: self.limiter.queue_age(view),
            max_queue: limits.max_queue(),
            max_wait: limits.max_wait(),
            is_closed: view.is_closed,
            rejected: self.rejected(),
            rejected_by_class: self.rejected_by_class(),
            counts: self.limiter.observer.counts(),
            adaptive: self.limiter.adaptive_snapshot(),
        }
    }

    /// Registers the metrics of the limit's events.
    #[cfg(feature = "metrics")]
    pub(crate) fn register_metrics(&self) {
        self.limiter.observer.register_metrics();
    }

    /// Returns the numbers of rejections since the limit was created, by reason.
    #[must_use]
    pub fn rejected(&self) -> RejectedCounts {
        self.limiter.observer.rejected()
    }

    /// Returns the numbers of rejections since the limit was created, by the class of the request.
    ///
    /// `None` for a limit without a layer for requests with [terms](super::Terms).
    #[must_use]
    pub fn rejected_by_class(&self) -> Option<RejectedByClass> {
        self.limiter.rejected_by_class()
    }

    /// Changes the number of requests that may be in flight.
    ///
    /// A raised limit grants permits to waiters at once. With a lowered one, requests in flight end
    /// as usual, and no request is admitted until there is room. A wait for more permits than the
    /// limit has ends with an error: see [`acquire_many`](Self::acquire_many). A limit that adapts
    /// is pinned, as by [`hold`](Self::hold).
    ///
    /// # Errors
    ///
    /// If `max_in_flight` is 0 or above 2<sup>31</sup> - 1, or outside the range of a limit that
    /// adapts. The limit stays as it was.
    pub fn set_limit(&self, max_in_flight: u32) -> Result<(), InvalidSetting> {
        let limit = self.check_limit(max_in_flight)?;
        self.limiter.set_limit(limit, |_| {});
        Ok(())
    }

    bounds_of_handle!();

    /// Changes the limit and both bounds in one step. The limit was checked.
    pub(crate) fn configure(
        &self,
        max_in_flight: u32,
        max_queue: Option<u32>,
        max_wait: Option<Duration>,
    ) -> Result<(), BoundError> {
        self.decide_on_bounds(max_queue, max_wait)?;
        self.limiter.set_limit(max_in_flight, |bounds| bounds.set(max_queue, max_wait));
        Ok(())
    }

    /// Waits until no request is in flight and none waits.
    ///
    /// New requests may arrive right after that, unless the limit is closed. If several futures
    /// wait and requests arrive before all of them have completed, the rest may complete only at
    /// the next such moment. A clone of the service that is ready and not called counts as in
    /// flight, and so does a [permit of a handle](super::ConcurrencyPermit). With
    /// [`until_body_ends`](crate::server::until_body_ends), so does a response whose body is
    /// streamed: a stream that ends by itself after [`closed`](Self::closed) keeps a shutdown
    /// short.
    ///
    /// All releases of permits [happen before](crate::backpressure#memory-ordering) the completion.
    ///
    /// The future has no timer. If the last waiter is an abandoned one, and its `max_wait` ends
    /// while nothing else happens, the future completes only when it is polled again, or when a
    /// request arrives.
    pub fn drained(&self) -> Drained {
        Drained::new(self.limiter.clone())
    }

    /// Closes the limit: rejects all waiters, and all requests from now on, as *closed*.
    ///
    /// Requests in flight end as usual, and [`drained`](Self::drained) completes after the last of
    /// them. A closed limit cannot be opened again. A layer without a reject policy that is put on
    /// a service of a closed limit panics.
    ///
    /// # Errors
    ///
    /// If a service of this limit was made without a [reject policy](crate::reject), because its
    /// waiters could not be told. The call has no effect then. The remedy is a bound, such as
    /// `max_queue`, or a policy (`reject_with...`) on each layer of the limit.
    pub fn close(&self) -> Result<(), CloseError> {
        self.limiter.close()
    }

    /// Waits until the limit is closed. Completes at once if it is.
    ///
    /// A response that streams can watch this and end its body, so that a shutdown does not wait
    /// for the client:
    ///
    /// ```
    /// use futures::{StreamExt, stream};
    /// use tower_floodgate::ConcurrencyBackpressureLayer;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let handle = ConcurrencyBackpressureLayer::new(2).handle();
    /// let ticks = stream::pending::<u32>().take_until(handle.closed());
    /// handle.close().unwrap();
    /// assert!(ticks.collect::<Vec<_>>().await.is_empty());
    /// # }
    /// ```
    pub fn closed(&self) -> Closed {
        Closed::new(self.limiter.clone())
    }

    /// Returns true if the limit is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.limiter.read().is_closed
    }
}

impl<S, P> Limited<S, ConcurrencyLimiter, P> {
    /// Returns a handle that reads and changes the limit.
    #[must_use]
    pub fn handle(&self) -> ConcurrencyBackpressureHandle {
        let readiness = self.readiness();
        let limiter = Arc::clone(readiness.limiter().arc());
        ConcurrencyBackpressureHandle::new(limiter, readiness.limits())
    }
}

impl fmt::Debug for ConcurrencyBackpressureHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.limiter.read();
        let mut fields = f.debug_struct("ConcurrencyBackpressureHandle");
        self.limiter.observer.fmt_name(&mut fields);
        fields
            .field("limit", &view.limit)
            .field("in_flight", &view.held())
            .field("queued", &view.ahead)
            .field("is_closed", &view.is_closed)
            .field("rejected", &self.rejected())
            .finish()
    }
}
