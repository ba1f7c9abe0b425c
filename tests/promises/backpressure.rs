use std::{
    future::Future,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll, Wake, Waker},
};

use futures::{
    FutureExt,
    future::{FusedFuture, join_all},
};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, Rejected, backpressure::Closed,
};
use tower_test::mock::Spawn;

use crate::support::{Probe, WakeCounter, ms, now, secs, settle};

fn rejected(error: &tower::BoxError) -> &Rejected {
    Rejected::find(&**error).expect("a rejection")
}

#[tokio::test(start_paused = true)]
async fn b1_at_most_max_in_flight_requests_run() {
    let probe = Probe::answering_after(ms(10));
    let notes = probe.notes();
    let service = ConcurrencyBackpressureLayer::new(3).layer(probe);

    let calls = (0..50).map(|n| service.clone().oneshot(n));
    assert!(join_all(calls).await.into_iter().all(|result| result.is_ok()));

    assert_eq!(notes.most_inside(), 3);
    assert_eq!(notes.calls().len(), 50);
    assert_eq!(notes.calls_ms().last(), Some(&160), "seventeen rounds of up to three");
}

#[tokio::test(start_paused = true)]
async fn b1_permit_is_held_from_readiness_to_the_end_of_the_response() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let handle = layer.handle();
    let mut service = layer.layer(Probe::answering_after(ms(10)));

    service.ready().await.unwrap();
    assert_eq!(handle.in_flight(), 1, "ready");
    let mut response = task::spawn(service.call(0));
    assert_eq!(handle.in_flight(), 1, "called");
    assert_pending!(response.poll());
    advance(ms(10)).await;
    assert_ready_ok!(response.poll());
    // The future is kept: the end of the inner one counts.
    assert_eq!(handle.in_flight(), 0, "completed");
    drop(response);
    assert_eq!(handle.in_flight(), 0, "released once");
}

/// Records the number of requests in flight when it is dropped.
struct Dropped(Arc<OnceLock<ConcurrencyBackpressureHandle>>, Arc<Mutex<Vec<u32>>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0.get().expect("a handle").in_flight());
    }
}

#[tokio::test]
async fn b1_permit_is_released_after_the_inner_future_is_dropped() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let (handle, seen) = (Arc::new(OnceLock::new()), Arc::default());
    assert!(handle.set(layer.handle()).is_ok());
    let (inner, counts) = (Arc::clone(&handle), Arc::clone(&seen));
    let mut service = layer.layer(tower::service_fn(move |finishes: bool| {
        let dropped = Dropped(Arc::clone(&inner), Arc::clone(&counts));
        async move {
            let _dropped = dropped;
            if !finishes {
                std::future::pending::<()>().await;
            }
            Ok::<_, std::io::Error>(())
        }
    }));
    drop(service.ready().await.unwrap().call(true)); // never polled
    let mut response = task::spawn(service.ready().await.unwrap().call(false));
    assert_pending!(response.poll());
    drop(response);
    service.ready().await.unwrap().call(true).await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        [1, 1, 1],
        "the permit is held while the inner future is dropped"
    );
    assert_eq!(handle.get().unwrap().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn b2_waiters_are_served_in_order_of_arrival() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let service = layer.layer(Probe::answering_after(ms(10)));
    let order = Arc::new(Mutex::new(Vec::new()));

    let mut tasks = Vec::new();
    for n in 0..20 {
        let (service, order) = (service.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            service.oneshot(n).await.unwrap();
            order.lock().unwrap().push(n);
        }));
        settle().await; // it is queued
    }
    join_all(tasks).await;
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn b2_newcomer_never_overtakes_a_waiter() {
    let service = ConcurrencyBackpressureLayer::new(1).layer(Probe::new());
    let mut first = service.clone();
    let mut second = Spawn::new(service.clone());
    let mut newcomer = Spawn::new(service);

    first.ready().await.unwrap();
    assert_pending!(second.poll_ready::<u32>());
    drop(first);
    assert!(second.is_woken());
    // The permit was granted to `second`, although it has not been polled since.
    assert_pending!(newcomer.poll_ready::<u32>());
    assert_ready_ok!(second.poll_ready::<u32>());
}

