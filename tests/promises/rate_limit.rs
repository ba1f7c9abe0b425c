use std::{
    sync::{Arc, Mutex},
    task::Waker,
    time::Duration,
};

use futures::future::join_all;
use tokio::time::{advance, sleep};
use tokio_test::{assert_pending, assert_ready_ok};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_floodgate::{
    ConcurrencyBackpressureLayer, Rejected, WindowRateLimit, WindowRateLimitLayer,
};
use tower_test::mock::Spawn;

use crate::{
    paused_runtime::runtime,
    support::{Probe, most_in_any_span, ms, now, poll_ready, secs, settle},
};

fn rejected(error: &tower::BoxError) -> &Rejected {
    Rejected::find(&**error).expect("a rejection")
}

async fn ready(service: &WindowRateLimit<Probe>) -> WindowRateLimit<Probe> {
    let mut clone = service.clone();
    ServiceExt::<u32>::ready(&mut clone).await.unwrap();
    clone
}

#[tokio::test(start_paused = true)]
async fn w1_five_requests_at_two_per_second_take_three_windows() {
    let probe = Probe::answering_after(ms(300));
    let notes = probe.notes();
    let service = WindowRateLimitLayer::new(2, secs(1)).layer(probe);
    join_all((0..5).map(|n| service.clone().oneshot(n))).await;
    assert_eq!(notes.calls_ms(), [0, 0, 1000, 1000, 2000]);
}

#[tokio::test(start_paused = true)]
async fn w1_ready_clones_that_call_ten_windows_later_stay_within_the_limit() {
    let probe = Probe::new();
    let notes = probe.notes();
    let service = WindowRateLimitLayer::new(3, secs(1)).layer(probe);

    let mut ready_clones = Vec::new();
    for _ in 0..3 {
        ready_clones.push(ready(&service).await);
    }
    let others = tokio::spawn(join_all((0..6).map(|_| service.clone().oneshot(0))));
    settle().await;
    advance(secs(10)).await;
    settle().await;
    assert_eq!(notes.calls().len(), 0, "all permits are reserved");
    for mut service in ready_clones {
        service.call(0).await.unwrap();
    }
    others.await.unwrap();
    assert_eq!(most_in_any_span(&notes.calls(), secs(1)), 3);
    assert_eq!(
        notes.calls_ms(),
        [10_000, 10_000, 10_000, 11_000, 11_000, 11_000, 12_000, 12_000, 12_000]
    );
}

/// A fixed window and a two-bucket counter admit a hundred at 0.9 s and a hundred at 1.1 s.
#[tokio::test(start_paused = true)]
async fn w1_sliding_window_has_no_burst_at_a_boundary() {
    let probe = Probe::new();
    let notes = probe.notes();
    let service = WindowRateLimitLayer::new(100, secs(1)).layer(probe);
    advance(ms(900)).await;
    let calls = join_all((0..100).map(|n| service.clone().oneshot(n)));
    calls.await;
    advance(ms(200)).await;
    join_all((0..200).map(|n| service.clone().oneshot(n))).await;
    assert_eq!(most_in_any_span(&notes.calls(), secs(1)), 100);
    assert_eq!(notes.calls_ms().last(), Some(&2900));
}

#[tokio::test(start_paused = true)]
async fn w1_span_is_half_open() {
    let service = WindowRateLimitLayer::new(1, ms(100)).layer(Probe::new());
    let mut service = Spawn::new(service);
    assert_ready_ok!(service.poll_ready::<u32>());
    drop(service.call(0));
    advance(Duration::from_nanos(99_999_999)).await;
    assert_pending!(service.poll_ready::<u32>());
    advance(Duration::from_nanos(1)).await;
    assert_ready_ok!(service.poll_ready::<u32>(), "a full window has passed");
}

#[tokio::test(start_paused = true)]
async fn w2_fixed_window_counts_by_its_grid_and_does_not_drift() {
    let probe = Probe::new();
    let notes = probe.notes();
    let service = WindowRateLimitLayer::fixed(2, secs(1)).layer(probe);

    // The first request comes in the middle of a window of the grid, which begins with the layer.
    advance(ms(1700)).await;
    join_all((0..5).map(|n| service.clone().oneshot(n))).await;
    advance(ms(650)).await; // 3.65
    join_all((0..2).map(|n| service.clone().oneshot(n))).await;
    assert_eq!(notes.calls_ms(), [1700, 1700, 2000, 2000, 3000, 3650, 4000]);
}

