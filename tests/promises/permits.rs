//! Permits that handles acquire, without a request.

use std::{
    convert::Infallible,
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{FusedFuture, pending},
    stream::{FuturesUnordered, StreamExt},
};
use tokio_test::task;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{
    ConcurrencyBackpressureHandle, ConcurrencyBackpressureLayer, DeadlineLayer, Rejected,
    WindowRateLimitHandle, WindowRateLimitLayer,
    backpressure::{AcquireManyError, ConcurrencyPermit},
    rate_limit::WindowPermit,
};

use crate::{
    reports::reports_of,
    support::{Probe, WakeCounter, most_in_any_span, ms, now, poll_ready, secs, settle},
};

fn concurrency(limit: u32) -> ConcurrencyBackpressureHandle {
    ConcurrencyBackpressureLayer::new(limit).handle()
}

fn window(limit: u32, window: Duration) -> WindowRateLimitHandle {
    WindowRateLimitLayer::new(limit, window).handle()
}

#[tokio::test(start_paused = true)]
async fn p1_b2_permits_and_requests_wait_in_one_queue() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let handle = layer.handle();
    let held = handle.try_acquire().unwrap();
    assert_eq!((handle.in_flight(), held.num_permits()), (1, 1));

    let mut first = task::spawn(handle.acquire());
    let mut second = layer.layer(Probe::new());
    let mut third = task::spawn(handle.acquire());
    assert!(first.poll().is_pending());
    assert!(poll_ready::<_, u32>(&mut second, Waker::noop()).is_pending());
    assert!(third.poll().is_pending());
    assert_eq!(handle.queued(), 3);

    drop(held);
    let Poll::Ready(Ok(permit)) = first.poll() else { panic!("it is first") };
    assert!(poll_ready::<_, u32>(&mut second, Waker::noop()).is_pending());
    drop(permit);
    assert!(!third.is_woken());
    assert!(poll_ready::<_, u32>(&mut second, Waker::noop()).is_ready());
    drop(second);
    assert!(third.is_woken() && third.poll().is_ready());
}

/// Layers of one limit may differ in their bounds, and so do their handles.
#[tokio::test(start_paused = true)]
async fn p1_bounds_of_a_layer_apply_to_permits_of_its_handle() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let _held = layer.handle().try_acquire().unwrap();
    let mut unbounded = task::spawn(layer.handle().acquire());
    assert!(unbounded.poll().is_pending());
    let handle = layer.clone().max_queue(1).handle();
    let Poll::Ready(Err(rejected)) = task::spawn(handle.acquire()).poll() else {
        panic!("it is rejected")
    };
    assert!(rejected.is_queue_full());
    let handle = layer.max_wait(secs(1)).handle();
    let (start, rejected) = (now(), handle.acquire().await.unwrap_err());
    assert!(rejected.is_wait_timeout());
    assert_eq!(start.elapsed(), secs(1));
}

#[tokio::test(start_paused = true)]
async fn p1_w1_w5_permits_and_requests_share_one_window_in_order() {
    let layer = WindowRateLimitLayer::new(2, secs(1));
    let probe = Probe::new();
    let (handle, notes) = (layer.handle(), probe.notes());
    let start = now();
    let mut times = Vec::new();
    let service = layer.layer(probe);
    for round in 0..3 {
        let request = tokio::spawn(service.clone().oneshot(round));
        settle().await;
        handle.acquire().await.unwrap().commit();
        times.push(start.elapsed());
        request.await.unwrap().unwrap();
    }
    assert_eq!(times, [secs(0), secs(1), secs(2)]);
    assert_eq!(notes.calls(), [secs(0), secs(1), secs(2)]);
}

#[tokio::test(start_paused = true)]
async fn p1_w1_permits_kept_for_long_count_from_their_commits() {
    let limit = window(3, secs(1));
    let start = now();
    let early = limit.acquire_many(2).await.unwrap();
    let mut times = vec![start.elapsed()];
    limit.acquire().await.unwrap().commit();
    tokio::time::advance(ms(900)).await;
    times.extend([start.elapsed(); 2]);
    early.commit();
    for _ in 0..6 {
        limit.acquire().await.unwrap().commit();
        times.push(start.elapsed());
    }
    assert_eq!(most_in_any_span(&times, secs(1)), 3);
    assert_eq!(limit.snapshot().issued, 9);
}

