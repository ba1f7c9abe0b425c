//! S6: the cost of a rejection, at a full limit, at a spent window, and at that of a key.
//!
//! All permits are held, or the window is spent for an hour. The service is polled, called, and
//! rejects the call in the first poll of its future; otherwise the run panics. The exception is
//! tower-resilience's bulkhead with a timeout of zero: tokio's timer fires at the next millisecond,
//! so that contender is driven by a runtime.
//!
//! tower's `LoadShed` rejects again and again at one service with its `ConcurrencyLimit` queued;
//! with a clone per call, each call joins the queue and leaves it.

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
use tower_floodgate::{
    ConcurrencyBackpressureLayer, Rejected, WindowRateLimitLayer,
    keyed::{KeyedLimitLayer, Rule},
};

use crate::{
    batch::Batch,
    contenders::{
        Comparison, floor,
        floor::acquire,
        keys::{Key, key},
        other, ours,
        peers::{self, LONG},
        same,
        waiters::{in_call, ready},
    },
    measure::per_call,
    pace::Pace,
    report::Section,
    service::{SMALL, Stuck},
};

pub(super) fn run(pace: Pace) -> Vec<Section> {
    [full(), spent(), spent_key()]
        .iter()
        .map(|comparison| per_call::timed(comparison, pace))
        .collect()
}

fn full() -> Comparison {
    Comparison::above("a full limit", nothing)
        .with(floor("a read of the count"), full_count)
        .with(same("tower LoadShed, ConcurrencyLimit", "stays queued"), || {
            let layer = ServiceBuilder::new().load_shed().layer(ConcurrencyLimitLayer::new(1));
            let service = layer.service(SMALL);
            let held = ready(&service);
            rejections(service, held)
        })
        .with(same("tower LoadShed, a clone per call", ""), || {
            let layer = ServiceBuilder::new().load_shed().layer(ConcurrencyLimitLayer::new(1));
            let service = layer.service(SMALL);
            let held = ready(&service);
            clones_rejected(service, held)
        })
        .with_slow(same("tower-resilience bulkhead", "waits for the timer"), 5_000, || {
            let service = peers::bulkhead_rejecting(1).layer(Stuck);
            driven_rejections(service)
        })
        .with(ours("backpressure, error", "max_queue(0)"), || {
            let service = ConcurrencyBackpressureLayer::new(1).max_queue(0).layer(SMALL);
            let held = ready(&service);
            rejections(service, held)
        })
        .with(ours("backpressure, error, a clone per call", "max_queue(0)"), || {
            let service = ConcurrencyBackpressureLayer::new(1).max_queue(0).layer(SMALL);
            let held = ready(&service);
            clones_rejected(service, held)
        })
        .with(ours("backpressure, response", "max_queue(0), reject_with"), || {
            let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0);
            let service = layer.reject_with(too_many).layer(SMALL);
            let held = ready(&service);
            rejections(service, held)
        })
}

fn spent() -> Comparison {
    Comparison::above("a spent window", nothing)
        .with(floor("a read of the count and the clock"), || {
            let mut count = full_count();
            Box::new(move |calls| {
                for _ in 0..calls {
                    black_box(Instant::now());
                }
                count(calls);
            })
        })
        .with(same("tower-resilience log", "exact"), || {
            let mut service = peers::sliding_log(1, LONG, Duration::ZERO).layer(SMALL);
            assert!(respond(&mut service, 0).is_ok(), "the first call is admitted");
            rejections(service, ())
        })
        .with(other("governor", "up to 2 N"), || {
            let limiter = peers::governor(1, LONG);
            limiter.check().expect("the first call is admitted");
            asked(move || limiter.check().is_err())
        })
        .with(other("leaky-bucket", "up to 2 N"), || {
            let limiter = peers::leaky_bucket(1, LONG);
            assert!(limiter.try_acquire(1), "the first call is admitted");
            asked(move || !limiter.try_acquire(1))
        })
        .with(ours("sliding window, error", "exact, max_queue(0)"), || {
            let mut service = WindowRateLimitLayer::new(1, LONG).max_queue(0).layer(SMALL);
            assert!(respond(&mut service, 0).is_ok(), "the first call is admitted");
            rejections(service, ())
        })
        .with(ours("sliding window, response", "exact, reject_with"), || {
            let layer = WindowRateLimitLayer::new(1, LONG).max_queue(0).reject_with(too_many);
            let mut service = layer.layer(SMALL);
            let _first = respond(&mut service, 0);
            rejections(service, ())
        })
        .with(ours("fixed window, error", "up to 2 N, max_queue(0)"), || {
            let mut service = WindowRateLimitLayer::fixed(1, LONG).max_queue(0).layer(SMALL);
            assert!(respond(&mut service, 0).is_ok(), "the first call is admitted");
            rejections(service, ())
        })
}

