use std::time::Duration;

use tower::{ServiceBuilder, layer::util::Stack};

use crate::{
    backpressure::ConcurrencyBackpressureLayer,
    rate_limit::WindowRateLimitLayer,
    retry::{ExponentialRetry, ExponentialRetryLayer},
};

/// Methods of [`ServiceBuilder`] for the three layers with their defaults. Sealed.
///
/// `.layer(...)` takes a layer with other settings.
///
/// ```
/// use std::time::Duration;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_floodgate::ServiceBuilderExt;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), std::io::Error> {
/// let service = ServiceBuilder::new()
///     .concurrency_backpressure(5)
///     .exponential_retry(3)
///     .window_rate_limit(2, Duration::from_secs(1))
///     .service(service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n + 1) }));
///
/// assert_eq!(service.oneshot(1).await?, 2);
/// # Ok(())
/// # }
/// ```
pub trait ServiceBuilderExt<L>: sealed::Sealed + Sized {
    /// Bounds the requests in flight, as [`ConcurrencyBackpressureLayer::new`] does.
    ///
    /// # Panics
    ///
    /// If `max_in_flight` is 0 or above 2<sup>31</sup> - 1.
    #[track_caller]
    fn concurrency_backpressure(
        self,
        max_in_flight: u32,
    ) -> ServiceBuilder<Stack<ConcurrencyBackpressureLayer, L>>;

    /// Bounds the requests in any span of length `window`, as [`WindowRateLimitLayer::new`] does.
    ///
    /// # Panics
    ///
    /// If `limit` is 0 or above 2<sup>31</sup> - 1, or `window` is zero or longer than 100 years.
    #[track_caller]
    fn window_rate_limit(
        self,
        limit: u32,
        window: Duration,
    ) -> ServiceBuilder<Stack<WindowRateLimitLayer, L>>;

    /// Retries failed requests up to `max_attempts` attempts, as [`ExponentialRetry::new`] does.
    ///
    /// # Panics
    ///
    /// If `max_attempts` is 0.
    #[track_caller]
    fn exponential_retry(
        self,
        max_attempts: u32,
    ) -> ServiceBuilder<Stack<ExponentialRetryLayer, L>>;
}

impl<L> ServiceBuilderExt<L> for ServiceBuilder<L> {
    fn concurrency_backpressure(
        self,
        max_in_flight: u32,
    ) -> ServiceBuilder<Stack<ConcurrencyBackpressureLayer, L>> {
        self.layer(ConcurrencyBackpressureLayer::new(max_in_flight))
    }

    fn window_rate_limit(
        self,
        limit: u32,
        window: Duration,
    ) -> ServiceBuilder<Stack<WindowRateLimitLayer, L>> {
        self.layer(WindowRateLimitLayer::new(limit, window))
    }

    fn exponential_retry(
        self,
        max_attempts: u32,
    ) -> ServiceBuilder<Stack<ExponentialRetryLayer, L>> {
        self.layer(ExponentialRetryLayer::new(ExponentialRetry::new(max_attempts)))
    }
}

mod sealed {
    pub trait Sealed {}
    impl<L> Sealed for tower::ServiceBuilder<L> {}
}
