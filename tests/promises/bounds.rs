//! Bounds of queues and pauses that change at run time.

use std::{
    future::Future,
    panic::catch_unwind,
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, assert_ready_ok};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, PauseOnHintLayer, Rejected,
    WindowRateLimitLayer,
    config::ConcurrencyConfig,
    observe::Snapshot,
    reject::RejectWithBoxError,
    shared::{Away, SharedWindow},
};
use tower_test::mock::Spawn;

use crate::{
    small_store::SmallStore,
    support::{Probe, ms, now, poll_ready, secs, settle},
};

#[track_caller]
fn rejected(error: &BoxError) -> &Rejected {
    Rejected::find(&**error).expect("a rejection")
}

/// Both limits, with one permit that is used, and the handles that both have.
macro_rules! for_both {
    (|$handle:ident, $layer:ident, $service:ident| $scene:block) => {{
        {
            let $layer = ConcurrencyBackpressureLayer::new(1).reject_with_box_error();
            let ($handle, $service) = ($layer.handle(), $layer.layer(Probe::new()));
            let mut holder = $service.clone();
            let _: &mut _ = ServiceExt::<u32>::ready(&mut holder).await.unwrap();
            $scene
        }
        {
            let $layer = WindowRateLimitLayer::new(1, secs(3600)).reject_with_box_error();
            let ($handle, $service) = ($layer.handle(), $layer.layer(Probe::new()));
            $service.clone().oneshot(0).await.unwrap();
            $scene
        }
    }};
}

#[tokio::test(start_paused = true)]
async fn s2_b3_w5_smaller_queue_rejects_newcomers_and_keeps_waiters() {
    for_both!(|handle, layer, service| {
        let waiters: Vec<_> = (0..3).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
        settle().await;
        handle.set_max_queue(Some(1)).unwrap();
        assert_eq!((handle.max_queue(), handle.queued()), (Some(1), 3));
        let error = service.clone().oneshot(3).await.unwrap_err();
        assert!(rejected(&error).is_queue_full());
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));

        handle.set_max_queue(Some(4)).unwrap();
        let mut fourth = Spawn::new(service.clone());
        assert_pending!(fourth.poll_ready::<u32>());
        let error = service.clone().oneshot(4).await.unwrap_err();
        assert!(rejected(&error).is_queue_full());
        handle.set_max_queue(None).unwrap();
        let mut fifth = Spawn::new(service.clone());
        assert_pending!(fifth.poll_ready::<u32>());
        handle.close().unwrap();
        for waiter in waiters {
            assert!(rejected(&waiter.await.unwrap().unwrap_err()).is_closed());
        }
        let _ = layer;
    });
}

/// The bound is that of the limit: layers of it that differ have the same then.
#[tokio::test(start_paused = true)]
async fn s2_bound_of_the_handle_replaces_those_of_all_layers() {
    for_both!(|handle, layer, service| {
        let none = layer.clone().max_queue(0);
        let many = layer.clone().max_queue(100).max_wait(secs(5));
        assert_eq!((handle.max_queue(), handle.max_wait()), (None, None));
        assert_eq!((none.handle().max_queue(), none.handle().max_wait()), (Some(0), None));
        let of_many = many.layer(Probe::new()).handle();
        assert_eq!((of_many.max_queue(), of_many.max_wait()), (Some(100), Some(secs(5))));

        handle.set_max_queue(Some(1)).unwrap();
        for handle in [&handle, &none.handle(), &of_many] {
            assert_eq!(handle.max_queue(), Some(1));
        }
        assert_eq!(of_many.max_wait(), Some(secs(5)), "that of the layer");
        let mut waiter = Spawn::new(none.layer(Probe::new()));
        assert_pending!(waiter.poll_ready::<u32>());
        for layer in [&layer, &none, &many] {
            let error = layer.layer(Probe::new()).oneshot(1).await.unwrap_err();
            assert!(rejected(&error).is_queue_full());
        }
        drop(waiter);
        handle.set_max_wait(Some(secs(7))).unwrap();
        assert_eq!(of_many.max_wait(), Some(secs(7)));
        let _ = service;
    });
}