/// A key whose window is spent.
fn spent_key() -> Comparison {
    let own = || {
        let key: fn(&u32) -> Option<Key> = |_| Some(key(0));
        KeyedLimitLayer::new(Rule::new("client", key).at_most(1, LONG))
    };
    Comparison::above("a spent window of a key", nothing)
        .with(other("governor", "up to 2 N"), || {
            let limiter = peers::keyed_governor(1, LONG);
            limiter.check_key(&key(0)).expect("the first call is admitted");
            asked(move || limiter.check_key(&key(0)).is_err())
        })
        .with(ours("keyed limit, error", "exact"), move || {
            let mut service = own().layer(SMALL);
            assert!(respond(&mut service, 0).is_ok(), "the first call is admitted");
            rejections(service, ())
        })
        .with(ours("keyed limit, response", "exact, reject_with"), move || {
            let mut service = own().reject_with(too_many).layer(SMALL);
            assert!(respond(&mut service, 0).is_ok(), "the first call is admitted");
            rejections(service, ())
        })
}

/// The response of a rejection; no call of the service has it.
const TOO_MANY: u64 = u64::MAX;
const REJECTED: &str = "the call must be rejected";

fn too_many(_: Rejected) -> [u64; 1] {
    [TOO_MANY]
}

fn nothing() -> Batch {
    Box::new(|calls| (0..calls).for_each(|call| _ = black_box(call)))
}

fn full_count() -> Batch {
    let free = AtomicU64::new(0);
    asked(move || !acquire(black_box(&free)))
}

/// Asks a limit that is not a service.
fn asked(mut rejects: impl FnMut() -> bool + Send + 'static) -> Batch {
    Box::new(move |calls| (0..calls).for_each(|_| assert!(black_box(rejects()), "{REJECTED}")))
}

/// Calls a service that must reject while `held` lives.
fn rejections<S, H>(mut service: S, held: H) -> Batch
where
    S: Service<u32, Response = [u64; 1]> + Send + 'static,
    H: Send + 'static,
{
    Box::new(move |calls| {
        let _held = &held;
        (0..calls).for_each(|request| rejected(&mut service, request));
    })
}

fn clones_rejected<S, H>(service: S, held: H) -> Batch
where
    S: Service<u32, Response = [u64; 1]> + Clone + Send + 'static,
    H: Send + 'static,
{
    Box::new(move |calls| {
        let _held = &held;
        (0..calls).for_each(|request| rejected(&mut service.clone(), request));
    })
}

fn rejected<S: Service<u32, Response = [u64; 1]>>(service: &mut S, request: u32) {
    let response = black_box(respond(service, request));
    assert!(matches!(response, Err(_) | Ok([TOO_MANY])), "{REJECTED}");
}

fn respond<S: Service<u32>>(service: &mut S, request: u32) -> Result<S::Response, S::Error> {
    let service = black_box(service);
    let mut cx = Context::from_waker(Waker::noop());
    let readiness = service.poll_ready(&mut cx);
    assert!(matches!(readiness, Poll::Ready(Ok(()))), "a rejection must not wait");
    match pin!(service.call(black_box(request))).poll(&mut cx) {
        Poll::Ready(response) => response,
        Poll::Pending => panic!("a rejection must not wait"),
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
                assert!(service.call(request).await.is_err(), "{REJECTED}");
            }
        });
    })
}
