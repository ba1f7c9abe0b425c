//! The number of wake-ups of a waiter.

use std::future::{Future, poll_fn};

use futures::future::join_all;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_floodgate::{WindowRateLimit, WindowRateLimitHandle, WindowRateLimitLayer};

use crate::support::{Probe, WakeCounter, ms, poll_ready, secs, settle};

/// Counts the wake-ups of twenty waiters with a `max_wait` of an hour until each is admitted, while
/// `disturb` runs.
async fn wakes_of_bounded_waiters<T: Future<Output = ()>>(
    layer: WindowRateLimitLayer,
    disturb: impl FnOnce(WindowRateLimit<Probe>, WindowRateLimitHandle) -> T,
) -> Vec<u32> {
    let (handle, plain) = (layer.handle(), layer.layer(Probe::new()));
    let bounded = layer.max_wait(secs(3600)).layer(Probe::new());
    plain.clone().oneshot(0).await.unwrap();
    let waiters: Vec<_> = (0..20)
        .map(|n| {
            let mut service = bounded.clone();
            tokio::spawn(async move {
                let mut wakes = 0;
                let mut first = true;
                let ready = poll_fn(|cx| {
                    wakes += u32::from(!std::mem::take(&mut first));
                    service.poll_ready(cx)
                });
                ready.await.unwrap();
                service.call(n).await.unwrap();
                wakes
            })
        })
        .collect();
    settle().await;
    disturb(plain, handle).await;
    join_all(waiters).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(start_paused = true)]
async fn c5_delayed_bounded_waiter_is_woken_at_most_twice() {
    for fixed in [false, true] {
        let layer = if fixed { WindowRateLimitLayer::fixed } else { WindowRateLimitLayer::new };
        let renewed = wakes_of_bounded_waiters(layer(1, ms(50)), |_, handle| async move {
            for _ in 0..20 {
                handle.pause_for(ms(100));
                sleep(ms(90)).await;
            }
        });
        let held = wakes_of_bounded_waiters(layer(1, ms(50)), |mut service, _| async move {
            // Repeatedly queued behind the others, and then ready for two windows.
            for _ in 0..5 {
                ServiceExt::<u32>::ready(&mut service).await.unwrap();
                sleep(ms(100)).await;
                service = service.clone();
            }
        });
        let ahead = wakes_of_bounded_waiters(layer(3, ms(50)), |service, handle| async move {
            let mut holders = Vec::new();
            for limit in [1, 30, 2, 5, 1, 3] {
                let mut holder = service.clone();
                let ready = ServiceExt::<u32>::ready(&mut holder);
                if timeout(ms(20), ready).await.is_ok() {
                    holders.push(holder);
                }
                handle.set_limit(limit).unwrap();
                handle.set_window(ms(30 + 10 * u64::from(limit))).unwrap();
                sleep(ms(70)).await;
            }
        });
        for wakes in [renewed.await, held.await, ahead.await] {
            assert!(wakes.iter().all(|&wakes| wakes <= 2), "{wakes:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c5_permit_held_ready_wakes_each_bounded_waiter_at_most_twice() {
    let layer = WindowRateLimitLayer::new(1, ms(50));
    let mut holder = layer.layer(Probe::new());
    let bounded = layer.max_wait(secs(3600)).layer(Probe::new());
    ServiceExt::<u32>::ready(&mut holder).await.unwrap();
    let wakes: Vec<_> = (0..20).map(|_| WakeCounter::new()).collect();
    let mut waiters: Vec<_> = wakes.iter().map(|wakes| (bounded.clone(), wakes)).collect();
    for (service, wakes) in &mut waiters {
        assert!(poll_ready::<_, u32>(service, &wakes.waker()).is_pending());
    }
    // Each waiter is polled as often as it is woken.
    let mut seen = [0; 20];
    let mut admitted = 0;
    for step in 0..300 {
        sleep(ms(5)).await;
        if step == 20 {
            holder.call(0).await.unwrap();
        }
        for (n, (service, wakes)) in waiters.iter_mut().enumerate() {
            if wakes.count() > seen[n] {
                seen[n] = wakes.count();
                if poll_ready::<_, u32>(service, &wakes.waker()).is_ready() {
                    service.call(0).await.unwrap();
                    admitted += 1;
                }
            }
        }
    }
    assert_eq!(admitted, 20);
    let most = wakes.iter().map(|wakes| wakes.count()).max();
    assert!(most <= Some(2), "{most:?}");
}
