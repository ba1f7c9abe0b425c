//! Leases that lapse, are late, or are lost with their process.

use std::{convert::Infallible, time::Duration};

use futures::{FutureExt, future::ready};
use tokio::{
    sync::watch,
    time::{advance, sleep},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_floodgate::{Rejected, shared::FleetCounts};

use crate::{
    fleet::Fleet,
    judge::assert_rules,
    load::{Load, Slowness, call},
    paused_runtime::run,
    paused_time::settle,
    quota::{Quota, Site},
    shared_store::fake::{Network, Sent},
};

const SECOND: Duration = Duration::from_secs(1);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The first replies come after their leases. Then leases are longer.
#[test]
fn d2_lease_of_a_late_reply_is_not_used() {
    run(async {
        let site = Site::new(1);
        site.server.set_network(Network { sigma: 0.0, ..Network::GOOD }.with_median(ms(10)));
        let quota = Quota::new(100, SECOND);
        let (handle, _) = site.start(&quota, 0, Load::Greedy(50));
        sleep(3 * SECOND).await;
        let snapshot = handle.snapshot();
        let first = &site.server.sent()[0];
        assert!(first.leases().all(|lease| lease.until < first.replied_at));
        assert!(snapshot.fleet.lapsed >= 50, "{:?}", snapshot.fleet);
        assert!(site.issues.used_share(100, SECOND) > 0.85);
        assert!(site.issues.all().is_sorted_by_key(|issue| issue.request));
        assert!(site.issues.most_in_any_span(SECOND) <= 100);
        assert_rules(&site.server, &site.issues);
    });
}

/// A process that is stopped, by a debugger or its host, with a request in flight or with leases
/// that have not begun.
#[test]
fn d2_process_that_was_suspended_issues_nothing_on_lapsed_leases() {
    let mut fleet = Fleet::new(1, ms(1));
    let quota = Quota::new(100, SECOND);
    let (handle, _) = quota.start(&mut fleet, Load::Greedy(50));
    quota.start(&mut fleet, Load::Greedy(50));
    let counts = |fleet: &Fleet| fleet.within(0, || handle.snapshot().fleet);
    for round in 0..12 {
        let is_time = |fleet: &Fleet| {
            let sent = fleet.server.sent_by(0);
            let is_in_flight = sent.last().is_some_and(|sent| sent.reply.is_none());
            let FleetCounts { leased, used, lapsed, .. } = counts(fleet);
            if round % 2 == 0 { is_in_flight } else { leased > used + lapsed }
        };
        fleet.run(ms(100 + round));
        while !is_time(&fleet) {
            fleet.run(ms(1));
        }
        let (before, issued) = (counts(&fleet), fleet.issues.of(0).len());
        fleet.suspend(0, ms(300 + 50 * round));
        fleet.run(ms(300 + 50 * round) - ms(1));
        assert_eq!(fleet.issues.of(0).len(), issued);
        fleet.run(ms(5));
        // The reply to a request in flight may bring no lease.
        let has_lapsed = counts(&fleet).lapsed > before.lapsed;
        assert!(has_lapsed || round % 2 == 0, "round {round}: {before:?}");
    }
    assert!(fleet.issues.of(0).len() > 100, "{}", fleet.issues.of(0).len());
    // Requests whose permits have lapsed keep their order.
    assert!(fleet.issues.of(0).all().is_sorted_by_key(|issue| issue.request));
    assert!(fleet.issues.most_in_any_span(SECOND) <= 100);
    assert_rules(&fleet.server, &fleet.issues);
}

/// A service that becomes ready after the lease of the permit: the permit is refunded, and the
/// request is issued on the next one, because its clone is ready by then.
#[test]
fn d2_permit_that_lapses_before_the_service_is_ready_is_refunded() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(100, 10 * SECOND);
        let slow = site.recorder(0).slow(Slowness { ready: 300, respond: 0 });
        let service = quota.layer(site.server.store(0)).layer(slow);
        let calls: Vec<_> =
            (0..60).map(|number| tokio::spawn(service.clone().oneshot(number))).collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        // Nearly each takes a second permit, in one window. So the first ones were refunded.
        let fleet = service.handle().snapshot().fleet;
        println!("{:?}: {fleet:?}", site.now());
        assert!(site.now() < SECOND, "{:?}", site.now());
        assert!(fleet.lapsed > 20 && fleet.refunded > 0, "{fleet:?}");
        assert_rules(&site.server, &site.issues);
    });
}

/// It is issued before those that have queued meanwhile.
#[test]
fn d2_d6_request_whose_permit_lapses_while_its_service_gets_ready_is_the_next() {
    run(async {
        let site = Site::new(1);
        let layer = Quota::new(1, SECOND).layer(site.server.store(0));
        let gate = watch::Sender::new(false);
        let gated = layer.layer(site.recorder(0).behind(Some(gate.subscribe())));
        let quick = layer.layer(site.recorder(0));
        let mut calls = vec![tokio::spawn(gated.oneshot(1))];
        sleep(ms(100)).await;
        for number in 2..5 {
            calls.push(tokio::spawn(quick.clone().oneshot(number)));
        }
        sleep(ms(300)).await;
        assert_eq!(site.issues.len(), 0);
        gate.send_replace(true);
        for call in calls {
            call.await.unwrap().unwrap();
        }
        let requests: Vec<_> = site.issues.all().iter().map(|issue| issue.request).collect();
        assert_eq!(requests, [1, 2, 3, 4]);
        assert_rules(&site.server, &site.issues);
    });
}

