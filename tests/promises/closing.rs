//! The end of a rate limit: `close`, `closed` and `drained`.

use std::task::Waker;

use futures::{FutureExt, future::join_all};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task};
use tower::{BoxError, Layer, Service, ServiceExt};
use tower_floodgate::{Rejected, WindowRateLimitLayer};
use tower_test::mock::Spawn;

use crate::{
    paused_runtime,
    support::{Probe, ms, now, poll_ready, secs, settle},
};

#[track_caller]
fn rejected(error: &BoxError) -> &Rejected {
    Rejected::find(&**error).expect("a rejection")
}

fn alive_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// Both kinds of windows, with and without a stride.
fn layers() -> impl Iterator<Item = (u32, WindowRateLimitLayer)> {
    [1, 3, 1000].into_iter().flat_map(|limit| {
        let (sliding, fixed) = (WindowRateLimitLayer::new, WindowRateLimitLayer::fixed);
        [(limit, sliding(limit, secs(60))), (limit, fixed(limit, secs(60)))]
    })
}

/// A shutdown with ten requests queued at one a minute ends at once.
#[tokio::test(start_paused = true)]
async fn w9_close_ends_the_waits_at_once_and_keeps_no_timer() {
    for max_wait in [None, Some(secs(3600))] {
        let layer = WindowRateLimitLayer::new(1, secs(60)).reject_with_box_error();
        let layer = max_wait.map_or(layer.clone(), |wait| layer.max_wait(wait));
        let handle = layer.handle();
        let service = layer.layer(Probe::new());
        service.clone().oneshot(0).await.unwrap();
        let waiters: Vec<_> = (0..10).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
        settle().await;
        assert_eq!((handle.queued(), handle.is_closed()), (10, false));
        let mut drained = task::spawn(handle.drained());
        assert_pending!(drained.poll());
        assert_eq!(alive_tasks(), 11, "the waiters, and the refill task");

        let began = now();
        handle.close().unwrap();
        assert!(drained.is_woken());
        assert_ready!(drained.poll());
        for waiter in join_all(waiters).await {
            let error = waiter.unwrap().unwrap_err();
            assert!(rejected(&error).is_closed() && !rejected(&error).is_rate_limited());
            assert_eq!(rejected(&error).retry_after(), None);
        }
        settle().await;
        assert_eq!(began.elapsed(), ms(0));
        assert_eq!(alive_tasks(), 0, "the refill task has ended");
        assert!(rejected(&service.oneshot(0).await.unwrap_err()).is_closed());
        assert_eq!((handle.queued(), handle.rejected().closed), (0, 11));
    }
}

