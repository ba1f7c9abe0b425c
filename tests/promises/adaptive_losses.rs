//! Limits that find themselves, before servers that are down, hang, or panic.

use std::{
    convert::Infallible,
    future::pending,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::FutureExt;
use tokio::time::{sleep, timeout};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{
    BoxError, Layer, Service, ServiceExt, service_fn,
    timeout::{TimeoutLayer, error::Elapsed},
};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer,
    backpressure::{Adaptive, Outcome},
    config::ConcurrencyConfig,
};

use crate::support::{ms, secs};

/// A panic that is caught around the response future, as by `CatchPanicLayer`, which drops the
/// future after the unwinding.
#[tokio::test]
async fn a4_caught_panic_of_the_service_is_not_measured() {
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new());
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|()| async {
        if true {
            panic!("a bug of the handler");
        }
        Ok::<(), Infallible>(())
    }));
    let _held = handle.try_acquire_many(29).unwrap();
    for number in 0..100 {
        let response = service.ready().await.unwrap().call(());
        assert!(AssertUnwindSafe(response).catch_unwind().await.is_err());
        assert_eq!(handle.limit(), 30, "after {number}");
    }
}

/// Sends a request each millisecond, whose caller waits for 100 ms, and returns how many of them
/// are served.
async fn load<S>(service: &S, millis: u32) -> u32
where
    S: Service<(), Response = ()> + Clone + Send + 'static,
    S::Future: Send,
{
    let served = Arc::new(AtomicU32::new(0));
    for _ in 0..millis {
        let (served, call) = (Arc::clone(&served), service.clone().oneshot(()));
        tokio::spawn(async move {
            if let Ok(Ok(())) = timeout(ms(100), call).await {
                served.fetch_add(1, SeqCst);
            }
        });
        sleep(ms(1)).await;
    }
    served.load(SeqCst)
}

/// The server is down for ten seconds. Before and after, it takes some 20 ms, for any number of
/// requests at a time, so that the limit of 20 suffices from which the search has started.
///
/// Returns the share of requests that are served from 20 to 40 s after it.
async fn after_an_outage(
    start: u32,
    max_queue: u32,
    time: impl Fn(&mut fastrand::Rng) -> f64,
) -> f64 {
    let settings = Adaptive::new().start_at(start);
    let layer = ConcurrencyBackpressureLayer::adaptive(settings).max_queue(max_queue);
    let mut random = fastrand::Rng::with_seed(1);
    let drawn: Vec<_> = (0..1_000).map(|_| Duration::from_secs_f64(time(&mut random))).collect();
    let is_down = Arc::new(AtomicBool::new(false));
    let (of_server, next) = (Arc::clone(&is_down), Arc::new(AtomicU64::new(0)));
    let service = layer.layer(service_fn(move |()| {
        let number = next.fetch_add(1, SeqCst) as usize;
        let takes = drawn[number % drawn.len()];
        let takes = if of_server.load(SeqCst) { secs(5) } else { takes };
        async move {
            sleep(takes).await;
            Ok::<(), Infallible>(())
        }
    }));
    load(&service, 10_000).await;
    is_down.store(true, SeqCst);
    load(&service, 10_000).await;
    is_down.store(false, SeqCst);
    load(&service, 20_000).await;
    let after = load(&service, 20_000).await;
    f64::from(after) / 20_000.0
}

/// Lognormal times, of 20 ms.
fn lognormal(sigma: f64) -> impl Fn(&mut fastrand::Rng) -> f64 + Clone {
    move |random| {
        let (u, v) = (1.0 - random.f64(), random.f64());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        0.020 * (sigma * normal).exp()
    }
}

/// The limit was never reached before, as in a service with room: no half round is complete, so
/// each abandoned request counts as one that took long.
#[tokio::test(start_paused = true)]
async fn a5_limit_that_was_never_reached_grows_back_after_an_outage() {
    let mut shares = Vec::new();
    for max_queue in [100, 20] {
        let share = after_an_outage(20, max_queue, lognormal(0.5)).await;
        shares.push(share);
    }
    assert!(shares.iter().all(|share| *share > 0.85), "{shares:?}");
}

/// A limit that has found itself before the outage. The times vary by a fifth.
#[tokio::test(start_paused = true)]
async fn a5_limit_that_has_found_itself_grows_back_after_an_outage_with_steady_times() {
    let mut shares = Vec::new();
    for (max_queue, sigma) in [(20, 0.0), (100, 0.2), (1_000, 0.4)] {
        let share = after_an_outage(8, max_queue, lognormal(sigma)).await;
        shares.push(share);
    }
    assert!(shares.iter().all(|share| *share > 0.85), "{shares:?}");
}

