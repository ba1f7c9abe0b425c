//! Counts the instructions of an admitted call, and compares them with the recorded numbers.
//!
//! valgrind's callgrind counts them, independently of other load: a program that calls n times is
//! compared with one that calls 2n times. The numbers are those of a release build:
//!
//! ```text
//! cargo test --release -p instructions
//! ```
//!
//! There is some slack, because compilers differ. If a count has grown for a reason, or has become
//! smaller, record the new one here.

use std::time::Duration;

use futures::future::join_all;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, ServiceBuilder};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
    backpressure::{Adaptive, Class, Judged, ServedIfOk, Terms},
    keyed::{KeyedLimitLayer, Rule},
    reject::{NeverReject, RejectWithBoxError},
    retry::RetryBudget,
    shared::{Away, SharedKeyedWindow, SharedRateLimitLayer, SharedWindow, Store, StoreError},
};

include!("harness.rs");

/// The names of the stacks, their calls, and the recorded instructions per call.
///
/// A *clone* is a service that is cloned for each request, as axum, hyper and tonic do. A *large
/// response* has a kilobyte.
const CALLS: [Call; 27] = [
    ("concurrency limit", |calls| call(calls, concurrency().layer(Echo)), 85),
    ("concurrency limit, bounded", |calls| call(calls, bounded().layer(Echo)), 89),
    ("concurrency limit, clone", |calls| oneshot(calls, &concurrency().layer(Echo)), 229),
    ("concurrency limit, adaptive", |calls| call(calls, adaptive().layer(Echo)), 91),
    ("concurrency limit, adaptive, clone", |calls| oneshot(calls, &adaptive().layer(Echo)), 239),
    ("concurrency limit, large response", |calls| call(calls, concurrency().layer(Large)), 409),
    (
        "concurrency limit, adaptive, large response",
        |calls| call(calls, adaptive().layer(Large)),
        415,
    ),
    (
        "concurrency limit, bounded, large response",
        |calls| call(calls, bounded().layer(Large)),
        588,
    ),
    // Terms without a deadline read no clock, which is a system call under valgrind.
    ("concurrency limit, with terms", |calls| call(calls, bounded().with_terms().layer(Echo)), 175),
    (
        "concurrency limit, by request",
        |calls| call(calls, bounded().by_request(terms).layer(Echo)),
        755,
    ),
    ("window", |calls| call(calls, window().layer(Echo)), 50),
    ("window, clone", |calls| oneshot(calls, &window().layer(Echo)), 186),
    ("retry", |calls| call(calls, retry().layer(Echo)), 96),
    ("retry with a budget", |calls| call(calls, budgeted().layer(Echo)), 160),
    ("all three", |calls| call(calls, stack(Echo)), 345),
    ("all three, adaptive", |calls| call(calls, adaptive_stack()), 350),
    ("all three, clone", |calls| oneshot(calls, &stack(Echo)), 723),
    ("keyed, 10", |calls| call(calls, keyed(client().at_most(10, BRIEF)).layer(Echo)), 1108),
    ("keyed, 1000", |calls| call(calls, keyed(client().at_most(1000, BRIEF)).layer(Echo)), 1483),
    (
        "keyed, long window",
        |calls| call(calls, keyed(client().at_most(10_000_000, HOUR)).layer(Echo)),
        1033,
    ),
    (
        "keyed, two windows",
        |calls| {
            let rule = client().at_most(10, BRIEF).at_most(10_000_000, HOUR);
            call(calls, keyed(rule).layer(Echo));
        },
        1280,
    ),
    (
        "keyed, two rules",
        |calls| {
            let rules =
                (client().at_most(10, BRIEF), Rule::global("all").at_most(10_000_000, HOUR));
            call(calls, KeyedLimitLayer::new(rules).layer(Echo));
        },
        1487,
    ),
    ("keyed, rejected", |calls| rejected(calls, client().at_most(1, HOUR)), 1527),
    (
        "keyed, max_in_flight",
        |calls| call(calls, keyed(client().max_in_flight(1)).layer(Echo)),
        835,
    ),
    ("shared quota", |calls| shared(calls, |calls, quota| call(calls, quota.layer(Echo))), 494),
    (
        "shared quota, clone",
        |calls| shared(calls, |calls, quota| oneshot(calls, &quota.layer(Echo))),
        536,
    ),
    ("shared quota of a key", shared_key, 795),
];

fn main() -> ExitCode {
    check(&CALLS)
}

fn terms(_: &u64) -> Terms {
    Terms::new().class(Class::Normal)
}

fn concurrency() -> ConcurrencyBackpressureLayer {
    ConcurrencyBackpressureLayer::new(100)
}

