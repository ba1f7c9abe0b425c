//! The order of requests within a process, and the turns of processes.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tower::{Layer, ServiceExt};

use crate::{
    load::Load,
    paused_runtime::run,
    quota::{Quota, Site},
    shared_store::fake::Network,
};

const SECOND: Duration = Duration::from_secs(1);

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn d6_requests_of_a_process_are_issued_in_their_order() {
    run(async {
        let site = Site::new(1);
        site.server.set_network(Network { lost_replies: 0.05, ..Network::GOOD });
        let quota = Quota::new(50, SECOND);
        site.start(&quota, 1, Load::Greedy(10));
        let service = site.service(&quota, 0);
        let mut random = fastrand::Rng::with_seed(1);
        let mut calls = Vec::new();
        for number in 0..500 {
            let service = service.clone();
            let patience = Duration::from_millis(random.u64(1..60_000));
            calls.push(tokio::spawn(async move {
                let _ = tokio::time::timeout(patience, service.oneshot(number)).await;
            }));
            if number % 10 == 0 {
                sleep(Duration::from_millis(random.u64(0..30))).await;
            }
        }
        for call in calls {
            call.await.unwrap();
        }
        let numbers: Vec<_> = site.issues.of(0).all().iter().map(|issue| issue.request).collect();
        assert!(numbers.len() > 100 && numbers.len() < 500, "{} issued", numbers.len());
        assert!(numbers.is_sorted());
    });
}

/// 10,000 tasks that call again and again: each is served in its turn.
#[test]
fn d6_none_of_many_requests_starves() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(2000, SECOND);
        let service = site.service(&quota, 0);
        let tasks: Vec<_> = (0..10_000_u64)
            .map(|task| {
                let service = service.clone();
                tokio::spawn(async move {
                    let mut longest = Duration::ZERO;
                    for _ in 0..3 {
                        let start = now();
                        service.clone().oneshot(task).await.unwrap();
                        longest = longest.max(start.elapsed());
                    }
                    longest
                })
            })
            .collect();
        let mut longest = Duration::ZERO;
        for task in tasks {
            longest = longest.max(task.await.unwrap());
        }
        // A turn is every five windows.
        println!("{longest:?}");
        assert!(longest < Duration::from_millis(5500), "{longest:?}");
        assert!(site.issues.most_in_any_span(SECOND) <= 2000);
    });
}

/// A request that finds no permit learns when there is one, and asks no more until then.
#[test]
fn d6_requests_wait_for_a_known_time_without_polling_the_store() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(1, 100 * SECOND);
        for process in 0..4 {
            site.start(&quota, process, Load::Greedy(3));
        }
        sleep(1000 * SECOND).await;
        assert!(site.issues.len() >= 9, "{} issues", site.issues.len());
        // One for each permit, one before the horizon, and one at the begin.
        let requests = site.server.requests();
        println!("{requests} requests");
        assert!(requests <= 4 + 4 * 3 * site.issues.len(), "{requests} requests");
    });
}

/// The issues of each process are within a fifth of the mean.
#[test]
fn d7_processes_that_take_all_they_get_have_equal_shares() {
    for (processes, windows) in [(4, 20), (16, 20), (64, 20)] {
        run(async {
            let site = Site::new(1);
            let quota = Quota::new(1000, SECOND);
            for process in 0..processes {
                site.start(&quota, process, Load::Greedy(100));
            }
            sleep(windows * SECOND).await;
            // The first window is full of first requests.
            let issues = site.issues.since(SECOND);
            let mean = issues.len() as f64 / processes as f64;
            let shares: Vec<_> =
                (0..processes).map(|process| issues.of(process).len() as f64 / mean).collect();
            let least = shares.iter().copied().fold(f64::MAX, f64::min);
            let most = shares.iter().copied().fold(0.0, f64::max);
            println!("{processes} processes: {least:.3} to {most:.3} of {mean:.1}");
            assert!(least >= 0.8 && most <= 1.2, "{least} to {most}");
        });
    }
}

/// A process that takes all it gets, and one with a call every 10 ms.
#[test]
fn d7_max_share_of_a_process_leaves_the_rest_to_others_at_any_time() {
    let longest_wait = |max_share: Option<u32>| {
        run(async {
            let site = Site::new(1);
            let quota = Quota::new(1000, SECOND);
            let greedy = Quota { max_share, ..quota };
            site.start(&greedy, 0, Load::Greedy(2000));
            sleep(2 * SECOND).await;
            let service = site.service(&quota, 1);
            let mut longest = Duration::ZERO;
            for number in 0..500 {
                let start = now();
                service.clone().oneshot(number).await.unwrap();
                longest = longest.max(start.elapsed());
                sleep(Duration::from_millis(10)).await;
            }
            let share = site.issues.of(0).most_in_any_span(SECOND);
            let used = site.issues.of(0).within(2 * SECOND..5 * SECOND) / 3;
            println!("{max_share:?}: {longest:?}, {share} in a window, {used} on average");
            assert!(share <= max_share.unwrap_or(1000) as usize, "{share} in a window");
            assert!(max_share.is_none_or(|max| used as f64 > 0.9 * f64::from(max)), "{used} used");
            longest
        })
    };
    assert!(longest_wait(Some(750)) <= Duration::from_millis(10));
    // Without it, the window is empty most of the time.
    assert!(longest_wait(None) > Duration::from_millis(100));
}

/// A process is told that the quota is full for a minute, and another one then gives permits back.
#[test]
fn d6_request_asks_again_a_while_after_the_store_has_refused_another() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(2, 60 * SECOND);
        let layer = quota.layer(site.server.store(0));
        let gate = watch::Sender::new(false);
        let gated = layer.layer(site.recorder(0).behind(Some(gate.subscribe())));
        let held = [0, 1].map(|number| tokio::spawn(gated.clone().oneshot(number)));
        sleep(SECOND).await;
        let refused = site.service(&quota.max_wait(SECOND), 1);
        refused.clone().oneshot(0).await.unwrap_err();
        // One of the two permits is used by the process itself.
        let waits = tokio::spawn(layer.layer(site.recorder(0)).oneshot(2));
        sleep(5 * SECOND).await; // a lease lasts for a 16th of the window at most
        held.iter().for_each(|call| call.abort());
        waits.await.unwrap().unwrap();
        refused.oneshot(1).await.unwrap();
        assert!(site.now() < 7 * SECOND, "{:?}", site.now());
    });
}

/// Each is rejected at once, but for one in a 16th of a window.
#[test]
fn d4_d6_requests_to_a_full_quota_ask_the_store_16_times_in_a_window() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(2, 60 * SECOND).max_wait(SECOND);
        let services = [0, 1].map(|process| site.service(&quota, process));
        for number in 0..2 {
            services[0].clone().oneshot(number).await.unwrap();
        }
        let (requests, begin) = (site.server.requests(), now());
        let mut at_once = 0;
        while begin.elapsed() < 50 * SECOND {
            let called = now();
            services[1].clone().oneshot(2).await.unwrap_err();
            at_once += usize::from(called.elapsed().is_zero());
            sleep(Duration::from_millis(10)).await;
        }
        let requests = site.server.requests() - requests;
        println!("{requests} requests, {at_once} rejected at once");
        assert!((10..=15).contains(&requests), "{requests} requests");
        assert!(at_once > 4900, "{at_once} rejected at once");
    });
}
