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
};

include!("harness.rs");

/// The recorded instructions per call.
const RECORDED: [u64; 4] =
    if cfg!(feature = "metrics") { [330, 500, 294, 360] } else { [155, 325, 119, 276] };

const CALLS: [Call; 4] = [
    ("concurrency limit", |calls| call(calls, concurrency().layer(Echo)), RECORDED[0]),
    ("concurrency limit, clone", |calls| oneshot(calls, &concurrency().layer(Echo)), RECORDED[1]),
    ("window", |calls| call(calls, window().layer(Echo)), RECORDED[2]),
    ("retry", |calls| call(calls, retry().layer(Echo)), RECORDED[3]),
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

fn retry() -> impl Layer<Echo, Service: Service<u64, Response = u64>> {
    ExponentialRetryLayer::new(ExponentialRetry::new(3).name("named"))
}
