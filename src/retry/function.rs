//! Retries of plain async functions: the loop of tower's `Retry`, without a request.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project::pin_project;
use tokio::time::Instant;
use tower::retry::Policy;

use super::{
    AnyError, ByClone, Classify, CloneRequest, ExponentialRetry, NoHook, Observer, OnDecision,
    Unobserved, future::Delay,
};
use crate::time;

/// Calls an async function until it succeeds, or until `policy` stops.
///
/// Each call of `operation` is an attempt. The policy is that of the layer, and decides alike: by
/// its classifier, attempts, waits, hints, `max_elapsed`, budget and hook, and by the
/// [deadline](crate::deadline) of the request that is being served. The result of the last attempt
/// is returned as it is.
///
/// There is no request: a classifier and a hook see `()` in its place, and nothing is copied.
///
/// ```
/// use std::{
///     io,
///     sync::atomic::{AtomicU32, Ordering::Relaxed},
/// };
/// use tower_floodgate::retry::{ExponentialRetry, retry};
///
/// static CALLS: AtomicU32 = AtomicU32::new(0);
///
/// /// Fails the first two calls.
/// async fn fetch(page: u32) -> io::Result<String> {
///     match CALLS.fetch_add(1, Relaxed) {
///         0 | 1 => Err(io::ErrorKind::ConnectionReset.into()),
///         _ => Ok(format!("page {page}")),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> io::Result<()> {
/// // Three attempts; waits of up to 1 s and 2 s.
/// let page = retry(ExponentialRetry::new(3), || fetch(7)).await?;
/// assert_eq!(page, "page 7");
/// # Ok(())
/// # }
/// ```
///
/// Clones of a policy share its budget and its hook, so a program keeps one policy for each server:
///
/// ```
/// use std::{io, sync::LazyLock, time::Duration};
/// use tower_floodgate::retry::{Backoff, ExponentialRetry, RetryBudget, Verdict, retry};
///
/// fn classify((): &(), result: &io::Result<u16>) -> Verdict {
///     match result {
///         Ok(429) => Verdict::RetryAfter(Duration::from_secs(3)),
///         Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Verdict::Retry,
///         _ => Verdict::Done,
///     }
/// }
///
/// type Judge = fn(&(), &io::Result<u16>) -> Verdict;
///
/// static POLICY: LazyLock<ExponentialRetry<Judge>> = LazyLock::new(|| {
///     ExponentialRetry::new(u32::MAX)
///         .max_elapsed(Duration::from_secs(60))
///         .backoff(Backoff::fixed(Duration::from_secs(2)))
///         .budget(RetryBudget::new(0.2))
///         .classify(classify)
/// });
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> io::Result<()> {
/// # async fn status() -> io::Result<u16> { Ok(200) }
/// let status = retry(POLICY.clone(), status).await?;
/// assert_eq!(status, 200);
/// # Ok(())
/// # }
/// ```
///
/// # State of an attempt
///
/// `operation` is an `FnMut`, so it can count the attempts. Its futures cannot borrow from it: they
/// take values by copies or clones, or borrow them from outside of it. A value that attempts
/// change, such as a connection, is locked by each:
///
/// ```
/// use tokio::sync::Mutex;
/// use tower_floodgate::retry::{ExponentialRetry, retry};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let mut attempt = 0;
/// let third = retry(ExponentialRetry::new(3), || {
///     attempt += 1;
///     async move { if attempt < 3 { Err(attempt) } else { Ok(attempt) } }
/// });
/// assert_eq!(third.await, Ok(3));
///
/// async fn query(connection: &mut u32) -> Result<u32, &'static str> {
///     *connection += 1;
///     if *connection < 3 { Err("reset") } else { Ok(*connection) }
/// }
///
/// let mut connection = 0;
/// let locked = Mutex::new(&mut connection);
/// let third =
///     retry(ExponentialRetry::new(3), async || query(&mut **locked.lock().await).await);
/// assert_eq!(third.await, Ok(3));
/// # }
/// ```
///
/// # Spans of attempts
///
/// A function's call can be put in a span, as each call of `operation` is an attempt. With the
/// crate `tracing`: `retry(policy, || fetch(7).instrument(info_span!("attempt")))`.
///
/// # Deadlines
///
/// `tokio::time::timeout` around the future cuts off an attempt or a wait. A
/// [`DeadlineLayer`](crate::DeadlineLayer) does not begin a wait that could not end in time, and
/// the error of the last attempt is returned earlier:
///
/// ```
/// use std::time::Duration;
/// use tower::{BoxError, Layer, ServiceExt, service_fn};
/// use tower_floodgate::{
///     DeadlineLayer,
///     retry::{Backoff, ExponentialRetry, retry},
/// };
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let policy = ExponentialRetry::new(9).backoff(Backoff::fixed(Duration::from_secs(2)));
/// let call = retry(policy, || async { Err::<(), BoxError>("no answer".into()) });
///
/// let within = DeadlineLayer::new(Duration::from_secs(5)).layer(service_fn(|call| call));
/// let start = tokio::time::Instant::now();
/// assert_eq!(within.oneshot(call).await.unwrap_err().to_string(), "no answer");
/// assert_eq!(start.elapsed(), Duration::from_secs(4));
/// # }
/// ```
///
/// # Cancellation
///
/// Nothing happens before the first poll. A drop ends the attempt or the wait. A retry that was
/// withdrawn from the budget is then not refunded.
///
/// # Panics
///
/// A wait panics outside a tokio runtime with its timer enabled.
pub fn retry<C, D, H, O, F, Fut, T, E>(
    policy: ExponentialRetry<C, D, H, O>,
    operation: F,
) -> RetryFuture<F, Fut, C, D, H, O>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    C: Classify<(), T, E>,
    D: CloneRequest<()>,
    H: OnDecision<(), T, E>,
    O: Observer,
{
    RetryFuture { policy, operation, state: State::Idle, waited: Duration::ZERO }
}

/// Resolves to the result of the last attempt. Returned by [`retry`].
///
/// Dropping it ends the attempt or the wait.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct RetryFuture<F, Fut, C = AnyError, D = ByClone, H = NoHook, O = Unobserved> {
    policy: ExponentialRetry<C, D, H, O>,
    operation: F,
    #[pin]
    state: State<Fut>,
    /// The sum of the waits that were decided on.
    waited: Duration,
}

