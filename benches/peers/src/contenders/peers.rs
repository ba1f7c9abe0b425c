//! The peers' limits, built as in their documentation and shared by all services.

use std::{hash::Hash, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota};
use tokio::sync::Semaphore;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, RateLimitLayer};
use tower_resilience_bulkhead::{BulkheadConfigBuilder, BulkheadLayer};
use tower_resilience_ratelimiter::{RateLimiterConfigBuilder, RateLimiterLayer, WindowType};

/// Longer than any run.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// tower's limit, with one semaphore per service, which its clones share.
pub(crate) fn concurrency_limit(permits: u32) -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(permits as usize)
}

/// tower's limit, with one semaphore per layer.
pub(crate) fn global_concurrency_limit(permits: u32) -> GlobalConcurrencyLimitLayer {
    GlobalConcurrencyLimitLayer::new(permits as usize)
}

/// tower's rate limit. Its services cannot be cloned.
pub(crate) fn rate_limit(limit: u32, window: Duration) -> RateLimitLayer {
    RateLimitLayer::new(limit.into(), window)
}

/// tokio's semaphore, the base of tower's limits.
pub(crate) fn semaphore(permits: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits as usize))
}

/// Waits in the call, without a limit.
pub(crate) fn bulkhead(permits: u32) -> BulkheadLayer {
    build_bulkhead(bulkhead_of(permits))
}

/// Rejects a call that would have to wait.
pub(crate) fn bulkhead_rejecting(permits: u32) -> BulkheadLayer {
    build_bulkhead(bulkhead_of(permits).reject_when_full())
}

/// Waits in `poll_ready`, without a limit.
pub(crate) fn bulkhead_ready(permits: u32) -> BulkheadLayer {
    build_bulkhead(bulkhead_of(permits).backpressure())
}

fn bulkhead_of(permits: u32) -> BulkheadConfigBuilder {
    BulkheadLayer::builder().max_concurrent_calls(permits as usize)
}

fn build_bulkhead(builder: BulkheadConfigBuilder) -> BulkheadLayer {
    builder.build_with_handle().expect("the limit is not zero").0
}

/// The exact window, with an entry for each call. Waits in the call, up to `max_wait`.
pub(crate) fn sliding_log(limit: u32, window: Duration, max_wait: Duration) -> RateLimiterLayer {
    build_limiter(limiter(limit, window, WindowType::SlidingLog).timeout_duration(max_wait))
}

/// The exact window. Waits in `poll_ready`.
pub(crate) fn sliding_log_ready(limit: u32, window: Duration) -> RateLimiterLayer {
    build_limiter(limiter(limit, window, WindowType::SlidingLog).backpressure())
}

pub(crate) fn fixed(limit: u32, window: Duration) -> RateLimiterLayer {
    build_limiter(limiter(limit, window, WindowType::Fixed).timeout_duration(LONG))
}

fn limiter(limit: u32, window: Duration, kind: WindowType) -> RateLimiterConfigBuilder {
    let builder = RateLimiterLayer::builder().limit_for_period(limit as usize);
    builder.refresh_period(window).window_type(kind)
}

fn build_limiter(builder: RateLimiterConfigBuilder) -> RateLimiterLayer {
    builder.build_with_handle().expect("the settings are valid").0
}

/// A burst of the whole limit, refilled evenly within the window.
pub(crate) fn governor(limit: u32, window: Duration) -> DefaultDirectRateLimiter {
    governor::RateLimiter::direct(quota(limit, window))
}

/// The same for each key, in its default map, which is dashmap's.
pub(crate) fn keyed_governor<K: Clone + Eq + Hash>(
    limit: u32,
    window: Duration,
) -> DefaultKeyedRateLimiter<K> {
    governor::RateLimiter::keyed(quota(limit, window))
}

fn quota(limit: u32, window: Duration) -> Quota {
    let burst = NonZeroU32::new(limit).expect("the limit is not zero");
    let quota = Quota::with_period(window / limit).expect("the period is at least a nanosecond");
    quota.allow_burst(burst)
}

/// Refills the whole limit at the end of each window.
///
/// leaky-bucket's shortest interval is a millisecond. A shorter window is extended to that, and the
/// limit in proportion.
pub(crate) fn leaky_bucket(limit: u32, window: Duration) -> leaky_bucket::RateLimiter {
    const SHORTEST: Duration = Duration::from_millis(1);
    let windows = SHORTEST.as_nanos().div_ceil(window.as_nanos()).max(1);
    let limit = usize::try_from(u128::from(limit) * windows).expect("the limit fits");
    let mut builder = leaky_bucket::RateLimiter::builder();
    builder.max(limit).initial(limit).refill(limit).interval(window.max(SHORTEST)).build()
}
