//! The cost of a call through a `ConcurrencyBackpressureLayer`: `cargo bench --bench backpressure`.

mod support;

use divan::{Bencher, black_box};
use tower::Layer;
use tower_floodgate::ConcurrencyBackpressureLayer;

use self::support::{INNER, call, poll_ready};

fn main() {
    divan::main();
}

/// More permits than calls are in flight.
const PERMITS: u32 = 1_000;

#[divan::bench]
fn uncontended(bencher: Bencher<'_, '_>) {
    let mut service = ConcurrencyBackpressureLayer::new(PERMITS).layer(INNER);
    bencher.bench_local(|| call(&mut service).is_ok());
}

#[divan::bench]
fn bounded_queue(bencher: Bencher<'_, '_>) {
    let mut service = ConcurrencyBackpressureLayer::new(PERMITS).max_queue(10).layer(INNER);
    bencher.bench_local(|| call(&mut service).is_ok());
}

/// A clone per request, as servers make it.
#[divan::bench]
fn clone_per_request(bencher: Bencher<'_, '_>) {
    let service = ConcurrencyBackpressureLayer::new(PERMITS).layer(INNER);
    bencher.bench_local(|| call(&mut black_box(&service).clone()).is_ok());
}

#[divan::bench(threads = [2])]
fn two_threads(bencher: Bencher<'_, '_>) {
    let service = ConcurrencyBackpressureLayer::new(PERMITS).layer(INNER);
    bencher.bench(|| call(&mut service.clone()).is_ok());
}

#[divan::bench]
fn rejected(bencher: Bencher<'_, '_>) {
    let mut holder = ConcurrencyBackpressureLayer::new(1).max_queue(0).layer(INNER);
    let mut service = holder.clone();
    assert!(poll_ready(&mut holder), "one permit is free");
    bencher.bench_local(|| assert!(call(&mut service).is_err(), "the limit is full"));
}

/// A waiter is granted the permit, calls, grants the permit to the next one and queues again.
#[divan::bench(args = [1, 1_000])]
fn queued(bencher: Bencher<'_, '_>, waiters: usize) {
    let mut holder = ConcurrencyBackpressureLayer::new(1).layer(INNER);
    let mut queue = vec![holder.clone(); waiters + 1];
    assert!(poll_ready(&mut holder), "one permit is free");
    queue.iter_mut().for_each(|waiter| assert!(!poll_ready(waiter), "the limit is full"));
    drop(holder);
    let mut head = 0;
    bencher.bench_local(|| {
        let waiter = &mut queue[head];
        let response = call(waiter);
        assert!(!poll_ready(waiter), "the permit must go to the next waiter");
        head = (head + 1) % queue.len();
        response.is_ok()
    });
}

#[divan::bench]
fn queued_and_cancelled(bencher: Bencher<'_, '_>) {
    let mut holder = ConcurrencyBackpressureLayer::new(1).layer(INNER);
    let service = holder.clone();
    assert!(poll_ready(&mut holder), "one permit is free");
    bencher.bench_local(|| assert!(!poll_ready(&mut service.clone()), "the limit is full"));
}
