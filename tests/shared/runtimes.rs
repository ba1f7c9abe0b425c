//! Processes with several runtimes, and calls without one.

use std::{
    convert::Infallible,
    future::ready,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use futures::FutureExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_floodgate::shared::Away;

use crate::{
    paused_runtime::runtime,
    paused_time::settle,
    quota::{Quota, Site},
    shared_store::fake::{Fault, Network},
};

const SECOND: Duration = Duration::from_secs(1);

/// The driver is in the runtime that is shut down, and waits for the next permit or for a reply.
#[test]
fn d11_waiters_go_on_when_the_runtime_of_the_driver_is_shut_down() {
    for is_in_flight in [false, true] {
        let (ending, other) = (runtime(), runtime());
        let (site, service) = ending.block_on(async {
            let site = Site::new(1);
            site.server.set_network(Network::GOOD.with_median(Duration::from_millis(5)));
            let service = site.service(&Quota::new(1, SECOND), 0);
            if !is_in_flight {
                service.clone().oneshot(1).await.unwrap();
            }
            tokio::spawn(service.clone().oneshot(2));
            settle().await;
            (site, service)
        });
        // The driver of the first runtime serves it.
        let waiting = other.spawn(service.clone().oneshot(3));
        other.block_on(settle());
        assert_eq!(service.handle().queued(), 2);
        drop(ending);
        other
            .block_on(async { tokio::time::timeout(10 * SECOND, waiting).await })
            .unwrap()
            .unwrap()
            .unwrap();
        let requests: Vec<_> = site.issues.all().iter().map(|issue| issue.request).collect();
        assert_eq!(requests, if is_in_flight { vec![3] } else { vec![1, 3] });
    }
}

/// The driver is in the runtime that is shut down during an outage, in which no call waits for it.
#[test]
fn d11_outage_ends_although_the_runtime_of_its_driver_is_shut_down() {
    for away in [Away::Open, Away::Share { processes: 1 }] {
        let (ending, other) = (runtime(), runtime());
        let (site, service) = ending.block_on(async {
            let site = Site::new(1);
            let service = site.service(&Quota::new(1000, SECOND).away(away), 0);
            site.server.set_fault(Some(Fault::Error("io")));
            service.clone().oneshot(1).await.unwrap();
            (site, service)
        });
        assert!(service.handle().away_for().is_some());
        drop(ending);
        site.server.set_fault(None);
        other.block_on(async {
            service.clone().oneshot(2).await.unwrap();
            tokio::time::sleep(2 * SECOND).await;
        });
        assert_eq!(service.handle().away_for(), None, "no probe is sent with {away:?}");
    }
}

#[test]
fn c2_d11_call_of_a_shared_quota_outside_a_runtime_panics() {
    let site = runtime().block_on(async { Site::new(1) });
    // Built anywhere.
    let layer = Quota::new(1, SECOND).layer(site.server.store(0));
    let mut service = layer.layer(service_fn(|_: u64| ready(Ok::<_, Infallible>(()))));
    for _ in 0..2 {
        let call = AssertUnwindSafe(|| service.call(1).now_or_never().is_some());
        let payload = catch_unwind(call).unwrap_err();
        let message = payload.downcast_ref::<String>().unwrap();
        assert!(message.contains("Tokio runtime"), "{message}");
    }
    // The next call is as the first one.
    runtime().block_on(service.call(1)).unwrap();
}
