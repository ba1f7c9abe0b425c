//! A limit that is changed, paused and closed while it is shared, and bounds of waits.

use std::time::Duration;

use futures::FutureExt;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};
use tower::{BoxError, Layer, ServiceExt};
use tower_floodgate::{Quota as Terms, Rejected};

use crate::{
    judge::assert_rules,
    load::{Load, Slowness, call},
    paused_runtime::run,
    paused_time::settle,
    quota::{Limited, Quota, Site},
    shared_store::fake::{Fault, Network},
};

const SECOND: Duration = Duration::from_secs(1);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}

fn rejection(result: Result<(), BoxError>) -> Rejected {
    Rejected::find(&*result.unwrap_err()).unwrap().clone()
}

/// Each process is judged by its own settings, and they change one after the other.
#[test]
fn d1_s2_limit_that_is_changed_holds_across_the_change() {
    for (before, after) in [((50, SECOND), (100, SECOND)), ((100, SECOND), (40, SECOND))] {
        run(async {
            let site = Site::new(1);
            let quota = Quota::new(before.0, before.1);
            let handles = [0, 1].map(|process| site.start(&quota, process, Load::Greedy(60)).0);
            sleep(3 * SECOND + ms(410)).await;
            for handle in &handles {
                handle.set_quota(Terms::try_new(after.0, after.1).unwrap()).unwrap();
                sleep(ms(300)).await;
            }
            let changed = site.now();
            sleep(6 * SECOND).await;
            let larger = before.0.max(after.0) as usize;
            assert!(site.issues.most_in_any_span(SECOND) <= larger);
            // The permits that were leased before have expired.
            let later = site.issues.since(changed + 2 * SECOND);
            assert!(later.most_in_any_span(SECOND) <= after.0 as usize);
            assert!(later.used_share(after.0, SECOND) > 0.95);
            assert_rules(&site.server, &site.issues);
            let others: u64 =
                handles.iter().map(|handle| handle.snapshot().fleet.other_terms).sum();
            assert!(others > 0);
        });
    }
}

#[test]
fn w7_d4_pause_of_a_shared_limit_holds_back_requests_of_its_process_only() {
    for is_away in [false, true] {
        run(async {
            let site = Site::new(1);
            let quota = Quota::new(100, SECOND);
            let [handle, _] = [0, 1].map(|process| site.start(&quota, process, Load::Greedy(60)).0);
            sleep(2 * SECOND).await;
            if is_away {
                site.server.set_fault(Some(Fault::Error("io")));
                sleep(SECOND).await;
                site.server.set_fault(None);
            }
            handle.pause_for(3 * SECOND);
            // An earlier end has no effect.
            handle.pause_for(SECOND);
            let paused = site.now();
            sleep(3 * SECOND - ms(1)).await;
            let issued = site.issues.since(paused);
            assert_eq!(issued.of(0).len(), 0);
            assert!(issued.of(1).len() > 150, "{}", issued.of(1).len());
            let begun = site.now();
            sleep(2 * SECOND).await;
            assert!(site.issues.since(begun).of(0).len() > 20);
            assert!(site.issues.most_in_any_span(SECOND) <= 100);
            assert_rules(&site.server, &site.issues);
        });
    }
}

/// Waiters learn at once, however late their permits would be, and the driver ends.
#[test]
fn d11_closed_limit_ends_all_waits_and_asks_the_store_no_more() {
    for fault in [None, Some(Fault::Error("io")), Some(Fault::Silent)] {
        run(async {
            let site = Site::new(1);
            let service = site.service(&Quota::new(1, 100 * SECOND), 0);
            site.server.set_fault(fault);
            let calls: Vec<_> =
                (0..20).map(|number| tokio::spawn(service.clone().oneshot(number))).collect();
            sleep(2 * SECOND).await;
            let handle = service.handle();
            let (drained, closed) = (handle.drained(), handle.closed());
            handle.close();
            settle().await;
            assert!(drained.now_or_never().is_some() && closed.now_or_never().is_some());
            let issued = usize::from(fault.is_none());
            let mut results = Vec::new();
            for call in calls {
                results.push(call.now_or_never().unwrap().unwrap());
            }
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), issued);
            for result in results.into_iter().filter(Result::is_err) {
                assert!(rejection(result).is_closed());
            }
            assert!(rejection(service.clone().oneshot(1).await).is_closed());
            // A request may be in flight.
            sleep(SECOND).await;
            let requests = site.server.requests();
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "{fault:?}");
            sleep(1000 * SECOND).await;
            assert_eq!((site.server.requests(), site.issues.len()), (requests, issued));
        });
    }
}

