//! Scenes of a review. Each fails at present.

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
use tokio::time::{advance, sleep, timeout};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, Rejected,
    backpressure::{Adaptive, Class, Terms},
};
use tower_test::mock::Spawn;

use crate::support::{ms, secs, settle};

fn rejection(error: &BoxError) -> &Rejected {
    Rejected::find(&**error).expect("a rejection")
}

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
/// Returns the limit after the outage, and the share of requests that are served from 20 to 80 s
/// after it.
async fn after_an_outage(
    start: u32,
    max_queue: u32,
    time: impl Fn(&mut fastrand::Rng) -> f64,
) -> (u32, f64) {
    let settings = Adaptive::new().start_at(start);
    let layer = ConcurrencyBackpressureLayer::adaptive(settings).max_queue(max_queue);
    let handle = layer.handle();
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
    let before = load(&service, 10_000).await;
    println!("before: {before} of 10,000, limit {}, rounds {}", handle.limit(), handle.rounds());
    is_down.store(true, SeqCst);
    load(&service, 10_000).await;
    println!("outage: limit {}, rounds {}", handle.limit(), handle.rounds());
    is_down.store(false, SeqCst);
    load(&service, 20_000).await;
    println!("after 20 s: limit {}, rounds {}", handle.limit(), handle.rounds());
    let after = load(&service, 60_000).await;
    println!("after 80 s: limit {}, rounds {}, {after}", handle.limit(), handle.rounds());
    (handle.limit(), f64::from(after) / 60_000.0)
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
        let (limit, share) = after_an_outage(20, max_queue, lognormal(0.5)).await;
        println!("a queue of {max_queue}: {share} at a limit of {limit}");
        shares.push(share);
    }
    assert!(shares.iter().all(|share| *share > 0.85), "{shares:?}");
}