/// An issued request is not waited for, and neither is its permit, which expires much later.
#[tokio::test(start_paused = true)]
async fn w9_drained_waits_for_ready_services_and_not_for_issued_requests() {
    for (limit, layer) in layers() {
        let handle = layer.handle();
        let mut services: Vec<_> = (0..limit).map(|_| layer.layer(Probe::new())).collect();
        assert!(handle.drained().now_or_never().is_some(), "no request has arrived yet");
        for service in &mut services {
            service.ready().await.unwrap();
        }
        let mut drained = task::spawn(handle.drained());
        assert_pending!(drained.poll());
        let last = services.pop().expect("at least one");
        for mut service in services {
            drop(service.call(0));
            assert!(!drained.is_woken(), "a service is ready");
        }
        let mut last = last;
        let response = last.call(0);
        assert!(drained.is_woken(), "all are issued");
        assert_ready!(drained.poll());
        drop(response);
        assert_eq!(handle.remaining(), 0);
        assert!(handle.drained().now_or_never().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn w9_drained_is_ended_by_a_refund_a_cancel_and_an_expired_wait() {
    for (limit, layer) in layers() {
        let handle = layer.handle();
        let layer = layer.max_wait(secs(120));
        let service = layer.layer(Probe::new());
        // All but one are issued.
        for n in 1..limit {
            service.clone().oneshot(n).await.unwrap();
        }
        let mut ready = Spawn::new(service.clone());
        assert_ready_ok!(ready.poll_ready::<u32>());
        let mut drained = task::spawn(handle.drained());
        assert_pending!(drained.poll());
        drop(ready);
        assert!(drained.is_woken(), "refunded");
        assert_ready!(drained.poll());

        service.clone().oneshot(0).await.unwrap();
        let mut waiter = Spawn::new(service.clone());
        assert_pending!(waiter.poll_ready::<u32>());
        let mut drained = task::spawn(handle.drained());
        assert_pending!(drained.poll());
        drop(waiter);
        assert!(drained.is_woken(), "cancelled");
        assert_ready!(drained.poll());

        // The wait is never polled again, and its permit is delayed.
        let mut abandoned = service.clone();
        assert!(poll_ready::<_, u32>(&mut abandoned, Waker::noop()).is_pending());
        handle.pause_for(secs(3600));
        let mut drained = task::spawn(handle.drained());
        assert_pending!(drained.poll());
        advance(secs(120)).await;
        assert_eq!(handle.queued(), 0);
        assert!(drained.is_woken(), "expired");
        assert_ready!(drained.poll());
        drop(abandoned);
        handle.set_limit(limit).unwrap();
    }
}

/// Permits that expire while a service is ready do not end the wait.
#[tokio::test(start_paused = true)]
async fn w9_drained_waits_while_other_permits_expire() {
    for (limit, layer) in layers() {
        let handle = layer.handle();
        let layer = layer.max_queue(0);
        let service = layer.layer(Probe::new());
        let mut ready = service.clone();
        ready.ready().await.unwrap();
        for n in 1..limit {
            service.clone().oneshot(n).await.unwrap();
        }
        let mut drained = task::spawn(handle.drained());
        assert_pending!(drained.poll());
        for _ in 0..3 {
            advance(secs(60)).await;
            assert_eq!(handle.remaining(), limit - 1);
            assert_pending!(drained.poll());
            handle.set_limit(limit).unwrap();
        }
        handle.close().unwrap();
        assert_pending!(drained.poll());
        drop(ready.call(0)); // ready before the close
        assert_ready!(drained.poll());
    }
}

#[tokio::test(start_paused = true)]
async fn w9_ready_service_is_called_after_the_close() {
    let layer = WindowRateLimitLayer::new(2, secs(60)).max_queue(0);
    let mut service = layer.layer(Probe::new());
    service.ready().await.unwrap();
    layer.handle().close().unwrap();
    assert_eq!(service.call(7).await.unwrap(), 7);
    let error = service.ready().await.unwrap().call(8).await.unwrap_err();
    assert!(rejected(&error).is_closed());
}

#[tokio::test(start_paused = true)]
async fn w9_closed_completes_on_the_close_and_not_before() {
    let layer = WindowRateLimitLayer::new(1, secs(60)).max_queue(1);
    let handle = layer.handle();
    let mut closed = task::spawn(handle.closed());
    let mut dropped = task::spawn(handle.closed());
    assert_pending!(closed.poll());
    assert_pending!(dropped.poll());
    drop(dropped);
    let service = layer.layer(Probe::new());
    for n in 0..3 {
        service.clone().oneshot(n).await.unwrap();
    }
    handle.set_limit(2).unwrap();
    handle.pause_for(secs(1));
    advance(secs(2)).await;
    assert!(!closed.is_woken(), "the limit is open");

    handle.close().unwrap();
    assert!(closed.is_woken());
    assert_ready!(closed.poll());
    handle.closed().await; // closed before
}

#[tokio::test(start_paused = true)]
async fn w9_closed_window_stays_closed_and_reads_so() {
    for (limit, layer) in layers() {
        let handle = layer.handle();
        let service = layer.max_queue(5).layer(Probe::new());
        handle.close().unwrap();
        handle.close().expect("closed twice is closed");
        handle.set_limit(limit + 1).unwrap();
        handle.set_window(secs(1)).unwrap();
        handle.pause_for(secs(1));
        advance(secs(120)).await;
        assert!(handle.is_closed());
        assert_eq!((handle.remaining(), handle.queued()), (0, 0));
        assert_eq!(handle.estimated_wait(), std::time::Duration::MAX);
        assert!(rejected(&service.oneshot(0).await.unwrap_err()).is_closed());
    }
}

/// The waiters of a service without a reject policy could not be told.
#[tokio::test(start_paused = true)]
async fn w9_window_with_a_service_that_cannot_reject_is_not_closed() {
    let layer = WindowRateLimitLayer::new(2, secs(60));
    let handle = layer.handle();
    let waiting = layer.layer(Probe::new());
    let error = handle.close().unwrap_err().to_string();
    assert!(error.contains("without a reject policy") && error.contains("`max_queue`"), "{error}");
    assert!(!handle.is_closed() && handle.closed().now_or_never().is_none());
    assert_eq!(waiting.oneshot(1).await.unwrap(), 1);

    let layer = WindowRateLimitLayer::fixed(2, secs(60));
    layer.handle().close().unwrap();
    let late = std::panic::catch_unwind(|| layer.layer(Probe::new())).unwrap_err();
    let message = late.downcast_ref::<String>().expect("a message");
    assert!(message.starts_with("this WindowRateLimitLayer is closed"), "{message}");
    let rejecting = layer.max_queue(0).layer(Probe::new());
    assert!(rejected(&rejecting.oneshot(1).await.unwrap_err()).is_closed());
}

#[tokio::test(start_paused = true)]
async fn w9_per_service_window_is_open_though_its_layer_is_closed() {
    let layer = WindowRateLimitLayer::new(1, secs(60)).max_queue(0);
    layer.handle().close().unwrap();
    let service = layer.per_service().layer(Probe::new());
    assert!(!service.handle().is_closed());
    assert_eq!(service.oneshot(1).await.unwrap(), 1);
}

/// Its refill task is in the one, and its task in the other.
#[test]
fn w9_close_ends_a_wait_that_moved_to_another_runtime() {
    let layer = WindowRateLimitLayer::new(1, secs(3600)).reject_with_box_error();
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    let (one, other) = (paused_runtime::runtime(), paused_runtime::runtime());
    let mut waiting = Box::pin(service.clone().oneshot(2));
    one.block_on(async {
        service.oneshot(1).await.unwrap();
        assert!(futures::poll!(&mut waiting).is_pending());
        settle().await;
    });
    other.block_on(async {
        assert!(futures::poll!(&mut waiting).is_pending());
        settle().await;
    });
    handle.pause_for(secs(7200));
    handle.close().unwrap();
    let error = other.block_on(waiting).unwrap_err();
    assert!(rejected(&error).is_closed());
    for runtime in [&one, &other] {
        runtime.block_on(settle());
        assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    }
}