/// A request learns of the time of its turn from one reply, and the next one without any.
#[test]
fn d6_request_that_would_wait_too_long_is_rejected_after_one_reply() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(1, 10 * SECOND);
        let service = |max_wait| site.service(&quota.max_wait(max_wait), 0);
        let bounded = service(SECOND);
        // It waits for a reply, even if it must not wait.
        bounded.clone().oneshot(0).await.unwrap();
        let start = now();
        let rejected = rejection(bounded.clone().oneshot(1).await);
        assert!(rejected.is_wait_timeout(), "{rejected}");
        assert!(start.elapsed() <= ms(4), "{:?}", start.elapsed());
        let wait = rejected.retry_after().unwrap();
        assert!((9 * SECOND..11 * SECOND).contains(&wait), "{wait:?}");
        let requests = site.server.requests();
        let again = rejection(bounded.clone().oneshot(2).now_or_never().unwrap());
        assert!(again.is_wait_timeout() && again.retry_after() <= Some(wait), "{again}");
        assert_eq!(site.server.requests(), requests);
        sleep(wait).await;
        bounded.clone().oneshot(3).await.unwrap();
        // Another process that must not wait gets what is free.
        let at_once = Quota::new(10, 10 * SECOND).max_wait(Duration::ZERO);
        let other: Limited = at_once.layer(Site::new(2).server.store(0)).layer(site.recorder(1));
        for number in 0..10 {
            other.clone().oneshot(number).await.unwrap();
        }
        assert!(rejection(other.clone().oneshot(10).await).is_wait_timeout());
    });
}

#[test]
fn d6_request_beyond_the_bound_of_the_queue_is_rejected_at_once() {
    run(async {
        let site = Site::new(1);
        site.server.set_network(Network::GOOD.with_median(ms(5)));
        let layer = Quota::new(1, SECOND).layer(site.server.store(0)).max_queue(3);
        let service = layer.layer(site.recorder(0));
        let calls: Vec<_> =
            (0..3).map(|number| tokio::spawn(service.clone().oneshot(number))).collect();
        settle().await;
        let rejected = rejection(service.clone().oneshot(3).now_or_never().unwrap());
        assert!(rejected.is_queue_full(), "{rejected}");
        for call in calls {
            call.await.unwrap().unwrap();
        }
        service.clone().oneshot(4).await.unwrap();
    });
}

/// Without a queue, a request waits for the reply of the store, which is no wait for a permit.
#[test]
fn d11_limit_without_a_queue_admits_what_the_store_leases_at_once() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(10, SECOND);
        let layer = quota.layer(site.server.store(0)).max_queue(0);
        let service = layer.layer(site.recorder(0));
        for number in 0..10 {
            service.clone().oneshot(number).await.unwrap();
        }
        let begin = now();
        let rejected = rejection(service.clone().oneshot(10).await);
        assert!(rejected.is_wait_timeout() && rejected.is_rate_limited(), "{rejected}");
        assert!(begin.elapsed() < ms(100), "{:?}", begin.elapsed());
        assert_eq!(site.issues.len(), 10);
    });
}

/// The store has told that no permit comes for a long time, by the limit of before.
#[test]
fn s2_d6_raised_limit_admits_requests_that_arrive_then() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(10, 60 * SECOND).max_wait(Duration::ZERO);
        let service = site.service(&quota, 0);
        for number in 0..10 {
            service.clone().oneshot(number).await.unwrap();
        }
        rejection(service.clone().oneshot(10).await);
        service.handle().set_quota(Terms::try_new(20, 60 * SECOND).unwrap()).unwrap();
        service.clone().oneshot(11).await.unwrap();
    });
}

