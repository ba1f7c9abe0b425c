use std::time::Duration;

use tower::{BoxError, ServiceBuilder};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, DeadlineLayer, ExemptLayer,
    ExponentialRetry, ExponentialRetryHandle, ExponentialRetryLayer, ServiceBuilderExt,
    WindowRateLimitHandle, WindowRateLimitLayer,
    retry::{Backoff, Jitter, RetryBudget, RetryStatistics, Waits, retry},
};
use tower_service::Service;

use crate::{Respond, shared};

const SECOND: Duration = Duration::from_secs(1);

pub fn plain() -> impl Service<u32, Response = u32, Error = std::io::Error> {
    let stack = ServiceBuilder::new()
        .concurrency_backpressure(5)
        .exponential_retry(3)
        .window_rate_limit(2, SECOND)
        .service(Respond(1));
    shared::<u32, _>(stack)
}

pub fn tuned() -> impl Service<u32, Response = u32, Error = BoxError> {
    let backoff = Backoff::new(SECOND, SECOND).jitter(Jitter::Equal);
    let retry = ExponentialRetry::new(3).backoff(backoff).budget(RetryBudget::new(0.1)).seed(7);
    let rate = WindowRateLimitLayer::fixed(2, SECOND).max_queue(3).max_wait(SECOND);
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(SECOND))
        .layer(ConcurrencyBackpressureLayer::new(5).max_queue(3).max_wait(SECOND))
        .retry(retry)
        .layer(ExemptLayer::new(|request: &u32| *request == 0, rate))
        .service(Respond(1));
    shared::<u32, _>(stack)
}

pub async fn function() -> (std::io::Result<u32>, RetryStatistics) {
    let policy = ExponentialRetry::new(3).waits(Waits::chain([SECOND]));
    retry(policy, || async { Ok(1) }).with_statistics().await
}

pub fn named() -> (impl Service<u32, Response = u32>, ExponentialRetryHandle) {
    let retry = ExponentialRetryLayer::new(ExponentialRetry::new(3).name("named"));
    let handle = retry.handle();
    let stack = ServiceBuilder::new().layer(retry).service(Respond(1));
    (shared::<u32, _>(stack), handle)
}

pub async fn ended(in_flight: ConcurrencyBackpressureHandle, rate: WindowRateLimitHandle) {
    in_flight.closed().await;
    in_flight.drained().await;
    rate.closed().await;
    rate.drained().await;
}
