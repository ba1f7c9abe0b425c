use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    WindowSnapshot,
    limiter::RateLimiter,
    window::{Reading, Shape},
};
use crate::{
    limiter::{BoundError, CloseError, Closed, Drained, Limiter, QueueLimits, RejectedCounts},
    macros::bounds_of_handle,
    middleware::Limited,
    quota::Quota,
    settings::{self, InvalidSetting},
    time::Time,
};

/// Reads, changes, pauses and closes the limit of a
/// [`WindowRateLimitLayer`](super::WindowRateLimitLayer).
///
/// Cheap to clone. All clones, the layer and its services share one limit, even if the layer gets a
/// bound after the handle was taken. A reading also grants the permits that have expired by then.
/// Where a request would wait, it takes a mutex that calls take only while requests wait.
///
/// ```
/// use std::time::Duration;
/// use tower::{Layer, Service, ServiceExt, service_fn};
/// use tower_floodgate::WindowRateLimitLayer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let layer = WindowRateLimitLayer::new(2, Duration::from_secs(10));
/// let handle = layer.handle();
/// let mut service =
///     layer.layer(service_fn(|n: u32| async move { Ok::<_, std::convert::Infallible>(n) }));
///
/// service.ready().await.unwrap().call(1).await.unwrap();
/// tokio::time::advance(Duration::from_secs(3)).await;
/// service.ready().await.unwrap().call(2).await.unwrap();
/// assert_eq!(handle.remaining(), 0);
/// assert_eq!(handle.estimated_wait(), Duration::from_secs(7));
///
/// handle.pause_for(Duration::from_secs(60)); // as a server asked
/// assert_eq!(handle.estimated_wait(), Duration::from_secs(60));
/// # }
/// ```
#[derive(Clone)]
pub struct WindowRateLimitHandle {
    pub(super) limiter: Arc<RateLimiter>,
    /// Of the layer or the service that it was taken from.
    pub(super) limits: QueueLimits,
}

impl WindowRateLimitHandle {
    pub(super) const fn new(limiter: Arc<RateLimiter>, limits: QueueLimits) -> Self {
        Self { limiter, limits }
    }

    /// Returns all readings of one moment.
    pub(crate) fn read(&self) -> Reading {
        self.limiter.window.read()
    }

