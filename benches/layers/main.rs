//! What an admitted call costs in each layer and in a stack of them, beside tower's own layers.
//!
//! A call is `poll_ready`, `call` and one poll of the future, on one thread, through to a service that
//! is always ready and answers at once. No call waits and none is turned away or retried: if one is, the
//! run panics. What waiting costs, and what threads cost each other, is not measured here.
//!
//! The contenders run in turns, in batches of a fraction of a millisecond, in a new random order each
//! round, and are compared within the round. The table has the medians over all rounds:
//!
//! - *ns* is the time of a call above that of the bare service. By itself it says nothing: it is
//!   another one on another machine, and on the same one an hour later.
//! - *ratio* is that time over the one of tower's counterpart, the row `1` above it. Below 1 is cheaper.
//! - *middle half* has the ratios of half of the rounds. Two ratios whose halves overlap are the same.
//!
//! tower's `GlobalConcurrencyLimit` makes the same service as its `ConcurrencyLimit`: as far as its
//! ratio is from 1, others may be by chance.
//!
//! ```text
//! cargo bench --bench layers
//! ```

mod policies;
mod race;

use std::{
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower::{
    Layer, Service, ServiceBuilder,
    limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, RateLimitLayer},
    retry::RetryLayer,
};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
    retry::RetryBudget,
};

use self::{
    policies::{Attempts, Budgeted},
    race::{CALLS, Race},
};

const ROUNDS: usize = 1_000;

/// As many as are never in flight here.
const PLACES: usize = 1_000;

/// Windows that run out in every batch, so that taking places back is measured, too, and that are so
/// short that by then there are places to take back: nobody waits. Of the first, every issue has a time
/// of its own; of the second, every 64th.
const SMALL: (u64, Duration) = (200, Duration::from_micros(1));
const LARGE: (u64, Duration) = (10_000, Duration::from_micros(10));

const ATTEMPTS: u32 = 3;
/// Retries per request.
const RATIO: f32 = 0.25;

fn main() {
    // tower's rate limit makes a timer, which needs a runtime around it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without threads or I/O");
    let _inside = runtime.enter();

    let mut race = Race::new(calls(Free));
    concurrency(&mut race);
    rate(&mut race);
    retry(&mut race);
    stack(&mut race);
    cloned(&mut race);

    // Anything but `cargo bench` wants to know whether it runs, not how fast.
    if std::env::args().any(|argument| argument == "--bench") {
        println!("{}", race.run(ROUNDS));
        println!("The bare service is taken off `ns`. Only ratios mean something.");
        println!(
            "tower's RateLimit is not Clone: it can't be in the last section, nor below a retry."
        );
    } else {
        race.run(1);
    }
}

fn concurrency(race: &mut Race) {
    race.section("concurrency");
    let layer = ConcurrencyLimitLayer::new(PLACES);
    let tower = race.tower("tower ConcurrencyLimit", calls(layer.layer(Free)));
    let layer = GlobalConcurrencyLimitLayer::new(PLACES);
    race.against(tower, "tower GlobalConcurrencyLimit", calls(layer.layer(Free)));
    let layer = ConcurrencyBackpressureLayer::new(PLACES);
    race.against(tower, "backpressure", calls(layer.layer(Free)));
    let layer = layer.max_waiting(10).max_wait(Duration::from_secs(1));
    race.against(tower, "backpressure, bounded line", calls(layer.layer(Free)));
}

fn rate(race: &mut Race) {
    for (section, (limit, window)) in [("rate, 200", SMALL), ("rate, 10 000", LARGE)] {
        race.section(section);
        let layer = RateLimitLayer::new(limit, window);
        let tower = race.tower("tower RateLimit", calls(layer.layer(Free)));
        let layer = WindowRateLimitLayer::new(limit, window);
        race.against(tower, "sliding window", calls(layer.layer(Free)));
        let layer = layer.max_waiting(10).max_wait(Duration::from_secs(1));
        race.against(tower, "sliding window, bounded line", calls(layer.layer(Free)));
        let layer = WindowRateLimitLayer::fixed(limit, window);
        race.against(tower, "fixed window", calls(layer.layer(Free)));
    }
}

