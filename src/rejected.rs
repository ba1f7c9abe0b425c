//! The one rejection type.

use std::{error::Error, fmt, time::Duration};

use crate::clock::{Nanos, whole_secs};

/// A request was turned away by one of this crate's layers: why, and when trying again makes sense.
///
/// How it reaches the caller is the layer's [answer](crate::answer): an error, an error type of your own, or a
/// response. As an error it is found again by [`Rejected::find`], behind a `BoxError` and behind wrappers that
/// name it as their `source`.
///
/// ```
/// use std::time::Duration;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use tower_floodgate::{Rejected, WindowRateLimitLayer};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let mut service = ServiceBuilder::new()
///     .layer(WindowRateLimitLayer::new(1, Duration::from_secs(10)).max_waiting(0))
///     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) }));
///
/// service.ready().await?.call(1).await?;
/// tokio::time::advance(Duration::from_millis(8_700)).await;
///
/// let error = service.ready().await?.call(2).await.unwrap_err();
/// let rejected = Rejected::find(&*error).expect("turned away by the layer");
/// assert!(rejected.is_queue_full() && rejected.is_rate_limited());
/// assert_eq!(rejected.retry_after(), Some(Duration::from_millis(1_300)));
/// assert_eq!(rejected.retry_after_secs(), Some(2)); // for a header
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Rejected {
    limit: Limit,
    reason: Reason,
    /// Nobody knows if it is [`Nanos::NEVER`]. In nanoseconds, because the futures of all requests have room
    /// for a rejection.
    retry_after: Nanos,
}

/// Which limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Concurrency,
    Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    QueueFull,
    WaitTimeout,
    Closed,
}

impl Rejected {
    pub(crate) fn new(limit: Limit, reason: Reason, retry_after: Option<Duration>) -> Self {
        // What is longer than can be told is as long as that, and known all the same.
        let known = |wait| Nanos::ZERO.after(wait).min(Nanos::new(Nanos::NEVER.get() - 1));
        let retry_after = retry_after.map_or(Nanos::NEVER, known);
        Self { limit, reason, retry_after }
    }

    /// True if as many were waiting as may wait.
    #[must_use]
    pub fn is_queue_full(&self) -> bool {
        self.reason == Reason::QueueFull
    }

    /// True if the wait was longer than allowed, or it was known that it would be.
    #[must_use]
    pub fn is_wait_timeout(&self) -> bool {
        self.reason == Reason::WaitTimeout
    }

    /// True if the layer was closed by its handle.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.reason == Reason::Closed
    }

    /// True if a rate limit turned the request away (HTTP's 429), false if it was a concurrency limit
    /// (HTTP's 503).
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        self.limit == Limit::Rate
    }

    /// How long until there is room for this request, counted from when it was turned away. `None` if
    /// nobody can know, as at a concurrency limit.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        (self.retry_after != Nanos::NEVER).then(|| self.retry_after.since(Nanos::ZERO))
    }

    /// [`retry_after`](Self::retry_after) in whole seconds for a header: rounded up, and never 0.
    #[must_use]
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after().map(whole_secs)
    }

    /// Looks for a rejection in `error` and in all that caused it.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        crate::cause::find_cause(error)
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("limit", &self.limit)
            .field("reason", &self.reason)
            .field("retry_after", &self.retry_after())
            .finish()
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.limit, self.reason) {
            (_, Reason::Closed) => return f.write_str("closed: no more requests are taken"),
            (Limit::Concurrency, _) => "too many requests in flight",
            (Limit::Rate, _) => "too many requests in this window",
        })?;
        f.write_str(match self.reason {
            Reason::QueueFull => ", and no more may wait",
            _ => ", and the wait is too long",
        })?;
        match self.retry_after() {
            Some(wait) => write!(f, "; there is room in {wait:?}"),
            None => Ok(()),
        }
    }
}

impl Error for Rejected {}
