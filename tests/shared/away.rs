//! The store is away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_floodgate::{Rejected, shared::Away};

use crate::{
    load::Load,
    paused_runtime::run,
    quota::{Quota, Site},
    shared_store::fake::Fault,
};

const SECOND: Duration = Duration::from_secs(1);
/// The time after which a request to the store has failed.
const TIMEOUT: Duration = ms(100);
const FAULTS: [Fault; 3] = [Fault::Error("io"), Fault::Silent, Fault::Stopped];

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[allow(clippy::disallowed_methods, reason = "tests look at tokio's clock, too")]
fn now() -> Instant {
    Instant::now()
}

/// No call hangs, and none is issued because of a timeout.
#[test]
fn d11_closed_quota_rejects_calls_within_their_time_and_issues_none() {
    for fault in FAULTS {
        run(async {
            let site = Site::new(1);
            let quota = Quota::new(1000, SECOND).max_wait(ms(300));
            let (handle, ends) = site.start(&quota, 0, Load::Steady(ms(5)));
            sleep(2 * SECOND).await;
            assert_eq!(ends.failed(), 0);
            site.server.set_fault(Some(fault));
            // A lease of the longest length may be in use.
            sleep(SECOND / 8 + TIMEOUT).await;
            let (issued, failed_before) = (site.issues.len(), ends.failed());
            sleep(30 * SECOND).await;
            assert_eq!(site.issues.len(), issued);
            assert!(handle.away_for().is_some_and(|time| time > 29 * SECOND));
            let failed = ends.failed() - failed_before;
            assert!(failed > 5900, "{failed} rejected");
            for error in &*ends.failed.lock().unwrap() {
                let rejected = Rejected::find(&**error).unwrap();
                assert!(rejected.is_unavailable(), "{rejected}");
            }
            assert_eq!(handle.snapshot().store.unavailable, ends.failed() as u64);
            site.server.set_fault(None);
            // The next probe.
            sleep(SECOND + TIMEOUT).await;
            assert_eq!(handle.away_for(), None);
            let issued = site.issues.len();
            sleep(SECOND).await;
            assert!(site.issues.len() > issued + 190, "{fault:?}");
            let longest = ends.longest();
            assert!(longest <= ms(300) + TIMEOUT + ms(2), "{longest:?} with {fault:?}");
            assert!(ends.open() <= 82, "{} calls are open", ends.open());
        });
    }
}

/// Calls with patience wait until the store is back.
#[test]
fn d11_closed_quota_keeps_calls_that_wait_through_an_outage() {
    for fault in FAULTS {
        run(async {
            let site = Site::new(1);
            let service = site.service(&Quota::new(1000, SECOND), 0);
            site.server.set_fault(Some(fault));
            let calls: Vec<_> =
                (0..500).map(|number| tokio::spawn(service.clone().oneshot(number))).collect();
            sleep(10 * SECOND).await;
            assert_eq!((site.issues.len(), service.handle().queued()), (0, 500));
            site.server.set_fault(None);
            for call in calls {
                call.await.unwrap().unwrap();
            }
            // Requests that were held have leased permits, which nobody can use.
            assert!(site.now() < 13 * SECOND, "{:?}", site.now());
            assert!(site.issues.all().is_sorted_by_key(|issue| issue.request));
        });
    }
}

#[test]
fn d11_open_quota_issues_calls_at_once_and_counts_them() {
    for fault in FAULTS {
        run(async {
            let site = Site::new(1);
            let quota = Quota::new(100, SECOND).away(Away::Open);
            // Twice the limit.
            let (handle, ends) = site.start(&quota, 0, Load::Steady(ms(5)));
            sleep(3 * SECOND).await;
            assert!(site.issues.most_in_any_span(SECOND) <= 100);
            assert_eq!(handle.snapshot().store.issued_unlimited, 0);
            site.server.set_fault(Some(fault));
            sleep(SECOND).await;
            // Waiters are issued when the outage begins.
            assert!(handle.away_for().is_some() && ends.open() == 0, "{} open", ends.open());
            let (issued, unlimited) = (site.issues.len(), handle.snapshot().store.issued_unlimited);
            sleep(10 * SECOND).await;
            assert_eq!(site.issues.len() - issued, 2000);
            assert_eq!(handle.snapshot().store.issued_unlimited - unlimited, 2000);
            assert_eq!((ends.failed(), ends.open()), (0, 0));
            site.server.set_fault(None);
            sleep(SECOND + TIMEOUT).await;
            let back = site.now();
            sleep(3 * SECOND).await;
            assert!(site.issues.since(back).most_in_any_span(SECOND) <= 100);
        });
    }
}

