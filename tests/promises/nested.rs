//! A request that acquires a second permit of one limit is reported in debug builds.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures::{FutureExt, future::join_all};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};
use tower_floodgate::{ConcurrencyBackpressureLayer, WindowRateLimitLayer, backpressure::Terms};

use crate::{
    reports::{ONCE, hangs, reports_of},
    support::{Probe, secs},
};

type Boxed = BoxCloneService<u32, u32, io::Error>;

/// A service that passes a request on to `inner` in its response.
fn passing_on(inner: Boxed) -> Boxed {
    service_fn(move |request| inner.clone().oneshot(request)).boxed_clone()
}

/// A service that polls `inner` ready while it is called.
fn polling<S: Service<u32>>(mut inner: S) -> impl Service<u32, Response = (), Error = Infallible> {
    service_fn(move |_| -> Ready<Result<(), Infallible>> {
        let _readiness = inner.poll_ready(&mut Context::from_waker(Waker::noop()));
        ready(Ok(()))
    })
}

/// A service that panics at one of three steps.
#[derive(Clone, Copy)]
enum Broken {
    Readiness,
    Call,
    Response,
}

impl Service<u32> for Broken {
    type Response = u32;
    type Error = io::Error;
    type Future = Self;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        assert!(!matches!(self, Self::Readiness));
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self {
        assert!(!matches!(self, Self::Call));
        *self
    }
}

impl Future for Broken {
    type Output = io::Result<u32>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        panic!("at the response")
    }
}

/// Applied twice in a row, and to a service and to one inside it.
#[test]
fn c1_one_layer_twice_on_a_request_hangs_and_is_reported_once() {
    let reports =
        reports_of("nested::c1_one_layer_twice_on_a_request_hangs_and_is_reported_once", async {
            let layer = ConcurrencyBackpressureLayer::new(2);
            let probe = Probe::answering_after(secs(1));
            let service =
                ServiceBuilder::new().layer(layer.clone()).layer(layer).service(probe.clone());
            assert!(hangs(join_all((0..6).map(|n| service.clone().oneshot(n)))).await);

            let layer = ConcurrencyBackpressureLayer::new(3);
            let client = layer.layer(probe).boxed_clone();
            let server = layer.layer(passing_on(client));
            assert!(hangs(join_all((0..6).map(|n| server.clone().oneshot(n)))).await);
        });
    assert_eq!(reports.len(), 2 * ONCE, "{reports:#?}");
    for (limit, report) in [2, 3].iter().zip(reports) {
        assert!(
            report.contains(&format!("ConcurrencyBackpressureLayer {{ max_in_flight: {limit} }}"))
        );
        assert!(report.contains("none proceeds") && report.contains("`per_service()`"));
    }
}

#[test]
fn c1_one_window_twice_on_a_request_counts_twice_and_is_reported_once() {
    let reports = reports_of(
        "nested::c1_one_window_twice_on_a_request_counts_twice_and_is_reported_once",
        async {
            let layer = WindowRateLimitLayer::new(4, secs(60));
            let probe = Probe::new();
            let notes = probe.notes();
            let server = layer.layer(passing_on(layer.layer(probe).boxed_clone()));
            for n in 0..4 {
                server.clone().oneshot(n).await.unwrap();
            }
            assert_eq!(notes.calls_ms(), [0, 0, 60_000, 60_000]);

            // Both permits are acquired before the first is issued.
            let layer = WindowRateLimitLayer::fixed(1, secs(60));
            let service =
                ServiceBuilder::new().layer(layer.clone()).layer(layer).service(Probe::new());
            assert!(hangs(service.oneshot(0)).await);
        },
    );
    assert_eq!(reports.len(), 2 * ONCE, "{reports:#?}");
    let layers = ["Sliding, limit: 4, window: 60s", "Fixed, limit: 1, window: 60s"];
    for (settings, report) in layers.iter().zip(reports) {
        assert!(report.contains(&format!("WindowRateLimitLayer {{ shape: {settings} }}")));
        assert!(report.contains("counts twice") && report.contains("`per_service()`"));
    }
}

