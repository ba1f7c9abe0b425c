//! Stacks of three layers, called on one thread and on two.

use std::time::Duration;

use tower::{BoxError, Service, ServiceBuilder};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
};
use tower_resilience_retry::{RetryConfigBuilder, RetryLayer};

use super::peers::{self, LONG};
use crate::service::SMALL;

/// More permits than calls are in flight.
pub(crate) const PERMITS: u32 = 1_000;
pub(crate) const ATTEMPTS: u32 = 3;
/// A window with more permits than calls are made in it.
pub(crate) const LARGE_WINDOW: (u32, Duration) = (100_000, Duration::from_micros(100));

pub(crate) fn our_stack()
-> impl Service<u32, Error = BoxError, Future: Send> + Clone + Send + 'static {
    let (limit, window) = LARGE_WINDOW;
    ServiceBuilder::new()
        .layer(ConcurrencyBackpressureLayer::new(PERMITS))
        .layer(ExponentialRetryLayer::new(ExponentialRetry::new(ATTEMPTS)))
        .layer(WindowRateLimitLayer::new(limit, window))
        .service(SMALL)
}

pub(crate) fn resilience_stack() -> impl Service<u32> + Clone + Send + 'static {
    let (limit, window) = LARGE_WINDOW;
    ServiceBuilder::new()
        .layer(peers::bulkhead(PERMITS))
        .layer(resilience_retry().build())
        .layer(peers::sliding_log(limit, window, LONG))
        .service(SMALL)
}

pub(crate) fn resilience_retry<E: Send + Sync + 'static>() -> RetryConfigBuilder<u32, [u64; 1], E> {
    RetryLayer::builder().max_attempts(ATTEMPTS as usize)
}