/// Four processes that take all they get.
#[test]
fn d11_share_holds_the_limit_of_each_process_alone() {
    for fault in FAULTS {
        run(async {
            let (site, limit) = (Site::new(1), 100);
            let quota = Quota::new(limit, SECOND).away(Away::Share { processes: 4 });
            let handles: Vec<_> =
                (0..4).map(|process| site.start(&quota, process, Load::Greedy(60)).0).collect();
            sleep(3 * SECOND).await;
            site.server.set_fault(Some(fault));
            let lost = site.now();
            // The transition: the leases of the last window may be those of few processes.
            sleep(2 * SECOND).await;
            let begin = site.now();
            sleep(5 * SECOND).await;
            let inside = site.issues.since(begin);
            for (process, handle) in handles.iter().enumerate() {
                let most = inside.of(process).most_in_any_span(SECOND);
                let alone = handle.snapshot().store.issued_alone;
                assert!(most == 25 && alone >= 100, "{most}, {alone} by {process}");
            }
            assert!(inside.used_share(limit, SECOND) > 0.95);
            site.server.set_fault(None);
            sleep(2 * SECOND).await;
            let back = site.now();
            sleep(3 * SECOND).await;
            assert!(site.issues.since(back).most_in_any_span(SECOND) <= 100);
            let most = site.issues.most_in_any_span(SECOND);
            println!("{fault:?} at {lost:?}: {most} of {limit}");
            assert!(most <= 200, "{most}");
        });
    }
}

/// One probe at a time, after 5 ms to 1 s, with and without calls.
#[test]
fn d11_probes_are_few_and_bring_the_store_back_without_a_call() {
    for fault in FAULTS {
        run(async {
            let site = Site::new(1);
            let quota = Quota::new(1000, SECOND).max_wait(SECOND);
            let (handle, ends) = site.start(&quota, 0, Load::Greedy(100));
            sleep(SECOND / 2).await;
            site.server.set_fault(Some(fault));
            sleep(10 * SECOND).await;
            ends.stop();
            let (start, before) = (site.now(), site.server.requests());
            sleep(100 * SECOND).await;
            let probes = site.server.requests() - before;
            println!("{fault:?}: {probes} probes in 100 s");
            assert!((80..=260).contains(&probes), "{probes} probes with {fault:?}");
            assert_eq!(site.server.most_in_flight(), 1);
            let times: Vec<_> = site.server.sent().iter().map(|sent| sent.at).collect();
            let gaps =
                times.windows(2).filter(|pair| pair[0] >= start).map(|pair| pair[1] - pair[0]);
            let (least, most) =
                gaps.fold((SECOND, ms(0)), |(least, most), gap| (least.min(gap), most.max(gap)));
            assert!(least >= ms(5) && most <= SECOND + TIMEOUT + ms(2), "{least:?} to {most:?}");
            site.server.set_fault(None);
            sleep(SECOND + TIMEOUT).await;
            assert_eq!(handle.away_for(), None);
            let requests = site.server.requests();
            sleep(100 * SECOND).await;
            assert_eq!(site.server.requests(), requests);
        });
    }
}

/// A reply that comes after the timeout brings no permit, and the outage is over with a good one.
#[test]
fn d11_d12_reply_after_the_timeout_is_of_no_use() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(100, SECOND).max_wait(ms(150));
        let mut service = site.service(&quota, 0);
        site.server.set_network(site.server.network().with_median(ms(120)));
        for number in 0..20 {
            assert!(service.ready().await.unwrap().call(number).await.is_err());
        }
        assert_eq!(site.issues.len(), 0);
        // The requests were applied. Of a lost lease, nothing is refunded.
        assert!(site.server.out() > 0);
        assert!(site.server.sent().iter().all(|sent| sent.refunds().count() == 0));
    });
}

/// In every mode, also in an outage.
#[test]
fn d11_leased_permits_stay_usable_while_the_store_is_away() {
    for away in [Away::Closed, Away::Open, Away::Share { processes: 2 }] {
        run(async {
            let site = Site::new(1);
            let quota = Quota::new(10_000, SECOND).away(away).max_wait(ms(0));
            let inner = site.recorder(0);
            let mut service = quota.layer(site.server.store(0)).layer(inner);
            for number in 0..3000 {
                let _ = service.call(number).await;
                sleep(ms(1)).await;
            }
            site.server.set_fault(Some(Fault::Error("io")));
            let begin = now();
            // The pool falls to its low mark, and the request for more fails.
            while service.handle().away_for().is_none() && begin.elapsed() < SECOND {
                let _ = service.call(0).await;
                sleep(ms(1)).await;
            }
            let snapshot = service.handle().snapshot();
            assert!(snapshot.away_for.is_some());
            for number in 0..snapshot.pooled {
                let response = service.call(number.into()).now_or_never();
                assert!(response.is_some_and(|response| response.is_ok()), "{away:?}");
            }
            let fleet = service.handle().snapshot().store;
            let beyond = snapshot.store.issued_alone + snapshot.store.issued_unlimited;
            assert_eq!(fleet.issued_alone + fleet.issued_unlimited, beyond, "{away:?}");
            println!("{away:?}: {} at hand", snapshot.pooled);
        });
    }
}

