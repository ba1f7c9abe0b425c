//! Growth: the cost of a call over the size of the limit, the number of clones and of waiters.
//!
//! Ratios are to the smallest size. The windows grow with their limits, 2 ns for each permit, so
//! that none is ever full. Clones are called in turn, so many of them exceed the caches. With
//! waiters, the limit is full: each call is that of the head of the queue, grants its permit to the
//! next waiter, and queues again at the end. No runtime takes part.

use std::{
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower::{Layer, Service, limit::ConcurrencyLimitLayer};
use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer};

use crate::{
    batch::{Batch, call, calls},
    contenders::{
        Comparison, Label, ours, peers, same,
        stacks::{LARGE_WINDOW, PERMITS},
        waiters::{queued, ready},
    },
    measure::per_call,
    pace::Pace,
    report::Section,
    service::SMALL,
};

pub(super) fn run(pace: Pace) -> Vec<Section> {
    comparisons().iter().map(|comparison| per_call::counted(comparison, pace)).collect()
}

pub(super) fn comparisons() -> Vec<Comparison> {
    let limits = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
    let clones = [1, 10, 100, 1_000, 10_000];
    let waiters = [100, 1_000, 10_000, 100_000];
    vec![
        over("backpressure, by its limit", &limits, |limit| {
            calls(ConcurrencyBackpressureLayer::new(limit).layer(SMALL))
        }),
        over("sliding window, by its limit", &limits, |limit| {
            let window = Duration::from_nanos(2 * u64::from(limit));
            calls(WindowRateLimitLayer::new(limit, window).layer(SMALL))
        }),
        over("tower ConcurrencyLimit, by clones", &clones, |clones| {
            in_turn(peers::concurrency_limit(PERMITS).layer(SMALL), clones)
        }),
        over("backpressure, by clones", &clones, |clones| {
            in_turn(ConcurrencyBackpressureLayer::new(PERMITS).layer(SMALL), clones)
        }),
        over("sliding window, by clones", &clones, |clones| {
            let (limit, window) = LARGE_WINDOW;
            in_turn(WindowRateLimitLayer::new(limit, window).layer(SMALL), clones)
        }),
        over("tower ConcurrencyLimit, by waiters", &waiters, |waiters| {
            through_the_queue(ConcurrencyLimitLayer::new(1).layer(SMALL), waiters)
        }),
        over("backpressure, by waiters", &waiters, |waiters| {
            through_the_queue(ConcurrencyBackpressureLayer::new(1).layer(SMALL), waiters)
        }),
    ]
}

/// Returns a contender for each size; the smallest is the reference of the ratios.
fn over(title: &str, sizes: &[u32], make: fn(u32) -> Batch) -> Comparison {
    let comparison = Comparison::above(title, || calls(SMALL));
    sizes.iter().enumerate().fold(comparison, |comparison, (place, &size)| {
        let label: fn(String, &'static str) -> Label = if place == 0 { same } else { ours };
        comparison.with(label(size.to_string(), ""), move || make(size))
    })
}

fn in_turn<S: Service<u32> + Clone + Send + 'static>(service: S, clones: u32) -> Batch {
    let mut services = vec![service; clones as usize];
    let mut next = 0;
    Box::new(move |calls| {
        for request in 0..calls {
            call(&mut services[next], request);
            next = (next + 1) % services.len();
        }
    })
}

fn through_the_queue<S: Service<u32> + Clone + Send + 'static>(service: S, waiters: u32) -> Batch {
    let first = ready(&service);
    let mut queue: Vec<S> = (0..waiters).map(|_| queued(&service)).collect();
    drop(first);
    let mut head = 0;
    Box::new(move |calls| {
        let mut cx = Context::from_waker(Waker::noop());
        for request in 0..calls {
            let service = black_box(&mut queue[head]);
            let readiness = service.poll_ready(&mut cx);
            assert!(
                matches!(readiness, Poll::Ready(Ok(()))),
                "the head of the queue has the permit"
            );
            let response = pin!(service.call(black_box(request))).poll(&mut cx);
            assert!(matches!(black_box(response), Poll::Ready(Ok(_))), "the call must succeed");
            assert!(
                service.poll_ready(&mut cx).is_pending(),
                "the permit must go to the next waiter"
            );
            head = (head + 1) % queue.len();
        }
    })
}