/// Without an outage: the times are some 20 ms, and 20 requests at a time would do.
#[tokio::test(start_paused = true)]
async fn a5_limit_grows_from_a_low_start_with_steady_times() {
    let settings = Adaptive::new().start_at(8);
    let layer = ConcurrencyBackpressureLayer::adaptive(settings).max_queue(100);
    let handle = layer.handle();
    let time = lognormal(0.2);
    let random = Arc::new(std::sync::Mutex::new(fastrand::Rng::with_seed(1)));
    let service = layer.layer(service_fn(move |()| {
        let takes = Duration::from_secs_f64(time(&mut random.lock().unwrap()));
        async move {
            sleep(takes).await;
            Ok::<(), Infallible>(())
        }
    }));
    load(&service, 10_000).await;
    let served = load(&service, 30_000).await;
    assert!(served > 25_000, "{served} of 30,000 are served at a limit of {}", handle.limit());
}

fn abandon(handle: &ConcurrencyBackpressureHandle, service: &mut (impl Service<()> + Send)) {
    let held = (handle.limit() > 1).then(|| handle.try_acquire_many(handle.limit() - 1).unwrap());
    let mut service = task::spawn(service);
    assert!(service.enter(|cx, mut service| service.poll_ready(cx)).is_ready());
    drop(service.enter(|_, mut service| service.call(())));
    drop(held);
}

/// Nothing is served, so the limit ends at the lower bound of its range.
#[tokio::test(start_paused = true)]
async fn a5_limit_ends_at_its_minimum_if_all_requests_are_abandoned() {
    for min in [1, 10, 100] {
        let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new().between(min, 500));
        let handle = layer.handle();
        let mut service = layer.layer(service_fn(|()| pending::<Result<(), Infallible>>()));
        for _ in 0..10_000 {
            abandon(&handle, &mut service);
        }
        assert_eq!(handle.limit(), min);
    }
}

/// In the low half of a round, at a limit of 13.
#[tokio::test(start_paused = true)]
async fn a5_abandoned_requests_do_not_raise_the_limit() {
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new());
    let handle = layer.handle();
    let mut served = layer.layer(service_fn(|()| async { Ok::<(), Infallible>(()) }));
    let held = handle.try_acquire_many(29).unwrap();
    for _ in 0..40 {
        served.ready().await.unwrap().call(()).await.unwrap();
    }
    drop(held);
    let mut hanging = layer.layer(service_fn(|()| pending::<Result<(), Infallible>>()));
    let mut limit = handle.limit();
    assert_eq!(limit, 13);
    for _ in 0..100 {
        abandon(&handle, &mut hanging);
        assert!(handle.limit() <= limit, "from {limit} to {}", handle.limit());
        limit = handle.limit();
    }
}

/// A client with a timeout of its own, inside the limit, before a server that is down.
#[tokio::test(start_paused = true)]
async fn a5_timeouts_inside_count_against_the_limit_by_a_judge_that_knows_them() {
    let judge = |result: &Result<(), BoxError>| match result {
        Ok(()) => Outcome::Served,
        Err(error) if error.is::<Elapsed>() => Outcome::Overload,
        Err(_) => Outcome::Ignored,
    };
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new().judge(judge));
    let handle = layer.handle();
    let client =
        TimeoutLayer::new(secs(1)).layer(service_fn(|()| pending::<Result<(), Infallible>>()));
    let mut service = layer.layer(client);
    let _held = handle.try_acquire_many(29).unwrap();
    for _ in 0..10 {
        assert_eq!(handle.limit(), 30);
        service.ready().await.unwrap().call(()).await.unwrap_err();
    }
    assert!(handle.limit() < 30, "the limit is {}", handle.limit());
}

/// A step of the search is a change of the limit like any other.
#[tokio::test(start_paused = true)]
async fn p4_wait_for_several_permits_ends_if_the_search_lowers_the_limit_below_them() {
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new());
    let handle = layer.handle();
    let mut service = layer.layer(service_fn(|()| async { Ok::<(), Infallible>(()) }));
    let held = handle.try_acquire_many(29).unwrap();
    for _ in 0..39 {
        service.ready().await.unwrap().call(()).await.unwrap();
    }
    let last = service.ready().await.unwrap().call(());
    let mut waiter = task::spawn(handle.acquire_many(20));
    assert_pending!(waiter.poll());
    last.await.unwrap(); // from 30 to 13
    drop(held);
    assert_ready!(waiter.poll()).unwrap_err();
    // A limit that is held has no steps.
    handle.hold(20).unwrap();
    drop(handle.acquire_many(20).await.unwrap());
}

#[tokio::test]
async fn s2_a9_file_of_settings_holds_the_limit() {
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new()).reject_with_box_error();
    let handle = layer.handle();
    assert!(!handle.is_held());
    ConcurrencyConfig::new(25).apply(&handle).unwrap();
    assert!(handle.is_held() && handle.limit() == 25);
    handle.adapt();
    assert!(!handle.is_held());
}