    /// Returns the number of requests that may be issued in a window.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.read().limit
    }

    /// Returns the length of the window.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.read().length
    }

    /// Returns the limit and the window, of one moment.
    #[must_use]
    pub fn quota(&self) -> Quota {
        let reading = self.read();
        Quota::checked(reading.limit, reading.length)
    }

    /// Returns the number of requests that could be issued now.
    ///
    /// It is 0 during a pause, while requests wait, and once the limit is closed. The permit of a
    /// clone that is ready and not called is not included. With limits above 256, up to 0.8 % of
    /// the permits may be counted as used after they have expired, so the number may be too low,
    /// and is never too high.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.read().remaining
    }

    /// Returns the time that a request would wait if it arrived now.
    ///
    /// It is zero if the request could be issued at once. Waiters before it are assumed to be
    /// issued as soon as they are granted permits. At a closed limit, it is [`Duration::MAX`].
    #[must_use]
    pub fn estimated_wait(&self) -> Duration {
        self.read().wait
    }

    /// Returns the time until all permits that are used now have expired.
    ///
    /// It is the length of the window, or the rest of a fixed one. The permit of a request that is
    /// not issued yet expires a window after it is.
    #[must_use]
    pub fn reset_after(&self) -> Duration {
        self.read().reset
    }

    /// Returns the number of requests that wait in the queue.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.read().queued
    }

    /// Returns the time that the first request in the queue has waited; `None` for an empty queue.
    ///
    /// The queue is served in order, so no request in it has waited longer. If a service that waits
    /// is polled by another task, which [takes its position](crate::rate_limit#between-polls), the
    /// time of that position counts on.
    #[must_use]
    pub fn queue_age(&self) -> Option<Duration> {
        self.read().queue_age
    }

    /// Returns the name of the limit, if it [has](super::WindowRateLimitLayer::name) one.
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
    pub fn snapshot(&self) -> WindowSnapshot {
        let (reading, limits) = self.limiter.read(self.limits);
        WindowSnapshot {
            name: self.limiter.observer.name().cloned(),
            limit: reading.limit,
            window: reading.length,
            remaining: reading.remaining,
            queued: reading.queued,
            queue_age: reading.queue_age,
            estimated_wait: (!reading.is_closed).then_some(reading.wait),
            paused_for: reading.paused,
            issued: self.limiter.window.issued(),
            max_queue: limits.max_queue(),
            max_wait: limits.max_wait(),
            is_closed: reading.is_closed,
            rejected: self.rejected(),
            counts: self.limiter.observer.counts(),
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

    /// Changes the number of requests that may be issued in a window.
    ///
    /// A raised limit grants permits to waiters at once. A lowered one holds from now on. Clones
    /// that are ready by then keep their permits, and may still be called. A wait for more permits
    /// than the limit has ends with an error: see [`acquire_many`](Self::acquire_many).
    ///
    /// [`set_quota`](Self::set_quota) changes limit and window together.
    ///
    /// # Errors
    ///
    /// If `limit` is 0 or above 2<sup>31</sup> - 1. The limit stays as it was.
    pub fn set_limit(&self, limit: u32) -> Result<(), InvalidSetting> {
        let limit = settings::permits("limit", limit)?;
        if self.limiter.window.set_limit(limit) {
            self.limiter.notify_change();
        }
        Ok(())
    }

    /// Changes the length of the window, for requests that were issued before, too.
    ///
    /// Permits that have expired already stay expired, so a longer window holds for the spans that
    /// begin from now on.
    ///
    /// [`set_quota`](Self::set_quota) changes limit and window together.
    ///
    /// # Errors
    ///
    /// If `window` is zero or longer than 100 years. The length stays as it was.
    pub fn set_window(&self, window: Duration) -> Result<(), InvalidSetting> {
        let window = settings::window(window)?;
        if self.limiter.window.set_length(window) {
            self.limiter.notify_change();
        }
        Ok(())
    }

    /// Changes limit and window in one step.
    ///
    /// No request is issued by a mixture of the two quotas, and no reading shows one. Waiters are
    /// granted the permits that the new quota has for them. With a sliding window, there is a
    /// moment during the call at which the quota changes:
    ///
    /// - A span that ends before that moment has at most as many issues as the old limit, if it is
    ///   as long as the old window.
    /// - A span that begins after it has at most as many as the new limit, if it is as long as the
    ///   new window. Beside them, clones that are ready by then keep their permits, and may still
    ///   be called.
    /// - A span across it has at most as many as the larger of the limits, if it is as long as the
    ///   shorter of the windows.
    ///
    /// Permits that have expired already stay expired. A fixed window is on another grid from then
    /// on, and the same holds for spans within one window of the grid, or of both grids.
    ///
    /// ```
    /// use tower_floodgate::WindowRateLimitLayer;
    ///
    /// let handle = WindowRateLimitLayer::with_quota("10/s".parse().unwrap()).handle();
    /// handle.set_quota("500 per hour".parse().unwrap());
    /// assert_eq!(handle.quota().to_string(), "500/1h");
    /// ```
    pub fn set_quota(&self, quota: Quota) {
        self.limiter.set_quota(quota, |_| {});
    }

    bounds_of_handle!();

    /// Changes limit, window and both bounds in one step.
    pub(crate) fn configure(
        &self,
        quota: Quota,
        max_queue: Option<u32>,
        max_wait: Option<Duration>,
    ) -> Result<(), BoundError> {
        self.decide_on_bounds(max_queue, max_wait)?;
        self.limiter.set_quota(quota, |bounds| bounds.set(max_queue, max_wait));
        Ok(())
    }

    /// Returns true if the window is a fixed one.
    pub(crate) fn is_fixed(&self) -> bool {
        self.limiter.shape() == Shape::Fixed
    }

    /// Pauses the limit until `instant`, for example because a server asks for it.
    ///
    /// A pause moves only forward: an instant before the end of the present pause has no effect.
    /// Clones that were ready before keep their permits.
    pub fn pause_until(&self, instant: Instant) {
        self.limiter.pause(self.limiter.clock.read(instant));
    }

    /// Pauses the limit for `wait` from now, as [`pause_until`](Self::pause_until) does.
    pub fn pause_for(&self, wait: Duration) {
        self.limiter.pause(self.limiter.clock.now().after(wait));
    }

    /// Waits until no request waits, and none is between readiness and its call.
    ///
    /// A [permit of a handle](super::WindowPermit) counts until it is committed or dropped.
    /// Requests that were issued do not count, answered or not: their permits come back with time.
    /// New requests may arrive right after that, unless the limit is closed. If several futures
    /// wait and requests arrive before all of them have completed, the rest may complete only at
    /// the next such moment. While one waits, each call takes a mutex and reads the time.
    ///
    /// All calls and refunds before [happen before](crate::rate_limit#memory-ordering) the
    /// completion.
    ///
    /// The future has no timer. If the last waiter is an abandoned one, and its `max_wait` ends
    /// while nothing else happens, the future completes only when it is polled again, when a
    /// request arrives, or when a permit would come back for that waiter.
    pub fn drained(&self) -> Drained {
        Drained::new(self.limiter.clone())
    }

    /// Closes the limit: rejects all waiters, and all requests from now on, as *closed*.
    ///
    /// The waiters are woken at once, however late their permits would be. Clones that are ready by
    /// then keep their permits, and may still be called; [`drained`](Self::drained) waits for them.
    /// A closed limit keeps no timer. It cannot be opened again. A layer without a reject policy
    /// that is put on a service of a closed limit panics.
    ///
    /// # Errors
    ///
    /// If a service of this limit was made without a [reject policy](crate::reject), because its
    /// waiters could not be told. The call has no effect then. The remedy is a bound, such as
    /// `max_queue`, or a policy (`reject_with...`) on each layer of the limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower::{Layer, Service, ServiceExt, service_fn};
    /// use tower_floodgate::{Rejected, WindowRateLimitLayer};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// let layer = WindowRateLimitLayer::new(1, Duration::from_secs(60)).max_queue(10);
    /// let handle = layer.handle();
    /// let mut service =
    ///     layer.layer(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
    ///
    /// service.ready().await?.call(1).await?;
    /// let waiting = tokio::spawn(service.clone().oneshot(2));
    /// tokio::task::yield_now().await;
    ///
    /// handle.close()?;
    /// let error = waiting.await?.unwrap_err(); // at once, not after a minute
    /// assert!(Rejected::find(&*error).is_some_and(Rejected::is_closed));
    /// handle.drained().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) -> Result<(), CloseError> {
        self.limiter.close()
    }

    /// Waits until the limit is closed. Completes at once if it is.
    ///
    /// A response that streams can watch this and end its body. See
    /// [`ConcurrencyBackpressureHandle::closed`](crate::ConcurrencyBackpressureHandle::closed).
    pub fn closed(&self) -> Closed {
        Closed::new(self.limiter.clone())
    }

    /// Returns true if the limit is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.read().is_closed
    }
}

impl<S, P> Limited<S, RateLimiter, P> {
    /// Returns a handle that reads and changes the limit.
    #[must_use]
    pub fn handle(&self) -> WindowRateLimitHandle {
        let readiness = self.readiness();
        WindowRateLimitHandle::new(Arc::clone(readiness.limiter().arc()), readiness.limits())
    }
}

impl fmt::Debug for WindowRateLimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reading = self.read();
        let mut fields = f.debug_struct("WindowRateLimitHandle");
        self.limiter.observer.fmt_name(&mut fields);
        fields
            .field("limit", &reading.limit)
            .field("window", &reading.length)
            .field("remaining", &reading.remaining)
            .field("queued", &reading.queued)
            .field("is_closed", &reading.is_closed)
            .field("rejected", &self.rejected())
            .finish()
    }
}
