//! Windows with settings that change at run time.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use tokio::time::{advance, sleep, sleep_until};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::{Quota, WindowRateLimitHandle, WindowRateLimitLayer};

use crate::support::{Probe, most_in_any_span, ms, now, secs, settle};

/// Issues as many requests as the limit has permits for, up to `most`. Returns their number.
async fn use_up(layer: &WindowRateLimitLayer, most: u32) -> u32 {
    let mut service = layer
        .clone()
        .max_queue(0)
        .reject_with(|_| ())
        .layer(service_fn(|(): ()| async { Ok::<_, std::convert::Infallible>(()) }));
    let handle = layer.handle();
    let mut issued = 0;
    while issued < most && handle.remaining() > 0 {
        let Ok(()) = service.ready().await.unwrap().call(()).await;
        issued += 1;
    }
    issued
}

#[tokio::test(start_paused = true)]
async fn w3_limit_raised_and_used_up_repeatedly_is_whole_after_a_window() {
    for between in [Duration::ZERO, ms(1), ms(10), ms(900)] {
        let layer = WindowRateLimitLayer::new(256, secs(100));
        let handle = layer.handle();
        for limit in [256, 512, 1024, 1500, 2048, 8192, 100_000] {
            handle.set_limit(limit).unwrap();
            use_up(&layer, u32::MAX).await;
            assert_eq!(handle.remaining(), 0);
            sleep(between).await;
        }
        sleep(secs(100) - between).await;
        // A stride, of 512, may have been open, and a checkpoint merged into the next one.
        let back = handle.remaining();
        let whole = if between.is_zero() { 100_000 } else { 99_000 };
        assert!(back >= whole, "{back} of 100000, raised every {between:?}");
        sleep(secs(1)).await;
        assert_eq!(handle.remaining(), 100_000);
    }
}

