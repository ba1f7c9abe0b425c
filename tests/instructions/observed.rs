//! The same for limits and policies with names, whose calls are counted.
//!
//! A program of its own, because a function that is compiled for both kinds of calls costs each
//! other instructions. With `metrics`, no recorder is installed:
//!
//! ```text
//! cargo test --release -p instructions --test observed
//! cargo test --release -p instructions --test observed --features metrics
//! ```

use std::time::Duration;

use tower::Layer;
use tower_floodgate::{
    ConcurrencyBackpressureLayer, ExponentialRetry, ExponentialRetryLayer, WindowRateLimitLayer,
    keyed::{KeyedLimitLayer, Rule},
};

include!("harness.rs");

/// The recorded instructions per call.
const RECORDED: [u64; 6] = if cfg!(feature = "metrics") {
    [330, 500, 294, 360, 980, 2211]
} else {
    [155, 325, 119, 276, 980, 2128]
};

const CALLS: [Call; 6] = [
    ("concurrency limit", |calls| call(calls, concurrency().layer(Echo)), RECORDED[0]),
    ("concurrency limit, clone", |calls| oneshot(calls, &concurrency().layer(Echo)), RECORDED[1]),
    ("window", |calls| call(calls, window().layer(Echo)), RECORDED[2]),
    ("retry", |calls| call(calls, retry().layer(Echo)), RECORDED[3]),
    ("keyed", |calls| call(calls, keyed(10_000_000).layer(Echo)), RECORDED[4]),
    ("keyed, rejected", rejected, RECORDED[5]),
];

fn main() -> ExitCode {
    check(&CALLS)
}

fn concurrency() -> ConcurrencyBackpressureLayer {
    ConcurrencyBackpressureLayer::new(100).name("named")
}

/// Returns a window that is never used up.
fn window() -> WindowRateLimitLayer {
    WindowRateLimitLayer::new(100_000_000, Duration::from_secs(1)).name("named")
}

/// Returns a rule for each of 100 clients, which counts what it admits, and lists what it rejects.
fn keyed(limit: u32) -> KeyedLimitLayer<(Rule<Client>,)> {
    let client: Client = |request| Some([1, request % 100]);
    let rule = Rule::new("named", client).at_most(limit, Duration::from_secs(3600));
    KeyedLimitLayer::new(rule.count_admitted().track_top(20))
}

type Client = fn(&u64) -> Option<[u64; 2]>;

/// Calls a service with a quota that is spent.
fn rejected(calls: u64) {
    let mut service = keyed(1).reject_with(|_| u64::MAX).layer(Echo);
    let mut cx = Context::from_waker(Waker::noop());
    let mut respond = |request| match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(Ok(response)) => black_box(response),
        _ => panic!("the response is pending"),
    };
    (0..100).for_each(|request| assert_eq!(respond(request), request));
    (0..calls).for_each(|request| assert_eq!(respond(request), u64::MAX));
}

fn retry() -> impl Layer<Echo, Service: Service<u64, Response = u64>> {
    ExponentialRetryLayer::new(ExponentialRetry::new(3).name("named"))
}
