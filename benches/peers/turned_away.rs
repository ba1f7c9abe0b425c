//! S6: what it costs to be turned away, at a full limit and at a spent window.
//!
//! All places are taken, or the window is spent for an hour. A service is asked, called, and answers with its
//! rejection in the first poll of its future; if it doesn't, the run panics. The exception is the time-out of
//! zero of tower-resilience's bulkhead, which is tokio's, and waits for the timer's next millisecond: it is
//! driven by a runtime.
//!
//! tower's `LoadShed` sheds again and again at one service, whose `ConcurrencyLimit` stays in the line; at a
//! clone per call it joins the line and leaves it.

use std::{
    future::Future,
    hint::black_box,
    pin::pin,
    sync::atomic::AtomicU64,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, limit::ConcurrencyLimitLayer};
use tower_floodgate::{ConcurrencyBackpressureLayer, Rejected, WindowRateLimitLayer};

use crate::{
    args::Pace,
    field::{Field, floor, other, ours, same},
    floor::enter,
    neighbours::{self, LONG},
    race::{self, Batch},
    report::Section,
    service::{SMALL, Stuck},
    waiters::{in_call, ready},
};

pub(crate) fn run(pace: Pace) -> Vec<Section> {
    [full(), spent()].iter().map(|field| race::timed(field, pace)).collect()
}

fn full() -> Field {
    Field::above("a full limit", nothing)
        .with(floor("a look at the places"), full_word)
        .with(same("tower LoadShed, ConcurrencyLimit", "one stays in line"), || {
            let layer = ServiceBuilder::new().load_shed().layer(ConcurrencyLimitLayer::new(1));
            let service = layer.service(SMALL);
            let taken = ready(&service);
            rejections(service, taken)
        })
        .with(same("tower LoadShed, a clone per call", ""), || {
            let layer = ServiceBuilder::new().load_shed().layer(ConcurrencyLimitLayer::new(1));
            let service = layer.service(SMALL);
            let taken = ready(&service);
            clones_rejected(service, taken)
        })
        .with_slow(same("tower-resilience bulkhead", "waits for the timer"), 5_000, || {
            let service = neighbours::bulkhead_rejecting(1).layer(Stuck);
            driven_rejections(service)
        })
        .with(ours("gate, error", "max_waiting(0)"), || {
            let service = ConcurrencyBackpressureLayer::new(1).max_waiting(0).layer(SMALL);
            let taken = ready(&service);
            rejections(service, taken)
        })
        .with(ours("gate, error, a clone per call", "max_waiting(0)"), || {
            let service = ConcurrencyBackpressureLayer::new(1).max_waiting(0).layer(SMALL);
            let taken = ready(&service);
            clones_rejected(service, taken)
        })
        .with(ours("gate, response", "max_waiting(0), respond"), || {
            let layer = ConcurrencyBackpressureLayer::new(1).max_waiting(0);
            let service = layer.respond(too_many).layer(SMALL);
            let taken = ready(&service);
            rejections(service, taken)
        })
}

fn spent() -> Field {
    Field::above("a spent window", nothing)
        .with(floor("a look at the places and the clock"), || {
            let mut word = full_word();
            Box::new(move |calls| {
                for _ in 0..calls {
                    black_box(Instant::now());
                }
                word(calls);
            })
        })
        .with(same("tower-resilience log", "exact"), || {
            let mut service = neighbours::sliding_log(1, LONG, Duration::ZERO).layer(SMALL);
            assert!(answer(&mut service, 0).is_ok(), "the first goes");
            rejections(service, ())
        })
        .with(other("governor", "up to 2 N"), || {
            let limiter = neighbours::governor(1, LONG);
            limiter.check().expect("the first goes");
            asked(move || limiter.check().is_err())
        })
        .with(other("leaky-bucket", "up to 2 N"), || {
            let limiter = neighbours::leaky_bucket(1, LONG);
            assert!(limiter.try_acquire(1), "the first goes");
            asked(move || !limiter.try_acquire(1))
        })
        .with(ours("sliding window, error", "exact, max_waiting(0)"), || {
            let mut service = WindowRateLimitLayer::new(1, LONG).max_waiting(0).layer(SMALL);
            assert!(answer(&mut service, 0).is_ok(), "the first goes");
            rejections(service, ())
        })
        .with(ours("sliding window, response", "exact, respond"), || {
            let layer = WindowRateLimitLayer::new(1, LONG).max_waiting(0).respond(too_many);
            let mut service = layer.layer(SMALL);
            let _first = answer(&mut service, 0);
            rejections(service, ())
        })
        .with(ours("fixed window, error", "up to 2 N, max_waiting(0)"), || {
            let mut service = WindowRateLimitLayer::fixed(1, LONG).max_waiting(0).layer(SMALL);
            assert!(answer(&mut service, 0).is_ok(), "the first goes");
            rejections(service, ())
        })
}

/// The response of who is turned away, which no call of the service has.
const TOO_MANY: u64 = u64::MAX;

fn too_many(_: Rejected) -> [u64; 1] {
    [TOO_MANY]
}

fn nothing() -> Batch {
    Box::new(|calls| (0..calls).for_each(|call| _ = black_box(call)))
}

fn full_word() -> Batch {
    let free = AtomicU64::new(0);
    asked(move || !enter(black_box(&free)))
}

/// Asks, and must hear no.
fn asked(mut no: impl FnMut() -> bool + Send + 'static) -> Batch {
    Box::new(move |calls| (0..calls).for_each(|_| assert!(black_box(no()), "it was let in")))
}

/// Calls of a service that must turn them away while something is held.
fn rejections<S, H>(mut service: S, held: H) -> Batch
where
    S: Service<u32, Response = [u64; 1]> + Send + 'static,
    H: Send + 'static,
{
    Box::new(move |calls| {
        let _held = &held;
        (0..calls).for_each(|request| turned_away(&mut service, request));
    })
}

fn clones_rejected<S, H>(service: S, held: H) -> Batch
where
    S: Service<u32, Response = [u64; 1]> + Clone + Send + 'static,
    H: Send + 'static,
{
    Box::new(move |calls| {
        let _held = &held;
        (0..calls).for_each(|request| turned_away(&mut service.clone(), request));
    })
}

fn turned_away<S: Service<u32, Response = [u64; 1]>>(service: &mut S, request: u32) {
    let answer = black_box(answer(service, request));
    assert!(matches!(answer, Err(_) | Ok([TOO_MANY])), "it was let in");
}

fn answer<S: Service<u32>>(service: &mut S, request: u32) -> Result<S::Response, S::Error> {
    let service = black_box(service);
    let mut cx = Context::from_waker(Waker::noop());
    let readiness = service.poll_ready(&mut cx);
    assert!(matches!(readiness, Poll::Ready(Ok(()))), "it waits to be turned away");
    match pin!(service.call(black_box(request))).poll(&mut cx) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waits to be turned away"),
    }
}

fn driven_rejections<S>(mut service: S) -> Batch
where
    S: Service<u32, Response = ()> + Clone + Send + 'static,
    S::Future: Send + Unpin,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without threads or I/O");
    let inside = runtime.enter();
    let first = in_call(&service);
    drop(inside);
    Box::new(move |calls| {
        let _held = &first;
        runtime.block_on(async {
            for request in 0..calls {
                assert!(service.call(request).await.is_err(), "it was let in");
            }
        });
    })
}