fn retry(race: &mut Race) {
    race.section("retry");
    let layer = RetryLayer::new(Attempts(ATTEMPTS));
    let tower = race.tower("tower Retry, counts attempts", calls(layer.layer(Free)));
    let policy = ExponentialRetry::new(ATTEMPTS);
    let layer = ExponentialRetryLayer::new(policy.clone());
    race.against(tower, "exponential", calls(layer.layer(Free)));
    let layer = ExponentialRetryLayer::new(policy.clone().max_elapsed(Duration::from_secs(60)));
    race.against(tower, "exponential, max_elapsed", calls(layer.layer(Free)));

    race.section("retry, budget");
    let layer = RetryLayer::new(Budgeted::new(RATIO));
    let tower = race.tower("tower Retry, TpsBudget", calls(layer.layer(Free)));
    let budget = RetryBudget::new(RATIO.into());
    // As it is while all goes well: as much is saved as can be.
    let layer = ExponentialRetryLayer::new(policy.clone().budget(budget.clone()));
    race.against(tower, "exponential, saved up", calls(layer.layer(Free)));
    // Never as much as can be, so that every request pays in.
    let layer = ExponentialRetryLayer::new(policy.budget(budget.max_saved(u32::MAX)));
    race.against(tower, "exponential, paying in", calls(layer.layer(Free)));
}

fn stack(race: &mut Race) {
    let (limit, window) = LARGE;
    let gate = ConcurrencyBackpressureLayer::new(PLACES);
    let rate = WindowRateLimitLayer::new(limit, window);
    let retry = ExponentialRetryLayer::new(ExponentialRetry::new(ATTEMPTS));

    race.section("stack of three");
    let service = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(PLACES))
        .layer(RateLimitLayer::new(limit, window))
        .layer(RetryLayer::new(Attempts(ATTEMPTS)))
        .service(Free);
    let tower = race.tower("tower, requests limited", calls(service));
    let service =
        ServiceBuilder::new().layer(gate.clone()).layer(rate.clone()).layer(retry.clone());
    race.against(tower, "ours, requests limited", calls(service.service(Free)));
    let service = ServiceBuilder::new().layer(gate).layer(retry).layer(rate);
    race.against(tower, "ours, attempts limited", calls(service.service(Free)));
}

fn cloned(race: &mut Race) {
    let (limit, window) = LARGE;
    let gate = ConcurrencyBackpressureLayer::new(PLACES);
    let rate = WindowRateLimitLayer::new(limit, window);
    let retry = ExponentialRetryLayer::new(ExponentialRetry::new(ATTEMPTS));

    race.section("a clone per call");
    let service = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(PLACES))
        .layer(RetryLayer::new(Attempts(ATTEMPTS)))
        .service(Free);
    let tower = race.tower("tower, concurrency and retry", clones(service));
    let service = ServiceBuilder::new().layer(gate.clone()).layer(retry.clone());
    race.against(tower, "ours, concurrency and retry", clones(service.service(Free)));
    let service = ServiceBuilder::new().layer(gate).layer(retry).layer(rate);
    race.against(tower, "ours, and rate", clones(service.service(Free)));
}

/// Always ready, and answers at once.
#[derive(Clone)]
struct Free;

impl Service<u32> for Free {
    type Response = u32;
    type Error = tower::BoxError;
    type Future = Ready<Result<u32, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        ready(Ok(request))
    }
}

/// A batch of calls of one service.
fn calls<S: Service<u32>>(mut service: S) -> impl FnMut() {
    move || (0..CALLS).for_each(|request| call(&mut service, request))
}

/// A batch of calls, each of a new clone, as servers do it.
fn clones<S: Service<u32> + Clone>(service: S) -> impl FnMut() {
    move || (0..CALLS).for_each(|request| call(&mut service.clone(), request))
}

fn call<S: Service<u32>>(service: &mut S, request: u32) {
    let service = black_box(service);
    let mut cx = Context::from_waker(Waker::noop());
    let readiness = service.poll_ready(&mut cx);
    assert!(matches!(readiness, Poll::Ready(Ok(()))), "a call had to wait: it measures nothing");
    let response = pin!(service.call(black_box(request))).poll(&mut cx);
    assert!(matches!(black_box(response), Poll::Ready(Ok(_))), "a call was not answered");
}