/// A thread that is preempted between the deadline and the call.
#[test]
fn d2_issue_after_the_deadline_is_counted_and_reported_to_the_store() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(100, SECOND);
        let inner = service_fn(|number: u64| {
            if number == 0 {
                advance(ms(200)).now_or_never();
            }
            ready(Ok::<_, Infallible>(()))
        });
        let service = quota.layer(site.server.store(0)).layer(inner);
        service.clone().oneshot(0).await.unwrap();
        assert_eq!(service.handle().snapshot().fleet.issued_late, 1);
        service.clone().oneshot(1).await.unwrap();
        let late: Vec<_> = site.server.sent().iter().map(|sent| sent.late()).collect();
        assert_eq!(late, [0, 1]);
        // Both leases, and the late one once more.
        let leased = service.handle().snapshot().fleet.leased;
        assert_eq!(site.server.out(), i64::try_from(leased).unwrap() + 1);
        assert_eq!(service.handle().snapshot().fleet.issued_late, 1);
    });
}

/// The permits that a process held when it died are free again after their marks.
#[test]
fn d8_process_that_dies_costs_the_others_its_permits_for_a_while() {
    let mut fleet = Fleet::new(1, ms(1));
    let quota = Quota::new(100, SECOND);
    for _ in 0..3 {
        quota.start(&mut fleet, Load::Greedy(50));
    }
    fleet.run(ms(2500));
    fleet.kill(0);
    let died = fleet.now();
    fleet.run(ms(5000));
    let of_dead = fleet.issues.of(0).since(died).len();
    assert_eq!(of_dead, 0);
    // The horizon, the longest lease, and the window.
    let recovered = fleet.issues.since(died + ms(1375));
    let used = recovered.used_share(100, SECOND);
    println!("{used:.3} used by the others");
    assert!(used > 0.97, "{used}");
    // Meanwhile, they use at least the rest.
    let meanwhile = fleet.issues.within(died..died + ms(1375));
    assert!(meanwhile >= 60, "{meanwhile}");
}

/// Permits of calls that are cancelled go to others.
#[test]
fn d12_permits_of_cancelled_calls_are_used_by_others() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(100, SECOND);
        for process in 0..3 {
            let service = site.service(&quota, process);
            // Half of the calls are cancelled, at any point.
            call(service, Load::Greedy(60), 0.5, process as u64);
        }
        sleep(10 * SECOND).await;
        assert_rules(&site.server, &site.issues);
        assert!(site.issues.most_in_any_span(SECOND) <= 100);
        let used = site.issues.used_share(100, SECOND);
        println!("{used:.3} used");
        assert!(used > 0.95, "{used}");
    });
}

/// A request that fails may have been applied: its refunds are not sent again.
#[test]
fn d12_refunds_of_a_request_without_a_reply_are_not_sent_again() {
    run(async {
        let site = Site::new(1);
        site.server.set_network(Network { lost_replies: 0.3, ..Network::GOOD });
        let quota = Quota::new(100, SECOND);
        for process in 0..2 {
            let slow = site.recorder(process).slow(Slowness { ready: 20, respond: 0 });
            let service = quota.layer(site.server.store(process)).layer(slow);
            call(service, Load::Greedy(60), 0.3, process as u64);
        }
        sleep(20 * SECOND).await;
        let sent = site.server.sent();
        let refunds = sent.iter().flat_map(|sent| sent.refunds()).count();
        let is_lost = |sent: &&Sent| sent.reply.is_none() && sent.refunds().count() > 0;
        let lost = sent.iter().filter(is_lost).count();
        println!("{refunds} refunds, {lost} requests with some had no reply");
        assert!(refunds > 50 && lost > 5, "{refunds}, {lost}");
        assert!(site.issues.most_in_any_span(SECOND) <= 100);
        assert_rules(&site.server, &site.issues);
    });
}

