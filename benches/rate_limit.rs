//! The cost of a call through a `WindowRateLimitLayer`: `cargo bench --bench rate_limit`.

mod support;

use std::time::Duration;

use divan::{Bencher, black_box};
use tokio::runtime::{Builder, Runtime};
use tower::Layer;
use tower_floodgate::WindowRateLimitLayer;

use self::support::{INNER, call, poll_ready};

fn main() {
    divan::main();
}

/// A window with more permits than calls are made in it, short enough to refill all the time.
const LARGE: (u32, Duration) = (100_000, Duration::from_micros(100));
/// A window so small that the time of each call is recorded.
const SMALL: (u32, Duration) = (250, Duration::from_nanos(500));
/// A window that does not refill during a run.
const LONG: Duration = Duration::from_secs(3600);

#[divan::bench]
fn uncontended(bencher: Bencher<'_, '_>) {
    let mut service = WindowRateLimitLayer::new(LARGE.0, LARGE.1).layer(INNER);
    bencher.bench_local(|| call(&mut service).is_ok());
}

#[divan::bench]
fn uncontended_small(bencher: Bencher<'_, '_>) {
    let mut service = WindowRateLimitLayer::new(SMALL.0, SMALL.1).layer(INNER);
    bencher.bench_local(|| call(&mut service).is_ok());
}

#[divan::bench]
fn uncontended_fixed(bencher: Bencher<'_, '_>) {
    let mut service = WindowRateLimitLayer::fixed(LARGE.0, LARGE.1).layer(INNER);
    bencher.bench_local(|| call(&mut service).is_ok());
}

#[divan::bench]
fn bounded_queue(bencher: Bencher<'_, '_>) {
    let layer = WindowRateLimitLayer::new(LARGE.0, LARGE.1).max_queue(10);
    let mut service = layer.layer(INNER);
    bencher.bench_local(|| call(&mut service).is_ok());
}

/// A clone per request, as servers make it.
#[divan::bench]
fn clone_per_request(bencher: Bencher<'_, '_>) {
    let service = WindowRateLimitLayer::new(LARGE.0, LARGE.1).layer(INNER);
    bencher.bench_local(|| call(&mut black_box(&service).clone()).is_ok());
}

#[divan::bench]
fn rejected(bencher: Bencher<'_, '_>) {
    let mut service = WindowRateLimitLayer::new(1, LONG).max_queue(0).layer(INNER);
    assert!(call(&mut service).is_ok(), "the window has room");
    bencher.bench_local(|| assert!(call(&mut service).is_err(), "the window is spent"));
}

/// A waiter queues at a spent window, behind the given number of others, and is cancelled.
#[divan::bench(args = [1, 1_000])]
fn queued_and_cancelled(bencher: Bencher<'_, '_>, waiters: usize) {
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut service = WindowRateLimitLayer::new(1, LONG).layer(INNER);
    assert!(call(&mut service).is_ok(), "the window has room");
    let mut queue = vec![service.clone(); waiters];
    queue.iter_mut().for_each(|waiter| assert!(!poll_ready(waiter), "the window is spent"));
    bencher.bench_local(|| assert!(!poll_ready(&mut service.clone()), "the window is spent"));
}

/// A waiter spawns its refill task in this runtime.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime without I/O")
}
