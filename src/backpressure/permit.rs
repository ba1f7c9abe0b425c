//! Permits of a concurrency limit without a request.

use std::fmt;

use super::{ConcurrencyBackpressureHandle, limiter::ConcurrencyLimiter};
use crate::{
    limiter::{AcquireManyError, Acquiring, Held, acquire_futures, try_acquire, try_acquire_many},
    rejected::Rejected,
};

/// A permit of a concurrency limit, or several, acquired by its handle. The drop releases them.
///
/// It counts as requests in flight, one for each permit. It may be moved to another task and
/// dropped anywhere, and needs no runtime.
///
/// A permit for each WebSocket, as long as it is open:
///
/// ```
/// use futures::{SinkExt, StreamExt, channel::mpsc};
/// use tower_floodgate::{ConcurrencyBackpressureLayer, backpressure::ConcurrencyPermit};
///
/// /// Echoes messages until the client closes the socket.
/// async fn echo(
///     _permit: ConcurrencyPermit, // released when this future ends or is dropped
///     mut messages: mpsc::Receiver<String>,
///     mut replies: mpsc::Sender<String>,
/// ) {
///     while let Some(message) = messages.next().await {
///         if replies.send(message).await.is_err() {
///             break;
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let sockets = ConcurrencyBackpressureLayer::new(1_000).handle();
///
/// // In the handler of the upgrade: a client that finds no room is told so.
/// let permit = sockets.try_acquire()?;
/// let (mut client, messages) = mpsc::channel(1);
/// let (replies, mut to_client) = mpsc::channel(1);
/// let socket = tokio::spawn(echo(permit, messages, replies));
/// assert_eq!(sockets.in_flight(), 1);
///
/// client.send("hello".to_owned()).await?;
/// assert_eq!(to_client.next().await.as_deref(), Some("hello"));
/// drop(client);
/// socket.await?;
/// assert_eq!(sockets.in_flight(), 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a permit that is dropped is released"]
pub struct ConcurrencyPermit(Held<ConcurrencyLimiter>);

impl ConcurrencyPermit {
    /// Returns the number of permits.
    #[must_use]
    pub fn num_permits(&self) -> u32 {
        self.0.permits()
    }
}

impl fmt::Debug for ConcurrencyPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("ConcurrencyPermit");
        fields.field("num_permits", &self.num_permits()).finish_non_exhaustive()
    }
}

acquire_futures!(
    ConcurrencyLimiter,
    ConcurrencyPermit,
    "ConcurrencyBackpressureHandle",
    "\n\nNeeds no runtime without a `max_wait`."
);

/// Permits without a request: see the [module](crate::backpressure#permits-without-a-request).
impl ConcurrencyBackpressureHandle {
    /// Acquires a permit, and waits for it if need be.
    ///
    /// The wait stands in the same queue as the requests of the services, in order of arrival. If
    /// a permit is available and no request waits, the first poll allocates nothing and takes no
    /// lock. The future is cancel safe: a drop leaves the queue.
    ///
    /// The bounds [in force](Self::max_queue) hold: those of the layer or the service that this
    /// handle was taken from, or those that a handle has set. The
    /// [deadline](crate::deadline::current) of a request during which it is polled does not: it
    /// ends that request, and with it a wait that belongs to it, but the permit may be for other
    /// work.
    ///
    /// # Errors
    ///
    /// A rejection [as closed](Rejected::is_closed), if the limit is closed by then, or meanwhile,
    /// or by a bound.
    ///
    /// # Examples
    ///
    /// A worker that takes a job only when a permit is free, and ends when the limit is closed:
    ///
    /// ```
    /// use tokio::sync::mpsc;
    /// use tower_floodgate::{ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer};
    ///
    /// async fn work(mut jobs: mpsc::Receiver<u32>, limit: ConcurrencyBackpressureHandle) {
    ///     while let Ok(permit) = limit.acquire().await {
    ///         let Some(job) = jobs.recv().await else { break };
    ///         tokio::spawn(async move {
    ///             println!("job {job}");
    ///             drop(permit); // the next job may begin
    ///         });
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// let limit = ConcurrencyBackpressureLayer::new(2).handle();
    /// let (sender, jobs) = mpsc::channel(10);
    /// let worker = tokio::spawn(work(jobs, limit.clone()));
    /// for job in 0..5 {
    ///     sender.send(job).await?;
    /// }
    /// drop(sender);
    /// worker.await?;
    /// limit.drained().await; // until the last job is done
    /// assert_eq!(limit.in_flight(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(&self) -> Acquire {
        Acquire(Acquiring::new(&self.limiter, self.limits, 1))
    }

    /// Acquires `permits` at once, and waits for them if need be.
    ///
    /// All of them are acquired together, or none: two tasks that need several never hold a part
    /// each and wait for the rest. Otherwise it is as [`acquire`](Self::acquire). While the wait is
    /// first in the queue, all released permits are kept for it, and no request overtakes it. If
    /// its `max_wait` ends while its task is not polled, it holds up those behind it until the next
    /// arrival, release or reading.
    ///
    /// # Errors
    ///
    /// [`Rejected`](AcquireManyError::Rejected), as for `acquire`.
    /// [`Invalid`](AcquireManyError::Invalid) if `permits` is 0 or above the limit. If the limit is
    /// lowered meanwhile, the wait ends with this error once it is first in the queue. The search
    /// of a limit that [adapts](crate::ConcurrencyBackpressureLayer::adaptive) lowers it, too: ask
    /// for no more than its `min`, or [`hold`](Self::hold) it before.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_floodgate::ConcurrencyBackpressureLayer;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower::BoxError> {
    /// let limit = ConcurrencyBackpressureLayer::new(8).handle();
    /// let report = limit.acquire_many(6).await?; // as heavy as six requests
    /// assert_eq!(limit.in_flight(), 6);
    /// drop(report);
    /// assert_eq!(limit.in_flight(), 0);
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
    /// with `max_queue(0)`, or [as closed](Rejected::is_closed). It is
    /// [counted](Self::rejected).
    pub fn try_acquire(&self) -> Result<ConcurrencyPermit, Rejected> {
        try_acquire(&self.limiter).map(ConcurrencyPermit)
    }

    /// Acquires `permits`, all or none, that are available now.
    ///
    /// # Errors
    ///
    /// [`Rejected`](AcquireManyError::Rejected), as for [`try_acquire`](Self::try_acquire).
    /// [`Invalid`](AcquireManyError::Invalid) if `permits` is 0 or above the limit.
    pub fn try_acquire_many(&self, permits: u32) -> Result<ConcurrencyPermit, AcquireManyError> {
        try_acquire_many(&self.limiter, permits).map(ConcurrencyPermit)
    }
}
