//! How much of a quota is used, and for how many requests to the store.

use std::{convert::Infallible, time::Duration};

use futures::{FutureExt, future::ready};
use tokio::time::sleep;
use tower::{Layer, Service, service_fn};

use crate::{
    load::Load,
    paused_runtime::run,
    quota::{Quota, Site},
    shared_store::fake::Network,
};

const SECOND: Duration = Duration::from_secs(1);

/// The share that `processes` use of a quota, after its first window, and the requests to the store
/// per second of each.
fn used(quota: Quota, processes: usize, network: Network) -> (f64, f64) {
    run(async {
        let site = Site::new(1);
        site.server.set_network(network);
        for process in 0..processes {
            site.start(&quota, process, Load::Greedy(2 * quota.limit as usize / processes + 1));
        }
        let time = quota.window * 10;
        sleep(time).await;
        assert!(site.issues.most_in_any_span(quota.window) <= quota.limit as usize);
        let share = site.issues.used_share(quota.limit, quota.window);
        let per_second = site.server.requests() as f64 / time.as_secs_f64();
        (share, per_second / processes as f64)
    })
}

#[test]
fn d3_saturating_processes_use_the_quota() {
    let network = Network::GOOD;
    let ms = Duration::from_millis;
    for (limit, window, processes, network, least) in [
        (10, SECOND, 4, network, 0.98),
        (100, SECOND, 4, network, 0.98),
        (1000, SECOND, 4, network, 0.98),
        (10_000, SECOND, 4, network, 0.98),
        (1000, SECOND, 1, network, 0.98),
        (1000, 10 * SECOND, 4, network, 0.98),
        (1000, ms(100), 4, network, 0.90),
        (100, ms(100), 4, network, 0.90),
        // 1 - (L / W + 1 / 128 + 1 / 512), with L = 4 RTT.
        (1000, SECOND, 4, network.with_median(ms(5)), 0.94),
    ] {
        let (share, requests) = used(Quota::new(limit, window), processes, network);
        println!("{limit} in {window:?} by {processes}: {share:.4} used, {requests:.1} requests/s");
        assert!(share >= least, "{share} of {limit} in {window:?}");
    }
}

/// 100,000 calls a second, in one process.
#[test]
fn d4_requests_to_the_store_are_few_whatever_the_calls() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(400_000, SECOND);
        let (_, ends) = site.start(&quota, 0, Load::Bursts(100, Duration::from_millis(1)));
        sleep(SECOND).await;
        let (calls, requests) = (ends.responded(), site.server.requests());
        sleep(SECOND).await;
        let (calls, requests) = (ends.responded() - calls, site.server.requests() - requests);
        println!("{calls} calls, {requests} requests");
        assert!(calls >= 99_000, "{calls} calls");
        assert!((1..=100).contains(&requests), "{requests} requests");
    });
}

/// Nothing is prefetched, refunded or polled without calls.
#[test]
fn d4_no_request_is_sent_while_no_call_arrives() {
    for load in [Load::Greedy(50), Load::Steady(Duration::from_millis(2))] {
        let runtime = crate::paused_runtime::runtime();
        let site = runtime.block_on(async {
            let site = Site::new(1);
            let service = site.service(&Quota::new(100, SECOND), 0);
            let calls = crate::load::call(service.clone(), load, 0.0, 1);
            sleep(3 * SECOND).await;
            calls.stop();
            // The calls that wait are served.
            while calls.open() > 0 {
                sleep(SECOND).await;
            }
            let requests = site.server.requests();
            sleep(3600 * SECOND).await;
            assert_eq!(site.server.requests(), requests);
            // The driver has ended with the leases.
            assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
            drop(service);
            site
        });
        assert!(site.server.requests() > 0);
    }
}

/// A call that finds a leased permit ends with its first poll, without an allocation.
#[test]
fn d5_call_with_a_leased_permit_waits_for_nothing_and_allocates_nothing() {
    run(async {
        let site = Site::new(1);
        let quota = Quota::new(10_000, SECOND);
        let inner = service_fn(|_: u64| ready(Ok::<_, Infallible>(())));
        let mut service = quota.layer(site.server.store(0)).layer(inner);
        // Demand by which permits are leased in advance.
        for _ in 0..3000 {
            let _ = service.call(0).await;
            sleep(Duration::from_millis(1)).await;
        }
        let pooled = service.handle().snapshot().pooled;
        assert!(pooled > 2, "{pooled} at hand");
        let (queued, requests) = (service.handle().queued(), site.server.requests());
        let allocated = allocation_counter::measure(|| {
            for _ in 0..pooled - 1 {
                assert!(service.call(0).now_or_never().is_some_and(|response| response.is_ok()));
            }
        });
        assert_eq!(allocated.count_total, 0);
        assert_eq!((queued, site.server.requests()), (0, requests));
    });
}