#[tokio::test]
async fn b3_arrival_at_a_full_queue_is_rejected() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(2);
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let mut holder = service.clone();
    holder.ready().await.unwrap();

    let mut waiters: Vec<_> = (0..2).map(|_| Spawn::new(service.clone())).collect();
    for waiter in &mut waiters {
        assert_pending!(waiter.poll_ready::<u32>());
    }
    let error = service.clone().oneshot(0).await.unwrap_err();
    assert!(rejected(&error).is_queue_full());
    assert_eq!(rejected(&error).retry_after(), None, "the end of a request is not known");
    assert_eq!((handle.queued(), handle.rejected().queue_full), (2, 1));

    drop(holder);
    assert!(waiters[0].is_woken() && !waiters[1].is_woken());
    let mut third = Spawn::new(service);
    assert_pending!(third.poll_ready::<u32>(), "there is room in the queue again");
}

#[tokio::test]
async fn b3_queue_of_zero_rejects_at_once() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0);
    let mut service = layer.layer(Probe::new());

    let response = service.ready().await.unwrap().call(1);
    let error = service.ready().await.unwrap().call(2).await.unwrap_err();
    assert!(rejected(&error).is_queue_full());
    assert_eq!(response.await.unwrap(), 1);
    assert_eq!(service.ready().await.unwrap().call(3).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn b3_waiter_past_max_wait_is_rejected() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(ms(100));
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let mut holder = service.clone();
    holder.ready().await.unwrap();
    let began = now();

    let error = service.clone().oneshot(0).await.unwrap_err();
    assert!(rejected(&error).is_wait_timeout());
    assert_eq!(began.elapsed(), ms(100));
    assert_eq!((handle.queued(), handle.rejected().wait_timeout), (0, 1));

    // A waiter that is granted a permit in time is admitted.
    let waiter = tokio::spawn(service.oneshot(0));
    settle().await;
    advance(ms(99)).await;
    drop(holder);
    waiter.await.unwrap().unwrap();
    assert_eq!(handle.rejected().total(), 1);
}

#[tokio::test(start_paused = true)]
async fn b3_permit_granted_before_a_late_poll_is_acquired() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(ms(100));
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let mut holder = service.clone();
    holder.ready().await.unwrap();

    let mut waiter = Spawn::new(service.clone());
    assert_pending!(waiter.poll_ready::<u32>());
    advance(ms(150)).await; // past the deadline, and not polled since
    drop(holder);
    assert_ready_ok!(waiter.poll_ready::<u32>());
    assert_ready_ok!(task::spawn(waiter.call(0)).poll());
    assert_eq!(handle.rejected().total(), 0);
}

#[tokio::test(start_paused = true)]
async fn b3_both_bounds_hold_together() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(1).max_wait(ms(100));
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let mut holder = service.clone();
    holder.ready().await.unwrap();

    let (one, two) = futures::join!(service.clone().oneshot(0), service.clone().oneshot(0));
    assert!(rejected(&one.unwrap_err()).is_wait_timeout());
    assert!(rejected(&two.unwrap_err()).is_queue_full());
    assert_eq!(handle.rejected().total(), 2);
}

#[tokio::test]
async fn b4_cancelled_waiter_leaves_the_queue_at_once() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(1);
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let mut holder = service.clone();
    holder.ready().await.unwrap();

    for _ in 0..100 {
        let mut waiter = Spawn::new(service.clone());
        assert_pending!(waiter.poll_ready::<u32>());
        assert_eq!(handle.queued(), 1);
        drop(waiter);
        assert_eq!(handle.queued(), 0);
    }
    assert_eq!(handle.rejected().total(), 0);
}

#[tokio::test]
async fn c4_b4_cancelled_waiter_passes_its_permit_to_the_next() {
    let service = ConcurrencyBackpressureLayer::new(1).layer(Probe::new());
    let mut holder = service.clone();
    holder.ready().await.unwrap();
    let mut granted = Spawn::new(service.clone());
    let mut next = Spawn::new(service);
    assert_pending!(granted.poll_ready::<u32>());
    assert_pending!(next.poll_ready::<u32>());

    drop(holder);
    assert!(granted.is_woken() && !next.is_woken());
    drop(granted);
    assert!(next.is_woken());
    assert_ready_ok!(next.poll_ready::<u32>());
}

#[tokio::test]
async fn b5_granted_task_that_is_not_polled_costs_one_permit() {
    let layer = ConcurrencyBackpressureLayer::new(2);
    let service = layer.layer(Probe::new());
    let (mut one, mut two) = (service.clone(), service.clone());
    one.ready().await.unwrap();
    two.ready().await.unwrap();

    let mut stuck = Spawn::new(service.clone());
    assert_pending!(stuck.poll_ready::<u32>());
    drop(one); // granted to `stuck`, which is not polled again

    // The other permit serves the other requests.
    let others: Vec<_> = (0..10).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    settle().await;
    drop(two);
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert_eq!(layer.handle().in_flight(), 1);
}