/// With a limit of 1024, every fourth issue has a checkpoint. Permits that are committed together
/// across it have one, too, and expire a window later, not a window after the next look.
#[tokio::test(start_paused = true)]
async fn p1_w8_permits_committed_across_a_stride_expire_in_time() {
    for permits in 4..9 {
        let limit = window(1024, secs(10));
        limit.try_acquire_many(permits).unwrap().commit();
        tokio::time::advance(secs(5)).await;
        assert_eq!(limit.remaining(), 1024 - permits);
        tokio::time::advance(secs(5)).await;
        assert_eq!(limit.remaining(), 1024, "{permits} at once");
    }
}

#[tokio::test(start_paused = true)]
async fn p1_b6_w9_drained_waits_for_permits_of_handles() {
    let (requests, quota) = (concurrency(3), window(3, secs(60)));
    let (permit, two) = (requests.try_acquire().unwrap(), quota.try_acquire_many(2).unwrap());
    let mut drained = (task::spawn(requests.drained()), task::spawn(quota.drained()));
    assert!(drained.0.poll().is_pending() && drained.1.poll().is_pending());
    drop(permit);
    two.commit();
    assert!(drained.0.is_woken() && drained.0.poll().is_ready());
    assert!(drained.1.is_woken() && drained.1.poll().is_ready(), "they are issued");
}