#[tokio::test(start_paused = true)]
async fn s2_b3_waiters_keep_their_deadlines_and_newcomers_have_the_new_one() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(10));
    let (handle, service) = (layer.handle(), layer.layer(Probe::new()));
    let mut holder = service.clone();
    let _: &mut _ = ServiceExt::<u32>::ready(&mut holder).await.unwrap();
    let begun = now();
    let wait = |service: &tower_floodgate::ConcurrencyBackpressure<Probe, RejectWithBoxError>| {
        let service = service.clone();
        tokio::spawn(async move {
            let error = service.oneshot(1).await.unwrap_err();
            (rejected(&error).is_wait_timeout(), begun.elapsed())
        })
    };
    let long = wait(&service);
    settle().await;
    handle.set_max_wait(Some(secs(2))).unwrap();
    let short = wait(&service);
    settle().await;
    handle.set_max_wait(None).unwrap();
    let unbounded = wait(&service);
    assert_eq!(short.await.unwrap(), (true, secs(2)));
    assert_eq!(long.await.unwrap(), (true, secs(10)));
    sleep(secs(1000)).await;
    assert!(!unbounded.is_finished());
    assert_eq!(handle.queued(), 1);
    unbounded.abort();
}

/// A window rejects at once, by the time at which the permit is expected.
#[tokio::test(start_paused = true)]
async fn s2_w5_changed_wait_of_a_window_rejects_on_arrival() {
    let layer = WindowRateLimitLayer::new(1, secs(60)).max_wait(secs(100));
    let (handle, service) = (layer.handle(), layer.layer(Probe::new()));
    service.clone().oneshot(0).await.unwrap();
    let waiter = tokio::spawn(service.clone().oneshot(1));
    settle().await;
    handle.set_max_wait(Some(secs(119))).unwrap();
    let began = now();
    let error = service.clone().oneshot(2).await.unwrap_err();
    assert!(rejected(&error).is_wait_timeout());
    assert_eq!((rejected(&error).retry_after(), began.elapsed()), (Some(secs(120)), secs(0)));
    handle.set_max_wait(Some(secs(120))).unwrap();
    service.clone().oneshot(2).await.unwrap();
    assert_eq!(began.elapsed(), secs(120));
    waiter.await.unwrap().unwrap();
    handle.set_max_wait(None).unwrap();
    assert_eq!(handle.snapshot().max_wait, None);
}

/// The service is ready to reject, and `call` decides by the bounds of its moment.
#[tokio::test(start_paused = true)]
async fn s2_c11_call_rejects_by_the_bounds_of_its_moment() {
    for_both!(|handle, layer, service| {
        handle.set_max_queue(Some(0)).unwrap();
        let mut late = service.clone();
        let _: &mut _ = ServiceExt::<u32>::ready(&mut late).await.unwrap();
        handle.set_max_queue(None).unwrap();
        handle.set_max_wait(Some(Duration::ZERO)).unwrap();
        assert!(rejected(&late.call(1).await.unwrap_err()).is_wait_timeout());
        // Removed, but a call does not wait.
        handle.set_max_queue(Some(0)).unwrap();
        let _: &mut _ = ServiceExt::<u32>::ready(&mut late).await.unwrap();
        handle.set_max_queue(None).unwrap();
        handle.set_max_wait(None).unwrap();
        assert!(rejected(&late.call(1).await.unwrap_err()).is_queue_full());
        let _ = layer;
    });
}