/// A limit that has found itself before the outage. The times vary by a fifth.
#[tokio::test(start_paused = true)]
async fn a5_limit_that_has_found_itself_grows_back_after_an_outage_with_steady_times() {
    let mut shares = Vec::new();
    for (max_queue, sigma) in [(20, 0.0), (20, 0.2), (100, 0.2), (20, 0.4), (1_000, 0.4)] {
        let (limit, share) = after_an_outage(8, max_queue, lognormal(sigma)).await;
        println!("a queue of {max_queue}, sigma {sigma}: {share} at a limit of {limit}");
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

type Job = (Terms, Duration);

/// A server that takes the time of the request, and counts.
macro_rules! server {
    ($sent:expr) => {{
        let sent = Arc::clone(&$sent);
        service_fn(move |(_, takes): Job| {
            sent.fetch_add(1, SeqCst);
            async move {
                sleep(takes).await;
                Ok::<(), Infallible>(())
            }
        })
    }};
}

/// A waiter that is passed over, with no other one behind it.
#[tokio::test(start_paused = true)]
async fn a11_waiter_with_terms_and_too_little_time_at_its_turn_is_never_sent() {
    let sent = Arc::new(AtomicU32::new(0));
    let layer = ConcurrencyBackpressureLayer::new(1).with_terms();
    let service = layer.layer(server!(sent));
    let terms = |left| Terms::new().deadline(left);
    // The time in service is known: a second.
    for _ in 0..16 {
        let mut service = service.clone();
        service.terms(terms(secs(100)));
        service.ready().await.unwrap().call((Terms::new(), secs(1))).await.unwrap();
    }
    let permit = layer.handle().try_acquire().unwrap();
    let mut waiter = Spawn::new(service.clone());
    waiter.get_mut().terms(terms(ms(1_500)));
    assert_pending!(waiter.poll_ready::<Job>());
    advance(secs(1)).await;
    drop(permit); // half a second is left
    assert_ready_ok!(waiter.poll_ready::<Job>());
    let mut call = task::spawn(waiter.call((Terms::new(), secs(1))));
    let poll = call.poll();
    assert_eq!(sent.load(SeqCst), 16, "it was sent");
    assert!(rejection(&assert_ready!(poll).unwrap_err()).is_too_late());
}

/// A permit is granted in time, and the task is polled after the deadline.
#[tokio::test(start_paused = true)]
async fn a11_request_whose_deadline_passes_between_grant_and_poll_is_not_sent() {
    let sent = Arc::new(AtomicU32::new(0));
    let layer = ConcurrencyBackpressureLayer::new(1).by_request(|job: &Job| job.0);
    let mut service = layer.layer(server!(sent));
    let permit = layer.handle().try_acquire().unwrap();
    let mut call = task::spawn(service.call((Terms::new().deadline(secs(3)), secs(1))));
    assert_pending!(call.poll());
    advance(ms(2_990)).await;
    drop(permit);
    assert!(call.is_woken());
    advance(ms(60)).await; // a busy task, on the same thread
    let poll = call.poll();
    assert_eq!(sent.load(SeqCst), 0, "it was sent 50 ms after its deadline");
    assert!(rejection(&assert_ready!(poll).unwrap_err()).is_too_late());
}

/// Nine are queued, and one is done each second: after ten seconds, the queue is empty.
#[tokio::test(start_paused = true)]
async fn a11_a14_late_request_of_a_class_is_told_the_time_after_which_it_would_fit() {
    let sent = Arc::new(AtomicU32::new(0));
    let layer = ConcurrencyBackpressureLayer::new(1).by_request(|job: &Job| job.0);
    let service = layer.layer(server!(sent));
    for _ in 0..29 {
        let long = Terms::new().deadline(secs(1_000));
        tokio::spawn(service.clone().call((long, secs(1))));
        settle().await;
    }
    for _ in 0..19 {
        advance(secs(1)).await;
        settle().await;
    }
    assert_eq!(layer.handle().queued(), 9);
    let hasty = Terms::new().deadline(secs(5)).class(Class::Sheddable);
    let error = service.clone().call((hasty, secs(1))).await.unwrap_err();
    let told = rejection(&error).retry_after().unwrap();
    // 4 (10 - t) + 1 = 5
    assert_eq!(told, secs(9));
}

/// A deadline that has passed, at a full queue.
#[tokio::test(start_paused = true)]
async fn a11_deadline_that_has_passed_is_too_late_by_both_ways_to_tell_terms() {
    let sent = Arc::new(AtomicU32::new(0));
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0);
    let _permit = layer.handle().try_acquire().unwrap();
    let late = Terms::new().deadline(Duration::ZERO);

    let mut service = layer.clone().by_request(|job: &Job| job.0).layer(server!(sent));
    let error = service.call((late, secs(1))).await.unwrap_err();
    assert!(rejection(&error).is_too_late());

    let mut service = layer.with_terms().layer(server!(sent));
    service.terms(late);
    let error = service.ready().await.unwrap().call((late, secs(1))).await.unwrap_err();
    assert!(rejection(&error).is_too_late(), "{error}");
}

/// As the table *Permits without a request* of the module says.
#[tokio::test(start_paused = true)]
async fn p1_bounds_of_a_layer_do_not_apply_to_permits_of_its_handle() {
    let handle = ConcurrencyBackpressureLayer::new(1).max_queue(0).handle();
    let _permit = handle.try_acquire().unwrap();
    assert_pending!(task::spawn(handle.acquire()).poll());
}

/// A client with a timeout of its own, as of reqwest, inside the limit: the server is down.
#[tokio::test(start_paused = true)]
async fn a5_timeouts_inside_count_against_the_limit() {
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new());
    let handle = layer.handle();
    let client = tower::timeout::TimeoutLayer::new(secs(1))
        .layer(service_fn(|()| pending::<Result<(), Infallible>>()));
    let mut service = layer.layer(client);
    let _held = handle.try_acquire_many(29).unwrap();
    for _ in 0..100 {
        service.ready().await.unwrap().call(()).await.unwrap_err();
    }
    assert!(handle.limit() < 30, "nothing is served, and the limit is {}", handle.limit());
}

/// The remedy of the error, to raise the limit, would pin it.
#[tokio::test(start_paused = true)]
async fn p4_wait_for_several_permits_outlives_a_dip_of_the_search() {
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
    if let std::task::Poll::Ready(result) = waiter.poll() {
        panic!("{}", result.unwrap_err());
    }
}