#[tokio::test(start_paused = true)]
async fn w2_fixed_window_allows_the_documented_burst_at_a_boundary() {
    let probe = Probe::new();
    let notes = probe.notes();
    let service = WindowRateLimitLayer::fixed(100, secs(1)).layer(probe);
    advance(ms(999)).await;
    join_all((0..200).map(|n| service.clone().oneshot(n))).await;
    assert_eq!(most_in_any_span(&notes.calls(), ms(2)), 200, "as documented");
}

/// The share of the quota that is issued under constant demand.
async fn used(layer: WindowRateLimitLayer, limit: u32, window: Duration) -> f64 {
    const WINDOWS: u32 = 20;
    let probe = Probe::new();
    let notes = probe.notes();
    let service = layer.layer(probe);
    let until = now() + window * WINDOWS - ms(1);
    let callers = (2 * limit).min(500);
    let calls = (0..callers).map(|_| {
        let mut service = service.clone();
        async move {
            while now() < until {
                match tokio::time::timeout_at(until, service.ready()).await {
                    Ok(ready) => drop(ready.unwrap().call(0)),
                    Err(_) => return,
                }
            }
        }
    });
    join_all(calls).await;
    let calls = notes.calls();
    assert!(most_in_any_span_sorted(&calls, window) <= limit as usize);
    calls.len() as f64 / f64::from(limit * WINDOWS)
}

/// [`most_in_any_span`] of many times in ascending order.
fn most_in_any_span_sorted(times: &[Duration], span: Duration) -> usize {
    let mut from = 0;
    let mut most = 0;
    for (to, &at) in times.iter().enumerate() {
        while at >= times[from] + span {
            from += 1;
        }
        most = most.max(to + 1 - from);
    }
    most
}

#[tokio::test(start_paused = true)]
async fn w3_w8_quota_of_any_size_is_used() {
    for limit in [1, 2, 7, 256, 257, 1000, 5000] {
        let share = used(WindowRateLimitLayer::new(limit, secs(1)), limit, secs(1)).await;
        assert!((0.99..=1.0).contains(&share), "{share} of {limit} per second");
    }
}

