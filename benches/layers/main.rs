//! What an admitted call costs in each layer and in a stack of them, beside tower's own layers.
//!
//! A call is `poll_ready`, `call` and one poll of the future, on one thread, through to a bare service
//! that is always ready and answers at once. No call waits and none is turned away or retried: if one
//! is, the run panics. What waiting costs, and what threads cost each other, is not measured here.
//!
//! The contenders run in turns, in batches of a fraction of a millisecond, in a new random order each
//! round, and are compared within the round. The table tells of each:
//!
//! - *ns*: the time of a call above that of the bare service, the median of all rounds. By itself it says
//!   nothing: it is another one on another machine, and on the same one an hour later.
//! - *ratio*: that time over the one of tower's counterpart, which is the row `1` above it. The median,
//!   and the *middle half* of the rounds. Below 1 is cheaper.
//! - *quiet*: the ratio of the two lower deciles, as if only the least disturbed rounds had been run.
//!   Neighbours on a machine don't slow all contenders by the same factor, so *ratio* can be
//!   another one when they are busy; *quiet* hardly is.
//!
//! tower's `GlobalConcurrencyLimit` makes the same service as its `ConcurrencyLimit`, so its ratios are
//! 1 but for chance. Believe a difference that is larger than that and comes again in another run. A
//! changed line can change what is inlined elsewhere, so judge a change by what the code now does, too.
//!
//! ```text
//! cargo bench --bench layers
//! ```

mod policies;
mod race;

use std::{
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
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
const EACH_NOTED: (u64, Duration) = (200, Duration::from_micros(1));
const FEW_NOTED: (u64, Duration) = (10_000, Duration::from_micros(10));

const ATTEMPTS: u32 = 3;
/// Retries per request.
const RATIO: f32 = 0.25;

fn main() {
    // tower's rate limit makes a timer, which needs a runtime around it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without threads or I/O");
    let _inside = runtime.enter();

    let mut race = Race::default();
    concurrency(&mut race);
    rate(&mut race);
    large_response(&mut race);
    retry(&mut race);
    stack(&mut race);
    cloned(&mut race);

    // `cargo test --benches` and others want to know whether it runs, not how fast.
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
    race.section("concurrency", calls(SMALL));
    let layer = ConcurrencyLimitLayer::new(PLACES);
    race.add("tower ConcurrencyLimit", calls(layer.layer(SMALL)));
    let layer = GlobalConcurrencyLimitLayer::new(PLACES);
    race.add("tower GlobalConcurrencyLimit", calls(layer.layer(SMALL)));
    let layer = ConcurrencyBackpressureLayer::new(PLACES);
    race.add("backpressure", calls(layer.layer(SMALL)));
    let layer = ConcurrencyBackpressureLayer::new(PLACES);
    let layer = layer.max_waiting(10).max_wait(Duration::from_secs(1));
    race.add("backpressure, bounded line", calls(layer.layer(SMALL)));
}

fn rate(race: &mut Race) {
    for (section, (limit, window)) in [("rate, 200", EACH_NOTED), ("rate, 10 000", FEW_NOTED)] {
        race.section(section, calls(SMALL));
        let layer = RateLimitLayer::new(limit, window);
        race.add("tower RateLimit", calls(layer.layer(SMALL)));
        let layer = WindowRateLimitLayer::new(limit, window);
        race.add("sliding window", calls(layer.layer(SMALL)));
        let layer = layer.max_waiting(10).max_wait(Duration::from_secs(1));
        race.add("sliding window, bounded line", calls(layer.layer(SMALL)));
        let layer = WindowRateLimitLayer::fixed(limit, window);
        race.add("fixed window", calls(layer.layer(SMALL)));
    }
}

/// A response that is moved on its way costs the more the larger it is.
fn large_response(race: &mut Race) {
    race.section("concurrency, large response", calls(LARGE));
    let layer = ConcurrencyLimitLayer::new(PLACES);
    race.add("tower ConcurrencyLimit", calls(layer.layer(LARGE)));
    let layer = ConcurrencyBackpressureLayer::new(PLACES);
    race.add("backpressure", calls(layer.layer(LARGE)));
    let layer = ConcurrencyBackpressureLayer::new(PLACES).max_waiting(10);
    race.add("backpressure, bounded line", calls(layer.layer(LARGE)));

    let (limit, window) = FEW_NOTED;
    race.section("rate, large response", calls(LARGE));
    let layer = RateLimitLayer::new(limit, window);
    race.add("tower RateLimit", calls(layer.layer(LARGE)));
    let layer = WindowRateLimitLayer::new(limit, window);
    race.add("sliding window", calls(layer.layer(LARGE)));
    race.add("sliding window, bounded line", calls(layer.max_waiting(10).layer(LARGE)));
}

fn retry(race: &mut Race) {
    race.section("retry", calls(SMALL));
    let layer = RetryLayer::new(Attempts(ATTEMPTS));
    race.add("tower Retry, counts attempts", calls(layer.layer(SMALL)));
    let policy = ExponentialRetry::new(ATTEMPTS);
    let layer = ExponentialRetryLayer::new(policy.clone());
    race.add("exponential", calls(layer.layer(SMALL)));
    let layer = ExponentialRetryLayer::new(policy.clone().max_elapsed(Duration::from_secs(60)));
    race.add("exponential, max_elapsed", calls(layer.layer(SMALL)));

    race.section("retry, budget", calls(SMALL));
    let layer = RetryLayer::new(Budgeted::new(RATIO));
    race.add("tower Retry, TpsBudget", calls(layer.layer(SMALL)));
    let budget = RetryBudget::new(RATIO.into());
    // As it is while all goes well: as much is saved as can be.
    let layer = ExponentialRetryLayer::new(policy.clone().budget(budget.clone()));
    race.add("exponential, saved up", calls(layer.layer(SMALL)));
    // Never as much as can be, so that every request pays in.
    let layer = ExponentialRetryLayer::new(policy.budget(budget.max_saved(u32::MAX)));
    race.add("exponential, paying in", calls(layer.layer(SMALL)));
}

fn stack(race: &mut Race) {
    let (limit, window) = FEW_NOTED;
    let gate = ConcurrencyBackpressureLayer::new(PLACES);
    let rate = WindowRateLimitLayer::new(limit, window);
    let retry = ExponentialRetryLayer::new(ExponentialRetry::new(ATTEMPTS));

    race.section("stack of three", calls(SMALL));
    let service = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(PLACES))
        .layer(RateLimitLayer::new(limit, window))
        .layer(RetryLayer::new(Attempts(ATTEMPTS)))
        .service(SMALL);
    race.add("tower, requests limited", calls(service));
    let service =
        ServiceBuilder::new().layer(gate.clone()).layer(rate.clone()).layer(retry.clone());
    race.add("ours, requests limited", calls(service.service(SMALL)));
    let service = ServiceBuilder::new().layer(gate).layer(retry).layer(rate);
    race.add("ours, attempts limited", calls(service.service(SMALL)));
}

