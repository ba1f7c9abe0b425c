use std::{fmt, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{WindowSnapshot, limiter::RateLimiter, window::Reading};
use crate::{
    limiter::{CloseError, Closed, Drained, RejectedCounts},
    middleware::Limited,
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
    limiter: Arc<RateLimiter>,
}

impl WindowRateLimitHandle {
    pub(super) const fn new(limiter: Arc<RateLimiter>) -> Self {
        Self { limiter }
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

    /// Returns the name of the limit, if it [has](super::WindowRateLimitLayer::name) one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.limiter.observer.name().map(|name| &**name)
    }

    /// Returns the state and the counts of this moment.
    ///
    /// The state is of one moment. The counts are read next.
    #[must_use]
    pub fn snapshot(&self) -> WindowSnapshot {
        let reading = self.read();
        WindowSnapshot {
            name: self.limiter.observer.name().cloned(),
            limit: reading.limit,
            window: reading.length,
            remaining: reading.remaining,
            queued: reading.queued,
            queue_age: None,
            estimated_wait: (!reading.is_closed).then_some(reading.wait),
            paused_for: reading.paused,
            issued: self.limiter.window.issued(),
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
    /// that are ready by then keep their permits, and may still be called.
    ///
    /// To change limit and window, set the stricter one first: waiters are granted permits by each
    /// step.
    ///
    /// # Errors
    ///
    /// If `limit` is 0 or above 2<sup>31</sup> - 1. The limit stays as it was.
    pub fn set_limit(&self, limit: u32) -> Result<(), InvalidSetting> {
        let limit = settings::permits("limit", limit)?;
        self.limiter.window.set_limit(limit);
        self.limiter.notify_change();
        Ok(())
    }

    /// Changes the length of the window, for requests that were issued before, too.
    ///
    /// Permits that have expired already stay expired, so a longer window holds for the spans that
    /// begin from now on.
    ///
    /// To change limit and window, set the stricter one first: waiters are granted permits by each
    /// step.
    ///
    /// # Errors
    ///
    /// If `window` is zero or longer than 100 years. The length stays as it was.
    pub fn set_window(&self, window: Duration) -> Result<(), InvalidSetting> {
        let window = settings::window(window)?;
        self.limiter.window.set_length(window);
        self.limiter.notify_change();
        Ok(())
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
        WindowRateLimitHandle::new(Arc::clone(self.readiness().limiter().arc()))
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