#[test]
fn b6_d11_closed_limit_rejects_calls_during_an_outage_in_every_mode() {
    for away in [Away::Closed, Away::Open, Away::Share { processes: 2 }] {
        run(async {
            let site = Site::new(1);
            let service = site.service(&Quota::new(1000, SECOND).away(away).max_wait(ms(10)), 0);
            site.server.set_fault(Some(Fault::Error("io")));
            let _ = service.clone().oneshot(1).await;
            assert!(service.handle().away_for().is_some());
            service.handle().close();
            let issued = site.issues.len();
            let error = service.clone().oneshot(2).await.unwrap_err();
            let rejected = Rejected::find(&*error).unwrap();
            assert!(rejected.is_closed(), "{rejected} with {away:?}");
            assert_eq!(site.issues.len(), issued);
        });
    }
}

/// A pause holds requests that would pass by without the store, and those that wait at a share.
#[test]
fn d11_pause_holds_requests_while_the_store_is_away() {
    for away in [Away::Open, Away::Share { processes: 4 }] {
        run(async {
            let site = Site::new(1);
            let quota = Quota::new(100, SECOND).away(away).max_wait(10 * SECOND);
            site.server.set_fault(Some(Fault::Error("io")));
            let (handle, _ends) = site.start(&quota, 0, Load::Steady(ms(10)));
            sleep(SECOND).await;
            let issued = site.issues.len();
            assert!(issued >= 25, "{issued} issued with {away:?}");
            handle.pause_for(3 * SECOND);
            sleep(3 * SECOND - ms(2)).await;
            assert_eq!(site.issues.len(), issued, "{away:?}");
            sleep(2 * SECOND).await;
            assert!(site.issues.len() >= issued + 25, "{away:?}: the pause is over");
        });
    }
}

/// The call is gone whose request is in flight, and the driver has nothing to do but to wait.
#[test]
fn d11_outage_of_a_request_without_a_call_ends() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(10, SECOND).away(Away::Open);
        let layer = quota.layer(site.server.store(0));
        let (service, handle) = (layer.layer(site.recorder(0)), layer.handle());
        site.server.set_fault(Some(Fault::Silent));
        let mut call = Box::pin(service.clone().oneshot(0));
        assert!((&mut call).now_or_never().is_none());
        sleep(ms(5)).await;
        drop(call);
        handle.set_quota("10/1s".parse().unwrap()).unwrap();
        sleep(TIMEOUT).await;
        assert!(handle.away_for().is_some());
        site.server.set_fault(None);
        sleep(5 * SECOND).await;
        assert_eq!(handle.away_for(), None);
    });
}

/// A service that is ready once it is told so.
#[derive(Clone)]
struct Slow<S>(S, Arc<AtomicBool>);

impl<S: Service<u64>> Service<u64> for Slow<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.1.load(SeqCst) { self.0.poll_ready(cx) } else { Poll::Pending }
    }

    fn call(&mut self, request: u64) -> S::Future {
        self.0.call(request)
    }
}

/// The service becomes ready after the outage in which its request was admitted.
#[test]
fn d11_d1_permit_of_an_outage_that_is_over_issues_nothing() {
    for away in [Away::Open, Away::Share { processes: 1 }] {
        run(async {
            let site = Site::new(1);
            let quota = Quota::new(1, 60 * SECOND).away(away);
            let layer = quota.layer(site.server.store(0));
            let is_ready = Arc::new(AtomicBool::new(false));
            let slow = layer.layer(Slow(site.recorder(0), Arc::clone(&is_ready)));
            site.server.set_fault(Some(Fault::Error("io")));
            let mut call = tokio_test::task::spawn(slow.oneshot(0));
            for _ in 0..20 {
                assert!(call.poll().is_pending());
                sleep(ms(10)).await;
            }
            site.server.set_fault(None);
            sleep(3 * SECOND).await;
            assert_eq!(layer.handle().away_for(), None);
            layer.layer(site.recorder(0)).oneshot(1).await.unwrap();
            is_ready.store(true, SeqCst);
            let issued = tokio::time::timeout(50 * SECOND, call).await;
            assert!(issued.is_err(), "{away:?}: issued within the window of another one");
        });
    }
}

