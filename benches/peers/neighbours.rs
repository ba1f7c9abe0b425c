//! The neighbours' limits, as their documentation builds them, shared by all services they are put on.

use std::{num::NonZeroU32, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota};
use tower_resilience_bulkhead::{BulkheadConfigBuilder, BulkheadLayer};
use tower_resilience_ratelimiter::{RateLimiterConfigBuilder, RateLimiterLayer, WindowType};

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// Waits in the call, as long as it takes.
pub(crate) fn bulkhead(places: usize) -> BulkheadLayer {
    build_bulkhead(bulkhead_of(places))
}

/// Turns away whatever can't go at once.
pub(crate) fn bulkhead_rejecting(places: usize) -> BulkheadLayer {
    build_bulkhead(bulkhead_of(places).reject_when_full())
}

/// Waits in `poll_ready`, as long as it takes.
pub(crate) fn bulkhead_ready(places: usize) -> BulkheadLayer {
    build_bulkhead(bulkhead_of(places).backpressure())
}

fn bulkhead_of(places: usize) -> BulkheadConfigBuilder {
    BulkheadLayer::builder().max_concurrent_calls(places)
}

fn build_bulkhead(builder: BulkheadConfigBuilder) -> BulkheadLayer {
    builder.build_with_handle().expect("places").0
}

/// The exact one: an entry for each issue. Waits in the call, at most for a given time.
pub(crate) fn sliding_log(limit: u64, window: Duration, max_wait: Duration) -> RateLimiterLayer {
    build_limiter(limiter(limit, window, WindowType::SlidingLog).timeout_duration(max_wait))
}

/// The exact one, waiting in `poll_ready`.
pub(crate) fn sliding_log_ready(limit: u64, window: Duration) -> RateLimiterLayer {
    build_limiter(limiter(limit, window, WindowType::SlidingLog).backpressure())
}

pub(crate) fn fixed(limit: u64, window: Duration) -> RateLimiterLayer {
    build_limiter(limiter(limit, window, WindowType::Fixed).timeout_duration(LONG))
}

fn limiter(limit: u64, window: Duration, kind: WindowType) -> RateLimiterConfigBuilder {
    let limit = usize::try_from(limit).expect("a limit that fits");
    RateLimiterLayer::builder().limit_for_period(limit).refresh_period(window).window_type(kind)
}

fn build_limiter(builder: RateLimiterConfigBuilder) -> RateLimiterLayer {
    builder.build_with_handle().expect("a limit and a window").0
}

/// The whole limit as its burst, and refilled evenly within the window.
pub(crate) fn governor(limit: u64, window: Duration) -> DefaultDirectRateLimiter {
    let burst = u32::try_from(limit).ok().and_then(NonZeroU32::new).expect("a limit that fits");
    let quota = Quota::with_period(window / burst.get()).expect("at least a nanosecond each");
    governor::RateLimiter::direct(quota.allow_burst(burst))
}

/// The whole limit at the end of each window. One of less than its shortest interval, a millisecond, is
/// made as long as that, and the limit larger with it.
pub(crate) fn leaky_bucket(limit: u64, window: Duration) -> leaky_bucket::RateLimiter {
    const SHORTEST: Duration = Duration::from_millis(1);
    let windows = SHORTEST.as_nanos().div_ceil(window.as_nanos()).max(1);
    let limit = usize::try_from(u128::from(limit) * windows).expect("a limit that fits");
    let mut builder = leaky_bucket::RateLimiter::builder();
    builder.max(limit).initial(limit).refill(limit).interval(window.max(SHORTEST)).build()
}