#[tokio::test]
async fn b6_raised_limit_admits_waiters_at_once() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let mut tasks: Vec<_> = (0..5).map(|_| Spawn::new(service.clone())).collect();
    assert_ready_ok!(tasks[0].poll_ready::<u32>());
    for task in &mut tasks[1..] {
        assert_pending!(task.poll_ready::<u32>());
    }

    handle.set_limit(3).unwrap();
    let woken: Vec<_> = tasks.iter().map(|task| task.is_woken()).collect();
    assert_eq!(woken, [false, true, true, false, false]);
    assert_eq!((handle.in_flight(), handle.queued(), handle.limit()), (3, 2, 3));
}

#[tokio::test]
async fn b6_lowered_limit_drains() {
    let layer = ConcurrencyBackpressureLayer::new(3);
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let mut holders: Vec<_> = (0..3).map(|_| Spawn::new(service.clone())).collect();
    for holder in &mut holders {
        assert_ready_ok!(holder.poll_ready::<u32>());
    }
    handle.set_limit(1).unwrap();
    assert_eq!((handle.in_flight(), handle.limit()), (3, 1), "requests in flight go on");

    let mut next = Spawn::new(service);
    assert_pending!(next.poll_ready::<u32>());
    holders.pop();
    holders.pop();
    assert!(!next.is_woken(), "one request is still in flight");
    holders.pop();
    assert!(next.is_woken());
    assert_ready_ok!(next.poll_ready::<u32>());
    assert_eq!(handle.in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn b6_drained_waits_for_the_last_request() {
    let layer = ConcurrencyBackpressureLayer::new(2);
    let handle = layer.handle();
    let service = layer.layer(Probe::answering_after(ms(10)));
    handle.drained().await; // no request has arrived yet

    let began = now();
    let tasks: Vec<_> = (0..5).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    settle().await;
    let mut dropped = task::spawn(handle.drained());
    assert_pending!(dropped.poll());
    drop(dropped);
    futures::join!(handle.drained(), handle.drained());
    assert_eq!(began.elapsed(), ms(30), "five requests, two at a time");
    assert_eq!((handle.in_flight(), handle.queued()), (0, 0));
    assert!(join_all(tasks).await.into_iter().all(|result| result.unwrap().is_ok()));
}

#[tokio::test]
async fn b6_drained_ends_when_the_last_waiter_is_cancelled() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let service = layer.layer(Probe::new());
    let mut holder = Spawn::new(service.clone());
    let mut waiter = Spawn::new(service);
    assert_ready_ok!(holder.poll_ready::<u32>());
    assert_pending!(waiter.poll_ready::<u32>());
    let mut drained = task::spawn(layer.handle().drained());
    assert_pending!(drained.poll());

    drop(holder);
    assert!(!drained.is_woken(), "granted to the waiter");
    drop(waiter);
    assert!(drained.is_woken());
    assert_ready!(drained.poll());
}

/// The future moves to another task, as in a shutdown.
#[tokio::test]
async fn b6_drained_wakes_the_last_task_that_polled() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let mut holder = layer.layer(Probe::new());
    holder.ready().await.unwrap();
    let mut drained = Box::pin(layer.handle().drained());
    let (first, last) = (WakeCounter::new(), WakeCounter::new());
    for wakes in [&first, &first, &last, &first, &last] {
        let waker = wakes.waker();
        assert!(drained.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(holder);
    assert_eq!((first.count(), last.count()), (0, 1));
    assert_eq!(drained.now_or_never(), Some(()));
}

#[tokio::test]
async fn b6_dropped_drained_keeps_no_waker() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let mut holder = layer.layer(Probe::new());
    holder.ready().await.unwrap();
    let wakes = WakeCounter::new();
    let mut drained = Box::pin(layer.handle().drained());
    assert!(drained.as_mut().poll(&mut Context::from_waker(&wakes.waker())).is_pending());
    assert_eq!(Arc::strong_count(&wakes), 2);
    drop(drained);
    assert_eq!(Arc::strong_count(&wakes), 1);
    drop(holder);
    assert_eq!(wakes.count(), 0);
}

#[tokio::test]
async fn b6_close_rejects_waiters_and_newcomers() {
    let layer = ConcurrencyBackpressureLayer::new(1).reject_with_box_error();
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let mut holder = service.clone();
    holder.ready().await.unwrap();
    let waiters: Vec<_> = (0..3).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;

    assert!(!handle.is_closed());
    handle.close().unwrap();
    for waiter in waiters {
        assert!(rejected(&waiter.await.unwrap().unwrap_err()).is_closed());
    }
    assert!(rejected(&service.oneshot(0).await.unwrap_err()).is_closed());
    assert!(handle.is_closed());
    assert_eq!((handle.queued(), handle.rejected().closed), (0, 4));

    // A request in flight completes.
    assert_eq!(handle.drained().now_or_never(), None);
    holder.call(0).await.unwrap();
    handle.drained().await;
}

/// The waiters of a service without a reject policy could not be told.
#[tokio::test]
async fn b6_limit_with_a_service_that_cannot_reject_is_not_closed() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let handle = layer.handle();
    let shedding = layer.clone().max_queue(0).layer(Probe::new());
    let waiting = layer.layer(Probe::new());

    let error = handle.close().unwrap_err().to_string();
    assert!(error.contains("without a reject policy") && error.contains("`max_queue`"), "{error}");
    assert!(!handle.is_closed());
    assert_eq!(waiting.oneshot(1).await.unwrap(), 1);
    assert_eq!(shedding.oneshot(2).await.unwrap(), 2);
    handle.close().expect_err("such a service existed");
}