/// A request that waits learns of a pause as it begins, and one that arrives at once.
#[test]
fn w7_d6_request_that_may_wait_for_less_than_a_pause_is_rejected_at_once() {
    for is_away in [false, true] {
        run(async {
            let site = Site::new(1);
            let quota = Quota::new(1, 10 * SECOND);
            let service = site.service(&quota.max_wait(SECOND), 0);
            let handle = service.handle();
            if is_away {
                site.server.set_fault(Some(Fault::Error("io")));
                rejection(service.clone().oneshot(0).await);
            } else {
                service.clone().oneshot(0).await.unwrap();
            }
            handle.pause_for(20 * SECOND);
            assert_eq!(handle.estimated_wait(), 20 * SECOND);
            let rejected = rejection(service.clone().oneshot(1).now_or_never().unwrap());
            assert_eq!(rejected.is_wait_timeout(), !is_away, "{rejected}");
            assert_eq!(rejected.retry_after(), Some(20 * SECOND));
        });
    }
}

#[test]
fn w7_d6_request_in_the_queue_learns_of_a_pause_that_outlasts_its_wait() {
    run(async {
        let site = Site::new(1);
        let layer = Quota::new(1, 10 * SECOND).layer(site.server.store(0));
        let handle = layer.handle();
        let hurried = layer.clone().max_wait(12 * SECOND).layer(site.recorder(0));
        let patient = layer.max_wait(25 * SECOND).layer(site.recorder(0));
        hurried.clone().oneshot(0).await.unwrap();
        let waits = [hurried, patient].map(|service| tokio::spawn(service.oneshot(1)));
        sleep(SECOND).await;
        handle.pause_for(20 * SECOND);
        settle().await;
        let [hurried, patient] = waits;
        let rejected = rejection(hurried.now_or_never().unwrap().unwrap());
        assert_eq!(rejected.retry_after(), Some(20 * SECOND));
        patient.await.unwrap().unwrap();
        assert!(site.now() >= 21 * SECOND, "{:?}", site.now());
    });
}

/// Permits that were leased by the longer window count for up to 1.4 of it, and the quota is full
/// until then.
#[test]
fn s2_d3_shortened_window_is_used_once_the_leases_of_the_longer_one_count_no_more() {
    run(async {
        let site = Site::new(1);
        let long = 20 * SECOND;
        let quota = Quota::new(100, long);
        let handles = [0, 1].map(|process| site.start(&quota, process, Load::Greedy(60)).0);
        sleep(3 * long).await;
        for handle in &handles {
            handle.set_quota(Terms::try_new(100, SECOND).unwrap()).unwrap();
        }
        let changed = site.now();
        sleep(long * 14 / 10 + 5 * SECOND).await;
        let used = site.issues.since(changed + long * 14 / 10).used_share(100, SECOND);
        assert!(site.issues.most_in_any_span(SECOND) <= 100);
        assert!(used > 0.95, "{used}");
        assert_rules(&site.server, &site.issues);
    });
}

/// Permits at hand, leases that have not begun, and those of a reply that comes after the close.
#[test]
fn o1_permits_of_a_closed_limit_were_used_or_have_lapsed() {
    let mut closed_with_some = 0;
    for time in 0..60 {
        run(async {
            let site = Site::new(time);
            let slow = site.recorder(0).slow(Slowness { ready: 3, respond: 0 });
            let service = Quota::new(100, SECOND).layer(site.server.store(0)).layer(slow);
            let handle = service.handle();
            let load = if time % 2 == 0 { Load::Greedy(50) } else { Load::Steady(ms(2)) };
            call(service, load, 0.2, time);
            sleep(ms(1900) + Duration::from_micros(1_700 * time)).await;
            let before = handle.snapshot().fleet;
            handle.close();
            let at_once = handle.snapshot();
            assert_eq!(at_once.pooled, 0);
            closed_with_some += usize::from(at_once.fleet.lapsed > before.lapsed);
            sleep(SECOND).await;
            let fleet = handle.snapshot().fleet;
            assert_eq!(fleet.used, site.issues.len() as u64, "{fleet:?}");
            assert_eq!(fleet.leased, fleet.used + fleet.lapsed, "{fleet:?}");
        });
    }
    assert!(closed_with_some > 10, "{closed_with_some} had permits");
}