/// Returns a limit that adapts, of which a call never takes the last permit.
fn adaptive() -> ConcurrencyBackpressureLayer<Judged<NeverReject, ServedIfOk>> {
    ConcurrencyBackpressureLayer::adaptive(Adaptive::new())
}

fn bounded() -> ConcurrencyBackpressureLayer<RejectWithBoxError> {
    concurrency().max_queue(10)
}

/// Returns a window that is never used up, so that the clock is read rarely: under valgrind that is
/// a system call.
fn window() -> WindowRateLimitLayer {
    WindowRateLimitLayer::new(100_000_000, Duration::from_secs(1))
}

fn retry() -> ExponentialRetryLayer {
    ExponentialRetryLayer::new(ExponentialRetry::new(3))
}

fn budgeted() -> ExponentialRetryLayer {
    ExponentialRetryLayer::new(ExponentialRetry::new(3).budget(RetryBudget::new(0.2)))
}

fn stack(echo: Echo) -> impl Service<u64, Response = u64, Error = Infallible> + Clone {
    ServiceBuilder::new().layer(concurrency()).layer(retry()).layer(window()).service(echo)
}

/// Returns the stack of three, with a limit that adapts.
fn adaptive_stack() -> impl Service<u64, Response = u64> {
    ServiceBuilder::new().layer(adaptive()).layer(retry()).layer(window()).service(Echo)
}

/// A window with permits that expire all the time.
const BRIEF: Duration = Duration::from_nanos(100);
const HOUR: Duration = Duration::from_secs(3600);

type Client = fn(&u64) -> Option<[u64; 2]>;

/// Returns a rule for each of 100 clients.
fn client() -> Rule<Client> {
    Rule::new("client", |request| Some([1, request % 100]))
}

fn keyed<K>(rule: Rule<K>) -> KeyedLimitLayer<(Rule<K>,)> {
    KeyedLimitLayer::new(rule)
}

/// Calls a service with a quota that is spent.
fn rejected(calls: u64, rule: Rule<Client>) {
    let mut service = keyed(rule).reject_with(|_| u64::MAX).layer(Echo);
    let mut cx = Context::from_waker(Waker::noop());
    let mut respond = |request| match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(Ok(response)) => black_box(response),
        _ => panic!("the response is pending"),
    };
    (0..100).for_each(|request| assert_eq!(respond(request), request));
    (0..calls).for_each(|request| assert_eq!(respond(request), u64::MAX));
}

/// A store that has all permits that are asked for.
struct Full;

impl Store for Full {
    async fn acquire(&self, _: &str, request: &[i64]) -> Result<Vec<i64>, StoreError> {
        let [_, limit, window, length, _, want, ..] = *request else { panic!("a short request") };
        Ok(vec![1, 1, want, limit, 0, 0, 0, want, 1 + window + length])
    }
}

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

/// Returns a runtime in which a service was called often at once, so that all calls are leased in
/// advance.
fn lease<S: Service<u64>>(service: &mut S) -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    // Half of the arrivals are leased in advance, for `2 * N` calls: a lease is half as long as the
    // time over which the rate of arrivals is measured.
    let burst: Vec<_> = (0..6 * N).map(|_| service.call(0)).collect();
    let responses = runtime.block_on(join_all(burst));
    assert!(responses.iter().all(Result::is_ok));
    assert!(runtime.block_on(service.call(0)).is_ok());
    runtime
}

fn shared(calls: u64, run: fn(u64, SharedRateLimitLayer)) {
    let quota = SharedWindow::new(Full, "full", i32::MAX as u32, MONTH, Away::Closed);
    let layer = WindowRateLimitLayer::shared(quota).max_queue(u32::MAX);
    let _runtime = lease(&mut layer.layer(Echo));
    run(calls, layer);
}

fn shared_key(calls: u64) {
    let windows = SharedKeyedWindow::new(Full, "full", i32::MAX as u32, MONTH, Away::Closed);
    let key = |_: &u64| Some([1_u64, 1]);
    let mut service = KeyedLimitLayer::shared(windows, key).max_queue(u32::MAX).layer(Echo);
    let _runtime = lease(&mut service);
    call(calls, service);
}

#[derive(Clone)]
struct Large;

/// A kilobyte. Equal to the request that it answers.
#[derive(Debug)]
struct Kilobyte([u64; 128]);

impl PartialEq<u64> for Kilobyte {
    fn eq(&self, request: &u64) -> bool {
        self.0[0] == *request
    }
}

impl Service<u64> for Large {
    type Response = Kilobyte;
    type Error = Infallible;
    type Future = Ready<Result<Kilobyte, Infallible>>;

    #[inline(never)]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        black_box(self);
        Poll::Ready(Ok(()))
    }

    #[inline(never)]
    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(Kilobyte([black_box(request); 128])))
    }
}