#[tokio::test(start_paused = true)]
async fn p1_b6_w9_close_rejects_waits_and_arrivals_of_handles() {
    let (requests, quota) = (concurrency(1), window(1, secs(3600)));
    let _held = (requests.try_acquire().unwrap(), quota.try_acquire().unwrap());
    let waiting = (tokio::spawn(requests.acquire()), tokio::spawn(quota.acquire_many(1)));
    settle().await;
    requests.close().unwrap();
    quota.close().unwrap();
    assert!(waiting.0.await.unwrap().unwrap_err().is_closed());
    let error = waiting.1.await.unwrap().unwrap_err();
    assert!(Rejected::find(&error).is_some_and(Rejected::is_closed));
    assert!(requests.acquire().await.unwrap_err().is_closed());
    assert!(quota.try_acquire().unwrap_err().is_closed());
    assert_eq!((requests.rejected().closed, quota.rejected().closed), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn p1_r10_deadline_of_a_request_ends_a_wait_inside_by_its_drop() {
    let quota = window(1, secs(10));
    quota.acquire().await.unwrap().commit();
    let inside = quota.clone();
    let handler = service_fn(move |(): ()| {
        let inside = inside.clone();
        async move { Ok::<_, Infallible>(inside.acquire().await.map(WindowPermit::commit)) }
    });
    let start = now();
    let error = DeadlineLayer::new(secs(2)).layer(handler).oneshot(()).await.unwrap_err();
    assert!(Rejected::find(&*error).is_some_and(Rejected::is_deadline_exceeded));
    assert_eq!(start.elapsed(), secs(2), "not before, though the permit comes after ten seconds");
    assert_eq!(quota.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn p1_wait_that_moves_to_another_task_goes_on() {
    let limit = concurrency(1);
    let held = limit.try_acquire().unwrap();
    let mut waiting = limit.acquire();
    assert!((&mut waiting).now_or_never().is_none());
    let moved = tokio::spawn(waiting);
    let mut among: FuturesUnordered<_> = [limit.acquire(), limit.acquire()].into_iter().collect();
    settle().await;
    assert!(among.next().now_or_never().is_none());
    drop(held);
    drop(moved.await.unwrap().unwrap());
    assert_eq!(among.map(|permit| permit.is_ok()).collect::<Vec<_>>().await, [true, true]);
}

#[test]
fn p1_c2_permit_of_a_concurrency_limit_needs_no_runtime() {
    let limit = concurrency(2);
    let permit = futures::executor::block_on(limit.acquire()).unwrap();
    let both = std::thread::spawn({
        let limit = limit.clone();
        move || futures::executor::block_on(limit.acquire_many(2)).unwrap().num_permits()
    });
    while limit.queued() == 0 {
        std::thread::yield_now();
    }
    drop(permit);
    assert_eq!(both.join().unwrap(), 2);
}

#[test]
fn p1_c1_permit_of_a_handle_in_a_request_is_not_reported_as_nested() {
    let test = "permits::p1_c1_permit_of_a_handle_in_a_request_is_not_reported_as_nested";
    let reports = reports_of(test, async {
        let layer = ConcurrencyBackpressureLayer::new(4);
        let (outer, quota) = (layer.handle(), window(3, secs(1)));
        let inner = outer.clone();
        let handler = service_fn(move |_: u32| {
            let (inner, quota) = (inner.clone(), quota.clone());
            async move {
                let _permit = (inner.acquire().await.unwrap(), inner.try_acquire().unwrap());
                quota.acquire().await.unwrap().commit();
                Ok::<_, Infallible>(())
            }
        });
        let _permit = outer.try_acquire().unwrap();
        layer.layer(handler).oneshot(1).await.unwrap();
    });
    assert_eq!(reports, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn p2_several_permits_are_acquired_at_once_and_hold_up_those_behind() {
    let limit = concurrency(3);
    let mut held: Vec<_> = (0..3).map(|_| limit.try_acquire().unwrap()).collect();
    let mut large = task::spawn(limit.acquire_many(3));
    let mut small = task::spawn(limit.acquire());
    assert!(large.poll().is_pending() && small.poll().is_pending());
    for left in [2, 1] {
        held.pop();
        assert_eq!(limit.in_flight(), left);
        assert!(!large.is_woken() && !small.is_woken(), "the permits are kept for the first");
        assert!(limit.try_acquire().unwrap_err().is_queue_full(), "the queue comes first");
    }
    held.pop();
    let Poll::Ready(Ok(permit)) = large.poll() else { panic!("all permits are there") };
    assert_eq!((permit.num_permits(), limit.in_flight()), (3, 3));
    assert!(!small.is_woken());
    drop(permit);
    assert!(small.is_woken() && small.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn p2_w3_permits_of_a_window_are_kept_until_the_last_one_has_expired() {
    let limit = window(3, secs(10));
    let start = now();
    for _ in 0..3 {
        limit.acquire().await.unwrap().commit();
        tokio::time::advance(secs(2)).await;
    }
    let (large, small) = (tokio::spawn(limit.acquire_many(2)), tokio::spawn(limit.acquire()));
    settle().await;
    assert_eq!(limit.estimated_wait(), secs(12 + 10) - start.elapsed(), "a window after the two");
    let large = large.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), secs(12), "the second of the two expires");
    large.commit();
    small.await.unwrap().unwrap().commit();
    assert_eq!(start.elapsed(), secs(14));
}

#[tokio::test(start_paused = true)]
async fn p2_w6_rejection_tells_when_there_is_room_for_all_permits() {
    let limit = window(3, secs(10));
    for _ in 0..3 {
        limit.acquire().await.unwrap().commit();
        tokio::time::advance(secs(2)).await;
    }
    let wait = |permits| {
        let error = limit.try_acquire_many(permits).unwrap_err();
        Rejected::find(&error).and_then(Rejected::retry_after).unwrap()
    };
    assert_eq!([1, 2, 3].map(wait), [secs(4), secs(6), secs(8)]);
    tokio::time::advance(wait(2) - ms(1)).await;
    assert!(limit.try_acquire_many(2).is_err());
    tokio::time::advance(ms(1)).await;
    assert_eq!(limit.try_acquire_many(2).unwrap().num_permits(), 2);
}

#[tokio::test(start_paused = true)]
async fn p3_b4_c4_wait_that_is_dropped_leaves_the_queue() {
    let (requests, quota) = (concurrency(2), window(2, secs(3600)));
    let held = (requests.try_acquire().unwrap(), quota.try_acquire().unwrap());
    let mut large = (task::spawn(requests.acquire_many(2)), task::spawn(quota.acquire_many(2)));
    let mut small = (task::spawn(requests.acquire()), task::spawn(quota.acquire()));
    assert!(large.0.poll().is_pending() && large.1.poll().is_pending());
    assert!(small.0.poll().is_pending() && small.1.poll().is_pending());
    drop(large);
    assert!(small.0.is_woken() && small.0.poll().is_ready(), "one permit is enough for the next");
    assert!(small.1.is_woken() && small.1.poll().is_ready());
    drop((held, small));
    assert_eq!((requests.in_flight(), quota.remaining()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn p3_c4_permits_granted_to_a_dropped_wait_go_to_the_next() {
    let limit = concurrency(2);
    let held = limit.try_acquire_many(2).unwrap();
    let mut large = task::spawn(limit.acquire_many(2));
    let mut small = task::spawn(limit.acquire());
    assert!(large.poll().is_pending() && small.poll().is_pending());
    drop(held);
    assert!(large.is_woken() && !small.is_woken());
    drop(large);
    assert!(small.is_woken());
    assert_eq!((limit.in_flight(), limit.queued()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn p3_w4_permits_without_a_commit_are_refunded() {
    let limit = window(2, secs(3600));
    drop(limit.acquire_many(2).await.unwrap());
    assert_eq!((limit.remaining(), limit.snapshot().issued), (2, 0));
    let held = limit.acquire_many(2).await.unwrap();
    let waiting = tokio::spawn(limit.acquire());
    settle().await;
    drop(held);
    waiting.await.unwrap().unwrap().commit();
    assert_eq!((limit.remaining(), limit.snapshot().issued), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn p3_c4_panic_releases_and_refunds_permits() {
    let (requests, quota) = (concurrency(2), window(2, secs(3600)));
    let held = (requests.try_acquire_many(2).unwrap(), quota.try_acquire_many(2).unwrap());
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _held = held;
        panic!("in the middle of the work");
    }));
    assert!(panicked.is_err());
    assert_eq!((requests.in_flight(), quota.remaining()), (0, 2));
}

#[test]
fn p3_acquisition_is_fused_and_arrives_at_its_first_poll() {
    let limit = concurrency(1);
    let mut acquire = limit.acquire();
    let later = limit.acquire();
    assert!(!acquire.is_terminated());
    assert_eq!(limit.in_flight(), 0, "it is not polled yet");
    let mut cx = Context::from_waker(Waker::noop());
    let permit = acquire.poll_unpin(&mut cx);
    assert!(permit.is_ready() && acquire.is_terminated());
    assert!(acquire.poll_unpin(&mut cx).is_pending(), "it has ended");
    drop((permit, acquire));
    assert!(later.now_or_never().is_some(), "its permit was not released twice");
    let mut many = limit.acquire_many(1);
    assert!(many.poll_unpin(&mut cx).is_ready() && many.is_terminated());
    assert_eq!(format!("{many:?}"), "AcquireMany { is_done: true, .. }");
}

#[test]
fn p4_c7_invalid_number_of_permits_names_value_and_remedy() {
    let (requests, quota) = (concurrency(3), window(3, secs(1)));
    let text = |permits: u32| match permits {
        0 => "permits is 0: it must be at least 1".to_owned(),
        _ => format!(
            "permits is {permits}: it must be between 1 and 3, the limit: acquire fewer at a time, \
             or raise the limit"
        ),
    };
    for permits in [0, 4, u32::MAX] {
        let errors = [
            requests.try_acquire_many(permits).map(drop).unwrap_err(),
            quota.try_acquire_many(permits).map(drop).unwrap_err(),
            requests.acquire_many(permits).now_or_never().unwrap().map(drop).unwrap_err(),
            quota.acquire_many(permits).now_or_never().unwrap().map(drop).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.to_string(), text(permits));
            assert!(error.source().is_none() && Rejected::find(&error).is_none());
            let AcquireManyError::Invalid(invalid) = error else { panic!("{error:?}") };
            assert_eq!((invalid.setting(), invalid.value()), ("permits", &*permits.to_string()));
        }
    }
    assert_eq!((requests.rejected().total(), quota.rejected().total()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn p4_lowered_limit_ends_a_wait_for_more_once_it_is_first() {
    let limit = concurrency(4);
    let held = limit.try_acquire_many(4).unwrap();
    let mut first = task::spawn(limit.acquire_many(2));
    let mut large = task::spawn(limit.acquire_many(4));
    let mut last = task::spawn(limit.acquire());
    assert!(first.poll().is_pending() && large.poll().is_pending() && last.poll().is_pending());

    limit.set_limit(3).unwrap();
    assert!(!large.is_woken(), "the limit may be raised again");
    drop(held);
    assert!(first.is_woken() && large.is_woken() && last.is_woken());
    let Poll::Ready(Err(error)) = large.poll() else { panic!("it can never be granted") };
    assert_eq!(
        error.to_string(),
        "permits is 4: it must be between 1 and 3, the limit: acquire fewer at a time, or raise \
         the limit"
    );
    let Poll::Ready(Ok(_two)) = first.poll() else { panic!("it fits") };
    let Poll::Ready(Ok(_one)) = last.poll() else { panic!("it fits beside the first") };
    assert_eq!((limit.in_flight(), limit.queued()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn p4_w7_lowered_limit_ends_a_wait_during_a_pause() {
    let limit = window(4, secs(1));
    limit.pause_for(secs(60));
    let large = tokio::spawn(limit.acquire_many(4));
    settle().await;
    let start = now();
    limit.set_limit(3).unwrap();
    let error = large.await.unwrap().unwrap_err();
    assert!(matches!(error, AcquireManyError::Invalid(_)));
    assert_eq!(start.elapsed(), secs(0));
    limit.acquire_many(3).await.unwrap().commit();
    assert_eq!(start.elapsed(), secs(60));
}

#[tokio::test(start_paused = true)]
async fn p4_limit_that_is_raised_in_time_serves_the_wait() {
    let limit = concurrency(4);
    let held = limit.try_acquire_many(3).unwrap();
    let mut first = task::spawn(limit.acquire_many(2));
    let mut large = task::spawn(limit.acquire_many(4));
    assert!(first.poll().is_pending() && large.poll().is_pending());
    limit.set_limit(2).unwrap();
    limit.set_limit(4).unwrap();
    drop(held);
    assert!(first.is_woken() && !large.is_woken());
    drop(first);
    assert!(large.is_woken() && large.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn p5_age_of_the_queue_is_the_wait_of_its_first() {
    let layer = ConcurrencyBackpressureLayer::new(1);
    let handle = layer.handle();
    let held = handle.try_acquire().unwrap();
    let age = || {
        let age = handle.queue_age();
        assert_eq!(handle.snapshot().queue_age, age);
        age
    };
    assert_eq!(age(), None);
    let mut first = layer.layer(Probe::new());
    assert!(poll_ready::<_, u32>(&mut first, Waker::noop()).is_pending());
    assert_eq!(age(), Some(secs(0)));
    tokio::time::advance(secs(3)).await;
    let mut second = task::spawn(handle.acquire_many(1));
    assert!(second.poll().is_pending());
    tokio::time::advance(secs(4)).await;
    assert_eq!(age(), Some(secs(7)));
    drop(first);
    assert_eq!(age(), Some(secs(4)));
    drop(held);
    assert_eq!(age(), None, "the permit is granted");
}

#[tokio::test(start_paused = true)]
async fn p5_w7_age_of_a_paused_window_grows() {
    let layer = WindowRateLimitLayer::new(5, secs(1));
    let handle = layer.handle();
    handle.pause_for(secs(30));
    assert_eq!(handle.queue_age(), None);
    let waiting = tokio::spawn(layer.layer(Probe::new()).oneshot(1));
    settle().await;
    tokio::time::advance(secs(20)).await;
    assert_eq!((handle.queue_age(), handle.snapshot().queue_age), (Some(secs(20)), Some(secs(20))));
    waiting.await.unwrap().unwrap();
    assert_eq!(handle.queue_age(), None);
}

#[tokio::test(start_paused = true)]
async fn p5_c12_age_is_not_that_of_a_wait_that_is_over() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_wait(secs(5));
    let handle = layer.handle();
    let _held = handle.try_acquire().unwrap();
    let mut abandoned = layer.layer(Probe::new());
    assert!(poll_ready::<_, u32>(&mut abandoned, Waker::noop()).is_pending());
    tokio::time::advance(secs(5)).await;
    assert_eq!(handle.queue_age(), None);
    let wakes = WakeCounter::new();
    assert!(poll_ready::<_, u32>(&mut abandoned, &wakes.waker()).is_ready(), "to be rejected");
    tokio::time::advance(secs(5)).await;
    assert!(poll_ready::<_, u32>(&mut abandoned, &wakes.waker()).is_pending(), "a new request");
    tokio::time::advance(secs(1)).await;
    assert_eq!(handle.queue_age(), Some(secs(1)));
}

/// The permits of a thousand tasks of any weight are released, whatever becomes of the tasks.
#[tokio::test(start_paused = true)]
async fn p3_c4_b1_permits_of_many_tasks_are_never_too_many_and_none_is_lost() {
    let limit = concurrency(7);
    let mut tasks = Vec::new();
    for n in 0..1000_u32 {
        let limit = limit.clone();
        tasks.push(tokio::spawn(async move {
            let permit: ConcurrencyPermit = limit.acquire_many(n % 7 + 1).await.unwrap();
            assert!(limit.in_flight() <= 7);
            tokio::time::sleep(ms(u64::from(n % 5))).await;
            if n % 11 == 0 {
                pending::<()>().await; // until it is aborted
            }
            drop(permit);
        }));
    }
    for (n, task) in tasks.into_iter().enumerate() {
        if n % 3 == 0 || n % 11 == 0 {
            tokio::time::sleep(ms(1)).await;
            task.abort();
        }
        let _outcome = task.await;
    }
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
    assert_eq!(limit.try_acquire_many(7).unwrap().num_permits(), 7);
}

/// A service is pending while a task holds all permits.
#[tokio::test(start_paused = true)]
async fn p1_b1_permits_of_a_handle_keep_requests_waiting() {
    let layer = ConcurrencyBackpressureLayer::new(2);
    let handle = layer.handle();
    let all = handle.acquire_many(2).await.unwrap();
    let mut service = layer.layer(Probe::answering_after(secs(1)));
    assert!(poll_ready::<_, u32>(&mut service, Waker::noop()).is_pending());
    drop(all);
    service.ready().await.unwrap();
    let response = service.call(1);
    assert_eq!(handle.in_flight(), 1);
    assert!(handle.try_acquire_many(2).is_err());
    response.await.unwrap();
    assert!(handle.try_acquire_many(2).is_ok());
}

/// The refill task takes the step at the deadline of a wait whose task is not polled.
#[tokio::test(start_paused = true)]
async fn p2_c13_overdue_wait_for_several_in_a_window_holds_up_none_behind() {
    let handle = window(3, secs(10));
    let _held = handle.try_acquire().unwrap();
    handle.set_max_wait(Some(secs(11))).unwrap();
    let mut several = task::spawn(handle.acquire_many(3));
    assert!(several.poll().is_pending());
    handle.set_max_wait(None).unwrap();
    let start = now();
    assert!(tokio::spawn(handle.acquire()).await.unwrap().is_ok());
    assert_eq!(start.elapsed(), secs(11));
}

#[tokio::test(start_paused = true)]
async fn p1_s2_bounds_of_the_layer_and_of_a_handle_hold_for_permits() {
    let layer = ConcurrencyBackpressureLayer::new(1).max_queue(0).max_wait(secs(1));
    let handle = layer.handle();
    let _held = handle.acquire().await.unwrap();
    assert!(handle.acquire().await.unwrap_err().is_queue_full());
    handle.set_max_queue(None).unwrap();
    let start = now();
    assert!(handle.acquire().await.unwrap_err().is_wait_timeout());
    assert_eq!(start.elapsed(), secs(1));

    let window = WindowRateLimitLayer::new(1, secs(10)).max_wait(secs(5)).handle();
    window.acquire().await.unwrap().commit();
    let start = now();
    assert!(window.acquire().await.unwrap_err().is_wait_timeout());
    assert_eq!(start.elapsed(), secs(0), "it is known on arrival");
    window.set_max_wait(Some(secs(20))).unwrap();
    assert!(window.acquire().await.is_ok());
    assert_eq!(start.elapsed(), secs(10));
}