/// With many limits in between, and in the call as well as in its response.
#[test]
fn c1_second_permit_of_a_limit_is_reported_at_any_depth() {
    let reports =
        reports_of("nested::c1_second_permit_of_a_limit_is_reported_at_any_depth", async {
            let layer = ConcurrencyBackpressureLayer::new(2);
            let mut service = layer.layer(Probe::new()).boxed_clone();
            let between = WindowRateLimitLayer::new(100, secs(1)).per_service();
            for _ in 0..20 {
                service = between.layer(service).boxed_clone();
            }
            layer.layer(service).oneshot(0).await.unwrap();

            let layer = ConcurrencyBackpressureLayer::new(3);
            layer.layer(polling(layer.layer(Probe::new()))).oneshot(0).await.unwrap();
            let layer = WindowRateLimitLayer::new(4, secs(1));
            layer.layer(polling(layer.layer(Probe::new()))).oneshot(0).await.unwrap();
        });
    assert_eq!(reports.len(), 3 * ONCE, "{reports:#?}");
}

/// A limit per service, services side by side, requests one after another, and panics.
#[test]
fn c1_requests_with_one_permit_of_a_limit_are_not_reported() {
    let reports =
        reports_of("nested::c1_requests_with_one_permit_of_a_limit_are_not_reported", async {
            let probe = Probe::answering_after(secs(1));
            let concurrency_limits = ConcurrencyBackpressureLayer::new(2).per_service();
            let windows = WindowRateLimitLayer::new(2, secs(1)).per_service();
            let mut service = probe.boxed_clone();
            for _ in 0..10 {
                service = concurrency_limits
                    .layer(passing_on(windows.layer(service).boxed_clone()))
                    .boxed_clone();
            }
            let answers = join_all((0..6).map(|n| service.clone().oneshot(n))).await;
            assert!(answers.iter().all(Result::is_ok));

            let concurrency = ConcurrencyBackpressureLayer::new(2);
            let window = WindowRateLimitLayer::new(2, secs(1));
            for service in [
                concurrency.layer(Probe::answering_after(secs(1))).boxed_clone(),
                window.layer(Probe::answering_after(secs(1))).boxed_clone(),
            ] {
                let spawned = (0..6).map(|n| tokio::spawn(service.clone().oneshot(n)));
                let answers = join_all(spawned).await;
                assert!(answers.iter().all(|answer| answer.as_ref().unwrap().is_ok()));
                let twice = service_fn(|n| {
                    let service = service.clone();
                    async move {
                        service.clone().oneshot(n).await?;
                        service.oneshot(n).await
                    }
                });
                twice.oneshot(0).await.unwrap();
            }

            for broken in [Broken::Readiness, Broken::Call, Broken::Response] {
                for service in
                    [concurrency.layer(broken).boxed_clone(), window.layer(broken).boxed_clone()]
                {
                    let call = AssertUnwindSafe(service.oneshot(0)).catch_unwind();
                    call.await.unwrap_err();
                }
            }
            concurrency.layer(Probe::new()).oneshot(0).await.unwrap();
            window.layer(Probe::new()).oneshot(0).await.unwrap();
        });
    assert_eq!(reports, [""; 0]);
}

/// A limit by request, and one with terms, which share it.
#[test]
fn c1_limit_by_request_twice_on_a_request_is_reported_once() {
    let reports =
        reports_of("nested::c1_limit_by_request_twice_on_a_request_is_reported_once", async {
            let layer = ConcurrencyBackpressureLayer::new(2);
            let service = ServiceBuilder::new()
                .layer(layer.clone().by_request(|_: &u32| Terms::new()))
                .layer(layer.with_terms())
                .service(Probe::answering_after(secs(1)));
            assert!(hangs(join_all((0..6).map(|n| service.clone().oneshot(n)))).await);
        });
    assert_eq!(reports.len(), ONCE, "{reports:?}");
}

/// A response that is awaited after a request at the limit, in one task.
#[test]
fn c1_requests_by_request_one_after_the_other_are_not_reported() {
    let reports =
        reports_of("nested::c1_requests_by_request_one_after_the_other_are_not_reported", async {
            let layer = ConcurrencyBackpressureLayer::new(2).by_request(|_: &u32| Terms::new());
            let service = layer.layer(Probe::answering_after(secs(1)));
            for n in 0..3 {
                service.clone().oneshot(n).await.unwrap();
            }
            join_all((0..3).map(|n| service.clone().oneshot(n))).await;
        });
    assert!(reports.is_empty(), "{reports:?}");
}