/// The queue of a share counts, and has the bounds of the handle.
#[test]
fn d11_requests_that_wait_at_a_share_are_in_the_queue_of_the_handle() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(4, 10 * SECOND).away(Away::Share { processes: 4 });
        let service = site.service(&quota, 0);
        let handle = service.handle();
        site.server.set_fault(Some(Fault::Error("io")));
        service.clone().oneshot(0).await.unwrap();
        handle.set_max_queue(Some(2));
        let calls: Vec<_> =
            (1..5).map(|number| tokio::spawn(service.clone().oneshot(number))).collect();
        sleep(SECOND).await;
        assert_eq!((handle.queued(), handle.snapshot().queued), (2, 2));
        assert!(handle.queue_age().is_some_and(|age| age >= SECOND));
        assert_eq!(handle.remaining(), 0);
        let mut drained = Box::pin(handle.drained());
        assert!((&mut drained).now_or_never().is_none());
        let full = calls.iter().filter(|call| call.is_finished()).count();
        assert_eq!((full, handle.rejected().queue_full), (2, 2));
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        drained.await;
        assert_eq!((handle.queued(), handle.queue_age()), (0, None));
    });
}

/// A pause may end at any moment of a probe.
#[test]
fn d11_pause_that_ends_during_a_probe_ends_in_time() {
    run(async {
        let site = Site::new(1);
        let service = site.service(&Quota::new(100, SECOND).away(Away::Open), 0);
        let handle = service.handle();
        site.server.set_fault(Some(Fault::Silent));
        service.clone().oneshot(0).await.unwrap();
        for number in 1..60 {
            let begin = site.now();
            handle.pause_for(ms(40));
            service.clone().oneshot(number).await.unwrap();
            let took = site.now() - begin;
            assert!(took >= ms(40) && took <= ms(42), "{took:?}");
            sleep(ms(number)).await;
        }
    });
}

/// At the begin and at the end of an outage, they are in neither queue for a moment.
#[test]
fn d11_drained_waits_for_requests_that_go_from_leases_to_a_share_and_back() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(4, 10 * SECOND).away(Away::Share { processes: 4 });
        let service = site.service(&quota, 0);
        let handle = service.handle();
        for number in 0..4 {
            service.clone().oneshot(number).await.unwrap();
        }
        let calls: Vec<_> =
            (4..8).map(|number| tokio::spawn(service.clone().oneshot(number))).collect();
        sleep(SECOND).await;
        assert_eq!(handle.queued(), 4);
        let mut drained = Box::pin(handle.drained());
        assert!((&mut drained).now_or_never().is_none());
        site.server.set_fault(Some(Fault::Error("io")));
        while handle.away_for().is_none() {
            sleep(ms(1)).await;
        }
        sleep(ms(1)).await;
        assert!((&mut drained).now_or_never().is_none(), "at the begin");
        site.server.set_fault(None);
        while handle.away_for().is_some() {
            sleep(ms(1)).await;
        }
        assert!((&mut drained).now_or_never().is_none(), "at the end");
        calls.iter().for_each(tokio::task::JoinHandle::abort);
        drained.await;
    });
}

/// Its request in flight fails after the close.
#[test]
fn d11_closed_limit_is_in_no_outage() {
    run(async {
        let site = Site::new(1);
        let service = site.service(&Quota::new(4, SECOND), 0);
        let handle = service.handle();
        site.server.set_fault(Some(Fault::Silent));
        let call = tokio::spawn(service.clone().oneshot(0));
        sleep(ms(10)).await;
        handle.close();
        site.server.set_fault(None);
        assert!(call.await.unwrap().is_err());
        sleep(100 * SECOND).await;
        assert_eq!(handle.away_for(), None);
    });
}

/// The service of many requests becomes ready after the outage in which they were admitted.
#[test]
fn d11_requests_of_an_outage_that_is_over_queue_within_the_bound() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(2, SECOND).away(Away::Open);
        let layer = quota.layer(site.server.store(0)).max_queue(5);
        let gate = tokio::sync::watch::Sender::new(false);
        let gated = layer.layer(site.recorder(0).behind(Some(gate.subscribe())));
        site.server.set_fault(Some(Fault::Error("io")));
        let _calls: Vec<_> =
            (0..20).map(|number| tokio::spawn(gated.clone().oneshot(number))).collect();
        sleep(SECOND).await;
        site.server.set_fault(None);
        sleep(3 * SECOND).await;
        assert_eq!((layer.handle().away_for(), layer.handle().queued()), (None, 0));
        gate.send(true).unwrap();
        sleep(30 * SECOND).await;
        let full = layer.handle().rejected().queue_full as usize;
        let issued = site.issues.len();
        assert!(issued + full == 20 && (5..=7).contains(&issued), "{issued} and {full}");
        assert!(site.issues.most_in_any_span(SECOND) <= 2);
    });
}