#[tokio::test]
async fn b6_limit_whose_services_all_reject_is_closed() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let handle = layer.handle(); // before any reject policy is set
    let failing = layer.clone().reject_with_box_error().layer(Probe::new());
    let shedding = layer.clone().max_queue(0).layer(Probe::new());
    handle.close().unwrap();
    handle.close().expect("closed twice is closed");
    for service in [failing, shedding] {
        assert!(rejected(&service.oneshot(1).await.unwrap_err()).is_closed());
    }

    let late = std::panic::catch_unwind(|| layer.layer(Probe::new())).unwrap_err();
    let message = late.downcast_ref::<String>().expect("a message");
    assert!(message.contains("is closed") && message.contains("`max_queue`"), "{message}");
}

#[tokio::test]
async fn b6_limit_changed_after_close_stays_closed() {
    let layer = ConcurrencyBackpressureLayer::new(1).reject_with_box_error();
    layer.handle().close().unwrap();
    layer.handle().set_limit(10).unwrap();
    let error = layer.layer(Probe::new()).oneshot(0).await.unwrap_err();
    assert!(rejected(&error).is_closed());
}

/// The drop of a waker can drop a task, and with it a service that is queued at the same limit, so
/// no waker is dropped under the lock of the queue.
#[test]
fn b4_waker_that_drops_a_waiter_does_not_deadlock() {
    let service = ConcurrencyBackpressureLayer::new(1)
        .layer(tower::service_fn(|(): ()| async { Ok::<_, std::io::Error>(()) }));
    let mut holder = service.clone();
    let noop = Waker::noop();
    assert!(crate::support::poll_ready(&mut holder, noop).is_ready());

    // A queued service, owned by the waker of `waiter` in the same queue.
    let mut owned = service.clone();
    assert!(crate::support::poll_ready(&mut owned, noop).is_pending());
    let holds = Arc::new(Holds(Mutex::new(Box::new(owned))));
    let waker = Waker::from(holds);
    let mut waiter = service.clone();
    assert!(crate::support::poll_ready(&mut waiter, &waker).is_pending());
    drop(waker);

    // The queue holds the last reference to the waker, which a poll by another task drops.
    assert!(crate::support::poll_ready(&mut waiter, noop).is_pending());
    drop(holder);
    assert!(crate::support::poll_ready(&mut waiter, noop).is_ready());
}