#[tokio::test(start_paused = true)]
async fn s2_bound_is_an_error_with_a_service_that_cannot_reject() {
    let (concurrency, rate) =
        (ConcurrencyBackpressureLayer::new(1), WindowRateLimitLayer::new(1, secs(60)));
    let one = concurrency.layer(Probe::new());
    let other = rate.layer(Probe::new());
    let errors = [
        concurrency.handle().set_max_queue(Some(1)).unwrap_err(),
        concurrency.handle().set_max_wait(Some(secs(1))).unwrap_err(),
        rate.handle().set_max_queue(Some(1)).unwrap_err(),
        rate.handle().set_max_wait(Some(secs(1))).unwrap_err(),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(text.contains("without a reject policy") && text.contains("`max_queue`"), "{text}");
        assert_eq!(format!("{error:?}"), format!("BoundError: {text}"));
    }
    // No bound rejects nothing.
    concurrency.handle().set_max_queue(None).unwrap();
    rate.handle().set_max_wait(None).unwrap();
    assert_eq!((concurrency.handle().max_queue(), rate.handle().max_wait()), (None, None));
    assert_eq!((one.oneshot(1).await.unwrap(), other.oneshot(1).await.unwrap()), (1, 1));
}

/// Also once the bound is removed, and with the message of the close once the limit is closed.
#[test]
fn s2_service_that_cannot_reject_is_not_made_of_a_bounded_limit() {
    let message = |make: &dyn Fn()| {
        let panic = catch_unwind(std::panic::AssertUnwindSafe(make)).unwrap_err();
        panic.downcast_ref::<String>().expect("a message").clone()
    };
    let layer = ConcurrencyBackpressureLayer::new(1);
    layer.handle().set_max_queue(Some(5)).unwrap();
    layer.handle().set_max_queue(None).unwrap();
    let bounded = message(&|| drop(layer.layer(Probe::new())));
    assert!(
        bounded.starts_with("this ConcurrencyBackpressureLayer is bounded by a handle, and the"),
        "{bounded}"
    );
    assert!(bounded.contains("set `max_queue`"), "{bounded}");
    let _ = layer.clone().reject_with_box_error().layer(Probe::new());
    layer.handle().close().unwrap();
    layer.handle().set_max_wait(Some(secs(1))).unwrap();
    let closed = message(&|| drop(layer.layer(Probe::new())));
    assert!(closed.starts_with("this ConcurrencyBackpressureLayer is closed"), "{closed}");

    let rate = WindowRateLimitLayer::new(1, secs(60));
    rate.handle().set_max_wait(Some(secs(1))).unwrap();
    let bounded = message(&|| drop(rate.layer(Probe::new())));
    assert!(bounded.starts_with("this WindowRateLimitLayer is bounded"), "{bounded}");
    let bounded = message(&|| drop(rate.clone().per_service().layer(Probe::new())));
    assert!(bounded.starts_with("this WindowRateLimitLayer is bounded"), "{bounded}");
}

/// A limit for each service begins with the bounds that its layer has then.
#[tokio::test(start_paused = true)]
async fn s2_c1_limit_of_a_service_begins_with_the_bounds_of_its_layer() {
    let layer = ConcurrencyBackpressureLayer::new(1).reject_with_box_error();
    layer.handle().set_max_queue(Some(0)).unwrap();
    let service = layer.clone().per_service().layer(Probe::answering_after(secs(1)));
    layer.handle().set_max_queue(Some(9)).unwrap();
    assert_eq!(service.handle().max_queue(), Some(0));
    let mut holder = service.clone();
    let _: &mut _ = ServiceExt::<u32>::ready(&mut holder).await.unwrap();
    assert!(rejected(&service.oneshot(1).await.unwrap_err()).is_queue_full());
}