#[tokio::test(start_paused = true)]
async fn w3_quota_of_a_fixed_window_is_used() {
    for limit in [1, 7, 256, 1000] {
        let probe = Probe::new();
        let notes = probe.notes();
        let service = WindowRateLimitLayer::fixed(limit, secs(1)).layer(probe);
        join_all((0..limit * 10).map(|_| service.clone().oneshot(0))).await;
        for second in 0..9 {
            let inside = notes.calls().iter().filter(|at| at.as_secs() == second).count() as u32;
            assert!(inside <= limit && inside * 100 >= limit * 99, "{inside} of {limit}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn w4_ready_service_drop_refunds_its_permit_to_the_next_waiter() {
    let service = WindowRateLimitLayer::new(1, secs(1)).layer(Probe::new());
    let holding = ready(&service).await;
    let mut first = Spawn::new(service.clone());
    let mut second = Spawn::new(service);
    assert_pending!(first.poll_ready::<u32>());
    assert_pending!(second.poll_ready::<u32>());

    drop(holding);
    assert!(first.is_woken());
    assert_pending!(second.poll_ready::<u32>());
    assert_ready_ok!(first.poll_ready::<u32>(), "at once, not a window later");
    drop(first);
    assert!(second.is_woken());
    assert_ready_ok!(second.poll_ready::<u32>());
}

#[tokio::test(start_paused = true)]
async fn w4_thousand_refunds_cost_no_quota() {
    let layer = WindowRateLimitLayer::new(5, secs(1));
    let service = layer.layer(Probe::new());
    for _ in 0..1000 {
        drop(ready(&service).await);
    }
    assert_eq!(layer.handle().remaining(), 5);
}

#[tokio::test(start_paused = true)]
async fn w5_waiters_are_served_in_order_of_arrival() {
    let service = WindowRateLimitLayer::new(3, ms(100)).layer(Probe::new());
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for n in 0..50 {
        let (service, order) = (service.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            service.oneshot(n).await.unwrap();
            order.lock().unwrap().push(n);
        }));
        settle().await;
    }
    join_all(tasks).await;
    assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn w5_arrival_at_a_full_queue_is_rejected_with_its_time() {
    let layer = WindowRateLimitLayer::new(1, secs(1)).max_queue(1);
    let service = layer.layer(Probe::new());
    service.clone().oneshot(0).await.unwrap();
    let waiter = tokio::spawn(service.clone().oneshot(0));
    settle().await;

    let error = service.clone().oneshot(0).await.unwrap_err();
    assert!(rejected(&error).is_queue_full() && rejected(&error).is_rate_limited());
    assert_eq!(rejected(&error).retry_after(), Some(secs(2)), "behind the waiter");
    waiter.await.unwrap().unwrap();
    assert_eq!(layer.handle().rejected().queue_full, 1);
}

#[tokio::test(start_paused = true)]
async fn w5_request_that_cannot_be_issued_in_time_is_rejected_at_once() {
    let layer = WindowRateLimitLayer::new(2, secs(1)).max_wait(ms(1500));
    let probe = Probe::new();
    let notes = probe.notes();
    let service = layer.layer(probe);
    let began = now();

    let calls: Vec<_> = (0..8).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    settle().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    let completed: Vec<_> = calls.iter().map(|call| call.is_finished()).collect();
    // Two are issued now and two in a second. The others would wait for two seconds.
    assert_eq!(completed, [true, true, false, false, true, true, true, true]);
    for (n, call) in calls.into_iter().enumerate() {
        match call.await.unwrap() {
            Ok(_) => assert!(n < 4),
            Err(error) => {
                assert!(rejected(&error).is_wait_timeout());
                assert_eq!(rejected(&error).retry_after(), Some(secs(2)));
            }
        }
    }
    assert_eq!(notes.calls_ms(), [0, 0, 1000, 1000]);
}

#[tokio::test(start_paused = true)]
async fn w5_delayed_waiter_is_rejected_when_the_delay_is_known() {
    let layer = WindowRateLimitLayer::new(1, secs(1)).max_wait(secs(2));
    let service = layer.layer(Probe::new());
    service.clone().oneshot(0).await.unwrap();
    let began = now();
    let waiter = tokio::spawn(service.oneshot(0));
    settle().await;
    layer.handle().pause_for(secs(60));

    let error = waiter.await.unwrap().unwrap_err();
    assert!(rejected(&error).is_wait_timeout());
    assert_eq!(began.elapsed(), secs(1), "when it was due to be granted its permit");
    assert_eq!(rejected(&error).retry_after(), Some(secs(59)));
    assert_eq!(layer.handle().queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn w6_request_is_rejected_until_the_promised_instant_and_admitted_then() {
    let layers = [
        (3, WindowRateLimitLayer::new(3, secs(10))),
        (1, WindowRateLimitLayer::fixed(1, secs(10))),
    ];
    for (limit, layer) in layers {
        let service = layer.max_queue(0).layer(Probe::new());
        for _ in 0..limit {
            advance(ms(1234)).await;
            service.clone().oneshot(0).await.unwrap();
        }
        for _ in 0..5 {
            let error = service.clone().oneshot(0).await.unwrap_err();
            let wait = rejected(&error).retry_after().expect("known");
            advance(wait - Duration::from_nanos(1)).await;
            service.clone().oneshot(0).await.unwrap_err();
            advance(Duration::from_nanos(1)).await;
            service.clone().oneshot(0).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn w6_retry_after_seconds_are_rounded_up_and_never_zero() {
    let layer = WindowRateLimitLayer::new(1, secs(3)).max_queue(0);
    let service = layer.layer(Probe::new());
    service.clone().oneshot(0).await.unwrap();
    let mut seconds = Vec::new();
    for _ in 0..6 {
        let error = service.clone().oneshot(0).await.unwrap_err();
        seconds.push(rejected(&error).retry_after_secs().unwrap());
        advance(ms(499)).await;
    }
    assert_eq!(seconds, [3, 3, 3, 2, 2, 1], "in 3 s, 2.501 s, 2.002 s, 1.503 s, 1.004 s, 0.505 s");
}

#[tokio::test(start_paused = true)]
async fn w7_pause_holds_back_all_requests_and_moves_only_forward() {
    let probe = Probe::new();
    let notes = probe.notes();
    let layer = WindowRateLimitLayer::new(2, secs(1));
    let handle = layer.handle();
    let service = layer.layer(probe);

    let calls = tokio::spawn(join_all((0..4).map(|n| service.clone().oneshot(n))));
    settle().await; // two are issued, two wait
    handle.pause_until(now() + secs(5));
    handle.pause_until(now() + secs(2)); // earlier: changes nothing
    handle.pause_for(secs(1));
    let newcomer = tokio::spawn(service.clone().oneshot(4));
    assert_eq!((handle.remaining(), handle.estimated_wait()), (0, secs(6)), "behind the waiters");

    calls.await.unwrap();
    newcomer.await.unwrap().unwrap();
    assert_eq!(notes.calls_ms(), [0, 0, 5000, 5000, 6000]);

    handle.pause_until(now() - secs(3)); // in the past
    service.oneshot(5).await.unwrap();
    assert_eq!(notes.calls_ms().last(), Some(&6000));
}

#[tokio::test(start_paused = true)]
async fn w7_refund_in_a_pause_admits_no_request() {
    let layer = WindowRateLimitLayer::new(1, secs(1));
    let service = layer.layer(Probe::new());
    let holding = ready(&service).await;
    let mut waiter = Spawn::new(service);
    assert_pending!(waiter.poll_ready::<u32>());
    layer.handle().pause_for(secs(5));
    drop(holding);
    assert_pending!(waiter.poll_ready::<u32>());
    advance(secs(5)).await;
    assert_ready_ok!(waiter.poll_ready::<u32>());
}

/// At the end of the pause no permit expires, and no request arrives.
#[tokio::test(start_paused = true)]
async fn w7_waiters_with_free_permits_are_woken_when_the_pause_ends() {
    let probe = Probe::new();
    let notes = probe.notes();
    let layer = WindowRateLimitLayer::new(2, secs(60));
    let handle = layer.handle();
    handle.pause_for(secs(5));
    let service = layer.layer(probe);
    join_all((0..2).map(|n| service.clone().oneshot(n))).await;
    assert_eq!(notes.calls_ms(), [5000, 5000]);

    handle.set_limit(4).unwrap();
    handle.pause_for(secs(1));
    let calls = tokio::spawn(join_all((0..2).map(|n| service.clone().oneshot(n))));
    settle().await;
    handle.pause_for(secs(2)); // renewed while they wait
    calls.await.unwrap();
    assert_eq!(notes.calls_ms(), [5000, 5000, 7000, 7000]);
}

#[tokio::test(start_paused = true)]
async fn w8_largest_limit_works_like_any_other() {
    let most = (1 << 31) - 1;
    let layer = WindowRateLimitLayer::new(most, ms(10));
    let service = layer.layer(Probe::new());
    for _ in 0..10 {
        join_all((0..1000).map(|n| service.clone().oneshot(n))).await;
        advance(ms(7)).await;
    }
    let handle = layer.handle();
    assert!((most - 10_000..=most).contains(&handle.remaining()));
    assert_eq!(handle.estimated_wait(), Duration::ZERO);
    // The stride is open until the next reading. A window later all permits have expired.
    advance(ms(10)).await;
    assert_eq!(handle.remaining(), most);
}

#[tokio::test(start_paused = true)]
async fn w9_handle_reads_limit_remaining_wait_and_queue() {
    let layer = WindowRateLimitLayer::new(3, secs(1)).max_queue(1);
    let handle = layer.handle();
    let service = layer.layer(Probe::new());
    assert_eq!((handle.limit(), handle.window()), (3, secs(1)));
    assert_eq!((handle.remaining(), handle.estimated_wait()), (3, Duration::ZERO));

    service.clone().oneshot(0).await.unwrap();
    advance(ms(400)).await;
    assert_eq!(handle.remaining(), 2);
    let mut held = service.clone();
    poll_ready::<_, u32>(&mut held, Waker::noop()).map(|ready| ready.unwrap()).is_ready();
    assert_eq!(handle.remaining(), 1, "a ready clone holds a permit");
    service.clone().oneshot(0).await.unwrap();
    assert_eq!((handle.remaining(), handle.estimated_wait()), (0, ms(600)));
    assert_eq!(handle.reset_after(), secs(1), "of the last issue");

    let mut waiter = Spawn::new(service.clone());
    assert_pending!(waiter.poll_ready::<u32>());
    service.oneshot(0).await.unwrap_err();
    assert_eq!((handle.queued(), handle.rejected().total()), (1, 1));
    assert!(format!("{handle:?}").contains("queued: 1"));

    let fixed = WindowRateLimitLayer::fixed(1, secs(1)).handle();
    advance(ms(1300)).await;
    assert_eq!(fixed.reset_after(), ms(700));
}

#[tokio::test(start_paused = true)]
async fn w9_limit_changes_at_run_time() {
    let probe = Probe::new();
    let notes = probe.notes();
    let layer = WindowRateLimitLayer::new(1, secs(1));
    let handle = layer.handle();
    let service = layer.layer(probe);
    let calls = tokio::spawn(join_all((0..12).map(|n| service.clone().oneshot(n))));
    sleep(ms(1500)).await;
    handle.set_limit(4).unwrap(); // three more at once
    sleep(ms(1990)).await;
    handle.set_limit(2).unwrap();
    calls.await.unwrap();
    assert_eq!(
        notes.calls_ms(),
        [0, 1000, 1500, 1500, 1500, 2000, 2500, 2500, 2500, 3000, 3500, 4000],
    );
}

#[tokio::test(start_paused = true)]
async fn w9_window_changes_at_run_time() {
    let probe = Probe::new();
    let notes = probe.notes();
    let layer = WindowRateLimitLayer::new(1, secs(10));
    let handle = layer.handle();
    let service = layer.layer(probe);
    let calls = tokio::spawn(join_all((0..4).map(|n| service.clone().oneshot(n))));
    sleep(secs(2)).await;
    handle.set_window(secs(3)).unwrap(); // the first permit expires at 3, not at 10
    sleep(secs(2)).await;
    handle.set_window(secs(5)).unwrap(); // the second at 8, not at 6
    calls.await.unwrap();
    assert_eq!(notes.calls_ms(), [0, 3000, 8000, 13_000]);
}

/// A timer that all waiters polled would wake only the last one.
#[tokio::test(start_paused = true)]
async fn c5_every_one_of_many_waiters_is_served() {
    let probe = Probe::new();
    let notes = probe.notes();
    let service = WindowRateLimitLayer::new(100, ms(100)).layer(probe);
    let tasks: Vec<_> = (0..2000).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(notes.calls_ms().last(), Some(&1900));
}

/// The timer of the queue does not belong to the task of its head.
#[tokio::test(start_paused = true)]
async fn b5_head_that_is_never_polled_again_delays_no_waiter() {
    let probe = Probe::new();
    let notes = probe.notes();
    let service = WindowRateLimitLayer::new(2, secs(1)).layer(probe);
    let mut stuck = Spawn::new(service.clone());
    join_all((0..2).map(|n| service.clone().oneshot(n))).await;
    assert_pending!(stuck.poll_ready::<u32>());

    let others = join_all((0..3).map(|n| service.clone().oneshot(n)));
    tokio::time::timeout(secs(100), others).await.expect("they wait for the head");
    // One permit stays with the head, the other one serves the other requests.
    assert_eq!(notes.calls_ms(), [0, 0, 1000, 2000, 3000]);
    assert!(stuck.is_woken());
}

/// Waiters move up when those before them are cancelled, and are woken at their new times.
#[tokio::test(start_paused = true)]
async fn c5_queue_moves_up_when_the_head_is_cancelled() {
    let probe = Probe::new();
    let notes = probe.notes();
    let service = WindowRateLimitLayer::new(1, secs(1)).layer(probe);
    service.clone().oneshot(0).await.unwrap();
    let mut cancelled: Vec<_> = (0..5).map(|_| Spawn::new(service.clone())).collect();
    for waiter in &mut cancelled {
        assert_pending!(waiter.poll_ready::<u32>());
    }
    let last = tokio::spawn(join_all((0..2).map(|n| service.clone().oneshot(n))));
    settle().await;
    drop(cancelled);
    last.await.unwrap();
    assert_eq!(notes.calls_ms(), [0, 1000, 2000], "not 6000");
}

#[tokio::test(start_paused = true)]
async fn c4_panic_in_the_inner_call_counts_as_issued() {
    let layer = WindowRateLimitLayer::new(1, secs(1));
    let handle = layer.handle();
    let service = layer.layer(tower::service_fn(|(): ()| -> std::future::Ready<Result<(), ()>> {
        panic!("in the inner call")
    }));
    let panicked = tokio::spawn(service.oneshot(())).await;
    assert!(panicked.unwrap_err().is_panic());
    assert_eq!(
        (handle.remaining(), handle.estimated_wait()),
        (0, secs(1)),
        "the request may have gone out"
    );
    advance(secs(1)).await;
    assert_eq!(handle.remaining(), 1);
}

/// If rejected requests counted, a limit of one would reject all requests for good.
#[tokio::test(start_paused = true)]
async fn w6_rejected_requests_are_not_counted_as_issued() {
    let service = WindowRateLimitLayer::new(1, secs(1)).max_queue(0).layer(Probe::new());
    service.clone().oneshot(0).await.unwrap();
    for _ in 0..9 {
        advance(ms(100)).await;
        service.clone().oneshot(0).await.unwrap_err();
    }
    advance(ms(100)).await;
    service.oneshot(0).await.unwrap();
}

/// The outer limit spends no permit on a request that is cancelled while it waits for the inner
/// one.
#[tokio::test(start_paused = true)]
async fn w4_stacked_limits_lose_no_quota_to_each_other() {
    let outer = WindowRateLimitLayer::new(10, secs(60));
    let inner = WindowRateLimitLayer::new(1, secs(1));
    let outer_handle = outer.handle();
    let service = ServiceBuilder::new().layer(outer).layer(inner).service(Probe::new());
    service.clone().oneshot(0).await.unwrap();
    for _ in 0..5 {
        let waiter = tokio::time::timeout(ms(100), service.clone().oneshot(0));
        waiter.await.unwrap_err();
    }
    assert_eq!(outer_handle.remaining(), 9);
}

/// The head of the queue was polled in a runtime that is gone.
#[test]
fn c2_waiters_are_served_in_another_runtime() {
    let layer = WindowRateLimitLayer::new(1, secs(60));
    let service = layer.layer(tower::service_fn(|n: u32| async move { Ok::<_, ()>(n) }));

    let first = runtime();
    let mut left_behind = service.clone();
    first.block_on(async {
        service.clone().oneshot(1).await.unwrap();
        assert!(futures::poll!(left_behind.ready()).is_pending());
    });
    let second = runtime();
    second.spawn(async move {
        sleep(secs(100)).await;
        drop(left_behind);
    });
    drop(first);
    assert_eq!(second.block_on(service.oneshot(2)), Ok(2));
}

/// A concurrency limit and a rate limit, with either one outside.
#[tokio::test(start_paused = true)]
async fn b1_w1_limits_hold_in_either_order_of_the_layers() {
    for outer_first in [true, false] {
        let probe = Probe::answering_after(ms(30));
        let notes = probe.notes();
        let rate = WindowRateLimitLayer::new(4, ms(100));
        let concurrency = ConcurrencyBackpressureLayer::new(2);
        let calls: Vec<_> = if outer_first {
            let service = ServiceBuilder::new().layer(concurrency).layer(rate).service(probe);
            (0..30).map(|n| tokio::spawn(service.clone().oneshot(n))).collect()
        } else {
            let service = ServiceBuilder::new().layer(rate).layer(concurrency).service(probe);
            (0..30).map(|n| tokio::spawn(service.clone().oneshot(n))).collect()
        };
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!(notes.most_inside(), 2);
        assert_eq!(most_in_any_span(&notes.calls(), ms(100)), 4);
    }
}

/// Cancelled waiters do not count for the expected wait.
#[tokio::test(start_paused = true)]
async fn w5_repeated_poll_behind_cancelled_waiters_is_not_rejected() {
    let layer = WindowRateLimitLayer::new(1, secs(1)).max_wait(secs(3));
    let service = layer.layer(Probe::new());
    service.clone().oneshot(0).await.unwrap();
    let mut head = Spawn::new(service.clone());
    assert_pending!(head.poll_ready::<u32>());
    for _ in 0..10 {
        let mut cancelled = Spawn::new(service.clone());
        assert_pending!(cancelled.poll_ready::<u32>());
    }
    let mut second = Spawn::new(service);
    assert_pending!(second.poll_ready::<u32>());
    assert_pending!(second.poll_ready::<u32>());
    assert_eq!((layer.handle().queued(), layer.handle().rejected().total()), (2, 0));
    sleep(secs(1)).await;
    assert_ready_ok!(head.poll_ready::<u32>());
    drop(head);
    assert_ready_ok!(second.poll_ready::<u32>());
}

/// With strides, the last issues may not be recorded when an arrival computes its wait.
#[tokio::test(start_paused = true)]
async fn w5_wait_for_an_open_stride_is_known() {
    let layer = WindowRateLimitLayer::new(511, secs(1)).max_wait(secs(1));
    let service = layer.layer(Probe::new());
    let calls: Vec<_> = (0..1022).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(layer.handle().rejected().total(), 0);
}

#[tokio::test(start_paused = true)]
async fn w9_lowered_limit_waits_for_an_open_stride_at_most_one_window() {
    let layer = WindowRateLimitLayer::new(100_000, secs(1));
    let service = layer.layer(Probe::new());
    join_all((0..1023).map(|n| service.clone().oneshot(n))).await;
    layer.handle().set_limit(10).unwrap();
    assert_eq!(layer.handle().estimated_wait(), secs(1));
    let began = now();
    service.oneshot(0).await.unwrap();
    assert_eq!(began.elapsed(), secs(1));
}

/// An open stride is recorded when the limit changes, and not at the next reading.
#[tokio::test(start_paused = true)]
async fn w9_changed_limit_closes_the_open_stride_at_once() {
    for (limit, wait, remaining) in [(10, ms(100), 0), (1_000_000, ms(0), 998_977)] {
        let layer = WindowRateLimitLayer::new(100_000, secs(1));
        let (handle, service) = (layer.handle(), layer.layer(Probe::new()));
        join_all((0..1023).map(|n| service.clone().oneshot(n))).await;
        handle.set_limit(limit).unwrap();
        advance(ms(900)).await;
        assert_eq!((handle.estimated_wait(), handle.remaining()), (wait, remaining));
        advance(ms(100)).await;
        assert_eq!((handle.estimated_wait(), handle.remaining()), (ms(0), limit));
    }
}

/// A reading closes the open stride, but leaves half of the log to the requests.
#[tokio::test(start_paused = true)]
async fn w3_repeated_readings_delay_no_permit() {
    let layer = WindowRateLimitLayer::new(2000, secs(1));
    let (handle, service) = (layer.handle(), layer.layer(Probe::new()));
    for n in 0..1000 {
        service.clone().oneshot(n).await.unwrap();
        assert_eq!(handle.remaining(), 1999 - n);
    }
    advance(ms(500)).await;
    join_all((0..1000).map(|n| service.clone().oneshot(n))).await;
    advance(ms(500)).await;
    // A stride, of 8, may be open.
    assert!(handle.remaining() > 1000 - 8, "recorded late");
    advance(ms(500)).await;
    assert!(handle.remaining() > 2000 - 8, "recorded late");
}

/// The refill task would never run.
#[test]
fn c2_wait_in_a_runtime_that_is_shut_down_panics() {
    let layer = WindowRateLimitLayer::new(1, secs(3600));
    let (handle, service) = (layer.handle(), layer.layer(Probe::new()));
    let runtime = runtime();
    runtime.block_on(service.clone().oneshot(0)).unwrap();
    let kept = runtime.handle().clone();
    drop(runtime);
    let _inside = kept.enter();
    let mut waiter = service.clone();
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        poll_ready::<_, u32>(&mut waiter, Waker::noop())
    }));
    let panic = polled.expect_err("no refill task can run");
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(panic.downcast_ref::<&str>().copied());
    assert!(message.is_some_and(|text| text.contains("shut down")), "{message:?}");
    drop(waiter);
    assert_eq!(handle.queued(), 0, "the waiter is still queued");
}

/// A timer stays with the runtime that made it; a waiter is polled in any.
#[test]
fn c2_waiter_that_moves_to_another_runtime_is_woken_there() {
    for first_is_gone in [true, false] {
        let layer = WindowRateLimitLayer::new(1, secs(60));
        let mut waiter = layer.layer(tower::service_fn(|n: u32| async move { Ok::<_, ()>(n) }));
        let first = runtime();
        first.block_on(async {
            waiter.ready().await.unwrap().call(0).await.unwrap();
            assert!(poll_ready(&mut waiter, Waker::noop()).is_pending());
        });
        let first = (!first_is_gone).then_some(first);
        runtime().block_on(async {
            // The time limit is polled first. A last poll of the waiter would refill the window, as
            // if a refill task of this runtime had.
            tokio::select! {
                biased;
                () = sleep(secs(3600)) => panic!("the waiter is not woken"),
                ready = waiter.ready() => ready.unwrap().call(1).await.unwrap(),
            }
        });
        drop(first);
    }
}