/// Owns a service, which is dropped with the last waker.
struct Holds(#[allow(dead_code, reason = "to be dropped")] Mutex<Box<dyn std::any::Any + Send>>);

impl std::task::Wake for Holds {
    fn wake(self: Arc<Self>) {}
}

/// The waker of `waiter` owns a queued service. When the timer fires, the queue holds the last
/// reference to that waker.
#[tokio::test(start_paused = true)]
async fn c12_waker_of_an_expired_wait_is_dropped_outside_of_the_lock() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(ms(100));
    let handle = layer.handle();
    let service = layer.layer(tower::service_fn(|(): ()| async { Ok::<_, std::io::Error>(()) }));
    let [mut holder, mut owned, mut waiter] = [(); 3].map(|()| service.clone());
    assert!(crate::support::poll_ready(&mut holder, Waker::noop()).is_ready());
    advance(ms(50)).await;
    assert!(crate::support::poll_ready(&mut waiter, Waker::noop()).is_pending());
    advance(ms(10)).await;
    assert!(crate::support::poll_ready(&mut owned, Waker::noop()).is_pending());
    let waker = Waker::from(Arc::new(Holds(Mutex::new(Box::new(owned)))));
    assert!(crate::support::poll_ready(&mut waiter, &waker).is_pending());
    drop(waker);
    assert_eq!(handle.queued(), 2);
    tokio::time::sleep(ms(105)).await;
    assert_eq!(handle.queued(), 0);
    drop(waiter);
}

/// A graceful shutdown: `drained` in a `select!` loop beside a timer.
#[tokio::test(start_paused = true)]
async fn b6_drained_works_in_a_select_loop() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let running = tokio::spawn(layer.layer(Probe::answering_after(secs(5))).oneshot(0));
    settle().await;

    let mut drained = layer.handle().drained();
    let mut ticks = 0;
    loop {
        let tick = tokio::time::sleep(secs(1)).fuse();
        futures::pin_mut!(tick);
        futures::select! {
            () = drained => break,
            () = tick => ticks += 1,
        }
    }
    assert!((4..=5).contains(&ticks));
    running.await.unwrap().unwrap();
}

/// A stream ends itself when the limit is closed; `drained` alone would wait for its client.
#[tokio::test]
async fn b6_closed_completes_on_the_close_and_not_before() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(1);
    let handle = layer.handle();
    let mut holder = Spawn::new(layer.layer(Probe::new()));
    let mut waiter = Spawn::new(layer.layer(Probe::new()));
    let mut closed = [(); 3].map(|()| task::spawn(handle.closed()));
    for closed in &mut closed {
        assert_pending!(closed.poll());
    }
    let [first, dropped, mut third] = closed;
    drop(dropped);

    assert_ready_ok!(holder.poll_ready::<u32>());
    assert_pending!(waiter.poll_ready::<u32>());
    handle.set_limit(2).unwrap();
    assert_ready_ok!(waiter.poll_ready::<u32>());
    drop((holder, waiter));
    assert!(!first.is_woken() && !third.is_woken(), "the limit is open");

    handle.close().unwrap();
    assert!(first.is_woken() && third.is_woken());
    assert_ready!(third.poll());
    drop(first); // woken, and not polled
    handle.closed().await; // closed before
}

#[tokio::test]
async fn b6_closed_wakes_the_last_task_that_polled_and_keeps_no_other_waker() {
    let handle = ConcurrencyBackpressureLayer::new(1).handle();
    let mut closed = handle.closed();
    let (first, last) = (WakeCounter::new(), WakeCounter::new());
    for wakes in [&first, &first, &last, &first, &last] {
        let waker = wakes.waker();
        assert!(closed.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!((Arc::strong_count(&first), Arc::strong_count(&last)), (1, 2));
    assert!(!closed.is_terminated());
    handle.close().unwrap();
    assert_eq!((first.count(), last.count()), (0, 1));
    assert_eq!(closed.poll_unpin(&mut Context::from_waker(Waker::noop())), Poll::Ready(()));
    assert!(closed.is_terminated());

    let mut dropped = ConcurrencyBackpressureLayer::new(1).handle().closed();
    assert!(dropped.poll_unpin(&mut Context::from_waker(&first.waker())).is_pending());
    drop(dropped);
    assert_eq!(Arc::strong_count(&first), 1);
}

/// The waker of a task that closes its own future on wake-up takes the lock again.
#[tokio::test]
async fn b6_waker_that_drops_its_closed_future_does_not_deadlock() {
    struct Dropping(Mutex<Option<Closed>>);
    impl Wake for Dropping {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    let handle = ConcurrencyBackpressureLayer::new(1).handle();
    let dropping = Arc::new(Dropping(Mutex::new(Some(handle.closed()))));
    let waker = Waker::from(Arc::clone(&dropping));
    let polled =
        dropping.0.lock().unwrap().as_mut().unwrap().poll_unpin(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    handle.close().unwrap();
    assert!(dropping.0.lock().unwrap().is_none());
}