#[pin_project(project = StateProjection)]
enum State<Fut> {
    /// Before an attempt.
    Idle,
    Attempt {
        #[pin]
        attempt: Fut,
        /// False if the policy need not see the result: see `clone_request` of the policy.
        is_judged: bool,
    },
    Wait(Delay),
    Completed,
}

impl<F, Fut, C, D, H, O> RetryFuture<F, Fut, C, D, H, O> {
    /// Resolves to the result, and to the [statistics](RetryStatistics) of its attempts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_floodgate::retry::{Backoff, ExponentialRetry, retry};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let policy = ExponentialRetry::new(3).backoff(Backoff::fixed(Duration::from_secs(2)));
    /// let (result, statistics) =
    ///     retry(policy, || async { Err::<(), _>("no answer") }).with_statistics().await;
    ///
    /// assert_eq!(result, Err("no answer"));
    /// assert_eq!(statistics.attempts(), 3);
    /// assert_eq!(statistics.waited(), Duration::from_secs(4));
    /// assert_eq!(statistics.elapsed(), Duration::from_secs(4));
    /// # }
    /// ```
    pub fn with_statistics(self) -> StatisticsFuture<F, Fut, C, D, H, O> {
        StatisticsFuture { retry: self, started: None }
    }
}

impl<F, Fut, C, D, H, O, T, E> Future for RetryFuture<F, Fut, C, D, H, O>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    C: Classify<(), T, E>,
    D: CloneRequest<()>,
    H: OnDecision<(), T, E>,
    O: Observer,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let policy = this.policy;
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Idle => {
                    let is_judged = Policy::<(), T, E>::clone_request(policy, &()).is_some();
                    State::Attempt { attempt: (this.operation)(), is_judged }
                }
                StateProjection::Attempt { attempt, is_judged } => {
                    let mut result = ready!(attempt.poll(cx));
                    let retry = if *is_judged { policy.retry(&mut (), &mut result) } else { None };
                    let Some(delay) = retry else {
                        this.state.set(State::Completed);
                        return Poll::Ready(result);
                    };
                    let wait = Duration::from_nanos(policy.inline.request.waited);
                    *this.waited = this.waited.saturating_add(wait);
                    State::Wait(delay)
                }
                StateProjection::Wait(delay) => {
                    ready!(Pin::new(delay).poll(cx));
                    State::Idle
                }
                StateProjection::Completed => panic!("polled after completion"),
            };
            this.state.set(next);
        }
    }
}

impl<F, Fut, C, D, H, O> fmt::Debug for RetryFuture<F, Fut, C, D, H, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryFuture")
            .field("attempt", &self.policy.inline.request.attempt())
            .finish_non_exhaustive()
    }
}

/// The attempts and the times of a [`retry`]. Made by
/// [`with_statistics`](RetryFuture::with_statistics).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryStatistics {
    attempts: u32,
    waited: Duration,
    elapsed: Duration,
}

impl RetryStatistics {
    /// Returns the number of attempts, the first one included.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the sum of the waits between the attempts, as they were decided on.
    ///
    /// Timers resolve one millisecond, so the time that passed in the waits can be longer.
    #[must_use]
    pub const fn waited(&self) -> Duration {
        self.waited
    }

    /// Returns the time from the first poll to the end, attempts and waits together.
    #[must_use]
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

/// Resolves to the result of the last attempt and the [`RetryStatistics`]. Returned by
/// [`with_statistics`](RetryFuture::with_statistics).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct StatisticsFuture<F, Fut, C = AnyError, D = ByClone, H = NoHook, O = Unobserved> {
    #[pin]
    retry: RetryFuture<F, Fut, C, D, H, O>,
    /// `None` before the first poll.
    started: Option<Instant>,
}

impl<F, Fut, C, D, H, O, T, E> Future for StatisticsFuture<F, Fut, C, D, H, O>
where
    RetryFuture<F, Fut, C, D, H, O>: Future<Output = Result<T, E>>,
{
    type Output = (Result<T, E>, RetryStatistics);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let started = *this.started.get_or_insert_with(time::now);
        let result = ready!(this.retry.as_mut().poll(cx));
        let statistics = RetryStatistics {
            attempts: this.retry.policy.inline.request.attempt(),
            waited: this.retry.waited,
            elapsed: time::now().saturating_duration_since(started),
        };
        Poll::Ready((result, statistics))
    }
}

impl<F, Fut, C, D, H, O> fmt::Debug for StatisticsFuture<F, Fut, C, D, H, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatisticsFuture").field("retry", &self.retry).finish_non_exhaustive()
    }
}
