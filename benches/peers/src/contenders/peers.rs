//! The peers' limits, built as in their documentation and shared by all services.

use std::{num::NonZeroU32, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota};
use tower_resilience_bulkhead::{BulkheadConfigBuilder, BulkheadLayer};
use tower_resilience_ratelimiter::{RateLimiterConfigBuilder, RateLimiterLayer, WindowType};

/// Longer than any run.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// Waits in the call, without a limit.
pub(crate) fn bulkhead(permits: usize) -> BulkheadLayer {
    build_bulkhead(bulkhead_of(permits))
}

/// Rejects a call that would have to wait.
pub(crate) fn bulkhead_rejecting(permits: usize) -> BulkheadLayer {
    build_bulkhead(bulkhead_of(permits).reject_when_full())
}

/// Waits in `poll_ready`, without a limit.
pub(crate) fn bulkhead_ready(permits: usize) -> BulkheadLayer {
    build_bulkhead(bulkhead_of(permits).backpressure())
}

fn bulkhead_of(permits: usize) -> BulkheadConfigBuilder {
    BulkheadLayer::builder().max_concurrent_calls(permits)
}

fn build_bulkhead(builder: BulkheadConfigBuilder) -> BulkheadLayer {
    builder.build_with_handle().expect("the limit is not zero").0
}

/// The exact window, with an entry for each call. Waits in the call, up to `max_wait`.
pub(crate) fn sliding_log(limit: u64, window: Duration, max_wait: Duration) -> RateLimiterLayer {
    build_limiter(limiter(limit, window, WindowType::SlidingLog).timeout_duration(max_wait))
}

/// The exact window. Waits in `poll_ready`.
pub(crate) fn sliding_log_ready(limit: u64, window: Duration) -> RateLimiterLayer {
    build_limiter(limiter(limit, window, WindowType::SlidingLog).backpressure())
}

pub(crate) fn fixed(limit: u64, window: Duration) -> RateLimiterLayer {
    build_limiter(limiter(limit, window, WindowType::Fixed).timeout_duration(LONG))
}

fn limiter(limit: u64, window: Duration, kind: WindowType) -> RateLimiterConfigBuilder {
    let limit = usize::try_from(limit).expect("the limit fits");
    RateLimiterLayer::builder().limit_for_period(limit).refresh_period(window).window_type(kind)
}

fn build_limiter(builder: RateLimiterConfigBuilder) -> RateLimiterLayer {
    builder.build_with_handle().expect("the settings are valid").0
}

/// A burst of the whole limit, refilled evenly within the window.
pub(crate) fn governor(limit: u64, window: Duration) -> DefaultDirectRateLimiter {
    let burst = u32::try_from(limit).ok().and_then(NonZeroU32::new).expect("the limit fits");
    let quota =
        Quota::with_period(window / burst.get()).expect("the period is at least a nanosecond");
    governor::RateLimiter::direct(quota.allow_burst(burst))
}

/// Refills the whole limit at the end of each window.
///
/// leaky-bucket's shortest interval is a millisecond. A shorter window is extended to that, and the
/// limit in proportion.
pub(crate) fn leaky_bucket(limit: u64, window: Duration) -> leaky_bucket::RateLimiter {
    const SHORTEST: Duration = Duration::from_millis(1);
    let windows = SHORTEST.as_nanos().div_ceil(window.as_nanos()).max(1);
    let limit = usize::try_from(u128::from(limit) * windows).expect("the limit fits");
    let mut builder = leaky_bucket::RateLimiter::builder();
    builder.max(limit).initial(limit).refill(limit).interval(window.max(SHORTEST)).build()
}
