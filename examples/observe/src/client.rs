//! A reqwest client behind all three layers.

use std::time::Duration;

use reqwest::{Client, Request, Response, redirect, retry};
use tower::{BoxError, Service, ServiceBuilder};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, ExponentialRetry,
    PauseOnHintLayer, Rejected, WindowRateLimitHandle, WindowRateLimitLayer,
    client::{AttemptSpanLayer, HttpClassifier, HttpHints, HttpRetryLayer},
    observe::Limits,
    retry::{Backoff, ExponentialRetryHandle, RetryBudget},
};

use crate::{CLIENT, tally::Around};

const SECOND: Duration = Duration::from_secs(1);
/// The client's own rate: requests per second, below the quota of the server.
pub(crate) const RATE: u32 = 90;

/// The limits of the client, and the counts around them.
#[derive(Clone)]
pub(crate) struct Observed {
    pub(crate) in_flight: ConcurrencyBackpressureHandle,
    pub(crate) rate: WindowRateLimitHandle,
    pub(crate) permits: Around,
    pub(crate) issues: Around,
    pub(crate) retry: ExponentialRetryHandle,
}

/// Returns the client and its limits, which are added to `limits`.
pub(crate) fn client(
    limits: &Limits,
    seed: u64,
) -> reqwest::Result<(
    impl Service<Request, Response = Response, Error = BoxError> + Clone + 'static,
    Observed,
)> {
    // The layers count each attempt, so reqwest makes none by itself.
    let reqwest = Client::builder()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .build()?;
    let in_flight = ConcurrencyBackpressureLayer::new(24)
        .max_queue(16)
        .max_wait(Duration::from_millis(250))
        .name(CLIENT);
    let rate =
        WindowRateLimitLayer::new(RATE, SECOND).max_wait(Duration::from_millis(800)).name(CLIENT);
    let budget = RetryBudget::builder(0.2).floor_per_second(5).max_saved(20).build();
    let policy = ExponentialRetry::new(3)
        .backoff(Backoff::new(Duration::from_millis(50), SECOND))
        .max_elapsed(SECOND * 3)
        .max_hint(SECOND * 10)
        .budget(budget)
        .seed(seed)
        .name(CLIENT)
        .classify(HttpClassifier::new().assume_no_redirects());
    let observed = Observed {
        in_flight: in_flight.handle(),
        rate: rate.handle(),
        permits: Around::default(),
        issues: Around::default(),
        retry: policy.handle(),
    };
    limits.add(observed.in_flight.clone());
    limits.add(observed.rate.clone());
    limits.add(observed.retry.clone());

    let (permits, issues) = (observed.permits.clone(), observed.issues.clone());
    let (all, attempts) = (permits.clone(), issues.clone());
    let client = ServiceBuilder::new()
        .map_err(move |error: BoxError| {
            // The window's rejections have been counted inside the retry.
            let rejected = Rejected::find(&*error).filter(|it| !it.is_rate_limited());
            rejected.into_iter().for_each(|rejected| all.reject(rejected));
            error
        })
        .layer(permits.before)
        .layer(in_flight)
        .layer(permits.behind)
        .layer(HttpRetryLayer::new(policy))
        .layer(AttemptSpanLayer::new())
        .layer(issues.before)
        .map_err(move |error: BoxError| {
            Rejected::find(&*error).into_iter().for_each(|rejected| attempts.reject(rejected));
            error
        })
        .layer(rate)
        .layer(issues.behind)
        // A server that asks for half a minute gets a second.
        .layer(PauseOnHintLayer::new(observed.rate.clone(), HttpHints::new()).max_pause(SECOND))
        .service(reqwest);
    Ok((client, observed))
}