/// Two requests of which the service does not get ready hold the whole quota of a minute. They are
/// cancelled after their leases have lapsed.
#[test]
fn d3_d6_permits_that_a_process_gives_back_are_leased_again_before_the_window_is_over() {
    let scene = |max_wait| {
        run(async move {
            let site = Site::new(1);
            let quota = Quota::new(2, 60 * SECOND);
            let layer = quota.layer(site.server.store(0)).max_wait(max_wait);
            let gate = watch::Sender::new(false);
            let gated = layer.layer(site.recorder(0).behind(Some(gate.subscribe())));
            let held = [0, 1].map(|number| tokio::spawn(gated.clone().oneshot(number)));
            sleep(ms(100)).await;
            let quick = layer.layer(site.recorder(0));
            let waits = tokio::spawn(quick.clone().oneshot(2));
            sleep(5 * SECOND).await; // a lease lasts for a 16th of the window at most
            held.iter().for_each(|call| call.abort());
            settle().await;
            if max_wait.is_zero() {
                assert!(waits.await.unwrap().is_err());
                quick.clone().oneshot(3).await.unwrap();
            } else {
                waits.await.unwrap().unwrap();
            }
            assert!(site.now() < 6 * SECOND, "{:?}", site.now());
            assert_rules(&site.server, &site.issues);
        });
    };
    scene(Duration::ZERO);
    scene(Duration::MAX);
}

/// They are cancelled before their leases have lapsed, so the permits lapse in the pool.
#[test]
fn d3_d6_permits_that_lapse_in_the_pool_of_a_full_quota_are_leased_again() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(2, 60 * SECOND).max_wait(Duration::ZERO);
        let layer = quota.layer(site.server.store(0));
        let gate = watch::Sender::new(false);
        let gated = layer.layer(site.recorder(0).behind(Some(gate.subscribe())));
        let held = [0, 1].map(|number| tokio::spawn(gated.clone().oneshot(number)));
        sleep(ms(100)).await;
        let quick = layer.layer(site.recorder(0));
        quick.clone().oneshot(2).await.unwrap_err();
        held.iter().for_each(|call| call.abort());
        sleep(5 * SECOND).await; // a lease lasts for a 16th of the window at most
        quick.clone().oneshot(3).await.unwrap();
        assert_rules(&site.server, &site.issues);
    });
}

/// A stream of requests that are cancelled with their permits, beside one that waits.
#[test]
fn d4_permits_that_are_given_back_bring_one_request_in_vain_per_lease_at_most() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(100, 60 * SECOND);
        let layer = quota.layer(site.server.store(0));
        let gate = watch::Sender::new(false);
        let gated = layer.layer(site.recorder(0).behind(Some(gate.subscribe())));
        let mut held: Vec<_> =
            (0..100).map(|number| tokio::spawn(gated.clone().oneshot(number))).collect();
        sleep(SECOND).await;
        let waits: Vec<_> =
            (0..50).map(|number| tokio::spawn(gated.clone().oneshot(100 + number))).collect();
        sleep(SECOND).await;
        let requests = site.server.requests();
        for call in held.drain(..) {
            call.abort();
            sleep(ms(10)).await;
        }
        // A second, and leases of half a second. A request that brings permits is followed by one.
        let sent = site.server.sent();
        let refusals = sent.iter().skip(requests).filter(|sent| sent.leases().count() == 0).count();
        assert!((1..=3).contains(&refusals), "{refusals} requests brought nothing");
        drop(waits);
    });
}

/// A process whose share is full of permits that it does not use.
#[test]
fn d7_unused_permits_of_a_full_share_are_leased_again() {
    run(async {
        let site = Site::new(1);
        let quota = Quota { max_share: Some(5), ..Quota::new(100, 60 * SECOND) };
        let layer = quota.layer(site.server.store(0));
        let gate = watch::Sender::new(false);
        let gated = layer.layer(site.recorder(0).behind(Some(gate.subscribe())));
        let held: Vec<_> =
            (0..5).map(|number| tokio::spawn(gated.clone().oneshot(number))).collect();
        sleep(ms(100)).await;
        let quick = layer.layer(site.recorder(0));
        let waits = tokio::spawn(quick.clone().oneshot(5));
        sleep(5 * SECOND).await; // a lease lasts for a 16th of the window at most
        held.iter().for_each(|call| call.abort());
        waits.await.unwrap().unwrap();
        assert!(site.now() < 6 * SECOND, "{:?}", site.now());
        for number in 6..10 {
            quick.clone().oneshot(number).await.unwrap();
            assert!(site.server.out() <= 5, "{} permits are out", site.server.out());
        }
        assert_eq!(quick.handle().snapshot().fleet.refunded, 5);
        assert_rules(&site.server, &site.issues);
    });
}

#[test]
fn d6_d7_request_beyond_a_full_share_learns_the_time_of_the_next_permit_at_once() {
    run(async {
        let site = Site::new(1);
        let quota = Quota { max_share: Some(5), ..Quota::new(100, 60 * SECOND) };
        let service = site.service(&quota.max_wait(SECOND), 0);
        for number in 0..5 {
            service.clone().oneshot(number).await.unwrap();
        }
        let (requests, begin) = (site.server.requests(), site.now());
        let error = service.clone().oneshot(5).await.unwrap_err();
        let rejected = Rejected::find(&*error).unwrap();
        let wait = rejected.retry_after().unwrap_or_default();
        assert!((59 * SECOND..66 * SECOND).contains(&wait), "{wait:?}");
        assert_eq!((site.server.requests(), site.now()), (requests, begin));
        sleep(wait).await;
        service.clone().oneshot(6).await.unwrap();
    });
}