/// The share of the quota that is issued under constant demand, while `steer` runs after each
/// millisecond.
async fn share_of(
    layer: WindowRateLimitLayer,
    quota: f64,
    windows: u32,
    mut steer: impl FnMut(&WindowRateLimitHandle, u64),
) -> f64 {
    let (handle, window) = (layer.handle(), layer.handle().window());
    let probe = Probe::new();
    let notes = probe.notes();
    let service = layer.layer(probe);
    let tasks: Vec<_> = (0..300)
        .map(|n| {
            let mut service = service.clone();
            tokio::spawn(async move {
                loop {
                    service.ready().await.unwrap().call(n).await.unwrap();
                }
            })
        })
        .collect();
    let began = now();
    for step in 1.. {
        sleep_until(began + ms(step)).await;
        if began.elapsed() >= window * windows {
            break;
        }
        steer(&handle, step);
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    join_all(tasks).await;
    let calls = notes.calls();
    calls.len() as f64 / (quota * f64::from(windows))
}

#[tokio::test(start_paused = true)]
async fn w3_limit_set_to_the_same_value_every_millisecond_costs_nothing() {
    let layer = WindowRateLimitLayer::new(1000, secs(1));
    let share = share_of(layer, 1000.0, 10, |handle, _| handle.set_limit(1000).unwrap()).await;
    assert!((0.99..=1.0).contains(&share), "{share}");
}

#[tokio::test(start_paused = true)]
async fn w3_limit_set_to_other_values_every_millisecond_costs_under_one_percent() {
    // Permits expire one by one, so that the higher limit is reached repeatedly.
    for (low, high) in [(1000, 1010), (1000, 1040), (1020, 1030), (500, 520)] {
        let layer = WindowRateLimitLayer::new(high, secs(1));
        let steer = |handle: &WindowRateLimitHandle, step: u64| {
            handle.set_limit(if step.is_multiple_of(2) { low } else { high }).unwrap();
        };
        let share = share_of(layer, f64::from(high), 10, steer).await;
        assert!((0.99..=1.0).contains(&share), "{share} of {high}");
    }
}

/// The share of the quota used by a client that mirrors the server's limit, under an even demand of
/// 105 %.
async fn mirrored(limit: u32, window: Duration, lower: u32) -> f64 {
    let layer = WindowRateLimitLayer::new(limit, window);
    let (handle, issued) = (layer.handle(), Arc::new(Mutex::new(VecDeque::new())));
    let service = layer.max_queue(0).reject_with(|_| ()).layer({
        let issued = Arc::clone(&issued);
        service_fn(move |(): ()| {
            issued.lock().unwrap().push_back(now());
            async { Ok::<_, std::convert::Infallible>(()) }
        })
    });
    let step = window.div_f64(f64::from(limit) * 1.05);
    let mut asked = 0;
    while step * asked < 3 * window {
        let mut service = service.clone();
        let before = issued.lock().unwrap().len();
        let Ok(()) = service.ready().await.unwrap().call(()).await;
        if issued.lock().unwrap().len() > before {
            handle.set_limit(if asked % 3 == 0 { limit - lower } else { limit }).unwrap();
        }
        asked += 1;
        advance(step).await;
    }
    let issued = issued.lock().unwrap();
    issued.len() as f64 / f64::from(3 * (limit - lower))
}

#[tokio::test(start_paused = true)]
async fn w3_client_that_mirrors_the_servers_limit_uses_its_quota() {
    for (limit, window) in [(5_000, secs(3600)), (100_000, secs(86_400)), (1_000, secs(1))] {
        let share = mirrored(limit, window, 0).await;
        assert!((0.99..=1.0).contains(&share), "{share} of {limit}");
    }
    // Across a power of two, where the stride changes, and back.
    for (limit, window) in [(1025, secs(10)), (4097, secs(60))] {
        let share = mirrored(limit, window, 1).await;
        assert!((0.99..=1.01).contains(&share), "{share} of {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn w5_requests_queued_after_many_changes_are_served_when_expected() {
    let layer = WindowRateLimitLayer::new(1024, secs(1000));
    let handle = layer.handle();
    for round in 0..700 {
        handle.set_limit(if round % 2 == 0 { 257 } else { 1024 }).unwrap();
        use_up(&layer, 1).await;
        sleep(ms(1)).await;
    }
    handle.set_limit(1024).unwrap();
    use_up(&layer, u32::MAX).await;
    let bounded = layer.clone().max_wait(secs(1001));
    let service = bounded.layer(Probe::new());
    let calls: Vec<_> = (0..900).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    settle().await;
    let queued = handle.queued();
    let mut served = 0;
    for call in calls {
        served += u32::from(call.await.unwrap().is_ok());
    }
    assert_eq!(served, queued, "a queued request was rejected");
    assert_eq!(served, 900);
}

/// A thousand changes of limit, length and pause within a window.
#[tokio::test(start_paused = true)]
async fn w6_promised_time_stays_exact_while_settings_are_set_again() {
    for limit in [3, 256, 300, 1500] {
        let layer = WindowRateLimitLayer::new(limit, secs(10));
        let handle = layer.handle();
        use_up(&layer, limit / 2).await;
        let _ = handle.remaining(); // a reading closes an open stride
        sleep(ms(1234)).await;
        use_up(&layer, u32::MAX).await;
        let promised = handle.estimated_wait();
        assert_eq!(promised, secs(10) - ms(1234));
        let at = now() + promised;
        for round in 0..1000 {
            handle.set_limit(limit).unwrap();
            handle.set_window(secs(10)).unwrap();
            handle.pause_for(ms(round % 5));
            assert_eq!(now() + handle.estimated_wait(), at);
            advance(ms(7)).await;
        }
        sleep_until(at - Duration::from_nanos(1)).await;
        advance(at - Duration::from_nanos(1) - now().min(at - Duration::from_nanos(1))).await;
        assert!(handle.remaining() == 0 || now() >= at);
        sleep_until(at).await;
        assert!(handle.remaining() >= limit / 2, "{}", handle.remaining());
    }
}

/// The times of issues with permits that have not expired.
#[derive(Clone)]
struct Naive {
    issued: Vec<Duration>,
    /// The delay with which permits expire.
    late: Duration,
}

impl Naive {
    /// Counts them at `now`, and forgets the others: a longer window does not hold them again.
    fn count(&mut self, now: Duration, window: Duration, fixed: bool) -> u32 {
        let due = |issued: Duration| match fixed {
            false => issued + window,
            true => window * (u32::try_from(issued.as_nanos() / window.as_nanos()).unwrap() + 1),
        };
        self.issued.retain(|&at| due(at) + self.late > now);
        u32::try_from(self.issued.len()).unwrap()
    }
}

/// No permit expires early, and none later than by the 190th of the longest window. A window after
/// the last change, all have expired.
#[tokio::test(start_paused = true)]
async fn w1_w3_w8_w9_permits_expire_in_time_under_changing_settings() {
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..32 {
        let fixed = round % 4 == 3;
        let make = if fixed { WindowRateLimitLayer::fixed } else { WindowRateLimitLayer::new };
        let mut window = secs(rng.u64(1..20));
        let mut longest = window;
        let mut limit = rng.u32(1..5000);
        let layer = make(limit, window);
        let (began, handle) = (now(), layer.handle());
        let mut exact = Naive { issued: Vec::new(), late: Duration::ZERO };
        let mut late = exact.clone();
        let mut paused_until = Duration::ZERO;
        for _ in 0..rng.usize(1..1500) {
            match rng.u8(..8) {
                0 => limit = 1 << rng.u32(..14),
                1 => limit = rng.u32(1..9000),
                2 => window = ms(rng.u64(500..30_000)),
                3 if rng.u8(..8) == 0 => {
                    let pause = ms(rng.u64(..2000));
                    handle.pause_for(pause);
                    paused_until = paused_until.max(began.elapsed() + pause);
                }
                _ => {}
            }
            if rng.bool() {
                handle.set_quota(Quota::new(limit, window));
            } else {
                handle.set_limit(limit).unwrap();
                handle.set_window(window).unwrap();
            }
            longest = longest.max(window);
            // On another grid, a time moved up by a cell may expire a window later.
            late.late = if fixed { 2 * longest } else { longest / 190 };
            let least = exact.count(began.elapsed(), window, fixed);
            let most = late.count(began.elapsed(), window, fixed);
            let free = handle.remaining();
            if began.elapsed() < paused_until {
                assert_eq!(free, 0, "paused");
            } else {
                assert!(free <= limit.saturating_sub(least), "expired too early");
                assert!(free >= limit.saturating_sub(most), "expired too late");
            }
            let issued = use_up(&layer, rng.u32(..30)).await;
            for naive in [&mut exact, &mut late] {
                naive.issued.extend((0..issued).map(|_| began.elapsed()));
            }
            advance(ms(rng.u64(..60))).await;
        }
        let limit = rng.u32(2000..9000);
        handle.set_window(secs(10)).unwrap();
        handle.set_limit(limit).unwrap();
        sleep(secs(2)).await;
        use_up(&layer, u32::MAX).await;
        sleep(ms(10_100)).await;
        assert_eq!(handle.remaining(), limit);
    }
}

/// Issues that wait: by a mixture of the quotas, more than either allows would be granted permits.
#[tokio::test(start_paused = true)]
async fn s2_w1_waiters_are_granted_permits_by_the_new_quota_and_by_no_mixture() {
    for (old, new, at_once) in [
        // The shorter window with the old limit would grant 10, the larger limit alone 40.
        ("10/60s", "3/5s", 3),
        ("10/60s", "50/60s", 40),
        // The longer window has room for 490 more at once, and then for none.
        ("10/1s", "500/1h", 490),
        ("10/60s", "10/60s", 0),
        ("10/60s", "2/1h", 0),
    ] {
        let (old, new): (Quota, Quota) = (old.parse().unwrap(), new.parse().unwrap());
        let layer = WindowRateLimitLayer::with_quota(old);
        let (handle, probe) = (layer.handle(), Probe::new());
        let (notes, service) = (probe.notes(), layer.layer(probe));
        let tasks: Vec<_> = (0..1000).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
        sleep(ms(500)).await;
        assert_eq!(notes.calls().len(), 10);
        sleep(if old.window() > secs(10) { ms(5500) } else { ms(0) }).await;
        let before = notes.calls().len();
        handle.set_quota(new);
        assert_eq!(
            (handle.quota(), handle.limit(), handle.window()),
            (new, new.limit(), new.window())
        );
        settle().await;
        assert_eq!(notes.calls().len() - before, at_once, "from {old} to {new}");
        sleep(2 * new.window().min(secs(60))).await;
        let issued = notes.calls();
        let (most, shorter) = (old.limit().max(new.limit()), old.window().min(new.window()));
        assert!(most_in_any_span(&issued, shorter) <= most as usize);
        let since: Vec<_> = issued[before..].to_vec();
        assert!(most_in_any_span(&since, new.window()) <= new.limit() as usize);
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        join_all(tasks).await;
    }
}

/// Two steps issue by a mixture in either order, which is why there is one.
#[tokio::test(start_paused = true)]
async fn s2_w1_one_step_issues_less_than_two() {
    let issued_after = async |change: fn(&WindowRateLimitHandle)| {
        let layer = WindowRateLimitLayer::new(100, secs(60));
        use_up(&layer, 100).await;
        sleep(secs(2)).await;
        let (handle, probe) = (layer.handle(), Probe::new());
        let (notes, service) = (probe.notes(), layer.layer(probe));
        let tasks: Vec<_> = (0..500).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
        settle().await;
        change(&handle);
        settle().await;
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        join_all(tasks).await;
        notes.calls().len()
    };
    let one = issued_after(|handle| handle.set_quota(Quota::new(5, secs(1)))).await;
    let two = issued_after(|handle| {
        handle.set_window(secs(1)).unwrap();
        handle.set_limit(5).unwrap();
    });
    assert_eq!((one, two.await), (5, 100));
}

#[tokio::test(start_paused = true)]
async fn s2_w2_fixed_window_continues_on_the_grid_of_the_new_quota() {
    let layer = WindowRateLimitLayer::fixed_with_quota("4/10s".parse().unwrap());
    let handle = layer.handle();
    let began = now();
    assert_eq!(use_up(&layer, 4).await, 4);
    advance(secs(5)).await;
    handle.set_quota("3/4s".parse().unwrap());
    // The four were issued before the window from 4 to 8 s.
    assert_eq!((handle.remaining(), handle.reset_after()), (3, secs(3)));
    assert_eq!(use_up(&layer, 9).await, 3);
    sleep_until(began + ms(7999)).await;
    assert_eq!(handle.remaining(), 0);
    sleep_until(began + secs(8)).await;
    assert_eq!(handle.remaining(), 3);
}

/// Permits of clones that are ready stay theirs.
#[tokio::test(start_paused = true)]
async fn s2_w9_ready_clones_keep_their_permits_under_a_new_quota() {
    let layer = WindowRateLimitLayer::new(3, secs(10));
    let (handle, service) = (layer.handle(), layer.layer(Probe::new()));
    let mut ready: Vec<_> = (0..3).map(|_| service.clone()).collect();
    for service in &mut ready {
        let _: &mut _ = ServiceExt::<u32>::ready(service).await.unwrap();
    }
    handle.set_quota(Quota::new(1, secs(60)));
    for service in &mut ready {
        assert_eq!(service.call(1).await.unwrap(), 1);
    }
    assert_eq!(handle.estimated_wait(), secs(60));
    sleep(secs(60)).await;
    assert_eq!(handle.remaining(), 1);
}