fn cloned(race: &mut Race) {
    let (limit, window) = FEW_NOTED;
    let gate = ConcurrencyBackpressureLayer::new(PLACES);
    let rate = WindowRateLimitLayer::new(limit, window);
    let retry = ExponentialRetryLayer::new(ExponentialRetry::new(ATTEMPTS));

    race.section("a clone per call", clones(SMALL));
    let service = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(PLACES))
        .layer(RetryLayer::new(Attempts(ATTEMPTS)))
        .service(SMALL);
    race.add("tower, concurrency and retry", clones(service));
    let service = ServiceBuilder::new().layer(gate.clone()).layer(retry.clone());
    race.add("ours, concurrency and retry", clones(service.service(SMALL)));
    let service = ServiceBuilder::new().layer(gate).layer(retry).layer(rate);
    race.add("ours, and rate", clones(service.service(SMALL)));
}

/// Always ready, and answers at once with so many words.
///
/// Out of line, as a client or a handler would be: no layer can be compiled in the knowledge that it
/// doesn't fail.
#[derive(Clone)]
struct Bare<const WORDS: usize>;

struct Answer<const WORDS: usize>(u32);

/// A response that fits into a register.
const SMALL: Bare<1> = Bare;
/// One as large as the head of an HTTP response.
const LARGE: Bare<14> = Bare;

impl<const WORDS: usize> Service<u32> for Bare<WORDS> {
    type Response = [u64; WORDS];
    type Error = tower::BoxError;
    type Future = Answer<WORDS>;

    #[inline(never)]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        black_box(self);
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: u32) -> Self::Future {
        Answer(black_box(request))
    }
}

impl<const WORDS: usize> Future for Answer<WORDS> {
    type Output = Result<[u64; WORDS], tower::BoxError>;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok([black_box(self.0).into(); WORDS]))
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
