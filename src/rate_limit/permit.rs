//! Permits of a rate limit without a request.

use std::fmt;

use super::{WindowRateLimitHandle, limiter::RateLimiter};
use crate::{
    limiter::{AcquireManyError, Acquiring, Held, acquire_futures, try_acquire, try_acquire_many},
    rejected::Rejected,
};

/// A permit of a rate limit, or several, acquired by its handle and not committed yet.
///
/// [`commit`](Self::commit) tells that the work goes out. **A drop without it refunds the
/// permits**: the next waiter gets them at once, and the window counts nothing. A permit that is
/// kept and neither committed nor dropped is unavailable to all others.
#[must_use = "a permit that is dropped without `commit` is refunded, and counts nothing"]
pub struct WindowPermit(Held<RateLimiter>);

impl WindowPermit {
    /// Returns the number of permits.
    #[must_use]
    pub fn num_permits(&self) -> u32 {
        self.0.permits()
    }

    /// Commits the permits: the work that they stand for goes out now.
    ///
    /// The window counts them from this moment on, at which all of them are issued, and they expire
    /// a window later. The limit holds exactly for the moments of the commits. If the work goes out
    /// some time after its commit, a server may see it in a span with work that was committed
    /// later, so commit when it has gone out, and before its response is awaited.
    pub fn commit(mut self) {
        let permits = self.0.take();
        self.0.limiter().window.commit_many(permits);
    }
}

impl fmt::Debug for WindowPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("WindowPermit");
        fields.field("num_permits", &self.num_permits()).finish_non_exhaustive()
    }
}

acquire_futures!(
    RateLimiter,
    WindowPermit,
    "WindowRateLimitHandle",
    "\n\nA wait panics outside a tokio runtime with its timer enabled, and in one that is shut down."
);

/// Permits without a request: see the [module](crate::rate_limit#permits-without-a-request).
impl WindowRateLimitHandle {
    /// Acquires a permit, and waits for it if need be.
    ///
    /// The wait stands in the same queue as the requests of the services, in order of arrival. If
    /// a permit is available and no request waits, the first poll allocates nothing and takes no
    /// lock. The future is cancel safe: a drop leaves the queue.
    ///
    /// The bounds [in force](Self::max_queue) hold: those of the layer or the service that this
    /// handle was taken from, or those that a handle has set. With a bound, so does the
    /// [deadline](crate::deadline::current) of a request during which it is polled. Without one, a
    /// deadline ends that request, and with it a wait that belongs to it.
    ///
    /// # Errors
    ///
    /// A rejection [as closed](Rejected::is_closed), if the limit is closed by then, or meanwhile,
    /// or by a bound.
    ///
    /// # Panics
    ///
    /// If a poll has to wait outside a tokio runtime with its timer enabled, or in one that is shut
    /// down.
    ///
    /// # Examples
    ///
    /// A script that sends at most two lines in a second:
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_floodgate::WindowRateLimitLayer;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// let limit = WindowRateLimitLayer::new(2, Duration::from_secs(1)).handle();
    /// let start = tokio::time::Instant::now();
    /// for line in ["one", "two", "three"] {
    ///     let permit = limit.acquire().await?;
    ///     println!("{line}");
    ///     permit.commit();
    /// }
    /// assert_eq!(start.elapsed().as_secs(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(&self) -> Acquire {
        Acquire(Acquiring::new(&self.limiter, self.limits, 1))
    }

    /// Acquires `permits` at once, and waits for them if need be.
    ///
    /// All of them are acquired together, or none. Otherwise it is as [`acquire`](Self::acquire).
    /// While the wait is first in the queue, all permits that expire are kept for it, and no
    /// request overtakes it.
    ///
    /// # Errors
    ///
    /// [`Rejected`](AcquireManyError::Rejected), as for `acquire`.
    /// [`Invalid`](AcquireManyError::Invalid) if `permits` is 0 or above the limit. If the limit is
    /// lowered meanwhile, the wait ends with this error once it is first in the queue.
    ///
    /// # Panics
    ///
    /// As `acquire`.
    ///
    /// # Examples
    ///
    /// A server that counts a batch by its items:
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_floodgate::WindowRateLimitLayer;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// let limit = WindowRateLimitLayer::new(100, Duration::from_secs(60)).handle();
    /// let batch = ["a", "b", "c"];
    /// let permit = limit.acquire_many(u32::try_from(batch.len())?).await?;
    /// // ... send the batch ...
    /// permit.commit();
    /// assert_eq!(limit.remaining(), 97);
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire_many(&self, permits: u32) -> AcquireMany {
        AcquireMany(Acquiring::new(&self.limiter, self.limits, permits))
    }

    /// Acquires a permit that is available now.
    ///
    /// It never overtakes the queue: it fails while a request waits.
    ///
    /// # Errors
    ///
    /// A rejection as [queue full](Rejected::is_queue_full) without a free permit, as of a layer
    /// with `max_queue(0)`, or [as closed](Rejected::is_closed). It tells
    /// [how long](Rejected::retry_after) it takes until there is room, and is
    /// [counted](Self::rejected).
    ///
    /// # Examples
    ///
    /// A loop over the messages of a socket that leaves out those for which there is no room:
    ///
    /// ```
    /// use std::time::Duration;
    /// use futures::{StreamExt, stream};
    /// use tower_floodgate::WindowRateLimitLayer;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let limit = WindowRateLimitLayer::new(2, Duration::from_secs(1)).handle();
    /// let mut messages = stream::iter(["one", "two", "three"]);
    /// let mut replies = Vec::new();
    /// while let Some(message) = messages.next().await {
    ///     match limit.try_acquire() {
    ///         Ok(permit) => {
    ///             replies.push(message.to_uppercase());
    ///             permit.commit();
    ///         }
    ///         Err(rejected) => replies.push(format!("later: {:?}", rejected.retry_after())),
    ///     }
    /// }
    /// assert_eq!(replies, ["ONE", "TWO", "later: Some(1s)"]);
    /// # }
    /// ```
    pub fn try_acquire(&self) -> Result<WindowPermit, Rejected> {
        try_acquire(&self.limiter).map(WindowPermit)
    }

    /// Acquires `permits`, all or none, that are available now.
    ///
    /// # Errors
    ///
    /// [`Rejected`](AcquireManyError::Rejected), as for [`try_acquire`](Self::try_acquire), with
    /// the time until there is room for all of them.
    /// [`Invalid`](AcquireManyError::Invalid) if `permits` is 0 or above the limit.
    pub fn try_acquire_many(&self, permits: u32) -> Result<WindowPermit, AcquireManyError> {
        try_acquire_many(&self.limiter, permits).map(WindowPermit)
    }
}