/// A wait whose bound is removed is taken over by another task, and has no timer then.
#[tokio::test(start_paused = true)]
async fn s2_c12_wait_taken_over_by_another_task_has_the_bound_of_that_moment() {
    for_both!(|handle, layer, service| {
        // A window would reject an hour at once.
        handle.set_max_wait(Some(secs(3601))).unwrap();
        let mut moved = service.clone();
        assert!(poll_ready::<_, u32>(&mut moved, Waker::noop()).is_pending());
        handle.set_max_wait(None).unwrap();
        let mut moved = Spawn::new(moved);
        assert_pending!(moved.poll_ready::<u32>());
        handle.set_max_wait(Some(ms(1))).unwrap();
        assert_pending!(moved.poll_ready::<u32>(), "the same task");
        assert_eq!(handle.queued(), 1);
        drop(moved);
        let _ = layer;
    });
    let layer = ConcurrencyBackpressureLayer::new(1).reject_with_box_error();
    let (handle, service) = (layer.handle(), layer.layer(Probe::new()));
    let mut holder = service.clone();
    let _: &mut _ = ServiceExt::<u32>::ready(&mut holder).await.unwrap();
    // A wait without a bound stays one.
    let mut moved = service.clone();
    assert!(poll_ready::<_, u32>(&mut moved, Waker::noop()).is_pending());
    handle.set_max_wait(Some(secs(1))).unwrap();
    let mut moved = Spawn::new(moved);
    assert_pending!(moved.poll_ready::<u32>());
    advance(secs(5)).await;
    assert_pending!(moved.poll_ready::<u32>());
    drop(holder);
    assert!(moved.is_woken());
    assert_ready_ok!(moved.poll_ready::<u32>());
}

#[tokio::test(start_paused = true)]
async fn s2_snapshot_has_the_bounds_in_force() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(4).max_wait(ms(1500));
    let snapshot = layer.handle().snapshot();
    assert_eq!((snapshot.max_queue, snapshot.max_wait), (Some(4), Some(ms(1500))));
    layer.handle().set_max_wait(None).unwrap();
    assert_eq!(layer.handle().snapshot().max_wait, None);
    let rate = WindowRateLimitLayer::new(1, secs(60)).reject_with_box_error();
    rate.handle().set_max_wait(Some(ms(2500))).unwrap();
    rate.handle().set_max_queue(Some(7)).unwrap();
    let snapshot = rate.handle().snapshot();
    assert_eq!((snapshot.max_queue, snapshot.max_wait), (Some(7), Some(ms(2500))));
    let _ = Snapshot::Window(snapshot.clone());
    #[cfg(feature = "serde")]
    {
        let json = serde_json::to_value(&snapshot).unwrap();
        assert_eq!(json["max_wait_seconds"].as_f64(), Some(2.5));
        assert_eq!(json["max_queue"].as_u64(), Some(7));
    }
}

#[tokio::test(start_paused = true)]
async fn w7_hint_pauses_a_limit_that_processes_share_in_this_process() {
    let store = SmallStore::new();
    let quota = SharedWindow::new(store.clone(), "api", 100, secs(1), Away::Closed);
    let limit = WindowRateLimitLayer::shared(quota);
    let handle = limit.handle();
    let hint = |result: &Result<u32, std::io::Error>| match result {
        Ok(429) => Some(secs(20)),
        _ => None,
    };
    let layer = PauseOnHintLayer::new(handle.clone(), hint);
    assert!(format!("{:?}", layer.handle()).contains("SharedRateLimitHandle"));
    let (probe, began) = (Probe::new(), now());
    let service = limit.layer(layer.layer(probe.clone()));
    service.clone().oneshot(200).await.unwrap();
    assert_eq!(handle.snapshot().paused_for, secs(0));
    service.clone().oneshot(429).await.unwrap();
    let paused_until = began.elapsed() + secs(20);
    assert_eq!((handle.snapshot().paused_for, handle.estimated_wait()), (secs(20), secs(20)));
    service.oneshot(200).await.unwrap();
    let [.., last] = probe.notes().calls()[..] else { panic!("three calls") };
    assert!(last >= paused_until && last < paused_until + ms(50), "{last:?}");
}