/// A service with terms that is ready to reject, because their deadline has passed, and is called
/// 101 ms later. A permit is free by then.
#[tokio::test(start_paused = true)]
async fn a11_late_request_is_not_sent_long_after_readiness() {
    let sent = Arc::new(AtomicU32::new(0));
    let layer = ConcurrencyBackpressureLayer::new(1).with_terms();
    let permit = layer.handle().try_acquire().unwrap();
    let mut service = Spawn::new(layer.layer(server!(sent)));
    service.get_mut().terms(Terms::new().deadline(secs(3)));
    assert_pending!(service.poll_ready::<Job>());
    advance(secs(3)).await;
    assert_ready_ok!(service.poll_ready::<Job>());
    drop(permit);
    advance(ms(101)).await;
    let mut call = task::spawn(service.call((Terms::new(), secs(1))));
    let poll = call.poll();
    assert_eq!(sent.load(SeqCst), 0, "it was sent after its deadline");
    assert!(rejection(&assert_ready!(poll).unwrap_err()).is_too_late());
}

/// The same without a free permit: the rejection is one of its class.
#[tokio::test(start_paused = true)]
async fn a14_rejection_long_after_readiness_is_counted_by_class() {
    let sent = Arc::new(AtomicU32::new(0));
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0).with_terms();
    let handle = layer.handle();
    let _permit = handle.try_acquire().unwrap();
    let mut service = layer.layer(server!(sent));
    for after in [ms(99), ms(101)] {
        service.terms(Terms::new().class(Class::Critical));
        service.ready().await.unwrap();
        advance(after).await;
        let error = service.call((Terms::new(), secs(1))).await.unwrap_err();
        assert_eq!(rejection(&error).class(), Some(Class::Critical), "called after {after:?}");
    }
    assert_eq!(handle.rejected_by_class().unwrap().critical, 2);
}

/// The same task polls the same wait, later than 100 ms after the deadline, as on a busy runtime.
#[tokio::test(start_paused = true)]
async fn a11_late_poll_of_a_wait_with_terms_keeps_its_deadline() {
    let sent = Arc::new(AtomicU32::new(0));
    let layer = ConcurrencyBackpressureLayer::new(1).with_terms();
    let permit = layer.handle().try_acquire().unwrap();
    let mut service = Spawn::new(layer.layer(server!(sent)));
    service.get_mut().terms(Terms::new().deadline(secs(3)));
    assert_pending!(service.poll_ready::<Job>());
    advance(ms(3_101)).await;
    if service.poll_ready::<Job>().is_pending() {
        advance(secs(60)).await;
        drop(permit);
        assert_ready_ok!(service.poll_ready::<Job>());
    }
    let mut call = task::spawn(service.call((Terms::new(), secs(1))));
    let _ = call.poll();
    assert_eq!(sent.load(SeqCst), 0, "it was sent a minute after its deadline");
}

/// A file of settings that is read again without a change.
#[tokio::test]
async fn s2_a9_settings_that_are_those_in_force_do_not_pin_the_limit() {
    let layer = ConcurrencyBackpressureLayer::adaptive(Adaptive::new()).reject_with_box_error();
    let handle = layer.handle();
    let config = tower_floodgate::config::ConcurrencyConfig::new(handle.limit());
    config.apply(&handle).unwrap();
    assert!(!handle.snapshot().adaptive.unwrap().is_held);
}

#[test]
fn a9_search_starts_at_its_start() {
    let settings = Adaptive::new().start_at(20);
    assert_eq!(ConcurrencyBackpressureLayer::adaptive(settings).handle().limit(), 20);
}

/// A client whose inner service is not ready, as while it connects: as by `by_request`, the
/// deadline ends the wait.
#[tokio::test(start_paused = true)]
async fn a11_deadline_that_passes_while_the_inner_service_is_not_ready_ends_poll_ready() {
    #[derive(Clone)]
    struct Never;
    impl Service<()> for Never {
        type Response = ();
        type Error = Infallible;
        type Future = std::future::Ready<Result<(), Infallible>>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Pending
        }
        fn call(&mut self, (): ()) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    let layer = ConcurrencyBackpressureLayer::new(1).with_terms();
    let mut client = layer.layer(Never);
    client.terms(Terms::new().deadline(secs(3)));
    let ready = timeout(secs(60), client.ready()).await;
    assert!(ready.is_ok(), "57 s late, with {} permit", layer.handle().in_flight());
}