/// The layer, its clones and their services share the bound.
#[tokio::test(start_paused = true)]
async fn s2_w7_bound_of_a_pause_changes_for_running_services() {
    let limit = WindowRateLimitLayer::new(100, secs(1));
    let rate = limit.handle();
    let hint = |_: &Result<u32, std::io::Error>| Some(secs(600));
    let layer = PauseOnHintLayer::new(rate.clone(), hint).max_pause(secs(30));
    let handle = layer.handle();
    assert_eq!(handle.max_pause(), secs(30));
    let inner = service_fn(|n: u32| async move { Ok::<_, std::io::Error>(n) });
    let (one, other) = (layer.layer(inner), layer.clone().layer(inner));

    let in_flight = one.clone().oneshot(1);
    handle.clone().set_max_pause(secs(5));
    in_flight.await.unwrap();
    assert_eq!(rate.estimated_wait(), secs(5));
    handle.set_max_pause(secs(20));
    other.oneshot(1).await.unwrap();
    assert_eq!(rate.estimated_wait(), secs(20));
    handle.set_max_pause(Duration::ZERO);
    sleep(secs(20)).await;
    one.oneshot(1).await.unwrap();
    assert_eq!(rate.estimated_wait(), secs(0));

    // A bound of its own.
    let apart = layer.clone().max_pause(secs(7));
    handle.set_max_pause(Duration::MAX);
    assert_eq!((apart.handle().max_pause(), handle.max_pause() > secs(1 << 30)), (secs(7), true));
    assert!(apart.layer(inner).oneshot(1).now_or_never().is_some());
    assert_eq!(rate.estimated_wait(), secs(7));
}

/// The permit was expected at 30 s when the bound was 100 s. The task that takes over has 15 s.
#[tokio::test(start_paused = true)]
async fn s2_c12_wait_taken_over_under_a_shorter_bound_ends_by_it() {
    let layer = WindowRateLimitLayer::new(1, secs(10)).max_wait(secs(100));
    let handle = layer.handle();
    handle.acquire().await.unwrap().commit();
    let mut one = Box::pin(handle.acquire());
    let mut two = Box::pin(handle.acquire());
    assert!((&mut one).now_or_never().is_none() && (&mut two).now_or_never().is_none());
    let mut service = layer.layer(Probe::new());
    assert!(poll_ready::<_, u32>(&mut service, Waker::noop()).is_pending());
    handle.set_max_wait(Some(secs(15))).unwrap();
    let start = now();
    let error = tokio::spawn(async move {
        ServiceExt::<u32>::ready(&mut service).await.unwrap().call(1).await.unwrap_err()
    });
    assert!(rejected(&error.await.unwrap()).is_wait_timeout());
    assert_eq!(start.elapsed(), secs(15));
}

/// Changes the settings when it is woken, as another thread may at that moment.
struct Apply(ConcurrencyBackpressureHandle);

impl Wake for Apply {
    fn wake(self: Arc<Self>) {
        let mut config = ConcurrencyConfig::new(1);
        config.max_queue = Some(100);
        config.apply(&self.0).unwrap();
    }
}

/// Before the change the request is admitted, and after it, it may queue. The change comes between
/// the lookup of the bounds and that of the limit.
#[tokio::test(start_paused = true)]
async fn s2_request_during_a_change_is_not_rejected_by_a_part_of_it() {
    let handle = ConcurrencyBackpressureLayer::new(3).reject_with_box_error().handle();
    let _held = handle.try_acquire().unwrap();
    handle.set_max_wait(Some(secs(1))).unwrap();
    let mut several = Box::pin(handle.acquire_many(3));
    assert!((&mut several).now_or_never().is_none());
    handle.set_max_wait(None).unwrap();
    let mut one = Box::pin(handle.acquire());
    let waker = Waker::from(Arc::new(Apply(handle.clone())));
    assert!(one.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    handle.set_max_queue(Some(0)).unwrap();
    // The newcomer removes the overdue wait, so that `one` is granted a permit, and its waker
    // called.
    advance(secs(2)).await;
    let mut newcomer = Box::pin(handle.acquire());
    assert!((&mut newcomer).now_or_never().is_none(), "it may queue: {:?}", handle.snapshot());
    assert_eq!((handle.limit(), handle.queued()), (1, 1));
}
